//! `evaluate`: a run's network on the whole test set, or on corrupted ones.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use clap::Args;
use rescom::{
    Error, Result,
    data::{CorruptedSets, ImageSource, Loader, LoaderOptions},
    longtail::ShotGroup,
    report::Table,
    rng::Streams,
    run::{Evaluation, atomic},
    train::{
        self, Baseline, CorruptionAccuracy, Network, Origin, Robustness, SavedRun,
        fit::images::{corrupted_options, evaluation_options},
    },
};
use serde::Serialize;

use crate::saved::{self, MachineArgs};

/// Arguments of `evaluate`.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  rescom-repro evaluate reports/runs/cifar-full/cifar10-imb100-rescom-seed0\n  rescom-repro evaluate RUN --corrupted CIFAR-10-C --baseline ce-errors.csv --json\n  rescom-repro evaluate RUN --checkpoint state-dict.safetensors"
)]
pub(crate) struct EvaluateArgs {
    /// Folders of runs; of each the newest checkpoint is evaluated.
    #[arg(required = true, value_name = "RUN")]
    runs: Vec<PathBuf>,
    /// Evaluate the network in this safetensors file instead: a checkpoint, or a PyTorch state dict. Its
    /// result is printed and not written into the folder.
    #[arg(long, value_name = "FILE")]
    checkpoint: Option<PathBuf>,
    /// Evaluate on corrupted images instead: NAME.npy (five severities one after the other, uint8) with
    /// labels.npy, as CIFAR-C; or NAME/SEVERITY/ with class folders or list.txt, as ImageNet-C. Large
    /// images whose shorter edge already is 224 are cut to 224x224 without being resized.
    #[arg(long, value_name = "DIR")]
    corrupted: Option<PathBuf>,
    /// Errors of a baseline network for mCE: CSV with the columns corruption, error (a fraction) and, unless
    /// the errors are means over severities, severity [default: AlexNet's for ImageNet, else no mCE].
    #[arg(long, value_name = "FILE", requires = "corrupted")]
    baseline: Option<PathBuf>,
    #[command(flatten)]
    machine: MachineArgs,
    /// The results as a JSON array on standard output.
    #[arg(long)]
    json: bool,
}

/// What is printed and written, for one run.
#[derive(Serialize)]
struct Found {
    run: String,
    network: Origin,
    /// Where the images came from, in words.
    images: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    test: Option<Evaluation>,
    #[serde(skip_serializing_if = "Option::is_none")]
    corrupted: Option<Robustness>,
}

