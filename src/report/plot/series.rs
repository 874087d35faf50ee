//! What a panel shows: its axes, its series and how they look.

use crate::report::plot::{
    axis::Axis,
    canvas::{Align, Rgb, colors},
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
