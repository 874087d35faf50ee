//! What trained features look like: similarities of same-class pairs by shot group, and how the
//! gradient of the contrastive loss spreads over easy and hard pairs.

use std::sync::Arc;

use ndarray::{Array1, Array2, ArrayRef2, Axis};
use rand::seq::index;

use crate::{
    Result,
    contrast::{LossForm, Relation, Temperature, anchor_gradient, normalize_rows},
    data::{ImageSource, Loader, LoaderOptions},
    longtail::{ClassCounts, ShotGroup},
    rng::Streams,
    run::{
        EasyPairCurves, FeatureSample, FeatureSummary, GroupSimilarity, Recipe, RunFeatures,
        SIMILARITY_BINS, Space,
    },
    train::{
        eval::evaluate::{Collected, Network, collect},
        fit::images::first_per_class,
    },
};

/// Test images that a summary is made from, at most about so many.
const IMAGES: usize = 5_000;
/// And of one class.
const PER_CLASS: usize = 200;
/// Rows of a [`FeatureSample`].
const SAMPLE: usize = 1_000;
/// Anchors of the easy-pair curves, and their keys, at most.
const ANCHORS: usize = 200;
const POSITIVES: usize = 100;
const NEGATIVES: usize = 900;

/// Which vectors of a network's outputs contrastive measurements are made on: projections where there
/// are any, else features of the encoder.
pub fn contrastive_rows(collected: &Collected) -> (Space, &Array2<f32>) {
    match &collected.outputs.projections {
        Some(z) => (Space::Projection, z),
        None => (Space::Encoder, &collected.outputs.features),
    }
}

/// Summary and sample of `network`, whose weights are those of the checkpoint with `sha256` after
/// `epoch` epochs. `options` are those of evaluation. None if no class has two test images.
///
/// # Errors
/// As [`collect`].
pub fn summarise(
    network: &mut dyn Network,
    test: &Arc<dyn ImageSource>,
    (recipe, counts): (&Recipe, &ClassCounts),
    options: LoaderOptions,
    (epoch, sha256): (usize, &str),
) -> Result<Option<RunFeatures>> {
    let streams = Streams::new(recipe.run.seed);
    let ids = first_per_class(test, (IMAGES / test.classes()).clamp(2, PER_CLASS));
    let collected = collect(network, &Loader::new(Arc::clone(test), &ids, streams, options)?)?;
    let (space, rows) = contrastive_rows(&collected);
    let mut unit = rows.mapv(f64::from);
    normalize_rows(&mut unit);
    let classes = by_class(&collected.labels, counts.classes());
    let temperature = Temperature::new(recipe.contrast.temperature)?;
    let Some(easy) = easy_pairs(&unit, &collected.labels, &classes, temperature, &streams) else {
        return Ok(None);
    };
    let group = |group| similarity(&unit, &classes, counts, group);
    let summary = FeatureSummary {
        epoch,
        checkpoint_sha256: sha256.to_owned(),
        space,
        dim: unit.ncols(),
        images: ids.len() as u64,
        many: group(ShotGroup::Many),
        medium: group(ShotGroup::Medium),
        few: group(ShotGroup::Few),
        easy,
    };
    Ok(Some(RunFeatures { summary, sample: sample(&collected, &classes) }))
}

fn by_class(labels: &[u32], classes: usize) -> Vec<Vec<usize>> {
    let mut rows = vec![Vec::new(); classes];
    labels.iter().enumerate().for_each(|(row, &label)| rows[label as usize].push(row));
    rows
}

/// Over ordered pairs i != j of the classes of `group`; none without a pair.
fn similarity(
    unit: &ArrayRef2<f64>,
    classes: &[Vec<usize>],
    counts: &ClassCounts,
    group: ShotGroup,
) -> Option<GroupSimilarity> {
    let mut histogram = vec![0; SIMILARITY_BINS];
    let (mut sum, mut used) = (0.0, 0);
    for (rows, &count) in classes.iter().zip(counts.as_slice()) {
        if ShotGroup::of(count) != group || rows.len() < 2 {
            continue;
        }
        used += 1;
        let own = unit.select(Axis(0), rows);
        for ((i, j), &cosine) in own.dot(&own.t()).indexed_iter() {
            if i != j {
                let bin = ((cosine + 1.0) / 2.0 * SIMILARITY_BINS as f64) as usize;
                histogram[bin.min(SIMILARITY_BINS - 1)] += 1;
                sum += cosine;
            }
        }
    }
    let pairs: u64 = histogram.iter().sum();
    (pairs > 0).then(|| GroupSimilarity {
        classes: used,
        pairs,
        mean: sum / pairs as f64,
        histogram,
    })
}

