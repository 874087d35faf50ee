//! One simulated batch: anchors of every class against the keys of the batch and of the queues.
//!
//! Anchors are stratified. Labels of a batch are independent draws, so the expected sum over the
//! anchors of class c is 2B p_c times the expectation for one anchor that is known to be of class c;
//! every class gets the same number of anchors, which share the other images of the batch and the
//! queue. Nothing is approximated: a rare class is as precise as a frequent one.

use super::masses::VariantMasses;
use super::{ClassGroups, FeatureModel, KeySource, Setup};
use crate::contrast::{LossForm, fast};
use crate::rng::{Rng, Streams};
use ndarray::Array2;
use rand::RngExt;

/// What is simulated for one setup.
pub(super) struct Simulation<'a> {
    pub(super) setup: &'a Setup,
    pub(super) model: FeatureModel,
    pub(super) groups: &'a ClassGroups,
    /// Key sources; each is simulated without and (where there is a queue) with mining.
    pub(super) variants: Vec<(KeySource, bool)>,
    cumulative: Vec<f64>,
    anchors_per_group: usize,
}

/// Keys sorted by class.
struct Keys {
    features: Array2<f32>,
    segments: Vec<Segment>,
}

/// Keys start..end of one class.
#[derive(Debug, Clone, Copy)]
struct Segment {
    class: usize,
    start: usize,
    end: usize,
}

/// What one anchor contributes.
#[derive(Debug, Default)]
struct RowMass {
    positives: f64,
    net: f64,
    absolute: f64,
    feature_absolute: f64,
    negative: Vec<f64>,
    feature_negative: Vec<f64>,
}

/// Buffers that are reused from row to row.
#[derive(Default)]
struct Scratch {
    exps: Vec<f32>,
    tangents: Vec<f32>,
    row: RowMass,
    mined: Vec<f32>,
    mined_segments: Vec<Segment>,
    order: Vec<u32>,
}

impl<'a> Simulation<'a> {
    pub(super) fn new(
        setup: &'a Setup,
        groups: &'a ClassGroups,
        variants: Vec<(KeySource, bool)>,
        streams: &Streams,
    ) -> Self {
        let p = setup.params();
        let model = FeatureModel::new(p.dim, setup.concentrations(), p.noise, streams);
        let mut total = 0.0;
        let running = |p: &f64| {
            total += p;
            total
        };
        let cumulative = p.counts.prior().as_slice().iter().map(running).collect();
        let anchors_per_group = (96 / groups.len()).clamp(1, 12);
        Self { setup, model, groups, variants, cumulative, anchors_per_group }
    }

    /// Simulates one batch: one entry per variant.
    pub(super) fn batch(&self, rng: &mut Rng) -> Vec<VariantMasses> {
        let (anchors, anchor_classes, others) = self.draw_anchors(rng);
        let images = self.setup.params().batch - 1;
        let mut batch_labels: Vec<_> =
            (0..images).flat_map(|_| [self.draw_label(rng); 2]).collect();
        batch_labels.sort_unstable();
        let context = self.draw_features(&batch_labels, rng);
        let mut out = vec![];
        let mut scratch = Scratch::default();
        let mut last: Option<(KeySource, Keys, Array2<f32>)> = None;
        for &(source, mined) in &self.variants {
            let (keys, sims) = match last.take() {
                Some((same, keys, sims)) if same == source => (keys, sims),
                _ => {
                    let queue = self.draw_queue(source, rng);
                    let keys = join(&context, &batch_labels, &queue.0, &queue.1);
                    // A product of narrow matrices may come out column by column.
                    let mut sims = anchors.dot(&keys.features.t());
                    if !sims.is_standard_layout() {
                        sims = sims.as_standard_layout().into_owned();
                    }
                    (keys, sims)
                }
            };
            let mut masses = VariantMasses::zeros(self.groups.len());
            for (i, &class) in anchor_classes.iter().enumerate() {
                let row = sims.row(i).to_slice().expect("rows in standard layout are contiguous");
                self.anchor(
                    row,
                    &keys,
                    batch_labels.len(),
                    (class, others[i]),
                    mined,
                    &mut scratch,
                );
                self.record(&scratch.row, class, &mut masses);
            }
            out.push(masses);
            last = Some((source, keys, sims));
        }
        out
    }

