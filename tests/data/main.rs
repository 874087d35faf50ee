//! Data and image operations: against reference values, by properties of whatever bytes, and what
//! random policies really draw.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod augment_draws;
#[cfg(feature = "train")]
mod fuzz;
mod properties;
#[cfg(feature = "train")]
mod readers;
#[cfg(feature = "train")]
#[path = "../report/records.rs"]
#[allow(dead_code, reason = "the reports use the rest")]
mod records;
mod reference;
