//! Logit adjustment: the logits carry the logarithm of the prior while training.

use tch::Tensor;

use crate::{
    Result,
    longtail::ClassCounts,
    train::{
        losses::{
            ClassificationLoss,
            classification::{check, cross_entropy},
            per_class::PerClass,
        },
        nn::tensors::wide,
    },
};

/// Cross-entropy of logits + tau ln(p), p the classes' shares of the training images and tau = 1 (Menon et
/// al. 2021, additive form). [`contrast::logit_adjustment`](crate::contrast::logit_adjustment) is its reference.
#[derive(Debug)]
pub struct LogitAdjustment {
    /// tau ln(p), float64.
    offsets: PerClass,
}

impl LogitAdjustment {
    /// tau.
    const TAU: f64 = 1.0;

    /// With the prior of these training counts.
    pub fn new(counts: &ClassCounts) -> Self {
        let prior = counts.prior();
        let offsets: Vec<f64> = prior.as_slice().iter().map(|p| Self::TAU * p.ln()).collect();
        Self { offsets: PerClass::new(Tensor::from_slice(&offsets)) }
    }
}

impl ClassificationLoss for LogitAdjustment {
    fn loss(&self, logits: &Tensor, labels: &Tensor) -> Result<Tensor> {
        check(logits, labels, Some(self.offsets.classes()), 1)?;
        let logits = wide(logits)?;
        let offsets = self.offsets.on(logits.device())?.f_to_kind(logits.kind())?;
        Ok(cross_entropy(&logits.f_add(&offsets)?, labels)?)
    }
}
