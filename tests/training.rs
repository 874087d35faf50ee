//! The training core against the plain float64 implementation in `contrast`, and what every step must
//! keep: resuming, ablations, divergence, conversion, stage 2.
#![cfg(feature = "train")]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[path = "training/common.rs"]
mod common;
#[path = "training/convert.rs"]
mod convert;
#[path = "training/exchange.rs"]
mod exchange;
#[path = "training/logit_adjustment.rs"]
mod logit_adjustment;
#[path = "training/losses.rs"]
mod losses;
#[path = "training/oracle.rs"]
mod oracle;
#[path = "training/stage2.rs"]
mod stage2;
#[path = "training/steps.rs"]
mod steps;
