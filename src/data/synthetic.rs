//! A generated set of 32x32 RGB images for tests and demonstrations: seeded, in CIFAR's own format,
//! with classes that can be learnt but not at a glance.
//!
//! A class is a shape, the direction of its stripes and (with 100 classes) a hue. Place, size, colours,
//! lighting, noise and a distracting second patch vary within every class.

use std::fs;
use std::path::Path;

use rand::RngExt as _;
use rayon::prelude::*;

use super::cifar::Cifar;
use super::{DataSet, ImageSet};
use crate::augment::Normalize;
use crate::rng::{Rng, Streams};
use crate::{Error, Result};

const SIDE: usize = 32;

/// What is generated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Synthetic {
    /// Ten or a hundred classes, and the format it is written in.
    pub format: Cifar,
    /// Training images of every class.
    pub train_per_class: usize,
    /// Test images of every class.
    pub test_per_class: usize,
    /// Everything follows from it.
    pub seed: u64,
}

/// Tells a generated set from data that somebody may need.
const MARK: &str = "generated.json";

/// More would be gigabytes.
const MOST_PER_CLASS: usize = 10_000;

impl Synthetic {
    /// Generates the set in memory.
    ///
    /// # Errors
    /// [`Error::Input`] if a split would be empty, or have more than 10,000 images per class.
    pub fn generate(&self) -> Result<DataSet> {
        Ok(DataSet {
            name: "synthetic".into(),
            train: self.split("train", self.train_per_class)?,
            test: self.split("test", self.test_per_class)?,
            normalize: Normalize::cifar(),
        })
    }

    fn split(&self, name: &str, per_class: usize) -> Result<ImageSet> {
        let classes = self.format.classes();
        if !(1..=MOST_PER_CLASS).contains(&per_class) {
            return Err(Error::input(format!(
                "generated set: {per_class} {name} images per class; expected 1 to {MOST_PER_CLASS}"
            )));
        }
        let count = per_class * classes;
        // Labels go round, so that any prefix is nearly balanced.
        let labels: Vec<u32> = (0..count).map(|index| (index % classes) as u32).collect();
        let mut images = vec![0; count * SIDE * SIDE * 3];
        images.par_chunks_exact_mut(SIDE * SIDE * 3).zip(&labels).enumerate().for_each(
            |(index, (image, &label))| {
                let mut rng = Streams::new(self.seed).stream(name, &[index as u64]);
                draw(self.class(label as usize), &mut rng, image);
            },
        );
        let names = (0..classes).map(|label| self.class(label).name()).collect();
        let source = format!("generated, seed {}", self.seed);
        ImageSet::new(images, (SIDE, SIDE, 3), labels, names, source)
    }

    fn class(&self, label: usize) -> Class {
        let shape = Shape::ALL[label % 5];
        match self.format {
            Cifar::Ten => Class { shape, turn: label / 5 * 2, hue: None },
            Cifar::Hundred => {
                Class { shape, turn: label / 5 % 4, hue: Some((label / 20) as f32 / 5.0) }
            }
        }
    }

    /// Generates the set and writes it as CIFAR's binary folder into `dir`, beside a file `generated.json`
    /// that says what it is. An earlier generated set there, known by that file, is replaced.
    ///
    /// # Errors
    /// As [`Synthetic::generate`]; [`Error::Input`] if `dir` is no folder or holds anything but a generated
    /// set; [`Error::Io`] if a file cannot be written.
    pub fn write(&self, dir: &Path) -> Result<()> {
        self.may_replace(dir)?;
        let set = self.generate()?;
        super::cache::put_in_place(dir, |dir| {
            let parts = if self.format == Cifar::Ten { 5 } else { 1 };
            for (split, stem, parts) in [(&set.train, "train", parts), (&set.test, "test", 1)] {
                let each = split.len().div_ceil(parts);
                for part in 0..parts {
                    let name = match (self.format, stem) {
                        (Cifar::Hundred, stem) => format!("{stem}.bin"),
                        (Cifar::Ten, "train") => format!("data_batch_{}.bin", part + 1),
                        (Cifar::Ten, _) => "test_batch.bin".into(),
                    };
                    let range = part * each..((part + 1) * each).min(split.len());
                    let records: Vec<u8> = range
                        .flat_map(|i| self.format.record(split.labels[i], split.get(i).pixels))
                        .collect();
                    let path = dir.join(name);
                    fs::write(&path, records).map_err(Error::io("write", &path))?;
                }
            }
            let path = dir.join(MARK);
            let mark = format!(
                "{{\"generated\":\"{}\",\"seed\":{},\"train_per_class\":{},\"test_per_class\":{}}}\n",
                self.format.name(),
                self.seed,
                self.train_per_class,
                self.test_per_class
            );
            fs::write(&path, mark).map_err(Error::io("write", &path))
        })
    }

