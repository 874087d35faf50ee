//! Checkpoints: `checkpoint-NNNN.safetensors` with everything a step changes, and beside it a
//! `.json` that is written last and makes it valid.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{
    Error, Result,
    run::{Recipe, RunDir, atomic},
    train::{HostTensors, from_safetensors, to_safetensors},
};

/// What stands beside the tensors.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Checkpoint {
    /// Finished epochs.
    pub(crate) epoch: usize,
    /// SHA-256 of the tensor file.
    pub(crate) sha256: String,
    /// Seconds that the run has taken so far.
    pub(crate) seconds: f64,
}

pub(crate) fn tensor_file(dir: &RunDir, epoch: usize) -> PathBuf {
    dir.file(&format!("checkpoint-{epoch:04}.safetensors"))
}

/// SHA-256 of `bytes`, hex.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
}

/// SHA-256 of the tensor file of the checkpoint of `epoch`, as written with it.
///
/// # Errors
/// [`Error::Io`] if there is none.
pub(crate) fn sha256_of(dir: &RunDir, epoch: usize) -> Result<String> {
    let about: Checkpoint = atomic::read_json(&tensor_file(dir, epoch).with_extension("json"))?;
    Ok(about.sha256)
}

/// Writes the checkpoint of `epoch` and removes all but the newest `keep`.
///
/// # Errors
/// [`Error::Io`]; older checkpoints are then still there.
pub(crate) fn save(
    dir: &RunDir,
    epoch: usize,
    state: &HostTensors,
    seconds: f64,
    keep: usize,
) -> Result<()> {
    let bytes = to_safetensors(state)?;
    let path = tensor_file(dir, epoch);
    atomic::write(&path, &bytes)?;
    let sha256 = sha256(&bytes);
    atomic::write_json(&path.with_extension("json"), &Checkpoint { epoch, sha256, seconds })?;
    let kept: Vec<usize> = epochs(dir, ".json")?.into_iter().rev().take(keep).collect();
    // Tensors without their .json are left where a save or a removal was killed.
    for ending in [".json", ".safetensors"] {
        for old in epochs(dir, ending)?.into_iter().filter(|old| !kept.contains(old)) {
            // Best effort: a file too many harms nobody.
            let _ = fs::remove_file(dir.file(&format!("checkpoint-{old:04}{ending}")));
        }
    }
    Ok(())
}

/// Epochs of which there is a file `checkpoint-NNNN` with this ending, in order; `.json` makes a
/// checkpoint valid.
fn epochs(dir: &RunDir, ending: &str) -> Result<Vec<usize>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir.path()).map_err(Error::io("read", dir.path()))? {
        let name = entry.map_err(Error::io("read", dir.path()))?.file_name();
        let epoch = name
            .to_str()
            .and_then(|n| n.strip_prefix("checkpoint-")?.strip_suffix(ending)?.parse().ok());
        found.extend::<Option<usize>>(epoch);
    }
    found.sort_unstable();
    Ok(found)
}

/// The newest checkpoint that is whole; `warn` hears of every damaged one that was passed over.
/// None if there never was one.
///
/// # Errors
/// [`Error::Input`] if there are checkpoints and all are damaged.
pub(crate) fn newest(
    dir: &RunDir,
    warn: &mut dyn FnMut(&str),
) -> Result<Option<(Checkpoint, HostTensors)>> {
    let epochs = epochs(dir, ".json")?;
    let mut reasons = Vec::new();
    for &epoch in epochs.iter().rev() {
        let path = tensor_file(dir, epoch);
        match load(&path) {
            Ok(found) => return Ok(Some(found)),
            Err(e) => {
                warn(&format!("{e}; falling back to the checkpoint before it"));
                reasons.push(e.to_string());
            }
        }
    }
    if epochs.is_empty() {
        return Ok(None);
    }
    Err(Error::input(format!(
        "{}: every checkpoint is damaged ({}); remove the run folder to start it anew",
        dir.path().display(),
        reasons.join("; ")
    )))
}

/// Whether [`fit`](crate::train::fit::epoch_loop::fit) could make a run in the folder `path` or go on there, as far
/// as the folder itself tells: nobody works in it, it is of this recipe, and what a resume stands on
/// is whole. Changes nothing of a run.
///
/// # Errors
/// [`Error::Input`] naming what is damaged, different or in use.
pub fn inspect(path: &Path, recipe: &Recipe) -> Result<()> {
    let Some(dir) = RunDir::existing(path, recipe)? else { return Ok(()) };
    if dir.record()?.is_some() {
        return Ok(());
    }
    let _lock = dir.lock()?;
    let done = newest(&dir, &mut |_| {})?.map_or(0, |(about, _)| about.epoch);
    dir.epochs(done).map(drop)
}

fn load(path: &Path) -> Result<(Checkpoint, HostTensors)> {
    let about: Checkpoint = atomic::read_json(&path.with_extension("json"))?;
    let bytes = fs::read(path).map_err(Error::io("read", path))?;
    if sha256(&bytes) != about.sha256 {
        return Err(Error::input(format!(
            "{}: damaged, its checksum is not the one written with it",
            path.display()
        )));
    }
    let state = from_safetensors(&path.display().to_string(), &bytes)?;
    Ok((about, state))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{run::shipped, train::HostTensor};

    #[test]
    fn a_damaged_checkpoint_is_passed_over_and_named() {
        let tmp = tempfile::tempdir().unwrap();
        let dir = RunDir::open(tmp.path(), &shipped(&[])).unwrap();
        assert!(newest(&dir, &mut |_| {}).unwrap().is_none());
        let state =
            |v: f32| HostTensors::from([("w".to_owned(), HostTensor::f32(&[1], vec![v]).unwrap())]);
        // What a save leaves that is killed before its .json is written.
        fs::write(tensor_file(&dir, 0), b"x").unwrap();
        for epoch in 1..=3 {
            save(&dir, epoch, &state(epoch as f32), 1.0, 2).unwrap();
        }
        assert_eq!(epochs(&dir, ".json").unwrap(), [2, 3]);
        assert_eq!(epochs(&dir, ".safetensors").unwrap(), [2, 3]);
        fs::write(tensor_file(&dir, 3), b"half").unwrap();
        let mut warnings = Vec::new();
        let (about, found) = newest(&dir, &mut |w| warnings.push(w.to_owned())).unwrap().unwrap();
        assert_eq!((about.epoch, found), (2, state(2.0)));
        assert!(warnings[0].contains("checkpoint-0003"), "{warnings:?}");
        fs::write(tensor_file(&dir, 2), b"half").unwrap();
        let e = newest(&dir, &mut |_| {}).unwrap_err().to_string();
        assert!(e.contains("checkpoint-0002") && e.contains("checkpoint-0003"), "{e}");
        assert_eq!(fs::read(tensor_file(&dir, 2)).unwrap(), b"half");
    }
}
