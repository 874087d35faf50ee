//! Long-tailed class distributions: counts, profiles, priors, effective numbers, shot groups.
//!
//! Invariant: never touches a file, the clock, the environment or ambient randomness.

mod counts;
mod profile;
mod weights;

pub use counts::{ClassCounts, ClassPrior, ShotGroup};
pub use profile::{ImbalanceFactor, LongTailProfile};
pub use weights::EffectiveNumber;
