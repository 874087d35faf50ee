//! Figures of the dual-imbalance report.

use crate::{
    contrast::LossForm,
    report::{
        Align, Axis, Figure, HeatMap, HeatPanel, Lines, Mark, Panel, Rgb, Series, Shape, colors,
        plot::axis::power_text,
        significant,
        sim::{
            dual_json::group_pair_frequency,
            easy_figures,
            files::PANEL,
            results::{DualResults, ablation},
            sweep_line::SweepLine,
            words::remedy,
        },
    },
    sim::{Cell, Estimate, KeySource, Statistic, SweepAxis, SweepRow, heuristic_exponent},
};

/// The statistics that the figures lead with.
const LEADING: [(Statistic, &str); 3] = [
    (Statistic::BatchLevel, "Batch level"),
    (Statistic::SiameseLevel, "Siamese level"),
    (Statistic::SameClass, "Same class"),
];

const REMEDIES: [(bool, KeySource, Rgb); 4] = [
    (false, KeySource::Fifo, colors::VERMILION),
    (true, KeySource::Fifo, colors::ORANGE),
    (false, KeySource::ClassBalanced, colors::BLUE),
    (true, KeySource::ClassBalanced, colors::GREEN),
];

/// All figures with their file names, in the order of the report.
pub(crate) fn figures(results: &DualResults) -> Vec<(&'static str, Box<dyn Figure>)> {
    let mut all: Vec<(&'static str, Box<dyn Figure>)> = vec![
        ("pair-frequency", Box::new(pair_frequency(results))),
        ("gradient-mass", Box::new(gradient_mass(results))),
        ("ratios", Box::new(ratios(results))),
    ];
    if !results.easy.is_empty() {
        all.push(("easy-pairs", Box::new(easy_figures::curve_figure(&results.easy))));
        let carry = easy_figures::carry_figure(&results.easy, &results.easy_by_temperature);
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

/// Three significant digits without zeros at the end of a fraction; one and a power from 10,000 on.
fn shortest(value: f64) -> String {
    if value >= 10_000.0 {
        return power_text(format!("{value:.0e}").parse().unwrap_or(value));
    }
    trimmed(&significant(value, 3)).into()
}

/// Without zeros at the end of a fraction.
fn trimmed(text: &str) -> &str {
    if !text.contains('.') || text.contains('e') {
        return text;
    }
    text.trim_end_matches('0').trim_end_matches('.')
}

fn pair_frequency(results: &DualResults) -> HeatMap {
    let values = group_pair_frequency(results);
    let counts = &results.setup.params().counts;
    // Rarer than the rarest class in plain classification, p_C / p_1; equal is not rarer, and the
    // truncation of counts moves cells that are equal in the closed form by less than a hundredth.
    let rarest = 1.0 / counts.imbalance_factor();
    let marked = values.iter().map(|r| r.iter().map(|v| *v < 0.99 * rarest).collect()).collect();
    let numbers = results.study.groups.single_classes() && values.len() <= 20;
    HeatMap {
        panels: vec![HeatPanel {
            title: format!("p(c) p(c′) / p(1)², imbalance {}", shortest(counts.imbalance_factor())),
            values,
            names: names(results),
            marked: Some(marked),
        }],
        row_label: format!("anchor's {}", axis_words(results)),
        column_label: format!("key's {}", axis_words(results)),
        // Where the numbers are written out there is no bar to label.
        value_label: if numbers { String::new() } else { "p(c) p(c′) / p(1)²".into() },
        decimals: numbers.then_some(2),
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
            title: match (cell.balanced_loss, cell.source) {
                (false, KeySource::Fifo) => "no remedy".into(),
                (true, KeySource::ClassBalanced) => "class-balanced loss and queue".into(),
                (balanced, source) => remedy(balanced, source).into(),
            },
            values: values.iter().map(|r| r.iter().map(|v| v / largest).collect()).collect(),
            names: names(results),
            marked: None,
        }
    });
    HeatMap {
        panels: panels.collect(),
        row_label: format!("anchor's {}", axis_words(results)),
        column_label: format!("key's {}", axis_words(results)),
        value_label: "Σ|∂L/∂s| / largest of the panel".into(),
        decimals: None,
        log: true,
        range: None,
    }
}

