//! What the tables and figures of one data set show: rows of the queries of [`crate::results`], cell by
//! cell.

use std::collections::{BTreeMap, BTreeSet};

use polars::prelude::DataFrame;

use crate::{
    Result,
    longtail::ClassOrder,
    report::published::{Published, published, published_name},
    results::{Arm, Columns as _, FinishedRun, Frames, Spread, query},
    run::DataSetId,
};

/// A class of a cell.
#[derive(Debug, Clone)]
pub(crate) struct ClassRow {
    pub(crate) name: String,
    pub(crate) train_images: u64,
    pub(crate) accuracy: Option<Spread>,
    /// Its accuracy with each seed.
    pub(crate) by_seed: Vec<f64>,
}

/// A bin of confidence, all seeds together.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bin {
    pub(crate) count: u64,
    pub(crate) confidence: f64,
    pub(crate) accuracy: f64,
    /// Lowest and highest accuracy among the seeds that have images there.
    pub(crate) seeds: Option<(f64, f64)>,
}

/// Seconds of training per epoch on one device with one number of threads.
#[derive(Debug, Clone)]
pub(crate) struct Seconds {
    pub(crate) device: String,
    pub(crate) threads: u64,
    pub(crate) all: Vec<f64>,
    pub(crate) fastest: f64,
    pub(crate) steps: u64,
}

/// A run whose features were measured.
#[derive(Debug, Clone)]
pub(crate) struct Measured {
    pub(crate) run: String,
    pub(crate) seed: u64,
    pub(crate) on_encoder: bool,
    pub(crate) temperature: f64,
    pub(crate) anchors: f64,
    /// Gradient of each positive, easiest first.
    pub(crate) positive: Vec<f64>,
    /// Gradient of each negative, hardest first.
    pub(crate) negative: Vec<f64>,
}

/// Places of a line: epoch or rank, and the spread there.
pub(crate) type Points = Vec<(f64, Spread)>;

/// The runs of one arm at one imbalance factor, over their seeds.
#[derive(Debug, Clone)]
pub(crate) struct Cell {
    /// Method and setting.
    pub(crate) arm: Arm,
    /// n_1 / n_C as asked for.
    pub(crate) imbalance_factor: f64,
    /// Seeds.
    pub(crate) seeds: usize,
    /// Whether the first run's images, and those of any run, are the ones that published numbers are about.
    pub(crate) published: bool,
    pub(crate) any_published: bool,
    pub(crate) arch: String,
    pub(crate) feature_dim: u64,
    pub(crate) epochs: u64,
    pub(crate) batch_size: u64,
    pub(crate) views: u64,
    pub(crate) train_images: u64,
    measures: BTreeMap<String, Spread>,
    /// Top-1 of the best epoch (chosen on test images); none if in some run the last epoch alone saw the
    /// whole test set, so that there was nothing to choose from.
    pub(crate) best_top1: Option<Spread>,
    /// In label order.
    pub(crate) classes: Vec<ClassRow>,
    /// Classification loss by epoch.
    pub(crate) losses: Points,
    /// Top-1 in percent by epoch, on a part of the test set and on all of it.
    pub(crate) tests_on_part: Points,
    pub(crate) tests_on_all: Points,
    /// Sizes of the evaluations after epochs, and whether that is the whole test set.
    pub(crate) test_sizes: Vec<(u64, bool)>,
    pub(crate) bins: Vec<Bin>,
    /// True class, predicted class, test images of all seeds.
    pub(crate) confusion: Vec<[u64; 3]>,
    pub(crate) seconds: Vec<Seconds>,
    /// Mean similarity of pairs of one class by shot group.
    pub(crate) similarity: BTreeMap<String, Spread>,
    /// Density of that similarity by shot group.
    pub(crate) densities: BTreeMap<String, Vec<(f64, f64)>>,
    /// Mean gradient by rank.
    pub(crate) positive: Points,
    pub(crate) negative: Points,
    /// The runs whose features were measured, by seed.
    pub(crate) measured: Vec<Measured>,
}

impl Cell {
    /// Spread over seeds of a number of the last epoch: `top1`, `many`, `medium`, `few`, `top5`, `ece`.
    pub(crate) fn last(&self, measure: &str) -> Option<Spread> {
        self.measures.get(measure).copied()
    }

    /// Training images per class, in label order.
    pub(crate) fn counts(&self) -> Vec<u64> {
        self.classes.iter().map(|c| c.train_images).collect()
    }
}

