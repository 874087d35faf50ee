//! `stage2`: stage 2 of MiSLAS on a finished run, or on a trained encoder from a file.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use clap::Args;
use rescom::{
    Error, Result,
    run::{Marks, MethodLabel, Recipe, RecipeFile, RunDir},
    train::{Job, Outcome, SavedRun, Start, fit_stage2},
};

use crate::{
    interrupt,
    plan::run_id,
    progress, report,
    saved::{self, MachineArgs},
    sweep_commands::plan_of,
    terminal,
};

/// Arguments of `stage2`.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  rescom-repro stage2 reports/runs/cifar-full/cifar10-imb100-mislas-seed0\n  rescom-repro stage2 RUN --set stage2.epochs=20 --set stage2.shifted-batch-norm=true --out elsewhere\n  rescom-repro stage2 RUN --weights resnet50.safetensors"
)]
pub(crate) struct Stage2Args {
    /// Folder of a finished run of any method; with --weights, of a run that has begun.
    run: PathBuf,
    /// Start from this network instead: a state dict of PyTorch saved as safetensors, or a checkpoint, under
    /// names that `convert` knows. Its encoder must be the recipe's; its classifier is taken where it fits. RUN
    /// gives data set, subset and recipe.
    #[arg(long, value_name = "FILE")]
    weights: Option<PathBuf>,
    /// Override a value of the recipe's [stage2], for example stage2.epochs=20 (repeatable).
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Folder for the new run [default: beside RUN, its name with +mislas, or +weights+mislas].
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    #[command(flatten)]
    machine: MachineArgs,
    /// The record as a line of JSON on standard output.
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub(crate) fn run(args: &Stage2Args) -> Result<ExitCode> {
    let run = SavedRun::open(&args.run)?;
    let start = match &args.weights {
        None => Start::of(run, &mut saved::warn(&args.run))?,
        Some(file) => Start::with_weights(run, file)?,
    };
    if let Some(weights) = start.source.weights.as_ref().filter(|w| !w.classifier) {
        eprintln!("{}: no classifier that fits; it begins from the seed", weights.file);
    }
    let (recipe, marks) = resolve(&start, &args.set)?;
    let label =
        MethodLabel { method: recipe.method.name, stage2: true, foreign: args.weights.is_some() };
    let id = run_id(&recipe, label);
    let out = match &args.out {
        Some(out) => out.clone(),
        None => {
            let place = args.run.canonicalize().map_err(Error::io("read", &args.run))?;
            place.parent().unwrap_or(Path::new(".")).join(&id)
        }
    };
    let dir = RunDir::open(&out, &recipe)?;
    let _lock = dir.lock()?;
    if let Some(record) = dir.record()? {
        if !record.stage2.as_ref().is_some_and(|source| source.is_same(&start.source)) {
            return Err(Error::input(format!(
                "{} holds a finished run that did not start from this network; use another --out, or remove that folder",
                out.display()
            )));
        }
        eprintln!("{id}: finished before");
        return finish(args, &record, &out);
    }
    let threads = args.machine.threads(&start.run)?;
    let images = args.machine.images(&start.run)?;
    let stop = interrupt::watch()?;
    let job = Job {
        id: &id,
        recipe: &recipe,
        marks: &marks,
        dir: &dir,
        train: Arc::clone(&images.train),
        test: Arc::clone(&images.test),
        source: &images.source,
        device: &args.machine.device,
        threads,
        command: terminal::words(),
    };
    let mut progress = progress::RunProgress::new(id.clone(), &dir);
    match fit_stage2(&job, &start, &mut progress, stop) {
        Ok(Outcome::Finished(record)) => finish(args, &record, &out),
        Ok(Outcome::Stopped { epoch }) => {
            eprintln!(
                "stopped; {id} is saved up to epoch {epoch}. The same command again goes on from there."
            );
            Ok(ExitCode::from(interrupt::EXIT_CODE))
        }
        Err(e) => {
            dir.log(&format!("failed: {e}"));
            Err(e)
        }
    }
}

fn finish(args: &Stage2Args, record: &rescom::run::RunRecord, out: &Path) -> Result<ExitCode> {
    if args.json {
        report::print_json(std::slice::from_ref(record))?;
    } else {
        println!("{}", out.display());
    }
    Ok(ExitCode::SUCCESS)
}

/// The recipe of the run with changes to its `[stage2]`, and the marks of its values.
fn resolve(start: &Start, changes: &[String]) -> Result<(Recipe, Marks)> {
    let marks = match start.run.record()? {
        Some(record) => record.marks,
        None => planned_marks(start).unwrap_or_default(),
    };
    let text = start.run.recipe.to_toml()?;
    let mut file = RecipeFile::resolved(&text, marks, &start.run.dir.path().display().to_string())?;
    for change in changes {
        if !change.trim_start().starts_with("stage2.") {
            return Err(Error::input(format!(
                "--set {change}: only values of [stage2] can be changed here, for example stage2.epochs=20; the rest is \
                 the recipe of the run"
            )));
        }
        file.set_text(change)?;
    }
    file.resolve()
}

/// The marks of a run that is not finished, which no file holds: those of the command that began it.
fn planned_marks(start: &Start) -> Option<Marks> {
    let runs = plan_of(start.run.training_command())?.runs().ok()?;
    runs.into_iter().find(|run| run.recipe == start.run.recipe).map(|run| run.marks)
}
