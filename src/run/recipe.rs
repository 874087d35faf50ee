//! Recipe files: read, overridden, resolved; and the recipe whose values fit together.

use std::{collections::BTreeMap, ops::Deref};

use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use super::{Marks, RawRecipe, atomic::toml_fault};
use crate::{Error, Result};

/// A recipe whose values fit together: what the engine accepts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "RawRecipe", into = "RawRecipe")]
pub struct Recipe(RawRecipe);

impl Recipe {
    /// For `check` alone, which has looked at every value.
    pub(super) fn checked(raw: RawRecipe) -> Self {
        Self(raw)
    }
}

impl Deref for Recipe {
    type Target = RawRecipe;

    fn deref(&self) -> &RawRecipe {
        &self.0
    }
}

impl From<Recipe> for RawRecipe {
    fn from(recipe: Recipe) -> Self {
        recipe.0
    }
}

impl TryFrom<RawRecipe> for Recipe {
    type Error = Error;

    fn try_from(raw: RawRecipe) -> Result<Self> {
        raw.check()
    }
}

/// A recipe file: the table, its presets, and the marks of its values.
#[derive(Debug, Clone)]
pub struct RecipeFile {
    table: Table,
    presets: BTreeMap<String, Table>,
    marks: Marks,
    source: String,
}

impl RecipeFile {
    /// Reads the text of a recipe; `source` is what errors call it.
    ///
    /// # Errors
    /// [`Error::Input`] with line and column where the text is no TOML, or a value has no mark.
    pub fn parse(text: &str, source: &str) -> Result<Self> {
        let bad = |e: toml::de::Error| Error::input(toml_fault(source, text, &e));
        let mut table: Table = text.parse().map_err(bad)?;
        let marks = Marks::read(text, source)?;
        let presets = match table.remove("presets") {
            None => BTreeMap::new(),
            Some(value) => value.try_into().map_err(bad)?,
        };
        Ok(Self { table, presets, marks, source: source.to_owned() })
    }

    /// A resolved recipe's text with the marks of its values, to change some of them.
    ///
    /// # Errors
    /// [`Error::Input`] where the text is no TOML.
    pub fn resolved(text: &str, marks: Marks, source: &str) -> Result<Self> {
        let table = text.parse().map_err(|e| Error::input(toml_fault(source, text, &e)))?;
        Ok(Self { table, presets: BTreeMap::new(), marks, source: source.to_owned() })
    }

    /// Applies the preset `name`, a table of dotted keys and values in the file itself. `full` is
    /// the file as it stands and always exists.
    ///
    /// # Errors
    /// [`Error::Input`] listing the presets that there are, or naming a key that is not in the recipe.
    pub fn preset(&mut self, name: &str) -> Result<()> {
        if name == "full" {
            return Ok(());
        }
        let Some(changes) = self.presets.get(name).cloned() else {
            let known: Vec<&str> =
                self.presets.keys().map(String::as_str).chain(["full"]).collect();
            return Err(Error::input(format!(
                "{}: preset \"{name}\" is unknown; expected one of {}",
                self.source,
                known.join(", ")
            )));
        };
        changes.into_iter().try_for_each(|(key, value)| self.set(&key, value))
    }

    /// Replaces the value at a dotted key.
    ///
    /// # Errors
    /// [`Error::Input`] if the recipe has no such key.
    pub fn set(&mut self, key: &str, value: Value) -> Result<()> {
        let slot = key
            .split_once('.')
            .and_then(|(table, field)| self.table.get_mut(table)?.get_mut(field));
        let Some(slot) = slot else {
            return Err(Error::input(format!(
                "{}: there is no key \"{key}\"; expected table.field as in the recipe, for example optim.epochs",
                self.source
            )));
        };
        let was = slot.to_string();
        // `--set optim.lr=1` means 1.0.
        *slot = match (&*slot, value) {
            (Value::Float(_), Value::Integer(i)) => Value::Float(i as f64),
            (_, value) => value,
        };
        self.marks.change(key, &was, &slot.to_string());
        Ok(())
    }

    /// [`set`](Self::set) of a value that every sweep chooses (factor, method, seed): it keeps its mark.
    ///
    /// # Errors
    /// As [`set`](Self::set).
    pub fn set_choice(&mut self, key: &str, value: Value) -> Result<()> {
        let marks = self.marks.clone();
        self.set(key, value)?;
        self.marks = marks;
        Ok(())
    }

    /// [`set`](Self::set) from `key=value` as on the command line; a value that is no TOML is a string.
    ///
    /// # Errors
    /// [`Error::Input`] without `=`, or as [`set`](Self::set).
    pub fn set_text(&mut self, assignment: &str) -> Result<()> {
        let Some((key, text)) = assignment.split_once('=') else {
            return Err(Error::input(format!(
                "--set {assignment}: expected key=value, for example optim.epochs=20"
            )));
        };
        let (key, text) = (key.trim(), text.trim());
        let value = format!("v = {text}").parse::<Table>().ok().and_then(|mut t| t.remove("v"));
        self.set(key, value.unwrap_or_else(|| Value::String(text.to_owned())))
    }

    /// The checked recipe and the marks of its values.
    ///
    /// # Errors
    /// [`Error::Input`] naming the field that is missing, unknown or does not fit.
    pub fn resolve(&self) -> Result<(Recipe, Marks)> {
        let raw: RawRecipe =
            Value::Table(self.table.clone()).try_into().map_err(|e: toml::de::Error| {
                Error::input(format!(
                    "{}: {}",
                    self.source,
                    e.to_string().trim().replace('\n', " ")
                ))
            })?;
        let recipe = raw.check().map_err(|e| Error::input(format!("{}: {e}", self.source)))?;
        Ok((recipe, self.marks.clone()))
    }
}

impl Recipe {
    /// The recipe as TOML text, complete.
    ///
    /// # Errors
    /// [`Error::Run`] if it cannot be expressed (a value that TOML has no form for).
    pub fn to_toml(&self) -> Result<String> {
        toml::to_string(&self.0)
            .map_err(|e| Error::run(format!("cannot express the recipe as TOML: {e}")))
    }

    /// Every value as TOML text, by dotted key.
    ///
    /// # Errors
    /// As [`to_toml`](Self::to_toml).
    pub fn values(&self) -> Result<BTreeMap<String, String>> {
        let table: Table =
            self.to_toml()?.parse().map_err(|e: toml::de::Error| Error::run(e.to_string()))?;
        let mut out = BTreeMap::new();
        for (name, value) in table {
            match value {
                Value::Table(fields) => out.extend(
                    fields.into_iter().map(|(k, v)| (format!("{name}.{k}"), v.to_string())),
                ),
                value => drop(out.insert(name, value.to_string())),
            }
        }
        Ok(out)
    }

    /// The dotted keys in which two recipes differ, with both values.
    ///
    /// # Errors
    /// As [`to_toml`](Self::to_toml).
    pub fn differences(&self, other: &Self) -> Result<Vec<(String, String, String)>> {
        let (a, b) = (self.values()?, other.values()?);
        Ok(a.into_iter()
            .filter(|(k, v)| b.get(k) != Some(v))
            .map(|(k, v)| {
                let theirs = b.get(&k).cloned().unwrap_or_default();
                (k, v, theirs)
            })
            .collect())
    }
}

#[cfg(test)]
pub(crate) mod tests;
