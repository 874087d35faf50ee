//! Where ImageNet-LT, iNaturalist 2018 and Places-LT lie on a disk: image lists and the pictures they
//! name.

use std::path::{Path, PathBuf};

use super::cifar::Check;
use super::{ImageFiles, ImageSource};
use crate::run::{DataKind, DataSetId};
use crate::{Error, Result};

/// Where to look for a set of pictures in files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListPlaces {
    /// Folder with lists and pictures in their usual places, see [`ListPlaces::load`].
    pub data: Option<PathBuf>,
    /// Training list, instead of the one in `data`.
    pub train_list: Option<PathBuf>,
    /// Test list, instead of the one in `data`.
    pub test_list: Option<PathBuf>,
    /// Folder that the paths in the lists start from, instead of `data`.
    pub root: Option<PathBuf>,
}

/// Training and test pictures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pictures {
    /// All training pictures.
    pub train: ImageFiles,
    /// The test pictures, of the same classes.
    pub test: ImageFiles,
}

/// The lists' own folder in the layout of the long-tailed benchmarks, training list, test list.
fn names(set: DataSetId) -> Result<[&'static str; 3]> {
    match set {
        DataSetId::ImagenetLt => {
            Ok(["ImageNet_LT", "ImageNet_LT_train.txt", "ImageNet_LT_test.txt"])
        }
        DataSetId::Inat18 => {
            Ok(["iNaturalist18", "iNaturalist18_train.txt", "iNaturalist18_val.txt"])
        }
        DataSetId::PlacesLt => Ok(["Places_LT", "Places_LT_train.txt", "Places_LT_test.txt"]),
        DataSetId::Cifar10 | DataSetId::Cifar100 | DataSetId::FashionMnist => Err(Error::input(
            format!("{}: a set that is read into memory has no image lists", set.name()),
        )),
    }
}

impl ListPlaces {
    /// Whether anything says where the pictures are.
    pub fn is_given(&self) -> bool {
        self.data.is_some() || self.train_list.is_some() || self.test_list.is_some()
    }

    /// Reads the lists; no picture is opened.
    ///
    /// The lists are looked for in `data` and in its folder `ImageNet_LT`, `iNaturalist18` or
    /// `Places_LT`, under the names of the long-tailed benchmarks (`ImageNet_LT_train.txt`,
    /// `ImageNet_LT_test.txt`, `iNaturalist18_train.txt`, `iNaturalist18_val.txt`, ...). Without them
    /// `data` may hold class folders below `train/` and `test/` (or `val/`).
    ///
    /// With [`Check::Published`] the training list must have the published number of classes and
    /// images; otherwise [`ImageSource::place`] says that nobody checked.
    ///
    /// # Errors
    /// [`Error::Input`] naming what is missing, or what the list holds and what was expected; those of
    /// [`ImageFiles::from_list`].
    pub fn load(&self, set: DataSetId, check: Check) -> Result<Pictures> {
        Pictures::read(&self.locate(set)?, set, check)
    }

    /// The lists or class folders that [`load`](Self::load) reads.
    ///
    /// # Errors
    /// [`Error::Input`] naming what is missing.
    pub fn locate(&self, set: DataSetId) -> Result<DataKind> {
        let folders = self.folders(set)?;
        folders.map_or_else(
            || self.lists(set),
            |(train, test)| Ok(DataKind::ClassFolders { train, test }),
        )
    }

    fn lists(&self, set: DataSetId) -> Result<DataKind> {
        let [own, train, test] = names(set)?;
        let find = |given: &Option<PathBuf>, name: &str, flag: &str| -> Result<PathBuf> {
            if let Some(path) = given {
                return Ok(path.clone());
            }
            let Some(data) = &self.data else {
                return Err(Error::input(format!(
                    "{}: no image list; give --data DIR with {name} in it, or {flag} FILE",
                    set.name()
                )));
            };
            let places = [data.join(name), data.join(own).join(name)];
            places.into_iter().find(|path| path.is_file()).ok_or_else(|| {
                Error::input(format!(
                    "{}: no {name} here or in {own}/, nor class folders train/ and test/ (or val/); give {flag} FILE",
                    data.display()
                ))
            })
        };
        let train = find(&self.train_list, train, "--train-list")?;
        let test = find(&self.test_list, test, "--test-list")?;
        let Some(root) = self.root.as_deref().or(self.data.as_deref()) else {
            return Err(Error::input(format!(
                "{}: where do the paths in the lists start? Give --root DIR",
                set.name()
            )));
        };
        Ok(DataKind::ImageList { train_list: train, test_list: test, root: root.into() })
    }

    /// Class folders, where there are any and no list.
    fn folders(&self, set: DataSetId) -> Result<Option<(PathBuf, PathBuf)>> {
        let [own, list, _] = names(set)?;
        let Some(data) = &self.data else { return Ok(None) };
        let listed = |dir: &Path| dir.join(list).is_file();
        if self.train_list.is_some() || self.test_list.is_some() {
            return Ok(None);
        }
        if listed(data) || listed(&data.join(own)) {
            return Ok(None);
        }
        let test = ["test", "val"].map(|name| data.join(name)).into_iter().find(|dir| dir.is_dir());
        Ok(test.map(|test| (data.join("train"), test)).filter(|(train, _)| train.is_dir()))
    }
}

