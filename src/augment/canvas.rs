use super::ImageRef;
use super::buffers::{Lines, Plan, Quad};
use super::wide::widest;

/// An RGB image that operations change, with the buffers they need: reused from image to image, it
/// takes no memory once it has held the largest one.
#[derive(Debug, Clone, Default)]
pub struct Canvas {
    /// height * width pixels.
    pub(super) pixels: Vec<Quad>,
    pub(super) spare: Vec<Quad>,
    pub(super) height: usize,
    pub(super) width: usize,
    pub(super) resize: Plan,
    pub(super) lines: Lines,
    packed: Vec<u8>,
}

impl Canvas {
    /// An empty canvas.
    pub fn new() -> Self {
        Self::default()
    }

    /// A canvas that holds a copy of `image` (grey becomes three equal channels).
    pub fn of(image: ImageRef<'_>) -> Self {
        let mut canvas = Self::new();
        canvas.load(image);
        canvas
    }

    /// Takes over a copy of `image` (grey becomes three equal channels).
    ///
    /// # Panics
    /// If the image's bytes do not fit its size, or it has not 1 or 3 channels.
    pub fn load(&mut self, image: ImageRef<'_>) {
        assert_eq!(image.pixels.len(), image.height * image.width * image.channels);
        (self.height, self.width) = (image.height, image.width);
        self.pixels.resize(image.height * image.width, [0; 4]);
        widen(image.pixels, image.channels, &mut self.pixels);
    }

    /// What the canvas shows, three bytes per pixel.
    pub fn image(&mut self) -> ImageRef<'_> {
        self.packed.resize(self.pixels.len() * 3, 0);
        for (to, from) in self.packed.as_chunks_mut::<3>().0.iter_mut().zip(&self.pixels) {
            *to = [from[0], from[1], from[2]];
        }
        ImageRef { pixels: &self.packed, height: self.height, width: self.width, channels: 3 }
    }

    /// Keeps only the rectangle of size `height` x `width` at (`top`, `left`).
    ///
    /// # Panics
    /// If it reaches beyond the image.
    pub fn crop(&mut self, (top, left): (usize, usize), (height, width): (usize, usize)) {
        assert!(top + height <= self.height && left + width <= self.width, "crop beyond the image");
        for y in 0..height {
            let from = (top + y) * self.width + left;
            self.pixels.copy_within(from..from + width, y * width);
        }
        self.pixels.truncate(height * width);
        (self.height, self.width) = (height, width);
    }

    /// Mirrors every row.
    pub fn flip(&mut self) {
        for row in self.pixels.chunks_exact_mut(self.width) {
            row.reverse();
        }
    }

    /// Calls `change` with the present pixels and a buffer of the same size, which then takes their
    /// place.
    pub(super) fn replace(&mut self, change: impl FnOnce(&[Quad], &mut [Quad])) {
        self.spare.resize(self.pixels.len(), [0; 4]);
        change(&self.pixels, &mut self.spare);
        std::mem::swap(&mut self.pixels, &mut self.spare);
    }
}

/// Writes bytes of 1 or 3 channels as four per pixel.
pub(super) fn widen(bytes: &[u8], channels: usize, out: &mut [Quad]) {
    match channels {
        1 => {
            for (to, &v) in out.iter_mut().zip(bytes) {
                *to = [v, v, v, 0];
            }
        }
        3 => widen_rgb(bytes, out),
        _ => panic!("an image of {channels} channels"),
    }
}

widest! {
    fn widen_rgb(bytes: &[u8], out: &mut [Quad]) {
        for (to, from) in out.iter_mut().zip(bytes.as_chunks::<3>().0) {
            *to = [from[0], from[1], from[2], 0];
        }
    }
}
