//! Affine transforms: every output pixel looks up where it comes from.
//!
//! The arithmetic (order of float operations, fixed point of nearest rotation, truncation) is that of
//! Pillow, so that the bytes are.

use super::canvas::Canvas;

/// How values between pixels are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Resample {
    /// The pixel that the position falls into.
    Nearest,
    /// Linear between 2x2 pixels.
    Bilinear,
    /// Cubic (a = -1) over 4x4 pixels.
    Bicubic,
}

/// (a, b, c, d, e, f): output pixel (x, y) reads the input at
/// (a(x+.5) + b(y+.5) + c, d(x+.5) + e(y+.5) + f).
pub(super) type Matrix = [f64; 6];

/// The matrix of a rotation by `degrees`, counter-clockwise about the centre.
pub(super) fn rotation(degrees: f64, height: usize, width: usize) -> Matrix {
    let angle = -(degrees.rem_euclid(360.0)).to_radians();
    let (cos, sin) = (to_15_decimals(angle.cos()), to_15_decimals(angle.sin()));
    let (x, y) = (width as f64 / 2.0, height as f64 / 2.0);
    [cos, sin, cos * -x + sin * -y + x, -sin, cos, -sin * -x + cos * -y + y]
}

/// Rounded to 15 decimals, half to even on the exact value, as Python's `round(v, 15)`.
fn to_15_decimals(v: f64) -> f64 {
    use std::io::Write as _;
    let mut text = [0u8; 32];
    let mut rest = &mut text[..];
    let written = write!(rest, "{v:.15}").map(|()| 32 - rest.len());
    let digits = written.ok().and_then(|n| std::str::from_utf8(&text[..n]).ok());
    digits.and_then(|t| t.parse().ok()).unwrap_or(v)
}

/// Transforms the image in place; what falls outside is `fill`.
pub(super) fn transform(canvas: &mut Canvas, matrix: &Matrix, resample: Resample, fill: [u8; 3]) {
    match resample {
        Resample::Nearest if matrix[1] == 0.0 && matrix[3] == 0.0 => scale(canvas, matrix, fill),
        Resample::Nearest => nearest(canvas, matrix, fill),
        Resample::Bilinear => interpolate::<Bilinear>(canvas, matrix, fill),
        Resample::Bicubic => interpolate::<Bicubic>(canvas, matrix, fill),
    }
}

/// Nearest without rotation or shear: rows and columns are looked up separately.
fn scale(canvas: &mut Canvas, m: &Matrix, fill: [u8; 3]) {
    let (height, width) = (canvas.height, canvas.width);
    // Positions are added up step by step, as the rounding of the sum is part of the result.
    let index = |start: f64, step: f64, i: usize, side: usize| {
        let position = (0..i).fold(start, |p, _| p + step);
        (position >= 0.0 && position < side as f64).then_some(position as usize)
    };
    let (x0, y0) = (m[2] + m[0] * 0.5, m[5] + m[4] * 0.5);
    canvas.replace(|from, to| {
        for (y, row) in to.chunks_exact_mut(width * 3).enumerate() {
            let Some(from_y) = index(y0, m[4], y, height) else {
                row.chunks_exact_mut(3).for_each(|p| p.copy_from_slice(&fill));
                continue;
            };
            let from_row = &from[from_y * width * 3..(from_y + 1) * width * 3];
            let mut position = x0;
            for pixel in row.chunks_exact_mut(3) {
                let inside = position >= 0.0 && position < width as f64;
                let at = position as usize * 3;
                pixel.copy_from_slice(if inside { &from_row[at..at + 3] } else { &fill });
                position += m[0];
            }
        }
    });
}

/// Nearest in 16.16 fixed point.
fn nearest(canvas: &mut Canvas, m: &Matrix, fill: [u8; 3]) {
    let (height, width) = (canvas.height as i64, canvas.width as i64);
    let fix = |v: f64| (v * 65536.0 + 0.5).floor() as i64;
    let (dx, dy) = ((fix(m[0]), fix(m[3])), (fix(m[1]), fix(m[4])));
    let mut start = (fix(m[2] + m[0] * 0.5 + m[1] * 0.5), fix(m[5] + m[3] * 0.5 + m[4] * 0.5));
    let row = canvas.width * 3;
    canvas.replace(|from, to| {
        for line in to.chunks_exact_mut(row) {
            let (mut x, mut y) = start;
            for pixel in line.chunks_exact_mut(3) {
                let (from_x, from_y) = (x >> 16, y >> 16);
                if (0..width).contains(&from_x) && (0..height).contains(&from_y) {
                    let at = (from_y * width + from_x) as usize * 3;
                    pixel.copy_from_slice(&from[at..at + 3]);
                } else {
                    pixel.copy_from_slice(&fill);
                }
                x += dx.0;
                y += dx.1;
            }
            start.0 += dy.0;
            start.1 += dy.1;
        }
    });
}

