//! Mixup (MiSLAS stage 1): x = lam x + (1 - lam) x[perm], loss mixed alike.

use rand::seq::SliceRandom;
use rand_distr::{Beta, Distribution};
use tch::Tensor;

use super::{loss, store::TorchResult};
use crate::{Error, Result, rng::Streams};

/// Draws lam ~ Beta(alpha, alpha) and a permutation per step, from the stream ("mixup", step).
#[derive(Debug)]
pub(super) struct Mixup {
    beta: Beta<f64>,
    streams: Streams,
}

/// A mixed batch.
#[derive(Debug)]
pub(super) struct Mixed {
    pub(super) images: Tensor,
    labels: [Tensor; 2],
    lambda: f64,
}

impl Mixup {
    pub(super) fn new(alpha: f64, streams: Streams) -> Result<Self> {
        let beta = Beta::new(alpha, alpha)
            .map_err(|e| Error::input(format!("mixup_alpha = {alpha}: {e}")))?;
        Ok(Self { beta, streams })
    }

    pub(super) fn mix(&self, step: u64, images: &Tensor, labels: &Tensor) -> TorchResult<Mixed> {
        let mut rng = self.streams.stream("mixup", &[step]);
        let lambda = self.beta.sample(&mut rng);
        let mut order: Vec<i64> = (0..labels.size()[0]).collect();
        order.shuffle(&mut rng);
        let order = Tensor::from_slice(&order).f_to_device(images.device())?;
        Mixed::new(images, labels, &order, lambda)
    }
}

impl Mixed {
    pub(super) fn new(
        images: &Tensor,
        labels: &Tensor,
        order: &Tensor,
        lambda: f64,
    ) -> TorchResult<Self> {
        let other = images.f_index_select(0, order)?;
        let images = images.f_mul_scalar(lambda)?.f_add(&other.f_mul_scalar(1.0 - lambda)?)?;
        let labels = [labels.shallow_clone(), labels.f_index_select(0, order)?];
        Ok(Self { images, labels, lambda })
    }

    /// lam CE(y) + (1 - lam) CE(y[perm]).
    pub(super) fn loss(&self, logits: &Tensor, prior: Option<&Tensor>) -> TorchResult<Tensor> {
        let a = loss::classification(logits, &self.labels[0], prior)?;
        let b = loss::classification(logits, &self.labels[1], prior)?;
        a.f_mul_scalar(self.lambda)?.f_add(&b.f_mul_scalar(1.0 - self.lambda)?)
    }
}
