use std::collections::BTreeMap;

use polars::prelude::*;

use super::{Arm, columns::failed, features::Rows, settings};
use crate::{
    Error, Result,
    longtail::{ClassOrder, ShotGroup},
    run::{
        DataSetId, EpochRecord, Evaluation, FeatureSample, ReliabilityBin, RescomModules,
        RunFeatures, RunRecord, Space,
    },
};

/// A finished run as its folder holds it.
#[derive(Debug, Clone, PartialEq)]
pub struct FinishedRun {
    /// `record.json`.
    pub record: RunRecord,
    /// `features.json` and `features.safetensors`, where they were measured.
    pub features: Option<RunFeatures>,
}

/// Finished runs as tables; [`schema`](super::schema) says what their columns are.
#[derive(Debug, Clone)]
pub struct Frames {
    /// One row a run, in the order of a report's tables.
    pub runs: DataFrame,
    /// One row an epoch.
    pub epochs: DataFrame,
    /// One row a class.
    pub classes: DataFrame,
    /// One row a true and a predicted class.
    pub confusion: DataFrame,
    /// One row a bin of confidence.
    pub reliability: DataFrame,
    /// One row a quantity of the trained features.
    pub features: DataFrame,
    /// One row a value of a recipe.
    pub recipes: DataFrame,
}

/// A run in its place: the order of tables, a name of its own, and its setting.
struct Placed<'a> {
    name: String,
    arm: Arm,
    run: &'a FinishedRun,
}

impl<'a> Placed<'a> {
    fn record(&self) -> &'a RunRecord {
        &self.run.record
    }

    fn place(&self) -> (DataSetId, ClassOrder, u64, &Arm, u64) {
        let recipe = &self.record().recipe;
        // A positive float's bits order as the float does.
        let factor = self.record().imbalance_factor().to_bits();
        (recipe.data.set, recipe.data.class_order, factor, &self.arm, recipe.run.seed)
    }
}

/// The runs in the order of tables.
fn placed(runs: &[FinishedRun]) -> Result<Vec<Placed<'_>>> {
    let mut sections: BTreeMap<_, Vec<&FinishedRun>> = BTreeMap::new();
    for run in runs {
        let data = &run.record.recipe.data;
        sections.entry((data.set, data.class_order)).or_default().push(run);
    }
    let mut all = Vec::with_capacity(runs.len());
    for section in sections.values() {
        let settings = settings::Settings::of(section.iter().map(|r| &r.record))?;
        for &run in section {
            let record = &run.record;
            let arm = Arm { method: record.method_label(), variant: settings.variant(record)? };
            all.push(Placed { name: record.id.clone(), arm, run });
        }
    }
    all.sort_by(|a, b| a.place().cmp(&b.place()));
    if let Some(twice) = all.windows(2).find(|w| w[0].place() == w[1].place()) {
        return Err(Error::input(format!(
            "runs {} and {} have the same recipe and the same seed; merge each run once",
            twice[0].name, twice[1].name
        )));
    }
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for run in &mut all {
        let times = seen.entry(run.name.clone()).or_default();
        *times += 1;
        if *times > 1 {
            run.name.push_str(&format!(" ({times})"));
        }
    }
    Ok(all)
}

/// The samples of test features by the run's name in the tables, of the runs that have one.
///
/// # Errors
/// As [`Frames::of`].
pub fn samples(runs: &[FinishedRun]) -> Result<BTreeMap<String, &FeatureSample>> {
    let mut all = BTreeMap::new();
    for Placed { name, run, .. } in placed(runs)? {
        all.extend(run.features.as_ref().map(|f| (name, &f.sample)));
    }
    Ok(all)
}

