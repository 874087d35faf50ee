//! The epoch loop: a learner and images in, run folder out. What it does follows from the recipe and the
//! seed; an interrupted run goes on from its last finished epoch and ends as if it had never stopped.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use crate::{
    Error, Result,
    data::{Broken, ImageSource, Loader},
    longtail::ClassCounts,
    rng::Streams,
    run::{
        DataSource, EpochRecord, Evaluation, GradientNorm, Marks, Provenance, Recipe, RunDir,
        RunRecord, Stage2Source, atomic,
    },
    train::{
        eval::{
            evaluate::{evaluate, last_and_best},
            features::summarise,
        },
        fit::{
            checkpoint,
            images::{evaluation_options, first_per_class},
            learner::{Learner, StepOutcome},
        },
    },
};

/// One run to be made.
pub struct Job<'a> {
    /// Folder name.
    pub id: &'a str,
    /// What to do.
    pub recipe: &'a Recipe,
    /// Where the recipe's values come from, for the record.
    pub marks: &'a Marks,
    /// Where to do it; the caller holds its lock.
    pub dir: &'a RunDir,
    /// All training images.
    pub train: Arc<dyn ImageSource>,
    /// The balanced test set.
    pub test: Arc<dyn ImageSource>,
    /// Where both come from, for the record.
    pub source: &'a DataSource,
    /// "cpu", "cuda", "cuda:N" or "auto".
    pub device: &'a str,
    /// Threads of libtorch and of the loader.
    pub threads: usize,
    /// The command line, for the record.
    pub command: Vec<String>,
}

/// What is to be done epoch by epoch: all in which the one-stage methods and the second stage of MiSLAS
/// differ.
pub struct Training<'a> {
    /// What learns.
    pub learner: Box<dyn Learner + 'a>,
    /// Training images per class, in label order.
    pub counts: ClassCounts,
    /// Batches of the training images, in the order of this training.
    pub batches: Loader<dyn ImageSource>,
    /// What `subset.json` holds: which images were chosen.
    pub subset: String,
    /// SHA-256 of the chosen indices, little-endian int64.
    pub subset_sha256: String,
    /// Epochs in all.
    pub epochs: usize,
    /// Learning rate of an epoch, from 1, constant within it.
    pub learning_rate: Box<dyn Fn(usize) -> f64 + 'a>,
    /// What to try after a non-finite loss: the recipe's values that tame it.
    pub remedy: &'static str,
    /// What the second stage of MiSLAS started from; none for a one-stage method.
    pub stage2: Option<Stage2Source>,
}

/// Hears how a run goes on.
pub trait Observer {
    /// The run begins, or goes on after `done` epochs.
    fn begin(&mut self, epochs: usize, steps: usize, done: usize);
    /// A step is done (both from 1).
    fn step(&mut self, epoch: usize, step: usize, loss: f64);
    /// An epoch is done and saved.
    fn epoch(&mut self, record: &EpochRecord);
    /// Anything a person should know.
    fn note(&mut self, text: &str);
}

/// How a run ended without an error.
#[derive(Debug)]
pub enum Outcome {
    /// With its record, which is also in its folder.
    Finished(Box<RunRecord>),
    /// Asked to stop; saved up to and including `epoch`.
    Stopped {
        /// Finished epochs.
        epoch: usize,
    },
}

/// Makes the run, or goes on with it; see the module's words on resuming.
///
/// `stop` is looked at after every step; the running epoch is then given up.
///
/// # Errors
/// [`Error::Input`] for what cannot be used (recipe, data, damaged folder); [`Error::Run`] when
/// training fails: a non-finite loss is reported with the step and the ids of its images, and the
/// state is saved as `diverged.safetensors`.
pub fn fit(
    job: &Job<'_>,
    mut training: Training<'_>,
    observer: &mut dyn Observer,
    stop: &AtomicBool,
) -> Result<Outcome> {
    let resumed = checkpoint::newest(job.dir, &mut |w| observer.note(w))?;
    let provenance = provenance(job, &training);
    if let Some(changed) = job.dir.provenance(&provenance, resumed.is_some())? {
        observer.note(&changed);
    }
    atomic::write(&job.dir.file("subset.json"), training.subset.as_bytes())?;
    name_skipped(job, observer)?;
    let test = TestImages::new(job)?;
    let (done, mut seconds) = match resumed {
        Some((about, state)) => {
            training.learner.load_state(&state)?;
            (about.epoch, about.seconds)
        }
        None => (0, 0.0),
    };
    let mut epochs = job.dir.epochs_until(done)?;
    observer.begin(training.epochs, training.batches.batches(), done);
    for epoch in done + 1..=training.epochs {
        let start = Instant::now();
        let Some(mut record) = train_epoch(job, &mut training, epoch, observer, stop)? else {
            return Ok(Outcome::Stopped { epoch: epoch - 1 });
        };
        record.test = test.evaluation_due(job, &mut training, epoch)?;
        seconds += start.elapsed().as_secs_f64();
        job.dir.append_epoch(&record)?;
        let state = training.learner.state()?;
        checkpoint::save(job.dir, epoch, &state, seconds, job.recipe.run.keep_checkpoints)?;
        observer.epoch(&record);
        epochs.push(record);
    }
    write_features(job, &mut training)?;
    finish(job, training, provenance, epochs, seconds)
}

