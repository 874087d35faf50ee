//! What a trained network's features look like, small enough to lie beside every run: the summary
//! `features.json` and the sample `features.safetensors`, both of test images.

use std::{
    fs,
    path::{Path, PathBuf},
};

use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use serde::{Deserialize, Serialize};

use super::atomic;
use crate::{Error, Result, longtail::ShotGroup};

/// Bins of a [`GroupSimilarity`], of equal width over -1..=1.
pub const SIMILARITY_BINS: usize = 200;

/// Which vectors similarities were taken between; both are normalised to unit length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Space {
    /// Projections z, which the contrastive loss sees.
    Projection,
    /// Features f of the encoder: of methods without a projection head.
    Encoder,
}

/// Similarities of pairs of one class (ordered pairs i != j of test images) in one shot group.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GroupSimilarity {
    /// Classes of the group that have a pair.
    pub classes: usize,
    /// Ordered pairs.
    pub pairs: u64,
    /// Mean cosine over the pairs.
    pub mean: f64,
    /// Pairs per bin, [`SIMILARITY_BINS`] of them from -1 to 1 (older files: 50).
    pub histogram: Vec<u64>,
}

impl GroupSimilarity {
    /// Centre of each bin and the density there (integrates to 1).
    pub fn density(&self) -> Vec<(f64, f64)> {
        let width = 2.0 / self.histogram.len() as f64;
        let scale = self.pairs.max(1) as f64 * width;
        let point = |(b, &n): (usize, &u64)| (-1.0 + (b as f64 + 0.5) * width, n as f64 / scale);
        self.histogram.iter().enumerate().map(point).collect()
    }
}

/// Mean |dL/dl| of an anchor's keys (l = s/T, L of that anchor, supervised contrastive loss with the
/// mean over positives outside the logarithm) by rank; rank 0 is the most similar key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EasyPairCurves {
    /// Anchors averaged over.
    pub anchors: usize,
    /// T.
    pub temperature: f64,
    /// Mean similarity of the positives, easiest first.
    pub positive_similarity: Vec<f64>,
    /// Mean |dL/dl| of the positives, easiest first.
    pub positive_gradient: Vec<f64>,
    /// Mean similarity of the negatives, hardest first.
    pub negative_similarity: Vec<f64>,
    /// Mean |dL/dl| of the negatives, hardest first.
    pub negative_gradient: Vec<f64>,
}

/// What `features.json` holds. Everything is measured on test images in evaluation mode.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FeatureSummary {
    /// Finished epochs of the network.
    pub epoch: usize,
    /// SHA-256 of the checkpoint it was computed from, hex.
    pub checkpoint_sha256: String,
    /// Where similarities were taken.
    pub space: Space,
    /// Dimensions of that space.
    pub dim: usize,
    /// Test images used.
    pub images: u64,
    /// Similarity of same-class pairs, classes with more than 100 training images.
    pub many: Option<GroupSimilarity>,
    /// 20 to 100.
    pub medium: Option<GroupSimilarity>,
    /// Fewer than 20.
    pub few: Option<GroupSimilarity>,
    /// Gradients of easy and hard pairs.
    pub easy: EasyPairCurves,
}

impl FeatureSummary {
    /// The shot groups that have pairs, head first.
    pub fn groups(&self) -> impl Iterator<Item = (ShotGroup, &GroupSimilarity)> {
        let all = [&self.many, &self.medium, &self.few];
        ShotGroup::ALL.into_iter().zip(all).filter_map(|(g, s)| Some((g, s.as_ref()?)))
    }
}

/// Encoder features f (as they are, not normalised) of at most 1,000 test images, for a picture of them.
#[derive(Debug, Clone, PartialEq)]
pub struct FeatureSample {
    /// Width F of a row.
    pub dim: usize,
    /// rows * F values, row by row.
    pub features: Vec<f32>,
    /// Class of each row.
    pub labels: Vec<u32>,
}

impl FeatureSample {
    /// As a safetensors file: `features` `[N, F]` float32, `labels` `[N]` int64.
    ///
    /// # Errors
    /// [`Error::Run`] if the sizes do not fit each other.
    pub fn to_safetensors(&self) -> Result<Vec<u8>> {
        let failed = |e: safetensors::SafeTensorError| Error::run(format!("feature sample: {e}"));
        let features: Vec<u8> = self.features.iter().flat_map(|v| v.to_le_bytes()).collect();
        let labels: Vec<u8> =
            self.labels.iter().flat_map(|&v| i64::from(v).to_le_bytes()).collect();
        let n = self.labels.len();
        let features = TensorView::new(Dtype::F32, vec![n, self.dim], &features).map_err(failed)?;
        let labels = TensorView::new(Dtype::I64, vec![n], &labels).map_err(failed)?;
        safetensors::serialize([("features", features), ("labels", labels)], None).map_err(failed)
    }

