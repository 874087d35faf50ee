//! The supervised contrastive loss, its analytic gradients, the queues and the miner in plain
//! float64: readable, and the oracle for everything faster. [`fast`] is the float32 path of the
//! simulator and [`supcon_gradient`] that of whole batches, held against this one by tests.
//!
//! Invariant: never touches a file, the clock, the environment or ambient randomness.

mod anchor;
pub mod fast;
mod kernel;
mod logit_adjustment;
mod loss;
mod mining;
mod queue;
mod rebalanced;
mod tiles;

pub use anchor::{AnchorGradient, LossForm, Relation, Temperature, anchor_gradient};
pub use kernel::{KernelValue, supcon_gradient};
pub use logit_adjustment::logit_adjustment;
pub use loss::{SelfPairs, SupConLoss, SupConValue, normalize_rows};
pub use mining::{HardPairMiner, MinedKeys};
pub use queue::{ClassBalancedQueue, FifoQueue};
pub use rebalanced::{ClassBalancedSupCon, RebalancedValue};
