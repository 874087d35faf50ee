//! `data show`: a contact sheet of raw and augmented images, and the class counts.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Args, ValueEnum};
use rescom::{
    Error, Result,
    augment::{Canvas, ImageRef, LargeImages, Pipeline, Scratch, SmallImages, resize},
    data::{ImageFiles, ImageSource},
    longtail::{ClassCounts, ShotGroup},
    report::{self, Axis, ContactSheet, Lines, Mark, Panel, Series, Tile, colors},
    rng::Streams,
    run,
};

use crate::{
    image_files::FilePlace,
    subset::{RuleArgs, SetName},
};

/// Arguments of `data show`.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  rescom-repro data show --dataset cifar10 --imb 100 --out reports/runs/data\n  rescom-repro data show --list ImageNet_LT_train.txt --root /data/imagenet"
)]
pub(crate) struct ShowArgs {
    /// The data set.
    #[arg(long, value_enum, required_unless_present_any = ["list", "folders"],
        conflicts_with_all = ["list", "folders"])]
    dataset: Option<SetName>,
    #[command(flatten)]
    files: FilePlace,
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

/// More would be no sheet to look at.
const MOST_TILES: usize = 4000;

/// Runs `data show`.
pub(crate) fn run(args: &ShowArgs) -> Result<ExitCode> {
    if args.images == 0 || args.images.saturating_mul(args.views.max(1)) > MOST_TILES {
        return Err(Error::input(format!(
            "data show: --images {} with --views {}; expected at least one image and {MOST_TILES} views in all at most",
            args.images, args.views
        )));
    }
    if args.dataset.is_none() && args.rule.is_given() {
        return Err(Error::input(
            "data show: a list and class folders are shown as they are; --data, --unverified, --imb and the other \
             options of a long-tailed subset need --dataset",
        ));
    }
    if args.dataset.is_some() && args.files.root.is_some() {
        return Err(Error::input(
            "data show: --root belongs to --list; leave it out with --dataset",
        ));
    }
    let (sheet, title, counts) = match args.dataset {
        Some(set) => of_set(set, args)?,
        None => of_files(&args.files.load()?, args)?,
    };
    write_png(&args.out.join("contact-sheet.png"), &sheet)?;
    write_png(&args.out.join("class-counts.png"), &counts_chart(&title, &counts))?;
    Ok(ExitCode::SUCCESS)
}

/// A set in memory, and the long-tailed subset of it.
fn of_set(set: SetName, args: &ShowArgs) -> Result<(ContactSheet, String, ClassCounts)> {
    let (set, manifest) = args.rule.load(set)?;
    let usual = if set.train.channels == 1 { Augment::Grey } else { Augment::Cifar };
    let sheet = contact_sheet(&set.train, &set.name, usual, args)?;
    let counts = manifest.class_counts()?;
    let (name, factor, total) = (&set.name, manifest.imbalance_factor, counts.total());
    Ok((sheet, format!("{name}, imbalance factor {factor}: {total} images"), counts))
}

/// Pictures in files, as many of each class as there are.
fn of_files(files: &ImageFiles, args: &ShowArgs) -> Result<(ContactSheet, String, ClassCounts)> {
    let name = args.files.name();
    let sheet = contact_sheet(files, &name, Augment::Large, args)?;
    let counts = files.class_counts()?;
    let (factor, total) = (counts.imbalance_factor(), counts.total());
    Ok((sheet, format!("{name}, imbalance factor {factor:.0}: {total} images"), counts))
}

fn write_png(path: &Path, figure: &dyn report::Figure) -> Result<()> {
    run::atomic::write(path, &report::render(figure)?.png)?;
    println!("{}", path.display());
    Ok(())
}

fn contact_sheet(
    images: &dyn ImageSource,
    name: &str,
    usual: Augment,
    args: &ShowArgs,
) -> Result<ContactSheet> {
    let augment = args.augment.unwrap_or(usual);
    let pipeline = match augment {
        Augment::Light => Pipeline::Small(SmallImages::LIGHT),
        Augment::Grey => Pipeline::Small(SmallImages::GREY),
        Augment::Cifar => Pipeline::Small(SmallImages::CIFAR),
        Augment::Large => Pipeline::Large(LargeImages { size: 64, ..LargeImages::reference() }),
    };
    let (streams, mut scratch) = (Streams::new(args.seed), Scratch::default());
    let (mut rows, mut buffer) = (Vec::new(), Vec::new());
    for id in first_of_each_class(&images.labels(), images.classes(), args.images) {
        let image = images.image(id, &mut buffer)?;
        let mut tiles = vec![tile(image)];
        for view in 0..args.views as u64 {
            let mut rng = streams.stream("augment", &[0, id.into(), view]);
            tiles.push(tile(pipeline.view(image, &mut rng, &mut scratch)));
        }
        let class = images.label(id) as usize;
        rows.push((format!("{} (#{id})", images.class_names()[class]), tiles));
    }
    let mut columns = vec!["raw".to_owned()];
    columns.extend((1..=args.views).map(|view| format!("view {view}")));
    let word = augment.to_possible_value().map_or(String::new(), |v| v.get_name().to_owned());
    Ok(ContactSheet { title: format!("{name}, augmentation \"{word}\""), columns, rows })
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