/// The source image as floats, with a fourth, unused lane per pixel.
struct Quads<'a> {
    pixels: &'a [[f32; 4]],
    height: usize,
    width: usize,
}

impl Quads<'_> {
    /// `N` horizontal neighbours from column `x` of row `y` on, both clamped to the image.
    #[inline(always)]
    fn row<const N: usize>(&self, x: isize, y: isize) -> [[f32; 4]; N] {
        let y = y.clamp(0, self.height as isize - 1) as usize;
        let row = &self.pixels[y * self.width..(y + 1) * self.width];
        let inside = usize::try_from(x).ok().and_then(|x| row.get(x..x + N));
        match inside.and_then(<[[f32; 4]]>::first_chunk::<N>) {
            Some(run) => *run,
            None => {
                let last = self.width as isize - 1;
                std::array::from_fn(|i| row[(x + i as isize).clamp(0, last) as usize])
            }
        }
    }
}

/// How a value between pixels is made of its neighbours.
trait Kernel {
    /// In float32: off by less than [`MARGIN`].
    fn near(source: &Quads<'_>, at: (isize, isize), part: (f32, f32)) -> [f32; 4];

    /// In float64, in Pillow's order of operations.
    fn exact(source: &Quads<'_>, at: (isize, isize), part: (f64, f64)) -> [u8; 4];
}

/// Bound on the error of float32: about twenty roundings of values below 600.
const MARGIN: f32 = 2e-3;

/// The byte that `value` is truncated to, unless it is so near to an integer that rounding decides.
#[inline(always)]
fn certain(value: f32) -> Option<u8> {
    let inside = value.clamp(0.0, 255.0);
    let whole = inside as i32;
    let rest = inside - whole as f32;
    let between = rest > MARGIN && rest < 1.0 - MARGIN;
    let outside = !(-MARGIN..=255.0 + MARGIN).contains(&value);
    (between || outside).then_some(whole as u8)
}

/// Looks up every output pixel whose position falls into the image. Nearly all are decided in
/// float32; those that are not are computed again as Pillow does.
#[inline(always)]
fn interpolate<K: Kernel>(canvas: &mut Canvas, m: &Matrix, fill: [u8; 3]) {
    let (height, width) = (canvas.height, canvas.width);
    let float = |p: &[u8]| [f32::from(p[0]), f32::from(p[1]), f32::from(p[2]), 0.0];
    canvas.quads.clear();
    canvas.quads.extend(canvas.pixels.chunks_exact(3).map(float));
    let source = Quads { pixels: &canvas.quads, height, width };
    for (y, row) in canvas.pixels.chunks_exact_mut(width * 3).enumerate() {
        let from_y = y as f64 + 0.5;
        for (x, pixel) in row.chunks_exact_mut(3).enumerate() {
            let from_x = x as f64 + 0.5;
            let at_x = m[0] * from_x + m[1] * from_y + m[2];
            let at_y = m[3] * from_x + m[4] * from_y + m[5];
            let inside = at_x >= 0.0 && at_x < width as f64 && at_y >= 0.0 && at_y < height as f64;
            if !inside {
                pixel.copy_from_slice(&fill);
                continue;
            }
            let (at_x, at_y) = (at_x - 0.5, at_y - 0.5);
            // Both are at least -0.5: adding 1 makes truncation the floor.
            let whole = ((at_x + 1.0) as i32 - 1, (at_y + 1.0) as i32 - 1);
            let part = (at_x - f64::from(whole.0), at_y - f64::from(whole.1));
            let whole = (whole.0 as isize, whole.1 as isize);
            let [r, g, b, _] = K::near(&source, whole, (part.0 as f32, part.1 as f32));
            let bytes = match (certain(r), certain(g), certain(b)) {
                (Some(r), Some(g), Some(b)) => [r, g, b],
                _ => {
                    let [r, g, b, _] = K::exact(&source, whole, part);
                    [r, g, b]
                }
            };
            pixel.copy_from_slice(&bytes);
        }
    }
}

struct Bilinear;

impl Kernel for Bilinear {
    #[inline(always)]
    fn near(source: &Quads<'_>, (x, y): (isize, isize), (dx, dy): (f32, f32)) -> [f32; 4] {
        let across = |[a, b]: [[f32; 4]; 2]| -> [f32; 4] {
            std::array::from_fn(|c| a[c] + (b[c] - a[c]) * dx)
        };
        let (above, below) = (across(source.row(x, y)), across(source.row(x, y + 1)));
        std::array::from_fn(|c| above[c] + (below[c] - above[c]) * dy)
    }

    fn exact(source: &Quads<'_>, (x, y): (isize, isize), (dx, dy): (f64, f64)) -> [u8; 4] {
        let across = |[a, b]: [[f32; 4]; 2]| -> [f64; 4] {
            std::array::from_fn(|c| f64::from(a[c]) + f64::from(b[c] - a[c]) * dx)
        };
        let (above, below) = (across(source.row(x, y)), across(source.row(x, y + 1)));
        std::array::from_fn(|c| (above[c] + (below[c] - above[c]) * dy) as u8)
    }
}

struct Bicubic;

impl Kernel for Bicubic {
    #[inline(always)]
    fn near(source: &Quads<'_>, (x, y): (isize, isize), (dx, dy): (f32, f32)) -> [f32; 4] {
        let (across, down) = (cubic_weights(dx), cubic_weights(dy));
        let mut sum = [0.0; 4];
        for (line, weight) in down.into_iter().enumerate() {
            let taps = source.row::<4>(x - 1, y - 1 + line as isize);
            let row: [f32; 4] = std::array::from_fn(|c| {
                taps[0][c] * across[0]
                    + taps[1][c] * across[1]
                    + taps[2][c] * across[2]
                    + taps[3][c] * across[3]
            });
            sum = std::array::from_fn(|c| sum[c] + row[c] * weight);
        }
        sum
    }

    fn exact(source: &Quads<'_>, (x, y): (isize, isize), (dx, dy): (f64, f64)) -> [u8; 4] {
        let across = |y: isize| -> [f64; 4] {
            let [v1, v2, v3, v4] = source.row::<4>(x - 1, y);
            // Integers up to here: no rounding, whatever the order.
            std::array::from_fn(|c| {
                let p2 = f64::from(v3[c] - v1[c]);
                let p3 = f64::from(2.0 * (v1[c] - v2[c]) + v3[c] - v4[c]);
                let p4 = f64::from(v2[c] - v1[c] - v3[c] + v4[c]);
                f64::from(v2[c]) + dx * (p2 + dx * (p3 + dx * p4))
            })
        };
        let [v1, v2, v3, v4] = [across(y - 1), across(y), across(y + 1), across(y + 2)];
        std::array::from_fn(|c| {
            let p2 = -v1[c] + v3[c];
            let p3 = 2.0 * (v1[c] - v2[c]) + v3[c] - v4[c];
            let p4 = -v1[c] + v2[c] - v3[c] + v4[c];
            (v2[c] + dy * (p2 + dy * (p3 + dy * p4))) as u8
        })
    }
}

/// What the four neighbours weigh at distance `d` from the second one (a = -1).
#[inline(always)]
fn cubic_weights(d: f32) -> [f32; 4] {
    let (d2, d3) = (d * d, d * d * d);
    [2.0 * d2 - d - d3, 1.0 - 2.0 * d2 + d3, d + d2 - d3, d3 - d2]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::augment::ImageRef;

    fn canvas() -> Canvas {
        let pixels: Vec<u8> = (0..5 * 7 * 3).map(|v| (v * 37 % 251) as u8).collect();
        Canvas::of(ImageRef { pixels: &pixels, height: 5, width: 7, channels: 3 })
    }

    #[test]
    fn the_identity_changes_nothing() {
        for resample in [Resample::Nearest, Resample::Bilinear, Resample::Bicubic] {
            let mut changed = canvas();
            transform(&mut changed, &[1.0, 0.0, 0.0, 0.0, 1.0, 0.0], resample, [9; 3]);
            assert_eq!(changed.pixels, canvas().pixels, "{resample:?}");
        }
    }

    #[test]
    fn a_half_turn_reverses_the_pixels() {
        let mut turned = canvas();
        let matrix = rotation(180.0, 5, 7);
        transform(&mut turned, &matrix, Resample::Nearest, [9; 3]);
        let expected: Vec<u8> = canvas().pixels.chunks_exact(3).rev().flatten().copied().collect();
        assert_eq!(turned.pixels, expected);
    }

    #[test]
    fn decimals_are_rounded_as_python_does() {
        assert_eq!(to_15_decimals(0.866_025_403_784_438_6), 0.866_025_403_784_439);
        assert_eq!(to_15_decimals(1.0), 1.0);
        assert_eq!(to_15_decimals(6.123e-17), 0.0);
    }
}
