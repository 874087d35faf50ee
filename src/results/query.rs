//! The queries that a report's tables and figures are made of. Each takes the tables of one data set
//! in one class order ([`section`]) and gives a table; `docs/formats-training.md` has the same queries
//! for whoever starts from the files.
//!
//! A *cell* is what runs are averaged within: the runs of one imbalance factor, method and setting,
//! by seed ([`CELL`]). Rows come in the order of the table `runs`. Means and deviations are taken of
//! the values in the order of the seeds, one after the other ([`Spread::of`]); polars may sum in another
//! order, and the last digits would be others.

use std::collections::BTreeSet;

use polars::prelude::*;

use super::{Columns, Frames, Spread, columns::failed};
use crate::Result;

/// The columns of `runs` that name a cell.
pub const CELL: [&str; 3] = ["imbalance_factor", "method", "setting"];

/// Accuracy over all classes and by shot group: columns of `runs`, the report's name of each.
pub const BY_SHOTS: [(&str, &str); 4] =
    [("top1", "top-1"), ("many", "many"), ("medium", "medium"), ("few", "few")];

/// Columns of `runs` that are averaged over seeds.
const MEASURES: [&str; 6] = ["top1", "many", "medium", "few", "top5", "ece"];

fn columns(names: &[&str]) -> Vec<Expr> {
    names.iter().map(|name| col(*name)).collect()
}

fn cell_and<'n>(more: &[&'n str]) -> Vec<&'n str> {
    CELL.iter().chain(more).copied().collect()
}

/// The rows whose `column` holds `text`.
fn only(rows: LazyFrame, column: &str, text: &str) -> LazyFrame {
    rows.filter(col(column).eq(lit(text.to_owned())))
}

/// A join that keeps the rows in the order of the left table, then of the right one.
fn in_order() -> JoinArgs {
    let maintain_order = MaintainOrderJoin::LeftRight;
    JoinArgs { maintain_order, ..JoinArgs::new(JoinType::Inner) }
}

/// The rows of `table` whose run is in `runs`, with the run's cell and `more` of its columns.
fn of_runs(frames: &Frames, table: &DataFrame, more: &[&str]) -> LazyFrame {
    let wanted = columns(&[&["run"][..], &cell_and(more)].concat());
    let runs = frames.runs.clone().lazy().select(wanted);
    table.clone().lazy().join(runs, [col("run")], [col("run")], in_order())
}

/// `frame` with the spread of the lists in its column `values` as `n`, `mean` and `sd` beside them.
fn spread_of_lists(frame: &DataFrame) -> Result<DataFrame> {
    let spreads: Vec<Option<Spread>> =
        frame.lists("values")?.iter().map(|values| Spread::of(values)).collect();
    let n: Vec<u64> = spreads.iter().map(|s| s.map_or(0, |s| s.n as u64)).collect();
    let mean: Vec<Option<f64>> = spreads.iter().map(|s| Some(s.as_ref()?.mean)).collect();
    let sd: Vec<Option<f64>> = spreads.iter().map(|s| s.as_ref()?.sd).collect();
    let numbers = df!("n" => n, "mean" => mean, "sd" => sd).map_err(failed)?;
    frame.hstack(numbers.columns()).map_err(failed)
}

/// The `values` of `value` by seed, their number, mean and sample standard deviation, one row per `by`, with
/// the first of each of the columns `first`.
fn over_seeds(rows: LazyFrame, by: &[&str], first: &[&str], value: Expr) -> Result<DataFrame> {
    let first = first.iter().map(|name| col(*name).first());
    let wanted: Vec<Expr> = first.chain([value.alias("values")]).collect();
    let lists = rows.group_by_stable(columns(by)).agg(wanted).collect().map_err(failed)?;
    spread_of_lists(&lists)
}

/// The tables with the runs of one data set in one class order alone.
///
/// # Errors
/// As of all queries: [`Error::Run`](crate::Error::Run) if the tables are not those of the schema.
pub fn section(frames: &Frames, data_set: &str, class_order: &str) -> Result<Frames> {
    let runs = only(frames.runs.clone().lazy(), "data_set", data_set);
    let runs = only(runs, "class_order", class_order).collect().map_err(failed)?;
    Ok(Frames { runs, ..frames.clone() })
}