/// Measured ratios with intervals, and the heuristic as rings, per remedy.
fn ratios(results: &DualResults) -> Lines {
    let mut panels = vec![ratio_panel(results, false)];
    if results.study.cells.iter().any(|c| c.mined) {
        panels.push(ratio_panel(results, true));
    }
    // One scale for both panels, so that they can be compared.
    let values =
        panels.iter().flat_map(|p| p.series.iter().flat_map(|s| s.points.iter().map(|q| q.1)));
    let y = Axis::fit("head-to-tail ratio", values.collect::<Vec<_>>(), true);
    panels.iter_mut().for_each(|p| p.y = y.clone());
    Lines { panel_size: PANEL, ..Lines::row(panels) }
}

fn ratio_panel(results: &DualResults, mined: bool) -> Panel {
    let palette = [colors::BLACK, colors::BLUE, colors::VERMILION];
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
        let dots = Series::new(name, points, palette[i], Mark::Dots);
        series.push(dots.with_intervals(intervals));
        let heuristic = |(k, c): (usize, &&Cell)| {
            let setup = &results.setup;
            let ratio = crate::sim::heuristic_ratio(setup, statistic, c.balanced_loss, c.source);
            (x(k), ratio.unwrap_or(f64::NAN))
        };
        let points = cells.iter().enumerate().map(heuristic).collect();
        series.push(Series::new("", points, palette[i], Mark::Rings));
    }
    series.push(Series::new("measured", vec![], colors::GREY, Mark::Dots));
    series.push(Series::new("pair frequency", vec![], colors::GREY, Mark::Rings));
    let title = if mined { "With mining" } else { "Without mining" };
    let x = Axis::categories("what is class-balanced", ["nothing", "loss", "queue", "both"]);
    let mut panel = Panel::new(title, x, Axis::fit("", [], true), series);
    panel.horizontals.push((1.0, String::new()));
    panel
}

/// The axis of a swept parameter, with room beyond its ends: points stay off the frame, and the
/// heuristics are marked at the right.
fn swept(axis: SweepAxis, rows: &[SweepRow]) -> Axis {
    let label = match axis {
        SweepAxis::Imbalance => "imbalance factor (largest / smallest class)",
        SweepAxis::Temperature => "temperature T",
        SweepAxis::Batch => "images per batch B",
        SweepAxis::Keys => "queue keys per class Q",
        SweepAxis::Dimension => "feature dimension D",
        SweepAxis::Concentration => "concentration κ",
    };
    let (low, high) = ends(rows);
    if axis == SweepAxis::Concentration {
        let span = (high - low).max(1.0);
        return Axis::linear(label, low - 0.04 * span, high + 0.2 * span);
    }
    let span = (high / low).max(1.5);
    // An exponent is one digit, a ratio up to five.
    let room = if axis == SweepAxis::Imbalance { 0.14 } else { 0.2 };
    Axis::log(label, low / span.powf(0.04), high * span.powf(room))
}

/// A logarithmic axis of ratios with room above the highest heuristic for its mark.
fn ratio_axis(series: &[Series]) -> Axis {
    let values = series.iter().flat_map(|s| s.points.iter().map(|p| p.1));
    let usable = values.filter(|v| v.is_finite() && *v > 0.0);
    let (low, high) =
        usable.fold((f64::INFINITY, 0.0), |(low, high): (f64, f64), v| (low.min(v), high.max(v)));
    let label = "head-to-tail ratio";
    if low > high {
        return Axis::fit(label, [], true);
    }
    let span = (high / low).max(1.5);
    Axis::log(label, low / span.powf(0.05), high * span.powf(0.07))
}

fn ends(rows: &[SweepRow]) -> (f64, f64) {
    let values = rows.iter().map(|r| r.value);
    values.fold((f64::INFINITY, 0.0), |(low, high), v| (low.min(v), high.max(v)))
}

