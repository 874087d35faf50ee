//! Where fetched data lives, checksums, and putting a folder in place as a whole or not at all.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::{Error, Result};

/// `$XDG_CACHE_HOME/rescom/data`, or the same below `~/.cache`.
///
/// # Errors
/// [`Error::Input`] if neither XDG_CACHE_HOME nor HOME is set.
pub fn data_dir() -> Result<PathBuf> {
    let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|p| p.is_absolute());
    absolute("XDG_CACHE_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".cache")))
        .map(|cache| cache.join("rescom").join("data"))
        .ok_or_else(|| {
            Error::input("no cache folder: neither XDG_CACHE_HOME nor HOME is set; give --data DIR")
        })
}

/// Of a file of the cache that cannot be used: it is named and left where it is.
pub(super) fn to_be_moved_away(error: Error) -> Error {
    match error {
        Error::Input(why) => Error::input(format!(
            "{why}; once it is moved out of the cache the same command fetches the set anew"
        )),
        other => other,
    }
}

/// Lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// SHA-256 of everything that `reader` gives, hex.
///
/// # Errors
/// Those of the reader.
pub fn sha256_of(mut reader: impl Read) -> std::io::Result<String> {
    let mut hash = Sha256::new();
    let mut block = vec![0; 1 << 16];
    loop {
        match reader.read(&mut block)? {
            0 => return Ok(hex(&hash.finalize())),
            n => hash.update(&block[..n]),
        }
    }
}

/// Fills a fresh folder beside `target` and renames it to `target`: whoever looks sees all of it or
/// nothing. A folder already there is replaced only after `fill` succeeded.
///
/// # Errors
/// Those of `fill`, and [`Error::Io`] if a folder cannot be made or renamed; nothing is left behind.
pub fn put_in_place(target: &Path, fill: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let parent = target.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(parent).map_err(Error::io("create", parent))?;
    let fresh = tempfile::Builder::new()
        .prefix(".incoming-")
        .tempdir_in(parent)
        .map_err(Error::io("create a folder in", parent))?;
    let content = fresh.path().join("content");
    fs::create_dir(&content).map_err(Error::io("create", &content))?;
    fill(&content)?;
    // The old folder, if any, moves into the temporary one and goes with it.
    let old = fresh.path().join("old");
    match fs::rename(target, &old) {
        Ok(()) => {}
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
        Err(e) => return Err(Error::io("replace", target)(e)),
    }
    fs::rename(&content, target).map_err(Error::io("create", target))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_appears_whole_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("set");
        let failed = put_in_place(&target, |d| {
            fs::write(d.join("half"), "x").unwrap();
            Err(Error::run("stopped"))
        });
        assert!(failed.is_err() && !target.exists());
        for text in ["one", "two"] {
            put_in_place(&target, |d| fs::write(d.join("a"), text).map_err(Error::io("write", d)))
                .unwrap();
            assert_eq!(fs::read_to_string(target.join("a")).unwrap(), text);
        }
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "temporary folders left behind");
    }

    #[test]
    fn checksums_are_those_of_sha256() {
        let abc = sha256_of(&b"abc"[..]).unwrap();
        assert_eq!(abc, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
}
