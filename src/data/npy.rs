//! NumPy's `.npy` files of unsigned bytes in C order, versions 1 and 2: what corrupted test sets are
//! kept in. Nothing else is read, and a size that is claimed is compared with the file's before
//! memory is taken for it.

use std::{
    fs::File,
    io::{Read, Seek as _, SeekFrom},
    path::{Path, PathBuf},
};

use crate::{Error, Result};

/// An array of bytes in a file; its header is read, its values are not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NpyBytes {
    path: PathBuf,
    shape: Vec<usize>,
    /// Where the values begin.
    offset: u64,
}

/// Longest header that is believed.
const LONGEST_HEADER: usize = 1 << 16;

impl NpyBytes {
    /// Reads and checks the header of the file at `path`.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be read; [`Error::Input`] if it is no such array, or is longer or
    /// shorter than its shape says.
    pub fn open(path: &Path) -> Result<Self> {
        let bad = |what: &str| {
            Error::input(format!(
                "{}: {what}; expected a NumPy file (.npy, version 1 or 2) of uint8 in C order",
                path.display()
            ))
        };
        let mut file = File::open(path).map_err(Error::io("open", path))?;
        let length = file.metadata().map_err(Error::io("read", path))?.len();
        let mut start = [0; 8];
        file.read_exact(&mut start).map_err(|_| bad("not a NumPy file"))?;
        if &start[..6] != b"\x93NUMPY" {
            return Err(bad("not a NumPy file"));
        }
        let (prefix, header_length) = match start[6] {
            1 => (
                10,
                usize::from(u16::from_le_bytes(take(&mut file).ok_or_else(|| bad("cut off"))?)),
            ),
            2 => (12, u32::from_le_bytes(take(&mut file).ok_or_else(|| bad("cut off"))?) as usize),
            version => return Err(bad(&format!("version {version}"))),
        };
        if header_length > LONGEST_HEADER {
            return Err(bad(&format!("a header of {header_length} bytes")));
        }
        let mut header = vec![0; header_length];
        file.read_exact(&mut header).map_err(|_| bad("cut off in its header"))?;
        let header = std::str::from_utf8(&header).map_err(|_| bad("a header that is no text"))?;
        let Header { descr, fortran, shape } =
            Header::parse(header).ok_or_else(|| bad("a header that cannot be read"))?;
        if descr != "|u1" && descr != "u1" && descr != "<u1" {
            return Err(bad(&format!("values of type {descr}")));
        }
        if fortran {
            return Err(bad("Fortran order"));
        }
        let offset = (prefix + header_length) as u64;
        let size = shape.iter().try_fold(1usize, |product, &n| product.checked_mul(n));
        if size.is_none_or(|size| size as u64 != length - offset) {
            let held = length - offset;
            return Err(bad(&format!("the shape {shape:?} and {held} bytes of values")));
        }
        Ok(Self { path: path.to_path_buf(), shape, offset })
    }

    /// Sizes, outermost first.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Rows `rows` of the outermost axis, all their values.
    ///
    /// # Errors
    /// [`Error::Io`] if the file changed or cannot be read.
    ///
    /// # Panics
    /// If the rows are beyond the shape's.
    pub fn rows(&self, rows: std::ops::Range<usize>) -> Result<Vec<u8>> {
        assert!(
            rows.end <= self.shape[0] && rows.start <= rows.end,
            "rows {rows:?} of {:?}",
            self.shape
        );
        let row: usize = self.shape[1..].iter().product();
        let mut values = vec![0; rows.len() * row];
        let start = self.offset + (rows.start * row) as u64;
        let mut file = File::open(&self.path).map_err(Error::io("open", &self.path))?;
        file.seek(SeekFrom::Start(start)).map_err(Error::io("read", &self.path))?;
        file.read_exact(&mut values).map_err(Error::io("read", &self.path))?;
        Ok(values)
    }
}

fn take<const N: usize>(file: &mut File) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    file.read_exact(&mut bytes).ok()?;
    Some(bytes)
}

#[derive(Debug, PartialEq, Eq)]
struct Header {
    descr: String,
    fortran: bool,
    shape: Vec<usize>,
}

