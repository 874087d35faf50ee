//! `stage2`: a run of its own that resumes bit for bit.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use rescom::train::{from_safetensors, to_safetensors};
use sha2::{Digest as _, Sha256};

use super::common::{copy_of, json, ok, read_json, refused, repro, text};
use crate::program::{self, timeless};

#[test]
fn stage_two_is_a_run_of_its_own_with_a_row_of_its_own() {
    for (method, label) in [("rescom", "rescom+mislas"), ("mislas", "mislas+stage2")] {
        let (run, guard) = copy_of(method, 0);
        let record = json(&ok(&["stage2", run.to_str().unwrap(), "--json"]));
        let out = guard.path().join(format!("fashion-mnist-imb4-{label}-seed0"));
        assert_eq!(read_json(&out.join("record.json")), record);
        assert_eq!(record["stage2"]["run"], format!("fashion-mnist-imb4-{method}-seed0"));
        let checkpoint = read_json(&run.join("checkpoint-0002.json"));
        assert_eq!(record["stage2"]["checkpoint_sha256"], checkpoint["sha256"]);
        let epochs = record["epochs"].as_array().unwrap();
        // Half a cosine from 0.1 to 0 over three epochs.
        let rates: Vec<f64> = epochs.iter().map(|e| e["lr"].as_f64().unwrap()).collect();
        for (rate, expected) in rates.iter().zip([0.1, 0.075, 0.025]) {
            assert!((rate - expected).abs() < 1e-12, "{rates:?}");
        }
        assert_eq!((epochs.len(), epochs[1]["test"]["images"].as_u64()), (3, Some(50)));
        assert_eq!(record["last"]["images"], 1000);
        assert!(out.join("features.json").exists());
        let report = ok(&["report", guard.path().to_str().unwrap()]);
        let report = fs::read_to_string(report.trim()).unwrap();
        assert!(
            report.contains(&format!("| {label} |")) && report.contains(&format!("| {method} |"))
        );
        // Evaluating it gives its own record, and it is no start for another stage 2.
        let found = json(&ok(&["evaluate", out.to_str().unwrap(), "--json"]));
        assert_eq!(found[0]["test"], record["last"]);
        assert!(refused(&["stage2", out.to_str().unwrap()], 2).contains("is a run of stage 2"));
        let again = repro(&["stage2", run.to_str().unwrap()]);
        assert!(text(&again.stderr).contains("finished before"));
    }
}

#[test]
fn a_killed_stage_two_resumes_to_the_same_bits() {
    let (run, guard) = copy_of("rescom", 1);
    let (whole, broken) = (guard.path().join("whole"), guard.path().join("broken"));
    let args = |out: &Path| {
        let words = ["stage2", run.to_str().unwrap(), "--set", "stage2.shifted-batch-norm=true"];
        let out = ["--set", "stage2.epochs=8", "--out", out.to_str().unwrap()];
        [&words[..], &out].concat().into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    let command = |out: &Path| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rescom-repro"));
        command.args(args(out)).stdout(Stdio::null()).stderr(Stdio::null());
        command
    };
    assert!(command(&whole).status().unwrap().success());
    let mut kills = 0;
    for epochs in 1..=3 {
        let mut child = command(&broken).spawn().unwrap();
        // Killed in the middle of a later epoch each time.
        let begun = || {
            let lines = fs::read_to_string(broken.join("epochs.jsonl")).unwrap_or_default();
            lines.lines().count() >= 2 * epochs
        };
        while !begun() && child.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_millis(5));
        }
        if child.try_wait().unwrap().is_none() {
            child.kill().unwrap();
            kills += 1;
        }
        child.wait().unwrap();
    }
    assert!(kills > 0, "never interrupted");
    assert!(command(&broken).status().unwrap().success());
    let mut expected = timeless(&whole);
    expected["id"] = timeless(&broken)["id"].clone();
    assert_eq!(timeless(&broken), expected);
    let state = |dir: &Path| fs::read(dir.join("checkpoint-0008.safetensors")).unwrap();
    assert!(state(&broken) == state(&whole), "weights, optimiser or statistics differ");
}

#[test]
fn ctrl_c_ends_stage_two_with_130_and_the_same_command_goes_on() {
    let (run, guard) = copy_of("ce", 1);
    let out = guard.path().join("stopped");
    let (from, to) = (run.to_str().unwrap(), out.to_str().unwrap());
    // After two epochs of training the published rate is too high for the factors.
    let sets = ["--set", "stage2.epochs=8", "--set", "stage2.lr=0.01"];
    let args = [&["stage2", from, "--out", to], &sets[..]].concat();
    let mut command = program::repro(&args);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    program::wait_for(&out.join("checkpoint-0001.json"), &mut child);
    program::ctrl_c(&child);
    let output = child.wait_with_output().unwrap();
    let stderr = text(&output.stderr);
    assert_eq!(output.status.code(), Some(130), "{stderr}");
    assert!(stderr.lines().last().unwrap().contains("The same command again goes on"), "{stderr}");
    assert!(!out.join("record.json").exists());
    let again = repro(&args);
    let stderr = text(&again.stderr);
    assert!(again.status.success() && stderr.contains("resumed after epoch"), "{stderr}");
    assert_eq!(read_json(&out.join("record.json"))["epochs"].as_array().unwrap().len(), 8);
}

