//! Finished runs as a few tidy tables: what every number of a training report is computed from.
//!
//! [`Frames`] holds them, [`schema`] says what each column means, [`query`] has the queries that
//! the tables and figures of a report are made of.
//!
//! Invariant: a number in a frame is one that a run recorded; sums over seeds are taken in the
//! order of the seeds, so that a report has the same digits on every machine.

mod arm;
mod columns;
mod features;
mod frames;
pub mod query;
pub mod schema;
mod settings;
mod spread;

pub use arm::Arm;
pub use columns::Columns;
pub use frames::{FinishedRun, Frames, samples};
pub use spread::Spread;
