//! What the tests of `rescom-sim` share: running it.

use std::{
    path::Path,
    process::{Command, Output},
};

use serde_json::Value;

/// The program in a folder of its own.
pub(crate) fn rescom_sim(args: &[&str], folder: &Path) -> Output {
    let program = env!("CARGO_BIN_EXE_rescom-sim");
    Command::new(program).args(args).current_dir(folder).output().unwrap()
}

/// What it prints, which must be JSON.
pub(crate) fn json(args: &[&str], folder: &Path) -> Value {
    let out = rescom_sim(args, folder);
    assert!(out.status.success(), "{args:?}: {}", String::from_utf8_lossy(&out.stderr));
    serde_json::from_slice(&out.stdout).unwrap()
}
