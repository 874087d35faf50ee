//! `features`: what a trained network makes of images, for the report and for `rescom-sim from-features`.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use clap::{Args, ValueEnum};
use rescom::{
    Error, Result,
    data::Loader,
    rng::Streams,
    run::{RunFeatures, atomic},
    train::{
        Collected, HostTensor, HostTensors, Network, SavedRun, collect,
        eval::features::{contrastive_rows, summarise},
        fit::images::evaluation_options,
        to_safetensors,
    },
};

use crate::{
    images::Images,
    saved::{self, MachineArgs},
};

/// Arguments of `features`.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  rescom-repro features reports/runs/cifar-full/cifar10-imb100-rescom-seed0 --out z.safetensors\n  rescom-sim from-features z.safetensors\n  rescom-repro features sweep/*-seed0     # summaries for the report alone"
)]
pub(crate) struct FeaturesArgs {
    /// Folders of runs. Each gets the summary that the report draws from (features.json and
    /// features.safetensors); runs leave it at their end by themselves.
    #[arg(required = true, value_name = "RUN")]
    runs: Vec<PathBuf>,
    /// Write all features here too: `features` [N, D] (unit projections z of contrastive methods, else unit
    /// encoder features), `labels` [N], `logits` [N, C] and `train_counts` [C]; of a single RUN.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Which images FILE is of.
    #[arg(long, value_enum, default_value = "test", requires = "out")]
    split: Split,
    /// At most so many images of each class in FILE, the first ones.
    #[arg(long, value_name = "N", requires = "out")]
    limit_per_class: Option<usize>,
    #[command(flatten)]
    machine: MachineArgs,
    /// The summaries as a JSON array on standard output.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Split {
    /// The balanced test set.
    Test,
    /// The long-tailed training subset, without augmentation.
    TrainSubset,
}

/// Runs the command.
pub(crate) fn run(args: &FeaturesArgs) -> Result<ExitCode> {
    if args.out.is_some() && args.runs.len() > 1 {
        return Err(Error::input("--out goes with a single RUN"));
    }
    let mut summaries = Vec::new();
    for path in &args.runs {
        let features = one(args, path)?;
        if !args.json {
            print(path, &features);
        }
        summaries.push(features.summary);
    }
    if args.json {
        saved::print_json(&summaries)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn one(args: &FeaturesArgs, path: &Path) -> Result<RunFeatures> {
    let run = SavedRun::open(path)?;
    let threads = args.machine.threads(&run)?;
    let images = args.machine.images(&run)?;
    let (origin, mut network) = run.network(&args.machine.device, &mut saved::warn(path))?;
    if let Some(out) = &args.out {
        let collected = collected(args, (&run, &images), &mut network, threads)?;
        atomic::write(out, &to_safetensors(&tensors(&run, &collected)?)?)?;
        if !args.json {
            println!("{}: {} images", out.display(), collected.labels.len());
        }
    }
    let options = evaluation_options(&run.recipe, threads)?;
    let weights = (origin.epoch.unwrap_or_default(), origin.sha256.as_str());
    let about = (&run.recipe, &run.counts);
    let features = summarise(&mut network, &images.test, about, options, weights)?;
    let features = features.ok_or_else(|| {
        Error::input(format!(
            "{}: no class has two test images, so there is no pair",
            path.display()
        ))
    })?;
    features.write(run.dir.path())?;
    Ok(features)
}

fn collected(
    args: &FeaturesArgs,
    (run, images): (&SavedRun, &Images),
    network: &mut dyn Network,
    threads: usize,
) -> Result<Collected> {
    let limit = args.limit_per_class.unwrap_or(usize::MAX);
    let (source, ids) = match args.split {
        Split::Test => (&images.test, images.test.usable()),
        Split::TrainSubset => (&images.train, run.training_ids(&*images.train)?),
    };
    let mut seen = vec![0; source.classes()];
    let mut take = |id: &u32| {
        let count = &mut seen[source.label(*id) as usize];
        *count += 1;
        *count <= limit
    };
    let ids: Vec<u32> = ids.into_iter().filter(|id| take(id)).collect();
    let options = evaluation_options(&run.recipe, threads)?;
    let streams = Streams::new(run.recipe.run.seed);
    collect(network, &Loader::new(Arc::clone(source), &ids, streams, options)?)
}

fn tensors(run: &SavedRun, collected: &Collected) -> Result<HostTensors> {
    let (_, rows) = contrastive_rows(collected);
    let mut unit = rows.clone();
    for mut row in unit.rows_mut() {
        let norm = row.dot(&row).sqrt().max(1e-12);
        row /= norm;
    }
    let matrix = |m: &ndarray::Array2<f32>| {
        HostTensor::f32(&[m.nrows(), m.ncols()], m.iter().copied().collect())
    };
    let integers = |values: Vec<i64>| HostTensor::i64(&[values.len()], values);
    let counts = run.counts.as_slice().iter().map(|&n| n as i64).collect();
    Ok(HostTensors::from([
        ("features".to_owned(), matrix(&unit)?),
        ("logits".to_owned(), matrix(&collected.outputs.logits)?),
        ("labels".to_owned(), integers(collected.labels.iter().map(|&l| l.into()).collect())?),
        ("train_counts".to_owned(), integers(counts)?),
    ]))
}

fn print(path: &Path, features: &RunFeatures) {
    let s = &features.summary;
    println!("{}: epoch {}, {} test images, D = {}", path.display(), s.epoch, s.images, s.dim);
    for (group, found) in s.groups() {
        println!(
            "  {}-shot: mean positive similarity {:.3} over {} pairs of {} classes",
            group.name(),
            found.mean,
            found.pairs,
            found.classes
        );
    }
}
