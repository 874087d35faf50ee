//! `metrics.*` and `schedules.json`: evaluation, label-aware smoothing, mixup, class weights, learning rates.

use rescom::{
    longtail::{ClassCounts, EffectiveNumber, ShotGroup},
    run::{DataSetId, LearningRateMode, OptimSpec, ScheduleKind},
    train::{
        HostTensor, HostTensors, LabelAwareSmoothing, Metrics, SmoothingShape, learning_rate, probe,
    },
};
use serde_json::Value;

use crate::fixtures::{self, Deviations, number, size};

fn metrics() -> Option<(Value, HostTensors)> {
    fixtures::entries("metrics").first()?;
    Some((fixtures::json("metrics.json")?, fixtures::tensors("metrics.safetensors")?))
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect()
}

fn counts(value: &Value) -> ClassCounts {
    ClassCounts::new(numbers(value).iter().map(|&n| n as u64).collect()).unwrap()
}

#[test]
fn evaluation() {
    let mut seen = Deviations::default();
    if let Some((want, tensors)) = metrics() {
        let counts = counts(&want["train_counts"]);
        let logits = &tensors["logits"];
        let rows = ndarray::Array2::from_shape_vec(
            (logits.shape[0], logits.shape[1]),
            logits.as_f32().unwrap().to_vec(),
        );
        let mut metrics = Metrics::new(&counts);
        metrics.add(&rows.unwrap(), tensors["labels"].as_i64().unwrap()).unwrap();
        let got = metrics.finish().unwrap();

        let mut add = |what: &str, got: f64, want: f64| {
            seen.add(what, (got - want).abs(), 1e-6 * want.abs().max(1e-6), "metrics");
        };
        add("top-1", 100.0 * got.top1, number(&want, "top1"));
        add("top-5", 100.0 * got.top5, number(&want, "top5"));
        add("ece", got.ece, number(&want["ece"], "expected_calibration_error"));
        let gaps = got.reliability.iter().map(|b| (b.accuracy - b.confidence).abs());
        let gap = gaps.fold(0.0, f64::max);
        add("largest gap of a bin", gap, number(&want["ece"], "max_calibration_error"));
        for (b, bin) in got.reliability.iter().enumerate() {
            assert_eq!(bin.count, want["ece"]["counts"][b].as_u64().unwrap(), "bin {b}");
            add("bin accuracy", bin.accuracy, want["ece"]["accuracies"][b].as_f64().unwrap());
            add("bin confidence", bin.confidence, want["ece"]["confidences"][b].as_f64().unwrap());
        }
        for (c, accuracy) in got.per_class.iter().enumerate() {
            add("class accuracy", *accuracy, want["per_class_accuracy"][c].as_f64().unwrap());
        }
        let groups = [got.groups.many, got.groups.medium, got.groups.few];
        for (group, accuracy) in ShotGroup::ALL.into_iter().zip(groups) {
            let expected = want["group_class_mean_accuracy"][group.name()].as_f64();
            assert_eq!(accuracy.is_some(), expected.is_some(), "{}", group.name());
            add("group accuracy", accuracy.unwrap_or(0.0), expected.unwrap_or(0.0));
        }
    }
    seen.conclude("metrics", "metrics");
}

fn shape(case: &Value) -> SmoothingShape {
    match case["shape"].as_str().unwrap() {
        "concave" => SmoothingShape::Concave,
        "linear" => SmoothingShape::Linear,
        "convex" => SmoothingShape::Convex,
        "exp" => SmoothingShape::Exp { power: number(case, "power") },
        other => panic!("smoothing shape {other} is not known"),
    }
}

fn head(tensor: &HostTensor, rows: usize) -> HostTensor {
    let width: usize = tensor.shape[1..].iter().product();
    let mut shape = tensor.shape.clone();
    shape[0] = rows;
    match tensor.as_f32() {
        Some(v) => HostTensor::f32(&shape, v[..rows * width].to_vec()).unwrap(),
        None => HostTensor::i64(&shape, tensor.as_i64().unwrap()[..rows * width].to_vec()).unwrap(),
    }
}

