//! The same measurements on features that exist: every row an anchor, every other row a key.

use super::row::gradient_norms;
use crate::contrast::{Temperature, normalize_rows};
use crate::longtail::ShotGroup;
use crate::{Error, Result};
use ndarray::{Array2, ArrayRef2, Axis};
use rayon::prelude::*;

/// Rows of the similarity matrix that are worked on at a time.
const BLOCK: usize = 64;

/// Bins of the similarity histograms, over -1..=1.
const BINS: usize = 100;

/// Similarity of same-class pairs (ordered pairs i != j) of a class or a shot group.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ClassSimilarity {
    /// Mean cosine; not finite without pairs.
    pub mean: f64,
    /// Ordered pairs.
    pub count: u64,
}

/// A histogram of cosines as a density over -1..=1.
#[derive(Debug, Clone)]
pub struct Density {
    /// Shot group.
    pub group: ShotGroup,
    /// Mean and count.
    pub similarity: ClassSimilarity,
    /// Centre of each bin and density there (integrates to 1).
    pub points: Vec<(f64, f64)>,
}

/// What is found on real features. Sums are of |dL/ds_ij|, L the mean over all N anchors.
#[derive(Debug, Clone)]
pub struct Observed {
    /// The loss in nats.
    pub loss: f64,
    /// Anchors without a positive; they contribute zero and count in the mean.
    pub without_positives: usize,
    /// C x C, same-class part.
    pub positive: Array2<f64>,
    /// C x C, different-class part: rows anchors, columns keys.
    pub negative: Array2<f64>,
    /// Per class, with respect to features: every pair times sqrt(1 - s^2).
    pub features_per_class: Vec<f64>,
    /// Sum over the anchors of a class of |dL/dz|, keys held constant (C): pairs that pull in opposite
    /// directions cancel.
    pub norms_per_class: Vec<f64>,
    /// The same of the part of dL/dz that is tangent to the sphere.
    pub tangent_norms_per_class: Vec<f64>,
    /// Same-class similarity (C).
    pub similarity: Vec<ClassSimilarity>,
    /// By shot group; a group without classes is left out.
    pub densities: Vec<Density>,
    /// Mean |dL/dl| of positives by relative rank (easiest first), in 50 steps, and of negatives
    /// (hardest first), each times the number of positives or negatives of the anchor.
    pub by_rank: [Vec<f64>; 2],
    /// Share of the negative gradient carried by the hardest 1, 5, 10, 20, 50 % of negatives.
    pub carried: Vec<(f64, f64)>,
}

/// Sums over a block of anchors.
struct Part {
    loss: f64,
    without_positives: usize,
    positive: Vec<f64>,
    negative: Array2<f64>,
    features: Vec<f64>,
    norms: [Vec<f64>; 2],
    similarity: Vec<f64>,
    histogram: Array2<u64>,
    by_rank: [Vec<f64>; 2],
    carried: Vec<f64>,
}

const RANKS: usize = 50;
const CARRIED: [f64; 5] = [0.01, 0.05, 0.1, 0.2, 0.5];

/// Measures `features` `[N, D]` (normalised here) with `labels` (N, below C) and training counts
/// (C) that decide on the shot groups.
///
/// # Errors
/// [`Error::Input`] if shapes do not fit, a label is out of range, or a feature is not finite.
pub fn observe(
    mut features: Array2<f64>,
    labels: &[usize],
    train_counts: &[u64],
    temperature: Temperature,
) -> Result<Observed> {
    check(&features, labels, train_counts.len())?;
    normalize_rows(&mut features);
    let classes = train_counts.len();
    let starts: Vec<usize> = (0..labels.len()).step_by(BLOCK).collect();
    let mut whole = Part::new(classes);
    // Waves keep few blocks in memory; they are added in order, whatever the number of threads.
    for wave in starts.chunks(16) {
        let parts: Vec<Part> = wave
            .par_iter()
            .map(|&start| block(&features, labels, classes, temperature, start))
            .collect();
        parts.iter().for_each(|p| whole.add(p));
    }
    Ok(finish(whole, labels, train_counts, temperature))
}

