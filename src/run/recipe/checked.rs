//! The recipe whose values fit together.

use std::{collections::BTreeMap, ops::Deref};

use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use super::{
    loss::LossSpec,
    raw::{RawRecipe, Tables},
};
use crate::{Error, Result};

/// A recipe whose values fit together: what the trainer accepts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "RawRecipe", into = "Tables<LossSpec>")]
pub struct Recipe(Tables<LossSpec>);

impl Deref for Recipe {
    type Target = Tables<LossSpec>;

    fn deref(&self) -> &Tables<LossSpec> {
        &self.0
    }
}

impl From<Recipe> for Tables<LossSpec> {
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

impl RawRecipe {
    /// Checks every value once; numerics rely on it.
    ///
    /// # Errors
    /// [`Error::Input`] naming the first key that does not fit, and what would.
    pub fn check(self) -> Result<Recipe> {
        self.check_values()?;
        let classes = self.data.set.classes();
        let recipe = Recipe(self.composed()?);
        recipe.check_for_classes(classes)?;
        Ok(recipe)
    }

    /// With the loss that the file gives, or the one that the method's name stands for.
    fn composed(self) -> Result<Tables<LossSpec>> {
        let method = self.method.name;
        let loss = match (self.loss, method.loss()) {
            (Some(own), Some(named)) if own != named => {
                return Err(Error::input(format!(
                    "recipe, [loss]: it is not what method.name = {method} stands for; give your own composition a \
                     name of its own"
                )));
            }
            (Some(loss), _) | (None, Some(loss)) => loss,
            (None, None) => return Err(method.unknown()),
        };
        Ok(Tables {
            loss,
            name: self.name,
            data: self.data,
            augment: self.augment,
            model: self.model,
            optim: self.optim,
            method: self.method,
            contrast: self.contrast,
            eval: self.eval,
            run: self.run,
            stage2: self.stage2,
        })
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

    /// Every value as TOML text, by dotted key. A loss that the method's name stands for is not said again.
    ///
    /// # Errors
    /// As [`to_toml`](Self::to_toml).
    pub fn values(&self) -> Result<BTreeMap<String, String>> {
        let mut table: Table =
            self.to_toml()?.parse().map_err(|e: toml::de::Error| Error::run(e.to_string()))?;
        if self.method.name.loss().is_some() {
            table.remove("loss");
        }
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
