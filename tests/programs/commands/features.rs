//! `features`, and that `rescom-sim` takes what it writes.

use std::{fs, process::Command};

use rescom::{run::RunFeatures, train::from_safetensors};

use super::common::{copy_of, json, ok, read_json, refused};

#[test]
fn a_run_leaves_the_summary_that_the_command_gives() {
    let (run, _guard) = copy_of("rescom", 0);
    let left = fs::read(run.join("features.json")).unwrap();
    let sample = fs::read(run.join("features.safetensors")).unwrap();
    fs::remove_file(run.join("features.json")).unwrap();
    let printed = json(&ok(&["features", run.to_str().unwrap(), "--json"]));
    assert_eq!(fs::read(run.join("features.json")).unwrap(), left);
    assert_eq!(fs::read(run.join("features.safetensors")).unwrap(), sample);
    assert_eq!(printed[0], read_json(&run.join("features.json")));

    let found = RunFeatures::read(&run).unwrap().unwrap();
    let summary = &found.summary;
    assert_eq!((summary.dim, summary.images, summary.epoch), (32, 1000, 2));
    // 40 to 10 images per class: medium and few; 100 test images of each class.
    let groups: Vec<_> = summary.groups().map(|(g, s)| (g.name(), s.pairs)).collect();
    let pairs = |n: usize| (n * 100 * 99) as u64;
    let of = |i: usize| summary.groups().nth(i).unwrap().1.classes;
    assert_eq!(groups, [("medium", pairs(of(0))), ("few", pairs(of(1)))]);
    assert_eq!(of(0) + of(1), 10);
    let easy = &summary.easy;
    assert_eq!((easy.positive_gradient.len(), easy.negative_gradient.len()), (99, 900));
    assert!(easy.positive_similarity.is_sorted_by(|a, b| a >= b));
    assert!(easy.negative_gradient.is_sorted_by(|a, b| a >= b));
    assert_eq!((found.sample.labels.len(), found.sample.dim), (1000, 64));
}

#[test]
fn rescom_sim_takes_the_features() {
    let (run, guard) = copy_of("rescom", 0);
    let file = guard.path().join("z.safetensors");
    let (name, out) = (run.to_str().unwrap(), file.to_str().unwrap());
    ok(&["features", name, "--out", out, "--limit-per-class", "30"]);
    let tensors = from_safetensors("z", &fs::read(&file).unwrap()).unwrap();
    assert_eq!(tensors["features"].shape, [300, 32]);
    assert_eq!(tensors["logits"].shape, [300, 10]);
    let sim = Command::new(env!("CARGO_BIN_EXE_rescom-sim"))
        .args(["from-features", out, "--json"])
        .output()
        .unwrap();
    assert!(sim.status.success(), "{}", String::from_utf8_lossy(&sim.stderr));
    let observed = json(&String::from_utf8_lossy(&sim.stdout));
    assert_eq!(observed["input"]["rows"], 300);
    assert_eq!(observed["input"]["shot_groups_from"], "train_counts");

    // Without a projection head: encoder features of unit length, here of the training subset.
    let (run, _ce_guard) = copy_of("ce", 0);
    ok(&["features", run.to_str().unwrap(), "--out", out, "--split", "train-subset"]);
    let tensors = from_safetensors("f", &fs::read(&file).unwrap()).unwrap();
    let counts: i64 = tensors["train_counts"].as_i64().unwrap().iter().sum();
    assert_eq!(tensors["features"].shape, [counts as usize, 64]);
    for row in tensors["features"].as_f32().unwrap().chunks(64) {
        assert!((row.iter().map(|v| v * v).sum::<f32>() - 1.0).abs() < 1e-5);
    }
}

#[test]
fn the_features_of_one_run_go_into_one_file() {
    let e = refused(&["features", "a", "b", "--out", "c"], 2);
    assert!(e.contains("single RUN"), "{e}");
}