/// One epoch of training, not evaluated; none if asked to stop.
fn train_epoch(
    job: &Job<'_>,
    training: &mut Training<'_>,
    epoch: usize,
    observer: &mut dyn Observer,
    stop: &AtomicBool,
) -> Result<Option<EpochRecord>> {
    let lr = (training.learning_rate)(epoch);
    let start = Instant::now();
    let mut sums = EpochSums::default();
    for (number, batch) in training.batches.epoch(epoch as u64).enumerate() {
        let batch = batch?;
        let outcome = training.learner.step(&batch, lr)?;
        if !outcome.applied {
            return Err(diverged(job, training, (epoch, number + 1, &batch.ids), &outcome));
        }
        sums.add(&outcome);
        observer.step(epoch, number + 1, outcome.loss);
        if stop.load(Ordering::SeqCst) {
            return Ok(None);
        }
    }
    Ok(Some(sums.record(epoch, lr, start.elapsed().as_secs_f64())))
}

/// Sums over the steps of an epoch.
#[derive(Debug, Default)]
struct EpochSums {
    /// L_cls, L_con, L, gradient norm.
    sums: [f64; 4],
    largest_norm: f64,
    steps: usize,
}

impl EpochSums {
    fn add(&mut self, step: &StepOutcome) {
        let values = [step.loss_cls, step.loss_con, step.loss, step.grad_norm];
        self.sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
        self.largest_norm = self.largest_norm.max(step.grad_norm);
        self.steps += 1;
    }

    /// The record of `epoch` at learning rate `lr`, not evaluated.
    fn record(&self, epoch: usize, lr: f64, train_seconds: f64) -> EpochRecord {
        let [loss_cls, loss_con, loss, norm] = self.sums.map(|sum| sum / self.steps as f64);
        EpochRecord {
            epoch,
            lr,
            loss_cls,
            loss_con,
            loss,
            grad_norm: Some(GradientNorm { mean: norm, max: self.largest_norm }),
            steps: self.steps,
            test: None,
            train_seconds,
        }
    }
}

/// Saves the state before the step that failed, and says where that was: epoch, step, ids of its images.
fn diverged(
    job: &Job<'_>,
    training: &Training<'_>,
    (epoch, step, ids): (usize, usize, &[u32]),
    outcome: &StepOutcome,
) -> Error {
    let path = job.dir.file("diverged.safetensors");
    let state = training.learner.state();
    let saved = state
        .and_then(|s| crate::train::to_safetensors(&s))
        .and_then(|bytes| atomic::write(&path, &bytes));
    let where_saved = match saved {
        Ok(()) => format!("the state before the step is in {}", path.display()),
        Err(e) => format!("the state could not be saved ({e})"),
    };
    Error::run(format!(
        "loss {:.4e} with gradient norm {:.4e} in epoch {epoch}, step {step}, training images {ids:?}; {where_saved}; \
         {}",
        outcome.loss, outcome.grad_norm, training.remedy
    ))
}

/// The test images of a run.
struct TestImages {
    /// Fewer, for evaluations before the last one, where the recipe wants that.
    interim: Option<Loader<dyn ImageSource>>,
    all: Loader<dyn ImageSource>,
}

