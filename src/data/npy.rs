//! NumPy's `.npy` files in C order, versions 1 and 2, of unsigned bytes (images) or little-endian
//! integers (labels): what corrupted test sets are kept in. Nothing else is read, and a size that is
//! claimed is compared with the file's before memory is taken for it.

use std::{
    fs::File,
    io::{Read, Seek as _, SeekFrom},
    path::{Path, PathBuf},
};

use super::regular;
use crate::error::quotable;
use crate::{Error, Result};

/// An array of bytes in a file; its header is read, its values are not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NpyBytes(Array);

/// Where an array lies in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Array {
    path: PathBuf,
    shape: Vec<usize>,
    kind: Integer,
    /// Where the values begin.
    offset: u64,
}

/// A type of little-endian integers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Integer {
    signed: bool,
    bytes: usize,
}

/// Longest header that is believed.
const LONGEST_HEADER: usize = 1 << 16;

impl Integer {
    /// From NumPy's name of the type, for example `<i8`; the order of a single byte does not matter.
    fn of(descr: &str) -> Option<Self> {
        let (order, name) = match descr.strip_prefix(['<', '|']) {
            Some(name) => (descr.starts_with('<'), name),
            None => (false, descr),
        };
        let (signed, bytes) = match name {
            "u1" => (false, 1),
            "u2" => (false, 2),
            "u4" => (false, 4),
            "u8" => (false, 8),
            "i1" => (true, 1),
            "i2" => (true, 2),
            "i4" => (true, 4),
            "i8" => (true, 8),
            _ => return None,
        };
        (order || bytes == 1).then_some(Self { signed, bytes })
    }

    fn value(self, bytes: &[u8]) -> i128 {
        let wide = bytes.iter().rev().fold(0, |n, &byte| n << 8 | i128::from(byte));
        let limit = 1 << (8 * self.bytes);
        if self.signed && wide >= limit / 2 { wide - limit } else { wide }
    }
}

impl Array {
    /// Reads and checks the header of the file at `path`; `expected` are the types that are taken, in
    /// words.
    fn open(path: &Path, takes: impl Fn(Integer) -> bool, expected: &str) -> Result<Self> {
        let bad = |what: &str| {
            Error::input(format!(
                "{}: {what}; expected a NumPy file (.npy, version 1 or 2) of {expected} in C order",
                path.display()
            ))
        };
        let mut file = regular::open(path, u64::MAX).map_err(Error::io("open", path))?;
        let length = file.metadata().map_err(Error::io("read", path))?.len();
        let (header, offset) = header(&mut file).map_err(|e| bad(&e))?;
        let Header { descr, fortran, shape } =
            Header::parse(&header).ok_or_else(|| bad("a header that cannot be read"))?;
        let Some(kind) = Integer::of(&descr).filter(|&kind| takes(kind)) else {
            return Err(bad(&format!("values of type {}", quotable(&descr))));
        };
        if fortran {
            return Err(bad("Fortran order"));
        }
        let size = shape.iter().try_fold(kind.bytes, |product, &n| product.checked_mul(n));
        let held = length.saturating_sub(offset);
        if size.is_none_or(|size| size as u64 != held) {
            return Err(bad(&format!("the shape {shape:?} and {held} bytes of values")));
        }
        Ok(Self { path: path.to_path_buf(), shape, kind, offset })
    }

    /// The bytes of rows `rows` of the outermost axis.
    fn rows(&self, rows: std::ops::Range<usize>) -> Result<Vec<u8>> {
        assert!(
            rows.end <= self.shape[0] && rows.start <= rows.end,
            "rows {rows:?} of {:?}",
            self.shape
        );
        let row = self.kind.bytes * self.shape[1..].iter().product::<usize>();
        let mut values = vec![0; rows.len() * row];
        let start = self.offset + (rows.start * row) as u64;
        let mut file = File::open(&self.path).map_err(Error::io("open", &self.path))?;
        file.seek(SeekFrom::Start(start)).map_err(Error::io("read", &self.path))?;
        file.read_exact(&mut values).map_err(Error::io("read", &self.path))?;
        Ok(values)
    }
}

