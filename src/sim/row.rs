//! One anchor against its keys: the pairs that mining leaves, one pass over their similarities, the
//! gradient mass by group of classes, and the gradient of every key.

use crate::contrast::{HardPairMiner, fast};

/// What is the same for every anchor.
pub(super) struct RowPass<'a> {
    /// Group of each class (C).
    pub(super) of_class: &'a [usize],
    /// Number of groups G.
    pub(super) groups: usize,
    /// 1/T.
    pub(super) inverse_t: f32,
    pub(super) miner: HardPairMiner,
}

/// Keys start..end of one class.
#[derive(Debug, Clone, Copy)]
pub(super) struct Segment {
    pub(super) class: usize,
    pub(super) start: usize,
    pub(super) end: usize,
}

/// How the keys lie: those of the batch, then those of the queue, each sorted by class.
pub(super) struct Layout {
    pub(super) segments: Vec<Segment>,
    /// Keys of the batch, which mining leaves alone.
    pub(super) in_batch: usize,
}

/// What one anchor contributes, in units of 1/T.
#[derive(Debug, Default)]
pub(super) struct RowMass {
    pub(super) positives: f64,
    pub(super) net: f64,
    pub(super) absolute: f64,
    pub(super) feature_absolute: f64,
    pub(super) negative: Vec<f64>,
    pub(super) feature_negative: Vec<f64>,
    /// Gradient of the other view of the anchor's image, with its sign.
    pub(super) other_gradient: f64,
}

/// Buffers that are reused from row to row.
#[derive(Default)]
pub(super) struct Scratch {
    /// The result.
    pub(super) row: RowMass,
    /// Exponentials, then the gradient of the keys that are left.
    exps: Vec<f32>,
    tangents: Vec<f32>,
    mined: Vec<f32>,
    mined_keys: Vec<u32>,
    mined_segments: Vec<Segment>,
    order: Vec<u32>,
}

/// Length of the gradient of an anchor at `z`, and of its part that is tangent to the sphere there.
pub(super) fn gradient_norms(gradient: &[f64], z: impl Iterator<Item = f64> + Clone) -> [f64; 2] {
    let along: f64 = gradient.iter().zip(z.clone()).map(|(g, z)| g * z).sum();
    let tangent = gradient.iter().zip(z).map(|(g, z)| (g - along * z).powi(2));
    [gradient.iter().map(|g| g * g).sum::<f64>().sqrt(), tangent.sum::<f64>().sqrt()]
}