impl TestImages {
    fn new(job: &Job<'_>) -> Result<Self> {
        let options = evaluation_options(job.recipe, job.threads)?;
        let streams = Streams::new(job.recipe.run.seed);
        let loader = |per_class: usize| {
            let ids = first_per_class(&job.test, per_class);
            Loader::new(Arc::clone(&job.test), &ids, streams, options.clone())
        };
        let interim = job.recipe.eval.interim_per_class;
        let interim = (interim > 0).then(|| loader(interim)).transpose()?;
        Ok(Self { interim, all: loader(0)? })
    }

    /// The evaluation after `epoch`, if one is due: of the whole test set after the last, otherwise every
    /// `eval.every` epochs, on the smaller set if the recipe wants one there, and without confusion matrix.
    fn evaluation_due(
        &self,
        job: &Job<'_>,
        training: &mut Training<'_>,
        epoch: usize,
    ) -> Result<Option<Evaluation>> {
        let last = epoch == training.epochs;
        if !last && !epoch.is_multiple_of(job.recipe.eval.every) {
            return Ok(None);
        }
        let images = if last { &self.all } else { self.interim.as_ref().unwrap_or(&self.all) };
        let found = evaluate(&mut *training.learner, images, &training.counts);
        let mut found = found.map_err(|e| match e {
            Error::Run(what) => Error::run(format!(
                "after epoch {epoch}: {what}; the newest checkpoint is of the epoch before"
            )),
            other => other,
        })?;
        if !last {
            found.confusion.clear();
        }
        Ok(Some(found))
    }
}

/// Names the images that are left out because they cannot be decoded in `skipped-pictures.txt`, if there
/// are any, and says how many.
fn name_skipped(job: &Job<'_>, observer: &mut dyn Observer) -> Result<()> {
    let [train, test] = skipped(job);
    if train + test == 0 {
        return Ok(());
    }
    let sets = [("training", &job.train), ("test", &job.test)];
    let lines = sets.into_iter().flat_map(|(name, set)| {
        let line = move |b: &Broken| format!("{name} {}: {}\n", b.path.display(), b.reason);
        set.skipped().iter().map(line)
    });
    let path = job.dir.file("skipped-pictures.txt");
    atomic::write(&path, lines.collect::<String>().as_bytes())?;
    observer.note(&format!(
        "{train} training and {test} test images cannot be decoded and are left out; {} names them",
        path.display()
    ));
    Ok(())
}

/// Training and test images that are left out.
fn skipped(job: &Job<'_>) -> [usize; 2] {
    [&job.train, &job.test].map(|set| set.skipped().len())
}

fn provenance(job: &Job<'_>, training: &Training<'_>) -> Provenance {
    Provenance {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        commit: option_env!("RESCOM_COMMIT").unwrap_or("unknown").to_owned(),
        libtorch: crate::train::runtime().version.unwrap_or_else(|| "unknown".into()),
        device: training.learner.device_name(),
        torch_threads: job.threads,
        loader_threads: job.threads,
        data_source: job.source.clone().into(),
        data_sha256: job.train.sha256().to_owned(),
        subset_sha256: training.subset_sha256.clone(),
        skipped_pictures: skipped(job),
        command: job.command.clone(),
    }
}

/// Writes the summary and the sample of features that the report draws from.
fn write_features(job: &Job<'_>, training: &mut Training<'_>) -> Result<()> {
    let options = evaluation_options(job.recipe, job.threads)?;
    let sha256 = checkpoint::sha256_of(job.dir, training.epochs)?;
    let (about, weights) = ((job.recipe, &training.counts), (training.epochs, sha256.as_str()));
    let found = summarise(&mut *training.learner, &job.test, about, options, weights)?;
    found.map_or(Ok(()), |features| features.write(job.dir.path()))
}

/// Writes the record of the run.
fn finish(
    job: &Job<'_>,
    training: Training<'_>,
    provenance: Provenance,
    mut epochs: Vec<EpochRecord>,
    seconds: f64,
) -> Result<Outcome> {
    let (last, best) = last_and_best(&mut epochs)?;
    let record = RunRecord {
        id: job.id.to_owned(),
        recipe: job.recipe.clone(),
        marks: job.marks.clone(),
        provenance,
        stage2: training.stage2,
        counts: training.counts.as_slice().to_vec(),
        class_names: job.train.class_names().to_vec(),
        last,
        best,
        epochs,
        seconds,
    };
    job.dir.finish(&record)?;
    Ok(Outcome::Finished(Box::new(record)))
}
