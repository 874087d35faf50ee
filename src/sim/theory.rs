//! What is expected: the published pair-frequency heuristic, the limits of the measured gradient
//! (derived in the report), and a mean-field prediction between them.

use super::{FeatureModel, KeySource, Setup, Statistic};
use crate::contrast::LossForm;
use crate::longtail::ClassCounts;
use crate::rng::Streams;
use ndarray::Array2;

/// M[c,c'] = p_c p_c' / p_1^2, relative to the largest class (METHOD section 8).
pub fn pair_frequency(counts: &ClassCounts) -> Array2<f64> {
    let n = counts.as_slice();
    let largest = counts.max() as f64;
    Array2::from_shape_fn((n.len(), n.len()), |(a, b)| {
        (n[a] as f64 / largest) * (n[b] as f64 / largest)
    })
}

/// Exponents of the imbalance factor on the anchor side and on the key side of a pair.
fn sides(balanced_loss: bool, source: KeySource) -> (i32, i32) {
    (i32::from(!balanced_loss), i32::from(source != KeySource::ClassBalanced))
}

/// The published heuristic (gradient mass is proportional to the number of pairs) as an exponent of
/// the imbalance factor, with effective-number weights at b -> 1: 2, 1, 1, 0 for pairs of classes in
/// plain, class-balanced loss, class-balanced queue, both; None where the paper says nothing.
pub fn heuristic_exponent(
    statistic: Statistic,
    balanced_loss: bool,
    source: KeySource,
) -> Option<i32> {
    let (anchor, key) = sides(balanced_loss, source);
    match statistic {
        Statistic::BatchLevel
        | Statistic::BatchLevelFeatures
        | Statistic::GradientNorm
        | Statistic::TangentNorm => Some(anchor),
        Statistic::SiameseLevel
        | Statistic::SameClass
        | Statistic::SameClassNet
        | Statistic::SameClassFeatures => Some(anchor + key),
        Statistic::SameClassPairs => Some(1 + key),
        Statistic::NegativeByAnchor | Statistic::NegativeByKey | Statistic::PerPositivePair => None,
    }
}

/// The heuristic as a ratio for these counts, with the weights as they are at the given b.
pub fn heuristic_ratio(
    setup: &Setup,
    statistic: Statistic,
    balanced_loss: bool,
    source: KeySource,
) -> Option<f64> {
    heuristic_exponent(statistic, balanced_loss, source)?;
    let groups = super::ClassGroups::new(&setup.params().counts);
    let images = |c: usize| setup.params().counts.as_slice()[c] as f64;
    let weighted = |c: usize| images(c) * if balanced_loss { setup.weights()[c] } else { 1.0 };
    let keys = |c: usize| if source == KeySource::ClassBalanced { 1.0 } else { images(c) };
    // Where classes are binned, the ratio is one of means per class.
    let ratio = |of: &dyn Fn(usize) -> f64| {
        let mean = |g: usize| {
            let members = &groups.members()[g];
            members.iter().map(|&c| of(c)).sum::<f64>() / members.len() as f64
        };
        mean(groups.head()) / mean(groups.tail())
    };
    Some(match statistic {
        Statistic::BatchLevel
        | Statistic::BatchLevelFeatures
        | Statistic::GradientNorm
        | Statistic::TangentNorm => ratio(&weighted),
        Statistic::SiameseLevel => ratio(&weighted) * ratio(&keys),
        Statistic::SameClassPairs => ratio(&|c| images(c) * keys(c)),
        _ => ratio(&|c| weighted(c) * keys(c)),
    })
}

/// Exponents of the imbalance factor in the limits that the report derives, for keys dominated by
/// the queue and scatter of the same shape in every class. The last two are not the same: in which
/// order concentration and 1/T grow decides whether positives are still pushed away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LimitExponents {
    /// All similarities alike on the scale of T.
    pub untrained: i32,
    /// Concentration to infinity at fixed T, with classes far apart (q_c r >> 1): positives are
    /// identical, each has 1/|P| of what the softmax leaves to them, and none is pushed away.
    pub identical: i32,
    /// T to zero at fixed concentration, the nearest key of every anchor being a positive: it takes
    /// the whole softmax. None where the exponent depends on the distribution of similarities.
    pub cold: Option<i32>,
}

