//! `rescom-sim from-features`: files of saved features, what is measured on them, what is refused.

use half::{bf16, f16};
use rescom::contrast::{LossForm, SelfPairs, SupConLoss, Temperature, normalize_rows};
use rescom::longtail::ShotGroup;
use rescom::rng::Streams;
use rescom::sim::observe;
use safetensors::{Dtype, tensor::TensorView};
use serde_json::Value;
use std::path::{Path, PathBuf};

use crate::common::{json, rescom_sim};

/// A tensor: type, shape, bytes.
type Tensor = (Dtype, Vec<usize>, Vec<u8>);

fn floats(values: &[f32], dim: usize) -> Tensor {
    let data = values.iter().flat_map(|x| x.to_le_bytes()).collect();
    (Dtype::F32, vec![values.len() / dim, dim], data)
}

fn integers(values: &[i64]) -> Tensor {
    (Dtype::I64, vec![values.len()], values.iter().flat_map(|x| x.to_le_bytes()).collect())
}

fn save(path: &Path, features: &Tensor, labels: &Tensor, counts: Option<&Tensor>) {
    let all = [("features", Some(features)), ("labels", Some(labels)), ("train_counts", counts)];
    let tensors: Vec<_> = all
        .iter()
        .filter_map(|(name, t)| {
            let (dtype, shape, data) = (*t)?;
            Some((*name, TensorView::new(*dtype, shape.clone(), data).unwrap()))
        })
        .collect();
    safetensors::serialize_to_file(tensors, None, path).unwrap();
}

/// Rows around one direction per class; row r is of class r modulo `classes`.
fn scattered(rows: usize, classes: usize, dim: usize) -> (Vec<f32>, Vec<i64>) {
    use rand::RngExt;
    let mut rng = Streams::new(7).stream("scattered", &[]);
    let labels: Vec<i64> = (0..rows).map(|r| (r % classes) as i64).collect();
    let value = |at: usize| (((at / dim) % classes) % dim == at % dim) as u8 as f32;
    let features = (0..rows * dim).map(|at| value(at) + rng.random_range(-0.4..0.4)).collect();
    (features, labels)
}

#[test]
fn features_of_a_network_are_measured_exactly() {
    let folder = tempfile::tempdir().unwrap();
    // Three rows of class 0 and one of class 1, in the plane; by hand at T = 1.
    let path = folder.path().join("f.safetensors");
    let features = floats(&[1., 0., 0., 2., 1., 0., 0., -3.], 2);
    save(&path, &features, &integers(&[0, 0, 0, 1]), Some(&integers(&[200, 5])));
    let path = path.to_str().unwrap();
    let result = json(&["from-features", path, "--temperature", "1", "--json"], folder.path());
    let e = std::f64::consts::E;
    // Rows 0 and 2 are equal: keys at cosine 0, 1, 0; row 1 has 0, 0, -1.
    let (first, second) = (e + 2.0, 2.0 + 1.0 / e);
    let negative = (2.0 / first + 1.0 / (e * second)) / 4.0;
    let positive = (2.0 * ((1.0 / first - 0.5).abs() + (e / first - 0.5).abs())
        + 2.0 * (1.0 / second - 0.5f64).abs())
        / 4.0;
    let mass = &result["gradient_mass"];
    let close = |v: &Value, x: f64| assert!((v.as_f64().unwrap() - x).abs() < 1e-12, "{v} {x}");
    close(&mass["negative"][0][1], negative);
    close(&mass["positive"][0][0], positive);
    close(&result["gradient_mass_per_class"][0], positive + negative);
    close(&mass["negative"][1][0], 0.0);
    assert_eq!(result["anchors_without_positives"], 1);
    let similarity = &result["positive_similarity"];
    close(&similarity["per_class"][0]["mean"], 2.0 / 6.0);
    assert_eq!(similarity["per_class"][1]["mean"], Value::Null);
    // Every shot group is there, with or without pairs.
    assert_eq!(similarity["per_group"]["many"]["count"], 6);
    for group in ["medium", "few"] {
        assert_eq!(similarity["per_group"][group], serde_json::json!({ "mean": null, "count": 0 }));
    }
    let shots = &result["shot_groups"];
    close(&shots[0]["gradient_mass"]["negative"], negative);
    close(&shots[0]["share"], 1.0);
    assert_eq!((&shots[1]["rows"], &shots[2]["rows"]), (&0.into(), &1.into()));
    let density = similarity["densities"]["many"]["density"].as_array().unwrap();
    close(&density.iter().map(|v| v.as_f64().unwrap() * 0.02).sum::<f64>().into(), 1.0);
    // Two of the anchors have an equal positive, which is pushed away; none of the third's is.
    let easy = &result["easy_pairs"];
    close(&easy["positives_pushed_away"], 2.0 / 3.0);
    close(&easy["negatives_for_99_percent"], 1.0);
    close(&easy["mining"][0]["pairs_kept"], 1.0);
    close(&easy["mining"][0]["gradient_after_mining"], 1.0);
    let output = rescom_sim(&["from-features", path, "--max-rows", "3"], folder.path());
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("few-shot: no positive pairs") && !text.contains("NaN"), "{text}");
    let report = folder.path().join("reports/runs/from-features");
    for name in ["densities", "easy-pairs", "carried", "mining", "shot-groups", "classes"] {
        let table = std::fs::read_to_string(report.join(format!("{name}.csv"))).unwrap();
        assert!(table.lines().count() > 1 && !table.contains("NaN"), "{name}: {table}");
    }
}

