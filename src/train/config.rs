//! What is trained, and how one step is computed: plain settings, free of tch types, checked once.
//! Recipes map onto these.

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// Network that turns images into features.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Arch {
    /// CIFAR network, 3 blocks per stage, option-A shortcuts (METHOD section 5).
    #[serde(rename = "resnet20")]
    ResNet20,
    /// 5 blocks per stage.
    #[serde(rename = "resnet32")]
    ResNet32,
    /// 7 blocks per stage.
    #[serde(rename = "resnet44")]
    ResNet44,
    /// 9 blocks per stage.
    #[serde(rename = "resnet56")]
    ResNet56,
    /// 18 blocks per stage.
    #[serde(rename = "resnet110")]
    ResNet110,
    /// ImageNet bottleneck network, stride on the 3x3 ("v1.5").
    #[serde(rename = "resnet50")]
    ResNet50,
    /// The same with 32 groups of 4 channels.
    #[serde(rename = "resnext50_32x4d")]
    ResNeXt50,
}

impl Arch {
    /// All networks.
    pub const ALL: [Self; 7] = [
        Self::ResNet20,
        Self::ResNet32,
        Self::ResNet44,
        Self::ResNet56,
        Self::ResNet110,
        Self::ResNet50,
        Self::ResNeXt50,
    ];

    /// The name recipes and reference files use.
    pub fn name(self) -> &'static str {
        match self {
            Self::ResNet20 => "resnet20",
            Self::ResNet32 => "resnet32",
            Self::ResNet44 => "resnet44",
            Self::ResNet56 => "resnet56",
            Self::ResNet110 => "resnet110",
            Self::ResNet50 => "resnet50",
            Self::ResNeXt50 => "resnext50_32x4d",
        }
    }

    /// The network called `name`.
    ///
    /// # Errors
    /// [`Error::Input`] listing the known names.
    pub fn parse(name: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|a| a.name() == name).ok_or_else(|| {
            let known: Vec<_> = Self::ALL.iter().map(|a| a.name()).collect();
            Error::input(format!("network `{name}` is not known; expected {}", known.join(", ")))
        })
    }

    /// Basic blocks per stage of a CIFAR network, `None` for the ImageNet ones.
    pub fn cifar_blocks(self) -> Option<usize> {
        match self {
            Self::ResNet20 => Some(3),
            Self::ResNet32 => Some(5),
            Self::ResNet44 => Some(7),
            Self::ResNet56 => Some(9),
            Self::ResNet110 => Some(18),
            Self::ResNet50 | Self::ResNeXt50 => None,
        }
    }
}

/// The encoder: network, input channels and width.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EncoderSpec {
    /// Network.
    pub arch: Arch,
    /// 1 (grey) or 3 (RGB).
    pub in_channels: usize,
    /// Channels of the first stage of a CIFAR network: 16 as published; a multiple of 4. Features
    /// are 4 times as many. Must be absent for ImageNet networks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub width: Option<usize>,
}

impl EncoderSpec {
    /// The published width.
    pub fn new(arch: Arch, in_channels: usize) -> Self {
        Self { arch, in_channels, width: None }
    }

    /// Width of the features f: 64 for the CIFAR networks as published, 2048 for ImageNet ones.
    pub fn feature_dim(&self) -> usize {
        match self.arch.cifar_blocks() {
            Some(_) => 4 * self.width.unwrap_or(16),
            None => 2048,
        }
    }

    /// # Errors
    /// [`Error::Input`] naming the field that cannot be used.
    pub fn check(&self) -> Result<()> {
        if ![1, 3].contains(&self.in_channels) {
            return Err(Error::input(format!(
                "encoder.in_channels = {}: expected 1 (grey) or 3 (RGB)",
                self.in_channels
            )));
        }
        match (self.width, self.arch.cifar_blocks()) {
            (Some(_), None) => Err(Error::input(format!(
                "encoder.width: {} has one width only; remove the field",
                self.arch.name()
            ))),
            (Some(w), Some(_)) if w == 0 || w % 4 != 0 => {
                Err(Error::input(format!("encoder.width = {w}: expected a positive multiple of 4")))
            }
            _ => Ok(()),
        }
    }
}

