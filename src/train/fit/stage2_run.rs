//! Stage 2 of MiSLAS as a run of its own, on the network of a finished run or one from a file (METHOD
//! section 7): where it starts from, its class-balanced batches, its learning rate that falls to 0 along a cosine
//! from the first epoch on.

use std::{
    fs,
    path::Path,
    sync::{Arc, atomic::AtomicBool},
};

use rand::Rng as _;

use crate::{
    Error, Result,
    data::{BatchOrder, Loader, LoaderOptions},
    rng::Streams,
    run::{Recipe, Stage2Source, WeightsFile, atomic},
    train::{
        HostTensors,
        fit::{
            checkpoint,
            epoch_loop::{Job, Observer, Outcome, Training, fit},
            images::training_options,
            saved::{STAGE2_FILE, SavedRun, not_fitting},
            stage2::{Stage2, stage2_spec},
        },
        from_safetensors, initial_state,
        nn::convert::convert,
    },
};

/// The network that stage 2 starts from.
#[derive(Debug)]
pub struct Start {
    /// The run that gives data set, subset and recipe, and its network unless a file does.
    pub run: SavedRun,
    /// Which network.
    pub source: Stage2Source,
    state: HostTensors,
}

impl Start {
    /// Takes the newest checkpoint of a finished run. `warn` hears of damaged ones.
    ///
    /// # Errors
    /// [`Error::Input`] if the run is not finished, is of stage 2 itself, or its last checkpoint is damaged.
    pub fn of(run: SavedRun, warn: &mut dyn FnMut(&str)) -> Result<Self> {
        let place = run.dir.path().display();
        let Some(record) = run.record()? else {
            return Err(Error::input(format!(
                "{place}: the run is not finished; the command that began it goes on with it"
            )));
        };
        if record.stage2.is_some() {
            return Err(stage2_itself(&run));
        }
        let (origin, state) = run.checkpoint(warn)?;
        let epoch = origin.epoch.unwrap_or_default();
        if epoch != run.recipe.optim.epochs {
            return Err(Error::input(format!(
                "{place}: the newest whole checkpoint is of epoch {epoch} of {}; remove the run folder and train again",
                run.recipe.optim.epochs
            )));
        }
        let source = Stage2Source {
            run: record.id,
            epoch: Some(epoch),
            checkpoint_sha256: origin.sha256,
            command: record.provenance.command,
            weights: None,
        };
        Ok(Self { run, source, state })
    }

    /// Takes the encoder in `file` (a state dict of PyTorch or a checkpoint, saved as safetensors, under any
    /// of the names that [`convert`] knows), and its classifier where that fits; otherwise the classifier
    /// begins as the recipe's seed draws it. `run`, finished or not, gives data set, subset and recipe.
    ///
    /// # Errors
    /// [`Error::Input`] if the file lacks a part of the recipe's encoder, or `run` is one of stage 2;
    /// [`Error::Io`].
    pub fn with_weights(run: SavedRun, file: &Path) -> Result<Self> {
        if run.stage2.is_some() {
            return Err(stage2_itself(&run));
        }
        let bytes = fs::read(file).map_err(Error::io("read", file))?;
        let name = file.display().to_string();
        let given = from_safetensors(&name, &bytes)?;
        let classes = run.counts.classes();
        let encoder = run.recipe.trainer().encoder;
        let mut found = convert(&encoder, classes, None, &given)?;
        found.missing.retain(|entry| entry.starts_with("encoder."));
        found.misshapen.retain(|(entry, ..)| entry.starts_with("encoder."));
        if !found.is_complete() {
            return Err(Error::input(format!(
                "{name}: not the encoder of {} ({}); give a file with a {} of {} image channels",
                run.dir.path().display(),
                not_fitting(&found),
                encoder.arch.name(),
                encoder.in_channels
            )));
        }
        let mut state = found.state;
        let head = ["linear.weight", "linear.bias"];
        let classifier = head.iter().all(|entry| state.contains_key(*entry));
        if !classifier {
            let mut fresh = initial_state(&encoder, classes, None, run.recipe.run.seed)?;
            fresh.retain(|entry, _| head.contains(&entry.as_str()));
            state.extend(fresh);
        }
        let source = Stage2Source {
            run: run.id.clone(),
            epoch: None,
            checkpoint_sha256: checkpoint::sha256(&bytes),
            command: run.provenance.command.clone(),
            weights: Some(WeightsFile { file: name, classifier }),
        };
        Ok(Self { run, source, state })
    }
}