/// Cells: number of seeds, whether any run's images are the published ones, and what the first run says of
/// itself.
///
/// # Errors
/// As [`section`].
pub fn cells(frames: &Frames) -> Result<DataFrame> {
    let first = ["images", "arch", "feature_dim", "epochs", "batch_size", "views", "train_images"];
    let mut wanted: Vec<Expr> = first.iter().map(|name| col(*name).first()).collect();
    wanted.push(len().cast(DataType::UInt64).alias("seeds"));
    wanted.push(col("images").eq(lit("published")).any(true).alias("any_published"));
    let by = columns(&CELL);
    frames.runs.clone().lazy().group_by_stable(by).agg(wanted).collect().map_err(failed)
}

/// Accuracies and calibration of the last epoch: one row per cell and `measure` (`top1`, `many`,
/// `medium`, `few`, `top5`, `ece`).
///
/// # Errors
/// As [`section`].
pub fn measures(frames: &Frames) -> Result<DataFrame> {
    let of = |measure: &str| {
        over_seeds(frames.runs.clone().lazy(), &CELL, &[], col(measure))
            .map(|frame| frame.lazy().with_column(lit(measure.to_owned()).alias("measure")))
    };
    let all = MEASURES.iter().map(|m| of(m)).collect::<Result<Vec<LazyFrame>>>()?;
    concat(all, UnionArgs::default()).and_then(LazyFrame::collect).map_err(failed)
}

/// Top-1 of the best epoch, of the cells in which every run had a choice of epochs.
///
/// # Errors
/// As [`section`].
pub fn best(frames: &Frames) -> Result<DataFrame> {
    let chosen = frames
        .runs
        .clone()
        .lazy()
        .group_by_stable(columns(&CELL))
        .agg([col("best_chosen").all(true), col("best_top1").alias("values")]);
    let chosen = chosen.filter(col("best_chosen")).collect().map_err(failed)?;
    spread_of_lists(&chosen)
}

/// Accuracy of each class: one row per cell and class, with its name and training images.
///
/// # Errors
/// As [`section`].
pub fn classes(frames: &Frames) -> Result<DataFrame> {
    let rows = of_runs(frames, &frames.classes, &[]);
    over_seeds(rows, &cell_and(&["class"]), &["name", "train_images"], col("accuracy"))
}

/// Training loss by epoch: one row per cell and epoch.
///
/// # Errors
/// As [`section`].
pub fn losses(frames: &Frames) -> Result<DataFrame> {
    let rows = of_runs(frames, &frames.epochs, &[]);
    over_seeds(rows, &cell_and(&["epoch"]), &[], col("loss_cls"))
}

/// Test top-1 by epoch in percent: one row per cell, epoch and whether the evaluation was on the whole
/// test set (`whole_test`).
///
/// # Errors
/// As [`section`].
pub fn tests(frames: &Frames) -> Result<DataFrame> {
    let rows = of_runs(frames, &frames.epochs, &[]).filter(col("test_top1").is_not_null());
    let by = cell_and(&["epoch", "whole_test"]);
    over_seeds(rows, &by, &[], lit(100.0) * col("test_top1"))
}

/// On how many test images epochs were evaluated: one row per cell, `test_images` and `whole_test`.
///
/// # Errors
/// As [`section`].
pub fn test_sizes(frames: &Frames) -> Result<DataFrame> {
    let rows = of_runs(frames, &frames.epochs, &[]).filter(col("test_top1").is_not_null());
    let by = columns(&cell_and(&["test_images", "whole_test"]));
    rows.group_by_stable(by).agg([len()]).collect().map_err(failed)
}

/// Bins of confidence, all seeds together: one row per cell and bin, with the lowest and the highest
/// accuracy among the seeds that have images there.
///
/// # Errors
/// As [`section`].
pub fn reliability(frames: &Frames) -> Result<DataFrame> {
    let rows = of_runs(frames, &frames.reliability, &[]);
    let used = || col("accuracy").filter(col("test_images").gt(lit(0u64)));
    let images = || col("test_images").cast(DataType::Float64);
    let bins = rows.group_by_stable(columns(&cell_and(&["bin"]))).agg([
        col("test_images").sum(),
        (images() * col("confidence")).alias("confidence"),
        (images() * col("accuracy")).alias("right"),
        used().min().alias("lowest_seed"),
        used().max().alias("highest_seed"),
    ]);
    let bins = bins.collect().map_err(failed)?;
    let images = bins.counts("test_images")?;
    // A list of each seed's share, added up seed by seed.
    let mean = |column: &str| -> Result<Vec<f64>> {
        let sums = bins.lists(column)?.into_iter().map(|l| l.iter().sum::<f64>());
        Ok(sums.zip(&images).map(|(s, n)| s / n.unwrap_or(0).max(1) as f64).collect())
    };
    let pooled = df!("confidence" => mean("confidence")?, "accuracy" => mean("right")?);
    let rest = bins.drop("confidence").and_then(|b| b.drop("right")).map_err(failed)?;
    rest.hstack(pooled.map_err(failed)?.columns()).map_err(failed)
}

