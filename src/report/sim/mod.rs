//! The simulation reports: JSON, tidy tables, figures and Markdown of the three studies.

mod dual;
mod dual_figures;
mod dual_json;
mod dual_tables;
mod dual_text;
mod easy;
mod easy_data;
mod easy_figures;
mod files;
mod findings;
mod observed;
mod observed_data;
mod results;
mod sweep_line;
mod words;

pub use dual::dual_files;
pub use dual_json::dual_json;
pub use dual_text::dual_summary;
pub use easy::easy_files;
pub use easy_data::easy_json;
pub use files::{ReportFile, json_text};
pub use observed::observed_files;
pub use observed_data::observed_json;
pub use results::DualResults;
