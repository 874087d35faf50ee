//! Operations that mix the channels of a pixel, or a pixel with its neighbours.

use super::canvas::Canvas;
use super::point::{blend, luma};

/// Three equal channels of luma.
pub(super) fn grayscale(pixels: &mut [u8]) {
    for pixel in pixels.chunks_exact_mut(3) {
        let grey = luma(pixel);
        pixel.fill(grey);
    }
}

/// Blend of each pixel with its luma.
pub(super) fn saturation(pixels: &mut [u8], factor: f32) {
    /// Pixels whose luma is spread out first, so that blending sees plain rows of bytes.
    const BLOCK: usize = 32;

    let mut greys = [0; BLOCK * 3];
    for block in pixels.chunks_mut(BLOCK * 3) {
        for (grey, pixel) in greys.chunks_exact_mut(3).zip(block.chunks_exact(3)) {
            grey.fill(luma(pixel));
        }
        for (value, &grey) in block.iter_mut().zip(&greys) {
            *value = blend(grey, *value, factor);
        }
    }
}

/// Blend with the smoothed image: 3x3 weights 1, centre 5, sum 13, rounded; the border is not smoothed.
pub(super) fn sharpness(canvas: &mut Canvas, factor: f32) {
    let (height, width) = (canvas.height, canvas.width);
    if height < 3 || width < 3 {
        return;
    }
    let row = width * 3;
    canvas.replace(|from, to| {
        to[..row].copy_from_slice(&from[..row]);
        to[(height - 1) * row..].copy_from_slice(&from[(height - 1) * row..]);

        for y in 1..height - 1 {
            let line = |y: usize| &from[y * row..(y + 1) * row];
            let out = &mut to[y * row..(y + 1) * row];
            smooth_row([line(y - 1), line(y), line(y + 1)], factor, out);
        }
    });
}

#[inline(always)]
fn smooth_row([above, here, below]: [&[u8]; 3], factor: f32, to: &mut [u8]) {
    let n = here.len();
    to[..3].copy_from_slice(&here[..3]);
    to[n - 3..].copy_from_slice(&here[n - 3..]);
    let three = |row: &[u8], at: usize| {
        u32::from(row[at]) + u32::from(row[at + 3]) + u32::from(row[at + 6])
    };
    for (at, out) in to[3..n - 3].iter_mut().enumerate() {
        let centre = here[at + 3];
        let sum = three(above, at) + three(here, at) + three(below, at) + 4 * u32::from(centre);
        // sum / 13 is never half-way between two integers: integer rounding equals Pillow's float one.
        *out = blend(((2 * sum + 13) / 26) as u8, centre, factor);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::augment::ImageRef;

    #[test]
    fn smoothing_leaves_the_border_and_tiny_images() {
        let pixels: Vec<u8> = (0..27).map(|v| v * 9).collect();
        let image = ImageRef { pixels: &pixels, height: 3, width: 3, channels: 3 };
        let mut canvas = Canvas::of(image);
        sharpness(&mut canvas, 0.0);
        let changed: Vec<usize> = (0..27).filter(|&i| canvas.pixels[i] != pixels[i]).collect();
        assert!(changed.iter().all(|i| (12..15).contains(i)), "{changed:?}");
        let mut tiny =
            Canvas::of(ImageRef { pixels: &pixels[..6], height: 1, width: 2, channels: 3 });
        sharpness(&mut tiny, 0.0);
        assert_eq!(tiny.pixels, pixels[..6]);
    }
}