/// How unfilled slots of a queue are treated at the start of training.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum QueueInit {
    /// Random unit vectors, used as keys at once: as released, and the default, because the published
    /// numbers come from it (METHOD section 9, point 2).
    #[default]
    Random,
    /// Slots that hold no key yet are no key: neither mined nor in the denominator. The sane choice
    /// for long queues and short runs, where random "hard positives" would be pulled at.
    ExcludeUnfilled,
}

/// Keys kept from earlier steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum QueueSpec {
    /// One first-in-first-out ring over all classes.
    Fifo {
        /// Keys in all.
        len: usize,
        /// Treatment of unfilled slots.
        #[serde(default)]
        init: QueueInit,
    },
    /// One ring per class.
    ClassBalanced {
        /// Q, keys per class.
        per_class: usize,
        /// Treatment of unfilled slots.
        #[serde(default)]
        init: QueueInit,
    },
}

impl QueueSpec {
    /// Treatment of unfilled slots.
    pub fn init(&self) -> QueueInit {
        match self {
            Self::Fifo { init, .. } | Self::ClassBalanced { init, .. } => *init,
        }
    }

    /// Keys in all, for `classes` classes.
    pub fn keys(&self, classes: usize) -> usize {
        match *self {
            Self::Fifo { len, .. } => len,
            Self::ClassBalanced { per_class, .. } => per_class * classes,
        }
    }
}

/// Supervised hard pair mining on the queue: the `num_pos` keys of the anchor's class with the
/// smallest similarity, the `num_neg` others with the largest (METHOD section 3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HardPairMiner {
    /// Q_p.
    pub num_pos: usize,
    /// Q_n.
    pub num_neg: usize,
}

/// Which keys are positives of an anchor, and which network makes the keys.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum ContrastKind {
    /// Keys of the same class are positives; the encoder itself makes them (SupCon and ResCom).
    Supervised,
    /// The other view is the only positive; a momentum copy of the encoder makes all keys (MoCo).
    Momentum {
        /// m in theta_k = m theta_k + (1 - m) theta_q, 0.999 as in MoCo.
        momentum: f64,
    },
}

/// The contrastive part of the loss.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ContrastSpec {
    /// lambda, the weight of the contrastive loss.
    pub con_weight: f64,
    /// T.
    pub temperature: f64,
    /// D, width of the projections.
    pub projection_dim: usize,
    /// b of the effective-number weights of the anchors; `None`: every anchor weighs 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class_balanced_beta: Option<f64>,
    /// Keys from earlier steps; `None`: only the batch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<QueueSpec>,
    /// Mining on the queue; `None`: all queue keys are used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mining: Option<HardPairMiner>,
    /// Who makes the keys and which are positives.
    pub kind: ContrastKind,
}

/// The classification loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Classification {
    /// Plain cross-entropy.
    CrossEntropy,
    /// Cross-entropy of logits + ln(prior + 1e-9).
    BalancedSoftmax,
}

/// Everything that defines one training step's loss.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MethodSpec {
    /// Classification loss.
    pub classification: Classification,
    /// Both views are classified (Siamese Balanced Softmax); otherwise view 1 alone.
    pub siamese: bool,
    /// Mixup with lambda ~ Beta(alpha, alpha), on single views only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mixup_alpha: Option<f64>,
    /// Contrastive part; `None`: classification alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contrast: Option<ContrastSpec>,
}

impl MethodSpec {
    /// Augmented views a step needs of each image: 2 with a contrastive part or two classified views.
    pub fn views(&self) -> usize {
        if self.contrast.is_some() || self.siamese { 2 } else { 1 }
    }

    /// Checks every value, and that the miner never asks for more keys than there are.
    ///
    /// # Errors
    /// [`Error::Input`] naming the field, its value and what was expected.
    pub fn check(&self, classes: usize) -> Result<()> {
        if let Some(alpha) = self.mixup_alpha {
            positive("mixup_alpha", alpha)?;
            if self.views() == 2 {
                return Err(Error::input(
                    "mixup_alpha: mixup works on single views; remove the contrastive part and `siamese`",
                ));
            }
        }
        self.contrast.as_ref().map_or(Ok(()), |c| c.check(classes))
    }
}

fn positive(field: &str, value: f64) -> Result<()> {
    if value.is_finite() && value > 0.0 {
        return Ok(());
    }
    Err(Error::input(format!("{field} = {value}: expected a positive number")))
}

