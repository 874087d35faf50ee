//! One JPEG or PNG file into RGB bytes, as PIL's `convert("RGB")` gives them: grey repeated, CMYK
//! converted, alpha dropped, EXIF rotation not applied.
//!
//! PNGs give PIL's bytes. JPEGs come near: the decoder rounds the inverse transform and interpolates
//! halved colour planes otherwise than libjpeg-turbo, and has no option for it. On the pictures in
//! `tests/fixtures/pictures` the largest difference is 2 and the mean 0.012 with whole colour planes, 3
//! and 0.39 with halved ones (4:2:0).

use std::io::Cursor;

use super::set::Rgb;

/// Larger pictures are taken for damage.
const MAX_PIXELS: usize = 1 << 28;

/// Decodes `bytes` into `buffer`; the error is one phrase without the file's name.
pub(super) fn decode<'a>(bytes: &[u8], buffer: &'a mut Vec<u8>) -> Result<Rgb<'a>, String> {
    match bytes {
        [0xff, 0xd8, ..] => jpeg(bytes, buffer),
        [0x89, b'P', b'N', b'G', ..] => png(bytes, buffer),
        [] => Err("the file is empty".into()),
        _ => Err("neither JPEG nor PNG".into()),
    }
}

#[cfg(feature = "train")]
fn jpeg<'a>(bytes: &[u8], buffer: &'a mut Vec<u8>) -> Result<Rgb<'a>, String> {
    use zune_jpeg::JpegDecoder;
    use zune_jpeg::zune_core::bytestream::ZCursor;
    use zune_jpeg::zune_core::colorspace::ColorSpace;
    use zune_jpeg::zune_core::options::DecoderOptions;

    // The decoder's words go over several lines.
    let broken = |e: zune_jpeg::errors::DecodeErrors| {
        let words = format!("{e:?}");
        format!("broken JPEG: {}", words.split_whitespace().collect::<Vec<_>>().join(" "))
    };
    let options = DecoderOptions::default()
        .jpeg_set_out_colorspace(ColorSpace::RGB)
        .set_strict_mode(true)
        .set_max_width(1 << 16)
        .set_max_height(1 << 16);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    decoder.decode_headers().map_err(broken)?;
    let (width, height) = decoder.dimensions().ok_or("broken JPEG: no size")?;
    plausible(height, width)?;
    if !ends_with_marker(bytes) {
        return Err("broken JPEG: cut short (no end-of-image marker)".into());
    }
    buffer.resize(height * width * 3, 0);
    decoder.decode_into(buffer).map_err(broken)?;
    Ok(Rgb { pixels: buffer, height, width })
}

/// True if an end-of-image marker stands in the file (some cameras append data after it).
#[cfg(feature = "train")]
fn ends_with_marker(bytes: &[u8]) -> bool {
    bytes.windows(2).rev().any(|pair| pair == [0xff, 0xd9])
}

#[cfg(not(feature = "train"))]
fn jpeg<'a>(_bytes: &[u8], _buffer: &'a mut Vec<u8>) -> Result<Rgb<'a>, String> {
    Err("a JPEG; this build decodes PNG alone, build with --features train".into())
}

fn plausible(height: usize, width: usize) -> Result<(), String> {
    match height.checked_mul(width) {
        Some(1..=MAX_PIXELS) => Ok(()),
        _ => Err(format!("a picture of {width}x{height} pixels")),
    }
}

fn png<'a>(bytes: &[u8], buffer: &'a mut Vec<u8>) -> Result<Rgb<'a>, String> {
    use png::{ColorType, Transformations};

    let broken = |e: png::DecodingError| format!("broken PNG: {e}");
    let mut decoder = png::Decoder::new(Cursor::new(bytes));
    decoder.set_transformations(Transformations::EXPAND | Transformations::STRIP_16);
    let mut reader = decoder.read_info().map_err(broken)?;
    let (width, height) = (reader.info().width as usize, reader.info().height as usize);
    plausible(height, width)?;
    let size = reader.output_buffer_size().ok_or("a PNG larger than memory")?;
    buffer.resize(size, 0);
    let info = reader.next_frame(buffer).map_err(broken)?;
    buffer.truncate(info.buffer_size());
    match info.color_type {
        ColorType::Rgb => {}
        ColorType::Rgba => keep(buffer, |p: &[u8; 4]| [p[0], p[1], p[2]]),
        ColorType::Grayscale => *buffer = buffer.iter().flat_map(|&v| [v; 3]).collect(),
        ColorType::GrayscaleAlpha => {
            *buffer = buffer.chunks_exact(2).flat_map(|p| [p[0]; 3]).collect();
        }
        ColorType::Indexed => return Err("broken PNG: a palette that was not expanded".into()),
    }
    Ok(Rgb { pixels: buffer, height, width })
}

/// Turns pixels of `N` bytes into RGB, in place.
fn keep<const N: usize>(buffer: &mut Vec<u8>, rgb: impl Fn(&[u8; N]) -> [u8; 3]) {
    let pixels = buffer.len() / N;
    for i in 0..pixels {
        if let Some(&pixel) = buffer[i * N..].first_chunk::<N>() {
            buffer[i * 3..i * 3 + 3].copy_from_slice(&rgb(&pixel));
        }
    }
    buffer.truncate(pixels * 3);
}

#[cfg(test)]
mod tests;
