//! Mixup (MiSLAS stage 1): x = lam x + (1 - lam) x[perm], loss mixed alike.

use tch::Tensor;

use crate::{
    Result, augment,
    rng::Streams,
    train::{
        losses::ClassificationLoss,
        nn::{device, parameters::TorchResult},
    },
};

/// Mixes batches by what [`augment::Mixup`] draws, per step, from the stream ("mixup", step).
#[derive(Debug)]
pub(crate) struct Mixup {
    draws: augment::Mixup,
    streams: Streams,
}

/// A mixed batch.
#[derive(Debug)]
pub(crate) struct Mixed {
    pub(crate) images: Tensor,
    labels: [Tensor; 2],
    lambda: f64,
}

impl Mixup {
    pub(crate) fn new(alpha: f64, streams: Streams) -> Result<Self> {
        Ok(Self { draws: augment::Mixup::new(alpha)?, streams })
    }

    pub(crate) fn mix(&self, step: u64, images: &Tensor, labels: &Tensor) -> TorchResult<Mixed> {
        let mut rng = self.streams.stream("mixup", &[step]);
        let drawn = self.draws.draw(labels.size()[0] as usize, &mut rng);
        let order = device::upload(&Tensor::from_slice(&drawn.partners), images.device())?;
        Mixed::new(images, labels, &order, drawn.lambda)
    }
}

impl Mixed {
    pub(crate) fn new(
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

    /// lam L(y) + (1 - lam) L(y[perm]) for a classification loss L.
    pub(crate) fn loss(&self, logits: &Tensor, of: &dyn ClassificationLoss) -> Result<Tensor> {
        let a = of.loss(logits, &self.labels[0])?;
        let b = of.loss(logits, &self.labels[1])?;
        Ok(a.f_mul_scalar(self.lambda)?.f_add(&b.f_mul_scalar(1.0 - self.lambda)?)?)
    }
}
