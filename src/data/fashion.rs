//! Fashion-MNIST (Xiao, Rasul, Vollgraf 2017): 60,000 + 10,000 grey images of 28x28, ten classes of
//! clothing; padded here to 32x32 so that the CIFAR networks fit. MNIST (LeCun, Cortes, Burges), whose
//! files have the same names and sizes, is read from a folder and never fetched.

use std::fs;
use std::path::{Path, PathBuf};

use super::cifar::Check;
use super::fetch;
use super::refusal::{self, Fetched};
use super::{DataSet, ImageSet, Progress, cache, debian, idx, names};
use crate::augment::Normalize;
use crate::run::Provenance;
use crate::{Error, Result};

/// Names by label.
pub const CLASS_NAMES: [&str; 10] = names::FASHION;

/// Zero pixels added on each side: 28x28 becomes 32x32.
pub const PADDING: usize = 2;

/// Public addresses of the four files.
const MIRRORS: [&str; 2] = [
    "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com",
    "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion",
];

const DEBIAN_PACKAGE: &str = "dataset-fashion-mnist";
const DEBIAN_DIR: &str = "usr/share/datasets/fashion-mnist";

/// A set in four idx files.
struct Published {
    /// As in [`DataSet::name`].
    name: &'static str,
    /// As people write it.
    title: &'static str,
    classes: [&'static str; 10],
    /// Name without `.gz`, and SHA-256 of the uncompressed content.
    files: [(&'static str, &'static str); 4],
}

/// Images in the two splits of either set.
const IMAGES: [usize; 2] = [60_000, 10_000];

/// Bytes of Fashion-MNIST's compressed files as they are published, in the order of their names above.
const FASHION_BYTES: [u64; 4] = [26_421_880, 29_515, 4_422_102, 5_148];

#[rustfmt::skip]
const FASHION: Published = Published {
    name: "fashion-mnist",
    title: "Fashion-MNIST",
    classes: CLASS_NAMES,
    files: [
        ("train-images-idx3-ubyte", "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888"),
        ("train-labels-idx1-ubyte", "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9"),
        ("t10k-images-idx3-ubyte", "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b"),
        ("t10k-labels-idx1-ubyte", "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34"),
    ],
};

#[rustfmt::skip]
const MNIST: Published = Published {
    name: "mnist",
    title: "MNIST",
    classes: ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"],
    files: [
        ("train-images-idx3-ubyte", "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db"),
        ("train-labels-idx1-ubyte", "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5"),
        ("t10k-images-idx3-ubyte", "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7"),
        ("t10k-labels-idx1-ubyte", "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"),
    ],
};

/// Where the files are, in the order in which [`locate`] looks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// In the folder that the user gave.
    Given(PathBuf),
    /// In the cache folder.
    Cache(PathBuf),
    /// Installed by the Debian package `dataset-fashion-mnist`.
    Installed(PathBuf),
}

impl Found {
    /// The folder with the four files.
    pub fn dir(&self) -> &Path {
        match self {
            Self::Given(dir) | Self::Cache(dir) | Self::Installed(dir) => dir,
        }
    }
}

/// Looks without fetching: the folder given (only that, if one is), the cache, the installed package.
///
/// # Errors
/// [`Error::Input`] if a folder is given and lacks one of the files; the message names the file.
pub fn locate(given: Option<&Path>) -> Result<Option<Found>> {
    if let Some(dir) = given {
        return folder(dir, &FASHION).map(|dir| Some(Found::Given(dir)));
    }
    let complete = |dir: &Path| FASHION.files.iter().all(|(name, _)| file(dir, name).is_some());
    let cached = cache_dir()?;
    let installed = Path::new("/").join(DEBIAN_DIR);
    Ok(if complete(&cached) {
        Some(Found::Cache(cached))
    } else if complete(&installed) {
        Some(Found::Installed(installed))
    } else {
        None
    })
}

