//! Long-tailed class distributions: counts, profiles, priors, effective numbers, shot groups.
//!
//! Invariant: never touches a file, the clock, the environment or ambient randomness.

mod counts;
mod numpy_legacy;
mod profile;
mod subset;
mod weights;

pub use counts::{ClassCounts, ClassPrior, ShotGroup};
pub use numpy_legacy::NumpyLegacy;
pub use profile::{ImbalanceFactor, LongTailProfile};
pub use subset::{ClassOrder, SubsetManifest, SubsetRule, TailShape, sha256_int64};
pub use weights::EffectiveNumber;
