//! `evaluate` and `convert`.

use std::{fs, path::Path};

use rand::RngExt as _;
use rescom::{
    data::{self, DataSet, Place, cifar::Check},
    rng::Streams,
    run::DataSetId,
    train::{HostTensors, from_safetensors, to_safetensors},
};

use super::common::{copy_of, json, ok, read_json, refused};

#[test]
fn the_newest_checkpoint_evaluates_to_the_record() {
    for method in ["ce", "rescom"] {
        let (run, _guard) = copy_of(method, 0);
        let printed = json(&ok(&["evaluate", run.to_str().unwrap(), "--json"]));
        let record = read_json(&run.join("record.json"));
        assert_eq!(printed[0]["test"], record["last"]);
        assert_eq!(printed[0]["network"]["epoch"], 2);
        assert_eq!(read_json(&run.join("evaluation.json")), printed[0]);
        let text = ok(&["evaluate", run.to_str().unwrap()]);
        let top1 = format!("top-1 {:.2} %", 100.0 * record["last"]["top1"].as_f64().unwrap());
        assert!(text.contains(&top1) && text.contains("| 9 |"), "{text}");
    }
}

fn state(path: &Path) -> HostTensors {
    from_safetensors("state", &fs::read(path).unwrap()).unwrap()
}

#[test]
fn a_state_dict_of_pytorch_evaluates_to_the_same() {
    let (run, guard) = copy_of("rescom", 0);
    let checkpoint = run.join("checkpoint-0002.safetensors");
    let theirs: HostTensors = state(&checkpoint)
        .into_iter()
        .filter(|(name, _)| name.starts_with("encoder.") || name.starts_with("linear."))
        .filter(|(name, _)| !name.ends_with("num_batches_tracked"))
        .map(|(name, tensor)| (format!("module.{name}"), tensor))
        .collect();
    let file = guard.path().join("theirs.safetensors");
    fs::write(&file, to_safetensors(&theirs).unwrap()).unwrap();
    let (run, file) = (run.to_str().unwrap(), file.to_str().unwrap());
    let found = json(&ok(&["evaluate", run, "--checkpoint", file, "--json"]));
    assert_eq!(found[0]["test"], read_json(&Path::new(run).join("record.json"))["last"]);
    assert!(!Path::new(run).join("evaluation.json").exists());

    let network = ["--arch", "resnet20", "--classes", "10", "--channels", "1"];
    let out = guard.path().join("ours.safetensors");
    let convert = |file: &str, more: &[&str]| {
        let args = ["convert", file, "--out", out.to_str().unwrap(), "--json"];
        [&args[..], &network, more].concat().into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    let run_it = |args: &[String]| json(&ok(&args.iter().map(String::as_str).collect::<Vec<_>>()));
    let listed = run_it(&convert(file, &[]));
    assert_eq!(listed["complete"], true);
    assert!(state(&out).iter().all(|(name, t)| theirs[&format!("module.{name}")] == *t));
    // A checkpoint becomes a network: the optimiser is what PyTorch's module does not have.
    let listed = run_it(&convert(checkpoint.to_str().unwrap(), &["--projection-dim", "32"]));
    let unexpected = listed["unexpected"].as_array().unwrap();
    assert!(unexpected.iter().any(|n| n == "trainer.steps"), "{listed}");
    assert!(state(&out).contains_key("mlp.3.weight"));

    let half: HostTensors =
        theirs.into_iter().filter(|(name, _)| !name.contains("layer2.0.conv1")).collect();
    fs::write(file, to_safetensors(&half).unwrap()).unwrap();
    let e = refused(&["evaluate", run, "--checkpoint", file], 2);
    assert!(e.contains("encoder.layer2.0.conv1.weight is missing"), "{e}");
    fs::remove_file(&out).unwrap();
    let args = convert(file, &[]);
    let e = refused(&args.iter().map(String::as_str).collect::<Vec<_>>(), 2);
    assert!(e.contains("1 entries of resnet20 are missing") && !out.exists(), "{e}");
    assert_eq!(run_it(&convert(file, &["--partial"]))["complete"], false);
    assert!(out.exists());
}

fn npy(path: &Path, shape: &[usize], values: &[u8]) {
    let shape: String = shape.iter().map(|n| format!("{n}, ")).collect();
    let header = format!("{{'descr': '|u1', 'fortran_order': False, 'shape': ({shape}), }}\n");
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(values);
    fs::write(path, bytes).unwrap();
}

fn synthetic() -> DataSet {
    let place = Place::Synthetic { seed: 0, train_per_class: Some(1) };
    data::load(DataSetId::FashionMnist, place, Check::Published, &mut |_| {}).unwrap()
}

/// Images of a corrupted set: the first ones, twenty of each class.
const SPOILED: usize = 200;

/// Severity s replaces a pixel by noise with probability `strength[s]`.
fn noisy(set: &DataSet, strength: [f64; 5]) -> Vec<u8> {
    let mut rng = Streams::new(3).stream("noise", &[]);
    let bytes = SPOILED * set.test.height * set.test.width;
    let mut all = Vec::new();
    for share in strength {
        let spoil = |v: &u8| if rng.random_bool(share) { rng.random() } else { *v };
        all.extend(set.test.images[..bytes].iter().map(spoil));
    }
    all
}

/// Severity s + 1 is the images moved on by s places, so that they meet the labels of others.
fn rolled(set: &DataSet) -> Vec<u8> {
    let stride = set.test.height * set.test.width;
    let images = &set.test.images[..SPOILED * stride];
    (0..5).flat_map(|s| [&images[s * stride..], &images[..s * stride]].concat()).collect()
}

/// Accuracies on [`rolled`] images, counted from the logits that `features` writes.
fn counted(run: &str, folder: &Path) -> [f64; 5] {
    let file = folder.join("z.safetensors");
    ok(&["features", run, "--out", file.to_str().unwrap(), "--limit-per-class", "20"]);
    let found = state(&file);
    let logits: Vec<&[f32]> = found["logits"].as_f32().unwrap().chunks(10).collect();
    let labels = found["labels"].as_i64().unwrap();
    let first = |row: &[f32], label: i64| {
        let own = row[label as usize];
        row.iter().enumerate().all(|(c, &v)| c as i64 == label || v < own)
    };
    [0, 1, 2, 3, 4].map(|s| {
        let right = (0..SPOILED).filter(|&i| first(logits[(i + s) % SPOILED], labels[i]));
        right.count() as f64 / SPOILED as f64
    })
}

#[test]
fn corrupted_images_are_counted_by_severity() {
    let (run, guard) = copy_of("rescom", 0);
    let set = synthetic();
    let dir = guard.path().join("corrupted");
    fs::create_dir(&dir).unwrap();
    let (n, side) = (SPOILED, set.test.height);
    let labels: Vec<u8> = set.test.labels[..n].iter().map(|&l| l as u8).collect();
    npy(&dir.join("labels.npy"), &[n], &labels);
    npy(&dir.join("rolled.npy"), &[5 * n, side, side, 1], &rolled(&set));
    npy(&dir.join("noise.npy"), &[5 * n, side, side], &noisy(&set, [0.0, 0.05, 0.2, 0.5, 1.0]));
    let baseline = guard.path().join("baseline.csv");
    fs::write(&baseline, "corruption,error\nnoise,0.5\nrolled,0.25\n").unwrap();
    let (run_name, dir) = (run.to_str().unwrap(), dir.to_str().unwrap());
    let args = ["evaluate", run_name, "--corrupted", dir, "--json"];
    let found = json(&ok(&[&args[..], &["--baseline", baseline.to_str().unwrap()]].concat()));
    let found = &found[0]["corrupted"];
    let accuracies = found["accuracies"].as_array().unwrap().iter();
    let accuracies: Vec<f64> = accuracies.map(|a| a["top1"].as_f64().unwrap()).collect();
    let expected = counted(run_name, guard.path());
    let (noise, rolled) = accuracies.split_at(5);
    assert_eq!(found["accuracies"][0]["corruption"], "noise");
    assert_eq!(rolled, expected);
    assert!(expected.iter().any(|&a| a != expected[0]), "the severities tell each other apart");
    assert_eq!(noise[0], expected[0]);
    // Pure noise tells nothing of the class: about one in ten, whatever the network learned.
    assert!((noise[4] - 0.1).abs() < 0.08, "{noise:?}");
    let error = |a: &[f64]| a.iter().map(|a| 1.0 - a).sum::<f64>();
    let mce = (error(noise) / 2.5 + error(rolled) / 1.25) / 2.0;
    assert!((found["relative"]["mce"].as_f64().unwrap() - mce).abs() < 1e-12);
    let mean = (error(noise) + error(rolled)) / 10.0;
    assert!((found["mean_error"].as_f64().unwrap() - mean).abs() < 1e-12);
    assert_eq!(read_json(&run.join("corrupted.json"))["corrupted"], *found);
    let text = ok(&args[..4]);
    assert!(text.contains("| noise |") && text.contains("mCE: needs"), "{text}");
}

#[test]
fn what_cannot_be_evaluated_is_named() {
    let tmp = tempfile::tempdir().unwrap();
    let e = refused(&["evaluate", tmp.path().to_str().unwrap()], 2);
    assert!(e.contains("no run here"), "{e}");
    let (run, guard) = copy_of("ce", 1);
    let name = run.to_str().unwrap();
    // Other images than those of the training are never taken by accident.
    let provenance = run.join("provenance.json");
    let mut changed = read_json(&provenance);
    changed["data_source"] = "elsewhere".into();
    changed["data_sha256"] = "0".into();
    fs::write(&provenance, changed.to_string()).unwrap();
    let e = refused(&["evaluate", name], 2);
    assert!(e.contains("trained on images from \"elsewhere\""), "{e}");
    ok(&["evaluate", name, "--data", "synthetic"]);
    let e = refused(&["evaluate", name, "--corrupted", tmp.path().to_str().unwrap()], 2);
    assert!(e.contains("no corrupted images here"), "{e}");
    for file in ["checkpoint-0001", "checkpoint-0002"] {
        fs::write(run.join(format!("{file}.safetensors")), b"half").unwrap();
    }
    let e = refused(&["evaluate", name], 2);
    assert!(e.contains("every checkpoint is damaged"), "{e}");
    drop(guard);
}
