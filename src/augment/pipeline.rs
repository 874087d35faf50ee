use rand::RngExt as _;

use super::{ImageRef, Layout, Normalize, geometry};
use crate::rng::Rng;

/// Augmentation of images that already have the network's size (CIFAR, Fashion-MNIST), drawn anew for
/// every view: random crop of the padded image, flip, Cutout (METHOD section 6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SmallImages {
    /// Zero pixels on each side before the random crop; 0: no crop.
    pub padding: usize,
    /// Mirror with probability one half.
    pub flip: bool,
    /// Side of the Cutout square; 0: none.
    pub cutout: usize,
}

impl SmallImages {
    /// Crop with padding 4, flip, Cutout 16: grey images have no colour to augment.
    pub const GREY: Self = Self { padding: 4, flip: true, cutout: 16 };

    /// Crop and flip only, as in MiSLAS.
    pub const LIGHT: Self = Self { padding: 4, flip: true, cutout: 0 };
}

/// What happens to an image between the data set and the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pipeline {
    /// Only normalised: evaluation.
    Plain,
    /// See [`SmallImages`].
    Small(SmallImages),
}

/// Buffers that one thread reuses from image to image.
#[derive(Debug, Default)]
pub struct Scratch {
    view: Vec<u8>,
}

impl Pipeline {
    /// Height, width and channels of what [`Pipeline::apply`] writes for an image of this size.
    pub fn output_shape(&self, input: (usize, usize, usize)) -> (usize, usize, usize) {
        input
    }

    /// Makes one view: draws from `rng`, augments, normalises, writes to `out`.
    ///
    /// # Panics
    /// If `out` has not the number of values that [`Pipeline::output_shape`] says.
    pub fn apply(
        &self,
        image: ImageRef<'_>,
        rng: &mut Rng,
        scratch: &mut Scratch,
        (normalize, layout): (&Normalize, Layout),
        out: &mut [f32],
    ) {
        match self {
            Self::Plain => normalize.write(image, layout, out),
            Self::Small(small) => {
                small.draw(image, rng, scratch);
                normalize.write(ImageRef { pixels: &scratch.view, ..image }, layout, out);
            }
        }
    }
}

impl SmallImages {
    /// Leaves the augmented bytes in `scratch.view`. The order of the draws is part of the format: a
    /// seed must give the same views for ever.
    fn draw(&self, image: ImageRef<'_>, rng: &mut Rng, scratch: &mut Scratch) {
        let top = rng.random_range(0..=2 * self.padding);
        let left = rng.random_range(0..=2 * self.padding);
        let flip = self.flip && rng.random_bool(0.5);
        geometry::crop_padded(image, self.padding, (top, left), flip, &mut scratch.view);
        if self.cutout > 0 {
            let centre = (rng.random_range(0..image.height), rng.random_range(0..image.width));
            let shape = (image.height, image.width, image.channels);
            geometry::cutout(&mut scratch.view, shape, centre, self.cutout);
        }
    }
}
