//! Paired comparison of runs: what else could differ between two runs of one pair (data, class order,
//! factor, seed) is the same, so their difference says more than the difference of two means.

use serde::Serialize;
use statrs::distribution::{ContinuousCDF as _, StudentsT};

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
