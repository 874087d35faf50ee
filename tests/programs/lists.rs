//! Sweeps over pictures in files, end to end on small trees of generated pictures: lists and class
//! folders, broken pictures, resume, plans. They show that the pipeline works, not how well it learns.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use serde_json::Value;

use crate::program::{repro, text, timeless, wait_for};

/// A small network and few steps; the views stay at 224 x 224.
const TINY: [&str; 20] = [
    "--unverified",
    "--threads",
    "1",
    "--set",
    "model.arch=resnet20",
    "--set",
    "optim.batch-size=4",
    "--set",
    "optim.warmup-epochs=1",
    "--set",
    "eval.batch-size=4",
    "--set",
    "eval.every=1",
    "--set",
    "contrast.num-neg=8",
    "--set",
    "contrast.queue-per-class=4",
    "--set",
    "model.projection-dim=8",
    "--json",
];

const RUN: &str = "imagenet-lt-resnet20-rescom-seed0";

fn sweep(tree: &Tree, out: &str, extra: &[&str]) -> Command {
    let mut command = repro(&["imagenet-lt", "--data"]);
    command.arg(tree.root()).args(TINY).arg("--out").arg(tree.out(out)).args(extra);
    command
}

fn succeeded(output: &Output) -> String {
    let stderr = text(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    stderr
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// Three classes with 6, 4 and 2 training pictures and 2 test pictures each, no two of one size;
/// among them JPEGs: colour, grey, CMYK.
struct Tree(tempfile::TempDir);

impl Tree {
    fn new() -> Self {
        let tree = Self(tempfile::tempdir().unwrap());
        for (list, per_class) in [("train", [6, 4, 2]), ("test", [2, 2, 2])] {
            let mut lines = String::new();
            for (class, count) in per_class.into_iter().enumerate() {
                for number in 0..count {
                    let name = format!("{list}/class{class}/{number}.png");
                    tree.png(&name, 64 + 6 * number, 100 - 3 * number, class as u32);
                    lines.push_str(&format!("{name} {class}\n"));
                }
            }
            if list == "train" {
                for (class, jpeg) in ["rgb420", "grey", "cmyk"].into_iter().enumerate() {
                    let name = format!("train/class{class}/{jpeg}.jpg");
                    let fixture = format!("tests/fixtures/pictures/{jpeg}.jpg");
                    fs::copy(fixture, tree.root().join(&name)).unwrap();
                    lines.push_str(&format!("{name} {class}\n"));
                }
            }
            fs::write(tree.root().join(format!("ImageNet_LT_{list}.txt")), lines).unwrap();
        }
        tree
    }

    fn root(&self) -> PathBuf {
        self.0.path().join("pictures")
    }

    fn out(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Stripes in the colour of the class.
    fn png(&self, name: &str, width: u32, height: u32, class: u32) {
        let path = self.root().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let mut encoder = png::Encoder::new(fs::File::create(path).unwrap(), width, height);
        encoder.set_color(png::ColorType::Rgb);
        let pixel = |i: u32| {
            let (x, y) = (i % width, i / width);
            (0..3).map(move |c| if c == class { 200 } else { ((x * 5 + y * 3) % 128) as u8 })
        };
        let pixels: Vec<u8> = (0..width * height).flat_map(pixel).collect();
        encoder.write_header().unwrap().write_image_data(&pixels).unwrap();
    }

    fn cut_short(&self, name: &str) -> PathBuf {
        let path = self.root().join(name);
        let whole = fs::read(&path).unwrap();
        fs::write(&path, &whole[..whole.len() / 2]).unwrap();
        path
    }
}

#[test]
fn a_list_is_trained_on_as_it_is_and_the_report_says_what_it_is() {
    let tree = Tree::new();
    let args = ["--methods", "ce,moco+bs", "--set", "optim.epochs=1", "--precision", "bf16"];
    succeeded(&sweep(&tree, "lists", &args).output().unwrap());
    let run = tree.out("lists").join("imagenet-lt-resnet20-moco+bs-seed0");
    let (record, subset) = (json(&run.join("record.json")), json(&run.join("subset.json")));
    assert_eq!(record["counts"], serde_json::json!([7, 5, 3]));
    assert_eq!(record["counts"], subset["counts"]);
    assert_eq!(record["epochs"][0]["steps"], 3, "15 pictures, batches of 4");
    assert_eq!(record["last"]["images"], 6);
    let provenance = &record["provenance"];
    assert_eq!(provenance["data_sha256"], subset["list_sha256"]);
    assert_eq!(provenance["subset_sha256"], subset["sha256"]);
    let root = tree.root();
    let source = serde_json::json!({
        "kind": "image-list",
        "train_list": root.join("ImageNet_LT_train.txt"),
        "test_list": root.join("ImageNet_LT_test.txt"),
        "root": root,
        "verified": false,
    });
    assert_eq!(provenance["data_source"], source);
    let report = fs::read_to_string(tree.out("lists").join("report.md")).unwrap();
    assert!(report.lines().next().unwrap().contains("UNVERIFIED"), "{report}");
    assert!(report.contains("| imb 2.33: last epoch |"), "7 / 3 pictures: {report}");

    // The same pictures as class folders, in the same order, give the same network.
    for name in ["ImageNet_LT_train.txt", "ImageNet_LT_test.txt"] {
        let (from, to) = (tree.root().join(name), tree.out(name));
        let text = fs::read_to_string(&from).unwrap();
        let mut lines: Vec<&str> = text.lines().collect();
        lines.sort_unstable();
        fs::write(&to, lines.join("\n")).unwrap();
        fs::remove_file(&from).unwrap();
    }
    let args = ["--methods", "ce", "--set", "optim.epochs=1"];
    succeeded(&sweep(&tree, "folders", &args).output().unwrap());
    let (train, test) = (tree.out("ImageNet_LT_train.txt"), tree.out("ImageNet_LT_test.txt"));
    let mut listed = sweep(&tree, "sorted", &args);
    listed.arg("--train-list").arg(train).arg("--test-list").arg(test);
    succeeded(&listed.output().unwrap());
    let source = json(&tree.out("folders").join("imagenet-lt-resnet20-ce-seed0/provenance.json"));
    let (train, test) = (tree.root().join("train"), tree.root().join("test"));
    let folders = serde_json::json!({
        "kind": "class-folders", "train": train, "test": test, "verified": false
    });
    assert_eq!(source["data_source"], folders);
    let weights = |out: &str| {
        let run = tree.out(out).join("imagenet-lt-resnet20-ce-seed0");
        fs::read(run.join("checkpoint-0001.safetensors")).unwrap()
    };
    assert!(weights("folders") == weights("sorted"), "lists and class folders differ");
}

#[test]
fn a_broken_picture_ends_the_sweep_or_is_left_out_and_named() {
    let tree = Tree::new();
    let broken = [tree.cut_short("train/class0/rgb420.jpg"), tree.cut_short("test/class1/0.png")];
    let args = ["--methods", "rescom", "--set", "optim.epochs=1"];
    let refused = sweep(&tree, "out", &args).output().unwrap();
    let stderr = text(&refused.stderr);
    assert_eq!(refused.status.code(), Some(2), "{stderr}");
    let errors: Vec<&str> = stderr.lines().filter(|l| l.starts_with("error:")).collect();
    assert_eq!(errors.len(), 1, "{stderr}");
    let named = broken.iter().any(|path| errors[0].contains(path.to_str().unwrap()));
    assert!(named && errors[0].contains("--skip-broken"), "{stderr}");

    // The folder that the failed run left is gone on with: it has no epoch yet.
    let skipping = ["--methods", "rescom", "--set", "optim.epochs=1", "--skip-broken"];
    let stderr = succeeded(&sweep(&tree, "out", &skipping).output().unwrap());
    assert_eq!(stderr.matches("to find broken ones").count(), 2, "{stderr}");
    assert!(stderr.contains("1 training and 1 test images"), "{stderr}");
    let run = tree.out("out").join(RUN);
    let record = json(&run.join("record.json"));
    assert_eq!(record["counts"], serde_json::json!([6, 5, 3]));
    assert_eq!(record["last"]["images"], 5);
    assert_eq!(record["provenance"]["skipped_pictures"], serde_json::json!([1, 1]));
    let named = fs::read_to_string(run.join("skipped-pictures.txt")).unwrap();
    for (line, (kind, path)) in named.lines().zip(["training", "test"].iter().zip(&broken)) {
        assert!(line.starts_with(&format!("{kind} {}: broken", path.display())), "{named}");
    }
    assert_eq!(named.lines().count(), 2);
    let log = fs::read_to_string(run.join("log.txt")).unwrap();
    assert!(log.contains("skipped-pictures.txt names them"), "{log}");
    let report = fs::read_to_string(tree.out("out").join("report.md")).unwrap();
    assert!(report.contains("1 (and 1 test images) cannot be decoded"), "{report}");

    // What works on a finished run finds its images again from any folder, the broken ones left out.
    assert_eq!(record["provenance"]["data_source"]["skip_broken"], true);
    let again = repro(&["evaluate", "--json"]).arg(&run).current_dir("/").output().unwrap();
    succeeded(&again);
    let found: Value = serde_json::from_slice(&again.stdout).unwrap();
    assert_eq!(found[0]["test"]["per_class"], record["last"]["per_class"]);
    assert_eq!(found[0]["test"]["images"], 5);

    // Stage 2 leaves out the same images, and its folder names them as the report says it does.
    let stage2 = repro(&["stage2", "--set", "stage2.epochs=1"]).arg(&run).output().unwrap();
    succeeded(&stage2);
    let run2 = tree.out("out").join("imagenet-lt-resnet20-rescom+mislas-seed0");
    let provenance = json(&run2.join("record.json"))["provenance"].clone();
    assert_eq!(provenance["skipped_pictures"], serde_json::json!([1, 1]));
    assert_eq!(fs::read_to_string(run2.join("skipped-pictures.txt")).unwrap(), named);
    let log = fs::read_to_string(run2.join("log.txt")).unwrap();
    assert!(log.contains("skipped-pictures.txt names them"), "{log}");

    // Checked once per sweep folder, not per run.
    let more = ["--methods", "ce", "--set", "optim.epochs=1", "--skip-broken"];
    let stderr = succeeded(&sweep(&tree, "out", &more).output().unwrap());
    assert!(!stderr.contains("to find broken ones"), "{stderr}");
    let other = tree.out("out").join("imagenet-lt-resnet20-ce-seed0/record.json");
    assert_eq!(json(&other)["counts"], record["counts"]);
}

#[test]
fn a_killed_run_goes_on_to_the_same_bits_and_only_with_the_same_list() {
    let tree = Tree::new();
    let args = ["--methods", "rescom", "--set", "optim.epochs=3"];
    succeeded(&sweep(&tree, "whole", &args).output().unwrap());

    let kill_after_one_epoch = |out: &str| {
        let mut child =
            sweep(&tree, out, &args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let saved = tree.out(out).join(RUN).join("checkpoint-0001.json");
        wait_for(&saved, &mut child);
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!tree.out(out).join(RUN).join("record.json").exists(), "not interrupted");
    };
    kill_after_one_epoch("broken");
    let stderr = succeeded(&sweep(&tree, "broken", &args).output().unwrap());
    assert!(stderr.contains("resumed after epoch"), "{stderr}");
    let (broken, whole) = (tree.out("broken").join(RUN), tree.out("whole").join(RUN));
    assert_eq!(timeless(&broken), timeless(&whole));
    let weights = |run: &Path| fs::read(run.join("checkpoint-0003.safetensors")).unwrap();
    assert!(weights(&broken) == weights(&whole), "weights, optimiser or queue differ");

    kill_after_one_epoch("changed");
    let list = tree.root().join("ImageNet_LT_train.txt");
    let shorter = fs::read_to_string(&list).unwrap().replacen("train/class0/0.png 0\n", "", 1);
    fs::write(&list, shorter).unwrap();
    let refused = sweep(&tree, "changed", &args).output().unwrap();
    let stderr = text(&refused.stderr);
    assert_eq!(refused.status.code(), Some(2), "{stderr}");
    assert!(stderr.contains("other training images"), "{stderr}");
}

#[test]
fn plans_count_the_list_or_say_that_they_take_the_published_numbers() {
    let plan = |args: &[&str]| {
        let output = repro(args).arg("--dry-run=plan").output().unwrap();
        (output.status.code(), text(&output.stdout) + &text(&output.stderr))
    };
    for (command, said) in [
        (vec!["imagenet-lt"], "imagenet-lt-resnet50-rescom-seed0: 115846 training images"),
        (
            vec!["imagenet-lt", "--backbone", "resnext50"],
            "imagenet-lt-resnext50_32x4d-ce-seed0: 115846",
        ),
        (vec!["inat18"], "inat18-resnet50-rescom-seed0: 437513 training images"),
        (vec!["places-lt", "--preset", "quick"], "places-lt-resnet50-ce-seed0: 62500"),
    ] {
        let (code, text) = plan(&command);
        assert_eq!(code, Some(0), "{text}");
        assert!(text.contains(said) && text.contains("published ones"), "{said}: {text}");
    }
    let tree = Tree::new();
    let root = tree.root().display().to_string();
    let args = ["imagenet-lt", "--data", root.as_str(), "--set", "optim.batch-size=5"];
    let (code, text) = plan(&args);
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("15 pictures of 3 classes") && text.contains("--unverified"), "{text}");
    // Of three classes the queue cannot hold as many negatives as the recipe mines.
    let unverified = [&args[..], &["--unverified"]].concat();
    let (code, text) = plan(&unverified);
    assert_eq!(code, Some(2), "{text}");
    let words = "contrast.num-neg = 400: expected at most the 16 keys that the queue holds of the 2 other classes";
    assert!(text.contains(words) && text.contains("--set contrast.num-neg="), "{text}");
    let out = tree.out("refused");
    let mut command = repro(&unverified);
    // Not after the hours that the first method would take.
    let output = command.args(["--methods", "ce,rescom", "--out"]).arg(&out).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(self::text(&output.stderr).contains(words) && !out.exists());
    // Without mining there is nothing to refuse.
    let methods = ["--methods", "ce,rescom-no-mining"];
    let (code, text) = plan(&[&unverified[..], &methods].concat());
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("15 training images, 180 epochs of 3 steps"), "{text}");
    assert!(!text.contains("published"), "{text}");
    // Another set's lists are not found; the class folders beside them are, and are not Places-LT.
    let (code, text) = plan(&["places-lt", "--data", root.as_str()]);
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("62500 of 365"), "{text}");
    for command in ["imagenet-lt", "inat18", "places-lt"] {
        let help = self::text(&repro(&[command, "--help"]).output().unwrap().stdout);
        assert!(help.contains("Example") && !help.contains("--imb"), "{help}");
    }
}

