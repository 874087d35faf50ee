//! Subsets and image operations against reference values made with NumPy, Pillow and torchvision.
//!
//! `RESCOM_FIXTURES` names another directory of values with the same file formats; every setting is
//! taken from its files.

use std::collections::BTreeMap;
use std::path::PathBuf;

use rescom::augment::rand_augment::RandOperation;
use rescom::augment::{
    Canvas, ImageRef, Layout, Normalize, Operation, Resample, auto, geometry, resize,
};
use safetensors::{Dtype, SafeTensors};
use serde_json::Value;

mod subsets;

fn fixture(name: &str) -> PathBuf {
    let dir = std::env::var_os("RESCOM_FIXTURES");
    dir.map_or_else(|| PathBuf::from("tests/fixtures"), PathBuf::from).join(name)
}

fn read(name: &str) -> Vec<u8> {
    let path = fixture(name);
    std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn json(name: &str) -> Value {
    serde_json::from_slice(&read(name)).unwrap()
}

fn manifest(name: &str) -> Value {
    json("manifest.json")["files"][name].clone()
}

/// What the manifest says of each tensor of a file: of all of them, and of no other.
fn entries(name: &str) -> Vec<Value> {
    let entries = manifest(name)["entries"].as_array().expect("entries").clone();
    let mut described: Vec<&str> = entries.iter().map(|entry| text(entry, "key")).collect();
    let bytes = read(name);
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let mut there = tensors.names();
    described.sort_unstable();
    there.sort_unstable();
    assert_eq!(described, there, "{name}");
    entries
}

fn text<'a>(entry: &'a Value, field: &str) -> &'a str {
    entry[field].as_str().unwrap_or_else(|| panic!("{field} of {entry}"))
}

fn number(entry: &Value, field: &str) -> f64 {
    entry[field].as_f64().unwrap_or_else(|| panic!("{field} of {entry}"))
}

fn size(entry: &Value, field: &str) -> usize {
    entry[field].as_u64().unwrap_or_else(|| panic!("{field} of {entry}")) as usize
}

/// An owned RGB image.
#[derive(Clone, PartialEq)]
struct Image {
    pixels: Vec<u8>,
    height: usize,
    width: usize,
}

impl Image {
    fn view(&self) -> ImageRef<'_> {
        ImageRef { pixels: &self.pixels, height: self.height, width: self.width, channels: 3 }
    }

    fn of(canvas: &mut Canvas) -> Self {
        let image = canvas.image();
        Self { pixels: image.pixels.to_vec(), height: image.height, width: image.width }
    }

    fn after(&self, fill: [u8; 3], operations: &[Operation]) -> Self {
        let mut canvas = Canvas::of(self.view());
        operations.iter().for_each(|operation| operation.apply(&mut canvas, fill));
        Self::of(&mut canvas)
    }
}

/// The images of a byte tensor `[H, W, 3]` or `[N, H, W, 3]`.
fn images(tensors: &SafeTensors<'_>, key: &str) -> Vec<Image> {
    let tensor = tensors.tensor(key).unwrap_or_else(|e| panic!("{key}: {e}"));
    assert_eq!(tensor.dtype(), Dtype::U8, "{key}");
    let &[.., height, width, 3] = tensor.shape() else { panic!("{key}: {:?}", tensor.shape()) };
    let one = |pixels: &[u8]| Image { pixels: pixels.to_vec(), height, width };
    tensor.data().chunks_exact(height * width * 3).map(one).collect()
}

fn floats(tensors: &SafeTensors<'_>, key: &str) -> Vec<f32> {
    let tensor = tensors.tensor(key).unwrap_or_else(|e| panic!("{key}: {e}"));
    assert_eq!(tensor.dtype(), Dtype::F32, "{key}");
    let values = tensor.data().as_chunks::<4>().0;
    values.iter().map(|b| f32::from_le_bytes(*b)).collect()
}

