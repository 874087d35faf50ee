//! What trained networks' features look like: similarity of positive pairs, gradients of easy pairs,
//! t-SNE. From the feature summaries in the run folders, where they were measured.

use std::collections::BTreeMap;

use super::{
    cells::{Cell, Group, Spread},
    diagnostics::shown_factor,
    tables::factor_text,
};
use crate::{
    Result,
    longtail::ShotGroup,
    report::{Align, Axis, Lines, Mark, Panel, Rendered, Series, Table, colors, render},
    run::{EasyPairCurves, GroupSimilarity, RunFeatures, Space},
};

/// The cells at the largest factor whose runs have features.
pub(super) fn measured<'g, 'a>(group: &'g Group<'a>) -> Vec<&'g Cell<'a>> {
    group.at(shown_factor(group)).filter(|c| !c.features.is_empty()).collect()
}

fn space_name(cell: &Cell<'_>) -> &'static str {
    match cell.features.first().map(|(_, f)| f.summary.space) {
        Some(Space::Projection) => "projections",
        _ => "encoder features",
    }
}

/// The similarities of one shot group over all seeds.
fn similarities<'c>(
    cell: &'c Cell<'_>,
    group: ShotGroup,
) -> impl Iterator<Item = &'c GroupSimilarity> {
    let of = move |(_, f): &'c (u64, &RunFeatures)| f.summary.groups().find(|(g, _)| *g == group);
    cell.features.iter().filter_map(of).map(|(_, s)| s)
}

/// All seeds' pairs in one histogram, as a density.
fn density(cell: &Cell<'_>, group: ShotGroup) -> Vec<(f64, f64)> {
    let mut all: Option<GroupSimilarity> = None;
    for s in similarities(cell, group) {
        match &mut all {
            None => all = Some(s.clone()),
            Some(sum) => {
                sum.pairs += s.pairs;
                sum.histogram.iter_mut().zip(&s.histogram).for_each(|(to, from)| *to += from);
            }
        }
    }
    all.map(|a| a.density()).unwrap_or_default()
}

fn mean_similarity(cell: &Cell<'_>, group: ShotGroup) -> Option<Spread> {
    Spread::of(&similarities(cell, group).map(|s| s.mean).collect::<Vec<_>>())
}

pub(super) const SHOTS: [(ShotGroup, &str); 3] = [
    (ShotGroup::Many, "many-shot classes"),
    (ShotGroup::Medium, "medium-shot classes"),
    (ShotGroup::Few, "few-shot classes"),
];

/// Densities of the cosine of same-class pairs, one panel per method.
pub(super) fn similarity(group: &Group<'_>) -> Result<Option<Rendered>> {
    let cells = measured(group);
    if cells.is_empty() {
        return Ok(None);
    }
    let palette = [(colors::BLUE, 0), (colors::ORANGE, 1), (colors::VERMILION, 2)];
    let mut drawn = Vec::new();
    for cell in &cells {
        let series = SHOTS.iter().zip(palette).map(|((shots, name), (color, i))| {
            let plain = Series::number(*name, density(cell, *shots), i, Mark::Line);
            Series { color, ..plain }
        });
        let means = SHOTS.map(|(shots, _)| {
            mean_similarity(cell, shots).map_or("–".to_owned(), |s| format!("{:.2}", s.mean))
        });
        drawn.push((cell, series.collect::<Vec<_>>(), means.join(" / ")));
    }
    let points = || drawn.iter().flat_map(|(_, series, _)| series.iter().flat_map(|s| &s.points));
    let low = points().filter(|p| p.1 > 0.0).map(|p| p.0).fold(1.0, f64::min);
    let high = points().map(|p| p.1).fold(0.0, f64::max);
    let panels = drawn.iter().map(|(cell, series, means)| {
        let x =
            Axis::linear("cosine of two images of one class", (5.0 * low - 0.4).floor() / 5.0, 1.0);
        let y = Axis::linear("density", 0.0, 1.15 * high);
        let mut panel = Panel::new(cell.arm.to_string(), x.clone(), y, series.clone());
        let left = (5.0 * low - 0.4).floor() / 5.0 + 0.03 * (1.0 - low);
        panel.texts = vec![
            ((left, 1.08 * high), format!("means {means}"), Align::Start),
            ((left, 0.99 * high), space_name(cell).to_owned(), Align::Start),
        ];
        panel
    });
    let panels: Vec<Panel> = panels.collect();
    let columns = panels.len().min(3);
    Ok(Some(render(&Lines { columns, panel_size: (300, 270), ..Lines::row(panels) })?))
}

/// Mean similarities, one row per cell that has features, all factors.
pub(super) fn similarity_table(group: &Group<'_>) -> Option<Table> {
    let mut table = Table::new(["method", "imb", "seeds", "measured on", "many", "medium", "few"]);
    for cell in group.cells.iter().filter(|c| !c.features.is_empty()) {
        let mean = |shots| match mean_similarity(cell, shots) {
            None => "–".to_owned(),
            Some(Spread { mean, sd: None, .. }) => format!("{mean:.3}"),
            Some(Spread { mean, sd: Some(sd), .. }) => format!("{mean:.3} ± {sd:.3}"),
        };
        table.push([
            cell.arm.to_string(),
            factor_text(cell.imbalance_factor),
            cell.features.len().to_string(),
            space_name(cell).to_owned(),
            mean(ShotGroup::Many),
            mean(ShotGroup::Medium),
            mean(ShotGroup::Few),
        ]);
    }
    (!table.is_empty()).then_some(table)
}

