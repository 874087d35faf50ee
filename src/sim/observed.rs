//! The same measurements on features that exist: every row an anchor, every other row a key.

use super::ClassGroups;
use super::ranks::{ObservedEasy, RankSums};
use super::row::gradient_norms;
use crate::contrast::{Temperature, normalize_rows};
use crate::longtail::ShotGroup;
use crate::{Error, Result};
use ndarray::{Array2, ArrayRef2, Axis};
use rayon::prelude::*;
use std::collections::BTreeMap;

/// Rows of the similarity matrix that are worked on at a time.
const BLOCK: usize = 64;

/// Number of classes up to which the gradient mass is kept class by class. Above it a matrix of all
/// pairs of classes would be larger than the features that it comes from.
const MOST_SINGLE_CLASSES: usize = 1000;

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

/// Gradient mass of the anchors of a shot group.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ShotMass {
    /// The group.
    pub group: ShotGroup,
    /// Its classes that have rows.
    pub classes: usize,
    /// Its rows.
    pub rows: usize,
    /// Same-class part of its mass.
    pub positive: f64,
    /// Different-class part.
    pub negative: f64,
}

/// What is found on real features. Sums are of |dL/ds_ij|, L the mean over all N anchors.
#[derive(Debug, Clone)]
pub struct Observed {
    /// The loss in nats.
    pub loss: f64,
    /// Anchors without a positive; they contribute zero and count in the mean.
    pub without_positives: usize,
    /// Rows and columns of the matrices: the C classes, or above 1000 of them G bins by training
    /// count (within a factor of two and in one shot group).
    pub groups: ClassGroups,
    /// G x G, same-class part; zero off the diagonal.
    pub positive: Array2<f64>,
    /// G x G, different-class part: rows anchors, columns keys. Within a bin: different classes of it.
    pub negative: Array2<f64>,
    /// Same-class part by class of the anchors (C).
    pub positive_per_class: Vec<f64>,
    /// Different-class part by class of the anchors (C): also the net pull on the same-class pairs,
    /// since the gradient of an anchor sums to zero.
    pub negative_per_class: Vec<f64>,
    /// Per class, with respect to features: every pair times sqrt(1 - s^2).
    pub features_per_class: Vec<f64>,
    /// Sum over the anchors of a class of |dL/dz|, keys held constant (C): pairs that pull in opposite
    /// directions cancel.
    pub norms_per_class: Vec<f64>,
    /// The same of the part of dL/dz that is tangent to the sphere.
    pub tangent_norms_per_class: Vec<f64>,
    /// Same-class similarity (C).
    pub similarity: Vec<ClassSimilarity>,
    /// By shot group, all three; without pairs the density is zero everywhere.
    pub densities: Vec<Density>,
    /// By shot group, all three.
    pub shots: Vec<ShotMass>,
    /// The gradient over sorted keys.
    pub easy: ObservedEasy,
}

/// What is the same for every block of anchors.
struct Pass<'a> {
    features: &'a ArrayRef2<f64>,
    labels: &'a [usize],
    groups: &'a ClassGroups,
    /// Shot group of each class, as its place in [`ShotGroup::ALL`].
    shot_of: &'a [usize],
    temperature: f64,
    mining: &'a [(usize, usize)],
}

/// Sums over a block of anchors.
struct Part {
    loss: f64,
    without_positives: usize,
    positive: Vec<f64>,
    negative: Vec<f64>,
    /// Different-class part by group of the anchors and of the keys; only the rows of anchors that were
    /// met, so that a block of few anchors is small however many classes there are.
    between: BTreeMap<usize, Vec<f64>>,
    features: Vec<f64>,
    norms: [Vec<f64>; 2],
    similarity: Vec<f64>,
    pairs: Vec<u64>,
    /// By shot group.
    histogram: Array2<u64>,
    ranks: RankSums,
}

