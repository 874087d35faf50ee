//! Pictures in files: image lists (`relative/path label` per line) over a folder tree, as ImageNet-LT,
//! iNaturalist 2018 and Places-LT use them, and folders with one sub-folder per class.

use std::fs;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::ImageSource;
use super::decode::decode;
use crate::augment::ImageRef;
use crate::longtail::ClassCounts;
use crate::{Error, Result};

/// Pictures that are decoded one by one when they are needed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageFiles {
    root: PathBuf,
    files: Vec<Entry>,
    class_names: Vec<String>,
    /// What was read: the list or the folder.
    place: PathBuf,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    path: Box<str>,
    label: u32,
}

/// A picture that cannot be decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// Its file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub reason: String,
}

/// Files that count as pictures in class folders.
const ENDINGS: [&str; 3] = ["jpg", "jpeg", "png"];

impl ImageFiles {
    /// Reads the list at `list`: one `relative/path label` per line, paths below `root`. `classes` is the
    /// number of classes where it is known (a test list beside its training list).
    ///
    /// # Errors
    /// [`Error::Input`] naming the line that is not of this form, a label beyond `classes`, or a class
    /// without images; [`Error::Io`] if the list cannot be read. Pictures are not opened.
    pub fn from_list(list: &Path, root: &Path, classes: Option<usize>) -> Result<Self> {
        let text = fs::read_to_string(list).map_err(Error::io("read", list))?;
        let mut files = Vec::new();
        for (number, line) in text.lines().enumerate() {
            let wrong = |what: &str| {
                Err(Error::input(format!(
                    "{}, line {}: {what}; expected \"relative/path label\"",
                    list.display(),
                    number + 1
                )))
            };
            if line.trim().is_empty() {
                continue;
            }
            let Some((path, label)) = line.trim().rsplit_once(char::is_whitespace) else {
                return wrong("no label");
            };
            let Ok(label) = label.parse::<u32>() else {
                return wrong(&format!("the label \"{label}\" is not a number from 0"));
            };
            if classes.is_some_and(|classes| label as usize >= classes) {
                return wrong(&format!("label {label} of {} classes", classes.unwrap_or(0)));
            }
            let path = path.trim();
            if Path::new(path).components().any(|part| part == std::path::Component::ParentDir) {
                return wrong("a path that leaves its folder");
            }
            files.push(Entry { path: path.into(), label });
        }
        let found = files.iter().map(|file| file.label as usize + 1).max().unwrap_or(0);
        // A stray huge label must not make a huge table.
        if found > files.len() {
            return Err(Error::input(format!(
                "{}: labels up to {} on {} lines; some class has no image",
                list.display(),
                found.saturating_sub(1),
                files.len()
            )));
        }
        let names = (0..classes.unwrap_or(found)).map(|label| label.to_string()).collect();
        Self { root: root.into(), files, class_names: names, place: list.into() }.checked()
    }

    /// Reads a folder with one sub-folder per class (in the order of their names), pictures anywhere
    /// below.
    ///
    /// # Errors
    /// [`Error::Input`] if there is no sub-folder or one holds no picture; [`Error::Io`] if a folder
    /// cannot be read.
    pub fn from_class_folders(root: &Path) -> Result<Self> {
        let (mut files, mut class_names) = (Vec::new(), Vec::new());
        for dir in sorted(root)?.into_iter().filter(|path| path.is_dir()) {
            let name = dir.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let before = files.len();
            collect(root, &dir, class_names.len() as u32, &mut files)?;
            if files.len() == before {
                return Err(Error::input(format!(
                    "{}: no picture ({}) in this class folder",
                    dir.display(),
                    ENDINGS.join(", ")
                )));
            }
            class_names.push(name);
        }
        Self { root: root.into(), files, class_names, place: root.into() }.checked()
    }

    fn checked(self) -> Result<Self> {
        if self.files.is_empty() {
            return Err(Error::input(format!("{}: no pictures", self.place.display())));
        }
        self.class_counts().map_err(|e| Error::input(format!("{}: {e}", self.place.display())))?;
        Ok(self)
    }

    /// Names by label.
    pub fn class_names(&self) -> &[String] {
        &self.class_names
    }

    /// All labels, by id.
    pub fn labels(&self) -> Vec<u32> {
        self.files.iter().map(|file| file.label).collect()
    }

    /// Images per class.
    ///
    /// # Errors
    /// [`Error::Input`] if a class has none.
    pub fn class_counts(&self) -> Result<ClassCounts> {
        let mut counts = vec![0; self.class_names.len()];
        for file in &self.files {
            counts[file.label as usize] += 1;
        }
        ClassCounts::new(counts)
    }

    /// The file of image `id`.
    pub fn path(&self, id: u32) -> PathBuf {
        self.root.join(&*self.files[id as usize].path)
    }

    /// Decodes every picture (on all threads of the current pool) and leaves out those that cannot be;
    /// they are listed.
    ///
    /// # Errors
    /// [`Error::Input`] if a class loses all its pictures.
    pub fn without_broken(self) -> Result<(Self, Vec<Broken>)> {
        let test = |id: usize| self.decode(id as u32, &mut Vec::new()).err();
        let reasons: Vec<Option<String>> =
            (0..self.files.len()).into_par_iter().map(test).collect();
        let broken = reasons
            .iter()
            .enumerate()
            .filter_map(|(id, reason)| Some((id as u32, reason.clone()?)))
            .map(|(id, reason)| Broken { path: self.path(id), reason })
            .collect();
        let mut kept = self;
        let mut reasons = reasons.into_iter();
        kept.files.retain(|_| reasons.next().flatten().is_none());
        Ok((kept.checked()?, broken))
    }

