//! What an imbalance sweep shows: the conditions and numbers of the words, which follow from the
//! intervals.

use crate::{
    contrast::LossForm,
    report::sim::{results::DualResults, sweep_line::SweepLine, words::exponent},
    sim::{KeySource, Slope, Statistic, SweepAxis, SweepRow},
};
use serde::Serialize;
use std::cmp::Ordering;

/// How far an exponent may be from another and still be said to follow it.
const NEAR: f64 = 0.25;

/// Where an exponent lies, as the template asks for it; neither below nor above is equal.
#[derive(Debug, Serialize)]
struct Place {
    below: bool,
    above: bool,
}

impl From<Ordering> for Place {
    fn from(order: Ordering) -> Self {
        Self { below: order.is_lt(), above: order.is_gt() }
    }
}

/// What the report says of the sweep; a finding is None where it was not measured.
#[derive(Debug, Serialize)]
pub(crate) struct Findings {
    square_law: Option<SquareLaw>,
    different_classes: Option<DifferentClasses>,
    balanced_loss: Option<Change>,
    balanced_queue: Option<BothRemedies>,
    mining: Option<Change>,
}

/// The same-class gradient against the number of its pairs, by form of the loss.
#[derive(Debug, Serialize)]
struct SquareLaw {
    is: Place,
    pairs: String,
    out: String,
    inside: String,
    sum: String,
}

/// The Siamese level by remedy: those below and above their heuristic by more than `room`.
#[derive(Debug, Serialize)]
struct DifferentClasses {
    room: String,
    below: Vec<&'static str>,
    above: Vec<&'static str>,
    exponents: Vec<RemedyExponent>,
}

#[derive(Debug, Serialize)]
struct RemedyExponent {
    exponent: String,
    remedy: &'static str,
    heuristic: i32,
}

/// An exponent without and with one remedy, and where the latter lies.
#[derive(Debug, Serialize)]
struct Change {
    is: Place,
    without: String,
    with: String,
}

impl Change {
    fn new(is: Ordering, without: Slope, with: Slope) -> Self {
        Self { is: is.into(), without: exponent(without), with: exponent(with) }
    }
}

/// A change by one remedy, and the exponent with both.
#[derive(Debug, Serialize)]
struct BothRemedies {
    #[serde(flatten)]
    change: Change,
    both: String,
}

/// Where an exponent lies, `room` around `reference` counting as equal: beyond it only if its whole
/// interval is.
fn against(e: Slope, reference: f64, room: f64) -> Ordering {
    if e.high < reference - room {
        Ordering::Less
    } else if e.low > reference + room {
        Ordering::Greater
    } else {
        Ordering::Equal
    }
}

/// Whether `a` lies above or below `b`: told apart only if their intervals do not overlap.
fn told_apart(a: Slope, b: Slope) -> Ordering {
    if a.high < b.low {
        Ordering::Less
    } else if a.low > b.high {
        Ordering::Greater
    } else {
        Ordering::Equal
    }
}

/// The exponents that the findings speak of; not finite where they were not measured.
#[derive(Debug, Clone, Copy)]
struct Exponents {
    /// Numbers of same-class pairs: FIFO queue, class-balanced queue, the latter with mining.
    pairs: [Slope; 3],
    /// Same-class gradient without a remedy: out, in, sum.
    same_class: [Slope; 3],
    /// No remedy, class-balanced loss, class-balanced queue, both.
    siamese: [Slope; 4],
    /// The same.
    batch: [Slope; 4],
}