/// An input as entries name it: `rgb64x48` or `rgb32[3]`.
fn input(name: &str) -> Image {
    let bytes = read("augment_images.safetensors");
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let (key, index) = match name.split_once('[') {
        Some((key, rest)) => (key, rest.trim_end_matches(']').parse().unwrap()),
        None => (name, 0),
    };
    images(&tensors, key)[index].clone()
}

/// Differing bytes per operation, printed as a table and judged at the end.
#[derive(Default)]
struct Deviations(BTreeMap<String, Row>);

#[derive(Default)]
struct Row {
    images: usize,
    bytes: usize,
    differing: usize,
    largest: u8,
    /// Share of bytes that may differ by one grey level.
    allowed: f64,
}

impl Deviations {
    fn add(&mut self, operation: &str, ours: &Image, theirs: &Image, allowed: f64) {
        assert_eq!((ours.height, ours.width), (theirs.height, theirs.width), "{operation}: size");
        let row = self.0.entry(operation.to_owned()).or_default();
        row.images += 1;
        row.bytes += theirs.pixels.len();
        row.allowed = allowed;
        for (a, b) in ours.pixels.iter().zip(&theirs.pixels) {
            row.differing += usize::from(a != b);
            row.largest = row.largest.max(a.abs_diff(*b));
        }
    }

    fn judge(&self) {
        println!(
            "{:<28} {:>6} {:>9} {:>9} {:>7}",
            "operation", "images", "bytes", "differing", "largest"
        );
        for (name, row) in &self.0 {
            println!(
                "{name:<28} {:>6} {:>9} {:>9} {:>7}",
                row.images, row.bytes, row.differing, row.largest
            );
        }
        for (name, row) in &self.0 {
            let allowed = (row.bytes as f64 * row.allowed) as usize;
            let largest = u8::from(row.allowed > 0.0);
            assert!(
                row.differing <= allowed && row.largest <= largest,
                "{name}: {} of {} bytes differ, by up to {}",
                row.differing,
                row.bytes,
                row.largest
            );
        }
        assert!(!self.0.is_empty(), "nothing was compared");
    }
}

#[test]
fn autoaugment_operations_equal_pillow() {
    const FILE: &str = "augment_autoaugment.safetensors";
    let (bytes, sources) = (read(FILE), read("augment_images.safetensors"));
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let sources = SafeTensors::deserialize(&sources).unwrap();
    let sources = images(&sources, text(&manifest(FILE), "input"));
    let mut deviations = Deviations::default();
    for entry in entries(FILE) {
        let name = text(&entry, "op");
        let all = auto::AutoOperation::ALL;
        let kind = *all.iter().find(|o| o.name() == name).unwrap_or_else(|| panic!("{name}"));
        let magnitude = number(&entry, "magnitude");
        if let Some(index) = entry["magnitude_index"].as_u64() {
            assert_eq!(kind.magnitude(index as u8), magnitude, "{entry}");
        }
        let sign = entry["sign"].as_f64();
        assert_eq!(sign.is_some(), kind.is_signed(), "{entry}");
        let operation = kind.with(magnitude, sign.unwrap_or(1.0));
        let theirs = images(&tensors, text(&entry, "key"));
        assert_eq!(theirs.len(), sources.len());
        for (source, theirs) in sources.iter().zip(&theirs) {
            deviations.add(name, &source.after(auto::FILL, &[operation]), theirs, 0.0);
        }
    }
    deviations.judge();
}

#[test]
fn autoaugment_sub_policies_equal_the_reference() {
    let manifest = manifest("augment_autoaugment.safetensors");
    let theirs = manifest["policy_subpolicies"].as_array().expect("policy_subpolicies");
    assert_eq!(theirs.len(), auto::POLICY.len());
    for (theirs, ours) in theirs.iter().zip(&auto::POLICY) {
        let [(p1, o1, m1), (p2, o2, m2)] = ours;
        assert_eq!(*theirs, serde_json::json!([p1, o1.name(), m1, p2, o2.name(), m2]));
    }
}

