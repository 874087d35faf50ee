//! Easy and hard pairs of anchors that exist: the gradient over their sorted keys.

/// Steps of relative rank.
const RANKS: usize = 50;

/// Shares of the hardest negatives whose gradient is summed.
const CARRIED: [f64; 5] = [0.01, 0.05, 0.1, 0.2, 0.5];

/// Mean gradient of one side over relative rank, in 50 equal steps; every anchor counts alike, its
/// gradients times the number of keys on that side.
#[derive(Debug, Clone)]
pub struct RankCurve {
    /// |dL/dl|, l = s/T.
    pub logits: Vec<f64>,
    /// |dL/dl| sqrt(1 - s^2).
    pub features: Vec<f64>,
}

/// What mining leaves, means over anchors.
#[derive(Debug, Clone, Copy)]
pub struct ObservedMined {
    /// Q_p and Q_n.
    pub asked: (usize, usize),
    /// Share of the positive gradient (absolute) that lies on the hardest Q_p positives.
    pub positive: f64,
    /// Share of the negative gradient that lies on the hardest Q_n negatives.
    pub negative: f64,
    /// An anchor's whole gradient, absolute, when only the kept pairs form the softmax, over that of
    /// all pairs.
    pub renormalised: f64,
    /// Share of the pairs that is kept.
    pub pairs: f64,
}

/// The gradient over sorted keys: means over the anchors that have a positive, not finite where no
/// anchor has what is averaged.
#[derive(Debug, Clone)]
pub struct ObservedEasy {
    /// Anchors with a positive.
    pub anchors: usize,
    /// Mean number of positives.
    pub positives: f64,
    /// Mean number of negatives.
    pub negatives: f64,
    /// Positives, easiest (most similar) first.
    pub positive: RankCurve,
    /// Negatives, hardest (most similar) first.
    pub negative: RankCurve,
    /// Relative rank (0 to 1) at which the mean positive gradient is smallest: the bottom of the V.
    pub valley: f64,
    /// Mean number of positives that are pushed away (pi > 1/|P|).
    pub pushed_away: f64,
    /// Share of the negative gradient carried by the hardest 1, 5, 10, 20, 50 % of negatives.
    pub carried: Vec<(f64, f64)>,
    /// Mean number of the hardest negatives that carry 90 % and 99 % of the negative gradient.
    pub carry_90_99: [f64; 2],
    /// What mining leaves, by pair of Q_p and Q_n.
    pub mined: Vec<ObservedMined>,
}

/// A mean over those anchors for which a value is defined.
#[derive(Debug, Clone, Copy, Default)]
struct Mean {
    sum: f64,
    count: f64,
}

impl Mean {
    fn push(&mut self, value: f64) {
        if value.is_finite() {
            self.sum += value;
            self.count += 1.0;
        }
    }

    fn add(&mut self, other: &Self) {
        self.sum += other.sum;
        self.count += other.count;
    }

    fn get(self) -> f64 {
        self.sum / self.count
    }
}

/// Sums over anchors.
pub(super) struct RankSums {
    positives: Mean,
    negatives: Mean,
    pushed_away: Mean,
    /// Positives and negatives, with respect to logits and to features.
    curves: [[Vec<Mean>; 2]; 2],
    carried: Vec<Mean>,
    carry_90_99: [Mean; 2],
    /// By pair of Q_p and Q_n: positive, negative, renormalised, pairs.
    mined: Vec<[Mean; 4]>,
}

/// A key of an anchor: its cosine and its share pi of the softmax.
type Key = (f64, f64);

impl RankSums {
    pub(super) fn new(mining: usize) -> Self {
        let curve = || vec![Mean::default(); RANKS];
        Self {
            positives: Mean::default(),
            negatives: Mean::default(),
            pushed_away: Mean::default(),
            curves: [[curve(), curve()], [curve(), curve()]],
            carried: vec![Mean::default(); CARRIED.len()],
            carry_90_99: [Mean::default(); 2],
            mined: vec![[Mean::default(); 4]; mining],
        }
    }

    fn all(&self) -> impl Iterator<Item = &Mean> {
        [&self.positives, &self.negatives, &self.pushed_away]
            .into_iter()
            .chain(self.curves.as_flattened().iter().flatten())
            .chain(&self.carried)
            .chain(&self.carry_90_99)
            .chain(self.mined.as_flattened())
    }

