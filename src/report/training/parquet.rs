//! The runs as a typed table in Parquet, for whoever goes on in polars, pandas or R.

use polars::prelude::*;

use crate::{Error, Result, report::training::cells::FinishedRun, run::RunRecord};

/// One row per run, with the columns of [`runs_table`](crate::report::training::runs_table); fractions and seconds as
/// float64, what a run does not have as null.
///
/// # Errors
/// [`Error::Run`] if the table cannot be encoded.
pub fn runs_parquet(runs: &[FinishedRun]) -> Result<Vec<u8>> {
    fn column<T>(runs: &[FinishedRun], value: impl Fn(&RunRecord) -> T) -> Vec<T> {
        runs.iter().map(|run| value(&run.record)).collect()
    }
    let failed = |e: PolarsError| Error::run(format!("runs as Parquet: {e}"));
    let order = |r: &RunRecord| r.recipe.data.class_order.label();
    let mut frame = df!(
        "run" => column(runs, |r| r.id.clone()),
        "data_set" => column(runs, |r| r.recipe.data.set.name().to_owned()),
        "class_order" => column(runs, order),
        "imbalance_factor" => column(runs, RunRecord::imbalance_factor),
        "method" => column(runs, |r| r.method_label().to_string()),
        "seed" => column(runs, |r| r.recipe.run.seed),
        "arch" => column(runs, |r| r.recipe.model.arch.name().to_owned()),
        "feature_dim" => column(runs, |r| r.recipe.model.arch.feature_dim() as u64),
        "epochs" => column(runs, |r| r.epochs.len() as u64),
        "train_images" => column(runs, |r| r.counts.iter().sum::<u64>()),
        "top1_last" => column(runs, |r| r.last.top1),
        "top1_best" => column(runs, |r| r.best.test.top1),
        "best_epoch" => column(runs, |r| r.best.epoch as u64),
        "top5_last" => column(runs, |r| r.last.top5),
        "many" => column(runs, |r| r.last.groups.many),
        "medium" => column(runs, |r| r.last.groups.medium),
        "few" => column(runs, |r| r.last.groups.few),
        "ece" => column(runs, |r| r.last.ece),
        "seconds" => column(runs, |r| r.seconds),
        "device" => column(runs, |r| r.provenance.device.clone()),
        "threads" => column(runs, |r| r.provenance.torch_threads as u64),
    )
    .map_err(failed)?;
    let mut bytes = Vec::new();
    ParquetWriter::new(&mut bytes).finish(&mut frame).map_err(failed)?;
    Ok(bytes)
}