/// Finds Fashion-MNIST in the cache or installed, or fetches it into the cache (from the mirrors, the
/// Debian package, the public download), checks it and reads it. What is damaged is named and left as it is.
///
/// Normalisation: mean and standard deviation of the training images over their original 28x28 pixels
/// (the padding is not counted).
///
/// # Errors
/// [`Error::Run`] if it cannot be fetched, with what to do by hand.
pub(super) fn load(
    check: Check,
    mirrors: &[String],
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<DataSet> {
    let dir = match locate(None)? {
        Some(Found::Cache(dir)) => dir,
        Some(found) => return load_from(found.dir(), check, progress),
        None => fetch(mirrors, progress)?,
    };
    load_from(&dir, check, progress).map_err(cache::to_be_moved_away)
}

/// Reads Fashion-MNIST from the folder `dir`, or from `FashionMNIST/raw` in it, and checks it; padded and
/// normalised as [`load`] does.
///
/// # Errors
/// [`Error::Input`] if a file is missing, damaged or, with [`Check::Published`], not Fashion-MNIST's
/// (the file is named with both checksums).
pub(super) fn load_from(
    dir: &Path,
    check: Check,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<DataSet> {
    load_idx(dir, &FASHION, check, progress)
}

/// Reads MNIST from the folder `dir`, or from `MNIST/raw` in it, and checks it; padded and normalised as
/// Fashion-MNIST is.
///
/// # Errors
/// [`Error::Input`] if a file is missing, damaged or, with [`Check::Published`], not MNIST's (the file is
/// named with both checksums).
pub fn load_mnist(
    dir: &Path,
    check: Check,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<DataSet> {
    load_idx(dir, &MNIST, check, progress)
}

fn load_idx(
    dir: &Path,
    set: &Published,
    check: Check,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<DataSet> {
    let dir = folder(dir, set)?;
    progress(Progress::Step(&format!("reading {} from {}", set.title, dir.display())));
    read(&dir, set, check)
}

/// The folder with the four files: `given`, or the one that torchvision makes in it.
fn folder(given: &Path, set: &Published) -> Result<PathBuf> {
    let nested = given.join(set.title.replace('-', "")).join("raw");
    let dir = if nested.is_dir() { nested } else { given.to_path_buf() };
    match set.files.iter().find(|(name, _)| file(&dir, name).is_none()) {
        Some((name, _)) => Err(Error::input(format!(
            "{}: no {name}.gz (nor {name}) here; expected the four files of {}",
            dir.display(),
            set.title
        ))),
        None => Ok(dir),
    }
}

fn cache_dir() -> Result<PathBuf> {
    Ok(cache::data_dir()?.join("fashion-mnist"))
}

fn file(dir: &Path, name: &str) -> Option<PathBuf> {
    let candidates = [dir.join(format!("{name}.gz")), dir.join(name)];
    candidates.into_iter().find(|path| path.is_file())
}

/// Reads and checks the four files in `dir`.
fn read(dir: &Path, set: &Published, check: Check) -> Result<DataSet> {
    let [images, labels, test_images, test_labels] = set.files;
    let source = match check {
        Check::Published => dir.display().to_string(),
        Check::Format => format!("{}{}", Provenance::UNVERIFIED, dir.display()),
    };
    let split = |images, labels, count| {
        let images = checked(dir, images, &[count, 28, 28], set, check)?;
        let (name, _): (&str, &str) = labels;
        let labels = checked(dir, labels, &[count], set, check)?;
        if let Some(at) = labels.iter().position(|&label| usize::from(label) >= set.classes.len()) {
            return Err(Error::input(format!(
                "{}: label {} of image {at}; expected below {}",
                file(dir, name).unwrap_or_else(|| dir.join(name)).display(),
                labels[at],
                set.classes.len()
            )));
        }
        ImageSet::new(
            images,
            (28, 28, 1),
            labels.into_iter().map(u32::from).collect(),
            set.classes.map(str::to_owned).to_vec(),
            source.clone(),
        )
    };
    let train = split(images, labels, IMAGES[0])?;
    let test = split(test_images, test_labels, IMAGES[1])?;
    let (mean, std) = train.channel_statistics();
    Ok(DataSet {
        name: set.name.into(),
        train: train.padded(PADDING),
        test: test.padded(PADDING),
        normalize: Normalize::new(&mean, &std).map_err(|e| {
            Error::input(format!("{}: the training images are all alike ({e})", dir.display()))
        })?,
    })
}

/// The entries of one file. Its sizes are compared before memory is taken for them; the number of
/// images, like the checksum, only where the published set is asked for.
fn checked(
    dir: &Path,
    (name, sha256): (&str, &str),
    shape: &[usize],
    set: &Published,
    check: Check,
) -> Result<Vec<u8>> {
    const OTHER: &str = "`data` and `subset` read other images in this format with --unverified";
    let path = file(dir, name).unwrap_or_else(|| dir.join(name));
    let array = idx::open(&path, shape.len())?;
    let published = check == Check::Published;
    if array.shape[1..] != shape[1..] || published && array.shape != shape {
        let mut expected: Vec<String> = shape.iter().map(usize::to_string).collect();
        if !published {
            expected[0] = "any number".into();
        }
        return Err(Error::input(format!(
            "{}: an array of {:?}, expected [{}] ({}){}",
            path.display(),
            array.shape,
            expected.join(", "),
            set.title,
            if published { format!("; {OTHER}") } else { String::new() }
        )));
    }
    let array = array.finish()?;
    if published && array.sha256 != sha256 {
        let other =
            [&FASHION, &MNIST].into_iter().find(|set| set.files.contains(&(name, &array.sha256)));
        let what = other.map_or(String::new(), |set| format!(" ({}'s)", set.title));
        return Err(Error::input(format!(
            "{}: not {}'s file: its content has SHA-256 {}{what}, expected {sha256}; put the right one there ({OTHER})",
            path.display(),
            set.title,
            array.sha256
        )));
    }
    Ok(array.values)
}

/// Brings the four files into a folder.
type Way<'a> = &'a dyn Fn(&Path, &mut dyn FnMut(Progress<'_>)) -> Result<()>;

/// Only what is whole and right reaches the folder `target`; nothing that is there already is touched.
fn into_the_cache(
    target: &Path,
    way: Way<'_>,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<()> {
    let parent = target.parent().unwrap_or(target);
    fs::create_dir_all(parent).map_err(Error::io("create", parent))?;
    let fresh = tempfile::Builder::new().prefix(".incoming-").tempdir_in(parent);
    let fresh = fresh.map_err(Error::io("create a folder in", parent))?;
    way(fresh.path(), progress)?;
    read(fresh.path(), &FASHION, Check::Published)?;
    fs::create_dir_all(target).map_err(Error::io("create", target))?;
    for (name, _) in FASHION.files.iter().filter(|(name, _)| file(target, name).is_none()) {
        let [from, to] = [fresh.path(), target].map(|dir| dir.join(format!("{name}.gz")));
        fs::rename(&from, &to).map_err(Error::io("create", &to))?;
    }
    Ok(())
}

/// Fetches into the cache and returns the folder there.
fn fetch(mirrors: &[String], progress: &mut dyn FnMut(Progress<'_>)) -> Result<PathBuf> {
    let target = cache_dir()?;
    let published = MIRRORS.map(str::to_owned);
    let (mirrored, web) = (
        |dir: &Path, progress: &mut dyn FnMut(Progress<'_>)| from_the_web(dir, mirrors, progress),
        |dir: &Path, progress: &mut dyn FnMut(Progress<'_>)| {
            from_the_web(dir, &published, progress)
        },
    );
    let ways: [Way<'_>; 3] = [&mirrored, &from_debian, &web];
    let mut failures = Vec::new();
    for way in ways.into_iter().skip(usize::from(mirrors.is_empty())) {
        match into_the_cache(&target, way, progress) {
            Ok(()) => return Ok(target),
            Err(e) => failures.push(e.to_string()),
        }
        // Another process may have been quicker.
        if let Some(found) = locate(None)? {
            return Ok(found.dir().to_path_buf());
        }
    }
    let files = FASHION.files.iter().zip(FASHION_BYTES);
    let files = files.map(|((name, _), bytes)| format!("{name}.gz ({bytes} bytes)"));
    Err(Error::run(format!(
        "Fashion-MNIST is not here and could not be fetched ({}); by hand: fetch {} from {} and put them into {}, or \
         name their folder with --data",
        failures.join("; "),
        files.collect::<Vec<_>>().join(", "),
        MIRRORS[0],
        target.display()
    )))
}

fn from_debian(dir: &Path, progress: &mut dyn FnMut(Progress<'_>)) -> Result<()> {
    let work = tempfile::tempdir_in(dir).map_err(Error::io("create a folder in", dir))?;
    debian::fetch(DEBIAN_PACKAGE, work.path(), progress)?;
    for (name, _) in FASHION.files {
        let from = work.path().join("root").join(DEBIAN_DIR).join(format!("{name}.gz"));
        let to = dir.join(format!("{name}.gz"));
        fs::rename(&from, &to).map_err(Error::io("find in the Debian package", &from))?;
    }
    Ok(())
}

fn from_the_web(
    dir: &Path,
    bases: &[String],
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<()> {
    // Parts stay here when a download breaks off, and are continued by the next call.
    let parts = cache_dir()?.with_extension("download");
    for (name, sha256) in FASHION.files {
        let urls = fetch::below(bases, &format!("{name}.gz"));
        let dimensions = if name.contains("idx3") { 3 } else { 1 };
        let check = |path: &Path| match idx::read(path, dimensions)?.sha256 {
            found if found == sha256 => Ok(()),
            found => Err(Error::input(format!("content of SHA-256 {found}, expected {sha256}"))),
        };
        let file = parts.join(format!("{name}.gz"));
        if let Fetched::Nowhere(refusals) = fetch::file(&file, &urls, &check, progress)? {
            return Err(Error::run(refusal::reasons(&refusals)));
        }
    }
    for (name, _) in FASHION.files {
        let from = parts.join(format!("{name}.gz"));
        fs::rename(&from, dir.join(format!("{name}.gz"))).map_err(Error::io("move", &from))?;
    }
    // Empty by now; if not, it holds nothing that is needed.
    let _ = fs::remove_dir(&parts);
    Ok(())
}

#[cfg(test)]
mod tests;
