//! `rescom-repro cifar` from end to end on folders in CIFAR's own binary format. The images are
//! generated: what is shown is the way from disk to report, not an accuracy on CIFAR.

use std::{
    fs,
    path::Path,
    process::{Command, Output, Stdio},
};

use crate::program::{TINY, failed, repro, text, wait_for};

/// Writes a generated set in the format of `format`.
fn synthesize(out: &Path, format: &str, train: &str, seed: &str) {
    let mut command = repro(&["data", "synthesize", "--format", format, "--seed", seed]);
    command.args(["--train", train, "--test", "4", "--out"]).arg(out);
    assert!(command.output().unwrap().status.success());
}

/// The tiny sweep over CIFAR from `data`.
fn cifar(out: &Path, data: &Path, extra: &[&str]) -> Command {
    let mut command = repro(&["cifar", "--unverified", "--data"]);
    command.arg(data).arg("--out").arg(out);
    command.args(TINY.iter().filter(|a| !["--data", "synthetic"].contains(a))).args(extra);
    command
}

fn run(out: &Path, data: &Path, extra: &[&str]) -> Output {
    cifar(out, data, extra).output().unwrap()
}

#[test]
fn both_sets_on_disk_become_a_report() {
    let tmp = tempfile::tempdir().unwrap();
    let data = tmp.path().join("data");
    synthesize(&data.join("cifar-10-batches-bin"), "cifar10", "40", "0");
    synthesize(&data.join("cifar-100-binary"), "cifar100", "8", "0");
    let out = tmp.path().join("out");
    let args = ["--imb", "2", "--methods", "rescom", "--set", "optim.epochs=2"];
    // A hundred classes of forty images would be another test.
    let small =
        [&args[..], &["--set", "data.images-per-class=8", "--set", "contrast.num-pos=1"]].concat();
    let output = run(&out, &data, &small);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let report = fs::read_to_string(out.join("report.md")).unwrap();
    let title = report.lines().next().unwrap();
    assert!(title.contains("CIFAR-10-LT") && title.contains("CIFAR-100-LT"), "{title}");
    for (set, classes) in [("cifar10", 10), ("cifar100", 100)] {
        let record = fs::read(out.join(format!("{set}-imb2-rescom-seed0/record.json"))).unwrap();
        let record: serde_json::Value = serde_json::from_slice(&record).unwrap();
        assert_eq!(record["last"]["per_class"].as_array().unwrap().len(), classes);
        assert_eq!(record["last"]["images"], 4 * classes as u64);
        let source = serde_json::json!({
            "kind": "cifar", "place": data.to_str().unwrap(), "verified": false
        });
        assert_eq!(record["provenance"]["data_source"], source);
    }
    // Without the word that it need not be CIFAR, it is not taken for CIFAR.
    let mut checked = repro(&["cifar", "--dataset", "cifar10", "--data"]);
    checked.arg(&data).arg("--out").arg(tmp.path().join("checked")).args(["--imb", "2"]);
    failed(&checked.output().unwrap(), 2);
}

#[test]
fn images_that_go_missing_or_change_end_the_sweep_and_nothing_is_lost() {
    let tmp = tempfile::tempdir().unwrap();
    let (data, out) = (tmp.path().join("data"), tmp.path().join("out"));
    synthesize(&data, "cifar10", "40", "0");
    let args = |methods| ["--dataset", "cifar10", "--imb", "4", "--methods", methods];
    assert!(run(&out, &data, &args("ce")).status.success());

    // Gone: the finished run stays finished and reported, the next one names the file.
    fs::rename(data.join("data_batch_3.bin"), data.join("elsewhere")).unwrap();
    let stderr = failed(&run(&out, &data, &args("ce,rescom")), 2);
    assert!(stderr.contains(data.to_str().unwrap()), "{stderr}");
    assert!(stderr.contains("1 run is finished and in the report"), "{stderr}");
    fs::rename(data.join("elsewhere"), data.join("data_batch_3.bin")).unwrap();

    // Others in their place: a run that has begun does not go on with them.
    let mut child = cifar(&out, &data, &args("ce,rescom"))
        .stderr(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let folder = out.join("cifar10-imb4-rescom-seed0");
    wait_for(&folder.join("checkpoint-0001.json"), &mut child);
    child.kill().unwrap();
    child.wait().unwrap();
    synthesize(&data, "cifar10", "40", "1");
    let before = fs::read(folder.join("subset.json")).unwrap();
    let stderr = failed(&run(&out, &data, &args("ce,rescom")), 2);
    assert!(stderr.contains("began with other training images"), "{stderr}");
    assert_eq!(fs::read(folder.join("subset.json")).unwrap(), before);

    synthesize(&data, "cifar10", "40", "0");
    let output = run(&out, &data, &args("ce,rescom"));
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("resumed after epoch"), "{}", text(&output.stderr));
    assert_eq!(fs::read_to_string(out.join("runs.csv")).unwrap().lines().count(), 1 + 2);
}
