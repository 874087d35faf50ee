//! The training core against the plain float64 implementation in `contrast` and against reference values
//! computed with PyTorch, and what every step must keep: resuming, ablations, divergence, conversion,
//! stage 2.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;
mod convert;
mod examples;
mod exchange;
mod gradients;
mod logit_adjustment;
mod losses;
mod oracle;
#[path = "../fixtures/place.rs"]
mod place;
mod reference;
mod stage2;
mod steps;
