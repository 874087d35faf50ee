//! Figures, tables and JSON of the easy-pair study.

use super::{ReportFile, json_bytes, push_figure};
use crate::Result;
use crate::report::{Axis, Lines, Mark, Panel, Series, Table, colors, interval, significant};
use crate::sim::{EasyPairs, Estimate};
use serde_json::{Value, json};

/// Largest number of points of a curve in JSON and CSV.
const POINTS: usize = 200;

/// The results as JSON: curves thinned to 200 ranks.
pub fn easy_json(stages: &[EasyPairs], by_temperature: &[EasyPairs]) -> Value {
    let one = |e: &EasyPairs| {
        let mined = |m: &crate::sim::Mined| {
            json!({
                "positives": m.kept.0, "negatives": m.kept.1, "pairs_kept": m.pairs,
                "positive_gradient_kept": m.positive, "negative_gradient_kept": m.negative,
                "gradient_after_mining": m.renormalised,
            })
        };
        let sides = [("positive", &e.positive), ("negative", &e.negative)];
        let curves = sides.map(|(side, c)| {
            let thin = |v: &[f64]| ranks(v.len()).map(|r| v[r]).collect::<Vec<_>>();
            json!({
                "side": side,
                "rank": ranks(c.logits.len()).map(|r| r + 1).collect::<Vec<_>>(),
                "similarity": thin(&c.similarity),
                "gradient_logits": thin(&c.logits),
                "gradient_features": thin(&c.features),
            })
        });
        json!({
            "concentration": e.concentration,
            "temperature": e.temperature,
            "valley_rank": e.valley + 1,
            "positives_pushed_away": e.pushed_away,
            "negative_mass": e.escape,
            "negatives_for_90_percent": e.carry_90_99[0],
            "negatives_for_99_percent": e.carry_90_99[1],
            "mining": e.mined.iter().map(mined).collect::<Vec<_>>(),
            "curves": curves,
        })
    };
    json!({
        "stages": stages.iter().map(one).collect::<Vec<_>>(),
        "temperatures": by_temperature.iter().map(one).collect::<Vec<_>>(),
    })
}

fn ranks(n: usize) -> impl Iterator<Item = usize> {
    let step = n.div_ceil(POINTS).max(1);
    (0..n).step_by(step)
}

/// One row per stage, side and rank.
pub(super) fn curve_table(stages: &[&EasyPairs]) -> Table {
    let mut table = Table::new([
        "concentration",
        "temperature",
        "side",
        "rank",
        "similarity",
        "gradient_logits",
        "gradient_features",
    ]);
    for e in stages {
        for (side, c) in [("positive", &e.positive), ("negative", &e.negative)] {
            for r in ranks(c.logits.len()) {
                table.push([
                    e.concentration.to_string(),
                    e.temperature.to_string(),
                    side.to_string(),
                    (r + 1).to_string(),
                    significant(c.similarity[r], 6),
                    significant(c.logits[r], 6),
                    significant(c.features[r], 6),
                ]);
            }
        }
    }
    table
}

