//! What the studies share: threads, progress, writing the report's files.

use crate::terminal;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use rescom::report::sim::ReportFile;
use rescom::{Error, Result};
use std::{
    io::IsTerminal,
    path::{Path, PathBuf},
    time::Instant,
};

/// Uses `threads` threads, or all cores.
pub(crate) fn use_threads(threads: Option<usize>) -> Result<()> {
    match threads {
        None => Ok(()),
        Some(0) => Err(Error::input("--threads 0: expected at least 1")),
        Some(n) => rayon::ThreadPoolBuilder::new()
            .num_threads(n)
            .build_global()
            .map_err(|e| Error::run(format!("cannot start {n} threads: {e}"))),
    }
}

/// Counts batches: a bar on a terminal, a line every ten seconds elsewhere, on standard error.
pub(crate) struct Progress {
    bar: ProgressBar,
    started: Instant,
    last_line: std::sync::Mutex<Instant>,
    plain: bool,
}

impl Progress {
    pub(crate) fn new(batches: u64) -> Self {
        let plain = !std::io::stderr().is_terminal();
        let bar = ProgressBar::new(batches);
        if plain {
            bar.set_draw_target(ProgressDrawTarget::hidden());
        }
        let template = "{msg:24} [{bar:32}] {pos}/{len} batches, {eta} left";
        bar.set_style(
            ProgressStyle::with_template(template).unwrap_or(ProgressStyle::default_bar()),
        );
        let now = Instant::now();
        Self { bar, started: now, last_line: std::sync::Mutex::new(now), plain }
    }

    /// Names the step that comes next; returns what counts its batches.
    pub(crate) fn step(&self, name: impl Into<String>) -> impl Fn(usize) + Sync + '_ {
        self.bar.set_message(name.into());
        let before = self.bar.position();
        move |done| {
            self.bar.set_position(before + done as u64);
            let Ok(mut last) = self.last_line.lock() else { return };
            if self.plain && last.elapsed().as_secs() >= 10 {
                *last = Instant::now();
                let (at, of) = (self.bar.position(), self.bar.length().unwrap_or(0));
                eprintln!("{}: {at} of {of} batches", self.bar.message());
            }
        }
    }

    /// Removes the bar; seconds since the start.
    pub(crate) fn finish(&self) -> f64 {
        self.bar.finish_and_clear();
        self.started.elapsed().as_secs_f64()
    }
}

/// Writes the report's files into `folder`.
fn write_report(folder: &Path, files: &[ReportFile]) -> Result<()> {
    files.iter().try_for_each(|(name, bytes)| rescom::run::atomic::write(&folder.join(name), bytes))
}

/// What every study takes.
#[derive(clap::Args)]
pub(crate) struct CommonArgs {
    /// Seed of all random numbers.
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
    /// Folder for report.md, figures, CSV and JSON (default reports/runs/NAME-OF-THE-STUDY).
    #[arg(long)]
    out: Option<PathBuf>,
    /// Print the result as JSON on standard output and nothing else; files only if --out is given.
    #[arg(long)]
    json: bool,
}

impl CommonArgs {
    /// Writes the files and prints either the JSON or the summary with the report's place.
    pub(crate) fn deliver(
        &self,
        study: &str,
        files: impl FnOnce() -> Result<Vec<ReportFile>>,
        json: impl FnOnce() -> serde_json::Value,
        summary: &str,
    ) -> Result<()> {
        let folder = self.out.clone().unwrap_or(Path::new("reports/runs").join(study));
        if self.out.is_some() || !self.json {
            write_report(&folder, &files()?)?;
        }
        if self.json {
            terminal::print(format_args!("{:#}\n", json()));
        } else {
            let report = folder.join("report.md");
            terminal::print(format_args!("{summary}report: {}\n", report.display()));
        }
        Ok(())
    }
}

/// The command line as it can be typed again: arguments with other characters are quoted.
pub(crate) fn command_line() -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=.,:/+".contains(c);
    let quote = |a: String| {
        if a.chars().all(plain) && !a.is_empty() {
            a
        } else {
            format!("'{}'", a.replace('\'', "'\\''"))
        }
    };
    std::iter::once("rescom-sim".to_string())
        .chain(std::env::args().skip(1).map(quote))
        .collect::<Vec<_>>()
        .join(" ")
}
