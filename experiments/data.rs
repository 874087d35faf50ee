//! `data`: fetch, check, generate and look at data sets.

use std::{path::PathBuf, process::ExitCode};

use clap::{Args, Subcommand};
use rescom::{
    Error, Result,
    data::{self, DataSet, ImageSet, ImageSource as _, Place, cifar, synthetic::Synthetic},
    run::Provenance,
};
use serde::Serialize;

use crate::{
    image_files::FilePlace,
    saved::print_json,
    show::{self, ShowArgs},
    subset::SetName,
};

/// Arguments of `data`.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  rescom-repro data fetch --dataset fashion-mnist\n  rescom-repro data check --dataset cifar10 --data /data/cifar\n  rescom-repro data show --dataset cifar10 --imb 100 --out reports/runs/data\n  rescom-repro data check-files --list ImageNet_LT_train.txt --root /data/imagenet --skip-broken"
)]
pub(crate) struct DataArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Fetch a data set into the cache (if it is not there) and check it.
    Fetch(FetchArgs),
    /// Check a data set that is there: sizes, labels, checksums. Nothing is fetched.
    Check(CheckArgs),
    /// Write a contact sheet (raw and augmented) and the class counts as PNG.
    Show(Box<ShowArgs>),
    /// Decode every picture of an image list or of class folders and name the broken ones.
    CheckFiles(FilesArgs),
    /// Write a generated set as CIFAR's binary folder.
    Synthesize(SynthesizeArgs),
}

#[derive(Args)]
#[command(
    after_help = "Examples:\n  rescom-repro data fetch --dataset cifar10\n  rescom-repro data fetch --dataset cifar10 --mirror https://mirror.example.org/datasets"
)]
struct FetchArgs {
    /// The data set.
    #[arg(long, value_enum)]
    dataset: SetName,
    /// Check the data in this folder or archive instead of fetching.
    #[arg(long)]
    data: Option<String>,
    /// Try this address first, below which the files lie under their published names; may be given
    /// several times. The published checksums hold.
    #[arg(long, value_name = "URL", conflicts_with = "data", value_parser = web_address)]
    mirror: Vec<String>,
    #[command(flatten)]
    how: How,
}

#[derive(Args)]
#[command(
    after_help = "Examples:\n  rescom-repro data check --dataset cifar100\n  rescom-repro data check --dataset fashion-mnist --data other-idx-files --unverified --json"
)]
struct CheckArgs {
    /// The data set.
    #[arg(long, value_enum)]
    dataset: SetName,
    /// Folder or archive with the data; else the cache.
    #[arg(long)]
    data: Option<String>,
    #[command(flatten)]
    how: How,
}

#[derive(Args)]
struct How {
    /// Take other data in the same format: sizes and labels are checked, not the published checksums.
    #[arg(long)]
    unverified: bool,
    /// One JSON object on standard output instead of text.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
#[command(
    after_help = "Example:\n  rescom-repro data check-files --folders /data/places/train --skip-broken"
)]
struct FilesArgs {
    #[command(flatten)]
    place: FilePlace,
    /// List broken files and succeed, instead of failing.
    #[arg(long)]
    skip_broken: bool,
}