/// The cells of a section, in the order of the tables.
fn cells(frames: &Frames) -> Result<Vec<Cell>> {
    let found = query::cells(frames)?;
    let (places, arches) = (Places::of(&found)?, found.texts("arch")?);
    let (images, any) = (found.texts("images")?, found.flags("any_published")?);
    let count = |name: &str| -> Result<Vec<u64>> {
        Ok(found.counts(name)?.into_iter().map(Option::unwrap_or_default).collect())
    };
    let (seeds, widths, epochs) = (count("seeds")?, count("feature_dim")?, count("epochs")?);
    let (batches, views, train) = (count("batch_size")?, count("views")?, count("train_images")?);
    let cell = |(row, (factor, arm)): (usize, (f64, Arm))| Cell {
        arm,
        imbalance_factor: factor,
        seeds: seeds[row] as usize,
        published: images[row] == "published",
        any_published: any[row],
        arch: arches[row].clone(),
        feature_dim: widths[row],
        epochs: epochs[row],
        batch_size: batches[row],
        views: views[row],
        train_images: train[row],
        measures: BTreeMap::new(),
        best_top1: None,
        classes: Vec::new(),
        losses: Vec::new(),
        tests_on_part: Vec::new(),
        tests_on_all: Vec::new(),
        test_sizes: Vec::new(),
        bins: Vec::new(),
        confusion: Vec::new(),
        seconds: Vec::new(),
        similarity: BTreeMap::new(),
        densities: BTreeMap::new(),
        positive: Vec::new(),
        negative: Vec::new(),
        measured: Vec::new(),
    };
    let mut cells: Vec<Cell> = places.0.into_iter().enumerate().map(cell).collect();
    accuracies(frames, &mut cells)?;
    diagnoses(frames, &mut cells)?;
    epochs_of(frames, &mut cells)?;
    features(frames, &mut cells)?;
    Ok(cells)
}

/// Which cell each row of a query's answer is of.
struct Places(Vec<(f64, Arm)>);

impl Places {
    fn of(frame: &DataFrame) -> Result<Self> {
        Self::named(frame, "")
    }

    /// As [`of`](Self::of), with the columns of method and setting that end in `suffix`.
    fn named(frame: &DataFrame, suffix: &str) -> Result<Self> {
        let factors = frame.numbers("imbalance_factor")?;
        let methods = frame.texts(&format!("method{suffix}"))?;
        let variants = frame.texts(&format!("setting{suffix}"))?;
        let place = |((factor, method), variant): ((Option<f64>, String), String)| {
            Ok((factor.unwrap_or(1.0), Arm { method: method.parse()?, variant }))
        };
        factors.into_iter().zip(methods).zip(variants).map(place).collect::<Result<_>>().map(Self)
    }

    /// Gives each row to its cell.
    fn each(&self, cells: &mut [Cell], mut put: impl FnMut(&mut Cell, usize)) {
        for (row, (factor, arm)) in self.0.iter().enumerate() {
            let here = |c: &&mut Cell| c.imbalance_factor == *factor && c.arm == *arm;
            if let Some(cell) = cells.iter_mut().find(here) {
                put(cell, row);
            }
        }
    }
}

/// The columns `n`, `mean` and `sd`.
fn spreads(frame: &DataFrame) -> Result<Vec<Option<Spread>>> {
    let (n, mean, sd) = (frame.counts("n")?, frame.numbers("mean")?, frame.numbers("sd")?);
    let one = |((n, mean), sd): ((Option<u64>, Option<f64>), Option<f64>)| {
        Some(Spread { n: n? as usize, mean: mean?, sd })
    };
    Ok(n.into_iter().zip(mean).zip(sd).map(one).collect())
}

/// Puts each row of `frame`, a count in one of its columns and a spread, into its cell.
fn each_point(
    frame: &DataFrame,
    x: &str,
    cells: &mut [Cell],
    put: impl Fn(&mut Cell, usize, (f64, Spread)),
) -> Result<()> {
    let (at, spreads) = (frame.counts(x)?, spreads(frame)?);
    Places::of(frame)?.each(cells, |cell, row| {
        if let (Some(x), Some(spread)) = (at[row], spreads[row]) {
            put(cell, row, (x as f64, spread));
        }
    });
    Ok(())
}

fn accuracies(frames: &Frames, cells: &mut [Cell]) -> Result<()> {
    let found = query::measures(frames)?;
    let (measures, of) = (found.texts("measure")?, spreads(&found)?);
    Places::of(&found)?.each(cells, |cell, row| {
        cell.measures.extend(of[row].map(|s| (measures[row].clone(), s)));
    });
    let found = query::best(frames)?;
    let of = spreads(&found)?;
    Places::of(&found)?.each(cells, |cell, row| cell.best_top1 = of[row]);
    let found = query::classes(frames)?;
    let (names, counts) = (found.texts("name")?, found.counts("train_images")?);
    let (of, values) = (spreads(&found)?, found.lists("values")?);
    Places::of(&found)?.each(cells, |cell, row| {
        cell.classes.push(ClassRow {
            name: names[row].clone(),
            train_images: counts[row].unwrap_or_default(),
            accuracy: of[row],
            by_seed: values[row].clone(),
        });
    });
    Ok(())
}

