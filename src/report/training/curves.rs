//! Loss and accuracy by epoch.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::{
    Result,
    report::{
        Axis, Lines, Mark, Panel, Rendered, Series, colors, render,
        training::{
            cells::{Cell, Group, Points},
            plots::{dodge, fitted},
            style::{legend_first, styled},
            tables::factor_text,
        },
    },
};

/// More methods than these are drawn as thin lines without bands, which would hide each other.
const CROWD: usize = 5;

/// Training loss and test accuracy by epoch, one row per factor.
pub(crate) fn figure(group: &Group) -> Result<Rendered> {
    let mut panels = Vec::new();
    for factor in group.factors() {
        let cells: Vec<&Cell> = group.at(factor).collect();
        let title = format!("imbalance factor {}", factor_text(factor));
        let line = |cell: &Cell, points: &Points, mark| {
            let line = styled(group, &cell.arm, points.clone(), mark);
            let band = Some(0.2f64.min(0.8 / cells.len() as f64));
            match cells.len() > CROWD {
                true => Series { width: 1.1, intervals: Vec::new(), ..line },
                false => Series { band, ..line },
            }
        };
        let loss: Vec<Series> = cells.iter().map(|c| line(c, &c.losses, Mark::Line)).collect();
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
    group: &Group,
    cells: &[&Cell],
    title: String,
    last: f64,
    line: &dyn Fn(&Cell, &Points, Mark) -> Series,
) -> Panel {
    let apart = cells.iter().any(|c| !c.tests_on_part.is_empty());
    let joined = |c: &&&Cell| {
        let points = if apart { &c.tests_on_part } else { &c.tests_on_all };
        line(c, points, Mark::LineDots)
    };
    let mut all: Vec<Series> = cells.iter().map(|c| joined(&c)).collect();
    let room = 0.12 * last;
    if apart {
        for (i, cell) in cells.iter().enumerate() {
            let shift = dodge(i, cells.len(), room);
            let points = cell.tests_on_all.iter().map(|(x, s)| (x + shift, *s));
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
pub(crate) fn caption(group: &Group) -> CurvesCaption {
    let sizes: Vec<usize> = group.factors().iter().map(|f| group.at(*f).count()).collect();
    let several = group.cells.iter().any(|c| c.seeds > 1);
    let images = |whole: bool| -> String {
        let sizes = group.cells.iter().flat_map(|c| &c.test_sizes);
        let counts = sizes.filter(|(_, all)| *all == whole).map(|(n, _)| *n);
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
