//! Operations that mix the channels of a pixel, or a pixel with its neighbours.

use super::buffers::Quad;
use super::canvas::Canvas;
use super::point::{blend, blend_pixel, luma};
use super::wide::widest;

widest! {
    /// Three equal channels of luma.
    pub(super) fn grayscale(pixels: &mut [Quad]) {
        for pixel in pixels {
            let grey = luma(u32::from_le_bytes(*pixel));
            *pixel = (grey * 0x0001_0101).to_le_bytes();
        }
    }
}

widest! {
    /// Blend of each pixel with its luma.
    pub(super) fn saturation(pixels: &mut [Quad], factor: f32) {
        for pixel in pixels {
            let grey = luma(u32::from_le_bytes(*pixel)) as u8;
            *pixel = blend_pixel(*pixel, grey, factor);
        }
    }
}

/// Blend with the smoothed image: 3x3 weights 1, centre 5, sum 13, rounded; the border is not smoothed.
pub(super) fn sharpness(canvas: &mut Canvas, factor: f32) {
    let (height, width) = (canvas.height, canvas.width);
    if height < 3 || width < 3 {
        return;
    }
    canvas.replace(|from, to| {
        to[..width].copy_from_slice(&from[..width]);
        to[(height - 1) * width..].copy_from_slice(&from[(height - 1) * width..]);
        smooth(from.as_flattened(), to.as_flattened_mut(), width * 4, factor);
    });
}

widest! {
    /// All rows but the first and the last; a row has `stride` bytes.
    fn smooth(from: &[u8], to: &mut [u8], stride: usize, factor: f32) {
        for y in 1..to.len() / stride - 1 {
            let line = |y: usize| &from[y * stride..(y + 1) * stride];
            let out = &mut to[y * stride..(y + 1) * stride];
            smooth_row([line(y - 1), line(y), line(y + 1)], factor, out);
        }
    }
}

#[inline(always)]
fn smooth_row([above, here, below]: [&[u8]; 3], factor: f32, to: &mut [u8]) {
    let n = here.len();
    to[..4].copy_from_slice(&here[..4]);
    to[n - 4..].copy_from_slice(&here[n - 4..]);
    let out = &mut to[4..n - 4];
    // Of each row the left neighbours, the values above or below, the right neighbours.
    let n = out.len();
    let [a, b, c] = [above, here, below].map(|row| [&row[..n], &row[4..][..n], &row[8..][..n]]);
    for (i, out) in out.iter_mut().enumerate() {
        let three =
            |row: [&[u8]; 3]| u16::from(row[0][i]) + u16::from(row[1][i]) + u16::from(row[2][i]);
        let sum = three(a) + three(b) + three(c) + 4 * u16::from(b[1][i]);
        // sum / 13 is never half-way between two integers: integer rounding equals Pillow's float one.
        *out = blend(((2 * sum + 13) / 26) as u8, b[1][i], factor);
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
        let sharp = canvas.image().pixels;
        let changed: Vec<usize> = (0..27).filter(|&i| sharp[i] != pixels[i]).collect();
        assert!(changed.iter().all(|i| (12..15).contains(i)), "{changed:?}");
        let mut tiny =
            Canvas::of(ImageRef { pixels: &pixels[..6], height: 1, width: 2, channels: 3 });
        sharpness(&mut tiny, 0.0);
        assert_eq!(tiny.image().pixels, &pixels[..6]);
    }
}
