//! The images of a sweep: where they come from, and their check for broken pictures.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use rescom::{
    Error, Result,
    data::{self, Broken, ImageFiles, ImageSource, ListPlaces, Place, cifar::Check},
    run::{DataKind, DataSetId, DataSource, atomic},
};
use serde::{Deserialize, Serialize};

use crate::progress;

/// Remembers, in the sweep's folder, which pictures of a list are broken.
const CHECKED: &str = "checked-pictures.json";

/// What images are compared with, `--unverified` given or not.
pub(crate) fn check(unverified: bool) -> Check {
    if unverified { Check::Format } else { Check::Published }
}

/// The value of `--data` for generated images.
const SYNTHETIC: &str = "synthetic";

/// What the images of a recorded source are compared with.
fn check_of(source: &DataSource) -> Check {
    let generated = matches!(source.kind, DataKind::Generated { .. });
    check(!source.verified && !generated)
}

/// The same place named from the root of the file system, where that can be written in a record.
fn absolute(path: PathBuf) -> PathBuf {
    std::path::absolute(&path).ok().filter(|p| p.to_str().is_some()).unwrap_or(path)
}

/// Where a sweep's images come from.
#[derive(Debug, Clone)]
pub(crate) enum Source {
    /// Sets that are read into memory.
    Memory {
        /// `--data`.
        data: Option<String>,
        /// What they are compared with.
        check: Check,
    },
    /// Pictures that stay in their files.
    Files {
        /// `--data`, `--train-list`, `--test-list`, `--root`.
        places: ListPlaces,
        /// What the list is compared with.
        check: Check,
        /// `--skip-broken`.
        skip_broken: bool,
    },
}

/// The images of one data set, shared by its runs.
#[derive(Clone)]
pub(crate) struct Images {
    pub(crate) set: DataSetId,
    pub(crate) train: Arc<dyn ImageSource>,
    pub(crate) test: Arc<dyn ImageSource>,
    pub(crate) source: DataSource,
}

/// How a check of pictures goes on.
pub(crate) struct Checking<'a> {
    /// Where its result is kept.
    pub(crate) out: &'a Path,
    /// Threads that decode.
    pub(crate) threads: usize,
    /// Raised by Ctrl-C.
    pub(crate) stop: &'a AtomicBool,
}

impl Source {
    /// Sets that are read into memory, from `--data`, `--unverified` or not.
    pub(crate) fn memory(data: Option<&String>, unverified: bool) -> Self {
        Self::Memory { data: data.cloned(), check: check(unverified) }
    }

    /// Where the images of `set` are looked for without a word of where.
    pub(crate) fn usual(set: DataSetId) -> Self {
        Self::nowhere(set, Check::Published, false)
    }

    /// Images of `set` that are treated as those of `then`, wherever they are.
    pub(crate) fn like(set: DataSetId, then: &DataSource) -> Self {
        Self::nowhere(set, check_of(then), then.skip_broken)
    }

    fn nowhere(set: DataSetId, check: Check, skip_broken: bool) -> Self {
        match set.long_tailed_images() {
            None => Self::Memory { data: None, check },
            Some(_) => Self::Files { places: ListPlaces::default(), check, skip_broken },
        }
    }

    /// The same in another folder.
    pub(crate) fn in_folder(self, folder: String) -> Self {
        match self {
            Self::Memory { check, .. } => Self::Memory { data: Some(folder), check },
            Self::Files { check, skip_broken, .. } => {
                let data = Some(PathBuf::from(folder));
                let places = ListPlaces { data, ..ListPlaces::default() };
                Self::Files { places, check, skip_broken }
            }
        }
    }

    /// What is recorded of the images of `set`, with which they are found again from any folder. Of a
    /// generated set every class gets `generated` training images; none: as many as the real set has.
    pub(crate) fn locate(&self, set: DataSetId, generated: Option<usize>) -> Result<DataSource> {
        let place = |data: &Option<String>| data.as_ref().map(|dir| absolute(dir.into()));
        let (kind, check, skip_broken) = match self {
            Self::Memory { data, .. } if data.as_deref() == Some(SYNTHETIC) => {
                let kind = DataKind::Generated { seed: 0, train_per_class: generated };
                return Ok(DataSource { kind, verified: false, skip_broken: false });
            }
            Self::Memory { data, check } if set == DataSetId::FashionMnist => {
                (DataKind::FashionMnist { place: place(data) }, check, false)
            }
            Self::Memory { data, check } => (DataKind::Cifar { place: place(data) }, check, false),
            Self::Files { places, check, skip_broken } => {
                let places = ListPlaces {
                    data: places.data.clone().map(absolute),
                    train_list: places.train_list.clone().map(absolute),
                    test_list: places.test_list.clone().map(absolute),
                    root: places.root.clone().map(absolute),
                };
                (places.locate(set)?, check, *skip_broken)
            }
        };
        Ok(DataSource { kind, verified: *check == Check::Published, skip_broken })
    }

