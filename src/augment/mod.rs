//! Image operations, byte for byte as Pillow computes them, and the policies that choose among them.
//!
//! Invariant: no I/O, no ambient randomness: pixels and a generator in, pixels out. Images are rows of
//! bytes, channels last, until the last moment.

mod affine;
pub mod auto;
mod buffers;
mod canvas;
mod colour;
pub mod geometry;
mod interpolate;
mod large;
mod mixup;
mod normalize;
mod operation;
mod pipeline;
mod point;
pub mod rand_augment;
pub mod resize;
mod wide;

pub use affine::Resample;
pub use canvas::Canvas;
pub use large::{Jitter, LargeImages, ResizedCrop};
pub use mixup::{Mixup, MixupDraw};
pub use normalize::{Layout, Normalize};
pub use operation::Operation;
pub use pipeline::{Pipeline, Scratch, SmallImages};

/// A borrowed image: height * width * channels bytes, channels last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImageRef<'a> {
    /// The bytes.
    pub pixels: &'a [u8],
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// 1 (grey) or 3 (RGB).
    pub channels: usize,
}
