//! What is trained, and how one step is computed: plain settings, free of tch types, checked once.
//! Recipes map onto these.

use serde::{Deserialize, Serialize};

pub use crate::contrast::HardPairMiner;
pub use crate::train::nn::arch::{Arch, EncoderSpec};
use crate::{Error, Result};

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

/// Which network makes the keys. Keys of the anchor's class are positives in any case.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum ContrastKind {
    /// The encoder itself, both views being anchors and keys (SupCon and ResCom).
    Supervised,
    /// A momentum copy of the encoder (MoCo): view 1 gives the anchors, the copy's view 2 the keys, which
    /// then enter a FIFO queue. Nothing public says which form the paper's MoCo + Balanced Softmax
    /// has; this one (labels decide what is positive) is assumed.
    Momentum {
        /// m in theta_k = m theta_k + (1 - m) theta_q, 0.999 as in MoCo.
        momentum: f64,
    },
}

/// The contrastive part of the loss.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ContrastiveLossSpec {
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
pub struct LossSpec {
    /// Classification loss.
    pub classification: Classification,
    /// Both views are classified (Siamese Balanced Softmax); otherwise view 1 alone.
    pub siamese: bool,
    /// Mixup with lambda ~ Beta(alpha, alpha), on single views only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mixup_alpha: Option<f64>,
    /// Contrastive part; `None`: classification alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contrast: Option<ContrastiveLossSpec>,
}

impl LossSpec {
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
        let momentum = self.contrast.as_ref().is_some_and(ContrastiveLossSpec::has_key_network);
        if momentum && self.siamese {
            return Err(Error::input(
                "siamese = true: with contrast.kind = momentum only view 1 passes the encoder; set it to false",
            ));
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

impl ContrastiveLossSpec {
    /// Whether a momentum copy of the encoder makes the keys.
    pub fn has_key_network(&self) -> bool {
        matches!(self.kind, ContrastKind::Momentum { .. })
    }

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
            return Err(Error::input("contrast.kind = momentum: needs a fifo queue and no mining"));
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
    pub method: LossSpec,
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

impl SgdSpec {
    /// # Errors
    /// [`Error::Input`] unless 0 <= momentum < 1 and the weight decay is not negative.
    pub fn check(&self) -> Result<()> {
        if (0.0..1.0).contains(&self.momentum) && self.weight_decay >= 0.0 {
            return Ok(());
        }
        Err(Error::input(format!(
            "sgd: momentum {} and weight_decay {}; expected 0 <= momentum < 1 and weight_decay >= 0",
            self.momentum, self.weight_decay
        )))
    }
}
