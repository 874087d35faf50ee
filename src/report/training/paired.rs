//! Paired comparison of runs: what else could differ between two runs of one pair (data, class order,
//! factor, seed) is the same, so their difference says more than the difference of two means.

use serde::Serialize;
use statrs::distribution::{ContinuousCDF as _, StudentsT};

use crate::{
    longtail::ClassOrder,
    report::{Table, training::tables::factor_text},
    run::{DataSetId, Evaluation, MethodLabel, RunRecord},
};

/// Mean of paired differences over seeds, with its 95 % t-interval. Fractions, as in the records.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct PairedDifference {
    /// Pairs.
    pub n: usize,
    /// Mean difference.
    pub mean: f64,
    /// Ends of the interval; none for a single pair, whose spread is not known.
    pub interval: Option<(f64, f64)>,
}

impl PairedDifference {
    /// Of one difference per seed; none if there are none.
    pub fn of(differences: &[f64]) -> Option<Self> {
        let n = differences.len();
        if n == 0 {
            return None;
        }
        let mean = differences.iter().sum::<f64>() / n as f64;
        let squares: f64 = differences.iter().map(|d| (d - mean).powi(2)).sum();
        let interval = t_quantile(n - 1).map(|t| {
            let half = t * (squares / (n - 1) as f64 / n as f64).sqrt();
            (mean - half, mean + half)
        });
        Some(Self { n, mean, interval })
    }

    /// "+1.2 [-0.3, +2.7]" in points of percent; without the interval for a single pair.
    pub fn points(&self) -> String {
        let (mean, percent) = (100.0 * self.mean, |v: f64| 100.0 * v);
        match self.interval {
            Some((low, high)) => {
                format!("{mean:+.1} [{:+.1}, {:+.1}]", percent(low), percent(high))
            }
            None => format!("{mean:+.1}"),
        }
    }
}

/// The 97.5 % quantile of Student's t; none without a degree of freedom.
fn t_quantile(degrees: usize) -> Option<f64> {
    let t = StudentsT::new(0.0, 1.0, degrees as f64).ok()?;
    Some(t.inverse_cdf(0.975))
}

/// Second minus first, of the last epoch's evaluation on the whole test set.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Paired {
    /// Data set.
    pub set: DataSetId,
    /// Which class is the head.
    pub order: ClassOrder,
    /// n_1 / n_C as asked for.
    pub imbalance_factor: f64,
    /// Method of the first.
    pub first: String,
    /// Method of the second.
    pub second: String,
    /// Seeds that both have.
    pub seeds: Vec<u64>,
    /// Top-1.
    pub overall: Option<PairedDifference>,
    /// Mean over the classes with more than 100 training images.
    pub many: Option<PairedDifference>,
    /// 20 to 100.
    pub medium: Option<PairedDifference>,
    /// Fewer than 20.
    pub few: Option<PairedDifference>,
    /// Recipe keys in which a pair differs: key, value of the first, value of the second.
    pub recipe: Vec<(String, String, String)>,
}

type Setting = (DataSetId, ClassOrder, u64);

fn setting(r: &RunRecord) -> Setting {
    let d = &r.recipe.data;
    // A positive float's bits order as the float does.
    (d.set, d.class_order, r.imbalance_factor().to_bits())
}

/// A run of the first side and one of the second with the same data set, class order, factor and seed,
/// for every such pair of these methods, in order.
pub fn pairs<'a>(
    (first, a): (&'a [RunRecord], MethodLabel),
    (second, b): (&'a [RunRecord], MethodLabel),
) -> Vec<(&'a RunRecord, &'a RunRecord)> {
    let key = |r: &RunRecord| (setting(r), r.recipe.run.seed);
    let of = |runs: &'a [RunRecord], label: MethodLabel| {
        runs.iter().filter(move |r| r.method_label() == label)
    };
    let partner = |r: &RunRecord| of(second, b).find(|s| key(s) == key(r));
    let mut found: Vec<_> = of(first, a).filter_map(|r| Some((r, partner(r)?))).collect();
    found.sort_by_key(|(r, _)| key(r));
    found
}

/// One comparison per data set, class order and factor that both methods have runs of.
pub fn paired(
    first: (&[RunRecord], MethodLabel),
    second: (&[RunRecord], MethodLabel),
) -> Vec<Paired> {
    let found = pairs(first, second);
    found.chunk_by(|x, y| setting(x.0) == setting(y.0)).map(one).collect()
}