#[test]
fn randaugment_operations_equal_pillow() {
    const FILE: &str = "augment_randaugment.safetensors";
    let bytes = read(FILE);
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let manifest = manifest(FILE);
    let source = input(text(&manifest, "input"));
    let names: Vec<&str> = RandOperation::ALL.iter().map(|o| o.name()).collect();
    assert_eq!(manifest["op_list"], serde_json::json!(names));
    let fill: [u8; 3] = serde_json::from_value(manifest["fill_rgb"].clone()).unwrap();
    let mut deviations = Deviations::default();
    for entry in entries(FILE) {
        let name = text(&entry, "op");
        let kind = *RandOperation::ALL.iter().find(|o| o.name() == name).expect("known operation");
        let resample = match entry["resample"].as_str() {
            Some("bilinear") => Resample::Bilinear,
            Some("bicubic") => Resample::Bicubic,
            None => Resample::Nearest,
            Some(other) => panic!("resample {other}"),
        };
        let argument = entry["argument"][0].as_f64();
        let expected = kind.argument(number(&entry, "level"));
        assert_eq!(expected.is_some(), argument.is_some(), "{entry}");
        if let (Some(ours), Some(theirs)) = (expected, argument) {
            assert!((ours - theirs.abs()).abs() <= 1e-12, "{entry}: argument {ours}");
        }
        let operation = kind.with(argument.unwrap_or(0.0), resample);
        let ours = source.after(fill, &[operation]);
        let (label, allowed) = match resample {
            Resample::Nearest => (name.to_owned(), 0.0),
            Resample::Bicubic => (format!("{name} bicubic"), 0.0),
            Resample::Bilinear => (format!("{name} bilinear"), 0.002),
        };
        deviations.add(&label, &ours, &images(&tensors, text(&entry, "key"))[0], allowed);
    }
    deviations.judge();
}

/// Numbers in a phrase such as "crop height 51 width 53" or "to 56x56".
fn numbers(phrase: &str) -> Vec<usize> {
    phrase.split(|c: char| !c.is_ascii_digit()).filter_map(|t| t.parse().ok()).collect()
}

#[test]
fn torchvision_operations_equal_pillow() {
    const FILE: &str = "augment_torchvision.safetensors";
    let bytes = read(FILE);
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let mut deviations = Deviations::default();
    // "then centre crop" entries continue from the resize entry before them.
    let mut edge = 0;
    for entry in entries(FILE) {
        let (key, op) = (text(&entry, "key"), text(&entry, "op"));
        let source = input(text(&entry, "input"));
        let factor = || number(&entry, "factor");
        let jittered = |operation| source.after([0; 3], &[operation]);
        let (label, ours) = match op {
            "brightness" => (op, jittered(Operation::Brightness(factor()))),
            "contrast" => (op, jittered(Operation::Contrast(factor()))),
            "saturation" => (op, jittered(Operation::Color(factor()))),
            _ if entry["factor"].is_array() => {
                ("jitter, several in a row", jitter(&source, &entry))
            }
            _ if op.starts_with("grayscale") => ("grayscale", jittered(Operation::Grayscale)),
            _ if op.starts_with("resized_crop") => ("resized crop", resized_crop(&source, &entry)),
            _ if op.starts_with("resize shorter edge") => {
                edge = numbers(op)[0];
                ("resize", resized(&source, edge))
            }
            _ if op.starts_with("then centre crop") => {
                ("resize + centre crop", centre_crop(&source, edge, &numbers(op)))
            }
            _ if op.starts_with("zero-pad") => ("pad + crop", padded_crop(&source, &entry)),
            "horizontal flip" => ("flip", flipped(&source)),
            _ if entry.get("mean").is_some() => {
                assert_normalised(&tensors, key, &source, &normalize_of(&entry));
                continue;
            }
            _ if op.starts_with("cutout") => ("cutout", cut(&source, &entry)),
            _ if key.starts_with("cutout_norm") => {
                let hole = cut(&source, &cutout_of(key));
                assert_normalised(&tensors, key, &hole, &Normalize::cifar());
                continue;
            }
            _ => panic!("{key}: no check for \"{op}\""),
        };
        deviations.add(label, &ours, &images(&tensors, key)[0], 0.0);
    }
    deviations.judge();
}

