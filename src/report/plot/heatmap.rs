//! Matrices as colours with values, a colour bar and an optional boundary line.

use crate::report::plot::{
    axis::Axis,
    canvas::{Align, Canvas, Figure, Rgb, colors},
};

/// A matrix to show.
#[derive(Debug, Clone)]
pub struct HeatPanel {
    /// Title above the matrix.
    pub title: String,
    /// rows x columns values; one that is not finite is drawn white.
    pub values: Vec<Vec<f64>>,
    /// Label of each row and column; an empty text draws none.
    pub names: Vec<String>,
    /// Cells are outlined where this is true: the boundary is drawn as one staircase line.
    pub marked: Option<Vec<Vec<bool>>>,
}

/// One or more matrices of one colour scale.
#[derive(Debug, Clone)]
pub struct HeatMap {
    /// The matrices, side by side.
    pub panels: Vec<HeatPanel>,
    /// What the rows are.
    pub row_label: String,
    /// What the columns are.
    pub column_label: String,
    /// What the colour shows, with its unit; an empty text draws no colour bar (numbers in all cells).
    pub value_label: String,
    /// Decimals of the values written in the cells; None writes none.
    pub decimals: Option<usize>,
    /// Colours follow the logarithm of the value.
    pub log: bool,
    /// Ends of the colour scale; none takes them from the values (from zero, unless logarithmic).
    pub range: Option<(f64, f64)>,
}

const FONT: f64 = 12.0;
/// Side of a matrix; one with more rows and numbers in its cells is larger.
const SIDE: f64 = 290.0;
/// Side of one of several matrices without numbers: two of them are as wide as a page.
const SIDE_OF_SEVERAL: f64 = 228.0;
const CELL: f64 = 26.0;
/// Most rows of a matrix whose cells hold numbers.
const NUMBERED: usize = 20;
const LEFT: f64 = 62.0;
const TOP: f64 = 34.0;
const BOTTOM: f64 = 50.0;
const BAR: f64 = 84.0;

/// Dark blue over green to yellow (the "viridis" way of rising in lightness throughout, so that
/// it also reads in grey), for t in 0..=1.
pub fn sequential(t: f64) -> Rgb {
    const STOPS: [Rgb; 9] = [
        [68, 1, 84],
        [71, 45, 123],
        [59, 82, 139],
        [44, 114, 142],
        [33, 145, 140],
        [40, 174, 128],
        [94, 201, 98],
        [173, 220, 48],
        [253, 231, 37],
    ];
    let position = t.clamp(0.0, 1.0) * (STOPS.len() - 1) as f64;
    let i = (position as usize).min(STOPS.len() - 2);
    let f = position - i as f64;
    let mix = |k: usize| f64::from(STOPS[i][k]) * (1.0 - f) + f64::from(STOPS[i + 1][k]) * f;
    [0, 1, 2].map(|k| mix(k).round() as u8)
}

