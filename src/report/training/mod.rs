//! The report of training runs: from their records alone to Markdown, tables and figures.

mod cells;
mod markdown;
#[cfg(feature = "train")]
mod parquet;
mod plots;
mod tables;

pub use cells::{Cell, CellKey, Group, Spread, cells};
pub use markdown::training_report;
#[cfg(feature = "train")]
pub use parquet::runs_parquet;
pub use tables::runs_table;

/// A report as files: relative name and content.
pub type Files = Vec<(String, Vec<u8>)>;
