use std::{fmt, path::PathBuf};

use serde::{Deserialize, Serialize};

/// What kind of images a run was made on, and where they are: enough to find them again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum DataKind {
    /// Fashion-MNIST's four files.
    FashionMnist {
        /// Folder that was given; none: the usual place, which is the cache, what is installed, or fetched.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        place: Option<PathBuf>,
    },
    /// CIFAR-10 or CIFAR-100, in any of their formats.
    Cifar {
        /// Folder or archive that was given; none: the usual place, which is the cache or fetched.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        place: Option<PathBuf>,
    },
    /// Images in files that lists name.
    ImageList {
        /// List of the training images.
        train_list: PathBuf,
        /// List of the test images.
        test_list: PathBuf,
        /// Folder that the paths in the lists start from.
        root: PathBuf,
    },
    /// Images in files, one folder per class.
    ClassFolders {
        /// Folder with the class folders of the training images.
        train: PathBuf,
        /// The same of the test images.
        test: PathBuf,
    },
    /// Images that this program drew.
    Generated {
        /// Everything follows from it.
        seed: u64,
        /// Training images of every class; none: as many as the real set has.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        train_per_class: Option<usize>,
    },
}

/// Where the images of a run came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataSource {
    /// What they are and where.
    #[serde(flatten)]
    pub kind: DataKind,
    /// Whether they were compared with the published set; generated images never are.
    pub verified: bool,
    /// Whether images that cannot be decoded are left out.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub skip_broken: bool,
}

impl fmt::Display for DataSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let usual = |f: &mut fmt::Formatter<'_>, place: &Option<PathBuf>, set: &str| match place {
            Some(place) => write!(f, "{}", place.display()),
            None => write!(f, "the usual place of {set}"),
        };
        if !self.verified && !matches!(self.kind, DataKind::Generated { .. }) {
            f.write_str(Provenance::UNVERIFIED)?;
        }
        match &self.kind {
            DataKind::FashionMnist { place } => usual(f, place, "Fashion-MNIST"),
            DataKind::Cifar { place } => usual(f, place, "CIFAR"),
            DataKind::ImageList { train_list, root, .. } => {
                write!(f, "{}, images below {}", train_list.display(), root.display())
            }
            DataKind::ClassFolders { train, .. } => write!(f, "{}", train.display()),
            DataKind::Generated { seed, .. } => write!(f, "generated, seed {seed}"),
        }
    }
}

/// A source as a record holds it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum RecordedSource {
    /// In full.
    Typed(DataSource),
    /// In words alone, as records were written up to commit ec519f4: `generated, seed N`, or the place,
    /// after [`Provenance::UNVERIFIED`] where nobody compared it with the published set.
    Words(String),
}

impl RecordedSource {
    /// Whether the images were generated.
    pub fn is_generated(&self) -> bool {
        match self {
            Self::Typed(source) => matches!(source.kind, DataKind::Generated { .. }),
            Self::Words(words) => words.starts_with("generated"),
        }
    }

    /// Whether the images are given ones that nobody compared with the published set.
    pub fn is_unverified(&self) -> bool {
        match self {
            Self::Typed(source) => !source.verified && !self.is_generated(),
            Self::Words(words) => words.starts_with(Provenance::UNVERIFIED),
        }
    }
}

impl From<DataSource> for RecordedSource {
    fn from(source: DataSource) -> Self {
        Self::Typed(source)
    }
}

impl fmt::Display for RecordedSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Typed(source) => source.fmt(f),
            Self::Words(words) => f.write_str(words),
        }
    }
}

/// Where a run came from: enough to repeat it, or to see why a repetition differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provenance {
    /// Version of this package.
    pub version: String,
    /// Commit it was built from, `+` appended if the tree had changes; "unknown" outside a checkout.
    pub commit: String,
    /// Version of libtorch.
    pub libtorch: String,
    /// "cpu" or the CUDA device.
    pub device: String,
    /// Threads that libtorch computes with.
    pub torch_threads: usize,
    /// Threads that load images.
    pub loader_threads: usize,
    /// Where the images came from.
    pub data_source: RecordedSource,
    /// SHA-256 of the training images and labels as decoded; of an image list, of its paths and labels.
    pub data_sha256: String,
    /// SHA-256 of the chosen indices (little-endian int64), as in the subset manifest.
    pub subset_sha256: String,
    /// Training and test images left out because they cannot be decoded; `skipped-pictures.txt` in
    /// the run folder names them.
    #[serde(default, skip_serializing_if = "none_skipped")]
    pub skipped_pictures: [usize; 2],
    /// The command line.
    pub command: Vec<String>,
}

