//! Recipe files: read, overridden, resolved.

use std::collections::BTreeMap;

use toml::{Table, Value};

use super::{checked::Recipe, marks::Marks, raw::RawRecipe};
use crate::{Error, Result, run::atomic::toml_fault};

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
        let now = slot.to_string();
        self.marks.change(key, &was, &now);
        // The composition is that of the file's own method.
        if key == "method.name" && now != was {
            self.table.remove("loss");
        }
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
        let mut marks = self.marks.clone();
        if !self.table.contains_key("loss") {
            marks.forget("loss");
        }
        Ok((recipe, marks))
    }
}
