use super::cells::{Cell, Group, Spread};
use super::tables::factor_text;
use crate::{
    Result,
    longtail::ShotGroup,
    report::{
        Axis, Lines, Mark, Panel, Rendered, Rgb, Series, colors,
        published::{published, published_name},
        render,
    },
    run::{EpochRecord, MethodLabel},
};

fn color(methods: &[MethodLabel], method: MethodLabel) -> Rgb {
    colors::series(methods.iter().position(|m| *m == method).unwrap_or(0))
}

/// A fraction as percent.
fn in_percent(s: Spread) -> Spread {
    Spread { mean: 100.0 * s.mean, sd: s.sd.map(|sd| 100.0 * sd), ..s }
}

/// Means with intervals of one standard deviation; without intervals for a single seed.
fn series(name: String, points: Vec<(f64, Spread)>, color: Rgb, mark: Mark) -> Series {
    let xy = points.iter().map(|(x, s)| (*x, s.mean)).collect();
    let plain = Series::new(name, xy, color, mark);
    if points.iter().any(|(_, s)| s.sd.is_some()) {
        let bar = |s: Spread| (s.mean - s.sd.unwrap_or(0.0), s.mean + s.sd.unwrap_or(0.0));
        return plain.with_intervals(points.into_iter().map(|(_, s)| bar(s)).collect());
    }
    plain
}

/// Accuracy against imbalance factor, the published points beside ours.
pub(super) fn accuracy_by_factor(group: &Group<'_>) -> Result<Rendered> {
    let methods = group.methods();
    let mut all = Vec::new();
    for &method in &methods {
        let points: Vec<(f64, Spread)> = group
            .factors()
            .into_iter()
            .filter_map(|f| Some((f, in_percent(group.cell(method, f)?.last(|e| Some(e.top1))?))))
            .collect();
        all.push(series(method.to_string(), points, color(&methods, method), Mark::LineDots));
        let known: Vec<(f64, f64)> = published()
            .into_iter()
            .filter(|p| p.set == group.set && Some(p.method.as_str()) == published_name(method))
            .filter_map(|p| Some((p.imbalance_factor?, p.top1)))
            .collect();
        if !known.is_empty() {
            let name = format!("{method}, published");
            all.push(Series::new(name, known, color(&methods, method), Mark::Rings));
        }
    }
    let xs = all.iter().flat_map(|s| s.points.iter().map(|p| p.0)).collect::<Vec<_>>();
    let (low, high) = xs.iter().fold((f64::MAX, f64::MIN), |(l, h), x| (l.min(*x), h.max(*x)));
    let x = Axis::log("imbalance factor n_max / n_min", low / 1.25, high * 1.25)
        .with_ticks(group.factors());
    let y = fitted("top-1 accuracy (%)", &all);
    let panel = Panel::new("Accuracy on the balanced test set, last epoch", x, y, all);
    render(&Lines { panel_size: (520, 360), ..Lines::row(vec![panel]) })
}

fn fitted(label: &str, series: &[Series]) -> Axis {
    let points = series.iter().flat_map(|s| s.points.iter().map(|p| p.1));
    let bars = series.iter().flat_map(|s| s.intervals.iter().flat_map(|i| [i.0, i.1]));
    Axis::fit(label, points.chain(bars).collect::<Vec<_>>(), false)
}

/// Accuracy of each class, classes sorted by training images, one panel per factor.
pub(super) fn accuracy_by_class(group: &Group<'_>) -> Result<Rendered> {
    let methods = group.methods();
    let mut panels = Vec::new();
    for factor in group.factors() {
        let cells: Vec<&Cell<'_>> = methods.iter().filter_map(|m| group.cell(*m, factor)).collect();
        let Some(first) = cells.first() else { continue };
        let counts = &first.runs[0].counts;
        let mut order: Vec<usize> = (0..counts.len()).collect();
        order.sort_by_key(|&c| (std::cmp::Reverse(counts[c]), c));
        let lines = cells
            .iter()
            .map(|cell| {
                let points = order.iter().enumerate().filter_map(|(rank, &class)| {
                    let spread = cell.last(|e| e.per_class.get(class).copied())?;
                    Some((rank as f64, in_percent(spread)))
                });
                let method = cell.key.method;
                series(
                    method.to_string(),
                    points.collect(),
                    color(&methods, method),
                    Mark::LineDots,
                )
            })
            .collect();
        let x = class_axis(&order, counts);
        let y = Axis::linear("class accuracy (%)", 0.0, 100.0);
        let mut panel =
            Panel::new(format!("imbalance factor {}", factor_text(factor)), x, y, lines);
        panel.verticals = shot_borders(&order, counts);
        panels.push(panel);
    }
    let wide = panels.len() as u32;
    render(&Lines { panel_size: (if wide > 1 { 380 } else { 520 }, 330), ..Lines::row(panels) })
}

/// Ranks with the training count as tick; with many classes only some are labelled.
fn class_axis(order: &[usize], counts: &[u64]) -> Axis {
    let label = "classes by training images (ticks: images)";
    if order.len() <= 12 {
        return Axis::categories(label, order.iter().map(|&c| counts[c].to_string()));
    }
    Axis::linear("rank of the class by training images", 0.0, (order.len() - 1) as f64)
}

/// Where many ends and medium ends, half-way between two ranks.
fn shot_borders(order: &[usize], counts: &[u64]) -> Vec<(f64, String)> {
    let group = |rank: usize| ShotGroup::of(counts[order[rank]]);
    (1..order.len())
        .filter(|&r| group(r) != group(r - 1))
        .map(|r| (r as f64 - 0.5, format!("{} | {}", group(r - 1).name(), group(r).name())))
        .collect()
}

/// Training loss and test accuracy by epoch, one column per factor.
pub(super) fn learning_curves(group: &Group<'_>) -> Result<Rendered> {
    let methods = group.methods();
    let (mut losses, mut accuracies) = (Vec::new(), Vec::new());
    for factor in group.factors() {
        let cells = methods.iter().filter_map(|m| group.cell(*m, factor));
        let (mut loss, mut accuracy) = (Vec::new(), Vec::new());
        for cell in cells {
            let method = cell.key.method;
            let by_epoch = |value: &dyn Fn(&EpochRecord) -> Option<f64>| -> Vec<(f64, Spread)> {
                let epochs = cell.runs[0].epochs.iter().map(|e| e.epoch);
                let at = |epoch: usize| {
                    cell.spread(|r| value(r.epochs.iter().find(|e| e.epoch == epoch)?))
                };
                epochs.filter_map(|e| Some((e as f64, at(e)?))).collect()
            };
            let c = color(&methods, method);
            loss.push(series(method.to_string(), by_epoch(&|e| Some(e.loss_cls)), c, Mark::Line));
            let tested = by_epoch(&|e| Some(100.0 * e.test.as_ref()?.top1));
            accuracy.push(series(method.to_string(), tested, c, Mark::LineDots));
        }
        let title = format!("imbalance factor {}", factor_text(factor));
        let epochs = loss.iter().flat_map(|s| s.points.iter().map(|p| p.0)).fold(1.0, f64::max);
        let x = || Axis::linear("epoch", 0.0, epochs);
        let y = fitted("classification loss (nats)", &loss);
        losses.push(Panel::new(title.clone(), x(), y, loss));
        let y = fitted("test top-1 (%)", &accuracy);
        accuracies.push(Panel::new(title, x(), y, accuracy));
    }
    let columns = losses.len().max(1);
    losses.extend(accuracies);
    render(&Lines { columns, panel_size: (360, 290), ..Lines::row(losses) })
}
