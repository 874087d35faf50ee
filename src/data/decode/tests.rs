use safetensors::SafeTensors;

use super::*;

fn file(name: &str) -> Vec<u8> {
    std::fs::read(format!("tests/fixtures/pictures/{name}")).unwrap()
}

/// Differences to PIL's `Image.open(file).convert("RGB")` for every kind of picture in the fixtures:
/// (file, largest difference, mean difference).
fn differences(ending: &str) -> Vec<(String, u8, f64)> {
    let bytes = file("expected.safetensors");
    let expected = SafeTensors::deserialize(&bytes).unwrap();
    let mut rows = Vec::new();
    for name in expected.names().into_iter().filter(|name| name.ends_with(ending)) {
        let tensor = expected.tensor(name).unwrap();
        let mut buffer = Vec::new();
        let rgb = decode(&file(name), &mut buffer).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!([rgb.height, rgb.width, 3], tensor.shape(), "{name}");
        let all: Vec<u8> =
            rgb.pixels.iter().zip(tensor.data()).map(|(a, b)| a.abs_diff(*b)).collect();
        let mean = all.iter().map(|&d| f64::from(d)).sum::<f64>() / all.len() as f64;
        println!("{name}: largest {}, mean {mean:.4}", all.iter().max().unwrap());
        rows.push((name.to_owned(), *all.iter().max().unwrap(), mean));
    }
    assert!(rows.len() >= 6);
    rows
}

#[test]
fn pngs_of_every_kind_are_exact() {
    for (name, largest, _) in differences(".png") {
        assert_eq!(largest, 0, "{name}");
    }
}

#[cfg(feature = "train")]
#[test]
fn jpegs_of_every_kind_are_close() {
    // Decoders may round the inverse transform and interpolate halved colour planes differently.
    for (name, largest, mean) in differences(".jpg") {
        assert!(largest <= 4 && mean < 0.5, "{name}: largest {largest}, mean {mean}");
    }
}

#[test]
fn truncation_is_an_error_everywhere() {
    let names: &[&str] = match cfg!(feature = "train") {
        true => {
            &["rgb420.jpg", "progressive.jpg", "grey.jpg", "cmyk.jpg", "rgb.png", "palette.png"]
        }
        false => &["rgb.png", "palette.png"],
    };
    for name in names {
        let whole = file(name);
        // A PNG without its last, empty chunk still has all its pixels.
        let needed = whole.len() - if name.ends_with("png") { 16 } else { 2 };
        for n in (0..needed).step_by(7) {
            assert!(
                decode(&whole[..n], &mut Vec::new()).is_err(),
                "{name}: {n} of {}",
                whole.len()
            );
        }
    }
}

/// A PNG of one row of 16-bit grey values.
fn wide_grey(values: &[u16], transparent: Option<u16>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, values.len() as u32, 1);
    encoder.set_color(png::ColorType::Grayscale);
    encoder.set_depth(png::BitDepth::Sixteen);
    if let Some(value) = transparent {
        encoder.set_trns(value.to_be_bytes().to_vec());
    }
    let data: Vec<u8> = values.iter().flat_map(|v| v.to_be_bytes()).collect();
    encoder.write_header().unwrap().write_image_data(&data).unwrap();
    bytes
}

#[test]
fn grey_values_of_16_bits_are_clipped() {
    // What Pillow 13.0.0's `convert("RGB")` makes of them, whatever is transparent.
    let values = [0, 1, 100, 255, 256, 257, 1000, 65535];
    let expected = [0, 1, 100, 255, 255, 255, 255, 255].map(|v: u8| [v; 3]);
    for transparent in [None, Some(257), Some(100)] {
        let mut buffer = Vec::new();
        let rgb = decode(&wide_grey(&values, transparent), &mut buffer).unwrap();
        assert_eq!((rgb.height, rgb.width), (1, 8));
        assert_eq!(rgb.pixels, expected.as_flattened(), "{transparent:?}");
    }
}

/// The error, which must come before memory is taken.
fn refused(bytes: &[u8]) -> String {
    let mut buffer = Vec::new();
    let e = decode(bytes, &mut buffer).err().unwrap_or_else(|| panic!("taken for a picture"));
    assert_eq!(buffer.capacity(), 0, "{e}");
    e
}

#[test]
fn pngs_that_claim_more_than_they_hold_take_no_memory() {
    let picture = |side: u32, color, depth, compressed: &[u8]| {
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, side, side);
        encoder.set_color(color);
        encoder.set_depth(depth);
        let mut writer = encoder.write_header().unwrap();
        writer.write_chunk(png::chunk::IDAT, compressed).unwrap();
        drop(writer);
        bytes
    };
    let claim =
        |side| refused(&picture(side, png::ColorType::Rgba, png::BitDepth::Eight, &[0x78; 8]));
    assert!(claim(13_000).ends_with("bytes for a picture of 13000x13000 pixels"));
    assert!(claim(16_384).contains("a picture of 16384x16384 pixels; 1 to 178956970 are read"));
    // The flattest of true pictures is not refused.
    let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
    std::io::Write::write_all(&mut zlib, &vec![0; 513 * 4096]).unwrap();
    let flat = zlib.finish().unwrap();
    let bytes = picture(4096, png::ColorType::Grayscale, png::BitDepth::One, &flat);
    assert!(bytes.len() < 513 * 4096 / 950, "{}", bytes.len());
    let mut buffer = Vec::new();
    assert!(decode(&bytes, &mut buffer).unwrap().pixels.iter().all(|&v| v == 0));
}

