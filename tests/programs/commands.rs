//! The commands that work on finished runs, end to end on generated images: `evaluate`, `stage2`,
//! `features`, `convert`, `compare`.

mod common;
mod compare;
mod evaluate;
mod features;
mod old_runs;
mod stage2;
