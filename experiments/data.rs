//! `data`: fetch, check, generate and look at data sets.

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Args, Subcommand, ValueEnum};
use rescom::{
    Error, Result,
    augment::{Canvas, ImageRef, LargeImages, Pipeline, Scratch, SmallImages, resize},
    data::{DataSet, ImageFiles, ImageSource, cifar, synthetic::Synthetic},
    longtail::{ClassCounts, ShotGroup},
    report::{self, Axis, ContactSheet, Lines, Mark, Panel, Series, Tile, colors},
    rng::Streams,
    run,
};

use serde_json::json;

use crate::{
    images,
    saved::print_json,
    subset::{RuleArgs, SetName},
};

/// Arguments of `data`.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  rescom-repro data fetch --set fashion-mnist\n  rescom-repro data show --set cifar10 --imb 100 --out reports/runs/data\n  rescom-repro data check-files --list ImageNet_LT_train.txt --root /data/imagenet --skip-broken"
)]
pub(crate) struct DataArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Fetch a data set into the cache (if it is not there) and check it; with --data, check what lies there.
    #[command(
        visible_alias = "check",
        after_help = "Examples:\n  rescom-repro data fetch --set cifar10\n  rescom-repro data check --set cifar10 --data DIR --unverified"
    )]
    Fetch {
        /// The data set.
        #[arg(long, value_enum)]
        set: SetName,
        /// Check the data in this folder or archive instead of fetching.
        #[arg(long)]
        data: Option<String>,
        /// Check its form alone: other images than the published ones.
        #[arg(long, requires = "data")]
        unverified: bool,
        /// What was found as JSON on standard output.
        #[arg(long)]
        json: bool,
    },
    /// Write a contact sheet (raw and augmented) and the class counts as PNG.
    #[command(
        after_help = "Example:\n  rescom-repro data show --set fashion-mnist --imb 100 --out reports/runs/data"
    )]
    Show(ShowArgs),
    /// Decode every picture of an image list or of class folders and name the broken ones.
    #[command(
        after_help = "Examples:\n  rescom-repro data check-files --list train.txt --root DIR\n  rescom-repro data check-files --folders DIR --skip-broken"
    )]
    CheckFiles(FilesArgs),
    /// Write a generated set as CIFAR's binary folder.
    #[command(
        after_help = "Example:\n  rescom-repro data synthesize --format cifar10 --out set\n  rescom-repro cifar --dataset cifar10 --data set --unverified"
    )]
    Synthesize {
        /// Folder to write.
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
    },
}

