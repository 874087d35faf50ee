//! Data and image operations: against reference values, by properties of whatever bytes, and what
//! random policies really draw.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod augment_draws;
mod properties;
mod reference;
