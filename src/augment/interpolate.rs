//! Transforms that look between pixels: bilinear and bicubic.
//!
//! Pillow computes them in float64. Nearly every byte is settled in float32, whose error is bounded;
//! the others are computed again as Pillow does.

use super::affine::Matrix;
use super::canvas::{Canvas, Quad};
use super::point::INTEGER;
use super::wide::widest;

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
    // A shear or a translation stays in its row or in its column.
    let between = match (m[0], m[1], m[2], m[3], m[4], m[5]) {
        (_, _, _, 0.0, 1.0, 0.0) => Between::Columns,
        (1.0, 0.0, 0.0, _, _, _) => Between::Rows,
        _ => Between::Both,
    };
    let (height, width) = (canvas.height, canvas.width);
    let Canvas { pixels, spare, .. } = canvas;
    let source = Padded::of(pixels, (height, width), spare);
    match between {
        Between::Columns => rows::<N, K>(pixels, &source, m, fill, Between::Columns),
        Between::Rows => rows::<N, K>(pixels, &source, m, fill, Between::Rows),
        Between::Both => rows::<N, K>(pixels, &source, m, fill, Between::Both),
    }
}

/// Looks up every output pixel whose position falls into the image.
#[inline(always)]
fn rows<const N: usize, K: Kernel<N>>(
    out: &mut [Quad],
    source: &Padded<'_>,
    m: &Matrix,
    fill: Quad,
    between: Between,
) {
    let (height, width) = (source.height as f64, source.width as f64);
    for (y, row) in out.chunks_exact_mut(source.width).enumerate() {
        let from_y = y as f64 + 0.5;
        for (x, pixel) in row.iter_mut().enumerate() {
            let from_x = x as f64 + 0.5;
            let at_x = m[0] * from_x + m[1] * from_y + m[2];
            let at_y = m[3] * from_x + m[4] * from_y + m[5];
            let inside = at_x >= 0.0 && at_x < width && at_y >= 0.0 && at_y < height;
            if !inside {
                *pixel = fill;
                continue;
            }
            let (at_x, at_y) = (at_x - 0.5, at_y - 0.5);
            // Both are at least -0.5: adding 1 makes truncation the floor.
            let whole = ((at_x + 1.0) as i32 - 1, (at_y + 1.0) as i32 - 1);
            let part = (at_x - f64::from(whole.0), at_y - f64::from(whole.1));
            let whole = (whole.0 as isize, whole.1 as isize);
            let near = near::<N, K>(source, whole, (part.0 as f32, part.1 as f32), between);
            *pixel = certain(near).unwrap_or_else(|| K::exact(source, whole, part));
        }
    }
}

/// In float32: off by less than [`MARGIN`].
#[inline(always)]
fn near<const N: usize, K: Kernel<N>>(
    source: &Padded<'_>,
    (x, y): (isize, isize),
    (dx, dy): (f32, f32),
    between: Between,
) -> [f32; 4] {
    let before = N as isize / 2 - 1;
    let across = |y: isize| -> [f32; 4] {
        let (taps, weights) = (source.row::<N>(x - before, y), K::weights(dx));
        let mut sum = [0.0; 4];
        for k in 0..N {
            sum = std::array::from_fn(|c| sum[c] + f32::from(taps[k][c]) * weights[k]);
        }
        sum
    };
    if between == Between::Columns {
        return across(y);
    }
    let mut sum = [0.0; 4];
    for (line, weight) in K::weights(dy).into_iter().enumerate() {
        let y = y - before + line as isize;
        sum = match between {
            Between::Rows => {
                let [tap] = source.row::<1>(x, y);
                std::array::from_fn(|c| sum[c] + f32::from(tap[c]) * weight)
            }
            _ => {
                let value = across(y);
                std::array::from_fn(|c| sum[c] + value[c] * weight)
            }
        };
    }
    sum
}

/// Bound on the error of float32: about twenty roundings of values below 600.
const MARGIN: f32 = 2e-3;

/// The bytes that `values` are truncated to, unless one is so near to an integer that rounding decides.
#[inline(always)]
fn certain(values: [f32; 4]) -> Option<Quad> {
    // Half below, so that rounding truncates. What is beyond 0 and 255 is certain once clipped.
    let clipped = values.map(|v| {
        let v = v - 0.5;
        let v = if v > 0.0 { v } else { 0.0 };
        if v < 255.0 { v } else { 255.0 }
    });
    let rounded = clipped.map(|v| v + INTEGER);
    let off: [f32; 4] = std::array::from_fn(|c| (clipped[c] - (rounded[c] - INTEGER)).abs());
    let unsure = off.map(|off| off > 0.5 - MARGIN);
    if unsure[0] | unsure[1] | unsure[2] | unsure[3] {
        return None;
    }
    Some(rounded.map(|v| v.to_bits() as u8))
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

    /// `N` horizontal neighbours from column `x` of row `y` on; neither further outside than the padding.
    #[inline(always)]
    fn row<const N: usize>(&self, x: isize, y: isize) -> &[Quad; N] {
        let shifted = |at: isize| (at + PADDING as isize) as usize;
        let at = shifted(y) * (self.width + 2 * PADDING) + shifted(x);
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

    #[cold]
    #[inline(never)]
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

    #[cold]
    #[inline(never)]
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
