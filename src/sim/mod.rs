//! The dual-imbalance and easy-pair studies as pure functions: parameters and random streams in,
//! typed results out.
//!
//! Invariant: never touches a file, the clock, the environment or ambient randomness; the same seed
//! gives the same bytes at any number of threads.

mod batch;
mod dual;
mod easy;
mod estimate;
mod features;
mod groups;
mod masses;
mod observed;
mod ranks;
mod row;
mod setup;
mod statistic;
mod sweep;
mod theory;

pub use dual::{Cell, DualStudy, FeatureNorms, GroupMass, GroupMatrix, dual_imbalance};
pub use easy::{EasyCurve, EasyPairs, EasyParams, Mined, easy_pairs};
pub use estimate::{Estimate, Slope, log_log_slope};
pub use features::{FeatureModel, Noise};
pub use groups::ClassGroups;
pub use observed::{ClassSimilarity, Density, Observed, ShotMass, observe};
pub use ranks::{ObservedEasy, ObservedMined, RankCurve};
pub use setup::{KeySource, Setup, SetupParams};
pub use statistic::Statistic;
pub use sweep::{SweepAxis, SweepPoint, SweepRow, sweep, tidy};
pub use theory::{
    LimitExponents, MeanField, heuristic_exponent, heuristic_ratio, limit_exponents, pair_frequency,
};
