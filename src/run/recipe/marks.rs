//! Where the values of a recipe come from.

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

impl Mark {
    /// The word that stands for it in recipes and records.
    pub fn name(self) -> &'static str {
        match self {
            Self::Published => "published",
            Self::Released => "released",
            Self::Assumed => "assumed",
            Self::Changed => "changed",
        }
    }
}

/// What the recipe file said where a preset or the command line set another value.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Replaced {
    /// The file's value, as TOML text.
    pub was: String,
    /// Where that value came from.
    pub mark: Mark,
}

/// Records older than [`Replaced`] hold the word `changed` alone.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(untagged)]
enum Entry {
    Marked(Mark),
    Replaced(Replaced),
}

/// The mark of every value of a recipe file, by dotted key (`optim.lr`), read from the comment
/// behind the value: `lr = 0.1  # released: configuration for CIFAR-100, factor 100`.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Marks(BTreeMap<String, Entry>);

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
            marks.insert(format!("{table}.{}", key.trim()), Entry::Marked(mark));
        }
        Ok(Self(marks))
    }

    /// Notes that a preset or the command line set `key` from `was` to `value`, both TOML text. The
    /// file's own value is remembered, and a return to it is no change.
    pub fn change(&mut self, key: &str, was: &str, value: &str) {
        let (was, mark) = match self.0.get(key) {
            Some(Entry::Replaced(first)) => (first.was.clone(), first.mark),
            Some(Entry::Marked(mark)) if *mark != Mark::Changed => (was.to_owned(), *mark),
            // What the value of an older record was changed from is not known.
            _ => return drop(self.0.insert(key.to_owned(), Entry::Marked(Mark::Changed))),
        };
        let back = was == value;
        let entry =
            if back { Entry::Marked(mark) } else { Entry::Replaced(Replaced { was, mark }) };
        self.0.insert(key.to_owned(), entry);
    }

    /// Drops the marks of the values of `table`.
    pub(super) fn forget(&mut self, table: &str) {
        self.0.retain(|key, _| key.split_once('.').is_none_or(|(of, _)| of != table));
    }

    /// The mark of `key`, if the file gives it one.
    pub fn get(&self, key: &str) -> Option<Mark> {
        self.0.get(key).map(|entry| match entry {
            Entry::Marked(mark) => *mark,
            Entry::Replaced(_) => Mark::Changed,
        })
    }

    /// What the file said at `key`, where that was replaced and is known.
    pub fn replaced(&self, key: &str) -> Option<&Replaced> {
        match self.0.get(key) {
            Some(Entry::Replaced(replaced)) => Some(replaced),
            _ => None,
        }
    }

    /// The keys that carry `mark`, in order.
    pub fn with(&self, mark: Mark) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str).filter(move |key| self.get(key) == Some(mark))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_come_from_the_comments() {
        let text = "name = \"x\"\n[optim]\n# a remark = no value\nlr = 0.1 # released: configuration\nepochs = 4 # assumed: short\n";
        let mut marks = Marks::read(text, "x.toml").unwrap();
        marks.change("optim.epochs", "4", "2");
        assert_eq!(marks.get("optim.lr"), Some(Mark::Released));
        assert_eq!(marks.with(Mark::Changed).collect::<Vec<_>>(), ["optim.epochs"]);
    }

    #[test]
    fn the_first_value_is_remembered_and_a_return_to_it_is_no_change() {
        let mut marks = Marks::read("[optim]\nepochs = 400 # released: x\n", "x.toml").unwrap();
        let untouched = marks.clone();
        marks.change("optim.epochs", "400", "8");
        marks.change("optim.epochs", "8", "20");
        let expected = Replaced { was: "400".into(), mark: Mark::Released };
        assert_eq!(marks.replaced("optim.epochs"), Some(&expected));
        let text = serde_json::to_string(&marks).unwrap();
        assert_eq!(text, r#"{"optim.epochs":{"was":"400","mark":"released"}}"#);
        assert_eq!(serde_json::from_str::<Marks>(&text).unwrap(), marks);
        marks.change("optim.epochs", "20", "400");
        assert_eq!(marks, untouched);
    }

    #[test]
    fn records_without_the_replaced_value_are_read() {
        let old = r#"{"optim.epochs":"changed","optim.lr":"released"}"#;
        let mut marks: Marks = serde_json::from_str(old).unwrap();
        assert_eq!(marks.get("optim.epochs"), Some(Mark::Changed));
        // Eight was a preset's value, not the file's.
        marks.change("optim.epochs", "8", "20");
        assert_eq!(
            (marks.replaced("optim.epochs"), marks.get("optim.lr")),
            (None, Some(Mark::Released))
        );
    }

    #[test]
    fn a_value_without_a_mark_or_its_source_is_named() {
        for comment in ["# because", "", "# released", "# released:", "# assumed : as there"] {
            let e = Marks::read(&format!("[optim]\nlr = 0.1 {comment}\n"), "x.toml").unwrap_err();
            assert!(e.to_string().starts_with("x.toml, line 2: optim.lr"), "{comment}: {e}");
        }
    }
}