impl HeatMap {
    /// Smallest and largest value shown (above zero if the scale is logarithmic).
    fn range(&self) -> (f64, f64) {
        if let Some(range) = self.range {
            return range;
        }
        let values = self.panels.iter().flat_map(|p| p.values.iter().flatten().copied());
        let usable = values.filter(|v| v.is_finite() && (!self.log || *v > 0.0));
        let (low, high) =
            usable.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(v), h.max(v)));
        match (low <= high, self.log) {
            (false, _) => (0.5, 1.0),
            (true, true) => (low, high.max(low * 1.0001)),
            (true, false) => (low.min(0.0), if high > low.min(0.0) { high } else { low + 1.0 }),
        }
    }

    fn level(&self, value: f64) -> f64 {
        let (low, high) = self.range();
        if self.log { (value / low).ln() / (high / low).ln() } else { (value - low) / (high - low) }
    }

    fn side(&self) -> f64 {
        let rows = self.panels.iter().map(|p| p.values.len()).max().unwrap_or(0);
        let numbers = self.decimals.is_some() && rows <= NUMBERED;
        match (numbers, self.panels.len()) {
            (true, _) => SIDE.max(CELL * rows as f64),
            (false, 0..=1) => SIDE,
            (false, _) => SIDE_OF_SEVERAL,
        }
    }

    /// Room that names need beyond that of short ones. It is estimated from the number of
    /// characters, so that the size is known before anything is drawn.
    fn names_room(&self) -> f64 {
        let names = self.panels.iter().flat_map(|p| &p.names);
        let longest = names.map(|n| n.chars().count()).max().unwrap_or(0);
        (0.60 * FONT * longest as f64 - 30.0).max(0.0)
    }

    fn left(&self) -> f64 {
        LEFT + self.names_room()
    }

    fn step(&self) -> f64 {
        self.left() + self.side() + 18.0
    }

    fn draw_panel(&self, canvas: &mut dyn Canvas, panel: &HeatPanel, x0: f64) {
        let rows = panel.values.len().max(1);
        let cell = self.side() / rows as f64;
        let at = |r: usize, c: usize| (x0 + c as f64 * cell, TOP + r as f64 * cell);
        for (r, row) in panel.values.iter().enumerate() {
            for (c, &value) in row.iter().enumerate() {
                if !value.is_finite() || (self.log && value <= 0.0) {
                    continue;
                }
                let color = sequential(self.level(value));
                canvas.rect(at(r, c), at(r + 1, c + 1), color, 1.0);
                if let Some(decimals) = self.decimals.filter(|_| rows <= NUMBERED) {
                    let (x, y) = at(r, c);
                    let ink = if lightness(color) < 0.5 { colors::WHITE } else { colors::BLACK };
                    let text = format!("{value:.decimals$}");
                    let size = (cell * 0.42).min(FONT);
                    let middle = (x + cell / 2.0, y + cell / 2.0);
                    canvas.text(middle, &text, size, ink, Align::Middle, false);
                }
            }
        }
        if let Some(marked) = &panel.marked {
            draw_boundary(canvas, marked, at);
        }
        let (a, b) = (at(0, 0), at(rows, rows));
        canvas.line(&[a, (b.0, a.1), b, (a.0, b.1), a], colors::BLACK, 1.0, None);
        self.draw_names(canvas, panel, x0, cell);
    }

    fn draw_names(&self, canvas: &mut dyn Canvas, panel: &HeatPanel, x0: f64, cell: f64) {
        let (side, room) = (self.side(), self.names_room());
        for (i, name) in panel.names.iter().enumerate() {
            let middle = (i as f64 + 0.5) * cell;
            if room > 0.0 {
                let half = canvas.text_width(name, FONT) / 2.0;
                canvas.text_up((x0 + middle, TOP + side + 6.0 + half), name, FONT, colors::BLACK);
            } else {
                let below = (x0 + middle, TOP + side + 12.0);
                canvas.text(below, name, FONT, colors::BLACK, Align::Middle, false);
            }
            canvas.text((x0 - 6.0, TOP + middle), name, FONT, colors::BLACK, Align::End, false);
        }
        let label = (x0 + side / 2.0, TOP + side + 34.0 + room);
        canvas.text(label, &self.column_label, FONT + 1.0, colors::BLACK, Align::Middle, false);
        let label = (x0 - 44.0 - room, TOP + side / 2.0);
        canvas.text_up(label, &self.row_label, FONT + 1.0, colors::BLACK);
        let title = (x0 + side / 2.0, 16.0);
        canvas.text(title, &panel.title, FONT + 1.0, colors::BLACK, Align::Middle, true);
    }

    fn draw_bar(&self, canvas: &mut dyn Canvas, x: f64) {
        let (side, pieces) = (self.side(), 128);
        for i in 0..pieces {
            let t = f64::from(i) / f64::from(pieces);
            let y = TOP + side * (1.0 - t);
            let to = (x + 14.0, (y - side / f64::from(pieces) - 0.5).max(TOP));
            canvas.rect((x, y), to, sequential(t), 1.0);
        }
        let (low, high) = self.range();
        let axis = if self.log { Axis::log("", low, high) } else { Axis::linear("", low, high) };
        for (value, text) in axis.ticks() {
            let y = TOP + side * (1.0 - self.level(*value).clamp(0.0, 1.0));
            canvas.line(&[(x + 14.0, y), (x + 18.0, y)], colors::BLACK, 1.0, None);
            canvas.text((x + 21.0, y), text, FONT - 1.0, colors::BLACK, Align::Start, false);
        }
        canvas.text_up((x + 68.0, TOP + side / 2.0), &self.value_label, FONT, colors::BLACK);
    }
}

/// Draws the edges between marked and unmarked cells.
fn draw_boundary(
    canvas: &mut dyn Canvas,
    marked: &[Vec<bool>],
    at: impl Fn(usize, usize) -> (f64, f64),
) {
    for (r, row) in marked.iter().enumerate() {
        for (c, &here) in row.iter().enumerate() {
            if c + 1 < row.len() && here != row[c + 1] {
                canvas.line(&[at(r, c + 1), at(r + 1, c + 1)], colors::VERMILION, 2.6, None);
            }
            if r + 1 < marked.len() && here != marked[r + 1][c] {
                canvas.line(&[at(r + 1, c), at(r + 1, c + 1)], colors::VERMILION, 2.6, None);
            }
        }
    }
}

fn lightness([r, g, b]: Rgb) -> f64 {
    (0.299 * f64::from(r) + 0.587 * f64::from(g) + 0.114 * f64::from(b)) / 255.0
}

impl Figure for HeatMap {
    fn size(&self) -> (u32, u32) {
        let bar = if self.value_label.is_empty() { 0.0 } else { BAR };
        let width = self.step() * self.panels.len() as f64 + bar;
        (width as u32, (TOP + self.side() + self.names_room() + BOTTOM) as u32)
    }

    fn draw(&self, canvas: &mut dyn Canvas) {
        for (i, panel) in self.panels.iter().enumerate() {
            self.draw_panel(canvas, panel, self.left() + i as f64 * self.step());
        }
        if !self.value_label.is_empty() {
            self.draw_bar(canvas, self.step() * self.panels.len() as f64);
        }
    }
}
