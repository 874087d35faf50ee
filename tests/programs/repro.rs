//! The training program end to end on generated images: a sweep, its report, resume after SIGKILL,
//! and what it says of bad input. Generated images show that the pipeline works, not how well.

use std::{fs, process::Stdio, time::Instant};

use crate::program::{repro, sweep, text, timeless, tiny};

#[test]
fn a_sweep_leaves_whole_runs_and_a_report_and_is_not_made_twice() {
    let tmp = tempfile::tempdir().unwrap();
    let args = ["--imb", "2,4", "--methods", "ce,rescom,moco+bs"];
    let first = sweep(tmp.path(), &args);
    assert!(first.status.success(), "{}", text(&first.stderr));
    let run = tmp.path().join("fashion-mnist-imb4-rescom-seed0");
    for file in
        ["recipe.toml", "provenance.json", "subset.json", "epochs.jsonl", "log.txt", "record.json"]
    {
        assert!(run.join(file).is_file(), "{file}");
    }
    let json = |name: &str| -> serde_json::Value {
        serde_json::from_slice(&fs::read(run.join(name)).unwrap()).unwrap()
    };
    let provenance = json("provenance.json");
    assert_eq!(provenance["version"], env!("CARGO_PKG_VERSION"));
    assert!(provenance["libtorch"].as_str().unwrap().starts_with("2.11"), "{provenance}");
    assert_eq!((&provenance["device"], &provenance["torch_threads"]), (&"cpu".into(), &1.into()));
    assert_eq!(provenance["data_sha256"].as_str().unwrap().len(), 64);
    assert_eq!(provenance["subset_sha256"], json("subset.json")["sha256"]);
    let command = provenance["command"].as_array().unwrap();
    assert_eq!(command.last().unwrap(), "ce,rescom,moco+bs");
    assert_eq!(json("record.json")["provenance"], provenance);
    let log = fs::read_to_string(run.join("log.txt")).unwrap();
    assert_eq!(log.matches("test top-1").count(), 1, "{log}");
    assert_eq!(log.lines().filter(|l| l.trim_start().starts_with("epoch ")).count(), 3, "{log}");
    let checkpoints = fs::read_dir(&run).unwrap().map(|e| e.unwrap().file_name());
    let checkpoints = checkpoints.filter(|n| {
        let name = n.to_str().unwrap();
        name.starts_with("checkpoint-") && name.ends_with(".safetensors")
    });
    assert_eq!(checkpoints.count(), 2, "the newest two are kept");
    let report = fs::read_to_string(tmp.path().join("report.md")).unwrap();
    assert!(report.lines().next().unwrap().contains("GENERATED"), "{report}");
    for name in ["accuracy", "classes", "curves"] {
        let png = fs::read(tmp.path().join(format!("fashion-mnist-natural-{name}.png"))).unwrap();
        assert!(png.starts_with(b"\x89PNG") && png.len() > 5000);
    }
    let parquet = fs::read(tmp.path().join("runs.parquet")).unwrap();
    assert!(parquet.starts_with(b"PAR1") && parquet.ends_with(b"PAR1"));
    assert_eq!(fs::read_to_string(tmp.path().join("runs.csv")).unwrap().lines().count(), 7);

    let written = || fs::metadata(run.join("epochs.jsonl")).unwrap().modified().unwrap();
    let (before, record) = (written(), fs::read(run.join("record.json")).unwrap());
    let second = sweep(tmp.path(), &args);
    assert!(second.status.success());
    assert_eq!(text(&second.stderr).matches("finished before").count(), 6);
    assert_eq!(written(), before, "a finished run was made again");
    assert_eq!(fs::read(run.join("record.json")).unwrap(), record);
}

#[test]
fn a_run_killed_at_any_moment_resumes_to_the_same_bits() {
    let tmp = tempfile::tempdir().unwrap();
    let args = ["--imb", "4", "--methods", "rescom", "--set", "optim.epochs=6"];
    let (whole, broken) = (tmp.path().join("whole"), tmp.path().join("broken"));
    let started = Instant::now();
    assert!(sweep(&whole, &args).status.success());
    let length = started.elapsed();

    let mut kills = 0;
    // Later and later, so that every kill falls into another part of the run.
    for part in 1..=4 {
        let mut command = tiny(&broken, &args);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(length.mul_f64(0.2 + 0.1 * f64::from(part)));
        if child.try_wait().unwrap().is_none() {
            child.kill().unwrap();
            kills += 1;
        }
        child.wait().unwrap();
    }
    assert!(kills > 0, "the run was never interrupted");
    let last = sweep(&broken, &args);
    assert!(last.status.success(), "{}", text(&last.stderr));
    let run = "fashion-mnist-imb4-rescom-seed0";
    assert_eq!(timeless(&broken.join(run)), timeless(&whole.join(run)));
    let checkpoint = format!("{run}/checkpoint-0006.safetensors");
    assert!(
        fs::read(broken.join(&checkpoint)).unwrap() == fs::read(whole.join(&checkpoint)).unwrap(),
        "weights, optimiser or queue differ"
    );
}

