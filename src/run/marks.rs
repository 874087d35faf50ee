use std::collections::BTreeMap;

use crate::{Error, Result};

/// Where a value of a recipe comes from.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Mark {
    /// Stated in the paper or by its authors.
    Published,
    /// Found in the released configuration or code.
    Released,
    /// Our choice where nothing is known.
    Assumed,
    /// Set by a preset or on the command line.
    Changed,
}

/// The mark of every value of a recipe file, by dotted key (`optim.lr`), read from the comment
/// behind the value: `lr = 0.1  # released: configuration for CIFAR-100, factor 100`.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Marks(BTreeMap<String, Mark>);

impl Marks {
    /// Reads the marks of a recipe's text.
    ///
    /// # Errors
    /// [`Error::Input`] naming the line of a value without a mark.
    pub fn read(text: &str, file: &str) -> Result<Self> {
        let mut marks = BTreeMap::new();
        let mut table = String::new();
        for (number, line) in text.lines().map(str::trim).enumerate() {
            if let Some(name) = line.strip_prefix('[').and_then(|l| l.split(']').next()) {
                table = name.to_owned();
                continue;
            }
            let Some((key, value)) = line.split_once('=').filter(|_| !line.starts_with('#')) else {
                continue;
            };
            let presets = table == "presets" || table.starts_with("presets.");
            if table.is_empty() || presets {
                continue;
            }
            let comment = value.split_once('#').map_or("", |(_, c)| c.trim());
            let (word, source) = comment.split_once(':').unwrap_or((comment, ""));
            let mark = match word {
                "published" => Some(Mark::Published),
                "released" => Some(Mark::Released),
                "assumed" => Some(Mark::Assumed),
                _ => None,
            };
            let mark = mark.filter(|_| !source.trim().is_empty()).ok_or_else(|| {
                Error::input(format!(
                    "{file}, line {}: {table}.{} has no mark with a source; expected a comment that begins \
                     with published:, released: or assumed: and names the source",
                    number + 1,
                    key.trim()
                ))
            })?;
            marks.insert(format!("{table}.{}", key.trim()), mark);
        }
        Ok(Self(marks))
    }

    /// Notes that `key` was set by a preset or on the command line.
    pub fn change(&mut self, key: &str) {
        self.0.insert(key.to_owned(), Mark::Changed);
    }

    /// The mark of `key`, if the file gives it one.
    pub fn get(&self, key: &str) -> Option<Mark> {
        self.0.get(key).copied()
    }

    /// The keys that carry `mark`, in order.
    pub fn with(&self, mark: Mark) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(_, m)| **m == mark).map(|(k, _)| k.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_come_from_the_comments() {
        let text = "name = \"x\"\n[optim]\n# a remark = no value\nlr = 0.1 # released: configuration\nepochs = 4 # assumed: short\n";
        let mut marks = Marks::read(text, "x.toml").unwrap();
        marks.change("optim.epochs");
        assert_eq!(marks.get("optim.lr"), Some(Mark::Released));
        assert_eq!(marks.with(Mark::Changed).collect::<Vec<_>>(), ["optim.epochs"]);
    }

    #[test]
    fn a_value_without_a_mark_or_its_source_is_named() {
        for comment in ["# because", "", "# released", "# released:", "# assumed : as there"] {
            let e = Marks::read(&format!("[optim]\nlr = 0.1 {comment}\n"), "x.toml").unwrap_err();
            assert!(e.to_string().starts_with("x.toml, line 2: optim.lr"), "{comment}: {e}");
        }
    }
}
