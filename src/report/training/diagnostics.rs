//! Calibration and confusion of the last epoch at one imbalance factor.

use super::{
    cells::{Cell, Group},
    tables::factor_text,
};
use crate::{
    Result,
    report::{
        Align, Axis, HeatMap, HeatPanel, Lines, Mark, Panel, Rendered, Series, Table, colors,
        render,
    },
    run::ReliabilityBin,
};

/// The factor whose cells the single-factor figures show: the largest.
pub(super) fn shown_factor(group: &Group<'_>) -> f64 {
    group.factors().last().copied().unwrap_or(1.0)
}

/// The bins of all seeds together: every test image counts once per seed.
pub(super) fn pooled_bins(cell: &Cell<'_>) -> Vec<ReliabilityBin> {
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

/// Accuracy against confidence, one panel per method at the largest factor.
pub(super) fn reliability(group: &Group<'_>) -> Result<Option<Rendered>> {
    let panels: Vec<Panel> = group.at(shown_factor(group)).filter_map(reliability_panel).collect();
    if panels.is_empty() {
        return Ok(None);
    }
    let columns = panels.len().min(3);
    Ok(Some(render(&Lines { columns, panel_size: (290, 285), ..Lines::row(panels) })?))
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
    let series = vec![
        Series::new("accuracy in the bin", accuracy, colors::BLUE, bars),
        Series::new("confidence above accuracy", over.0, colors::VERMILION, spans)
            .with_intervals(over.1),
        Series::new("confidence below accuracy", under.0, colors::BLACK, spans)
            .with_intervals(under.1),
        Series::new(
            "perfect calibration",
            vec![(0.0, 0.0), (100.0, 100.0)],
            colors::BLACK,
            Mark::Dashed,
        ),
    ];
    let x = Axis::linear("confidence (%)", 0.0, 100.0);
    let y = Axis::linear("accuracy (%)", 0.0, 100.0);
    let mut panel = Panel::new(cell.arm.to_string(), x, y, series);
    panel.texts = vec![((4.0, 94.0), format!("ECE {} %", ece.percent()), Align::Start)];
    Some(panel)
}

/// The pooled bins as a table, one row per cell and bin, all factors.
pub(super) fn reliability_table(group: &Group<'_>) -> Table {
    let mut table =
        Table::new(["method", "imb", "bin", "test_images", "mean_confidence", "accuracy"]);
    for cell in &group.cells {
        for (number, bin) in pooled_bins(cell).iter().enumerate() {
            table.push([
                cell.arm.to_string(),
                factor_text(cell.imbalance_factor),
                (number + 1).to_string(),
                bin.count.to_string(),
                format!("{:.6}", bin.confidence),
                format!("{:.6}", bin.accuracy),
            ]);
        }
    }
    table
}

/// The classes, most training images first.
pub(super) fn by_count(counts: &[u64]) -> Vec<usize> {
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
pub(super) fn compared<'g, 'a>(group: &'g Group<'a>) -> Vec<&'g Cell<'a>> {
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
pub(super) fn confusion(group: &Group<'_>) -> Result<Option<Rendered>> {
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
pub(super) fn confusion_table(group: &Group<'_>) -> Table {
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