impl ContrastSpec {
    fn check(&self, classes: usize) -> Result<()> {
        positive("contrast.temperature", self.temperature)?;
        if !(self.con_weight.is_finite() && self.con_weight >= 0.0) {
            return Err(Error::input(format!(
                "contrast.con_weight = {}: expected a number of at least 0",
                self.con_weight
            )));
        }
        if self.projection_dim == 0 {
            return Err(Error::input("contrast.projection_dim = 0: expected at least 1"));
        }
        if let Some(beta) = self.class_balanced_beta {
            crate::longtail::EffectiveNumber::new(beta)?;
        }
        if let Some(queue) = self.queue
            && queue.keys(classes) == 0
        {
            return Err(Error::input("contrast.queue: its size is 0; expected at least 1 key"));
        }
        self.check_kind()?;
        self.mining.map_or(Ok(()), |m| self.check_mining(m, classes))
    }

    fn check_kind(&self) -> Result<()> {
        let ContrastKind::Momentum { momentum } = self.kind else { return Ok(()) };
        if !(0.0..=1.0).contains(&momentum) {
            return Err(Error::input(format!(
                "contrast.kind.momentum = {momentum}: expected 0 to 1 (0.999 in MoCo)"
            )));
        }
        if !matches!(self.queue, Some(QueueSpec::Fifo { .. })) || self.mining.is_some() {
            return Err(Error::input(
                "contrast.kind = momentum: needs a fifo queue and no mining (MoCo knows no labels)",
            ));
        }
        Ok(())
    }

    fn check_mining(&self, miner: HardPairMiner, classes: usize) -> Result<()> {
        let (own, others) = match self.queue {
            None => {
                return Err(Error::input(
                    "contrast.mining: mining selects queue keys, but there is no contrast.queue",
                ));
            }
            Some(QueueSpec::ClassBalanced { per_class, .. }) => {
                (per_class, per_class * classes.saturating_sub(1))
            }
            Some(QueueSpec::Fifo { len, .. }) => (len, len),
        };
        for (field, asked, there) in
            [("num_pos", miner.num_pos, own), ("num_neg", miner.num_neg, others)]
        {
            if asked > there {
                return Err(Error::input(format!(
                    "contrast.mining.{field} = {asked}: the queue holds only {there} such keys per \
                     anchor; lower it or enlarge contrast.queue"
                )));
            }
        }
        Ok(())
    }
}

/// ResCom's four modules, each of which can be switched off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Modules {
    /// Siamese Balanced Softmax: off, view 1 alone is classified.
    pub siamese: bool,
    /// Class-balanced queue: off, a FIFO queue with as many keys in all.
    pub class_balanced_queue: bool,
    /// Hard pair mining: off, all queue keys are used.
    pub mining: bool,
    /// Effective-number weights of the anchors: off, every anchor weighs 1.
    pub class_balanced_loss: bool,
}

impl Modules {
    /// All four on: ResCom as published.
    pub const ALL: Self =
        Self { siamese: true, class_balanced_queue: true, mining: true, class_balanced_loss: true };

    /// The 16 combinations, all on first.
    pub fn combinations() -> impl Iterator<Item = Self> {
        (0..16u8).map(|off| Self {
            siamese: off & 1 == 0,
            class_balanced_queue: off & 2 == 0,
            mining: off & 4 == 0,
            class_balanced_loss: off & 8 == 0,
        })
    }
}

/// Methods by the name a recipe gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Method {
    /// Cross-entropy, one view.
    #[serde(rename = "ce")]
    CrossEntropy,
    /// Balanced Softmax, one view.
    #[serde(rename = "balanced-softmax")]
    BalancedSoftmax,
    /// SupCon on both views of the batch + Balanced Softmax on view 1.
    #[serde(rename = "supcon+bs")]
    SupConBs,
    /// MoCo (momentum encoder, FIFO queue) + Balanced Softmax on view 1.
    #[serde(rename = "moco+bs")]
    MocoBs,
    /// ResCom, or an ablation of it.
    #[serde(rename = "rescom")]
    ResCom,
    /// MiSLAS stage 1: mixup on cross-entropy.
    #[serde(rename = "mislas")]
    Mislas,
}

