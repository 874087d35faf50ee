//! One panel on the canvas: its axes and its series.

use crate::report::plot::{
    canvas::{Align, Canvas, Rgb, colors},
    series::{Mark, Panel, Series, Shape},
};

const FONT: f64 = 12.0;

/// Whether points are joined.
pub(crate) fn is_line(mark: Mark) -> bool {
    matches!(mark, Mark::Line | Mark::Dashed | Mark::LineDots | Mark::LineRings)
}

/// The dot of a series at a place, if its mark has one.
pub(crate) fn draw_dot(canvas: &mut dyn Canvas, series: &Series, at: (f64, f64)) {
    match series.mark {
        Mark::Dots | Mark::LineDots => draw_shape(canvas, series, at, 3.2),
        Mark::Cloud => draw_shape(canvas, series, at, 1.9),
        Mark::Rings => canvas.circle(at, 3.4, series.color, false),
        Mark::LineRings => canvas.circle(at, 5.5, series.color, false),
        Mark::Line | Mark::Dashed | Mark::Whiskers | Mark::Bars { .. } | Mark::Spans { .. } => {}
    }
}

/// The dot of a series in the legend: that of a cloud is larger there than among its like.
pub(crate) fn draw_key_dot(canvas: &mut dyn Canvas, series: &Series, at: (f64, f64)) {
    match series.mark {
        Mark::Cloud => draw_shape(canvas, series, at, 4.0),
        _ => draw_dot(canvas, series, at),
    }
}

/// The forms have about the same area.
fn draw_shape(canvas: &mut dyn Canvas, series: &Series, (x, y): (f64, f64), r: f64) {
    let color = series.color;
    let mut corners = |at: &[(f64, f64)]| {
        let at: Vec<_> = at.iter().map(|(u, v)| (x + u * r, y + v * r)).collect();
        canvas.polygon(&at, color, 1.0);
    };
    match series.shape {
        Shape::Circle => canvas.circle((x, y), r, color, true),
        Shape::Square => corners(&[(-0.95, -0.95), (0.95, -0.95), (0.95, 0.95), (-0.95, 0.95)]),
        Shape::Triangle => corners(&[(0.0, -1.4), (1.3, 0.95), (-1.3, 0.95)]),
        Shape::Diamond => corners(&[(0.0, -1.45), (1.45, 0.0), (0.0, 1.45), (-1.45, 0.0)]),
        Shape::Cross => {
            let d = 1.1 * r;
            canvas.line(&[(x - d, y - d), (x + d, y + d)], color, 1.6, None);
            canvas.line(&[(x - d, y + d), (x + d, y - d)], color, 1.6, None);
        }
    }
}

/// A pale rectangle with an outline; white below, so that it looks the same wherever it lies.
pub(crate) fn span(canvas: &mut dyn Canvas, from: (f64, f64), to: (f64, f64), color: Rgb) {
    canvas.rect(from, to, colors::WHITE, 1.0);
    canvas.rect(from, to, color, 0.3);
    let outline = [from, (to.0, from.1), to, (from.0, to.1), from];
    canvas.line(&outline, color, 1.0, None);
}

/// A vertical bar between two ends, each with a cap unless it was cut off there.
pub(crate) fn error_bar(
    canvas: &mut dyn Canvas,
    low: ((f64, f64), bool),
    high: ((f64, f64), bool),
    color: Rgb,
) {
    canvas.line(&[low.0, high.0], color, 1.4, None);
    for ((x, y), _) in [low, high].into_iter().filter(|(_, capped)| *capped) {
        canvas.line(&[(x - 3.0, y), (x + 3.0, y)], color, 1.4, None);
    }
}

/// A panel with its place on the canvas.
pub(crate) struct Frame<'a> {
    panel: &'a Panel,
    left: f64,
    top: f64,
    right: f64,
    bottom: f64,
    outer: ((f64, f64), (f64, f64)),
}

