//! The drawing surface of every figure: logical pixels, rendered once to PNG (twice the size, for
//! print) and once to SVG, with the embedded fonts.

use crate::{Error, Result};
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::{FontTransform, register_font, text_anchor::*};
use std::sync::OnceLock;

/// An RGB colour, 0..=255.
pub type Rgb = [u8; 3];

/// Colours that stay apart for all common kinds of colour vision (Okabe and Ito).
pub mod colors {
    use super::Rgb;
    /// Black, for text, frames and reference lines.
    pub const BLACK: Rgb = [0, 0, 0];
    /// Grey for grids.
    pub const GRID: Rgb = [225, 225, 225];
    /// Grey for secondary text and marks.
    pub const GREY: Rgb = [110, 110, 110];
    /// White.
    pub const WHITE: Rgb = [255, 255, 255];
    /// Blue.
    pub const BLUE: Rgb = [0, 114, 178];
    /// Vermilion.
    pub const VERMILION: Rgb = [213, 94, 0];
    /// Bluish green.
    pub const GREEN: Rgb = [0, 158, 115];
    /// Reddish purple.
    pub const PURPLE: Rgb = [204, 121, 167];
    /// Orange.
    pub const ORANGE: Rgb = [230, 159, 0];
    /// Sky blue.
    pub const SKY: Rgb = [86, 180, 233];
    /// Brown (not of the original eight, dark enough to stand beside them).
    pub const BROWN: Rgb = [120, 80, 40];
    /// The colours of series, in order of use.
    pub const SERIES: [Rgb; 9] = [BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY, BROWN, GREY, BLACK];

    /// Wine red, the tenth beside [`SERIES`].
    pub const WINE: Rgb = [136, 34, 85];

    /// The colour of class number `i` (wraps around after ten).
    pub fn class(i: usize) -> Rgb {
        if i % 10 == SERIES.len() { WINE } else { SERIES[i % 10] }
    }

    /// The colour of series number `i` (wraps around after nine).
    pub fn series(i: usize) -> Rgb {
        SERIES[i % SERIES.len()]
    }
}

/// Where the given point lies relative to the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Align {
    /// The text begins there.
    Start,
    /// The text is centred there.
    Middle,
    /// The text ends there.
    End,
}

/// What figures draw on. Coordinates and widths are logical pixels from the top left.
pub trait Canvas {
    /// A line through `points`; `dash` is (on, off) in pixels.
    fn line(&mut self, points: &[(f64, f64)], color: Rgb, width: f64, dash: Option<(f64, f64)>);
    /// A filled polygon with opacity 0..=1.
    fn polygon(&mut self, points: &[(f64, f64)], color: Rgb, opacity: f64);
    /// A filled rectangle from (x0, y0) to (x1, y1).
    fn rect(&mut self, from: (f64, f64), to: (f64, f64), color: Rgb, opacity: f64);
    /// A circle of radius `radius`, filled or as a ring.
    fn circle(&mut self, at: (f64, f64), radius: f64, color: Rgb, filled: bool);
    /// Text, vertically centred at `at`; `size` is the font height in pixels.
    fn text(&mut self, at: (f64, f64), text: &str, size: f64, color: Rgb, align: Align, bold: bool);
    /// Text that reads from bottom to top, centred at `at`.
    fn text_up(&mut self, at: (f64, f64), text: &str, size: f64, color: Rgb);
    /// Width of `text` in pixels.
    fn text_width(&self, text: &str, size: f64) -> f64;
}

/// A figure: its size in logical pixels and how to draw it.
pub trait Figure {
    /// Width and height in logical pixels (a paper's column is about 420 wide).
    fn size(&self) -> (u32, u32);
    /// Draws the figure; the background is white already.
    fn draw(&self, canvas: &mut dyn Canvas);
}

/// A figure as files.
pub struct Rendered {
    /// PNG, twice the logical size.
    pub png: Vec<u8>,
    /// SVG, logical size, text as text.
    pub svg: String,
}

const PNG_SCALE: f64 = 2.0;

/// Renders a figure to PNG and SVG.
///
/// # Errors
/// [`Error::Run`] if the plotting back end or the PNG encoder fails.
pub fn render(figure: &dyn Figure) -> Result<Rendered> {
    register_fonts()?;
    let (w, h) = figure.size();
    let (pw, ph) = (scaled(w), scaled(h));
    let mut pixels = vec![255; 3 * pw as usize * ph as usize];
    draw_on(BitMapBackend::with_buffer(&mut pixels, (pw, ph)), PNG_SCALE, figure)?;
    let mut svg = String::new();
    draw_on(SVGBackend::with_string(&mut svg, (w, h)), 1.0, figure)?;
    Ok(Rendered { png: encode_png(&pixels, pw, ph)?, svg })
}

