//! Head-to-tail ratios: what is compared, and how each follows from the gradient masses.

use super::masses::{Masses, VariantMasses};
use super::{ClassGroups, Estimate};
use serde::Serialize;

/// A ratio between the largest and the smallest class (or class-size bin, per class).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Statistic {
    /// Mass of all pairs of an anchor class: sum over keys of |dL/ds|.
    BatchLevel,
    /// Mass between anchors and keys of different classes, anchor side times key side: (mass of the
    /// head's anchors on the middle classes' keys) x (mass of the middle classes' anchors on the
    /// head's keys), over the same for the tail. In a product a_c b_c' it is a_1 b_1 / (a_C b_C).
    SiameseLevel,
    /// Mass between anchors and keys of one class, absolute.
    SameClass,
    /// The same with its sign: pairs that are pushed away count against those that are pulled.
    SameClassNet,
    /// Negative mass of an anchor class, over all keys.
    NegativeByAnchor,
    /// Negative mass of a key class, over all anchors.
    NegativeByKey,
    /// Same-class mass per positive pair.
    PerPositivePair,
    /// Number of same-class pairs.
    SameClassPairs,
    /// [`Self::BatchLevel`] with respect to features (each pair times sqrt(1 - s^2)).
    BatchLevelFeatures,
    /// [`Self::SameClass`] with respect to features.
    SameClassFeatures,
    /// Length of the whole gradient with respect to the anchor's feature, |dL/dz|, keys held
    /// constant: pairs that pull in opposite directions cancel.
    GradientNorm,
    /// The same of the part that is tangent to the sphere, which is what training follows.
    TangentNorm,
}

impl Statistic {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::BatchLevel,
        Self::SiameseLevel,
        Self::SameClass,
        Self::SameClassNet,
        Self::NegativeByAnchor,
        Self::NegativeByKey,
        Self::PerPositivePair,
        Self::SameClassPairs,
        Self::BatchLevelFeatures,
        Self::SameClassFeatures,
        Self::GradientNorm,
        Self::TangentNorm,
    ];

    /// A name for tables and files.
    pub fn name(self) -> &'static str {
        match self {
            Self::BatchLevel => "batch_level",
            Self::SiameseLevel => "siamese_level",
            Self::SameClass => "same_class",
            Self::SameClassNet => "same_class_net",
            Self::NegativeByAnchor => "negative_by_anchor",
            Self::NegativeByKey => "negative_by_key",
            Self::PerPositivePair => "per_positive_pair",
            Self::SameClassPairs => "same_class_pairs",
            Self::BatchLevelFeatures => "batch_level_features",
            Self::SameClassFeatures => "same_class_features",
            Self::GradientNorm => "gradient_norm",
            Self::TangentNorm => "gradient_norm_tangent",
        }
    }

    /// True if it is defined for the loss in use only (features, numbers of pairs).
    pub fn only_for_out(self) -> bool {
        matches!(
            self,
            Self::BatchLevelFeatures
                | Self::SameClassFeatures
                | Self::SameClassPairs
                | Self::GradientNorm
                | Self::TangentNorm
        )
    }

    /// Exponents of the components.
    fn signs(self) -> &'static [f64] {
        match self {
            Self::SiameseLevel | Self::PerPositivePair => &[1.0, -1.0, 1.0, -1.0],
            _ => &[1.0, -1.0],
        }
    }

    /// The components in one batch; none where the statistic is not defined.
    fn components(self, batch: &Batch<'_>) -> Vec<f64> {
        let (h, t) = (batch.groups.head(), batch.groups.tail());
        let both = |f: &dyn Fn(usize) -> f64| vec![f(h), f(t)];
        let (m, features) = (batch.masses, batch.features);
        match self {
            Self::BatchLevel => both(&|g| batch.anchor_total(m, g)),
            Self::BatchLevelFeatures => both(&|g| batch.anchor_total(features, g)),
            Self::SameClass => both(&|g| batch.per_class(g, m.absolute[g])),
            Self::SameClassFeatures => both(&|g| batch.per_class(g, features.absolute[g])),
            Self::SameClassNet => both(&|g| batch.per_class(g, m.net[g])),
            Self::NegativeByAnchor => both(&|g| batch.per_class(g, batch.row(g))),
            Self::NegativeByKey => both(&|g| batch.by_key(g, |_| true)),
            Self::GradientNorm => both(&|g| batch.per_class(g, batch.norms[0][g])),
            Self::TangentNorm => both(&|g| batch.per_class(g, batch.norms[1][g])),
            Self::SameClassPairs => both(&|g| batch.per_class(g, batch.positives[g])),
            Self::PerPositivePair => {
                let (mass, pairs) = (&m.absolute, batch.positives);
                vec![mass[h], mass[t], pairs[t], pairs[h]]
                    .into_iter()
                    .zip([h, t, t, h])
                    .map(|(v, g)| batch.per_class(g, v))
                    .collect()
            }
            Self::SiameseLevel if batch.groups.len() < 3 || h == t => vec![],
            Self::SiameseLevel => {
                let middle = |k: usize| k != h && k != t;
                let by_anchor = |g: usize| {
                    let row = m.negative[g * batch.groups.len()..].iter();
                    let row = row.take(batch.groups.len()).enumerate();
                    batch.per_class(g, row.filter(|(k, _)| middle(*k)).map(|(_, v)| v).sum())
                };
                vec![by_anchor(h), by_anchor(t), batch.by_key(h, middle), batch.by_key(t, middle)]
            }
        }
    }
}