/// Positive and negative gradient over ranks, for logits and features, one curve per stage. The
/// shaded region holds the positives above 1/|P| in the last stage: they are pushed away.
pub(super) fn curve_figure(stages: &[EasyPairs]) -> Lines {
    let series = |side: fn(&EasyPairs) -> &crate::sim::EasyCurve, features: bool| {
        let one = |(i, e): (usize, &EasyPairs)| {
            let values = if features { &side(e).features } else { &side(e).logits };
            let points = values.iter().enumerate().map(|(r, v)| (r as f64 + 1.0, *v)).collect();
            Series::new(format!("κ = {}", e.concentration), points, colors::series(i), Mark::Line)
        };
        stages.iter().enumerate().map(one).collect::<Vec<_>>()
    };
    let panel = |title: &str, x: &str, y: &str, series: Vec<Series>, log: bool| {
        let longest = series.iter().map(|s| s.points.len()).max().unwrap_or(1) as f64;
        let values: Vec<f64> = series.iter().flat_map(|s| s.points.iter().map(|p| p.1)).collect();
        let y_axis = if log {
            let high = values.iter().copied().fold(1e-12, f64::max);
            let low = values.iter().copied().filter(|v| *v > 0.0).fold(high, f64::min);
            Axis::log(y, low.max(high * 1e-6), high * 1.5)
        } else {
            Axis::fit(y, values, false)
        };
        Panel::new(title, Axis::linear(x, 0.0, longest), y_axis, series)
    };
    let easy = "positives, easiest first (rank)";
    let hard = "negatives, hardest first (rank)";
    let mut positive =
        panel("Positives, logits", easy, "mean |∂L/∂l|", series(|e| &e.positive, false), false);
    if let Some(last) = stages.last().filter(|e| e.valley > 0) {
        let valley = last.valley as f64 + 1.0;
        positive.shades.push((0.0, valley, colors::VERMILION));
        let text = format!("π = 1/|P| (κ = {})", last.concentration);
        positive.verticals.push((valley, text));
    }
    let panels = vec![
        positive,
        panel("Negatives, logits", hard, "mean |∂L/∂l|", series(|e| &e.negative, false), true),
        panel(
            "Positives, features",
            easy,
            "mean |∂L/∂l| √(1−s²)",
            series(|e| &e.positive, true),
            false,
        ),
        panel(
            "Negatives, features",
            hard,
            "mean |∂L/∂l| √(1−s²)",
            series(|e| &e.negative, true),
            true,
        ),
    ];
    Lines { columns: 2, ..Lines::row(panels) }
}

/// Share carried by the hardest k, and how many carry 90 and 99 % as temperature varies.
pub(super) fn carry_figure(stages: &[EasyPairs], by_temperature: &[EasyPairs]) -> Lines {
    let share = |(i, e): (usize, &EasyPairs)| {
        let points = e.carried.iter().enumerate().map(|(k, v)| (k as f64 + 1.0, 100.0 * v));
        Series::new(
            format!("κ = {}", e.concentration),
            points.collect(),
            colors::series(i),
            Mark::Line,
        )
    };
    let shares: Vec<_> = stages.iter().enumerate().map(share).collect();
    let negatives = stages.first().map_or(1, |e| e.carried.len()) as f64;
    let mut panels = vec![Panel::new(
        "Share of the hardest negatives",
        Axis::linear("hardest negatives k", 0.0, negatives),
        Axis::linear("share of the negative gradient (%)", 0.0, 100.0),
        shares,
    )];
    if by_temperature.len() > 1 {
        let curve = |i: usize, name: &str, color| {
            let points: Vec<_> =
                by_temperature.iter().map(|e| (e.temperature, e.carry_90_99[i].mean)).collect();
            let intervals =
                by_temperature.iter().map(|e| (e.carry_90_99[i].low, e.carry_90_99[i].high));
            Series::new(name, points, color, Mark::LineDots).with_intervals(intervals.collect())
        };
        let temperatures = by_temperature.iter().map(|e| e.temperature);
        panels.push(Panel::new(
            format!("By temperature, κ = {}", by_temperature[0].concentration),
            Axis::fit("temperature T", temperatures, true),
            Axis::linear("negatives that carry the share", 0.0, negatives),
            vec![
                curve(0, "90 % of the negative gradient", colors::BLACK),
                curve(1, "99 % of the negative gradient", colors::BROWN),
            ],
        ));
    }
    Lines::row(panels)
}

