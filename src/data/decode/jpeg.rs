//! JPEG. The segments are walked before anything is decoded: the decoder takes memory and time for the
//! size that the header claims, fills up what is missing, and stumbles over bytes between segments that
//! libjpeg passes over.

use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use super::{Rgb, plausible};

/// Markers, without their 0xff.
const RESTARTS: std::ops::RangeInclusive<u8> = 0xd0..=0xd7;
const START_OF_IMAGE: u8 = 0xd8;
const END_OF_IMAGE: u8 = 0xd9;
const START_OF_SCAN: u8 = 0xda;

pub(super) fn decode<'a>(bytes: &[u8], buffer: &'a mut Vec<u8>) -> Result<Rgb<'a>, String> {
    // The decoder's words go over several lines.
    let broken = |e: zune_jpeg::errors::DecodeErrors| {
        let words = format!("{e:?}");
        format!("broken JPEG: {}", words.split_whitespace().collect::<Vec<_>>().join(" "))
    };
    let outline = Outline::read(bytes).map_err(|e| format!("broken JPEG: {e}"))?;
    let Frame { height, width, .. } = outline.frame;
    plausible(height, width)?;
    outline.enough()?;
    let tidied;
    let bytes = if outline.stray {
        tidied = without_strays(&bytes[..outline.end]);
        &tidied
    } else {
        &bytes[..outline.end]
    };
    let options = DecoderOptions::default()
        .jpeg_set_out_colorspace(ColorSpace::RGB)
        .set_strict_mode(true)
        .set_max_width(1 << 16)
        .set_max_height(1 << 16);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    decoder.decode_headers().map_err(broken)?;
    if decoder.dimensions() != Some((width, height)) {
        return Err("broken JPEG: two sizes".into());
    }
    buffer.resize(height * width * 3, 0);
    decoder.decode_into(buffer).map_err(broken)?;
    Ok(Rgb { pixels: buffer, height, width })
}

/// What the markers of a whole JPEG say.
#[derive(Debug)]
struct Outline {
    frame: Frame,
    /// Bytes of coded blocks, all scans together.
    coded: usize,
    /// True if there are bytes between the segments before the first scan.
    stray: bool,
    /// Where the end-of-image marker ends; some cameras append data after it.
    end: usize,
}

#[derive(Debug, Clone, Copy)]
struct Frame {
    height: usize,
    width: usize,
    progressive: bool,
    /// 8x8 blocks of all components.
    blocks: u64,
}

impl Outline {
    /// Walks from marker to marker; what stands inside a segment (a thumbnail in EXIF) is not looked at.
    fn read(bytes: &[u8]) -> Result<Self, String> {
        let cut = || "cut short (no end-of-image marker)".to_owned();
        let (mut frame, mut coded, mut stray) = (None, 0, false);
        let (mut at, mut scans, mut in_scan) = (2, 0, false);
        loop {
            let (place, marker) = next_marker(bytes, at).ok_or_else(cut)?;
            if in_scan {
                coded += place - at;
            }
            stray |= scans == 0 && place > at;
            match marker {
                END_OF_IMAGE => {
                    let frame = frame.filter(|_| scans > 0).ok_or("no picture in it")?;
                    return Ok(Self { frame, coded, stray, end: place + 2 });
                }
                START_OF_IMAGE => return Err("a second picture inside the first".into()),
                _ => {}
            }
            let segment = segment(bytes, place).ok_or_else(cut)?;
            match marker {
                0xc0..=0xc2 => frame = Some(Frame::read(marker, segment)?),
                // 0xc4 and 0xcc are tables.
                0xc3 | 0xc5..=0xcb | 0xcd..=0xcf => {
                    return Err(format!(
                        "frame type {marker:#04x} is not read; baseline and progressive are"
                    ));
                }
                _ => {}
            }
            in_scan = marker == START_OF_SCAN;
            scans += usize::from(in_scan);
            at = place + 4 + segment.len();
        }
    }

    /// Refuses a size that the coded bytes cannot fill. A code has one bit at least: a block of a
    /// baseline picture needs two (its mean, the end of the rest), one of a progressive picture one (its
    /// mean; a single code may end the rest of very many blocks). Flat pictures come down to that.
    fn enough(&self) -> Result<(), String> {
        let Frame { height, width, progressive, blocks } = self.frame;
        let bits = blocks * if progressive { 1 } else { 2 };
        if self.coded as u64 * 8 >= bits {
            return Ok(());
        }
        let coded = self.coded;
        Err(format!("broken JPEG: {coded} coded bytes for a picture of {width}x{height} pixels"))
    }
}

impl Frame {
    /// From the contents of a start-of-frame segment.
    fn read(marker: u8, segment: &[u8]) -> Result<Self, String> {
        let [_, y1, y0, x1, x0, _, components @ ..] = segment else {
            return Err("a frame header that is too short".into());
        };
        let (height, width) = (u16::from_be_bytes([*y1, *y0]), u16::from_be_bytes([*x1, *x0]));
        // Identity, sampling across and down in four bits each, number of the quantisation table.
        let factors = || components.chunks_exact(3).map(|c| (c[1] >> 4, c[1] & 15));
        let across = factors().map(|f| f.0).max().unwrap_or(0).max(1);
        let down = factors().map(|f| f.1).max().unwrap_or(0).max(1);
        let side = |length: u16, factor: u8, largest: u8| {
            (u64::from(length) * u64::from(factor)).div_ceil(8 * u64::from(largest))
        };
        let blocks = |(h, v)| side(width, h, across) * side(height, v, down);
        Ok(Self {
            height: height.into(),
            width: width.into(),
            progressive: marker == 0xc2,
            blocks: factors().map(blocks).sum(),
        })
    }
}

/// The next marker from `at` on that begins a segment or ends the picture: the place of its last 0xff,
/// and its second byte. As in libjpeg, what is no marker is passed over, and so are fill bytes, stuffed
/// zeros and restart markers.
fn next_marker(bytes: &[u8], mut at: usize) -> Option<(usize, u8)> {
    loop {
        at += bytes.get(at..)?.iter().position(|&b| b == 0xff)?;
        at += bytes[at..].iter().position(|&b| b != 0xff)?;
        if bytes[at] != 0 && !RESTARTS.contains(&bytes[at]) {
            return Some((at - 1, bytes[at]));
        }
    }
}

/// The contents of the segment whose marker stands at `place`.
fn segment(bytes: &[u8], place: usize) -> Option<&[u8]> {
    let rest = bytes.get(place + 2..)?;
    let length = usize::from(u16::from_be_bytes(*rest.first_chunk()?));
    rest.get(2..length)
}

/// The same picture without the bytes between its segments before the first scan.
fn without_strays(bytes: &[u8]) -> Vec<u8> {
    let mut tidy = bytes[..2].to_vec();
    let mut at = 2;
    while let Some((place, marker)) = next_marker(bytes, at) {
        let Some(segment) = segment(bytes, place) else { break };
        if marker == START_OF_SCAN {
            tidy.extend_from_slice(&bytes[place..]);
            break;
        }
        at = place + 4 + segment.len();
        tidy.extend_from_slice(&bytes[place..at]);
    }
    tidy
}
