use super::ImageRef;

/// An RGB image that operations change, with the buffers they need: reused from image to image, it
/// takes no memory once it has held the largest one.
#[derive(Debug, Clone, Default)]
pub struct Canvas {
    /// height * width * 3 bytes, channels last.
    pub(super) pixels: Vec<u8>,
    pub(super) spare: Vec<u8>,
    pub(super) quads: Vec<[f32; 4]>,
    pub(super) height: usize,
    pub(super) width: usize,
    pub(super) resize: super::resize::Plan,
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
    /// If the image's bytes do not fit its size.
    pub fn load(&mut self, image: ImageRef<'_>) {
        assert_eq!(image.pixels.len(), image.height * image.width * image.channels);
        (self.height, self.width) = (image.height, image.width);
        self.pixels.clear();
        match image.channels {
            1 => self.pixels.extend(image.pixels.iter().flat_map(|&v| [v; 3])),
            _ => self.pixels.extend_from_slice(image.pixels),
        }
    }

    /// What the canvas shows.
    pub fn image(&self) -> ImageRef<'_> {
        ImageRef { pixels: &self.pixels, height: self.height, width: self.width, channels: 3 }
    }

    /// The bytes, to be changed in place.
    pub fn pixels_mut(&mut self) -> &mut [u8] {
        &mut self.pixels
    }

    /// Keeps only the rectangle of size `height` x `width` at (`top`, `left`).
    ///
    /// # Panics
    /// If it reaches beyond the image.
    pub fn crop(&mut self, (top, left): (usize, usize), (height, width): (usize, usize)) {
        assert!(top + height <= self.height && left + width <= self.width, "crop beyond the image");
        for y in 0..height {
            let from = ((top + y) * self.width + left) * 3;
            self.pixels.copy_within(from..from + width * 3, y * width * 3);
        }
        self.pixels.truncate(height * width * 3);
        (self.height, self.width) = (height, width);
    }

    /// Calls `change` with the present bytes and a buffer of the same size, which then takes their
    /// place.
    pub(super) fn replace(&mut self, change: impl FnOnce(&[u8], &mut [u8])) {
        self.spare.resize(self.pixels.len(), 0);
        change(&self.pixels, &mut self.spare);
        std::mem::swap(&mut self.pixels, &mut self.spare);
    }
}
