//! `rescom-repro`: trains ResCom and its peers on long-tailed data and reports beside the
//! published numbers.

use std::process::ExitCode;

use clap::{
    CommandFactory as _, Parser, Subcommand,
    error::{ContextKind, ContextValue, ErrorKind},
};

// In place of the standard ones, which panic where the reader has left, or the disk behind is full.
macro_rules! print {
    ($($text:tt)*) => { crate::terminal::print(format_args!($($text)*)) };
}
macro_rules! println {
    () => { crate::terminal::print(format_args!("\n")) };
    ($($text:tt)*) => { crate::terminal::print(format_args!("{}\n", format_args!($($text)*))) };
}

macro_rules! eprintln {
    ($($text:tt)*) => { crate::terminal::say(format_args!("{}\n", format_args!($($text)*))) };
}

mod compare;
mod convert;
mod data;
mod doctor;
mod dry_run;
mod evaluate;
mod features;
mod guard;
mod image_files;
mod images;
mod interrupt;
mod lists;
mod manifest;
mod plan;
mod progress;
mod report;
mod saved;
mod show;
mod stage2;
mod subset;
mod sweep;
mod sweep_commands;
#[path = "../analysis/terminal.rs"]
mod terminal;

use sweep_commands::SweepCommand;

/// Train and compare methods for long-tailed recognition: ResCom, its ablations and its peers.
///
/// Every command that trains writes one folder per run (recipe, records, checkpoints) and a
/// report; the same command again continues where it stopped.
#[derive(Parser)]
#[command(
    name = "rescom-repro",
    version,
    after_help = "Example:\n  rescom-repro fashion-mnist --imb 10,50,100 --methods ce,balanced-softmax,rescom --preset quick"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    #[command(flatten)]
    Sweep(SweepCommand),
    /// Write the report of finished runs anew, from their records alone.
    Report(report::ReportArgs),
    /// Evaluate a run's network on the whole test set, or on corrupted images.
    Evaluate(evaluate::EvaluateArgs),
    /// Retrain the classifier of a finished run with stage 2 of MiSLAS, as a run of its own.
    Stage2(stage2::Stage2Args),
    /// Write a run's features for `rescom-sim from-features`, and their summary for the report.
    Features(features::FeaturesArgs),
    /// Compare two sweeps, runs or methods seed by seed.
    Compare(compare::CompareArgs),
    /// Bring a PyTorch state dict or a checkpoint under the names they have in common.
    Convert(convert::ConvertArgs),
    /// Fetch, check, generate and look at data sets.
    Data(data::DataArgs),
    /// The images of a long-tailed subset: choose, show, compare, export.
    Subset(subset::SubsetArgs),
    /// Print versions, devices, caches and data sets, and a remedy for what is missing.
    Doctor(doctor::DoctorArgs),
    /// Print shell completions.
    #[command(
        after_help = "Example:\n  rescom-repro completions bash > ~/.local/share/bash-completion/completions/rescom-repro"
    )]
    Completions {
        /// The shell to write for.
        shell: clap_complete::Shell,
    },
}

/// What an argument that is no longer known is called today.
fn renamed(e: &clap::Error) -> &'static str {
    let unknown = e.kind() == ErrorKind::UnknownArgument;
    match e.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(name)) if unknown && name == "--set" => {
            "; the data set is named with --dataset"
        }
        _ => "",
    }
}

fn main() -> ExitCode {
    match Cli::try_parse() {
        Ok(cli) => terminal::finish(run(cli.command)),
        Err(e) => terminal::usage(&e, renamed(&e)),
    }
}

fn run(command: Command) -> rescom::Result<ExitCode> {
    match command {
        Command::Sweep(command) => sweep::run(&command.plan()),
        Command::Report(args) => report::run(&args),
        Command::Evaluate(args) => guard::guarded(|| evaluate::run(&args)),
        Command::Stage2(args) => guard::guarded(|| stage2::run(&args)),
        Command::Features(args) => guard::guarded(|| features::run(&args)),
        Command::Compare(args) => compare::run(&args),
        Command::Convert(args) => convert::run(&args),
        Command::Data(args) => data::run(&args),
        Command::Subset(args) => subset::run(&args),
        Command::Doctor(args) => doctor::run(&args),
        Command::Completions { shell } => {
            terminal::completions(shell, Cli::command());
            Ok(ExitCode::SUCCESS)
        }
    }
}