    /// Anchors `[G*A, D]`, their classes, and the similarity of each to its image's other view.
    fn draw_anchors(&self, rng: &mut Rng) -> (Array2<f32>, Vec<usize>, Vec<f32>) {
        let prior = self.setup.params().counts.prior();
        let mut classes = vec![];
        for members in self.groups.members() {
            let mass: f64 = members.iter().map(|&c| prior.as_slice()[c]).sum();
            for _ in 0..self.anchors_per_group {
                let mut left = if members.len() > 1 { mass * rng.random::<f64>() } else { 0.0 };
                let chosen = members.iter().copied().find(|&c| {
                    left -= prior.as_slice()[c];
                    left < 0.0
                });
                classes.push(chosen.unwrap_or(members[members.len() - 1]));
            }
        }
        let anchors = self.draw_features(&classes, rng);
        let views = self.draw_features(&classes, rng);
        let dot = |(a, b): (ndarray::ArrayView1<f32>, ndarray::ArrayView1<f32>)| a.dot(&b);
        let others = anchors.rows().into_iter().zip(views.rows()).map(dot).collect();
        (anchors, classes, others)
    }

    fn draw_label(&self, rng: &mut Rng) -> usize {
        let at: f64 = rng.random();
        self.cumulative.partition_point(|&c| c <= at).min(self.cumulative.len() - 1)
    }

    fn draw_features(&self, labels: &[usize], rng: &mut Rng) -> Array2<f32> {
        let mut out = Array2::zeros((labels.len(), self.model.dim()));
        for (mut row, &label) in out.rows_mut().into_iter().zip(labels) {
            let row = row.as_slice_mut().expect("rows in standard layout are contiguous");
            self.model.draw(label, rng, row);
        }
        out
    }

    /// The content of a queue in its steady state: independent of the batch, of the distribution
    /// that filled it.
    fn draw_queue(&self, source: KeySource, rng: &mut Rng) -> (Array2<f32>, Vec<usize>) {
        let n = self.setup.queue_keys(source);
        let mut labels: Vec<usize> = match source {
            KeySource::None => vec![],
            KeySource::Fifo => (0..n).map(|_| self.draw_label(rng)).collect(),
            KeySource::ClassBalanced => {
                (0..n).map(|k| k / self.setup.params().keys_per_class).collect()
            }
        };
        labels.sort_unstable();
        (self.draw_features(&labels, rng), labels)
    }

    /// Gradient mass of one anchor into `scratch.row`.
    fn anchor(
        &self,
        sims: &[f32],
        keys: &Keys,
        in_batch: usize,
        (class, other_view): (usize, f32),
        mined: bool,
        scratch: &mut Scratch,
    ) {
        if !mined {
            self.row(sims, &keys.segments, (class, other_view), scratch);
            return;
        }
        self.mine(sims, keys, in_batch, class, scratch);
        let sims = std::mem::take(&mut scratch.mined);
        let segments = std::mem::take(&mut scratch.mined_segments);
        self.row(&sims, &segments, (class, other_view), scratch);
        (scratch.mined, scratch.mined_segments) = (sims, segments);
    }

    /// Leaves of the queue the least similar positives and the most similar negatives.
    fn mine(&self, sims: &[f32], keys: &Keys, in_batch: usize, class: usize, s: &mut Scratch) {
        let miner = self.setup.params().miner;
        s.mined.clear();
        s.mined.extend_from_slice(&sims[..in_batch]);
        s.mined_segments.clear();
        s.mined_segments.extend(keys.segments.iter().filter(|seg| seg.end <= in_batch));
        for seg in keys.segments.iter().filter(|seg| seg.start >= in_batch && seg.class == class) {
            let start = s.mined.len();
            s.mined.extend_from_slice(&sims[seg.start..seg.end]);
            if miner.num_pos < seg.end - seg.start {
                s.mined[start..].select_nth_unstable_by(miner.num_pos, f32::total_cmp);
                s.mined.truncate(start + miner.num_pos);
            }
            s.mined_segments.push(Segment { class, start, end: s.mined.len() });
        }
        let negatives = keys.segments.iter().filter(|g| g.start >= in_batch && g.class != class);
        s.order.clear();
        s.order.extend(negatives.flat_map(|g| g.start as u32..g.end as u32));
        if miner.num_neg < s.order.len() {
            let harder = |a: &u32, b: &u32| sims[*b as usize].total_cmp(&sims[*a as usize]);
            s.order.select_nth_unstable_by(miner.num_neg, harder);
            s.order.truncate(miner.num_neg);
            s.order.sort_unstable();
        }
        let mut segments = keys.segments.iter();
        let mut current = segments.next();
        for &key in &s.order {
            while current.is_some_and(|g| g.end <= key as usize) {
                current = segments.next();
            }
            let class = current.map_or(class, |g| g.class);
            let start = s.mined.len();
            s.mined.push(sims[key as usize]);
            match s.mined_segments.last_mut() {
                Some(g) if g.class == class && g.end == start && start > in_batch => g.end += 1,
                _ => s.mined_segments.push(Segment { class, start, end: start + 1 }),
            }
        }
    }

