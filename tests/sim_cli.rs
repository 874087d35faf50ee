//! `rescom-sim` from end to end: what it prints, what it writes, what it refuses.

#![allow(clippy::unwrap_used)] // helpers of tests are tests

use safetensors::{Dtype, tensor::TensorView};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn rescom_sim(args: &[&str], folder: &Path) -> Output {
    let program = env!("CARGO_BIN_EXE_rescom-sim");
    Command::new(program).args(args).current_dir(folder).output().unwrap()
}

fn json(args: &[&str], folder: &Path) -> Value {
    let out = rescom_sim(args, folder);
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    serde_json::from_slice(&out.stdout).unwrap()
}

const SMALL: [&str; 10] = [
    "--batches",
    "12",
    "--sweep",
    "imb=1,10",
    "--stages",
    "0",
    "--dim",
    "16",
    "--keys-per-class",
    "10",
];

#[test]
fn the_dual_imbalance_json_has_what_it_promises() {
    let folder = tempfile::tempdir().unwrap();
    let base = ["dual-imbalance", "--classes", "10", "--imb", "10", "--json"];
    let result = json(&[&base[..], &SMALL].concat(), folder.path());
    assert_eq!(result["profile"]["counts"][0], 5000);
    assert_eq!(result["profile"]["imbalance_factor"], 10.0);
    let row: Vec<_> = result["pair_frequency"][0]
        .as_array()
        .unwrap()
        .iter()
        .map(|v| format!("{:.2}", v.as_f64().unwrap()))
        .collect();
    assert_eq!(row.join(" "), "1.00 0.77 0.60 0.46 0.36 0.28 0.22 0.17 0.13 0.10");
    let settings = result["settings"].as_array().unwrap();
    assert_eq!(settings.len(), 8);
    let theory = |loss: &str, queue: &str| {
        let is = |s: &&Value| s["loss"] == loss && s["queue"] == queue && s["mining"] == false;
        let s = settings.iter().find(is).unwrap();
        ["batch_level_ratio", "siamese_level_ratio", "same_class_ratio"].map(|ratio| {
            let get = |field: &str| s[ratio][field].as_f64().unwrap();
            assert!(get("low") <= get("mean") && get("mean") <= get("high"), "{s}");
            (get("theory") * 100.0).round() / 100.0
        })
    };
    // b = 0.999999 is not quite 1.
    assert_eq!(theory("plain", "fifo"), [10.0, 100.0, 100.0]);
    assert_eq!(theory("class-balanced", "fifo"), [1.0, 10.02, 10.02]);
    assert_eq!(theory("plain", "class-balanced"), [10.0, 10.0, 10.0]);
    assert_eq!(theory("class-balanced", "class-balanced"), [1.0; 3]);
    for (setting, mass) in settings.iter().zip(result["gradient_mass"].as_array().unwrap()) {
        assert_eq!(&setting["gradient_mass"], mass);
        assert_eq!(mass.as_array().unwrap().len(), 10);
        let norms = ["raw", "tangent"].map(|part| {
            let norms = setting["feature_gradient_norm"][part].as_array().unwrap();
            assert_eq!(norms.len(), 10);
            norms.iter().map(|n| n["mean"].as_f64().unwrap()).collect::<Vec<_>>()
        });
        assert!(norms[0].iter().zip(&norms[1]).all(|(raw, tangent)| raw > tangent));
    }
    assert!(!folder.path().join("reports").exists(), "--json alone writes no files");
}

