//! CIFAR-10 and CIFAR-100 (Krizhevsky 2009) in all the forms in which they lie around: the binary
//! folder, the Python pickles that torchvision leaves, and the archives of both.
//!
//! Every form is turned into the records of the binary one, whose checksums are published.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::pickle::Pickle;
use super::{DataSet, ImageSet, archive, cache, names};
use crate::augment::Normalize;
use crate::run::Provenance;
use crate::{Error, Result};

/// Bytes of one image: 32 * 32 red, then green, then blue.
const PIXELS: usize = 3072;

/// No file of either set is larger.
const MAX_BYTES: u64 = 256 << 20;

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cifar {
    /// 10 classes, 5000 training images each.
    Ten,
    /// 100 classes, 500 training images each.
    Hundred,
}

/// What the content is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Check {
    /// The published sizes and SHA-256.
    Published,
    /// Only that it is whole records with labels in range: other data in the same format.
    Format,
}

/// A form in which the set was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Form {
    /// Folder of `.bin` files.
    Binary(PathBuf),
    /// Folder of Python pickles.
    Pickle(PathBuf),
    /// `.tar.gz` of one of these folders.
    Archive(PathBuf),
}

/// A batch file: its name without `.bin`, images in it, SHA-256 of its binary form.
type Batch = (&'static str, usize, &'static str);

const TEN_TRAIN: [Batch; 5] = [
    ("data_batch_1", 10_000, "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5"),
    ("data_batch_2", 10_000, "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed"),
    ("data_batch_3", 10_000, "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67"),
    ("data_batch_4", 10_000, "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48"),
    ("data_batch_5", 10_000, "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add"),
];
const TEN_TEST: [Batch; 1] =
    [("test_batch", 10_000, "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b")];
const HUNDRED_TRAIN: [Batch; 1] =
    [("train", 50_000, "f31298fc616915fa142368359df1c4ca2ae984d6915ca468b998a5ec6aeebf29")];
const HUNDRED_TEST: [Batch; 1] =
    [("test", 10_000, "d8b1e6b7b3bee4020055f0699b111f60b1af1e262aeb93a0b659061746f8224a")];

impl Cifar {
    /// `cifar10` or `cifar100`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ten => "cifar10",
            Self::Hundred => "cifar100",
        }
    }

    /// Number of classes.
    pub fn classes(self) -> usize {
        match self {
            Self::Ten => 10,
            Self::Hundred => 100,
        }
    }

    /// Label bytes before the pixels; the last one is the (fine) label.
    pub(super) fn label_bytes(self) -> usize {
        match self {
            Self::Ten => 1,
            Self::Hundred => 2,
        }
    }

    fn train(self) -> &'static [Batch] {
        match self {
            Self::Ten => &TEN_TRAIN,
            Self::Hundred => &HUNDRED_TRAIN,
        }
    }

    fn test(self) -> &'static [Batch] {
        match self {
            Self::Ten => &TEN_TEST,
            Self::Hundred => &HUNDRED_TEST,
        }
    }

    fn batches(self) -> impl Iterator<Item = &'static Batch> {
        self.train().iter().chain(self.test())
    }

    /// Names of the files of the binary folder that hold images.
    pub(super) fn binary_files(self) -> impl Iterator<Item = String> {
        self.batches().map(|(stem, ..)| format!("{stem}.bin"))
    }

    /// Names of the binary and the Python folder.
    pub fn folders(self) -> [&'static str; 2] {
        match self {
            Self::Ten => ["cifar-10-batches-bin", "cifar-10-batches-py"],
            Self::Hundred => ["cifar-100-binary", "cifar-100-python"],
        }
    }

    /// Names of the binary and the Python archive.
    pub fn archives(self) -> [&'static str; 2] {
        match self {
            Self::Ten => ["cifar-10-binary.tar.gz", "cifar-10-python.tar.gz"],
            Self::Hundred => ["cifar-100-binary.tar.gz", "cifar-100-python.tar.gz"],
        }
    }

    /// Names by label.
    pub fn class_names(self) -> Vec<String> {
        match self {
            Self::Ten => names::CIFAR10.map(str::to_owned).to_vec(),
            Self::Hundred => names::CIFAR100.map(str::to_owned).to_vec(),
        }
    }

    /// The form in which the set lies at `path`: one of the folders or archives, or the folder around
    /// them.
    pub fn locate(self, path: &Path) -> Option<Form> {
        let complete = |dir: &Path, ending: &str| {
            self.batches().all(|(stem, ..)| dir.join(format!("{stem}{ending}")).is_file())
        };
        let folders = self.folders().map(|name| path.join(name));
        for dir in [path, &folders[0], &folders[1]] {
            if complete(dir, ".bin") {
                return Some(Form::Binary(dir.to_path_buf()));
            }
            if complete(dir, "") {
                return Some(Form::Pickle(dir.to_path_buf()));
            }
        }
        if path.is_file() {
            return Some(Form::Archive(path.to_path_buf()));
        }
        let archives = self.archives().map(|name| path.join(name));
        archives.into_iter().find(|path| path.is_file()).map(Form::Archive)
    }

    /// Reads and checks the set at `path` (see [`Cifar::locate`]).
    ///
    /// # Errors
    /// [`Error::Input`] if it is not there, truncated or foreign: the file is named with what was
    /// expected; [`Error::Io`] if it cannot be read.
    pub fn read(self, path: &Path, check: Check) -> Result<DataSet> {
        let form = self.locate(path).ok_or_else(|| self.not_here(path))?;
        self.read_form(&form, check)
    }

    /// What is missing at `path`: a file, if others of its folder are there.
    fn not_here(self, path: &Path) -> Error {
        let ([bin, py], [bin_gz, py_gz]) = (self.folders(), self.archives());
        for dir in [path.to_path_buf(), path.join(bin), path.join(py)] {
            for ending in [".bin", ""] {
                let file = |(stem, ..): &Batch| dir.join(format!("{stem}{ending}"));
                let (there, missing): (Vec<_>, Vec<_>) =
                    self.batches().map(file).partition(|file| file.is_file());
                if let (Some(_), Some(first)) = (there.first(), missing.first()) {
                    return Error::input(format!(
                        "{}: missing, though {} of the {} files of {} are there; fetch the set anew",
                        first.display(),
                        there.len(),
                        there.len() + missing.len(),
                        self.name()
                    ));
                }
            }
        }
        Error::input(format!(
            "{}: no {} here; expected a folder {bin} or {py}, or an archive {bin_gz} or {py_gz}",
            path.display(),
            self.name()
        ))
    }

    fn read_form(self, form: &Form, check: Check) -> Result<DataSet> {
        let mut files = Files::open(self, form)?;
        let source = match check {
            Check::Published => files.place.clone(),
            Check::Format => format!("{}{}", Provenance::UNVERIFIED, files.place),
        };
        let mut set = |batches: &[Batch]| -> Result<ImageSet> {
            let (mut images, mut labels) = (Vec::new(), Vec::new());
            for batch in batches {
                let records = files.records(self, batch, check)?;
                self.unpack(&records, &mut images, &mut labels);
            }
            ImageSet::new(images, (32, 32, 3), labels, self.class_names(), source.clone())
        };
        Ok(DataSet {
            name: self.name().into(),
            train: set(self.train())?,
            test: set(self.test())?,
            normalize: Normalize::cifar(),
        })
    }

    /// Appends records (labels, then planes) as labels and images with channels last.
    fn unpack(self, records: &[u8], images: &mut Vec<u8>, labels: &mut Vec<u32>) {
        let head = self.label_bytes();
        for record in records.chunks_exact(head + PIXELS) {
            labels.push(u32::from(record[head - 1]));
            let (red, rest) = record[head..].split_at(PIXELS / 3);
            let (green, blue) = rest.split_at(PIXELS / 3);
            images.extend(red.iter().zip(green).zip(blue).flat_map(|((&r, &g), &b)| [r, g, b]));
        }
    }

    /// The inverse of `unpack` for one image: one record of the binary format.
    pub(super) fn record(self, label: u32, pixels: &[u8]) -> Vec<u8> {
        let mut record = vec![0; self.label_bytes()];
        record[self.label_bytes() - 1] = label as u8;
        for channel in 0..3 {
            record.extend(pixels.iter().skip(channel).step_by(3));
        }
        record
    }
}