impl Frames {
    /// The tables of `runs`.
    ///
    /// # Errors
    /// [`Error::Input`] if two runs have the same recipe, seed and images: one of them is a copy.
    pub fn of(runs: &[FinishedRun]) -> Result<Self> {
        let runs = placed(runs)?;
        let mut features = Rows::default();
        for run in &runs {
            if let Some(found) = &run.run.features {
                features.summary(&run.name, &found.summary);
            }
        }
        Ok(Self {
            runs: runs_frame(&runs).map_err(failed)?,
            epochs: epochs(&runs).map_err(failed)?,
            classes: classes(&runs).map_err(failed)?,
            confusion: confusion(&runs).map_err(failed)?,
            reliability: reliability(&runs).map_err(failed)?,
            features: features.frame()?,
            recipes: recipes(&runs)?,
        })
    }

    /// Adds the places of `run`'s test images in a picture of their features: class and place of each.
    ///
    /// # Errors
    /// [`Error::Run`] if the rows do not fit the table.
    pub fn add_picture(&mut self, run: &str, places: &[(String, (f64, f64))]) -> Result<()> {
        let mut rows = Rows::default();
        for (image, (class, (x, y))) in (1..).zip(places) {
            rows.push(run, "tsne-x", (class, Some(image)), *x);
            rows.push(run, "tsne-y", (class, Some(image)), *y);
        }
        self.features.vstack_mut(&rows.frame()?).map_err(failed)?;
        Ok(())
    }

    /// Every table with its name, in the order of [`schema::TABLES`](super::schema::TABLES).
    pub fn tables(&self) -> [(&'static str, &DataFrame); 7] {
        [
            ("runs", &self.runs),
            ("epochs", &self.epochs),
            ("classes", &self.classes),
            ("confusion", &self.confusion),
            ("reliability", &self.reliability),
            ("features", &self.features),
            ("recipes", &self.recipes),
        ]
    }

    /// Every table as CSV and as Parquet: name of the file and its bytes.
    ///
    /// # Errors
    /// [`Error::Run`] if a table cannot be encoded.
    pub fn files(&self) -> Result<Vec<(String, Vec<u8>)>> {
        let mut files = Vec::new();
        for (name, frame) in self.tables() {
            let mut frame = frame.clone();
            let (mut csv, mut parquet) = (Vec::new(), Vec::new());
            CsvWriter::new(&mut csv).finish(&mut frame).map_err(failed)?;
            ParquetWriter::new(&mut parquet).finish(&mut frame).map_err(failed)?;
            files.push((format!("{name}.csv"), csv));
            files.push((format!("{name}.parquet"), parquet));
        }
        Ok(files)
    }
}

/// One entry a row.
fn column<R, T>(rows: &[R], value: impl Fn(&R) -> T) -> Vec<T> {
    rows.iter().map(value).collect()
}

fn images_name(record: &RunRecord) -> &'static str {
    match (record.is_synthetic(), record.is_unverified()) {
        (true, _) => "generated",
        (false, true) => "unverified",
        (false, false) => "published",
    }
}

/// Whether more than one epoch was tested on the whole test set.
fn best_chosen(record: &RunRecord) -> bool {
    let tests = record.epochs.iter().filter_map(|e| e.test.as_ref());
    tests.filter(|t| t.images == record.last.images).count() > 1
}

fn measured_on(run: &FinishedRun) -> Option<&'static str> {
    run.features.as_ref().map(|f| match f.summary.space {
        Space::Projection => "projection",
        Space::Encoder => "encoder",
    })
}

