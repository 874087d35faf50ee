//! One JPEG or PNG file into RGB bytes, as PIL's `convert("RGB")` gives them: grey repeated, CMYK
//! converted, alpha dropped, EXIF rotation not applied.
//!
//! PNGs give PIL's bytes. JPEGs come near: the decoder rounds the inverse transform and interpolates
//! halved colour planes otherwise than libjpeg-turbo, and has no option for it. On the pictures in
//! `tests/fixtures/pictures` the largest difference is 2 and the mean 0.012 with whole colour planes, 3
//! and 0.39 with halved ones (4:2:0).
//!
//! A file is refused before memory is taken for its pixels if it is too short to hold so many.

use std::io::Cursor;

use super::set::Rgb;

#[cfg(feature = "train")]
mod jpeg;

/// Larger pictures are taken for damage, as by PIL (twice its `MAX_IMAGE_PIXELS`).
const MAX_PIXELS: usize = 2 * 89_478_485;

/// Bytes that one byte of a PNG can stand for: deflate's longest match, 258 bytes, takes two bits.
const PNG_EXPANSION: u64 = 1032;

/// Decodes `bytes` into `buffer`; the error is one phrase without the file's name.
pub(super) fn decode<'a>(bytes: &[u8], buffer: &'a mut Vec<u8>) -> Result<Rgb<'a>, String> {
    match bytes {
        [0xff, 0xd8, ..] => jpeg::decode(bytes, buffer),
        [0x89, b'P', b'N', b'G', ..] => png(bytes, buffer),
        [] => Err("the file is empty".into()),
        _ => Err("neither JPEG nor PNG".into()),
    }
}

#[cfg(not(feature = "train"))]
mod jpeg {
    pub(super) fn decode<'a>(_: &[u8], _: &'a mut Vec<u8>) -> Result<super::Rgb<'a>, String> {
        Err("a JPEG; this build decodes PNG alone, build with --features train".into())
    }
}

fn plausible(height: usize, width: usize) -> Result<(), String> {
    match height.checked_mul(width) {
        Some(1..=MAX_PIXELS) => Ok(()),
        _ => Err(format!("a picture of {width}x{height} pixels; 1 to {MAX_PIXELS} are read")),
    }
}

fn png<'a>(bytes: &[u8], buffer: &'a mut Vec<u8>) -> Result<Rgb<'a>, String> {
    use png::{BitDepth, ColorType, Transformations};

    let broken = |e: png::DecodingError| format!("broken PNG: {e}");
    let mut decoder = png::Decoder::new(Cursor::new(bytes));
    let info = decoder.read_header_info().map_err(broken)?;
    let (width, height) = (info.width as usize, info.height as usize);
    plausible(height, width)?;
    let raw = info.raw_row_length_from_width(info.width) as u64 * u64::from(info.height);
    if raw > bytes.len() as u64 * PNG_EXPANSION {
        let held = bytes.len();
        return Err(format!("broken PNG: {held} bytes for a picture of {width}x{height} pixels"));
    }
    let wide_grey = (info.color_type, info.bit_depth) == (ColorType::Grayscale, BitDepth::Sixteen);
    if !wide_grey {
        decoder.set_transformations(Transformations::EXPAND | Transformations::STRIP_16);
    }
    let mut reader = decoder.read_info().map_err(broken)?;
    let size = reader.output_buffer_size().ok_or("a PNG larger than memory")?;
    buffer.resize(size, 0);
    let info = reader.next_frame(buffer).map_err(broken)?;
    buffer.truncate(info.buffer_size());
    match info.color_type {
        // PIL keeps these 16 bits and then clips them; it drops the lower half of all others.
        ColorType::Grayscale if wide_grey => {
            to_rgb(buffer, |&[high, low]: &[u8; 2]| [if high > 0 { 255 } else { low }; 3]);
        }
        ColorType::Rgb => {}
        ColorType::Rgba => to_rgb(buffer, |p: &[u8; 4]| [p[0], p[1], p[2]]),
        ColorType::Grayscale => to_rgb(buffer, |p: &[u8; 1]| [p[0]; 3]),
        ColorType::GrayscaleAlpha => to_rgb(buffer, |p: &[u8; 2]| [p[0]; 3]),
        ColorType::Indexed => return Err("broken PNG: a palette that was not expanded".into()),
    }
    Ok(Rgb { pixels: buffer, height, width })
}

/// Turns pixels of `N` bytes into RGB, in place.
fn to_rgb<const N: usize>(buffer: &mut Vec<u8>, rgb: impl Fn(&[u8; N]) -> [u8; 3]) {
    let pixels = buffer.len() / N;
    let turn = |buffer: &mut [u8], i: usize| {
        if let Some(&pixel) = buffer[i * N..].first_chunk::<N>() {
            buffer[i * 3..i * 3 + 3].copy_from_slice(&rgb(&pixel));
        }
    };
    // Pixels that grow are moved from the end, so that none is overwritten before it was read.
    if N < 3 {
        buffer.resize(pixels * 3, 0);
        (0..pixels).rev().for_each(|i| turn(buffer, i));
    } else {
        (0..pixels).for_each(|i| turn(buffer, i));
        buffer.truncate(pixels * 3);
    }
}

#[cfg(test)]
mod tests;