#[test]
fn label_aware_smoothing_and_mixup() {
    let mut seen = Deviations::default();
    if let Some((want, tensors)) = metrics() {
        let counts = counts(&want["train_counts"]);
        for (j, case) in want["label_aware_smoothing"].as_array().unwrap().iter().enumerate() {
            let place = format!("las{j}");
            let smoothing = LabelAwareSmoothing {
                shape: shape(case),
                head: number(case, "smooth_head"),
                tail: number(case, "smooth_tail"),
            };
            let per_class = smoothing.per_class(&counts);
            let eps = per_class.iter().map(|&x| x as f32).collect();
            let eps = HostTensor::f32(&[per_class.len()], eps).unwrap();
            seen.tensor("smoothing", &eps, &tensors[&format!("las{j}.smooth")], 1e-6, &place);
            let gradient = &tensors[&format!("las{j}.grad_logits")];
            let rows = gradient.shape[0];
            let logits = head(&tensors["logits"], rows);
            let labels = head(&tensors["labels"], rows);
            let got = probe::label_aware(&logits, &labels, &per_class).unwrap();
            let loss = number(case, "loss");
            seen.add("smoothed loss", (got["loss"].to_f64()[0] - loss).abs(), 1e-6 * loss, &place);
            let tolerance = 1e-6 * fixtures::largest(gradient);
            seen.tensor("its gradient", &got["grad_logits"], gradient, tolerance, &place);
        }
        let inputs = tensors
            .iter()
            .filter_map(|(k, v)| Some((k.strip_prefix("mixup.")?.to_owned(), v.clone())));
        let inputs: HostTensors = inputs.collect();
        let got = probe::mixup(&inputs, number(&want["mixup"], "lambda_")).unwrap();
        let tolerance = 1e-6 * fixtures::largest(&inputs["mixed"]);
        seen.tensor("mixup, images", &got["mixed"], &inputs["mixed"], tolerance, "mixup");
        let loss = number(&want["mixup"], "loss");
        seen.add("mixup, loss", (got["loss"].to_f64()[0] - loss).abs(), 1e-6 * loss, "mixup");
        let tolerance = 1e-6 * fixtures::largest(&inputs["grad_logits"]);
        seen.tensor(
            "mixup, gradient",
            &got["grad_logits"],
            &inputs["grad_logits"],
            tolerance,
            "mixup",
        );
    }
    seen.conclude("label-aware smoothing, mixup", "metrics");
}

#[test]
fn effective_number_weights() {
    let mut seen = Deviations::default();
    if let Some((want, _)) = metrics() {
        let table = &want["effective_number_weights"];
        for entry in table["entries"].as_array().unwrap() {
            let name = entry["counts"].as_str().unwrap();
            let counts = counts(&table["counts"][name]);
            let weights = EffectiveNumber::new(number(entry, "beta")).unwrap().weights(&counts);
            for (got, want) in weights.iter().zip(numbers(&entry["weights"])) {
                seen.add("weight, relative", (got - want).abs() / want, 1e-6, name);
            }
        }
    }
    seen.conclude("effective-number weights", "metrics");
}

#[test]
fn schedules() {
    let mut seen = Deviations::default();
    let named = fixtures::entries("schedules").first().and_then(|(name, _)| fixtures::json(name));
    for case in named.iter().flat_map(|v| v.as_array().unwrap()) {
        let name = case["dataset"].as_str().unwrap();
        let sets =
            [DataSetId::Cifar10, DataSetId::Cifar100, DataSetId::Inat18, DataSetId::PlacesLt];
        let set = sets.into_iter().find(|s| s.name().starts_with(name));
        let set = set.unwrap_or(DataSetId::ImagenetLt);
        let cifar = name.starts_with("cifar");
        let mut optim = OptimSpec {
            epochs: size(case, "epochs"),
            batch_size: 128,
            lr: number(case, "lr"),
            momentum: 0.9,
            weight_decay: 5e-4,
            warmup_epochs: size(case, "warm_epochs"),
            schedule: if cifar { ScheduleKind::Step } else { ScheduleKind::Cosine },
            // Where the list itself drops: the read-me gives these in words only.
            milestones: vec![],
            lr_mode: LearningRateMode::AsDescribed,
        };
        let intended = numbers(&case["lr_intended"]);
        if cifar {
            optim.milestones =
                (1..intended.len()).filter(|&e| intended[e] < 0.5 * intended[e - 1]).collect();
        }
        for (e, want) in intended.iter().enumerate() {
            let got = learning_rate(&optim, set, e + 1);
            seen.add("as described, relative", (got - want).abs() / want, 1e-12, name);
        }
        optim.lr_mode = LearningRateMode::AsReleased;
        let released = &case["effective_lr_in_released_code"];
        for e in 0..intended.len() {
            let want = released.get("constant").unwrap_or(&released[e]).as_f64().unwrap();
            let got = learning_rate(&optim, set, e + 1);
            seen.add("as released, relative", (got - want).abs() / want, 1e-12, name);
        }
    }
    seen.conclude("schedules", "schedules");
}