/// Anchors and their keys are drawn from all rows; every anchor has as many keys of each kind.
fn easy_pairs(
    unit: &ArrayRef2<f64>,
    labels: &[u32],
    classes: &[Vec<usize>],
    temperature: Temperature,
    streams: &Streams,
) -> Option<EasyPairCurves> {
    let paired: Vec<usize> =
        (0..labels.len()).filter(|&row| classes[labels[row] as usize].len() > 1).collect();
    let sizes = || paired.iter().map(|&row| classes[labels[row] as usize].len());
    let positives = (sizes().min()? - 1).min(POSITIVES);
    let negatives = (labels.len() - sizes().max()?).min(NEGATIVES);
    let mut rng = streams.stream("easy-anchors", &[]);
    let anchors = index::sample(&mut rng, paired.len(), paired.len().min(ANCHORS));
    let mut curves = [positives, negatives].map(|n| [Array1::zeros(n), Array1::<f64>::zeros(n)]);
    for anchor in anchors.iter().map(|k| paired[k]) {
        let mut rng = streams.stream("easy-keys", &[anchor as u64]);
        let mut drawn = |same: bool, n: usize| -> Vec<f64> {
            let fits = |&row: &usize| row != anchor && (labels[row] == labels[anchor]) == same;
            let keys: Vec<usize> = (0..labels.len()).filter(fits).collect();
            let chosen = index::sample(&mut rng, keys.len(), n);
            let mut cosines: Vec<f64> =
                chosen.iter().map(|k| unit.row(anchor).dot(&unit.row(keys[k]))).collect();
            cosines.sort_by(|a, b| b.total_cmp(a));
            cosines
        };
        let own = drawn(true, positives);
        let others = drawn(false, negatives);
        let gradient = gradient(&own, &others, temperature);
        let (of_own, of_others) = gradient.split_at(own.len());
        for (curve, values) in
            curves.iter_mut().flatten().zip([&own[..], of_own, &others[..], of_others])
        {
            *curve += &Array1::from_iter(values.iter().copied());
        }
    }
    let mean = |curve: Array1<f64>| (curve / anchors.len() as f64).to_vec();
    let [[positive_similarity, positive_gradient], [negative_similarity, negative_gradient]] =
        curves.map(|pair| pair.map(mean));
    Some(EasyPairCurves {
        anchors: anchors.len(),
        temperature: temperature.get(),
        positive_similarity,
        positive_gradient,
        negative_similarity,
        negative_gradient,
    })
}

/// |dL/dl| of the positives, then of the negatives.
fn gradient(positives: &[f64], negatives: &[f64], temperature: Temperature) -> Vec<f64> {
    let cosines = [positives, negatives].concat();
    let relation = |k| if k < positives.len() { Relation::Positive } else { Relation::Negative };
    let relations: Vec<Relation> = (0..cosines.len()).map(relation).collect();
    let found = anchor_gradient(LossForm::Out, temperature, &cosines, &relations);
    found.grad.iter().map(|g| g.abs() * temperature.get()).collect()
}

/// The same number of rows of every class; with more classes than rows, one of every so many classes.
fn sample(collected: &Collected, classes: &[Vec<usize>]) -> FeatureSample {
    let each = (SAMPLE / classes.len()).max(1);
    let step = classes.len().div_ceil(SAMPLE);
    let rows: Vec<usize> =
        classes.iter().step_by(step).flat_map(|rows| rows.iter().take(each)).copied().collect();
    let features = collected.outputs.features.select(Axis(0), &rows);
    FeatureSample {
        dim: features.ncols(),
        features: features.iter().copied().collect(),
        labels: rows.iter().map(|&row| collected.labels[row]).collect(),
    }
}

#[cfg(test)]
mod tests {
    use ndarray::arr2;

    use super::*;

    #[test]
    fn similarities_of_three_known_directions() {
        // Class 0: two equal vectors and an opposite one; class 1: one vector, no pair.
        let unit = arr2(&[[1.0, 0.0], [1.0, 0.0], [-1.0, 0.0], [0.0, 1.0]]);
        let classes = by_class(&[0, 0, 0, 1], 2);
        let counts = ClassCounts::new(vec![500, 500]).unwrap();
        let many = similarity(&unit, &classes, &counts, ShotGroup::Many).unwrap();
        assert_eq!((many.classes, many.pairs), (1, 6));
        assert!((many.mean - (2.0 - 4.0) / 6.0).abs() < 1e-12);
        assert_eq!((many.histogram[0], many.histogram[SIMILARITY_BINS - 1]), (4, 2));
        assert_eq!(similarity(&unit, &classes, &counts, ShotGroup::Few), None);
    }

    #[test]
    fn equal_similarities_give_the_closed_form() {
        // All rows alike: pi = 1/(P + N) for every key, so |1/P - 1/(P+N)| and 1/(P+N).
        let unit = Array2::from_shape_fn((12, 2), |(_, d)| if d == 0 { 1.0 } else { 0.0 });
        let labels: Vec<u32> = (0..12).map(|i| i % 3).collect();
        let classes = by_class(&labels, 3);
        let t = Temperature::new(0.1).unwrap();
        let curves = easy_pairs(&unit, &labels, &classes, t, &Streams::new(0)).unwrap();
        assert_eq!((curves.anchors, curves.positive_gradient.len()), (12, 3));
        assert_eq!(curves.negative_gradient.len(), 8);
        let near = |v: &f64, to: f64| (v - to).abs() < 1e-12;
        assert!(curves.positive_gradient.iter().all(|v| near(v, 1.0 / 3.0 - 1.0 / 11.0)));
        assert!(curves.negative_gradient.iter().all(|v| near(v, 1.0 / 11.0)));
        assert!(curves.negative_similarity.iter().all(|v| near(v, 1.0)));
        let alone = by_class(&[0, 1], 2);
        assert!(easy_pairs(&unit, &[0, 1], &alone, t, &Streams::new(0)).is_none());
    }

    #[test]
    fn a_sample_is_balanced() {
        let n = 1200;
        let features = Array2::from_shape_fn((n, 3), |(i, d)| (i * 3 + d) as f32);
        let labels: Vec<u32> = (0..n as u32).map(|i| i % 4).collect();
        let outputs =
            crate::train::Outputs { logits: Array2::zeros((n, 4)), features, projections: None };
        let collected = Collected { outputs, labels };
        let found = sample(&collected, &by_class(&collected.labels, 4));
        assert_eq!((found.labels.len(), found.dim), (1000, 3));
        assert_eq!(found.labels.iter().filter(|&&l| l == 3).count(), 250);
        assert_eq!(found.features[..6], [0.0, 1.0, 2.0, 12.0, 13.0, 14.0]);
    }
}
