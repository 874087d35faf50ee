//! The contrastive part of a ResCom step: batch keys, mined queue keys, class weights.

use super::{HardPairMiner, LossForm, Relation, Temperature, anchor_gradient};
use crate::{Error, Result};
use ndarray::{Array2, ArrayView2};

/// Class-balanced supervised contrastive loss over a batch and a queue (METHOD section 3). Keys of
/// anchor i: the other M-1 rows of the batch, and what the miner keeps of the queue.
#[derive(Debug, Clone)]
pub struct ClassBalancedSupCon {
    /// Form of the loss of an anchor; the method uses [`LossForm::Out`].
    pub form: LossForm,
    /// Temperature T.
    pub temperature: Temperature,
    /// w_c, one per class.
    pub weights: Vec<f64>,
    /// Which keys of the queue are used; None uses all of them.
    pub miner: Option<HardPairMiner>,
}

/// What [`ClassBalancedSupCon::evaluate`] finds, for M rows of D features.
#[derive(Debug, Clone)]
pub struct RebalancedValue {
    /// The loss in nats.
    pub loss: f64,
    /// dL/d features `[M, D]`, rows as independent variables; none flows into the queue.
    pub grad_features: Array2<f64>,
    /// Per anchor: similarities of its keys in the order batch (increasing row, self left out),
    /// hard positives, hard negatives.
    pub sims: Vec<Vec<f64>>,
    /// Per anchor, in the same order: whether the key is a positive.
    pub positive: Vec<Vec<bool>>,
    /// Per anchor, in the same order: dL/ds.
    pub grad_sims: Vec<Vec<f64>>,
}

impl ClassBalancedSupCon {
    /// The loss of the batch `features` `[M, D]` with `labels` (M) against itself and the queue
    /// `keys` `[K, D]` with `key_labels` (K; K may be 0).
    ///
    /// # Errors
    /// [`Error::Input`] if the shapes do not fit, the batch is empty, or a label has no weight.
    pub fn evaluate(
        &self,
        (features, labels): (ArrayView2<f64>, &[usize]),
        (keys, key_labels): (ArrayView2<f64>, &[usize]),
    ) -> Result<RebalancedValue> {
        let m = labels.len();
        let fits = features.nrows() == m && keys.nrows() == key_labels.len();
        if m == 0 || !fits || features.ncols() != keys.ncols() {
            return Err(Error::input(format!(
                "batch {:?} with {m} labels and queue {:?} with {} labels do not fit",
                features.dim(),
                keys.dim(),
                key_labels.len()
            )));
        }
        if let Some(bad) = labels.iter().find(|l| **l >= self.weights.len()) {
            let classes = self.weights.len();
            return Err(Error::input(format!("label {bad}: only {classes} class weights given")));
        }
        let mut value = RebalancedValue {
            loss: 0.0,
            grad_features: Array2::zeros(features.dim()),
            sims: vec![],
            positive: vec![],
            grad_sims: vec![],
        };
        let (batch_sims, queue_sims) = (features.dot(&features.t()), features.dot(&keys.t()));
        for (i, &label) in labels.iter().enumerate() {
            let queue_row = queue_sims.row(i).to_vec();
            let mined = self.mine(&queue_row, key_labels, label);
            let batch =
                (0..m).filter(|&j| j != i).map(|j| (batch_sims[[i, j]], labels[j] == label));
            let queue = mined.iter().map(|&k| (queue_row[k], key_labels[k] == label));
            let (sims, positive): (Vec<_>, Vec<_>) = batch.chain(queue).unzip();
            let relation = |&p: &bool| if p { Relation::Positive } else { Relation::Negative };
            let relations: Vec<_> = positive.iter().map(relation).collect();
            let anchor = anchor_gradient(self.form, self.temperature, &sims, &relations);
            let weight = self.weights[label] / m as f64;
            value.loss += weight * anchor.loss;
            let grad: Vec<_> = anchor.grad.iter().map(|g| weight * g).collect();
            let (batch_grad, queue_grad) = grad.split_at(m - 1);
            for (j, g) in (0..m).filter(|&j| j != i).zip(batch_grad) {
                value.grad_features.row_mut(i).scaled_add(*g, &features.row(j));
                value.grad_features.row_mut(j).scaled_add(*g, &features.row(i));
            }
            for (&k, g) in mined.iter().zip(queue_grad) {
                value.grad_features.row_mut(i).scaled_add(*g, &keys.row(k));
            }
            value.sims.push(sims);
            value.positive.push(positive);
            value.grad_sims.push(grad);
        }
        Ok(value)
    }

    /// Queue positions used by an anchor: hard positives, then hard negatives.
    fn mine(&self, sims: &[f64], key_labels: &[usize], label: usize) -> Vec<usize> {
        let everything = HardPairMiner { num_pos: sims.len(), num_neg: sims.len() };
        let mined = self.miner.unwrap_or(everything).mine(sims, key_labels, label);
        mined.positives.into_iter().chain(mined.negatives).collect()
    }
}
