//! Calibration and confusion of the last epoch at one imbalance factor.

use serde::Serialize;

use crate::{
    Result,
    report::{
        Align, Axis, HeatMap, HeatPanel, Lines, Mark, Panel, Rendered, Series, colors, render,
        training::cells::{Bin, Cell, Group},
    },
};

/// The factor whose cells the single-factor figures show: the largest.
pub(crate) fn shown_factor(group: &Group) -> f64 {
    group.factors().last().copied().unwrap_or(1.0)
}

/// Expected calibration error of the pooled bins, a fraction.
fn pooled_ece(bins: &[Bin]) -> f64 {
    let images: u64 = bins.iter().map(|b| b.count).sum();
    let gap = |b: &Bin| b.count as f64 * (b.confidence - b.accuracy).abs();
    bins.iter().map(gap).sum::<f64>() / images.max(1) as f64
}

/// Accuracy against confidence, one panel per method at the largest factor.
pub(crate) fn reliability(group: &Group) -> Result<Option<Rendered>> {
    let panels: Vec<Panel> = group.at(shown_factor(group)).filter_map(reliability_panel).collect();
    if panels.is_empty() {
        return Ok(None);
    }
    Ok(Some(render(&Lines { panel_size: (290, 285), ..Lines::grid(panels) })?))
}

fn reliability_panel(cell: &Cell) -> Option<Panel> {
    let bins = &cell.bins;
    let ece = cell.last("ece")?;
    let width = 100.0 / bins.len().max(1) as f64;
    let used = || bins.iter().enumerate().filter(|(_, b)| b.count > 0);
    let middle = |i: usize| (i as f64 + 0.5) * width;
    let accuracy = used().map(|(i, b)| (middle(i), 100.0 * b.accuracy)).collect::<Vec<_>>();
    let gap = |over: bool| -> (Vec<_>, Vec<_>) {
        let bins = used().filter(|(_, b)| (b.confidence > b.accuracy) == over);
        let at = |(i, b): (usize, &Bin)| {
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
    if cell.seeds > 1 {
        let ends = |(i, bin): (usize, &Bin)| {
            let (low, high) = bin.seeds?;
            Some(((middle(i), 100.0 * low), (100.0 * low, 100.0 * high)))
        };
        let (at, ends) = used().filter_map(ends).unzip();
        let whiskers = Series::new("lowest to highest seed", at, colors::BLACK, Mark::Whiskers);
        series.push(whiskers.with_intervals(ends));
        texts = vec![
            format!("ECE per seed {} %", ece.percent()),
            format!("ECE pooled {:.1} %", 100.0 * pooled_ece(bins)),
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
pub(crate) fn reliability_caption(group: &Group) -> ReliabilityCaption {
    let mut shown = group.at(shown_factor(group));
    ReliabilityCaption { several_seeds: shown.any(|c| c.seeds > 1) }
}

/// The classes, most training images first.
pub(crate) fn by_count(counts: &[u64]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..counts.len()).collect();
    order.sort_by_key(|&c| (std::cmp::Reverse(counts[c]), c));
    order
}

/// Confusion counts of all seeds together, `[true][predicted]` in label order; none without any.
fn pooled_confusion(cell: &Cell) -> Option<Vec<Vec<u64>>> {
    let classes = cell.classes.len();
    let mut sum = vec![vec![0; classes]; classes];
    for &[to, from, images] in &cell.confusion {
        *sum.get_mut(to as usize)?.get_mut(from as usize)? = images;
    }
    (!cell.confusion.is_empty()).then_some(sum)
}

/// The cells of the confusion figure: the first baseline and ResCom, or the first two methods.
pub(crate) fn compared(group: &Group) -> Vec<&Cell> {
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
pub(crate) fn confusion(group: &Group) -> Result<Option<Rendered>> {
    let panels: Vec<HeatPanel> = compared(group).into_iter().filter_map(confusion_panel).collect();
    let (Some(rows), Some(cell)) = (panels.first().map(|p| p.values.len()), group.cells.first())
    else {
        return Ok(None);
    };
    let what = match cell.classes.len().div_ceil(ROWS) {
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

fn confusion_panel(cell: &Cell) -> Option<HeatPanel> {
    let matrix = pooled_confusion(cell)?;
    let order = by_count(&cell.counts());
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
        names: order.iter().filter(|_| named).map(|&c| cell.classes[c].name.clone()).collect(),
        marked: None,
    })
}
