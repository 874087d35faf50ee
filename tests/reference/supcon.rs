//! `supcon.safetensors`: plain supervised contrastive loss, in the batch and against FIFO keys, in float64
//! and float32.

use rescom::train::{HostData, HostTensor, HostTensors, probe};

use crate::fixtures::{self, Deviations, number};

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

#[test]
fn supervised_contrastive_loss() {
    let mut seen = Deviations::default();
    for (name, entry) in fixtures::entries("supcon") {
        let Some(want) = fixtures::tensors(name) else { continue };
        for (case, settings) in entry["cases"].as_object().unwrap() {
            let temperature = number(settings, "temperature");
            for (kind, relative) in [("float64", 1e-10), ("float32", 1e-5)] {
                check(case, temperature, kind, relative, &want, &mut seen);
            }
        }
    }
    seen.conclude("supcon", "supcon");
}

fn check(
    case: &str,
    temperature: f64,
    kind: &str,
    relative: f64,
    want: &HostTensors,
    seen: &mut Deviations,
) {
    let (set, variant) = case.split_once('.').unwrap_or((case, ""));
    let at = |name: &str| &want[&format!("{set}.{name}")];
    let cast = |t: &HostTensor| if kind == "float32" { single(t) } else { t.clone() };
    let (features, labels) = (cast(at("features")), at("labels"));
    let mut keys = vec![];
    if variant == "key_plus_queue" {
        keys.push((cast(at("keys")), labels));
    }
    if !variant.is_empty() {
        keys.push((cast(at("queue")), at("queue_labels")));
    }
    let keys: Vec<_> = keys.iter().map(|(k, l)| (k, *l)).collect();
    let got = probe::supcon(&features, labels, &keys, temperature).unwrap();

    let expected = |name: &str| &want[&format!("{case}.{name}")];
    let loss = expected(if variant.is_empty() { "loss" } else { "loss_mean_all" }).to_f64()[0];
    let difference = (got["loss"].to_f64()[0] - loss).abs() / loss.abs();
    seen.add(&format!("loss, relative, {kind}"), difference, relative, case);
    let mut tensor = |what: &str, got: &HostTensor, want: &HostTensor| {
        let tolerance = relative * fixtures::largest(want).max(1.0);
        seen.tensor(&format!("{what}, {kind}"), got, want, tolerance, case);
    };
    tensor("grad_features", &got["grad_features"], expected("grad_features"));
    if variant.is_empty() {
        tensor("grad_sim", &with_diagonal(&got["grad_sim"]), expected("grad_sim"));
    } else {
        tensor("grad_sim", &got["grad_sim"], expected("grad_sim"));
        tensor("loss_per_anchor", &got["loss_per_anchor"], expected("loss_per_anchor"));
    }
}
