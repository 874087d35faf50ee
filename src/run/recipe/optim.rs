//! How long and how fast: `[optim]`.

use serde::{Deserialize, Serialize};

/// Shape of the learning-rate schedule after warm-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ScheduleKind {
    /// x 0.1 after each milestone.
    Step,
    /// Half a cosine down to lr * 1e-5.
    Cosine,
}

/// Whether the schedule is the one described or the one that the released code really applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LearningRateMode {
    /// Warm-up and decay as the paper describes.
    AsDescribed,
    /// As the released script runs: on CIFAR the constant initial rate (METHOD section 4).
    AsReleased,
}

/// `[optim]`: SGD.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct OptimSpec {
    /// Passes over the training subset.
    pub epochs: usize,
    /// Images B per step (a step sees B times the method's views).
    pub batch_size: usize,
    /// Initial learning rate.
    pub lr: f64,
    /// Momentum.
    pub momentum: f64,
    /// Weight decay, on every parameter.
    pub weight_decay: f64,
    /// Epochs of linear warm-up.
    pub warmup_epochs: usize,
    /// Shape after warm-up.
    pub schedule: ScheduleKind,
    /// Last epochs at each rate (step schedule).
    pub milestones: Vec<usize>,
    /// Described or released behaviour.
    pub lr_mode: LearningRateMode,
}

impl OptimSpec {
    /// What the optimiser takes of it.
    pub fn sgd(&self) -> SgdSpec {
        SgdSpec { momentum: self.momentum, weight_decay: self.weight_decay }
    }
}

/// SGD as PyTorch's: g' = g + wd w; v = m v + g'; w = w - lr v, on every parameter.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SgdSpec {
    /// m, 0.9.
    pub momentum: f64,
    /// wd, 5e-4; biases and batch norm included.
    pub weight_decay: f64,
}

impl Default for SgdSpec {
    fn default() -> Self {
        Self { momentum: 0.9, weight_decay: 5e-4 }
    }
}
