//! All files of the dual-imbalance report.

use crate::{
    Result,
    report::sim::{
        dual_figures,
        dual_json::dual_json,
        dual_tables, dual_text, easy_data,
        files::{ReportFile, json_bytes, push_figure},
        results::DualResults,
    },
};

/// All files of the dual-imbalance report; `runtime` in seconds appears in report.md only, so that
/// every other file is the same for the same seed.
///
/// # Errors
/// If a figure cannot be drawn or the text cannot be written.
pub fn dual_files(results: &DualResults, runtime: f64) -> Result<Vec<ReportFile>> {
    let mut files = vec![];
    for (name, figure) in dual_figures::figures(results) {
        push_figure(&mut files, name, figure.as_ref())?;
    }
    files.push(("results.json".into(), json_bytes(&dual_json(results))));
    files.push(("ratios.csv".into(), dual_tables::ratio_table(results).csv().into_bytes()));
    files.push(("mass.csv".into(), dual_tables::mass_table(results).csv().into_bytes()));
    files.push(("norms.csv".into(), dual_tables::norm_table(results).csv().into_bytes()));
    for (axis, rows) in &results.sweeps {
        let table = dual_tables::sweep_table(*axis, rows);
        files.push((format!("sweep-{}.csv", axis.name()), table.csv().into_bytes()));
    }
    if !results.stages.is_empty() {
        files.push(("stages.csv".into(), dual_tables::stage_table(results).csv().into_bytes()));
    }
    files.extend(easy_data::tables(&results.easy, &results.easy_by_temperature));
    files.push(("report.md".into(), dual_text::report(results, runtime)?.into_bytes()));
    Ok(files)
}
