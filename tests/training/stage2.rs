//! MiSLAS stage 2: what is frozen stays, what is trained moves, and it resumes.

use rescom::train::{
    HostTensors, LabelAwareSmoothing, SmoothingShape, Trainer,
    config::{Precision, SgdSpec},
    set_threads,
    stage2::{Stage2, Stage2Spec},
};

use crate::common::{counts, images, labels, pictures, rescom, trainer};

const CLASSES: usize = 5;

fn spec(shift_bn: bool, lr_factor: f64) -> Stage2Spec {
    Stage2Spec {
        encoder: trainer(rescom(6)).encoder,
        smoothing: LabelAwareSmoothing { shape: SmoothingShape::Concave, head: 0.4, tail: 0.1 },
        shift_bn,
        lr_factor,
        sgd: SgdSpec { momentum: 0.9, weight_decay: 0.0 },
        precision: Precision::F32,
        channels_last: false,
    }
}

fn stage1() -> HostTensors {
    set_threads(1);
    Trainer::new(&trainer(rescom(6)), &counts(CLASSES), 1, "cpu").unwrap().state().unwrap()
}

fn steps(stage: &mut Stage2, seeds: std::ops::Range<u64>) -> f64 {
    let mut loss = 0.0;
    for seed in seeds {
        let y = labels(seed, 16, CLASSES);
        let out = stage.step(images(&pictures(seed, &y, 1)), &y, 0.1).unwrap();
        assert!(out.applied);
        loss = out.loss;
    }
    loss
}

/// Which entries of the network differ, by the first word of their name and whether they are statistics.
fn moved(before: &HostTensors, after: &HostTensors) -> Vec<&'static str> {
    let differ = |pick: &dyn Fn(&str) -> bool| {
        before.iter().any(|(n, t)| pick(n) && after.get(n).is_some_and(|a| a != t))
    };
    let statistics = |n: &str| n.contains("running_");
    let mut found = vec![];
    if differ(&|n| n.starts_with("encoder.") && !statistics(n) && !n.ends_with("tracked")) {
        found.push("encoder");
    }
    if differ(&|n| n.starts_with("encoder.") && statistics(n)) {
        found.push("statistics");
    }
    if differ(&|n| n.starts_with("linear.")) {
        found.push("classifier");
    }
    if differ(&|n| n.starts_with("lws.")) {
        found.push("scale");
    }
    found
}

#[test]
fn only_what_stage_two_trains_moves() {
    let start = stage1();
    for (shift, factor, expected) in [
        (false, 0.5, vec!["classifier", "scale"]),
        (true, 0.5, vec!["statistics", "classifier", "scale"]),
        (false, 0.0, vec!["scale"]),
    ] {
        let mut stage = Stage2::new(&spec(shift, factor), &counts(CLASSES), &start, "cpu").unwrap();
        let before = stage.state().unwrap();
        steps(&mut stage, 0..2);
        assert_eq!(moved(&before, &stage.state().unwrap()), expected);
    }
}

#[test]
fn it_starts_from_the_trained_network_and_resumes_bit_for_bit() {
    let start = stage1();
    let mut stage = Stage2::new(&spec(true, 0.2), &counts(CLASSES), &start, "cpu").unwrap();
    let y = labels(7, 10, CLASSES);
    let x = pictures(7, &y, 1);
    let mut network = Trainer::new(&trainer(rescom(6)), &counts(CLASSES), 9, "cpu").unwrap();
    network.load_model(&start).unwrap();
    assert_eq!(stage.logits(images(&x)).unwrap(), network.logits(images(&x)).unwrap());

    let first = steps(&mut stage, 0..1);
    steps(&mut stage, 1..4);
    let mut again = Stage2::new(&spec(true, 0.2), &counts(CLASSES), &start, "cpu").unwrap();
    again.load_state(&stage.state().unwrap()).unwrap();
    assert_eq!(steps(&mut stage, 4..9), steps(&mut again, 4..9));
    assert!(stage.state().unwrap() == again.state().unwrap());
    assert!(steps(&mut stage, 9..30) < first);
}

#[test]
fn a_diverged_step_changes_nothing() {
    for shift in [true, false] {
        let mut stage = Stage2::new(&spec(shift, 0.2), &counts(CLASSES), &stage1(), "cpu").unwrap();
        steps(&mut stage, 0..1);
        let before = stage.state().unwrap();
        let y = labels(1, 16, CLASSES);
        let mut x = pictures(1, &y, 1);
        x[7] = f32::NAN;
        let out = stage.step(images(&x), &y, 0.1).unwrap();
        assert!(!out.applied && !out.loss.is_finite());
        assert!(before == stage.state().unwrap(), "shifted batch norm: {shift}");
    }
}