fn diagnoses(frames: &Frames, cells: &mut [Cell]) -> Result<()> {
    let found = query::reliability(frames)?;
    let (counts, confidences) = (found.counts("test_images")?, found.numbers("confidence")?);
    let (right, low) = (found.numbers("accuracy")?, found.numbers("lowest_seed")?);
    let high = found.numbers("highest_seed")?;
    Places::of(&found)?.each(cells, |cell, row| {
        cell.bins.push(Bin {
            count: counts[row].unwrap_or_default(),
            confidence: confidences[row].unwrap_or_default(),
            accuracy: right[row].unwrap_or_default(),
            seeds: low[row].zip(high[row]),
        });
    });
    let found = query::confusion(frames)?;
    let of = |name: &str| found.counts(name);
    let (to, from, images) = (of("true_class")?, of("predicted_class")?, of("test_images")?);
    Places::of(&found)?.each(cells, |cell, row| {
        cell.confusion.push([to[row], from[row], images[row]].map(Option::unwrap_or_default));
    });
    Ok(())
}

fn epochs_of(frames: &Frames, cells: &mut [Cell]) -> Result<()> {
    each_point(&query::losses(frames)?, "epoch", cells, |cell, _, point| cell.losses.push(point))?;
    let found = query::tests(frames)?;
    let whole = found.flags("whole_test")?;
    each_point(&found, "epoch", cells, |cell, row, point| match whole[row] {
        true => cell.tests_on_all.push(point),
        false => cell.tests_on_part.push(point),
    })?;
    let found = query::test_sizes(frames)?;
    let (images, whole) = (found.counts("test_images")?, found.flags("whole_test")?);
    Places::of(&found)?.each(cells, |cell, row| {
        cell.test_sizes.extend(images[row].map(|n| (n, whole[row])));
    });
    let found = query::seconds(frames)?;
    let (devices, threads) = (found.texts("device")?, found.counts("threads")?);
    let (all, fastest) = (found.lists("train_seconds")?, found.numbers("fastest")?);
    let steps = found.counts("steps")?;
    Places::of(&found)?.each(cells, |cell, row| {
        cell.seconds.push(Seconds {
            device: devices[row].clone(),
            threads: threads[row].unwrap_or_default(),
            all: all[row].clone(),
            fastest: fastest[row].unwrap_or_default(),
            steps: steps[row].unwrap_or_default(),
        });
        cell.seconds.sort_by(|a, b| (&a.device, a.threads).cmp(&(&b.device, b.threads)));
    });
    Ok(())
}

fn features(frames: &Frames, cells: &mut [Cell]) -> Result<()> {
    let found = query::similarity(frames)?;
    let (groups, of) = (found.texts("part")?, spreads(&found)?);
    Places::of(&found)?.each(cells, |cell, row| {
        cell.similarity.extend(of[row].map(|s| (groups[row].clone(), s)));
    });
    let found = query::densities(frames)?;
    let (groups, cosines) = (found.texts("part")?, found.numbers("cosine")?);
    let densities = found.numbers("density")?;
    Places::of(&found)?.each(cells, |cell, row| {
        let bins = cell.densities.entry(groups[row].clone()).or_default();
        bins.extend(cosines[row].zip(densities[row]));
    });
    let found = query::gradients(frames)?;
    let sides = found.texts("part")?;
    each_point(&found, "index", cells, |cell, row, point| match sides[row].as_str() {
        "positive" => cell.positive.push(point),
        _ => cell.negative.push(point),
    })?;
    let found = query::gradients_of_runs(frames)?;
    let (runs, seeds) = (found.texts("run")?, found.counts("seed")?);
    let on = found.texts("measured_on")?;
    let (temperatures, anchors) = (found.numbers("temperature")?, found.numbers("anchors")?);
    let (positive, negative) = (found.lists("positive")?, found.lists("negative")?);
    Places::of(&found)?.each(cells, |cell, row| {
        cell.measured.push(Measured {
            run: runs[row].clone(),
            seed: seeds[row].unwrap_or_default(),
            on_encoder: on[row] == "encoder",
            temperature: temperatures[row].unwrap_or_default(),
            anchors: anchors[row].unwrap_or_default(),
            positive: positive[row].clone(),
            negative: negative[row].clone(),
        });
    });
    Ok(())
}

