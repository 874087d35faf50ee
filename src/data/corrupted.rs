//! Corrupted test sets in the forms in which CIFAR-C and ImageNet-C (Hendrycks and Dietterich 2019)
//! are handed out.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    ImageFiles, ImageSet, ImageSource,
    npy::{self, NpyBytes},
};
use crate::{Error, Result};

/// Severities of a corruption, 1 to 5.
pub const SEVERITIES: usize = 5;

/// A folder of corruptions.
#[derive(Debug)]
pub struct CorruptedSets {
    corruptions: Vec<Corruption>,
    shape: Shape,
}

/// What the images must be.
#[derive(Debug, Clone, Copy)]
struct Shape {
    classes: usize,
    channels: usize,
}

#[derive(Debug)]
struct Corruption {
    name: String,
    form: Form,
}

#[derive(Debug)]
enum Form {
    /// Severity by severity in one array, the labels beside it.
    Array { images: NpyBytes, labels: Arc<[u32]> },
    /// A folder per severity that is there: its number, its place.
    Folders(Vec<(usize, PathBuf)>),
}

fn entries(dir: &Path) -> Result<Vec<PathBuf>> {
    let read = || Error::io("read", dir);
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).map_err(read())? {
        found.push(entry.map_err(read())?.path());
    }
    found.sort();
    Ok(found)
}

