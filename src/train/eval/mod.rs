//! What a network is worth: accuracy, calibration, corrupted images, features.

pub(crate) mod corruption;
pub(crate) mod evaluate;
pub mod features;
pub(crate) mod metrics;
pub mod probe;
