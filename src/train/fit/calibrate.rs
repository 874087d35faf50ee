//! What a run will cost on this machine, from a few real steps on generated images: trainer, loader
//! and checkpoints are the ones of a run, only the images are noise.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use rand::Rng as _;

use crate::{
    Error, Result,
    data::{ImageSet, Loader, LoaderOptions},
    longtail::ClassCounts,
    rng::Streams,
    run::{Arch, AugmentPolicy, DataSetId, LossSpec, Precision, Recipe, RunDir},
    train::{
        Images, Trainer,
        fit::{
            checkpoint,
            images::{evaluation_options, training_options},
        },
    },
};

/// What one calibration may take, about.
const BUDGET: Duration = Duration::from_secs(10);
/// Measured steps where the budget allows them.
const STEPS: usize = 3;
/// Images of the first steps; the batch grows from there to the recipe's as far as the budget allows.
const TRIAL: usize = 4;
/// By what it grows once two sizes tell what a step costs besides its images.
const GROWTH: usize = 8;
/// Generated images; batches repeat them.
const IMAGES: usize = 32;

/// What runs have in common that cost the same per step.
#[derive(Debug, Clone, PartialEq)]
pub struct Kind {
    set: DataSetId,
    loss: LossSpec,
    arch: Arch,
    policy: AugmentPolicy,
    precision: Precision,
    batches: [usize; 2],
}

impl Kind {
    /// The kind of `recipe`.
    pub fn of(recipe: &Recipe) -> Self {
        Self {
            set: recipe.data.set,
            loss: recipe.loss.clone(),
            arch: recipe.model.arch,
            policy: recipe.augment.policy,
            precision: recipe.run.precision,
            batches: [recipe.optim.batch_size, recipe.eval.batch_size],
        }
    }
}

/// What was measured.
#[derive(Debug, Clone)]
pub struct Cost {
    /// Seconds of one training step of the recipe's batch, loading included: the slower of trainer and
    /// loader, the trainer measured while the loader works.
    pub step: f64,
    /// Seconds to evaluate one image, loading included.
    pub evaluated_image: f64,
    /// Seconds to save one checkpoint into the system's temporary folder.
    pub checkpoint: f64,
    /// Seconds to make the network.
    pub start: f64,
    /// Measured steps.
    pub steps: usize,
    /// Images in each; fewer than the recipe's batch where that would have taken too long. `step` is
    /// then scaled with the number of images.
    pub batch: usize,
    /// What it was measured on: "cpu" or "cuda:N".
    pub device: String,
}

impl Cost {
    /// Seconds that a run of `recipe` will take with `steps` steps per epoch and `test` test images.
    /// Reading the data set and writing the report are not in it.
    pub fn of_run(&self, recipe: &Recipe, steps: usize, test: usize) -> f64 {
        let epochs = recipe.optim.epochs;
        let interim = match recipe.eval.interim_per_class {
            0 => test,
            n => test.min(n * recipe.data.set.classes()),
        };
        let evaluated = (epochs - 1) / recipe.eval.every * interim + test;
        self.start
            + epochs as f64 * (steps as f64 * self.step + self.checkpoint)
            + evaluated as f64 * self.evaluated_image
    }
}

/// Measures what runs like `recipe` cost, in about ten seconds at most.
///
/// # Errors
/// [`Error::Input`] for a device or a recipe that cannot be used; [`Error::Run`] if libtorch fails.
pub fn measure(recipe: &Recipe, device: &str, threads: usize) -> Result<Cost> {
    crate::train::set_threads(threads);
    let began = Instant::now();
    let source = Arc::new(generated(recipe)?);
    let classes = recipe.data.set.classes();
    let counts = ClassCounts::new(vec![IMAGES as u64; classes])?;
    let making = Instant::now();
    let mut trainer = Trainer::new(&recipe.trainer(), &counts, 0, device)?;
    let start = making.elapsed().as_secs_f64();

    let full = recipe.optim.batch_size;
    let options = training_options(recipe, threads)?;
    let loader = |batch: usize| {
        repeated(&source, batch, LoaderOptions { batch_size: batch, ..options.clone() })
    };
    let deadline = began + BUDGET;
    let mut sizes = Sizes(Vec::new());
    let (mut batch, mut steps) = (full.min(TRIAL), 1);
    let mut seconds = timed_steps(&mut trainer, &loader(batch)?, 1, deadline)?;
    sizes.0.push((batch, median(&seconds)));
    while batch < full {
        let (next, expected) = sizes.next(full);
        if expected > deadline.saturating_duration_since(Instant::now()).as_secs_f64() {
            break;
        }
        batch = next;
        let most = if batch == full { STEPS } else { 1 };
        seconds = timed_steps(&mut trainer, &loader(batch)?, most, deadline)?;
        sizes.0.push((batch, median(&seconds)));
        steps = seconds.len();
    }
    let loading = full as f64 * timed_loading(&loader(batch)?, batch)?;
    let step = sizes.step(full).max(loading);

    let evaluated = recipe.eval.batch_size.min(batch * options.views);
    let options = evaluation_options(recipe, threads)?;
    let loader = repeated(&source, evaluated, LoaderOptions { batch_size: evaluated, ..options })?;
    let evaluated_image = timed_evaluation(&mut trainer, &loader, evaluated)?;
    let checkpoint = timed_checkpoint(&trainer, recipe)?;
    let device = trainer.device_name();
    Ok(Cost { step, evaluated_image, checkpoint, start, steps, batch, device })
}

