//! The supervised contrastive loss over any keys, plain and weighted by class.

use std::fmt::Debug;

use tch::Tensor;

use crate::{
    Result,
    contrast::Temperature,
    longtail::{ClassCounts, EffectiveNumber},
    train::{keys::Pairs, losses::per_class::PerClass, nn::tensors::check_labels},
};

/// A loss of anchors against their keys. Open: implement it for a loss of your own.
pub trait ContrastiveLoss: Debug {
    /// The loss in nats, a scalar with its graph, of M anchors against the K keys that a
    /// [`KeySource`](crate::train::keys::KeySource) found for each.
    ///
    /// # Errors
    /// [`crate::Error::Input`] if the labels of the anchors do not fit the loss; [`crate::Error::Run`] if libtorch
    /// fails, as it does for pairs of shapes that do not fit each other.
    fn loss(&self, pairs: &Pairs) -> Result<Tensor>;
}

/// Supervised contrastive loss, the mean over positives outside the logarithm: mean over anchors of
/// -1/|P_i| sum over positives of ln softmax(s_i / T) (Khosla et al. 2020). An anchor without positives
/// adds nothing and still counts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SupConLoss {
    temperature: Temperature,
}

impl SupConLoss {
    /// At this temperature.
    pub fn new(temperature: Temperature) -> Self {
        Self { temperature }
    }

    /// The loss of every anchor in nats `[M]`, before any weight; 0 where it has no positive.
    ///
    /// # Errors
    /// [`crate::Error::Run`] if libtorch fails.
    pub fn per_anchor(&self, pairs: &Pairs) -> Result<Tensor> {
        let mut logits = pairs.sim.f_div_scalar(self.temperature.get())?;
        let count = pairs.positive.f_sum_dim_intlist([1i64].as_slice(), true, logits.kind())?;
        let has_positive = count.f_gt(0.0)?;
        let no_positive = has_positive.f_logical_not()?;
        if let Some(valid) = &pairs.valid {
            logits = logits
                .f_masked_fill(&valid.f_logical_not()?, f64::NEG_INFINITY)?
                // A row without any key would give inf - inf below.
                .f_masked_fill(&no_positive, 0.0)?;
        }
        let all = logits.f_logsumexp([1i64].as_slice(), true)?;
        let positives = logits
            .f_masked_fill(&pairs.positive.f_logical_not()?, 0.0)?
            .f_sum_dim_intlist([1i64].as_slice(), true, logits.kind())?;
        let loss = all.f_sub(&positives.f_div(&count.f_clamp_min(1.0)?)?)?;
        Ok(loss.f_masked_fill(&no_positive, 0.0)?.f_squeeze_dim(1)?)
    }
}

impl ContrastiveLoss for SupConLoss {
    fn loss(&self, pairs: &Pairs) -> Result<Tensor> {
        let per_anchor = self.per_anchor(pairs)?;
        Ok(per_anchor.f_mean(per_anchor.kind())?)
    }
}

/// [`SupConLoss`] with every anchor's loss times w_y, the effective-number weight of its class (METHOD
/// section 3). The mean is over anchors, not over weights.
#[derive(Debug)]
pub struct ClassBalancedSupCon {
    supcon: SupConLoss,
    /// w.
    weights: PerClass,
}

impl ClassBalancedSupCon {
    /// With the weights of classes that have these training counts, computed in float64 and rounded to
    /// float32, as the reference does.
    pub fn new(supcon: SupConLoss, effective: EffectiveNumber, counts: &ClassCounts) -> Self {
        let weights: Vec<f32> = effective.weights(counts).iter().map(|&w| w as f32).collect();
        Self { supcon, weights: PerClass::new(Tensor::from_slice(&weights)) }
    }

    /// w_c of every class (C).
    pub fn weights(&self) -> Vec<f64> {
        self.weights.values()
    }
}

impl ContrastiveLoss for ClassBalancedSupCon {
    fn loss(&self, pairs: &Pairs) -> Result<Tensor> {
        check_labels("labels", &pairs.labels, &pairs.sim, Some(self.weights.classes()))?;
        let per_anchor = self.supcon.per_anchor(pairs)?;
        let weights = self.weights.on(per_anchor.device())?;
        let weighted = per_anchor.f_mul(&weights.f_index_select(0, &pairs.labels)?)?;
        Ok(weighted.f_mean(weighted.kind())?)
    }
}
