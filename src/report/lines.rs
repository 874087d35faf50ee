//! Curves, points, error bars and bars in one or more panels with a common legend.

use super::axis::Axis;
use super::canvas::{Align, Canvas, Figure, Rgb, colors};

/// How a series is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// A line.
    Line,
    /// A dashed line.
    Dashed,
    /// Filled dots.
    Dots,
    /// Small filled dots without a joining line, for many points.
    Cloud,
    /// Rings.
    Rings,
    /// A line with a dot at each point.
    LineDots,
    /// A line with a large ring at each point.
    LineRings,
    /// Bars from zero (or the bottom of a logarithmic axis), `width` hundredths of one unit wide.
    Bars {
        /// Width in hundredths of one unit of x.
        width: u8,
    },
}

/// One series of points.
#[derive(Debug, Clone)]
pub struct Series {
    /// Name in the legend; an empty one is left out of it. Series of one name share an entry.
    pub name: String,
    /// Points (x, y) in data units, in order; a point that is not finite breaks the line.
    pub points: Vec<(f64, f64)>,
    /// Interval (low, high) for each point, drawn as error bars (or as a band for plain lines).
    pub intervals: Vec<(f64, f64)>,
    /// Colour.
    pub color: Rgb,
    /// How it is drawn.
    pub mark: Mark,
}

impl Series {
    /// A series without intervals.
    pub fn new(name: impl Into<String>, points: Vec<(f64, f64)>, color: Rgb, mark: Mark) -> Self {
        Self { name: name.into(), points, intervals: vec![], color, mark }
    }

    /// With an interval (low, high) for each point.
    #[must_use]
    pub fn with_intervals(mut self, intervals: Vec<(f64, f64)>) -> Self {
        self.intervals = intervals;
        self
    }
}

/// One set of axes.
#[derive(Debug, Clone)]
pub struct Panel {
    /// Title above the panel.
    pub title: String,
    /// Horizontal axis.
    pub x: Axis,
    /// Vertical axis.
    pub y: Axis,
    /// What is drawn, the last on top.
    pub series: Vec<Series>,
    /// Shaded regions (x0, x1, colour) over the full height.
    pub shades: Vec<(f64, f64, Rgb)>,
    /// Vertical reference lines (x, text).
    pub verticals: Vec<(f64, String)>,
    /// Horizontal reference lines (y, text).
    pub horizontals: Vec<(f64, String)>,
}

impl Panel {
    /// A panel with series only.
    pub fn new(title: impl Into<String>, x: Axis, y: Axis, series: Vec<Series>) -> Self {
        let (shades, verticals, horizontals) = (vec![], vec![], vec![]);
        Self { title: title.into(), x, y, series, shades, verticals, horizontals }
    }
}

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

    fn entries(&self) -> Vec<&Series> {
        let mut entries: Vec<&Series> = vec![];
        for series in self.panels.iter().flat_map(|p| &p.series) {
            if !series.name.is_empty() && entries.iter().all(|e| e.name != series.name) {
                entries.push(series);
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
    46.0 + 0.60 * FONT * name.chars().count() as f64
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
            let total: f64 = row.iter().map(|e| entry_width(&e.name)).sum();
            let mut x = ((self.width() - total) / 2.0).max(12.0);
            for entry in row {
                draw_key(canvas, entry, (x, y));
                canvas.text((x + 32.0, y), &entry.name, FONT, colors::BLACK, Align::Start, false);
                x += entry_width(&entry.name);
            }
            y += LEGEND_ROW;
        }
    }
}

fn draw_key(canvas: &mut dyn Canvas, series: &Series, (x, y): (f64, f64)) {
    let ends = [(x, y), (x + 26.0, y)];
    if let Mark::Bars { .. } = series.mark {
        canvas.rect((x + 6.0, y - 5.0), (x + 22.0, y + 5.0), series.color, 0.85);
        return;
    }
    if let Some(dash) = line_of(series.mark) {
        canvas.line(&ends, series.color, 1.8, dash);
    }
    draw_dot(canvas, series, (x + 13.0, y));
}

