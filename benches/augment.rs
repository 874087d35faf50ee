//! Views per second on one core: both augmentation pipelines and their parts, against Pillow and
//! torchvision doing the same work in the same run, round by round in turn.
//!
//! `cargo bench --bench augment [-- WORD]` measures the items whose name holds WORD. The peer needs a
//! Python with torchvision: `PEER_PYTHON` names it (default `python3`); without it only ours is shown.
#![allow(clippy::unwrap_used, reason = "a bench: a panic is the report")]

use std::hint::black_box;
use std::time::Instant;

mod peers;

use peers::{Peer, median};

use rescom::augment::auto::{self, AutoOperation};
use rescom::augment::rand_augment;
use rescom::augment::{
    Canvas, ImageRef, Jitter, LargeImages, Layout, Normalize, Operation, Pipeline, Resample,
    Scratch, SmallImages, geometry, resize,
};
use rescom::rng::Streams;

/// Seconds per item, round and side.
const SECONDS: f64 = 0.5;
const ROUNDS: usize = 5;

struct Picture {
    pixels: Vec<u8>,
    height: usize,
    width: usize,
}

impl Picture {
    /// The peer's `sample`, but for the grain's generator.
    fn sample(height: usize, width: usize) -> Self {
        use rand::RngExt as _;
        let mut rng = Streams::new(1).stream("grain", &[]);
        let mut pixels = Vec::new();
        for y in 0..height {
            for x in 0..width {
                for c in 0..3 {
                    let c = c as f64;
                    let wave = (x as f64 / (17.0 + 5.0 * c) + c).sin()
                        * (y as f64 / (23.0 + 3.0 * c)).cos();
                    let grain: f64 = (0..4).map(|_| rng.random_range(-7.0..7.0)).sum();
                    pixels.push((127.0 + 90.0 * wave + grain) as u8);
                }
            }
        }
        Self { pixels, height, width }
    }

    fn view(&self) -> ImageRef<'_> {
        ImageRef { pixels: &self.pixels, height: self.height, width: self.width, channels: 3 }
    }
}

type Work = Box<dyn FnMut()>;

/// A whole pipeline; streams are derived per view, as the loader does.
fn pipeline(pipeline: Pipeline, picture: Picture, normalize: Normalize) -> Work {
    let (streams, mut scratch, mut number) = (Streams::new(0), Scratch::default(), 0);
    let (h, w, c) = pipeline.output_shape((picture.height, picture.width, 3));
    let mut out = vec![0.0; h * w * c];
    Box::new(move || {
        number += 1;
        let mut rng = streams.stream("augment", &[0, number, 0]);
        let target = (&normalize, Layout::Nchw);
        pipeline.apply(picture.view(), &mut rng, &mut scratch, target, &mut out);
        black_box(&out);
    })
}

/// One operation, the copy of the image included (Pillow makes one too).
fn operation(operation: Operation, picture: Picture, fill: [u8; 3]) -> Work {
    let mut canvas = Canvas::new();
    Box::new(move || {
        canvas.load(picture.view());
        operation.apply(&mut canvas, fill);
        black_box(&canvas);
    })
}

fn normalise(picture: Picture, normalize: Normalize) -> Work {
    let mut out = vec![0.0; picture.pixels.len()];
    Box::new(move || {
        normalize.write(picture.view(), Layout::Nchw, &mut out);
        black_box(&out);
    })
}

fn resized_crop(picture: Picture) -> Work {
    let mut canvas = Canvas::new();
    Box::new(move || {
        resize::resized_crop(picture.view(), (40, 60, 280, 350), (224, 224), &mut canvas);
        black_box(&canvas);
    })
}

fn crop_flip(picture: Picture) -> Work {
    let (mut out, mut flip) = (Vec::new(), false);
    Box::new(move || {
        flip = !flip;
        geometry::crop_padded(picture.view(), 4, (2, 7), flip, &mut out);
        black_box(&out);
    })
}

/// Cutout's hole in a copy of the image.
fn cutout(picture: Picture) -> Work {
    let mut pixels = Vec::new();
    Box::new(move || {
        pixels.clear();
        pixels.extend_from_slice(&picture.pixels);
        geometry::cutout(&mut pixels, (picture.height, picture.width, 3), (9, 20), 16);
        black_box(&pixels);
    })
}

fn flip(picture: Picture) -> Work {
    let mut canvas = Canvas::new();
    Box::new(move || {
        canvas.load(picture.view());
        canvas.flip();
        black_box(&canvas);
    })
}

/// Colour jitter as a whole: factors and order drawn per view.
fn jitter(picture: Picture) -> Work {
    let (mut canvas, mut rng) = (Canvas::new(), Streams::new(0).stream("jitter", &[]));
    Box::new(move || {
        canvas.load(picture.view());
        for operation in Jitter::REFERENCE.draw(&mut rng) {
            operation.apply(&mut canvas, [0; 3]);
        }
        black_box(&canvas);
    })
}

