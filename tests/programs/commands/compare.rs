//! `compare`.

use std::fs;

use super::common::{SWEEP, copy_of, json, ok, read_json, refused, run_of, train};

#[test]
fn methods_are_paired_by_seed() {
    let dir = SWEEP.path().to_str().unwrap();
    let found = json(&ok(&["compare", dir, "--methods", "ce,rescom", "--json"]));
    let found = &found[0];
    let top1 = |method: &str, seed: u64| {
        read_json(&run_of(method, seed).join("record.json"))["last"]["top1"].as_f64().unwrap()
    };
    let d = [0, 1].map(|seed| top1("rescom", seed) - top1("ce", seed));
    let mean = (d[0] + d[1]) / 2.0;
    assert!((found["overall"]["mean"].as_f64().unwrap() - mean).abs() < 1e-12);
    // Two values: sd / sqrt(2) is half their distance; t has one degree of freedom.
    let half = 12.706_205 * (d[0] - d[1]).abs() / 2.0;
    let high = found["overall"]["interval"][1].as_f64().unwrap();
    assert!((high - mean - half).abs() < 1e-5, "{high} {mean} {half}");
    assert_eq!(
        (found["seeds"].as_array().unwrap().len(), found["overall"]["n"].as_u64()),
        (2, Some(2))
    );
    assert_eq!(found["many"], serde_json::Value::Null, "no class has more than 100 images");

    let (a, b) = (run_of("ce", 0), run_of("mislas", 0));
    let text = ok(&["compare", a.to_str().unwrap(), b.to_str().unwrap()]);
    assert!(text.contains("One seed gives no interval") && text.contains("mislas - ce"), "{text}");
    let text = ok(&["compare", dir, dir]);
    assert!(text.contains("+0.0 [+0.0, +0.0]") && text.contains("3 comparisons"), "{text}");
    let (a, b) = (run_of("ce", 0), run_of("ce", 1));
    let e = refused(&["compare", a.to_str().unwrap(), b.to_str().unwrap()], 2);
    assert!(e.contains("no run of the one has a partner"), "{e}");
    let e = refused(&["compare", dir, "--methods", "ce,moco+bs"], 2);
    assert!(e.contains("no finished run of moco+bs; there are ce, rescom, mislas"), "{e}");
    assert!(refused(&["compare", dir], 2).contains("second folder"));
}

#[test]
fn the_golden_check_finds_the_first_difference() {
    let again = tempfile::tempdir().unwrap();
    train(again.path(), &["--methods", "ce"]);
    let run = again.path().join("fashion-mnist-imb4-ce-seed0");
    let (first, _guard) = copy_of("ce", 0);
    let (first, second) = (first.to_str().unwrap(), run.to_str().unwrap());
    assert!(ok(&["compare", first, second, "--exact"]).contains("equal: 1 runs"));

    let path = run.join("record.json");
    let mut record = read_json(&path);
    let loss = record["epochs"][1]["loss"].as_f64().unwrap();
    record["epochs"][1]["loss"] = f64::from_bits(loss.to_bits() + 1).into();
    fs::write(&path, record.to_string()).unwrap();
    let e = refused(&["compare", first, second, "--exact"], 1);
    assert!(e.contains("seed0: epoch 2: loss "), "{e}");
    let sweep = SWEEP.path().to_str().unwrap();
    let e = refused(&["compare", sweep, second, "--exact"], 1);
    assert!(e.contains("B has no such run"), "{e}");

    let other = tempfile::tempdir().unwrap();
    train(other.path(), &["--methods", "ce", "--set", "optim.lr=0.02"]);
    let text = ok(&["compare", first, other.path().to_str().unwrap()]);
    assert!(text.contains("optim.lr: 0.05 and 0.02"), "{text}");
}
