//! Class counts by name, from a profile, or from a file.

use rescom::longtail::{ClassCounts, ImbalanceFactor, LongTailProfile};
use rescom::{Error, Result};
use std::path::Path;

/// Class counts of Places-LT, shipped with the program.
const PLACES_LT: &str = include_str!("../assets/priors/places_lt.csv");

/// Which class counts to use.
#[derive(clap::Args, Clone)]
pub(crate) struct ProfileArgs {
    /// exp, step, cifar10-lt, cifar100-lt, fashion-mnist-lt, places-lt, counts:FILE.csv (columns
    /// class,count) or list:FILE.txt (lines "path label").
    #[arg(long, default_value = "exp")]
    pub(crate) profile: String,
    /// Number of classes C (exp and step).
    #[arg(long)]
    pub(crate) classes: Option<usize>,
    /// Imbalance factor, largest class over smallest, at least 1 (100, not 0.01).
    #[arg(long, default_value_t = 10.0)]
    pub(crate) imb: f64,
    /// Images of the largest class (exp and step; default 5000).
    #[arg(long)]
    pub(crate) n_max: Option<u64>,
}

impl ProfileArgs {
    /// The counts at the given imbalance factor.
    pub(crate) fn counts_at(&self, imb: f64) -> Result<ClassCounts> {
        let imb = ImbalanceFactor::new(imb)?;
        let (classes, n_max) = match self.profile.as_str() {
            "exp" | "step" => (self.classes.unwrap_or(10), self.n_max.unwrap_or(5000)),
            "cifar10-lt" => (10, 5000),
            "cifar100-lt" => (100, 500),
            "fashion-mnist-lt" => (10, 6000),
            _ => return self.fixed_counts(),
        };
        if let Some(other) = self.classes.filter(|c| *c != classes) {
            let name = &self.profile;
            return Err(Error::input(format!("--classes {other}: {name} has {classes} classes")));
        }
        if classes == 0 {
            return Err(Error::input("--classes 0: expected at least 1"));
        }
        let profile = if self.profile == "step" {
            LongTailProfile::Step(imb)
        } else {
            LongTailProfile::Exponential(imb)
        };
        profile.counts(classes, n_max)
    }

    /// The counts asked for.
    pub(crate) fn counts(&self) -> Result<ClassCounts> {
        self.counts_at(self.imb)
    }

    /// True if the counts follow from an imbalance factor, so that it can be swept.
    pub(crate) fn has_imbalance(&self) -> bool {
        let known = ["exp", "step", "cifar10-lt", "cifar100-lt", "fashion-mnist-lt"];
        known.contains(&self.profile.as_str())
    }

    /// The same profile with room for the imbalance factor `imb` in its smallest class.
    pub(crate) fn with_room_for(&self, imb: f64) -> Self {
        let n_max = self.n_max.unwrap_or(5000).max((5.0 * imb).ceil().min(1e15) as u64);
        Self { n_max: Some(n_max), ..self.clone() }
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

/// "class,count" with a header line; every class 0..C once, in any order.
fn parse_counts(text: &str, file: &str) -> Result<ClassCounts> {
    let mut counts = std::collections::BTreeMap::new();
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let header = reader.headers().map_err(|e| Error::input(format!("{file}: {e}")))?;
    if header.iter().map(str::trim).ne(["class", "count"]) {
        return Err(Error::input(format!("{file}, line 1: expected the columns class,count")));
    }
    for (i, row) in reader.deserialize::<(usize, u64)>().enumerate() {
        let line = i + 2;
        let wrong = |what: String| Error::input(format!("{file}, line {line}: {what}"));
        let (class, count) =
            row.map_err(|_| wrong("expected two whole numbers, class,count".into()))?;
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
        let in_range = label.filter(|l| *l < 1_000_000 && line.split_whitespace().count() > 1);
        let Some(label) = in_range else {
            return Err(Error::input(format!(
                "{file}, line {}: expected \"path label\" with a label of 0 or more",
                i + 1
            )));
        };
        if label >= counts.len() {
            counts.resize(label + 1, 0);
        }
        counts[label] += 1;
    }
    ClassCounts::new(counts).map_err(|e| Error::input(format!("{file}: {e}")))
}
