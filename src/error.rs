//! The one error type of the library: a line that says what was wrong, where, what was expected
//! and what to do; and the exit code that goes with it.

use std::path::{Path, PathBuf};

/// Result with the library's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong. The programs print the message as one line and exit with [`Error::exit_code`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Bad usage or bad input: what the user gave cannot be used as it is.
    #[error("{0}")]
    Input(String),
    /// A run that started correctly and then failed.
    #[error("{0}")]
    Run(String),
    /// The operating system refused to read or write `path`.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was attempted, as a verb: "read", "create", "rename".
        action: &'static str,
        /// The file or folder it was attempted on.
        path: PathBuf,
        /// The system's own words.
        source: std::io::Error,
    },
}

impl Error {
    /// Bad usage or input (exit code 2).
    pub fn input(message: impl Into<String>) -> Self {
        Self::Input(message.into())
    }

    /// A failed run (exit code 1).
    pub fn run(message: impl Into<String>) -> Self {
        Self::Run(message.into())
    }

    /// Turns an `io::Error` into one that names the file; for `map_err`.
    pub fn io(action: &'static str, path: impl AsRef<Path>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.as_ref().to_path_buf();
        move |source| Self::Io { action, path, source }
    }

    /// 2 for bad usage or input (a missing or unreadable input file included), 1 for a failed run.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Input(_) => 2,
            Self::Io { action: "read" | "open", .. } => 2,
            Self::Run(_) | Self::Io { .. } => 1,
        }
    }
}

/// What a foreign file says, fit to be quoted in an error: without control characters, which could break
/// the line or the terminal, and at most 400 characters of it.
pub(crate) fn quotable(text: &str) -> String {
    const MOST: usize = 400;
    let mut quote = String::new();
    for c in text.chars().take(MOST) {
        if c.is_control() {
            quote.extend(c.escape_default());
        } else {
            quote.push(c);
        }
    }
    if text.chars().nth(MOST).is_some() {
        quote.push_str("...");
    }
    quote
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_words_stay_on_one_short_line() {
        assert_eq!(quotable("<i8 é"), "<i8 é");
        assert_eq!(quotable("a\r\n\u{1b}[2J"), "a\\r\\n\\u{1b}[2J");
        assert_eq!(quotable(&"x".repeat(5000)), "x".repeat(400) + "...");
    }

    #[test]
    fn exit_codes_follow_who_is_to_blame() {
        let denied = || std::io::Error::from(std::io::ErrorKind::PermissionDenied);
        assert_eq!(Error::input("x").exit_code(), 2);
        assert_eq!(Error::run("x").exit_code(), 1);
        assert_eq!(Error::io("read", "a.csv")(denied()).exit_code(), 2);
        assert_eq!(Error::io("write", "a.csv")(denied()).exit_code(), 1);
    }

    #[test]
    fn an_io_error_names_the_file() {
        let e = Error::io("read", "some/file.csv")(std::io::ErrorKind::NotFound.into());
        assert!(e.to_string().starts_with("cannot read some/file.csv: "), "{e}");
    }
}