/// Confusion of all seeds together: one row per cell, true and predicted class.
///
/// # Errors
/// As [`section`].
pub fn confusion(frames: &Frames) -> Result<DataFrame> {
    let by = columns(&cell_and(&["true_class", "predicted_class"]));
    let rows = of_runs(frames, &frames.confusion, &[]);
    rows.group_by_stable(by).agg([col("test_images").sum()]).collect().map_err(failed)
}

/// Seconds of training of every epoch: one row per cell, device and number of threads, with a list of
/// `train_seconds`, the shortest of them and the steps of the last epoch.
///
/// # Errors
/// As [`section`].
pub fn seconds(frames: &Frames) -> Result<DataFrame> {
    let rows = of_runs(frames, &frames.epochs, &["device", "threads"]);
    let by = columns(&cell_and(&["device", "threads"]));
    let wanted =
        [col("train_seconds"), col("train_seconds").min().alias("fastest"), col("steps").last()];
    rows.group_by_stable(by).agg(wanted).collect().map_err(failed)
}

/// Differences on the same seed and imbalance factor between any two cells, first minus second: one row
/// per pair of cells (the second's columns end in `_right`), with a list of differences by seed for each of
/// [`BY_SHOTS`].
///
/// # Errors
/// As [`section`].
pub fn differences(frames: &Frames) -> Result<DataFrame> {
    let measures = BY_SHOTS.map(|m| m.0);
    let runs = || {
        let wanted = columns(&[&cell_and(&["seed"])[..], &measures].concat());
        frames.runs.clone().lazy().select(wanted)
    };
    let same = [col("imbalance_factor"), col("seed")];
    let pairs = runs().join(runs(), same.clone(), same, in_order());
    let difference = measures.map(|m| (col(m) - col(format!("{m}_right"))).alias(m));
    let by = columns(&cell_and(&["method_right", "setting_right"]));
    pairs.group_by_stable(by).agg(difference).collect().map_err(failed)
}

/// `value` of all rows that have the same `by`, in each of them.
fn within(value: Expr, by: &[&str]) -> Result<Expr> {
    value.over(columns(by)).map_err(failed)
}

/// The rows of `features` of one quantity.
fn quantity(frames: &Frames, quantity: &str) -> LazyFrame {
    only(of_runs(frames, &frames.features, &[]), "quantity", quantity)
}

/// Mean similarity of pairs of one class: one row per cell and shot group (`part`).
///
/// # Errors
/// As [`section`].
pub fn similarity(frames: &Frames) -> Result<DataFrame> {
    over_seeds(quantity(frames, "similarity-mean"), &cell_and(&["part"]), &[], col("value"))
}

/// Pairs of one class by cosine, all seeds together: one row per cell, shot group (`part`) and `bin`, with
/// the bin's centre (`cosine`) and the `density` there. Runs measured with more bins than others are brought
/// to the fewest.
///
/// # Errors
/// As [`section`].
pub fn densities(frames: &Frames) -> Result<DataFrame> {
    let group = cell_and(&["part"]);
    // The whole part of a quotient: what divides without remainder.
    let place = || (col("index") - lit(1u64)) * col("fewest");
    let whole = (place() - place() % col("bins")).cast(DataType::Float64);
    let bin = whole / col("bins").cast(DataType::Float64);
    let rows = quantity(frames, "similarity-histogram")
        .with_column(within(col("index").max(), &["run", "part"])?.alias("bins"))
        .with_column(within(col("bins").min(), &group)?.alias("fewest"))
        .with_column(bin.alias("bin"));
    let bins = rows
        .group_by_stable(columns(&cell_and(&["part", "bin"])))
        .agg([col("value").sum(), col("fewest").first()]);
    let pairs = quantity(frames, "similarity-pairs").group_by_stable(columns(&group));
    let pairs = pairs.agg([col("value").sum().alias("pairs")]);
    let width = || lit(2.0) / col("fewest").cast(DataType::Float64);
    let some = when(col("pairs").lt(lit(1.0))).then(lit(1.0)).otherwise(col("pairs"));
    let both = bins.join(pairs, columns(&group), columns(&group), in_order()).with_columns([
        (lit(-1.0) + (col("bin") + lit(0.5)) * width()).alias("cosine"),
        (col("value") / (some * width())).alias("density"),
    ]);
    both.select(columns(&cell_and(&["part", "cosine", "density"]))).collect().map_err(failed)
}

