use super::ImageRef;
use super::buffers::Quad;
use crate::{Error, Result};

/// Order of the values of one image in a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Layout {
    /// Channels first: `[C, H, W]` per image (what libtorch takes).
    #[default]
    Nchw,
    /// Channels last: `[H, W, C]` per image.
    Nhwc,
}

/// (pixel / 255 - mean) / std per channel, in float32 as torchvision computes it.
///
/// All 256 results per channel are tabulated once, so normalising is a table look-up.
#[derive(Debug, Clone, PartialEq)]
pub struct Normalize {
    mean: Vec<f32>,
    std: Vec<f32>,
    tables: Vec<[f32; 256]>,
}

impl Normalize {
    /// CIFAR-10's constants, used for CIFAR-100 as well (METHOD section 6).
    pub fn cifar() -> Self {
        Self::tabulate(&[0.4914, 0.4822, 0.4465], &[0.2023, 0.1994, 0.2010])
    }

    /// ImageNet's constants, used for Places as well.
    pub fn imagenet() -> Self {
        Self::tabulate(&[0.485, 0.456, 0.406], &[0.229, 0.224, 0.225])
    }

    /// One mean and one standard deviation per channel, of pixel / 255.
    ///
    /// # Errors
    /// [`Error::Input`] unless both have 1 or 3 finite entries and every std is positive.
    pub fn new(mean: &[f64], std: &[f64]) -> Result<Self> {
        let fits = matches!(mean.len(), 1 | 3) && mean.len() == std.len();
        let sound =
            mean.iter().all(|m| m.is_finite()) && std.iter().all(|s| s.is_finite() && *s > 0.0);
        if !(fits && sound) {
            return Err(Error::input(format!(
                "normalisation mean {mean:?}, std {std:?}: expected 1 or 3 numbers each, std above 0"
            )));
        }
        Ok(Self::tabulate(mean, std))
    }

    fn tabulate(mean: &[f64], std: &[f64]) -> Self {
        let narrow = |values: &[f64]| values.iter().map(|&v| v as f32).collect::<Vec<f32>>();
        let (mean, std) = (narrow(mean), narrow(std));
        let table = |(m, s): (&f32, &f32)| {
            let mut table = [0.0; 256];
            for (value, entry) in table.iter_mut().enumerate() {
                *entry = (value as f32 / 255.0 - m) / s;
            }
            table
        };
        let tables = mean.iter().zip(&std).map(table).collect();
        Self { mean, std, tables }
    }

    /// Channels of the images that this normalises.
    pub fn channels(&self) -> usize {
        self.tables.len()
    }

    /// Mean per channel.
    pub fn mean(&self) -> &[f32] {
        &self.mean
    }

    /// Standard deviation per channel.
    pub fn std(&self) -> &[f32] {
        &self.std
    }

    /// Writes one normalised image.
    ///
    /// # Panics
    /// If the image's channels are not [`Normalize::channels`] or `out` is not its number of values.
    pub fn write(&self, image: ImageRef<'_>, layout: Layout, out: &mut [f32]) {
        assert_eq!(image.channels, self.channels(), "channels of image and normalisation");
        assert_eq!(image.pixels.len(), out.len(), "values of image and output");
        match (layout, self.tables.as_slice()) {
            (_, [table]) => {
                for (to, &v) in out.iter_mut().zip(image.pixels) {
                    *to = table[usize::from(v)];
                }
            }
            (Layout::Nchw, [r, g, b]) => {
                let plane = image.height * image.width;
                let (reds, rest) = out.split_at_mut(plane);
                let (greens, blues) = rest.split_at_mut(plane);
                let planes = reds.iter_mut().zip(greens).zip(blues);
                for (((to_r, to_g), to_b), pixel) in planes.zip(image.pixels.chunks_exact(3)) {
                    *to_r = r[usize::from(pixel[0])];
                    *to_g = g[usize::from(pixel[1])];
                    *to_b = b[usize::from(pixel[2])];
                }
            }
            (_, tables) => {
                let channels = tables.len();
                for (to, pixel) in
                    out.chunks_exact_mut(channels).zip(image.pixels.chunks_exact(channels))
                {
                    for ((to, table), &v) in to.iter_mut().zip(tables).zip(pixel) {
                        *to = table[usize::from(v)];
                    }
                }
            }
        }
    }

    /// Writes one normalised RGB image that has four bytes per pixel.
    pub(super) fn write_quads(&self, pixels: &[Quad], layout: Layout, out: &mut [f32]) {
        let [r, g, b] = self.tables.as_slice() else {
            panic!("channels of image and normalisation");
        };
        assert_eq!(pixels.len() * 3, out.len(), "values of image and output");
        match layout {
            Layout::Nchw => {
                let (reds, rest) = out.split_at_mut(pixels.len());
                let (greens, blues) = rest.split_at_mut(pixels.len());
                let planes = reds.iter_mut().zip(greens).zip(blues);
                for (((to_r, to_g), to_b), pixel) in planes.zip(pixels) {
                    *to_r = r[usize::from(pixel[0])];
                    *to_g = g[usize::from(pixel[1])];
                    *to_b = b[usize::from(pixel[2])];
                }
            }
            Layout::Nhwc => {
                for (to, pixel) in out.as_chunks_mut::<3>().0.iter_mut().zip(pixels) {
                    let [red, green, blue, _] = pixel.map(usize::from);
                    *to = [r[red], g[green], b[blue]];
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layouts_hold_the_same_values() {
        let pixels: Vec<u8> = (0..12).map(|v| v * 20).collect();
        let image = ImageRef { pixels: &pixels, height: 2, width: 2, channels: 3 };
        let normalize = Normalize::cifar();
        let (mut first, mut last) = ([0.0; 12], [0.0; 12]);
        normalize.write(image, Layout::Nchw, &mut first);
        normalize.write(image, Layout::Nhwc, &mut last);
        for (i, value) in last.iter().enumerate() {
            assert_eq!(first[i % 3 * 4 + i / 3], *value);
        }
        assert_eq!(first[0], (0.0 - 0.4914f32) / 0.2023);
        let quads: Vec<Quad> = pixels.chunks_exact(3).map(|p| [p[0], p[1], p[2], 77]).collect();
        for (layout, expected) in [(Layout::Nchw, first), (Layout::Nhwc, last)] {
            let mut values = [0.0; 12];
            normalize.write_quads(&quads, layout, &mut values);
            assert_eq!(values, expected);
        }
    }

    #[test]
    fn nonsense_constants_are_refused() {
        assert!(Normalize::new(&[0.5], &[0.0]).is_err());
        assert!(Normalize::new(&[0.5, 0.5], &[1.0, 1.0]).is_err());
        assert!(Normalize::new(&[f64::NAN], &[1.0]).is_err());
    }
}
