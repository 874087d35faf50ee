use std::{
    fs::{self, File, OpenOptions},
    io::Write as _,
    path::{Path, PathBuf},
};

use super::{EpochRecord, Provenance, Recipe, RunRecord, atomic};
use crate::{Error, Result};

/// The folder of one run: `recipe.toml`, `provenance.json`, `subset.json`, `epochs.jsonl`,
/// `log.txt`, `checkpoint-NNNN.safetensors` with `.json`, and at the end `record.json`.
#[derive(Debug, Clone)]
pub struct RunDir {
    path: PathBuf,
}

/// Held while a process works in a run folder; the operating system drops it with the process,
/// so that a crash leaves no stale lock.
#[derive(Debug)]
pub struct RunLock {
    _file: File,
}

impl RunDir {
    /// Opens or creates the folder for `recipe`. A folder that holds another recipe is refused.
    ///
    /// # Errors
    /// [`Error::Input`] with the keys in which the recipes differ; [`Error::Io`].
    pub fn open(path: &Path, recipe: &Recipe) -> Result<Self> {
        if let Some(dir) = Self::existing(path, recipe)? {
            return Ok(dir);
        }
        fs::create_dir_all(path).map_err(Error::io("create folder", path))?;
        let dir = Self { path: path.to_path_buf() };
        atomic::write(&dir.file("recipe.toml"), recipe.to_toml()?.as_bytes())?;
        Ok(dir)
    }

    /// The folder if there is one that was opened for `recipe`; changes nothing.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn existing(path: &Path, recipe: &Recipe) -> Result<Option<Self>> {
        let dir = Self { path: path.to_path_buf() };
        let file = dir.file("recipe.toml");
        if !file.exists() {
            return Ok(None);
        }
        let old: Recipe = atomic::read_toml(&file)?;
        let differences = old.differences(recipe)?;
        if differences.is_empty() {
            return Ok(Some(dir));
        }
        let list: Vec<String> =
            differences.iter().map(|(k, a, b)| format!("{k}: {a} there, {b} now")).collect();
        Err(Error::input(format!(
            "{} holds a run of another recipe ({}); use another --out, or remove that folder",
            path.display(),
            list.join("; ")
        )))
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A file in the folder.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Takes the folder for this process.
    ///
    /// # Errors
    /// [`Error::Input`] if another process holds it; [`Error::Io`].
    pub fn lock(&self) -> Result<RunLock> {
        let path = self.file("lock");
        let file = OpenOptions::new()
            .create(true)
            .write(true)
            .truncate(false)
            .open(&path)
            .map_err(Error::io("create", &path))?;
        match file.try_lock() {
            Ok(()) => {
                atomic::remove_incomplete(&self.path);
                Ok(RunLock { _file: file })
            }
            Err(fs::TryLockError::WouldBlock) => Err(Error::input(format!(
                "{} is in use by another process; wait for it, or use another --out",
                self.path.display()
            ))),
            Err(fs::TryLockError::Error(e)) => Err(Error::io("lock", &path)(e)),
        }
    }

    /// The record of a finished run; `None` while it is not finished.
    ///
    /// # Errors
    /// [`Error::Input`] naming a damaged record.
    pub fn record(&self) -> Result<Option<RunRecord>> {
        let path = self.file("record.json");
        if path.exists() { atomic::read_json(&path).map(Some) } else { Ok(None) }
    }

