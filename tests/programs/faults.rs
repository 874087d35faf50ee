//! What goes wrong around a sweep: full and read-only disks, damaged folders, diverging runs, too
//! little memory, two processes, kills. Each ends in one line with the right exit code, and what is
//! finished stays. Generated images throughout.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Child, Stdio},
    sync::OnceLock,
};

mod damage;
mod kills;
mod limits;

use crate::program::{failed, sweep, text, timeless, tiny, wait_for};

/// The run that most tests here break. The key queue is part of what must come back.
const ARGS: [&str; 6] = ["--imb", "4", "--methods", "rescom", "--set", "optim.epochs=4"];
const RUN: &str = "fashion-mnist-imb4-rescom-seed0";

/// A folder of this test program that is made once and then only copied.
fn made(name: &str, make: impl FnOnce(&Path)) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("faults-{name}"));
    let _ = fs::remove_dir_all(&path);
    make(&path);
    path
}

/// An uninterrupted run.
fn whole() -> &'static Path {
    static WHOLE: OnceLock<PathBuf> = OnceLock::new();
    WHOLE.get_or_init(|| {
        made("whole", |out| {
            let output = sweep(out, &ARGS);
            assert!(output.status.success(), "{}", text(&output.stderr));
        })
    })
}

/// The same run, killed after at least two of its four epochs.
fn stopped() -> &'static Path {
    static STOPPED: OnceLock<PathBuf> = OnceLock::new();
    STOPPED.get_or_init(|| {
        made("stopped", |out| {
            kill_after(tiny(out, &ARGS).stderr(Stdio::null()).spawn().unwrap(), out, 2);
            assert!(!out.join(RUN).join("record.json").exists(), "the kill came too late");
        })
    })
}

/// SIGKILL once the checkpoint of `epoch` is valid.
fn kill_after(mut child: Child, out: &Path, epoch: usize) {
    wait_for(&out.join(RUN).join(format!("checkpoint-{epoch:04}.json")), &mut child);
    child.kill().unwrap();
    child.wait().unwrap();
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to.join(RUN)).unwrap();
    for (name, bytes) in content(&from.join(RUN)) {
        fs::write(to.join(RUN).join(name), bytes).unwrap();
    }
}

/// Every file of a run folder but its lock and its log.
fn content(run: &Path) -> BTreeMap<String, Vec<u8>> {
    let names = fs::read_dir(run).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
    names
        .filter(|name| name != "lock" && name != "log.txt")
        .map(|name| (name.clone(), fs::read(run.join(name)).unwrap()))
        .collect()
}

/// Epochs with a valid checkpoint, newest first.
fn checkpoints(run: &Path) -> Vec<usize> {
    let number = |n: &String| n.strip_prefix("checkpoint-")?.strip_suffix(".json")?.parse().ok();
    content(run).keys().rev().filter_map(number).collect()
}

/// Gives the command again and compares every bit with the uninterrupted run.
fn ends_as_if_never_interrupted(out: &Path) -> String {
    let again = sweep(out, &ARGS);
    assert!(again.status.success(), "{}", text(&again.stderr));
    assert_eq!(timeless(&out.join(RUN)), timeless(&whole().join(RUN)));
    let (ours, theirs) = (content(&out.join(RUN)), content(&whole().join(RUN)));
    assert_eq!(ours.keys().collect::<Vec<_>>(), theirs.keys().collect::<Vec<_>>());
    for (name, bytes) in &ours {
        // The others state times or the command line.
        if name.ends_with(".safetensors") || name == "subset.json" || name == "recipe.toml" {
            assert!(theirs[name] == *bytes, "{name}: weights, optimiser or queue differ");
        }
    }
    text(&again.stderr)
}

#[test]
fn a_diverging_run_fails_alone_and_the_others_are_reported() {
    let tmp = tempfile::tempdir().unwrap();
    // Infinite in float32, and only where there is a contrastive loss.
    let args = ["--imb", "4", "--methods", "rescom,ce", "--set", "contrast.con-weight=1e300"];
    let output = sweep(tmp.path(), &args);
    let stderr = failed(&output, 1);
    let error = stderr.lines().last().unwrap();
    for part in [
        "1 of 2 runs failed, the others are in the report",
        RUN,
        "epoch 1, step 1, training images [",
        "diverged.safetensors",
        "optim.lr",
    ] {
        assert!(error.contains(part), "{part}: {error}");
    }
    assert!(tmp.path().join(RUN).join("diverged.safetensors").is_file());
    let log = fs::read_to_string(tmp.path().join(RUN).join("log.txt")).unwrap();
    assert!(log.contains("failed: loss inf with gradient norm "), "{log}");
    assert_eq!(text(&output.stdout).trim(), tmp.path().join("report.md").to_str().unwrap());
    let runs = fs::read_to_string(tmp.path().join("runs.csv")).unwrap();
    assert_eq!(runs.lines().count(), 2);
    assert!(runs.contains("fashion-mnist-imb4-ce-seed0"), "{runs}");
}

#[test]
fn a_rate_beyond_all_reason_is_named_with_step_and_images() {
    let tmp = tempfile::tempdir().unwrap();
    let output = sweep(tmp.path(), &["--imb", "4", "--methods", "ce", "--set", "optim.lr=1e6"]);
    let stderr = failed(&output, 1);
    let error = stderr.lines().last().unwrap();
    assert!(error.contains("1 of 1 runs failed: fashion-mnist-imb4-ce-seed0: loss "), "{error}");
    assert!(error.contains("step ") && error.contains("training images ["), "{error}");
    assert!(error.contains("NaN") || error.contains("inf"), "{error}");
    let run = tmp.path().join("fashion-mnist-imb4-ce-seed0");
    assert!(run.join("diverged.safetensors").is_file());
    assert!(!run.join("record.json").exists() && !tmp.path().join("report.md").exists());
}

#[test]
fn a_second_process_is_refused_and_the_lock_of_a_killed_one_is_not_in_the_way() {
    let tmp = tempfile::tempdir().unwrap();
    let mut first = tiny(tmp.path(), &ARGS).stderr(Stdio::null()).spawn().unwrap();
    wait_for(&tmp.path().join(RUN).join("provenance.json"), &mut first);
    let stderr = failed(&sweep(tmp.path(), &ARGS), 2);
    assert!(stderr.contains("in use by another process"), "{stderr}");
    assert!(first.try_wait().unwrap().is_none(), "the first was disturbed");
    kill_after(first, tmp.path(), 1);
    assert!(tmp.path().join(RUN).join("lock").exists());
    ends_as_if_never_interrupted(tmp.path());
}
