//! What a trainer takes of a recipe.

use super::{
    check::check_projection,
    checked::Recipe,
    loss::{ContrastSpec, LossSpec, Miner},
    model::{EncoderSpec, Precision},
    optim::SgdSpec,
};
use crate::{Error, Result};

/// One trainer: network, loss, optimiser and arithmetic.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainerSpec {
    /// Encoder.
    pub encoder: EncoderSpec,
    /// What the loss is put together from.
    pub loss: LossSpec,
    /// The numbers of the contrastive part.
    pub contrast: ContrastSpec,
    /// D, width of the projections, where there is a contrastive part.
    pub projection_dim: usize,
    /// alpha of mixup, where the loss has it.
    pub mixup_alpha: f64,
    /// Optimiser.
    pub sgd: SgdSpec,
    /// Arithmetic.
    pub precision: Precision,
    /// Activations and convolution weights with the channels innermost.
    pub channels_last: bool,
}

impl Recipe {
    /// The trainer that the recipe describes.
    pub fn trainer(&self) -> TrainerSpec {
        TrainerSpec {
            encoder: EncoderSpec::new(self.model.arch, self.data.set.channels()),
            loss: self.loss.clone(),
            contrast: self.contrast,
            projection_dim: self.model.projection_dim,
            mixup_alpha: self.stage2.mixup_alpha,
            sgd: self.optim.sgd(),
            precision: self.run.precision,
            // A tenth faster or more on CPUs, and what tensor cores want.
            channels_last: true,
        }
    }

    /// What the recipe needs of images that have `classes` classes, where those are not the ones of its set
    /// (other image lists).
    ///
    /// # Errors
    /// [`Error::Input`] if the method mines more keys than a queue for so many classes holds.
    pub fn check_for_classes(&self, classes: usize) -> Result<()> {
        self.trainer().check_for_classes(classes)
    }
}

impl TrainerSpec {
    /// Width of the projections; none without a contrastive part, which has no projection head.
    pub fn head(&self) -> Option<usize> {
        self.loss.contrast.as_ref().map(|_| self.projection_dim)
    }

    /// Checks every value, and what the loss needs of images that have `classes` classes. Those of a list may
    /// be others than the ones of the recipe's set.
    ///
    /// # Errors
    /// [`Error::Input`] naming the value and what was expected, for example a miner that asks for more keys
    /// than a queue for so many classes holds.
    pub fn check_for_classes(&self, classes: usize) -> Result<()> {
        self.encoder.check()?;
        self.sgd.check()?;
        self.loss.check()?;
        if self.loss.mixup && !(self.mixup_alpha.is_finite() && self.mixup_alpha > 0.0) {
            return Err(Error::input(format!(
                "stage2.mixup-alpha = {}: expected a positive number",
                self.mixup_alpha
            )));
        }
        if self.loss.contrast.is_some() {
            self.contrast.check()?;
            check_projection(self.projection_dim)?;
        }
        match self.loss.queue() {
            Some(queue) if self.loss.miner == Miner::HardPairs => {
                self.contrast.check_miner(queue, classes)
            }
            _ => Ok(()),
        }
    }
}
