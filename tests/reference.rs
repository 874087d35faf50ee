//! The numerical core against reference values computed with PyTorch.
//!
//! `RESCOM_FIXTURES=dir cargo test --features train --test reference -- --nocapture` walks another
//! directory. Every setting comes from its `manifest.json`; nothing here knows a name, size or seed.
#![cfg(feature = "train")]
// A missing or unexpected value in a reference file is a failed test, wherever it is met.
#![allow(clippy::unwrap_used)]

#[path = "reference/backbones.rs"]
mod backbones;
#[path = "reference/fixtures.rs"]
mod fixtures;
#[path = "reference/losses.rs"]
mod losses;
#[path = "reference/metrics.rs"]
mod metrics;
#[path = "reference/steps.rs"]
mod steps;
#[path = "reference/supcon.rs"]
mod supcon;

/// Kinds of files checked here, by the prefix of their names.
const HERE: [&str; 7] =
    ["loss_", "queue_", "train_step_", "backbone_", "schedules", "metrics", "supcon"];
/// Kinds that tests of other modules check.
const ELSEWHERE: [&str; 2] = ["augment_", "cifar_lt_indices"];

#[test]
fn no_kind_of_file_is_skipped_silently() {
    for (name, _) in fixtures::entries("") {
        let known = HERE.iter().chain(&ELSEWHERE).any(|kind| name.starts_with(kind));
        assert!(known, "the manifest names `{name}`, which no test here checks");
    }
    for kind in HERE {
        if fixtures::entries(kind).is_empty() {
            println!("the manifest names no file {kind}*");
        }
    }
}
