//! Pictures in files: image lists (`relative/path label` per line) over a folder tree, as ImageNet-LT,
//! iNaturalist 2018 and Places-LT use them, and folders with one sub-folder per class.

use std::cell::RefCell;
use std::fs;
use std::io::Read as _;
use std::path::{Component, Path, PathBuf};

use rayon::prelude::*;
use sha2::{Digest, Sha256};

use super::decode::decode;
use super::{Broken, ImageSource, regular};
use crate::augment::ImageRef;
use crate::error::quotable;
use crate::run::Provenance;
use crate::{Error, Result};

/// Pictures that are decoded one by one when they are needed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageFiles {
    root: PathBuf,
    files: Vec<Entry>,
    class_names: Vec<String>,
    /// What was read: the list and the folder below which its pictures are, or the folder.
    place: String,
    /// Over paths and labels.
    sha256: String,
    skipped: Vec<Broken>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    path: Box<str>,
    label: u32,
}

thread_local! {
    /// The file that this thread decodes: its memory is kept from picture to picture.
    static FILE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Larger files are not taken for pictures: the largest that is decoded has fewer bytes of RGB.
const MAX_BYTES: u64 = 600 << 20;

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
        // Some editors begin a UTF-8 file with a byte order mark, which is no part of the first path.
        let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
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
                let label = quotable(label);
                return wrong(&format!("the label \"{label}\" is not a number from 0"));
            };
            if classes.is_some_and(|classes| label as usize >= classes) {
                return wrong(&format!("label {label} of {} classes", classes.unwrap_or(0)));
            }
            let path = path.trim();
            let up = Path::new(path).components().any(|part| part == Component::ParentDir);
            if up || !root.join(path).starts_with(root) {
                return wrong("a path that leaves the folder of the pictures");
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
        let place = format!("{}, pictures below {}", list.display(), root.display());
        Self::new(root, files, names, place)
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
        Self::new(root, files, class_names, root.display().to_string())
    }

    fn new(
        root: &Path,
        files: Vec<Entry>,
        class_names: Vec<String>,
        place: String,
    ) -> Result<Self> {
        if files.is_empty() || u32::try_from(files.len()).is_err() {
            let found = if files.is_empty() { "no pictures" } else { "more than 2^32 pictures" };
            return Err(Error::input(format!("{place}: {found}")));
        }
        let mut hash = Sha256::new();
        for Entry { path, label } in &files {
            hash.update(path.as_bytes());
            hash.update([0]);
            hash.update(label.to_le_bytes());
        }
        let sha256 = super::cache::hex(&hash.finalize());
        let root = root.into();
        let new = Self { root, files, class_names, place, sha256, skipped: Vec::new() };
        new.class_counts()?;
        Ok(new)
    }

    /// The same, saying that nobody checked that they are the published set.
    pub(super) fn unverified(self) -> Self {
        Self { place: format!("{}{}", Provenance::UNVERIFIED, self.place), ..self }
    }

    /// The folder that the pictures' paths start from.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The file of image `id`.
    pub fn path(&self, id: u32) -> PathBuf {
        self.root.join(&*self.files[id as usize].path)
    }

    /// Decodes every picture, on all threads of the current pool, and returns those that cannot be.
    /// `seen` is called after each one; when it says false the search ends at once with `None`.
    pub fn find_broken(&self, seen: &(dyn Fn() -> bool + Sync)) -> Option<Vec<Broken>> {
        let ids = (0..self.files.len() as u32).into_par_iter();
        let test = |buffer: &mut Vec<u8>, id| {
            let reason = self.decode(id, buffer).err();
            seen().then(|| reason.map(|reason| Broken { id, path: self.path(id), reason }))
        };
        let found: Option<Vec<Option<Broken>>> = ids.map_init(Vec::new, test).collect();
        Some(found?.into_iter().flatten().collect())
    }

    /// The same pictures without `broken` (in the order of their ids), which keep their ids.
    ///
    /// # Errors
    /// [`Error::Input`] if they are not pictures of this list, or a class loses all its pictures.
    pub fn skipping(self, broken: Vec<Broken>) -> Result<Self> {
        let known = |b: &Broken| (b.id as usize) < self.len() && self.path(b.id) == b.path;
        if !broken.is_sorted_by(|a, b| a.id < b.id) || !broken.iter().all(known) {
            return Err(Error::input(format!(
                "{}: the pictures to be left out are those of another list",
                self.place
            )));
        }
        let kept = Self { skipped: broken, ..self };
        kept.class_counts()?;
        Ok(kept)
    }

    fn decode<'a>(&self, id: u32, buffer: &'a mut Vec<u8>) -> Result<super::set::Rgb<'a>, String> {
        FILE.with_borrow_mut(|bytes| {
            bytes.clear();
            let file = regular::open(&self.path(id), MAX_BYTES);
            file.and_then(|mut file| file.read_to_end(bytes)).map_err(|e| e.to_string())?;
            decode(bytes, buffer)
        })
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

    fn class_names(&self) -> &[String] {
        &self.class_names
    }

    fn place(&self) -> &str {
        &self.place
    }

    fn sha256(&self) -> &str {
        &self.sha256
    }

    fn skipped(&self) -> &[Broken] {
        &self.skipped
    }

    fn image<'a>(&'a self, id: u32, buffer: &'a mut Vec<u8>) -> Result<ImageRef<'a>> {
        let rgb = self.decode(id, buffer).map_err(|reason| {
            let path = self.path(id);
            Error::input(format!(
                "{}: {reason}; `data check-files` names all such files, and training leaves them out with --skip-broken",
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
    fn a_byte_order_mark_is_no_part_of_the_first_path() {
        let dir = tempfile::tempdir().unwrap();
        let list = dir.path().join("list.txt");
        fs::write(&list, "\u{feff}a/1.png 0\r\nb/2.png 1\r\n").unwrap();
        let files = ImageFiles::from_list(&list, dir.path(), None).unwrap();
        assert_eq!(files.path(0), dir.path().join("a/1.png"));
        fs::write(&list, "a/1.png 0\nb/2.png 1\n").unwrap();
        let plain = ImageFiles::from_list(&list, dir.path(), None).unwrap();
        assert_eq!(files.sha256(), plain.sha256());
    }

    #[cfg(unix)]
    #[test]
    fn only_regular_files_are_opened_as_pictures() {
        let dir = tempfile::tempdir().unwrap();
        let class = dir.path().join("a");
        png(&class.join("1.png"), 9);
        std::os::unix::fs::symlink(class.join("1.png"), class.join("2.png")).unwrap();
        std::os::unix::fs::symlink("/dev/zero", class.join("3.png")).unwrap();
        let fifo = class.join("4.png");
        assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
        let files = ImageFiles::from_class_folders(dir.path()).unwrap();
        let mut buffer = Vec::new();
        assert!(files.image(0, &mut buffer).is_ok() && files.image(1, &mut buffer).is_ok());
        for (id, kind) in [(2, "a character device"), (3, "a FIFO")] {
            let e = files.image(id, &mut buffer).unwrap_err();
            assert!(e.to_string().contains(&format!("{kind}, not a regular file")), "{e}");
            assert_eq!(e.exit_code(), 2);
        }
        let broken: Vec<u32> = files.find_broken(&|| true).unwrap().iter().map(|b| b.id).collect();
        assert_eq!(broken, [2, 3]);
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
        assert!(refused("a.png \u{1b}[2J\n", None).contains("\"\\u{1b}[2J\" is not a number"));
        assert!(refused("a.png -1\n", None).contains("line 1"));
        assert!(refused("a.png 7\n", Some(7)).contains("label 7 of 7 classes"));
        assert!(refused("../../a.png 0\n", None).contains("leaves the folder"));
        assert!(refused("/a.png 0\n", None).contains("leaves the folder"));
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
        let broken = files.find_broken(&|| true).unwrap();
        assert_eq!((broken.len(), &broken[0].path), (1, &path));
        assert!(files.find_broken(&|| false).is_none(), "a search that was stopped");
        let kept = files.clone().skipping(broken.clone()).unwrap();
        assert_eq!((kept.len(), kept.usable()), (3, vec![0, 2]));
        assert_eq!(kept.class_counts().unwrap().as_slice(), [1, 1]);
        assert_eq!(kept.sha256(), files.sha256());
        let stranger = Broken { path: "elsewhere.png".into(), ..broken[0].clone() };
        assert!(files.clone().skipping(vec![stranger]).is_err());
        fs::write(dir.path().join("b/3.png"), "").unwrap();
        let all = files.find_broken(&|| true).unwrap();
        let e = files.skipping(all).unwrap_err().to_string();
        assert!(e.contains("class 1 has 0 images"), "{e}");
    }
}
