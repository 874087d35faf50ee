//! The CIFAR-10 policy of AutoAugment (Cubuk et al. 2019) as the reference applies it.

use rand::RngExt as _;

use super::affine::Resample;
use super::canvas::Canvas;
use super::operation::Operation;
use crate::rng::Rng;

/// Grey that fills what comes from outside the image.
pub const FILL: [u8; 3] = [128; 3];

/// The operations of the policy, before a strength and a sign are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AutoOperation {
    /// Bicubic shear.
    ShearX,
    /// Bicubic shear.
    ShearY,
    /// Nearest translation.
    TranslateX,
    /// Nearest translation.
    TranslateY,
    /// Nearest rotation, counter-clockwise only.
    Rotate,
    /// Saturation.
    Color,
    /// Fewer bits.
    Posterize,
    /// Inverts bright values.
    Solarize,
    /// Contrast.
    Contrast,
    /// Sharpness.
    Sharpness,
    /// Brightness.
    Brightness,
    /// Stretched histogram.
    AutoContrast,
    /// Even histogram.
    Equalize,
    /// Negative.
    Invert,
}

use AutoOperation as Op;

/// One step of a sub-policy: how often, what, how strongly (index 0..=9).
pub type Step = (f64, AutoOperation, u8);

/// The 25 sub-policies: two steps each, one pair drawn per view.
pub const POLICY: [[Step; 2]; 25] = [
    [(0.1, Op::Invert, 7), (0.2, Op::Contrast, 6)],
    [(0.7, Op::Rotate, 2), (0.3, Op::TranslateX, 9)],
    [(0.8, Op::Sharpness, 1), (0.9, Op::Sharpness, 3)],
    [(0.5, Op::ShearY, 8), (0.7, Op::TranslateY, 9)],
    [(0.5, Op::AutoContrast, 8), (0.9, Op::Equalize, 2)],
    [(0.2, Op::ShearY, 7), (0.3, Op::Posterize, 7)],
    [(0.4, Op::Color, 3), (0.6, Op::Brightness, 7)],
    [(0.3, Op::Sharpness, 9), (0.7, Op::Brightness, 9)],
    [(0.6, Op::Equalize, 5), (0.5, Op::Equalize, 1)],
    [(0.6, Op::Contrast, 7), (0.6, Op::Sharpness, 5)],
    [(0.7, Op::Color, 7), (0.5, Op::TranslateX, 8)],
    [(0.3, Op::Equalize, 7), (0.4, Op::AutoContrast, 8)],
    [(0.4, Op::TranslateY, 3), (0.2, Op::Sharpness, 6)],
    [(0.9, Op::Brightness, 6), (0.2, Op::Color, 8)],
    [(0.5, Op::Solarize, 2), (0.0, Op::Invert, 3)],
    [(0.2, Op::Equalize, 0), (0.6, Op::AutoContrast, 0)],
    [(0.2, Op::Equalize, 8), (0.6, Op::Equalize, 4)],
    [(0.9, Op::Color, 9), (0.6, Op::Equalize, 6)],
    [(0.8, Op::AutoContrast, 4), (0.2, Op::Solarize, 8)],
    [(0.1, Op::Brightness, 3), (0.7, Op::Color, 0)],
    [(0.4, Op::Solarize, 5), (0.9, Op::AutoContrast, 3)],
    [(0.9, Op::TranslateY, 9), (0.7, Op::TranslateY, 9)],
    [(0.9, Op::AutoContrast, 2), (0.8, Op::Solarize, 3)],
    [(0.8, Op::Equalize, 8), (0.1, Op::Invert, 3)],
    [(0.7, Op::TranslateY, 9), (0.9, Op::AutoContrast, 1)],
];

impl AutoOperation {
    /// All operations, in the order of the paper's table.
    pub const ALL: [Self; 14] = [
        Op::ShearX,
        Op::ShearY,
        Op::TranslateX,
        Op::TranslateY,
        Op::Rotate,
        Op::Color,
        Op::Posterize,
        Op::Solarize,
        Op::Contrast,
        Op::Sharpness,
        Op::Brightness,
        Op::AutoContrast,
        Op::Equalize,
        Op::Invert,
    ];

