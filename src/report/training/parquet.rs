//! The runs as a typed table in Parquet, for whoever goes on in polars, pandas or R.

use polars::prelude::*;

use crate::{Error, Result, run::RunRecord};

/// One row per run, with the columns of [`runs_table`](super::runs_table); fractions and seconds as
/// float64, what a run does not have as null.
///
/// # Errors
/// [`Error::Run`] if the table cannot be encoded.
pub fn runs_parquet(records: &[RunRecord]) -> Result<Vec<u8>> {
    fn column<T>(records: &[RunRecord], value: impl Fn(&RunRecord) -> T) -> Vec<T> {
        records.iter().map(value).collect()
    }
    let failed = |e: PolarsError| Error::run(format!("runs as Parquet: {e}"));
    let mut frame = df!(
        "run" => column(records, |r| r.id.clone()),
        "data_set" => column(records, |r| r.recipe.data.set.name().to_owned()),
        "class_order" => column(records, |r| format!("{:?}", r.recipe.data.class_order).to_lowercase()),
        "imbalance_factor" => column(records, |r| r.recipe.data.imbalance_factor),
        "method" => column(records, |r| r.method_label().to_string()),
        "seed" => column(records, |r| r.recipe.run.seed),
        "arch" => column(records, |r| format!("{:?}", r.recipe.model.arch).to_lowercase()),
        "epochs" => column(records, |r| r.recipe.optim.epochs as u64),
        "train_images" => column(records, |r| r.counts.iter().sum::<u64>()),
        "top1_last" => column(records, |r| r.last.top1),
        "top1_best" => column(records, |r| r.best.test.top1),
        "best_epoch" => column(records, |r| r.best.epoch as u64),
        "top5_last" => column(records, |r| r.last.top5),
        "many" => column(records, |r| r.last.groups.many),
        "medium" => column(records, |r| r.last.groups.medium),
        "few" => column(records, |r| r.last.groups.few),
        "ece" => column(records, |r| r.last.ece),
        "seconds" => column(records, |r| r.seconds),
    )
    .map_err(failed)?;
    let mut bytes = Vec::new();
    ParquetWriter::new(&mut bytes).finish(&mut frame).map_err(failed)?;
    Ok(bytes)
}