    /// Training images and classes where a list says how many: none for a set in memory (the recipe says
    /// it) and where no list is given.
    pub(crate) fn listed(&self, set: DataSetId) -> Result<Option<(u64, usize)>> {
        match self {
            Self::Files { places, check, .. } if places.is_given() => {
                let list = places.load(set, *check)?.train;
                Ok(Some((list.len() as u64, list.classes())))
            }
            _ => Ok(None),
        }
    }

    /// Whether the images are generated.
    pub(crate) fn is_synthetic(&self) -> bool {
        matches!(self, Self::Memory { data, .. } if data.as_deref() == Some(SYNTHETIC))
    }

    /// What a plan must say about numbers of images that no list confirmed.
    pub(crate) fn assumed_images(&self) -> Option<&'static str> {
        match self {
            Self::Files { places, .. } if !places.is_given() => Some(
                "the numbers of images are the published ones; with --data DIR the plan reads the lists",
            ),
            _ => None,
        }
    }
}

impl Images {
    /// Reads the images of `set`; none if Ctrl-C stopped the check of its pictures.
    pub(crate) fn load(
        source: DataSource,
        set: DataSetId,
        checking: &Checking<'_>,
    ) -> Result<Option<Self>> {
        let place = match &source.kind {
            DataKind::Generated { seed, train_per_class } => {
                Place::Synthetic { seed: *seed, train_per_class: *train_per_class }
            }
            DataKind::FashionMnist { place } | DataKind::Cifar { place } => {
                place.as_deref().map_or(Place::Usual, Place::Given)
            }
            DataKind::ImageList { .. } | DataKind::ClassFolders { .. } => {
                return Self::of_files(source, set, checking);
            }
        };
        let loaded = data::load(set, place, check_of(&source), &mut progress::of_data())?;
        let (train, test) = (Arc::new(loaded.train), Arc::new(loaded.test));
        Ok(Some(Self { set, train, test, source }))
    }

    fn of_files(
        source: DataSource,
        set: DataSetId,
        checking: &Checking<'_>,
    ) -> Result<Option<Self>> {
        let data::Pictures { mut train, mut test } =
            data::Pictures::read(&source.kind, set, check_of(&source))?;
        if source.skip_broken {
            let Some(whole) = checking.without_broken([train, test])? else {
                return Ok(None);
            };
            [train, test] = whole;
        }
        Ok(Some(Self { set, train: Arc::new(train), test: Arc::new(test), source }))
    }
}

/// The result of a check.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Checked {
    /// Of the list, see [`ImageSource::sha256`].
    list_sha256: String,
    root: PathBuf,
    broken: Vec<Broken>,
}

impl Checking<'_> {
    /// Leaves the broken pictures out. Every picture is decoded once per list and sweep folder, not
    /// per run: the runs of a sweep must have the same images, and a run that goes on those with
    /// which it began. None if stopped; nothing is then remembered.
    fn without_broken(&self, lists: [ImageFiles; 2]) -> Result<Option<[ImageFiles; 2]>> {
        for files in &lists {
            // The result names it, as JSON, which is UTF-8; better now than after hours of decoding.
            if files.root().to_str().is_none() {
                return Err(Error::input(format!(
                    "{}: --skip-broken needs a folder whose name is UTF-8; rename it",
                    files.root().display()
                )));
            }
        }
        let path = self.out.join(CHECKED);
        let mut known: Vec<Checked> =
            if path.is_file() { atomic::read_json(&path)? } else { Vec::new() };
        let mut whole = Vec::new();
        for files in lists {
            let same = |c: &Checked| c.list_sha256 == files.sha256() && c.root == files.root();
            let before = known.iter().find(|c| same(c)).map(|c| c.broken.clone());
            let broken = match before {
                Some(broken) => broken,
                None => {
                    let Some(broken) = self.find_broken(&files)? else { return Ok(None) };
                    known.push(Checked {
                        list_sha256: files.sha256().to_owned(),
                        root: files.root().to_owned(),
                        broken: broken.clone(),
                    });
                    atomic::write_json(&path, &known)?;
                    broken
                }
            };
            whole.push(files.skipping(broken)?);
        }
        Ok(whole.try_into().ok())
    }

    fn find_broken(&self, files: &ImageFiles) -> Result<Option<Vec<Broken>>> {
        let counter = progress::PictureCount::new(files.len(), files.place());
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(self.threads)
            .build()
            .map_err(|e| Error::run(format!("cannot start threads: {e}")))?;
        Ok(pool.install(|| {
            files.find_broken(&|| {
                counter.one_more();
                !self.stop.load(Ordering::SeqCst)
            })
        }))
    }
}
