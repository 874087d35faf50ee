//! L = L_cls + lambda L_con.

use tch::Tensor;

use crate::{
    Error, Result,
    longtail::{ClassCounts, EffectiveNumber},
    train::{
        fit::config::{Classification, ContrastiveLossSpec, LossSpec},
        keys::Pairs,
        losses::{
            BalancedSoftmax, ClassBalancedSupCon, ClassificationLoss, ContrastiveLoss,
            CrossEntropy, FirstView, SiameseBalancedSoftmax, SupConLoss, Temperature,
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
        if !(lambda.is_finite() && lambda >= 0.0) {
            return Err(Error::input(format!(
                "joint loss, lambda = {lambda}: expected a number of at least 0"
            )));
        }
        Ok(Self { contrast: Some((lambda, Box::new(contrast))), ..self })
    }

    /// What `spec` describes, for classes with these training counts. Its queue, miner and key encoder are not
    /// part of the loss: the keys are given to [`terms`](Self::terms).
    ///
    /// # Errors
    /// [`Error::Input`] naming a value that is out of range.
    pub fn of_spec(spec: &LossSpec, counts: &ClassCounts) -> Result<Self> {
        spec.check(counts.classes())?;
        let balanced = || BalancedSoftmax::new(counts);
        let momentum = spec.contrast.as_ref().is_some_and(ContrastiveLossSpec::has_key_network);
        // Rows of view 2 pass the encoder, but are not classified.
        let first = spec.views() == 2 && !spec.siamese && !momentum;
        let joint = match (spec.classification, spec.siamese) {
            (Classification::BalancedSoftmax, true) => {
                Self::new(SiameseBalancedSoftmax(balanced()))
            }
            (Classification::BalancedSoftmax, false) if first => Self::new(FirstView(balanced())),
            (Classification::BalancedSoftmax, false) => Self::new(balanced()),
            (Classification::CrossEntropy, _) if first => Self::new(FirstView(CrossEntropy)),
            (Classification::CrossEntropy, _) => Self::new(CrossEntropy),
        };
        let Some(contrast) = &spec.contrast else { return Ok(joint) };
        let supcon = SupConLoss::new(Temperature::new(contrast.temperature)?);
        match contrast.class_balanced_beta {
            Some(beta) => {
                let effective = EffectiveNumber::new(beta)?;
                let balanced = ClassBalancedSupCon::new(supcon, effective, counts);
                joint.with(contrast.con_weight, balanced)
            }
            None => joint.with(contrast.con_weight, supcon),
        }
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