#[test]
fn results_are_the_same_bytes_for_a_seed_and_the_report_is_whole() {
    let folder = tempfile::tempdir().unwrap();
    let run = |out: &str, threads: &str, seed: &str| {
        let base = ["dual-imbalance", "--out", out, "--threads", threads, "--seed", seed];
        let output = rescom_sim(&[&base[..], &SMALL].concat(), folder.path());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(String::from_utf8(output.stdout).unwrap().contains("0.77 0.60 0.46"));
        let names = [
            "sweep-imb.csv",
            "mass.csv",
            "norms.csv",
            "ratios.csv",
            "gradient-mass.svg",
            "ratios.png",
        ];
        names.map(|n| std::fs::read(folder.path().join(out).join(n)).unwrap())
    };
    let one = run("a", "1", "4");
    assert!(one == run("b", "3", "4"));
    assert!(one != run("c", "1", "5"));
    let report = std::fs::read_to_string(folder.path().join("a/report.md")).unwrap();
    for figure in report.lines().filter_map(|l| l.split_once("](")?.1.strip_suffix(')')) {
        assert!(folder.path().join("a").join(figure).exists(), "{figure} is missing");
    }
    assert!(report.contains("--seed 4") && !report.contains("NaN"));
}

#[test]
fn easy_pairs_writes_its_report() {
    let folder = tempfile::tempdir().unwrap();
    let args = ["easy-pairs", "--anchors", "8", "--dim", "16", "--stages", "0,64"];
    let output = rescom_sim(&args, folder.path());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for name in ["report.md", "easy-pairs.png", "hard-negatives.svg", "easy-pairs.csv"] {
        assert!(folder.path().join("reports/runs/easy-pairs").join(name).exists(), "{name}");
    }
    let result = json(&[&args[..], &["--json"]].concat(), folder.path());
    assert_eq!(result["stages"].as_array().unwrap().len(), 2);
}

/// Writes a safetensors file of float32 features, int64 labels and training counts.
fn save(folder: &Path, features: &[f32], dim: usize, labels: &[i64], counts: &[i64]) -> PathBuf {
    let bytes = |v: &[i64]| v.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<_>>();
    let data: Vec<u8> = features.iter().flat_map(|x| x.to_le_bytes()).collect();
    let (labels, counts) = (bytes(labels), bytes(counts));
    let shape = vec![features.len() / dim, dim];
    let tensors = [
        ("features", TensorView::new(Dtype::F32, shape, &data).unwrap()),
        ("labels", TensorView::new(Dtype::I64, vec![labels.len() / 8], &labels).unwrap()),
        ("train_counts", TensorView::new(Dtype::I64, vec![counts.len() / 8], &counts).unwrap()),
    ];
    let path = folder.join("features.safetensors");
    safetensors::serialize_to_file(tensors, None, &path).unwrap();
    path
}

#[test]
fn features_of_a_network_are_measured_exactly() {
    let folder = tempfile::tempdir().unwrap();
    // Three rows of class 0 and one of class 1, in the plane; by hand at T = 1.
    let path = save(folder.path(), &[1., 0., 0., 2., 1., 0., 0., -3.], 2, &[0, 0, 0, 1], &[200, 5]);
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
    assert_eq!(similarity["per_group"]["many"]["count"], 6);
    assert_eq!(similarity["per_class"][1]["mean"], Value::Null);
    assert!(
        rescom_sim(&["from-features", path, "--max-rows", "3"], folder.path()).status.success()
    );
}