impl RowPass<'_> {
    /// Gradient mass of an anchor of `class` into `s.row`, and T dL/ds of every key into `gradient`
    /// (N, as `sims`; 0 where mining leaves a key out). `other`: similarity to the other view of the
    /// anchor's image, which is always a positive.
    pub(super) fn anchor(
        &self,
        sims: &[f32],
        keys: &Layout,
        (class, other): (usize, f32),
        mined: bool,
        s: &mut Scratch,
        gradient: &mut [f32],
    ) {
        if !mined {
            self.row(sims, &keys.segments, (class, other), s);
            gradient.copy_from_slice(&s.exps);
            return;
        }
        self.mine(sims, keys, class, s);
        let (sims, segments) =
            (std::mem::take(&mut s.mined), std::mem::take(&mut s.mined_segments));
        self.row(&sims, &segments, (class, other), s);
        (s.mined, s.mined_segments) = (sims, segments);
        gradient.fill(0.0);
        for (&key, &g) in s.mined_keys.iter().zip(&s.exps) {
            gradient[key as usize] = g;
        }
    }

    /// Leaves of the queue the least similar positives and the most similar negatives.
    fn mine(&self, sims: &[f32], keys: &Layout, class: usize, s: &mut Scratch) {
        let by_similarity = |a: &u32, b: &u32| sims[*a as usize].total_cmp(&sims[*b as usize]);
        let in_batch = keys.in_batch;
        s.mined_keys.clear();
        s.mined_keys.extend(0..in_batch as u32);
        s.mined_segments.clear();
        s.mined_segments.extend(keys.segments.iter().filter(|seg| seg.end <= in_batch));
        let queue = || keys.segments.iter().filter(|seg| seg.start >= in_batch);
        for seg in queue().filter(|seg| seg.class == class) {
            let start = s.mined_keys.len();
            s.mined_keys.extend(seg.start as u32..seg.end as u32);
            if self.miner.num_pos < seg.end - seg.start {
                let own = &mut s.mined_keys[start..];
                own.select_nth_unstable_by(self.miner.num_pos, by_similarity);
                s.mined_keys.truncate(start + self.miner.num_pos);
            }
            s.mined_segments.push(Segment { class, start, end: s.mined_keys.len() });
        }
        s.order.clear();
        let negatives = queue().filter(|seg| seg.class != class);
        s.order.extend(negatives.flat_map(|seg| seg.start as u32..seg.end as u32));
        if self.miner.num_neg < s.order.len() {
            s.order.select_nth_unstable_by(self.miner.num_neg, |a, b| by_similarity(b, a));
            s.order.truncate(self.miner.num_neg);
            s.order.sort_unstable();
        }
        let mut segments = keys.segments.iter();
        let mut current = segments.next();
        for &key in &s.order {
            while current.is_some_and(|seg| seg.end <= key as usize) {
                current = segments.next();
            }
            let class = current.map_or(class, |seg| seg.class);
            let start = s.mined_keys.len();
            s.mined_keys.push(key);
            match s.mined_segments.last_mut() {
                Some(g) if g.class == class && g.end == start && start > in_batch => g.end += 1,
                _ => s.mined_segments.push(Segment { class, start, end: start + 1 }),
            }
        }
        s.mined.clear();
        s.mined.extend(s.mined_keys.iter().map(|&key| sims[key as usize]));
    }

    /// The one pass: largest, exponentials, sums by class, absolute positive gap.
    fn row(
        &self,
        sims: &[f32],
        segments: &[Segment],
        (class, other): (usize, f32),
        s: &mut Scratch,
    ) {
        s.exps.resize(sims.len(), 0.0);
        s.tangents.resize(sims.len(), 0.0);
        let largest = fast::max(sims).max(other);
        fast::exponentials(sims, largest, self.inverse_t, &mut s.exps);
        fast::tangents(sims, &mut s.tangents);
        let row = &mut s.row;
        for by_group in [&mut row.negative, &mut row.feature_negative] {
            by_group.clear();
            by_group.resize(self.groups, 0.0);
        }
        let other_exp = f64::from(fast::exp_nonpositive((other - largest) * self.inverse_t));
        let (mut positive_sum, mut negative_sum) = (other_exp, 0.0);
        row.positives = 1.0;
        for g in segments {
            let exps = &s.exps[g.start..g.end];
            let sum = f64::from(fast::sum(exps));
            if g.class == class {
                positive_sum += sum;
                row.positives += (g.end - g.start) as f64;
            } else {
                let group = self.of_class[g.class];
                negative_sum += sum;
                row.negative[group] += sum;
                let tangents = &s.tangents[g.start..g.end];
                row.feature_negative[group] += f64::from(fast::dot(exps, tangents));
            }
        }
        let inverse = 1.0 / (positive_sum + negative_sum);
        row.net = negative_sum * inverse;
        row.negative.iter_mut().chain(&mut row.feature_negative).for_each(|v| *v *= inverse);
        let target = 1.0 / row.positives;
        row.other_gradient = other_exp * inverse - target;
        let gap = row.other_gradient.abs();
        row.absolute = gap;
        row.feature_absolute = gap * f64::from(1.0 - other * other).max(0.0).sqrt();
        let own = || segments.iter().filter(|g| g.class == class);
        for g in own() {
            let exps = &s.exps[g.start..g.end];
            row.absolute += f64::from(fast::absolute_gap(exps, inverse as f32, target as f32));
            for (e, t) in exps.iter().zip(&s.tangents[g.start..g.end]) {
                row.feature_absolute += (f64::from(*e) * inverse - target).abs() * f64::from(*t);
            }
        }
        s.exps.iter_mut().for_each(|e| *e *= inverse as f32);
        for g in own() {
            s.exps[g.start..g.end].iter_mut().for_each(|e| *e -= target as f32);
        }
    }
}
