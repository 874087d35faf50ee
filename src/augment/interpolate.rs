//! Transforms that look between pixels: bilinear and bicubic.
//!
//! Pillow computes them in float64. Nearly every byte is settled in float32, whose error is bounded;
//! the others are computed again as Pillow does.

use super::buffers::{Lines, Quad};
use super::canvas::Canvas;
use super::point::INTEGER;
use super::wide::widest;

/// (a, b, c, d, e, f): output pixel (x, y) reads the input at
/// (a(x+.5) + b(y+.5) + c, d(x+.5) + e(y+.5) + f).
pub(super) type Matrix = [f64; 6];

widest! {
    /// Linear between 2x2 pixels.
    pub(super) fn bilinear(canvas: &mut Canvas, matrix: &Matrix, fill: Quad) {
        transform::<2, Bilinear>(canvas, matrix, fill);
    }
}

widest! {
    /// Cubic over 4x4 pixels.
    pub(super) fn bicubic(canvas: &mut Canvas, matrix: &Matrix, fill: Quad) {
        transform::<4, Bicubic>(canvas, matrix, fill);
    }
}

/// How a value between pixels is made of `N` neighbours in each direction.
trait Kernel<const N: usize> {
    /// What the neighbours weigh at distance `d` from the one before.
    fn weights(d: f32) -> [f32; N];

    /// In float64, in Pillow's order of operations.
    fn exact(source: &Padded<'_>, at: (isize, isize), part: (f64, f64)) -> Quad;
}

/// The directions in which positions lie between pixels.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Between {
    Columns,
    Rows,
    Both,
}

#[inline(always)]
fn transform<const N: usize, K: Kernel<N>>(canvas: &mut Canvas, m: &Matrix, fill: Quad) {
    use Between::{Both, Columns, Rows};

    // A shear or a translation stays in its row or in its column.
    let between = match (m[0], m[1], m[2], m[3], m[4], m[5]) {
        (_, _, _, 0.0, 1.0, 0.0) => Columns,
        (1.0, 0.0, 0.0, _, _, _) => Rows,
        _ => Both,
    };
    let size = (canvas.height, canvas.width);
    let Canvas { pixels, spare, lines, .. } = canvas;
    let source = Padded::of(pixels, size, spare);
    for (y, row) in pixels.chunks_exact_mut(size.1).enumerate() {
        let line = Line { matrix: m, y: y as f64 + 0.5 };
        // Positions grow or fall steadily along a row: those inside are one range.
        let inside = |x: &usize| source.holds(line.position(*x as i32));
        let start = (0..row.len()).find(inside).unwrap_or(row.len());
        let end = (start..row.len()).rfind(inside).map_or(start, |x| x + 1);
        row[..start].fill(fill);
        row[end..].fill(fill);
        let row = &mut row[start..end];
        // Each call is compiled for its case.
        match between {
            Columns => one_row::<N, K>(row, &source, &line, (start, Columns), lines),
            Rows => one_row::<N, K>(row, &source, &line, (start, Rows), lines),
            Both => one_row::<N, K>(row, &source, &line, (start, Both), lines),
        }
    }
}

/// A row of output pixels and where they come from.
struct Line<'a> {
    matrix: &'a Matrix,
    /// Its middle.
    y: f64,
}

impl Line<'_> {
    /// The place in the source of output column `x`.
    #[inline(always)]
    fn position(&self, x: i32) -> (f64, f64) {
        let (m, x) = (self.matrix, f64::from(x) + 0.5);
        (m[0] * x + m[1] * self.y + m[2], m[3] * x + m[4] * self.y + m[5])
    }
}