fn stem(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

impl CorruptedSets {
    /// Finds what is in `dir`, for images of `classes` classes and `channels` channels. Either
    /// `NAME.npy` files ([5 N, H, W, channels] bytes, one severity after the other; the last axis may be
    /// missing for one channel) with `labels.npy` (N integers, or 5 N), or folders `NAME/SEVERITY/` that
    /// hold one folder per class, or `list.txt` (`relative/path label` per line) and the pictures.
    ///
    /// # Errors
    /// [`Error::Input`] if nothing of either form is there, or an array does not fit its labels, the
    /// classes or the channels; [`Error::Io`].
    pub fn open(dir: &Path, classes: usize, channels: usize) -> Result<Self> {
        let shape = Shape { classes, channels };
        let all = entries(dir)?;
        let is_array = |p: &&PathBuf| p.extension().is_some_and(|e| e == "npy");
        let mut corruptions = Vec::new();
        let (labels, arrays): (Vec<&PathBuf>, Vec<&PathBuf>) =
            all.iter().filter(is_array).partition(|p| stem(p) == "labels");
        if !arrays.is_empty() {
            let Some(labels) = labels.first() else {
                return Err(Error::input(format!(
                    "{}: there are corruptions but no labels.npy beside them",
                    dir.display()
                )));
            };
            let labels: Arc<[u32]> = shape.labels(labels)?.into();
            for path in arrays {
                let images = shape.array(path, labels.len())?;
                let form = Form::Array { images, labels: Arc::clone(&labels) };
                corruptions.push(Corruption { name: stem(path), form });
            }
        }
        for path in all.iter().filter(|p| p.is_dir()) {
            let number =
                |p: &PathBuf| stem(p).parse().ok().filter(|n| (1..=SEVERITIES).contains(n));
            let severities = entries(path)?.into_iter().filter(|p| p.is_dir());
            let found: Vec<(usize, PathBuf)> =
                severities.filter_map(|p| Some((number(&p)?, p))).collect();
            if !found.is_empty() {
                corruptions.push(Corruption { name: stem(path), form: Form::Folders(found) });
            }
        }
        if corruptions.is_empty() {
            return Err(Error::input(format!(
                "{}: no corrupted images here; expected NAME.npy files with labels.npy (CIFAR-C), or folders \
                 NAME/1 to NAME/5 (ImageNet-C)",
                dir.display()
            )));
        }
        Ok(Self { corruptions, shape })
    }

    /// Every corruption and severity (from 1) that is there, in order of names and severities.
    pub fn all(&self) -> Vec<(&str, usize)> {
        let severities = |c: &Corruption| match &c.form {
            Form::Array { .. } => (1..=SEVERITIES).collect(),
            Form::Folders(found) => found.iter().map(|(severity, _)| *severity).collect::<Vec<_>>(),
        };
        let each = |c| severities(c).into_iter().map(move |s| (c, s));
        self.corruptions.iter().flat_map(each).map(|(c, s)| (c.name.as_str(), s)).collect()
    }

    /// The images of a corruption at a severity.
    ///
    /// # Errors
    /// [`Error::Input`] if [`all`](Self::all) does not list them or a folder does not fit the classes;
    /// [`Error::Io`].
    pub fn load(&self, name: &str, severity: usize) -> Result<Arc<dyn ImageSource>> {
        let missing = || Error::input(format!("corruption {name}, severity {severity}: not there"));
        let corruption = self.corruptions.iter().find(|c| c.name == name).ok_or_else(missing)?;
        match &corruption.form {
            Form::Array { images, labels } if (1..=SEVERITIES).contains(&severity) => {
                self.shape.severity(images, labels, (name, severity))
            }
            Form::Array { .. } => Err(missing()),
            Form::Folders(found) => {
                let (_, dir) = found.iter().find(|(s, _)| *s == severity).ok_or_else(missing)?;
                self.shape.folder(dir)
            }
        }
    }
}

impl Shape {
    fn labels(self, path: &Path) -> Result<Vec<u32>> {
        let label = |(at, value): (usize, i128)| {
            let label = u32::try_from(value).ok().filter(|&l| (l as usize) < self.classes);
            label.ok_or_else(|| {
                Error::input(format!(
                    "{}: image {at} has label {value}, expected 0..{}",
                    path.display(),
                    self.classes
                ))
            })
        };
        npy::integers(path)?.enumerate().map(label).collect()
    }

    fn array(self, path: &Path, labels: usize) -> Result<NpyBytes> {
        let array = NpyBytes::open(path)?;
        let channels = match array.shape()[..] {
            [_, _, _, c] => Some(c),
            [_, _, _] => Some(1),
            _ => None,
        };
        let n = array.shape()[0];
        let fits = n > 0 && n % SEVERITIES == 0 && (labels == n || labels * SEVERITIES == n);
        if channels == Some(self.channels) && fits {
            return Ok(array);
        }
        Err(Error::input(format!(
            "{}: shape {:?} with {labels} labels; expected [{SEVERITIES} N, height, width, {}] with N or \
             {SEVERITIES} N labels",
            path.display(),
            array.shape(),
            self.channels
        )))
    }

    fn severity(
        self,
        images: &NpyBytes,
        labels: &[u32],
        (name, severity): (&str, usize),
    ) -> Result<Arc<dyn ImageSource>> {
        let shape = images.shape();
        let n = shape[0] / SEVERITIES;
        let rows = (severity - 1) * n..severity * n;
        let labels = if labels.len() == n { labels } else { &labels[rows.clone()] };
        let names = (0..self.classes).map(|c| c.to_string()).collect();
        let source = format!("{name}, severity {severity}");
        let size = (shape[1], shape[2], self.channels);
        Ok(Arc::new(ImageSet::new(images.rows(rows)?, size, labels.to_vec(), names, source)?))
    }

    fn folder(self, dir: &Path) -> Result<Arc<dyn ImageSource>> {
        let list = dir.join("list.txt");
        let files = match list.is_file() {
            true => ImageFiles::from_list(&list, dir, Some(self.classes))?,
            false => ImageFiles::from_class_folders(dir)?,
        };
        if files.classes() == self.classes {
            return Ok(Arc::new(files));
        }
        Err(Error::input(format!(
            "{}: {} class folders; the network has {} classes (labels follow the order of the folders' names)",
            dir.display(),
            files.classes(),
            self.classes
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn npy(path: &Path, shape: &str, values: &[u8]) {
        typed(path, "|u1", shape, values);
    }

    fn typed(path: &Path, descr: &str, shape: &str, values: &[u8]) {
        let header =
            format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n");
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend((header.len() as u16).to_le_bytes());
        bytes.extend(header.as_bytes());
        bytes.extend(values);
        fs::write(path, bytes).unwrap();
    }

    /// `np.save("labels.npy", [1, 0])` writes int64.
    #[test]
    fn labels_may_be_integers_of_any_width() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("labels.npy");
        npy(&dir.path().join("fog.npy"), "(10, 2, 2)", &[0; 40]);
        let open = || CorruptedSets::open(dir.path(), 300, 1);
        typed(&path, "<i8", "(2,)", [299i64, 0].map(i64::to_le_bytes).as_flattened());
        let set = open().unwrap().load("fog", 1).unwrap();
        assert_eq!([set.label(0), set.label(1)], [299, 0]);
        typed(&path, "<u2", "(2,)", [0u16, 256].map(u16::to_le_bytes).as_flattened());
        assert_eq!(open().unwrap().load("fog", 5).unwrap().label(1), 256);
        for wrong in [-1i64, 300, 1 << 32, i64::MIN] {
            typed(&path, "<i8", "(2,)", [0, wrong].map(i64::to_le_bytes).as_flattened());
            let e = open().unwrap_err().to_string();
            assert!(e.contains(&format!("image 1 has label {wrong}, expected 0..300")), "{e}");
        }
    }

    #[test]
    fn an_array_holds_one_severity_after_the_other() {
        let dir = tempfile::tempdir().unwrap();
        let values: Vec<u8> = (0..5 * 2 * 4).collect();
        npy(&dir.path().join("fog.npy"), "(10, 2, 2, 1)", &values);
        npy(&dir.path().join("snow.npy"), "(10, 2, 2)", &values);
        npy(&dir.path().join("labels.npy"), "(2,)", &[1, 0]);
        let sets = CorruptedSets::open(dir.path(), 2, 1).unwrap();
        assert_eq!(sets.all().len(), 10);
        assert_eq!(sets.all()[5], ("snow", 1));
        let third = sets.load("fog", 3).unwrap();
        assert_eq!((third.len(), third.label(0), third.label(1)), (2, 1, 0));
        let mut buffer = Vec::new();
        assert_eq!(third.image(1, &mut buffer).unwrap().pixels, [20, 21, 22, 23]);
        assert!(sets.load("fog", 6).is_err() && sets.load("rain", 1).is_err());

        let all: Vec<u8> = (0..10).map(|i| u8::from(i >= 4)).collect();
        npy(&dir.path().join("labels.npy"), "(10,)", &all);
        let sets = CorruptedSets::open(dir.path(), 2, 1).unwrap();
        let labels = |s| [0, 1].map(|i| sets.load("fog", s).unwrap().label(i));
        assert_eq!((labels(2), labels(3)), ([0, 0], [1, 1]));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let refused = || CorruptedSets::open(dir.path(), 2, 1).unwrap_err().to_string();
        assert!(refused().contains("no corrupted images here"));
        npy(&dir.path().join("fog.npy"), "(10, 2, 2)", &[0; 40]);
        assert!(refused().contains("no labels.npy"));
        npy(&dir.path().join("labels.npy"), "(2,)", &[1, 2]);
        assert!(refused().contains("image 1 has label 2, expected 0..2"));
        npy(&dir.path().join("labels.npy"), "(3,)", &[1, 0, 1]);
        assert!(refused().contains("with 3 labels"));
        npy(&dir.path().join("labels.npy"), "(2,)", &[1, 0]);
        assert!(CorruptedSets::open(dir.path(), 2, 3).is_err());
        assert!(CorruptedSets::open(dir.path(), 2, 1).is_ok());
    }

    #[test]
    fn folders_are_found_by_severity() {
        let dir = tempfile::tempdir().unwrap();
        let png = |path: &Path| {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            let mut bytes = Vec::new();
            let mut encoder = png::Encoder::new(&mut bytes, 2, 1);
            encoder.set_color(png::ColorType::Rgb);
            encoder.write_header().unwrap().write_image_data(&[7; 6]).unwrap();
            fs::write(path, bytes).unwrap();
        };
        png(&dir.path().join("fog/1/a/x.png"));
        png(&dir.path().join("fog/1/b/y.png"));
        png(&dir.path().join("fog/4/y.png"));
        fs::write(dir.path().join("fog/4/list.txt"), "y.png 0\ny.png 1\n").unwrap();
        fs::create_dir_all(dir.path().join("fog/notes")).unwrap();
        let sets = CorruptedSets::open(dir.path(), 2, 3).unwrap();
        assert_eq!(sets.all(), [("fog", 1), ("fog", 4)]);
        assert_eq!(sets.load("fog", 1).unwrap().label(1), 1);
        assert_eq!(sets.load("fog", 4).unwrap().len(), 2);
        let e = CorruptedSets::open(dir.path(), 3, 3).unwrap().load("fog", 1).err().unwrap();
        assert!(e.to_string().contains("2 class folders"), "{e}");
    }
}
