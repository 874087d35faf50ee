//! Which recipes the runs of a data set in a class order were trained with, so that unlike runs are
//! never averaged.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    Result,
    run::{MethodLabel, RunRecord},
};

/// Keys that make no other experiment: the seed, what rows, columns and sections stand for, and
/// what has no influence on a result.
const FREE: [&str; 8] = [
    "name",
    "run.seed",
    "run.keep-checkpoints",
    "method.name",
    "data.set",
    "data.class-order",
    "data.imbalance-factor",
    "eval.batch-size",
];
/// Stands among the keys for the images themselves.
const IMAGES: &str = "images";

/// Values of a recipe by key.
pub(super) type Values = BTreeMap<String, String>;

/// The settings of a group: the keys in which runs of one method at one imbalance factor differ
/// besides the seed, and the combinations of their values that occur.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Settings {
    keys: BTreeSet<String>,
    found: Vec<Values>,
}

/// The recipe's values by key, and which images were used.
///
/// # Errors
/// If a recipe cannot be expressed as text.
pub(super) fn all_values(record: &RunRecord) -> Result<Values> {
    let mut values = record.recipe.values()?;
    let images = match record.is_synthetic() {
        true => "generated".to_owned(),
        false => record.provenance.data_sha256.chars().take(8).collect(),
    };
    values.insert(IMAGES.to_owned(), images);
    Ok(values)
}

/// Whether runs that differ in `key` are different experiments.
pub(super) fn sets_apart(key: &str) -> bool {
    !FREE.contains(&key)
}

fn values_of(record: &RunRecord) -> Result<Values> {
    let mut values = all_values(record)?;
    values.retain(|key, _| sets_apart(key));
    Ok(values)
}

impl Settings {
    /// The settings that occur among `records`, which are of one data set in one class order.
    ///
    /// # Errors
    /// If a recipe cannot be expressed as text.
    pub(super) fn of<'a>(records: impl Iterator<Item = &'a RunRecord>) -> Result<Self> {
        let mut seen: BTreeMap<(u64, MethodLabel), BTreeSet<Values>> = BTreeMap::new();
        for record in records {
            let factor = record.imbalance_factor().to_bits();
            let place = seen.entry((factor, record.method_label())).or_default();
            place.insert(values_of(record)?);
        }
        let mut keys = BTreeSet::new();
        for place in seen.values() {
            let first = place.first();
            for (key, value) in place.iter().flatten() {
                if first.and_then(|f| f.get(key)) != Some(value) {
                    keys.insert(key.clone());
                }
            }
        }
        let mut settings = Self { keys, found: Vec::new() };
        let found: BTreeSet<Values> =
            seen.into_values().flatten().map(|values| settings.reduced(values)).collect();
        settings.found = found.into_iter().collect();
        Ok(settings)
    }

    fn reduced(&self, mut values: Values) -> Values {
        values.retain(|key, _| self.keys.contains(key));
        values
    }

    /// How the setting of `record` is called in tables: empty if all runs of a method share one.
    ///
    /// # Errors
    /// If a recipe cannot be expressed as text.
    pub(super) fn variant(&self, record: &RunRecord) -> Result<String> {
        let values = self.reduced(values_of(record)?);
        if let (1, Some((key, value))) = (values.len(), values.first_key_value()) {
            let field = key.rsplit('.').next().unwrap_or(key);
            return Ok(format!("{field} {}", value.trim_matches('"')));
        }
        let place = self.found.iter().position(|f| *f == values).unwrap_or(0);
        Ok(if values.is_empty() { String::new() } else { format!("setting {}", letters(place)) })
    }
}

/// A, B ... Z, A1, B1 ...
fn letters(place: usize) -> String {
    let letter = char::from(b'A' + (place % 26) as u8);
    if place < 26 { letter.to_string() } else { format!("{letter}{}", place / 26) }
}