/// Noise in the form of the recipe's images: those of lists are as large as ImageNet's usually are.
fn generated(recipe: &Recipe) -> Result<ImageSet> {
    let shape = match recipe.augment.policy {
        AugmentPolicy::RandAugment => (375, 500, 3),
        _ => (32, 32, recipe.data.set.channels()),
    };
    let mut images = vec![0; IMAGES * shape.0 * shape.1 * shape.2];
    Streams::new(0).stream("calibrate", &[]).fill_bytes(&mut images);
    let classes = recipe.data.set.classes();
    let labels = (0..IMAGES).map(|i| (i % classes) as u32).collect();
    let names = (0..classes).map(|c| c.to_string()).collect();
    ImageSet::new(images, shape, labels, names, "noise".into())
}

/// A loader that never runs dry while something is measured.
fn repeated(
    source: &Arc<ImageSet>,
    batch: usize,
    options: LoaderOptions,
) -> Result<Loader<ImageSet>> {
    let batches = 2 * (options.threads + options.prefetch + STEPS + 1);
    let ids: Vec<u32> = (0..IMAGES as u32).cycle().take(batches * batch).collect();
    Loader::new(Arc::clone(source), &ids, Streams::new(0), options)
}

/// Seconds of each of at most `most` steps, one at least, until the deadline, after one that is not
/// counted (it prepares libtorch's kernels). The loader works beside it, as in a run.
fn timed_steps(
    trainer: &mut Trainer,
    loader: &Loader<ImageSet>,
    most: usize,
    deadline: Instant,
) -> Result<Vec<f64>> {
    let mut seconds = Vec::with_capacity(most);
    let mut last = Instant::now();
    for (number, batch) in loader.epoch(1).take(most + 1).enumerate() {
        let batch = batch?;
        // A tiny learning rate: noise must not make the loss diverge.
        let _ = trainer.step(Images::of(&batch), &batch.labels, 1e-6)?;
        drop(batch);
        if number > 0 {
            seconds.push(last.elapsed().as_secs_f64());
            if Instant::now() > deadline {
                break;
            }
        }
        last = Instant::now();
    }
    if seconds.is_empty() { Err(Error::run("calibration: no step")) } else { Ok(seconds) }
}

/// Batch sizes, growing, and the seconds of a step of each.
struct Sizes(Vec<(usize, f64)>);

impl Sizes {
    /// Seconds of a step of `batch` images, as large as the last or larger. With two sizes what a step
    /// costs besides its images is told apart from the cost per image; with one it is not, and the
    /// estimate errs on the long side.
    fn step(&self, batch: usize) -> f64 {
        match *self.0.as_slice() {
            [] => 0.0,
            [(only, seconds)] => seconds * batch as f64 / only as f64,
            [.., (smaller, less), (larger, more)] => {
                let each = ((more - less) / (larger - smaller) as f64).max(0.0);
                more + each * (batch - larger) as f64
            }
        }
    }

    /// The next size on the way to `full`, and what measuring it should take.
    fn next(&self, full: usize) -> (usize, f64) {
        match *self.0.as_slice() {
            // Small batches cost little more per step, until they cost twice as much: a risk worth
            // taking for a second size.
            [(only, seconds)] => (full.min(2 * only), 2.0 * seconds),
            _ => {
                let last = self.0.last().map_or(1, |(batch, _)| *batch);
                let next = full.min(GROWTH * last);
                (next, 2.0 * self.step(next))
            }
        }
    }
}

