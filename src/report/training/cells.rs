//! Runs of one configuration with different seeds become one cell of a table.

use std::collections::{BTreeMap, BTreeSet};

use crate::run::{ClassOrder, DataSetId, Evaluation, MethodLabel, RunRecord};

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

/// What the runs of a cell have in common.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CellKey {
    /// Data set.
    pub set: DataSetId,
    /// Which class is the head.
    pub order: ClassOrder,
    /// n_1 / n_C as asked for.
    pub imbalance_factor: f64,
    /// Method, with or without stage 2 of MiSLAS.
    pub method: MethodLabel,
}

impl CellKey {
    /// The cell that a record belongs to.
    pub fn of(record: &RunRecord) -> Self {
        let data = &record.recipe.data;
        Self {
            set: data.set,
            order: data.class_order,
            imbalance_factor: data.imbalance_factor,
            method: record.method_label(),
        }
    }
}

/// The runs of one configuration, by seed.
#[derive(Debug, Clone)]
pub struct Cell<'a> {
    /// Configuration.
    pub key: CellKey,
    /// Its runs, in the order of their seeds.
    pub runs: Vec<&'a RunRecord>,
}

impl Cell<'_> {
    /// Spread over seeds of a number of the last epoch's evaluation.
    pub fn last(&self, number: impl Fn(&Evaluation) -> Option<f64>) -> Option<Spread> {
        self.spread(|r| number(&r.last))
    }

    /// Spread over seeds of the best interim epoch's top-1 (chosen on test images).
    pub fn best_top1(&self) -> Option<Spread> {
        self.spread(|r| Some(r.best.test.top1))
    }

    /// Spread over seeds of any number of a run.
    pub fn spread(&self, number: impl Fn(&RunRecord) -> Option<f64>) -> Option<Spread> {
        let values: Vec<f64> = self.runs.iter().filter_map(|r| number(r)).collect();
        Spread::of(&values)
    }
}

/// Sorts records into cells: by data set, class order, factor, then method.
pub fn cells(records: &[RunRecord]) -> Vec<Cell<'_>> {
    let mut sorted: BTreeMap<_, Vec<&RunRecord>> = BTreeMap::new();
    for r in records {
        let k = CellKey::of(r);
        // A positive float's bits order as the float does.
        sorted.entry((k.set, k.order, k.imbalance_factor.to_bits(), k.method)).or_default().push(r);
    }
    sorted
        .into_values()
        .map(|mut runs| {
            runs.sort_by_key(|r| r.recipe.run.seed);
            Cell { key: CellKey::of(runs[0]), runs }
        })
        .collect()
}

/// The cells of one data set in one class order: what one table or plot shows.
#[derive(Debug, Clone)]
pub struct Group<'a> {
    /// Data set.
    pub set: DataSetId,
    /// Which class is the head.
    pub order: ClassOrder,
    /// The cells.
    pub cells: Vec<Cell<'a>>,
}

impl<'a> Group<'a> {
    /// All groups of `records`.
    pub fn all(records: &'a [RunRecord]) -> Vec<Self> {
        let mut groups: Vec<Self> = Vec::new();
        for cell in cells(records) {
            let (set, order) = (cell.key.set, cell.key.order);
            match groups.last_mut() {
                Some(g) if (g.set, g.order) == (set, order) => g.cells.push(cell),
                _ => groups.push(Self { set, order, cells: vec![cell] }),
            }
        }
        groups
    }

    /// The factors, smallest first.
    pub fn factors(&self) -> Vec<f64> {
        let bits: BTreeSet<u64> =
            self.cells.iter().map(|c| c.key.imbalance_factor.to_bits()).collect();
        bits.into_iter().map(f64::from_bits).collect()
    }

    /// The methods, simplest first.
    pub fn methods(&self) -> Vec<MethodLabel> {
        let set: BTreeSet<MethodLabel> = self.cells.iter().map(|c| c.key.method).collect();
        set.into_iter().collect()
    }

    /// The cell of a method at a factor.
    pub fn cell(&self, method: MethodLabel, factor: f64) -> Option<&Cell<'a>> {
        self.cells.iter().find(|c| c.key.method == method && c.key.imbalance_factor == factor)
    }
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
