//! Readers meet damaged files: an error that names the file, never a panic, never memory in
//! proportion to what a header claims. And the random choices of the augmentations have the
//! probabilities they should have.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use rescom::augment::rand_augment::RandAugment;
use rescom::augment::{
    ImageRef, Jitter, Operation, Pipeline, ResizedCrop, Scratch, SmallImages, auto,
};
use rescom::data::cifar::{Check, Cifar};
use rescom::data::synthetic::Synthetic;
use rescom::data::{ImageFiles, ImageSource, idx};
use rescom::rng::Streams;

/// What happens to a file: cut off, some bytes changed, or replaced by noise.
#[derive(Debug, Clone)]
enum Damage {
    Cut(usize),
    Change(Vec<(usize, u8)>),
    Noise(Vec<u8>),
    Append(Vec<u8>),
}

fn damage() -> impl Strategy<Value = Damage> {
    prop_oneof![
        any::<usize>().prop_map(Damage::Cut),
        prop::collection::vec((any::<usize>(), any::<u8>()), 1..8).prop_map(Damage::Change),
        prop::collection::vec(any::<u8>(), 0..400).prop_map(Damage::Noise),
        prop::collection::vec(any::<u8>(), 1..40).prop_map(Damage::Append),
    ]
}

fn damaged(bytes: &[u8], damage: &Damage) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    match damage {
        Damage::Cut(at) => bytes.truncate(at % bytes.len().max(1)),
        Damage::Change(changes) => {
            for &(at, value) in changes {
                let at = at % bytes.len();
                bytes[at] = value;
            }
        }
        Damage::Noise(noise) => bytes.clone_from(noise),
        Damage::Append(more) => bytes.extend(more),
    }
    bytes
}

/// An error must name the file and exit with 2; success is allowed (a changed pixel is still a pixel).
fn judge<T>(result: rescom::Result<T>, path: &Path) -> Result<(), TestCaseError> {
    if let Err(e) = result {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        prop_assert!(e.to_string().contains(&name), "{e} does not name {name}");
        prop_assert_eq!(e.exit_code(), 2, "{}", e);
    }
    Ok(())
}

/// A pickled CIFAR-10 batch of two images.
pub(crate) fn pickle() -> Vec<u8> {
    let mut file =
        b"\x80\x02}q\x01(U\x04dataq\x02cnumpy.core.multiarray\n_reconstruct\nq\x03".to_vec();
    file.extend(b"cnumpy\nndarray\nq\x04K\x00\x85U\x01b\x87Rq\x05(K\x01K\x02M\x00\x0c\x86");
    file.extend(b"cnumpy\ndtype\nq\x06U\x02u1K\x00K\x01\x87Rq\x07(K\x03U\x01|NNN");
    file.extend(b"J\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89T\x00\x18\x00\x00");
    file.extend([7; 2 * 3072]);
    file.extend(b"tbU\x06labels](K\x01K\x02eu.");
    file
}

struct Folder {
    _dir: tempfile::TempDir,
    path: PathBuf,
}

/// A folder of whole files with one file in it to be damaged.
fn cifar_folder(format: Cifar, pickled: bool) -> Folder {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("set");
    Synthetic { format, train_per_class: 1, test_per_class: 1, seed: 0 }.write(&path).unwrap();
    if pickled {
        for entry in fs::read_dir(&path).unwrap().map(Result::unwrap) {
            fs::remove_file(entry.path()).unwrap();
        }
        for i in 1..=5 {
            fs::write(path.join(format!("data_batch_{i}")), pickle()).unwrap();
        }
        fs::write(path.join("test_batch"), pickle()).unwrap();
    }
    Folder { _dir: dir, path }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gz.write_all(bytes).unwrap();
    gz.finish().unwrap()
}

/// `PROPTEST_CASES` may ask for more cases than `floor`, not for fewer.
fn at_least(floor: u32) -> ProptestConfig {
    let asked = std::env::var("PROPTEST_CASES").ok().and_then(|text| text.parse().ok());
    ProptestConfig::with_cases(floor.max(asked.unwrap_or(floor)))
}

/// An image of three by two pixels in IDX form.
const IDX: [&[u8]; 2] = [&[0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0, 3], &[9; 12]];

