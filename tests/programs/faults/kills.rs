//! Ctrl-C, and SIGKILL at random moments, many times, with statistics;
//! `cargo test --features train --test programs -- --ignored --nocapture kills` prints them. A shorter one runs with every `cargo test` (repro.rs).

use std::{
    fs,
    io::{BufRead as _, BufReader},
    process::Stdio,
    time::Instant,
};

use rand::RngExt as _;
use rescom::rng::Streams;

use super::{ARGS, RUN, checkpoints, content, ends_as_if_never_interrupted, whole};
use crate::program::{ctrl_c, text, timeless, tiny, wait_for};

#[test]
fn ctrl_c_ends_with_130_and_the_same_command_goes_on() {
    let tmp = tempfile::tempdir().unwrap();
    let mut command = tiny(tmp.path(), &ARGS);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let run = tmp.path().join(RUN);
    wait_for(&run.join("checkpoint-0001.json"), &mut child);
    ctrl_c(&child);
    let output = child.wait_with_output().unwrap();
    let stderr = text(&output.stderr);
    assert_eq!(output.status.code(), Some(130), "{stderr}");
    assert!(stderr.contains("stopping after this step"), "{stderr}");
    assert!(stderr.lines().last().unwrap().contains("The same command again goes on"), "{stderr}");
    assert!(!run.join("record.json").exists());
    assert!(ends_as_if_never_interrupted(tmp.path()).contains("resumed after epoch"));
}

#[test]
fn a_second_ctrl_c_does_not_wait_for_the_step_and_ends_with_130() {
    let mut at_once = 0;
    for _ in 0..3 {
        let tmp = tempfile::tempdir().unwrap();
        // Steps that take long.
        let mut command = tiny(
            tmp.path(),
            &["--imb", "4", "--methods", "rescom", "--set", "optim.batch-size=100"],
        );
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut wait_for = |words: &str| stderr.by_ref().any(|line| line.unwrap().contains(words));
        assert!(wait_for("epochs of"));
        ctrl_c(&child);
        assert!(wait_for("stopping after this step"));
        ctrl_c(&child);
        assert_eq!(child.wait().unwrap().code(), Some(130));
        at_once += usize::from(!wait_for("The same command again goes on"));
    }
    assert!(at_once > 0, "the step was over each time");
}

const KILLS: usize = 10;

#[test]
#[ignore = "takes minutes; prints statistics"]
fn many_kills_at_random_moments_change_no_bit() {
    let tmp = tempfile::tempdir().unwrap();
    let reference = tmp.path().join("reference");
    let started = Instant::now();
    assert!(tiny(&reference, &ARGS).output().unwrap().status.success());
    let length = started.elapsed();
    println!("an uninterrupted run takes {:.1} s", length.as_secs_f64());

    let mut rng = Streams::new(20220).stream("kills", &[]);
    let (mut kills, mut runs, mut identical) = (0, 0, 0);
    while kills < KILLS {
        runs += 1;
        let out = tmp.path().join(format!("broken-{runs}"));
        let run = out.join(RUN);
        loop {
            let mut child =
                tiny(&out, &ARGS).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
            let wait = length.mul_f64(rng.random_range(0.05..0.75));
            let begun = Instant::now();
            let ended = loop {
                if let Some(status) = child.try_wait().unwrap() {
                    break Some(status);
                }
                if kills == KILLS || begun.elapsed() < wait {
                    std::thread::sleep(std::time::Duration::from_millis(1));
                    continue;
                }
                break None;
            };
            if ended.is_none() {
                child.kill().unwrap();
            }
            let output = child.wait_with_output().unwrap();
            if ended.is_some() {
                assert!(output.status.success(), "{}", text(&output.stderr));
                break;
            }
            kills += 1;
            let files = if run.exists() { content(&run) } else { Default::default() };
            println!(
                "kill {kills:2} in run {runs} after {:5.2} s: checkpoints {:?}, {} lines of epochs, {} unfinished writes",
                wait.as_secs_f64(),
                if run.exists() { checkpoints(&run) } else { vec![] },
                files.get("epochs.jsonl").map_or(0, |b| b.iter().filter(|b| **b == b'\n').count()),
                files.keys().filter(|n| n.starts_with(".incomplete-")).count(),
            );
        }
        assert_eq!(timeless(&run), timeless(&reference.join(RUN)));
        let newest = "checkpoint-0004.safetensors";
        assert!(
            fs::read(run.join(newest)).unwrap()
                == fs::read(reference.join(RUN).join(newest)).unwrap()
        );
        assert!(content(&run).keys().eq(content(&whole().join(RUN)).keys()), "files left over");
        identical += 1;
    }
    println!(
        "{kills} kills in {runs} runs, {identical} of {runs} ended with the same weights, optimiser, queue and records"
    );
}
