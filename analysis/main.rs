//! `rescom-sim`: simulates the dual class imbalance of supervised contrastive learning.

mod dual_imbalance;
mod easy_pairs;
mod features_file;
mod from_features;
mod output;
mod profile;
mod terminal;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Measures the dual class imbalance and the vanishing gradients of easy pairs in supervised
/// contrastive learning (ResCom, arXiv 2203.11506).
#[derive(Parser)]
#[command(name = "rescom-sim", version, arg_required_else_help = true)]
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
}

fn main() -> ExitCode {
    match Cli::try_parse() {
        Ok(cli) => terminal::finish(run(cli).map(|()| ExitCode::SUCCESS)),
        Err(e) => terminal::usage(&e),
    }
}

fn run(cli: Cli) -> rescom::Result<()> {
    output::use_threads(cli.threads)?;
    match cli.study {
        Study::DualImbalance(args) => dual_imbalance::run(&args),
        Study::EasyPairs(args) => easy_pairs::run(&args),
        Study::FromFeatures(args) => from_features::run(&args),
    }
}
