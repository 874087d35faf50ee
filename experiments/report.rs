//! `report`: from the records in run folders to tables and figures.

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Args;
use rescom::{
    Error, Result,
    report::training::{runs_parquet, training_report},
    run::{RunRecord, atomic},
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
    let mut records = Vec::new();
    for dir in &args.dirs {
        let found = records_in(dir)?;
        if found.is_empty() {
            return Err(Error::input(format!(
                "{}: no finished run here (no */record.json); train first, or name another folder",
                dir.display()
            )));
        }
        records.extend(found);
    }
    let path = write(&records, args.out.as_deref().unwrap_or(&args.dirs[0]))?;
    if args.json {
        print_json(&records)?;
    } else {
        println!("{}", path.display());
    }
    Ok(ExitCode::SUCCESS)
}

/// The records of finished runs in `dir`, one level deep, by run name.
pub(crate) fn records_in(dir: &Path) -> Result<Vec<RunRecord>> {
    let mut files = vec![dir.join("record.json")];
    for entry in fs::read_dir(dir).map_err(Error::io("read", dir))? {
        files.push(entry.map_err(Error::io("read", dir))?.path().join("record.json"));
    }
    files.sort();
    files.iter().filter(|f| f.is_file()).map(|f| atomic::read_json(f)).collect()
}

/// Writes the report of `records` into `out` and returns the path of `report.md`.
pub(crate) fn write(records: &[RunRecord], out: &Path) -> Result<PathBuf> {
    let mut ids: Vec<&str> = records.iter().map(|r| r.id.as_str()).collect();
    ids.sort_unstable();
    if let Some(twice) = ids.windows(2).find(|w| w[0] == w[1]) {
        return Err(Error::input(format!(
            "run {} is in two of the folders; merge each run once",
            twice[0]
        )));
    }
    // One order, however the runs were made or merged: shards give the report of the whole sweep.
    let mut records = records.to_vec();
    records.sort_by_key(|r| {
        let (data, run) = (&r.recipe.data, &r.recipe.run);
        // A positive float's bits order as the float does.
        let factor = data.imbalance_factor.to_bits();
        (data.set, data.class_order, factor, r.recipe.method.name, run.seed)
    });
    for (name, bytes) in training_report(&records)? {
        atomic::write(&out.join(name), &bytes)?;
    }
    atomic::write(&out.join("runs.parquet"), &runs_parquet(&records)?)?;
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
