//! Where the data sets come from: the folder given, the cache, or the web.

use std::fs::File;
use std::path::{Path, PathBuf};

use super::cifar::{Check, Cifar, Form};
use super::synthetic::Synthetic;
use super::{DataSet, ImageSet, Progress, cache, fashion};
use crate::augment::Canvas;
use crate::augment::{Normalize, Operation};
use crate::run::DataSetId;
use crate::{Error, Result};

/// Test images of a generated set, whatever set it stands for.
pub const SYNTHETIC_TEST_IMAGES: usize = 1_000;

/// Where a data set is to be taken from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place<'a> {
    /// The cache, what is installed, else fetched.
    Usual,
    /// This folder or archive and nothing else.
    Given(&'a Path),
    /// Generated images (`--data synthetic`).
    Synthetic {
        /// Everything follows from it.
        seed: u64,
        /// Training images of every class; none: as many as the real set has.
        train_per_class: Option<usize>,
    },
}

impl<'a> Place<'a> {
    /// The value of `--data`: nothing, `synthetic`, or a folder.
    pub fn from_option(value: Option<&'a str>) -> Self {
        match value {
            None => Self::Usual,
            Some("synthetic") => Self::Synthetic { seed: 0, train_per_class: None },
            Some(dir) => Self::Given(Path::new(dir)),
        }
    }
}