    /// The name in the reference code.
    pub fn name(self) -> &'static str {
        match self {
            Op::ShearX => "shearX",
            Op::ShearY => "shearY",
            Op::TranslateX => "translateX",
            Op::TranslateY => "translateY",
            Op::Rotate => "rotate",
            Op::Color => "color",
            Op::Posterize => "posterize",
            Op::Solarize => "solarize",
            Op::Contrast => "contrast",
            Op::Sharpness => "sharpness",
            Op::Brightness => "brightness",
            Op::AutoContrast => "autocontrast",
            Op::Equalize => "equalize",
            Op::Invert => "invert",
        }
    }

    /// The strength at `index` 0..=9: evenly spaced between the ends of the operation's range.
    pub fn magnitude(self, index: u8) -> f64 {
        let (from, to) = match self {
            Op::ShearX | Op::ShearY => (0.0, 0.3),
            Op::TranslateX | Op::TranslateY => (0.0, 150.0 / 331.0),
            Op::Rotate => (0.0, 30.0),
            Op::Color | Op::Contrast | Op::Sharpness | Op::Brightness => (0.0, 0.9),
            Op::Posterize => (8.0, 4.0),
            Op::Solarize => (256.0, 0.0),
            Op::AutoContrast | Op::Equalize | Op::Invert => (0.0, 0.0),
        };
        // As numpy.linspace(from, to, 10) rounds.
        let value = if index >= 9 { to } else { f64::from(index) * ((to - from) / 9.0) + from };
        if self == Op::Posterize { value.round_ties_even() } else { value }
    }

    /// True for operations whose strength gets a random sign.
    pub fn is_signed(self) -> bool {
        use AutoOperation as A;
        matches!(
            self,
            A::ShearX
                | A::ShearY
                | A::TranslateX
                | A::TranslateY
                | A::Color
                | A::Contrast
                | A::Sharpness
                | A::Brightness
        )
    }

    /// The operation at this strength; `sign` is 1 or -1 and only used by signed operations.
    pub fn with(self, magnitude: f64, sign: f64) -> Operation {
        let factor = 1.0 + magnitude * sign;
        match self {
            Op::ShearX => Operation::ShearX(magnitude * sign, Resample::Bicubic),
            Op::ShearY => Operation::ShearY(magnitude * sign, Resample::Bicubic),
            Op::TranslateX => Operation::TranslateX(magnitude * sign, Resample::Nearest),
            Op::TranslateY => Operation::TranslateY(magnitude * sign, Resample::Nearest),
            Op::Rotate => Operation::Rotate(magnitude, Resample::Nearest),
            Op::Color => Operation::Color(factor),
            Op::Posterize => Operation::Posterize(magnitude as u8),
            Op::Solarize => Operation::Solarize(magnitude),
            Op::Contrast => Operation::Contrast(factor),
            Op::Sharpness => Operation::Sharpness(factor),
            Op::Brightness => Operation::Brightness(factor),
            Op::AutoContrast => Operation::AutoContrast,
            Op::Equalize => Operation::Equalize,
            Op::Invert => Operation::Invert,
        }
    }
}

/// Draws a sub-policy and its signs: the operations that this view really gets.
pub fn draw(rng: &mut Rng) -> [Option<Operation>; 2] {
    let steps = &POLICY[rng.random_range(0..POLICY.len())];
    steps.map(|(probability, operation, index)| {
        if rng.random::<f64>() >= probability {
            return None;
        }
        let sign = if operation.is_signed() && rng.random_bool(0.5) { -1.0 } else { 1.0 };
        Some(operation.with(operation.magnitude(index), sign))
    })
}

/// Draws and applies.
pub fn apply(canvas: &mut Canvas, rng: &mut Rng) {
    for operation in draw(rng).into_iter().flatten() {
        operation.apply(canvas, FILL);
    }
}
