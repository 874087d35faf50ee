//! What the studies share: threads, progress, writing the report's files.

use crate::terminal;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use rescom::report::sim::{ReportFile, json_text};
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
        Some(n) => rayon::ThreadPoolBuilder::new()
            .num_threads(terminal::threads(n)?)
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
#[command(next_help_heading = "Output")]
pub(crate) struct CommonArgs {
    /// Seed of all random numbers.
    #[arg(long, default_value_t = 0, help_heading = "Simulation")]
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
            terminal::print(format_args!("{}", json_text(&json())));
        } else {
            let report = folder.join("report.md");
            terminal::print(format_args!("{summary}report: {}\n", report.display()));
        }
        Ok(())
    }
}

/// The command line that gives this result again, as it can be typed: arguments with other characters
/// are quoted, and what does not change the result is left out.
pub(crate) fn command_line() -> String {
    let words = that_matter(terminal::words().into_iter().skip(1));
    std::iter::once("rescom-sim".to_string())
        .chain(words.into_iter().map(quote))
        .collect::<Vec<_>>()
        .join(" ")
}

/// The arguments without `--threads N` and `--json`, which decide on how fast the result comes and
/// where it goes; what follows `--` is no option.
fn that_matter(args: impl IntoIterator<Item = String>) -> Vec<String> {
    let mut args = args.into_iter();
    let mut kept = vec![];
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--json" => {}
            "--threads" => drop(args.next()),
            _ if arg.starts_with("--threads=") => {}
            "--" => {
                kept.push(arg);
                kept.extend(args.by_ref());
            }
            _ => kept.push(arg),
        }
    }
    kept
}

fn quote(arg: String) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=.,:/+".contains(c);
    if arg.chars().all(plain) && !arg.is_empty() {
        arg
    } else {
        format!("'{}'", arg.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_change_the_result_is_left_out_of_the_command() {
        let kept = |line: &str| that_matter(line.split(' ').map(String::from)).join(" ");
        assert_eq!(kept("--threads 3 easy-pairs --json --seed 4"), "easy-pairs --seed 4");
        assert_eq!(kept("easy-pairs --threads=3 --dim 8"), "easy-pairs --dim 8");
        assert_eq!(kept("from-features --json -- --json"), "from-features -- --json");
    }

    #[test]
    fn other_characters_are_quoted() {
        assert_eq!(quote("a b".into()), "'a b'");
        assert_eq!(quote("it's".into()), "'it'\\''s'");
        assert_eq!(quote("imb=1,10".into()), "imb=1,10");
    }
}
