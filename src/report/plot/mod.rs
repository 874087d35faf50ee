//! Drawing: the canvas of PNG and SVG, axes, frames, lines, heat maps, contact sheets.

pub(crate) mod axis;
pub(crate) mod canvas;
pub(crate) mod frame;
pub(crate) mod heatmap;
pub(crate) mod lines;
pub(crate) mod series;
pub(crate) mod sheet;