fn runs_frame(runs: &[Placed<'_>]) -> PolarsResult<DataFrame> {
    fn of<T>(runs: &[Placed<'_>], value: impl Fn(&RunRecord) -> T) -> Vec<T> {
        column(runs, |p| value(p.record()))
    }
    let module = |on: fn(RescomModules) -> bool| column(runs, |p| p.arm.modules().map(on));
    df!(
        "run" => column(runs, |p| p.name.clone()),
        "data_set" => of(runs, |r| r.recipe.data.set.name()),
        "images" => of(runs, images_name),
        "profile" => of(runs, |r| r.recipe.data.profile_name()),
        "class_order" => of(runs, |r| r.recipe.data.class_order.label()),
        "imbalance_factor" => of(runs, RunRecord::imbalance_factor),
        "method" => column(runs, |p| p.arm.method.to_string()),
        "setting" => column(runs, |p| p.arm.variant.clone()),
        "seed" => of(runs, |r| r.recipe.run.seed),
        "recipe" => of(runs, |r| r.recipe.name.clone()),
        "stage2" => of(runs, |r| r.stage2.is_some()),
        "loss" => module(|m| m.class_balanced_loss),
        "queue" => module(|m| m.class_balanced_queue),
        "mining" => module(|m| m.hard_pair_mining),
        "siamese" => module(|m| m.siamese_balanced_softmax),
        "arch" => of(runs, |r| r.recipe.model.arch.name()),
        "feature_dim" => of(runs, |r| r.recipe.model.arch.feature_dim() as u64),
        "epochs" => of(runs, |r| r.epochs.len() as u64),
        "batch_size" => of(runs, |r| r.recipe.optim.batch_size as u64),
        "views" => of(runs, |r| r.recipe.loss.views() as u64),
        "train_images" => of(runs, |r| r.counts.iter().sum::<u64>()),
        "test_images" => of(runs, |r| r.last.images),
        "top1" => of(runs, |r| r.last.top1),
        "top5" => of(runs, |r| r.last.top5),
        "many" => of(runs, |r| r.last.groups.many),
        "medium" => of(runs, |r| r.last.groups.medium),
        "few" => of(runs, |r| r.last.groups.few),
        "ece" => of(runs, |r| r.last.ece),
        "best_epoch" => of(runs, |r| r.best.epoch as u64),
        "best_top1" => of(runs, |r| r.best.test.top1),
        "best_chosen" => of(runs, best_chosen),
        "measured_on" => column(runs, |p| measured_on(p.run)),
        "seconds" => of(runs, |r| r.seconds),
        "device" => of(runs, |r| r.provenance.device.clone()),
        "threads" => of(runs, |r| r.provenance.torch_threads as u64),
        "version" => of(runs, |r| r.provenance.version.clone()),
        "commit" => of(runs, |r| r.provenance.commit.clone()),
        "libtorch" => of(runs, |r| r.provenance.libtorch.clone()),
        "data_sha256" => of(runs, |r| r.provenance.data_sha256.clone()),
        "subset_sha256" => of(runs, |r| r.provenance.subset_sha256.clone()),
    )
}

/// A run's name and one of the many things it has.
type Row<'a, T> = (&'a str, T);

/// All that `things` gives of each run, with its name.
fn rows<'r, 'a, T, I: IntoIterator<Item = T>>(
    runs: &'r [Placed<'a>],
    things: impl Fn(&'a RunRecord) -> I,
) -> Vec<Row<'r, T>> {
    let of = |p: &'r Placed<'a>| {
        let name = p.name.as_str();
        things(p.record()).into_iter().map(move |thing| (name, thing)).collect::<Vec<_>>()
    };
    runs.iter().flat_map(of).collect()
}

