//! The images: `[data]` and `[augment]`.

use serde::{Deserialize, Serialize};

use crate::{
    Error, Result,
    longtail::{ClassOrder, TailShape},
};

/// Data sets by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DataSetId {
    /// CIFAR-10, 5,000 images per class.
    Cifar10,
    /// CIFAR-100, 500 images per class.
    Cifar100,
    /// Fashion-MNIST, 6,000 images per class, grey, padded to 32x32.
    FashionMnist,
    /// ImageNet-LT from an image list.
    ImagenetLt,
    /// iNaturalist 2018 from an image list.
    Inat18,
    /// Places-LT from an image list.
    PlacesLt,
}

impl DataSetId {
    /// Number of classes C.
    pub fn classes(self) -> usize {
        match self {
            Self::Cifar10 | Self::FashionMnist => 10,
            Self::Cifar100 => 100,
            Self::ImagenetLt => 1000,
            Self::Inat18 => 8142,
            Self::PlacesLt => 365,
        }
    }

    /// Channels of a decoded image: 1 (grey) or 3 (RGB).
    pub fn channels(self) -> usize {
        if self == Self::FashionMnist { 1 } else { 3 }
    }

    /// Training images per class before a tail is cut; none where the set is long-tailed itself.
    pub fn images_per_class(self) -> Option<u64> {
        match self {
            Self::Cifar10 => Some(5000),
            Self::Cifar100 => Some(500),
            Self::FashionMnist => Some(6000),
            Self::ImagenetLt | Self::Inat18 | Self::PlacesLt => None,
        }
    }

    /// Training images of a set that is long-tailed itself, as published; none of the others.
    pub fn long_tailed_images(self) -> Option<u64> {
        match self {
            Self::Cifar10 | Self::Cifar100 | Self::FashionMnist => None,
            Self::ImagenetLt => Some(115_846),
            Self::Inat18 => Some(437_513),
            Self::PlacesLt => Some(62_500),
        }
    }

    /// Test images of the published set.
    pub fn test_images(self) -> usize {
        match self {
            Self::Cifar10 | Self::Cifar100 | Self::FashionMnist => 10_000,
            Self::ImagenetLt => 50_000,
            Self::Inat18 => 24_426,
            Self::PlacesLt => 36_500,
        }
    }

    /// The name used on the command line, in recipes and in the tables of published numbers.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cifar10 => "cifar10",
            Self::Cifar100 => "cifar100",
            Self::FashionMnist => "fashion-mnist",
            Self::ImagenetLt => "imagenet-lt",
            Self::Inat18 => "inat18",
            Self::PlacesLt => "places-lt",
        }
    }
}

/// `[data]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "RawData", into = "RawData")]
pub struct DataSpec {
    /// The data set.
    pub set: DataSetId,
    /// Shape of the tail; none (`natural` in the file): the set's own counts.
    pub profile: Option<TailShape>,
    /// n_1 / n_C, at least 1; ignored by the natural profile.
    pub imbalance_factor: f64,
    /// Images of the largest class, n_1; ignored by the natural profile.
    pub images_per_class: u64,
    /// Which class is the head.
    pub class_order: ClassOrder,
    /// The reference's `rand_number`: seed of the legacy generator that picks the images.
    pub subset_seed: u32,
}

impl DataSpec {
    /// The profile by the word of the file.
    pub fn profile_name(&self) -> &'static str {
        self.profile.map_or(NATURAL, TailShape::name)
    }
}

const NATURAL: &str = "natural";

/// `[data]` as it stands in the file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawData {
    set: DataSetId,
    /// exp, step or natural.
    profile: String,
    imbalance_factor: f64,
    images_per_class: u64,
    /// natural, reversed, seeded:N; `seeded` alone takes `subset-seed`.
    class_order: String,
    subset_seed: u32,
}

const SEEDED: &str = "seeded";

impl TryFrom<RawData> for DataSpec {
    type Error = Error;

    fn try_from(raw: RawData) -> Result<Self> {
        let bad = |key: &str, is: &str, expected: &str| {
            Error::input(format!("recipe, data.{key} = {is}: expected {expected}"))
        };
        let profile = match raw.profile.as_str() {
            NATURAL => None,
            name => Some(
                TailShape::parse(name)
                    .ok_or_else(|| bad("profile", name, "exp, step or natural"))?,
            ),
        };
        let class_order = match raw.class_order.as_str() {
            SEEDED => ClassOrder::Seeded(raw.subset_seed.into()),
            name => name
                .parse()
                .map_err(|_| bad("class-order", name, "natural, reversed, seeded or seeded:N"))?,
        };
        let RawData { set, imbalance_factor, images_per_class, subset_seed, .. } = raw;
        Ok(Self { set, profile, imbalance_factor, images_per_class, class_order, subset_seed })
    }
}

impl From<DataSpec> for RawData {
    fn from(data: DataSpec) -> Self {
        let class_order = if data.class_order == ClassOrder::Seeded(data.subset_seed.into()) {
            SEEDED.to_owned()
        } else {
            data.class_order.to_string()
        };
        let profile = data.profile_name().to_owned();
        let DataSpec { set, imbalance_factor, images_per_class, subset_seed, .. } = data;
        Self { set, profile, imbalance_factor, images_per_class, class_order, subset_seed }
    }
}

/// The random augmentation of a training view.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AugmentPolicy {
    /// Random crop (padding 4) and horizontal flip.
    CropFlip,
    /// Crop, flip and Cutout.
    CropFlipCutout,
    /// Crop, flip, AutoAugment (CIFAR-10 policy) and Cutout.
    AutoAugmentCutout,
    /// Random resized crop, flip, colour jitter, grayscale, RandAugment.
    RandAugment,
}

/// `[augment]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct AugmentSpec {
    /// The policy.
    pub policy: AugmentPolicy,
    /// Channel means subtracted, of images scaled to 0..1; one per channel.
    pub mean: Vec<f64>,
    /// Channel standard deviations divided by; one per channel.
    pub std: Vec<f64>,
}
