//! The pixel that operations work on, and what they keep from image to image so as to take no memory.

/// A pixel: red, green, blue and a byte without meaning, so that a pixel is one 32-bit lane.
pub(super) type Quad = [u8; 4];

/// Rows that are resized across at a time: their pixels stand side by side, so that across is the same
/// work as down.
pub(super) const BAND: usize = 16;

/// One output row in the making, a buffer per step: each step is a plain loop over the columns.
#[derive(Debug, Clone, Default)]
pub(super) struct Lines {
    /// Where in the padded source the neighbours begin.
    pub(super) first: Vec<u32>,
    /// How far the position is from the neighbour before, along the row and down.
    pub(super) part: [Vec<f32>; 2],
    pub(super) near: Vec<[f32; 4]>,
    pub(super) unsure: Vec<Quad>,
}

/// Weights of one direction: for each output position where its window begins, and its weights.
#[derive(Debug, Clone, Default)]
pub(super) struct Axis {
    pub(super) starts: Vec<(usize, usize)>,
    pub(super) weights: Vec<i32>,
    pub(super) window: usize,
    pub(super) exact: Vec<f64>,
}

/// Buffers for resizing, kept between images.
#[derive(Debug, Clone, Default)]
pub(super) struct Plan {
    pub(super) columns: Axis,
    pub(super) rows: Axis,
    pub(super) between: Vec<Quad>,
    pub(super) bands: Bands,
}

/// Rows that are resized across together.
#[derive(Debug, Clone, Default)]
pub(super) struct Bands {
    /// One row of a band.
    pub(super) line: Vec<Quad>,
    /// For each column the pixels of all rows of the band.
    pub(super) band: Vec<[Quad; BAND]>,
}