/// Head-to-tail ratios without mining for the four remedies, and the heuristic.
fn sweep(axis: SweepAxis, rows: &[SweepRow], form: LossForm) -> Lines {
    let pairs = (Statistic::SameClassPairs, "Same-class pairs, number");
    let of = |statistic: Statistic, lost: bool, source: KeySource| {
        // Numbers of pairs do not depend on the form of the loss and are kept for one form.
        let form = if statistic.only_for_out() { LossForm::Out } else { form };
        let line = SweepLine { balanced_loss: lost, ..SweepLine::plain(form, source, statistic) };
        line.rows(rows).collect::<Vec<_>>()
    };
    let panel = |(statistic, title): (Statistic, &str)| {
        let mut series = vec![];
        let mut heuristics: Vec<Vec<(f64, f64)>> = vec![];
        for (balanced, source, color) in REMEDIES {
            // The weights of the loss change no number of pairs.
            if balanced && statistic == pairs.0 {
                continue;
            }
            let rows = of(statistic, balanced, source);
            let points = rows.iter().map(|r| (r.value, r.ratio.mean)).collect();
            let intervals = rows.iter().map(|r| (r.ratio.low, r.ratio.high)).collect();
            let name = remedy(balanced, source);
            series.push(Series::new(name, points, color, Mark::LineDots).with_intervals(intervals));
            let theory: Vec<_> =
                rows.iter().filter_map(|r| Some((r.value, r.heuristic?))).collect();
            if !theory.is_empty() && !heuristics.iter().any(|h| coincide(h, &theory)) {
                heuristics.push(theory);
            }
        }
        let dashed = heuristics
            .iter()
            .map(|h| Series::new("heuristic", h.clone(), colors::GREY, Mark::Dashed));
        // Below the measured lines.
        let series: Vec<Series> = dashed.chain(series).collect();
        let mut panel = Panel::new(title, swept(axis, rows), ratio_axis(&series), series);
        panel.texts = heuristics.iter().filter_map(|h| heuristic_text(axis, h)).collect();
        panel
    };
    let panels = LEADING.into_iter().chain([pairs]).map(panel).collect();
    Lines { columns: 2, panel_size: PANEL, ..Lines::row(panels) }
}

/// Whether two heuristics are one line to the eye.
fn coincide(a: &[(f64, f64)], b: &[(f64, f64)]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a.1 / b.1).ln().abs() < 0.05)
}

/// The exponent of a heuristic, or its ratio where the imbalance is fixed, right of its last point.
fn heuristic_text(axis: SweepAxis, points: &[(f64, f64)]) -> Option<((f64, f64), String, Align)> {
    let &(x, y) = points.iter().max_by(|a, b| a.0.total_cmp(&b.0))?;
    let text = if axis != SweepAxis::Imbalance {
        shortest(y)
    } else if x > 1.0 {
        format!("{:.1}", y.ln() / x.ln() + 0.0).trim_end_matches(".0").replace("-0", "0")
    } else {
        return None;
    };
    let low = points.iter().map(|p| p.0).fold(f64::INFINITY, f64::min);
    let beside = if axis == SweepAxis::Concentration {
        x + 0.03 * (x - low).max(1.0)
    } else {
        x * (x / low).max(1.5).powf(0.03)
    };
    Some(((beside, y), text, Align::Start))
}

/// Exponent of the imbalance factor by training stage, for the three forms of the loss.
fn exponents(results: &DualResults) -> Lines {
    let statistics = [
        (Statistic::SameClass, "Same class, absolute"),
        (Statistic::SameClassNet, "Same class, net"),
        (Statistic::SiameseLevel, "Different classes"),
        (Statistic::BatchLevel, "Batch level"),
    ];
    let mut panels: Vec<Panel> =
        statistics.into_iter().map(|(s, title)| exponent_panel(results, s, title)).collect();
    let values = panels.iter().flat_map(|p| p.series.iter().flat_map(|s| s.points.iter()));
    let (low, high) = values
        .map(|p| p.1)
        .filter(|v| v.is_finite())
        .fold((0.0f64, 2.0f64), |(l, h), v| (l.min(v), h.max(v)));
    let ticks = (low.ceil() as i32..=high.ceil() as i32).map(f64::from);
    let y =
        Axis::linear("exponent of the imbalance", low - 0.15, high.ceil() + 0.15).with_ticks(ticks);
    panels.iter_mut().for_each(|p| p.y = y.clone());
    Lines { columns: 2, panel_size: PANEL, ..Lines::row(panels) }
}