proptest! {
    #![proptest_config(at_least(256))]

    #[test]
    fn damaged_idx_files(damage in damage()) {
        let path = Path::new("x-images-idx3-ubyte");
        judge(idx::parse(&damaged(&IDX.concat(), &damage)[..], 3, path), path)?;
    }

    #[test]
    fn damaged_compressed_idx_files(damage in damage(), inside: bool) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x-images-idx3-ubyte.gz");
        let bytes = match inside {
            true => gzip(&damaged(&IDX.concat(), &damage)),
            false => damaged(&gzip(&IDX.concat()), &damage),
        };
        fs::write(&path, bytes).unwrap();
        judge(idx::read(&path, 3), &path)?;
    }

    #[test]
    fn damaged_image_lists(damage in damage()) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("train_list.txt");
        fs::write(&path, damaged(b"a/1.jpg 0\nb/2.jpg 1\nc/3 x.png 2\n", &damage)).unwrap();
        judge(ImageFiles::from_list(&path, dir.path(), None), &path)?;
    }
}

proptest! {
    #![proptest_config(at_least(64))]

    #[test]
    fn damaged_binary_batches(damage in damage(), hundred: bool) {
        let (format, name) = match hundred {
            true => (Cifar::Hundred, "train.bin"),
            false => (Cifar::Ten, "data_batch_3.bin"),
        };
        let folder = cifar_folder(format, false);
        let file = folder.path.join(name);
        let whole = fs::read(&file).unwrap();
        fs::write(&file, damaged(&whole, &damage)).unwrap();
        judge(format.read(&folder.path, Check::Format), &file)?;
    }

    #[test]
    fn damaged_pictures(damage in damage(), which in 0..PICTURES.len()) {
        let name = PICTURES[which];
        let whole = fs::read(format!("tests/fixtures/pictures/{name}")).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let bytes = damaged(&whole, &damage);
        // As a list names it and as a class folder holds it.
        let path = dir.path().join("class").join(name);
        fs::create_dir(dir.path().join("class")).unwrap();
        fs::write(&path, &bytes).unwrap();
        let list = dir.path().join("list.txt");
        fs::write(&list, format!("class/{name} 0\n")).unwrap();
        let files = ImageFiles::from_list(&list, dir.path(), None).unwrap();
        let folders = ImageFiles::from_class_folders(dir.path()).unwrap();
        let (mut buffer, mut other) = (Vec::new(), Vec::new());
        let listed = files.image(0, &mut buffer).map(|image| image.pixels.to_vec()).ok();
        let found = folders.image(0, &mut other).map(|image| image.pixels.to_vec());
        prop_assert_eq!(listed, found.as_ref().ok().cloned());
        judge(found, Path::new(name))?;
        // A byte stands for 512 pixels of a JPEG or 1032 bytes of a PNG's rows at most.
        prop_assert!(buffer.capacity() <= 4 * 1032 * bytes.len(), "{} bytes", buffer.capacity());
    }
}

/// Pictures of every kind of reader and of colour conversion.
const PICTURES: [&str; 7] = [
    "rgb.png",
    "palette.png",
    "grey_alpha.png",
    "rgb420.jpg",
    "progressive.jpg",
    "grey.jpg",
    "cmyk.jpg",
];

proptest! {
    #![proptest_config(at_least(400))]

    #[test]
    fn damaged_pickles(damage in damage(), early in 0..160usize, byte: u8) {
        let folder = cifar_folder(Cifar::Ten, true);
        let file = folder.path.join("data_batch_2");
        let mut bytes = damaged(&pickle(), &damage);
        // Most of a pickle is pixels: hit its head as well.
        if let Some(slot) = bytes.get_mut(early) {
            *slot = byte;
        }
        fs::write(&file, bytes).unwrap();
        judge(Cifar::Ten.read(&folder.path, Check::Format), &file)?;
    }
}

