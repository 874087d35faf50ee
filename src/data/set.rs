use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::augment::{ImageRef, Normalize};
use crate::longtail::ClassCounts;
use crate::{Error, Result};

/// Where the loader takes images from: all in memory, or decoded one by one.
pub trait ImageSource: Send + Sync {
    /// Number of images; ids are 0..len.
    fn len(&self) -> usize;

    /// True without images.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Number of classes C; labels are 0..C.
    fn classes(&self) -> usize;

    /// Label of image `id`.
    fn label(&self, id: u32) -> u32;

    /// Names by label, C of them.
    fn class_names(&self) -> &[String];

    /// Where the images come from, in words, for the run's record.
    fn place(&self) -> &str;

    /// SHA-256, hex, of what was read: images and labels, or the paths and labels of a list.
    fn sha256(&self) -> &str;

    /// Images that cannot be used and are to be left out, in the order of their ids.
    fn skipped(&self) -> &[Broken] {
        &[]
    }

    /// The ids of all images but the skipped ones, in order.
    fn usable(&self) -> Vec<u32> {
        let mut skipped = self.skipped().iter().map(|broken| broken.id).peekable();
        (0..self.len() as u32).filter(|id| skipped.next_if_eq(id).is_none()).collect()
    }

    /// Labels of all images, by id.
    fn labels(&self) -> Vec<u32> {
        (0..self.len() as u32).map(|id| self.label(id)).collect()
    }

    /// Usable images per class.
    ///
    /// # Errors
    /// [`Error::Input`] if a class has none.
    fn class_counts(&self) -> Result<ClassCounts> {
        let mut counts = vec![0; self.classes()];
        for id in self.usable() {
            counts[self.label(id) as usize] += 1;
        }
        ClassCounts::new(counts).map_err(|e| Error::input(format!("{}: {e}", self.place())))
    }

    /// The pixels of image `id`, from memory or decoded into `buffer`.
    ///
    /// # Errors
    /// If the image's file cannot be read or decoded.
    fn image<'a>(&'a self, id: u32, buffer: &'a mut Vec<u8>) -> Result<ImageRef<'a>>;
}

/// A picture that cannot be decoded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Broken {
    /// Its id: its place in the list, from 0.
    pub id: u32,
    /// Its file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub reason: String,
}

/// A decoded picture: height * width * 3 bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Rgb<'a> {
    pub(super) pixels: &'a [u8],
    pub(super) height: usize,
    pub(super) width: usize,
}

/// Images of one size, in memory.
#[derive(Debug, Clone, PartialEq)]
pub struct ImageSet {
    /// N * height * width * channels bytes, channels last.
    pub images: Vec<u8>,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// 1 (grey) or 3 (RGB).
    pub channels: usize,
    /// One label per image, each below `class_names.len()`.
    pub labels: Vec<u32>,
    /// Names by label.
    pub class_names: Vec<String>,
    /// Where the bytes came from, for the run's record.
    pub source: String,
    /// SHA-256 over `images` and then `labels` (little-endian u32), hex.
    pub sha256: String,
}

impl ImageSet {
    /// Checks sizes and labels, and takes the SHA-256.
    ///
    /// # Errors
    /// [`Error::Input`] naming the field that does not fit.
    pub fn new(
        images: Vec<u8>,
        (height, width, channels): (usize, usize, usize),
        labels: Vec<u32>,
        class_names: Vec<String>,
        source: String,
    ) -> Result<Self> {
        let stride = height * width * channels;
        if !matches!(channels, 1 | 3) || stride == 0 {
            return Err(Error::input(format!(
                "{source}: images of {height}x{width}x{channels}; expected 1 or 3 channels and no empty side"
            )));
        }
        if labels.is_empty() || images.len() != labels.len() * stride {
            return Err(Error::input(format!(
                "{source}: {} image bytes and {} labels; expected {stride} bytes per label and at least one",
                images.len(),
                labels.len()
            )));
        }
        if let Some(at) = labels.iter().position(|&l| l as usize >= class_names.len()) {
            return Err(Error::input(format!(
                "{source}: image {at} has label {}, expected 0..{}",
                labels[at],
                class_names.len()
            )));
        }
        let mut hash = Sha256::new();
        hash.update(&images);
        for label in &labels {
            hash.update(label.to_le_bytes());
        }
        let sha256 = super::cache::hex(&hash.finalize());
        Ok(Self { images, height, width, channels, labels, class_names, source, sha256 })
    }

    /// Number of images.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// True without images (never, once built by [`ImageSet::new`]).
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Number of classes C.
    pub fn classes(&self) -> usize {
        self.class_names.len()
    }

