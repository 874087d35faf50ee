//! The epoch loop: data in, run folder out. What it does follows from the recipe and the seed; an
//! interrupted run goes on from its last finished epoch and ends as if it had never stopped.

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
    run::{EpochRecord, Marks, Provenance, Recipe, RunDir, RunRecord, atomic},
    train::{
        HostTensors, Images, StepOutcome, Trainer,
        eval::{evaluate::last_and_best, features},
        fit::{
            checkpoint,
            epoch::{EpochSums, evaluation_due},
            images::{Selection, first_per_class},
            schedule::learning_rate,
        },
    },
};

pub use crate::train::fit::images::{
    corrupted_options, evaluation_options, size, steps, subset_rule, training_options,
};

/// Images from memory or from files.
pub(crate) type Source = dyn ImageSource;

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
    /// All training images; the recipe's subset is chosen from them.
    pub train: Arc<dyn ImageSource>,
    /// The balanced test set.
    pub test: Arc<dyn ImageSource>,
    /// "cpu", "cuda", "cuda:N" or "auto".
    pub device: &'a str,
    /// Threads of libtorch and of the loader.
    pub threads: usize,
    /// The command line, for the record.
    pub command: Vec<String>,
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

/// Everything a run needs, ready.
struct Session<'a> {
    job: &'a Job<'a>,
    counts: ClassCounts,
    trainer: Trainer,
    train: Loader<Source>,
    interim: Option<Loader<Source>>,
    test: Loader<Source>,
    manifest: serde_json::Value,
    provenance: Provenance,
}

/// Makes the run, or goes on with it; see the module's words on resuming.
///
/// `stop` is looked at after every step; the running epoch is then given up.
///
/// # Errors
/// [`Error::Input`] for what cannot be used (recipe, data, damaged folder); [`Error::Run`] when
/// training fails: a loss that is no number is reported with the step and the ids of its images,
/// and the state is saved as `diverged.safetensors`.
pub fn fit(job: &Job<'_>, observer: &mut dyn Observer, stop: &AtomicBool) -> Result<Outcome> {
    crate::train::set_threads(job.threads);
    let resumed = checkpoint::newest(job.dir, &mut |w| observer.note(w))?;
    let mut session = Session::new(job)?;
    if let Some(changed) = job.dir.provenance(&session.provenance, resumed.is_some())? {
        observer.note(&changed);
    }
    atomic::write_json(&job.dir.file("subset.json"), &session.manifest)?;
    if let Some(line) = session.left_out()? {
        observer.note(&line);
    }
    let (done, mut seconds) = match resumed {
        Some((about, state)) => {
            session.trainer.load_state(&state)?;
            (about.epoch, about.seconds)
        }
        None => (0, 0.0),
    };
    let mut epochs = job.dir.epochs_until(done)?;
    let total = job.recipe.optim.epochs;
    observer.begin(total, session.train.batches(), done);
    for epoch in done + 1..=total {
        let start = Instant::now();
        let Some(record) = session.epoch(epoch, observer, stop)? else {
            return Ok(Outcome::Stopped { epoch: epoch - 1 });
        };
        seconds += start.elapsed().as_secs_f64();
        job.dir.append_epoch(&record)?;
        let state = session.trainer.state()?;
        checkpoint::save(job.dir, epoch, &state, seconds, job.recipe.run.keep_checkpoints)?;
        observer.epoch(&record);
        epochs.push(record);
    }
    features::of_finished(&mut session.trainer, job, &session.counts, total)?;
    session.finish(epochs, seconds).map(|r| Outcome::Finished(Box::new(r)))
}

impl<'a> Session<'a> {
    fn new(job: &'a Job<'a>) -> Result<Self> {
        let recipe = job.recipe;
        let chosen = Selection::new(recipe, &*job.train)?;
        let counts = chosen.counts;
        let spec = recipe.trainer();
        let trainer = Trainer::new(&spec, &counts, recipe.run.seed, job.device)?;
        let provenance = provenance(job, chosen.sha256, trainer.device_name());
        let streams = Streams::new(recipe.run.seed);
        let options = training_options(recipe, job.threads)?;
        let train = Loader::new(Arc::clone(&job.train), &chosen.ids, streams, options)?;
        let (interim, test) = test_loaders(job)?;
        let manifest = chosen.manifest;
        Ok(Self { job, counts, trainer, train, interim, test, manifest, provenance })
    }

    /// Writes `skipped-pictures.txt` if pictures are left out, and says how many.
    fn left_out(&self) -> Result<Option<String>> {
        let [train, test] = self.provenance.skipped_pictures;
        if train + test == 0 {
            return Ok(None);
        }
        let sets = [("training", &self.job.train), ("test", &self.job.test)];
        let lines = sets.into_iter().flat_map(|(name, set)| {
            let line = move |b: &Broken| format!("{name} {}: {}\n", b.path.display(), b.reason);
            set.skipped().iter().map(line)
        });
        let path = self.job.dir.file("skipped-pictures.txt");
        atomic::write(&path, lines.collect::<String>().as_bytes())?;
        Ok(Some(format!(
            "{train} training and {test} test pictures cannot be decoded and are left out; {} names them",
            path.display()
        )))
    }