/// Runs the command.
pub(crate) fn run(args: &EvaluateArgs) -> Result<ExitCode> {
    if args.checkpoint.is_some() && args.runs.len() > 1 {
        return Err(Error::input("--checkpoint goes with a single RUN"));
    }
    let mut all = Vec::new();
    for path in &args.runs {
        let (run, found) = one(args, path)?;
        if args.checkpoint.is_none() {
            let name = if found.corrupted.is_some() { "corrupted" } else { "evaluation" };
            atomic::write_json(&run.dir.file(&format!("{name}.json")), &found)?;
        }
        if !args.json {
            print(&run, &found)?;
        }
        all.push(found);
    }
    if args.json {
        saved::print_json(&all)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn one(args: &EvaluateArgs, path: &Path) -> Result<(SavedRun, Found)> {
    let run = SavedRun::open(path)?;
    let threads = args.machine.threads(&run)?;
    let device = &args.machine.device;
    let (network, mut weights) = match &args.checkpoint {
        Some(file) => run.network_from(file, device)?,
        None => run.network(device, &mut saved::warn(path))?,
    };
    let mut found =
        Found { run: run.id.clone(), network, images: String::new(), test: None, corrupted: None };
    match &args.corrupted {
        None => {
            let test = args.machine.images(&run)?.test;
            found.images = test.place().to_owned();
            let options = evaluation_options(&run.recipe, threads)?;
            found.test = Some(evaluation(&run, &mut weights, &test, options)?);
        }
        Some(dir) => {
            found.images = dir.display().to_string();
            found.corrupted = Some(corrupted(args, &run, &mut weights, (dir, threads))?);
        }
    }
    Ok((run, found))
}

fn evaluation(
    run: &SavedRun,
    network: &mut dyn Network,
    images: &Arc<dyn ImageSource>,
    options: LoaderOptions,
) -> Result<Evaluation> {
    let streams = Streams::new(run.recipe.run.seed);
    let loader = Loader::new(Arc::clone(images), &images.usable(), streams, options)?;
    train::evaluate(network, &loader, &run.counts)
}

fn corrupted(
    args: &EvaluateArgs,
    run: &SavedRun,
    network: &mut dyn Network,
    (dir, threads): (&Path, usize),
) -> Result<Robustness> {
    let baseline = match &args.baseline {
        Some(file) => Some(Baseline::read(file)?),
        None => Baseline::published(&run.recipe)?,
    };
    let sets = CorruptedSets::open(dir, run.counts.classes(), run.recipe.data.set.channels())?;
    let mut accuracies = Vec::new();
    for (corruption, severity) in sets.all() {
        let images = sets.load(corruption, severity)?;
        let options = corrupted_options(&run.recipe, threads)?;
        let found = evaluation(run, network, &images, options)?;
        eprintln!("{corruption}, severity {severity}: top-1 {:.1} %", 100.0 * found.top1);
        let corruption = corruption.to_owned();
        accuracies.push(CorruptionAccuracy {
            corruption,
            severity,
            images: found.images,
            top1: found.top1,
        });
    }
    Robustness::new(accuracies, baseline.as_ref())
}

fn print(run: &SavedRun, found: &Found) -> Result<()> {
    let epoch = found.network.epoch.map_or(String::new(), |e| format!(" (epoch {e})"));
    println!("{}: {}{epoch}", found.run, found.network.file);
    println!("images: {}", found.images);
    if let Some(test) = &found.test {
        let names = run.record()?.map(|r| r.class_names).unwrap_or_default();
        print_evaluation(run, test, &names);
    }
    if let Some(corrupted) = &found.corrupted {
        print_robustness(corrupted);
    }
    println!();
    Ok(())
}

fn percent(fraction: f64) -> String {
    format!("{:.2}", 100.0 * fraction)
}

fn print_evaluation(run: &SavedRun, test: &Evaluation, names: &[String]) {
    let group = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), percent);
    println!(
        "{} images: top-1 {} %, top-5 {} %, many {} %, medium {} %, few {} %, ECE {} %\n",
        test.images,
        percent(test.top1),
        percent(test.top5),
        group(test.groups.many),
        group(test.groups.medium),
        group(test.groups.few),
        percent(test.ece)
    );
    let mut table = Table::new(["class", "name", "training images", "group", "accuracy (%)"]);
    for (class, (accuracy, &count)) in test.per_class.iter().zip(run.counts.as_slice()).enumerate()
    {
        table.push([
            class.to_string(),
            names.get(class).cloned().unwrap_or_default(),
            count.to_string(),
            ShotGroup::of(count).name().to_owned(),
            percent(*accuracy),
        ]);
    }
    print!("{}", table.markdown());
}

fn print_robustness(found: &Robustness) {
    let mut header = vec!["corruption".to_owned()];
    header.extend((1..=rescom::data::SEVERITIES).map(|s| format!("severity {s}")));
    header.push("CE (%)".into());
    let mut table = Table::new(header);
    let mut names: Vec<&str> = found.accuracies.iter().map(|a| a.corruption.as_str()).collect();
    names.dedup();
    for name in names {
        let mut row = vec![name.to_owned()];
        for severity in 1..=rescom::data::SEVERITIES {
            let here = |a: &&CorruptionAccuracy| a.corruption == name && a.severity == severity;
            let accuracy = found.accuracies.iter().find(here);
            row.push(accuracy.map_or_else(|| "–".to_owned(), |a| percent(a.top1)));
        }
        let error = found.relative.as_ref().and_then(|r| r.corruption_errors.get(name));
        row.push(error.map_or_else(|| "–".to_owned(), |e| percent(*e)));
        table.push(row);
    }
    println!("top-1 accuracy (%) by severity\n\n{}", table.markdown());
    println!("mean error over corruptions, not normalised: {} %", percent(found.mean_error));
    match &found.relative {
        None => println!("mCE: needs the errors of a baseline (--baseline FILE)"),
        Some(r) => match r.mce {
            Some(mce) => println!("mCE: {} % (baseline: {})", percent(mce), r.baseline),
            None => println!("mCE: not all corruptions of the baseline ({}) are here", r.baseline),
        },
    }
}
