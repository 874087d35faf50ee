//! The numerical core against reference values computed with PyTorch.
//!
//! `RESCOM_FIXTURES=dir cargo test --features train --test training reference -- --nocapture` walks
//! another directory. Every setting comes from its `manifest.json`; nothing here knows a size or seed, and of names
//! only how those of a kind begin.

mod backbones;
mod fixtures;
mod losses;
mod metrics;
mod steps;
mod supcon;

use std::sync::LazyLock;

use crate::place;

/// Kinds of files checked here, by the prefix of their names.
const HERE: [&str; 7] =
    ["loss_", "queue_", "train_step_", "backbone_", "schedules", "metrics", "supcon"];
/// Kinds that tests of other modules check.
const ELSEWHERE: [&str; 2] = ["augment_", "cifar_lt_indices"];

/// All checks of this program. Each runs once, for its own test and for the one below.
static CHECKS: [&LazyLock<()>; 8] = [
    &losses::JOINT_LOSS,
    &losses::QUEUE,
    &steps::STEPS,
    &backbones::NAMES,
    &backbones::ENCODERS,
    &metrics::METRICS,
    &metrics::SCHEDULES,
    &supcon::SUPCON,
];

#[test]
fn no_kind_of_file_is_skipped_silently() {
    for (name, _) in place::entries("") {
        let known = HERE.iter().chain(&ELSEWHERE).any(|kind| name.starts_with(kind));
        assert!(known, "the manifest names `{name}`, which no test here checks");
    }
    for kind in HERE {
        if place::entries(kind).is_empty() {
            println!("the manifest names no file {kind}*");
        }
    }
}

#[test]
fn every_file_that_the_manifest_names_is_read() {
    for check in CHECKS {
        LazyLock::force(check);
    }
    for (name, entry) in place::entries("") {
        if ELSEWHERE.iter().any(|kind| name.starts_with(kind)) {
            continue;
        }
        let files = if name.contains('*') {
            fixtures::names(entry, "files")
        } else {
            vec![name.to_owned()]
        };
        for file in files {
            let left_out = place::is_lean_copy() && !place::dir().join(&file).exists();
            assert!(left_out || place::was_read(&file), "no test reads {file}");
        }
    }
}
