//! Antialiased bilinear resizing as Pillow does it: a triangle filter scaled with the reduction factor,
//! weights of 22 fractional bits, rounded to 8 bits after each of the two passes. Across comes first, but
//! since Pillow 13 down does where the height loses more than twice as many pixels as the width.

use std::ops::Range;

use super::ImageRef;
use super::buffers::{Axis, BAND, Bands, Plan, Quad};
use super::canvas::{Canvas, widen};
use super::wide::widest;

const FRACTION: u32 = 22;

impl Axis {
    /// For the output positions `wanted`. Returns the input positions that they are made of; windows
    /// begin at the first of these.
    fn prepare(&mut self, input: usize, output: usize, wanted: Range<usize>) -> Range<usize> {
        let scale = input as f64 / output as f64;
        let support = scale.max(1.0);
        self.window = support.ceil() as usize * 2 + 1;
        self.starts.clear();
        self.weights.clear();
        self.weights.resize(wanted.len() * self.window, 0);
        let inverse = 1.0 / support;
        for (position, weights) in wanted.zip(self.weights.chunks_exact_mut(self.window)) {
            let centre = (position as f64 + 0.5) * scale;
            // `as` truncates towards zero and never goes below it, as clamping would.
            let first = (centre - support + 0.5) as usize;
            let end = ((centre + support + 0.5) as usize).min(input);
            let triangle = |i: usize| {
                let distance = ((i as f64 - centre + 0.5) * inverse).abs();
                if distance < 1.0 { 1.0 - distance } else { 0.0 }
            };
            self.exact.clear();
            self.exact.extend((first..end).map(triangle));
            let sum = self.exact.iter().fold(0.0, |sum, w| sum + w);
            for (weight, exact) in weights.iter_mut().zip(&self.exact) {
                let normal = if sum == 0.0 { *exact } else { exact / sum };
                *weight = (0.5 + normal * f64::from(1 << FRACTION)) as i32;
            }
            // Weights of zero at the ends, frequent when enlarging, are left out.
            let used = |w: &i32| *w != 0;
            let skip = weights.iter().position(used).unwrap_or(0);
            let last = weights.iter().rposition(used).unwrap_or(0);
            weights.copy_within(skip..=last, 0);
            self.starts.push((first + skip, last + 1 - skip));
        }
        let begin = self.starts.iter().map(|&(first, _)| first).min().unwrap_or(0);
        let end = self.starts.iter().map(|&(first, count)| first + count).max().unwrap_or(0);
        self.starts.iter_mut().for_each(|(first, _)| *first -= begin);
        begin..end
    }

    /// Window start and weights of the wanted output `position`.
    fn at(&self, position: usize) -> (usize, &[i32]) {
        let (first, count) = self.starts[position];
        (first, &self.weights[position * self.window..][..count])
    }
}

/// Top, left, height and width.
type Rectangle = (usize, usize, usize, usize);

/// Cuts the rectangle (`top`, `left`, `height`, `width`) out of `image` and resizes it to
/// (`to_height`, `to_width`) into `canvas`. The crop is cut out first: nothing outside it is seen.
///
/// # Panics
/// If the rectangle is empty or reaches beyond the image, or the image has not 1 or 3 channels.
pub fn resized_crop(
    image: ImageRef<'_>,
    rectangle: Rectangle,
    to: (usize, usize),
    canvas: &mut Canvas,
) {
    part_of_resized_crop(image, rectangle, to, (0, 0, to.0, to.1), canvas);
}

/// Resizes `image` to `to` = (height, width), of which only the rectangle `part` is made: time and
/// memory are for that, whatever the whole would be.
///
/// # Panics
/// If the part is empty or reaches beyond `to`, or the image is empty or has not 1 or 3 channels.
pub fn part_of_resized(
    image: ImageRef<'_>,
    to: (usize, usize),
    part: Rectangle,
    canvas: &mut Canvas,
) {
    part_of_resized_crop(image, (0, 0, image.height, image.width), to, part, canvas);
}

