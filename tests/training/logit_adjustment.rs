//! Logit adjustment against its float64 reference, and as a method.

use ndarray::ArrayView2;
use rescom::{
    contrast,
    run::Method,
    train::{HostTensor, Trainer, losses::LogitAdjustment},
};

use crate::{
    common::{counts, double, images, labels, normal, pictures, spec},
    gradients,
};

const ROWS: usize = 9;
const CLASSES: usize = 6;

#[test]
fn logit_adjustment_equals_its_reference() {
    let (counts, y) = (counts(CLASSES), labels(3, ROWS, CLASSES));
    let logits = normal("logits", 3, ROWS * CLASSES);
    let loss = LogitAdjustment::new(&counts);
    let given = double(&[ROWS, CLASSES], logits.clone());
    let of = HostTensor::i64(&[ROWS], y.clone()).unwrap();
    let got = gradients::of_logits(&loss, &given, &of);
    let y: Vec<usize> = y.iter().map(|&y| y as usize).collect();
    let logits = ArrayView2::from_shape((ROWS, CLASSES), &logits).unwrap();
    let (value, gradient) = contrast::logit_adjustment(&logits, &y, &counts, 1.0);
    assert!((got["loss"].to_f64()[0] - value).abs() < 1e-13);
    for (g, w) in got["grad_logits"].to_f64().iter().zip(&gradient) {
        assert!((g - w).abs() < 1e-14, "{g} {w}");
    }
}

/// Its name is enough to train it; the first step's loss is that of the logits before the step.
#[test]
fn logit_adjustment_is_a_method() {
    let method: Method = "logit-adjustment".parse().unwrap();
    assert_eq!(method.loss().unwrap().classification.as_str(), "logit-adjustment");
    let counts = counts(CLASSES);
    let mut trainers = ["logit-adjustment", "balanced-softmax", "ce"]
        .map(|name| Trainer::new(&spec(name, 4), &counts, 1, "cpu").unwrap());
    let y = labels(1, 12, CLASSES);
    let x = pictures(1, &y, 1);
    let [adjusted, balanced, plain] =
        trainers.each_mut().map(|t| t.step(images(&x), &y, 0.1).unwrap().loss);
    // The 1e-9 that Balanced Softmax adds to the prior is all that parts them.
    assert!((adjusted - balanced).abs() < 1e-6, "{adjusted} {balanced}");
    assert!((adjusted - plain).abs() > 1e-3, "{adjusted} {plain}");
}
