//! ResCom (*Rebalanced Siamese Contrastive Mining for Long-Tailed Recognition*, arXiv 2203.11506):
//! the library behind the two programs `rescom-sim` and `rescom-repro`.
//!
//! The map of the modules, and what each of them never does, is in `ARCHITECTURE.md`.
// Printing belongs to the programs.
#![warn(clippy::print_stdout, clippy::print_stderr)]

pub mod augment;
pub mod contrast;
pub mod data;
pub mod error;
pub mod longtail;
pub mod report;
#[cfg(feature = "train")]
pub mod results;
pub mod rng;
pub mod run;
pub mod sim;
#[cfg(feature = "train")]
pub mod train;

pub use error::{Error, Result};