fn check(features: &Array2<f64>, labels: &[usize], classes: usize) -> Result<()> {
    let (n, d) = features.dim();
    if n == 0 || d == 0 || n != labels.len() {
        return Err(Error::input(format!(
            "features {n}x{d} with {} labels: expected one label per row and at least one row and column",
            labels.len()
        )));
    }
    if let Some((row, label)) = labels.iter().enumerate().find(|(_, l)| **l >= classes) {
        return Err(Error::input(format!(
            "labels: row {row} has label {label}; expected 0..{classes}"
        )));
    }
    if let Some(((row, column), v)) = features.indexed_iter().find(|(_, v)| !v.is_finite()) {
        return Err(Error::input(format!(
            "features: row {row}, column {column} is {v}; expected finite numbers"
        )));
    }
    Ok(())
}

impl Part {
    fn new(classes: usize) -> Self {
        Self {
            loss: 0.0,
            without_positives: 0,
            positive: vec![0.0; classes],
            negative: Array2::zeros((classes, classes)),
            features: vec![0.0; classes],
            norms: [vec![0.0; classes], vec![0.0; classes]],
            similarity: vec![0.0; classes],
            histogram: Array2::zeros((classes, BINS)),
            by_rank: [vec![0.0; RANKS], vec![0.0; RANKS]],
            carried: vec![0.0; CARRIED.len()],
        }
    }

    fn add(&mut self, other: &Self) {
        self.loss += other.loss;
        self.without_positives += other.without_positives;
        self.negative += &other.negative;
        self.histogram += &other.histogram;
        let ([own, others], [raw, tangent]) = (&mut self.by_rank, &mut self.norms);
        for (a, b) in [
            (&mut self.positive, &other.positive),
            (&mut self.features, &other.features),
            (&mut self.similarity, &other.similarity),
            (raw, &other.norms[0]),
            (tangent, &other.norms[1]),
            (own, &other.by_rank[0]),
            (others, &other.by_rank[1]),
            (&mut self.carried, &other.carried),
        ] {
            a.iter_mut().zip(b).for_each(|(a, b)| *a += b);
        }
    }
}

/// Anchors start..start+BLOCK against all rows.
fn block(
    features: &ArrayRef2<f64>,
    labels: &[usize],
    classes: usize,
    temperature: Temperature,
    start: usize,
) -> Part {
    let end = (start + BLOCK).min(labels.len());
    let rows: Vec<usize> = (start..end).collect();
    let anchors = features.select(Axis(0), &rows);
    // A product of narrow matrices may come out column by column.
    let product = anchors.dot(&features.t());
    let sims = product.as_standard_layout();
    let mut part = Part::new(classes);
    let mut gradients = Array2::zeros(sims.raw_dim());
    for (r, i) in (start..end).enumerate() {
        let row = sims.row(r).to_slice().expect("rows in standard layout are contiguous");
        let mut gradient = gradients.row_mut(r);
        let gradient = gradient.as_slice_mut().expect("rows of zeros are contiguous");
        part.anchor(row, i, labels, temperature.get(), gradient);
    }
    let gradients = gradients.dot(features);
    for ((gradient, z), i) in gradients.rows().into_iter().zip(anchors.rows()).zip(start..end) {
        let norms = gradient_norms(&gradient.to_vec(), z.into_iter().copied());
        part.norms.iter_mut().zip(norms).for_each(|(to, norm)| to[labels[i]] += norm);
    }
    part
}

