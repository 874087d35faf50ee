//! From logits to the numbers of an evaluation. Plain arrays; libtorch has no part in it.

use ndarray::Array2;

use crate::{
    Error, Result,
    longtail::{ClassCounts, ShotGroup},
    run::{Evaluation, GroupAccuracy, ReliabilityBin},
};

/// Bins of the expected calibration error.
const ECE_BINS: usize = 15;

/// The bin b with b/15 < c <= (b+1)/15 of a confidence c, which is a float32 as the reference's is; the borders
/// are float64. So 1/3, rounded up to float32, lies above the border 5/15.
fn ece_bin(confidence: f64) -> usize {
    let upper = |b: usize| (b + 1) as f64 / ECE_BINS as f64;
    (0..ECE_BINS - 1).find(|&b| confidence <= upper(b)).unwrap_or(ECE_BINS - 1)
}

/// With more classes there is no confusion matrix: that of iNaturalist's 8142 would take half a gigabyte.
const CONFUSION_CLASSES: usize = 1000;

/// Adds up an evaluation batch by batch.
#[derive(Debug, Clone)]
pub struct Metrics {
    groups: Vec<ShotGroup>,
    /// Images and correct ones, by class.
    classes: Vec<(u64, u64)>,
    /// `confusion[true][predicted]`; empty beyond [`CONFUSION_CLASSES`].
    confusion: Vec<Vec<u64>>,
    top5: u64,
    bins: [(u64, f64, u64); ECE_BINS],
}

impl Metrics {
    /// For classes with these training counts (they decide the shot groups).
    pub fn new(counts: &ClassCounts) -> Self {
        let classes = counts.classes();
        Self {
            groups: counts.shot_groups(),
            classes: vec![(0, 0); classes],
            confusion: match classes {
                ..=CONFUSION_CLASSES => vec![vec![0; classes]; classes],
                _ => Vec::new(),
            },
            top5: 0,
            bins: [(0, 0.0, 0); ECE_BINS],
        }
    }

    /// Adds a batch: logits `[N, C]` without prior, labels `[N]`.
    ///
    /// # Errors
    /// [`Error::Input`] if shapes or labels do not fit; [`Error::Run`] if a logit is not finite.
    pub fn add(&mut self, logits: &Array2<f32>, labels: &[i64]) -> Result<()> {
        let classes = self.classes.len();
        if logits.dim() != (labels.len(), classes) {
            return Err(Error::input(format!(
                "evaluation: logits of {:?}, expected ({}, {classes})",
                logits.dim(),
                labels.len()
            )));
        }
        for (row, &label) in logits.rows().into_iter().zip(labels) {
            let label = usize::try_from(label).ok().filter(|&y| y < classes).ok_or_else(|| {
                Error::input(format!("evaluation: label {label} is outside 0..{classes}"))
            })?;
            if let Some((class, bad)) = row.iter().enumerate().find(|(_, v)| !v.is_finite()) {
                return Err(Error::run(format!(
                    "evaluation: the logit of class {class} is {bad} for a test image of class {label}; the network \
                     has diverged: try a lower rate (optim.lr; of stage 2 stage2.lr) or more optim.warmup-epochs"
                )));
            }
            self.add_one(row.iter().copied(), label);
        }
        Ok(())
    }

    fn add_one(&mut self, row: impl Iterator<Item = f32> + Clone, label: usize) {
        // The first of equal logits wins, as in the reference's argmax.
        let (predicted, top) = row
            .clone()
            .enumerate()
            .fold((0, f32::NEG_INFINITY), |best, (i, v)| if v > best.1 { (i, v) } else { best });
        let (images, correct) = &mut self.classes[label];
        *images += 1;
        *correct += u64::from(predicted == label);
        if let Some(row) = self.confusion.get_mut(label) {
            row[predicted] += 1;
        }
        let own = row.clone().nth(label).unwrap_or(f32::NEG_INFINITY);
        let ahead =
            row.clone().enumerate().filter(|&(i, v)| v > own || (v == own && i < label)).count();
        self.top5 += u64::from(ahead < 5);
        // The largest softmax value is 1 / sum exp(v - max).
        let confidence = f64::from(1.0 / row.map(|v| (v - top).exp()).sum::<f32>());
        let bin = ece_bin(confidence);
        let (count, sum, correct) = &mut self.bins[bin];
        *count += 1;
        *sum += confidence;
        *correct += u64::from(predicted == label);
    }

