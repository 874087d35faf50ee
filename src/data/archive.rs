//! Files out of a `.tar.gz`, into memory.

use std::collections::BTreeMap;
use std::path::Path;

use crate::{Error, Result};

/// Content by file name (without folders).
pub(super) type Members = BTreeMap<String, Vec<u8>>;

/// Reads the members of the archive at `path` whose file name is in `wanted`; none may be larger than
/// `max_bytes`. Reads to the end of the compressed file and checks its CRC.
///
/// # Errors
/// [`Error::Input`] if it is not a whole gzip-compressed tar archive, [`Error::Io`] if it cannot be read.
#[cfg(feature = "train")]
pub(super) fn unpack(path: &Path, wanted: &[String], max_bytes: u64) -> Result<Members> {
    use std::fs::File;
    use std::io::{self, BufReader, Read as _};

    use crate::error::quotable;

    let broken = |e: io::Error| {
        Error::input(format!(
            "{}: not a whole .tar.gz ({}); fetch it again",
            path.display(),
            quotable(&e.to_string())
        ))
    };
    let file = File::open(path).map_err(Error::io("read", path))?;
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(BufReader::new(file)));
    let mut members = Members::new();
    for entry in archive.entries().map_err(broken)? {
        let entry = entry.map_err(broken)?;
        let name = entry.path().ok().and_then(|p| Some(p.file_name()?.to_str()?.to_owned()));
        let Some(name) = name.filter(|name| wanted.contains(name)) else { continue };
        match entry.header().entry_type() {
            kind if kind.is_file() => {}
            // A folder may be called as a file is, `train`.
            kind if kind.is_dir() => continue,
            kind => {
                return Err(Error::input(format!(
                    "{}: its {name} is no file but an entry of type {kind:?}; unpack it, and give the folder",
                    path.display()
                )));
            }
        }
        let size = entry.size();
        if size > max_bytes {
            return Err(Error::input(format!(
                "{}: its {name} claims {size} bytes, more than any file expected here",
                path.display()
            )));
        }
        let mut bytes = Vec::new();
        entry.take(max_bytes).read_to_end(&mut bytes).map_err(broken)?;
        if (bytes.len() as u64) < size {
            return Err(Error::input(format!(
                "{}: truncated within {name} ({} of {size} bytes); fetch it again",
                path.display(),
                bytes.len()
            )));
        }
        members.insert(name, bytes);
    }
    // A tar archive ends before its gzip file does, whose checksum covers every byte above.
    let mut rest = archive.into_inner().take(max_bytes);
    if io::copy(&mut rest, &mut io::sink()).map_err(broken)? == max_bytes {
        return Err(Error::input(format!(
            "{}: goes on for {max_bytes} bytes after its last file; fetch it again",
            path.display()
        )));
    }
    Ok(members)
}

/// Archives need the feature `train`.
#[cfg(not(feature = "train"))]
pub(super) fn unpack(path: &Path, _wanted: &[String], _max_bytes: u64) -> Result<Members> {
    Err(Error::run(format!(
        "{}: this build does not read archives; unpack it with tar, or build with --features train",
        path.display()
    )))
}
