use super::ClassCounts;
use crate::{Error, Result};

/// beta_imb = n_max / n_min >= 1 (`--imb 100`; the reference code writes its inverse, 0.01).
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct ImbalanceFactor {
    factor: f64,
    /// Kept beside it: 1 / (1 / mu) is not mu for every mu, and counts are truncated products with it.
    mu: f64,
}

impl ImbalanceFactor {
    /// # Errors
    /// [`Error::Input`] unless `value` is finite and at least 1.
    pub fn new(value: f64) -> Result<Self> {
        if value.is_finite() && value >= 1.0 {
            Ok(Self { factor: value, mu: 1.0 / value })
        } else {
            Err(Error::input(format!(
                "imbalance factor {value}: expected n_max/n_min, a number of at least 1 (100, not 0.01)"
            )))
        }
    }

    /// From mu = n_min / n_max, as the reference code writes it.
    ///
    /// # Errors
    /// [`Error::Input`] unless 0 < `mu` <= 1.
    pub fn from_mu(mu: f64) -> Result<Self> {
        if mu > 0.0 && mu <= 1.0 {
            Ok(Self { factor: 1.0 / mu, mu })
        } else {
            Err(Error::input(format!(
                "mu {mu}: expected n_min/n_max, a number above 0 and at most 1"
            )))
        }
    }

    /// The factor, at least 1.
    pub fn get(self) -> f64 {
        self.factor
    }

    /// Its inverse, n_min / n_max.
    pub fn mu(self) -> f64 {
        self.mu
    }
}

/// How class counts fall from the head to the tail.
#[derive(Debug, Clone, PartialEq)]
pub enum LongTailProfile {
    /// n_c = floor(n_max * mu^(c/(C-1))), mu = 1/imb (METHOD section 6, `exp`).
    Exponential(ImbalanceFactor),
    /// The first half of the classes n_max, the others floor(n_max * mu) (METHOD section 6, `step`).
    Step(ImbalanceFactor),
    /// Counts as they are.
    Counts(ClassCounts),
}

impl LongTailProfile {
    /// Counts of `classes` classes whose largest has `n_max` images. The product is truncated in
    /// float64 as the reference does, so the result is equal to it count by count.
    ///
    /// # Errors
    /// [`Error::Input`] if a class would be left without images, if `classes` is 0, or if the
    /// counts given do not fit `classes`.
    pub fn counts(&self, classes: usize, n_max: u64) -> Result<ClassCounts> {
        let counts = match self {
            Self::Exponential(imb) => {
                // The reference divides by C - 1; one class alone is the head.
                let last = (classes.max(2) - 1) as f64;
                let at = |c: usize| (n_max as f64 * imb.mu().powf(c as f64 / last)) as u64;
                (0..classes).map(at).collect()
            }
            Self::Step(imb) => {
                let tail = (n_max as f64 * imb.mu()) as u64;
                (0..classes).map(|c| if c < classes / 2 { n_max } else { tail }).collect()
            }
            Self::Counts(counts) if counts.classes() == classes => return Ok(counts.clone()),
            Self::Counts(counts) => {
                return Err(Error::input(format!(
                    "class counts: {} classes given, {classes} expected",
                    counts.classes()
                )));
            }
        };
        ClassCounts::new(counts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn total(imb: f64, classes: usize, n_max: u64) -> u64 {
        let profile = LongTailProfile::Exponential(ImbalanceFactor::new(imb).unwrap());
        profile.counts(classes, n_max).unwrap().total()
    }

    #[test]
    fn totals_equal_those_of_the_reference() {
        // METHOD section 6: CIFAR-10-LT and CIFAR-100-LT at 10, 50, 100.
        let seen = [10.0, 50.0, 100.0].map(|imb| (total(imb, 10, 5000), total(imb, 100, 500)));
        assert_eq!(seen, [(20431, 19573), (13996, 12608), (12406, 10847)]);
    }

    #[test]
    fn a_factor_below_one_is_refused() {
        for bad in [0.01, 0.0, -3.0, f64::NAN, f64::INFINITY] {
            assert_eq!(ImbalanceFactor::new(bad).unwrap_err().exit_code(), 2);
        }
    }

    #[test]
    fn mu_is_kept_to_the_bit() {
        for mu in [0.9, 0.055, 0.11, 0.013] {
            assert!(1.0 / (1.0 / mu) != mu && ImbalanceFactor::from_mu(mu).unwrap().mu() == mu);
        }
        for bad in [0.0, -0.1, 1.5, f64::NAN] {
            assert_eq!(ImbalanceFactor::from_mu(bad).unwrap_err().exit_code(), 2);
        }
    }

    #[test]
    fn a_factor_that_empties_a_class_is_refused() {
        let profile = LongTailProfile::Step(ImbalanceFactor::new(1000.0).unwrap());
        assert!(profile.counts(10, 500).is_err());
    }
}