impl<'a> Frame<'a> {
    pub(crate) fn new(
        canvas: &dyn Canvas,
        panel: &'a Panel,
        origin: (f64, f64),
        size: (f64, f64),
    ) -> Self {
        let widest = panel.y.ticks().iter().map(|(_, t)| canvas.text_width(t, FONT));
        let left = origin.0 + 34.0 + widest.fold(12.0, f64::max);
        let above = if panel.above.is_empty() { 0.0 } else { 14.0 };
        let top = origin.1 + above + if panel.title.is_empty() { 12.0 } else { 30.0 };
        let upright = if panel.x.is_upright() { longest_tick(canvas, panel) - 8.0 } else { 0.0 };
        let bare = panel.x.ticks().is_empty() && panel.x.label().is_empty();
        let below = if bare { 10.0 } else { 48.0 + upright.max(0.0) };
        let (right, bottom) = (origin.0 + size.0 - 16.0, origin.1 + size.1 - below);
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

    pub(crate) fn draw(&self, canvas: &mut dyn Canvas) {
        for &(from, to, color) in &self.panel.shades {
            canvas.rect((self.x(from), self.top), (self.x(to), self.bottom), color, 0.15);
        }
        self.draw_axes(canvas);
        for (x, text) in &self.panel.above {
            let at = (self.x(*x), self.top - 9.0);
            canvas.text(at, text, FONT - 1.0, colors::GREY, Align::Middle, false);
        }
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
        for ((x, y), text, align) in &self.panel.texts {
            self.clear_for(canvas, (self.x(*x), self.y(*y)), text, *align);
        }
        for series in &self.panel.series {
            self.draw_series(canvas, series);
        }
        for ((x, y), text, align) in &self.panel.texts {
            let at = (self.x(*x), self.y(*y));
            canvas.text(at, text, FONT - 1.0, colors::BLACK, *align, false);
        }
    }

    /// No grid line crosses a text.
    fn clear_for(&self, canvas: &mut dyn Canvas, (x, y): (f64, f64), text: &str, align: Align) {
        let width = canvas.text_width(text, FONT - 1.0) + 2.0;
        let from = match align {
            Align::Start => x,
            Align::Middle => x - width / 2.0,
            Align::End => x - width,
        };
        let inside = |x: f64| x.clamp(self.left + 1.0, self.right - 1.0);
        let corner = (inside(from + width), (y + 7.0).min(self.bottom - 1.0));
        canvas.rect((inside(from), (y - 7.0).max(self.top + 1.0)), corner, colors::WHITE, 1.0);
    }

    fn draw_axes(&self, canvas: &mut dyn Canvas) {
        let (l, t, r, b) = (self.left, self.top, self.right, self.bottom);
        let mut free_from = f64::NEG_INFINITY;
        for (value, text) in self.panel.x.ticks() {
            let x = self.x(*value);
            canvas.line(&[(x, t), (x, b)], colors::GRID, 1.0, None);
            canvas.line(&[(x, b), (x, b + 4.0)], colors::BLACK, 1.0, None);
            // A label that would touch its neighbour is left out; its tick stays.
            let width = canvas.text_width(text, FONT);
            let half = if self.panel.x.is_upright() { FONT / 2.0 } else { width / 2.0 };
            if x - half <= free_from {
                continue;
            }
            if self.panel.x.is_upright() {
                canvas.text_up((x, b + 7.0 + width / 2.0), text, FONT, colors::BLACK);
            } else {
                canvas.text((x, b + 14.0), text, FONT, colors::BLACK, Align::Middle, false);
            }
            free_from = x + half + 4.0;
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
        let below = oy + height - 14.0;
        canvas.text((middle, below), x_label, FONT + 1.0, colors::BLACK, Align::Middle, false);
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
        if is_line(series.mark) {
            let placed: Vec<_> = series.points.iter().map(|&p| self.place(p)).collect();
            for run in placed.split(Option::is_none) {
                let run: Vec<_> = run.iter().copied().flatten().collect();
                canvas.line(&run, series.color, series.width, series.dash);
            }
        }
        for &point in &series.points {
            if let Some(at) = self.place(point) {
                draw_dot(canvas, series, at);
            }
        }
    }

    fn draw_intervals(&self, canvas: &mut dyn Canvas, series: &Series) {
        if let Mark::Spans { width } = series.mark {
            let half = f64::from(width) / 200.0;
            for (&(x, _), &(low, high)) in series.points.iter().zip(&series.intervals) {
                let (from, to) =
                    ((self.x(x - half), self.y(high)), (self.x(x + half), self.y(low)));
                span(canvas, from, to, series.color);
            }
            return;
        }
        let bounds: Vec<_> = series
            .points
            .iter()
            .zip(&series.intervals)
            .filter_map(|(&(x, _), &(low, high))| {
                Some((self.place((x, low))?, self.place((x, high))?))
            })
            .collect();
        if let Some(opacity) = series.band {
            let upper = bounds.iter().map(|b| b.1);
            let outline: Vec<_> = upper.chain(bounds.iter().rev().map(|b| b.0)).collect();
            if outline.len() > 2 {
                canvas.polygon(&outline, series.color, opacity);
            }
            return;
        }
        let color =
            if matches!(series.mark, Mark::Bars { .. }) { colors::BLACK } else { series.color };
        let inside = |y: f64| (-0.001..=1.001).contains(&self.panel.y.position(y));
        for (&(x, _), &(low, high)) in series.points.iter().zip(&series.intervals) {
            let (Some(from), Some(to)) = (self.place((x, low)), self.place((x, high))) else {
                continue;
            };
            if low < high {
                error_bar(canvas, (from, inside(low)), (to, inside(high)), color);
            }
        }
    }
}

fn longest_tick(canvas: &dyn Canvas, panel: &Panel) -> f64 {
    panel.x.ticks().iter().map(|(_, t)| canvas.text_width(t, FONT)).fold(0.0, f64::max)
}
