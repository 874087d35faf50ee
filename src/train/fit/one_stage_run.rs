//! A run of a one-stage method: the recipe's subset of the training images, shuffled anew each epoch, at the
//! learning rates of its schedule.

use std::sync::{Arc, atomic::AtomicBool};

use crate::{
    Result,
    data::Loader,
    rng::Streams,
    train::{
        Trainer,
        fit::{
            epoch_loop::{Job, Observer, Outcome, Training, fit},
            images::{Selection, training_options},
            schedule::learning_rate,
        },
    },
};

/// Makes the run of the recipe's method in `job.dir`, or goes on with it. Its training images are the
/// subset of `job.train` that the recipe chooses.
///
/// # Errors
/// As [`fit`].
pub fn fit_one_stage(
    job: &Job<'_>,
    observer: &mut dyn Observer,
    stop: &AtomicBool,
) -> Result<Outcome> {
    crate::train::set_threads(job.threads);
    fit(job, training(job)?, observer, stop)
}

fn training<'a>(job: &Job<'a>) -> Result<Training<'a>> {
    let recipe = job.recipe;
    let chosen = Selection::new(recipe, &*job.train)?;
    let learner = Trainer::new(&recipe.trainer(), &chosen.counts, recipe.run.seed, job.device)?;
    let options = training_options(recipe, job.threads)?;
    let streams = Streams::new(recipe.run.seed);
    Ok(Training {
        learner: Box::new(learner),
        batches: Loader::new(Arc::clone(&job.train), &chosen.ids, streams, options)?,
        counts: chosen.counts,
        subset: format!("{:#}\n", chosen.manifest),
        subset_sha256: chosen.sha256,
        epochs: recipe.optim.epochs,
        learning_rate: Box::new(|epoch| learning_rate(&recipe.optim, recipe.data.set, epoch)),
        remedy: "try a lower learning rate (optim.lr) or more optim.warmup-epochs",
        stage2: None,
    })
}
