//! `rescom-sim`: simulates the dual class imbalance of supervised contrastive learning.

use clap::{CommandFactory as _, Parser, Subcommand};
use std::process::ExitCode;

// In place of the standard one, which panics where standard error is full or closed.
macro_rules! eprintln {
    ($($text:tt)*) => { crate::terminal::say(format_args!("{}\n", format_args!($($text)*))) };
}

mod arguments;
mod dual_imbalance;
mod easy_pairs;
mod features_file;
mod from_features;
mod memory;
mod output;
mod profile;
mod terminal;

/// Measures the dual class imbalance and the vanishing gradients of easy pairs in supervised
/// contrastive learning (ResCom, arXiv 2203.11506).
#[derive(Parser)]
#[command(
    name = "rescom-sim",
    version,
    arg_required_else_help = true,
    after_help = "Example:\n  rescom-sim dual-imbalance --imb 100 --out reports/runs/imbalance-100"
)]
struct Cli {
    #[command(subcommand)]
    study: Study,
    /// Threads to use (default: all cores). Results do not depend on it.
    #[arg(long, global = true)]
    threads: Option<usize>,
}

#[derive(Subcommand)]
enum Study {
    DualImbalance(dual_imbalance::Args),
    EasyPairs(easy_pairs::Args),
    FromFeatures(from_features::Args),
    /// Print shell completions.
    #[command(
        after_help = "Example:\n  rescom-sim completions bash > ~/.local/share/bash-completion/completions/rescom-sim"
    )]
    Completions {
        /// The shell to write for.
        shell: clap_complete::Shell,
    },
}

fn main() -> ExitCode {
    match Cli::try_parse() {
        Ok(cli) => terminal::finish(run(cli).map(|()| ExitCode::SUCCESS)),
        Err(e) => terminal::usage(&e, ""),
    }
}

fn run(cli: Cli) -> rescom::Result<()> {
    output::use_threads(cli.threads)?;
    match cli.study {
        Study::DualImbalance(args) => dual_imbalance::run(&args),
        Study::EasyPairs(args) => easy_pairs::run(&args),
        Study::FromFeatures(args) => from_features::run(&args),
        Study::Completions { shell } => {
            terminal::completions(shell, Cli::command());
            Ok(())
        }
    }
}
