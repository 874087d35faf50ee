//! Fetching into the cache: addresses, mirrors, and what to do by hand where no address answers.

use std::fs::File;
use std::path::Path;

use super::cifar::Cifar;
#[cfg(not(feature = "train"))]
use super::refusal::Refusal;
use super::refusal::{Fetched, reasons};
use super::{Progress, cache};
use crate::{Error, Result};

/// No archive or file of the sets that are fetched is larger.
#[cfg(feature = "train")]
const MAX_BYTES: u64 = 200 << 20;

/// An archive as it is published.
struct Archive {
    name: &'static str,
    bytes: u64,
    sha256: &'static str,
    urls: &'static [&'static str],
}

#[rustfmt::skip]
const TEN: [Archive; 2] = [
    Archive {
        name: "cifar-10-binary.tar.gz",
        bytes: 170_052_171,
        sha256: "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
        urls: &[
            "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
            "https://cave.cs.toronto.edu/kriz/cifar-10-binary.tar.gz",
        ],
    },
    Archive {
        name: "cifar-10-python.tar.gz",
        bytes: 170_498_071,
        sha256: "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
        urls: &[
            "https://storage.googleapis.com/tensorflow/tf-keras-datasets/cifar-10-python.tar.gz",
            "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
        ],
    },
];
#[rustfmt::skip]
const HUNDRED: [Archive; 2] = [
    Archive {
        name: "cifar-100-binary.tar.gz",
        bytes: 168_513_733,
        sha256: "58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec",
        urls: &[
            "https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz",
            "https://cave.cs.toronto.edu/kriz/cifar-100-binary.tar.gz",
        ],
    },
    Archive {
        name: "cifar-100-python.tar.gz",
        bytes: 169_001_437,
        sha256: "85cd44d02ba6437773c5bbd22e183051d648de2e7d6b014e1ef29b855ba677a7",
        urls: &["https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz"],
    },
];

/// Fetches an archive of the set into `dir`: from the mirrors, else from the published addresses.
///
/// # Errors
/// [`Error::Run`] with every reason and what to do by hand if no address gives one;
/// [`Error::Io`] if the disk refuses.
pub(super) fn cifar(
    cifar: Cifar,
    dir: &Path,
    mirrors: &[String],
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<()> {
    let archives = if cifar == Cifar::Ten { &TEN } else { &HUNDRED };
    let mut refusals = Vec::new();
    for published in [false, true] {
        for archive in archives {
            let urls: Vec<String> = match published {
                false => below(mirrors, archive.name),
                true => archive.urls.iter().map(|&url| url.to_owned()).collect(),
            };
            let check = |path: &Path| has_sha256(path, archive.sha256);
            match file(&dir.join(archive.name), &urls, &check, progress)? {
                Fetched::InPlace => return Ok(()),
                Fetched::Nowhere(more) => refusals.extend(more),
            }
        }
    }
    let [Archive { name, bytes, sha256, urls }, _] = archives;
    Err(Error::run(format!(
        "{} is not here and could not be fetched ({}); by hand: fetch {} ({bytes} bytes, SHA-256 {sha256}) and put \
         it as {name} into {}, or name its folder with --data",
        cifar.name(),
        reasons(&refusals),
        urls[0],
        dir.display()
    )))
}

/// The address of `name` below each of the base addresses.
pub(super) fn below(bases: &[String], name: &str) -> Vec<String> {
    bases.iter().map(|base| format!("{}/{name}", base.trim_end_matches('/'))).collect()
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
///
/// # Errors
/// [`Error::Io`] if the disk refuses.
#[cfg(feature = "train")]
pub(super) fn file(
    target: &Path,
    urls: &[String],
    check: &dyn Fn(&Path) -> Result<()>,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<Fetched> {
    use super::download::{Download, Patience};
    let download = Download { urls, max_bytes: MAX_BYTES, check };
    download.fetch(target, Patience::USUAL, progress)
}

/// Fetching needs the feature `train`: without it only what is there already is found.
#[cfg(not(feature = "train"))]
pub(super) fn file(
    target: &Path,
    urls: &[String],
    check: &dyn Fn(&Path) -> Result<()>,
    _progress: &mut dyn FnMut(Progress<'_>),
) -> Result<Fetched> {
    if target.is_file() && check(target).is_ok() {
        return Ok(Fetched::InPlace);
    }
    let refusal =
        |url: &String| Refusal { url: url.clone(), why: "this build does not download".into() };
    Ok(Fetched::Nowhere(urls.iter().map(refusal).collect()))
}