/// Loads a data set into memory, fetching it into the cache if need be.
///
/// # Errors
/// [`Error::Input`] if what is found is not the set, or the set is of pictures in files
/// (ImageNet-LT and its like: see [`super::ImageFiles`]); [`Error::Run`] if it cannot be fetched.
pub fn load(
    set: DataSetId,
    place: Place<'_>,
    check: Check,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<DataSet> {
    let cifar = match set {
        DataSetId::Cifar10 => Cifar::Ten,
        DataSetId::Cifar100 => Cifar::Hundred,
        DataSetId::FashionMnist => {
            return match place {
                Place::Usual => fashion::load(None, check, progress),
                Place::Given(dir) => fashion::load(Some(dir), check, progress),
                Place::Synthetic { seed, train_per_class } => {
                    synthetic(set, Cifar::Ten, (seed, train_per_class), progress)
                }
            };
        }
        DataSetId::ImagenetLt | DataSetId::Inat18 | DataSetId::PlacesLt => {
            return Err(Error::input(format!(
                "{}: its pictures stay in their files; give its image lists",
                set.name()
            )));
        }
    };
    match place {
        Place::Synthetic { seed, train_per_class } => {
            synthetic(set, cifar, (seed, train_per_class), progress)
        }
        Place::Given(path) => {
            progress(Progress::Step(&format!("reading {} from {}", cifar.name(), path.display())));
            cifar.read(path, check)
        }
        Place::Usual => {
            let dir = cache::data_dir()?.join(cifar.name());
            if cifar.locate(&dir).is_none() {
                fetch_cifar(cifar, &dir, progress)?;
            }
            progress(Progress::Step(&format!("reading {} from {}", cifar.name(), dir.display())));
            cifar.read(&dir, check)
        }
    }
}

/// What [`load`] would read without fetching; `None` if it would have to fetch.
///
/// # Errors
/// [`Error::Input`] if a folder given does not hold the set, or there is no cache folder.
pub fn locate(set: DataSetId, given: Option<&Path>) -> Result<Option<PathBuf>> {
    let cifar = match set {
        DataSetId::Cifar10 => Cifar::Ten,
        DataSetId::Cifar100 => Cifar::Hundred,
        DataSetId::FashionMnist => {
            return Ok(fashion::locate(given)?.map(|found| found.dir().to_path_buf()));
        }
        DataSetId::ImagenetLt | DataSetId::Inat18 | DataSetId::PlacesLt => return Ok(None),
    };
    let dir = match given {
        Some(path) => path.to_path_buf(),
        None => cache::data_dir()?.join(cifar.name()),
    };
    Ok(cifar.locate(&dir).map(|form| match form {
        Form::Binary(path) | Form::Pickle(path) | Form::Archive(path) => path,
    }))
}

/// Generated images in the form of `set`: the same classes, channels and training images; fewer test
/// images, as nobody quotes their accuracy.
fn synthetic(
    set: DataSetId,
    format: Cifar,
    (seed, train_per_class): (u64, Option<usize>),
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<DataSet> {
    progress(Progress::Step("generating synthetic images"));
    let all = set.images_per_class().unwrap_or(500) as usize;
    let train_per_class = train_per_class.unwrap_or(all);
    let test_per_class = SYNTHETIC_TEST_IMAGES / set.classes();
    let made = Synthetic { format, train_per_class, test_per_class, seed }.generate()?;
    if set.channels() == 3 {
        return Ok(made);
    }
    let train = grey(&made.train)?;
    let (mean, std) = train.channel_statistics();
    Ok(DataSet { train, test: grey(&made.test)?, normalize: Normalize::new(&mean, &std)?, ..made })
}

fn grey(set: &ImageSet) -> Result<ImageSet> {
    let mut canvas = Canvas::new();
    let mut images = Vec::with_capacity(set.images.len() / 3);
    for index in 0..set.len() {
        canvas.load(set.get(index));
        Operation::Grayscale.apply(&mut canvas, [0; 3]);
        images.extend(canvas.image().pixels.iter().step_by(3));
    }
    ImageSet::new(
        images,
        (set.height, set.width, 1),
        set.labels.clone(),
        set.class_names.clone(),
        set.source.clone(),
    )
}

/// Addresses and checksum of an archive of each set: (file name, SHA-256, addresses).
type Published = (&'static str, &'static str, &'static [&'static str]);

#[rustfmt::skip]
const TEN: [Published; 2] = [
    ("cifar-10-binary.tar.gz", "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd", &[
        "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
        "https://cave.cs.toronto.edu/kriz/cifar-10-binary.tar.gz",
    ]),
    ("cifar-10-python.tar.gz", "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce", &[
        "https://storage.googleapis.com/tensorflow/tf-keras-datasets/cifar-10-python.tar.gz",
        "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
    ]),
];
#[rustfmt::skip]
const HUNDRED: [Published; 2] = [
    ("cifar-100-binary.tar.gz", "58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec", &[
        "https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz",
        "https://cave.cs.toronto.edu/kriz/cifar-100-binary.tar.gz",
    ]),
    ("cifar-100-python.tar.gz", "85cd44d02ba6437773c5bbd22e183051d648de2e7d6b014e1ef29b855ba677a7", &[
        "https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz",
    ]),
];

fn fetch_cifar(cifar: Cifar, dir: &Path, progress: &mut dyn FnMut(Progress<'_>)) -> Result<()> {
    let archives = if cifar == Cifar::Ten { TEN } else { HUNDRED };
    let mut reasons = Vec::new();
    for (name, sha256, urls) in archives {
        let target = dir.join(name);
        match fetch(&target, urls, 200 << 20, &|path| has_sha256(path, sha256), progress) {
            Ok(()) => return Ok(()),
            Err(e @ Error::Run(_)) => reasons.push(e.to_string()),
            Err(e) => return Err(e),
        }
    }
    let [bin, py] = cifar.archives();
    Err(Error::run(format!(
        "{} is not here and could not be fetched: {}. By hand: put {bin} or {py} into {} (or anywhere, with \
         --data)",
        cifar.name(),
        reasons.join("; "),
        dir.display()
    )))
}

fn has_sha256(path: &Path, expected: &str) -> Result<()> {
    let file = File::open(path).map_err(Error::io("read", path))?;
    let found = cache::sha256_of(file).map_err(Error::io("read", path))?;
    if found == expected {
        return Ok(());
    }
    Err(Error::input(format!("SHA-256 {found}, expected {expected}")))
}

/// Fetches one file from the first of `urls` that gives one passing `check`.
#[cfg(feature = "train")]
pub(super) fn fetch(
    target: &Path,
    urls: &[&str],
    max_bytes: u64,
    check: &dyn Fn(&Path) -> Result<()>,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<()> {
    use super::download::{Download, Patience};
    let urls: Vec<String> = urls.iter().map(|&url| url.to_owned()).collect();
    Download { urls: &urls, max_bytes, check }.fetch(target, Patience::USUAL, progress)
}

/// Fetching needs the feature `train`.
#[cfg(not(feature = "train"))]
pub(super) fn fetch(
    target: &Path,
    _urls: &[&str],
    _max_bytes: u64,
    _check: &dyn Fn(&Path) -> Result<()>,
    _progress: &mut dyn FnMut(Progress<'_>),
) -> Result<()> {
    Err(Error::run(format!("{}: this build does not download", target.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_option_names_a_place() {
        assert_eq!(Place::from_option(None), Place::Usual);
        assert_eq!(
            Place::from_option(Some("synthetic")),
            Place::Synthetic { seed: 0, train_per_class: None }
        );
        assert_eq!(Place::from_option(Some("x")), Place::Given(Path::new("x")));
    }

    #[test]
    fn grey_synthetic_images_have_one_channel() {
        let rgb = Synthetic { format: Cifar::Ten, train_per_class: 2, test_per_class: 1, seed: 0 };
        let rgb = rgb.generate().unwrap().train;
        let grey = grey(&rgb).unwrap();
        assert_eq!((grey.len(), grey.channels, grey.images.len() * 3), (20, 1, rgb.images.len()));
    }
}