impl Part {
    /// Adds anchor i; T dL/ds of every row goes into `gradient` (zeros before).
    fn anchor(&mut self, sims: &[f64], i: usize, labels: &[usize], t: f64, gradient: &mut [f64]) {
        let class = labels[i];
        let is_positive = |j: usize| j != i && labels[j] == class;
        let positives = (0..sims.len()).filter(|&j| is_positive(j)).count();
        for j in (0..sims.len()).filter(|&j| is_positive(j)) {
            self.similarity[class] += sims[j];
            let bin = ((sims[j] + 1.0) / 2.0 * BINS as f64) as usize;
            self.histogram[[class, bin.min(BINS - 1)]] += 1;
        }
        if positives == 0 {
            self.without_positives += 1;
            return;
        }
        let keys = || (0..sims.len()).filter(|&j| j != i);
        let largest = keys().map(|j| sims[j] / t).fold(f64::NEG_INFINITY, f64::max);
        let mut exps: Vec<f64> = sims.iter().map(|s| (s / t - largest).exp()).collect();
        exps[i] = 0.0;
        let total: f64 = exps.iter().sum();
        let target = 1.0 / positives as f64;
        let mut pulled = 0.0;
        let (mut own, mut others) = (vec![], Vec::with_capacity(sims.len()));
        for j in keys() {
            let pi = exps[j] / total;
            if labels[j] == class {
                gradient[j] = pi - target;
                pulled += sims[j] / t;
                own.push((sims[j], gradient[j].abs()));
                self.positive[class] += gradient[j].abs();
            } else {
                gradient[j] = pi;
                others.push(pi);
                self.negative[[class, labels[j]]] += pi;
            }
            self.features[class] += gradient[j].abs() * (1.0 - sims[j] * sims[j]).max(0.0).sqrt();
        }
        self.loss += largest + total.ln() - pulled * target;
        self.ranks(&mut own, &mut others);
    }

    fn ranks(&mut self, own: &mut [(f64, f64)], others: &mut [f64]) {
        own.sort_by(|a, b| b.0.total_cmp(&a.0));
        others.sort_by(|a, b| b.total_cmp(a));
        let position = |r: usize, n: usize| (((r as f64 + 0.5) / RANKS as f64) * n as f64) as usize;
        let total: f64 = others.iter().sum();
        for r in 0..RANKS {
            self.by_rank[0][r] += own[position(r, own.len())].1 * own.len() as f64;
            if !others.is_empty() {
                self.by_rank[1][r] += others[position(r, others.len())] * others.len() as f64;
            }
        }
        for (to, share) in self.carried.iter_mut().zip(CARRIED) {
            let k = (share * others.len() as f64).ceil() as usize;
            *to += if total > 0.0 { others[..k].iter().sum::<f64>() / total } else { 0.0 };
        }
    }
}

fn finish(
    part: Part,
    labels: &[usize],
    train_counts: &[u64],
    temperature: Temperature,
) -> Observed {
    let n = labels.len() as f64;
    let unit = 1.0 / (n * temperature.get());
    let with_positives = (n - part.without_positives as f64).max(1.0);
    let pairs = |class: usize| part.histogram.row(class).sum();
    let mean = |sum: f64, count: u64| ClassSimilarity {
        mean: if count > 0 { sum / count as f64 } else { f64::NAN },
        count,
    };
    let similarity = (0..train_counts.len()).map(|c| mean(part.similarity[c], pairs(c))).collect();
    let density = |group: ShotGroup| -> Option<Density> {
        let classes: Vec<usize> =
            (0..train_counts.len()).filter(|&c| ShotGroup::of(train_counts[c]) == group).collect();
        if classes.is_empty() {
            return None;
        }
        let count: u64 = classes.iter().map(|&c| pairs(c)).sum();
        let sum: f64 = classes.iter().map(|&c| part.similarity[c]).sum();
        let width = 2.0 / BINS as f64;
        let point = |b: usize| {
            let hits: u64 = classes.iter().map(|&c| part.histogram[[c, b]]).sum();
            (-1.0 + (b as f64 + 0.5) * width, hits as f64 / (count.max(1) as f64 * width))
        };
        let points = (0..BINS).map(point).collect();
        Some(Density { group, similarity: mean(sum, count), points })
    };
    Observed {
        loss: part.loss / n,
        without_positives: part.without_positives,
        positive: Array2::from_diag(&ndarray::arr1(&part.positive)) * unit,
        negative: part.negative * unit,
        features_per_class: part.features.iter().map(|v| v * unit).collect(),
        norms_per_class: part.norms[0].iter().map(|v| v * unit).collect(),
        tangent_norms_per_class: part.norms[1].iter().map(|v| v * unit).collect(),
        similarity,
        densities: ShotGroup::ALL.into_iter().filter_map(density).collect(),
        by_rank: part.by_rank.map(|r| r.iter().map(|v| v / with_positives).collect()),
        carried: CARRIED.into_iter().zip(part.carried.iter().map(|v| v / with_positives)).collect(),
    }
}
