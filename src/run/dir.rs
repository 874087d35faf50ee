use std::{
    fs::{self, File, OpenOptions},
    io::{BufRead as _, BufReader, Write as _},
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
        fs::create_dir_all(path).map_err(Error::io("create folder", path))?;
        let dir = Self { path: path.to_path_buf() };
        let file = dir.file("recipe.toml");
        if !file.exists() {
            atomic::write(&file, recipe.to_toml()?.as_bytes())?;
            return Ok(dir);
        }
        let text = fs::read_to_string(&file).map_err(Error::io("read", &file))?;
        let old: Recipe = toml::from_str(&text).map_err(|e| {
            Error::input(format!("{}: {}", file.display(), e.to_string().replace('\n', " ")))
        })?;
        let differences = old.differences(recipe)?;
        if differences.is_empty() {
            return Ok(dir);
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
            Ok(()) => Ok(RunLock { _file: file }),
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

    /// Writes `provenance.json`.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn provenance(&self, provenance: &Provenance) -> Result<()> {
        atomic::write_json(&self.file("provenance.json"), provenance)
    }

    /// Appends one epoch and flushes it to disk.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn append_epoch(&self, epoch: &EpochRecord) -> Result<()> {
        let path = self.file("epochs.jsonl");
        let mut line =
            serde_json::to_string(epoch).map_err(|e| Error::run(format!("epoch record: {e}")))?;
        line.push('\n');
        let mut file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .map_err(Error::io("open for appending", &path))?;
        file.write_all(line.as_bytes()).map_err(Error::io("write", &path))?;
        file.sync_data().map_err(Error::io("flush", &path))
    }

    /// The epochs up to and including `last`, and cuts the file after them: what a resume from the
    /// checkpoint of epoch `last` stands on.
    ///
    /// # Errors
    /// [`Error::Input`] naming the line that is damaged or missing although the checkpoint says
    /// that its epoch was finished.
    pub fn epochs_until(&self, last: usize) -> Result<Vec<EpochRecord>> {
        let path = self.file("epochs.jsonl");
        if last == 0 {
            atomic::write(&path, b"")?;
            return Ok(Vec::new());
        }
        let file = File::open(&path).map_err(Error::io("read", &path))?;
        let mut epochs: Vec<EpochRecord> = Vec::with_capacity(last);
        let mut kept = String::new();
        for (number, line) in BufReader::new(file).lines().enumerate().take(last) {
            let line = line.map_err(Error::io("read", &path))?;
            let epoch: EpochRecord = serde_json::from_str(&line).map_err(|e| {
                Error::input(format!(
                    "{}, line {}: damaged ({e}); remove the run folder to start it anew",
                    path.display(),
                    number + 1
                ))
            })?;
            kept.push_str(&line);
            kept.push('\n');
            epochs.push(epoch);
        }
        if epochs.len() < last {
            return Err(Error::input(format!(
                "{}: {} epochs, but a checkpoint says that {last} were finished; remove the run folder to start it anew",
                path.display(),
                epochs.len()
            )));
        }
        atomic::write(&path, kept.as_bytes())?;
        Ok(epochs)
    }

    /// Appends a line to the human log; a log that cannot be written never stops a run.
    pub fn log(&self, line: &str) {
        let file = OpenOptions::new().create(true).append(true).open(self.file("log.txt"));
        let _ = file.and_then(|mut f| writeln!(f, "{line}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::RecipeFile;

    fn recipe(overrides: &[&str]) -> Recipe {
        let text = include_str!("../../experiments/recipes/fashion-mnist-lt.toml");
        let mut file = RecipeFile::parse(text, "fashion-mnist-lt.toml").unwrap();
        overrides.iter().for_each(|o| file.set_text(o).unwrap());
        file.resolve().unwrap().0
    }

    fn epoch(epoch: usize) -> EpochRecord {
        EpochRecord {
            epoch,
            lr: 0.1,
            loss_cls: 1.0,
            loss_con: 2.0,
            loss: 3.0,
            steps: 4,
            test: None,
            train_seconds: 5.0,
        }
    }

    #[test]
    fn another_recipe_in_an_old_folder_is_refused_with_the_keys() {
        let tmp = tempfile::tempdir().unwrap();
        RunDir::open(tmp.path(), &recipe(&[])).unwrap();
        RunDir::open(tmp.path(), &recipe(&[])).unwrap();
        let e = RunDir::open(tmp.path(), &recipe(&["optim.lr=0.2"])).unwrap_err();
        assert!(e.to_string().contains("optim.lr: 0.1 there, 0.2 now"), "{e}");
    }

    #[test]
    fn a_folder_is_locked_once() {
        let tmp = tempfile::tempdir().unwrap();
        let dir = RunDir::open(tmp.path(), &recipe(&[])).unwrap();
        let held = dir.lock().unwrap();
        assert!(dir.lock().unwrap_err().to_string().contains("in use"));
        drop(held);
        dir.lock().unwrap();
    }

    #[test]
    fn epochs_are_cut_back_to_the_checkpoint_and_damage_is_named() {
        let tmp = tempfile::tempdir().unwrap();
        let dir = RunDir::open(tmp.path(), &recipe(&[])).unwrap();
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
    }
}
