//! The loss over a set of anchors and keys, with gradients for similarities and features.

use super::{LossForm, Relation, Temperature, anchor_gradient};
use crate::{Error, Result};
use ndarray::{Array2, ArrayView2, Axis};
use rayon::prelude::*;

/// Whether anchors and keys are the same rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SelfPairs {
    /// Key i is not anchor i (a queue, or a second encoder).
    Distinct,
    /// Key i is anchor i, which is left out (a batch against itself).
    Diagonal,
}

/// Supervised contrastive loss: mean over all M anchors of w_{y_i} * L_i, where an anchor without
/// positives contributes zero and still counts (METHOD section 3).
#[derive(Debug, Clone, Copy)]
pub struct SupConLoss {
    /// Form of the loss of an anchor.
    pub form: LossForm,
    /// Temperature T.
    pub temperature: Temperature,
}

/// Anchors or keys: rows of features and their labels.
#[derive(Debug, Clone, Copy)]
struct Rows<'a> {
    features: ArrayView2<'a, f64>,
    labels: &'a [usize],
}

/// What [`SupConLoss::evaluate`] finds. M anchors, N keys, D features.
#[derive(Debug, Clone)]
pub struct SupConValue {
    /// The loss in nats.
    pub loss: f64,
    /// Loss of each anchor before weighting (M).
    pub per_anchor: Vec<f64>,
    /// |P_i| (M).
    pub positives: Vec<usize>,
    /// dL/ds, `[M, N]`: every similarity as its own variable, zero where excluded.
    pub grad_sims: Array2<f64>,
    /// dL/d anchors `[M, D]` with the keys held constant.
    pub grad_anchors: Array2<f64>,
    /// dL/d keys `[N, D]` with the anchors held constant.
    pub grad_keys: Array2<f64>,
}

impl SupConValue {
    /// dL/d features `[M, D]` where anchors and keys are the same rows.
    ///
    /// # Panics
    /// If there are not as many keys as anchors.
    pub fn grad_features(&self) -> Array2<f64> {
        &self.grad_anchors + &self.grad_keys
    }
}

impl SupConLoss {
    /// The loss of `anchors` `[M, D]` against `keys` `[N, D]`, with labels (M and N) and, where
    /// given, one weight per class.
    ///
    /// # Errors
    /// [`Error::Input`] if the shapes do not fit, if there is no anchor, or if a label has no weight.
    pub fn evaluate(
        &self,
        (anchors, anchor_labels): (ArrayView2<f64>, &[usize]),
        (keys, key_labels): (ArrayView2<f64>, &[usize]),
        self_pairs: SelfPairs,
        weights: Option<&[f64]>,
    ) -> Result<SupConValue> {
        let anchors = Rows { features: anchors, labels: anchor_labels };
        let keys = Rows { features: keys, labels: key_labels };
        check(anchors, keys, self_pairs, weights)?;
        let sims = anchors.features.dot(&keys.features.t());
        let m = anchors.labels.len();
        let rows: Vec<_> = (0..m)
            .into_par_iter()
            .map(|i| {
                let relation = |j: usize| match (self_pairs, anchors.labels[i] == keys.labels[j]) {
                    (SelfPairs::Diagonal, _) if i == j => Relation::Excluded,
                    (_, true) => Relation::Positive,
                    (_, false) => Relation::Negative,
                };
                let relations: Vec<_> = (0..keys.labels.len()).map(relation).collect();
                let sims: Vec<_> = sims.row(i).to_vec();
                anchor_gradient(self.form, self.temperature, &sims, &relations)
            })
            .collect();
        let mut grad_sims = Array2::zeros((m, keys.labels.len()));
        let mut loss = 0.0;
        for (i, row) in rows.iter().enumerate() {
            let weight = weights.map_or(1.0, |w| w[anchors.labels[i]]) / m as f64;
            loss += weight * row.loss;
            for (to, g) in grad_sims.row_mut(i).iter_mut().zip(&row.grad) {
                *to = weight * g;
            }
        }
        Ok(SupConValue {
            loss,
            per_anchor: rows.iter().map(|r| r.loss).collect(),
            positives: rows.iter().map(|r| r.positives).collect(),
            grad_anchors: grad_sims.dot(&keys.features),
            grad_keys: grad_sims.t().dot(&anchors.features),
            grad_sims,
        })
    }
}

fn check(
    anchors: Rows<'_>,
    keys: Rows<'_>,
    self_pairs: SelfPairs,
    weights: Option<&[f64]>,
) -> Result<()> {
    let sizes = |rows: &Rows<'_>| (rows.features.nrows(), rows.labels.len());
    for (what, (n, labels)) in [("anchors", sizes(&anchors)), ("keys", sizes(&keys))] {
        if n != labels {
            return Err(Error::input(format!("{what}: {n} rows of features but {labels} labels")));
        }
    }
    let (d, key_d) = (anchors.features.ncols(), keys.features.ncols());
    if d != key_d || d == 0 {
        return Err(Error::input(format!(
            "features: anchors have {d} columns and keys {key_d}; expected the same, at least 1"
        )));
    }
    let (m, n) = (anchors.labels.len(), keys.labels.len());
    if m == 0 {
        return Err(Error::input("anchors: none given; the loss is a mean over at least one"));
    }
    if self_pairs == SelfPairs::Diagonal && m != n {
        return Err(Error::input(format!("{m} anchors and {n} keys cannot be the same rows")));
    }
    let largest = anchors.labels.iter().max().copied().unwrap_or(0);
    match weights {
        Some(w) if w.len() <= largest => {
            Err(Error::input(format!("label {largest}: only {} class weights given", w.len())))
        }
        _ => Ok(()),
    }
}

/// Divides every row of `features` `[N, D]` by max(its L2 norm, 1e-12).
pub fn normalize_rows(features: &mut Array2<f64>) {
    for mut row in features.axis_iter_mut(Axis(0)) {
        let norm = row.dot(&row).sqrt().max(1e-12);
        row /= norm;
    }
}
