//! RandAugment (Cubuk et al. 2020) with the 15 operations and settings of the reference's ImageNet
//! pipeline.

use rand::RngExt as _;
use rand_distr::Distribution as _;

use super::affine::Resample;
use super::canvas::Canvas;
use super::operation::Operation;
use crate::rng::Rng;
use crate::{Error, Result};

/// Fill of the reference: ImageNet's mean colour.
pub const FILL: [u8; 3] = [124, 116, 104];

/// The largest level.
const TOP: f64 = 10.0;

/// The operations, before a level is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "each is documented at the Operation of the same name")]
pub enum RandOperation {
    AutoContrast,
    Equalize,
    Invert,
    Rotate,
    Posterize,
    Solarize,
    SolarizeAdd,
    Color,
    Contrast,
    Brightness,
    Sharpness,
    ShearX,
    ShearY,
    TranslateX,
    TranslateY,
}

use RandOperation as Op;

impl RandOperation {
    /// All, in the order of the reference's list.
    pub const ALL: [Self; 15] = [
        Op::AutoContrast,
        Op::Equalize,
        Op::Invert,
        Op::Rotate,
        Op::Posterize,
        Op::Solarize,
        Op::SolarizeAdd,
        Op::Color,
        Op::Contrast,
        Op::Brightness,
        Op::Sharpness,
        Op::ShearX,
        Op::ShearY,
        Op::TranslateX,
        Op::TranslateY,
    ];

    /// The name in the reference code.
    pub fn name(self) -> &'static str {
        match self {
            Op::AutoContrast => "AutoContrast",
            Op::Equalize => "Equalize",
            Op::Invert => "Invert",
            Op::Rotate => "Rotate",
            Op::Posterize => "PosterizeTpu",
            Op::Solarize => "Solarize",
            Op::SolarizeAdd => "SolarizeAdd",
            Op::Color => "Color",
            Op::Contrast => "Contrast",
            Op::Brightness => "Brightness",
            Op::Sharpness => "Sharpness",
            Op::ShearX => "ShearX",
            Op::ShearY => "ShearY",
            Op::TranslateX => "TranslateXRel",
            Op::TranslateY => "TranslateYRel",
        }
    }

    /// True for operations whose argument gets a random sign.
    pub fn is_signed(self) -> bool {
        matches!(self, Op::Rotate | Op::ShearX | Op::ShearY | Op::TranslateX | Op::TranslateY)
    }

    /// The argument at `level` 0..=10 (degrees, factors, bits, thresholds), without its sign; `None`
    /// for operations that have none.
    pub fn argument(self, level: f64) -> Option<f64> {
        let share = level / TOP;
        match self {
            Op::AutoContrast | Op::Equalize | Op::Invert => None,
            Op::Rotate => Some(share * 30.0),
            Op::Posterize => Some((share * 4.0).trunc()),
            Op::Solarize => Some((share * 256.0).trunc()),
            Op::SolarizeAdd => Some((share * 110.0).trunc()),
            Op::Color | Op::Contrast | Op::Brightness | Op::Sharpness => Some(share * 1.8 + 0.1),
            Op::ShearX | Op::ShearY => Some(share * 0.3),
            Op::TranslateX | Op::TranslateY => Some(share * 0.45),
        }
    }

    /// The operation with this argument (ignored where there is none).
    pub fn with(self, argument: f64, resample: Resample) -> Operation {
        match self {
            Op::AutoContrast => Operation::AutoContrast,
            Op::Equalize => Operation::Equalize,
            Op::Invert => Operation::Invert,
            Op::Rotate => Operation::Rotate(argument, resample),
            Op::Posterize => Operation::Posterize(argument as u8),
            Op::Solarize => Operation::Solarize(argument),
            Op::SolarizeAdd => Operation::SolarizeAdd(argument as i32),
            Op::Color => Operation::Color(argument),
            Op::Contrast => Operation::Contrast(argument),
            Op::Brightness => Operation::Brightness(argument),
            Op::Sharpness => Operation::Sharpness(argument),
            Op::ShearX => Operation::ShearX(argument, resample),
            Op::ShearY => Operation::ShearY(argument, resample),
            Op::TranslateX => Operation::TranslateX(argument, resample),
            Op::TranslateY => Operation::TranslateY(argument, resample),
        }
    }
}

/// How many operations, and how strong.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RandAugment {
    operations: usize,
    levels: rand_distr::Normal<f64>,
}

impl RandAugment {
    /// n = 2, m = 10, standard deviation of m 0.5 (METHOD section 6).
    pub fn reference() -> Self {
        let levels = rand_distr::Normal::new(10.0, 0.5).expect("finite, positive");
        Self { operations: 2, levels }
    }

    /// `operations` per view (each applied with probability one half), levels drawn from a normal
    /// distribution and clipped to 0..=10.
    ///
    /// # Errors
    /// [`Error::Input`] unless 0 <= `level` <= 10 and `deviation` is finite and not negative.
    pub fn new(operations: usize, level: f64, deviation: f64) -> Result<Self> {
        match rand_distr::Normal::new(level, deviation) {
            Ok(levels) if (0.0..=TOP).contains(&level) && deviation >= 0.0 => {
                Ok(Self { operations, levels })
            }
            _ => Err(Error::input(format!(
                "RandAugment level {level} with deviation {deviation}: expected 0..=10 and not negative"
            ))),
        }
    }

    /// Draws one operation, or none (probability one half).
    pub fn draw(&self, rng: &mut Rng) -> Option<Operation> {
        let operation = Op::ALL[rng.random_range(0..Op::ALL.len())];
        if !rng.random_bool(0.5) {
            return None;
        }
        let level = self.levels.sample(rng).clamp(0.0, TOP);
        let sign = if operation.is_signed() && rng.random_bool(0.5) { -1.0 } else { 1.0 };
        let cubic = operation.is_signed() && rng.random_bool(0.5);
        let resample = if cubic { Resample::Bicubic } else { Resample::Bilinear };
        Some(operation.with(operation.argument(level).unwrap_or(0.0) * sign, resample))
    }

    /// Draws and applies.
    pub fn apply(&self, canvas: &mut Canvas, rng: &mut Rng) {
        for _ in 0..self.operations {
            if let Some(operation) = self.draw(rng) {
                operation.apply(canvas, FILL);
            }
        }
    }
}
