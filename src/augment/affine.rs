//! Affine transforms: every output pixel looks up where it comes from.
//!
//! The arithmetic (order of float operations, fixed point of nearest rotation, truncation) is that of
//! Pillow, so that the bytes are.

use super::buffers::Quad;
use super::canvas::Canvas;
use super::interpolate::{self, Matrix};

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
pub(super) fn transform(
    canvas: &mut Canvas,
    matrix: &Matrix,
    resample: Resample,
    [r, g, b]: [u8; 3],
) {
    let fill = [r, g, b, 0];
    match resample {
        Resample::Nearest if matrix[1] == 0.0 && matrix[3] == 0.0 => scale(canvas, matrix, fill),
        Resample::Nearest => nearest(canvas, matrix, fill),
        Resample::Bilinear => interpolate::bilinear(canvas, matrix, fill),
        Resample::Bicubic => interpolate::bicubic(canvas, matrix, fill),
    }
}

/// Nearest without rotation or shear: rows and columns are looked up separately.
fn scale(canvas: &mut Canvas, m: &Matrix, fill: Quad) {
    let (height, width) = (canvas.height, canvas.width);
    // Positions are added up step by step, as the rounding of the sum is part of the result.
    let mut from_y = m[5] + m[4] * 0.5;
    canvas.replace(|from, to| {
        for row in to.chunks_exact_mut(width) {
            if from_y >= 0.0 && from_y < height as f64 {
                let from_row = &from[from_y as usize * width..][..width];
                let mut from_x = m[2] + m[0] * 0.5;
                for pixel in row {
                    let inside = from_x >= 0.0 && from_x < width as f64;
                    *pixel = if inside { from_row[from_x as usize] } else { fill };
                    from_x += m[0];
                }
            } else {
                row.fill(fill);
            }
            from_y += m[4];
        }
    });
}

/// Nearest in 16.16 fixed point.
fn nearest(canvas: &mut Canvas, m: &Matrix, fill: Quad) {
    let (height, width) = (canvas.height as i64, canvas.width as i64);
    let fix = |v: f64| (v * 65536.0 + 0.5).floor() as i64;
    let (dx, dy) = ((fix(m[0]), fix(m[3])), (fix(m[1]), fix(m[4])));
    let mut start = (fix(m[2] + m[0] * 0.5 + m[1] * 0.5), fix(m[5] + m[3] * 0.5 + m[4] * 0.5));
    let row = canvas.width;
    canvas.replace(|from, to| {
        for line in to.chunks_exact_mut(row) {
            let (mut x, mut y) = start;
            for pixel in line {
                let (from_x, from_y) = (x >> 16, y >> 16);
                let inside = (0..width).contains(&from_x) && (0..height).contains(&from_y);
                *pixel = if inside { from[(from_y * width + from_x) as usize] } else { fill };
                x += dx.0;
                y += dx.1;
            }
            start.0 += dy.0;
            start.1 += dy.1;
        }
    });
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
        let expected: Vec<Quad> = canvas().pixels.into_iter().rev().collect();
        assert_eq!(turned.pixels, expected);
    }

    #[test]
    fn decimals_are_rounded_as_python_does() {
        assert_eq!(to_15_decimals(0.866_025_403_784_438_6), 0.866_025_403_784_439);
        assert_eq!(to_15_decimals(1.0), 1.0);
        assert_eq!(to_15_decimals(6.123e-17), 0.0);
    }
}