#[derive(Args)]
struct ShowArgs {
    #[command(flatten)]
    rule: RuleArgs,
    /// Folder for the PNG files.
    #[arg(long, default_value = "reports/runs/data")]
    out: PathBuf,
    /// Images on the sheet, one class after the other.
    #[arg(long, default_value_t = 10)]
    images: usize,
    /// Augmented views of each.
    #[arg(long, default_value_t = 6)]
    views: usize,
    /// Augmentation; else the one that suits the set.
    #[arg(long, value_enum)]
    augment: Option<Augment>,
    /// Seed of the views.
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Augment {
    /// Crop and flip.
    Light,
    /// Crop, flip, Cutout.
    Grey,
    /// Crop, flip, AutoAugment, Cutout.
    Cifar,
    /// Random resized crop, flip, jitter, grayscale, RandAugment.
    Large,
}

#[derive(Args)]
struct FilesArgs {
    /// Image list: `relative/path label` per line.
    #[arg(long, requires = "root", conflicts_with = "folders")]
    list: Option<PathBuf>,
    /// Folder that the paths of the list start from.
    #[arg(long)]
    root: Option<PathBuf>,
    /// Folder with one sub-folder per class.
    #[arg(long)]
    folders: Option<PathBuf>,
    /// List broken files and succeed, instead of failing.
    #[arg(long)]
    skip_broken: bool,
}

/// Runs the command.
pub(crate) fn run(args: &DataArgs) -> Result<ExitCode> {
    match &args.action {
        Action::Fetch { set, data, unverified, json } => {
            fetch(*set, data.as_deref(), *unverified, *json)
        }
        Action::Show(args) => show(args),
        Action::CheckFiles(args) => check_files(args),
        Action::Synthesize { out, format, train, test, seed } => {
            let format = match format {
                SetName::Cifar100 => cifar::Cifar::Hundred,
                SetName::Cifar10 => cifar::Cifar::Ten,
                SetName::FashionMnist | SetName::Mnist => {
                    return Err(Error::input("data synthesize: --format cifar10 or cifar100"));
                }
            };
            let (train_per_class, test_per_class, seed) = (*train, *test, *seed);
            Synthetic { format, train_per_class, test_per_class, seed }.write(out)?;
            println!("wrote {}", out.display());
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn fetch(set: SetName, given: Option<&str>, unverified: bool, json: bool) -> Result<ExitCode> {
    let check = images::check(unverified);
    let set = set.load(given, check)?;
    let (mean, std) = set.train.channel_statistics();
    if json {
        print_json(&json!({
            "set": set.name,
            "source": set.train.source,
            "published": !unverified,
            "train_images": set.train.len(),
            "test_images": set.test.len(),
            "classes": set.train.classes(),
            "sha256": set.train.sha256,
            "mean": mean,
            "std": std,
        }))?;
        return Ok(ExitCode::SUCCESS);
    }
    println!("{}: {} training and {} test images", set.name, set.train.len(), set.test.len());
    println!("from {}", set.train.source);
    println!("SHA-256 of the training images and labels: {}", set.train.sha256);
    println!("mean {mean:.4?}, standard deviation {std:.4?} per channel (as stored)");
    println!("normalised with {:?} and {:?}", set.normalize.mean(), set.normalize.std());
    Ok(ExitCode::SUCCESS)
}

fn check_files(args: &FilesArgs) -> Result<ExitCode> {
    let files = match (&args.list, &args.root, &args.folders) {
        (Some(list), Some(root), _) => ImageFiles::from_list(list, root, None)?,
        (_, _, Some(folders)) => ImageFiles::from_class_folders(folders)?,
        _ => return Err(Error::input("data check-files: give --list and --root, or --folders")),
    };
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

fn show(args: &ShowArgs) -> Result<ExitCode> {
    let (set, manifest) = args.rule.load()?;
    fs::create_dir_all(&args.out).map_err(Error::io("create", &args.out))?;
    let sheet = contact_sheet(&set, args)?;
    write_png(&args.out.join("contact-sheet.png"), &sheet)?;
    let counts = manifest.class_counts()?;
    let title = format!(
        "{}, imbalance factor {}: {} images",
        set.name,
        manifest.imbalance_factor,
        counts.total()
    );
    write_png(&args.out.join("class-counts.png"), &counts_chart(&title, &counts))?;
    Ok(ExitCode::SUCCESS)
}

fn write_png(path: &Path, figure: &dyn report::Figure) -> Result<()> {
    run::atomic::write(path, &report::render(figure)?.png)?;
    println!("{}", path.display());
    Ok(())
}

fn contact_sheet(set: &DataSet, args: &ShowArgs) -> Result<ContactSheet> {
    let grey = set.train.channels == 1;
    let augment = args.augment.unwrap_or(if grey { Augment::Grey } else { Augment::Cifar });
    let pipeline = match augment {
        Augment::Light => Pipeline::Small(SmallImages::LIGHT),
        Augment::Grey => Pipeline::Small(SmallImages::GREY),
        Augment::Cifar => Pipeline::Small(SmallImages::CIFAR),
        Augment::Large => Pipeline::Large(LargeImages { size: 64, ..LargeImages::reference() }),
    };
    let (streams, mut scratch) = (Streams::new(args.seed), Scratch::default());
    let mut rows = Vec::new();
    for id in first_of_each_class(&set.train.labels, set.train.classes(), args.images) {
        let image = set.train.get(id as usize);
        let mut tiles = vec![tile(image)];
        for view in 0..args.views as u64 {
            let mut rng = streams.stream("augment", &[0, id.into(), view]);
            tiles.push(tile(pipeline.view(image, &mut rng, &mut scratch)));
        }
        let class = set.train.label(id) as usize;
        rows.push((format!("{} (#{id})", set.train.class_names[class]), tiles));
    }
    let mut columns = vec!["raw".to_owned()];
    columns.extend((1..=args.views).map(|view| format!("view {view}")));
    let name = augment.to_possible_value().map_or(String::new(), |v| v.get_name().to_owned());
    Ok(ContactSheet { title: format!("{}, augmentation \"{name}\"", set.name), columns, rows })
}

/// Round after round one image of every class.
fn first_of_each_class(labels: &[u32], classes: usize, count: usize) -> Vec<u32> {
    let mut by_class = vec![Vec::new(); classes];
    for (id, &label) in labels.iter().enumerate() {
        by_class[label as usize].push(id as u32);
    }
    let most = by_class.iter().map(Vec::len).max().unwrap_or(0);
    let round = |round: usize| by_class.iter().filter_map(move |ids| ids.get(round).copied());
    (0..most).flat_map(round).take(count).collect()
}

/// At most 64 pixels a side: the sheet shows no more.
fn tile(image: ImageRef<'_>) -> Tile {
    let mut canvas = Canvas::of(image);
    let long = image.height.max(image.width);
    if long > 64 {
        let side = |side: usize| (side * 64 / long).max(1);
        let to = (side(image.height), side(image.width));
        resize::resized_crop(image, (0, 0, image.height, image.width), to, &mut canvas);
    }
    let shown = canvas.image();
    Tile { pixels: shown.pixels.to_vec(), height: shown.height, width: shown.width }
}

/// Images per class on a logarithmic axis, shot groups in colours.
fn counts_chart(title: &str, counts: &ClassCounts) -> Lines {
    let color = |group| match group {
        ShotGroup::Many => colors::BLUE,
        ShotGroup::Medium => colors::ORANGE,
        ShotGroup::Few => colors::PURPLE,
    };
    let range = |group| match group {
        ShotGroup::Many => "many-shot (> 100)",
        ShotGroup::Medium => "medium-shot (20 to 100)",
        ShotGroup::Few => "few-shot (< 20)",
    };
    let series = ShotGroup::ALL.into_iter().filter_map(|group| {
        let classes = counts.as_slice().iter().enumerate();
        let points: Vec<_> = classes
            .filter(|&(_, &n)| ShotGroup::of(n) == group)
            .map(|(class, &n)| (class as f64, n as f64))
            .collect();
        let mark = Mark::Bars { width: 80 };
        (!points.is_empty()).then(|| Series::new(range(group), points, color(group), mark))
    });
    let series = series.collect();
    let x = if counts.classes() <= 20 {
        Axis::categories("class", (0..counts.classes()).map(|class| class.to_string()))
    } else {
        Axis::linear("class", -0.5, counts.classes() as f64 - 0.5)
    };
    let low = 10f64.powf((counts.min() as f64).log10().floor()).min(counts.min() as f64 * 0.7);
    let y = Axis::log("training images", low, counts.max() as f64 * 1.4);
    Lines { panel_size: (520, 320), ..Lines::row(vec![Panel::new(title, x, y, series)]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sheet_goes_round_the_classes() {
        let labels = [1, 1, 0, 1, 0];
        assert_eq!(first_of_each_class(&labels, 2, 3), [2, 0, 4]);
        assert_eq!(first_of_each_class(&labels, 2, 9), [2, 0, 4, 1, 3]);
    }
}