    /// Writes the final record.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn finish(&self, record: &RunRecord) -> Result<()> {
        atomic::write_json(&self.file("record.json"), record)
    }

    /// Writes `provenance.json`. A run that goes on says in words what is different from when it
    /// began, so that nobody expects the same bits of it.
    ///
    /// # Errors
    /// [`Error::Input`] if the run goes on with other images than it began with, or the old file is
    /// damaged; [`Error::Io`].
    pub fn provenance(&self, now: &Provenance, goes_on: bool) -> Result<Option<String>> {
        let path = self.file("provenance.json");
        let mut changed = None;
        if goes_on && path.exists() {
            let old: Provenance = atomic::read_json(&path)?;
            if let Some(both) = old.other_images(now) {
                return Err(Error::input(format!(
                    "{} holds a run that began with other training images {both}; give it those, or use another --out",
                    self.path.display()
                )));
            }
            changed = old.changes(now);
        }
        atomic::write_json(&path, now)?;
        Ok(changed)
    }

    /// Appends one epoch and flushes it to disk.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn append_epoch(&self, epoch: &EpochRecord) -> Result<()> {
        let path = self.file("epochs.jsonl");
        let mut file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .map_err(Error::io("open for appending", &path))?;
        file.write_all(line(epoch)?.as_bytes()).map_err(Error::io("write", &path))?;
        file.sync_data().map_err(Error::io("flush", &path))
    }

    /// The epochs up to and including `last`: what a resume from the checkpoint of epoch `last`
    /// stands on. What comes after them is passed over, a line that a crash cut short as well.
    ///
    /// # Errors
    /// [`Error::Input`] naming the line that is damaged or missing although the checkpoint says
    /// that its epoch was finished.
    pub fn epochs(&self, last: usize) -> Result<Vec<EpochRecord>> {
        let path = self.file("epochs.jsonl");
        if last == 0 {
            return Ok(Vec::new());
        }
        let bytes = fs::read(&path).map_err(Error::io("read", &path))?;
        let mut lines = bytes.split(|&b| b == b'\n').filter(|line| !line.is_empty());
        let remedy = "remove the run folder to start it anew";
        (1..=last)
            .map(|epoch| {
                let line = lines.next().ok_or_else(|| {
                    Error::input(format!(
                        "{}: {} epochs, but a checkpoint says that {last} were finished; {remedy}",
                        path.display(),
                        epoch - 1
                    ))
                })?;
                let damaged = |why: String| {
                    Error::input(format!(
                        "{}, line {epoch}: damaged ({why}); {remedy}",
                        path.display()
                    ))
                };
                let record: EpochRecord =
                    serde_json::from_slice(line).map_err(|e| damaged(e.to_string()))?;
                if record.epoch != epoch {
                    return Err(damaged(format!("it is of epoch {}", record.epoch)));
                }
                Ok(record)
            })
            .collect()
    }

    /// [`epochs`](Self::epochs), and cuts the file after them.
    ///
    /// # Errors
    /// As [`epochs`](Self::epochs), and [`Error::Io`].
    pub fn epochs_until(&self, last: usize) -> Result<Vec<EpochRecord>> {
        let epochs = self.epochs(last)?;
        let mut text = String::new();
        for epoch in &epochs {
            text.push_str(&line(epoch)?);
        }
        atomic::write(&self.file("epochs.jsonl"), text.as_bytes())?;
        Ok(epochs)
    }

    /// Appends a line to the human log; a log that cannot be written never stops a run.
    pub fn log(&self, line: &str) {
        let file = OpenOptions::new().create(true).append(true).open(self.file("log.txt"));
        let _ = file.and_then(|mut f| writeln!(f, "{line}"));
    }
}