fn items() -> Vec<(String, Work)> {
    let (small, large, view) =
        (|| Picture::sample(32, 32), || Picture::sample(375, 500), || Picture::sample(224, 224));
    let (cifar, imagenet) = (Normalize::cifar(), Normalize::imagenet());
    let mut items = vec![
        (
            "cifar pipeline".into(),
            pipeline(Pipeline::Small(SmallImages::CIFAR), small(), cifar.clone()),
        ),
        (
            "imagenet pipeline".into(),
            pipeline(Pipeline::Large(LargeImages::reference()), large(), imagenet.clone()),
        ),
        (
            "imagenet evaluation".into(),
            pipeline(Pipeline::ResizeCentre { edge: 256, crop: 224 }, large(), imagenet.clone()),
        ),
    ];
    #[cfg(feature = "train")]
    items.extend(decoding::items(&imagenet));
    items.push(("32: crop + flip".into(), crop_flip(small())));
    items.push(("32: cutout".into(), cutout(small())));
    items.push(("32: normalise".into(), normalise(small(), cifar)));
    for kind in AutoOperation::ALL {
        let work = kind.with(kind.magnitude(7), 1.0);
        items.push((format!("32: {}", kind.name()), operation(work, small(), auto::FILL)));
    }
    items.push(("224: resized crop".into(), resized_crop(large())));
    items.push(("224: normalise".into(), normalise(view(), imagenet)));
    items.push(("224: flip".into(), flip(view())));
    items.push(("224: jitter".into(), jitter(view())));
    for (name, work) in [
        ("rotate bilinear", Operation::Rotate(29.0, Resample::Bilinear)),
        ("rotate bicubic", Operation::Rotate(29.0, Resample::Bicubic)),
        ("shearX bicubic", Operation::ShearX(0.29, Resample::Bicubic)),
        ("brightness", Operation::Brightness(1.3)),
        ("contrast", Operation::Contrast(1.3)),
        ("colour", Operation::Color(1.3)),
        ("sharpness", Operation::Sharpness(1.9)),
        ("equalize", Operation::Equalize),
        ("grayscale", Operation::Grayscale),
        ("solarize", Operation::Solarize(102.0)),
        ("posterize", Operation::Posterize(3)),
        ("invert", Operation::Invert),
        ("autocontrast", Operation::AutoContrast),
        ("translateX bilinear", Operation::TranslateX(0.29, Resample::Bilinear)),
        ("translateX bicubic", Operation::TranslateX(0.29, Resample::Bicubic)),
        ("translateY bicubic", Operation::TranslateY(0.29, Resample::Bicubic)),
    ] {
        items.push((format!("224: {name}"), operation(work, view(), rand_augment::FILL)));
    }
    items
}

/// Items that begin with a JPEG file.
#[cfg(feature = "train")]
mod decoding {
    use super::*;
    use rescom::data::{ImageFiles, ImageSource};

    pub(super) fn items(normalize: &Normalize) -> Vec<(String, Work)> {
        let files = || {
            let list = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(list.path(), format!("{} 0\n", peers::PHOTO)).unwrap();
            ImageFiles::from_list(list.path(), std::path::Path::new(""), None).unwrap()
        };
        let (alone, whole, normalize) = (files(), files(), normalize.clone());
        let (mut buffer, mut decoded, mut scratch) = (Vec::new(), Vec::new(), Scratch::default());
        let (streams, mut number, mut out) = (Streams::new(0), 0, vec![0.0; 224 * 224 * 3]);
        let augment = Pipeline::Large(LargeImages::reference());
        vec![
            (
                "jpeg decode 500x375".into(),
                Box::new(move || {
                    black_box(alone.image(0, &mut buffer).unwrap());
                }),
            ),
            (
                "imagenet pipeline with decode".into(),
                Box::new(move || {
                    number += 1;
                    let mut rng = streams.stream("augment", &[0, number, 0]);
                    let image = whole.image(0, &mut decoded).unwrap();
                    let target = (&normalize, Layout::Nchw);
                    augment.apply(image, &mut rng, &mut scratch, target, &mut out);
                    black_box(&out);
                }),
            ),
        ]
    }
}

/// Seconds that this thread has been running: other programs on the machine do not count. Where the
/// system does not tell, the time of day.
fn clock(begin: Instant) -> f64 {
    let nanoseconds = std::fs::read_to_string("/proc/thread-self/schedstat")
        .ok()
        .and_then(|line| line.split(' ').next()?.parse::<f64>().ok());
    nanoseconds.map_or_else(|| begin.elapsed().as_secs_f64(), |n| n * 1e-9)
}

fn rate(work: &mut Work) -> f64 {
    for _ in 0..3 {
        work();
    }
    let begin = Instant::now();
    let (start, mut count, mut size) = (clock(begin), 0usize, 1usize);
    loop {
        let spent = clock(begin) - start;
        if spent >= SECONDS {
            return count as f64 / spent;
        }
        for _ in 0..size {
            work();
        }
        count += size;
        let spent = (clock(begin) - start).max(SECONDS / 1000.0);
        size = ((count as f64 / spent * SECONDS / 20.0) as usize).max(1);
    }
}

fn main() {
    let word = std::env::args().skip(1).find(|a| !a.starts_with("--")).unwrap_or_default();
    let seconds = SECONDS.to_string();
    let mut peer = Peer::start("augment.py", &[&peers::policy(), &seconds, peers::PHOTO]);
    println!("median of {ROUNDS} rounds of {SECONDS} s of processor time each, one thread");
    println!("{:<32} {:>12} {:>12} {:>8}", "views/s", "ours", "peer", "ratio");
    for (name, mut work) in items().into_iter().filter(|(name, _)| name.contains(&word)) {
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            ours.push(rate(&mut work));
            theirs.extend(peer.as_mut().and_then(|peer| peer.rate(&name)));
        }
        let ours = median(ours);
        match theirs.len() {
            ROUNDS => {
                let theirs = median(theirs);
                println!("{name:<32} {ours:>12.0} {theirs:>12.0} {:>8.1}", ours / theirs);
            }
            _ => println!("{name:<32} {ours:>12.0} {:>12} {:>8}", "-", "-"),
        }
    }
}
