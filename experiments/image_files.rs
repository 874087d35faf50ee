//! Arguments of the commands that read images from files by a list or by class folders.

use std::path::{Path, PathBuf};

use clap::Args;
use rescom::{Error, Result, data::ImageFiles};

/// Where pictures in files are.
#[derive(Args)]
pub(crate) struct FilePlace {
    /// Image list: `relative/path label` per line.
    #[arg(long, visible_alias = "train-list", requires = "root", conflicts_with = "folders")]
    list: Option<PathBuf>,
    /// Folder that the paths of the list start from.
    #[arg(long)]
    pub(crate) root: Option<PathBuf>,
    /// Folder with one sub-folder per class.
    #[arg(long)]
    folders: Option<PathBuf>,
}

impl FilePlace {
    /// Reads the list or the folders; no picture is opened.
    pub(crate) fn load(&self) -> Result<ImageFiles> {
        match (&self.list, &self.root, &self.folders) {
            (Some(list), Some(root), _) => ImageFiles::from_list(list, root, None),
            (_, _, Some(folders)) => ImageFiles::from_class_folders(folders),
            _ => Err(Error::input("give --list FILE and --root DIR, or --folders DIR")),
        }
    }

    /// The list's or the folder's own name, for titles.
    pub(crate) fn name(&self) -> String {
        let path = self.list.as_deref().or(self.folders.as_deref());
        let name = path.and_then(Path::file_name).unwrap_or_default();
        name.to_string_lossy().into_owned()
    }
}