/// One batch's masses of one cell.
struct Batch<'a> {
    groups: &'a ClassGroups,
    prior: &'a [f64],
    masses: &'a Masses,
    features: &'a Masses,
    norms: &'a [Vec<f64>; 2],
    positives: &'a [f64],
}

impl Batch<'_> {
    /// An anchor group's mean turned into its share of the batch's sum, per class of the group.
    fn per_class(&self, group: usize, mean: f64) -> f64 {
        self.prior[group] * mean / self.groups.members()[group].len() as f64
    }

    fn row(&self, group: usize) -> f64 {
        let n = self.groups.len();
        self.masses.negative[group * n..(group + 1) * n].iter().sum()
    }

    fn anchor_total(&self, masses: &Masses, group: usize) -> f64 {
        let n = self.groups.len();
        let negative: f64 = masses.negative[group * n..(group + 1) * n].iter().sum();
        self.per_class(group, masses.absolute[group] + negative)
    }

    /// Negative mass on the keys of a group, per class of it, from the anchors of some groups.
    fn by_key(&self, group: usize, anchors: impl Fn(usize) -> bool) -> f64 {
        let n = self.groups.len();
        let from = |g: usize| self.prior[g] * self.masses.negative[g * n + group];
        let sum: f64 = (0..n).filter(|&g| anchors(g)).map(from).sum();
        sum / self.groups.members()[group].len() as f64
    }
}

/// Components of every statistic for one cell, batch by batch.
#[derive(Debug, Clone)]
pub(super) struct Samples(Vec<Vec<Vec<f64>>>);

impl Samples {
    pub(super) fn new() -> Self {
        Self(Statistic::ALL.iter().map(|_| vec![]).collect())
    }

    /// Records one batch; `prior` is that of the groups.
    pub(super) fn push(
        &mut self,
        groups: &ClassGroups,
        prior: &[f64],
        masses: &VariantMasses,
        (form, weighting): (usize, usize),
    ) {
        let batch = Batch {
            groups,
            prior,
            masses: &masses.by_form[form][weighting],
            features: &masses.features[weighting],
            norms: &masses.norms[weighting],
            positives: &masses.positives,
        };
        for (statistic, rows) in Statistic::ALL.iter().zip(&mut self.0) {
            rows.push(statistic.components(&batch));
        }
    }

    pub(super) fn estimates(&self) -> Vec<(Statistic, Estimate)> {
        let estimate = |(s, rows): (&Statistic, &Vec<Vec<f64>>)| {
            let defined = rows.iter().all(|r| r.len() == s.signs().len());
            (*s, if defined { Estimate::of_ratio(rows, s.signs()) } else { Estimate::NONE })
        };
        Statistic::ALL.iter().zip(&self.0).map(estimate).collect()
    }
}