fn scaled(length: u32) -> u32 {
    (f64::from(length) * PNG_SCALE).round() as u32
}

fn encode_png(pixels: &[u8], width: u32, height: u32) -> Result<Vec<u8>> {
    let failed = |e: png::EncodingError| Error::run(format!("cannot encode a figure as PNG: {e}"));
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, width, height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    // 220 dots per inch at the doubled size: a 420-pixel column prints 9.7 cm wide.
    encoder.set_pixel_dims(Some(png::PixelDimensions {
        xppu: 8661,
        yppu: 8661,
        unit: png::Unit::Meter,
    }));
    let mut writer = encoder.write_header().map_err(failed)?;
    writer.write_image_data(pixels).map_err(failed)?;
    writer.finish().map_err(failed)?;
    Ok(bytes)
}

fn register_fonts() -> Result<()> {
    static REGISTERED: OnceLock<bool> = OnceLock::new();
    let normal = include_bytes!("../../../assets/fonts/DejaVuSans.ttf");
    let bold = include_bytes!("../../../assets/fonts/DejaVuSans-Bold.ttf");
    let done = *REGISTERED.get_or_init(|| {
        register_font("sans-serif", FontStyle::Normal, normal).is_ok()
            && register_font("sans-serif", FontStyle::Bold, bold).is_ok()
    });
    if done { Ok(()) } else { Err(Error::run("the embedded fonts cannot be read")) }
}

fn draw_on<DB: DrawingBackend>(backend: DB, scale: f64, figure: &dyn Figure) -> Result<()> {
    let area = backend.into_drawing_area();
    let mut painter = Painter { area: &area, scale, failure: None };
    painter.check(area.fill(&WHITE));
    figure.draw(&mut painter);
    painter.check(area.present());
    match painter.failure {
        Some(what) => Err(Error::run(format!("cannot draw a figure: {what}"))),
        None => Ok(()),
    }
}

/// Draws through plotters; the first failure is kept and reported when the figure is complete.
struct Painter<'a, DB: DrawingBackend> {
    area: &'a DrawingArea<DB, Shift>,
    scale: f64,
    failure: Option<String>,
}

impl<DB: DrawingBackend> Painter<'_, DB> {
    fn check<T, E: std::fmt::Display>(&mut self, result: std::result::Result<T, E>) {
        if let Err(e) = result {
            self.failure.get_or_insert_with(|| e.to_string());
        }
    }

    fn at(&self, (x, y): (f64, f64)) -> (i32, i32) {
        ((x * self.scale).round() as i32, (y * self.scale).round() as i32)
    }

    fn stroke(&self, color: Rgb, width: f64) -> ShapeStyle {
        let width = (width * self.scale).round().max(1.0) as u32;
        ShapeStyle { color: rgb(color).to_rgba(), filled: false, stroke_width: width }
    }

    fn style(&self, size: f64, color: Rgb, pos: Pos, bold: bool) -> TextStyle<'static> {
        let style = if bold { FontStyle::Bold } else { FontStyle::Normal };
        let font = FontDesc::new(FontFamily::SansSerif, size * self.scale, style);
        let mut text = TextStyle::from(font);
        text.color = rgb(color).to_rgba().to_backend_color();
        text.pos = pos;
        text
    }
}

fn rgb([r, g, b]: Rgb) -> RGBColor {
    RGBColor(r, g, b)
}