/// Measures `features` `[N, D]` (normalised here) with `labels` (N, below C) and training counts
/// (C) that decide on the shot groups; `mining` are the pairs of Q_p and Q_n that are tried.
///
/// # Errors
/// [`Error::Input`] if shapes do not fit, a label is out of range, or a feature is not finite.
pub fn observe(
    mut features: Array2<f64>,
    labels: &[usize],
    train_counts: &[u64],
    temperature: Temperature,
    mining: &[(usize, usize)],
) -> Result<Observed> {
    check(&features, labels, train_counts.len())?;
    normalize_rows(&mut features);
    let groups = ClassGroups::up_to(MOST_SINGLE_CLASSES, train_counts);
    let shot = |&n: &u64| ShotGroup::ALL.into_iter().position(|g| g == ShotGroup::of(n));
    let shot_of: Vec<usize> = train_counts.iter().filter_map(shot).collect();
    let pass = Pass {
        features: &features,
        labels,
        groups: &groups,
        shot_of: &shot_of,
        temperature: temperature.get(),
        mining,
    };
    let starts: Vec<usize> = (0..labels.len()).step_by(BLOCK).collect();
    let mut whole = Part::new(&pass);
    let mut between = Array2::zeros((groups.len(), groups.len()));
    // Waves keep few blocks in memory; they are added in order, whatever the number of threads.
    for wave in starts.chunks(16) {
        let parts: Vec<Part> = wave.par_iter().map(|&start| pass.block(start)).collect();
        for part in &parts {
            whole.add(part);
            for (&group, row) in &part.between {
                between.row_mut(group).iter_mut().zip(row).for_each(|(a, b)| *a += b);
            }
        }
    }
    Ok(finish(whole, between, &pass))
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
    fn new(pass: &Pass<'_>) -> Self {
        let classes = pass.shot_of.len();
        let zeros = || vec![0.0; classes];
        Self {
            loss: 0.0,
            without_positives: 0,
            positive: zeros(),
            negative: zeros(),
            between: BTreeMap::new(),
            features: zeros(),
            norms: [zeros(), zeros()],
            similarity: zeros(),
            pairs: vec![0; classes],
            histogram: Array2::zeros((ShotGroup::ALL.len(), BINS)),
            ranks: RankSums::new(pass.mining.len()),
        }
    }

    /// Adds all but the matrix, which is added to the whole one.
    fn add(&mut self, other: &Self) {
        self.loss += other.loss;
        self.without_positives += other.without_positives;
        self.histogram += &other.histogram;
        self.pairs.iter_mut().zip(&other.pairs).for_each(|(a, b)| *a += b);
        self.ranks.add(&other.ranks);
        let [raw, tangent] = &mut self.norms;
        for (a, b) in [
            (&mut self.positive, &other.positive),
            (&mut self.negative, &other.negative),
            (&mut self.features, &other.features),
            (&mut self.similarity, &other.similarity),
            (raw, &other.norms[0]),
            (tangent, &other.norms[1]),
        ] {
            a.iter_mut().zip(b).for_each(|(a, b)| *a += b);
        }
    }

    /// Adds anchor i; T dL/ds of every row goes into `gradient` (zeros before).
    fn anchor(&mut self, sims: &[f64], i: usize, pass: &Pass<'_>, gradient: &mut [f64]) {
        let (labels, t) = (pass.labels, pass.temperature);
        let class = labels[i];
        let is_positive = |j: usize| j != i && labels[j] == class;
        let positives = (0..sims.len()).filter(|&j| is_positive(j)).count();
        self.pairs[class] += positives as u64;
        for j in (0..sims.len()).filter(|&j| is_positive(j)) {
            self.similarity[class] += sims[j];
            let bin = ((sims[j] + 1.0) / 2.0 * BINS as f64) as usize;
            self.histogram[[pass.shot_of[class], bin.min(BINS - 1)]] += 1;
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
        let of_class = pass.groups.of_class();
        let between =
            self.between.entry(of_class[class]).or_insert_with(|| vec![0.0; pass.groups.len()]);
        for j in keys() {
            let pi = exps[j] / total;
            if labels[j] == class {
                gradient[j] = pi - target;
                pulled += sims[j] / t;
                own.push((sims[j], pi));
                self.positive[class] += gradient[j].abs();
            } else {
                gradient[j] = pi;
                others.push((sims[j], pi));
                between[of_class[labels[j]]] += pi;
                self.negative[class] += pi;
            }
            self.features[class] += gradient[j].abs() * (1.0 - sims[j] * sims[j]).max(0.0).sqrt();
        }
        self.loss += largest + total.ln() - pulled * target;
        self.ranks.anchor(&mut own, &mut others, t, pass.mining);
    }
}

impl Pass<'_> {
    /// Anchors start..start+BLOCK against all rows.
    fn block(&self, start: usize) -> Part {
        let end = (start + BLOCK).min(self.labels.len());
        let rows: Vec<usize> = (start..end).collect();
        let anchors = self.features.select(Axis(0), &rows);
        // A product of narrow matrices may come out column by column.
        let product = anchors.dot(&self.features.t());
        let sims = product.as_standard_layout();
        let mut part = Part::new(self);
        let mut gradients = Array2::zeros(sims.raw_dim());
        for (r, i) in (start..end).enumerate() {
            let row = sims.row(r).to_slice().expect("rows in standard layout are contiguous");
            let mut gradient = gradients.row_mut(r);
            let gradient = gradient.as_slice_mut().expect("rows of zeros are contiguous");
            part.anchor(row, i, self, gradient);
        }
        let gradients = gradients.dot(self.features);
        for ((gradient, z), i) in gradients.rows().into_iter().zip(anchors.rows()).zip(start..end) {
            let norms = gradient_norms(&gradient.to_vec(), z.into_iter().copied());
            part.norms.iter_mut().zip(norms).for_each(|(to, norm)| to[self.labels[i]] += norm);
        }
        part
    }
}