    /// The evaluation of everything added.
    ///
    /// # Errors
    /// [`Error::Input`] if nothing was added.
    pub fn finish(self) -> Result<Evaluation> {
        let images: u64 = self.classes.iter().map(|(images, _)| images).sum();
        if images == 0 {
            return Err(Error::input("evaluation: no test images"));
        }
        let correct: u64 = self.classes.iter().map(|(_, correct)| correct).sum();
        let share = |&(images, correct): &(u64, u64)| correct as f64 / images.max(1) as f64;
        let per_class: Vec<f64> = self.classes.iter().map(share).collect();
        let group = |g: ShotGroup| {
            // A class without test images has no accuracy that could enter a mean.
            let members: Vec<f64> = per_class
                .iter()
                .zip(&self.classes)
                .zip(&self.groups)
                .filter(|((_, (images, _)), of)| *images > 0 && **of == g)
                .map(|((a, _), _)| *a)
                .collect();
            (!members.is_empty()).then(|| members.iter().sum::<f64>() / members.len() as f64)
        };
        let reliability: Vec<ReliabilityBin> = self
            .bins
            .iter()
            .map(|&(count, sum, correct)| {
                let n = count.max(1) as f64;
                ReliabilityBin { count, confidence: sum / n, accuracy: correct as f64 / n }
            })
            .collect();
        let share = |b: &ReliabilityBin| b.count as f64 / images as f64;
        Ok(Evaluation {
            images,
            top1: correct as f64 / images as f64,
            top5: self.top5 as f64 / images as f64,
            groups: GroupAccuracy {
                many: group(ShotGroup::Many),
                medium: group(ShotGroup::Medium),
                few: group(ShotGroup::Few),
            },
            ece: reliability.iter().map(|b| share(b) * (b.accuracy - b.confidence).abs()).sum(),
            per_class,
            reliability,
            confusion: self.confusion,
        })
    }
}

#[cfg(test)]
mod tests {
    use ndarray::arr2;

    use super::*;

    #[test]
    fn a_small_evaluation_by_hand() {
        let counts = ClassCounts::new(vec![200, 50, 5]).unwrap();
        let mut metrics = Metrics::new(&counts);
        let logits = arr2(&[[2.0, 0.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 3.0], [5.0, 0.0, 0.0f32]]);
        metrics.add(&logits, &[0, 1, 2, 2]).unwrap();
        let e = metrics.finish().unwrap();
        assert_eq!((e.images, e.top1, e.top5), (4, 0.5, 1.0));
        assert_eq!(e.per_class, [1.0, 0.0, 0.5]);
        assert_eq!(
            (e.groups.many, e.groups.medium, e.groups.few),
            (Some(1.0), Some(0.0), Some(0.5))
        );
        assert_eq!(e.confusion, [[1, 0, 0], [1, 0, 0], [1, 0, 1]]);
        // Confidences: 0.787, 1/3 (as a float32 above the fifth bin's upper end), 0.909, 0.987.
        let conf = |v: f64| 1.0 / (1.0 + 2.0 * (-v).exp());
        let expected = ((1.0 - conf(2.0)) + 1.0 / 3.0 + (1.0 - conf(3.0)) + conf(5.0)) / 4.0;
        assert!((e.ece - expected).abs() < 1e-6, "{} {expected}", e.ece);
        assert_eq!((e.reliability[4].count, e.reliability[5].count), (0, 1));
    }

    #[test]
    fn borders_of_bins_are_float64_and_confidences_float32() {
        // numpy.digitize(numpy.float32(c), [b / 15 for b in range(16)], right=True) - 1
        for (c, bin, below) in [
            (1.0f32 / 15.0, 1, 0),
            (0.2, 3, 2),
            (1.0 / 3.0, 5, 4),
            (0.4, 6, 5),
            (0.6, 9, 8),
            (2.0 / 3.0, 10, 9),
            (0.8, 12, 11),
            (1.0, 14, 14),
            (1e-6, 0, 0),
        ] {
            assert_eq!(ece_bin(f64::from(c)), bin, "{c}");
            assert_eq!(ece_bin(f64::from(c.next_down())), below, "just below {c}");
        }
    }

    #[test]
    fn many_classes_have_no_confusion_matrix() {
        let counts = ClassCounts::new(vec![30; 1001]).unwrap();
        let mut metrics = Metrics::new(&counts);
        let mut logits = Array2::zeros((2, 1001));
        (logits[(0, 1000)], logits[(1, 3)]) = (1.0f32, 1.0);
        metrics.add(&logits, &[1000, 4]).unwrap();
        let e = metrics.finish().unwrap();
        assert!(e.confusion.is_empty());
        assert_eq!((e.images, e.top1, e.per_class[1000], e.per_class[4]), (2, 0.5, 1.0, 0.0));
        // Of the two classes that were tested.
        assert_eq!((e.groups.medium, e.groups.many), (Some(0.5), None));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let counts = ClassCounts::new(vec![2, 1]).unwrap();
        let mut m = Metrics::new(&counts);
        assert!(m.add(&arr2(&[[0.0, 1.0f32]]), &[2]).is_err());
        assert!(m.add(&arr2(&[[0.0f32]]), &[0]).is_err());
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            assert_eq!(m.add(&arr2(&[[0.0, bad]]), &[0]).unwrap_err().exit_code(), 1, "{bad}");
        }
        assert!(m.finish().is_err());
    }
}
