//! Image operations, byte for byte as Pillow computes them, and the policies that choose among them.
//!
//! Invariant: no I/O, no ambient randomness: pixels and a generator in, pixels out. Images are rows of
//! bytes, channels last, until the last moment.

pub mod geometry;
mod normalize;
mod pipeline;

pub use normalize::{Layout, Normalize};
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
