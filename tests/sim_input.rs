//! What `rescom-sim` takes: every profile as it is, features of every type that PyTorch saves, more rows and
//! more classes than are measured one by one.

#![allow(clippy::unwrap_used)] // helpers of tests are tests

use half::{bf16, f16};
use safetensors::{Dtype, tensor::TensorView};
use serde_json::Value;
use std::path::Path;
use std::process::{Command, Output};

fn rescom_sim(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_rescom-sim")).args(args).arg("--json").output().unwrap()
}

fn json(args: &[&str]) -> Value {
    let out = rescom_sim(args);
    assert!(out.status.success(), "{args:?}: {}", String::from_utf8_lossy(&out.stderr));
    serde_json::from_slice(&out.stdout).unwrap()
}

#[test]
fn every_profile_runs_with_the_default_sweep() {
    for (profile, classes, largest) in [
        ("step", 10, 5000),
        ("cifar10-lt", 10, 5000),
        ("cifar100-lt", 100, 500),
        ("fashion-mnist-lt", 10, 6000),
        ("places-lt", 365, 4980),
    ] {
        let few = ["--batches", "3", "--sweep-batches", "2", "--batch", "8", "--dim", "8"];
        let args = [&["dual-imbalance", "--profile", profile, "--stages", "0"], &few[..]].concat();
        let result = json(&args);
        assert_eq!(result["profile"]["classes"], classes, "{profile}");
        let counts = result["profile"]["counts"].as_array().unwrap();
        assert_eq!(counts.iter().filter_map(Value::as_u64).max(), Some(largest), "{profile}");
    }
}

#[test]
fn shares_of_shot_groups_do_not_depend_on_the_bins() {
    // 8,142 classes from 1,000 images to 2; anchors are drawn from bins, which must not reach over the
    // borders of shot groups: without imbalance among the keys a group's share of the gradient follows from
    // its own classes.
    let folder = tempfile::tempdir().unwrap();
    let count = |c: u32| (1000.0 / f64::from(c + 1).powf(0.69)).max(2.0) as u64;
    let rows: String = (0..8142).map(|c| format!("{c},{}\n", count(c))).collect();
    let file = folder.path().join("counts.csv");
    std::fs::write(&file, format!("class,count\n{rows}")).unwrap();
    let profile = format!("counts:{}", file.display());
    let sizes = ["--batch", "256", "--batches", "8", "--dim", "16", "--concentration", "0"];
    let args = [&["dual-imbalance", "--profile", &profile, "--sweep", "none"], &sizes[..]].concat();
    let result = json(&args);
    let names = result["groups"]["names"].as_array().unwrap();
    assert!(names.len() < 30, "{names:?}");
    let settings = result["settings"].as_array().unwrap();
    let balanced =
        |s: &&Value| s["loss"] == "plain" && s["queue"] == "class-balanced" && s["mining"] == false;
    let groups = settings.iter().find(balanced).unwrap()["shot_groups"].as_array().unwrap();
    assert_eq!(groups.len(), 3);
    for group in groups {
        let (share, images) =
            (group["share"]["mean"].as_f64().unwrap(), group["images"].as_f64().unwrap());
        assert!((share / images - 1.0).abs() < 0.05, "{group}");
    }
}

/// A safetensors file of `features` [N, 2] and `labels`.
#[allow(clippy::needless_pass_by_value, reason = "made for the call")]
fn save(folder: &Path, features: (Dtype, Vec<u8>), labels: (Dtype, Vec<u8>, Vec<usize>)) -> String {
    let shape = vec![labels.2[0], 2];
    let tensors = [
        ("features", TensorView::new(features.0, shape, &features.1).unwrap()),
        ("labels", TensorView::new(labels.0, labels.2, &labels.1).unwrap()),
    ];
    let path = folder.join("features.safetensors");
    safetensors::serialize_to_file(tensors, None, &path).unwrap();
    path.display().to_string()
}

fn bytes<const N: usize>(values: impl IntoIterator<Item = [u8; N]>) -> Vec<u8> {
    values.into_iter().flatten().collect()
}