impl Provenance {
    /// How the words for a source begin where its images were not compared with the published set.
    pub const UNVERIFIED: &str = "unverified: ";
}

fn none_skipped(skipped: &[usize; 2]) -> bool {
    *skipped == [0, 0]
}

impl Provenance {
    /// Both sides in words if `now` has other training images; none if they are the same, wherever
    /// they lie.
    pub(super) fn other_images(&self, now: &Self) -> Option<String> {
        let same = self.data_sha256 == now.data_sha256 && self.subset_sha256 == now.subset_sha256;
        let said = |p: &Self| {
            let short = |text: &str| text.chars().take(12).collect::<String>();
            let (data, chosen) = (short(&p.data_sha256), short(&p.subset_sha256));
            format!("{}, SHA-256 {data}, of those chosen {chosen}", p.data_source)
        };
        (!same).then(|| format!("({}) than now ({})", said(self), said(now)))
    }

    /// What computes differently in `now`, in words; none if nothing that matters to the bits.
    pub(super) fn changes(&self, now: &Self) -> Option<String> {
        let threads = |n: usize| format!("{n} thread{} of libtorch", if n == 1 { "" } else { "s" });
        let mut changes = Vec::new();
        for (what, then, now) in [
            ("version ", &self.version, &now.version),
            ("commit ", &self.commit, &now.commit),
            ("libtorch ", &self.libtorch, &now.libtorch),
            ("device ", &self.device, &now.device),
        ] {
            if then != now {
                changes.push(format!("{what}{now} instead of {then}"));
            }
        }
        if self.torch_threads != now.torch_threads {
            changes.push(format!(
                "{} instead of {}",
                threads(now.torch_threads),
                self.torch_threads
            ));
        }
        if changes.is_empty() {
            return None;
        }
        Some(format!(
            "goes on with {}: the end need not be the one of an uninterrupted run bit for bit",
            changes.join(", ")
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> RecordedSource {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn a_source_is_written_in_full_and_read_back() {
        let kinds = [
            DataKind::FashionMnist { place: None },
            DataKind::Cifar { place: Some("there".into()) },
            DataKind::ImageList {
                train_list: "a.txt".into(),
                test_list: "b.txt".into(),
                root: "images".into(),
            },
            DataKind::ClassFolders { train: "train".into(), test: "val".into() },
            DataKind::Generated { seed: 3, train_per_class: Some(40) },
        ];
        for kind in kinds {
            for (verified, skip_broken) in [(true, false), (false, true)] {
                let source = DataSource { kind: kind.clone(), verified, skip_broken };
                let typed = RecordedSource::from(source);
                assert_eq!(read(&serde_json::to_string(&typed).unwrap()), typed);
                let generated = matches!(kind, DataKind::Generated { .. });
                assert_eq!(typed.is_generated(), generated);
                assert_eq!(typed.is_unverified(), !verified && !generated);
            }
        }
        let written = r#"{"kind":"cifar","place":"there","verified":true}"#;
        let place = Some("there".into());
        let kind = DataKind::Cifar { place };
        let source = DataSource { kind, verified: true, skip_broken: false };
        assert_eq!(serde_json::to_string(&source).unwrap(), written);
    }

    #[test]
    fn the_words_of_old_records_still_read() {
        for (words, generated, unverified) in [
            ("/data/fashion-mnist", false, false),
            ("unverified: /data/other", false, true),
            ("generated, seed 0", true, false),
        ] {
            let source = read(&format!("\"{words}\""));
            assert_eq!(source, RecordedSource::Words(words.into()));
            assert_eq!(source.is_generated(), generated);
            assert_eq!(source.is_unverified(), unverified);
            assert_eq!(source.to_string(), words);
        }
    }
}