/// The limits of the measured gradient; None where no single power holds in any of them.
pub fn limit_exponents(
    form: LossForm,
    statistic: Statistic,
    balanced_loss: bool,
    source: KeySource,
) -> Option<LimitExponents> {
    let (anchor, key) = sides(balanced_loss, source);
    let scale = if form == LossForm::Sum { key } else { 0 };
    let base = anchor + scale;
    let limits = |untrained, identical, cold| LimitExponents { untrained, identical, cold };
    // x = 1 - S_c, the share of the negatives in the softmax: constant, then inverse to the share
    // of the keys. It vanishes with T faster than any power.
    let escape = limits(base, base - key, None);
    // x + 2u: the push u is nothing, nothing, and 1 - 1/|P|. The form "in" has no push.
    let absolute = limits(base, base - key, (form != LossForm::In).then_some(base));
    let moved = |l: LimitExponents, by: i32| {
        limits(l.untrained + by, l.identical + by, l.cold.map(|c| c + by))
    };
    match statistic {
        Statistic::BatchLevel | Statistic::SameClass => Some(absolute),
        // With respect to features every pair has a factor that depends on its similarity.
        Statistic::BatchLevelFeatures | Statistic::SameClassFeatures => Some(escape),
        Statistic::SameClassNet | Statistic::NegativeByAnchor => Some(escape),
        Statistic::SiameseLevel => Some(moved(escape, key)),
        Statistic::NegativeByKey => Some(limits(key, key, None)),
        Statistic::PerPositivePair => Some(moved(absolute, -1 - key)),
        Statistic::SameClassPairs => Some(limits(1 + key, 1 + key, Some(1 + key))),
        // Untrained, the mean of |P| random directions, of length |P|^(-1/2); later the spread of
        // the positives around their mean: no whole power for both.
        Statistic::GradientNorm | Statistic::TangentNorm => None,
    }
}

/// The largest class (the first of them) and the smallest (the last of them).
fn ends(setup: &Setup) -> (usize, usize) {
    let groups = super::ClassGroups::new(&setup.params().counts);
    let n = setup.params().counts.as_slice();
    let members = groups.members();
    let largest = members[groups.head()].iter().copied().max_by_key(|&c| n[c]);
    let smallest = members[groups.tail()].iter().copied().min_by_key(|&c| n[c]);
    (largest.unwrap_or(0), smallest.unwrap_or(0))
}

/// Similarities of a few anchors of one class, as the mean field needs them.
struct AnchorSample {
    /// exp(s/T) of same-class pairs, divided by the mean of exp(s/T) over different-class pairs.
    positives: Vec<f64>,
}

/// Mean-field prediction of head-to-tail ratios without mining: numbers of keys are their
/// expectations and the softmax of an anchor is replaced by its means, S = n r / (n r + m) for n
/// positives, m negatives, and r the mean of exp(s/T) of positives over that of negatives.
pub struct MeanField<'a> {
    setup: &'a Setup,
    ends: [usize; 2],
    samples: [Vec<AnchorSample>; 2],
}

const ANCHORS: usize = 48;
const POSITIVES: usize = 64;
const NEGATIVES: usize = 256;

