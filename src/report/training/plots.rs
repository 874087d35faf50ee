use super::{
    cells::{Arm, Cell, Group, Spread},
    diagnostics::by_count,
    tables::factor_text,
};
use crate::{
    Result,
    longtail::ShotGroup,
    report::{
        Axis, Lines, Mark, Panel, Rendered, Series, colors,
        published::{published, published_name},
        render,
    },
    run::{EpochRecord, RunRecord},
};

/// Classes up to which each is shown with its name; more are shown as a running mean.
const NAMED: usize = 20;

/// A fraction as percent.
pub(super) fn in_percent(s: Spread) -> Spread {
    Spread { mean: 100.0 * s.mean, sd: s.sd.map(|sd| 100.0 * sd), ..s }
}

/// `series` with means and intervals of one standard deviation; without intervals for a single seed.
pub(super) fn with_spread(series: Series, points: Vec<(f64, Spread)>) -> Series {
    let plain = Series { points: points.iter().map(|(x, s)| (*x, s.mean)).collect(), ..series };
    if points.iter().all(|(_, s)| s.sd.is_none()) {
        return plain;
    }
    let bar = |s: Spread| (s.mean - s.sd.unwrap_or(0.0), s.mean + s.sd.unwrap_or(0.0));
    plain.with_intervals(points.into_iter().map(|(_, s)| bar(s)).collect())
}

/// The series of an arm: its colour, dots and dashes are the same in every figure of the group.
fn series_of(group: &Group<'_>, cell: &Cell<'_>, points: Vec<(f64, Spread)>, mark: Mark) -> Series {
    let number = group.arms().iter().position(|a| *a == cell.arm).unwrap_or(0);
    with_spread(Series::number(cell.arm.to_string(), Vec::new(), number, mark), points)
}

