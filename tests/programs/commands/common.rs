use std::{
    fs,
    path::{Path, PathBuf},
    process::Output,
    sync::LazyLock,
};

use serde_json::Value;

pub(crate) use crate::program::text;

/// One sweep that the tests only read (or copy): small runs of ce, rescom and mislas, two seeds.
pub(crate) static SWEEP: LazyLock<tempfile::TempDir> = LazyLock::new(|| {
    let dir = tempfile::tempdir().unwrap();
    train(dir.path(), &["--methods", "ce,rescom,mislas", "--seeds", "0,1"]);
    dir
});

pub(crate) fn repro(args: &[&str]) -> Output {
    crate::program::repro(args).output().unwrap()
}

/// Standard output of a command that must succeed.
pub(crate) fn ok(args: &[&str]) -> String {
    let output = repro(args);
    assert!(output.status.success(), "{args:?}: {}", text(&output.stderr));
    text(&output.stdout)
}

/// The error line of a command that must fail with this code.
pub(crate) fn refused(args: &[&str], code: i32) -> String {
    let output = repro(args);
    let stderr = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{args:?}: {stderr}");
    let errors: Vec<&str> = stderr.lines().filter(|l| l.starts_with("error:")).collect();
    assert_eq!(errors.len(), 1, "{args:?}: {stderr}");
    errors[0].to_owned()
}

pub(crate) fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

pub(crate) fn read_json(path: &Path) -> Value {
    json(&fs::read_to_string(path).unwrap())
}

/// Trains small runs on generated grey images into `out`.
pub(crate) fn train(out: &Path, extra: &[&str]) {
    let mut args = vec!["fashion-mnist", "--out", out.to_str().unwrap(), "--data", "synthetic"];
    args.extend(["--threads", "1", "--imb", "4"]);
    for set in [
        "data.images-per-class=40",
        "optim.epochs=2",
        "optim.batch-size=16",
        "optim.lr=0.05",
        "optim.warmup-epochs=1",
        "model.arch=resnet20",
        "stage2.epochs=3",
        "eval.every=1",
        "eval.interim-per-class=5",
    ] {
        args.extend(["--set", set]);
    }
    args.extend(extra);
    ok(&args);
}

pub(crate) fn run_of(method: &str, seed: u64) -> PathBuf {
    SWEEP.path().join(format!("fashion-mnist-imb4-{method}-seed{seed}"))
}

/// A copy of a run of the sweep, in a folder of its own that is removed with the guard.
pub(crate) fn copy_of(method: &str, seed: u64) -> (PathBuf, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let from = run_of(method, seed);
    let to = dir.path().join(from.file_name().unwrap());
    fs::create_dir(&to).unwrap();
    for entry in fs::read_dir(&from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
    (to, dir)
}
