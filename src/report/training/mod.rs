//! The report of training runs: from what their folders hold to Markdown, tables and figures.

mod ablation;
mod accuracy;
mod cells;
mod comparison;
mod curves;
mod diagnostics;
mod easy;
mod embedding;
mod features;
mod markdown;
mod paired;
mod plots;
mod section;
mod style;
mod tables;

pub use markdown::training_report;
pub use paired::{Paired, PairedDifference, first_difference, paired, paired_table, pairs};

/// A report as files: relative name and content.
pub type Files = Vec<(String, Vec<u8>)>;
