//! A sweep in parts, as a batch system runs it: the merged report is the one of the whole sweep.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    process::{Command, Output},
};

use crate::program::{TINY, repro, sweep, text};

const SCRIPT: &str = "experiments/slurm.sbatch";
const ARGS: [&str; 6] = ["--imb", "2,4", "--methods", "ce,rescom", "--set", "optim.epochs=2"];

/// The script as SLURM starts it for one task of an array.
fn task(out: &Path, part: &str, parts: &str) -> Output {
    let mut bash = Command::new("bash");
    bash.args([SCRIPT, "fashion-mnist"])
        // The script gives the threads.
        .args(TINY.iter().filter(|a| !["--threads", "1"].contains(a)))
        .args(ARGS)
        .env("RESCOM_REPRO", env!("CARGO_BIN_EXE_rescom-repro"))
        .env("OUT", out)
        .env("SLURM_ARRAY_TASK_ID", part)
        .env("PARTS", parts)
        .env("SLURM_CPUS_PER_TASK", "1");
    bash.output().unwrap()
}

/// The files of a report by name, without what states times or command lines.
fn timeless(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap).filter(|e| e.path().is_file()) {
        let name = entry.file_name().into_string().unwrap();
        let mut bytes = fs::read(entry.path()).unwrap();
        match name.as_str() {
            "report.md" => {
                let text = String::from_utf8(bytes).unwrap();
                let (body, origin) = text.split_once("## Where this comes from").unwrap();
                assert!(origin.contains("rescom-repro fashion-mnist"), "{origin}");
                bytes = without_sections(body, "### Time per epoch").into();
            }
            "runs.csv" => bytes = without_column(&bytes, "seconds").into(),
            "epochs.csv" => bytes = without_column(&bytes, "train_seconds").into(),
            "runs.parquet" | "epochs.parquet" => bytes.clear(),
            _ => {}
        }
        files.insert(name, bytes);
    }
    files
}

/// Markdown without the sections of this heading.
fn without_sections(text: &str, heading: &str) -> String {
    let mut left_out = false;
    let kept = text.lines().filter(|line| {
        if line.starts_with('#') {
            left_out = *line == heading;
        }
        !left_out
    });
    kept.map(|line| format!("{line}\n")).collect()
}

fn without_column(csv: &[u8], column: &str) -> String {
    let text = String::from_utf8(csv.to_vec()).unwrap();
    let at = text.lines().next().unwrap().split(',').position(|c| c == column).unwrap();
    let rest = |line: &str| {
        let cells = line.split(',').enumerate().filter(|(i, _)| *i != at);
        cells.map(|(_, c)| c).collect::<Vec<_>>().join(",")
    };
    text.lines().map(|line| rest(line) + "\n").collect()
}

#[test]
fn two_shards_merged_are_the_unsharded_sweep() {
    let syntax = Command::new("bash").args(["-n", SCRIPT]).output().unwrap();
    assert!(syntax.status.success(), "{}", text(&syntax.stderr));

    let tmp = tempfile::tempdir().unwrap();
    let (whole, parts, merged) =
        (tmp.path().join("whole"), tmp.path().join("parts"), tmp.path().join("merged"));
    let output = sweep(&whole, &ARGS);
    assert!(output.status.success(), "{}", text(&output.stderr));
    for part in ["1", "2"] {
        let output = task(&parts, part, "2");
        assert!(output.status.success(), "{}", text(&output.stderr));
        let made = fs::read_to_string(parts.join(format!("part-{part}/runs.csv"))).unwrap();
        assert_eq!(made.lines().count(), 1 + 2, "{made}");
    }
    // In the wrong order: it must not matter.
    let mut report = repro(&["report"]);
    report.arg(parts.join("part-2")).arg(parts.join("part-1")).arg("--out").arg(&merged);
    let output = report.output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));

    let (one, other) = (timeless(&whole), timeless(&merged));
    assert_eq!(one.keys().collect::<Vec<_>>(), other.keys().collect::<Vec<_>>());
    assert!(one.keys().any(|name| name.ends_with(".png")));
    for (name, bytes) in &one {
        assert!(other[name] == *bytes, "{name} differs");
    }
    assert_eq!(text(&one["runs.csv"]).lines().count(), 1 + 4);

    let twice = repro(&["report"]).arg(&whole).arg(&merged).output().unwrap();
    assert_eq!(twice.status.code(), Some(2), "no runs in {}", merged.display());
    let twice = repro(&["report"]).arg(&whole).arg(parts.join("part-1")).output().unwrap();
    assert_eq!(twice.status.code(), Some(2));
    assert!(text(&twice.stderr).contains("merge each run once"), "{}", text(&twice.stderr));
}

#[test]
fn an_array_that_does_not_fit_is_refused() {
    let tmp = tempfile::tempdir().unwrap();
    let output = task(tmp.path(), "0", "2");
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("--shard 0/2"), "{}", text(&output.stderr));
    let alone =
        Command::new("bash").arg(SCRIPT).env_remove("SLURM_ARRAY_TASK_ID").output().unwrap();
    assert!(text(&alone.stderr).contains("--array=1-N"), "{}", text(&alone.stderr));
    // The array that is submitted need not be the whole one: its size is not the number of parts.
    let mut unknown = Command::new("bash");
    unknown.arg(SCRIPT).env("SLURM_ARRAY_TASK_ID", "3").env("SLURM_ARRAY_TASK_COUNT", "1");
    let unknown = unknown.env_remove("PARTS").output().unwrap();
    assert!(text(&unknown.stderr).contains("PARTS=N"), "{}", text(&unknown.stderr));
}
