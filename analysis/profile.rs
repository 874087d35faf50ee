//! Class counts by name, from a profile, or from a file.

use rescom::longtail::{ClassCounts, ImbalanceFactor, LongTailProfile};
use rescom::{Error, Result};
use std::path::Path;

/// Class counts of Places-LT, shipped with the program.
const PLACES_LT: &str = include_str!("../assets/priors/places_lt.csv");

/// Imbalance factor where none is given.
const DEFAULT_IMB: f64 = 10.0;

/// Images that the smallest class of a sweep has at least, so that its count is not all rounding.
const LEAST_IN_SWEEP: f64 = 5.0;

/// Classes that can be asked for: five times as many as the largest public lists have, and few enough
/// for a table of them.
const MOST_CLASSES: usize = 1_000_000;

/// Which class counts to use.
#[derive(clap::Args, Clone)]
#[command(next_help_heading = "Class counts")]
pub(crate) struct ProfileArgs {
    /// exp, step, cifar10-lt, cifar100-lt, fashion-mnist-lt, places-lt, counts:FILE.csv (columns
    /// class,count) or list:FILE.txt (lines "path label").
    #[arg(long, default_value = "exp")]
    pub(crate) profile: String,
    /// Number of classes C (exp and step; default 10).
    #[arg(long)]
    pub(crate) classes: Option<usize>,
    /// Imbalance factor, largest class over smallest, at least 1 (100, not 0.01; default 10). Not for
    /// counts that are fixed.
    #[arg(long, allow_negative_numbers = true)]
    pub(crate) imb: Option<f64>,
    /// Images of the largest class (exp and step; default 5000).
    #[arg(long)]
    pub(crate) n_max: Option<u64>,
}

/// A profile whose counts follow from an imbalance factor.
struct Shape {
    classes: usize,
    n_max: u64,
    step: bool,
}

impl Shape {
    /// Counts at the factor `imb`, which the option `flag` asks for.
    fn counts(&self, flag: &str, imb: f64) -> Result<ClassCounts> {
        let asked = |e: Error| Error::input(format!("{flag}: {e}"));
        let factor = ImbalanceFactor::new(imb).map_err(asked)?;
        let profile = if self.step {
            LongTailProfile::Step(factor)
        } else {
            LongTailProfile::Exponential(factor)
        };
        profile.counts(self.classes, self.n_max).map_err(|e| {
            let most = self.n_max;
            asked(Error::input(format!(
                "{e}; the largest class has {most}, so a factor of {most} is the most"
            )))
        })
    }
}

impl ProfileArgs {
    /// The counts asked for.
    pub(crate) fn counts(&self) -> Result<ClassCounts> {
        let imb = self.imb.unwrap_or(DEFAULT_IMB);
        match self.shape()? {
            Some(shape) => shape.counts(&format!("--imb {imb}"), imb),
            None => self.fixed_counts(),
        }
    }

    /// The counts at each of several imbalance factors, which the option `flag` (as it is typed, up to
    /// the list) asks for. The largest class is the same at all of them: larger than the profile's where
    /// the smallest would be left with fewer than five images. The text says so, if it was needed.
    pub(crate) fn swept(
        &self,
        flag: &str,
        imbs: &[f64],
    ) -> Result<(Vec<ClassCounts>, Option<String>)> {
        let Some(mut shape) = self.shape()? else {
            return Err(Error::input(format!(
                "{}: the counts of {} are fixed; use --profile exp or step",
                flag.trim_end_matches('='),
                self.profile
            )));
        };
        let most = imbs.iter().copied().fold(1.0, f64::max);
        let needed = (LEAST_IN_SWEEP * most).ceil().min(1e15) as u64;
        let note = (needed > shape.n_max).then(|| {
            format!(
                "{}: the largest class has {needed} images at every factor instead of {}, so that the smallest has {LEAST_IN_SWEEP} at {most}",
                flag.trim_end_matches('='),
                shape.n_max
            )
        });
        shape.n_max = shape.n_max.max(needed);
        let at = |&imb: &f64| {
            // A list that was typed is named with the value; otherwise it is the option's own.
            let asked = if flag.ends_with('=') { format!("{flag}{imb}") } else { flag.to_string() };
            shape.counts(&asked, imb)
        };
        Ok((imbs.iter().map(at).collect::<Result<_>>()?, note))
    }

    /// True if the counts follow from an imbalance factor, so that it can be swept.
    pub(crate) fn has_imbalance(&self) -> bool {
        self.named().is_some()
    }

    /// Classes and images of the largest class of a profile that takes an imbalance factor, None where
    /// the user chooses them.
    fn named(&self) -> Option<Option<(usize, u64)>> {
        match self.profile.as_str() {
            "exp" | "step" => Some(None),
            "cifar10-lt" => Some(Some((10, 5000))),
            "cifar100-lt" => Some(Some((100, 500))),
            "fashion-mnist-lt" => Some(Some((10, 6000))),
            _ => None,
        }
    }

