//! Figures of the dual-imbalance report.

use super::dual_json::group_pair_frequency;
use super::{DualResults, SweepLine, ablation, easy, remedy};
use crate::contrast::LossForm;
use crate::report::{Axis, Figure, HeatMap, HeatPanel, Lines, Mark, Panel, Rgb, Series, colors};
use crate::sim::{Cell, Estimate, KeySource, Statistic, SweepAxis, SweepRow};

/// The statistics that the figures lead with.
const LEADING: [(Statistic, &str); 3] = [
    (Statistic::BatchLevel, "Batch level"),
    (Statistic::SiameseLevel, "Siamese level"),
    (Statistic::SameClass, "Same-class pairs"),
];

const REMEDIES: [(bool, KeySource, Rgb); 4] = [
    (false, KeySource::Fifo, colors::VERMILION),
    (true, KeySource::Fifo, colors::ORANGE),
    (false, KeySource::ClassBalanced, colors::BLUE),
    (true, KeySource::ClassBalanced, colors::GREEN),
];

/// All figures with their file names, in the order of the report.
pub(super) fn figures(results: &DualResults) -> Vec<(&'static str, Box<dyn Figure>)> {
    let mut all: Vec<(&'static str, Box<dyn Figure>)> = vec![
        ("pair-frequency", Box::new(pair_frequency(results))),
        ("gradient-mass", Box::new(gradient_mass(results))),
        ("ratios", Box::new(ratios(results))),
    ];
    if !results.easy.is_empty() {
        all.push(("easy-pairs", Box::new(easy::curve_figure(&results.easy))));
        let carry = easy::carry_figure(&results.easy, &results.easy_by_temperature);
        all.push(("hard-negatives", Box::new(carry)));
    }
    for (axis, rows) in &results.sweeps {
        let name = match axis {
            SweepAxis::Imbalance => "sweep-imb",
            SweepAxis::Temperature => "sweep-temperature",
            SweepAxis::Batch => "sweep-batch",
            SweepAxis::Keys => "sweep-keys",
            SweepAxis::Dimension => "sweep-dim",
            SweepAxis::Concentration => "sweep-concentration",
        };
        all.push((name, Box::new(sweep(*axis, rows, results.form))));
    }
    if results.stages.len() > 1 {
        all.push(("exponents", Box::new(exponents(results))));
    }
    all
}

/// Every name, or every few where there are many.
fn thinned(names: &[String]) -> Vec<String> {
    let every = names.len().div_ceil(12);
    let keep = |(i, n): (usize, &String)| if i % every == 0 { n.clone() } else { String::new() };
    names.iter().enumerate().map(keep).collect()
}

/// What the rows and columns of matrices are.
fn axis_words(results: &DualResults) -> &'static str {
    if results.study.groups.single_classes() { "class" } else { "class size (smallest of the bin)" }
}

/// Class numbers, or the smallest class size of each bin.
fn names(results: &DualResults) -> Vec<String> {
    let names = results.study.groups.names();
    thinned(&names.iter().map(|n| n.split('–').next().unwrap_or(n).to_string()).collect::<Vec<_>>())
}

fn pair_frequency(results: &DualResults) -> HeatMap {
    let values = group_pair_frequency(results);
    let counts = &results.setup.params().counts;
    // Rarer than the rarest class in plain classification, p_C / p_1; equal is not rarer, and the
    // truncation of counts moves cells that are equal in the closed form by less than a hundredth.
    let rarest = 1.0 / counts.imbalance_factor();
    let marked = values.iter().map(|r| r.iter().map(|v| *v < 0.99 * rarest).collect()).collect();
    HeatMap {
        panels: vec![HeatPanel {
            title: format!("Pair frequency, imbalance {:.4}", counts.imbalance_factor())
                .trim_end_matches('0')
                .trim_end_matches('.')
                .to_string(),
            values,
            names: names(results),
            marked: Some(marked),
        }],
        row_label: format!("anchor's {}", axis_words(results)),
        column_label: format!("key's {}", axis_words(results)),
        value_label: "p(c) p(c′) / p(1)²".into(),
        decimals: results.study.groups.single_classes().then_some(2),
        log: !results.study.groups.single_classes(),
        range: None,
    }
}

