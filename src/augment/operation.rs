use super::affine::{self, Resample};
use super::canvas::Canvas;
use super::interpolate::Matrix;
use super::{colour, point};

/// One image operation with all its arguments; byte for byte what Pillow computes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Operation {
    /// Stretches each channel to 0..=255.
    AutoContrast,
    /// Evens out each channel's histogram.
    Equalize,
    /// 255 - v.
    Invert,
    /// Keeps so many highest bits per value (0: black, see the README of the reference values).
    Posterize(u8),
    /// Inverts values not below the threshold.
    Solarize(f64),
    /// Adds this to values below 128, at most up to 255.
    SolarizeAdd(i32),
    /// Blends with the luma: factor 0 grey, 1 unchanged, above 1 more colourful.
    Color(f64),
    /// Blends with the mean luma.
    Contrast(f64),
    /// Blends with black.
    Brightness(f64),
    /// Blends with the smoothed image.
    Sharpness(f64),
    /// Three equal channels of luma.
    Grayscale,
    /// Rotates counter-clockwise about the centre, degrees.
    Rotate(f64, Resample),
    /// x' = x + factor * y (in pixels, measured from the top left corner).
    ShearX(f64, Resample),
    /// y' = y + factor * x.
    ShearY(f64, Resample),
    /// Reads each pixel this share of the width further right.
    TranslateX(f64, Resample),
    /// Reads each pixel this share of the height further down.
    TranslateY(f64, Resample),
}

impl Operation {
    /// Changes the image; what comes from outside it is `fill`.
    pub fn apply(&self, canvas: &mut Canvas, fill: [u8; 3]) {
        let (height, width) = (canvas.height, canvas.width);
        let pixels = &mut canvas.pixels[..];
        // Pillow takes factors as C floats.
        match *self {
            Self::AutoContrast => point::autocontrast(pixels),
            Self::Equalize => point::equalize(pixels),
            Self::Invert => point::invert(pixels.as_flattened_mut()),
            Self::Posterize(bits) => point::posterize(pixels.as_flattened_mut(), bits),
            Self::Solarize(threshold) => point::solarize(pixels.as_flattened_mut(), threshold),
            Self::SolarizeAdd(add) => point::solarize_add(pixels.as_flattened_mut(), add, 128),
            Self::Color(factor) => colour::saturation(pixels, factor as f32),
            Self::Contrast(factor) => point::contrast(pixels, factor as f32),
            Self::Brightness(factor) => point::blend_with(pixels, 0, factor as f32),
            Self::Sharpness(factor) => colour::sharpness(canvas, factor as f32),
            Self::Grayscale => colour::grayscale(pixels),
            // Pillow copies the image when there is nothing to turn.
            Self::Rotate(degrees, _) if degrees.rem_euclid(360.0) == 0.0 => {}
            Self::Rotate(degrees, resample) => {
                let matrix = affine::rotation(degrees, height, width);
                affine::transform(canvas, &matrix, resample, fill);
            }
            Self::ShearX(factor, r) => shift(canvas, [1.0, factor, 0.0, 0.0, 1.0, 0.0], r, fill),
            Self::ShearY(factor, r) => shift(canvas, [1.0, 0.0, 0.0, factor, 1.0, 0.0], r, fill),
            Self::TranslateX(share, r) => {
                shift(canvas, [1.0, 0.0, share * width as f64, 0.0, 1.0, 0.0], r, fill);
            }
            Self::TranslateY(share, r) => {
                shift(canvas, [1.0, 0.0, 0.0, 0.0, 1.0, share * height as f64], r, fill);
            }
        }
    }
}

fn shift(canvas: &mut Canvas, matrix: Matrix, resample: Resample, fill: [u8; 3]) {
    affine::transform(canvas, &matrix, resample, fill);
}
