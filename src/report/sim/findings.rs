//! What an imbalance sweep shows, in words that follow from the intervals.

use crate::{
    contrast::LossForm,
    report::sim::{DualResults, SweepLine},
    sim::{Estimate, KeySource, Slope, Statistic, SweepAxis, SweepRow},
};
use std::cmp::Ordering;

/// How far an exponent may be from another and still be said to follow it.
const NEAR: f64 = 0.25;

/// An exponent with its interval, or "n/a".
pub(crate) fn exponent(e: Estimate) -> String {
    if e.mean.is_finite() {
        format!("{:.2} [{:.2}, {:.2}]", e.mean, e.low, e.high).replace('-', "−")
    } else {
        "n/a".into()
    }
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

const REMEDIES: [(&str, bool, KeySource, i32); 4] = [
    ("without a remedy", false, KeySource::Fifo, 2),
    ("with the class-balanced loss", true, KeySource::Fifo, 1),
    ("with the class-balanced queue", false, KeySource::ClassBalanced, 1),
    ("with both", true, KeySource::ClassBalanced, 0),
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

    fn square_law(&self) -> String {
        let ([pairs, ..], [out, inside, sum]) = (self.pairs, self.same_class);
        let title = match against(out, pairs.mean, NEAR) {
            Ordering::Less => "The square law is one of pair counts, not of this gradient.",
            Ordering::Equal => "The same-class gradient follows the number of its pairs here.",
            Ordering::Greater => {
                "The same-class gradient grows faster than the number of its pairs."
            }
        };
        format!(
            "* **{title}** The number of same-class pairs grows with exponent {}; the same-class gradient of the loss in use with \
             {} (heuristic: 2), of the mean inside the logarithm with {}, of the sum over positives with {}.\n",
            exponent(pairs),
            exponent(out),
            exponent(inside),
            exponent(sum),
        )
    }

    fn different_classes(&self) -> String {
        let of = |way: Ordering| {
            let is = |(e, r): &(&Slope, &(&str, bool, KeySource, i32))| {
                against(**e, f64::from(r.3), NEAR) == way
            };
            let named = self.siamese.iter().zip(&REMEDIES).filter(is).map(|(_, r)| r.0);
            named.collect::<Vec<_>>()
        };
        let (below, above) = (of(Ordering::Less), of(Ordering::Greater));
        let mut but = vec![];
        if !below.is_empty() {
            but.push(format!("falls short of the heuristic {}", below.join(" and ")));
        }
        if !above.is_empty() {
            but.push(format!("exceeds the heuristic {}", above.join(" and ")));
        }
        let title = if but.is_empty() {
            format!("Between different classes the heuristic holds to within {NEAR} at this stage.")
        } else {
            format!("Between different classes the gradient {}.", but.join(" and "))
        };
        let values: Vec<_> = self
            .siamese
            .iter()
            .zip(&REMEDIES)
            .map(|(e, (name, .., heuristic))| format!("{} {name} ({heuristic})", exponent(*e)))
            .collect();
        format!(
            "* **{title}** Anchor side times key side, the heuristic in brackets (to within {NEAR} counts as following it): {}.\n",
            values.join(", ")
        )
    }

    fn balanced_loss(&self) -> String {
        let [plain, loss, ..] = self.batch;
        let (title, so) = match against(loss, 0.0, 0.0) {
            Ordering::Less => (
                "The class-balanced loss alone overshoots.",
                "the tail's anchors then carry more gradient than the head's",
            ),
            Ordering::Equal => (
                "The class-balanced loss alone balances the batch level.",
                "head and tail are not told apart",
            ),
            Ordering::Greater => (
                "The class-balanced loss alone does not suffice.",
                "the head's anchors still carry more gradient than the tail's",
            ),
        };
        format!(
            "* **{title}** Batch level {} without a remedy (heuristic 1), {} with it (0): {so}.\n",
            exponent(plain),
            exponent(loss)
        )
    }

    fn balanced_queue(&self) -> String {
        let [plain, _, queue, both] = self.batch;
        let title = match told_apart(queue, plain) {
            Ordering::Less => "The class-balanced queue alone lowers the batch level",
            Ordering::Equal => "The class-balanced queue alone leaves the batch level where it was",
            Ordering::Greater => "The class-balanced queue alone raises the batch level",
        };
        format!(
            "* **{title}**, from {} to {}; with both remedies it is {}.\n",
            exponent(plain),
            exponent(queue),
            exponent(both)
        )
    }

    fn mining(&self) -> String {
        let [_, without, with] = self.pairs;
        let (title, why) = match told_apart(with, without) {
            Ordering::Less => ("Mining makes positive pairs more balanced.", ""),
            Ordering::Equal => {
                ("Mining as set here does not move the balance of positive pairs.", "")
            }
            Ordering::Greater => (
                "Mining makes positive pairs less balanced.",
                ", since the positives of the batch are not mined",
            ),
        };
        format!(
            "* **{title}** With a class-balanced queue the number of same-class pairs has exponent {} without mining and {} with \
             it{why}.\n",
            exponent(without),
            exponent(with)
        )
    }

    /// One bullet per finding; a finding about what was not measured is left out.
    fn bullets(&self) -> String {
        let known = |slopes: &[Slope]| slopes.iter().all(|e| e.mean.is_finite());
        let [of_pairs, of_batch, of_siamese] =
            [known(&self.pairs), known(&self.batch), known(&self.siamese)];
        let all = [
            (of_pairs && known(&self.same_class), self.square_law()),
            (of_siamese, self.different_classes()),
            (of_batch, self.balanced_loss()),
            (of_batch, self.balanced_queue()),
            (of_pairs, self.mining()),
        ];
        all.into_iter().filter_map(|(known, text)| known.then_some(text)).collect()
    }
}

/// The measured departures from the heuristic, in words with the numbers of this run.
pub(crate) fn findings(results: &DualResults) -> String {
    let imbalance = results.sweeps.iter().find(|(a, _)| *a == SweepAxis::Imbalance);
    let Some((_, rows)) = imbalance else { return String::new() };
    let bullets = Exponents::of(rows).bullets();
    if bullets.is_empty() {
        return String::new();
    }
    let p = results.setup.params();
    let why = if results.stages.len() > 1 { "Why is derived below.\n\n" } else { "" };
    format!(
        "## What it shows\n\nExponents of the imbalance factor (slopes of straight lines over the sweep, with their statistical 95 % \
         intervals) at κ = {}, T = {}:\n\n{bullets}\n{why}",
        p.concentration, p.temperature,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn the_words_follow_the_intervals() {
        let text = measured().bullets();
        for said in [
            "square law is one of pair counts",
            "the heuristic holds to within 0.25",
            "loss alone overshoots",
            "raises the batch level**, from 0.75 [0.74, 0.76] to 0.93",
            "Mining makes positive pairs less balanced",
        ] {
            assert!(text.contains(said), "{said}: {text}");
        }
        let other = Exponents {
            pairs: [1.15, 1.15, 1.15].map(slope),
            same_class: [1.2, 0.67, 1.69].map(slope),
            siamese: [1.2, 0.2, 1.4, 0.07].map(slope),
            batch: [0.75, 0.0, 0.755, -0.07].map(slope),
        };
        let text = other.bullets();
        for said in [
            "follows the number of its pairs here",
            "falls short of the heuristic without a remedy and with the class-balanced loss",
            "and exceeds the heuristic with the class-balanced queue",
            "loss alone balances the batch level",
            "leaves the batch level where it was",
            "does not move the balance of positive pairs",
        ] {
            assert!(text.contains(said), "{said}: {text}");
        }
        assert!(!text.contains("since the positives of the batch are not mined"));
        let last = Exponents {
            pairs: [1.0, 1.3, 1.1].map(slope),
            same_class: [1.5, 0.67, 1.69].map(slope),
            batch: [0.75, 0.1, 0.5, -0.07].map(slope),
            ..other
        };
        let text = last.bullets();
        for said in ["grows faster", "does not suffice", "lowers the batch level", "more balanced"]
        {
            assert!(text.contains(said), "{said}: {text}");
        }
    }

    #[test]
    fn nothing_is_said_of_what_was_not_measured() {
        let e = Exponents { siamese: [Slope::NONE; 4], ..measured() };
        assert!(!e.bullets().contains("different classes") && !e.bullets().contains("n/a"));
    }
}
