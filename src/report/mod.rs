//! Tables, figures and Markdown: results in, bytes out.
//!
//! Invariant: never touches a file, the clock or a network; fonts are embedded, so the same data
//! give the same bytes on every machine.

pub mod plot;
pub mod published;
pub mod sim;
mod table;
mod template;
#[cfg(feature = "train")]
pub mod training;

pub use plot::{
    axis::Axis,
    canvas::{Align, Canvas, Figure, Rendered, Rgb, colors, render},
    heatmap::{HeatMap, HeatPanel, sequential},
    lines::{Legend, Lines},
    series::{Mark, Panel, Series, Shape},
    sheet::{ContactSheet, Tile},
};
pub use table::{Table, aligned, interval, significant};