/// Constants from which [`Method::spec`] takes what its method needs.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MethodParams {
    /// lambda.
    pub con_weight: f64,
    /// T.
    pub temperature: f64,
    /// D.
    pub projection_dim: usize,
    /// b of the effective-number weights.
    pub effective_number_beta: f64,
    /// Q, keys per class.
    pub queue_per_class: usize,
    /// Treatment of unfilled slots.
    #[serde(default)]
    pub queue_init: QueueInit,
    /// Q_p.
    pub num_pos: usize,
    /// Q_n.
    pub num_neg: usize,
    /// Momentum of MoCo's key encoder.
    pub moco_momentum: f64,
    /// Keys in MoCo's queue.
    pub moco_queue: usize,
    /// alpha of mixup.
    pub mixup_alpha: f64,
}

impl Method {
    /// All methods.
    pub const ALL: [Self; 6] = [
        Self::CrossEntropy,
        Self::BalancedSoftmax,
        Self::SupConBs,
        Self::MocoBs,
        Self::ResCom,
        Self::Mislas,
    ];

    /// The name recipes use.
    pub fn name(self) -> &'static str {
        match self {
            Self::CrossEntropy => "ce",
            Self::BalancedSoftmax => "balanced-softmax",
            Self::SupConBs => "supcon+bs",
            Self::MocoBs => "moco+bs",
            Self::ResCom => "rescom",
            Self::Mislas => "mislas",
        }
    }

    /// What the method computes in a step. `modules` matters to `rescom` alone.
    pub fn spec(self, params: &MethodParams, modules: Modules, classes: usize) -> MethodSpec {
        use Classification::{BalancedSoftmax, CrossEntropy};
        let plain = |classification| MethodSpec {
            classification,
            siamese: false,
            mixup_alpha: None,
            contrast: None,
        };
        let contrast = ContrastSpec {
            con_weight: params.con_weight,
            temperature: params.temperature,
            projection_dim: params.projection_dim,
            class_balanced_beta: None,
            queue: None,
            mining: None,
            kind: ContrastKind::Supervised,
        };
        let init = params.queue_init;
        match self {
            Self::CrossEntropy => plain(CrossEntropy),
            Self::BalancedSoftmax => plain(BalancedSoftmax),
            Self::Mislas => {
                MethodSpec { mixup_alpha: Some(params.mixup_alpha), ..plain(CrossEntropy) }
            }
            Self::SupConBs => MethodSpec { contrast: Some(contrast), ..plain(BalancedSoftmax) },
            Self::MocoBs => MethodSpec {
                contrast: Some(ContrastSpec {
                    queue: Some(QueueSpec::Fifo { len: params.moco_queue, init }),
                    kind: ContrastKind::Momentum { momentum: params.moco_momentum },
                    ..contrast
                }),
                ..plain(BalancedSoftmax)
            },
            Self::ResCom => {
                let per_class = params.queue_per_class;
                let queue = if modules.class_balanced_queue {
                    QueueSpec::ClassBalanced { per_class, init }
                } else {
                    QueueSpec::Fifo { len: per_class * classes, init }
                };
                let mining = HardPairMiner { num_pos: params.num_pos, num_neg: params.num_neg };
                MethodSpec {
                    siamese: modules.siamese,
                    contrast: Some(ContrastSpec {
                        queue: Some(queue),
                        mining: modules.mining.then_some(mining),
                        class_balanced_beta: modules
                            .class_balanced_loss
                            .then_some(params.effective_number_beta),
                        ..contrast
                    }),
                    ..plain(BalancedSoftmax)
                }
            }
        }
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

/// Arithmetic of the encoder; losses, batch-norm statistics and the optimiser stay in float32.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// float32 throughout.
    #[default]
    F32,
    /// Convolutions and linear layers in bfloat16.
    Bf16,
}

/// One training engine: network, method, optimiser and arithmetic.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainerSpec {
    /// Encoder.
    pub encoder: EncoderSpec,
    /// Method.
    pub method: MethodSpec,
    /// Optimiser.
    #[serde(default)]
    pub sgd: SgdSpec,
    /// Arithmetic.
    #[serde(default)]
    pub precision: Precision,
    /// Activations and convolution weights with the channels innermost.
    #[serde(default)]
    pub channels_last: bool,
}