    fn decode<'a>(&self, id: u32, buffer: &'a mut Vec<u8>) -> Result<super::set::Rgb<'a>, String> {
        let bytes = fs::read(self.path(id)).map_err(|e| e.to_string())?;
        decode(&bytes, buffer)
    }
}

impl ImageSource for ImageFiles {
    fn len(&self) -> usize {
        self.files.len()
    }

    fn classes(&self) -> usize {
        self.class_names.len()
    }

    fn label(&self, id: u32) -> u32 {
        self.files[id as usize].label
    }

    fn image<'a>(&'a self, id: u32, buffer: &'a mut Vec<u8>) -> Result<ImageRef<'a>> {
        let rgb = self.decode(id, buffer).map_err(|reason| {
            let path = self.path(id);
            Error::input(format!(
                "{}: {reason}; --skip-broken leaves such files out",
                path.display()
            ))
        })?;
        Ok(ImageRef { pixels: rgb.pixels, height: rgb.height, width: rgb.width, channels: 3 })
    }
}

/// Entries of a folder in the order of their names: the same on every file system.
fn sorted(dir: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(dir).map_err(Error::io("read", dir))?;
    let paths: std::io::Result<Vec<PathBuf>> = entries.map(|entry| Ok(entry?.path())).collect();
    let mut paths = paths.map_err(Error::io("read", dir))?;
    paths.sort();
    Ok(paths)
}

fn collect(root: &Path, dir: &Path, label: u32, files: &mut Vec<Entry>) -> Result<()> {
    for path in sorted(dir)? {
        if path.is_dir() {
            collect(root, &path, label, files)?;
        } else if is_picture(&path) {
            let relative = path.strip_prefix(root).unwrap_or(&path);
            let relative = relative.to_str().ok_or_else(|| {
                Error::input(format!("{}: a file name that is not UTF-8", path.display()))
            })?;
            files.push(Entry { path: relative.into(), label });
        }
    }
    Ok(())
}

fn is_picture(path: &Path) -> bool {
    let ending = path.extension().map(|e| e.to_string_lossy().to_lowercase());
    ending.is_some_and(|ending| ENDINGS.contains(&ending.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn png(path: &Path, grey: u8) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let file = fs::File::create(path).unwrap();
        let mut encoder = png::Encoder::new(file, 2, 1);
        encoder.set_color(png::ColorType::Grayscale);
        encoder.set_depth(png::BitDepth::Eight);
        encoder.write_header().unwrap().write_image_data(&[grey, 0]).unwrap();
    }

    #[test]
    fn lists_and_folders_give_the_same_pictures() {
        let dir = tempfile::tempdir().unwrap();
        for (name, grey) in [("b/x.png", 10), ("b/sub/y.PNG", 20), ("a/z.png", 30)] {
            png(&dir.path().join(name), grey);
        }
        fs::write(dir.path().join("a/notes.txt"), "not a picture").unwrap();
        let folders = ImageFiles::from_class_folders(dir.path()).unwrap();
        assert_eq!(
            (folders.labels(), folders.class_names()),
            (vec![0, 1, 1], &["a".into(), "b".into()][..])
        );
        let list = dir.path().join("list.txt");
        fs::write(&list, "a/z.png 0\nb/sub/y.PNG 1\n\nb/x.png\t1\n").unwrap();
        let listed = ImageFiles::from_list(&list, dir.path(), None).unwrap();
        let mut buffer = Vec::new();
        for (id, grey) in [(0, 30), (1, 20), (2, 10)] {
            assert_eq!(listed.path(id), folders.path(id));
            let image = listed.image(id, &mut buffer).unwrap();
            assert_eq!(
                (image.pixels, image.height, image.width),
                (&[grey, grey, grey, 0, 0, 0][..], 1, 2)
            );
        }
    }

    #[test]
    fn a_bad_line_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let list = dir.path().join("list.txt");
        let refused = |text: &str, classes| {
            fs::write(&list, text).unwrap();
            ImageFiles::from_list(&list, dir.path(), classes).unwrap_err().to_string()
        };
        assert!(refused("a.png 0\nb.png\n", None).contains("line 2: no label"));
        assert!(refused("a.png zero\n", None).contains("\"zero\" is not a number"));
        assert!(refused("a.png -1\n", None).contains("line 1"));
        assert!(refused("a.png 7\n", Some(7)).contains("label 7 of 7 classes"));
        assert!(refused("../../a.png 0\n", None).contains("leaves its folder"));
        assert!(refused("a.png 4000000000\n", None).contains("some class has no image"));
        assert!(refused("a.png 0\nb.png 2\nc.png 2\n", None).contains("class 1 has 0 images"));
        assert!(refused("\n", None).contains("no pictures"));
    }

    #[test]
    fn broken_pictures_are_named_or_left_out() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["a/1.png", "a/2.png", "b/3.png"] {
            png(&dir.path().join(name), 9);
        }
        let path = dir.path().join("a/2.png");
        let whole = fs::read(&path).unwrap();
        fs::write(&path, &whole[..whole.len() - 20]).unwrap();
        let files = ImageFiles::from_class_folders(dir.path()).unwrap();
        let e = files.image(1, &mut Vec::new()).unwrap_err();
        assert!(e.to_string().contains("2.png: broken PNG"), "{e}");
        let (kept, broken) = files.without_broken().unwrap();
        assert_eq!((kept.labels(), broken.len()), (vec![0, 1], 1));
        assert_eq!(broken[0].path, path);
        fs::write(dir.path().join("b/3.png"), "").unwrap();
        assert!(kept.without_broken().unwrap_err().to_string().contains("class 1 has 0 images"));
    }
}
