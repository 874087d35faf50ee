//! `report`: from the records in run folders to tables and figures.

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Args;
use rescom::{
    Error, Result,
    report::training::training_report,
    results::FinishedRun,
    run::{RunFeatures, RunRecord, atomic},
};

/// Arguments of `report`.
#[derive(Args)]
#[command(
    after_help = "Example:\n  rescom-repro report reports/runs/fashion-mnist-quick\n  rescom-repro report shard-1 shard-2 --out merged"
)]
pub(crate) struct ReportArgs {
    /// Folders of sweeps (or of single runs); their runs are merged.
    #[arg(required = true, value_name = "DIR")]
    dirs: Vec<PathBuf>,
    /// Where to write the report [default: the first DIR].
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Print the records as JSON lines instead of the name of the report.
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub(crate) fn run(args: &ReportArgs) -> Result<ExitCode> {
    let mut runs = Vec::new();
    for dir in &args.dirs {
        let found = runs_in(dir)?;
        if found.is_empty() {
            return Err(Error::input(format!(
                "{}: no finished run here (no */record.json); train first, or name another folder",
                dir.display()
            )));
        }
        runs.extend(found);
    }
    let records: Vec<RunRecord> = runs.iter().map(|r| r.record.clone()).collect();
    let path = write(runs, args.out.as_deref().unwrap_or(&args.dirs[0]))?;
    if args.json {
        print_json(&records)?;
    } else {
        println!("{}", path.display());
    }
    Ok(ExitCode::SUCCESS)
}

/// The finished runs in `dir`, one level deep, by run name.
pub(crate) fn runs_in(dir: &Path) -> Result<Vec<FinishedRun>> {
    let mut folders = vec![dir.to_path_buf()];
    for entry in fs::read_dir(dir).map_err(Error::io("read", dir))? {
        folders.push(entry.map_err(Error::io("read", dir))?.path());
    }
    folders.sort();
    let finished = folders.iter().filter(|f| f.join("record.json").is_file());
    finished.map(|f| with_features(atomic::read_json(&f.join("record.json"))?, f)).collect()
}

/// A run with what its folder holds besides the record.
fn with_features(record: RunRecord, folder: &Path) -> Result<FinishedRun> {
    Ok(FinishedRun { record, features: RunFeatures::read(folder)? })
}

/// Writes the report of all finished runs in the folder of a sweep, those of earlier commands too, and
/// returns the path of `report.md`.
pub(crate) fn write_folder(out: &Path) -> Result<PathBuf> {
    write(runs_in(out)?, out)
}

/// Writes the report of `runs` into `out` and returns the path of `report.md`.
fn write(mut runs: Vec<FinishedRun>, out: &Path) -> Result<PathBuf> {
    // One order, however the runs were made or merged: shards give the report of the whole sweep.
    runs.sort_by_key(|FinishedRun { record: r, .. }| {
        let (data, run) = (&r.recipe.data, &r.recipe.run);
        // A positive float's bits order as the float does.
        let factor = data.imbalance_factor.to_bits();
        (data.set, data.class_order, factor, r.method_label(), run.seed)
    });
    for (name, bytes) in training_report(&runs)? {
        atomic::write(&out.join(name), &bytes)?;
    }
    Ok(out.join("report.md"))
}

/// Each record as a line of JSON.
pub(crate) fn print_json(records: &[RunRecord]) -> Result<()> {
    for record in records {
        let line = serde_json::to_string(record)
            .map_err(|e| Error::run(format!("record as JSON: {e}")))?;
        println!("{line}");
    }
    Ok(())
}