#[test]
fn bad_input_is_one_line_with_code_2() {
    let tmp = tempfile::tempdir().unwrap();
    for (args, said) in [
        (vec!["--imb", "0.01"], "imbalance factor"),
        (vec!["--methods", "resnet"], "method \"resnet\""),
        (vec!["--set", "contrast.num-pos=1000"], "contrast.num-pos"),
        (vec!["--set", "optim.nothing=1"], "optim.nothing"),
        (vec!["--preset", "slow"], "expected one of quick, full"),
        (vec!["--device", "cuda:99"], "cuda:99"),
        (vec!["--recipe", "nowhere.toml"], "nowhere.toml"),
        (vec!["--threads", "0"], "--threads"),
    ] {
        let mut command = repro(&["fashion-mnist", "--data", "synthetic", "--out"]);
        let output = command.arg(tmp.path()).args(&args).output().unwrap();
        let stderr = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {stderr}");
        assert!(stderr.contains(said), "{args:?}: {stderr}");
        let errors = stderr.lines().filter(|l| l.starts_with("error:")).count();
        assert_eq!(errors, 1, "{args:?}: {stderr}");
    }
}

#[test]
fn an_old_folder_refuses_another_recipe() {
    let tmp = tempfile::tempdir().unwrap();
    assert!(sweep(tmp.path(), &["--imb", "4", "--methods", "ce"]).status.success());
    let other = sweep(tmp.path(), &["--imb", "4", "--methods", "ce", "--set", "optim.lr=0.2"]);
    assert_eq!(other.status.code(), Some(2));
    assert!(text(&other.stderr).contains("optim.lr"), "{}", text(&other.stderr));
}

#[test]
fn a_dry_run_measures_and_comes_near_without_any_data() {
    let tmp = tempfile::tempdir().unwrap();
    let args = ["--imb", "4", "--methods", "rescom"];
    let plan = sweep(&tmp.path().join("nothing"), &[&args[..], &["--dry-run", "--json"]].concat());
    assert!(plan.status.success(), "{}", text(&plan.stderr));
    assert!(!tmp.path().join("nothing").exists());
    let plan: serde_json::Value = serde_json::from_slice(&plan.stdout).unwrap();
    let expected = plan["expected_seconds"].as_f64().unwrap();
    assert_eq!(
        (plan["train_images"].as_u64(), plan["steps_per_epoch"].as_u64()),
        (Some(216), Some(13))
    );
    assert!(sweep(tmp.path(), &args).status.success());
    let run = tmp.path().join("fashion-mnist-imb4-rescom-seed0");
    let record: serde_json::Value =
        serde_json::from_slice(&fs::read(run.join("record.json")).unwrap()).unwrap();
    let taken = record["seconds"].as_f64().unwrap();
    println!("expected {expected:.1} s, taken {taken:.1} s, ratio {:.2}", taken / expected);
    // Wide, as tests share their machine with others; a forgotten factor would still stand out.
    assert!((0.2..5.0).contains(&(taken / expected)), "expected {expected}, taken {taken}");

    let words = sweep(tmp.path(), &[&args[..], &["--dry-run"]].concat());
    let words = text(&words.stdout);
    assert!(
        words.contains("1 run, about ") && words.contains(" on cpu, 1 thread (measured"),
        "{words}"
    );
}

#[test]
fn plans_doctor_and_help_answer() {
    let plan = repro(&["cifar", "--imb", "10,50,100", "--dry-run=plan"]).output().unwrap();
    assert!(plan.status.success(), "{}", text(&plan.stderr));
    let plan = text(&plan.stdout);
    for run in ["cifar10-imb100-rescom-seed0: 12406", "cifar100-imb10-ce-seed0: 19573", "18 runs"] {
        assert!(plan.contains(run), "{run}: {plan}");
    }
    let doctor = repro(&["doctor", "--json"]).output().unwrap();
    let doctor: serde_json::Value = serde_json::from_slice(&doctor.stdout).unwrap();
    assert_eq!(doctor["tch"], "0.24.0");
    for command in ["fashion-mnist", "cifar", "report"] {
        let help = repro(&[command, "--help"]).output().unwrap();
        assert!(text(&help.stdout).contains("Example"), "{command}");
    }
}

#[test]
fn a_class_order_that_was_asked_for_is_marked_as_changed() {
    let mark = |order: &str| {
        let args = ["--imb", "100", "--methods", "ce", "--class-order", order];
        let plan = [&["fashion-mnist", "--dry-run=plan", "--json"], &args[..]].concat();
        let plan = repro(&plan).output().unwrap();
        let plan: serde_json::Value = serde_json::from_slice(&plan.stdout).unwrap();
        plan["marks"]["data.class-order"].clone()
    };
    assert_eq!(mark("natural"), "assumed");
    let replaced = serde_json::json!({"was": "\"natural\"", "mark": "assumed"});
    assert_eq!(mark("reversed"), replaced);
}