    /// Image `index`.
    ///
    /// # Panics
    /// If `index` is not below `len()`.
    pub fn get(&self, index: usize) -> ImageRef<'_> {
        let stride = self.height * self.width * self.channels;
        let pixels = &self.images[index * stride..(index + 1) * stride];
        ImageRef { pixels, height: self.height, width: self.width, channels: self.channels }
    }

    /// Adds `padding` zero pixels on each side of every image.
    #[must_use]
    pub fn padded(&self, padding: usize) -> Self {
        let (height, width) = (self.height + 2 * padding, self.width + 2 * padding);
        let row = self.width * self.channels;
        let mut images = vec![0; self.len() * height * width * self.channels];
        let strides = (self.height * row, height * width * self.channels);
        for (from, to) in
            self.images.chunks_exact(strides.0).zip(images.chunks_exact_mut(strides.1))
        {
            for (y, line) in from.chunks_exact(row).enumerate() {
                let at = ((y + padding) * width + padding) * self.channels;
                to[at..at + row].copy_from_slice(line);
            }
        }
        let mut hash = Sha256::new();
        hash.update(&images);
        for label in &self.labels {
            hash.update(label.to_le_bytes());
        }
        let sha256 = super::cache::hex(&hash.finalize());
        Self { images, height, width, sha256, ..self.clone_without_images() }
    }

    fn clone_without_images(&self) -> Self {
        Self {
            images: Vec::new(),
            labels: self.labels.clone(),
            class_names: self.class_names.clone(),
            source: self.source.clone(),
            sha256: String::new(),
            ..*self
        }
    }

    /// Mean and standard deviation (divisor N) per channel of pixel / 255, over all pixels stored.
    pub fn channel_statistics(&self) -> (Vec<f64>, Vec<f64>) {
        let mut sums = vec![(0u64, 0u64); self.channels];
        for pixel in self.images.chunks_exact(self.channels) {
            for (sum, &v) in sums.iter_mut().zip(pixel) {
                sum.0 += u64::from(v);
                sum.1 += u64::from(v) * u64::from(v);
            }
        }
        let n = (self.images.len() / self.channels) as f64;
        let one = |&(first, second): &(u64, u64)| {
            let mean = first as f64 / n;
            (mean / 255.0, (second as f64 / n - mean * mean).max(0.0).sqrt() / 255.0)
        };
        sums.iter().map(one).unzip()
    }
}

impl ImageSource for ImageSet {
    fn len(&self) -> usize {
        self.labels.len()
    }

    fn classes(&self) -> usize {
        self.class_names.len()
    }

    fn label(&self, id: u32) -> u32 {
        self.labels[id as usize]
    }

    fn class_names(&self) -> &[String] {
        &self.class_names
    }

    fn place(&self) -> &str {
        &self.source
    }

    fn sha256(&self) -> &str {
        &self.sha256
    }

    fn image<'a>(&'a self, id: u32, _buffer: &'a mut Vec<u8>) -> Result<ImageRef<'a>> {
        Ok(self.get(id as usize))
    }
}

/// A data set in memory: balanced training and test images, and how they are normalised.
#[derive(Debug, Clone, PartialEq)]
pub struct DataSet {
    /// Short name as on the command line, for example `fashion-mnist`.
    pub name: String,
    /// All training images; a long-tailed subset is chosen from them.
    pub train: ImageSet,
    /// The balanced test set.
    pub test: ImageSet,
    /// Per-channel mean and standard deviation that views are normalised with.
    pub normalize: Normalize,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(images: Vec<u8>, labels: Vec<u32>) -> Result<ImageSet> {
        ImageSet::new(images, (1, 2, 1), labels, vec!["a".into(), "b".into()], "test".into())
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        assert!(set(vec![1, 2, 3, 4], vec![0, 1]).is_ok());
        assert!(set(vec![1, 2, 3], vec![0, 1]).is_err());
        assert!(set(vec![], vec![]).is_err());
        let e = set(vec![1, 2, 3, 4], vec![0, 2]).unwrap_err();
        assert!(e.to_string().contains("image 1 has label 2"), "{e}");
    }

    #[test]
    fn padding_surrounds_with_zeros() {
        let padded = set(vec![1, 2, 3, 4], vec![0, 1]).unwrap().padded(1);
        assert_eq!(padded.get(1).pixels, [0, 0, 0, 0, 0, 3, 4, 0, 0, 0, 0, 0]);
        assert_eq!((padded.height, padded.width), (3, 4));
    }

    #[test]
    fn statistics_are_those_of_the_pixels() {
        let (mean, std) = set(vec![0, 255, 255, 0], vec![0, 1]).unwrap().channel_statistics();
        assert_eq!((mean, std), (vec![0.5], vec![0.5]));
    }
}