    /// The one pass: largest, exponentials, sums by class, absolute positive gap.
    fn row(
        &self,
        sims: &[f32],
        segments: &[Segment],
        (class, other): (usize, f32),
        s: &mut Scratch,
    ) {
        let inverse_t = (1.0 / self.setup.temperature().get()) as f32;
        s.exps.resize(sims.len(), 0.0);
        s.tangents.resize(sims.len(), 0.0);
        let largest = fast::max(sims).max(other);
        fast::exponentials(sims, largest, inverse_t, &mut s.exps);
        fast::tangents(sims, &mut s.tangents);
        let row = &mut s.row;
        for by_group in [&mut row.negative, &mut row.feature_negative] {
            by_group.clear();
            by_group.resize(self.groups.len(), 0.0);
        }
        let other_exp = fast::exp_nonpositive((other - largest) * inverse_t);
        let (mut positive_sum, mut negative_sum) = (f64::from(other_exp), 0.0);
        row.positives = 1.0;
        for g in segments {
            let sum = f64::from(fast::sum(&s.exps[g.start..g.end]));
            if g.class == class {
                positive_sum += sum;
                row.positives += (g.end - g.start) as f64;
            } else {
                let group = self.groups.of_class()[g.class];
                negative_sum += sum;
                row.negative[group] += sum;
                let (exps, tangents) = (&s.exps[g.start..g.end], &s.tangents[g.start..g.end]);
                row.feature_negative[group] += f64::from(fast::dot(exps, tangents));
            }
        }
        let inverse = 1.0 / (positive_sum + negative_sum);
        row.net = negative_sum * inverse;
        row.negative.iter_mut().chain(&mut row.feature_negative).for_each(|v| *v *= inverse);
        let target = 1.0 / row.positives;
        let gap = (f64::from(other_exp) * inverse - target).abs();
        row.absolute = gap;
        row.feature_absolute = gap * f64::from(1.0 - other * other).max(0.0).sqrt();
        for g in segments.iter().filter(|g| g.class == class) {
            let exps = &s.exps[g.start..g.end];
            row.absolute += f64::from(fast::absolute_gap(exps, inverse as f32, target as f32));
            for (e, t) in exps.iter().zip(&s.tangents[g.start..g.end]) {
                row.feature_absolute += (f64::from(*e) * inverse - target).abs() * f64::from(*t);
            }
        }
    }

    /// Adds an anchor's masses, in all forms and weightings, to its group's means.
    fn record(&self, row: &RowMass, class: usize, to: &mut VariantMasses) {
        let group = self.groups.of_class()[class];
        let n = self.groups.len();
        let share = 1.0 / self.anchors_per_group as f64;
        to.positives[group] += share * row.positives;
        for (weighting, weight) in [1.0, self.setup.weights()[class]].into_iter().enumerate() {
            let scale = share * weight;
            for (form, masses) in LossForm::ALL.iter().zip(&mut to.by_form) {
                // The sum over positives is |P| times the mean; the mean inside the logarithm pulls
                // every positive, so nothing of it is lost by taking absolute values.
                let (scale, absolute) = match form {
                    LossForm::Out => (scale, row.absolute),
                    LossForm::Sum => (scale * row.positives, row.absolute),
                    LossForm::In => (scale, row.net),
                };
                let to = &mut masses[weighting];
                to.absolute[group] += scale * absolute;
                to.net[group] += scale * row.net;
                add_scaled(&mut to.negative[group * n..(group + 1) * n], &row.negative, scale);
            }
            let to = &mut to.features[weighting];
            to.absolute[group] += scale * row.feature_absolute;
            to.net[group] += scale * row.net;
            add_scaled(&mut to.negative[group * n..(group + 1) * n], &row.feature_negative, scale);
        }
    }
}

fn add_scaled(to: &mut [f64], from: &[f64], scale: f64) {
    for (a, b) in to.iter_mut().zip(from) {
        *a += scale * b;
    }
}

/// Keys of the batch, then of the queue, each sorted by class.
fn join(
    batch: &Array2<f32>,
    batch_labels: &[usize],
    queue: &Array2<f32>,
    queue_labels: &[usize],
) -> Keys {
    let mut segments: Vec<Segment> = vec![];
    for (offset, labels) in [(0, batch_labels), (batch_labels.len(), queue_labels)] {
        for run in labels.chunk_by(|a, b| a == b) {
            let start = segments.last().map_or(0, |s| s.end).max(offset);
            segments.push(Segment { class: run[0], start, end: start + run.len() });
        }
    }
    let mut features = Array2::zeros((batch.nrows() + queue.nrows(), batch.ncols()));
    for (mut to, from) in
        features.rows_mut().into_iter().zip(batch.rows().into_iter().chain(queue.rows()))
    {
        to.assign(&from);
    }
    Keys { features, segments }
}

#[cfg(test)]
#[path = "batch_tests.rs"]
mod tests;