/// The columns from `start` on, all of which lie inside the source.
#[inline(always)]
fn one_row<const N: usize, K: Kernel<N>>(
    row: &mut [Quad],
    source: &Padded<'_>,
    line: &Line<'_>,
    (start, between): (usize, Between),
    lines: &mut Lines,
) {
    let n = row.len();
    lines.first.resize(n, 0);
    lines.near.resize(n, [0.0; 4]);
    lines.unsure.resize(n, [0; 4]);
    let [dx, dy] = &mut lines.part;
    dx.resize(n, 0.0);
    dy.resize(n, 0.0);
    let before = N as i32 / 2 - 1;
    let padding = PADDING as i32;
    let (left, up) = match between {
        Between::Columns => (padding - before, padding),
        Between::Rows => (padding, padding - before),
        Between::Both => (padding - before, padding - before),
    };
    let stride = source.stride();

    for (i, ((first, dx), dy)) in lines.first.iter_mut().zip(&mut *dx).zip(&mut *dy).enumerate() {
        let (at_x, at_y) = line.position((start + i) as i32);
        let ((x, part_x), (y, part_y)) = (split(at_x - 0.5), split(at_y - 0.5));
        *first = ((y + up) * stride as i32 + x + left) as u32;
        (*dx, *dy) = (part_x as f32, part_y as f32);
    }

    for (((near, &first), &dx), &dy) in lines.near.iter_mut().zip(&lines.first).zip(&*dx).zip(&*dy)
    {
        *near = sum_near::<N, K>(&source.pixels[first as usize..], stride, (dx, dy), between);
    }

    let bytes = row.as_flattened_mut().iter_mut().zip(lines.unsure.as_flattened_mut());
    for ((byte, unsure), &value) in bytes.zip(lines.near.as_flattened()) {
        (*byte, *unsure) = settle(value);
    }
    for (i, (pixel, unsure)) in row.iter_mut().zip(&lines.unsure).enumerate() {
        if *unsure != [0; 4] {
            *pixel = exact::<N, K>(source, line, (start + i) as i32);
        }
    }
}

/// The integer at or below `v` (-0.5 or more, below 2^31) and the rest.
#[inline(always)]
fn split(v: f64) -> (i32, f64) {
    /// Adding this rounds to an integer and leaves it in the lowest bits.
    const INTEGER: f64 = 6_755_399_441_055_744.0;

    let rounded = v + INTEGER;
    let nearest = rounded - INTEGER;
    let above = nearest > v;
    let floor = if above { nearest - 1.0 } else { nearest };
    (rounded.to_bits() as i32 - i32::from(above), v - floor)
}

/// In float32: off by less than [`MARGIN`]. `taps` begins with the first neighbour.
#[inline(always)]
fn sum_near<const N: usize, K: Kernel<N>>(
    taps: &[Quad],
    stride: usize,
    (dx, dy): (f32, f32),
    between: Between,
) -> [f32; 4] {
    let mut sum = [0.0; 4];
    if between == Between::Rows {
        let weights = K::weights(dy);
        for k in 0..N {
            let tap = &taps[k * stride];
            sum = std::array::from_fn(|c| sum[c] + f32::from(tap[c]) * weights[k]);
        }
        return sum;
    }
    let weights = K::weights(dx);
    if between == Between::Columns {
        return across(taps, weights);
    }
    let down = K::weights(dy);
    for k in 0..N {
        let value = across(&taps[k * stride..], weights);
        sum = std::array::from_fn(|c| sum[c] + value[c] * down[k]);
    }
    sum
}

/// The weighted sum of the first `N` pixels.
#[inline(always)]
fn across<const N: usize>(taps: &[Quad], weights: [f32; N]) -> [f32; 4] {
    let (mut sum, taps) = ([0.0; 4], &taps[..N]);
    for k in 0..N {
        sum = std::array::from_fn(|c| sum[c] + f32::from(taps[k][c]) * weights[k]);
    }
    sum
}

/// As Pillow computes it.
#[cold]
#[inline(never)]
fn exact<const N: usize, K: Kernel<N>>(source: &Padded<'_>, line: &Line<'_>, x: i32) -> Quad {
    let (at_x, at_y) = line.position(x);
    let ((x, dx), (y, dy)) = (split(at_x - 0.5), split(at_y - 0.5));
    K::exact(source, (x as isize, y as isize), (dx, dy))
}

/// Bound on the error of float32: about twenty roundings of values below 600.
const MARGIN: f32 = 2e-3;

/// The byte that `value` is truncated to, and not 0 if it is so near to an integer that rounding
/// decides.
#[inline(always)]
fn settle(value: f32) -> (u8, u8) {
    // Half below, so that rounding truncates. What is beyond 0 and 255 is certain once clipped.
    let value = value - 0.5;
    let value = if value > 0.0 { value } else { 0.0 };
    let value = if value < 255.0 { value } else { 255.0 };
    let rounded = value + INTEGER;
    let off = (value - (rounded - INTEGER)).abs();
    (rounded.to_bits() as u8, u8::from(off > 0.5 - MARGIN))
}

