//! Losses of logits: plain, with the prior, smoothed; over one view or both.

use std::fmt::Debug;

use tch::{Reduction, Tensor};

use crate::{
    Error, Result,
    longtail::ClassCounts,
    train::{
        losses::{per_class::PerClass, smoothing::LabelAwareSmoothing},
        nn::{
            parameters::TorchResult,
            tensors::{check_labels, matrix, wide},
        },
    },
};

/// A loss of logits against labels. Open: implement it for a loss of your own.
pub trait ClassificationLoss: Debug {
    /// The loss in nats, a scalar with its graph, of `logits` `[N, C]`, floats, against `labels` `[N]`, int64, on
    /// the same device. Where both views of an image are rows, view 1 of all images comes first.
    ///
    /// # Errors
    /// [`Error::Input`] if shapes, kinds or devices do not fit each other or the loss, and for labels outside
    /// 0..C if they are on the CPU; those on a GPU are not read, since that would make the host wait for it.
    /// [`Error::Run`] if libtorch fails.
    fn loss(&self, logits: &Tensor, labels: &Tensor) -> Result<Tensor>;
}

/// Refuses logits and labels that do not fit each other or a loss of `classes` classes, where it is for so many
/// alone, over rows of `views` views.
pub(crate) fn check(
    logits: &Tensor,
    labels: &Tensor,
    classes: Option<i64>,
    views: i64,
) -> Result<()> {
    let (n, columns) = matrix("logits", logits)?;
    if let Some(expected) = classes.filter(|&c| c != columns) {
        return Err(Error::input(format!(
            "logits: {columns} columns; expected {expected}, the classes of the loss"
        )));
    }
    if n == 0 || columns == 0 || n % views != 0 {
        return Err(Error::input(format!(
            "logits: {n} rows of {columns} classes; expected at least one class, and {}",
            if views == 2 { "two rows, those of view 2 after those of view 1" } else { "one row" }
        )));
    }
    check_labels("labels", labels, logits, Some(columns))
}

pub(crate) fn cross_entropy(logits: &Tensor, labels: &Tensor) -> TorchResult<Tensor> {
    logits.f_cross_entropy_loss::<&Tensor>(labels, None, Reduction::Mean, -100, 0.0)
}

/// Mean over rows of -ln softmax(logits)_y.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CrossEntropy;

impl ClassificationLoss for CrossEntropy {
    fn loss(&self, logits: &Tensor, labels: &Tensor) -> Result<Tensor> {
        check(logits, labels, None, 1)?;
        Ok(cross_entropy(&wide(logits)?, labels)?)
    }
}

/// Cross-entropy of logits + ln(p + 1e-9), p the classes' shares of the training images (Ren et al.
/// 2020).
#[derive(Debug)]
pub struct BalancedSoftmax {
    log_prior: PerClass,
}

impl BalancedSoftmax {
    /// With the prior of these training counts, taken in float32 arithmetic, as the reference computes it.
    pub fn new(counts: &ClassCounts) -> Self {
        let prior: Vec<f32> = counts.prior().as_slice().iter().map(|&p| p as f32).collect();
        Self { log_prior: PerClass::new((Tensor::from_slice(&prior) + 1e-9).log()) }
    }

    /// ln(p_c + 1e-9) of every class (C).
    pub fn log_prior(&self) -> Vec<f64> {
        self.log_prior.values()
    }
}

impl ClassificationLoss for BalancedSoftmax {
    fn loss(&self, logits: &Tensor, labels: &Tensor) -> Result<Tensor> {
        check(logits, labels, Some(self.log_prior.classes()), 1)?;
        let log_prior = self.log_prior.on(logits.device())?;
        Ok(cross_entropy(&wide(logits)?.f_add(&log_prior)?, labels)?)
    }
}

/// Balanced Softmax of both views of every image (METHOD section 3): the rows are view 1 of all images,
/// then view 2, and all of them are classified.
#[derive(Debug)]
pub struct SiameseBalancedSoftmax(pub BalancedSoftmax);

impl ClassificationLoss for SiameseBalancedSoftmax {
    fn loss(&self, logits: &Tensor, labels: &Tensor) -> Result<Tensor> {
        check(logits, labels, None, 2)?;
        self.0.loss(logits, labels)
    }
}

/// A loss of view 1 alone, where the rows are view 1 of all images and then view 2.
#[derive(Debug)]
pub struct FirstView<L>(pub L);

impl<L: ClassificationLoss> ClassificationLoss for FirstView<L> {
    fn loss(&self, logits: &Tensor, labels: &Tensor) -> Result<Tensor> {
        check(logits, labels, None, 2)?;
        let half = labels.size()[0] / 2;
        self.0.loss(&logits.f_narrow(0, 0, half)?, &labels.f_narrow(0, 0, half)?)
    }
}

/// Label-aware smoothing (METHOD section 7): mean over rows of
/// (1 - eps_y) (-ln p_y) + eps_y mean_k(-ln p_k).
#[derive(Debug)]
pub struct LabelAwareLoss {
    /// eps.
    smoothing: PerClass,
}

impl LabelAwareLoss {
    /// With the smoothing of classes that have these training counts.
    ///
    /// # Errors
    /// [`Error::Input`] for smoothing out of range.
    pub fn new(smoothing: &LabelAwareSmoothing, counts: &ClassCounts) -> Result<Self> {
        smoothing.check()?;
        let smoothing: Vec<f32> = smoothing.per_class(counts).iter().map(|&s| s as f32).collect();
        Ok(Self { smoothing: PerClass::new(Tensor::from_slice(&smoothing)) })
    }
}

impl ClassificationLoss for LabelAwareLoss {
    fn loss(&self, logits: &Tensor, labels: &Tensor) -> Result<Tensor> {
        check(logits, labels, Some(self.smoothing.classes()), 1)?;
        let log_p = wide(logits)?.f_log_softmax(1, None)?;
        let own = log_p.f_gather(1, &labels.f_unsqueeze(1)?, false)?.f_squeeze_dim(1)?.f_neg()?;
        let all = log_p.f_mean_dim([1i64].as_slice(), false, log_p.kind())?.f_neg()?;
        let s = self.smoothing.on(logits.device())?.f_index_select(0, labels)?;
        Ok(own.f_add(&all.f_sub(&own)?.f_mul(&s)?)?.f_mean(log_p.kind())?)
    }
}