    /// Writing replaces the folder as a whole: nobody else's files may be in it.
    fn may_replace(&self, dir: &Path) -> Result<()> {
        let refuse = |what: String| {
            Err(Error::input(format!(
                "{}: {what}; a generated set takes a folder of its own: give one that is empty or not there yet",
                dir.display()
            )))
        };
        match fs::symlink_metadata(dir) {
            Ok(there) if there.is_dir() => {}
            Ok(_) => return refuse("not a folder".into()),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(e) => return Err(Error::io("read", dir)(e)),
        }
        let marked = dir.join(MARK).is_file();
        let own = [self.format.binary_files(), vec![MARK.to_owned()]].concat();
        for entry in fs::read_dir(dir).map_err(Error::io("read", dir))? {
            let entry = entry.map_err(Error::io("read", dir))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if !marked || !own.contains(&name) || !entry.path().is_file() {
                return refuse(format!("holds {name}, which would be lost"));
            }
        }
        Ok(())
    }
}

#[derive(Debug, Clone, Copy)]
enum Shape {
    Disc,
    Square,
    Triangle,
    Cross,
    Ring,
}

impl Shape {
    const ALL: [Self; 5] = [Self::Disc, Self::Square, Self::Triangle, Self::Cross, Self::Ring];

    /// Is (x, y) inside the shape of unit size about the origin?
    fn holds(self, x: f32, y: f32) -> bool {
        let (ax, ay) = (x.abs(), y.abs());
        match self {
            Self::Disc => x * x + y * y < 0.85,
            Self::Square => ax.max(ay) < 0.8,
            Self::Triangle => (-0.7..0.9).contains(&y) && ax < (y + 0.7) * 0.62,
            Self::Cross => ax.min(ay) < 0.3 && ax.max(ay) < 0.95,
            Self::Ring => (0.35..1.0).contains(&(x * x + y * y)),
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Class {
    shape: Shape,
    /// Direction of the stripes in steps of 45 degrees.
    turn: usize,
    /// 0..1, or any.
    hue: Option<f32>,
}

impl Class {
    fn name(self) -> String {
        let direction = ["vertical", "rising", "horizontal", "falling"][self.turn];
        let shape = format!("{:?}", self.shape).to_lowercase();
        let hue = self.hue.map_or(String::new(), |hue| format!("{} ", hue_name(hue)));
        format!("{hue}{shape}, {direction} stripes")
    }
}

fn hue_name(hue: f32) -> &'static str {
    ["red", "yellow", "green", "blue", "violet"][((hue * 5.0).round() as usize).min(4)]
}

/// Fills in one image.
fn draw(class: Class, rng: &mut Rng, image: &mut [u8]) {
    let mut uniform = |from: f32, to: f32| from + (to - from) * rng.random::<f32>();
    let (centre_x, centre_y) = (uniform(11.0, 21.0), uniform(11.0, 21.0));
    let (size, tilt) = (uniform(7.0, 11.0), uniform(-0.25, 0.25));
    let hue = match class.hue {
        Some(hue) => hue + uniform(-0.07, 0.07),
        None => uniform(0.0, 1.0),
    };
    let (front, back) = (colour(hue, 0.75), colour(uniform(0.0, 1.0), 0.35));
    let angle = class.turn as f32 * std::f32::consts::FRAC_PI_4 + uniform(-0.2, 0.2);
    let (frequency, phase) = (uniform(0.9, 1.5), uniform(0.0, 6.3));
    let light = (uniform(-1.5, 1.5), uniform(-1.5, 1.5), uniform(0.7, 1.15));
    let (patch_x, patch_y, patch_size) =
        (uniform(2.0, 30.0), uniform(2.0, 30.0), uniform(2.0, 4.0));
    let patch = colour(uniform(0.0, 1.0), 0.6);
    let noise = uniform(8.0, 28.0);
    let (sin, cos) = tilt.sin_cos();
    let (across_x, across_y) = (angle.cos() * frequency, angle.sin() * frequency);
    for (y, row) in image.chunks_exact_mut(SIDE * 3).enumerate() {
        for (x, pixel) in row.chunks_exact_mut(3).enumerate() {
            let (fx, fy) = (x as f32, y as f32);
            let (dx, dy) = ((fx - centre_x) / size, (fy - centre_y) / size);
            let inside = class.shape.holds(dx * cos + dy * sin, dy * cos - dx * sin);
            let stripe = (fx * across_x + fy * across_y + phase).sin() > 0.0;
            let near = (fx - patch_x).abs().max((fy - patch_y).abs()) < patch_size;
            let base = match (inside, near) {
                (true, _) => front.map(|v| if stripe { v } else { v * 0.35 }),
                (false, true) => patch,
                (false, false) => back,
            };
            let shade = light.2 * 220.0 + light.0 * (fx - 16.0) + light.1 * (fy - 16.0);
            for (to, value) in pixel.iter_mut().zip(base) {
                let grain = (uniform(-1.0, 1.0) + uniform(-1.0, 1.0)) * noise;
                *to = (value * shade + grain) as u8;
            }
        }
    }
}

/// A saturated colour of hue 0..1 (it wraps) mixed with grey.
fn colour(hue: f32, saturation: f32) -> [f32; 3] {
    [0.0, 1.0 / 3.0, 2.0 / 3.0].map(|offset| {
        let wave = ((hue - offset) * std::f32::consts::TAU).cos() * 0.5 + 0.5;
        0.25 + (1.0 - saturation) * 0.35 + saturation * wave * 0.75
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::cifar::Check;

    fn small(format: Cifar) -> Synthetic {
        Synthetic { format, train_per_class: 20, test_per_class: 10, seed: 1 }
    }

    #[test]
    fn what_is_written_is_read_again() {
        for format in [Cifar::Ten, Cifar::Hundred] {
            let dir = tempfile::tempdir().unwrap();
            let folder = dir.path().join("set");
            small(format).write(&folder).unwrap();
            let (read, made) =
                (format.read(&folder, Check::Format).unwrap(), small(format).generate().unwrap());
            assert_eq!(
                (&read.train.images, &read.train.labels),
                (&made.train.images, &made.train.labels)
            );
            assert_eq!(
                (read.test.sha256, read.train.sha256),
                (made.test.sha256, made.train.sha256)
            );
        }
    }

    #[test]
    fn only_a_generated_set_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("set");
        let write =
            |format| small(format).write(&folder).map_err(|e| (e.exit_code(), e.to_string()));
        write(Cifar::Ten).unwrap();
        write(Cifar::Ten).unwrap();
        // The other format would leave nothing of it.
        let (code, e) = write(Cifar::Hundred).unwrap_err();
        assert!(code == 2 && e.contains("holds ") && e.contains("which would be lost"), "{e}");
        fs::write(folder.join("notes.txt"), "years of work").unwrap();
        let (code, e) = write(Cifar::Ten).unwrap_err();
        assert!(code == 2 && e.contains("holds notes.txt"), "{e}");
        assert_eq!(fs::read_to_string(folder.join("notes.txt")).unwrap(), "years of work");
        // Six batches, the mark, and the notes.
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 8);
        let file = dir.path().join("file");
        fs::write(&file, "x").unwrap();
        let e = small(Cifar::Ten).write(&file).unwrap_err();
        assert!(e.exit_code() == 2 && e.to_string().contains("not a folder"), "{e}");
        assert_eq!(fs::read(&file).unwrap(), b"x");
    }

    #[test]
    fn a_seed_gives_one_set() {
        let set = |seed| Synthetic { seed, ..small(Cifar::Ten) }.generate().unwrap().train.sha256;
        assert_eq!(set(1), set(1));
        assert_ne!(set(1), set(2));
    }

    /// A nearest class mean on raw pixels must do better than chance and far from perfectly.
    #[test]
    fn classes_can_be_learnt_but_not_at_a_glance() {
        let set = Synthetic { train_per_class: 100, test_per_class: 50, ..small(Cifar::Ten) };
        let set = set.generate().unwrap();
        let size = SIDE * SIDE * 3;
        let mut means = vec![vec![0.0f32; size]; 10];
        for (i, &label) in set.train.labels.iter().enumerate() {
            for (mean, &v) in means[label as usize].iter_mut().zip(set.train.get(i).pixels) {
                *mean += f32::from(v) / 100.0;
            }
        }
        let distance = |mean: &[f32], pixels: &[u8]| -> f32 {
            mean.iter().zip(pixels).map(|(m, &v)| (m - f32::from(v)).powi(2)).sum()
        };
        let right = (0..set.test.len()).filter(|&i| {
            let pixels = set.test.get(i).pixels;
            let all = means.iter().map(|mean| distance(mean, pixels)).enumerate();
            let best = all.min_by(|a, b| a.1.total_cmp(&b.1)).unwrap();
            best.0 == set.test.labels[i] as usize
        });
        let share = right.count() as f32 / set.test.len() as f32;
        assert!((0.12..0.6).contains(&share), "nearest class mean: {share}");
    }
}