/// Name in the template, weights of the loss, queue, heuristic exponent of the Siamese level.
type Remedy = (&'static str, bool, KeySource, i32);

const REMEDIES: [Remedy; 4] = [
    ("none", false, KeySource::Fifo, 2),
    ("loss", true, KeySource::Fifo, 1),
    ("queue", false, KeySource::ClassBalanced, 1),
    ("both", true, KeySource::ClassBalanced, 0),
];

impl Exponents {
    fn of(rows: &[SweepRow]) -> Self {
        let (out, fifo, balanced) = (LossForm::Out, KeySource::Fifo, KeySource::ClassBalanced);
        let plain = |form, source, statistic| SweepLine::plain(form, source, statistic);
        let pairs = plain(out, balanced, Statistic::SameClassPairs);
        let same = |form| plain(form, fifo, Statistic::SameClass).slope(rows);
        let by_remedy = |statistic| {
            REMEDIES.map(|(_, balanced_loss, source, _)| {
                SweepLine { balanced_loss, ..plain(out, source, statistic) }.slope(rows)
            })
        };
        Self {
            pairs: [
                plain(out, fifo, Statistic::SameClassPairs).slope(rows),
                pairs.slope(rows),
                SweepLine { mined: true, ..pairs }.slope(rows),
            ],
            same_class: [same(out), same(LossForm::In), same(LossForm::Sum)],
            siamese: by_remedy(Statistic::SiameseLevel),
            batch: by_remedy(Statistic::BatchLevel),
        }
    }

    fn square_law(&self) -> SquareLaw {
        let ([pairs, ..], [out, inside, sum]) = (self.pairs, self.same_class);
        SquareLaw {
            is: against(out, pairs.mean, NEAR).into(),
            pairs: exponent(pairs),
            out: exponent(out),
            inside: exponent(inside),
            sum: exponent(sum),
        }
    }

    fn different_classes(&self) -> DifferentClasses {
        let of = |way: Ordering| {
            let is = |(e, r): &(&Slope, &Remedy)| against(**e, f64::from(r.3), NEAR) == way;
            self.siamese.iter().zip(&REMEDIES).filter(is).map(|(_, r)| r.0).collect()
        };
        let one = |(e, (remedy, .., heuristic)): (&Slope, &Remedy)| RemedyExponent {
            exponent: exponent(*e),
            remedy,
            heuristic: *heuristic,
        };
        DifferentClasses {
            room: NEAR.to_string(),
            below: of(Ordering::Less),
            above: of(Ordering::Greater),
            exponents: self.siamese.iter().zip(&REMEDIES).map(one).collect(),
        }
    }

    fn balanced_loss(&self) -> Change {
        let [plain, loss, ..] = self.batch;
        Change::new(against(loss, 0.0, 0.0), plain, loss)
    }

    fn balanced_queue(&self) -> BothRemedies {
        let [plain, _, queue, both] = self.batch;
        let change = Change::new(told_apart(queue, plain), plain, queue);
        BothRemedies { change, both: exponent(both) }
    }

    fn mining(&self) -> Change {
        let [_, without, with] = self.pairs;
        Change::new(told_apart(with, without), without, with)
    }

    /// The findings; one about what was not measured is left out, and None if all are.
    fn findings(&self) -> Option<Findings> {
        let known = |slopes: &[Slope]| slopes.iter().all(|e| e.mean.is_finite());
        let [of_pairs, of_batch, of_siamese] =
            [known(&self.pairs), known(&self.batch), known(&self.siamese)];
        (of_pairs || of_batch || of_siamese).then(|| Findings {
            square_law: (of_pairs && known(&self.same_class)).then(|| self.square_law()),
            different_classes: of_siamese.then(|| self.different_classes()),
            balanced_loss: of_batch.then(|| self.balanced_loss()),
            balanced_queue: of_batch.then(|| self.balanced_queue()),
            mining: of_pairs.then(|| self.mining()),
        })
    }
}

/// The measured departures from the heuristic; None without a sweep of the imbalance.
pub(crate) fn findings(results: &DualResults) -> Option<Findings> {
    let (_, rows) = results.sweeps.iter().find(|(a, _)| *a == SweepAxis::Imbalance)?;
    Exponents::of(rows).findings()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{report::template::render, sim::Estimate};
    use serde_json::json;

    fn slope(mean: f64) -> Slope {
        Estimate { mean, low: mean - 0.01, high: mean + 0.01 }
    }

    fn measured() -> Exponents {
        Exponents {
            pairs: [1.89, 1.12, 1.37].map(slope),
            same_class: [0.81, 0.67, 1.69].map(slope),
            siamese: [1.77, 0.77, 1.07, 0.07].map(slope),
            batch: [0.75, -0.25, 0.93, -0.07].map(slope),
        }
    }

    /// The bullets as the report has them.
    fn text(exponents: &Exponents) -> String {
        render("dual-findings.md.j2", &json!({ "findings": exponents.findings() })).unwrap()
    }

    #[test]
    fn the_words_follow_the_intervals() {
        let seen = text(&measured());
        for said in [
            "square law is one of pair counts",
            "the heuristic holds to within 0.25",
            "loss alone overshoots",
            "raises the batch level**, from 0.75 [0.74, 0.76] to 0.93",
            "Mining makes positive pairs less balanced",
        ] {
            assert!(seen.contains(said), "{said}: {seen}");
        }
        let other = Exponents {
            pairs: [1.15, 1.15, 1.15].map(slope),
            same_class: [1.2, 0.67, 1.69].map(slope),
            siamese: [1.2, 0.2, 1.4, 0.07].map(slope),
            batch: [0.75, 0.0, 0.755, -0.07].map(slope),
        };
        let seen = text(&other);
        for said in [
            "follows the number of its pairs here",
            "falls short of the heuristic without a remedy and with the class-balanced loss",
            "and exceeds the heuristic with the class-balanced queue",
            "loss alone balances the batch level",
            "leaves the batch level where it was",
            "does not move the balance of positive pairs",
        ] {
            assert!(seen.contains(said), "{said}: {seen}");
        }
        assert!(!seen.contains("since the positives of the batch are not mined"));
        let last = Exponents {
            pairs: [1.0, 1.3, 1.1].map(slope),
            same_class: [1.5, 0.67, 1.69].map(slope),
            batch: [0.75, 0.1, 0.5, -0.07].map(slope),
            ..other
        };
        let seen = text(&last);
        for said in ["grows faster", "does not suffice", "lowers the batch level", "more balanced"]
        {
            assert!(seen.contains(said), "{said}: {seen}");
        }
    }

    #[test]
    fn nothing_is_said_of_what_was_not_measured() {
        let e = Exponents { siamese: [Slope::NONE; 4], ..measured() };
        let seen = text(&e);
        assert!(!seen.contains("different classes") && !seen.contains("n/a"));
        let nothing = Exponents {
            pairs: [Slope::NONE; 3],
            same_class: [Slope::NONE; 3],
            batch: [Slope::NONE; 4],
            ..e
        };
        assert!(nothing.findings().is_none());
    }
}
