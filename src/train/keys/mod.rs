//! Where the keys of the anchors come from: the batch, a key encoder, a queue, and what a miner selects of it.

pub(crate) mod class_balanced;
pub(crate) mod fifo;
pub(crate) mod key_encoder;
pub(crate) mod mined;
pub(crate) mod queue;
pub(crate) mod source;
