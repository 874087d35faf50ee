//! `rescom-repro` from outside: sweeps end to end on small generated sets, its other commands, its
//! manners, and what goes wrong around it.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod cifar;
mod commands;
mod data_commands;
mod doctor;
mod faults;
mod lists;
mod program;
mod repro;
mod shards;
mod usage;