#[test]
fn bad_input_is_one_line_and_exit_code_2() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("zero.csv", "class,count\n0,5\n1,0\n");
    write("gap.csv", "class,count\n0,5\n2,5\n");
    write("words.csv", "class,count\n0,five\n");
    write("empty.txt", "");
    write("list.txt", "a.png 0\nb.png one\n");
    write("cut.safetensors", "x");
    let nan = save(folder.path(), &[f32::NAN, 1.0], 1, &[0, 0], &[3]);
    std::fs::rename(nan, folder.path().join("nan.safetensors")).unwrap();
    let range = save(folder.path(), &[1.0, 1.0], 1, &[0, 7], &[3]);
    std::fs::rename(range, folder.path().join("range.safetensors")).unwrap();
    let dual = |args: &[&'static str]| [&["dual-imbalance"], args].concat();
    let from = |file: &'static str| vec!["from-features", file];
    for (args, expected) in [
        (dual(&["--imb", "0.01"]), "at least 1"),
        (dual(&["--classes", "0"]), "at least 1"),
        (dual(&["--dim", "0"]), "feature dimension 0"),
        (dual(&["--batch", "0"]), "batch size 0"),
        (dual(&["--temperature", "0"]), "temperature 0"),
        (dual(&["--beta", "1"]), "beta 1"),
        (dual(&["--profile", "counts:zero.csv"]), "line 3: class 1 has 0 images"),
        (dual(&["--profile", "counts:gap.csv"]), "class 1 is missing"),
        (dual(&["--profile", "counts:words.csv"]), "line 2"),
        (dual(&["--profile", "counts:absent.csv"]), "cannot read absent.csv"),
        (dual(&["--profile", "list:empty.txt"]), "empty"),
        (dual(&["--profile", "list:list.txt"]), "line 2"),
        (dual(&["--profile", "unheard-of"]), "--profile unheard-of"),
        (dual(&["--sweep", "speed=1,2"]), "--sweep speed=1,2"),
        (dual(&["--sweep", "imb=1,x"]), "\"x\" is not a number"),
        (dual(&["--sweep", "imb=0.5"]), "at least 1"),
        (from("absent.safetensors"), "cannot read absent.safetensors"),
        (from("cut.safetensors"), "not a whole safetensors file"),
        (from("nan.safetensors"), "row 0, column 0 is NaN"),
        (from("range.safetensors"), "row 1 has label 7; expected 0..1"),
        (vec!["easy-pairs", "--negatives", "0"], "negatives 0"),
    ] {
        let out = rescom_sim(&args, folder.path());
        let message = String::from_utf8(out.stderr).unwrap();
        assert_eq!(out.status.code(), Some(2), "{args:?}: {message}");
        assert_eq!(message.trim_end().lines().count(), 1, "{args:?}: {message}");
        assert!(message.contains(expected), "{args:?}: {message}");
        assert!(out.stdout.is_empty());
    }
}

/// `reports/dual-imbalance` is what the program gives today: every ratio within its tolerance.
/// The command stands in its report.md.
#[test]
fn the_committed_report_is_regenerated() {
    let committed = Path::new(env!("CARGO_MANIFEST_DIR")).join("reports/dual-imbalance");
    let old = std::fs::read_to_string(committed.join("ratios.csv")).unwrap();
    let result: Value =
        serde_json::from_slice(&std::fs::read(committed.join("results.json")).unwrap()).unwrap();
    let command = result["command"].as_str().unwrap();
    let report = std::fs::read_to_string(committed.join("report.md")).unwrap();
    assert!(report.contains(command));
    let folder = tempfile::tempdir().unwrap();
    // Sweeps and stages have streams of their own: leaving them out moves nothing.
    let mut args: Vec<&str> = command.split(' ').skip(1).collect();
    let out = args.iter().position(|a| *a == "--out").unwrap();
    args[out + 1] = "again";
    args.extend(["--sweep", "none", "--stages", "none"]);
    let output = rescom_sim(&args, folder.path());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let new = std::fs::read_to_string(folder.path().join("again/ratios.csv")).unwrap();
    assert_eq!(old.lines().count(), new.lines().count());
    for (a, b) in old.lines().zip(new.lines()).skip(1) {
        let (a, b): (Vec<_>, Vec<_>) = (a.split(',').collect(), b.split(',').collect());
        assert_eq!(a[..5], b[..5]);
        for (x, y) in a[5..].iter().zip(&b[5..]) {
            // float32 sums differ between processors in their last digits.
            let same = match (x.parse::<f64>(), y.parse::<f64>()) {
                (Ok(x), Ok(y)) => (x - y).abs() <= 1e-3 * x.abs(),
                _ => x == y,
            };
            assert!(same, "{a:?} {b:?}");
        }
    }
}
