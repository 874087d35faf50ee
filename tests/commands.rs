//! The commands that work on finished runs, end to end on generated images: `evaluate`, `stage2`,
//! `features`, `convert`, `compare`.
#![cfg(feature = "train")]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[path = "commands/common.rs"]
mod common;
#[path = "commands/compare.rs"]
mod compare;
#[path = "commands/evaluate.rs"]
mod evaluate;
#[path = "commands/features.rs"]
mod features;
#[path = "commands/old_runs.rs"]
mod old_runs;
#[path = "repro/common.rs"]
mod program;
#[path = "commands/stage2.rs"]
mod stage2;
