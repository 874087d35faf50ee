//! Figures of the easy-pair study.

use crate::{
    report::{Align, Axis, Lines, Mark, Panel, Series, colors, sim::files::PANEL},
    sim::{EasyCurve, EasyPairs},
};

/// One curve per stage; every second one is dashed, so that curves that coincide are both seen.
fn by_stage(stages: &[EasyPairs], points: impl Fn(&EasyPairs) -> Vec<f64>) -> Vec<Series> {
    let one = |(i, e): (usize, &EasyPairs)| {
        let points = points(e).iter().enumerate().map(|(r, v)| (r as f64 + 1.0, *v)).collect();
        let name = format!("κ = {}", e.concentration);
        let dash = (i % 2 == 1).then_some((5.0, 4.0));
        Series { dash, ..Series::new(name, points, colors::series(i), Mark::Line) }
    };
    stages.iter().enumerate().map(one).collect()
}

/// Mean gradient over ranks, with room around the curves; below a millionth of the largest value
/// nothing is drawn on a logarithmic axis.
fn ranks_panel(title: &str, x: &str, y: &str, mut series: Vec<Series>, log: bool) -> Panel {
    let longest = series.iter().map(|s| s.points.len()).max().unwrap_or(1) as f64;
    let values: Vec<f64> = series.iter().flat_map(|s| s.points.iter().map(|p| p.1)).collect();
    let y_axis = if log {
        let high = values.iter().copied().fold(1e-12, f64::max);
        let low = values.iter().copied().filter(|v| *v > 0.0).fold(high, f64::min);
        let low = low.max(high * 1e-6);
        for point in series.iter_mut().flat_map(|s| &mut s.points).filter(|p| p.1 < low) {
            point.1 = f64::NAN;
        }
        Axis::log(y, low / 1.6, high * 1.6)
    } else {
        Axis::fit(y, values, false)
    };
    Panel::new(title, Axis::linear(x, 0.0, 1.02 * longest), y_axis, series)
}

/// Positive and negative gradient over ranks, for logits and features, one curve per stage. The
/// shaded region holds the positives above 1/|P| in the last stage: they are pushed away.
pub(crate) fn curve_figure(stages: &[EasyPairs]) -> Lines {
    let series = |side: fn(&EasyPairs) -> &EasyCurve, features: bool| {
        by_stage(
            stages,
            |e| if features { side(e).features.clone() } else { side(e).logits.clone() },
        )
    };
    let easy = "positives, easiest first (rank)";
    let hard = "negatives, hardest first (rank)";
    let (logit, feature) = ("mean |∂L/∂ℓ|", "mean |∂L/∂ℓ| √(1−s²)");
    let mut panels = vec![
        ranks_panel("Positives, logits", easy, logit, series(|e| &e.positive, false), false),
        ranks_panel("Negatives, logits", hard, logit, series(|e| &e.negative, false), true),
        ranks_panel("Positives, features", easy, feature, series(|e| &e.positive, true), false),
        ranks_panel("Negatives, features", hard, feature, series(|e| &e.negative, true), true),
    ];
    if let Some(last) = stages.last().filter(|e| e.valley > 0) {
        let valley = last.valley as f64 + 1.0;
        // The factor of the features moves no sign: the boundary is the same.
        for panel in [0, 2] {
            panels[panel].shades.push((0.0, valley, colors::VERMILION));
            let text = format!("π = 1/|P|, κ = {}", last.concentration);
            panels[panel].verticals.push((valley, text));
        }
    }
    Lines { columns: 2, panel_size: PANEL, ..Lines::row(panels) }
}

/// Share carried by the hardest k, and how many carry 90 and 99 % as temperature varies.
pub(crate) fn carry_figure(stages: &[EasyPairs], by_temperature: &[EasyPairs]) -> Lines {
    let negatives = stages.first().map_or(1, |e| e.carried.len()) as f64;
    let mut shares = by_stage(stages, |e| e.carried.iter().map(|v| 100.0 * v).collect());
    let alike = vec![(0.0, 0.0), (negatives, 100.0)];
    shares.push(Series {
        dash: Some((2.0, 3.0)),
        ..Series::new("all alike", alike, colors::BLACK, Mark::Dashed)
    });
    let mut panels = vec![Panel::new(
        "Share of the hardest negatives",
        Axis::linear("hardest negatives k", 0.0, 1.02 * negatives),
        Axis::linear("share of negative gradient (%)", 0.0, 103.0),
        shares,
    )];
    if by_temperature.len() > 1 {
        panels.push(temperature_panel(by_temperature, negatives));
    }
    Lines { panel_size: PANEL, ..Lines::row(panels) }
}

fn temperature_panel(by_temperature: &[EasyPairs], negatives: f64) -> Panel {
    // Named beside the lines: the legend below is that of the stages.
    let curve = |i: usize, color| {
        let of = |e: &EasyPairs| e.carry_90_99[i];
        let points = by_temperature.iter().map(|e| (e.temperature, of(e).mean)).collect();
        let intervals = by_temperature.iter().map(|e| (of(e).low, of(e).high)).collect();
        Series::new("", points, color, Mark::LineDots).with_intervals(intervals)
    };
    let temperatures = by_temperature.iter().map(|e| e.temperature);
    let mut panel = Panel::new(
        format!("By temperature, κ = {}", by_temperature[0].concentration),
        Axis::fit("temperature T", temperatures, true),
        Axis::linear("negatives needed", 0.0, 1.08 * negatives),
        vec![curve(0, colors::BLACK), curve(1, colors::GREY)],
    );
    let coldest = by_temperature.iter().min_by(|a, b| a.temperature.total_cmp(&b.temperature));
    if let Some(e) = coldest {
        for (i, share) in ["90 %", "99 %"].into_iter().enumerate() {
            let beside = (e.temperature * 1.12, e.carry_90_99[i].mean - 0.05 * negatives);
            panel.texts.push((beside, share.into(), Align::Start));
        }
    }
    panel
}
