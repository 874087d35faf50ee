//! The fields of a recipe, as they stand in the file. One struct per table; every field is
//! required, so that a recipe is complete; [`RawRecipe::check`] turns it into a [`Recipe`](super::Recipe).

use serde::{Deserialize, Serialize};

use super::Method;

/// A complete recipe as read, not yet checked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct RawRecipe {
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
    /// The contrastive part; unused by methods that have none.
    pub contrast: ContrastSpec,
    /// Evaluation during training.
    pub eval: EvalSpec,
    /// Seed, precision, checkpoints.
    pub run: RunSpec,
    /// MiSLAS: mixup strength of stage 1 and everything of stage 2.
    pub stage2: Stage2Spec,
}

/// Data sets by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DataSetId {
    /// CIFAR-10, 5,000 images per class.
    Cifar10,
    /// CIFAR-100, 500 images per class.
    Cifar100,
    /// Fashion-MNIST, 6,000 images per class, grey, padded to 32x32.
    FashionMnist,
    /// ImageNet-LT from an image list.
    ImagenetLt,
    /// iNaturalist 2018 from an image list.
    Inat18,
    /// Places-LT from an image list.
    PlacesLt,
}

impl DataSetId {
    /// Number of classes C.
    pub fn classes(self) -> usize {
        match self {
            Self::Cifar10 | Self::FashionMnist => 10,
            Self::Cifar100 => 100,
            Self::ImagenetLt => 1000,
            Self::Inat18 => 8142,
            Self::PlacesLt => 365,
        }
    }

    /// Channels of a decoded image: 1 (grey) or 3 (RGB).
    pub fn channels(self) -> usize {
        if self == Self::FashionMnist { 1 } else { 3 }
    }

    /// Training images per class before a tail is cut; none where the set is long-tailed itself.
    pub fn images_per_class(self) -> Option<u64> {
        match self {
            Self::Cifar10 => Some(5000),
            Self::Cifar100 => Some(500),
            Self::FashionMnist => Some(6000),
            Self::ImagenetLt | Self::Inat18 | Self::PlacesLt => None,
        }
    }

    /// Training images of a set that is long-tailed itself, as published; none of the others.
    pub fn long_tailed_images(self) -> Option<u64> {
        match self {
            Self::Cifar10 | Self::Cifar100 | Self::FashionMnist => None,
            Self::ImagenetLt => Some(115_846),
            Self::Inat18 => Some(437_513),
            Self::PlacesLt => Some(62_500),
        }
    }

    /// Test images of the published set.
    pub fn test_images(self) -> usize {
        match self {
            Self::Cifar10 | Self::Cifar100 | Self::FashionMnist => 10_000,
            Self::ImagenetLt => 50_000,
            Self::Inat18 => 24_426,
            Self::PlacesLt => 36_500,
        }
    }

    /// The name used on the command line, in recipes and in the tables of published numbers.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cifar10 => "cifar10",
            Self::Cifar100 => "cifar100",
            Self::FashionMnist => "fashion-mnist",
            Self::ImagenetLt => "imagenet-lt",
            Self::Inat18 => "inat18",
            Self::PlacesLt => "places-lt",
        }
    }
}

/// How the tail is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProfileKind {
    /// Exponential from head to tail.
    Exp,
    /// Half of the classes head, half tail.
    Step,
    /// The set's own counts.
    Natural,
}

/// Which class gets how many images.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClassOrder {
    /// The data set's order: class 0 is the head.
    Natural,
    /// The last class is the head.
    Reversed,
    /// A permutation drawn from `subset-seed`.
    Seeded,
}

/// `[data]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct DataSpec {
    /// The data set.
    pub set: DataSetId,
    /// Shape of the tail.
    pub profile: ProfileKind,
    /// n_1 / n_C, at least 1; ignored by the natural profile.
    pub imbalance_factor: f64,
    /// Images of the largest class, n_1; ignored by the natural profile.
    pub images_per_class: u64,
    /// Which class is the head.
    pub class_order: ClassOrder,
    /// The reference's `rand_number`: seed of the legacy generator that picks the images.
    pub subset_seed: u32,
}

/// The random augmentation of a training view.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AugmentPolicy {
    /// Random crop (padding 4) and horizontal flip.
    CropFlip,
    /// Crop, flip and Cutout.
    CropFlipCutout,
    /// Crop, flip, AutoAugment (CIFAR-10 policy) and Cutout.
    AutoAugmentCutout,
    /// Random resized crop, flip, colour jitter, grayscale, RandAugment.
    RandAugment,
}

/// `[augment]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct AugmentSpec {
    /// The policy.
    pub policy: AugmentPolicy,
    /// Channel means subtracted, of images scaled to 0..1; one per channel.
    pub mean: Vec<f64>,
    /// Channel standard deviations divided by; one per channel.
    pub std: Vec<f64>,
}

/// Encoder architectures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum Architecture {
    Resnet20,
    Resnet32,
    Resnet44,
    Resnet56,
    Resnet110,
    Resnet50,
    #[serde(rename = "resnext50_32x4d")]
    Resnext50_32x4d,
}

impl Architecture {
    /// Width of the features f: 64 for the CIFAR networks (16, 32 and 64 channels), 2048 for those
    /// of ImageNet.
    pub fn feature_dim(self) -> usize {
        if matches!(self, Self::Resnet50 | Self::Resnext50_32x4d) { 2048 } else { 64 }
    }

    /// The name that recipes use.
    pub fn name(self) -> String {
        format!("{self:?}").to_lowercase()
    }
}

/// `[model]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ModelSpec {
    /// The encoder.
    pub arch: Architecture,
    /// Dimension D of the projections.
    pub projection_dim: usize,
}

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

/// `[method]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct MethodSpec {
    /// The method, its switched-off modules included.
    pub name: Method,
}

/// What the class-balanced queue holds before a class has filled its ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum QueueInit {
    /// Random unit vectors, used as keys from the first step, as released.
    Random,
    /// Unfilled slots are left out of the keys.
    ExcludeUnfilled,
}

/// `[contrast]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ContrastSpec {
    /// Temperature T > 0.
    pub temperature: f64,
    /// Weight lambda of the contrastive loss.
    pub con_weight: f64,
    /// b of the effective number, 0 <= b < 1; 0 switches the weights off.
    pub effective_number_beta: f64,
    /// Keys Q per class; a FIFO queue has C*Q keys in all.
    pub queue_per_class: usize,
    /// Hardest positives taken from the queue, Q_p <= Q.
    pub num_pos: usize,
    /// Hardest negatives taken from the queue, Q_n <= (C-1)*Q.
    pub num_neg: usize,
    /// The queue's first content.
    pub queue_init: QueueInit,
    /// Momentum of the key encoder (`moco+bs`).
    pub encoder_momentum: f64,
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

/// Arithmetic of forward and backward passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// 32-bit floats.
    Fp32,
    /// bfloat16 autocast; weights, statistics and losses stay in fp32.
    Bf16,
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
