//! Fashion-MNIST (Xiao, Rasul, Vollgraf 2017): 60,000 + 10,000 grey images of 28x28, ten classes of
//! clothing; padded here to 32x32 so that the CIFAR networks fit.

use std::fs;
use std::path::{Path, PathBuf};

use super::{DataSet, ImageSet, Progress, cache, debian, idx, names, sources};
use crate::augment::Normalize;
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

/// The four files: name without `.gz`, and SHA-256 of the uncompressed content.
const FILES: [(&str, &str); 4] = [
    ("train-images-idx3-ubyte", "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888"),
    ("train-labels-idx1-ubyte", "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9"),
    ("t10k-images-idx3-ubyte", "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b"),
    ("t10k-labels-idx1-ubyte", "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34"),
];

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
        let nested = dir.join("FashionMNIST/raw");
        let dir = if nested.is_dir() { nested } else { dir.to_path_buf() };
        return match FILES.iter().find(|(name, _)| file(&dir, name).is_none()) {
            Some((name, _)) => Err(Error::input(format!(
                "{}: no {name}.gz (nor {name}) here; expected the four files of Fashion-MNIST",
                dir.display()
            ))),
            None => Ok(Some(Found::Given(dir))),
        };
    }
    let complete = |dir: &Path| FILES.iter().all(|(name, _)| file(dir, name).is_some());
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
/// # Errors
/// [`Error::Input`] if what is found is not Fashion-MNIST (the file is named with both checksums);
/// [`Error::Run`] if it cannot be fetched, with what to do by hand.
pub fn load(given: Option<&Path>, progress: &mut dyn FnMut(Progress<'_>)) -> Result<DataSet> {
    let found = match locate(given)? {
        Some(found) => found,
        None => Found::Cache(fetch(progress)?),
    };
    progress(Progress::Step(&format!("reading Fashion-MNIST from {}", found.dir().display())));
    read(found.dir())
}

fn cache_dir() -> Result<PathBuf> {
    Ok(cache::data_dir()?.join("fashion-mnist"))
}

fn file(dir: &Path, name: &str) -> Option<PathBuf> {
    let candidates = [dir.join(format!("{name}.gz")), dir.join(name)];
    candidates.into_iter().find(|path| path.is_file())
}

/// Reads and checks the four files in `dir`.
fn read(dir: &Path) -> Result<DataSet> {
    let [images, labels, test_images, test_labels] = FILES;
    let train = split(dir, images, labels, 60_000)?;
    let test = split(dir, test_images, test_labels, 10_000)?;
    let (mean, std) = train.channel_statistics();
    Ok(DataSet {
        name: "fashion-mnist".into(),
        train: train.padded(PADDING),
        test: test.padded(PADDING),
        normalize: Normalize::new(&mean, &std)?,
    })
}

fn split(dir: &Path, images: (&str, &str), labels: (&str, &str), count: usize) -> Result<ImageSet> {
    let images = checked(dir, images, &[count, 28, 28])?;
    let labels = checked(dir, labels, &[count])?;
    ImageSet::new(
        images,
        (28, 28, 1),
        labels.into_iter().map(u32::from).collect(),
        CLASS_NAMES.map(str::to_owned).to_vec(),
        dir.display().to_string(),
    )
}

fn checked(dir: &Path, (name, sha256): (&str, &str), shape: &[usize]) -> Result<Vec<u8>> {
    let path = file(dir, name).unwrap_or_else(|| dir.join(name));
    let array = idx::read(&path, shape.len())?;
    if array.shape != shape {
        return Err(Error::input(format!(
            "{}: an array of {:?}, expected {shape:?} (Fashion-MNIST)",
            path.display(),
            array.shape
        )));
    }
    if array.sha256 != sha256 {
        return Err(Error::input(format!(
            "{}: not Fashion-MNIST's file: its content has SHA-256 {}, expected {sha256}; remove it and start again",
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
            read(dir).map(|_| ())
        }) {
            Ok(()) => return Ok(target),
            Err(e) => failures.push(e.to_string()),
        }
    }
    Err(Error::run(format!(
        "Fashion-MNIST is not here and could not be fetched: {}. By hand: put {} into a folder and give it \
         as --data DIR, or as {}",
        failures.join("; "),
        FILES.map(|(name, _)| format!("{name}.gz")).join(", "),
        target.display()
    )))
}

fn from_debian(dir: &Path, progress: &mut dyn FnMut(Progress<'_>)) -> Result<()> {
    let work = tempfile::tempdir_in(dir).map_err(Error::io("create a folder in", dir))?;
    debian::fetch(DEBIAN_PACKAGE, work.path(), progress)?;
    for (name, _) in FILES {
        let from = work.path().join("root").join(DEBIAN_DIR).join(format!("{name}.gz"));
        let to = dir.join(format!("{name}.gz"));
        fs::rename(&from, &to).map_err(Error::io("find in the Debian package", &from))?;
    }
    Ok(())
}

fn from_the_web(dir: &Path, progress: &mut dyn FnMut(Progress<'_>)) -> Result<()> {
    // Parts stay here when a download breaks off, and are continued by the next call.
    let parts = cache_dir()?.with_extension("download");
    for (name, sha256) in FILES {
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
    for (name, _) in FILES {
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
        for (name, _) in FILES {
            fs::write(dir.path().join(name), [0, 0, 8, 1, 0, 0, 0, 1, 5]).unwrap();
        }
        let e = load(Some(dir.path()), &mut |_| {}).unwrap_err().to_string();
        assert!(e.contains("train-images-idx3-ubyte"), "{e}");
    }

    #[test]
    #[ignore = "reads or fetches the real data set: cargo test -- --ignored fashion"]
    fn the_real_set_is_whole() {
        let set = load(None, &mut |step| eprintln!("{step:?}")).unwrap();
        assert_eq!(set.train.class_counts().unwrap().as_slice(), [6000; 10]);
        assert_eq!(set.test.class_counts().unwrap().as_slice(), [1000; 10]);
        let (mean, std) = (set.normalize.mean()[0], set.normalize.std()[0]);
        eprintln!("mean {mean}, std {std} (28x28); {:?} padded", set.train.channel_statistics());
        assert!((mean - 0.2860).abs() < 5e-5 && (std - 0.3530).abs() < 5e-5);
    }
}