/// Pixels that repeat at every edge.
const PADDING: usize = 2;

/// The source image with its edges repeated, so that every neighbour is there; fourth bytes are 0.
struct Padded<'a> {
    pixels: &'a [Quad],
    height: usize,
    width: usize,
}

impl<'a> Padded<'a> {
    #[inline(always)]
    fn of(pixels: &[Quad], (height, width): (usize, usize), buffer: &'a mut Vec<Quad>) -> Self {
        let stride = width + 2 * PADDING;
        buffer.resize((height + 2 * PADDING) * stride, [0; 4]);
        for (y, line) in buffer.chunks_exact_mut(stride).enumerate() {
            let from = y.saturating_sub(PADDING).min(height - 1);
            let row = &pixels[from * width..][..width];
            for (to, p) in line[PADDING..].iter_mut().zip(row) {
                *to = (u32::from_le_bytes(*p) & 0x00ff_ffff).to_le_bytes();
            }
            let (first, last) = (line[PADDING], line[width + PADDING - 1]);
            line[..PADDING].fill(first);
            line[width + PADDING..].fill(last);
        }
        Self { pixels: buffer, height, width }
    }

    /// Pixels from one row to the next.
    #[inline(always)]
    fn stride(&self) -> usize {
        self.width + 2 * PADDING
    }

    #[inline(always)]
    fn holds(&self, (x, y): (f64, f64)) -> bool {
        x >= 0.0 && x < self.width as f64 && y >= 0.0 && y < self.height as f64
    }

    /// `N` horizontal neighbours from column `x` of row `y` on; neither further outside than the padding.
    #[inline(always)]
    fn row<const N: usize>(&self, x: isize, y: isize) -> &[Quad; N] {
        let shifted = |at: isize| (at + PADDING as isize) as usize;
        let at = shifted(y) * self.stride() + shifted(x);
        let run = self.pixels.get(at..at + N).and_then(<[Quad]>::first_chunk);
        run.expect("positions are inside the image, neighbours inside the padding")
    }
}

struct Bilinear;

impl Kernel<2> for Bilinear {
    #[inline(always)]
    fn weights(d: f32) -> [f32; 2] {
        [1.0 - d, d]
    }

    fn exact(source: &Padded<'_>, (x, y): (isize, isize), (dx, dy): (f64, f64)) -> Quad {
        let across = |y: isize| -> [f64; 4] {
            let [a, b] = source.row::<2>(x, y).map(|p| p.map(f64::from));
            std::array::from_fn(|c| a[c] + (b[c] - a[c]) * dx)
        };
        let (above, below) = (across(y), across(y + 1));
        std::array::from_fn(|c| (above[c] + (below[c] - above[c]) * dy) as u8)
    }
}

struct Bicubic;

impl Kernel<4> for Bicubic {
    #[inline(always)]
    fn weights(d: f32) -> [f32; 4] {
        let (d2, d3) = (d * d, d * d * d);
        [2.0 * d2 - d - d3, 1.0 - 2.0 * d2 + d3, d + d2 - d3, d3 - d2]
    }

    fn exact(source: &Padded<'_>, (x, y): (isize, isize), (dx, dy): (f64, f64)) -> Quad {
        let cubic = |[v1, v2, v3, v4]: [[f64; 4]; 4], d: f64| -> [f64; 4] {
            std::array::from_fn(|c| {
                let p2 = -v1[c] + v3[c];
                let p3 = 2.0 * (v1[c] - v2[c]) + v3[c] - v4[c];
                let p4 = -v1[c] + v2[c] - v3[c] + v4[c];
                v2[c] + d * (p2 + d * (p3 + d * p4))
            })
        };
        let across = |y: isize| cubic(source.row::<4>(x - 1, y).map(|p| p.map(f64::from)), dx);
        cubic([across(y - 1), across(y), across(y + 1), across(y + 2)], dy).map(|v| v as u8)
    }
}