/// The header's text, and where the values begin.
fn header(file: &mut File) -> Result<(String, u64), String> {
    let start: [u8; 8] = take(file).ok_or("not a NumPy file")?;
    if &start[..6] != b"\x93NUMPY" {
        return Err("not a NumPy file".into());
    }
    let (prefix, length) = match start[6] {
        1 => (10, usize::from(u16::from_le_bytes(take(file).ok_or("cut off")?))),
        2 => (12, u32::from_le_bytes(take(file).ok_or("cut off")?) as usize),
        version => return Err(format!("version {version}")),
    };
    if length > LONGEST_HEADER {
        return Err(format!("a header of {length} bytes"));
    }
    let mut header = vec![0; length];
    file.read_exact(&mut header).map_err(|_| "cut off in its header")?;
    let header = String::from_utf8(header).map_err(|_| "a header that is no text")?;
    Ok((header, (prefix + length) as u64))
}

/// The values of the one-axis array of integers at `path`, of any width and sign.
///
/// # Errors
/// [`Error::Io`] if it cannot be read; [`Error::Input`] if it is no such array.
pub(super) fn integers(path: &Path) -> Result<impl Iterator<Item = i128>> {
    let array = Array::open(path, |_| true, "integers (i1 to i8, u1 to u8, little-endian)")?;
    let [n] = array.shape[..] else {
        let shape = &array.shape;
        return Err(Error::input(format!(
            "{}: shape {shape:?}; expected one axis",
            path.display()
        )));
    };
    let (bytes, kind) = (array.rows(0..n)?, array.kind);
    Ok((0..n).map(move |i| kind.value(&bytes[i * kind.bytes..][..kind.bytes])))
}

impl NpyBytes {
    /// Reads and checks the header of the file at `path`.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be read; [`Error::Input`] if it is no such array, or is longer or
    /// shorter than its shape says.
    pub fn open(path: &Path) -> Result<Self> {
        Array::open(path, |kind| kind == Integer { signed: false, bytes: 1 }, "uint8").map(Self)
    }

    /// Sizes, outermost first.
    pub fn shape(&self) -> &[usize] {
        &self.0.shape
    }

    /// Rows `rows` of the outermost axis, all their values.
    ///
    /// # Errors
    /// [`Error::Io`] if the file changed or cannot be read.
    ///
    /// # Panics
    /// If the rows are beyond the shape's.
    pub fn rows(&self, rows: std::ops::Range<usize>) -> Result<Vec<u8>> {
        self.0.rows(rows)
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

    /// `integers` of a file of this type with these bytes.
    fn integers_of(descr: &str, shape: &str, values: &[u8]) -> Result<Vec<i128>> {
        let header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}");
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("labels.npy");
        std::fs::write(&path, file(1, &header, values)).unwrap();
        Ok(integers(&path)?.collect())
    }

    #[test]
    fn integers_of_every_width_and_sign_are_read() {
        let read = |descr, n: usize, values: &[u8]| {
            integers_of(descr, &format!("({n},)"), values).unwrap()
        };
        assert_eq!(read("|u1", 2, &[7, 255]), [7, 255]);
        assert_eq!(read("|i1", 2, &[7, 255]), [7, -1]);
        assert_eq!(read("<u2", 2, &[1, 2, 0, 255]), [513, 65_280]);
        assert_eq!(read("<i2", 2, &[1, 2, 0, 255]), [513, -256]);
        let values = [9, -3, i32::MIN].map(i32::to_le_bytes);
        assert_eq!(read("<i4", 3, values.as_flattened()), [9, -3, i128::from(i32::MIN)]);
        assert_eq!(read("<u4", 1, &u32::MAX.to_le_bytes()), [i128::from(u32::MAX)]);
        let values = [9, -3, i64::MIN].map(i64::to_le_bytes);
        assert_eq!(read("<i8", 3, values.as_flattened()), [9, -3, i128::from(i64::MIN)]);
        assert_eq!(read("<u8", 1, &u64::MAX.to_le_bytes()), [i128::from(u64::MAX)]);

        let refused =
            |descr, shape, n| integers_of(descr, shape, &vec![0; n]).unwrap_err().to_string();
        for descr in [">i8", "i8", "<f8", "|b1", "<i16"] {
            let e = refused(descr, "(2,)", 16);
            assert!(e.contains(&format!("values of type {descr}")), "{e}");
            assert!(e.contains("little-endian"), "{e}");
        }
        assert!(refused("<i8", "(2,)", 2).contains("the shape [2] and 2 bytes of values"));
        assert!(refused("<i8", "(2, 1)", 16).contains("shape [2, 1]; expected one axis"));
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
            (file(1, &good.replace("|u1", "<i\r\n"), &[0; 16]), "type <i\\r\\n;"),
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
