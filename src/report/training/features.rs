//! Similarity of positive pairs in trained networks, from the feature summaries in the run folders,
//! where it was measured.

use serde::Serialize;

use crate::{
    Result,
    longtail::ShotGroup,
    report::{
        Align, Axis, Lines, Mark, Panel, Rendered, Rgb, Series, Table, colors, render,
        training::{
            cells::{Cell, Group},
            diagnostics::shown_factor,
            tables::factor_text,
        },
    },
    results::Spread,
};

/// The cells at the largest factor whose runs have features.
pub(crate) fn measured(group: &Group) -> Vec<&Cell> {
    group.at(shown_factor(group)).filter(|c| !c.measured.is_empty()).collect()
}

/// Whether similarities were taken between features of the encoder instead of projections.
pub(crate) fn is_encoder(cell: &Cell) -> bool {
    cell.measured.first().is_none_or(|run| run.on_encoder)
}

fn space_name(cell: &Cell) -> &'static str {
    if is_encoder(cell) { "encoder features" } else { "projections" }
}

/// The shot groups, their names in legends and their colours in every figure.
pub(crate) const SHOTS: [(ShotGroup, &str, Rgb); 3] = [
    (ShotGroup::Many, "many-shot classes", colors::BLUE),
    (ShotGroup::Medium, "medium-shot classes", colors::ORANGE),
    (ShotGroup::Few, "few-shot classes", colors::VERMILION),
];

/// Pairs of a curve that may lie left of the axis, as a share.
const HIDDEN: f64 = 0.02;

/// Lower end of the bin that holds the [`HIDDEN`] quantile of a density, and the bins' width.
fn quantile_bin(density: &[(f64, f64)]) -> Option<f64> {
    let width = 2.0 / density.len() as f64;
    let mut below = 0.0;
    let reached = |p: &&(f64, f64)| {
        below += p.1 * width;
        below > HIDDEN
    };
    density.iter().find(reached).map(|p| p.0 - width / 2.0)
}

/// A density as steps: both ends of each bin that has pairs, broken where there are none.
fn steps(density: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let half = 1.0 / density.len() as f64;
    let height = |v: f64| if v > 0.0 { v } else { f64::NAN };
    density.iter().flat_map(|&(x, v)| [(x - half, height(v)), (x + half, height(v))]).collect()
}

/// Densities of the cosine of same-class pairs, one panel per method.
pub(crate) fn similarity(group: &Group) -> Result<Option<Rendered>> {
    let cells = measured(group);
    let density = |cell: &Cell, shots: ShotGroup| {
        cell.densities.get(shots.name()).cloned().unwrap_or_default()
    };
    let densities: Vec<_> =
        cells.iter().map(|cell| SHOTS.map(|(shots, ..)| density(cell, shots))).collect();
    let lowest = densities.iter().flatten().filter_map(|d| quantile_bin(d));
    let low = lowest.fold(f64::INFINITY, f64::min);
    let shown = || densities.iter().flatten().flatten().filter(|p| p.0 > low && p.1 > 0.0);
    let (bottom, top) = shown().fold((f64::INFINITY, 0.0f64), |(l, h), p| (l.min(p.1), h.max(p.1)));
    if !low.is_finite() || top <= 0.0 {
        return Ok(None);
    }
    let panel = |(cell, densities): (&&Cell, &[Vec<(f64, f64)>; 3])| {
        let series = SHOTS.iter().zip(densities).enumerate().map(|(i, ((_, name, color), d))| {
            let visible = steps(d).into_iter().filter(|p| p.0 >= low - 1e-9).collect();
            Series { color: *color, ..Series::number(*name, visible, i, Mark::Line) }
        });
        let x = Axis::linear("cosine of two images of one class", low, 1.0);
        let y = Axis::log("density", bottom.max(top * 1e-4), 8.0 * top);
        let means = SHOTS.map(|(shots, ..)| {
            cell.similarity.get(shots.name()).map_or("–".to_owned(), |s| format!("{:.2}", s.mean))
        });
        let mut panel = Panel::new(cell.arm.to_string(), x, y, series.collect());
        let left = low + 0.03 * (1.0 - low);
        panel.texts = vec![
            ((left, 4.8 * top), format!("means {}", means.join(" / ")), Align::Start),
            ((left, 2.4 * top), space_name(cell).to_owned(), Align::Start),
        ];
        panel
    };
    let panels: Vec<Panel> = cells.iter().zip(&densities).map(panel).collect();
    Ok(Some(render(&Lines { panel_size: (300, 270), ..Lines::grid(panels) })?))
}

/// Whether the measured methods' features are of both kinds, which are not comparable.
pub(crate) fn mixed(group: &Group) -> bool {
    let cells = measured(group);
    cells.windows(2).any(|w| is_encoder(w[0]) != is_encoder(w[1]))
}

/// What the caption of [`similarity`] speaks of.
#[derive(Serialize)]
pub(crate) struct SimilarityCaption {
    /// Pairs of a curve that may lie left of the axis, in percent.
    pub(crate) hidden: String,
    /// Published means are shown beside those of published images.
    pub(crate) published: bool,
}

/// What holds for the runs that [`similarity`] shows.
pub(crate) fn caption(group: &Group) -> SimilarityCaption {
    SimilarityCaption { hidden: (100.0 * HIDDEN).to_string(), published: group.any_published() }
}

/// Mean similarities, one row per cell that has features, all factors.
pub(crate) fn similarity_table(group: &Group) -> Option<Table> {
    let mut table = Table::new(["method", "imb", "seeds", "measured on", "many", "medium", "few"]);
    for cell in group.cells.iter().filter(|c| !c.measured.is_empty()) {
        let mean = |shots| match cell.similarity.get(ShotGroup::name(shots)).copied() {
            None => "–".to_owned(),
            Some(Spread { mean, sd: None, .. }) => format!("{mean:.3}"),
            Some(Spread { mean, sd: Some(sd), .. }) => format!("{mean:.3} ± {sd:.3}"),
        };
        table.push([
            cell.arm.to_string(),
            factor_text(cell.imbalance_factor),
            cell.measured.len().to_string(),
            space_name(cell).to_owned(),
            mean(ShotGroup::Many),
            mean(ShotGroup::Medium),
            mean(ShotGroup::Few),
        ]);
    }
    (!table.is_empty()).then_some(table)
}
