//! Files of a run folder that are damaged are named and left as they are.

use std::fs;

use super::{ARGS, RUN, checkpoints, content, copy, ends_as_if_never_interrupted, stopped, whole};
use crate::program::{failed, repro, sweep};

fn flip_a_byte(path: &std::path::Path) {
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_damaged_checkpoint_is_passed_over_and_the_end_is_the_same() {
    let tmp = tempfile::tempdir().unwrap();
    copy(stopped(), tmp.path());
    let newest = checkpoints(&tmp.path().join(RUN))[0];
    let name = format!("checkpoint-{newest:04}.safetensors");
    flip_a_byte(&tmp.path().join(RUN).join(&name));
    let said = ends_as_if_never_interrupted(tmp.path());
    assert!(said.contains(&name) && said.contains("falling back"), "{said}");
    assert!(said.contains(&format!("resumed after epoch {}", newest - 1)), "{said}");
    let log = fs::read_to_string(tmp.path().join(RUN).join("log.txt")).unwrap();
    assert!(log.contains("falling back"), "{log}");
}

#[test]
fn without_a_whole_checkpoint_nothing_is_trained_and_nothing_overwritten() {
    let tmp = tempfile::tempdir().unwrap();
    copy(stopped(), tmp.path());
    let run = tmp.path().join(RUN);
    let epochs = checkpoints(&run);
    assert_eq!(epochs.len(), 2);
    for epoch in &epochs {
        flip_a_byte(&run.join(format!("checkpoint-{epoch:04}.safetensors")));
    }
    let before = content(&run);
    // The damaged run comes second, and is found before the first one is trained.
    let mut args = ARGS;
    args[3] = "ce,rescom";
    let stderr = failed(&sweep(tmp.path(), &args), 2);
    for epoch in &epochs {
        assert!(stderr.contains(&format!("checkpoint-{epoch:04}.safetensors")), "{stderr}");
    }
    assert_eq!(content(&run), before);
    assert!(!tmp.path().join("fashion-mnist-imb4-ce-seed0").exists());
}

#[test]
fn damaged_records_are_named_with_their_line_and_left() {
    type Damage = fn(&str) -> String;
    let cases: [(&str, Damage, &[&str]); 5] = [
        ("epochs.jsonl", |t| t.replacen("\"lr\"", "\"lr", 1), &["line 1", "damaged"]),
        ("epochs.jsonl", |t| t.lines().skip(1).map(|l| format!("{l}\n")).collect(), &["line 1"]),
        ("epochs.jsonl", |t| t.lines().next().unwrap().into(), &["1 epochs", "were finished"]),
        ("recipe.toml", |t| t.replacen("lr = ", "lr = = ", 1), &["line ", "damaged"]),
        ("provenance.json", |t| t[..t.len() / 2].into(), &["damaged", "line "]),
    ];
    for (file, damage, said) in cases {
        let tmp = tempfile::tempdir().unwrap();
        copy(stopped(), tmp.path());
        let path = tmp.path().join(RUN).join(file);
        let text = fs::read_to_string(&path).unwrap();
        let damaged = damage(&text);
        assert_ne!(damaged, text);
        fs::write(&path, damaged).unwrap();
        let before = content(&tmp.path().join(RUN));
        let stderr = failed(&sweep(tmp.path(), &ARGS), 2);
        assert!(stderr.contains(path.to_str().unwrap()), "{stderr}");
        assert!(said.iter().all(|s| stderr.contains(s)), "{said:?}: {stderr}");
        assert_eq!(content(&tmp.path().join(RUN)), before, "{file}");
    }
}

#[test]
fn a_line_that_a_crash_cut_short_is_no_damage() {
    let tmp = tempfile::tempdir().unwrap();
    copy(stopped(), tmp.path());
    let path = tmp.path().join(RUN).join("epochs.jsonl");
    let text = fs::read_to_string(&path).unwrap() + "{\"epoch\": 4, \"lr\": 0.0";
    fs::write(&path, text).unwrap();
    ends_as_if_never_interrupted(tmp.path());
}

#[test]
fn a_damaged_final_record_is_named_by_sweep_and_report_and_left() {
    let tmp = tempfile::tempdir().unwrap();
    copy(whole(), tmp.path());
    let path = tmp.path().join(RUN).join("record.json");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, &text[..text.len() / 2]).unwrap();
    let before = content(&tmp.path().join(RUN));
    let report = repro(&["report", tmp.path().to_str().unwrap()]).output().unwrap();
    for output in [sweep(tmp.path(), &ARGS), report] {
        let stderr = failed(&output, 2);
        assert!(stderr.contains(path.to_str().unwrap()) && stderr.contains("line "), "{stderr}");
        assert_eq!(content(&tmp.path().join(RUN)), before);
    }
}
