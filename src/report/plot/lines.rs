//! Curves, points, error bars and bars in one or more panels with a common legend.

use crate::report::plot::{
    axis::Axis,
    canvas::{Align, Canvas, Figure, Rgb, colors},
    frame::{Frame, draw_key_dot, error_bar, is_line, span},
};

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
    /// Intervals alone, as error bars.
    Whiskers,
    /// Bars from zero (or the bottom of a logarithmic axis), `width` hundredths of one unit wide.
    Bars {
        /// Width in hundredths of one unit of x.
        width: u16,
    },
    /// Bars from the low to the high end of each interval, translucent with an outline.
    Spans {
        /// Width in hundredths of one unit of x.
        width: u16,
    },
}

/// The form of a dot, so that series stay apart without colour.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Shape {
    /// A disc.
    #[default]
    Circle,
    /// A square.
    Square,
    /// A triangle that points up.
    Triangle,
    /// A square on its corner.
    Diamond,
    /// Two crossing strokes.
    Cross,
}

const SHAPES: [Shape; 5] =
    [Shape::Circle, Shape::Square, Shape::Triangle, Shape::Diamond, Shape::Cross];
const DASHES: [Option<(f64, f64)>; 3] = [None, Some((7.0, 3.0)), Some((2.0, 2.5))];

/// One series of points.
#[derive(Debug, Clone)]
pub struct Series {
    /// Name in the legend; an empty one is left out of it. Series of one name share an entry.
    pub name: String,
    /// Points (x, y) in data units, in order; a point that is not finite breaks the line.
    pub points: Vec<(f64, f64)>,
    /// Interval (low, high) for each point.
    pub intervals: Vec<(f64, f64)>,
    /// Opacity of the intervals as a band; none draws them as error bars.
    pub band: Option<f64>,
    /// Colour.
    pub color: Rgb,
    /// How it is drawn.
    pub mark: Mark,
    /// Form of its dots.
    pub shape: Shape,
    /// Dash pattern (on, off) of its line, in pixels; none is a solid line.
    pub dash: Option<(f64, f64)>,
    /// Width of its line in pixels.
    pub width: f64,
}

impl Series {
    /// A series without intervals.
    pub fn new(name: impl Into<String>, points: Vec<(f64, f64)>, color: Rgb, mark: Mark) -> Self {
        let dash = (mark == Mark::Dashed).then_some((6.0, 4.0));
        let band = matches!(mark, Mark::Line | Mark::Dashed).then_some(0.2);
        let (name, shape, width) = (name.into(), Shape::Circle, 1.8);
        Self { name, points, intervals: vec![], band, color, mark, shape, dash, width }
    }

    /// Number `i` of several series: colour, form of the dots and dashes follow from `i`, and the
    /// three together repeat only after 45 series.
    #[must_use]
    pub fn number(name: impl Into<String>, points: Vec<(f64, f64)>, i: usize, mark: Mark) -> Self {
        let plain = Self::new(name, points, colors::series(i), mark);
        Self { shape: SHAPES[i % SHAPES.len()], dash: DASHES[i % DASHES.len()], ..plain }
    }

    /// Number `i` of the classes of a cloud: ten colours, and other forms for the next ten.
    #[must_use]
    pub fn class(name: impl Into<String>, points: Vec<(f64, f64)>, i: usize) -> Self {
        let shape = SHAPES[(i + i / 10) % SHAPES.len()];
        Self { shape, ..Self::new(name, points, colors::class(i), Mark::Cloud) }
    }

    /// The same colour with the forms of dots and lines `k` further on.
    #[must_use]
    pub fn variant(self, i: usize, k: usize) -> Self {
        Self { shape: SHAPES[(i + k) % SHAPES.len()], dash: DASHES[(i + k) % DASHES.len()], ..self }
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
    /// Texts above the frame, centred at x.
    pub above: Vec<(f64, String)>,
    /// Vertical reference lines (x, text).
    pub verticals: Vec<(f64, String)>,
    /// Horizontal reference lines (y, text).
    pub horizontals: Vec<(f64, String)>,
    /// Texts at a point in data units.
    pub texts: Vec<((f64, f64), String, Align)>,
}

impl Panel {
    /// A panel with series only.
    pub fn new(title: impl Into<String>, x: Axis, y: Axis, series: Vec<Series>) -> Self {
        let (shades, above, texts) = (vec![], vec![], vec![]);
        let (verticals, horizontals) = (vec![], vec![]);
        Self { title: title.into(), x, y, series, shades, above, verticals, horizontals, texts }
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