fn finish(part: Part, between: Array2<f64>, pass: &Pass<'_>) -> Observed {
    let n = pass.labels.len() as f64;
    let unit = 1.0 / (n * pass.temperature);
    let scaled = |of: &[f64]| of.iter().map(|v| v * unit).collect::<Vec<_>>();
    let classes = || 0..pass.shot_of.len();
    let similarity = classes().map(|c| similarity(part.similarity[c], part.pairs[c])).collect();
    let (positive, negative) = (scaled(&part.positive), scaled(&part.negative));
    let mut same = Array2::zeros(between.raw_dim());
    for (class, mass) in positive.iter().enumerate() {
        let group = pass.groups.of_class()[class];
        same[[group, group]] += mass;
    }
    Observed {
        loss: part.loss / n,
        without_positives: part.without_positives,
        groups: pass.groups.clone(),
        positive: same,
        negative: between * unit,
        features_per_class: scaled(&part.features),
        norms_per_class: scaled(&part.norms[0]),
        tangent_norms_per_class: scaled(&part.norms[1]),
        similarity,
        densities: (0..ShotGroup::ALL.len()).map(|s| density(s, &part, pass.shot_of)).collect(),
        shots: (0..ShotGroup::ALL.len()).map(|s| shot(s, &positive, &negative, pass)).collect(),
        easy: part.ranks.finish(pass.mining),
        positive_per_class: positive,
        negative_per_class: negative,
    }
}

fn similarity(sum: f64, count: u64) -> ClassSimilarity {
    let mean = if count > 0 { sum / count as f64 } else { f64::NAN };
    ClassSimilarity { mean, count }
}

fn density(shot: usize, part: &Part, shot_of: &[usize]) -> Density {
    let classes = || (0..shot_of.len()).filter(|&c| shot_of[c] == shot);
    let count: u64 = classes().map(|c| part.pairs[c]).sum();
    let width = 2.0 / BINS as f64;
    let point = |b: usize| {
        let hits = part.histogram[[shot, b]] as f64;
        (-1.0 + (b as f64 + 0.5) * width, hits / (count.max(1) as f64 * width))
    };
    Density {
        group: ShotGroup::ALL[shot],
        similarity: similarity(classes().map(|c| part.similarity[c]).sum(), count),
        points: (0..BINS).map(point).collect(),
    }
}

fn shot(shot: usize, positive: &[f64], negative: &[f64], pass: &Pass<'_>) -> ShotMass {
    let in_group = |c: &usize| pass.shot_of[*c] == shot;
    let mut present: Vec<usize> = pass.labels.iter().copied().filter(in_group).collect();
    let rows = present.len();
    present.sort_unstable();
    present.dedup();
    let sum = |of: &[f64]| present.iter().map(|&c| of[c]).sum();
    ShotMass {
        group: ShotGroup::ALL[shot],
        classes: present.len(),
        rows,
        positive: sum(positive),
        negative: sum(negative),
    }
}