fn gradient_mass(results: &DualResults) -> HeatMap {
    let cells: Vec<&Cell> = ablation(results).into_iter().filter(|c| !c.mined).collect();
    let first = cells.iter().find(|c| c.source != KeySource::None).or(cells.first());
    let both = cells.iter().find(|c| c.balanced_loss && c.source == KeySource::ClassBalanced);
    let panels = first.into_iter().chain(both).map(|cell| {
        let values = cell.mass.total();
        let largest = values.iter().flatten().copied().fold(1e-300, f64::max);
        HeatPanel {
            title: format!("Gradient mass, {}", remedy(cell.balanced_loss, cell.source)),
            values: values.iter().map(|r| r.iter().map(|v| v / largest).collect()).collect(),
            names: names(results),
            marked: None,
        }
    });
    HeatMap {
        panels: panels.collect(),
        row_label: format!("anchor's {}", axis_words(results)),
        column_label: format!("key's {}", axis_words(results)),
        value_label: "Σ|∂L/∂s| relative to the largest".into(),
        decimals: None,
        log: true,
        range: None,
    }
}

/// Measured ratios with intervals, and the heuristic as rings, per remedy.
fn ratios(results: &DualResults) -> Lines {
    let palette = [colors::BLACK, colors::BLUE, colors::VERMILION];
    let panel = |mined: bool| {
        let cells: Vec<&Cell> = ablation(results)
            .into_iter()
            .filter(|c| c.mined == mined && c.source != KeySource::None)
            .collect();
        let mut series = vec![];
        for (i, (statistic, name)) in LEADING.into_iter().enumerate() {
            let x = |k: usize| k as f64 + 0.22 * (i as f64 - 1.0);
            let found: Vec<(f64, Estimate)> =
                cells.iter().enumerate().map(|(k, c)| (x(k), c.ratio(statistic))).collect();
            let points = found.iter().map(|(x, e)| (*x, e.mean)).collect();
            let intervals = found.iter().map(|(_, e)| (e.low, e.high)).collect();
            let measured = Series::new(format!("{name}, measured"), points, palette[i], Mark::Dots);
            series.push(measured.with_intervals(intervals));
            let heuristic = |(k, c): (usize, &&Cell)| {
                let setup = &results.setup;
                let ratio =
                    crate::sim::heuristic_ratio(setup, statistic, c.balanced_loss, c.source);
                (x(k), ratio.unwrap_or(f64::NAN))
            };
            let points = cells.iter().enumerate().map(heuristic).collect();
            series.push(Series::new(
                format!("{name}, pair frequency"),
                points,
                palette[i],
                Mark::Rings,
            ));
        }
        let names = ["plain", "CB loss", "CB queue", "both"];
        let title = if mined { "With mining" } else { "Without mining" };
        let values: Vec<f64> = series.iter().flat_map(|s| s.points.iter().map(|p| p.1)).collect();
        let y = Axis::fit("head-to-tail ratio of gradient mass", values, true);
        let mut panel = Panel::new(title, Axis::categories("", names), y, series);
        panel.horizontals.push((1.0, String::new()));
        panel
    };
    let mut panels = vec![panel(false)];
    if results.study.cells.iter().any(|c| c.mined) {
        panels.push(panel(true));
    }
    // One scale for both panels, so that they can be compared.
    let values =
        panels.iter().flat_map(|p| p.series.iter().flat_map(|s| s.points.iter().map(|q| q.1)));
    let y = Axis::fit("head-to-tail ratio of gradient mass", values.collect::<Vec<_>>(), true);
    panels.iter_mut().for_each(|p| p.y = y.clone());
    Lines::row(panels)
}

