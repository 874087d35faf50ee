//! The main figure: accuracy of each method, against the imbalance factor where there are several.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::{
    Result,
    report::{
        Axis, Lines, Mark, Panel, Rendered, Series, colors, render,
        training::{
            cells::{Cell, Group},
            plots::{dodge, fitted, in_percent},
            style::styled,
            tables::factor_text,
        },
    },
    results::Arm,
};

/// Accuracy against the imbalance factor, or method beside method for a single factor; published
/// points beside ours.
pub(crate) fn figure(group: &Group) -> Result<Rendered> {
    match group.factors()[..] {
        [factor] => by_method(group, factor),
        _ => by_factor(group),
    }
}

/// What the caption of [`figure`] speaks of.
#[derive(Serialize)]
pub(crate) struct AccuracyCaption {
    pub(crate) several_factors: bool,
    pub(crate) several_seeds: bool,
    pub(crate) shifted: bool,
    pub(crate) published: bool,
    /// Numbers of seeds by factor; empty where every cell has as many.
    pub(crate) unlike_seeds: Vec<SeedsAt>,
}

/// How many seeds the cells at one factor have.
#[derive(Serialize)]
pub(crate) struct SeedsAt {
    pub(crate) factor: String,
    pub(crate) numbers: Vec<SeedsOf>,
}

/// A number of seeds and the methods that have it; none are named where all have it.
#[derive(Serialize)]
pub(crate) struct SeedsOf {
    pub(crate) seeds: usize,
    pub(crate) methods: Option<String>,
}

/// What holds for the runs that [`figure`] shows.
pub(crate) fn caption(group: &Group) -> AccuracyCaption {
    let several_factors = group.factors().len() > 1;
    AccuracyCaption {
        several_factors,
        several_seeds: group.cells.iter().any(|c| c.seeds > 1),
        shifted: several_factors && group.arms().len() > 1,
        published: group.arms().iter().any(|arm| !rings(group, arm).is_empty()),
        unlike_seeds: unlike_seeds(group),
    }
}

fn unlike_seeds(group: &Group) -> Vec<SeedsAt> {
    if !group.uneven() {
        return Vec::new();
    }
    let at = |factor: f64| {
        let mut by_n: BTreeMap<usize, Vec<String>> = BTreeMap::new();
        for cell in group.at(factor) {
            by_n.entry(cell.seeds).or_default().push(cell.arm.to_string());
        }
        let several = by_n.len() > 1;
        let one = |(seeds, arms): (usize, Vec<String>)| SeedsOf {
            seeds,
            methods: several.then(|| arms.join(", ")),
        };
        SeedsAt { factor: factor_text(factor), numbers: by_n.into_iter().map(one).collect() }
    };
    group.factors().into_iter().map(at).collect()
}

/// Published numbers of an arm at the group's factors.
fn rings(group: &Group, arm: &Arm) -> Vec<(f64, f64)> {
    let at = |factor: f64| Some((factor, group.published(arm, factor)?.top1));
    group.factors().into_iter().filter_map(at).collect()
}

fn by_factor(group: &Group) -> Result<Rendered> {
    let (arms, factors) = (group.arms(), group.factors());
    // Error bars of one factor stand beside each other; the scale is logarithmic.
    let decades = |pair: &[f64]| (pair[1] / pair[0]).log10();
    let nearest = factors.windows(2).map(decades).fold(1.0, f64::min);
    let span = decades(&[factors[0], factors[factors.len() - 1]]);
    let room = (0.5 * nearest).min(0.15 * (span + 0.3));
    let mut all = Vec::new();
    for (i, arm) in arms.iter().enumerate() {
        let place = |factor: f64| factor * 10f64.powf(dodge(i, arms.len(), room));
        let points = factors.iter().filter_map(|&factor| {
            let top1 = group.cell(arm, factor)?.last("top1")?;
            Some((place(factor), in_percent(top1)))
        });
        all.push(styled(group, arm, points.collect(), Mark::LineDots));
        let known: Vec<_> = rings(group, arm).iter().map(|(x, y)| (place(*x), *y)).collect();
        if !known.is_empty() {
            let look = styled(group, arm, Vec::new(), Mark::Rings);
            all.push(Series { name: format!("{arm}, published"), points: known, ..look });
        }
    }
    let xs: Vec<f64> = all.iter().flat_map(|s| s.points.iter().map(|p| p.0)).collect();
    let (low, high) = xs.iter().fold((f64::MAX, f64::MIN), |(l, h), x| (l.min(*x), h.max(*x)));
    let tick = |&factor: &f64| (factor, factor_text(factor) + &seeds_at(group, factor));
    let x = Axis::log("imbalance factor (largest / smallest class)", low / 1.25, high * 1.25)
        .with_labels(factors.iter().map(tick));
    let y = fitted("top-1 accuracy (%)", &all, None);
    let panel = Panel::new("Accuracy on the balanced test set, last epoch", x, y, all);
    render(&Lines { panel_size: (560, 380), ..Lines::row(vec![panel]) })
}

/// " (n = 1-3)" where cells have different numbers of seeds.
fn seeds_at(group: &Group, factor: f64) -> String {
    let sizes = || group.at(factor).map(|c| c.seeds);
    match (group.uneven(), sizes().min(), sizes().max()) {
        (true, Some(low), Some(high)) if low == high => format!(" (n = {low})"),
        (true, Some(low), Some(high)) => format!(" (n = {low}–{high})"),
        _ => String::new(),
    }
}

fn by_method(group: &Group, factor: f64) -> Result<Rendered> {
    let cells: Vec<&Cell> = group.at(factor).collect();
    let mut all = Vec::new();
    for (i, cell) in cells.iter().enumerate() {
        let Some(top1) = cell.last("top1") else { continue };
        let point = vec![(i as f64, in_percent(top1))];
        all.push(Series { name: String::new(), ..styled(group, &cell.arm, point, Mark::Dots) });
    }
    let ring =
        |(i, cell): (usize, &&Cell)| Some((i as f64, group.published(&cell.arm, factor)?.top1));
    let known: Vec<_> = cells.iter().enumerate().filter_map(ring).collect();
    if !known.is_empty() {
        all.push(Series::new("published, same encoder", known, colors::BLACK, Mark::Rings));
    }
    let names: Vec<String> = cells.iter().map(|cell| named(group, cell)).collect();
    let each = (500.0 / names.len().max(1) as f64).max(56.0);
    // About seven pixels a character, as in legends.
    let long = names.iter().any(|n| 7.2 * n.chars().count() as f64 > each);
    let width = 60.0 + each * names.len() as f64;
    let x = Axis::categories("method", names);
    let y = fitted("top-1 accuracy (%)", &all, None);
    let title =
        format!("Accuracy on the balanced test set, imbalance factor {}", factor_text(factor));
    let panel = Panel::new(title, if long { x.upright() } else { x }, y, all);
    let panel_size = (width as u32, if long { 440 } else { 360 });
    render(&Lines { panel_size, ..Lines::row(vec![panel]) })
}

fn named(group: &Group, cell: &Cell) -> String {
    match group.uneven() {
        true => format!("{} (n = {})", cell.arm, cell.seeds),
        false => cell.arm.to_string(),
    }
}