/// Types and shapes that libraries save: the same numbers give the same result.
#[test]
fn other_types_and_shapes_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let features = [1., 0., 0., 2., 1., 0.5, 0., -3.];
    let labels = [0i64, 0, 0, 1];
    let measure = |name: &str, features: &Tensor, labels: &Tensor, counts: &Tensor| {
        let path = folder.path().join(name);
        save(&path, features, labels, Some(counts));
        json(&["from-features", name, "--json"], folder.path())
    };
    let (plain, counts) = (floats(&features, 2), integers(&[200, 5]));
    let expected = measure("a", &plain, &integers(&labels), &counts);
    let half = features.iter().flat_map(|&v| f16::from_f32(v).to_le_bytes()).collect();
    let brain = features.iter().flat_map(|&v| bf16::from_f32(v).to_le_bytes()).collect();
    let double = features.iter().flat_map(|&v| f64::from(v).to_le_bytes()).collect();
    let narrow = |dtype, bytes: usize| -> Tensor {
        let data = labels.iter().flat_map(|v| v.to_le_bytes()[..bytes].to_vec()).collect();
        (dtype, vec![4, 1], data)
    };
    let real = [200.0f32, 5.0].iter().flat_map(|v| v.to_le_bytes()).collect();
    let wide = [200.0f64, 5.0].iter().flat_map(|v| v.to_le_bytes()).collect();
    for (features, labels, counts) in [
        ((Dtype::F16, vec![4, 2], half), narrow(Dtype::I8, 1), (Dtype::F32, vec![2], real)),
        ((Dtype::BF16, vec![4, 2], brain), narrow(Dtype::I16, 2), (Dtype::F64, vec![2], wide)),
        ((Dtype::F64, vec![4, 2], double), narrow(Dtype::I32, 4), counts.clone()),
        (plain.clone(), narrow(Dtype::U8, 1), counts.clone()),
        (plain.clone(), narrow(Dtype::U32, 4), counts.clone()),
        (plain.clone(), narrow(Dtype::U64, 8), counts.clone()),
    ] {
        let result = measure("b", &features, &labels, &counts);
        for field in ["loss", "gradient_mass", "positive_similarity", "easy_pairs", "shot_groups"] {
            assert_eq!(result[field], expected[field], "{:?} {:?}", features.0, labels.0);
        }
    }
}

/// 400 classes of 3 rows: whatever the limit, it is kept, and no anchor is left without a positive.
#[test]
fn subsampling_keeps_the_limit_and_the_positives() {
    let folder = tempfile::tempdir().unwrap();
    let (features, labels) = scattered(1200, 400, 8);
    save(&folder.path().join("f"), &floats(&features, 8), &integers(&labels), None);
    for (most, classes) in [("400", 200), ("500", 250), ("1000", 400)] {
        let args = ["from-features", "f", "--max-rows", most];
        let result = json(&[&args[..], &["--json"]].concat(), folder.path());
        let input = &result["input"];
        assert!(input["rows_used"].as_u64().unwrap() <= most.parse().unwrap(), "{input}");
        assert_eq!(input["classes_used"], classes, "{input}");
        assert_eq!((&input["classes_with_rows"], &input["exact"]), (&400.into(), &false.into()));
        assert_eq!(result["anchors_without_positives"], 0);
        assert!(result["loss"].as_f64().unwrap() > 0.1);
        let text = String::from_utf8(rescom_sim(&args, folder.path()).stdout).unwrap();
        assert!(text.contains(&format!("from {classes} of 400 classes")), "{text}");
    }
}