/// None: no line; Some(dash): a line with that dash pattern.
fn line_of(mark: Mark) -> Option<Option<(f64, f64)>> {
    match mark {
        Mark::Line | Mark::LineDots | Mark::LineRings => Some(None),
        Mark::Dashed => Some(Some((6.0, 4.0))),
        Mark::Dots | Mark::Cloud | Mark::Rings | Mark::Bars { .. } => None,
    }
}

fn draw_dot(canvas: &mut dyn Canvas, series: &Series, at: (f64, f64)) {
    match series.mark {
        Mark::Dots | Mark::LineDots => canvas.circle(at, 3.2, series.color, true),
        Mark::Rings => canvas.circle(at, 3.4, series.color, false),
        Mark::LineRings => canvas.circle(at, 5.5, series.color, false),
        Mark::Cloud => canvas.circle(at, 1.5, series.color, true),
        Mark::Line | Mark::Dashed | Mark::Bars { .. } => {}
    }
}

/// A panel with its place on the canvas.
struct Frame<'a> {
    panel: &'a Panel,
    left: f64,
    top: f64,
    right: f64,
    bottom: f64,
    outer: ((f64, f64), (f64, f64)),
}

impl<'a> Frame<'a> {
    fn new(canvas: &dyn Canvas, panel: &'a Panel, origin: (f64, f64), size: (f64, f64)) -> Self {
        let widest = panel.y.ticks().iter().map(|(_, t)| canvas.text_width(t, FONT));
        let left = origin.0 + 34.0 + widest.fold(12.0, f64::max);
        let top = origin.1 + if panel.title.is_empty() { 12.0 } else { 30.0 };
        let (right, bottom) = (origin.0 + size.0 - 16.0, origin.1 + size.1 - 48.0);
        Self { panel, left, top, right, bottom, outer: (origin, size) }
    }

    fn place(&self, (x, y): (f64, f64)) -> Option<(f64, f64)> {
        let (u, v) = (self.panel.x.position(x), self.panel.y.position(y));
        let inside = |t: f64| t.is_finite();
        let clamp = |t: f64| t.clamp(-0.002, 1.002);
        (inside(u) && inside(v)).then(|| {
            let x = self.left + clamp(u) * (self.right - self.left);
            (x, self.bottom - clamp(v) * (self.bottom - self.top))
        })
    }

    fn x(&self, value: f64) -> f64 {
        self.left + self.panel.x.position(value).clamp(0.0, 1.0) * (self.right - self.left)
    }

    fn y(&self, value: f64) -> f64 {
        let v = self.panel.y.position(value);
        // Zero has no place on a logarithmic axis: bars then stand on the frame.
        let v = if v.is_finite() { v.clamp(0.0, 1.0) } else { 0.0 };
        self.bottom - v * (self.bottom - self.top)
    }

    fn draw(&self, canvas: &mut dyn Canvas) {
        for &(from, to, color) in &self.panel.shades {
            canvas.rect((self.x(from), self.top), (self.x(to), self.bottom), color, 0.15);
        }
        self.draw_axes(canvas);
        for (x, text) in &self.panel.verticals {
            let x = self.x(*x);
            canvas.line(&[(x, self.bottom), (x, self.top)], colors::GREY, 1.0, Some((3.0, 3.0)));
            let room = canvas.text_width(text, FONT - 1.0) + 6.0;
            let (at, align) =
                if x + room < self.right { (x + 4.0, Align::Start) } else { (x - 4.0, Align::End) };
            canvas.text((at, self.top + 10.0), text, FONT - 1.0, colors::GREY, align, false);
        }
        for (y, text) in &self.panel.horizontals {
            let y = self.y(*y);
            canvas.line(&[(self.left, y), (self.right, y)], colors::GREY, 1.0, Some((3.0, 3.0)));
            let at = (self.right - 5.0, y - 8.0);
            canvas.text(at, text, FONT - 1.0, colors::GREY, Align::End, false);
        }
        for series in &self.panel.series {
            self.draw_series(canvas, series);
        }
    }

