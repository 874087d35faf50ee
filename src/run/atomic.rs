//! Whole-file writes: to a temporary file beside the target, flushed to disk, then renamed.

use std::{
    fs::{self, File},
    io::Write as _,
    path::Path,
};

use crate::{Error, Result, error::quotable};

/// How the name of a file begins that is still being written.
const INCOMPLETE: &str = ".incomplete-";

/// Removes what writes that were killed left in `folder`. Nobody else may be writing there. Best
/// effort: what stays takes room and harms nobody.
pub(super) fn remove_incomplete(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_name().to_str().is_some_and(|name| name.starts_with(INCOMPLETE)) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Writes `bytes` to `path` so that a reader, now or after a crash, sees the old file or the new
/// one and nothing between.
///
/// # Errors
/// [`Error::Io`] naming `path`; the old file is then untouched.
pub fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let folder = match path.parent() {
        Some(p) if !p.as_os_str().is_empty() => p,
        _ => Path::new("."),
    };
    fs::create_dir_all(folder).map_err(Error::io("create folder", folder))?;
    let mut builder = tempfile::Builder::new();
    builder.prefix(INCOMPLETE);
    // Temporary files are private by default; results are as open as the user's umask makes files.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let mut file = builder.tempfile_in(folder).map_err(Error::io("write", path))?;
    file.write_all(bytes).map_err(Error::io("write", path))?;
    file.as_file().sync_all().map_err(Error::io("flush", path))?;
    file.persist(path).map_err(|e| Error::io("rename", path)(e.error))?;
    // Without this the rename itself may be lost in a power cut.
    File::open(folder).and_then(|d| d.sync_all()).map_err(Error::io("flush folder of", path))
}

/// [`write()`] of pretty-printed JSON with a final newline.
///
/// # Errors
/// As [`write()`].
pub fn write_json<T: serde::Serialize>(path: &Path, value: &T) -> Result<()> {
    let mut text = serde_json::to_string_pretty(value)
        .map_err(|e| Error::run(format!("cannot express {} as JSON: {e}", path.display())))?;
    text.push('\n');
    write(path, text.as_bytes())
}

/// Reads JSON; the error names the file, and the line and column that do not fit.
///
/// # Errors
/// [`Error::Io`] if the file cannot be read, [`Error::Input`] if it is damaged or foreign.
pub fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T> {
    let text = fs::read_to_string(path).map_err(Error::io("read", path))?;
    serde_json::from_str(&text).map_err(|e| {
        Error::input(format!(
            "{}: damaged or written by another version ({}); it is left as it is: move it away to start anew",
            path.display(),
            quotable(&e.to_string())
        ))
    })
}

/// Reads TOML; the error names the file, and the line that does not fit.
///
/// # Errors
/// As [`read_json`].
pub fn read_toml<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T> {
    let text = fs::read_to_string(path).map_err(Error::io("read", path))?;
    toml::from_str(&text).map_err(|e| {
        Error::input(format!(
            "{}: damaged or written by another version; it is left as it is: move it away to start anew",
            toml_fault(&path.display().to_string(), &text, &e)
        ))
    })
}

/// "FILE, line N: what is wrong", in one line.
pub(super) fn toml_fault(source: &str, text: &str, error: &toml::de::Error) -> String {
    let what = quotable(&error.message().trim().replace('\n', " "));
    let before = error.span().and_then(|span| text.get(..span.start));
    match before {
        Some(before) => format!("{source}, line {}: {what}", before.matches('\n').count() + 1),
        None => format!("{source}: {what}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_replaces_the_whole_file_and_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sub/record.json");
        write_json(&path, &vec![1; 1000]).unwrap();
        write_json(&path, &[7]).unwrap();
        assert_eq!(read_json::<Vec<u32>>(&path).unwrap(), [7]);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[cfg(unix)]
    #[test]
    fn files_are_as_open_as_the_user_has_them() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let (ours, plain) = (dir.path().join("ours"), dir.path().join("plain"));
        write(&ours, b"x").unwrap();
        fs::write(&plain, b"x").unwrap();
        let mode = |path| fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode(&ours), mode(&plain));
    }

    #[test]
    fn a_damaged_file_is_named_and_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("record.json");
        fs::write(&path, "[1, 2").unwrap();
        let e = read_json::<Vec<u32>>(&path).unwrap_err();
        assert!(e.to_string().contains("record.json"), "{e}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "[1, 2");
        fs::write(&path, "{\"e\u{7f}\\u001boch\": 1}").unwrap();
        let e = read_json::<Known>(&path).unwrap_err().to_string();
        assert!(e.contains("unknown field `e\\u{7f}\\u{1b}och`"), "{e}");
    }

    #[test]
    fn a_damaged_toml_file_is_named_with_the_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("recipe.toml");
        fs::write(&path, "a = 1\nb = = 2\n").unwrap();
        let e = read_toml::<toml::Table>(&path).unwrap_err().to_string();
        assert!(e.contains("recipe.toml, line 2: ") && !e.contains('\n'), "{e}");
    }

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Known {}
}
