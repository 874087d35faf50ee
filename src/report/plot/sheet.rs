//! Contact sheets: small pictures in rows and columns, with labels.

use crate::report::plot::canvas::{Align, Canvas, Figure, colors};

/// A small picture: height * width * 3 bytes, channels last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tile {
    /// The bytes.
    pub pixels: Vec<u8>,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
}

/// Rows of pictures under column titles.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContactSheet {
    /// Title above everything.
    pub title: String,
    /// One title per column.
    pub columns: Vec<String>,
    /// Label and pictures of each row.
    pub rows: Vec<(String, Vec<Tile>)>,
}

/// Longest side of a picture on the sheet, logical pixels.
const SIDE: f64 = 72.0;
const GAP: f64 = 8.0;
const TOP: f64 = 58.0;
const FONT: f64 = 11.0;
/// Room for a row's label, wrapped into it.
const LABEL: f64 = 112.0;

impl Figure for ContactSheet {
    fn size(&self) -> (u32, u32) {
        let width = LABEL + self.columns.len() as f64 * (SIDE + GAP) + GAP;
        let height = TOP + self.rows.len() as f64 * (SIDE + GAP) + GAP;
        (width.max(320.0) as u32, height as u32)
    }

    fn draw(&self, canvas: &mut dyn Canvas) {
        let black = colors::BLACK;
        canvas.text((GAP, 16.0), &self.title, FONT + 2.0, black, Align::Start, true);
        let left = |column: usize| LABEL + column as f64 * (SIDE + GAP);
        for (column, title) in self.columns.iter().enumerate() {
            let at = (left(column) + SIDE / 2.0, TOP - 14.0);
            canvas.text(at, title, FONT, black, Align::Middle, false);
        }
        for (row, (label, tiles)) in self.rows.iter().enumerate() {
            let top = TOP + row as f64 * (SIDE + GAP);
            let lines = wrapped(label, |text| canvas.text_width(text, FONT), LABEL - 2.0 * GAP);
            let first = top + SIDE / 2.0 - (lines.len() as f64 - 1.0) * 7.0;
            for (number, line) in lines.iter().enumerate() {
                let at = (LABEL - GAP, first + number as f64 * 14.0);
                canvas.text(at, line, FONT, black, Align::End, false);
            }
            for (column, tile) in tiles.iter().enumerate() {
                draw_tile(canvas, tile, (left(column), top));
            }
        }
    }
}

fn draw_tile(canvas: &mut dyn Canvas, tile: &Tile, (left, top): (f64, f64)) {
    let cell = SIDE / tile.height.max(tile.width).max(1) as f64;
    for (y, row) in tile.pixels.chunks_exact(tile.width.max(1) * 3).enumerate() {
        for (x, pixel) in row.chunks_exact(3).enumerate() {
            let from = (left + x as f64 * cell, top + y as f64 * cell);
            canvas.rect(from, (from.0 + cell, from.1 + cell), [pixel[0], pixel[1], pixel[2]], 1.0);
        }
    }
}

/// Breaks `text` at spaces into lines of at most `room` (a longer word stays whole).
fn wrapped(text: &str, width: impl Fn(&str) -> f64, room: f64) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if width(&format!("{line} {word}")) <= room => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_broken_at_spaces() {
        let lines = wrapped("a long label here", |text| text.len() as f64, 8.0);
        assert_eq!(lines, ["a long", "label", "here"]);
    }

    #[test]
    fn every_pixel_of_a_picture_is_shown() {
        let tile = Tile { pixels: vec![10, 20, 30, 200, 100, 50], height: 1, width: 2 };
        let sheet = ContactSheet {
            title: "t".into(),
            columns: vec!["raw".into()],
            rows: vec![("x".into(), vec![tile])],
        };
        let rendered = crate::report::render(&sheet).unwrap();
        let mut reader = png::Decoder::new(std::io::Cursor::new(rendered.png)).read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        reader.next_frame(&mut pixels).unwrap();
        let width = reader.info().width as usize;
        let at = |x: f64, y: f64| {
            let (x, y) = ((x * 2.0) as usize, (y * 2.0) as usize);
            [0, 1, 2].map(|c| pixels[(y * width + x) * 3 + c])
        };
        assert_eq!(at(LABEL + 10.0, TOP + 10.0), [10, 20, 30]);
        assert_eq!(at(LABEL + SIDE * 0.75, TOP + 10.0), [200, 100, 50]);
    }
}
