//! Accuracy on corrupted test images, and the corruption error of Hendrycks and Dietterich (ICLR 2019).

use std::{collections::BTreeMap, fs, path::Path};

use serde::{Deserialize, Serialize};

use crate::{
    Error, Result,
    data::SEVERITIES,
    run::{DataSetId, Recipe},
};

/// Accuracy on one corruption at one severity.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CorruptionAccuracy {
    /// Name of the corruption.
    pub corruption: String,
    /// 1 to 5.
    pub severity: usize,
    /// Images.
    pub images: u64,
    /// Share whose true class ranks first.
    pub top1: f64,
}

/// What a baseline network gets wrong: the denominators of corruption errors.
#[derive(Debug, Clone, PartialEq)]
pub struct Baseline {
    source: String,
    errors: BTreeMap<String, Errors>,
}

#[derive(Debug, Clone, PartialEq)]
enum Errors {
    /// Mean over the five severities.
    Mean(f64),
    BySeverity(BTreeMap<usize, f64>),
}

#[derive(Deserialize)]
struct Row {
    corruption: String,
    severity: Option<usize>,
    error: f64,
}

/// Top-1 errors of AlexNet on ImageNet-C, means over severities.
const ALEXNET: &str = include_str!("../../../assets/alexnet-imagenet-c.csv");

impl Baseline {
    /// Reads a CSV file with the columns `corruption`, `error` (a fraction) and, unless the errors are
    /// means over the five severities, `severity`.
    ///
    /// # Errors
    /// [`Error::Input`] naming the line that does not fit; [`Error::Io`].
    pub fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).map_err(Error::io("read", path))?;
        Self::parse(&text, &path.display().to_string())
    }

    /// The published baseline of the recipe's data set, where there is one: AlexNet for ImageNet.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn published(recipe: &Recipe) -> Result<Option<Self>> {
        if recipe.data.set != DataSetId::ImagenetLt {
            return Ok(None);
        }
        let source = "AlexNet, Hendrycks and Dietterich 2019 (github.com/hendrycks/robustness)";
        Self::parse(ALEXNET, source).map(Some)
    }

    fn parse(text: &str, source: &str) -> Result<Self> {
        let bad = |what: String| {
            Error::input(format!(
                "{source}: {what}; expected the columns corruption, error (a fraction above 0, at most 1) and perhaps \
                 severity (1 to {SEVERITIES})"
            ))
        };
        let mut errors = BTreeMap::new();
        let mut reader =
            csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(text.as_bytes());
        for (number, row) in reader.deserialize().enumerate() {
            let row: Row = row.map_err(|e| bad(e.to_string()))?;
            let line = number + 2;
            if !(row.error > 0.0 && row.error <= 1.0) {
                return Err(bad(format!("line {line}: error {}", row.error)));
            }
            let twice = || bad(format!("line {line}: {} stands there twice", row.corruption));
            match row.severity {
                None => {
                    let before = errors.insert(row.corruption.clone(), Errors::Mean(row.error));
                    before.map_or(Ok(()), |_| Err(twice()))?;
                }
                Some(severity) if (1..=SEVERITIES).contains(&severity) => {
                    let entry = errors
                        .entry(row.corruption.clone())
                        .or_insert_with(|| Errors::BySeverity(BTreeMap::new()));
                    let Errors::BySeverity(map) = entry else { return Err(twice()) };
                    if map.insert(severity, row.error).is_some() {
                        return Err(twice());
                    }
                }
                Some(severity) => return Err(bad(format!("line {line}: severity {severity}"))),
            }
        }
        if errors.is_empty() {
            return Err(bad("no row".into()));
        }
        Ok(Self { source: source.to_owned(), errors })
    }
}

/// Accuracies, and errors relative to a baseline where there is one.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Robustness {
    /// Every corruption and severity that was there.
    pub accuracies: Vec<CorruptionAccuracy>,
    /// Mean over corruptions of the mean error over their severities, not normalised.
    pub mean_error: f64,
    /// Relative to the baseline; none without one.
    pub relative: Option<Relative>,
}

/// Corruption errors relative to a baseline network.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Relative {
    /// Where the baseline's errors come from.
    pub baseline: String,
    /// CE_c = sum over severities of the error / that of the baseline, by corruption.
    pub corruption_errors: BTreeMap<String, f64>,
    /// mCE, their mean over all corruptions of the baseline; none if one of those is not there.
    pub mce: Option<f64>,
}