fn part_of_resized_crop(
    image: ImageRef<'_>,
    (top, left, height, width): Rectangle,
    (to_height, to_width): (usize, usize),
    part: Rectangle,
    canvas: &mut Canvas,
) {
    assert!(height > 0 && width > 0 && part.2 > 0 && part.3 > 0, "empty crop or target");
    assert!(top + height <= image.height && left + width <= image.width, "crop beyond the image");
    assert!(part.0 + part.2 <= to_height && part.1 + part.3 <= to_width, "part beyond the target");
    let (lost, lost_across) =
        (height as isize - to_height as isize, width as isize - to_width as isize);
    let Canvas { pixels, spare, resize: Plan { columns, rows, between, bands }, .. } = canvas;
    let across = columns.prepare(width, to_width, part.1..part.1 + part.3);
    let along = rows.prepare(height, to_height, part.0..part.0 + part.2);

    // From here on only what the part needs and the part itself have a size.
    let (top, left) = (top + along.start, left + across.start);
    let (height, width, to_height, to_width) = (along.len(), across.len(), part.2, part.3);
    let channels = image.channels;
    let row =
        |y: usize| &image.pixels[((top + y) * image.width + left) * channels..][..width * channels];
    (canvas.height, canvas.width) = (to_height, to_width);
    pixels.resize(to_height * to_width, [0; 4]);
    if lost_across == 0 || (lost > 0 && lost > 2 * lost_across) {
        between.resize(height * width, [0; 4]);
        for (y, out) in between.chunks_exact_mut(width).enumerate() {
            widen(row(y), channels, out);
        }
        if lost_across == 0 {
            match lost {
                0 => std::mem::swap(pixels, between),
                _ => down(between.as_flattened(), rows, pixels.as_flattened_mut()),
            }
            return;
        }
        spare.resize(to_height * width, [0; 4]);
        down(between.as_flattened(), rows, spare.as_flattened_mut());
        let squeezed = spare.as_slice();
        let row =
            |y: usize, line: &mut [Quad]| line.copy_from_slice(&squeezed[y * width..][..width]);
        bands.across(width, row, columns, pixels);
    } else {
        let row = |y: usize, line: &mut [Quad]| widen(row(y), channels, line);
        if lost == 0 {
            bands.across(width, row, columns, pixels);
        } else {
            between.resize(height * to_width, [0; 4]);
            bands.across(width, row, columns, between);
            down(between.as_flattened(), rows, pixels.as_flattened_mut());
        }
    }
}

impl Bands {
    /// Resizes rows of `width` pixels, which `row` writes, to the rows of `out`.
    fn across(
        &mut self,
        width: usize,
        row: impl Fn(usize, &mut [Quad]),
        axis: &Axis,
        out: &mut [Quad],
    ) {
        let to_width = axis.starts.len();
        self.line.resize(width, [0; 4]);
        self.band.resize(width, [[0; 4]; BAND]);
        for (number, out) in out.chunks_mut(BAND * to_width).enumerate() {
            for place in 0..out.len() / to_width {
                row(number * BAND + place, &mut self.line);
                for (column, &pixel) in self.band.iter_mut().zip(&self.line) {
                    column[place] = pixel;
                }
            }
            across(&self.band, axis, out);
        }
    }
}

widest! {
    /// Resizes a band across; `out` holds as many whole rows as the band has in use.
    fn across(band: &[[Quad; BAND]], axis: &Axis, out: &mut [Quad]) {
        const BYTES: usize = BAND * 4;

        let width = axis.starts.len();
        let columns = band.as_flattened().as_flattened();
        let mut mixed = [0; BYTES];
        for x in 0..width {
            let (first, weights) = axis.at(x);
            mix(&columns[first * BYTES..], weights, &mut mixed);
            let (pixels, _) = mixed.as_chunks::<4>();
            for (to, pixel) in out[x..].iter_mut().step_by(width).zip(pixels) {
                *to = *pixel;
            }
        }
    }
}

