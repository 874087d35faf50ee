//! Arguments of the sweeps over pictures in files: `imagenet-lt`, `inat18`, `places-lt`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use rescom::{data::ListPlaces, run::DataSetId};

use crate::{
    images::{self, Source},
    plan::{PlanRequest, SweepArgs},
};

/// Where the pictures are.
#[derive(Args, Clone)]
pub(crate) struct PictureArgs {
    /// Folder with the image lists (see below) and the pictures that they name.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Training list, "relative/path label" per line [default: the one in --data].
    #[arg(long, value_name = "FILE")]
    train_list: Option<PathBuf>,
    /// Test list [default: the one in --data].
    #[arg(long, value_name = "FILE")]
    test_list: Option<PathBuf>,
    /// Folder that the paths in the lists start from [default: --data].
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
    /// Leave out pictures that cannot be decoded. All are decoded once before the first run; the
    /// result is kept in the sweep's folder. Without this the first broken picture ends the sweep.
    #[arg(long)]
    skip_broken: bool,
    /// Take pictures whose numbers are not those of the published set.
    #[arg(long)]
    unverified: bool,
}

impl PictureArgs {
    fn source(&self) -> Source {
        Source::Files {
            places: ListPlaces {
                data: self.data.clone(),
                train_list: self.train_list.clone(),
                test_list: self.test_list.clone(),
                root: self.root.clone(),
            },
            check: images::check(self.unverified),
            skip_broken: self.skip_broken,
        }
    }
}

/// The two networks with ImageNet-LT recipes.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Backbone {
    /// ResNet-50.
    Resnet50,
    /// ResNeXt-50 32x4d.
    Resnext50,
}

/// Arguments of `imagenet-lt`.
#[derive(Args)]
#[command(
    after_help = "DIR or DIR/ImageNet_LT holds ImageNet_LT_train.txt and ImageNet_LT_test.txt, whose paths start from DIR; or \
                  DIR/train and DIR/test (or val) hold class folders.\n\n\
                  Examples:\n  rescom-repro imagenet-lt --data DIR --methods ce,rescom --precision bf16\n  rescom-repro imagenet-lt --data DIR \
                  --backbone resnext50 --dry-run"
)]
pub(crate) struct ImagenetArgs {
    #[command(flatten)]
    sweep: SweepArgs,
    #[command(flatten)]
    pictures: PictureArgs,
    /// Encoder, and the recipe that goes with it.
    #[arg(long, value_enum, default_value = "resnet50", conflicts_with = "recipe")]
    backbone: Backbone,
}

impl ImagenetArgs {
    /// What to do.
    pub(crate) fn plan(&self) -> PlanRequest {
        let (name, recipe) = match self.backbone {
            Backbone::Resnet50 => ("imagenet-lt", None),
            Backbone::Resnext50 => {
                let text = include_str!("recipes/imagenet-lt-resnext50.toml");
                ("imagenet-lt-resnext50", Some(("imagenet-lt-resnext50.toml", text)))
            }
        };
        PlanRequest { recipe, ..request(name, DataSetId::ImagenetLt, &self.sweep, &self.pictures) }
    }
}

/// Arguments of `inat18`.
#[derive(Args)]
#[command(
    after_help = "DIR or DIR/iNaturalist18 holds iNaturalist18_train.txt and iNaturalist18_val.txt, whose paths start from DIR; or \
                  DIR/train and DIR/test (or val) hold class folders.\n\n\
                  Example:\n  rescom-repro inat18 --data DIR --methods rescom --precision bf16"
)]
pub(crate) struct InatArgs {
    #[command(flatten)]
    sweep: SweepArgs,
    #[command(flatten)]
    pictures: PictureArgs,
}

impl InatArgs {
    /// What to do.
    pub(crate) fn plan(&self) -> PlanRequest {
        request("inat18", DataSetId::Inat18, &self.sweep, &self.pictures)
    }
}

/// Arguments of `places-lt`.
#[derive(Args)]
#[command(
    after_help = "DIR or DIR/Places_LT holds Places_LT_train.txt and Places_LT_test.txt, whose paths start from DIR; or \
                  DIR/train and DIR/test (or val) hold class folders.\n\n\
                  Example:\n  rescom-repro places-lt --data DIR --root PICTURES --methods ce,rescom"
)]
pub(crate) struct PlacesArgs {
    #[command(flatten)]
    sweep: SweepArgs,
    #[command(flatten)]
    pictures: PictureArgs,
}

impl PlacesArgs {
    /// What to do.
    pub(crate) fn plan(&self) -> PlanRequest {
        request("places-lt", DataSetId::PlacesLt, &self.sweep, &self.pictures)
    }
}

fn request(
    name: &'static str,
    set: DataSetId,
    sweep: &SweepArgs,
    pictures: &PictureArgs,
) -> PlanRequest {
    PlanRequest {
        name,
        sets: vec![set],
        // The sets are long-tailed themselves; the recipes do not use it.
        factors: vec![1.0],
        recipe: None,
        source: pictures.source(),
        args: sweep.clone(),
    }
}
