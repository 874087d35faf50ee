//! Where the data sets come from: the folder given, the cache, or the web.

use std::path::{Path, PathBuf};

use super::cifar::{Check, Cifar};
use super::synthetic::Synthetic;
use super::{DataSet, ImageSet, Progress, cache, fashion, fetch};
use crate::augment::{Canvas, Normalize, Operation};
use crate::run::DataSetId;
use crate::{Error, Result};

/// Test images of a generated set, whatever set it stands for.
pub const SYNTHETIC_TEST_IMAGES: usize = 1_000;

/// Where a data set is to be taken from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place<'a> {
    /// The cache, what is installed, else fetched.
    Usual,
    /// The same, but fetched from below these addresses before any other.
    Mirrored(&'a [String]),
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

/// Loads a data set into memory, fetching it into the cache if need be. What is damaged, in the cache or in a
/// folder that was given, is named and left as it is.
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
        DataSetId::Cifar10 => Some(Cifar::Ten),
        DataSetId::Cifar100 => Some(Cifar::Hundred),
        DataSetId::FashionMnist => None,
        DataSetId::ImagenetLt | DataSetId::Inat18 | DataSetId::PlacesLt => {
            return Err(Error::input(format!(
                "{}: its pictures stay in their files; give its image lists",
                set.name()
            )));
        }
    };
    let mirrors = match place {
        Place::Synthetic { seed, train_per_class } => {
            let format = cifar.unwrap_or(Cifar::Ten);
            return synthetic(set, format, (seed, train_per_class), progress);
        }
        Place::Given(path) => {
            let Some(cifar) = cifar else { return fashion::load_from(path, check, progress) };
            progress(Progress::Step(&format!("reading {} from {}", cifar.name(), path.display())));
            return cifar.read(path, check);
        }
        Place::Usual => &[],
        Place::Mirrored(mirrors) => mirrors,
    };
    match cifar {
        Some(cifar) => cached(cifar, check, mirrors, progress),
        None => fashion::load(check, mirrors, progress),
    }
}

/// CIFAR out of the cache, which is filled if need be.
fn cached(
    cifar: Cifar,
    check: Check,
    mirrors: &[String],
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<DataSet> {
    let dir = cache::data_dir()?.join(cifar.name());
    let read = |progress: &mut dyn FnMut(Progress<'_>)| {
        progress(Progress::Step(&format!("reading {} from {}", cifar.name(), dir.display())));
        cifar.read(&dir, check)
    };
    if cifar.locate(&dir).is_none() {
        fetch::cifar(cifar, &dir, mirrors, progress)?;
    }
    read(progress).map_err(cache::to_be_moved_away)
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
    Ok(cifar.locate(&dir).map(|form| form.path().to_path_buf()))
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