widest! {
    /// Resizes down; rows are as long as `out` has bytes per row of `axis`.
    fn down(lines: &[u8], axis: &Axis, out: &mut [u8]) {
        let stride = out.len() / axis.starts.len();
        for (y, out) in out.chunks_exact_mut(stride).enumerate() {
            let (first, weights) = axis.at(y);
            mix(&lines[first * stride..], weights, out);
        }
    }
}

/// One line out of as many lines as there are weights, each as long as `out`.
#[inline(always)]
fn mix(lines: &[u8], weights: &[i32], out: &mut [u8]) {
    match *weights {
        [a] => mix_few(lines, [a], out),
        [a, b] => mix_few(lines, [a, b], out),
        [a, b, c] => mix_few(lines, [a, b, c], out),
        [a, b, c, d] => mix_few(lines, [a, b, c, d], out),
        [a, b, c, d, e] => mix_few(lines, [a, b, c, d, e], out),
        _ => mix_many(lines, weights, out),
    }
}

#[inline(always)]
fn mix_few<const N: usize>(lines: &[u8], weights: [i32; N], out: &mut [u8]) {
    let length = out.len();
    let mut rows = [&lines[..length]; N];
    for (k, row) in rows.iter_mut().enumerate() {
        *row = &lines[k * length..][..length];
    }
    for (i, to) in out.iter_mut().enumerate() {
        let mut sum = 1 << (FRACTION - 1);
        for k in 0..N {
            sum += i32::from(rows[k][i]) * weights[k];
        }
        *to = narrow(sum);
    }
}

#[inline(always)]
fn mix_many(lines: &[u8], weights: &[i32], out: &mut [u8]) {
    const BLOCK: usize = 64;

    let length = out.len();
    for (number, block) in out.chunks_mut(BLOCK).enumerate() {
        let mut sums = [1i32 << (FRACTION - 1); BLOCK];
        for (line, &weight) in lines.chunks_exact(length).zip(weights) {
            for (sum, &v) in sums.iter_mut().zip(&line[number * BLOCK..][..block.len()]) {
                *sum += i32::from(v) * weight;
            }
        }
        for (to, &sum) in block.iter_mut().zip(&sums) {
            *to = narrow(sum);
        }
    }
}

#[inline(always)]
fn narrow(sum: i32) -> u8 {
    (sum >> FRACTION).clamp(0, 255) as u8
}

/// Height and width after the shorter edge became `size` (the other one is truncated).
pub fn shorter_edge(size: usize, height: usize, width: usize) -> (usize, usize) {
    let long = |long: usize, short: usize| ((size * long) as f64 / short as f64) as usize;
    if width <= height { (long(height, width), size) } else { (size, long(width, height)) }
}