/// "brightness then contrast then saturation ..." with a factor for each.
fn jitter(source: &Image, entry: &Value) -> Image {
    let factors: Vec<f64> = serde_json::from_value(entry["factor"].clone()).unwrap();
    let names: Vec<&str> = text(entry, "op").split(" then ").collect();
    assert_eq!(names.len(), factors.len(), "{entry}");
    let step = |(name, factor): (&str, f64)| match name.split(|c: char| !c.is_alphabetic()).next() {
        Some("brightness") => Operation::Brightness(factor),
        Some("contrast") => Operation::Contrast(factor),
        Some("saturation") => Operation::Color(factor),
        _ => panic!("no check for \"{name}\""),
    };
    source.after([0; 3], &names.into_iter().zip(factors).map(step).collect::<Vec<_>>())
}

fn resized_crop(source: &Image, entry: &Value) -> Image {
    let [height, width] = numbers(text(entry, "op"))[..] else { panic!("{entry}") };
    let rectangle =
        (size(entry, "top"), size(entry, "left"), size(entry, "height"), size(entry, "width"));
    let mut canvas = Canvas::new();
    resize::resized_crop(source.view(), rectangle, (height, width), &mut canvas);
    Image::of(&mut canvas)
}

fn resized(source: &Image, edge: usize) -> Image {
    let to = resize::shorter_edge(edge, source.height, source.width);
    let mut canvas = Canvas::new();
    resize::resized_crop(source.view(), (0, 0, source.height, source.width), to, &mut canvas);
    Image::of(&mut canvas)
}

fn centre_crop(source: &Image, edge: usize, crop: &[usize]) -> Image {
    let &[height, width] = crop else { panic!("centre crop {crop:?}") };
    let whole = resized(source, edge);
    let at = resize::centre((whole.height - height, whole.width - width));
    let mut canvas = Canvas::of(whole.view());
    canvas.crop(at, (height, width));
    Image::of(&mut canvas)
}

fn padded_crop(source: &Image, entry: &Value) -> Image {
    let [padding, height, width] = numbers(text(entry, "op"))[..] else { panic!("{entry}") };
    let at = (size(entry, "top"), size(entry, "left"));
    let mut pixels = Vec::new();
    geometry::crop_padded(source.view(), padding, at, false, &mut pixels);
    let mut canvas = Canvas::of(Image { pixels, ..*source }.view());
    canvas.crop((0, 0), (height, width));
    Image::of(&mut canvas)
}

fn flipped(source: &Image) -> Image {
    let mut image = source.clone();
    geometry::flip_rows(&mut image.pixels, image.width, 3);
    image
}

fn cut(source: &Image, entry: &Value) -> Image {
    let mut image = source.clone();
    let centre = (size(entry, "centre_y"), size(entry, "centre_x"));
    let shape = (image.height, image.width, 3);
    geometry::cutout(&mut image.pixels, shape, centre, size(entry, "length"));
    image
}

/// `cutout_norm.Y_X_LENGTH` has its settings in its key alone.
fn cutout_of(key: &str) -> Value {
    let [y, x, length] = numbers(key)[..] else { panic!("{key}") };
    serde_json::json!({ "centre_y": y, "centre_x": x, "length": length })
}

fn normalize_of(entry: &Value) -> Normalize {
    let list = |field: &str| serde_json::from_value::<Vec<f64>>(entry[field].clone()).unwrap();
    Normalize::new(&list("mean"), &list("std")).unwrap()
}

fn assert_normalised(tensors: &SafeTensors<'_>, key: &str, image: &Image, normalize: &Normalize) {
    let theirs = floats(tensors, key);
    let mut ours = vec![0.0; theirs.len()];
    normalize.write(image.view(), Layout::Nchw, &mut ours);
    let differing = ours.iter().zip(&theirs).filter(|(a, b)| a.to_bits() != b.to_bits()).count();
    println!("{key:<28} {:>6} {:>9} {differing:>9}", 1, theirs.len());
    assert_eq!(differing, 0, "{key}");
}