#[derive(Args)]
#[command(
    after_help = "Example:\n  rescom-repro data synthesize --out generated/cifar10 --train 50 --test 10"
)]
struct SynthesizeArgs {
    /// Folder to write: a new or empty one, or one with an earlier generated set, which is replaced.
    #[arg(long)]
    out: PathBuf,
    /// 10 or 100 classes.
    #[arg(long, value_enum, default_value = "cifar10")]
    format: SetName,
    /// Training images per class.
    #[arg(long, default_value_t = 500)]
    train: usize,
    /// Test images per class.
    #[arg(long, default_value_t = 100)]
    test: usize,
    /// Everything follows from it.
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

/// An http or https address with a host.
fn web_address(text: &str) -> std::result::Result<String, String> {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let host = rest.and_then(|rest| rest.split('/').next()).unwrap_or_default();
    if host.is_empty() || text.contains(char::is_whitespace) {
        return Err("expected an address such as https://mirror.example.org/datasets".into());
    }
    Ok(text.to_owned())
}

/// Runs the command.
pub(crate) fn run(args: &DataArgs) -> Result<ExitCode> {
    match &args.action {
        Action::Fetch(args) => fetch(args),
        Action::Check(args) => check(args),
        Action::Show(args) => show::run(args),
        Action::CheckFiles(args) => check_files(args),
        Action::Synthesize(args) => synthesize(args),
    }
}

fn synthesize(args: &SynthesizeArgs) -> Result<ExitCode> {
    let format = match args.format {
        SetName::Cifar100 => cifar::Cifar::Hundred,
        SetName::Cifar10 => cifar::Cifar::Ten,
        SetName::FashionMnist | SetName::Mnist => {
            return Err(Error::input("data synthesize: --format cifar10 or cifar100"));
        }
    };
    let (train_per_class, test_per_class, seed) = (args.train, args.test, args.seed);
    Synthetic { format, train_per_class, test_per_class, seed }.write(&args.out)?;
    println!("wrote {}", args.out.display());
    Ok(ExitCode::SUCCESS)
}

impl How {
    fn check(&self) -> cifar::Check {
        if self.unverified { cifar::Check::Format } else { cifar::Check::Published }
    }
}

fn fetch(args: &FetchArgs) -> Result<ExitCode> {
    let place = match args.mirror.as_slice() {
        [] => Place::from_option(args.data.as_deref()),
        mirrors => Place::Mirrored(mirrors),
    };
    summarise(&args.dataset.load(place, args.how.check())?, &args.how)
}

fn check(args: &CheckArgs) -> Result<ExitCode> {
    let found = match (&args.data, args.dataset.id()) {
        (None, Some(id)) => Some(data::locate(id, None)?.ok_or_else(|| {
            Error::input(format!(
                "{0} is not whole in the cache, {1}; `rescom-repro data fetch --dataset {0}` brings it, or name its \
                 folder with --data DIR",
                id.name(),
                data::cache::data_dir().map_or_else(|e| e.to_string(), |d| d.join(id.name()).display().to_string())
            ))
        })?),
        // MNIST says itself that it needs a folder.
        _ => None,
    };
    let place = match &found {
        Some(path) => Place::Given(path),
        None => Place::from_option(args.data.as_deref()),
    };
    summarise(&args.dataset.load(place, args.how.check())?, &args.how)
}

/// What was found of a data set.
#[derive(Serialize)]
struct Summary<'a> {
    set: &'a str,
    source: &'a str,
    /// Whether it was compared with the published checksums.
    verified: bool,
    train: Split<'a>,
    test: Split<'a>,
    /// Per channel of the training images as networks see them, Fashion-MNIST's padding to 32x32 included.
    mean: Vec<f64>,
    std: Vec<f64>,
    /// What views are normalised with.
    normalize_mean: &'a [f32],
    normalize_std: &'a [f32],
}

#[derive(Serialize)]
struct Split<'a> {
    images: usize,
    /// By label; a class may have none.
    per_class: Vec<u64>,
    /// Over images and labels.
    sha256: &'a str,
}

impl<'a> Split<'a> {
    fn of(set: &'a ImageSet) -> Self {
        let mut per_class = vec![0; set.classes()];
        for &label in &set.labels {
            per_class[label as usize] += 1;
        }
        Self { images: set.len(), per_class, sha256: &set.sha256 }
    }

    /// "5000", or "12 to 5000".
    fn range(&self) -> String {
        let (low, high) = (self.per_class.iter().min(), self.per_class.iter().max());
        match (low, high) {
            (Some(low), Some(high)) if low < high => format!("{low} to {high}"),
            (low, _) => low.map_or(String::new(), u64::to_string),
        }
    }
}

fn summarise(set: &DataSet, how: &How) -> Result<ExitCode> {
    let (mean, std) = set.train.channel_statistics();
    let source = set.train.source.as_str();
    let generated = set.name == "synthetic";
    let summary = Summary {
        set: &set.name,
        source: source.strip_prefix(Provenance::UNVERIFIED).unwrap_or(source),
        verified: !how.unverified && !generated,
        train: Split::of(&set.train),
        test: Split::of(&set.test),
        mean,
        std,
        normalize_mean: set.normalize.mean(),
        normalize_std: set.normalize.std(),
    };
    if how.json {
        print_json(&summary)?;
        return Ok(ExitCode::SUCCESS);
    }
    let Summary { train, test, mean, std, .. } = &summary;
    let (height, width) = (set.train.height, set.train.width);
    println!("{}: {} training and {} test images", set.name, train.images, test.images);
    println!("images per class: {} (training), {} (test)", train.range(), test.range());
    println!("from {}", summary.source);
    if summary.verified {
        println!("sizes, labels and published checksums are right");
    } else {
        println!("sizes and labels are right; NOT compared with the published checksums");
    }
    println!("SHA-256 of the training images and labels: {}", train.sha256);
    println!(
        "mean {mean:.4?}, standard deviation {std:.4?} per channel of the training images as networks see them ({height}x{width})"
    );
    println!("normalised with {:?} and {:?}", summary.normalize_mean, summary.normalize_std);
    Ok(ExitCode::SUCCESS)
}

fn check_files(args: &FilesArgs) -> Result<ExitCode> {
    let files = args.place.load()?;
    let all = files.len();
    let broken = files.find_broken(&|| true).unwrap_or_default();
    for file in &broken {
        println!("{}: {}", file.path.display(), file.reason);
    }
    let (found, kept) = (broken.len(), files.skipping(broken)?);
    let usable = all - found;
    println!("{usable} of {all} pictures in {} classes can be decoded", kept.classes());
    match found {
        0 => Ok(ExitCode::SUCCESS),
        _ if args.skip_broken => Ok(ExitCode::SUCCESS),
        n => Err(Error::input(format!("{n} broken pictures; --skip-broken leaves them out"))),
    }
}
