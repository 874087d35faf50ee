//! The report of training runs: from what their folders hold to Markdown, tables and figures.

mod ablation;
mod accuracy;
mod cells;
mod comparison;
mod curves;
mod diagnostics;
mod easy;
#[cfg(feature = "train")]
mod embedding;
mod features;
mod markdown;
mod numeric;
mod paired;
#[cfg(feature = "train")]
mod parquet;
mod plots;
mod section;
mod settings;
mod style;
mod tables;

pub use cells::{Arm, Cell, FinishedRun, Group, Spread};
pub use markdown::training_report;
pub use paired::{Paired, PairedDifference, first_difference, paired, paired_table, pairs};
#[cfg(feature = "train")]
pub use parquet::runs_parquet;
pub use settings::Settings;
pub use tables::runs_table;

/// A report as files: relative name and content.
pub type Files = Vec<(String, Vec<u8>)>;