#[test]
fn other_images_in_cifars_format_need_a_word_and_are_marked() {
    let tmp = tempfile::tempdir().unwrap();
    let data = tmp.path().join("data");
    let mut write = repro(&["data", "synthesize", "--train", "20", "--test", "5", "--out"]);
    succeeded(&write.arg(&data).output().unwrap());
    let run = |extra: &[&str]| {
        let mut command =
            repro(&["cifar", "--dataset", "cifar10", "--imb", "2", "--methods", "ce"]);
        for set in ["model.arch=resnet20", "data.images-per-class=20", "optim.epochs=1"] {
            command.args(["--set", set]);
        }
        command.args(["--set", "optim.warmup-epochs=0", "--set", "optim.batch-size=16"]);
        command.arg("--data").arg(&data).arg("--out").arg(tmp.path().join("out")).args(extra);
        command.output().unwrap()
    };
    let refused = run(&[]);
    assert_eq!(refused.status.code(), Some(2), "{}", text(&refused.stderr));
    succeeded(&run(&["--unverified"]));
    let record = json(&tmp.path().join("out/cifar10-imb2-ce-seed0/record.json"));
    assert_eq!(record["provenance"]["data_source"]["verified"], false);
    let report = fs::read_to_string(tmp.path().join("out/report.md")).unwrap();
    assert!(report.lines().next().unwrap().contains("UNVERIFIED"), "{report}");
}
