//! Where the keys of the anchors come from: the batch, a key encoder, a queue, and what a miner selects of it.
//!
//! The traits are open. A [`KeySource`] of your own composes with the types here by [`KeySource::and`]; a
//! [`KeyQueue`] of your own can be mined once it is [`Searchable`].

mod class_balanced;
mod fifo;
pub(crate) mod key_encoder;
mod mined;
mod queue;
mod source;

pub use crate::{contrast::HardPairMiner, run::QueueInit};
pub use class_balanced::ClassBalancedQueue;
pub use fifo::FifoQueue;
pub use mined::{Mined, Searchable};
pub use queue::{KeyQueue, QueueState};
pub use source::{BatchKeys, GivenKeys, KeySource, Pairs, With};
