//! Sums of gradient mass between groups of classes.

use crate::contrast::LossForm;

/// Gradient mass of anchors of group g, means over its anchors, in units of 1/T: times P_g / T they
/// are sums over the anchors of a batch of |dL/ds|, L being the mean over the batch's anchors.
#[derive(Debug, Clone)]
pub(super) struct Masses {
    /// Positive part, absolute (G).
    pub(super) absolute: Vec<f64>,
    /// Positive part, signed, negated so that it is above zero (G).
    pub(super) net: Vec<f64>,
    /// Negative part by group of the keys (G x G, row by row).
    pub(super) negative: Vec<f64>,
}

impl Masses {
    pub(super) fn zeros(groups: usize) -> Self {
        let zeros = || vec![0.0; groups];
        Self { absolute: zeros(), net: zeros(), negative: vec![0.0; groups * groups] }
    }

    pub(super) fn add(&mut self, other: &Self) {
        for (a, b) in [
            (&mut self.absolute, &other.absolute),
            (&mut self.net, &other.net),
            (&mut self.negative, &other.negative),
        ] {
            for (a, b) in a.iter_mut().zip(b) {
                *a += b;
            }
        }
    }
}

/// All masses of one batch for one key source, with or without mining.
#[derive(Debug, Clone)]
pub(super) struct VariantMasses {
    /// By form (order of [`LossForm::ALL`]) and weighting (plain, class-balanced).
    pub(super) by_form: Vec<[Masses; 2]>,
    /// With respect to features (form out): every pair times sqrt(1 - s^2).
    pub(super) features: [Masses; 2],
    /// By weighting (form out): length of the anchor's gradient with respect to its feature, keys held
    /// constant (G), as it is and tangent to the sphere.
    pub(super) norms: [[Vec<f64>; 2]; 2],
    /// Number of positives per anchor (G).
    pub(super) positives: Vec<f64>,
}

impl VariantMasses {
    pub(super) fn zeros(groups: usize) -> Self {
        let pair = || [Masses::zeros(groups), Masses::zeros(groups)];
        Self {
            by_form: LossForm::ALL.iter().map(|_| pair()).collect(),
            features: pair(),
            norms: std::array::from_fn(|_| std::array::from_fn(|_| vec![0.0; groups])),
            positives: vec![0.0; groups],
        }
    }

    pub(super) fn add(&mut self, other: &Self) {
        let mine = self.by_form.iter_mut().chain(std::iter::once(&mut self.features)).flatten();
        let theirs = other.by_form.iter().chain(std::iter::once(&other.features)).flatten();
        mine.zip(theirs).for_each(|(a, b)| a.add(b));
        let mine = self.norms.as_flattened_mut().iter_mut().chain([&mut self.positives]);
        let theirs = other.norms.as_flattened().iter().chain([&other.positives]);
        for (mine, theirs) in mine.zip(theirs) {
            mine.iter_mut().zip(theirs).for_each(|(a, b)| *a += b);
        }
    }
}
