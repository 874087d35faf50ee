//! Opening what must be a regular file: a FIFO would be waited for without end, a device never ends.

use std::fs::{self, File, FileType};
use std::io;
use std::path::Path;

/// Opens the regular file at `path`, or the one that a link there leads to, of at most `max_bytes`.
///
/// # Errors
/// If it is something else, which is then not opened, or larger; those of the system.
pub(super) fn open(path: &Path, max_bytes: u64) -> io::Result<File> {
    let about = fs::metadata(path)?;
    if !about.is_file() {
        let kind = kind(about.file_type());
        return Err(io::Error::other(format!("{kind}, not a regular file")));
    }
    if about.len() > max_bytes {
        let what = format!("{} bytes, more than the {max_bytes} that are read", about.len());
        return Err(io::Error::other(what));
    }
    File::open(path)
}

#[cfg(unix)]
fn kind(of: FileType) -> &'static str {
    use std::os::unix::fs::FileTypeExt as _;
    match of {
        _ if of.is_dir() => "a folder",
        _ if of.is_fifo() => "a FIFO",
        _ if of.is_char_device() => "a character device",
        _ if of.is_block_device() => "a block device",
        _ => "a socket",
    }
}

#[cfg(not(unix))]
fn kind(of: FileType) -> &'static str {
    if of.is_dir() { "a folder" } else { "something else" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_opened_up_to_its_bound_and_a_folder_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        fs::write(&path, [7; 9]).unwrap();
        assert!(open(&path, 9).is_ok());
        let refused = |path: &Path| open(path, 8).unwrap_err().to_string();
        assert_eq!(refused(&path), "9 bytes, more than the 8 that are read");
        assert_eq!(refused(dir.path()), "a folder, not a regular file");
    }
}