#[test]
fn features_and_labels_of_every_type_give_the_same() {
    let folder = tempfile::tempdir().unwrap();
    // Exact in every type.
    let values = [1.0, 0.5, -0.25, 2.0, 0.0, 1.5, -1.0, -0.5];
    let labels = [0i64, 1, 0, 1];
    let measure = |features, labels| {
        let file = save(folder.path(), features, labels);
        let mut result = json(&["from-features", &file]);
        result["input"].take();
        result
    };
    let wide = || (Dtype::F64, bytes(values.map(f64::to_le_bytes)));
    let long = || (Dtype::I64, bytes(labels.map(i64::to_le_bytes)), vec![4]);
    let expected = measure(wide(), long());
    for features in [
        (Dtype::F32, bytes(values.map(|v| (v as f32).to_le_bytes()))),
        (Dtype::F16, bytes(values.map(|v| f16::from_f64(v).to_le_bytes()))),
        (Dtype::BF16, bytes(values.map(|v| bf16::from_f64(v).to_le_bytes()))),
    ] {
        assert_eq!(measure(features, long()), expected);
    }
    for labels in [
        (Dtype::I32, bytes(labels.map(|v| (v as i32).to_le_bytes())), vec![4]),
        (Dtype::I16, bytes(labels.map(|v| (v as i16).to_le_bytes())), vec![4]),
        (Dtype::I8, bytes(labels.map(|v| (v as i8).to_le_bytes())), vec![4]),
        (Dtype::U64, bytes(labels.map(|v| (v as u64).to_le_bytes())), vec![4, 1]),
        (Dtype::U32, bytes(labels.map(|v| (v as u32).to_le_bytes())), vec![4]),
        (Dtype::U8, bytes(labels.map(|v| [v as u8])), vec![4]),
    ] {
        assert_eq!(measure(wide(), labels), expected);
    }
    for (labels, words) in [
        ([0, 1, 0, 999_999], "labels: row 3 has label 999999"),
        ([0, -1, 0, 1], "labels: row 1 has label -1"),
    ] {
        let labels = (Dtype::I64, bytes(labels.map(i64::to_le_bytes)), vec![4]);
        let out = rescom_sim(&["from-features", &save(folder.path(), wide(), labels)]);
        let message = String::from_utf8(out.stderr).unwrap();
        assert!(out.status.code() == Some(2) && message.contains(words), "{message}");
    }
}

/// `rows` rows of each of `classes` classes, on the circle.
fn circle(folder: &Path, classes: usize, rows: usize) -> String {
    let n = classes * rows;
    let at = |i: usize| (i as f32 * 0.7).sin_cos();
    let values: Vec<f32> = (0..n).flat_map(|i| [at(i).0, at(i).1]).collect();
    let labels = (0..n).map(|i| ((i % classes) as i64).to_le_bytes());
    let features = (Dtype::F32, bytes(values.into_iter().map(f32::to_le_bytes)));
    save(folder, features, (Dtype::I64, bytes(labels), vec![n]))
}

#[test]
fn a_sample_of_rows_keeps_positives_and_its_limit() {
    let folder = tempfile::tempdir().unwrap();
    let file = circle(folder.path(), 40, 3);
    for (most, rows, classes) in [(119, 119, 40), (100, 80, 40), (81, 80, 40), (41, 40, 20)] {
        let result = json(&["from-features", &file, "--max-rows", &most.to_string()]);
        let input = &result["input"];
        assert!(input["rows_used"].as_u64().unwrap() <= most, "{input}");
        // Equal shares: 119 of 120 rows would be uneven, so that a third row goes or stays in all classes.
        assert!(input["rows_used"] == rows || most == 119, "{input}");
        assert_eq!((&input["classes_used"], &input["exact"]), (&classes.into(), &false.into()));
        assert_eq!(result["anchors_without_positives"], 0, "{input}");
    }
}

#[test]
fn masses_between_many_classes_are_summed_over_groups() {
    let folder = tempfile::tempdir().unwrap();
    let result = json(&["from-features", &circle(folder.path(), 1500, 2)]);
    let groups = result["groups"]["classes"].as_array().unwrap();
    assert_eq!(groups.iter().map(|n| n.as_u64().unwrap()).sum::<u64>(), 1500);
    let sum = |v: &Value| v.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).sum::<f64>();
    let mass = &result["gradient_mass"];
    let total: f64 = ["positive", "negative"]
        .iter()
        .flat_map(|part| mass[part].as_array().unwrap())
        .map(sum)
        .sum();
    assert!((total / sum(&result["gradient_mass_per_class"]) - 1.0).abs() < 1e-12);
    assert_eq!(mass["positive"].as_array().unwrap().len(), groups.len());
    // A group without classes is there and has no pairs.
    let few = &result["positive_similarity"]["per_group"];
    assert_eq!((&few["many"]["count"], &few["many"]["mean"]), (&0.into(), &Value::Null));
}