#[cfg(feature = "train")]
proptest! {
    #![proptest_config(at_least(64))]

    /// The archive itself, or one member before it is packed.
    #[test]
    fn damaged_archives(damage in damage(), pickled: bool, inside: bool) {
        let folder = cifar_folder(Cifar::Ten, pickled);
        let member = folder.path.join(if pickled { "data_batch_4" } else { "data_batch_4.bin" });
        if inside {
            let whole = fs::read(&member).unwrap();
            fs::write(&member, damaged(&whole, &damage)).unwrap();
        }
        let mut tar = tar::Builder::new(Vec::new());
        tar.append_dir_all("set", &folder.path).unwrap();
        let packed = gzip(&tar.into_inner().unwrap());
        let path = folder.path.with_file_name("cifar-10.tar.gz");
        fs::write(&path, if inside { packed } else { damaged(&packed, &damage) }).unwrap();
        judge(Cifar::Ten.read(&path, Check::Format), &path)?;
    }
}

/// Number of hits in `n` draws must be within five standard deviations of `probability`.
#[track_caller]
fn assert_share(hits: usize, n: usize, probability: f64, what: &str) {
    let deviation = (n as f64 * probability * (1.0 - probability)).sqrt();
    let expected = n as f64 * probability;
    let off = (hits as f64 - expected).abs();
    assert!(off <= 5.0 * deviation + 1e-9, "{what}: {hits} of {n}, expected {expected:.0}");
}

const DRAWS: usize = 100_000;

#[test]
fn autoaugment_operations_have_the_probabilities_of_the_policy() {
    let mut rng = Streams::new(1).stream("test", &[]);
    let name =
        |operation: &Operation| format!("{operation:?}").split('(').next().unwrap().to_owned();
    let mut seen = std::collections::BTreeMap::<String, usize>::new();
    let mut rightward = 0;
    for _ in 0..DRAWS {
        for operation in auto::draw(&mut rng).into_iter().flatten() {
            rightward +=
                usize::from(matches!(operation, Operation::TranslateY(share, _) if share > 0.0));
            *seen.entry(name(&operation)).or_default() += 1;
        }
    }
    // The expected number of occurrences per draw is the mean of the steps' probabilities; an
    // operation may occur twice in one view, so compare through Poisson-like bounds.
    let mut expected = std::collections::BTreeMap::<String, f64>::new();
    for (probability, operation, index) in auto::POLICY.iter().flatten() {
        let made = operation.with(operation.magnitude(*index), 1.0);
        *expected.entry(name(&made)).or_default() += probability / 25.0;
    }
    for (operation, mean) in &expected {
        let hits = seen.get(operation).copied().unwrap_or(0) as f64;
        let (expected, bound) = (mean * DRAWS as f64, 5.0 * (2.0 * mean * DRAWS as f64).sqrt());
        assert!((hits - expected).abs() <= bound, "{operation}: {hits}, expected {expected:.0}");
    }
    assert_share(rightward, seen["TranslateY"], 0.5, "sign of translations");
}

#[test]
fn crops_flips_and_holes_are_uniform() {
    // One white pixel in the centre tells where the crop was and whether it was mirrored.
    let mut pixels = vec![0; 31 * 31];
    pixels[15 * 31 + 14] = 255;
    let image = ImageRef { pixels: &pixels, height: 31, width: 31, channels: 1 };
    let pipeline = Pipeline::Small(SmallImages::LIGHT);
    let mut rng = Streams::new(2).stream("test", &[]);
    let mut scratch = Scratch::default();
    let mut positions = std::collections::BTreeMap::new();
    for _ in 0..DRAWS {
        let view = pipeline.view(image, &mut rng, &mut scratch);
        let at = view.pixels.iter().position(|&v| v == 255).unwrap();
        *positions.entry((at / 31, at % 31)).or_insert(0) += 1;
    }
    // Nine rows; columns 14 - 4 ..= 14 + 4 and, mirrored, 16 - 4 ..= 16 + 4.
    for y in 11..=19 {
        for x in 10..=20 {
            let ways = usize::from((10..=18).contains(&x)) + usize::from((12..=20).contains(&x));
            let hits = positions.remove(&(y, x)).unwrap_or(0);
            assert_share(hits, DRAWS, ways as f64 / 162.0, &format!("position {y}, {x}"));
        }
    }
    assert!(positions.is_empty(), "beyond the padding: {positions:?}");

    // Every pixel of a white image is cut out as often as the clipped square covers it.
    let white = vec![255; 32 * 32];
    let image = ImageRef { pixels: &white, height: 32, width: 32, channels: 1 };
    let pipeline = Pipeline::Small(SmallImages { padding: 0, flip: false, ..SmallImages::GREY });
    let mut holes = vec![0; 32 * 32];
    for _ in 0..DRAWS / 10 {
        let view = pipeline.view(image, &mut rng, &mut scratch);
        for (hole, &v) in holes.iter_mut().zip(view.pixels) {
            *hole += usize::from(v == 0);
        }
    }
    let centres =
        |at: usize| (0..32).filter(|&c: &usize| at >= c.saturating_sub(8) && at < c + 8).count();
    for (at, &hits) in holes.iter().enumerate() {
        let probability = (centres(at / 32) * centres(at % 32)) as f64 / 1024.0;
        assert_share(hits, DRAWS / 10, probability, &format!("hole at {at}"));
    }
}

