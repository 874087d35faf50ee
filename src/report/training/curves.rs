//! Loss and accuracy by epoch.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::{
    Result,
    report::{
        Axis, Lines, Mark, Panel, Rendered, Series, Table, colors, render,
        training::{
            cells::{Cell, Group, Spread},
            plots::{dodge, fitted},
            style::{legend_first, styled},
            tables::factor_text,
        },
    },
    run::{EpochRecord, RunRecord},
};

/// More methods than these are drawn as thin lines without bands, which would hide each other.
const CROWD: usize = 5;

/// A number of an epoch, and whether its evaluation was on the whole test set.
type Number = fn(&RunRecord, &EpochRecord) -> Option<f64>;

fn on_all(run: &RunRecord, epoch: &EpochRecord) -> Option<f64> {
    let test = epoch.test.as_ref().filter(|t| t.images == run.last.images)?;
    Some(100.0 * test.top1)
}

fn on_some(run: &RunRecord, epoch: &EpochRecord) -> Option<f64> {
    let test = epoch.test.as_ref().filter(|t| t.images < run.last.images)?;
    Some(100.0 * test.top1)
}

fn by_epoch(cell: &Cell<'_>, number: Number) -> Vec<(f64, Spread)> {
    let at = |epoch: usize| cell.spread(|r| number(r, r.epochs.iter().find(|e| e.epoch == epoch)?));
    let epochs = cell.runs[0].epochs.iter().map(|e| e.epoch);
    epochs.filter_map(|e| Some((e as f64, at(e)?))).collect()
}

/// Training loss and test accuracy by epoch, one row per factor.
pub(crate) fn figure(group: &Group<'_>) -> Result<Rendered> {
    let mut panels = Vec::new();
    for factor in group.factors() {
        let cells: Vec<&Cell<'_>> = group.at(factor).collect();
        let title = format!("imbalance factor {}", factor_text(factor));
        let line = |cell: &&Cell<'_>, number: Number, mark| {
            let line = styled(group, &cell.arm, by_epoch(cell, number), mark);
            let band = Some(0.2f64.min(0.8 / cells.len() as f64));
            match cells.len() > CROWD {
                true => Series { width: 1.1, intervals: Vec::new(), ..line },
                false => Series { band, ..line },
            }
        };
        let loss: Vec<Series> =
            cells.iter().map(|c| line(c, |_, e| Some(e.loss_cls), Mark::Line)).collect();
        let last = loss.iter().flat_map(|s| s.points.iter().map(|p| p.0)).fold(1.0, f64::max);
        let y = fitted("classification loss (nats)", &loss, None);
        panels.push(Panel::new(title.clone(), Axis::linear("epoch", 0.0, last), y, loss));
        panels.push(accuracy(group, &cells, title, last, &line));
    }
    legend_first(group, &mut panels);
    render(&Lines { columns: 2, panel_size: (390, 300), ..Lines::row(panels) })
}

/// Where earlier epochs were tested on fewer images, the whole test set's points are not joined to
/// theirs.
fn accuracy(
    group: &Group<'_>,
    cells: &[&Cell<'_>],
    title: String,
    last: f64,
    line: &dyn Fn(&&Cell<'_>, Number, Mark) -> Series,
) -> Panel {
    let apart = cells.iter().any(|c| !by_epoch(c, on_some).is_empty());
    let number = if apart { on_some } else { on_all };
    let mut all: Vec<Series> = cells.iter().map(|c| line(c, number, Mark::LineDots)).collect();
    let room = 0.12 * last;
    if apart {
        for (i, cell) in cells.iter().enumerate() {
            let shift = dodge(i, cells.len(), room);
            let points = by_epoch(cell, on_all).into_iter().map(|(x, s)| (x + shift, s));
            let rings = styled(group, &cell.arm, points.collect(), Mark::Rings);
            let bars = if cells.len() > CROWD { Vec::new() } else { rings.intervals.clone() };
            all.push(Series { name: String::new(), intervals: bars, ..rings });
        }
    }
    let y = fitted("test top-1 (%)", &all, None);
    if apart {
        all.push(Series::new("whole test set", Vec::new(), colors::BLACK, Mark::Rings));
    }
    let high = if apart { last + 0.7 * room } else { last };
    Panel::new(title, Axis::linear("epoch", 0.0, high), y, all)
}

/// What the caption of [`figure`] speaks of.
#[derive(Serialize)]
pub(crate) struct CurvesCaption {
    pub(crate) bands: bool,
    /// Methods above which a panel has no bands, where there is such a panel.
    pub(crate) crowd: Option<usize>,
    /// Test images of the evaluations that were not of the whole test set, if there are any.
    pub(crate) part_images: Option<String>,
    pub(crate) all_images: String,
}

/// What holds for the runs that [`figure`] shows.
pub(crate) fn caption(group: &Group<'_>) -> CurvesCaption {
    let sizes: Vec<usize> = group.factors().iter().map(|f| group.at(*f).count()).collect();
    let several = group.cells.iter().any(|c| c.runs.len() > 1);
    let images = |whole: bool| -> String {
        let tests = group.runs().flat_map(|r| {
            r.epochs.iter().filter_map(move |e| Some((r.last.images, e.test.as_ref()?.images)))
        });
        let counts = tests.filter(|(all, n)| (n == all) == whole).map(|(_, n)| n);
        let counts: Vec<String> =
            counts.collect::<BTreeSet<u64>>().iter().map(u64::to_string).collect();
        counts.join(" or ")
    };
    CurvesCaption {
        bands: several && sizes.iter().any(|n| *n <= CROWD),
        crowd: sizes.iter().any(|n| *n > CROWD).then_some(CROWD),
        part_images: Some(images(false)).filter(|n| !n.is_empty()),
        all_images: images(true),
    }
}

/// The curves as a table, one row per cell and epoch.
pub(crate) fn table(group: &Group<'_>) -> Table {
    let mut table = Table::new([
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
