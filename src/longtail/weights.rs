use super::ClassCounts;
use crate::{Error, Result};

/// Effective-number class weights (Cui et al. 2019; METHOD section 3):
/// E_c = (1 - b^n_c) / (1 - b), w_c = mean(E) / E_c. b = 0 means w = 1; b -> 1 means inverse frequency.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EffectiveNumber {
    beta: f64,
}

impl EffectiveNumber {
    /// # Errors
    /// [`Error::Input`] unless 0 <= beta < 1.
    pub fn new(beta: f64) -> Result<Self> {
        if (0.0..1.0).contains(&beta) {
            Ok(Self { beta })
        } else {
            Err(Error::input(format!("effective number beta {beta}: expected 0 <= beta < 1")))
        }
    }

    /// The weights w_c, one per class, in float64 as the reference computes them.
    pub fn weights(&self, counts: &ClassCounts) -> Vec<f64> {
        if self.beta == 0.0 {
            return vec![1.0; counts.classes()];
        }
        let effective: Vec<f64> = counts
            .as_slice()
            .iter()
            .map(|&n| (1.0 - self.beta.powf(n as f64)) / (1.0 - self.beta))
            .collect();
        let mean = effective.iter().sum::<f64>() / effective.len() as f64;
        effective.iter().map(|e| mean / e).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::longtail::{ImbalanceFactor, LongTailProfile};

    #[test]
    fn weights_of_cifar100_at_100_are_those_published() {
        // METHOD section 9, point 7: from 0.217 to 21.7 at b = 0.999999.
        let profile = LongTailProfile::Exponential(ImbalanceFactor::new(100.0).unwrap());
        let counts = profile.counts(100, 500).unwrap();
        let w = EffectiveNumber::new(0.999999).unwrap().weights(&counts);
        assert!((w[0] - 0.217).abs() < 5e-4 && (w[99] - 21.7).abs() < 5e-2, "{} {}", w[0], w[99]);
    }

    #[test]
    fn beta_zero_means_no_weighting() {
        let counts = ClassCounts::new(vec![5, 1]).unwrap();
        assert_eq!(EffectiveNumber::new(0.0).unwrap().weights(&counts), [1.0, 1.0]);
        assert!(EffectiveNumber::new(1.0).is_err());
    }
}
