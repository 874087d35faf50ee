//! The two sets of CIFAR: their classes, the names and published checksums of their files, and the forms
//! in which they lie around.

use std::path::{Path, PathBuf};

use super::names;

/// Bytes of one image: 32 * 32 red, then green, then blue.
pub(super) const PIXELS: usize = 3072;

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

impl Form {
    /// The folder or file.
    pub fn path(&self) -> &Path {
        match self {
            Self::Binary(path) | Self::Pickle(path) | Self::Archive(path) => path,
        }
    }
}

/// A batch file: its name without `.bin`, images in it, SHA-256 of its binary form.
pub(super) type Batch = (&'static str, usize, &'static str);

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

    /// Coarse classes, whose label comes before the fine one; none with ten classes.
    pub(super) fn coarse_classes(self) -> Option<usize> {
        match self {
            Self::Ten => None,
            Self::Hundred => Some(20),
        }
    }

    /// Label bytes before the pixels; the last one is the (fine) label.
    pub(super) fn label_bytes(self) -> usize {
        match self {
            Self::Ten => 1,
            Self::Hundred => 2,
        }
    }

    pub(super) fn train(self) -> &'static [Batch] {
        match self {
            Self::Ten => &TEN_TRAIN,
            Self::Hundred => &HUNDRED_TRAIN,
        }
    }

    pub(super) fn test(self) -> &'static [Batch] {
        match self {
            Self::Ten => &TEN_TEST,
            Self::Hundred => &HUNDRED_TEST,
        }
    }

    pub(super) fn batches(self) -> impl Iterator<Item = &'static Batch> {
        self.train().iter().chain(self.test())
    }

    /// Names of the files in the binary folder.
    pub(super) fn binary_files(self) -> Vec<String> {
        self.batches().map(|(stem, ..)| format!("{stem}.bin")).collect()
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
}
