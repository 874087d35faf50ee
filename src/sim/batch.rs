//! One simulated batch: anchors of every class against the keys of the batch and of the queues.
//!
//! Anchors are stratified. Labels of a batch are independent draws, so the expected sum over the
//! anchors of class c is 2B p_c times the expectation for one anchor that is known to be of class c;
//! every class gets the same number of anchors, which share the other images of the batch and the
//! queue. Nothing is approximated: a rare class is as precise as a frequent one.

use super::masses::VariantMasses;
use super::row::{Layout, RowMass, RowPass, Scratch, Segment, gradient_norms};
use super::{ClassGroups, FeatureModel, KeySource, Setup};
use crate::contrast::LossForm;
use crate::rng::{Rng, Streams};
use ndarray::{Array2, ArrayRef2};
use rand::RngExt;

/// Anchors whose gradients are held at a time.
const GRADIENT_ROWS: usize = 16;

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

/// Keys of the batch, then of the queue, each sorted by class.
struct Keys {
    features: Array2<f32>,
    layout: Layout,
}

/// The anchors of a batch: A of each group, whose images' other views are their positives.
struct Anchors {
    /// `[G*A, D]`.
    features: Array2<f32>,
    /// The other views `[G*A, D]`.
    views: Array2<f32>,
    classes: Vec<usize>,
    /// Similarity of each to its other view.
    others: Vec<f32>,
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
        let anchors = self.draw_anchors(rng);
        let images = self.setup.params().batch - 1;
        let mut batch_labels: Vec<_> =
            (0..images).flat_map(|_| [self.draw_label(rng); 2]).collect();
        batch_labels.sort_unstable();
        let context = self.draw_features(&batch_labels, rng);
        let mut out = vec![];
        let mut last: Option<(KeySource, Keys, Array2<f32>)> = None;
        for &(source, mined) in &self.variants {
            let (keys, sims) = match last.take() {
                Some((same, keys, sims)) if same == source => (keys, sims),
                _ => {
                    let queue = self.draw_queue(source, rng);
                    let keys = join(&context, &batch_labels, &queue.0, &queue.1);
                    // A product of narrow matrices may come out column by column.
                    let mut sims = anchors.features.dot(&keys.features.t());
                    if !sims.is_standard_layout() {
                        sims = sims.as_standard_layout().into_owned();
                    }
                    (keys, sims)
                }
            };
            out.push(self.masses(&anchors, &keys, &sims, mined));
            last = Some((source, keys, sims));
        }
        out
    }

    /// All anchors against one set of keys.
    fn masses(
        &self,
        anchors: &Anchors,
        keys: &Keys,
        sims: &ArrayRef2<f32>,
        mined: bool,
    ) -> VariantMasses {
        let pass = self.row_pass();
        let mut masses = VariantMasses::zeros(self.groups.len());
        let mut scratch = Scratch::default();
        // Gradients of few anchors at a time: the similarities are the only array of anchors x keys.
        let mut gradients = Array2::zeros((GRADIENT_ROWS.min(sims.nrows()), sims.ncols()));
        for first in (0..sims.nrows()).step_by(GRADIENT_ROWS) {
            let rows = first..sims.nrows().min(first + GRADIENT_ROWS);
            let mut other_gradients = vec![];
            for (i, mut gradient) in rows.clone().zip(gradients.rows_mut()) {
                let class = anchors.classes[i];
                let row = sims.row(i).to_slice().expect("rows in standard layout are contiguous");
                let gradient = gradient.as_slice_mut().expect("rows of zeros are contiguous");
                let anchor = (class, anchors.others[i]);
                pass.anchor(row, &keys.layout, anchor, mined, &mut scratch, gradient);
                self.record(&scratch.row, class, &mut masses);
                other_gradients.push(scratch.row.other_gradient);
            }
            let sums = gradients.dot(&keys.features);
            for ((i, sums), other) in rows.zip(sums.rows()).zip(other_gradients) {
                let of_keys = sums.into_iter().zip(anchors.views.row(i));
                let gradient: Vec<f64> =
                    of_keys.map(|(g, v)| f64::from(*g) + other * f64::from(*v)).collect();
                let z = anchors.features.row(i).into_iter().map(|v| f64::from(*v));
                self.record_norms(gradient_norms(&gradient, z), anchors.classes[i], &mut masses);
            }
        }
        masses
    }

    fn row_pass(&self) -> RowPass<'_> {
        RowPass {
            of_class: self.groups.of_class(),
            groups: self.groups.len(),
            inverse_t: (1.0 / self.setup.temperature().get()) as f32,
            miner: self.setup.params().miner,
        }
    }

    fn draw_anchors(&self, rng: &mut Rng) -> Anchors {
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
        let features = self.draw_features(&classes, rng);
        let views = self.draw_features(&classes, rng);
        let dot = |(a, b): (ndarray::ArrayView1<f32>, ndarray::ArrayView1<f32>)| a.dot(&b);
        let others = features.rows().into_iter().zip(views.rows()).map(dot).collect();
        Anchors { features, views, classes, others }
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

    /// Adds the lengths of an anchor's gradient, in both weightings, to its group's means.
    fn record_norms(&self, norms: [f64; 2], class: usize, to: &mut VariantMasses) {
        let share = 1.0 / self.anchors_per_group as f64;
        for (weight, to) in [1.0, self.setup.weights()[class]].into_iter().zip(&mut to.norms) {
            for (to, norm) in to.iter_mut().zip(norms) {
                to[self.groups.of_class()[class]] += share * weight * norm;
            }
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
    Keys { features, layout: Layout { segments, in_batch: batch_labels.len() } }
}

#[cfg(test)]
mod tests;