#[test]
fn stage_two_refuses_what_it_cannot_start_from() {
    let (run, guard) = copy_of("ce", 0);
    let name = run.to_str().unwrap();
    let e = refused(&["stage2", name, "--set", "optim.epochs=9"], 2);
    assert!(e.contains("only values of [stage2]"), "{e}");
    let (other, _other_guard) = copy_of("mislas", 1);
    let e = refused(&["stage2", name, "--out", other.to_str().unwrap()], 2);
    assert!(e.contains("another recipe"), "{e}");
    // The folder of the run itself is not one of stage 2.
    let e = refused(&["stage2", name, "--out", name], 2);
    assert!(e.contains("did not start from this network"), "{e}");
    fs::remove_file(run.join("record.json")).unwrap();
    let e = refused(&["stage2", name], 2);
    assert!(e.contains("not finished"), "{e}");
    drop(guard);
}

/// A state dict with every entry of `from` whose new name `rename` gives.
fn state_dict(from: &Path, to: &Path, rename: impl Fn(&str) -> Option<String>) {
    let tensors = from_safetensors("checkpoint", &fs::read(from).unwrap()).unwrap();
    let kept = tensors.into_iter().filter_map(|(name, t)| Some((rename(&name)?, t)));
    fs::write(to, to_safetensors(&kept.collect()).unwrap()).unwrap();
}

#[test]
fn stage_two_takes_a_network_from_a_file() {
    let (run, guard) = copy_of("ce", 0);
    // Of another run; a run that has only begun is enough to say what data set and recipe are.
    let (other, _other_guard) = copy_of("rescom", 1);
    fs::remove_file(run.join("record.json")).unwrap();
    let checkpoint = other.join("checkpoint-0002.safetensors");
    let (bare, whole) = (guard.path().join("bare.safetensors"), guard.path().join("w.safetensors"));
    state_dict(&checkpoint, &bare, |n| Some(format!("module.{}", n.strip_prefix("encoder.")?)));
    state_dict(&checkpoint, &whole, |n| {
        let network = ["encoder.", "linear.", "mlp."].iter().any(|part| n.starts_with(part));
        network.then(|| format!("module.{n}"))
    });
    let started = |file: &Path, out: &str| {
        let (run, file) = (run.to_str().unwrap(), file.to_str().unwrap());
        let out = guard.path().join(out);
        let fixed = ["--set", "stage2.shifted-batch-norm=false", "--out", out.to_str().unwrap()];
        let record =
            json(&ok(&[&["stage2", run, "--weights", file, "--json"], &fixed[..]].concat()));
        let state = fs::read(out.join("checkpoint-0003.safetensors")).unwrap();
        (record, from_safetensors("stage 2", &state).unwrap())
    };
    let theirs = from_safetensors("theirs", &fs::read(&checkpoint).unwrap()).unwrap();
    for (file, classifier, out) in [(&bare, false, "fresh"), (&whole, true, "taken")] {
        let (record, state) = started(file, out);
        let source = &record["stage2"];
        assert_eq!(source["weights"]["file"], file.to_str().unwrap());
        assert_eq!(source["weights"]["classifier"], classifier);
        assert_eq!(source["checkpoint_sha256"], sha256(file));
        assert_eq!((source["run"].as_str(), source.get("epoch")), (run_name(&run), None));
        assert_eq!(record["recipe"]["method"]["name"], "ce");
        // The encoder is the file's, and frozen.
        for (name, value) in theirs.iter().filter(|(n, _)| n.starts_with("encoder.")) {
            assert_eq!(state.get(name), Some(value), "{name}");
        }
        // What the marks of a run that is not finished were.
        assert_eq!(record["marks"]["stage2.epochs"]["was"], "10");
        assert_eq!(record["marks"]["data.set"], "assumed");
    }
    // The name of the folder and the row of the report say that the encoder is not the method's.
    let (name, bare) = (run.to_str().unwrap(), bare.to_str().unwrap());
    let out = ok(&["stage2", name, "--weights", bare, "--set", "stage2.epochs=1"]);
    assert!(out.trim().ends_with("fashion-mnist-imb4-ce+weights+mislas-seed0"), "{out}");
    let report = ok(&["report", out.trim()]);
    assert!(fs::read_to_string(report.trim()).unwrap().contains("| ce+weights+mislas |"));
    // The same network from another place is the same start; another network is not.
    let moved = guard.path().join("moved.safetensors");
    fs::copy(bare, &moved).unwrap();
    let again =
        repro(&["stage2", name, "--weights", moved.to_str().unwrap(), "--set", "stage2.epochs=1"]);
    assert!(text(&again.stderr).contains("finished before"), "{}", text(&again.stderr));
    let args = ["stage2", name, "--weights", whole.to_str().unwrap(), "--set", "stage2.epochs=1"];
    assert!(refused(&args, 2).contains("did not start from this network"));
}

fn sha256(file: &Path) -> String {
    Sha256::digest(fs::read(file).unwrap()).iter().map(|b| format!("{b:02x}")).collect()
}

fn run_name(run: &Path) -> Option<&str> {
    run.file_name().and_then(|name| name.to_str())
}

#[test]
fn a_file_that_is_not_the_recipes_encoder_is_refused() {
    let (run, guard) = copy_of("ce", 0);
    let (name, file) = (run.to_str().unwrap(), guard.path().join("file.safetensors"));
    let checkpoint = run.join("checkpoint-0002.safetensors");
    let args = ["stage2", name, "--weights", file.to_str().unwrap()];
    assert!(refused(&args, 2).contains("file.safetensors"));
    fs::write(&file, b"PK not safetensors").unwrap();
    assert!(refused(&args, 2).contains("not a readable safetensors file"));
    state_dict(&checkpoint, &file, |n| (n != "encoder.bn1.weight").then(|| n.to_owned()));
    let e = refused(&args, 2);
    assert!(e.contains("encoder.bn1.weight is missing") && e.contains("resnet20"), "{e}");
    assert!(!guard.path().join("fashion-mnist-imb4-ce+weights+mislas-seed0").exists());
}