#[test]
fn randaugment_applies_half_of_its_draws_at_the_clipped_level() {
    let mut rng = Streams::new(3).stream("test", &[]);
    let policy = RandAugment::reference();
    let (mut applied, mut inverted, mut top, mut rotated, mut positive, mut cubic) =
        (0, 0, 0, 0, 0, 0);
    for _ in 0..DRAWS {
        let Some(operation) = policy.draw(&mut rng) else { continue };
        applied += 1;
        match operation {
            Operation::Invert => inverted += 1,
            Operation::Rotate(degrees, resample) => {
                rotated += 1;
                top += usize::from(degrees.abs() == 30.0);
                positive += usize::from(degrees > 0.0);
                cubic += usize::from(resample == rescom::augment::Resample::Bicubic);
            }
            _ => {}
        }
    }
    assert_share(applied, DRAWS, 0.5, "applied");
    assert_share(inverted, DRAWS, 0.5 / 15.0, "invert");
    // METHOD section 9, point 9: the level is clipped at 10, so half the draws are exactly 10.
    assert_share(top, rotated, 0.5, "level 10");
    assert_share(positive, rotated, 0.5, "sign");
    assert_share(cubic, rotated, 0.5, "bicubic");
}

#[test]
fn resized_crops_fit_and_follow_their_ranges() {
    let mut rng = Streams::new(4).stream("test", &[]);
    let mut shares = Vec::new();
    for _ in 0..2 * DRAWS {
        let (top, left, height, width) = ResizedCrop::REFERENCE.draw(400, 500, &mut rng);
        assert!(height > 0 && width > 0 && top + height <= 400 && left + width <= 500);
        let ratio = width as f64 / height as f64;
        assert!((0.74..1.35).contains(&ratio), "{width}x{height}");
        shares.push((height * width) as f64 / 200_000.0);
    }
    let mean = shares.iter().sum::<f64>() / shares.len() as f64;
    // A million draws with NumPy, by torchvision's rules: mean 0.45332, standard deviation 0.2266.
    let bound = 5.0 * 0.2266 / (shares.len() as f64).sqrt();
    assert!((mean - 0.45332).abs() < bound, "mean area {mean}");
    for extreme in [(1, 5000), (5000, 1), (3, 3)] {
        let (top, left, h, w) = ResizedCrop::REFERENCE.draw(extreme.0, extreme.1, &mut rng);
        assert!(h > 0 && w > 0 && top + h <= extreme.0 && left + w <= extreme.1);
    }
}

#[test]
fn jitter_takes_every_order() {
    let mut rng = Streams::new(5).stream("test", &[]);
    let mut orders = std::collections::BTreeMap::new();
    for _ in 0..DRAWS {
        let order = Jitter::REFERENCE.draw(&mut rng).map(|operation| match operation {
            Operation::Brightness(f) | Operation::Contrast(f) | Operation::Color(f)
                if !(0.6..=1.4).contains(&f) =>
            {
                panic!("factor {f}")
            }
            Operation::Brightness(_) => 'b',
            Operation::Contrast(_) => 'c',
            _ => 's',
        });
        *orders.entry(order).or_insert(0) += 1;
    }
    assert_eq!(orders.len(), 6);
    for (order, hits) in orders {
        assert_share(hits, DRAWS, 1.0 / 6.0, &format!("{order:?}"));
    }
}