/// An axis that holds all points and intervals, from `low` on if it is given.
pub(super) fn fitted(label: &str, series: &[Series], low: Option<f64>) -> Axis {
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
fn dodge(i: usize, n: usize, room: f64) -> f64 {
    if n < 2 { 0.0 } else { room * (i as f64 / (n - 1) as f64 - 0.5) }
}

/// The legend lists methods in the order of the tables, also those that the first panel lacks.
fn legend_first(group: &Group<'_>, panels: &mut [Panel]) {
    let Some(first) = panels.first_mut() else { return };
    let drawn = std::mem::take(&mut first.series);
    let mark = drawn.first().map_or(Mark::Line, |s| s.mark);
    let entry = |(i, arm): (usize, Arm)| Series::number(arm.to_string(), Vec::new(), i, mark);
    first.series = group.arms().into_iter().enumerate().map(entry).chain(drawn).collect();
}

/// Accuracy against imbalance factor, the published points beside ours.
pub(super) fn accuracy_by_factor(group: &Group<'_>) -> Result<Rendered> {
    let (arms, factors) = (group.arms(), group.factors());
    // Error bars of one factor stand beside each other; the scale is logarithmic.
    let decades = |pair: &[f64]| (pair[1] / pair[0]).log10();
    let nearest = factors.windows(2).map(decades).fold(1.0, f64::min);
    let span = decades(&[factors[0], factors[factors.len() - 1]]);
    let room = (0.5 * nearest).min(0.15 * (span + 0.3));
    let mut all = Vec::new();
    for (i, arm) in arms.iter().enumerate() {
        let cells: Vec<&Cell<'_>> = factors.iter().filter_map(|f| group.cell(arm, *f)).collect();
        let points = cells.iter().filter_map(|cell| {
            let x = cell.imbalance_factor * 10f64.powf(dodge(i, arms.len(), room));
            Some((x, in_percent(cell.last(|e| Some(e.top1))?)))
        });
        let points = points.collect();
        all.extend(cells.first().map(|cell| series_of(group, cell, points, Mark::LineDots)));
        let known: Vec<(f64, f64)> = published()
            .into_iter()
            .filter(|p| p.set == group.set && Some(p.method.as_str()) == published_name(arm.method))
            .filter(|p| group.same_backbone(arm, p))
            .filter_map(|p| Some((p.imbalance_factor?, p.top1)))
            .collect();
        if !known.is_empty() {
            all.push(Series::number(format!("{arm}, published"), known, i, Mark::Rings));
        }
    }
    let xs: Vec<f64> = all.iter().flat_map(|s| s.points.iter().map(|p| p.0)).collect();
    let (low, high) = xs.iter().fold((f64::MAX, f64::MIN), |(l, h), x| (l.min(*x), h.max(*x)));
    let x = Axis::log("imbalance factor (largest / smallest class)", low / 1.25, high * 1.25)
        .with_ticks(factors.clone());
    let y = fitted("top-1 accuracy (%)", &all, None);
    let panel = Panel::new("Accuracy on the balanced test set, last epoch", x, y, all);
    render(&Lines { panel_size: (560, 380), ..Lines::row(vec![panel]) })
}

/// Accuracy of each class, classes sorted by training images, one panel per factor.
pub(super) fn accuracy_by_class(group: &Group<'_>) -> Result<Rendered> {
    let mut panels = Vec::new();
    for factor in group.factors() {
        let cells: Vec<&Cell<'_>> = group.at(factor).collect();
        let Some(run) = cells.first().map(|c| c.runs[0]) else { continue };
        let order = by_count(&run.counts);
        let lines = cells.iter().enumerate().map(|(i, cell)| {
            let points = if order.len() <= NAMED {
                let shift = dodge(i, cells.len(), 0.66);
                let at = |(rank, &class): (usize, &usize)| {
                    let spread = cell.last(|e| e.per_class.get(class).copied())?;
                    Some((rank as f64 + shift, in_percent(spread)))
                };
                order.iter().enumerate().filter_map(at).collect()
            } else {
                running_mean(cell, &order)
            };
            let mark = if order.len() <= NAMED { Mark::Dots } else { Mark::Line };
            series_of(group, cell, points, mark)
        });
        let lines = lines.collect();
        let x = class_axis(run, &order);
        let y = Axis::linear("class accuracy (%)", 0.0, 107.0)
            .with_ticks((0..=5).map(|k| 20.0 * f64::from(k)));
        let mut panel =
            Panel::new(format!("imbalance factor {}", factor_text(factor)), x, y, lines);
        panel.verticals = shot_borders(&order, &run.counts);
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
pub(super) fn window(classes: usize) -> usize {
    (classes / 10).max(1)
}

/// Mean accuracy of [`window`] neighbouring classes at each rank, spread over seeds.
fn running_mean(cell: &Cell<'_>, order: &[usize]) -> Vec<(f64, Spread)> {
    let width = window(order.len());
    let at = |(first, classes): (usize, &[usize])| {
        let spread = cell.last(|e| {
            let sum: f64 = classes.iter().filter_map(|&c| e.per_class.get(c)).sum();
            Some(sum / width as f64)
        })?;
        Some((first as f64 + (width - 1) as f64 / 2.0, in_percent(spread)))
    };
    order.windows(width).enumerate().filter_map(at).collect()
}

/// Names and training images of the classes; with many classes their rank.
fn class_axis(run: &RunRecord, order: &[usize]) -> Axis {
    if order.len() <= NAMED {
        let name = |&c: &usize| format!("{} ({})", run.class_names[c], run.counts[c]);
        return Axis::categories("class (training images)", order.iter().map(name)).upright();
    }
    let last = (order.len() - 1) as f64;
    Axis::linear("rank of the class by training images, most first", 0.0, last)
}

/// Where many ends and medium ends, half-way between two ranks.
fn shot_borders(order: &[usize], counts: &[u64]) -> Vec<(f64, String)> {
    let group = |rank: usize| ShotGroup::of(counts[order[rank]]);
    (1..order.len())
        .filter(|&r| group(r) != group(r - 1))
        .map(|r| (r as f64 - 0.5, format!("{} | {}", group(r - 1).name(), group(r).name())))
        .collect()
}

/// Training loss and test accuracy by epoch, one row per factor.
pub(super) fn learning_curves(group: &Group<'_>) -> Result<Rendered> {
    let mut panels = Vec::new();
    for factor in group.factors() {
        let (mut loss, mut accuracy) = (Vec::new(), Vec::new());
        for cell in group.at(factor) {
            let by_epoch = |value: &dyn Fn(&EpochRecord) -> Option<f64>| -> Vec<(f64, Spread)> {
                let epochs = cell.runs[0].epochs.iter().map(|e| e.epoch);
                let at = |epoch: usize| {
                    cell.spread(|r| value(r.epochs.iter().find(|e| e.epoch == epoch)?))
                };
                epochs.filter_map(|e| Some((e as f64, at(e)?))).collect()
            };
            // Bands of many methods lie on top of each other: the more, the fainter.
            let band = Some(0.2f64.min(0.8 / group.at(factor).count() as f64));
            let line = series_of(group, cell, by_epoch(&|e| Some(e.loss_cls)), Mark::Line);
            loss.push(Series { band, ..line });
            let tested = by_epoch(&|e| Some(100.0 * e.test.as_ref()?.top1));
            let line = series_of(group, cell, tested, Mark::LineDots);
            accuracy.push(Series { band, ..line });
        }
        let title = format!("imbalance factor {}", factor_text(factor));
        let epochs = loss.iter().flat_map(|s| s.points.iter().map(|p| p.0)).fold(1.0, f64::max);
        let x = || Axis::linear("epoch", 0.0, epochs);
        let y = fitted("classification loss (nats)", &loss, None);
        panels.push(Panel::new(title.clone(), x(), y, loss));
        let y = fitted("test top-1 (%)", &accuracy, None);
        panels.push(Panel::new(title, x(), y, accuracy));
    }
    legend_first(group, &mut panels);
    render(&Lines { columns: 2, panel_size: (390, 300), ..Lines::row(panels) })
}

/// The curves as a table, one row per cell and epoch.
pub(super) fn curves_table(group: &Group<'_>) -> crate::report::Table {
    let mut table = crate::report::Table::new([
        "method",
        "imb",
        "epoch",
        "seeds",
        "loss_cls",
        "loss_con",
        "test_images",
        "top1",
        "top1_sd",
    ]);
    for cell in &group.cells {
        for (number, epoch) in cell.runs[0].epochs.iter().enumerate() {
            let mean = |value: fn(&EpochRecord) -> Option<f64>| {
                cell.spread(|r| value(r.epochs.get(number)?))
            };
            let text = |v: Option<f64>| v.map(|v| format!("{v:.6}")).unwrap_or_default();
            let top1 = mean(|e| Some(e.test.as_ref()?.top1));
            table.push([
                cell.arm.to_string(),
                factor_text(cell.imbalance_factor),
                epoch.epoch.to_string(),
                cell.runs.len().to_string(),
                text(mean(|e| Some(e.loss_cls)).map(|s| s.mean)),
                text(mean(|e| Some(e.loss_con)).map(|s| s.mean)),
                epoch.test.as_ref().map(|t| t.images.to_string()).unwrap_or_default(),
                text(top1.map(|s| s.mean)),
                text(top1.and_then(|s| s.sd)),
            ]);
        }
    }
    table
}
