//! Estimates with 95 % intervals from independent batches.

use serde::Serialize;

/// A value with its 95 % interval; not finite (JSON null) where it is not defined.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Estimate {
    /// The estimate.
    pub mean: f64,
    /// Lower end of the interval.
    pub low: f64,
    /// Upper end of the interval.
    pub high: f64,
}

const Z95: f64 = 1.959_963_984_540_054;

impl Estimate {
    /// Not defined.
    pub const NONE: Self = Self { mean: f64::NAN, low: f64::NAN, high: f64::NAN };

    /// Mean of independent values with the normal interval of batch means.
    pub fn of_mean(values: &[f64]) -> Self {
        let (mean, error) = mean_and_error(values);
        Self { mean, low: mean - Z95 * error, high: mean + Z95 * error }
    }

    /// A product of powers of expectations, from one row of components per independent batch.
    /// Component k enters with exponent `signs[k]` (+1 or -1). The estimate is the product of the
    /// means; its interval comes from the delta method on the logarithm (batch means).
    pub fn of_ratio(rows: &[Vec<f64>], signs: &[f64]) -> Self {
        let n = rows.len() as f64;
        let mean = |k: usize| rows.iter().map(|r| r[k]).sum::<f64>() / n;
        let means: Vec<f64> = (0..signs.len()).map(mean).collect();
        if signs.is_empty() || means.iter().any(|m| !m.is_finite() || *m <= 0.0) {
            return Self::NONE;
        }
        let log: f64 = means.iter().zip(signs).map(|(m, s)| s * m.ln()).sum();
        let influence = |r: &Vec<f64>| -> f64 {
            r.iter().zip(&means).zip(signs).map(|((x, m), s)| s * (x / m - 1.0)).sum()
        };
        let (_, error) = mean_and_error(&rows.iter().map(influence).collect::<Vec<_>>());
        Self { mean: log.exp(), low: (log - Z95 * error).exp(), high: (log + Z95 * error).exp() }
    }

    /// Standard error of the logarithm, from the interval.
    fn log_error(&self) -> f64 {
        (self.high / self.low).ln() / (2.0 * Z95)
    }

    /// The same multiplied by a constant above zero.
    #[must_use]
    pub fn scaled(self, factor: f64) -> Self {
        Self { mean: factor * self.mean, low: factor * self.low, high: factor * self.high }
    }

    /// True if `value` lies in the interval.
    pub fn contains(&self, value: f64) -> bool {
        (self.low..=self.high).contains(&value)
    }
}

/// Mean and standard error of independent values.
fn mean_and_error(values: &[f64]) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let square: f64 = values.iter().map(|v| (v - mean).powi(2)).sum();
    (mean, (square / (n - 1.0).max(1.0) / n).sqrt())
}

/// Slope of ln(ratio) against ln(imbalance factor).
pub type Slope = Estimate;

/// Least-squares slope through (ln x, ln ratio). Its interval carries the sampling errors of the
/// ratios (independent from point to point); a curve that is not straight is not a sampling error
/// and does not widen it.
pub fn log_log_slope(points: &[(f64, Estimate)]) -> Slope {
    let usable: Vec<_> = points.iter().filter(|(x, e)| *x > 0.0 && e.mean > 0.0).collect();
    let n = usable.len() as f64;
    let mean_x = usable.iter().map(|(x, _)| x.ln()).sum::<f64>() / n;
    let spread: f64 = usable.iter().map(|(x, _)| (x.ln() - mean_x).powi(2)).sum();
    if usable.len() < 2 || spread <= 0.0 {
        return Estimate::NONE;
    }
    let weight = |x: f64| (x.ln() - mean_x) / spread;
    let slope: f64 = usable.iter().map(|(x, e)| weight(*x) * e.mean.ln()).sum();
    let variance: f64 = usable.iter().map(|(x, e)| (weight(*x) * e.log_error()).powi(2)).sum();
    let half = Z95 * variance.sqrt();
    Estimate { mean: slope, low: slope - half, high: slope + half }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Streams;
    use rand::RngExt;

    #[test]
    fn the_slope_of_a_power_law_is_its_exponent() {
        let at = |x: f64| {
            (
                x,
                Estimate {
                    mean: 3.0 * x.powf(1.7),
                    low: 2.9 * x.powf(1.7),
                    high: 3.1 * x.powf(1.7),
                },
            )
        };
        let slope = log_log_slope(&[1.0, 2.0, 10.0, 100.0].map(at));
        assert!((slope.mean - 1.7).abs() < 1e-12 && slope.low < 1.7 && slope.high > 1.7);
        assert!(log_log_slope(&[at(1.0)]).mean.is_nan());
    }

    /// 95 % intervals of a ratio of means hold the truth in about 95 % of repetitions.
    #[test]
    fn intervals_cover_the_truth_as_often_as_they_say() {
        let mut held = 0;
        for repetition in 0..400 {
            let mut rng = Streams::new(11).stream("coverage", &[repetition]);
            let rows: Vec<Vec<f64>> = (0..60)
                .map(|_| {
                    let common: f64 = rng.random();
                    vec![3.0 * (common + rng.random::<f64>()), common + rng.random::<f64>()]
                })
                .collect();
            held += usize::from(Estimate::of_ratio(&rows, &[1.0, -1.0]).contains(3.0));
        }
        assert!((360..=396).contains(&held), "{held} of 400");
    }
}
