//! The loss: `[loss]` says what it is put together from, `[contrast]` holds the numbers of its parts.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// Name of a loss: letters, digits and hyphens. Which there are is known where they are computed
/// (`train::losses`, whose registry checks the name before anything is trained).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct LossName(String);

impl LossName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for LossName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for LossName {
    type Error = Error;

    fn try_from(name: String) -> Result<Self> {
        if is_kebab_case(&name) {
            return Ok(Self(name));
        }
        Err(Error::input(format!(
            "loss \"{name}\": expected a name of small letters, digits and hyphens, for example balanced-softmax"
        )))
    }
}

impl TryFrom<&str> for LossName {
    type Error = Error;

    fn try_from(name: &str) -> Result<Self> {
        name.to_owned().try_into()
    }
}

impl From<LossName> for String {
    fn from(name: LossName) -> Self {
        name.0
    }
}

/// Words of small letters and digits with single hyphens between them.
pub(super) fn is_kebab_case(name: &str) -> bool {
    let word =
        |w: &str| !w.is_empty() && w.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    name.split('-').all(word)
}

/// Where the keys of the anchors come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Keys {
    /// The other rows of the batch, both views; gradients flow through them (SupCon and ResCom).
    Batch,
    /// A momentum copy of the encoder (MoCo): view 1 gives the anchors, the copy's view 2 the keys,
    /// which then enter the queue. Nothing public says which form the paper's MoCo + Balanced Softmax
    /// has; this one (labels decide what is positive) is assumed.
    KeyEncoder,
    /// One first-in-first-out ring over all classes, with C Q keys in all.
    FifoQueue,
    /// One ring of Q keys per class.
    ClassBalancedQueue,
}

/// Which keys of the queue are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Miner {
    /// All of them.
    #[default]
    None,
    /// The hardest positives and negatives of every anchor (METHOD section 3).
    HardPairs,
}

/// `[loss]`: what is computed in one training step.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct LossSpec {
    /// Classification loss.
    pub classification: LossName,
    /// Views of each image that are classified: 1, or both (Siamese Balanced Softmax).
    #[serde(default = "one")]
    pub views_classified: usize,
    /// Contrastive loss; `none`: classification alone.
    #[serde(default = "none", with = "or_none")]
    pub contrast: Option<LossName>,
    /// Keys of the contrastive loss: `batch` or `key-encoder`, then at most one queue.
    #[serde(default)]
    pub keys: Vec<Keys>,
    /// Mining on the queue.
    #[serde(default)]
    pub miner: Miner,
    /// Mixup of single views, with lambda ~ Beta(alpha, alpha) and `stage2.mixup-alpha`.
    #[serde(default)]
    pub mixup: bool,
}

fn one() -> usize {
    1
}

fn none() -> Option<LossName> {
    None
}

/// `"none"` in the file is no loss.
mod or_none {
    use serde::{Deserialize, Deserializer, Serializer, de::Error as _};

    use super::LossName;

    const NONE: &str = "none";

    pub(super) fn serialize<S: Serializer>(
        name: &Option<LossName>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(name.as_ref().map_or(NONE, LossName::as_str))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<LossName>, D::Error> {
        match String::deserialize(deserializer)? {
            name if name == NONE => Ok(None),
            name => name.try_into().map(Some).map_err(D::Error::custom),
        }
    }
}

impl LossSpec {
    /// Augmented views a step needs of each image: 2 with a contrastive part or two classified views.
    pub fn views(&self) -> usize {
        if self.contrast.is_some() { 2 } else { self.views_classified }
    }

    /// Whether a momentum copy of the encoder makes the keys.
    pub fn has_key_encoder(&self) -> bool {
        self.keys.contains(&Keys::KeyEncoder)
    }

    /// The queue among the keys, if there is one.
    pub fn queue(&self) -> Option<Keys> {
        let is_queue = |k: &Keys| matches!(k, Keys::FifoQueue | Keys::ClassBalancedQueue);
        self.keys.iter().copied().find(is_queue)
    }
}

/// What a queue holds before it has been filled.
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

/// `[contrast]`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
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