impl<DB: DrawingBackend> Canvas for Painter<'_, DB> {
    fn line(&mut self, points: &[(f64, f64)], color: Rgb, width: f64, dash: Option<(f64, f64)>) {
        let style = self.stroke(color, width);
        let pieces = match dash {
            None => vec![points.to_vec()],
            Some(pattern) => dashes(points, pattern),
        };
        for piece in pieces.iter().filter(|p| p.len() > 1) {
            let piece: Vec<_> = piece.iter().map(|&p| self.at(p)).collect();
            self.check(self.area.draw(&PathElement::new(piece, style)));
        }
    }

    fn polygon(&mut self, points: &[(f64, f64)], color: Rgb, opacity: f64) {
        let points: Vec<_> = points.iter().map(|&p| self.at(p)).collect();
        self.check(self.area.draw(&Polygon::new(points, rgb(color).mix(opacity).filled())));
    }

    fn rect(&mut self, from: (f64, f64), to: (f64, f64), color: Rgb, opacity: f64) {
        let corners = [self.at(from), self.at(to)];
        self.check(self.area.draw(&Rectangle::new(corners, rgb(color).mix(opacity).filled())));
    }

    fn circle(&mut self, at: (f64, f64), radius: f64, color: Rgb, filled: bool) {
        let style = if filled { rgb(color).filled() } else { self.stroke(color, 1.2) };
        let radius = (radius * self.scale).round() as i32;
        self.check(self.area.draw(&Circle::new(self.at(at), radius, style)));
    }

    fn text(
        &mut self,
        at: (f64, f64),
        text: &str,
        size: f64,
        color: Rgb,
        align: Align,
        bold: bool,
    ) {
        let horizontal = match align {
            Align::Start => HPos::Left,
            Align::Middle => HPos::Center,
            Align::End => HPos::Right,
        };
        let style = self.style(size, color, Pos::new(horizontal, VPos::Center), bold);
        self.check(self.area.draw(&Text::new(text, self.at(at), style)));
    }

    fn text_up(&mut self, at: (f64, f64), text: &str, size: f64, color: Rgb) {
        let style = self.style(size, color, Pos::new(HPos::Center, VPos::Center), false);
        let style = style.transform(FontTransform::Rotate270);
        self.check(self.area.draw(&Text::new(text, self.at(at), style)));
    }

    fn text_width(&self, text: &str, size: f64) -> f64 {
        let font = FontDesc::new(FontFamily::SansSerif, size * self.scale, FontStyle::Normal);
        font.box_size(text).map_or(0.0, |(w, _)| f64::from(w) / self.scale)
    }
}

/// Cuts a path into the drawn pieces of a dash pattern.
fn dashes(points: &[(f64, f64)], (on, off): (f64, f64)) -> Vec<Vec<(f64, f64)>> {
    let mut pieces = vec![];
    let mut piece: Vec<(f64, f64)> = points.first().copied().into_iter().collect();
    let (mut drawing, mut left) = (true, on);
    for pair in points.windows(2) {
        let ((mut x, mut y), (x1, y1)) = (pair[0], pair[1]);
        let mut length = (x1 - x).hypot(y1 - y);
        while length > left {
            (x, y) = (x + (x1 - x) * left / length, y + (y1 - y) * left / length);
            length -= left;
            if drawing {
                piece.push((x, y));
                pieces.push(std::mem::take(&mut piece));
            } else {
                piece = vec![(x, y)];
            }
            drawing = !drawing;
            left = if drawing { on } else { off };
        }
        left -= length;
        if drawing {
            piece.push((x1, y1));
        }
    }
    if drawing {
        pieces.push(piece);
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dashes_cover_their_share_of_the_path() {
        let pieces = dashes(&[(0.0, 0.0), (30.0, 0.0), (30.0, 30.0)], (4.0, 2.0));
        let length: f64 = pieces
            .iter()
            .flat_map(|p| p.windows(2).map(|w| (w[1].0 - w[0].0).hypot(w[1].1 - w[0].1)))
            .sum();
        assert!((length - 40.0).abs() < 1e-9, "{length}");
    }

    struct Square;
    impl Figure for Square {
        fn size(&self) -> (u32, u32) {
            (40, 30)
        }
        fn draw(&self, canvas: &mut dyn Canvas) {
            canvas.rect((5.0, 5.0), (20.0, 20.0), colors::BLUE, 1.0);
            canvas.text((20.0, 25.0), "β ≤ π", 10.0, colors::BLACK, Align::Middle, false);
        }
    }

    #[test]
    fn a_figure_is_drawn_to_both_formats_with_the_embedded_font() {
        let out = render(&Square).unwrap();
        let decoder = png::Decoder::new(std::io::Cursor::new(out.png));
        let mut reader = decoder.read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        reader.next_frame(&mut pixels).unwrap();
        assert_eq!((reader.info().width, reader.info().height), (80, 60));
        let pixel = |x: usize, y: usize| &pixels[3 * (80 * y + x)..][..3];
        assert_eq!(pixel(20, 20), colors::BLUE);
        let dark = (45..56).flat_map(|y| (20..60).map(move |x| (x, y)));
        assert!(dark.filter(|&(x, y)| pixel(x, y)[0] < 80).count() > 20, "no text was drawn");
        assert!(out.svg.contains("β ≤ π"));
    }
}