    /// Reads what [`to_safetensors`](Self::to_safetensors) gave; `what` names the file in messages.
    ///
    /// # Errors
    /// [`Error::Input`] if the bytes are anything else.
    pub fn from_safetensors(what: &str, bytes: &[u8]) -> Result<Self> {
        let bad = || {
            Error::input(format!(
                "{what}: expected a safetensors file with `features` [N, F] float32 and `labels` [N] int64; \
                 remove it and run `rescom-repro features` again"
            ))
        };
        let file = SafeTensors::deserialize(bytes).map_err(|_| bad())?;
        let tensor = |name| file.tensor(name).map_err(|_| bad());
        let (features, labels) = (tensor("features")?, tensor("labels")?);
        let [n, dim] = features.shape()[..] else { return Err(bad()) };
        if (features.dtype(), labels.dtype()) != (Dtype::F32, Dtype::I64) || labels.shape() != [n] {
            return Err(bad());
        }
        let label = |b: &[u8; 8]| u32::try_from(i64::from_le_bytes(*b)).map_err(|_| bad());
        Ok(Self {
            dim,
            features: features
                .data()
                .as_chunks()
                .0
                .iter()
                .map(|b| f32::from_le_bytes(*b))
                .collect(),
            labels: labels.data().as_chunks().0.iter().map(label).collect::<Result<_>>()?,
        })
    }
}

/// Summary and sample of one run.
#[derive(Debug, Clone, PartialEq)]
pub struct RunFeatures {
    /// `features.json`.
    pub summary: FeatureSummary,
    /// `features.safetensors`.
    pub sample: FeatureSample,
}

impl RunFeatures {
    fn files(run: &Path) -> [PathBuf; 2] {
        ["features.json", "features.safetensors"].map(|name| run.join(name))
    }

    /// Writes both files into the run's folder.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn write(&self, run: &Path) -> Result<()> {
        let [summary, sample] = Self::files(run);
        // The summary last: where it is, the sample is too.
        atomic::write(&sample, &self.sample.to_safetensors()?)?;
        atomic::write_json(&summary, &self.summary)
    }

    /// Reads them; none if the run has no summary (yet).
    ///
    /// # Errors
    /// [`Error::Input`] naming a damaged file.
    pub fn read(run: &Path) -> Result<Option<Self>> {
        let [summary, sample] = Self::files(run);
        if !summary.exists() {
            return Ok(None);
        }
        let bytes = fs::read(&sample).map_err(Error::io("read", &sample))?;
        let sample = FeatureSample::from_safetensors(&sample.display().to_string(), &bytes)?;
        Ok(Some(Self { summary: atomic::read_json(&summary)?, sample }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(RunFeatures::read(dir.path()).unwrap(), None);
        let mut histogram = vec![0; SIMILARITY_BINS];
        histogram[SIMILARITY_BINS - 1] = 6;
        let group = GroupSimilarity { classes: 1, pairs: 6, mean: 0.99, histogram };
        assert!(
            (group.density().iter().map(|p| p.1).sum::<f64>() * 2.0 / SIMILARITY_BINS as f64 - 1.0)
                .abs()
                < 1e-12
        );
        let easy = EasyPairCurves {
            anchors: 3,
            temperature: 0.2,
            positive_similarity: vec![0.9, 0.1],
            positive_gradient: vec![0.25, 0.5],
            negative_similarity: vec![0.3],
            negative_gradient: vec![1.0 / 3.0],
        };
        let summary = FeatureSummary {
            epoch: 8,
            checkpoint_sha256: "00".into(),
            space: Space::Projection,
            dim: 32,
            images: 3,
            many: Some(group),
            medium: None,
            few: None,
            easy,
        };
        let sample =
            FeatureSample { dim: 2, features: vec![0.5, -1.0, 2.0, 3.0], labels: vec![0, 9] };
        let both = RunFeatures { summary, sample };
        both.write(dir.path()).unwrap();
        assert_eq!(RunFeatures::read(dir.path()).unwrap().as_ref(), Some(&both));
        assert_eq!(both.summary.groups().count(), 1);
        fs::write(dir.path().join("features.safetensors"), b"x").unwrap();
        assert_eq!(RunFeatures::read(dir.path()).unwrap_err().exit_code(), 2);
    }
}
