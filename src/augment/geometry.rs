//! Operations that move pixels without mixing them.

use super::ImageRef;
use super::buffers::Quad;
use super::canvas::{Canvas, widen};

/// Pads `padding` zero pixels on each side, cuts out the image's own size at (`top`, `left`) of the
/// padded image, and mirrors the result if `flip`. `out` is overwritten.
///
/// # Panics
/// If `top` or `left` is above 2 * `padding`.
pub fn crop_padded(
    image: ImageRef<'_>,
    padding: usize,
    at: (usize, usize),
    flip: bool,
    out: &mut Vec<u8>,
) {
    place(image, padding, at, image.channels, out, |from, to| to.copy_from_slice(from));
    if flip {
        flip_rows(out, image.width, image.channels);
    }
}

/// [`crop_padded`] onto a canvas.
pub(super) fn crop_padded_onto(
    image: ImageRef<'_>,
    padding: usize,
    at: (usize, usize),
    flip: bool,
    canvas: &mut Canvas,
) {
    (canvas.height, canvas.width) = (image.height, image.width);
    let copy = |from: &[u8], to: &mut [Quad]| widen(from, image.channels, to);
    place(image, padding, at, 1, &mut canvas.pixels, copy);
    if flip {
        canvas.flip();
    }
}

/// Copies what is visible, row by row, among zeros; a pixel of `out` has `unit` entries.
fn place<T: Copy + Default>(
    image: ImageRef<'_>,
    padding: usize,
    (top, left): (usize, usize),
    unit: usize,
    out: &mut Vec<T>,
    copy: impl Fn(&[u8], &mut [T]),
) {
    assert!(top <= 2 * padding && left <= 2 * padding, "crop beyond the padded image");
    let ImageRef { pixels, height, width, channels } = image;
    out.clear();
    out.resize(height * width * unit, T::default());
    let (first, x0, x1) = visible(left, padding, width);
    for y in 0..height {
        let Some(from_y) = (y + top).checked_sub(padding).filter(|&from| from < height) else {
            continue;
        };
        let from = &pixels[(from_y * width + first) * channels..][..(x1 - x0) * channels];
        copy(from, &mut out[(y * width + x0) * unit..(y * width + x1) * unit]);
    }
}

/// First source column, and the output columns first..end that show the image.
fn visible(left: usize, padding: usize, width: usize) -> (usize, usize, usize) {
    let first = left.saturating_sub(padding).min(width);
    let x0 = padding.saturating_sub(left).min(width);
    (first, x0, x0 + (width - first).min(width - x0))
}

/// Mirrors every row in place.
pub fn flip_rows(pixels: &mut [u8], width: usize, channels: usize) {
    for row in pixels.chunks_exact_mut(width * channels) {
        match channels {
            1 => row.reverse(),
            _ => {
                for x in 0..width / 2 {
                    let mirrored = width - 1 - x;
                    let (head, tail) = row.split_at_mut(mirrored * channels);
                    head[x * channels..(x + 1) * channels].swap_with_slice(&mut tail[..channels]);
                }
            }
        }
    }
}

/// Sets a square of side `length` around (`centre_y`, `centre_x`), clipped to the image, to zero: what
/// Cutout does to the tensor before normalisation.
pub fn cutout(
    pixels: &mut [u8],
    (height, width, channels): (usize, usize, usize),
    (centre_y, centre_x): (usize, usize),
    length: usize,
) {
    let span = |centre: usize, side: usize| {
        centre.saturating_sub(length / 2)..(centre + length / 2).min(side)
    };
    let columns = span(centre_x, width);
    for y in span(centre_y, height) {
        let row = &mut pixels[y * width * channels..(y + 1) * width * channels];
        row[columns.start * channels..columns.end * channels].fill(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(pixels: &[u8]) -> ImageRef<'_> {
        ImageRef { pixels, height: 2, width: 3, channels: 1 }
    }

    #[test]
    fn a_crop_shows_the_padding() {
        let pixels = [1, 2, 3, 4, 5, 6];
        let mut out = Vec::new();
        let mut crop = |at, flip| {
            crop_padded(image(&pixels), 1, at, flip, &mut out);
            out.clone()
        };
        assert_eq!(crop((1, 1), false), pixels);
        assert_eq!(crop((0, 0), false), [0, 0, 0, 0, 1, 2]);
        assert_eq!(crop((2, 2), false), [5, 6, 0, 0, 0, 0]);
        assert_eq!(crop((2, 2), true), [0, 6, 5, 0, 0, 0]);
    }

    #[test]
    fn cutout_is_clipped_at_the_edge() {
        let mut pixels = vec![9; 6];
        cutout(&mut pixels, (2, 3, 1), (0, 0), 2);
        assert_eq!(pixels, [0, 9, 9, 9, 9, 9]);
        cutout(&mut pixels, (2, 3, 1), (1, 2), 2);
        assert_eq!(pixels, [0, 0, 0, 9, 0, 0]);
    }
}