/// The batch files, from a folder or an archive.
struct Files {
    place: String,
    pickled: bool,
    content: Content,
}

enum Content {
    Folder(PathBuf),
    Unpacked(archive::Members),
}

impl Files {
    fn open(cifar: Cifar, form: &Form) -> Result<Self> {
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
    fn records(&mut self, cifar: Cifar, batch: &Batch, check: Check) -> Result<Vec<u8>> {
        let &(stem, count, sha256) = batch;
        let file = if self.pickled { stem.to_owned() } else { format!("{stem}.bin") };
        let name = format!("{}/{file}", self.place);
        let bytes = match &mut self.content {
            Content::Folder(dir) => read_file(&dir.join(&file))?,
            Content::Unpacked(members) => members.remove(&file).ok_or_else(|| {
                Error::input(format!("{}: no {file} in this archive", self.place))
            })?,
        };
        let records = if self.pickled { from_pickle(cifar, &bytes, &name)? } else { bytes };
        check_records(cifar, &records, &name)?;
        let stride = cifar.label_bytes() + PIXELS;
        if check == Check::Published {
            if records.len() != count * stride {
                return Err(Error::input(format!(
                    "{name}: {} images, expected {count} ({})",
                    records.len() / stride,
                    cifar.name()
                )));
            }
            let found = cache::hex(&Sha256::digest(&records));
            if found != sha256 {
                return Err(Error::input(format!(
                    "{name}: not {}'s: its records have SHA-256 {found}, expected {sha256}; fetch it again",
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

/// Whole records, at least one, every label in range.
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
    let labels = records.chunks_exact(stride).map(|record| usize::from(record[head - 1]));
    for (index, label) in labels.enumerate() {
        if label >= cifar.classes() {
            return Err(Error::input(format!(
                "{name}: image {index} has label {label}, expected 0..{} ({})",
                cifar.classes(),
                cifar.name()
            )));
        }
    }
    Ok(())
}

/// A pickled batch as records of the binary format.
fn from_pickle(cifar: Cifar, bytes: &[u8], name: &str) -> Result<Vec<u8>> {
    let wrong =
        |what: &str| Error::input(format!("{name}: {what}; expected a pickled CIFAR batch"));
    let pickle = Pickle::read(bytes).map_err(|e| wrong(&e))?;
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

#[cfg(test)]
mod tests;
