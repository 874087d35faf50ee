//! Calibration and confusion of the last epoch at one imbalance factor.

use serde::Serialize;

use crate::{
    Result,
    report::{
        Align, Axis, HeatMap, HeatPanel, Lines, Mark, Panel, Rendered, Series, Table, colors,
        render,
        training::{
            cells::{Cell, Group},
            numeric,
            tables::factor_text,
        },
    },
    run::ReliabilityBin,
};

/// The factor whose cells the single-factor figures show: the largest.
pub(crate) fn shown_factor(group: &Group<'_>) -> f64 {
    group.factors().last().copied().unwrap_or(1.0)
}

/// The bins of all seeds together: every test image counts once per seed.
fn pooled_bins(cell: &Cell<'_>) -> Vec<ReliabilityBin> {
    let bins = cell.runs.iter().map(|r| r.last.reliability.len()).min().unwrap_or(0);
    let pool = |b: usize| {
        let here = || cell.runs.iter().map(|r| r.last.reliability[b]);
        let count: u64 = here().map(|bin| bin.count).sum();
        let mean = |value: fn(ReliabilityBin) -> f64| {
            here().map(|bin| bin.count as f64 * value(bin)).sum::<f64>() / count.max(1) as f64
        };
        ReliabilityBin { count, confidence: mean(|b| b.confidence), accuracy: mean(|b| b.accuracy) }
    };
    (0..bins).map(pool).collect()
}

/// Lowest and highest accuracy of a bin among the seeds that have images there.
fn seeds_of_bin(cell: &Cell<'_>, bin: usize) -> Option<(f64, f64)> {
    let here = cell.runs.iter().map(|r| r.last.reliability[bin]).filter(|b| b.count > 0);
    let accuracies: Vec<f64> = here.map(|b| b.accuracy).collect();
    let low = accuracies.iter().copied().reduce(f64::min)?;
    Some((low, accuracies.iter().copied().fold(low, f64::max)))
}

/// Expected calibration error of the pooled bins, a fraction.
fn pooled_ece(bins: &[ReliabilityBin]) -> f64 {
    let images: u64 = bins.iter().map(|b| b.count).sum();
    let gap = |b: &ReliabilityBin| b.count as f64 * (b.confidence - b.accuracy).abs();
    bins.iter().map(gap).sum::<f64>() / images.max(1) as f64
}

/// Accuracy against confidence, one panel per method at the largest factor.
pub(crate) fn reliability(group: &Group<'_>) -> Result<Option<Rendered>> {
    let panels: Vec<Panel> = group.at(shown_factor(group)).filter_map(reliability_panel).collect();
    if panels.is_empty() {
        return Ok(None);
    }
    Ok(Some(render(&Lines { panel_size: (290, 285), ..Lines::grid(panels) })?))
}

fn reliability_panel(cell: &Cell<'_>) -> Option<Panel> {
    let bins = pooled_bins(cell);
    let ece = cell.last(|e| Some(e.ece))?;
    let width = 100.0 / bins.len().max(1) as f64;
    let used = || bins.iter().enumerate().filter(|(_, b)| b.count > 0);
    let middle = |i: usize| (i as f64 + 0.5) * width;
    let accuracy = used().map(|(i, b)| (middle(i), 100.0 * b.accuracy)).collect::<Vec<_>>();
    let gap = |over: bool| -> (Vec<_>, Vec<_>) {
        let bins = used().filter(|(_, b)| (b.confidence > b.accuracy) == over);
        let at = |(i, b): (usize, &ReliabilityBin)| {
            let (a, c) = (100.0 * b.accuracy, 100.0 * b.confidence);
            ((middle(i), a), (a.min(c), a.max(c)))
        };
        bins.map(at).unzip()
    };
    let (over, under) = (gap(true), gap(false));
    // Units of x are percent here: a bar as wide as its bin has `width` units.
    let width = (100.0 * width * 0.86) as u16;
    let bars = Mark::Bars { width };
    let spans = Mark::Spans { width };
    let mut series = vec![
        Series::new("accuracy in the bin", accuracy, colors::BLUE, bars),
        Series::new("confidence above accuracy", over.0, colors::VERMILION, spans)
            .with_intervals(over.1),
        Series::new("confidence below accuracy", under.0, colors::GREY, spans)
            .with_intervals(under.1),
        Series::new(
            "perfect calibration",
            vec![(0.0, 0.0), (100.0, 100.0)],
            colors::BLACK,
            Mark::Dashed,
        ),
    ];
    let mut texts = vec![format!("ECE {} %", ece.percent())];
    if cell.runs.len() > 1 {
        let ends = |(i, _): (usize, &ReliabilityBin)| {
            let (low, high) = seeds_of_bin(cell, i)?;
            Some(((middle(i), 100.0 * low), (100.0 * low, 100.0 * high)))
        };
        let (at, ends) = used().filter_map(ends).unzip();
        let whiskers = Series::new("lowest to highest seed", at, colors::BLACK, Mark::Whiskers);
        series.push(whiskers.with_intervals(ends));
        texts = vec![
            format!("ECE per seed {} %", ece.percent()),
            format!("ECE pooled {:.1} %", 100.0 * pooled_ece(&bins)),
        ];
    }
    let x = Axis::linear("confidence (%)", 0.0, 100.0);
    let y = Axis::linear("accuracy (%)", 0.0, 100.0);
    let mut panel = Panel::new(cell.arm.to_string(), x, y, series);
    let row = |(i, text)| ((4.0, 94.0 - 8.0 * i as f64), text, Align::Start);
    panel.texts = texts.into_iter().enumerate().map(row).collect();
    Some(panel)
}

