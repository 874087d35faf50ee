//! What the tests of the training program share: a tiny sweep on generated images.

use std::{
    fs,
    path::Path,
    process::{Child, Command, Output},
    time::{Duration, Instant},
};

/// A sweep so small that a run takes seconds.
pub(crate) const TINY: [&str; 14] = [
    "--data",
    "synthetic",
    "--threads",
    "1",
    "--set",
    "data.images-per-class=40",
    "--set",
    "optim.epochs=3",
    "--set",
    "optim.batch-size=16",
    "--set",
    "optim.warmup-epochs=1",
    "--set",
    "model.arch=resnet20",
];

/// The program with these arguments.
pub(crate) fn repro(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rescom-repro"));
    command.args(args);
    command
}

/// The tiny sweep into `out`, not started.
pub(crate) fn tiny(out: &Path, extra: &[&str]) -> Command {
    let mut command = repro(&["fashion-mnist", "--out"]);
    command.arg(out).args(TINY).args(extra);
    command
}

/// The tiny sweep into `out`.
pub(crate) fn sweep(out: &Path, extra: &[&str]) -> Output {
    tiny(out, extra).output().unwrap()
}

/// Output as text.
pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Record without the wall-clock fields, the only ones that a repetition does not reproduce.
pub(crate) fn timeless(run: &Path) -> serde_json::Value {
    let bytes = fs::read(run.join("record.json")).unwrap();
    let mut record: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
    record.as_object_mut().unwrap().remove("seconds");
    record["provenance"]["command"].take();
    for epoch in record["epochs"].as_array_mut().unwrap() {
        epoch.as_object_mut().unwrap().remove("train_seconds");
    }
    record
}

/// Asserts the exit code and that there is exactly one line of error; returns standard error.
pub(crate) fn failed(output: &Output, code: i32) -> String {
    let stderr = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{stderr}");
    assert_eq!(stderr.lines().filter(|l| l.starts_with("error:")).count(), 1, "{stderr}");
    assert!(!stderr.contains("panicked"), "{stderr}");
    stderr
}

/// What the terminal sends a program at Ctrl-C.
pub(crate) fn ctrl_c(child: &Child) {
    let command = format!("kill -INT {}", child.id());
    assert!(Command::new("sh").args(["-c", &command]).status().unwrap().success());
}

/// Waits until the process has written `file`.
pub(crate) fn wait_for(file: &Path, child: &mut Child) {
    let started = Instant::now();
    while !file.exists() {
        assert!(started.elapsed() < Duration::from_secs(300), "{} never came", file.display());
        assert!(child.try_wait().unwrap().is_none(), "ended before {}", file.display());
        std::thread::sleep(Duration::from_millis(2));
    }
}
