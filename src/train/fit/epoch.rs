//! What every epoch loop does beside its steps: means for the record, and the evaluation that is due.

use crate::{
    Error, Result,
    data::Loader,
    longtail::ClassCounts,
    run::{EpochRecord, Evaluation, GradientNorm},
    train::{
        StepOutcome,
        eval::evaluate::{Network, evaluate},
        fit::run::{Job, Source},
    },
};

/// Sums over the steps of an epoch.
#[derive(Debug, Default)]
pub(crate) struct EpochSums {
    /// L_cls, L_con, L, gradient norm.
    sums: [f64; 4],
    largest_norm: f64,
    steps: usize,
}

impl EpochSums {
    pub(crate) fn add(&mut self, step: &StepOutcome) {
        let values = [step.loss_cls, step.loss_con, step.loss, step.grad_norm];
        self.sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
        self.largest_norm = self.largest_norm.max(step.grad_norm);
        self.steps += 1;
    }

    /// The record of `epoch` at rate `lr`, not evaluated.
    pub(crate) fn record(&self, epoch: usize, lr: f64, train_seconds: f64) -> EpochRecord {
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

/// The evaluation after `epoch` of `total`, if one is due: of the whole test set after the last, otherwise
/// every `eval.every` epochs, on the smaller set if the recipe wants one there, and without confusion
/// matrix.
pub(crate) fn evaluation_due(
    job: &Job<'_>,
    network: &mut dyn Network,
    (interim, test): (Option<&Loader<Source>>, &Loader<Source>),
    counts: &ClassCounts,
    (epoch, total): (usize, usize),
) -> Result<Option<Evaluation>> {
    let last = epoch == total;
    if !last && !epoch.is_multiple_of(job.recipe.eval.every) {
        return Ok(None);
    }
    let loader = if last { test } else { interim.unwrap_or(test) };
    let mut found = evaluate(network, loader, counts).map_err(|e| match e {
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