fn exponent_panel(results: &DualResults, statistic: Statistic, title: &str) -> Panel {
    let forms = [
        (LossForm::Out, "mean outside the log (in use)", colors::BLUE),
        (LossForm::Sum, "sum over positives", colors::VERMILION),
        (LossForm::In, "mean inside the log", colors::GREEN),
    ];
    let (mut series, mut fields) = (vec![], vec![]);
    for (form, name, color) in forms {
        let line = SweepLine::plain(form, KeySource::Fifo, statistic);
        let slopes: Vec<Estimate> =
            results.stages.iter().map(|(_, rows)| line.slope(rows)).collect();
        let at = |(i, e): (usize, &Estimate)| (i as f64, e.mean);
        let points = slopes.iter().enumerate().map(at).collect();
        let intervals = slopes.iter().map(|e| (e.low, e.high)).collect();
        // Where two forms coincide, both are seen: a ring around a dot, dashes over a line.
        let inside = form == LossForm::In;
        let mark = if inside { Mark::LineRings } else { Mark::LineDots };
        let line_of_form = Series::new(name, points, color, mark).with_intervals(intervals);
        series.push(Series { dash: inside.then_some((6.0, 6.0)), ..line_of_form });
        let stages = results.stages.iter().enumerate();
        fields.extend(stages.map(|(i, (_, rows))| (i as f64, line.mean_field_slope(rows))));
    }
    let crosses = Series::new("mean-field prediction", fields, colors::BLACK, Mark::Dots);
    series.push(Series { shape: Shape::Cross, ..crosses });
    if let Some(heuristic) = heuristic_exponent(statistic, false, KeySource::Fifo) {
        let right = results.stages.len() as f64 - 0.5;
        let line = [-0.5, right].map(|x| (x, f64::from(heuristic))).to_vec();
        let name = "pair-frequency heuristic";
        series.insert(0, Series::new(name, line, colors::GREY, Mark::Dashed));
    }
    let names = results.stages.iter().map(|(k, _)| k.to_string());
    let x = Axis::categories("concentration κ (training stage)", names);
    Panel::new(title, x, Axis::fit("", [], false), series)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heuristics_of_one_line_are_drawn_once_and_named_by_their_exponent() {
        let power = |e: f64, scale: f64| [1.0f64, 10.0, 1000.0].map(|x| (x, scale * x.powf(e)));
        assert!(coincide(&power(1.0, 1.0), &power(1.0, 1.002)));
        assert!(!coincide(&power(1.0, 1.0), &power(2.0, 1.0)));
        let text = |axis, points: &[(f64, f64)]| heuristic_text(axis, points).unwrap().1;
        assert_eq!(text(SweepAxis::Imbalance, &power(2.0, 1.0)), "2");
        assert_eq!(text(SweepAxis::Imbalance, &power(0.0, 0.9999)), "0");
        assert_eq!(text(SweepAxis::Imbalance, &power(0.5, 1.0)), "0.5");
        let flat = |v: f64| [(0.1, v), (1.0, v)];
        assert_eq!(text(SweepAxis::Temperature, &flat(100.0)), "100");
        assert_eq!(text(SweepAxis::Temperature, &flat(10.02)), "10");
        assert_eq!(text(SweepAxis::Temperature, &flat(1.25)), "1.25");
        assert_eq!(text(SweepAxis::Temperature, &flat(99_700.0)), "10⁵");
        assert_eq!(text(SweepAxis::Temperature, &flat(297_000.0)), "3·10⁵");
        assert!(heuristic_text(SweepAxis::Imbalance, &[(1.0, 1.0)]).is_none());
    }
}