impl<'a> MeanField<'a> {
    /// Draws the similarities of head and tail anchors (stream "mean-field").
    pub fn new(setup: &'a Setup, streams: &Streams) -> Self {
        let p = setup.params();
        let model = FeatureModel::new(p.dim, setup.concentrations(), p.noise, streams);
        let (head, tail) = ends(setup);
        let t = setup.temperature().get();
        let classes = setup.classes();
        let sample = |class: usize| -> Vec<AnchorSample> {
            let mut rng = streams.stream("mean-field", &[class as u64]);
            let (mut z, mut k) = (vec![0.0; p.dim], vec![0.0; p.dim]);
            let mut exps = |z: &[f32], class: usize, rng: &mut _| {
                model.draw(class, rng, &mut k);
                let s: f32 = z.iter().zip(&k).map(|(a, b)| a * b).sum();
                ((f64::from(s) - 1.0) / t).exp()
            };
            (0..ANCHORS)
                .map(|_| {
                    model.draw(class, &mut rng, &mut z);
                    let mut positives: Vec<f64> =
                        (0..POSITIVES).map(|_| exps(&z, class, &mut rng)).collect();
                    let other = |i: usize| (class + 1 + i % (classes.max(2) - 1)) % classes;
                    let negatives: f64 = (0..NEGATIVES).map(|i| exps(&z, other(i), &mut rng)).sum();
                    let mean = negatives / NEGATIVES as f64;
                    positives.iter_mut().for_each(|e| *e /= mean);
                    AnchorSample { positives }
                })
                .collect()
        };
        Self { setup, ends: [head, tail], samples: [sample(head), sample(tail)] }
    }

    /// Expected number of positives and negatives of an anchor of `class`.
    fn keys(&self, class: usize, source: KeySource) -> (f64, f64) {
        let p = self.setup.params();
        let prior = p.counts.prior().as_slice()[class];
        let queue = self.setup.queue_keys(source) as f64;
        let own = match source {
            KeySource::None => 0.0,
            KeySource::Fifo => queue * prior,
            KeySource::ClassBalanced => p.keys_per_class as f64,
        };
        let batch = 2.0 * (p.batch as f64 - 1.0);
        (1.0 + batch * prior + own, batch * (1.0 - prior) + queue - own)
    }

    /// The predicted ratio; None for statistics it does not cover.
    pub fn ratio(
        &self,
        form: LossForm,
        statistic: Statistic,
        balanced_loss: bool,
        source: KeySource,
    ) -> Option<f64> {
        let end = |i: usize| self.one_end(i, form, statistic, balanced_loss, source);
        let ratio = end(0)? / end(1)?;
        ratio.is_finite().then_some(ratio)
    }

    fn one_end(
        &self,
        end: usize,
        form: LossForm,
        statistic: Statistic,
        balanced_loss: bool,
        source: KeySource,
    ) -> Option<f64> {
        let class = self.ends[end];
        let (positives, negatives) = self.keys(class, source);
        let prior = self.setup.params().counts.prior().as_slice()[class];
        let weight = if balanced_loss { self.setup.weights()[class] } else { 1.0 };
        let scale = prior * weight * if form == LossForm::Sum { positives } else { 1.0 };
        let mean = |f: &dyn Fn(&AnchorSample) -> f64| {
            self.samples[end].iter().map(f).sum::<f64>() / ANCHORS as f64
        };
        let escape = |a: &AnchorSample| {
            let r = a.positives.iter().sum::<f64>() / POSITIVES as f64;
            negatives / (negatives + positives * r)
        };
        let absolute = |a: &AnchorSample| {
            if form == LossForm::In {
                return escape(a);
            }
            // Groups as large as |P|: the softmax knows the anchor's own positives alone.
            let size = (positives.round() as usize).clamp(1, POSITIVES);
            let groups = a.positives.chunks_exact(size);
            let count = groups.len() as f64;
            let gap = |group: &[f64]| {
                let mean = group.iter().sum::<f64>() / size as f64;
                let total = positives * mean + negatives;
                group.iter().map(|e| (positives * e / total - 1.0).abs()).sum::<f64>() / size as f64
            };
            groups.map(gap).sum::<f64>() / count
        };
        Some(match statistic {
            Statistic::BatchLevel => scale * (mean(&absolute) + mean(&escape)),
            Statistic::SameClass => scale * mean(&absolute),
            Statistic::SameClassNet | Statistic::NegativeByAnchor => scale * mean(&escape),
            Statistic::SameClassPairs => prior * positives,
            Statistic::PerPositivePair => scale * mean(&absolute) / (prior * positives),
            Statistic::SiameseLevel => {
                let (own, _) = self.keys(class, source);
                let in_softmax = |a: &AnchorSample| escape(a) / negatives;
                scale * mean(&in_softmax) * (own - 1.0)
            }
            _ => return None,
        })
    }
}