#[cfg(feature = "train")]
mod jpeg {
    use super::*;

    /// Where the segments up to the first scan begin, with their markers.
    fn segments(bytes: &[u8]) -> Vec<(usize, u8)> {
        let (mut at, mut found) = (2, Vec::new());
        while found.last().is_none_or(|&(_, marker)| marker != 0xda) {
            assert_eq!(bytes[at], 0xff);
            found.push((at, bytes[at + 1]));
            at += 2 + usize::from(u16::from_be_bytes([bytes[at + 2], bytes[at + 3]]));
        }
        found
    }

    fn spliced(bytes: &[u8], at: usize, more: &[u8]) -> Vec<u8> {
        [&bytes[..at], more, &bytes[at..]].concat()
    }

    #[test]
    fn claims_beyond_the_coded_bytes_take_no_memory() {
        for name in ["rgb420.jpg", "progressive.jpg", "grey.jpg", "cmyk.jpg"] {
            let mut bytes = file(name);
            let frame = segments(&bytes).into_iter().find(|(_, m)| matches!(m, 0xc0 | 0xc2));
            let at = frame.unwrap().0;
            for (height, width, said) in [
                (4096u16, 65_500u16, "1 to 178956970 are read"),
                (2048, 65_500, "coded bytes for a picture of 65500x2048 pixels"),
                (2048, 2048, "coded bytes for a picture of 2048x2048 pixels"),
                (0, 2048, "a picture of 2048x0 pixels"),
            ] {
                bytes[at + 5..at + 7].copy_from_slice(&height.to_be_bytes());
                bytes[at + 7..at + 9].copy_from_slice(&width.to_be_bytes());
                let e = refused(&bytes);
                assert!(e.contains(said), "{name}: {e}");
            }
        }
    }

    /// One grey for 512x512 pixels: as few bits as libjpeg can write.
    #[test]
    fn the_flattest_pictures_are_not_refused() {
        for name in ["flat.jpg", "flat420.jpg", "flat_progressive.jpg"] {
            let mut buffer = Vec::new();
            let rgb = decode(&file(name), &mut buffer).unwrap_or_else(|e| panic!("{name}: {e}"));
            assert_eq!((rgb.height, rgb.width), (512, 512), "{name}");
            assert!(rgb.pixels.iter().all(|&v| v == 128), "{name}");
        }
    }

    #[test]
    fn a_thumbnail_does_not_end_the_picture() {
        for name in ["rgb444.jpg", "progressive.jpg", "grey.jpg"] {
            let whole = file(name);
            let thumbnail = file("grey.jpg");
            let length = (thumbnail.len() + 8) as u16;
            let exif = [&[0xff, 0xe1][..], &length.to_be_bytes(), b"Exif\0\0", &thumbnail].concat();
            let with = spliced(&whole, 2, &exif);
            let (mut plain, mut buffer) = (Vec::new(), Vec::new());
            assert_eq!(decode(&with, &mut buffer), decode(&whole, &mut plain), "{name}");
            for n in 0..with.len() {
                assert!(decode(&with[..n], &mut Vec::new()).is_err(), "{name}: {n}");
            }
            // What stands behind the end is not looked at.
            let more = [&with[..], &thumbnail[..100]].concat();
            assert_eq!(decode(&more, &mut buffer), decode(&whole, &mut plain), "{name}");
        }
    }

    #[test]
    fn stray_bytes_between_segments_are_passed_over_as_by_pil() {
        for name in ["rgb420.jpg", "rgb444.jpg", "progressive.jpg", "cmyk.jpg"] {
            let whole = file(name);
            let mut plain = Vec::new();
            let expected = decode(&whole, &mut plain).unwrap();
            for (at, marker) in segments(&whole) {
                let strays: [&[u8]; 5] =
                    [b"\0", b"abcdefgh", b"\xff\xff\xff", b"\xff\0\xff\0ab", b"\xff\xd0\0\0\0"];
                for stray in strays {
                    let mut buffer = Vec::new();
                    let with = spliced(&whole, at, stray);
                    let rgb = decode(&with, &mut buffer);
                    assert_eq!(rgb.as_ref(), Ok(&expected), "{name}: {stray:?} at {marker:#x}");
                    let cut = &with[..with.len() - 20];
                    assert!(decode(cut, &mut buffer).is_err(), "{name}: {stray:?}");
                }
            }
        }
    }
}
