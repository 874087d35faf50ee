//! Antialiased bilinear resizing as Pillow does it: a triangle filter scaled with the reduction factor,
//! weights of 22 fractional bits, columns first and then rows, rounded to 8 bits after each.

use super::ImageRef;
use super::canvas::Canvas;

const FRACTION: u32 = 22;

/// Weights of one direction: for each output position where its window begins, and its weights.
#[derive(Debug, Clone, Default)]
struct Axis {
    starts: Vec<(usize, usize)>,
    weights: Vec<i32>,
    window: usize,
    exact: Vec<f64>,
}

impl Axis {
    fn prepare(&mut self, input: usize, output: usize) {
        let scale = input as f64 / output as f64;
        let support = scale.max(1.0);
        self.window = support.ceil() as usize * 2 + 1;
        self.starts.clear();
        self.weights.clear();
        self.weights.resize(output * self.window, 0);
        let inverse = 1.0 / support;
        for (position, weights) in self.weights.chunks_exact_mut(self.window).enumerate() {
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
            self.starts.push((first, end - first));
        }
    }

    /// Window start and weights of output `position`.
    fn at(&self, position: usize) -> (usize, &[i32]) {
        let (first, count) = self.starts[position];
        (first, &self.weights[position * self.window..][..count])
    }
}

/// Buffers for resizing, kept between images.
#[derive(Debug, Clone, Default)]
pub(super) struct Plan {
    columns: Axis,
    rows: Axis,
    between: Vec<u8>,
    /// One row, widened.
    quads: Vec<[i32; 4]>,
}

/// Cuts the rectangle (`top`, `left`, `height`, `width`) out of `image` and resizes it to
/// (`to_height`, `to_width`) into `canvas`. The crop is cut out first: nothing outside it is seen.
///
/// # Panics
/// If the rectangle is empty or reaches beyond the image, or the image has not 1 or 3 channels.
pub fn resized_crop(
    image: ImageRef<'_>,
    (top, left, height, width): (usize, usize, usize, usize),
    (to_height, to_width): (usize, usize),
    canvas: &mut Canvas,
) {
    assert!(height > 0 && width > 0 && to_height > 0 && to_width > 0, "empty crop or target");
    assert!(top + height <= image.height && left + width <= image.width, "crop beyond the image");
    let channels = image.channels;
    let plan = &mut canvas.resize;
    (canvas.height, canvas.width) = (to_height, to_width);
    let row =
        |y: usize| &image.pixels[((top + y) * image.width + left) * channels..][..width * channels];

    plan.between.clear();
    plan.between.resize(height * to_width * 3, 0);
    if to_width != width {
        plan.columns.prepare(width, to_width);
    }
    let quads = &mut plan.quads;
    let columns = &plan.columns;

    for (y, out) in plan.between.chunks_exact_mut(to_width * 3).enumerate() {
        let row = row(y);
        if to_width == width {
            match channels {
                3 => out.copy_from_slice(row),
                _ => out.chunks_exact_mut(3).zip(row).for_each(|(p, &v)| p.fill(v)),
            }
            continue;
        }
        quads.clear();
        match channels {
            3 => {
                let widened = |p: &[u8]| [p[0], p[1], p[2], 0].map(i32::from);
                quads.extend(row.chunks_exact(3).map(widened));
            }
            _ => quads.extend(row.iter().map(|&v| [i32::from(v); 4])),
        }
        across(quads, columns, out);
    }

    if to_height == height {
        std::mem::swap(&mut canvas.pixels, &mut plan.between);
        return;
    }
    plan.rows.prepare(height, to_height);
    let stride = to_width * 3;
    canvas.pixels.resize(to_height * stride, 0);

    for (y, out) in canvas.pixels.chunks_exact_mut(stride).enumerate() {
        let (first, weights) = plan.rows.at(y);
        down(&plan.between[first * stride..], weights, out);
    }
}

/// One row out of as many rows as there are weights, each as long as `out`.
#[inline(always)]
fn down(lines: &[u8], weights: &[i32], out: &mut [u8]) {
    const BLOCK: usize = 32;
    let stride = out.len();
    let (blocks, rest) = out.as_chunks_mut::<BLOCK>();
    for (number, block) in blocks.iter_mut().enumerate() {
        let mut sums = [1i32 << (FRACTION - 1); BLOCK];
        for (line, &weight) in lines.chunks_exact(stride).zip(weights) {
            if let Some(values) = line[number * BLOCK..].first_chunk::<BLOCK>() {
                for (sum, &v) in sums.iter_mut().zip(values) {
                    *sum += i32::from(v) * weight;
                }
            }
        }
        *block = sums.map(narrow);
    }
    let start = stride - rest.len();
    for (at, to) in rest.iter_mut().enumerate() {
        let taps = lines.iter().skip(start + at).step_by(stride).zip(weights);
        *to = narrow(taps.fold(1 << (FRACTION - 1), |sum, (&v, &w)| sum + i32::from(v) * w));
    }
}

/// One row, four lanes per pixel in and three bytes out.
#[inline(always)]
fn across(row: &[[i32; 4]], axis: &Axis, out: &mut [u8]) {
    for (x, pixel) in out.chunks_exact_mut(3).enumerate() {
        let (first, weights) = axis.at(x);
        let mut sums = [1i32 << (FRACTION - 1); 4];
        for (from, &weight) in row[first..].iter().zip(weights) {
            for (sum, &v) in sums.iter_mut().zip(from) {
                *sum += v * weight;
            }
        }
        let [r, g, b, _] = sums.map(narrow);
        pixel.copy_from_slice(&[r, g, b]);
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
        let mut whole = Canvas::new();
        resized_crop(image, (1, 2, 3, 4), (3, 4), &mut whole);
        assert_eq!(&whole.pixels[..3], [8 * 7; 3]);
        let cut = whole.clone();
        let (mut a, mut b) = (Canvas::new(), Canvas::new());
        resized_crop(image, (1, 2, 3, 4), (5, 2), &mut a);
        resized_crop(cut.image(), (0, 0, 3, 4), (5, 2), &mut b);
        assert_eq!(a.pixels, b.pixels);
    }
}