/// Differences by seed between two arms at one factor, first minus second.
#[derive(Debug, Clone)]
pub(crate) struct Differences {
    pub(crate) imbalance_factor: f64,
    pub(crate) arm: Arm,
    pub(crate) minus: Arm,
    /// One list for each of [`query::BY_SHOTS`].
    pub(crate) by_seed: Vec<Vec<f64>>,
}

fn differences(frames: &Frames) -> Result<Vec<Differences>> {
    let found = query::differences(frames)?;
    let (first, second) = (Places::of(&found)?, Places::named(&found, "_right")?);
    let columns: Vec<Vec<Vec<f64>>> =
        query::BY_SHOTS.iter().map(|m| found.lists(m.0)).collect::<Result<_>>()?;
    let rows = first.0.into_iter().zip(second.0).enumerate();
    let pairs = rows.map(|(row, ((imbalance_factor, arm), (_, minus)))| {
        let by_seed = columns.iter().map(|c| c[row].clone()).collect();
        Differences { imbalance_factor, arm, minus, by_seed }
    });
    Ok(pairs.collect())
}

/// The cells of one data set in one class order: what one table or figure shows.
#[derive(Debug, Clone)]
pub(crate) struct Group {
    /// Data set.
    pub(crate) set: DataSetId,
    /// Which class is the head.
    pub(crate) order: ClassOrder,
    /// Its runs as tables.
    pub(crate) frames: Frames,
    /// The cells: by factor, then by arm.
    pub(crate) cells: Vec<Cell>,
    /// Every cell against every other of its factor.
    pub(crate) differences: Vec<Differences>,
}

impl Group {
    /// All groups of `runs`, whose tables are `frames`.
    ///
    /// # Errors
    /// [`Error::Run`](crate::Error::Run) if a query does not fit the tables.
    pub(crate) fn all(runs: &[FinishedRun], frames: &Frames) -> Result<Vec<Self>> {
        let place = |r: &FinishedRun| (r.record.recipe.data.set, r.record.recipe.data.class_order);
        let sections: BTreeSet<_> = runs.iter().map(place).collect();
        let one = |(set, order): (DataSetId, ClassOrder)| {
            let frames = query::section(frames, set.name(), &order.label())?;
            let (cells, differences) = (cells(&frames)?, differences(&frames)?);
            Ok(Self { set, order, frames, cells, differences })
        };
        sections.into_iter().map(one).collect()
    }

    /// The factors, smallest first.
    pub(crate) fn factors(&self) -> Vec<f64> {
        let mut factors: Vec<f64> = self.cells.iter().map(|c| c.imbalance_factor).collect();
        factors.dedup();
        factors
    }

    /// The arms, simplest method first.
    pub(crate) fn arms(&self) -> Vec<Arm> {
        let mut arms: Vec<Arm> = self.cells.iter().map(|c| c.arm.clone()).collect();
        arms.sort();
        arms.dedup();
        arms
    }

    /// The cell of an arm at a factor.
    pub(crate) fn cell(&self, arm: &Arm, factor: f64) -> Option<&Cell> {
        self.cells.iter().find(|c| c.arm == *arm && c.imbalance_factor == factor)
    }

    /// What was published for the group's data set at its factors: nothing if all its images were
    /// generated or not compared with the published set.
    pub(crate) fn all_published(&self) -> Vec<Published> {
        if !self.any_published() {
            return Vec::new();
        }
        let here = |p: &Published| {
            let factor = p.imbalance_factor.is_none_or(|f| self.factors().contains(&f));
            p.set == self.set && factor
        };
        published().into_iter().filter(here).collect()
    }

    /// The number published for an arm's method, encoder and factor, if its runs used the published
    /// images ("resnext50" is published without its groups).
    pub(crate) fn published(&self, arm: &Arm, factor: f64) -> Option<Published> {
        let cell = self.cells.iter().find(|c| c.arm == *arm)?;
        let name = published_name(arm.method).filter(|_| cell.published)?;
        let same = |p: &Published| {
            let factor = p.imbalance_factor.is_none_or(|f| f == factor);
            factor && p.method == name && cell.arch.starts_with(&p.backbone)
        };
        self.all_published().into_iter().find(same)
    }

    /// Whether any run's images are those that published numbers are about.
    pub(crate) fn any_published(&self) -> bool {
        self.cells.iter().any(|c| c.any_published)
    }

    /// Whether cells have different numbers of seeds.
    pub(crate) fn uneven(&self) -> bool {
        self.cells.windows(2).any(|w| w[0].seeds != w[1].seeds)
    }

    /// The cells at a factor, simplest method first.
    pub(crate) fn at(&self, factor: f64) -> impl Iterator<Item = &Cell> {
        self.cells.iter().filter(move |c| c.imbalance_factor == factor)
    }
}
