//! Runs of one configuration with different seeds become one cell of a table.

use std::{cmp::Ordering, collections::BTreeMap, fmt};

use crate::{
    Error, Result,
    longtail::ClassOrder,
    report::{
        published::{Published, published, published_name},
        training::settings::Settings,
    },
    run::{DataSetId, Evaluation, Method, MethodLabel, RescomModules, RunFeatures, RunRecord},
};

/// A finished run as its folder holds it.
#[derive(Debug, Clone, PartialEq)]
pub struct FinishedRun {
    /// `record.json`.
    pub record: RunRecord,
    /// `features.json` and `features.safetensors`, where they were measured.
    pub features: Option<RunFeatures>,
}

/// Mean and spread over seeds. Fractions, as in the records.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Spread {
    /// Seeds.
    pub n: usize,
    /// Mean.
    pub mean: f64,
    /// Sample standard deviation (n - 1); none for a single seed.
    pub sd: Option<f64>,
}

impl Spread {
    /// Of `values`; none if there are none.
    pub fn of(values: &[f64]) -> Option<Self> {
        if values.is_empty() {
            return None;
        }
        let n = values.len();
        let mean = values.iter().sum::<f64>() / n as f64;
        let squares = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>();
        Some(Self { n, mean, sd: (n > 1).then(|| (squares / (n - 1) as f64).sqrt()) })
    }

    /// "84.9 ± 0.3" in percent; without a spread for one seed.
    pub fn percent(&self) -> String {
        match self.sd {
            Some(sd) => format!("{:.1} ± {:.1}", 100.0 * self.mean, 100.0 * sd),
            None => format!("{:.1}", 100.0 * self.mean),
        }
    }
}

/// What a row of a table or a series of a figure shows: a method, and the setting it was trained
/// with where the runs of that method have several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arm {
    /// Method, with or without stage 2 of MiSLAS.
    pub method: MethodLabel,
    /// What tells it from the method's other arms ("T = 0.1", "setting B"); empty if there are none.
    pub variant: String,
}

impl fmt::Display for Arm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.variant.is_empty() {
            return self.method.fmt(f);
        }
        write!(f, "{} [{}]", self.method, self.variant)
    }
}

/// The order of rows: methods from simple to full, then ResCom's ablations, those with most modules
/// first, then runs with a second stage.
impl Ord for Arm {
    fn cmp(&self, other: &Self) -> Ordering {
        let place = |a: &Self| (a.method.stage2, a.modules().map(|m| m.off().len()));
        let same = (self.method, &self.variant).cmp(&(other.method, &other.variant));
        place(self).cmp(&place(other)).then(same)
    }
}

impl PartialOrd for Arm {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Arm {
    /// Cross-entropy or Balanced Softmax without a second stage: what others are measured against.
    pub fn is_baseline(&self) -> bool {
        let plain = matches!(self.method.method, Method::CrossEntropy | Method::BalancedSoftmax);
        plain && !self.method.stage2
    }

    /// ResCom or one of its ablations, without a second stage.
    pub fn modules(&self) -> Option<RescomModules> {
        match self.method {
            MethodLabel { method: Method::Rescom(modules), stage2: false, .. } => Some(modules),
            _ => None,
        }
    }

    /// ResCom with all its modules.
    pub fn is_rescom(&self) -> bool {
        self.modules() == Some(RescomModules::ALL)
    }
}

/// The runs of one arm at one imbalance factor, by seed.
#[derive(Debug, Clone)]
pub struct Cell<'a> {
    /// Method and setting.
    pub arm: Arm,
    /// n_1 / n_C as asked for.
    pub imbalance_factor: f64,
    /// Its runs, in the order of their seeds.
    pub runs: Vec<&'a RunRecord>,
    /// What the runs' features look like, with their seeds, of those that measured them.
    pub features: Vec<(u64, &'a RunFeatures)>,
}

impl Cell<'_> {
    /// Spread over seeds of a number of the last epoch's evaluation.
    pub fn last(&self, number: impl Fn(&Evaluation) -> Option<f64>) -> Option<Spread> {
        self.spread(|r| number(&r.last))
    }

    /// Spread over seeds of the best epoch's top-1 (chosen on test images); none if in some run the
    /// last epoch alone saw the whole test set, so that there was nothing to choose from.
    pub fn best_top1(&self) -> Option<Spread> {
        let chosen = |r: &&RunRecord| {
            let tests = r.epochs.iter().filter_map(|e| e.test.as_ref());
            tests.filter(|t| t.images == r.last.images).count() > 1
        };
        self.runs.iter().all(chosen).then(|| self.spread(|r| Some(r.best.test.top1)))?
    }

    /// Spread over seeds of any number of a run.
    pub fn spread(&self, number: impl Fn(&RunRecord) -> Option<f64>) -> Option<Spread> {
        let values: Vec<f64> = self.runs.iter().filter_map(|r| number(r)).collect();
        Spread::of(&values)
    }
}

/// The cells of one data set in one class order: what one table or figure shows.
#[derive(Debug, Clone)]
pub struct Group<'a> {
    /// Data set.
    pub set: DataSetId,
    /// Which class is the head.
    pub order: ClassOrder,
    /// In which settings its runs were trained.
    pub settings: Settings,
    /// The cells: by factor, then by arm.
    pub cells: Vec<Cell<'a>>,
}

