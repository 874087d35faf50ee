//! Fashion-MNIST (Xiao, Rasul, Vollgraf 2017): 60,000 + 10,000 grey images of 28x28, ten classes of
//! clothing; padded here to 32x32 so that the CIFAR networks fit. MNIST (LeCun, Cortes, Burges), whose
//! files have the same names and sizes, is read from a folder and never fetched.

use std::fs;
use std::path::{Path, PathBuf};

use super::{DataSet, ImageSet, Progress, cache, cifar::Check, debian, idx, names, sources};
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

/// Where the files are, in the order in which [`load`] looks.
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

/// Finds Fashion-MNIST, or fetches it into the cache (the Debian package first, then the public
/// download), checks it and reads it.
///
/// Normalisation: mean and standard deviation of the 60,000 training images over their original
/// 28x28 pixels (the padding is not counted).
///
/// With [`Check::Format`] any images of 28x28 in ten classes are taken from a folder given.
///
/// # Errors
/// [`Error::Input`] if what is found is not Fashion-MNIST (the file is named with both checksums);
/// [`Error::Run`] if it cannot be fetched, with what to do by hand.
pub fn load(
    given: Option<&Path>,
    check: Check,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<DataSet> {
    let found = match locate(given)? {
        Some(found) => found,
        None => Found::Cache(fetch(progress)?),
    };
    progress(Progress::Step(&format!("reading Fashion-MNIST from {}", found.dir().display())));
    // What was fetched is the published set.
    let check = if given.is_some() { check } else { Check::Published };
    read(found.dir(), &FASHION, check)
}

/// Reads MNIST from the folder `dir`, or from `MNIST/raw` in it, and checks it; padded and normalised as
/// [`load`] does.
///
/// # Errors
/// [`Error::Input`] if a file is missing or is not MNIST's (the file is named with both checksums).
pub fn load_mnist(
    dir: &Path,
    check: Check,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<DataSet> {
    let dir = folder(dir, &MNIST)?;
    progress(Progress::Step(&format!("reading MNIST from {}", dir.display())));
    read(&dir, &MNIST, check)
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
    let place = dir.display().to_string();
    let source = match check {
        Check::Published => place,
        Check::Format => format!("{}{place}", Provenance::UNVERIFIED),
    };
    let split = |images, labels, published| {
        let pixels = checked(dir, images, (&[published, 28, 28], set.title), check)?;
        let count = pixels.len() / (28 * 28);
        let labels = (labels, checked(dir, labels, (&[count], set.title), check)?);
        if labels.1.len() != count || labels.1.iter().any(|&label| label >= 10) {
            return Err(Error::input(format!(
                "{}: {} labels up to {}; expected one below 10 for each of {count} images",
                dir.join(labels.0.0).display(),
                labels.1.len(),
                labels.1.iter().max().copied().unwrap_or(0)
            )));
        }
        let labels = labels.1.into_iter().map(u32::from).collect();
        let names = set.classes.map(str::to_owned).to_vec();
        ImageSet::new(pixels, (28, 28, 1), labels, names, source.clone())
    };
    let train = split(images, labels, 60_000)?;
    let test = split(test_images, test_labels, 10_000)?;
    let (mean, std) = train.channel_statistics();
    Ok(DataSet {
        name: set.name.into(),
        train: train.padded(PADDING),
        test: test.padded(PADDING),
        normalize: Normalize::new(&mean, &std)?,
    })
}

/// The values of one file of the published `shape` and checksum; with [`Check::Format`] of any number of
/// images or labels (at least one).
fn checked(
    dir: &Path,
    (name, sha256): (&str, &str),
    (shape, title): (&[usize], &str),
    check: Check,
) -> Result<Vec<u8>> {
    let path = file(dir, name).unwrap_or_else(|| dir.join(name));
    let array = idx::read(&path, shape.len())?;
    let published = check == Check::Published;
    let (found, due) =
        if published { (&array.shape[..], shape) } else { (&array.shape[1..], &shape[1..]) };
    if found != due || array.shape[0] == 0 {
        let any = if published { "" } else { ", of any number" };
        return Err(Error::input(format!(
            "{}: an array of {:?}, expected {shape:?}{any} ({title}){}",
            path.display(),
            array.shape,
            if published { "; --unverified takes other images in this format" } else { "" }
        )));
    }
    if published && array.sha256 != sha256 {
        let other =
            [&FASHION, &MNIST].into_iter().find(|set| set.files.contains(&(name, &array.sha256)));
        let what = other.map_or(String::new(), |set| format!(" ({}'s)", set.title));
        return Err(Error::input(format!(
            "{}: not {title}'s file: its content has SHA-256 {}{what}, expected {sha256}; put the right one there, or \
             take it as it is with --unverified",
            path.display(),
            array.sha256
        )));
    }
    Ok(array.values)
}

/// Fetches into the cache and returns the folder there.
fn fetch(progress: &mut dyn FnMut(Progress<'_>)) -> Result<PathBuf> {
    let target = cache_dir()?;
    let mut failures = Vec::new();
    for way in [from_debian, from_the_web] {
        match cache::put_in_place(&target, |dir| {
            way(dir, progress)?;
            // Only what is whole and right reaches the cache.
            read(dir, &FASHION, Check::Published).map(|_| ())
        }) {
            Ok(()) => return Ok(target),
            Err(e) => failures.push(e.to_string()),
        }
    }
    Err(Error::run(format!(
        "Fashion-MNIST is not here and could not be fetched: {}. By hand: put {} into a folder and give it \
         as --data DIR, or as {}",
        failures.join("; "),
        FASHION.files.map(|(name, _)| format!("{name}.gz")).join(", "),
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

fn from_the_web(dir: &Path, progress: &mut dyn FnMut(Progress<'_>)) -> Result<()> {
    // Parts stay here when a download breaks off, and are continued by the next call.
    let parts = cache_dir()?.with_extension("download");
    for (name, sha256) in FASHION.files {
        let urls = MIRRORS.map(|mirror| format!("{mirror}/{name}.gz"));
        let urls = urls.each_ref().map(String::as_str);
        let dimensions = if name.contains("idx3") { 3 } else { 1 };
        let check = |path: &Path| match idx::read(path, dimensions)?.sha256 {
            found if found == sha256 => Ok(()),
            found => Err(Error::input(format!("content of SHA-256 {found}, expected {sha256}"))),
        };
        let file = parts.join(format!("{name}.gz"));
        sources::fetch(&file, &urls, 64 << 20, &check, progress)?;
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
mod tests {
    use super::*;
    use crate::data::ImageSource as _;

    #[test]
    fn a_folder_without_the_files_is_named() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("train-images-idx3-ubyte"), "x").unwrap();
        let e = locate(Some(dir.path())).unwrap_err();
        assert!(e.to_string().contains("no train-labels-idx1-ubyte.gz"), "{e}");
        assert_eq!(e.exit_code(), 2);
    }

    #[test]
    fn a_foreign_file_is_named_with_what_was_expected() {
        let dir = tempfile::tempdir().unwrap();
        for (name, _) in FASHION.files {
            fs::write(dir.path().join(name), [0, 0, 8, 1, 0, 0, 0, 1, 5]).unwrap();
        }
        let e = load(Some(dir.path()), Check::Published, &mut |_| {}).unwrap_err().to_string();
        assert!(e.contains("train-images-idx3-ubyte"), "{e}");
    }

    #[test]
    fn mnist_is_told_from_fashion_mnist_by_its_content() {
        let dir = tempfile::tempdir().unwrap();
        let raw = dir.path().join("MNIST/raw");
        fs::create_dir_all(&raw).unwrap();
        let e = load_mnist(dir.path(), Check::Published, &mut |_| {}).unwrap_err().to_string();
        assert!(e.contains("no train-images-idx3-ubyte.gz") && e.contains("of MNIST"), "{e}");
        // The right form with other content.
        for (name, _) in MNIST.files {
            let count = if name.starts_with("train") { 60_000u32 } else { 10_000 };
            let images = name.contains("idx3");
            let mut bytes = vec![0, 0, 8, if images { 3 } else { 1 }];
            bytes.extend(count.to_be_bytes());
            if images {
                bytes.extend([0, 0, 0, 28, 0, 0, 0, 28]);
            }
            bytes.resize(bytes.len() + count as usize * if images { 784 } else { 1 }, 0);
            fs::write(raw.join(name), bytes).unwrap();
        }
        let e = load_mnist(dir.path(), Check::Published, &mut |_| {}).unwrap_err().to_string();
        assert!(e.contains("not MNIST's file") && e.contains(MNIST.files[0].1), "{e}");
    }

    #[test]
    fn other_images_in_the_format_are_taken_unverified() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, count: u32, label: u8| {
            let images = name.contains("idx3");
            let mut bytes = vec![0, 0, 8, if images { 3 } else { 1 }];
            bytes.extend(count.to_be_bytes());
            if images {
                bytes.extend([0, 0, 0, 28, 0, 0, 0, 28]);
            }
            let values = count as usize * if images { 784 } else { 1 };
            bytes.extend((0..values).map(|i| if images { i as u8 } else { label }));
            fs::write(dir.path().join(name), bytes).unwrap();
        };
        FASHION.files.iter().for_each(|(name, _)| write(name, 30, 9));
        let e = load(Some(dir.path()), Check::Published, &mut |_| {}).unwrap_err().to_string();
        assert!(e.contains("expected [60000, 28, 28]") && e.contains("--unverified"), "{e}");
        let set = load(Some(dir.path()), Check::Format, &mut |_| {}).unwrap();
        assert_eq!((set.train.len(), set.train.labels[0]), (30, 9));
        assert!(set.train.source.starts_with(Provenance::UNVERIFIED));
        write("t10k-labels-idx1-ubyte", 30, 10);
        let e = load(Some(dir.path()), Check::Format, &mut |_| {}).unwrap_err().to_string();
        assert!(e.contains("t10k-labels-idx1-ubyte: 30 labels up to 10"), "{e}");
        write("t10k-labels-idx1-ubyte", 29, 1);
        let e = load(Some(dir.path()), Check::Format, &mut |_| {}).unwrap_err().to_string();
        assert!(e.contains("29 labels") && e.contains("30 images"), "{e}");
    }

    #[test]
    #[ignore = "reads or fetches the real data set: cargo test -- --ignored fashion"]
    fn the_real_set_is_whole() {
        let set = load(None, Check::Published, &mut |step| eprintln!("{step:?}")).unwrap();
        assert_eq!(set.train.class_counts().unwrap().as_slice(), [6000; 10]);
        assert_eq!(set.test.class_counts().unwrap().as_slice(), [1000; 10]);
        let (mean, std) = (set.normalize.mean()[0], set.normalize.std()[0]);
        eprintln!("mean {mean}, std {std} (28x28); {:?} padded", set.train.channel_statistics());
        assert!((mean - 0.2860).abs() < 5e-5 && (std - 0.3530).abs() < 5e-5);
    }
}