    /// One epoch with its evaluation; none if asked to stop.
    fn epoch(
        &mut self,
        epoch: usize,
        observer: &mut dyn Observer,
        stop: &AtomicBool,
    ) -> Result<Option<EpochRecord>> {
        let recipe = self.job.recipe;
        let lr = learning_rate(&recipe.optim, recipe.data.set, epoch);
        let start = Instant::now();
        let mut sums = EpochSums::default();
        for (number, batch) in self.train.epoch(epoch as u64).enumerate() {
            let batch = batch?;
            let (h, w, c) = batch.shape;
            let rows = batch.labels.len() * recipe.loss.views();
            let images = Images { values: &batch.images, shape: [rows, c, h, w] };
            let outcome = self.trainer.step(images, &batch.labels, lr)?;
            if !outcome.applied {
                let place = (epoch, number + 1, &batch.ids[..]);
                return Err(diverged(self.job, self.trainer.state(), place, &outcome));
            }
            sums.add(&outcome);
            observer.step(epoch, number + 1, outcome.loss);
            if stop.load(Ordering::SeqCst) {
                return Ok(None);
            }
        }
        let record = sums.record(epoch, lr, start.elapsed().as_secs_f64());
        let loaders = (self.interim.as_ref(), &self.test);
        let place = (epoch, recipe.optim.epochs);
        let test = evaluation_due(self.job, &mut self.trainer, loaders, &self.counts, place)?;
        Ok(Some(EpochRecord { test, ..record }))
    }

    fn finish(self, mut epochs: Vec<EpochRecord>, seconds: f64) -> Result<RunRecord> {
        let (last, best) = last_and_best(&mut epochs)?;
        let record = RunRecord {
            id: self.job.id.to_owned(),
            recipe: self.job.recipe.clone(),
            marks: self.job.marks.clone(),
            provenance: self.provenance,
            stage2: None,
            counts: self.counts.as_slice().to_vec(),
            class_names: self.job.train.class_names().to_vec(),
            last,
            best,
            epochs,
            seconds,
        };
        self.job.dir.finish(&record)?;
        Ok(record)
    }
}

/// Loaders of the test images for evaluations before the last one, where the recipe wants fewer there,
/// and of all of them.
pub(crate) fn test_loaders(job: &Job<'_>) -> Result<(Option<Loader<Source>>, Loader<Source>)> {
    let options = evaluation_options(job.recipe, job.threads)?;
    let streams = Streams::new(job.recipe.run.seed);
    let loader = |per_class: usize| {
        let ids = first_per_class(&job.test, per_class);
        Loader::new(Arc::clone(&job.test), &ids, streams, options.clone())
    };
    let interim = job.recipe.eval.interim_per_class;
    Ok(((interim > 0).then(|| loader(interim)).transpose()?, loader(0)?))
}

/// Saves the state before the step that failed, and says where that was: epoch, step, ids of its images.
pub(crate) fn diverged(
    job: &Job<'_>,
    state: Result<HostTensors>,
    (epoch, step, ids): (usize, usize, &[u32]),
    outcome: &StepOutcome,
) -> Error {
    let path = job.dir.file("diverged.safetensors");
    let saved = state
        .and_then(|s| crate::train::to_safetensors(&s))
        .and_then(|bytes| atomic::write(&path, &bytes));
    let where_saved = match saved {
        Ok(()) => format!("the state before the step is in {}", path.display()),
        Err(e) => format!("the state could not be saved ({e})"),
    };
    Error::run(format!(
        "loss {:.4e} with gradient norm {:.4e} in epoch {epoch}, step {step}, training images {ids:?}; {where_saved}; \
         try a lower rate (optim.lr; of stage 2 stage2.lr) or more optim.warmup-epochs",
        outcome.loss, outcome.grad_norm
    ))
}

pub(crate) fn provenance(job: &Job<'_>, subset_sha256: String, device: String) -> Provenance {
    Provenance {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        commit: option_env!("RESCOM_COMMIT").unwrap_or("unknown").to_owned(),
        libtorch: crate::train::runtime().version.unwrap_or_else(|| "unknown".into()),
        device,
        torch_threads: job.threads,
        loader_threads: job.threads,
        data_source: job.train.place().to_owned(),
        data_sha256: job.train.sha256().to_owned(),
        subset_sha256,
        skipped_pictures: [job.train.skipped().len(), job.test.skipped().len()],
        command: job.command.clone(),
    }
}