/// Gradient of a key by its rank, mean over seeds: one row per cell, side (`part`) and rank (`index`). Seeds
/// with fewer keys than others are left out.
///
/// # Errors
/// As [`section`].
pub fn gradients(frames: &Frames) -> Result<DataFrame> {
    let rows = quantity(frames, "easy-gradient")
        .with_column(within(col("index").max(), &["run", "part"])?.alias("keys"))
        .with_column(within(col("keys").max(), &cell_and(&["part"]))?.alias("most"))
        .filter(col("keys").eq(col("most")));
    over_seeds(rows, &cell_and(&["part", "index"]), &[], col("value"))
}

/// Gradients of the keys of every run whose features were measured, by rank: one row per run, with its cell,
/// seed, what it was measured on, temperature, anchors, and the lists `positive` and `negative`.
///
/// # Errors
/// As [`section`].
pub fn gradients_of_runs(frames: &Frames) -> Result<DataFrame> {
    let is = |name: &str, wanted: &str| col(name).eq(lit(wanted.to_owned()));
    let one = |name: &str| col("value").filter(is("quantity", name)).first();
    let side = |part: &str| {
        let gradient = is("quantity", "easy-gradient").and(is("part", part));
        col("value").filter(gradient).alias(part)
    };
    let rows = of_runs(frames, &frames.features, &["seed", "measured_on"]);
    let wanted = [
        one("easy-temperature").alias("temperature"),
        one("easy-anchors").alias("anchors"),
        side("positive"),
        side("negative"),
    ];
    let by = columns(&cell_and(&["run", "seed", "measured_on"]));
    rows.group_by_stable(by).agg(wanted).collect().map_err(failed)
}

/// Keys of recipes that have several values, or none in some, among runs that are one by `by`.
fn differing(frames: &Frames, by: &[&str]) -> Result<BTreeSet<String>> {
    let rows = of_runs(frames, &frames.recipes, &[]).filter(col("sets_apart"));
    let values = rows
        .group_by_stable(columns(&[by, &["key"]].concat()))
        .agg([col("value").n_unique().alias("values"), len().alias("runs")])
        .with_column(within(col("runs").max(), by)?.alias("most"))
        .filter(col("values").gt(lit(1u32)).or(col("runs").lt(col("most"))));
    Ok(values.collect().map_err(failed)?.texts("key")?.into_iter().collect())
}

/// The values that the settings of a method stand for: `key`, `setting`, `value`, keys in their order; nothing
/// where no runs of a method differ in more than the seed.
///
/// # Errors
/// As [`section`].
pub fn settings(frames: &Frames) -> Result<DataFrame> {
    let keys: Vec<String> =
        differing(frames, &["imbalance_factor", "method"])?.into_iter().collect();
    let keys = df!("key" => keys).map_err(failed)?.lazy();
    let rows = of_runs(frames, &frames.recipes, &[]).select(columns(&["key", "setting", "value"]));
    let found = keys.join(rows, [col("key")], [col("key")], in_order());
    let by = columns(&["key", "setting"]);
    found.group_by_stable(by).agg([col("value").first()]).collect().map_err(failed)
}

/// Keys in which recipes at one imbalance factor differ, in their order: with more than the method in it, a
/// comparison is not one of methods alone.
///
/// # Errors
/// As [`section`].
pub fn unlike(frames: &Frames) -> Result<Vec<String>> {
    Ok(differing(frames, &["imbalance_factor"])?.into_iter().collect())
}
