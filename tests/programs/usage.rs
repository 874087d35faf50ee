//! The training program's manners: one line for bad usage, a reader that leaves, and nothing left behind
//! by a sweep that could not begin.

use std::{
    fs,
    process::{Command, Stdio},
};

use crate::program::{TINY, failed, repro, sweep, text};

const NAME: &str = env!("CARGO_BIN_EXE_rescom-repro");

#[test]
fn arguments_that_do_not_fit_are_one_line_and_exit_code_2() {
    for (args, word) in [
        (&["cifar", "--imbalance", "10"][..], "--imbalance"),
        (&["cifar", "--imb", "ten"], "'ten' for '--imb"),
        (&["fashion-mnist", "--class-order", "random"], "natural, reversed or seeded:N"),
        (&["cifar", "--class-order", "seeded:-1"], "natural, reversed or seeded:N"),
        // The data set had been named with --set, which is KEY=VALUE everywhere else.
        (&["data", "fetch", "--set", "cifar10"], "named with --dataset"),
        (&["data", "check", "--set=cifar10"], "named with --dataset"),
        (&["data", "show", "--set", "cifar10"], "named with --dataset"),
        (&["subset", "make", "--set", "cifar10"], "named with --dataset"),
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

/// A plan that needs no data.
fn plan(args: &[&str]) -> std::process::Output {
    repro(&[&args[..1], &["--dry-run=plan", "--json", "--methods", "ce"], &args[1..]].concat())
        .output()
        .unwrap()
}

#[test]
fn every_sweep_takes_a_class_order_and_a_seeded_one_says_its_seed() {
    for command in ["fashion-mnist", "cifar"] {
        let output = plan(&[command, "--imb", "10", "--class-order", "seeded:7"]);
        assert!(output.status.success(), "{}", text(&output.stderr));
        let line = text(&output.stdout).lines().next().unwrap().to_owned();
        let run: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert!(run["id"].as_str().unwrap().contains("-seeded-7-ce-"), "{run}");
        let data = &run["recipe"]["data"];
        assert_eq!(data["class-order"], "seeded:7");
        let bare = failed(&plan(&[command, "--class-order", "seeded"]), 2);
        assert!(bare.contains("seeded:N, for example seeded:0"), "{bare}");
    }
    // Image lists say themselves which class is the head.
    for command in ["imagenet-lt", "inat18", "places-lt"] {
        assert!(plan(&[command, "--class-order", "natural"]).status.success());
        let other = failed(&plan(&[command, "--class-order", "reversed"]), 2);
        assert!(other.contains(command) && other.contains("--class-order"), "{other}");
    }
}

#[test]
fn what_an_option_and_set_both_say_is_refused_with_both_named() {
    for (args, option) in [
        (&["--set", "method.name=rescom"][..], "--methods"),
        (&["--seeds", "5", "--set", "run.seed=3"], "--seeds"),
        (&["--set", "data.imbalance-factor=7"], "--imb"),
        (&["--class-order", "natural", "--set", "data.class-order=reversed"], "--class-order"),
        (&["--precision", "bf16", "--set", "run.precision=fp32"], "--precision"),
        (&["--schedule", "as-released", "--set", "optim.lr-mode=as-described"], "--schedule"),
    ] {
        let stderr = failed(&plan(&[&["fashion-mnist"], args].concat()), 2);
        let set = format!("--set {}", args[args.len() - 1]);
        assert!(stderr.contains(option) && stderr.contains(&set), "{args:?}: {stderr}");
    }
}

#[test]
fn an_overlong_value_is_quoted_in_part() {
    let long = "9".repeat(3000);
    for args in [
        ["--set".to_owned(), format!("model.projection-dim={long}")],
        ["--set".to_owned(), long.clone()],
        ["--imb".to_owned(), format!("x{long}")],
        ["--device".to_owned(), long.clone()],
        ["--preset".to_owned(), long],
    ] {
        let output = plan(&["fashion-mnist", &args[0], &args[1]]);
        let stderr = failed(&output, 2);
        assert!(stderr.len() < 700 && stderr.lines().count() == 1, "{stderr}");
    }
}

/// A sweep goes on where nobody can read what it says.
#[test]
fn standard_error_that_is_full_closed_or_left_stops_no_sweep() {
    if !cfg!(target_os = "linux") {
        return;
    }
    for (number, end) in ["2>/dev/full", "2>&-", "2>&1 >/dev/null | true"].into_iter().enumerate() {
        let tmp = tempfile::tempdir().unwrap();
        let out = tmp.path().join(format!("{number}"));
        let args = TINY.join(" ");
        let script = format!(
            "{NAME} fashion-mnist --imb 2,4 --methods ce {args} --set optim.epochs=1 --out {} {end}; echo ${{PIPESTATUS[0]}}",
            out.display()
        );
        let output = Command::new("bash").args(["-c", &script]).output().unwrap();
        let stdout = text(&output.stdout);
        assert_eq!(stdout.lines().last(), Some("0"), "{end}: {stdout}");
        assert!(out.join("report.md").is_file(), "{end}");
    }
}

#[test]
fn help_that_is_lost_is_a_failure() {
    if cfg!(target_os = "linux") {
        let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let output = repro(&["cifar", "--help"]).stdout(Stdio::from(full)).output().unwrap();
        assert!(failed(&output, 1).contains("standard output"));
        let script = format!("{NAME} cifar --help | true; echo ${{PIPESTATUS[0]}}");
        let output = Command::new("bash").args(["-c", &script]).output().unwrap();
        assert_eq!(text(&output.stdout), "0\n");
    }
}

#[cfg(unix)]
#[test]
fn a_folder_whose_name_is_no_utf_8_takes_a_sweep() {
    use std::os::unix::ffi::OsStrExt as _;
    let tmp = tempfile::tempdir().unwrap();
    let out = tmp.path().join(std::ffi::OsStr::from_bytes(b"no-utf8-\xff"));
    let args = ["--imb", "4", "--methods", "ce", "--set", "optim.epochs=1"];
    let output = sweep(&out, &args);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(out.join("fashion-mnist-imb4-ce-seed0/record.json").is_file());
}

#[test]
fn more_threads_than_a_machine_has_use_for_are_capped() {
    let output = plan(&["fashion-mnist", "--threads", "5000"]);
    let stderr = text(&output.stderr);
    assert!(output.status.success() && stderr.contains("note: --threads 5000: "), "{stderr}");
}
