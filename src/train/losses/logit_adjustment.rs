//! Logit adjustment: the logits carry the logarithm of the prior while training.

use tch::{Device, Reduction, Tensor};

use crate::{
    longtail::ClassCounts,
    train::{
        losses::{on_tensors::Classify, wide},
        nn::parameters::TorchResult,
    },
};

/// Cross-entropy of logits + tau ln(p), p the classes' shares of the training images and tau = 1 (Menon et
/// al. 2021, additive form). [`contrast::logit_adjustment`](crate::contrast::logit_adjustment) is its reference.
#[derive(Debug)]
pub struct LogitAdjustment {
    /// tau ln(p), float64 `[C]`.
    offsets: Tensor,
}

impl LogitAdjustment {
    /// tau.
    const TAU: f64 = 1.0;

    /// With the prior of these training counts.
    pub fn new(counts: &ClassCounts) -> Self {
        Self::on(counts, Device::Cpu)
    }

    pub(crate) fn on(counts: &ClassCounts, device: Device) -> Self {
        let prior = counts.prior();
        let offsets: Vec<f64> = prior.as_slice().iter().map(|p| Self::TAU * p.ln()).collect();
        Self { offsets: Tensor::from_slice(&offsets).to_device(device) }
    }
}

impl Classify for LogitAdjustment {
    fn of(&self, logits: &Tensor, labels: &Tensor) -> TorchResult<Tensor> {
        let logits = wide(logits)?;
        let adjusted = logits.f_add(&self.offsets.f_to_kind(logits.kind())?)?;
        adjusted.f_cross_entropy_loss::<&Tensor>(labels, None, Reduction::Mean, -100, 0.0)
    }

    fn classes(&self) -> Option<i64> {
        Some(self.offsets.size()[0])
    }

    fn views(&self) -> i64 {
        1
    }
}