/// Up to 1000 classes the matrix is C x C; above it is kept by bins, and is the sum of the exact one.
#[test]
fn many_classes_are_aggregated_and_the_sums_stay() {
    let (classes, rows, dim) = (1001, 2200, 4);
    let (values, labels) = scattered(rows, classes, dim);
    let values = values.into_iter().map(f64::from).collect();
    let mut features = ndarray::Array2::from_shape_vec((rows, dim), values).unwrap();
    let labels: Vec<usize> = labels.into_iter().map(|l| l as usize).collect();
    let counts: Vec<u64> = (0..classes as u64).map(|c| 1 + 3000 / (1 + c)).collect();
    let t = Temperature::new(0.3).unwrap();
    let observed = observe(features.clone(), &labels, &counts, t, &[]).unwrap();
    let groups = &observed.groups;
    assert!(!groups.single_classes() && groups.len() < 30);
    normalize_rows(&mut features);
    let all = (features.view(), labels.as_slice());
    let loss = SupConLoss { form: LossForm::Out, temperature: t };
    let value = loss.evaluate(all, all, SelfPairs::Diagonal, None).unwrap();
    let mut expected = ndarray::Array2::<f64>::zeros((groups.len(), groups.len()));
    for ((i, j), g) in value.grad_sims.indexed_iter().filter(|((i, j), _)| labels[*i] != labels[*j])
    {
        expected[[groups.of_class()[labels[i]], groups.of_class()[labels[j]]]] += g.abs();
    }
    for (a, b) in observed.negative.iter().zip(&expected) {
        assert!((a - b).abs() <= 1e-9 * b.abs() + 1e-12, "{a} {b}");
    }
    let few: f64 = (0..classes)
        .filter(|&c| ShotGroup::of(counts[c]) == ShotGroup::Few)
        .map(|c| observed.negative_per_class[c])
        .sum();
    assert!((observed.shots[2].negative / few - 1.0).abs() < 1e-12);
    let exact = observe(features, &labels, &[counts[0]].repeat(classes - 1), t, &[]);
    assert!(exact.is_err(), "label 1000 is one too many for 1000 classes");
}

#[test]
fn bad_files_are_one_line_and_exit_code_2() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| -> PathBuf { folder.path().join(name) };
    std::fs::write(path("cut"), "x").unwrap();
    let (two, zeros) = (floats(&[1.0, 1.0], 1), integers(&[0, 0]));
    save(&path("range"), &two, &integers(&[0, 7]), Some(&integers(&[3])));
    save(&path("below"), &two, &integers(&[0, -1]), None);
    save(&path("identifiers"), &floats(&[1.0; 4], 1), &integers(&[0, 0, 999_999, 5]), None);
    save(&path("real"), &two, &floats(&[0.0, 1.0], 1), None);
    save(&path("wide"), &two, &(Dtype::I64, vec![1, 2], zeros.2.clone()), None);
    save(&path("part"), &two, &zeros, Some(&(Dtype::F32, vec![1], 2.5f32.to_le_bytes().to_vec())));
    save(&path("whole"), &zeros, &zeros, None);
    // The row that is not finite is none of those that would be kept.
    let mut values = [1.0; 40];
    for at in 0..40 {
        values[at] = f32::NAN;
        let name = format!("nan{at}");
        save(&path(&name), &floats(&values, 1), &integers(&[0; 40]), None);
        values[at] = 1.0;
        let out = rescom_sim(&["from-features", &name, "--max-rows", "2"], folder.path());
        let message = String::from_utf8(out.stderr).unwrap();
        assert_eq!(out.status.code(), Some(2), "{message}");
        assert!(message.contains(&format!("row {at}, column 0 is NaN")), "{message}");
    }
    for (args, expected) in [
        (&["absent"][..], "cannot read absent"),
        (&["cut"], "not a whole safetensors file"),
        (&["range"], "row 1 has label 7; expected 0..1"),
        (&["below"], "row 1 has label -1; expected 0..100000"),
        (&["identifiers"], "row 2 has label 999999; expected 0..100000, number the classes from 0"),
        (&["real"], "labels: F32; expected whole numbers"),
        (&["wide"], "labels: shape [1, 2]; expected [2] or [2, 1]"),
        (&["part"], "train_counts: class 0 has 2.5 images; expected a whole number"),
        (&["whole"], "features: shape [2]; expected [N, D]"),
        (&["range", "--max-rows", "1"], "--max-rows 1: expected at least 2"),
        (&["range", "--mine", "0,4"], "--mine 0,4"),
        (&["range", "--temperature", "-1"], "temperature -1"),
    ] {
        let out = rescom_sim(&[&["from-features"], args].concat(), folder.path());
        let message = String::from_utf8(out.stderr).unwrap();
        assert_eq!(out.status.code(), Some(2), "{args:?}: {message}");
        assert_eq!(message.trim_end().lines().count(), 1, "{args:?}: {message}");
        assert!(message.contains(expected), "{args:?}: {message}");
        assert!(out.stdout.is_empty());
    }
}
