use rand::RngExt as _;

use super::{Canvas, ImageRef, LargeImages, Layout, Normalize, auto, geometry, resize};
use crate::rng::Rng;

/// Augmentation of images that already have the network's size (CIFAR, Fashion-MNIST), drawn anew for
/// every view: random crop of the padded image, flip, AutoAugment, Cutout (METHOD section 6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SmallImages {
    /// Zero pixels on each side before the random crop; 0: no crop.
    pub padding: usize,
    /// Mirror with probability one half.
    pub flip: bool,
    /// AutoAugment's CIFAR-10 policy; grey images become three equal channels for it.
    pub auto_augment: bool,
    /// Side of the Cutout square; 0: none.
    pub cutout: usize,
}

impl SmallImages {
    /// The whole pipeline of METHOD section 6.
    pub const CIFAR: Self = Self { padding: 4, flip: true, auto_augment: true, cutout: 16 };

    /// Crop with padding 4, flip, Cutout 16: grey images have no colour to augment.
    pub const GREY: Self = Self { auto_augment: false, ..Self::CIFAR };

    /// Crop and flip only, as in MiSLAS.
    pub const LIGHT: Self = Self { cutout: 0, ..Self::GREY };
}

/// What happens to an image between the data set and the network.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Pipeline {
    /// Only normalised: evaluation at the images' own size.
    Plain,
    /// See [`SmallImages`].
    Small(SmallImages),
    /// See [`LargeImages`].
    Large(LargeImages),
    /// The shorter edge resized, then a centred square: evaluation of large images (256 and 224).
    ResizeCentre {
        /// New length of the shorter edge, at least `crop`.
        edge: usize,
        /// Side of the square.
        crop: usize,
    },
    /// Evaluation of large images that may have been cut before: one whose shorter edge is `crop` is
    /// not resized, any other is treated as by [`Pipeline::ResizeCentre`].
    CutCentre {
        /// New length of the shorter edge, at least `crop`.
        edge: usize,
        /// Side of the square.
        crop: usize,
    },
}

/// Buffers that one thread reuses from image to image.
#[derive(Debug, Default)]
pub struct Scratch {
    canvas: Canvas,
    grey: Vec<u8>,
}

impl Pipeline {
    /// Height, width and channels of what [`Pipeline::apply`] writes for an image of this size.
    pub fn output_shape(&self, input: (usize, usize, usize)) -> (usize, usize, usize) {
        match *self {
            Self::Plain => input,
            Self::Small(small) => (input.0, input.1, if small.auto_augment { 3 } else { input.2 }),
            Self::Large(large) => (large.size, large.size, 3),
            Self::ResizeCentre { crop, .. } | Self::CutCentre { crop, .. } => (crop, crop, 3),
        }
    }

    /// Makes one view: draws from `rng`, augments, normalises, writes to `out`.
    ///
    /// # Panics
    /// If `out` has not the number of values that [`Pipeline::output_shape`] says, or the channels of
    /// `normalize` are not those.
    pub fn apply(
        &self,
        image: ImageRef<'_>,
        rng: &mut Rng,
        scratch: &mut Scratch,
        (normalize, layout): (&Normalize, Layout),
        out: &mut [f32],
    ) {
        match self.draw(image, rng, scratch) {
            Drawn::Canvas(canvas) => normalize.write_quads(&canvas.pixels, layout, out),
            Drawn::Bytes(image) => normalize.write(image, layout, out),
        }
    }

    /// Makes one view in bytes, before normalisation.
    pub fn view<'a>(
        &self,
        image: ImageRef<'a>,
        rng: &mut Rng,
        scratch: &'a mut Scratch,
    ) -> ImageRef<'a> {
        match self.draw(image, rng, scratch) {
            Drawn::Canvas(canvas) => canvas.image(),
            Drawn::Bytes(image) => image,
        }
    }

    fn draw<'a>(&self, image: ImageRef<'a>, rng: &mut Rng, scratch: &'a mut Scratch) -> Drawn<'a> {
        let Scratch { canvas, grey } = scratch;
        match *self {
            Self::Plain => return Drawn::Bytes(image),
            Self::Small(small) if image.channels == 1 && !small.auto_augment => {
                let (at, flip) = small.place(rng);
                geometry::crop_padded(image, small.padding, at, flip, grey);
                small.cut(image, rng, grey);
                return Drawn::Bytes(ImageRef { pixels: grey, ..image });
            }
            Self::Small(small) => small.draw(image, rng, canvas),
            Self::Large(large) => large.draw(image, rng, canvas),
            Self::CutCentre { crop, .. } if image.height.min(image.width) == crop => {
                resize_centre(image, crop, crop, canvas);
            }
            Self::ResizeCentre { edge, crop } | Self::CutCentre { edge, crop } => {
                resize_centre(image, edge.max(crop), crop, canvas);
            }
        }
        Drawn::Canvas(canvas)
    }
}

