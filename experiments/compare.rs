//! `compare`: paired differences of runs, and the check that two computations are the same.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Args;
use rescom::{
    Error, Result,
    report::training::{Paired, first_difference, paired, paired_table, pairs},
    run::{MethodLabel, RunRecord},
};

use serde_json::json;

use crate::{report::runs_in, saved::print_json};

/// Arguments of `compare`.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  rescom-repro compare reports/runs/cifar-full --methods ce,rescom\n  rescom-repro compare before after            # two sweeps, method by method\n  rescom-repro compare before after --exact    # are all losses and accuracies the same?"
)]
pub(crate) struct CompareArgs {
    /// Folder of a sweep or of a run.
    #[arg(value_name = "A")]
    first: PathBuf,
    /// Another [default: A, for two of its methods].
    #[arg(value_name = "B")]
    second: Option<PathBuf>,
    /// The method of A and the method of B, for example ce,rescom or rescom,rescom+mislas [default: every
    /// method that both have; of single runs, whatever they are].
    #[arg(long, value_delimiter = ',', value_name = "X,Y")]
    methods: Vec<String>,
    /// Check that every run of A is in B with the same losses and accuracies; the first difference is
    /// named, with exit code 1.
    #[arg(long)]
    exact: bool,
    /// The comparisons as a JSON array on standard output; with --exact, {"equal": true, "runs": N}.
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub(crate) fn run(args: &CompareArgs) -> Result<ExitCode> {
    let first = records(&args.first)?;
    let second = match &args.second {
        Some(dir) => records(dir)?,
        None if args.methods.len() == 2 => first.clone(),
        None => {
            return Err(Error::input(
                "compare: give a second folder, or --methods X,Y for two methods of one sweep",
            ));
        }
    };
    let methods = methods(args, &first, &second)?;
    if args.exact {
        return exact(&first, &second, &methods, args.json);
    }
    let found: Vec<Paired> =
        methods.iter().flat_map(|&(a, b)| paired((&first, a), (&second, b))).collect();
    if found.is_empty() {
        return Err(Error::input(
            "compare: no run of the one has a partner in the other (same data set, class order, imbalance factor and \
             seed)",
        ));
    }
    if args.json {
        print_json(&found)?;
    } else {
        print(&found);
    }
    Ok(ExitCode::SUCCESS)
}

fn records(dir: &Path) -> Result<Vec<RunRecord>> {
    let found: Vec<RunRecord> = runs_in(dir)?.into_iter().map(|run| run.record).collect();
    if found.is_empty() {
        return Err(Error::input(format!("{}: no finished run here", dir.display())));
    }
    Ok(found)
}

/// Which method of the first is compared with which of the second.
fn methods(
    args: &CompareArgs,
    first: &[RunRecord],
    second: &[RunRecord],
) -> Result<Vec<(MethodLabel, MethodLabel)>> {
    let labels = |records: &[RunRecord]| -> BTreeSet<MethodLabel> {
        records.iter().map(RunRecord::method_label).collect()
    };
    let (a, b) = (labels(first), labels(second));
    if let [x, y] = &args.methods[..] {
        let (x, y): (MethodLabel, MethodLabel) = (x.parse()?, y.parse()?);
        for (label, there) in [(x, &a), (y, &b)] {
            if !there.contains(&label) {
                let known: Vec<String> = there.iter().map(ToString::to_string).collect();
                return Err(Error::input(format!(
                    "--methods: there is no finished run of {label}; there are {}",
                    known.join(", ")
                )));
            }
        }
        return Ok(vec![(x, y)]);
    }
    if !args.methods.is_empty() {
        return Err(Error::input("--methods: expected two, for example ce,rescom"));
    }
    if let (Some(&x), Some(&y), 1, 1) = (a.first(), b.first(), a.len(), b.len()) {
        return Ok(vec![(x, y)]);
    }
    Ok(a.intersection(&b).map(|&label| (label, label)).collect())
}

fn exact(
    first: &[RunRecord],
    second: &[RunRecord],
    methods: &[(MethodLabel, MethodLabel)],
    as_json: bool,
) -> Result<ExitCode> {
    let all: Vec<_> = methods.iter().flat_map(|&(a, b)| pairs((first, a), (second, b))).collect();
    if let Some(alone) = first.iter().find(|r| !all.iter().any(|(a, _)| a.id == r.id)) {
        return Err(Error::run(format!("{}: B has no such run", alone.id)));
    }
    for (a, b) in &all {
        if let Some(difference) = first_difference(a, b) {
            return Err(Error::run(format!("{}: {difference}", a.id)));
        }
    }
    if as_json {
        print_json(&json!({ "equal": true, "runs": all.len() }))?;
    } else {
        println!("equal: {} runs, every loss and accuracy", all.len());
    }
    Ok(ExitCode::SUCCESS)
}

fn print(found: &[Paired]) {
    println!(
        "Top-1 accuracy of the last epoch, second minus first on the same seeds: mean difference in points and its 95 % \
         t-interval over seeds.\n"
    );
    print!("{}", paired_table(found).markdown());
    if found.iter().any(|c| c.seeds.len() == 1) {
        println!("\nOne seed gives no interval: such a difference may be chance.");
    }
    if found.len() > 1 {
        println!(
            "\n{} comparisons: about one interval in twenty misses its true difference.",
            found.len()
        );
    }
    let mut lines: Vec<String> = Vec::new();
    for c in found {
        for (key, a, b) in c.recipe.iter().filter(|(key, ..)| key != "method.name") {
            let line = format!("* {key}: {a} and {b}");
            if !lines.contains(&line) {
                lines.push(line);
            }
        }
    }
    if lines.is_empty() {
        println!("\nThe recipes are the same but for the method.");
    } else {
        println!("\nThe recipes differ also in:\n{}", lines.join("\n"));
    }
}