fn stage2_itself(run: &SavedRun) -> Error {
    Error::input(format!(
        "{}: this is a run of stage 2; name the run that it started from",
        run.dir.path().display()
    ))
}

/// The learning rate of `epoch` (from 1), constant within it: half a cosine from `stage2.lr` in the first epoch
/// towards 0 after the last.
pub fn stage2_learning_rate(recipe: &Recipe, epoch: usize) -> f64 {
    let part = (epoch - 1) as f64 / recipe.stage2.epochs as f64;
    recipe.stage2.lr * (1.0 + (std::f64::consts::PI * part).cos()) / 2.0
}

/// Makes the run in `job.dir`, or goes on with it. The training images are those that `start` was
/// trained on; an epoch draws as many as there are.
///
/// # Errors
/// As [`fit`]; [`Error::Input`] if the folder holds another kind of run, or one that started from another
/// network.
pub fn fit_stage2(
    job: &Job<'_>,
    start: &Start,
    observer: &mut dyn Observer,
    stop: &AtomicBool,
) -> Result<Outcome> {
    crate::train::set_threads(job.threads);
    claim(job, start)?;
    fit(job, training(job, start)?, observer, stop)
}

fn training<'a>(job: &Job<'a>, start: &Start) -> Result<Training<'a>> {
    let (recipe, run) = (job.recipe, &start.run);
    let ids = run.training_ids(&*job.train)?;
    let spec = stage2_spec(recipe);
    let learner = Stage2::new(&spec, &run.counts, &start.state, job.device)?;
    // Not the draws of stage 1 over again.
    let seed = Streams::new(recipe.run.seed).stream("stage2", &[]).next_u64();
    let options = training_options(recipe, job.threads)?;
    let options = LoaderOptions { views: 1, order: BatchOrder::ClassBalanced, ..options };
    let subset = run.dir.file("subset.json");
    Ok(Training {
        learner: Box::new(learner),
        batches: Loader::new(Arc::clone(&job.train), &ids, Streams::new(seed), options)?,
        counts: run.counts.clone(),
        subset: fs::read_to_string(&subset).map_err(Error::io("read", &subset))?,
        subset_sha256: run.provenance.subset_sha256.clone(),
        epochs: recipe.stage2.epochs,
        learning_rate: Box::new(|epoch| stage2_learning_rate(recipe, epoch)),
        remedy: "try a lower learning rate (stage2.lr)",
        stage2: Some(start.source.clone()),
    })
}

/// Marks the folder as one of stage 2 from this start, or finds that it is.
fn claim(job: &Job<'_>, start: &Start) -> Result<()> {
    let mark = job.dir.file(STAGE2_FILE);
    let refused = |what: String| {
        Err(Error::input(format!(
            "{} holds {what}; use another --out, or remove that folder",
            job.dir.path().display()
        )))
    };
    if mark.exists() {
        let there: Stage2Source = atomic::read_json(&mark)?;
        if there.is_same(&start.source) {
            return Ok(());
        }
        let short = |s: &Stage2Source| s.checkpoint_sha256.chars().take(12).collect::<String>();
        return refused(format!(
            "a stage 2 of {} with checkpoint {}, now it is {} with {}",
            there.run,
            short(&there),
            start.source.run,
            short(&start.source)
        ));
    }
    if job.dir.file("epochs.jsonl").exists() {
        return refused("a run that is not of stage 2".into());
    }
    atomic::write_json(&mark, &start.source)
}
