//! `supcon.safetensors`: plain supervised contrastive loss, in the batch and against FIFO keys, in float64
//! and float32.

use std::sync::LazyLock;

use rescom::{
    contrast::Temperature,
    train::{
        HostData, HostTensor, HostTensors,
        losses::{BatchKeys, GivenKeys, KeySource, SupConLoss},
    },
};
use serde_json::Value;

use super::fixtures::{self, Deviations, File, number, size};
use crate::gradients;

fn single(tensor: &HostTensor) -> HostTensor {
    let values = tensor.to_f64().iter().map(|&x| x as f32).collect();
    HostTensor::f32(&tensor.shape, values).unwrap()
}

/// The [M, M-1] gradient without the diagonal, put back into [M, M] with zeros there.
fn with_diagonal(tensor: &HostTensor) -> HostTensor {
    let [m, k] = tensor.shape[..] else { panic!("a matrix") };
    let values = tensor.to_f64();
    let mut full = vec![0.0; m * m];
    for i in 0..m {
        for j in 0..k {
            full[i * m + j + usize::from(j >= i)] = values[i * k + j];
        }
    }
    HostTensor { shape: vec![m, m], data: HostData::F64(full) }
}

pub(crate) static SUPCON: LazyLock<()> = LazyLock::new(|| {
    let mut seen = Deviations::default();
    for (name, entry) in fixtures::entries("supcon") {
        let Some(want) = File::open(name) else { continue };
        for (case, settings) in entry["cases"].as_object().unwrap() {
            for (kind, relative) in [("float64", 1e-10), ("float32", 1e-5)] {
                let case = Case { case, settings, kind, relative, want: &want };
                case.check(&mut seen);
            }
        }
        want.conclude();
    }
    seen.conclude("supcon", "supcon");
});

#[test]
fn supervised_contrastive_loss() {
    LazyLock::force(&SUPCON);
}

struct Case<'a> {
    case: &'a str,
    settings: &'a Value,
    kind: &'a str,
    relative: f64,
    want: &'a File,
}

impl Case<'_> {
    fn input(&self, set: &str, name: &str) -> HostTensor {
        let tensor = self.want.at(&format!("{set}.{name}"));
        let is_float = tensor.as_i64().is_none();
        if is_float && self.kind == "float32" { single(tensor) } else { tensor.clone() }
    }

    fn check(&self, seen: &mut Deviations) {
        let (set, variant) = self.case.split_once('.').unwrap_or((self.case, ""));
        let input = |name: &str| self.input(set, name);
        let (features, labels) = (input("features"), input("labels"));
        let given = |keys: &HostTensor, labels: &HostTensor| {
            GivenKeys::new(&gradients::tensor(keys), &gradients::tensor(labels)).unwrap()
        };
        let queue = || given(&input("queue"), &input("queue_labels"));
        let keys: Box<dyn KeySource> = match variant {
            "" => Box::new(BatchKeys),
            "queue_only" => Box::new(queue()),
            "key_plus_queue" => Box::new(given(&input("keys"), &labels).and(queue())),
            other => panic!("{}: variant `{other}` is not known", self.case),
        };
        let temperature = Temperature::new(number(self.settings, "temperature")).unwrap();
        let loss = SupConLoss::new(temperature);
        let mut got = gradients::of_keys(&loss, &features, &labels, &*keys);
        let per_anchor = gradients::per_anchor(loss, &features, &labels, &*keys);
        got.insert("loss_per_anchor".into(), per_anchor);
        if variant.is_empty() {
            self.batch(&got, &labels, seen);
        } else {
            self.queue(&got, seen);
        }
    }

    fn loss(&self, what: &str, got: f64, want: f64, seen: &mut Deviations) {
        let difference = (got - want).abs() / want.abs().max(f64::MIN_POSITIVE);
        seen.add(&format!("{what}, {}", self.kind), difference, self.relative, self.case);
    }

    fn tensor(&self, what: &str, got: &HostTensor, seen: &mut Deviations) {
        let want = self.want.at(&format!("{}.{what}", self.case));
        let tolerance = self.relative * fixtures::largest(want).max(1.0);
        seen.tensor(&format!("{what}, {}", self.kind), got, want, tolerance, self.case);
    }

    fn batch(&self, got: &HostTensors, labels: &HostTensor, seen: &mut Deviations) {
        let loss = got["loss"].to_f64()[0];
        let want = self.want.at(&format!("{}.loss", self.case)).to_f64()[0];
        self.loss("loss, relative", loss, want, seen);
        self.loss("loss of the manifest", loss, number(self.settings, "loss"), seen);
        let full = with_diagonal(&got["grad_sim"]);
        self.tensor("grad_sim", &full, seen);
        self.tensor("grad_features", &got["grad_features"], seen);
        // The similarities are stored with the anchor itself; they are products of the rows as stored.
        let rows = self.want.at(&format!("{}.features", self.case));
        let (m, d, x) = (rows.shape[0], rows.shape[1], rows.to_f64());
        let product = |i: usize, j: usize| (0..d).map(|k| x[i * d + k] * x[j * d + k]).sum();
        let sim = (0..m * m).map(|e| product(e / m, e % m)).collect();
        let sim = HostTensor { shape: vec![m, m], data: HostData::F64(sim) };
        let want = self.want.at(&format!("{}.sim", self.case));
        seen.tensor("sim, float64", &sim, want, 1e-10, self.case);
        assert_eq!(labels.shape, [2 * size(self.settings, "B")], "{}: rows", self.case);
    }

    fn queue(&self, got: &HostTensors, seen: &mut Deviations) {
        let loss = got["loss"].to_f64()[0];
        let want = self.want.at(&format!("{}.loss_mean_all", self.case)).to_f64()[0];
        self.loss("loss, relative", loss, want, seen);
        self.loss("loss of the manifest", loss, number(self.settings, "loss_mean_all"), seen);
        let positives = got["num_pos"].as_i64().unwrap();
        let without = positives.iter().filter(|&&n| n == 0).count();
        assert_eq!(without, size(self.settings, "anchors_without_positive"), "{}", self.case);
        // None where no anchor has a positive.
        if let Some(want) = self.settings["loss_mean_over_anchors_with_positives"].as_f64() {
            let sum: f64 = got["loss_per_anchor"].to_f64().iter().sum();
            let mean = sum / (positives.len() - without) as f64;
            self.loss("loss over anchors with positives", mean, want, seen);
        }
        for what in ["num_pos", "loss_per_anchor", "grad_sim", "grad_features"] {
            self.tensor(what, &got[what], seen);
        }
    }
}
