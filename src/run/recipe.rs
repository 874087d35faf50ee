use std::{collections::BTreeMap, ops::Deref};

use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use super::{
    LearningRateMode, Marks, RawRecipe, ScheduleKind, atomic::toml_fault, spec::ProfileKind,
};
use crate::{
    Error, Result,
    longtail::{EffectiveNumber, ImbalanceFactor, LongTailProfile},
};

/// A recipe whose values fit together: what the engine accepts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "RawRecipe", into = "RawRecipe")]
pub struct Recipe(RawRecipe);

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

/// Fails with the key, what it is and what was expected, unless `fits`.
fn need(fits: bool, key: &str, value: impl std::fmt::Display, expected: &str) -> Result<()> {
    if fits {
        return Ok(());
    }
    Err(Error::input(format!(
        "recipe, {key} = {value}: expected {expected}; change it in the recipe or with --set {key}=..."
    )))
}

impl RawRecipe {
    /// Checks every value once; numerics rely on it.
    ///
    /// # Errors
    /// [`Error::Input`] naming the first key that does not fit, and what would.
    pub fn check(self) -> Result<Recipe> {
        self.check_data()?;
        self.check_optim()?;
        self.check_contrast()?;
        self.check_rest()?;
        Ok(Recipe(self))
    }

    fn check_data(&self) -> Result<()> {
        let d = &self.data;
        let available = d.set.images_per_class();
        let natural = d.profile == ProfileKind::Natural;
        need(
            natural == available.is_none(),
            "data.profile",
            format!("{:?}", d.profile),
            "natural for a set that is long-tailed itself, exp or step for a balanced one",
        )?;
        if let Some(most) = available {
            need(
                (1..=most).contains(&d.images_per_class),
                "data.images-per-class",
                d.images_per_class,
                &format!("1 to {most}, what {} has", d.set.name()),
            )?;
            let imb = ImbalanceFactor::new(d.imbalance_factor)?;
            LongTailProfile::Exponential(imb).counts(d.set.classes(), d.images_per_class).map_err(|_| {
                Error::input(format!(
                    "recipe, data.imbalance-factor = {} with data.images-per-class = {}: the smallest class would be \
                     empty; take at least {} images per class",
                    d.imbalance_factor, d.images_per_class, d.imbalance_factor.ceil()
                ))
            })?;
        }
        let a = &self.augment;
        let channels = d.set.channels();
        need(
            a.mean.len() == channels && a.std.len() == channels,
            "augment.mean/std",
            format!("{:?}/{:?}", a.mean, a.std),
            &format!("{channels} numbers each"),
        )?;
        need(
            a.std.iter().all(|s| *s > 0.0),
            "augment.std",
            format!("{:?}", a.std),
            "positive numbers",
        )
    }

    fn check_optim(&self) -> Result<()> {
        let o = &self.optim;
        need(o.epochs >= 1, "optim.epochs", o.epochs, "at least 1")?;
        need(o.batch_size >= 2, "optim.batch-size", o.batch_size, "at least 2 (batch norm)")?;
        need(o.lr > 0.0 && o.lr.is_finite(), "optim.lr", o.lr, "a positive number")?;
        need((0.0..1.0).contains(&o.momentum), "optim.momentum", o.momentum, "0 <= momentum < 1")?;
        need(o.weight_decay >= 0.0, "optim.weight-decay", o.weight_decay, "0 or more")?;
        need(
            o.warmup_epochs < o.epochs.max(2),
            "optim.warmup-epochs",
            o.warmup_epochs,
            "fewer than optim.epochs",
        )?;
        need(
            o.milestones.is_sorted(),
            "optim.milestones",
            format!("{:?}", o.milestones),
            "increasing epochs",
        )
    }

    /// What is allowed and perhaps not meant: a step schedule whose steps come after the last epoch, as when
    /// `optim.epochs` alone is lowered.
    pub fn remark(&self) -> Option<String> {
        let o = &self.optim;
        let stepped =
            o.schedule == ScheduleKind::Step && o.lr_mode == LearningRateMode::AsDescribed;
        let late = o.milestones.iter().any(|&m| m >= o.epochs);
        (stepped && late).then(|| {
            let part = |tenths: usize| (o.epochs * tenths / 10).max(1);
            format!(
                "optim.milestones = {:?} with optim.epochs = {}: a step of the rate comes after the last epoch; for steps at \
                 the same parts of training as published, --set optim.milestones=[{},{}]",
                o.milestones,
                o.epochs,
                part(8),
                part(9)
            )
        })
    }

    fn check_contrast(&self) -> Result<()> {
        let c = &self.contrast;
        let classes = self.data.set.classes();
        need(c.temperature > 0.0, "contrast.temperature", c.temperature, "a positive number")?;
        need(c.con_weight >= 0.0, "contrast.con-weight", c.con_weight, "0 or more")?;
        EffectiveNumber::new(c.effective_number_beta)?;
        need(
            self.model.projection_dim >= 1,
            "model.projection-dim",
            self.model.projection_dim,
            "at least 1",
        )?;
        need(c.queue_per_class >= 1, "contrast.queue-per-class", c.queue_per_class, "at least 1")?;
        need(
            c.num_pos <= c.queue_per_class,
            "contrast.num-pos",
            c.num_pos,
            &format!("at most the {} keys that the queue holds of a class", c.queue_per_class),
        )?;
        let negatives = (classes - 1) * c.queue_per_class;
        need(
            c.num_neg <= negatives,
            "contrast.num-neg",
            c.num_neg,
            &format!("at most the {negatives} keys that the queue holds of other classes"),
        )?;
        need(
            (0.0..=1.0).contains(&c.encoder_momentum),
            "contrast.encoder-momentum",
            c.encoder_momentum,
            "0 to 1",
        )
    }

    fn check_rest(&self) -> Result<()> {
        need(self.eval.every >= 1, "eval.every", self.eval.every, "at least 1")?;
        need(self.eval.batch_size >= 1, "eval.batch-size", self.eval.batch_size, "at least 1")?;
        need(
            self.run.keep_checkpoints >= 1,
            "run.keep-checkpoints",
            self.run.keep_checkpoints,
            "at least 1",
        )?;
        let s = &self.stage2;
        need(s.mixup_alpha > 0.0, "stage2.mixup-alpha", s.mixup_alpha, "a positive number")?;
        need(s.epochs >= 1, "stage2.epochs", s.epochs, "at least 1")?;
        need(s.lr > 0.0 && s.lr.is_finite(), "stage2.lr", s.lr, "a positive number")?;
        for (key, v) in [("stage2.lr-factor", s.lr_factor), ("stage2.weight-decay", s.weight_decay)]
        {
            need(v >= 0.0 && v.is_finite(), key, v, "0 or more")?;
        }
        for (key, v) in
            [("stage2.smooth-head", s.smooth_head), ("stage2.smooth-tail", s.smooth_tail)]
        {
            need((0.0..1.0).contains(&v), key, v, "0 <= smoothing < 1")?;
        }
        Ok(())
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