fn sweep(axis: SweepAxis, rows: &[SweepRow], form: LossForm) -> Lines {
    let (label, log) = match axis {
        SweepAxis::Imbalance => ("imbalance factor n₁/n_C", true),
        SweepAxis::Temperature => ("temperature T", true),
        SweepAxis::Batch => ("images per batch B", true),
        SweepAxis::Keys => ("queue keys per class Q", true),
        SweepAxis::Dimension => ("feature dimension D", true),
        SweepAxis::Concentration => ("concentration κ", false),
    };
    let of = |statistic: Statistic, lost: bool, source: KeySource| {
        rows.iter()
            .filter(move |r| {
                (r.form, r.mined, r.statistic, r.balanced_loss, r.source)
                    == (form, false, statistic, lost, source)
            })
            .collect::<Vec<_>>()
    };
    let panel = |(statistic, title): (Statistic, &str)| {
        let mut series = vec![];
        for (balanced, source, color) in REMEDIES {
            let rows = of(statistic, balanced, source);
            let points = rows.iter().map(|r| (r.value, r.ratio.mean)).collect();
            let intervals = rows.iter().map(|r| (r.ratio.low, r.ratio.high)).collect();
            let name = remedy(balanced, source);
            series.push(Series::new(name, points, color, Mark::LineDots).with_intervals(intervals));
            let theory = rows.iter().filter_map(|r| Some((r.value, r.heuristic?))).collect();
            series.push(Series::new("", theory, color, Mark::Dashed));
        }
        series.push(Series::new("pair-frequency heuristic", vec![], colors::GREY, Mark::Dashed));
        let values: Vec<f64> = series.iter().flat_map(|s| s.points.iter().map(|p| p.1)).collect();
        let xs = rows.iter().map(|r| r.value);
        let x = if axis == SweepAxis::Imbalance {
            let top = rows.iter().map(|r| r.value).fold(1.0, f64::max);
            Axis::log(label, 0.9, top * 1.1)
        } else {
            Axis::fit(label, xs, log)
        };
        Panel::new(title, x, Axis::fit("head-to-tail ratio", values, true), series)
    };
    Lines { panel_size: (340, 300), ..Lines::row(LEADING.map(panel).to_vec()) }
}

/// Exponent of the imbalance factor by training stage, for the three forms of the loss.
fn exponents(results: &DualResults) -> Lines {
    let forms = [
        (LossForm::Out, "mean outside the log (in use)", colors::BLUE),
        (LossForm::Sum, "sum over positives", colors::VERMILION),
        (LossForm::In, "mean inside the log", colors::GREEN),
    ];
    let statistics = [
        (Statistic::SameClass, "Same class, absolute"),
        (Statistic::SameClassNet, "Same class, net"),
        (Statistic::SiameseLevel, "Different classes"),
        (Statistic::BatchLevel, "Batch level"),
    ];
    let panel = |(statistic, title): (Statistic, &str)| {
        let mut series = vec![];
        for (form, name, color) in forms {
            let line = SweepLine::plain(form, KeySource::Fifo, statistic);
            let measured: Vec<Estimate> =
                results.stages.iter().map(|(_, rows)| line.slope(rows)).collect();
            let at = |(i, e): (usize, &Estimate)| (i as f64, e.mean);
            let points = measured.iter().enumerate().map(at).collect();
            let intervals = measured.iter().map(|e| (e.low, e.high)).collect();
            // Where two forms coincide, both marks are seen: a ring around a dot.
            let mark = if form == LossForm::In { Mark::LineRings } else { Mark::LineDots };
            series.push(Series::new(name, points, color, mark).with_intervals(intervals));
            let stages = results.stages.iter().enumerate();
            let field = stages.map(|(i, (_, rows))| (i as f64, line.mean_field_slope(rows)));
            series.push(Series::new("", field.collect(), color, Mark::Dashed));
        }
        series.push(Series::new("mean-field prediction", vec![], colors::GREY, Mark::Dashed));
        let names = results.stages.iter().map(|(k, _)| k.to_string());
        let x = Axis::categories("concentration κ (training stage)", names);
        let y =
            Axis::linear("exponent of the imbalance", -0.5, 3.25).with_ticks([0.0, 1.0, 2.0, 3.0]);
        Panel::new(title, x, y, series)
    };
    Lines { columns: 2, ..Lines::row(statistics.map(panel).to_vec()) }
}
