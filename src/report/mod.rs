//! Tables, figures and Markdown: results in, bytes out.
//!
//! Invariant: never touches a file, the clock or a network; fonts are embedded, so the same data
//! give the same bytes on every machine.

mod axis;
mod canvas;
mod frame;
mod heatmap;
mod lines;
pub mod published;
mod sheet;
pub mod sim;
mod table;
pub mod training;

pub use axis::Axis;
pub use canvas::{Align, Canvas, Figure, Rendered, Rgb, colors, render};
pub use heatmap::{HeatMap, HeatPanel, sequential};
pub use lines::{Legend, Lines, Mark, Panel, Series, Shape};
pub use sheet::{ContactSheet, Tile};
pub use table::{Table, interval, significant};
