//! The losses (METHOD section 3) as types that compose.
//!
//! * What is classified: [`CrossEntropy`], [`BalancedSoftmax`], [`LabelAwareLoss`] over all rows they
//!   are given; [`FirstView`] of any of them; [`SiameseBalancedSoftmax`] over both views.
//! * The contrastive loss: [`SupConLoss`], and with a weight per class [`ClassBalancedSupCon`].
//! * The keys that its anchors meet: [`BatchKeys`] (both views of the batch), [`GivenKeys`] (those of
//!   another network), a [`FifoQueue`] or a [`ClassBalancedQueue`], what a miner selects of either
//!   ([`Mined`]), or several side by side ([`KeySource::and`]).
//! * The sum of both parts: [`JointLoss`].
//!
//! ```
//! use rescom::{
//!     contrast::{HardPairMiner, Temperature},
//!     longtail::{ClassCounts, EffectiveNumber},
//!     run::QueueInit,
//!     train::{HostTensor, losses::*},
//! };
//! # fn main() -> rescom::Result<()> {
//! let counts = ClassCounts::new(vec![50, 5])?;
//! let loss = SupConLoss::new(Temperature::new(0.2)?);
//! let loss = ClassBalancedSupCon::new(loss, EffectiveNumber::new(0.99)?, &counts);
//! let queue = ClassBalancedQueue::random(2, 4, 3, QueueInit::Random, 0)?;
//! let keys = BatchKeys.and(Mined::new(queue, HardPairMiner { num_pos: 1, num_neg: 2 })?);
//! let z = HostTensor::f32(&[2, 3], vec![1.0, 0.0, 0.0, 0.6, 0.8, 0.0])?;
//! let found = loss.evaluate(&z, &HostTensor::i64(&[2], vec![0, 0])?, &keys)?;
//! assert_eq!(found["grad_features"].shape, [2, 3]);
//! # Ok(())
//! # }
//! ```
//!
//! Everything is a log-sum-exp; nothing is filled with large finite sentinels, half types become float32
//! before anything is exponentiated, and an anchor without positives contributes zero to value and
//! gradient. Training calls these types on its own device; `evaluate` takes and gives host tensors and
//! computes on the CPU.

mod classification;
mod joint;
mod registry;
pub(crate) mod smoothing;
mod supcon;
#[cfg(test)]
mod tests;

pub use crate::train::keys::{
    class_balanced::ClassBalancedQueue,
    fifo::FifoQueue,
    mined::Mined,
    queue::KeyQueue,
    source::{BatchKeys, GivenKeys, KeySource, With},
};
pub use classification::{
    BalancedSoftmax, ClassificationLoss, CrossEntropy, FirstView, LabelAwareLoss,
    SiameseBalancedSoftmax,
};
pub use joint::JointLoss;
pub use registry::*;
pub use supcon::{ClassBalancedSupCon, ContrastiveLoss, SupConLoss};

pub(crate) use crate::train::keys::source::Anchors;
pub(crate) use joint::Terms;

use tch::{Device, Kind, Tensor};

use crate::{
    Error, Result,
    train::nn::{
        parameters::TorchResult,
        tensors::{HostData, HostTensor},
    },
};

/// The same types on tensors of any device: what training calls. The public traits stand on these, so
/// that no type of torch is part of the public interface.
pub(crate) mod on_tensors {
    use std::fmt::Debug;

    use tch::Tensor;

    use super::{
        super::keys::source::{Anchors, Pairs},
        super::{nn::parameters::TorchResult, nn::tensors::HostTensors},
    };
    use crate::Result;

    /// A loss of logits `[N, C]` against the labels `[N]` of these rows; a scalar.
    pub trait Classify: Debug {
        /// Its value.
        fn of(&self, logits: &Tensor, labels: &Tensor) -> TorchResult<Tensor>;

        /// C, where the loss is for so many classes alone.
        fn classes(&self) -> Option<i64>;

        /// The number of rows must be a multiple of it: 2 where two views are meant.
        fn views(&self) -> i64;
    }

    /// A loss of anchors against their keys.
    pub trait Contrast: Debug {
        /// One value per anchor `[M]`.
        fn per_anchor(&self, pairs: &Pairs) -> TorchResult<Tensor>;

        /// The value for the batch from [`per_anchor`](Self::per_anchor) and the anchors' labels, both `[M]`.
        fn mean(&self, per_anchor: &Tensor, labels: &Tensor) -> TorchResult<Tensor>;
    }

    /// Where an anchor's keys come from.
    pub trait Keys: Debug {
        /// Similarities of the anchors to all keys.
        fn pairs(&self, anchors: &Anchors<'_>) -> TorchResult<Pairs>;
    }

    /// Keys kept from earlier steps.
    pub trait Ring: Keys {
        /// Writes unit rows `[B, D]` with their labels `[B]`, in row order, over the oldest keys.
        fn write(&mut self, rows: &Tensor, labels: &Tensor) -> TorchResult<()>;

        /// What a checkpoint holds of it.
        fn export(&self, into: &mut HostTensors);

        /// Takes over what [`export`](Self::export) wrote.
        fn import(&mut self, from: &HostTensors) -> Result<()>;
    }

    /// A queue that a miner can search.
    pub trait Searchable: Ring {
        /// The columns of `pairs`, which has all keys, among which an anchor's positives are: similarities
        /// `[M, ...]`, infinite where there is none.
        fn positives(&self, pairs: &Pairs, labels: &Tensor) -> TorchResult<Tensor>;

        /// Whether an anchor may find fewer keys than the miner asks for.
        fn may_lack(&self) -> bool;

        /// Most positives and most negatives that an anchor can ever find.
        fn most(&self) -> [usize; 2];
    }
}

/// Half types become float32 before anything is exponentiated.
pub(crate) fn wide(x: &Tensor) -> TorchResult<Tensor> {
    match x.kind() {
        Kind::Half | Kind::BFloat16 => x.f_to_kind(Kind::Float),
        _ => Ok(x.shallow_clone()),
    }
}

/// A copy that gradients are asked for.
fn leaf(tensor: &Tensor) -> Tensor {
    tensor.detach().copy().set_requires_grad(true)
}

/// Rows of floats `[N, K]` from the host.
pub(crate) fn matrix(what: &str, given: &HostTensor) -> Result<Tensor> {
    let floats = !matches!(given.data, HostData::I64(_));
    if !floats || given.shape.len() != 2 || given.shape.iter().product::<usize>() != given.len() {
        return Err(Error::input(format!(
            "{what}: shape {:?} with {} values; expected a matrix of floats",
            given.shape,
            given.len()
        )));
    }
    Ok(given.to_torch(Device::Cpu))
}

/// Labels [n] below `classes` from the host; -1, a key that was never written, where that may be.
pub(crate) fn labels_of(
    what: &str,
    given: &HostTensor,
    n: i64,
    least: i64,
    classes: i64,
) -> Result<Tensor> {
    let Some(values) = given.as_i64().filter(|v| v.len() as i64 == n && given.shape.len() == 1)
    else {
        return Err(Error::input(format!(
            "{what}: shape {:?}; expected {n} int64 values, one per row",
            given.shape
        )));
    };
    if let Some((row, bad)) = values.iter().enumerate().find(|(_, y)| !(least..classes).contains(y))
    {
        let expected = if classes == i64::MAX {
            format!("at least {least}")
        } else {
            format!("{least}..{classes}")
        };
        return Err(Error::input(format!(
            "{what}: row {row} has label {bad}; expected {expected}"
        )));
    }
    Ok(Tensor::from_slice(values))
}
