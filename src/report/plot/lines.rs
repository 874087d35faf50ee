//! Curves, points, error bars and bars: panels in a grid with a common legend.

use crate::report::plot::{
    canvas::{Align, Canvas, Figure, colors},
    frame::{Frame, draw_key_dot, error_bar, is_line, span},
    series::{Mark, Panel, Series},
};

/// Where the legend goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Legend {
    /// No legend.
    None,
    /// Below all panels.
    Below,
}

/// A figure of one or more panels in a grid.
#[derive(Debug, Clone)]
pub struct Lines {
    /// The panels, row by row.
    pub panels: Vec<Panel>,
    /// Panels per row.
    pub columns: usize,
    /// Size of one panel with its labels, in logical pixels.
    pub panel_size: (u32, u32),
    /// The common legend.
    pub legend: Legend,
}

const FONT: f64 = 12.0;
const LEGEND_ROW: f64 = 18.0;

impl Lines {
    /// Panels side by side with the legend below.
    pub fn row(panels: Vec<Panel>) -> Self {
        let columns = panels.len().max(1);
        Self { panels, columns, panel_size: (400, 310), legend: Legend::Below }
    }

    /// The same panels in rows of at most three; four make two rows of two.
    pub fn grid(panels: Vec<Panel>) -> Self {
        let columns = if panels.len() == 4 { 2 } else { panels.len().clamp(1, 3) };
        Self { columns, ..Self::row(panels) }
    }

    fn entries(&self) -> Vec<&Series> {
        let mut entries: Vec<&Series> = vec![];
        for series in self.panels.iter().flat_map(|p| &p.series).filter(|s| !s.name.is_empty()) {
            match entries.iter_mut().find(|e| e.name == series.name) {
                None => entries.push(series),
                // The entry with dots says more.
                Some(entry) if entry.mark == Mark::Line => *entry = series,
                Some(_) => {}
            }
        }
        entries
    }

    fn width(&self) -> f64 {
        f64::from(self.panel_size.0) * self.columns as f64
    }

    /// Legend entries by row; widths are estimated from the number of characters, so that the
    /// height is known before anything is drawn.
    fn legend_rows(&self) -> Vec<Vec<&Series>> {
        if self.legend == Legend::None {
            return vec![];
        }
        let mut rows: Vec<Vec<&Series>> = vec![];
        let mut left = 0.0;
        for entry in self.entries() {
            let width = entry_width(&entry.name);
            if rows.is_empty() || width > left {
                rows.push(vec![]);
                left = self.width() - 24.0;
            }
            left -= width;
            if let Some(row) = rows.last_mut() {
                row.push(entry);
            }
        }
        rows
    }
}

fn entry_width(name: &str) -> f64 {
    56.0 + 0.60 * FONT * name.chars().count() as f64
}

impl Figure for Lines {
    fn size(&self) -> (u32, u32) {
        let rows = self.panels.len().div_ceil(self.columns.max(1)) as u32;
        let legend = self.legend_rows().len() as f64 * LEGEND_ROW;
        let legend = if legend > 0.0 { legend + 10.0 } else { 0.0 };
        (self.width() as u32, rows * self.panel_size.1 + legend as u32)
    }

    fn draw(&self, canvas: &mut dyn Canvas) {
        let (w, h) = (f64::from(self.panel_size.0), f64::from(self.panel_size.1));
        for (i, panel) in self.panels.iter().enumerate() {
            let (column, row) = (i % self.columns.max(1), i / self.columns.max(1));
            let origin = (w * column as f64, h * row as f64);
            Frame::new(canvas, panel, origin, (w, h)).draw(canvas);
        }
        let rows = self.panels.len().div_ceil(self.columns.max(1));
        let mut y = h * rows as f64 + LEGEND_ROW / 2.0 + 2.0;
        for row in self.legend_rows() {
            let widths: Vec<f64> =
                row.iter().map(|e| 56.0 + canvas.text_width(&e.name, FONT)).collect();
            let total = widths.iter().sum::<f64>() - 24.0;
            let mut x = ((self.width() - total) / 2.0).max(12.0);
            for (entry, width) in row.into_iter().zip(widths) {
                draw_key(canvas, entry, (x, y));
                canvas.text((x + 32.0, y), &entry.name, FONT, colors::BLACK, Align::Start, false);
                x += width;
            }
            y += LEGEND_ROW;
        }
    }
}

fn draw_key(canvas: &mut dyn Canvas, series: &Series, (x, y): (f64, f64)) {
    let ends = [(x, y), (x + 26.0, y)];
    match series.mark {
        Mark::Bars { .. } => {
            canvas.rect((x + 6.0, y - 5.0), (x + 22.0, y + 5.0), series.color, 0.85);
        }
        Mark::Spans { .. } => span(canvas, (x + 6.0, y - 5.0), (x + 22.0, y + 5.0), series.color),
        mark => {
            if is_line(mark) {
                canvas.line(&ends, series.color, series.width, series.dash);
            }
            if mark == Mark::Whiskers {
                error_bar(
                    canvas,
                    ((x + 13.0, y + 6.0), true),
                    ((x + 13.0, y - 6.0), true),
                    series.color,
                );
            }
            draw_key_dot(canvas, series, (x + 13.0, y));
        }
    }
}
