//! From a recipe to the images of a run: which are chosen, what the loader makes of them.

use std::sync::Arc;

use serde::Serialize;

use crate::{
    Error, Result,
    augment::{LargeImages, Layout, Normalize, Pipeline, SmallImages},
    data::{BatchOrder, ImageSource, LoaderOptions},
    longtail::{ClassCounts, ImbalanceFactor, SubsetManifest, SubsetRule, sha256_int64},
    run::{AugmentPolicy, Recipe},
};

/// The rule by which the recipe's training subset is chosen.
///
/// # Errors
/// [`Error::Input`] for a profile that takes the set as it is.
pub fn subset_rule(recipe: &Recipe) -> Result<SubsetRule> {
    let d = &recipe.data;
    let shape = d.profile.ok_or_else(|| {
        Error::input("data.profile = natural: the set is used as it is, without a subset")
    })?;
    Ok(SubsetRule {
        shape,
        imbalance: ImbalanceFactor::new(d.imbalance_factor)?,
        rand_number: d.subset_seed,
        order: d.class_order,
        n_max: Some(d.images_per_class),
    })
}

/// Steps per epoch and training images of a recipe, without the data. A set that is long-tailed
/// itself counts as its published number of images.
///
/// # Errors
/// [`Error::Input`] if the subset does not fill one batch.
pub fn size(recipe: &Recipe) -> Result<(usize, u64)> {
    let images = match recipe.data.set.long_tailed_images() {
        Some(published) => published,
        None => {
            let rule = subset_rule(recipe)?;
            let profile = rule.shape.profile(rule.imbalance);
            profile.counts(recipe.data.set.classes(), recipe.data.images_per_class)?.total()
        }
    };
    Ok((steps(recipe, images)?, images))
}

/// Steps per epoch with `images` training images: the last, incomplete batch is dropped.
///
/// # Errors
/// [`Error::Input`] if they do not fill one batch.
pub fn steps(recipe: &Recipe, images: u64) -> Result<usize> {
    let steps = images as usize / recipe.optim.batch_size;
    if steps == 0 {
        return Err(Error::input(format!(
            "recipe, optim.batch-size = {}: there are only {images} training images; take a smaller batch",
            recipe.optim.batch_size
        )));
    }
    Ok(steps)
}

/// What stands in `subset.json` for a set that is long-tailed itself.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct ListManifest<'a> {
    data_set: &'a str,
    /// SHA-256 over the list's paths and labels.
    list_sha256: &'a str,
    /// SHA-256 over the labels of the whole list (little-endian int64).
    labels_sha256: String,
    /// Images used per class, in label order.
    counts: &'a [u64],
    /// Places in the list, from 0, of pictures left out because they cannot be decoded.
    skipped: Vec<u32>,
    /// SHA-256 over the places of the images used (little-endian int64).
    sha256: &'a str,
}

/// The training images of a run.
#[derive(Debug, Clone)]
pub(crate) struct Selection {
    /// Their ids in the source.
    pub(crate) ids: Vec<u32>,
    pub(crate) counts: ClassCounts,
    /// SHA-256 over the ids.
    pub(crate) sha256: String,
    /// What `subset.json` holds.
    pub(crate) manifest: serde_json::Value,
}

impl Selection {
    /// Chooses the recipe's long-tailed subset of `train`, or all its usable images if the set is
    /// long-tailed itself.
    ///
    /// # Errors
    /// [`Error::Input`] if `train` has too few images of a class.
    pub(crate) fn new(recipe: &Recipe, train: &dyn ImageSource) -> Result<Self> {
        let as_json = |e: serde_json::Error| Error::run(format!("subset manifest: {e}"));
        let data_set = recipe.data.set.name();
        if recipe.data.profile.is_some() {
            let (labels, rule) = (train.labels(), subset_rule(recipe)?);
            let chosen = SubsetManifest::choose(data_set, &labels, train.classes(), &rule)?;
            return Ok(Self {
                counts: chosen.class_counts()?,
                sha256: chosen.sha256.clone(),
                manifest: serde_json::to_value(&chosen).map_err(as_json)?,
                ids: chosen.indices,
            });
        }
        let (ids, counts) = (train.usable(), train.class_counts()?);
        let sha256 = sha256_int64(&ids);
        let manifest = ListManifest {
            data_set,
            list_sha256: train.sha256(),
            labels_sha256: sha256_int64(&train.labels()),
            counts: counts.as_slice(),
            skipped: train.skipped().iter().map(|broken| broken.id).collect(),
            sha256: &sha256,
        };
        let manifest = serde_json::to_value(manifest).map_err(as_json)?;
        Ok(Self { ids, counts, sha256, manifest })
    }
}