    /// The shape of the counts, or None if they are fixed; refuses options that would change nothing.
    fn shape(&self) -> Result<Option<Shape>> {
        let name = &self.profile;
        let Some(named) = self.named() else {
            return match (self.imb, self.n_max) {
                (Some(imb), _) => Err(Error::input(format!(
                    "--imb {imb}: the counts of {name} are fixed; leave it out, or use --profile exp or step"
                ))),
                (_, Some(n)) => Err(Error::input(format!(
                    "--n-max {n}: the counts of {name} are fixed; leave it out, or use --profile exp or step"
                ))),
                _ => Ok(None),
            };
        };
        let (classes, n_max) =
            named.unwrap_or((self.classes.unwrap_or(10), self.n_max.unwrap_or(5000)));
        if let Some(other) = self.classes.filter(|c| *c != classes) {
            return Err(Error::input(format!("--classes {other}: {name} has {classes} classes")));
        }
        if let Some(other) = self.n_max.filter(|n| *n != n_max) {
            return Err(Error::input(format!(
                "--n-max {other}: the largest class of {name} has {n_max} images; use --profile exp or step"
            )));
        }
        for (flag, value) in [("--classes", classes as u64), ("--n-max", n_max)] {
            if value == 0 {
                return Err(Error::input(format!("{flag} 0: expected at least 1")));
            }
        }
        if classes > MOST_CLASSES {
            return Err(Error::input(format!(
                "--classes {classes}: expected at most {MOST_CLASSES}"
            )));
        }
        Ok(Some(Shape { classes, n_max, step: name == "step" }))
    }

    fn fixed_counts(&self) -> Result<ClassCounts> {
        let counts = match self.profile.split_once(':') {
            None if self.profile == "places-lt" => parse_counts(PLACES_LT, "places-lt")?,
            Some(("counts", file)) => parse_counts(&read(file)?, file)?,
            Some(("list", file)) => parse_list(&read(file)?, file)?,
            _ => {
                return Err(Error::input(format!(
                    "--profile {}: expected exp, step, cifar10-lt, cifar100-lt, fashion-mnist-lt, places-lt, counts:FILE.csv or list:FILE.txt",
                    self.profile
                )));
            }
        };
        match self.classes {
            Some(c) if c != counts.classes() => Err(Error::input(format!(
                "--classes {c}: {} has {} classes",
                self.profile,
                counts.classes()
            ))),
            _ => Ok(counts),
        }
    }
}

fn read(file: &str) -> Result<String> {
    let bytes = std::fs::read(Path::new(file)).map_err(Error::io("read", file))?;
    String::from_utf8(bytes).map_err(|_| Error::input(format!("{file}: not a text file (UTF-8)")))
}

/// "class,count" with a header line; every class 0..C once, in any order. Spaces around cells, quotes
/// and lines without anything are let pass.
fn parse_counts(text: &str, file: &str) -> Result<ClassCounts> {
    let mut counts = std::collections::BTreeMap::new();
    let cells = |line: &str| -> Vec<String> {
        line.split(',').map(|c| c.trim().trim_matches('"').trim().to_string()).collect()
    };
    let text = text.trim_start_matches('\u{feff}');
    let mut lines = text.lines().enumerate().filter(|(_, l)| !l.trim().is_empty());
    let (first, header) = lines.next().unwrap_or((0, ""));
    if cells(header) != ["class", "count"] {
        let line = first + 1;
        return Err(Error::input(format!("{file}, line {line}: expected the columns class,count")));
    }
    for (i, row) in lines {
        let wrong = |what: String| Error::input(format!("{file}, line {}: {what}", i + 1));
        let numbers = |cells: &[String]| match cells {
            [class, count] => Some((class.parse::<usize>().ok()?, count.parse::<u64>().ok()?)),
            _ => None,
        };
        let (class, count) = numbers(&cells(row))
            .ok_or_else(|| wrong("expected two whole numbers, class,count".into()))?;
        if count == 0 {
            return Err(wrong(format!(
                "class {class} has 0 images; every class needs at least one"
            )));
        }
        if counts.insert(class, count).is_some() {
            return Err(wrong(format!("class {class} appears twice")));
        }
    }
    if let Some((expected, _)) = counts.keys().enumerate().find(|(i, class)| i != *class) {
        return Err(Error::input(format!("{file}: class {expected} is missing; expected 0..C")));
    }
    ClassCounts::new(counts.into_values().collect())
        .map_err(|e| Error::input(format!("{file}: {e}")))
}

/// "path label" per line; labels 0..C, each at least once.
fn parse_list(text: &str, file: &str) -> Result<ClassCounts> {
    let mut counts: Vec<u64> = vec![];
    for (i, line) in text.lines().enumerate().filter(|(_, l)| !l.trim().is_empty()) {
        let label = line.split_whitespace().next_back().and_then(|l| l.parse::<usize>().ok());
        let in_range = label.filter(|l| *l < MOST_CLASSES && line.split_whitespace().count() > 1);
        let Some(label) = in_range else {
            return Err(Error::input(format!(
                "{file}, line {}: expected \"path label\" with a label from 0 to {}",
                i + 1,
                MOST_CLASSES - 1
            )));
        };
        if label >= counts.len() {
            counts.resize(label + 1, 0);
        }
        counts[label] += 1;
    }
    ClassCounts::new(counts).map_err(|e| Error::input(format!("{file}: {e}")))
}