impl<'a> Group<'a> {
    /// All groups of `runs`. Runs are averaged only if their recipes differ in nothing but the seed.
    ///
    /// # Errors
    /// [`Error::Input`] if two runs have the same recipe, seed and images: one of them is a copy.
    pub fn all(runs: &'a [FinishedRun]) -> Result<Vec<Self>> {
        let mut sorted: BTreeMap<_, Vec<&FinishedRun>> = BTreeMap::new();
        for run in runs {
            let data = &run.record.recipe.data;
            sorted.entry((data.set, data.class_order)).or_default().push(run);
        }
        sorted.into_iter().map(|((set, order), runs)| Self::new(set, order, &runs)).collect()
    }

    fn new(set: DataSetId, order: ClassOrder, runs: &[&'a FinishedRun]) -> Result<Self> {
        let settings = Settings::of(runs.iter().map(|r| &r.record))?;
        let mut sorted: BTreeMap<_, Vec<&'a FinishedRun>> = BTreeMap::new();
        for &run in runs {
            let arm =
                Arm { method: run.record.method_label(), variant: settings.variant(&run.record)? };
            // A positive float's bits order as the float does.
            let factor = run.record.imbalance_factor().to_bits();
            sorted.entry((factor, arm)).or_default().push(run);
        }
        let cells = sorted.into_iter().map(|((factor, arm), mut runs)| {
            runs.sort_by_key(|r| r.record.recipe.run.seed);
            let seed = |r: &FinishedRun| r.record.recipe.run.seed;
            if let Some(twice) = runs.windows(2).find(|w| seed(w[0]) == seed(w[1])) {
                return Err(Error::input(format!(
                    "runs {} and {} have the same recipe and the same seed; merge each run once",
                    twice[0].record.id, twice[1].record.id
                )));
            }
            Ok(Cell {
                arm,
                imbalance_factor: f64::from_bits(factor),
                features: runs
                    .iter()
                    .filter_map(|r| Some((seed(r), r.features.as_ref()?)))
                    .collect(),
                runs: runs.into_iter().map(|r| &r.record).collect(),
            })
        });
        let cells = cells.collect::<Result<_>>()?;
        Ok(Self { set, order, settings, cells })
    }

    /// The factors, smallest first.
    pub fn factors(&self) -> Vec<f64> {
        let mut factors: Vec<f64> = self.cells.iter().map(|c| c.imbalance_factor).collect();
        factors.dedup();
        factors
    }

    /// The arms, simplest method first.
    pub fn arms(&self) -> Vec<Arm> {
        let mut arms: Vec<Arm> = self.cells.iter().map(|c| c.arm.clone()).collect();
        arms.sort();
        arms.dedup();
        arms
    }

    /// The cell of an arm at a factor.
    pub fn cell(&self, arm: &Arm, factor: f64) -> Option<&Cell<'a>> {
        self.cells.iter().find(|c| c.arm == *arm && c.imbalance_factor == factor)
    }

    /// What was published for the group's data set at its factors: nothing if all its images were
    /// generated or not compared with the published set.
    pub fn all_published(&self) -> Vec<Published> {
        if !self.runs().any(is_published_set) {
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
    pub fn published(&self, arm: &Arm, factor: f64) -> Option<Published> {
        let run = self.cells.iter().find(|c| c.arm == *arm).and_then(|c| c.runs.first())?;
        let name = published_name(arm.method).filter(|_| is_published_set(run))?;
        let arch = run.recipe.model.arch.name();
        let same = |p: &Published| {
            let factor = p.imbalance_factor.is_none_or(|f| f == factor);
            factor && p.method == name && arch.starts_with(&p.backbone)
        };
        self.all_published().into_iter().find(same)
    }

    /// Whether cells have different numbers of seeds.
    pub fn uneven(&self) -> bool {
        self.cells.windows(2).any(|w| w[0].runs.len() != w[1].runs.len())
    }

    /// The cells at a factor, simplest method first.
    pub fn at(&self, factor: f64) -> impl Iterator<Item = &Cell<'a>> {
        self.cells.iter().filter(move |c| c.imbalance_factor == factor)
    }

    /// All runs.
    pub fn runs(&self) -> impl Iterator<Item = &'a RunRecord> {
        self.cells.iter().flat_map(|c| c.runs.iter().copied())
    }
}

/// Whether a run's images are those that published numbers are about.
pub(crate) fn is_published_set(run: &RunRecord) -> bool {
    !run.is_synthetic() && !run.is_unverified()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spread_is_the_sample_standard_deviation() {
        let s = Spread::of(&[0.5, 0.6, 0.7]).unwrap();
        assert!((s.mean - 0.6).abs() < 1e-12 && (s.sd.unwrap() - 0.1).abs() < 1e-12);
        assert_eq!(s.percent(), "60.0 ± 10.0");
        assert_eq!(Spread::of(&[0.5]).unwrap().percent(), "50.0");
        assert_eq!(Spread::of(&[]), None);
    }
}