impl Pictures {
    /// Reads lists or class folders, whose place is known; no image is opened.
    ///
    /// # Errors
    /// As [`ListPlaces::load`]; [`Error::Input`] for a kind that is not kept in files.
    pub fn read(kind: &DataKind, set: DataSetId, check: Check) -> Result<Self> {
        let (train, test) = match kind {
            DataKind::ClassFolders { train, test } => {
                (ImageFiles::from_class_folders(train)?, ImageFiles::from_class_folders(test)?)
            }
            DataKind::ImageList { train_list, test_list, root } => {
                let train = ImageFiles::from_list(train_list, root, None)?;
                let test = ImageFiles::from_list(test_list, root, Some(train.classes()))?;
                (train, test)
            }
            _ => {
                return Err(Error::input(format!(
                    "{}: expected image lists or class folders, the source is another",
                    set.name()
                )));
            }
        };
        if train.class_names() != test.class_names() {
            return Err(Error::input(format!(
                "{} has {} classes, {} has {}, or others; expected the same",
                train.place(),
                train.classes(),
                test.place(),
                test.classes()
            )));
        }
        if check == Check::Format {
            return Ok(Pictures { train: train.unverified(), test: test.unverified() });
        }
        let expected = (set.classes(), set.long_tailed_images().unwrap_or(0));
        if (train.classes(), train.len() as u64) != expected {
            return Err(Error::input(format!(
                "{}: {} pictures of {} classes, but {} has {} of {}; --unverified trains on other pictures",
                train.place(),
                train.len(),
                train.classes(),
                set.name(),
                expected.1,
                expected.0
            )));
        }
        Ok(Pictures { train, test })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn write(path: &Path, text: &str) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn load(places: &ListPlaces, check: Check) -> Result<Pictures, String> {
        places.load(DataSetId::PlacesLt, check).map_err(|e| e.to_string())
    }

    #[test]
    fn lists_are_found_in_their_usual_places_or_where_told() {
        let tmp = tempfile::tempdir().unwrap();
        let dir = tmp.path();
        let data = ListPlaces { data: Some(dir.into()), ..Default::default() };
        assert!(load(&data, Check::Format).unwrap_err().contains("no Places_LT_train.txt"));
        assert!(load(&ListPlaces::default(), Check::Format).unwrap_err().contains("--train-list"));

        for name in ["train/b/1.jpg", "train/a/1.jpg", "val/a/2.jpg", "val/b/2.jpg"] {
            write(&dir.join(name), "");
        }
        let folders = load(&data, Check::Format).unwrap();
        assert_eq!(folders.train.path(1), dir.join("train/b/1.jpg"));
        assert_eq!(folders.test.class_names(), ["a", "b"]);

        write(&dir.join("Places_LT/Places_LT_train.txt"), "x.jpg 0\ny.jpg 1\nz.jpg 1\n");
        write(&dir.join("Places_LT/Places_LT_test.txt"), "v.jpg 0\nw.jpg 1\n");
        let found = load(&data, Check::Format).unwrap();
        assert_eq!((found.train.len(), found.test.len()), (3, 2));
        assert_eq!(found.train.path(0), dir.join("x.jpg"));
        assert!(found.train.place().starts_with("unverified: "));

        write(&dir.join("other.txt"), "v.jpg 0\nw.jpg 2\n");
        let list = dir.join("Places_LT/Places_LT_train.txt");
        let told = ListPlaces {
            train_list: Some(list.clone()),
            test_list: Some(list),
            root: Some("elsewhere".into()),
            ..Default::default()
        };
        let found = load(&told, Check::Format).unwrap();
        assert_eq!(found.test.path(0), Path::new("elsewhere/x.jpg"));
        let other = ListPlaces { test_list: Some(dir.join("other.txt")), ..told.clone() };
        assert!(load(&other, Check::Format).unwrap_err().contains("label 2 of 2 classes"));
        let rootless = ListPlaces { root: None, ..told };
        assert!(load(&rootless, Check::Format).unwrap_err().contains("--root"));
    }

    #[test]
    fn what_is_not_the_published_set_is_refused_unless_allowed() {
        let tmp = tempfile::tempdir().unwrap();
        write(&tmp.path().join("Places_LT_train.txt"), "x.jpg 0\ny.jpg 1\n");
        write(&tmp.path().join("Places_LT_test.txt"), "x.jpg 0\ny.jpg 1\n");
        let data = ListPlaces { data: Some(tmp.path().into()), ..Default::default() };
        let e = load(&data, Check::Published).unwrap_err();
        assert!(e.contains("2 pictures of 2 classes") && e.contains("62500 of 365"), "{e}");

        // The published totals: 365 classes, 62,500 pictures.
        let lines: String = (0..62_500).map(|i| format!("{i}.jpg {}\n", i % 365)).collect();
        write(&tmp.path().join("Places_LT_train.txt"), &lines);
        let lines: String = (0..365).map(|i| format!("{i}.jpg {i}\n")).collect();
        write(&tmp.path().join("Places_LT_test.txt"), &lines);
        let found = load(&data, Check::Published).unwrap();
        assert!(!found.train.place().contains("unverified"));
    }
}