impl Robustness {
    /// From accuracies of at least one corruption. Corruptions that the baseline lacks do not enter mCE.
    ///
    /// # Errors
    /// [`Error::Input`] if the severities of a corruption are not those of the baseline, or nothing was
    /// measured.
    pub fn new(accuracies: Vec<CorruptionAccuracy>, baseline: Option<&Baseline>) -> Result<Self> {
        let mut by_name: BTreeMap<&str, BTreeMap<usize, f64>> = BTreeMap::new();
        for a in &accuracies {
            by_name.entry(&a.corruption).or_default().insert(a.severity, 1.0 - a.top1);
        }
        if by_name.is_empty() {
            return Err(Error::input("corruptions: nothing was measured"));
        }
        let mean =
            |errors: &BTreeMap<usize, f64>| errors.values().sum::<f64>() / errors.len() as f64;
        let mean_error = by_name.values().map(mean).sum::<f64>() / by_name.len() as f64;
        let relative = baseline.map(|b| b.relative(&by_name)).transpose()?;
        Ok(Self { accuracies, mean_error, relative })
    }
}

impl Baseline {
    fn relative(&self, measured: &BTreeMap<&str, BTreeMap<usize, f64>>) -> Result<Relative> {
        let mut corruption_errors = BTreeMap::new();
        for (name, theirs) in &self.errors {
            let Some(ours) = measured.get(name.as_str()) else { continue };
            let same = match theirs {
                Errors::Mean(_) => ours.keys().copied().eq(1..=SEVERITIES),
                Errors::BySeverity(map) => ours.keys().eq(map.keys()),
            };
            if !same {
                return Err(Error::input(format!(
                    "{name}: severities {:?} were measured, which are not those of the baseline {}; leave --baseline \
                     out or complete them",
                    ours.keys().collect::<Vec<_>>(),
                    self.source
                )));
            }
            let below = match theirs {
                Errors::Mean(mean) => mean * SEVERITIES as f64,
                Errors::BySeverity(map) => map.values().sum(),
            };
            corruption_errors.insert(name.clone(), ours.values().sum::<f64>() / below);
        }
        let whole = corruption_errors.len() == self.errors.len();
        let mean = corruption_errors.values().sum::<f64>() / corruption_errors.len().max(1) as f64;
        Ok(Relative {
            baseline: self.source.clone(),
            corruption_errors,
            mce: whole.then_some(mean),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(name: &str, errors: &[f64]) -> Vec<CorruptionAccuracy> {
        let one = |(i, error): (usize, &f64)| CorruptionAccuracy {
            corruption: name.into(),
            severity: i + 1,
            images: 10,
            top1: 1.0 - error,
        };
        errors.iter().enumerate().map(one).collect()
    }

    #[test]
    fn corruption_errors_by_hand() {
        let all = [
            measured("fog", &[0.1, 0.2, 0.3, 0.4, 0.5]),
            measured("snow", &[0.2; 5]),
            measured("rain", &[0.6; 5]),
        ]
        .concat();
        let plain = Robustness::new(all.clone(), None).unwrap();
        assert!((plain.mean_error - (0.3 + 0.2 + 0.6) / 3.0).abs() < 1e-12);
        assert_eq!(plain.relative, None);
        let text = "corruption,severity,error\nfog,1,0.2\nfog,2,0.2\nfog,3,0.2\nfog,4,0.2\nfog,5,0.2\nsnow,,0.8\n";
        let baseline = Baseline::parse(text, "x.csv").unwrap();
        let found = Robustness::new(all.clone(), Some(&baseline)).unwrap().relative.unwrap();
        assert!((found.corruption_errors["fog"] - 1.5).abs() < 1e-12);
        assert!((found.corruption_errors["snow"] - 0.25).abs() < 1e-12);
        assert!((found.mce.unwrap() - 0.875).abs() < 1e-12, "rain is not in the baseline");
        // Without one of the baseline's corruptions it is no mCE.
        let found = Robustness::new(measured("fog", &[0.1; 5]), Some(&baseline)).unwrap();
        assert_eq!(found.relative.unwrap().mce, None);
        let e = Robustness::new(measured("snow", &[0.1; 4]), Some(&baseline)).unwrap_err();
        assert!(e.to_string().contains("snow: severities [1, 2, 3, 4]"), "{e}");
    }

    #[test]
    fn baselines_are_checked() {
        let alexnet = Baseline::parse(ALEXNET, "AlexNet").unwrap();
        assert_eq!(alexnet.errors.len(), 15);
        assert_eq!(alexnet.errors["gaussian_noise"], Errors::Mean(0.886428));
        for (text, said) in [
            ("corruption,error\nfog,80\n", "line 2: error 80"),
            ("corruption,error\nfog,0.8\nfog,0.7\n", "line 3: fog stands there twice"),
            ("corruption,severity,error\nfog,6,0.8\n", "severity 6"),
            ("corruption,error\n", "no row"),
            ("name,error\nfog,0.1\n", "missing field"),
        ] {
            let e = Baseline::parse(text, "x.csv").unwrap_err();
            assert!(e.to_string().contains(said) && e.to_string().starts_with("x.csv"), "{e}");
        }
    }
}