/// Top and left of a centred crop: half the margin, halves to the even number.
pub fn centre(margins: (usize, usize)) -> (usize, usize) {
    let half = |margin: usize| match margin % 4 {
        3 => margin / 2 + 1,
        _ => margin / 2,
    };
    (half(margins.0), half(margins.1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_go_to_the_even_number() {
        // round(0.5), round(1.5), round(2.5), round(3.5) in Python: 0, 2, 2, 4.
        assert_eq!([1, 3, 5, 7].map(|m| centre((m, m)).0), [0, 2, 2, 4]);
    }

    #[test]
    fn the_longer_edge_is_truncated() {
        assert_eq!(shorter_edge(64, 48, 64), (64, 85));
        assert_eq!(shorter_edge(64, 64, 48), (85, 64));
        assert_eq!(shorter_edge(64, 50, 50), (64, 64));
    }

    #[test]
    fn a_crop_is_cut_out_before_resizing() {
        let pixels: Vec<u8> = (0..36).flat_map(|v| [v * 7; 3]).collect();
        let image = ImageRef { pixels: &pixels, height: 6, width: 6, channels: 3 };
        let mut cut = Canvas::new();
        resized_crop(image, (1, 2, 3, 4), (3, 4), &mut cut);
        assert_eq!(cut.pixels[0][..3], [8 * 7; 3]);
        let (mut a, mut b) = (Canvas::new(), Canvas::new());
        resized_crop(image, (1, 2, 3, 4), (5, 2), &mut a);
        resized_crop(cut.image(), (0, 0, 3, 4), (5, 2), &mut b);
        assert_eq!(a.pixels, b.pixels);
    }

    #[test]
    fn a_part_is_what_the_whole_has_there() {
        for (height, width, to) in
            [(12, 5, (3, 4)), (9, 70, (9, 11)), (40, 7, (5, 7)), (6, 8, (30, 41)), (8, 8, (8, 8))]
        {
            let pixels: Vec<u8> = (0..height * width * 3).map(|i| (i * 61 % 253) as u8).collect();
            let image = ImageRef { pixels: &pixels, height, width, channels: 3 };
            let (mut whole, mut part) = (Canvas::new(), Canvas::new());
            for (top, left) in [(0, 0), (1, 2), (to.0 - 2, to.1 - 2)] {
                let size = (to.0 - top, 2);
                resized_crop(image, (0, 0, height, width), to, &mut whole);
                whole.crop((top, left), size);
                part_of_resized(image, to, (top, left, size.0, size.1), &mut part);
                assert_eq!((part.height, part.width), size);
                assert_eq!(
                    part.pixels, whole.pixels,
                    "{height}x{width} to {to:?} at {top}, {left}"
                );
            }
        }
    }

    #[test]
    fn the_order_of_the_passes_is_pillows() {
        // Grey levels that Pillow 13.0.0 gives; in the other order 6, 3 and 3 of them differ.
        type Size = (usize, usize);
        let cases: [(Size, Size, &[u8]); 3] = [
            ((12, 5), (3, 4), &[98, 130, 138, 136, 108, 123, 139, 150, 112, 117, 146, 117]),
            (
                (9, 7),
                (4, 5),
                &[
                    114, 128, 127, 164, 114, 109, 143, 118, 107, 132, 126, 157, 122, 122, 149, 126,
                    128, 130, 112, 126,
                ],
            ),
            (
                (9, 7),
                (6, 5),
                &[
                    85, 107, 153, 171, 95, 133, 161, 91, 131, 149, 103, 131, 133, 101, 119, 149,
                    177, 107, 147, 165, 91, 109, 149, 79, 107, 145, 157, 115, 133, 155,
                ],
            ),
        ];
        for ((height, width), to, expected) in cases {
            let pixels: Vec<u8> = (0..height * width).map(|i| (i * 61 % 253) as u8).collect();
            let image = ImageRef { pixels: &pixels, height, width, channels: 1 };
            let mut canvas = Canvas::new();
            resized_crop(image, (0, 0, height, width), to, &mut canvas);
            let grey: Vec<u8> = canvas.pixels.iter().map(|p| p[0]).collect();
            assert_eq!(grey, expected, "{height}x{width} to {to:?}");
        }
    }

    #[test]
    fn any_number_of_rows_and_weights_is_mixed_alike() {
        // A picture of equal rows stays so, whatever the band and the reduction; a mean stays a mean.
        for (height, width, to) in [(1, 40, 3), (15, 7, 30), (17, 90, 5), (40, 300, 8)] {
            let pixels: Vec<u8> =
                (0..height * width * 3).map(|i| (i / 3 % width % 2) as u8 * 200).collect();
            let image = ImageRef { pixels: &pixels, height, width, channels: 3 };
            let mut canvas = Canvas::new();
            resized_crop(image, (0, 0, height, width), (height * 2, to), &mut canvas);
            assert!(canvas.pixels.chunks_exact(to).all(|row| *row == canvas.pixels[..to]));
            if width > 8 * to {
                assert!(
                    canvas.pixels[1..to - 1].iter().all(|p| p[0].abs_diff(100) < 8),
                    "{width} to {to}"
                );
            }
        }
    }
}
