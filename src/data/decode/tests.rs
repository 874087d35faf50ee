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
