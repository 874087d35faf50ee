//! The losses (METHOD section 3) as types that compose, in tch's language: tensors in, a tensor with its
//! graph out, on the device where they are.
//!
//! * What is classified: [`CrossEntropy`], [`BalancedSoftmax`], [`LabelAwareLoss`] over all rows they
//!   are given; [`FirstView`] of any of them; [`SiameseBalancedSoftmax`] over both views.
//! * The contrastive loss: [`SupConLoss`], and with a weight per class [`ClassBalancedSupCon`].
//! * The keys that its anchors meet ([`keys`](crate::train::keys)): [`BatchKeys`] (both views of the
//!   batch), [`GivenKeys`] (those of another network), a [`FifoQueue`] or a [`ClassBalancedQueue`], what a
//!   miner selects of either ([`Mined`]), or several side by side ([`KeySource::and`]).
//! * The sum of both parts: [`JointLoss`].
//!
//! The traits [`ClassificationLoss`], [`ContrastiveLoss`], [`KeySource`] and [`KeyQueue`] are open: a type of
//! yours that implements one composes with the types here, and training calls no others.
//!
//! ```
//! use rescom::{longtail::*, train::losses::*};
//! use tch::{Device, Kind, Tensor};
//! # fn main() -> rescom::Result<()> {
//! let counts = ClassCounts::new(vec![50, 5])?;
//! let supcon = SupConLoss::new(Temperature::new(0.2)?);
//! let loss = ClassBalancedSupCon::new(supcon, EffectiveNumber::new(0.99)?, &counts);
//! let queue = ClassBalancedQueue::random(2, 4, 3, QueueInit::Random, 0, Device::Cpu)?;
//! let keys = BatchKeys.and(Mined::new(queue, HardPairMiner { num_pos: 1, num_neg: 2 })?);
//! let rows = Tensor::randn([4, 3], (Kind::Float, Device::Cpu)).set_requires_grad(true);
//! let labels = Tensor::from_slice(&[0i64, 1, 0, 1]);
//! let value = loss.loss(&keys.pairs(&unit_rows(&rows)?, &labels)?)?;
//! value.backward();
//! assert_eq!(rows.grad().size(), [4, 3]);
//! # Ok(())
//! # }
//! ```
//!
//! Everything is a log-sum-exp; nothing is filled with large finite sentinels, half types become float32
//! before anything is exponentiated, and an anchor without positives contributes zero to value and
//! gradient. What a loss holds per class follows the device of what it is given; a queue stays where it was
//! made. The same losses without libtorch, in float64 and slow, are [`contrast`](crate::contrast): the
//! reference that tests hold these against.

mod classification;
mod joint;
mod per_class;
mod registry;
mod smoothing;
mod supcon;
#[cfg(test)]
mod tests;

pub use crate::{
    contrast::Temperature,
    train::keys::{
        BatchKeys, ClassBalancedQueue, FifoQueue, GivenKeys, HardPairMiner, KeyQueue, KeySource,
        Mined, Pairs, QueueInit, QueueState, Searchable, With,
    },
};
pub use classification::{
    BalancedSoftmax, ClassificationLoss, CrossEntropy, FirstView, LabelAwareLoss,
    SiameseBalancedSoftmax,
};
pub use joint::{JointLoss, Terms};
pub use registry::*;
pub use smoothing::{LabelAwareSmoothing, SmoothingShape};
pub use supcon::{ClassBalancedSupCon, ContrastiveLoss, SupConLoss};

use tch::Tensor;

use crate::{
    Result,
    train::nn::{model, tensors::matrix},
};

/// Rows `[N, D]` divided by max(L2 norm, 1e-12), with their graph: what contrastive losses and queues take.
///
/// # Errors
/// [`crate::Error::Input`] unless the rows are a matrix of floats.
pub fn unit_rows(rows: &Tensor) -> Result<Tensor> {
    matrix("rows", rows)?;
    Ok(model::normalise(rows)?)
}