/// Markdown table of the stages.
pub(super) fn stage_markdown(stages: &[EasyPairs]) -> String {
    let mut table = Table::new([
        "stage",
        "T",
        "positives pushed away",
        "valley at rank",
        "negative mass 1−S",
        "negatives for 90 %",
        "for 99 %",
    ]);
    let text = |e: Estimate| interval(e.mean, e.low, e.high);
    for e in stages {
        table.push([
            format!("κ = {}", e.concentration),
            e.temperature.to_string(),
            text(e.pushed_away),
            (e.valley + 1).to_string(),
            text(e.escape),
            text(e.carry_90_99[0]),
            text(e.carry_90_99[1]),
        ]);
    }
    table.markdown()
}

/// Markdown table of what mining keeps and costs.
pub(super) fn mining_markdown(stages: &[EasyPairs]) -> String {
    let mut table = Table::new([
        "stage",
        "Q_p / Q_n",
        "pairs kept",
        "of the positive gradient",
        "of the negative gradient",
        "gradient after mining / before",
    ]);
    let text = |e: Estimate| interval(e.mean, e.low, e.high);
    for e in stages {
        for m in &e.mined {
            table.push([
                format!("κ = {}", e.concentration),
                format!("{} / {}", m.kept.0, m.kept.1),
                format!("{:.0} %", 100.0 * m.pairs),
                text(m.positive),
                text(m.negative),
                text(m.renormalised),
            ]);
        }
    }
    table.markdown()
}

/// All files of `rescom-sim easy-pairs`; `runtime` (seconds) appears in report.md only.
///
/// # Errors
/// If a figure cannot be drawn.
pub fn easy_files(
    stages: &[EasyPairs],
    by_temperature: &[EasyPairs],
    command: &str,
    runtime: f64,
) -> Result<Vec<ReportFile>> {
    let mut files = vec![];
    push_figure(&mut files, "easy-pairs", &curve_figure(stages))?;
    push_figure(&mut files, "hard-negatives", &carry_figure(stages, by_temperature))?;
    let all: Vec<&EasyPairs> = stages.iter().collect();
    files.push(("easy-pairs.csv".into(), curve_table(&all).csv().into_bytes()));
    files.push(("results.json".into(), json_bytes(&easy_json(stages, by_temperature))));
    let text = format!(
        "# Vanishing gradients of easy pairs\n\n`{command}`, {runtime:.1} s\n\n{}",
        section(stages, by_temperature)
    );
    files.push(("report.md".into(), text.into_bytes()));
    Ok(files)
}

/// The section of both reports.
pub(super) fn section(stages: &[EasyPairs], by_temperature: &[EasyPairs]) -> String {
    let Some(first) = stages.first() else { return String::new() };
    let (p, n) = (first.positive.logits.len(), first.negative.logits.len());
    let mut text = format!(
        "One anchor with {p} positives and {n} negatives; keys sorted by similarity, means over anchors \
         (95 % intervals over anchors). π is the softmax over all keys; the gradient with respect to a logit is \
         π − 1/|P| for a positive and π for a negative.\n\n\
         ![Mean gradient over sorted keys](easy-pairs.png)\n\n\
         **Figure.** Positive gradients form a V: a positive whose π exceeds 1/|P| is pushed away (shaded for the last \
         stage: the \"unfriendly\" side of the V), one at π = 1/|P| gets nothing, and only the hard ones are pulled. \
         With respect to features every gradient is multiplied by √(1−s²), which is small for easy positives (s near 1), \
         so the left arm of the V shrinks as well. The mean over anchors does not reach zero at the bottom of the V, since every \
         anchor has its zero at another rank.\n\n{}\n",
        stage_markdown(stages)
    );
    text += "![Share carried by the hardest negatives](hard-negatives.png)\n\n";
    if by_temperature.len() > 1 {
        text += &format!("By temperature:\n\n{}\n", stage_markdown(by_temperature));
    }
    text += &format!(
        "What mining with Q_p and Q_n keeps (of the gradient before mining), what it costs in pairs, and the size of the \
         gradient once the kept pairs form the softmax alone:\n\n{}\n",
        mining_markdown(stages)
    );
    text
}
