//! The pipeline of large images (ImageNet-LT, iNaturalist 2018, Places-LT; METHOD section 6).

use rand::RngExt as _;
use rand::seq::SliceRandom as _;

use super::rand_augment::RandAugment;
use super::{Canvas, ImageRef, Operation, resize};
use crate::rng::Rng;

/// Random resized crop: a rectangle of random area and aspect ratio.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ResizedCrop {
    /// Share of the image's area, from and to.
    pub scale: (f64, f64),
    /// Width / height, from and to; its logarithm is uniform.
    pub ratio: (f64, f64),
}

impl ResizedCrop {
    /// scale (0.08, 1), ratio (3/4, 4/3).
    pub const REFERENCE: Self = Self { scale: (0.08, 1.0), ratio: (0.75, 4.0 / 3.0) };

    /// Draws (top, left, height, width). After ten rectangles that do not fit: the central one with
    /// the nearest allowed ratio.
    pub fn draw(&self, height: usize, width: usize, rng: &mut Rng) -> (usize, usize, usize, usize) {
        let area = (height * width) as f64;
        for _ in 0..10 {
            let target = area * uniform(rng, self.scale);
            let ratio = uniform(rng, (self.ratio.0.ln(), self.ratio.1.ln())).exp();
            let w = (target * ratio).sqrt().round_ties_even() as usize;
            let h = (target / ratio).sqrt().round_ties_even() as usize;
            if (1..=width).contains(&w) && (1..=height).contains(&h) {
                let top = rng.random_range(0..=height - h);
                return (top, rng.random_range(0..=width - w), h, w);
            }
        }
        let ratio = width as f64 / height as f64;
        let (h, w) = if ratio < self.ratio.0 {
            ((width as f64 / self.ratio.0).round_ties_even() as usize, width)
        } else if ratio > self.ratio.1 {
            (height, (height as f64 * self.ratio.1).round_ties_even() as usize)
        } else {
            (height, width)
        };
        let (h, w) = (h.clamp(1, height), w.clamp(1, width));
        ((height - h) / 2, (width - w) / 2, h, w)
    }
}

/// Colour jitter: brightness, contrast and saturation in random order, each by a factor uniform in
/// 1 - strength to 1 + strength.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Jitter {
    /// Strength of the brightness change, 0 to 1.
    pub brightness: f64,
    /// Strength of the contrast change.
    pub contrast: f64,
    /// Strength of the saturation change.
    pub saturation: f64,
}

impl Jitter {
    /// 0.4 each.
    pub const REFERENCE: Self = Self { brightness: 0.4, contrast: 0.4, saturation: 0.4 };

    /// Draws the three operations in their order.
    pub fn draw(&self, rng: &mut Rng) -> [Operation; 3] {
        let mut factor = |strength: f64| uniform(rng, ((1.0 - strength).max(0.0), 1.0 + strength));
        let mut operations = [
            Operation::Brightness(factor(self.brightness)),
            Operation::Contrast(factor(self.contrast)),
            Operation::Color(factor(self.saturation)),
        ];
        operations.shuffle(rng);
        operations
    }
}

/// Augmentation of large images: random resized crop, flip, colour jitter, grayscale, RandAugment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LargeImages {
    /// Side of the square view, pixels.
    pub size: usize,
    /// Random resized crop.
    pub crop: ResizedCrop,
    /// Mirror with probability one half.
    pub flip: bool,
    /// Colour jitter, if any.
    pub jitter: Option<Jitter>,
    /// Probability of three equal channels of luma.
    pub grayscale: f64,
    /// RandAugment, if any.
    pub rand_augment: Option<RandAugment>,
}

impl LargeImages {
    /// The whole pipeline of METHOD section 6 at 224 pixels.
    pub fn reference() -> Self {
        Self {
            size: 224,
            crop: ResizedCrop::REFERENCE,
            flip: true,
            jitter: Some(Jitter::REFERENCE),
            grayscale: 0.2,
            rand_augment: Some(RandAugment::reference()),
        }
    }

    /// Leaves the augmented bytes on `canvas`. The order of the draws is part of the format.
    pub(super) fn draw(&self, image: ImageRef<'_>, rng: &mut Rng, canvas: &mut Canvas) {
        let rectangle = self.crop.draw(image.height, image.width, rng);
        resize::resized_crop(image, rectangle, (self.size, self.size), canvas);
        if self.flip && rng.random_bool(0.5) {
            canvas.flip();
        }
        if let Some(jitter) = self.jitter {
            for operation in jitter.draw(rng) {
                operation.apply(canvas, [0; 3]);
            }
        }
        if rng.random::<f64>() < self.grayscale {
            Operation::Grayscale.apply(canvas, [0; 3]);
        }
        if let Some(rand_augment) = self.rand_augment {
            rand_augment.apply(canvas, rng);
        }
    }
}

fn uniform(rng: &mut Rng, (from, to): (f64, f64)) -> f64 {
    from + (to - from) * rng.random::<f64>()
}