/// Where a view was made.
enum Drawn<'a> {
    Canvas(&'a mut Canvas),
    Bytes(ImageRef<'a>),
}

impl SmallImages {
    /// Leaves the augmented pixels on the canvas. The order of the draws is part of the format: a
    /// seed must give the same views for ever.
    fn draw(&self, image: ImageRef<'_>, rng: &mut Rng, canvas: &mut Canvas) {
        let (at, flip) = self.place(rng);
        geometry::crop_padded_onto(image, self.padding, at, flip, canvas);
        if self.auto_augment {
            auto::apply(canvas, rng);
        }
        self.cut(ImageRef { channels: 4, ..image }, rng, canvas.pixels.as_flattened_mut());
    }

    /// Top and left of the crop, and whether it is mirrored.
    fn place(&self, rng: &mut Rng) -> ((usize, usize), bool) {
        let top = rng.random_range(0..=2 * self.padding);
        let left = rng.random_range(0..=2 * self.padding);
        ((top, left), self.flip && rng.random_bool(0.5))
    }

    fn cut(&self, image: ImageRef<'_>, rng: &mut Rng, pixels: &mut [u8]) {
        if self.cutout > 0 {
            let centre = (rng.random_range(0..image.height), rng.random_range(0..image.width));
            let shape = (image.height, image.width, image.channels);
            geometry::cutout(pixels, shape, centre, self.cutout);
        }
    }
}

fn resize_centre(image: ImageRef<'_>, edge: usize, crop: usize, canvas: &mut Canvas) {
    let to = resize::shorter_edge(edge, image.height, image.width);
    let (top, left) = resize::centre((to.0 - crop, to.1 - crop));
    resize::part_of_resized(image, to, (top, left, crop, crop), canvas);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Streams;

    fn picture(height: usize, width: usize) -> Vec<u8> {
        (0..height * width * 3).map(|i| (i * 7919 % 251) as u8).collect()
    }

    fn view(pipeline: Pipeline, pixels: &[u8], (height, width): (usize, usize)) -> Vec<u8> {
        let mut rng = Streams::new(0).stream("test", &[]);
        let image = ImageRef { pixels, height, width, channels: 3 };
        pipeline.view(image, &mut rng, &mut Scratch::default()).pixels.to_vec()
    }

    #[test]
    fn images_that_were_cut_before_are_not_resized() {
        let (edge, crop) = (16, 14);
        let cut = Pipeline::CutCentre { edge, crop };
        let pixels = picture(crop, crop);
        assert_eq!(view(cut, &pixels, (crop, crop)), pixels);
        // Of a longer one the middle is left.
        let pixels = picture(crop + 4, crop);
        let middle = &pixels[2 * crop * 3..(crop + 2) * crop * 3];
        assert_eq!(view(cut, &pixels, (crop + 4, crop)), middle);
        for size in [(20, 30), (13, 13), (16, 16)] {
            let pixels = picture(size.0, size.1);
            let resized = view(Pipeline::ResizeCentre { edge, crop }, &pixels, size);
            assert_eq!(view(cut, &pixels, size), resized, "{size:?}");
        }
    }

    #[test]
    fn a_long_picture_takes_no_more_memory_than_its_crop() {
        let mut rng = Streams::new(0).stream("test", &[]);
        let pipeline = Pipeline::ResizeCentre { edge: 256, crop: 224 };
        for (height, width) in [(1, 2_000), (2_000, 1)] {
            let pixels = picture(height, width);
            let image = ImageRef { pixels: &pixels, height, width, channels: 3 };
            let mut scratch = Scratch::default();
            let view = pipeline.view(image, &mut rng, &mut scratch);
            assert_eq!((view.height, view.width), (224, 224));
            assert!(scratch.canvas.pixels.capacity() <= 224 * 224);
        }
    }
}