/// How the recipe's training batches are made.
///
/// # Errors
/// [`Error::Input`] for constants of normalisation that cannot be used.
pub fn training_options(recipe: &Recipe, threads: usize) -> Result<LoaderOptions> {
    Ok(LoaderOptions {
        batch_size: recipe.optim.batch_size,
        views: recipe.loss.views(),
        pipeline: match recipe.augment.policy {
            AugmentPolicy::CropFlip => Pipeline::Small(SmallImages::LIGHT),
            AugmentPolicy::CropFlipCutout => Pipeline::Small(SmallImages::GREY),
            AugmentPolicy::AutoAugmentCutout => Pipeline::Small(SmallImages::CIFAR),
            AugmentPolicy::RandAugment => Pipeline::Large(LargeImages::reference()),
        },
        normalize: Normalize::new(&recipe.augment.mean, &recipe.augment.std)?,
        layout: Layout::Nchw,
        threads,
        prefetch: 2,
        drop_last: true,
        order: BatchOrder::Shuffled,
    })
}

/// How batches of evaluation are made: one view, every image once and in order; large images
/// resized to 256 and cut to 224, small ones as they are.
///
/// # Errors
/// As [`training_options`].
pub fn evaluation_options(recipe: &Recipe, threads: usize) -> Result<LoaderOptions> {
    Ok(LoaderOptions {
        batch_size: recipe.eval.batch_size,
        views: 1,
        pipeline: match recipe.augment.policy {
            AugmentPolicy::RandAugment => Pipeline::ResizeCentre { edge: 256, crop: 224 },
            _ => Pipeline::Plain,
        },
        drop_last: false,
        order: BatchOrder::Sequential,
        ..training_options(recipe, threads)?
    })
}

/// How batches of corrupted images are made: as [`evaluation_options`] says, but large images that
/// already have the network's size stay as they are. ImageNet-C's do, and the errors that its mCE is
/// relative to were measured so (Hendrycks and Dietterich 2019).
///
/// # Errors
/// As [`training_options`].
pub fn corrupted_options(recipe: &Recipe, threads: usize) -> Result<LoaderOptions> {
    let options = evaluation_options(recipe, threads)?;
    let pipeline = match options.pipeline {
        Pipeline::ResizeCentre { edge, crop } => Pipeline::CutCentre { edge, crop },
        other => other,
    };
    Ok(LoaderOptions { pipeline, ..options })
}

/// The first `n` usable images of each class, in order; 0: all.
pub(crate) fn first_per_class(set: &Arc<dyn ImageSource>, n: usize) -> Vec<u32> {
    let mut seen = vec![0; set.classes()];
    let mut take = |label: u32| {
        seen[label as usize] += 1;
        n == 0 || seen[label as usize] <= n
    };
    set.usable().into_iter().filter(|&id| take(set.label(id))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::RecipeFile;

    #[test]
    fn only_corrupted_large_images_may_stay_as_they_are() {
        let text = include_str!("../../../experiments/recipes/imagenet-lt-resnext50.toml");
        let large = RecipeFile::parse(text, "recipe").unwrap().resolve().unwrap().0;
        let (edge, crop) = (256, 224);
        let clean = evaluation_options(&large, 1).unwrap();
        assert_eq!(clean.pipeline, Pipeline::ResizeCentre { edge, crop });
        let corrupted = corrupted_options(&large, 1).unwrap();
        assert_eq!(corrupted.pipeline, Pipeline::CutCentre { edge, crop });
        let small = crate::run::shipped(&[]);
        assert_eq!(corrupted_options(&small, 1).unwrap().pipeline, Pipeline::Plain);
    }
}