/// What the caption of [`reliability`] speaks of.
#[derive(Serialize)]
pub(crate) struct ReliabilityCaption {
    pub(crate) several_seeds: bool,
}

/// What holds for the runs that [`reliability`] shows.
pub(crate) fn reliability_caption(group: &Group<'_>) -> ReliabilityCaption {
    let mut shown = group.at(shown_factor(group));
    ReliabilityCaption { several_seeds: shown.any(|c| c.runs.len() > 1) }
}

/// The pooled bins as a table, one row per cell and bin, all factors.
pub(crate) fn reliability_table(group: &Group<'_>) -> Table {
    let header = ["method", "imb", "bin", "test_images", "mean_confidence", "accuracy"];
    let mut table = Table::new(header.into_iter().chain(["lowest_seed", "highest_seed"]));
    for cell in &group.cells {
        for (number, bin) in pooled_bins(cell).iter().enumerate() {
            let ends = seeds_of_bin(cell, number);
            let measured = |value: f64| numeric::number((bin.count > 0).then_some(value));
            table.push([
                cell.arm.to_string(),
                factor_text(cell.imbalance_factor),
                (number + 1).to_string(),
                bin.count.to_string(),
                measured(bin.confidence),
                measured(bin.accuracy),
                numeric::number(ends.map(|e| e.0)),
                numeric::number(ends.map(|e| e.1)),
            ]);
        }
    }
    table
}

/// The classes, most training images first.
pub(crate) fn by_count(counts: &[u64]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..counts.len()).collect();
    order.sort_by_key(|&c| (std::cmp::Reverse(counts[c]), c));
    order
}

/// Confusion counts of all seeds together, `[true][predicted]` in label order; none without any.
fn pooled_confusion(cell: &Cell<'_>) -> Option<Vec<Vec<u64>>> {
    let mut all = cell.runs.iter().map(|r| &r.last.confusion).filter(|m| !m.is_empty());
    let mut sum = all.next()?.clone();
    for matrix in all {
        for (to, from) in sum.iter_mut().flatten().zip(matrix.iter().flatten()) {
            *to += from;
        }
    }
    Some(sum)
}

/// The cells of the confusion figure: the first baseline and ResCom, or the first two methods.
pub(crate) fn compared<'g, 'a>(group: &'g Group<'a>) -> Vec<&'g Cell<'a>> {
    let cells: Vec<_> = group.at(shown_factor(group)).collect();
    let baseline = cells.iter().find(|c| c.arm.is_baseline());
    let rescom = cells.iter().find(|c| c.arm.is_rescom());
    match (baseline, rescom) {
        (Some(baseline), Some(rescom)) => vec![*baseline, *rescom],
        _ => cells.into_iter().take(2).collect(),
    }
}

/// Rows of the confusion figure at most; more classes are shown in groups of neighbours.
const ROWS: usize = 100;

/// Row-normalised confusion of two methods, classes by training images; numbers up to 20 classes.
pub(crate) fn confusion(group: &Group<'_>) -> Result<Option<Rendered>> {
    let panels: Vec<HeatPanel> = compared(group).into_iter().filter_map(confusion_panel).collect();
    let (Some(rows), Some(run)) = (panels.first().map(|p| p.values.len()), group.runs().next())
    else {
        return Ok(None);
    };
    let what = match run.counts.len().div_ceil(ROWS) {
        1 => "class".to_owned(),
        together => format!("group of {together} classes"),
    };
    Ok(Some(render(&HeatMap {
        panels,
        row_label: format!("true {what}"),
        column_label: format!("predicted {what}"),
        value_label: "share of the true class (%)".into(),
        decimals: (rows <= 20).then_some(0),
        log: false,
        range: Some((0.0, 100.0)),
    })?))
}

fn confusion_panel(cell: &Cell<'_>) -> Option<HeatPanel> {
    let matrix = pooled_confusion(cell)?;
    let run = cell.runs[0];
    let order = by_count(&run.counts);
    let together = order.len().div_ceil(ROWS);
    let groups: Vec<&[usize]> = order.chunks(together).collect();
    let count = |t: &[usize], p: &[usize]| -> u64 {
        t.iter().map(|&t| p.iter().map(|&p| matrix[t][p]).sum::<u64>()).sum()
    };
    let row = |t: &&[usize]| {
        let total = count(t, &order).max(1) as f64;
        groups.iter().map(|p| 100.0 * count(t, p) as f64 / total).collect()
    };
    let named = order.len() <= 20;
    Some(HeatPanel {
        title: cell.arm.to_string(),
        values: groups.iter().map(row).collect(),
        names: order.iter().filter(|_| named).map(|&c| run.class_names[c].clone()).collect(),
        marked: None,
    })
}

/// The counts as a table, one row per cell, true and predicted class, all factors; pairs that never
/// occur are left out.
pub(crate) fn confusion_table(group: &Group<'_>) -> Table {
    let mut table = Table::new(["method", "imb", "true_class", "predicted_class", "test_images"]);
    for cell in &group.cells {
        let names = &cell.runs[0].class_names;
        for (t, row) in pooled_confusion(cell).unwrap_or_default().iter().enumerate() {
            for (p, count) in row.iter().enumerate().filter(|(_, n)| **n > 0) {
                table.push([
                    cell.arm.to_string(),
                    factor_text(cell.imbalance_factor),
                    names[t].clone(),
                    names[p].clone(),
                    count.to_string(),
                ]);
            }
        }
    }
    table
}
