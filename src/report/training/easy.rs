//! How the gradient of the contrastive loss spreads over easy and hard pairs of trained networks.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::{
    Result,
    report::{
        Axis, Lines, Mark, Panel, Rendered, Series, colors, render,
        training::{
            cells::{Cell, Group, Measured, Points},
            features::{is_encoder, measured},
            plots::fitted,
            style::{number_of, styled},
        },
    },
};

/// Name and dashes: which vectors were compared is what tells lines apart besides the colour. Methods
/// beyond the nine colours are dotted.
fn line_of(cell: &Cell) -> (String, Option<(f64, f64)>) {
    if is_encoder(cell) {
        return (format!("{} (encoder)", cell.arm), Some((7.0, 3.0)));
    }
    let round = number_of(cell.arm.method) / colors::SERIES.len();
    let dots = [None, Some((2.0, 2.5)), Some((2.0, 6.0))];
    (cell.arm.to_string(), dots[round % dots.len()])
}

/// Gradient of positives and of negatives by rank, one line per method.
pub(crate) fn figure(group: &Group) -> Result<Option<Rendered>> {
    let cells = measured(group);
    if cells.is_empty() {
        return Ok(None);
    }
    let lines = |curve: fn(&Cell) -> &Points| -> Vec<Series> {
        let one = |cell: &&Cell| {
            let points = curve(cell).iter().map(|(rank, s)| (*rank, s.mean)).collect();
            let look = styled(group, &cell.arm, Vec::new(), Mark::Line);
            let (name, dash) = line_of(cell);
            Series { name, points, dash, ..look }
        };
        cells.iter().map(one).collect()
    };
    let values = |series: &[Series]| -> Vec<f64> {
        series.iter().flat_map(|s| s.points.iter().map(|p| p.1)).collect()
    };
    let longest =
        |series: &[Series]| series.iter().map(|s| s.points.len()).max().unwrap_or(1).max(2) as f64;
    let positive = lines(|c| &c.positive);
    let negative = lines(|c| &c.negative);
    let largest = values(&negative).into_iter().fold(1e-12, f64::max);
    let smallest = values(&negative).into_iter().filter(|v| *v > 0.0).fold(largest, f64::min);
    let panels = vec![
        Panel::new(
            "Positives",
            Axis::linear("rank, easiest first", 0.0, longest(&positive)),
            fitted("mean |∂L/∂ℓ|", &positive, None),
            positive,
        ),
        Panel::new(
            "Negatives",
            Axis::linear("rank, hardest first", 0.0, longest(&negative)),
            Axis::log("mean |∂L/∂ℓ|", smallest.max(largest * 1e-6), largest * 1.5),
            negative,
        ),
    ];
    Ok(Some(render(&Lines { panel_size: (390, 310), ..Lines::row(panels) })?))
}

/// Share of the positives' gradient that pushes away: from positives whose probability p exceeds 1/|P|.
///
/// With L the mean over positives outside the logarithm, dL/dl is p - 1/|P| for a positive and p for a
/// negative. All p sum to one, so what |dL/dl| sums to over the positives exceeds the sum over the
/// negatives by twice the part that pushes.
fn pushed(run: &Measured) -> f64 {
    let sum = |curve: &[f64]| curve.iter().sum::<f64>();
    let (positives, negatives) = (sum(&run.positive), sum(&run.negative));
    if positives > 0.0 { ((positives - negatives) / (2.0 * positives)).max(0.0) } else { 0.0 }
}

/// Share of the negatives' gradient that the hardest tenth carries (rounded up to whole negatives).
fn hardest_tenth(run: &Measured) -> f64 {
    let all = &run.negative;
    let total: f64 = all.iter().sum();
    let hardest: f64 = all.iter().take(all.len().div_ceil(10)).sum();
    if total > 0.0 { hardest / total } else { 0.0 }
}

fn mean_over_seeds(cell: &Cell, share: fn(&Measured) -> f64) -> f64 {
    let shares = cell.measured.iter().map(share);
    100.0 * shares.sum::<f64>() / cell.measured.len().max(1) as f64
}

/// Smallest share, in percent, that one decimal shows.
const SHOWN: f64 = 0.05;

/// What the caption of [`figure`] speaks of, computed from the curves.
#[derive(Serialize)]
pub(crate) struct EasyCaption {
    pub(crate) setups: Vec<Setup>,
    /// Share of the positives' gradient that pushes away, of the methods in which it is seen.
    pub(crate) pushed: Vec<MethodShare>,
    /// The smallest share, in percent, that is seen.
    pub(crate) shown: String,
    /// In some method it is smaller.
    pub(crate) others: bool,
    pub(crate) hardest_tenth: Vec<MethodShare>,
}

/// What the anchors had around them.
#[derive(Serialize, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Setup {
    pub(crate) temperature: String,
    pub(crate) anchors: String,
    pub(crate) positives: String,
    pub(crate) negatives: String,
}

impl Setup {
    fn of(run: &Measured) -> Self {
        Self {
            temperature: run.temperature.to_string(),
            anchors: run.anchors.to_string(),
            positives: run.positive.len().to_string(),
            negatives: run.negative.len().to_string(),
        }
    }
}

#[derive(Serialize)]
pub(crate) struct MethodShare {
    pub(crate) method: String,
    pub(crate) percent: String,
}

/// What holds for the runs that [`figure`] shows.
pub(crate) fn caption(group: &Group) -> EasyCaption {
    let cells = measured(group);
    let runs = cells.iter().flat_map(|c| &c.measured);
    let setups: BTreeSet<Setup> = runs.map(Setup::of).collect();
    let share = |cell: &Cell| mean_over_seeds(cell, pushed);
    let (some, others): (Vec<_>, Vec<_>) = cells.iter().partition(|c| share(c) >= SHOWN);
    let one = |cell: &Cell, percent: String| MethodShare { method: cell.arm.to_string(), percent };
    let tenth = |cell: &Cell| format!("{:.0}", mean_over_seeds(cell, hardest_tenth));
    EasyCaption {
        setups: setups.into_iter().collect(),
        pushed: some.into_iter().map(|c| one(c, format!("{:.1}", share(c)))).collect(),
        shown: SHOWN.to_string(),
        others: !others.is_empty(),
        hardest_tenth: cells.iter().map(|c| one(c, tenth(c))).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gradients of one anchor whose keys have these probabilities.
    fn run(positive: &[f64], negative: &[f64]) -> Measured {
        assert!((positive.iter().chain(negative).sum::<f64>() - 1.0).abs() < 1e-12);
        let target = 1.0 / positive.len() as f64;
        Measured {
            run: String::new(),
            seed: 0,
            on_encoder: false,
            temperature: 0.2,
            anchors: 1.0,
            positive: positive.iter().map(|p| (p - target).abs()).collect(),
            negative: negative.to_vec(),
        }
    }

    #[test]
    fn the_part_that_pushes_follows_from_the_sums() {
        // Targets 0.5: 0.1 above one, 0.3 below the other.
        assert!((pushed(&run(&[0.6, 0.2], &[0.15, 0.05])) - 0.1 / 0.4).abs() < 1e-12);
        assert!(pushed(&run(&[0.4, 0.2], &[0.3, 0.1])) < 1e-12);
    }

    #[test]
    fn the_hardest_tenth_is_counted_in_whole_negatives() {
        let c = run(&[0.5], &[0.2, 0.06, 0.06, 0.06, 0.03, 0.03, 0.03, 0.01, 0.01, 0.005, 0.005]);
        assert!((hardest_tenth(&c) - 0.26 / 0.5).abs() < 1e-12);
    }
}