    fn draw_axes(&self, canvas: &mut dyn Canvas) {
        let (l, t, r, b) = (self.left, self.top, self.right, self.bottom);
        let mut free_from = f64::NEG_INFINITY;
        for (value, text) in self.panel.x.ticks() {
            let x = self.x(*value);
            canvas.line(&[(x, t), (x, b)], colors::GRID, 1.0, None);
            canvas.line(&[(x, b), (x, b + 4.0)], colors::BLACK, 1.0, None);
            // A label that would touch its neighbour is left out; its tick stays.
            let half = canvas.text_width(text, FONT) / 2.0;
            if x - half > free_from {
                canvas.text((x, b + 14.0), text, FONT, colors::BLACK, Align::Middle, false);
                free_from = x + half + 4.0;
            }
        }
        for (value, text) in self.panel.y.ticks() {
            let y = self.y(*value);
            canvas.line(&[(l, y), (r, y)], colors::GRID, 1.0, None);
            canvas.line(&[(l - 4.0, y), (l, y)], colors::BLACK, 1.0, None);
            canvas.text((l - 7.0, y), text, FONT, colors::BLACK, Align::End, false);
        }
        canvas.line(&[(l, t), (r, t), (r, b), (l, b), (l, t)], colors::BLACK, 1.0, None);
        let ((ox, oy), (_, height)) = self.outer;
        let middle = (l + r) / 2.0;
        let (x_label, y_label) = (self.panel.x.label(), self.panel.y.label());
        canvas.text((middle, b + 34.0), x_label, FONT + 1.0, colors::BLACK, Align::Middle, false);
        canvas.text_up((ox + 14.0, (t + b) / 2.0), y_label, FONT + 1.0, colors::BLACK);
        let title = (middle, oy + 15.0);
        canvas.text(title, &self.panel.title, FONT + 1.0, colors::BLACK, Align::Middle, true);
        debug_assert!(height > 80.0, "a panel needs room for its labels");
    }

    fn draw_series(&self, canvas: &mut dyn Canvas, series: &Series) {
        if let Mark::Bars { width } = series.mark {
            let half = f64::from(width) / 200.0;
            for &(x, y) in series.points.iter().filter(|(_, y)| y.is_finite()) {
                let (from, to) = ((self.x(x - half), self.y(y)), (self.x(x + half), self.y(0.0)));
                canvas.rect(from, to, series.color, 0.85);
            }
        }
        self.draw_intervals(canvas, series);
        if let Some(dash) = line_of(series.mark) {
            let placed: Vec<_> = series.points.iter().map(|&p| self.place(p)).collect();
            for run in placed.split(Option::is_none) {
                let run: Vec<_> = run.iter().copied().flatten().collect();
                canvas.line(&run, series.color, 1.8, dash);
            }
        }
        for &point in &series.points {
            if let Some(at) = self.place(point) {
                draw_dot(canvas, series, at);
            }
        }
    }

    fn draw_intervals(&self, canvas: &mut dyn Canvas, series: &Series) {
        let bounds: Vec<_> = series
            .points
            .iter()
            .zip(&series.intervals)
            .filter_map(|(&(x, _), &(low, high))| {
                Some((self.place((x, low))?, self.place((x, high))?))
            })
            .collect();
        if matches!(series.mark, Mark::Line | Mark::Dashed) {
            let upper = bounds.iter().map(|b| b.1);
            let outline: Vec<_> = upper.chain(bounds.iter().rev().map(|b| b.0)).collect();
            if outline.len() > 2 {
                canvas.polygon(&outline, series.color, 0.2);
            }
            return;
        }
        let color =
            if matches!(series.mark, Mark::Bars { .. }) { colors::BLACK } else { series.color };
        for (low, high) in bounds {
            canvas.line(&[low, high], color, 1.4, None);
            for end in [low, high] {
                canvas.line(&[(end.0 - 3.0, end.1), (end.0 + 3.0, end.1)], color, 1.4, None);
            }
        }
    }
}