fn line(epoch: &EpochRecord) -> Result<String> {
    let text =
        serde_json::to_string(epoch).map_err(|e| Error::run(format!("epoch record: {e}")))?;
    Ok(text + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::{RecordedSource, shipped};

    fn epoch(epoch: usize) -> EpochRecord {
        EpochRecord {
            epoch,
            lr: 0.1,
            loss_cls: 1.0,
            loss_con: 2.0,
            loss: 3.0,
            grad_norm: None,
            steps: 4,
            test: None,
            train_seconds: 5.0,
        }
    }

    #[test]
    fn another_recipe_in_an_old_folder_is_refused_with_the_keys() {
        let tmp = tempfile::tempdir().unwrap();
        RunDir::open(tmp.path(), &shipped(&[])).unwrap();
        RunDir::open(tmp.path(), &shipped(&[])).unwrap();
        let e = RunDir::open(tmp.path(), &shipped(&["optim.lr=0.2"])).unwrap_err();
        assert!(e.to_string().contains("optim.lr: 0.1 there, 0.2 now"), "{e}");
    }

    #[test]
    fn a_folder_is_locked_once() {
        let tmp = tempfile::tempdir().unwrap();
        let dir = RunDir::open(tmp.path(), &shipped(&[])).unwrap();
        let held = dir.lock().unwrap();
        assert!(dir.lock().unwrap_err().to_string().contains("in use"));
        drop(held);
        dir.lock().unwrap();
    }

    #[test]
    fn what_a_killed_write_left_goes_with_the_next_lock() {
        let tmp = tempfile::tempdir().unwrap();
        let dir = RunDir::open(tmp.path(), &shipped(&[])).unwrap();
        fs::write(dir.file(".incomplete-x1y2"), "half").unwrap();
        drop(dir.lock().unwrap());
        let mut names: Vec<_> = fs::read_dir(tmp.path())
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(names, ["lock", "recipe.toml"]);
    }

    #[test]
    fn a_run_goes_on_with_its_own_images_only_and_says_what_changed() {
        let tmp = tempfile::tempdir().unwrap();
        let dir = RunDir::open(tmp.path(), &shipped(&[])).unwrap();
        let began = Provenance {
            version: "1".into(),
            commit: "c".into(),
            libtorch: "2".into(),
            device: "cpu".into(),
            torch_threads: 2,
            loader_threads: 2,
            data_source: RecordedSource::Words("a folder".into()),
            data_sha256: "d".into(),
            subset_sha256: "s".into(),
            skipped_pictures: [0, 0],
            command: vec![],
        };
        assert_eq!(dir.provenance(&began, false).unwrap(), None);
        let moved = Provenance {
            data_source: RecordedSource::Words("another folder".into()),
            command: vec!["x".into()],
            ..began.clone()
        };
        assert_eq!(dir.provenance(&moved, true).unwrap(), None);
        let fewer = Provenance { torch_threads: 1, ..began.clone() };
        let said = dir.provenance(&fewer, true).unwrap().unwrap();
        assert!(said.contains("1 thread of libtorch instead of 2"), "{said}");
        let other = Provenance { data_sha256: "e".into(), ..began };
        let e = dir.provenance(&other, true).unwrap_err();
        assert!(e.exit_code() == 2 && e.to_string().contains("other training images"), "{e}");
        assert_eq!(dir.provenance(&other, false).unwrap(), None);
        fs::write(dir.file("provenance.json"), "{").unwrap();
        let e = dir.provenance(&other, true).unwrap_err();
        assert!(e.to_string().contains("provenance.json: damaged"), "{e}");
    }

    #[test]
    fn epochs_are_cut_back_to_the_checkpoint_and_damage_is_named() {
        let tmp = tempfile::tempdir().unwrap();
        let dir = RunDir::open(tmp.path(), &shipped(&[])).unwrap();
        for e in 1..=3 {
            dir.append_epoch(&epoch(e)).unwrap();
        }
        // The line that a crash cut short stands behind the last checkpoint.
        let path = dir.file("epochs.jsonl");
        let text = fs::read_to_string(&path).unwrap() + "{\"epoch\": 4, \"lr";
        fs::write(&path, text).unwrap();
        assert_eq!(dir.epochs_until(2).unwrap(), [epoch(1), epoch(2)]);
        assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 2);
        assert!(dir.epochs_until(3).unwrap_err().to_string().contains("2 epochs"));
        fs::write(&path, "nonsense\n").unwrap();
        assert!(dir.epochs_until(1).unwrap_err().to_string().contains("line 1"));
        // One that is missing from the middle, and one that is not even text.
        fs::write(&path, line(&epoch(1)).unwrap() + &line(&epoch(3)).unwrap()).unwrap();
        assert!(dir.epochs_until(2).unwrap_err().to_string().contains("line 2: damaged (it is of"));
        fs::write(&path, [line(&epoch(1)).unwrap().as_bytes(), b"\xff\xfe\n"].concat()).unwrap();
        let kept = fs::read(&path).unwrap();
        assert!(dir.epochs_until(2).unwrap_err().to_string().contains("line 2: damaged"));
        assert_eq!(fs::read(&path).unwrap(), kept);
    }
}