    fn all_mut(&mut self) -> impl Iterator<Item = &mut Mean> {
        [&mut self.positives, &mut self.negatives, &mut self.pushed_away]
            .into_iter()
            .chain(self.curves.as_flattened_mut().iter_mut().flatten())
            .chain(&mut self.carried)
            .chain(&mut self.carry_90_99)
            .chain(self.mined.as_flattened_mut())
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.all_mut().zip(other.all()).for_each(|(a, b)| a.add(b));
    }

    /// Adds an anchor with its positives (at least one) and its negatives, in any order.
    pub(super) fn anchor(
        &mut self,
        own: &mut [Key],
        others: &mut [Key],
        t: f64,
        mining: &[(usize, usize)],
    ) {
        own.sort_unstable_by(|a, b| b.0.total_cmp(&a.0));
        others.sort_unstable_by(|a, b| b.0.total_cmp(&a.0));
        let target = 1.0 / own.len() as f64;
        self.positives.push(own.len() as f64);
        self.negatives.push(others.len() as f64);
        self.pushed_away.push(own.iter().filter(|k| k.1 > target).count() as f64);
        for (side, keys, target) in [(0, &*own, target), (1, &*others, 0.0)] {
            for r in (0..RANKS).filter(|_| !keys.is_empty()) {
                let n = keys.len() as f64;
                let (s, pi) = keys[((r as f64 + 0.5) / RANKS as f64 * n) as usize];
                let gradient = n * (pi - target).abs();
                self.curves[side][0][r].push(gradient);
                self.curves[side][1][r].push(gradient * (1.0 - s * s).max(0.0).sqrt());
            }
        }
        self.hardest(others);
        for (mean, &kept) in self.mined.iter_mut().zip(mining) {
            mean.iter_mut().zip(mined(own, others, t, kept)).for_each(|(m, v)| m.push(v));
        }
    }

    /// What the hardest negatives carry.
    fn hardest(&mut self, others: &[Key]) {
        let total = mass(others, 0.0);
        for (to, share) in self.carried.iter_mut().zip(CARRIED) {
            let k = (share * others.len() as f64).ceil() as usize;
            to.push(mass(&others[..k], 0.0) / total);
        }
        for (to, share) in self.carry_90_99.iter_mut().zip([0.9, 0.99]) {
            let mut running = 0.0;
            let reached = others.iter().position(|k| {
                running += k.1;
                running >= share * total
            });
            to.push(reached.map_or(f64::NAN, |k| k as f64 + 1.0));
        }
    }

    pub(super) fn finish(self, mining: &[(usize, usize)]) -> ObservedEasy {
        let means = |of: &[Mean]| of.iter().map(|m| m.get()).collect::<Vec<_>>();
        let [positive, negative] = self.curves.map(|[logits, features]| RankCurve {
            logits: means(&logits),
            features: means(&features),
        });
        let lowest = positive.logits.iter().enumerate().min_by(|a, b| a.1.total_cmp(b.1));
        let valley = lowest.filter(|(_, v)| v.is_finite());
        let mined = |(&asked, m): (&(usize, usize), &[Mean; 4])| ObservedMined {
            asked,
            positive: m[0].get(),
            negative: m[1].get(),
            renormalised: m[2].get(),
            pairs: m[3].get(),
        };
        ObservedEasy {
            anchors: self.positives.count as usize,
            positives: self.positives.get(),
            negatives: self.negatives.get(),
            valley: valley.map_or(f64::NAN, |(r, _)| (r as f64 + 0.5) / RANKS as f64),
            positive,
            negative,
            pushed_away: self.pushed_away.get(),
            carried: CARRIED.into_iter().zip(means(&self.carried)).collect(),
            carry_90_99: self.carry_90_99.map(Mean::get),
            mined: mining.iter().zip(&self.mined).map(mined).collect(),
        }
    }
}

/// Sum of |pi - target|.
fn mass(keys: &[Key], target: f64) -> f64 {
    keys.iter().map(|k| (k.1 - target).abs()).sum()
}

