/// Mean and spread over seeds. Fractions, as in the records.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Spread {
    /// Seeds.
    pub n: usize,
    /// Mean.
    pub mean: f64,
    /// Sample standard deviation (n - 1); none for a single seed.
    pub sd: Option<f64>,
}

impl Spread {
    /// Of `values`, summed in their order; none if there are none.
    pub fn of(values: &[f64]) -> Option<Self> {
        if values.is_empty() {
            return None;
        }
        let n = values.len();
        let mean = values.iter().sum::<f64>() / n as f64;
        let squares = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>();
        Some(Self { n, mean, sd: (n > 1).then(|| (squares / (n - 1) as f64).sqrt()) })
    }

    /// "84.9 ± 0.3" in percent; without a spread for one seed.
    pub fn percent(&self) -> String {
        match self.sd {
            Some(sd) => format!("{:.1} ± {:.1}", 100.0 * self.mean, 100.0 * sd),
            None => format!("{:.1}", 100.0 * self.mean),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spread_is_the_sample_standard_deviation() {
        let s = Spread::of(&[0.5, 0.6, 0.7]).unwrap();
        assert!((s.mean - 0.6).abs() < 1e-12 && (s.sd.unwrap() - 0.1).abs() < 1e-12);
        assert_eq!(s.percent(), "60.0 ± 10.0");
        assert_eq!(Spread::of(&[0.5]).unwrap().percent(), "50.0");
        assert_eq!(Spread::of(&[]), None);
    }
}
