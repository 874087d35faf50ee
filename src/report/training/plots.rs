//! Accuracy by class, and what figures of accuracies share.

use serde::Serialize;

use crate::{
    Result,
    longtail::ShotGroup,
    report::{
        Axis, Lines, Mark, Panel, Rendered, Series, colors, render,
        training::{
            cells::{Cell, ClassRow, Group},
            diagnostics::by_count,
            style::{legend_first, styled},
            tables::factor_text,
        },
    },
    results::Spread,
};

/// Classes up to which each is shown with its name; more are shown as a running mean.
const NAMED: usize = 20;

/// A fraction as percent.
pub(crate) fn in_percent(s: Spread) -> Spread {
    Spread { mean: 100.0 * s.mean, sd: s.sd.map(|sd| 100.0 * sd), ..s }
}

/// An axis that holds all points and intervals, from `low` on if it is given.
pub(crate) fn fitted(label: &str, series: &[Series], low: Option<f64>) -> Axis {
    let points = series.iter().flat_map(|s| s.points.iter().map(|p| p.1));
    let bars = series.iter().flat_map(|s| s.intervals.iter().flat_map(|i| [i.0, i.1]));
    let values: Vec<f64> = points.chain(bars).filter(|v| v.is_finite()).collect();
    match low {
        Some(low) => {
            let high = values.iter().copied().fold(low, f64::max);
            Axis::linear(label, low, low + 1.12 * (high - low))
        }
        None => Axis::fit(label, values, false),
    }
}

/// Beside each other instead of on top of each other: where number `i` of `n` is drawn, as a part
/// of the room between two positions (-0.5..=0.5).
pub(crate) fn dodge(i: usize, n: usize, room: f64) -> f64 {
    if n < 2 { 0.0 } else { room * (i as f64 / (n - 1) as f64 - 0.5) }
}

/// Accuracy of each class, classes sorted by training images, one panel per factor.
pub(crate) fn accuracy_by_class(group: &Group) -> Result<Rendered> {
    let mut panels = Vec::new();
    for factor in group.factors() {
        let cells: Vec<&Cell> = group.at(factor).collect();
        let Some(first) = cells.first() else { continue };
        let counts = first.counts();
        let order = by_count(&counts);
        let lines = cells.iter().enumerate().map(|(i, cell)| {
            let points = if order.len() <= NAMED {
                let shift = dodge(i, cells.len(), 0.66);
                let at = |(rank, &class): (usize, &usize)| {
                    let spread = cell.classes.get(class)?.accuracy?;
                    Some((rank as f64 + shift, in_percent(spread)))
                };
                order.iter().enumerate().filter_map(at).collect()
            } else {
                running_mean(cell, &order)
            };
            let mark = if order.len() <= NAMED { Mark::Dots } else { Mark::Line };
            styled(group, &cell.arm, points, mark)
        });
        let lines = lines.collect();
        let x = class_axis(&first.classes, &order);
        let y = Axis::linear("class accuracy (%)", -3.0, 103.0)
            .with_ticks((0..=5).map(|k| 20.0 * f64::from(k)));
        let mut panel =
            Panel::new(format!("imbalance factor {}", factor_text(factor)), x, y, lines);
        let groups = shot_groups(&order, &counts);
        let middle = |g: &(usize, usize, &str)| (0.5 * (g.0 + g.1) as f64, g.2.to_owned());
        panel.above = groups.iter().map(middle).collect();
        let border = |g: &(usize, usize, &str)| (g.0 as f64 - 0.5, String::new());
        panel.verticals = groups.iter().skip(1).map(border).collect();
        if order.len() <= NAMED {
            let every_second = (0..order.len()).step_by(2).map(|r| r as f64);
            panel.shades = every_second.map(|r| (r - 0.5, r + 0.5, colors::GREY)).collect();
        }
        panels.push(panel);
    }
    legend_first(group, &mut panels);
    render(&Lines { columns: 1, panel_size: (640, 370), ..Lines::row(panels) })
}

/// Classes that one point of the running mean stands for.
fn window(classes: usize) -> usize {
    (classes / 10).max(1)
}

/// Mean accuracy of [`window`] neighbouring classes at each rank, spread over seeds.
fn running_mean(cell: &Cell, order: &[usize]) -> Vec<(f64, Spread)> {
    let width = window(order.len());
    let at = |(first, classes): (usize, &[usize])| {
        let mean = |seed: usize| {
            let each = classes.iter().filter_map(|&c| cell.classes.get(c)?.by_seed.get(seed));
            each.sum::<f64>() / width as f64
        };
        let spread = Spread::of(&(0..cell.seeds).map(mean).collect::<Vec<_>>())?;
        Some((first as f64 + (width - 1) as f64 / 2.0, in_percent(spread)))
    };
    order.windows(width).enumerate().filter_map(at).collect()
}

/// Names and training images of the classes; with many classes their rank.
fn class_axis(classes: &[ClassRow], order: &[usize]) -> Axis {
    if order.len() <= NAMED {
        let name = |&c: &usize| format!("{} ({})", classes[c].name, classes[c].train_images);
        return Axis::categories("class (training images)", order.iter().map(name)).upright();
    }
    let last = (order.len() - 1) as f64;
    Axis::linear("rank of the class by training images, most first", 0.0, last)
}

/// The shot groups in order: first rank, last rank and name of each.
fn shot_groups(order: &[usize], counts: &[u64]) -> Vec<(usize, usize, &'static str)> {
    let group = |rank: usize| ShotGroup::of(counts[order[rank]]);
    let mut groups: Vec<(usize, usize, &'static str)> = Vec::new();
    for rank in 0..order.len() {
        let name = group(rank).name();
        match groups.last_mut() {
            Some(last) if last.2 == name => last.1 = rank,
            _ => groups.push((rank, rank, name)),
        }
    }
    groups
}

/// What the caption of [`accuracy_by_class`] speaks of.
#[derive(Serialize)]
pub(crate) struct ClassesCaption {
    /// More than one shot group has classes.
    pub(crate) several_groups: bool,
    pub(crate) several_seeds: bool,
    /// Classes of one point; none where each is shown with its name.
    pub(crate) window: Option<usize>,
}

/// What holds for the runs that [`accuracy_by_class`] shows.
pub(crate) fn class_caption(group: &Group) -> ClassesCaption {
    let borders = |c: &Cell| shot_groups(&by_count(&c.counts()), &c.counts()).len() > 1;
    let classes = group.cells.first().map_or(0, |c| c.classes.len());
    ClassesCaption {
        several_groups: group.cells.iter().any(borders),
        several_seeds: group.cells.iter().any(|c| c.seeds > 1),
        window: (classes > NAMED).then(|| window(classes)),
    }
}