fn epochs(runs: &[Placed<'_>]) -> PolarsResult<DataFrame> {
    let rows = rows(runs, |r| r.epochs.iter().map(move |e| (r, e)));
    fn of<T>(
        rows: &[Row<'_, (&RunRecord, &EpochRecord)>],
        value: impl Fn(&EpochRecord) -> T,
    ) -> Vec<T> {
        column(rows, |(_, (_, e))| value(e))
    }
    let test = |value: fn(&Evaluation) -> f64| of(&rows, |e| e.test.as_ref().map(value));
    let group = |value: fn(&Evaluation) -> Option<f64>| of(&rows, |e| value(e.test.as_ref()?));
    let whole = |r: &RunRecord, e: &EpochRecord| Some(e.test.as_ref()?.images == r.last.images);
    df!(
        "run" => column(&rows, |(run, _)| *run),
        "epoch" => of(&rows, |e| e.epoch as u64),
        "lr" => of(&rows, |e| e.lr),
        "loss_cls" => of(&rows, |e| e.loss_cls),
        "loss_con" => of(&rows, |e| e.loss_con),
        "loss" => of(&rows, |e| e.loss),
        "grad_norm_mean" => of(&rows, |e| e.grad_norm.map(|g| g.mean)),
        "grad_norm_max" => of(&rows, |e| e.grad_norm.map(|g| g.max)),
        "steps" => of(&rows, |e| e.steps as u64),
        "train_seconds" => of(&rows, |e| e.train_seconds),
        "test_images" => of(&rows, |e| e.test.as_ref().map(|t| t.images)),
        "whole_test" => column(&rows, |(_, (r, e))| whole(r, e)),
        "test_top1" => test(|t| t.top1),
        "test_top5" => test(|t| t.top5),
        "test_many" => group(|t| t.groups.many),
        "test_medium" => group(|t| t.groups.medium),
        "test_few" => group(|t| t.groups.few),
        "test_ece" => test(|t| t.ece),
    )
}

fn classes(runs: &[Placed<'_>]) -> PolarsResult<DataFrame> {
    let all = |r: &RunRecord| r.class_names.len().min(r.counts.len());
    let rows = rows(runs, |r| (0..all(r)).map(move |class| (r, class)));
    df!(
        "run" => column(&rows, |(run, _)| *run),
        "class" => column(&rows, |(_, (_, class))| *class as u64),
        "name" => column(&rows, |(_, (r, class))| r.class_names[*class].clone()),
        "train_images" => column(&rows, |(_, (r, class))| r.counts[*class]),
        "shot_group" => column(&rows, |(_, (r, class))| ShotGroup::of(r.counts[*class]).name()),
        "accuracy" => column(&rows, |(_, (r, class))| r.last.per_class.get(*class).copied()),
    )
}

/// True and predicted class and how often, where that is not never.
fn confused(r: &RunRecord) -> impl Iterator<Item = [u64; 3]> {
    (0..).zip(&r.last.confusion).flat_map(|(to, row)| {
        (0..).zip(row).filter(|(_, n)| **n > 0).map(move |(from, n)| [to, from, *n])
    })
}

fn confusion(runs: &[Placed<'_>]) -> PolarsResult<DataFrame> {
    let rows = rows(runs, confused);
    df!(
        "run" => column(&rows, |(run, _)| *run),
        "true_class" => column(&rows, |(_, r)| r[0]),
        "predicted_class" => column(&rows, |(_, r)| r[1]),
        "test_images" => column(&rows, |(_, r)| r[2]),
    )
}

fn reliability(runs: &[Placed<'_>]) -> PolarsResult<DataFrame> {
    let rows: Vec<Row<'_, (u64, &ReliabilityBin)>> = rows(runs, |r| (1..).zip(&r.last.reliability));
    df!(
        "run" => column(&rows, |(run, _)| *run),
        "bin" => column(&rows, |(_, (bin, _))| *bin),
        "test_images" => column(&rows, |(_, (_, b))| b.count),
        "confidence" => column(&rows, |(_, (_, b))| b.confidence),
        "accuracy" => column(&rows, |(_, (_, b))| b.accuracy),
    )
}

fn recipes(runs: &[Placed<'_>]) -> Result<DataFrame> {
    let mut values = Vec::with_capacity(runs.len());
    for run in runs {
        values.push((run, settings::all_values(run.record())?));
    }
    let of = |(p, values): &(&Placed<'_>, BTreeMap<String, String>)| -> Vec<_> {
        let run = p.name.clone();
        let marks = &p.record().marks;
        let row = |(key, value): (&String, &String)| {
            let was = marks.replaced(key).map(|r| r.was.clone());
            let mark = marks.get(key).map(crate::run::Mark::name);
            (run.clone(), key.clone(), value.clone(), mark, was, settings::sets_apart(key))
        };
        values.iter().map(row).collect()
    };
    let rows: Vec<_> = values.iter().flat_map(of).collect();
    df!(
        "run" => column(&rows, |r| r.0.clone()),
        "key" => column(&rows, |r| r.1.clone()),
        "value" => column(&rows, |r| r.2.clone()),
        "mark" => column(&rows, |r| r.3),
        "was" => column(&rows, |r| r.4.clone()),
        "sets_apart" => column(&rows, |r| r.5),
    )
    .map_err(failed)
}
