//! Losses of logits: plain, with the prior, smoothed; over one view or both.

use tch::{Device, Reduction, Tensor};

use crate::{
    Error, Result,
    longtail::ClassCounts,
    train::{
        losses::{
            labels_of, leaf, matrix, on_tensors::Classify, smoothing::LabelAwareSmoothing, wide,
        },
        nn::{
            parameters::TorchResult,
            tensors::{HostTensor, HostTensors},
        },
    },
};

/// A classification loss. The types of this module alone implement it.
pub trait ClassificationLoss: Classify {
    /// `loss` in nats and `grad_logits` `[N, C]` for `logits` `[N, C]` against `labels` `[N]`.
    ///
    /// # Errors
    /// [`Error::Input`] if shapes or labels do not fit each other or the loss.
    fn evaluate(&self, logits: &HostTensor, labels: &HostTensor) -> Result<HostTensors> {
        let logits = leaf(&matrix("logits", logits)?);
        let labels = fitting(self, &logits, labels)?;
        let loss = self.of(&logits, &labels)?;
        let grad = Tensor::f_run_backward(&[&loss], &[&logits], false, false)?;
        let named = [("loss", &loss), ("grad_logits", &grad[0])];
        Ok(named.map(|(name, t)| (name.to_owned(), HostTensor::from_torch(t))).into())
    }
}

impl<L: Classify> ClassificationLoss for L {}

/// The labels of these logits, once both fit each other and the loss.
pub(crate) fn fitting<L: Classify + ?Sized>(
    loss: &L,
    logits: &Tensor,
    labels: &HostTensor,
) -> Result<Tensor> {
    let (n, classes) = (logits.size()[0], logits.size()[1]);
    if let Some(expected) = loss.classes().filter(|&c| c != classes) {
        return Err(Error::input(format!(
            "logits: {classes} columns; expected {expected}, the classes of the loss"
        )));
    }
    let views = loss.views();
    if n == 0 || classes == 0 || n % views != 0 {
        return Err(Error::input(format!(
            "logits: {n} rows of {classes} classes; expected at least one class, and {}",
            if views == 2 { "two rows, those of view 2 after those of view 1" } else { "one row" }
        )));
    }
    labels_of("labels", labels, n, 0, classes)
}

fn cross_entropy(logits: &Tensor, labels: &Tensor) -> TorchResult<Tensor> {
    logits.f_cross_entropy_loss::<&Tensor>(labels, None, Reduction::Mean, -100, 0.0)
}

/// Mean over rows of -ln softmax(logits)_y.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CrossEntropy;

impl Classify for CrossEntropy {
    fn of(&self, logits: &Tensor, labels: &Tensor) -> TorchResult<Tensor> {
        cross_entropy(&wide(logits)?, labels)
    }

    fn classes(&self) -> Option<i64> {
        None
    }

    fn views(&self) -> i64 {
        1
    }
}

/// Cross-entropy of logits + ln(p + 1e-9), p the classes' shares of the training images (Ren et al.
/// 2020).
#[derive(Debug)]
pub struct BalancedSoftmax {
    /// `[C]`.
    log_prior: Tensor,
}

impl BalancedSoftmax {
    /// With the prior of these training counts.
    pub fn new(counts: &ClassCounts) -> Self {
        Self::on(counts, Device::Cpu)
    }

    /// The prior is taken in float32 arithmetic, as the reference computes it.
    pub(crate) fn on(counts: &ClassCounts, device: Device) -> Self {
        let prior: Vec<f32> = counts.prior().as_slice().iter().map(|&p| p as f32).collect();
        Self { log_prior: (Tensor::from_slice(&prior) + 1e-9).log().to_device(device) }
    }

    /// ln(p_c + 1e-9) of every class (C).
    pub fn log_prior(&self) -> Vec<f64> {
        HostTensor::from_torch(&self.log_prior).to_f64()
    }
}

impl Classify for BalancedSoftmax {
    fn of(&self, logits: &Tensor, labels: &Tensor) -> TorchResult<Tensor> {
        cross_entropy(&wide(logits)?.f_add(&self.log_prior)?, labels)
    }

    fn classes(&self) -> Option<i64> {
        Some(self.log_prior.size()[0])
    }

    fn views(&self) -> i64 {
        1
    }
}

/// Balanced Softmax of both views of every image (METHOD section 3): the rows are view 1 of all images,
/// then view 2, and all of them are classified.
#[derive(Debug)]
pub struct SiameseBalancedSoftmax(pub BalancedSoftmax);

impl Classify for SiameseBalancedSoftmax {
    fn of(&self, logits: &Tensor, labels: &Tensor) -> TorchResult<Tensor> {
        self.0.of(logits, labels)
    }

    fn classes(&self) -> Option<i64> {
        self.0.classes()
    }

    fn views(&self) -> i64 {
        2
    }
}

/// A loss of view 1 alone, where the rows are view 1 of all images and then view 2.
#[derive(Debug)]
pub struct FirstView<L>(pub L);

impl<L: Classify> Classify for FirstView<L> {
    fn of(&self, logits: &Tensor, labels: &Tensor) -> TorchResult<Tensor> {
        let half = labels.size()[0] / 2;
        self.0.of(&logits.f_narrow(0, 0, half)?, &labels.f_narrow(0, 0, half)?)
    }

    fn classes(&self) -> Option<i64> {
        self.0.classes()
    }

    fn views(&self) -> i64 {
        2
    }
}

/// Label-aware smoothing (METHOD section 7): mean over rows of
/// (1 - eps_y) (-ln p_y) + eps_y mean_k(-ln p_k).
#[derive(Debug)]
pub struct LabelAwareLoss {
    /// eps `[C]`.
    smoothing: Tensor,
}

impl LabelAwareLoss {
    /// With the smoothing of classes that have these training counts.
    ///
    /// # Errors
    /// [`Error::Input`] for smoothing out of range.
    pub fn new(smoothing: &LabelAwareSmoothing, counts: &ClassCounts) -> Result<Self> {
        Self::on(smoothing, counts, Device::Cpu)
    }

    pub(crate) fn on(
        smoothing: &LabelAwareSmoothing,
        counts: &ClassCounts,
        device: Device,
    ) -> Result<Self> {
        smoothing.check()?;
        let smoothing: Vec<f32> = smoothing.per_class(counts).iter().map(|&s| s as f32).collect();
        Ok(Self { smoothing: Tensor::from_slice(&smoothing).to_device(device) })
    }
}

impl Classify for LabelAwareLoss {
    fn of(&self, logits: &Tensor, labels: &Tensor) -> TorchResult<Tensor> {
        let log_p = wide(logits)?.f_log_softmax(1, None)?;
        let own = log_p.f_gather(1, &labels.f_unsqueeze(1)?, false)?.f_squeeze_dim(1)?.f_neg()?;
        let all = log_p.f_mean_dim([1i64].as_slice(), false, log_p.kind())?.f_neg()?;
        let s = self.smoothing.f_index_select(0, labels)?;
        own.f_add(&all.f_sub(&own)?.f_mul(&s)?)?.f_mean(log_p.kind())
    }

    fn classes(&self) -> Option<i64> {
        Some(self.smoothing.size()[0])
    }

    fn views(&self) -> i64 {
        1
    }
}