fn one(pairs: &[(&RunRecord, &RunRecord)]) -> Paired {
    let (a, b) = pairs[0];
    let difference = |number: &dyn Fn(&Evaluation) -> Option<f64>| {
        let each = pairs.iter().map(|(a, b)| Some(number(&b.last)? - number(&a.last)?));
        PairedDifference::of(&each.collect::<Option<Vec<f64>>>()?)
    };
    let mut recipe: Vec<(String, String, String)> = Vec::new();
    for (a, b) in pairs {
        for change in a.recipe.differences(&b.recipe).unwrap_or_default() {
            if !recipe.contains(&change) {
                recipe.push(change);
            }
        }
    }
    Paired {
        set: a.recipe.data.set,
        order: a.recipe.data.class_order,
        imbalance_factor: a.imbalance_factor(),
        first: a.method_label().to_string(),
        second: b.method_label().to_string(),
        seeds: pairs.iter().map(|(a, _)| a.recipe.run.seed).collect(),
        overall: difference(&|e| Some(e.top1)),
        many: difference(&|e| e.groups.many),
        medium: difference(&|e| e.groups.medium),
        few: difference(&|e| e.groups.few),
        recipe,
    }
}

/// One row per comparison; differences in points of percent with their 95 % t-intervals.
pub fn paired_table(comparisons: &[Paired]) -> Table {
    let mut table = Table::new([
        "data set",
        "order",
        "imb",
        "second - first",
        "seeds",
        "overall",
        "many",
        "medium",
        "few",
    ]);
    let points = |d: &Option<PairedDifference>| d.map_or_else(|| "–".to_owned(), |d| d.points());
    for c in comparisons {
        table.push([
            c.set.name().to_owned(),
            c.order.label(),
            factor_text(c.imbalance_factor),
            format!("{} - {}", c.second, c.first),
            c.seeds.len().to_string(),
            points(&c.overall),
            points(&c.many),
            points(&c.medium),
            points(&c.few),
        ]);
    }
    table
}

/// The first number in which two records of what should be the same computation differ, in words:
/// subset, then epoch by epoch rate, losses and evaluation, then the last and the best evaluation. Times,
/// provenance and recipe are not compared.
pub fn first_difference(a: &RunRecord, b: &RunRecord) -> Option<String> {
    if a.counts != b.counts {
        return Some("training images per class".into());
    }
    for (x, y) in a.epochs.iter().zip(&b.epochs) {
        let epoch = x.epoch;
        for (what, x, y) in [
            ("epoch", x.epoch as f64, y.epoch as f64),
            ("steps", x.steps as f64, y.steps as f64),
            ("lr", x.lr, y.lr),
            ("loss_cls", x.loss_cls, y.loss_cls),
            ("loss_con", x.loss_con, y.loss_con),
            ("loss", x.loss, y.loss),
        ] {
            if x != y {
                return Some(format!("epoch {epoch}: {what} {x} and {y}"));
            }
        }
        let found = match (&x.test, &y.test) {
            (None, None) => None,
            (Some(x), Some(y)) => evaluations(x, y),
            _ => Some("one has a test evaluation, the other none".into()),
        };
        if let Some(found) = found {
            return Some(format!("epoch {epoch}: {found}"));
        }
    }
    if a.epochs.len() != b.epochs.len() {
        return Some(format!("{} and {} epochs", a.epochs.len(), b.epochs.len()));
    }
    if let Some(found) = evaluations(&a.last, &b.last) {
        return Some(format!("last evaluation: {found}"));
    }
    if a.best.epoch != b.best.epoch {
        return Some(format!("best epoch: {} and {}", a.best.epoch, b.best.epoch));
    }
    evaluations(&a.best.test, &b.best.test).map(|found| format!("best evaluation: {found}"))
}

fn evaluations(a: &Evaluation, b: &Evaluation) -> Option<String> {
    if a == b {
        return None;
    }
    for (what, x, y) in [
        ("images", a.images as f64, b.images as f64),
        ("top1", a.top1, b.top1),
        ("top5", a.top5, b.top5),
        ("ece", a.ece, b.ece),
    ] {
        if x != y {
            return Some(format!("{what} {x} and {y}"));
        }
    }
    let class = a.per_class.iter().zip(&b.per_class).position(|(x, y)| x != y);
    Some(match class {
        Some(c) => format!("class {c}: accuracy {} and {}", a.per_class[c], b.per_class[c]),
        None => "groups, reliability bins or confusion matrix".into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_the_tables() {
        for (degrees, expected) in
            [(1, 12.706_205), (2, 4.302_653), (4, 2.776_445), (9, 2.262_157), (29, 2.045_230)]
        {
            let t = t_quantile(degrees).unwrap();
            assert!((t - expected).abs() < 1e-5, "{degrees}: {t}");
        }
        assert_eq!(t_quantile(0), None);
    }

    #[test]
    fn a_difference_by_hand() {
        let d = PairedDifference::of(&[0.01, 0.02, 0.03]).unwrap();
        assert!((d.mean - 0.02).abs() < 1e-12);
        // sd 0.01, so half a width of 4.302653 * 0.01 / sqrt(3).
        let (low, high) = d.interval.unwrap();
        assert!((high - low - 2.0 * 4.302_653 * 0.01 / 3f64.sqrt()).abs() < 1e-7);
        assert_eq!(d.points(), "+2.0 [-0.5, +4.5]");
        let one = PairedDifference::of(&[-0.015]).unwrap();
        assert_eq!((one.interval, one.points().as_str()), (None, "-1.5"));
        assert_eq!(PairedDifference::of(&[]), None);
    }
}
