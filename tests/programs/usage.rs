//! The training program's manners: one line for bad usage, a reader that leaves, and nothing left behind
//! by a sweep that could not begin.

use std::{
    fs,
    process::{Command, Stdio},
};

use crate::program::{failed, repro, sweep, text};

const NAME: &str = env!("CARGO_BIN_EXE_rescom-repro");

#[test]
fn arguments_that_do_not_fit_are_one_line_and_exit_code_2() {
    for (args, word) in [
        (&["cifar", "--imbalance", "10"][..], "--imbalance"),
        (&["cifar", "--imb", "ten"], "'ten' for '--imb"),
        (&["fashion-mnist", "--class-order", "random"], "natural, reversed, seeded"),
        (&["train"], "'train'"),
        (&["evaluate"], "<RUN>"),
    ] {
        let output = repro(args).output().unwrap();
        let stderr = failed(&output, 2);
        assert!(stderr.lines().count() == 1 && stderr.contains(word), "{stderr}");
        assert!(stderr.contains("--help"), "{stderr}");
    }
    // Help that was asked for is no fault, and a command alone shows what there is.
    let help = repro(&["stage2", "--help"]).output().unwrap();
    assert!(help.status.success() && text(&help.stdout).contains("Example"));
    let alone = repro(&[]).output().unwrap();
    assert!(alone.status.code() == Some(2) && text(&alone.stderr).contains("fashion-mnist"));
}

#[test]
fn a_reader_that_leaves_is_no_error_and_a_full_disk_is_one() {
    let plan = "cifar --seeds 0,1,2,3,4,5,6,7,8,9 --dry-run=plan --json";
    for command in [plan, "doctor", "completions bash"] {
        let script = format!("{NAME} {command} | true; echo ${{PIPESTATUS[0]}}");
        let output = Command::new("bash").args(["-c", &script]).output().unwrap();
        assert_eq!(text(&output.stdout), "0\n", "{command}: {}", text(&output.stderr));
        assert!(!text(&output.stderr).contains("panicked"), "{}", text(&output.stderr));
    }
    if cfg!(target_os = "linux") {
        let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let args: Vec<&str> = plan.split(' ').collect();
        let output = repro(&args).stdout(Stdio::from(full)).output().unwrap();
        assert!(failed(&output, 1).contains("standard output"));
    }
}

#[test]
fn a_sweep_that_could_not_begin_leaves_no_run_behind() {
    let tmp = tempfile::tempdir().unwrap();
    let out = tmp.path().join("out");
    let place = out.to_str().unwrap();
    for wrong in [["--data", "/nowhere"], ["--device", "gpu"], ["--device", "cuda:99"]] {
        let mut args = vec!["fashion-mnist", "--imb", "10", "--methods", "ce", "--out", place];
        if wrong[0] != "--data" {
            args.extend(["--data", "synthetic"]);
        }
        args.extend(wrong);
        let stderr = failed(&repro(&args).output().unwrap(), 2);
        assert!(stderr.contains(wrong[1]), "{stderr}");
        assert!(!out.exists(), "{wrong:?}");
    }
    // A plan may be for a machine that has what this one lacks, but not for a device that is none.
    let plan =
        |device| repro(&["fashion-mnist", "--dry-run=plan", "--device", device]).output().unwrap();
    assert!(plan("cuda:99").status.success());
    assert!(failed(&plan("gpu"), 2).contains("expected cpu, cuda, cuda:N or auto"));
}

#[test]
fn a_report_is_of_all_runs_in_its_folder() {
    let tmp = tempfile::tempdir().unwrap();
    for (method, rows) in [("ce", 1), ("balanced-softmax", 2)] {
        let args = ["--imb", "4", "--methods", method, "--set", "optim.epochs=2"];
        let output = sweep(tmp.path(), &args);
        assert!(output.status.success(), "{}", text(&output.stderr));
        let runs = fs::read_to_string(tmp.path().join("runs.csv")).unwrap();
        assert_eq!(runs.lines().count(), 1 + rows, "{runs}");
    }
}

#[test]
fn steps_of_the_rate_after_the_last_epoch_are_remarked_on() {
    let remark = |extra: &[&str]| {
        let args = ["cifar", "--dataset", "cifar100", "--imb", "100", "--dry-run=plan"];
        let output = repro(&[&args, extra].concat()).output().unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stderr)
    };
    assert_eq!(remark(&[]), "");
    let few = remark(&["--set", "optim.epochs=20"]);
    assert!(few.contains("--set optim.milestones=[16,18]") && few.lines().count() == 1, "{few}");
    assert_eq!(remark(&["--set", "optim.epochs=20", "--schedule", "as-released"]), "");
}