/// Shares of the positive and of the negative gradient on the kept pairs, the gradient after mining
/// over that before, and the share of pairs kept. Keys are sorted, the most similar first.
fn mined(own: &[Key], others: &[Key], t: f64, (num_pos, num_neg): (usize, usize)) -> [f64; 4] {
    let hard = &own[own.len().saturating_sub(num_pos)..];
    let near = &others[..num_neg.min(others.len())];
    let target = 1.0 / own.len() as f64;
    let before = mass(own, target) + mass(others, 0.0);
    // A softmax of their own: the largest kept is taken out, or all might underflow.
    let largest = hard.iter().chain(near).map(|k| k.0).fold(f64::NEG_INFINITY, f64::max);
    let exp = |k: &Key| ((k.0 - largest) / t).exp();
    let (p, n): (f64, f64) = (hard.iter().map(exp).sum(), near.iter().map(exp).sum());
    let target_after = 1.0 / hard.len() as f64;
    let pulled: f64 = hard.iter().map(|k| (exp(k) / (p + n) - target_after).abs()).sum();
    [
        mass(hard, target) / mass(own, target),
        mass(near, 0.0) / mass(others, 0.0),
        (pulled + n / (p + n)) / before,
        (hard.len() + near.len()) as f64 / (own.len() + others.len()) as f64,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contrast::{LossForm, Relation, Temperature, anchor_gradient};

    /// Two positives and three negatives at T = 0.5, against the float64 reference.
    #[test]
    fn one_anchor_is_what_the_reference_says() {
        let sims = [0.9, 0.1, 0.6, -0.2, 0.3];
        let relations = [
            Relation::Positive,
            Relation::Positive,
            Relation::Negative,
            Relation::Negative,
            Relation::Negative,
        ];
        let t = Temperature::new(0.5).unwrap();
        let gradient = |relations: &[Relation]| -> Vec<f64> {
            anchor_gradient(LossForm::Out, t, &sims, relations)
                .grad
                .iter()
                .map(|g| g * 0.5)
                .collect()
        };
        let g = gradient(&relations);
        let mut own = [(0.1, g[1] + 0.5), (0.9, g[0] + 0.5)];
        let mut others = [(-0.2, g[3]), (0.6, g[2]), (0.3, g[4])];
        let mut sums = RankSums::new(1);
        sums.anchor(&mut own, &mut others, 0.5, &[(1, 2)]);
        let e = sums.finish(&[(1, 2)]);
        let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-12, "{a} {b}");
        close(e.positive.logits[0], 2.0 * g[0].abs());
        close(e.positive.logits[RANKS - 1], 2.0 * g[1].abs());
        close(e.negative.features[0], 3.0 * g[2] * (1.0f64 - 0.36).sqrt());
        let negative = g[2] + g[3] + g[4];
        close(e.carried[4].1, (g[2] + g[4]) / negative);
        let needed = if g[2] + g[4] >= 0.9 * negative { 2.0 } else { 3.0 };
        close(e.carry_90_99[0], needed);
        close(e.pushed_away, f64::from(u8::from(g[0] > 0.0)));
        close(e.mined[0].positive, g[1].abs() / (g[0].abs() + g[1].abs()));
        close(e.mined[0].negative, (g[2] + g[4]) / negative);
        close(e.mined[0].pairs, 0.6);
        let kept = gradient(&[
            Relation::Excluded,
            Relation::Positive,
            Relation::Negative,
            Relation::Excluded,
            Relation::Negative,
        ]);
        let total = |g: &[f64]| g.iter().map(|v| v.abs()).sum::<f64>();
        close(e.mined[0].renormalised, total(&kept) / total(&g));
    }

    #[test]
    fn without_anchors_or_negatives_nothing_is_made_up() {
        let empty = RankSums::new(0).finish(&[]);
        assert!(empty.anchors == 0 && empty.valley.is_nan() && empty.positives.is_nan());
        let mut sums = RankSums::new(1);
        sums.anchor(&mut [(0.2, 0.4), (0.4, 0.6)], &mut [], 0.1, &[(1, 1)]);
        let e = sums.finish(&[(1, 1)]);
        assert!(
            e.carried[0].1.is_nan() && e.carry_90_99[0].is_nan() && e.mined[0].negative.is_nan()
        );
        assert!(e.positive.logits.iter().all(|v| v.is_finite()) && e.mined[0].positive.is_finite());
    }
}
