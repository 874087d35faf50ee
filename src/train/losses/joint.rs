//! L = L_cls + lambda L_con.

use tch::Tensor;

use crate::{
    Error, Result,
    longtail::ClassCounts,
    run::{ContrastSpec, LossSpec},
    train::{
        keys::Pairs,
        losses::{
            ClassificationLoss, ContrastiveLoss, FirstView,
            registry::{classification, contrastive},
        },
    },
};

/// A classification loss and, with a weight, a contrastive one.
#[derive(Debug)]
pub struct JointLoss {
    classification: Box<dyn ClassificationLoss + Send>,
    contrast: Option<(f64, Box<dyn ContrastiveLoss + Send>)>,
}

/// The parts of one value in nats, scalars with their graph.
#[derive(Debug)]
pub struct Terms {
    /// L_cls.
    pub cls: Tensor,
    /// L_con before its weight; `None` without a contrastive part.
    pub con: Option<Tensor>,
    /// L = L_cls + lambda L_con.
    pub total: Tensor,
}

/// Lambda, once it is a weight.
fn weight(lambda: f64) -> Result<f64> {
    if lambda.is_finite() && lambda >= 0.0 {
        return Ok(lambda);
    }
    Err(Error::input(format!("joint loss, lambda = {lambda}: expected a number of at least 0")))
}

impl JointLoss {
    /// The classification loss alone.
    pub fn new(classification: impl ClassificationLoss + Send + 'static) -> Self {
        Self { classification: Box::new(classification), contrast: None }
    }

    /// With lambda times a contrastive loss.
    ///
    /// # Errors
    /// [`Error::Input`] unless lambda is a number of at least 0.
    pub fn with(
        self,
        lambda: f64,
        contrast: impl ContrastiveLoss + Send + 'static,
    ) -> Result<Self> {
        Ok(Self { contrast: Some((weight(lambda)?, Box::new(contrast))), ..self })
    }

    /// What a recipe's `[loss]` and `[contrast]` describe, for classes with these training counts. Its queue, miner
    /// and key encoder are not part of the loss: the keys are given to [`terms`](Self::terms).
    ///
    /// # Errors
    /// [`Error::Input`] for a name that no loss has, or a value that is out of range.
    pub fn of_spec(spec: &LossSpec, numbers: &ContrastSpec, counts: &ClassCounts) -> Result<Self> {
        let every = classification(&spec.classification, counts)?;
        // Rows of view 2 pass the encoder, but are not classified.
        let first = spec.views() == 2 && spec.views_classified == 1 && !spec.has_key_encoder();
        let classification = if first { Box::new(FirstView(every)) } else { every };
        let contrast = spec.contrast.as_ref().map(|name| contrastive(name, numbers, counts));
        let contrast = contrast.transpose()?;
        let lambda = weight(numbers.con_weight)?;
        Ok(Self { classification, contrast: contrast.map(|loss| (lambda, loss)) })
    }

    /// The part for logits `[N, C]` and labels `[N]`, which need not be those of whole images (mixup).
    pub(crate) fn classification(&self) -> &dyn ClassificationLoss {
        &*self.classification
    }

    /// The value for rows of one pass: logits `[N, C]`, labels `[N]` (view 1 of all images, then view 2), and where
    /// there is a contrastive part the pairs of its anchors and keys.
    ///
    /// # Errors
    /// As of both parts; [`Error::Input`] if pairs are given without a contrastive part, or none with one.
    pub fn terms(&self, logits: &Tensor, labels: &Tensor, pairs: Option<&Pairs>) -> Result<Terms> {
        let cls = self.classification.loss(logits, labels)?;
        match (&self.contrast, pairs) {
            (None, None) => Ok(Terms { total: cls.shallow_clone(), cls, con: None }),
            (Some((lambda, loss)), Some(pairs)) => {
                let con = loss.loss(pairs)?;
                let total = cls.f_add(&con.f_mul_scalar(*lambda)?)?;
                Ok(Terms { cls, con: Some(con), total })
            }
            (Some(_), None) => Err(Error::input(
                "joint loss: it has a contrastive part; expected the pairs of anchors and keys",
            )),
            (None, Some(_)) => {
                Err(Error::input("joint loss: pairs are given, but it has no contrastive part"))
            }
        }
    }
}