/// The densities as a table, all factors.
pub(super) fn density_table(group: &Group<'_>) -> Table {
    let mut table = Table::new(["method", "imb", "group", "cosine", "density"]);
    for cell in &group.cells {
        for (shots, _) in SHOTS {
            for (cosine, value) in density(cell, shots) {
                table.push([
                    cell.arm.to_string(),
                    factor_text(cell.imbalance_factor),
                    shots.name().to_owned(),
                    format!("{cosine:.2}"),
                    format!("{value:.6}"),
                ]);
            }
        }
    }
    table
}

/// The mean over seeds of a curve; seeds whose curve is shorter (other numbers of keys) are left out.
fn mean_curve(cell: &Cell<'_>, curve: fn(&EasyPairCurves) -> &Vec<f64>) -> Vec<f64> {
    let curves = || cell.features.iter().map(|(_, f)| curve(&f.summary.easy));
    let length = curves().map(Vec::len).max().unwrap_or(0);
    let whole: Vec<_> = curves().filter(|c| c.len() == length).collect();
    (0..length).map(|r| whole.iter().map(|c| c[r]).sum::<f64>() / whole.len() as f64).collect()
}

/// Gradient of positives and of negatives by rank, one line per method.
pub(super) fn easy_pairs(group: &Group<'_>) -> Result<Option<Rendered>> {
    let cells = measured(group);
    if cells.is_empty() {
        return Ok(None);
    }
    let lines = |curve: fn(&EasyPairCurves) -> &Vec<f64>| -> Vec<Series> {
        let one = |cell: &&Cell<'_>| {
            let number = group.arms().iter().position(|a| *a == cell.arm).unwrap_or(0);
            let points = mean_curve(cell, curve).into_iter().enumerate();
            let points = points.map(|(r, v)| (r as f64 + 1.0, v)).collect();
            Series::number(cell.arm.to_string(), points, number, Mark::Line)
        };
        cells.iter().map(one).collect()
    };
    let values = |series: &[Series]| -> Vec<f64> {
        series.iter().flat_map(|s| s.points.iter().map(|p| p.1)).collect()
    };
    let longest =
        |series: &[Series]| series.iter().map(|s| s.points.len()).max().unwrap_or(1).max(2) as f64;
    let positive = lines(|e| &e.positive_gradient);
    let negative = lines(|e| &e.negative_gradient);
    let largest = values(&negative).into_iter().fold(1e-12, f64::max);
    let smallest = values(&negative).into_iter().filter(|v| *v > 0.0).fold(largest, f64::min);
    let panels = vec![
        Panel::new(
            "Positives",
            Axis::linear("rank, easiest first", 0.0, longest(&positive)),
            Axis::fit("mean |∂L/∂l|", values(&positive), false),
            positive,
        ),
        Panel::new(
            "Negatives",
            Axis::linear("rank, hardest first", 0.0, longest(&negative)),
            Axis::log("mean |∂L/∂l|", smallest.max(largest * 1e-6), largest * 1.5),
            negative,
        ),
    ];
    Ok(Some(render(&Lines { panel_size: (390, 310), ..Lines::row(panels) })?))
}

/// The curves as a table, all factors.
pub(super) fn easy_table(group: &Group<'_>) -> Table {
    let mut table = Table::new(["method", "imb", "side", "rank", "similarity", "gradient"]);
    type Curve = fn(&EasyPairCurves) -> &Vec<f64>;
    let sides: [(&str, Curve, Curve); 2] = [
        ("positive", |e| &e.positive_similarity, |e| &e.positive_gradient),
        ("negative", |e| &e.negative_similarity, |e| &e.negative_gradient),
    ];
    for cell in &group.cells {
        for (side, similarity, gradient) in sides {
            let both = mean_curve(cell, similarity).into_iter().zip(mean_curve(cell, gradient));
            for (rank, (s, g)) in both.enumerate() {
                table.push([
                    cell.arm.to_string(),
                    factor_text(cell.imbalance_factor),
                    side.to_owned(),
                    (rank + 1).to_string(),
                    format!("{s:.6}"),
                    format!("{g:.6e}"),
                ]);
            }
        }
    }
    table
}

/// A temperature, number of anchors, positives and negatives that all measured cells share, in words.
pub(super) fn easy_setup(group: &Group<'_>) -> String {
    let mut seen: BTreeMap<String, ()> = BTreeMap::new();
    for (_, f) in measured(group).iter().flat_map(|c| &c.features) {
        let e = &f.summary.easy;
        let text = format!(
            "T = {}, {} anchors with {} positives and {} negatives each",
            e.temperature,
            e.anchors,
            e.positive_gradient.len(),
            e.negative_gradient.len()
        );
        seen.insert(text, ());
    }
    seen.into_keys().collect::<Vec<_>>().join("; ")
}
