//! The binary records of CIFAR out of its folders, pickles and archives, checked.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::cifar_files::{Batch, Check, Cifar, Form, PIXELS};
use super::pickle::Pickle;
use super::{archive, cache};
use crate::error::quotable;
use crate::{Error, Result};

/// No file of either set is larger.
const MAX_BYTES: u64 = 256 << 20;

/// The batch files, from a folder or an archive.
pub(super) struct Files {
    pub(super) place: String,
    pickled: bool,
    content: Content,
}

enum Content {
    Folder(PathBuf),
    Unpacked(archive::Members),
}

impl Files {
    pub(super) fn open(cifar: Cifar, form: &Form) -> Result<Self> {
        Ok(match form {
            Form::Binary(dir) => Self {
                place: dir.display().to_string(),
                pickled: false,
                content: Content::Folder(dir.clone()),
            },
            Form::Pickle(dir) => Self {
                place: dir.display().to_string(),
                pickled: true,
                content: Content::Folder(dir.clone()),
            },
            Form::Archive(path) => {
                let wanted: Vec<String> =
                    cifar.batches().flat_map(|(s, ..)| [format!("{s}.bin"), (*s).into()]).collect();
                let members = archive::unpack(path, &wanted, MAX_BYTES)?;
                let pickled = !members.contains_key(&format!("{}.bin", cifar.train()[0].0));
                Self {
                    place: path.display().to_string(),
                    pickled,
                    content: Content::Unpacked(members),
                }
            }
        })
    }

    /// The checked binary records of one batch.
    pub(super) fn records(&mut self, cifar: Cifar, batch: &Batch, check: Check) -> Result<Vec<u8>> {
        let &(stem, count, sha256) = batch;
        let file = if self.pickled { stem.to_owned() } else { format!("{stem}.bin") };
        let name = format!("{}/{file}", self.place);
        let bytes = match &mut self.content {
            Content::Folder(dir) => read_file(&dir.join(&file))?,
            Content::Unpacked(members) => members.remove(&file).ok_or_else(|| {
                Error::input(format!("{}: no {file} in this archive", self.place))
            })?,
        };
        let records = if self.pickled { from_pickle(cifar, &bytes, &name, check)? } else { bytes };
        check_records(cifar, &records, &name)?;
        let stride = cifar.label_bytes() + PIXELS;
        if check == Check::Published {
            if records.len() != count * stride {
                return Err(Error::input(format!(
                    "{name}: {} images, expected {count} ({}); --unverified takes other images in this format",
                    records.len() / stride,
                    cifar.name()
                )));
            }
            let found = cache::hex(&Sha256::digest(&records));
            if found != sha256 {
                return Err(Error::input(format!(
                    "{name}: not {}'s: its records have SHA-256 {found}, expected {sha256}; fetch it again (--unverified takes \
                     other images in this format)",
                    cifar.name()
                )));
            }
        }
        Ok(records)
    }
}

fn read_file(path: &Path) -> Result<Vec<u8>> {
    let file = File::open(path).map_err(Error::io("read", path))?;
    let mut bytes = Vec::new();
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(Error::io("read", path))?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(Error::input(format!(
            "{}: larger than any file of CIFAR ({MAX_BYTES} bytes)",
            path.display()
        )));
    }
    Ok(bytes)
}

/// Whole records, at least one, every label in range (the coarse ones of CIFAR-100 too).
fn check_records(cifar: Cifar, records: &[u8], name: &str) -> Result<()> {
    let head = cifar.label_bytes();
    let stride = head + PIXELS;
    if records.is_empty() || !records.len().is_multiple_of(stride) {
        return Err(Error::input(format!(
            "{name}: {} bytes are not whole records of {stride} bytes ({}); truncated? fetch it again",
            records.len(),
            cifar.name()
        )));
    }
    for (index, record) in records.chunks_exact(stride).enumerate() {
        let fine = (usize::from(record[head - 1]), cifar.classes(), "label");
        let coarse = cifar.coarse_classes().map(|n| (usize::from(record[0]), n, "coarse label"));
        for (label, classes, which) in std::iter::once(fine).chain(coarse) {
            if label >= classes {
                return Err(Error::input(format!(
                    "{name}: image {index} has {which} {label}, expected 0..{classes} ({})",
                    cifar.name()
                )));
            }
        }
    }
    Ok(())
}

/// A pickled batch as records of the binary format. Coarse labels, which nothing here uses, may be
/// missing from other data in this format: they are 0 then.
fn from_pickle(cifar: Cifar, bytes: &[u8], name: &str, check: Check) -> Result<Vec<u8>> {
    let wrong =
        |what: &str| Error::input(format!("{name}: {what}; expected a pickled CIFAR batch"));
    let pickle = Pickle::read(bytes).map_err(|e| wrong(&quotable(&e)))?;
    let data = pickle.entry("data").and_then(|id| pickle.byte_array(id));
    let data = data.ok_or_else(|| wrong("no byte array \"data\""))?;
    let &[count, PIXELS] = data.shape.as_slice() else {
        return Err(wrong(&format!("\"data\" has shape {:?}, not [images, {PIXELS}]", data.shape)));
    };
    let keys: &[&str] = match cifar {
        Cifar::Ten => &["labels"],
        Cifar::Hundred => &["coarse_labels", "fine_labels"],
    };
    let mut columns = Vec::new();
    for &key in keys {
        if key == "coarse_labels" && check == Check::Format && pickle.entry(key).is_none() {
            columns.push(vec![0; count]);
            continue;
        }
        let labels = pickle.entry(key).and_then(|id| pickle.integers(id));
        let labels = labels.ok_or_else(|| wrong(&format!("no list \"{key}\"")))?;
        if labels.len() != count {
            return Err(wrong(&format!("{count} images and {} {key}", labels.len())));
        }
        let narrow: Result<Vec<u8>, _> = labels.into_iter().map(u8::try_from).collect();
        columns.push(narrow.map_err(|_| wrong(&format!("a number in {key} is not 0..256")))?);
    }
    let mut records = Vec::with_capacity(count * (columns.len() + PIXELS));
    for (index, pixels) in data.bytes.chunks_exact(PIXELS).enumerate() {
        records.extend(columns.iter().map(|labels| labels[index]));
        records.extend_from_slice(pixels);
    }
    Ok(records)
}
