//! The tables of a recipe, as they stand in the file.

use serde::{Deserialize, Serialize};

use super::{
    data::{AugmentSpec, DataSpec},
    loss::{ContrastSpec, LossSpec},
    method::Method,
    model::{ModelSpec, Precision},
    optim::OptimSpec,
};

/// A complete recipe; `L` is what is known of its loss. Every value is required but `[loss]`, which the
/// method's name stands for where the file has none.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Tables<L> {
    /// Name of the recipe, usually that of its file.
    pub name: String,
    /// The training and test images.
    pub data: DataSpec,
    /// The random augmentation of each view.
    pub augment: AugmentSpec,
    /// The network.
    pub model: ModelSpec,
    /// Optimiser and schedule.
    pub optim: OptimSpec,
    /// The method.
    pub method: MethodSpec,
    /// What the loss is put together from.
    pub loss: L,
    /// The numbers of the contrastive part; unused by losses that have none.
    pub contrast: ContrastSpec,
    /// Evaluation during training.
    pub eval: EvalSpec,
    /// Seed, precision, checkpoints.
    pub run: RunSpec,
    /// MiSLAS: mixup strength of stage 1 and everything of stage 2.
    pub stage2: Stage2Spec,
}

/// A recipe as read, not yet checked.
pub type RawRecipe = Tables<Option<LossSpec>>;

/// `[method]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct MethodSpec {
    /// The method, its switched-off modules included: the row of every table. Where it is one of those
    /// that have a composition of their own, `[loss]` can only say the same.
    pub name: Method,
}

/// `[eval]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct EvalSpec {
    /// Evaluate after every so many epochs; the last epoch always is.
    pub every: usize,
    /// Test images per class in the evaluations before the last one; 0 means all. The last
    /// evaluation is always on the whole test set.
    pub interim_per_class: usize,
    /// Images per forward pass.
    pub batch_size: usize,
}

/// `[run]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct RunSpec {
    /// Seed of initial weights, order and augmentation.
    pub seed: u64,
    /// Arithmetic.
    pub precision: Precision,
    /// Checkpoints kept (the newest ones), at least 1.
    pub keep_checkpoints: usize,
}

/// `[stage2]`: MiSLAS (METHOD section 7).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Stage2Spec {
    /// alpha of the Beta(alpha, alpha) that mixup of stage 1 draws from.
    pub mixup_alpha: f64,
    /// Epochs of stage 2.
    pub epochs: usize,
    /// Learning rate of the scale.
    pub lr: f64,
    /// The classifier's rate as a part of `lr`.
    pub lr_factor: f64,
    /// Weight decay of stage 2.
    pub weight_decay: f64,
    /// Label smoothing of the head class.
    pub smooth_head: f64,
    /// Label smoothing of the tail class.
    pub smooth_tail: f64,
    /// Re-estimate the encoder's batch-norm statistics.
    pub shifted_batch_norm: bool,
}
