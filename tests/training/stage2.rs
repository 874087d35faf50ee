//! MiSLAS stage 2: what is frozen stays, what is trained moves, and it resumes.

use rescom::{
    run::{Precision, SgdSpec},
    train::{
        HostTensors, LabelAwareSmoothing, SmoothingShape, Trainer,
        fit::stage2::{Stage2, Stage2Spec},
        set_threads,
    },
};

use crate::common::{counts, images, labels, pictures, rescom};

const CLASSES: usize = 5;

fn spec(shift_bn: bool, lr_factor: f64) -> Stage2Spec {
    Stage2Spec {
        encoder: rescom(6).encoder,
        smoothing: LabelAwareSmoothing { shape: SmoothingShape::Concave, head: 0.4, tail: 0.1 },
        shift_bn,
        lr_factor,
        sgd: SgdSpec { momentum: 0.9, weight_decay: 0.0 },
        precision: Precision::Fp32,
        channels_last: false,
    }
}

fn stage1() -> HostTensors {
    set_threads(1);
    Trainer::new(&rescom(6), &counts(CLASSES), 1, "cpu").unwrap().state().unwrap()
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

/// Two steps from the formulas, in float64: logits s (W f + b), the smoothed loss, SGD with momentum and weight
/// decay, the classifier at `lr_factor` times the rate and the factors at the rate itself.
#[test]
fn its_steps_are_those_of_the_formulas() {
    let start = stage1();
    let spec =
        Stage2Spec { sgd: SgdSpec { momentum: 0.9, weight_decay: 0.01 }, ..spec(false, 0.2) };
    let mut stage = Stage2::new(&spec, &counts(CLASSES), &start, "cpu").unwrap();
    let matrix = |name: &str| start[name].to_f64();
    let dim = start["linear.weight"].shape[1];
    // W, b, s in one row, with the momentum of each.
    let mut theta = [matrix("linear.weight"), matrix("linear.bias"), vec![1.0; CLASSES]].concat();
    let mut velocity = vec![0.0; theta.len()];
    let smoothing = spec.smoothing.per_class(&counts(CLASSES));
    for number in 0..3 {
        let y = labels(number, 16, CLASSES);
        let x = pictures(number, &y, 1);
        let features = stage.outputs(images(&x)).unwrap().features;
        let (loss, gradient) = by_hand(&theta, &features, &y, &smoothing, dim);
        let out = stage.step(images(&x), &y, 0.3).unwrap();
        assert!((out.loss - loss).abs() < 1e-5, "step {number}: {} {loss}", out.loss);
        let norm = gradient.iter().map(|g| g * g).sum::<f64>().sqrt();
        assert!(
            (out.grad_norm - norm).abs() < 1e-5 * norm,
            "step {number}: {} {norm}",
            out.grad_norm
        );
        for (i, g) in gradient.iter().enumerate() {
            velocity[i] = 0.9 * velocity[i] + g + 0.01 * theta[i];
            let rate = if i < (dim + 1) * CLASSES { 0.3 * 0.2 } else { 0.3 };
            theta[i] -= rate * velocity[i];
        }
    }
    let state = stage.state().unwrap();
    let got =
        ["linear.weight", "linear.bias", "lws.learned_norm"].map(|n| state[n].to_f64()).concat();
    for (i, (g, w)) in got.iter().zip(&theta).enumerate() {
        assert!((g - w).abs() < 1e-5, "parameter {i}: {g} {w}");
    }
    let moved = got[(dim + 1) * CLASSES..].iter().filter(|s| (*s - 1.0).abs() > 0.01).count();
    assert!(moved > 0, "no factor moved");
}

/// Loss and gradient for [W, b, s] as [`its_steps_are_those_of_the_formulas`] has them.
fn by_hand(
    theta: &[f64],
    features: &ndarray::Array2<f32>,
    labels: &[i64],
    smoothing: &[f64],
    dim: usize,
) -> (f64, Vec<f64>) {
    let (weights, rest) = theta.split_at(dim * CLASSES);
    let (bias, scale) = rest.split_at(CLASSES);
    let (mut loss, mut gradient) = (0.0, vec![0.0; theta.len()]);
    let n = labels.len() as f64;
    for (f, &y) in features.rows().into_iter().zip(labels) {
        let f: Vec<f64> = f.iter().map(|&x| f64::from(x)).collect();
        let plain = |c: usize| {
            let row = &weights[c * dim..(c + 1) * dim];
            row.iter().zip(&f).map(|(w, x)| w * x).sum::<f64>() + bias[c]
        };
        let logits: Vec<f64> = (0..CLASSES).map(|c| scale[c] * plain(c)).collect();
        let total: f64 = logits.iter().map(|l| l.exp()).sum();
        let eps = smoothing[y as usize];
        for c in 0..CLASSES {
            // The target: 1 - eps on the label, eps spread over all classes.
            let own = if c == y as usize { 1.0 - eps } else { 0.0 };
            let target = own + eps / CLASSES as f64;
            let p = logits[c].exp() / total;
            loss -= target * p.ln() / n;
            let of_logit = (p - target) / n;
            for (k, x) in f.iter().enumerate() {
                gradient[c * dim + k] += of_logit * scale[c] * x;
            }
            gradient[dim * CLASSES + c] += of_logit * scale[c];
            gradient[(dim + 1) * CLASSES + c] += of_logit * plain(c);
        }
    }
    (loss, gradient)
}

#[test]
fn it_starts_from_the_trained_network_and_resumes_bit_for_bit() {
    let start = stage1();
    let mut stage = Stage2::new(&spec(true, 0.2), &counts(CLASSES), &start, "cpu").unwrap();
    let y = labels(7, 10, CLASSES);
    let x = pictures(7, &y, 1);
    let mut network = Trainer::new(&rescom(6), &counts(CLASSES), 9, "cpu").unwrap();
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