fn median(seconds: &[f64]) -> f64 {
    let mut sorted = seconds.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

/// Seconds in which the loader makes an image with its views, all its threads at work and nobody else.
fn timed_loading(loader: &Loader<ImageSet>, batch: usize) -> Result<f64> {
    let batches = loader.batches() / 2;
    let start = Instant::now();
    loader.epoch(2).take(batches).try_for_each(|batch| batch.map(drop))?;
    Ok(start.elapsed().as_secs_f64() / (batches * batch) as f64)
}

/// Seconds to evaluate one image: the slower of trainer and loader.
fn timed_evaluation(trainer: &mut Trainer, loader: &Loader<ImageSet>, batch: usize) -> Result<f64> {
    let mut seconds = 0.0;
    // The first is not counted.
    for batch in loader.epoch(0).take(2) {
        let batch = batch?;
        let start = Instant::now();
        let _ = trainer.logits(Images::of(&batch))?;
        seconds = start.elapsed().as_secs_f64();
    }
    Ok(timed_loading(loader, batch)?.max(seconds / batch as f64))
}

fn timed_checkpoint(trainer: &Trainer, recipe: &Recipe) -> Result<f64> {
    let folder = tempfile::tempdir().map_err(Error::io("create", std::env::temp_dir()))?;
    let dir = RunDir::open(folder.path(), recipe)?;
    let start = Instant::now();
    checkpoint::save(&dir, 1, &trainer.state()?, 0.0, 1)?;
    Ok(start.elapsed().as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::shipped;

    #[test]
    fn a_run_costs_its_steps_checkpoints_and_evaluations() {
        let cost = Cost {
            step: 2.0,
            evaluated_image: 0.5,
            checkpoint: 10.0,
            start: 1000.0,
            steps: 3,
            batch: 128,
            device: "cpu".into(),
        };
        // Epochs 3 and 6 of 7 on 20 images of each of 10 classes, the last one on all 5000.
        let r = shipped(&[
            "optim.epochs=7",
            "optim.warmup-epochs=1",
            "eval.every=3",
            "eval.interim-per-class=20",
        ]);
        let expected = 1000.0 + 7.0 * (4.0 * 2.0 + 10.0) + 0.5 * (200.0 + 200.0 + 5000.0);
        assert_eq!(cost.of_run(&r, 4, 5000), expected);
        let every = shipped(&["optim.epochs=3", "optim.warmup-epochs=1", "eval.every=1"]);
        assert_eq!(cost.of_run(&every, 0, 100), 1000.0 + 30.0 + 0.5 * 300.0);
    }

    #[test]
    fn two_sizes_tell_overhead_from_the_cost_of_images() {
        assert_eq!(Sizes(vec![(4, 1.0)]).step(128), 32.0);
        assert_eq!(Sizes(vec![(4, 1.0)]).next(128), (8, 2.0));
        // 0.9 s besides 0.025 s per image.
        let two = Sizes(vec![(4, 1.0), (8, 1.1)]);
        assert!((two.step(128) - 4.1).abs() < 1e-9);
        let (next, expected) = two.next(128);
        assert!(next == 64 && (expected - 5.0).abs() < 1e-9, "{expected}");
        // Noise that makes a larger batch faster is no negative cost.
        assert_eq!(Sizes(vec![(4, 1.0), (8, 0.9)]).step(128), 0.9);
        assert_eq!(Sizes(vec![(4, 1.0), (64, 2.0), (100, 3.0)]).step(100), 3.0);
    }

    #[test]
    fn a_calibration_measures_what_there_is_and_keeps_its_time() {
        let r = shipped(&["model.arch=resnet20", "optim.batch-size=32", "method.name=rescom"]);
        let started = Instant::now();
        let cost = measure(&r, "cpu", 1).unwrap();
        assert!(started.elapsed() < 4 * BUDGET, "{:?}", started.elapsed());
        assert!(cost.step > 0.0 && cost.evaluated_image > 0.0 && cost.checkpoint > 0.0);
        // Forward and backward of two views cost more than one forward.
        assert!(cost.step / 32.0 > cost.evaluated_image, "{cost:?}");
        assert_eq!(cost.device, "cpu");
        assert_eq!(
            Kind::of(&r),
            Kind::of(&shipped(&[
                "model.arch=resnet20",
                "optim.batch-size=32",
                "data.imbalance-factor=10",
                "run.seed=5",
            ]))
        );
        assert_ne!(Kind::of(&r), Kind::of(&shipped(&["method.name=ce"])));
    }
}
