//! The numerical core against reference values computed with PyTorch.
//!
//! `RESCOM_FIXTURES=dir cargo test --features train --test reference -- --nocapture` walks another
//! directory. Every setting comes from its `manifest.json`; nothing here knows a name, size or seed.
#![cfg(feature = "train")]
// A missing or unexpected value in a reference file is a failed test, wherever it is met.
#![allow(clippy::unwrap_used)]

#[path = "reference/fixtures.rs"]
mod fixtures;
#[path = "reference/losses.rs"]
mod losses;
#[path = "reference/steps.rs"]
mod steps;
