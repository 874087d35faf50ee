//! The idx format of MNIST and its successors, plain or gzip-compressed.

use std::io::{BufReader, Read};
use std::path::Path;

use flate2::read::MultiGzDecoder;

use super::{cache, regular};
use crate::{Error, Result};

/// Largest array that is read: MNIST-like sets have 47 MB; anything far larger is a foreign file.
const MAX_BYTES: u64 = 1 << 30;

/// An idx array of bytes with its checksum.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdxArray {
    /// Sizes, outermost first.
    pub shape: Vec<usize>,
    /// The entries, row-major.
    pub values: Vec<u8>,
    /// SHA-256 of the uncompressed file, hex.
    pub sha256: String,
}

/// An idx file of which only the header was read.
pub struct IdxFile<'a, R> {
    /// Sizes, outermost first, as the header states them.
    pub shape: Vec<usize>,
    header: Vec<u8>,
    reader: R,
    path: &'a Path,
}

/// Opens `path`, uncompressing it if its first bytes are gzip's, and reads the header.
///
/// # Errors
/// [`Error::Io`] if it cannot be opened or read, [`Error::Input`] if it is not an idx file of bytes with
/// `dimensions` sizes that a data set can have.
pub fn open(path: &Path, dimensions: usize) -> Result<IdxFile<'_, Box<dyn Read>>> {
    let file = regular::open(path, u64::MAX).map_err(Error::io("read", path))?;
    let mut buffered = BufReader::with_capacity(1 << 16, file);
    let start = std::io::BufRead::fill_buf(&mut buffered).map_err(Error::io("read", path))?;
    let reader: Box<dyn Read> = if start.starts_with(&[0x1f, 0x8b]) {
        Box::new(MultiGzDecoder::new(buffered))
    } else {
        Box::new(buffered)
    };
    IdxFile::begin(reader, dimensions, path)
}

/// Reads `path` as a whole, see [`open`] and [`IdxFile::finish`].
///
/// # Errors
/// Those of the two.
pub fn read(path: &Path, dimensions: usize) -> Result<IdxArray> {
    open(path, dimensions)?.finish()
}

/// Reads an uncompressed idx file of bytes from `reader`; `path` is only named in errors.
///
/// # Errors
/// As [`read`].
pub fn parse(reader: impl Read, dimensions: usize, path: &Path) -> Result<IdxArray> {
    IdxFile::begin(reader, dimensions, path)?.finish()
}

impl<'a, R: Read> IdxFile<'a, R> {
    fn begin(mut reader: R, dimensions: usize, path: &'a Path) -> Result<Self> {
        let wrong = |what: String| Error::input(format!("{}: {what}", path.display()));
        let mut header = vec![0; 4 + 4 * dimensions];
        reader.read_exact(&mut header).map_err(truncated(path, "the header is cut short"))?;
        if header[..3] != [0, 0, 8] || usize::from(header[3]) != dimensions {
            return Err(wrong(format!(
                "not an idx file of bytes with {dimensions} dimensions: it begins {:02x?}, expected {:02x?}",
                &header[..4],
                [0, 0, 8, dimensions as u8]
            )));
        }
        let shape: Vec<usize> = header[4..]
            .chunks_exact(4)
            .map(|b| u32::from_be_bytes([b[0], b[1], b[2], b[3]]) as usize)
            .collect();
        match entries(&shape) {
            Some(1..=MAX_BYTES) => Ok(Self { shape, header, reader, path }),
            _ => Err(wrong(format!(
                "idx sizes {shape:?} are not those of a data set (1 to {MAX_BYTES} bytes expected)"
            ))),
        }
    }

    /// Reads the entries.
    ///
    /// # Errors
    /// [`Error::Input`] if the file is truncated or goes on after its last entry, [`Error::Io`] if it
    /// cannot be read.
    pub fn finish(mut self) -> Result<IdxArray> {
        let (path, shape) = (self.path, self.shape);
        let wrong = |what: String| Error::input(format!("{}: {what}", path.display()));
        let bytes = entries(&shape).unwrap_or(0);
        // Memory grows with what is really there, not with what the header claims.
        let mut values = Vec::new();
        let mut body = self.reader.by_ref().take(bytes);
        let read = body.read_to_end(&mut values).map_err(truncated(path, "broken off"))?;
        if (read as u64) < bytes {
            return Err(wrong(format!(
                "truncated: {read} of the {bytes} entries that its header {shape:?} states; fetch it again"
            )));
        }
        if self.reader.read(&mut [0]).map_err(truncated(path, "broken end"))? != 0 {
            return Err(wrong(format!(
                "goes on after the {bytes} entries that its header {shape:?} states"
            )));
        }
        let sha256 = cache::sha256_of(self.header.chain(values.as_slice()))
            .map_err(Error::io("read", path))?;
        Ok(IdxArray { shape, values, sha256 })
    }
}

fn entries(shape: &[usize]) -> Option<u64> {
    shape.iter().try_fold(1u64, |n, &side| n.checked_mul(side as u64))
}

/// Of a file that ends or is garbled where it should go on.
fn truncated(path: &Path, what: &'static str) -> impl FnOnce(std::io::Error) -> Error {
    move |e| {
        use std::io::ErrorKind::{InvalidData, InvalidInput, UnexpectedEof};
        match e.kind() {
            UnexpectedEof | InvalidData | InvalidInput => Error::input(format!(
                "{}: not a whole idx file: {what} ({e}); fetch it again",
                path.display()
            )),
            _ => Error::io("read", path)(e),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn bytes() -> Vec<u8> {
        [&[0, 0, 8, 2, 0, 0, 0, 2, 0, 0, 0, 3][..], &[1, 2, 3, 4, 5, 6]].concat()
    }

    #[test]
    fn plain_and_compressed_read_alike() {
        let dir = tempfile::tempdir().unwrap();
        let (plain, packed) = (dir.path().join("a"), dir.path().join("a.gz"));
        std::fs::write(&plain, bytes()).unwrap();
        let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gz.write_all(&bytes()).unwrap();
        std::fs::write(&packed, gz.finish().unwrap()).unwrap();
        let array = read(&plain, 2).unwrap();
        assert_eq!(
            (array.shape.as_slice(), array.values.as_slice()),
            (&[2, 3][..], &[1, 2, 3, 4, 5, 6][..])
        );
        assert_eq!(array.sha256, cache::sha256_of(&bytes()[..]).unwrap());
        assert_eq!(read(&packed, 2).unwrap(), array);
    }

    #[test]
    fn every_truncation_is_noticed() {
        let whole = bytes();
        for n in 0..whole.len() {
            let e = parse(&whole[..n], 2, Path::new("f")).unwrap_err();
            assert_eq!(e.exit_code(), 2, "{n}: {e}");
        }
        let longer = [&whole[..], &[0]].concat();
        assert!(parse(&longer[..], 2, Path::new("f")).unwrap_err().to_string().contains("goes on"));
        assert!(parse(&whole[..], 3, Path::new("f")).is_err());
    }

    #[test]
    fn a_huge_claim_takes_no_memory() {
        let claim = [&[0, 0, 8, 2][..], &[0xff; 8]].concat();
        assert!(parse(&claim[..], 2, Path::new("f")).is_err());
        let claim = [&[0, 0, 8, 2, 0x10, 0, 0, 0, 0, 0, 0, 4][..], &[7; 9]].concat();
        let e = parse(&claim[..], 2, Path::new("f")).unwrap_err();
        assert!(e.to_string().contains("truncated: 9 of"), "{e}");
    }
}