impl Header {
    /// From the text of a Python dictionary with the three keys in any order and no other.
    fn parse(text: &str) -> Option<Self> {
        let mut rest = text.trim().strip_prefix('{')?.strip_suffix('}')?.trim();
        let (mut descr, mut fortran, mut shape) = (None, None, None);
        while !rest.is_empty() {
            let (key, tail) = quoted(rest)?;
            let value = tail.trim_start().strip_prefix(':')?.trim_start();
            rest = match key {
                "descr" => {
                    let (name, tail) = quoted(value)?;
                    descr = Some(name.to_owned());
                    tail
                }
                "fortran_order" => {
                    let (on, off) = (value.strip_prefix("True"), value.strip_prefix("False"));
                    fortran = Some(on.is_some());
                    on.or(off)?
                }
                "shape" => {
                    let (inside, tail) = value.strip_prefix('(')?.split_once(')')?;
                    let sizes = inside.split(',').map(str::trim).filter(|s| !s.is_empty());
                    shape = Some(sizes.map(|s| s.parse().ok()).collect::<Option<Vec<usize>>>()?);
                    tail
                }
                _ => return None,
            };
            rest = rest.trim_start();
            rest = rest.strip_prefix(',').unwrap_or(rest).trim_start();
        }
        let shape = shape.filter(|shape| !shape.is_empty())?;
        Some(Self { descr: descr?, fortran: fortran?, shape })
    }
}

/// The text in quotes at the start, and what follows.
fn quoted(text: &str) -> Option<(&str, &str)> {
    let quote = text.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
    text[1..].split_once(quote)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(version: u8, header: &str, values: &[u8]) -> Vec<u8> {
        let mut bytes = b"\x93NUMPY".to_vec();
        bytes.extend([version, 0]);
        let length = header.len() as u32;
        bytes.extend(&length.to_le_bytes()[..if version == 1 { 2 } else { 4 }]);
        bytes.extend(header.as_bytes());
        bytes.extend(values);
        bytes
    }

    fn open(bytes: &[u8]) -> Result<(NpyBytes, tempfile::TempDir)> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.npy");
        std::fs::write(&path, bytes).unwrap();
        Ok((NpyBytes::open(&path)?, dir))
    }

    #[test]
    fn both_versions_are_read() {
        let header = "{'descr': '|u1', 'fortran_order': False, 'shape': (3, 2), }   \n";
        for version in [1, 2] {
            let (array, _dir) = open(&file(version, header, &[1, 2, 3, 4, 5, 6])).unwrap();
            assert_eq!(array.shape(), [3, 2]);
            assert_eq!(array.rows(1..3).unwrap(), [3, 4, 5, 6]);
        }
        let (flat, _dir) =
            open(&file(1, "{\"shape\": (4,), 'descr': 'u1', 'fortran_order': False}", b"abcd"))
                .unwrap();
        assert_eq!((flat.shape(), flat.rows(0..4).unwrap()), (&[4][..], b"abcd".to_vec()));
    }

    #[test]
    fn everything_else_is_refused_with_the_reason() {
        let good = "{'descr': '|u1', 'fortran_order': False, 'shape': (2,), }";
        for (bytes, said) in [
            (b"PK\x03\x04 a zip file".to_vec(), "not a NumPy file"),
            (b"\x93N".to_vec(), "not a NumPy file"),
            (file(3, good, &[1, 2]), "version 3"),
            (file(1, good, &[1, 2, 3]), "the shape [2] and 3 bytes"),
            (file(1, good, &[1]), "the shape [2] and 1 bytes"),
            (file(1, &good.replace("|u1", "<i8"), &[0; 16]), "type <i8"),
            (file(1, &good.replace("False", "True"), &[1, 2]), "Fortran order"),
            (file(1, &good.replace("(2,)", "(-2,)"), &[1, 2]), "header that cannot be read"),
            (file(1, &good.replace("(2,)", "()"), &[1]), "header that cannot be read"),
            (file(1, &good.replace("'shape': (2,), ", ""), &[1, 2]), "header that cannot be read"),
            (
                file(1, &good.replace("(2,)", "(18446744073709551615, 9)"), &[1, 2]),
                "bytes of values",
            ),
            (file(1, good, &[])[..30].to_vec(), "cut off in its header"),
            (b"\x93NUMPY\x02\x00\xff\xff\xff\x7f".to_vec(), "a header of"),
        ] {
            let e = open(&bytes).unwrap_err();
            assert!(e.to_string().contains(said) && e.exit_code() == 2, "{said}: {e}");
        }
    }
}
