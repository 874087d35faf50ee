//! `metrics.*` and `schedules.json`: evaluation, label-aware smoothing, mixup, class weights, learning rates.

use std::sync::LazyLock;

use rescom::{
    longtail::{ClassCounts, EffectiveNumber, ShotGroup},
    run::{DataSetId, Evaluation, LearningRateMode, OptimSpec, ReliabilityBin, ScheduleKind},
    train::{
        HostTensor, HostTensors, LabelAwareSmoothing, Metrics, SmoothingShape, eval::probe,
        learning_rate, losses::LabelAwareLoss,
    },
};
use serde_json::Value;

use super::fixtures::{self, Deviations, File, number, size};

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect()
}

fn counts(value: &Value) -> ClassCounts {
    ClassCounts::new(numbers(value).iter().map(|&n| n as u64).collect()).unwrap()
}

/// What each `metrics*.json` says, with the tensors of the file that the manifest names for it.
pub(crate) static METRICS: LazyLock<()> = LazyLock::new(|| {
    let mut seen = Deviations::default();
    let tables = fixtures::entries("metrics").into_iter().filter(|(n, _)| n.ends_with(".json"));
    for (name, entry) in tables {
        let Some(want) = fixtures::json(name) else { continue };
        let tensors = entry["tensor_file"].as_str();
        let tensors = tensors.unwrap_or_else(|| panic!("{name}: no tensor_file in the manifest"));
        let Some(tensors) = File::open(tensors) else { continue };
        let case = Case { name, want: &want, tensors: &tensors };
        case.evaluation(&mut seen);
        case.smoothing(&mut seen);
        case.mixup(&mut seen);
        case.weights(&mut seen);
        fixtures::mention_others(name, &want, &KNOWN);
        tensors.conclude();
    }
    seen.conclude("metrics", "metrics");
});

#[test]
fn evaluation_smoothing_mixup_and_weights() {
    LazyLock::force(&METRICS);
}

/// Keys that are read here, and a remark.
const KNOWN: [&str; 15] = [
    "N",
    "num_classes",
    "train_counts",
    "top1",
    "top5",
    "ece",
    "brute_confidence_histogram_note",
    "per_class_accuracy",
    "test_count_per_class",
    "class_group",
    "group_class_mean_accuracy",
    "group_sample_mean_accuracy",
    "label_aware_smoothing",
    "effective_number_weights",
    "mixup",
];

struct Case<'a> {
    name: &'a str,
    want: &'a Value,
    tensors: &'a File,
}

/// Where a difference is counted, relative to what is expected.
fn add(seen: &mut Deviations, place: &str, what: &str, got: f64, want: f64) {
    seen.add(what, (got - want).abs(), 1e-6 * want.abs().max(1e-6), place);
}

impl Case<'_> {
    fn counts(&self) -> ClassCounts {
        let counts = counts(&self.want["train_counts"]);
        let stored = self.tensors.at("train_counts").to_f64();
        assert_eq!(stored, numbers(&self.want["train_counts"]), "{}: train_counts", self.name);
        counts
    }

    fn evaluation(&self, seen: &mut Deviations) {
        let counts = self.counts();
        let logits = self.tensors.at("logits");
        assert_eq!(logits.shape, [size(self.want, "N"), size(self.want, "num_classes")]);
        let rows = ndarray::Array2::from_shape_vec(
            (logits.shape[0], logits.shape[1]),
            logits.as_f32().unwrap().to_vec(),
        );
        let labels = self.tensors.at("labels").as_i64().unwrap();
        let mut metrics = Metrics::new(&counts);
        metrics.add(&rows.unwrap(), labels).unwrap();
        let got = metrics.finish().unwrap();
        add(seen, self.name, "top-1", 100.0 * got.top1, number(self.want, "top1"));
        add(seen, self.name, "top-5", 100.0 * got.top5, number(self.want, "top5"));
        if self.want["ece"].is_object() {
            self.calibration(&got, seen);
        }
        let mut tested = vec![0u64; counts.classes()];
        labels.iter().for_each(|&y| tested[y as usize] += 1);
        self.classes(&got, &tested, seen);
        self.groups(&counts, &got, &tested, seen);
    }

    fn calibration(&self, got: &Evaluation, seen: &mut Deviations) {
        let (want, bins) = (&self.want["ece"], &got.reliability);
        let mut add = |what: &str, got: f64, want: f64| add(seen, self.name, what, got, want);
        add("ece", got.ece, number(want, "expected_calibration_error"));
        let gaps = bins.iter().map(|b| (b.accuracy - b.confidence).abs());
        add(
            "largest gap of a bin",
            gaps.fold(0.0, f64::max),
            number(want, "max_calibration_error"),
        );
        let [counted, accuracies, confidences, edges] =
            ["counts", "accuracies", "confidences", "bins"].map(|key| numbers(&want[key]));
        assert_eq!((counted.len(), edges.len()), (bins.len(), bins.len() + 1), "{}", self.name);
        for (b, bin) in bins.iter().enumerate() {
            assert_eq!(bin.count as f64, counted[b], "{}: bin {b}", self.name);
            add("bin accuracy", bin.accuracy, accuracies[b]);
            add("bin confidence", bin.confidence, confidences[b]);
        }
        for (b, edge) in edges.iter().enumerate() {
            add("edge of a bin", b as f64 / bins.len() as f64, *edge);
        }
        let mean = |of: fn(&ReliabilityBin) -> f64| {
            bins.iter().map(|b| b.count as f64 * of(b)).sum::<f64>() / got.images as f64
        };
        add("mean accuracy", mean(|b| b.accuracy), number(want, "avg_accuracy"));
        add("mean confidence", mean(|b| b.confidence), number(want, "avg_confidence"));
    }

    fn classes(&self, got: &Evaluation, tested: &[u64], seen: &mut Deviations) {
        let expected = self.want["test_count_per_class"].as_array();
        let expected: Option<Vec<_>> =
            expected.map(|l| l.iter().map(|n| n.as_u64().unwrap()).collect());
        assert!(expected.is_none_or(|n| n == tested), "{}: test_count_per_class", self.name);
        let accuracies = self.want["per_class_accuracy"].as_array().unwrap();
        assert_eq!(accuracies.len(), got.per_class.len());
        for (c, (got, want)) in got.per_class.iter().zip(accuracies).enumerate() {
            match want.as_f64() {
                // Without test images there is no accuracy to compare.
                None => assert_eq!(tested[c], 0, "{}: accuracy of class {c}", self.name),
                Some(want) => add(seen, self.name, "class accuracy", *got, want),
            }
        }
    }

    fn groups(
        &self,
        counts: &ClassCounts,
        got: &Evaluation,
        tested: &[u64],
        seen: &mut Deviations,
    ) {
        let of = counts.shot_groups();
        if let Some(names) = self.want["class_group"].as_array() {
            let ours: Vec<&str> = of.iter().map(|g| g.name()).collect();
            assert_eq!(names, &ours, "{}: class_group", self.name);
        }
        let means = [got.groups.many, got.groups.medium, got.groups.few];
        for (group, mean) in ShotGroup::ALL.into_iter().zip(means) {
            let members = || (0..of.len()).filter(|&c| of[c] == group);
            let images: u64 = members().map(|c| tested[c]).sum();
            let right: f64 = members().map(|c| got.per_class[c] * tested[c] as f64).sum();
            let shares = (images > 0).then(|| right / images as f64);
            for (key, accuracy) in
                [("group_class_mean_accuracy", mean), ("group_sample_mean_accuracy", shares)]
            {
                if let Some(want) = self.want[key][group.name()].as_f64() {
                    let accuracy = accuracy.unwrap_or_else(|| panic!("{key}: {}", group.name()));
                    add(seen, self.name, key, accuracy, want);
                } else {
                    // Nothing to average: no class of the group, or none with test images.
                    assert_eq!(images, 0, "{}: {key} of {}", self.name, group.name());
                }
            }
        }
    }

    fn smoothing(&self, seen: &mut Deviations) {
        let cases = self.want["label_aware_smoothing"].as_array();
        for (j, case) in cases.into_iter().flatten().enumerate() {
            let place = format!("{} las{j}", self.name);
            let smoothing = LabelAwareSmoothing {
                shape: shape(case),
                head: number(case, "smooth_head"),
                tail: number(case, "smooth_tail"),
            };
            let per_class = smoothing.per_class(&self.counts());
            let eps = per_class.iter().map(|&x| x as f32).collect();
            let eps = HostTensor::f32(&[per_class.len()], eps).unwrap();
            let smooth = self.tensors.at(&format!("las{j}.smooth"));
            seen.tensor("smoothing", &eps, smooth, 1e-6, &place);
            let gradient = self.tensors.at(&format!("las{j}.grad_logits"));
            let rows = gradient.shape[0];
            let logits = fixtures::head(self.tensors.at("logits"), rows);
            let labels = fixtures::head(self.tensors.at("labels"), rows);
            let loss = LabelAwareLoss::new(&smoothing, &self.counts()).unwrap();
            let got = crate::gradients::of_logits(&loss, &logits, &labels);
            add(seen, &place, "smoothed loss", got["loss"].to_f64()[0], number(case, "loss"));
            let tolerance = 1e-6 * fixtures::largest(gradient);
            seen.tensor("its gradient", &got["grad_logits"], gradient, tolerance, &place);
        }
    }

    fn mixup(&self, seen: &mut Deviations) {
        if !self.want["mixup"].is_object() {
            return;
        }
        let at = |name: &str| self.tensors.at(&format!("mixup.{name}"));
        let inputs = ["x", "perm", "labels", "logits"];
        let inputs: HostTensors = inputs.map(|name| (name.to_owned(), at(name).clone())).into();
        let (labels, perm) = (at("labels").as_i64().unwrap(), at("perm").as_i64().unwrap());
        let partners: Vec<i64> = perm.iter().map(|&i| labels[i as usize]).collect();
        assert_eq!(at("labels_a").as_i64().unwrap(), labels, "{}: labels_a", self.name);
        assert_eq!(at("labels_b").as_i64().unwrap(), partners, "{}: labels_b", self.name);
        let got = probe::mixup(&inputs, number(&self.want["mixup"], "lambda_")).unwrap();
        let loss = number(&self.want["mixup"], "loss");
        add(seen, self.name, "mixup, loss", got["loss"].to_f64()[0], loss);
        for (what, name) in [("mixup, images", "mixed"), ("mixup, gradient", "grad_logits")] {
            let tolerance = 1e-6 * fixtures::largest(at(name));
            seen.tensor(what, &got[name], at(name), tolerance, self.name);
        }
    }

    fn weights(&self, seen: &mut Deviations) {
        let table = &self.want["effective_number_weights"];
        for entry in table["entries"].as_array().into_iter().flatten() {
            let name = entry["counts"].as_str().unwrap();
            let place = format!("{} {name}", self.name);
            let counts = counts(&table["counts"][name]);
            let beta = number(entry, "beta");
            let weights = EffectiveNumber::new(beta).unwrap().weights(&counts);
            let expected = numbers(&entry["weights"]);
            assert_eq!(weights.len(), expected.len(), "{place}");
            for (got, want) in weights.iter().zip(&expected) {
                seen.add("weight, relative", (got - want).abs() / want, 1e-6, &place);
            }
            // w_c = mean(E) / E_c: the weights give the effective numbers of the ends up to their mean.
            let last = weights.len() - 1;
            let ends = ["effective_number_first", "effective_number_last"];
            let [first_e, last_e] = ends.map(|key| number(entry, key));
            let ratio = weights[last] / weights[0];
            add(seen, &place, "ratio of effective numbers", ratio, first_e / last_e);
            let n = [counts.as_slice()[0], counts.as_slice()[last]];
            for (n, want) in n.into_iter().zip([first_e, last_e]) {
                let sum: f64 = (0..n).map(|k| beta.powf(k as f64)).sum();
                add(seen, &place, "effective number", sum, want);
            }
        }
    }
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

pub(crate) static SCHEDULES: LazyLock<()> = LazyLock::new(|| {
    let mut seen = Deviations::default();
    for (file, _) in fixtures::entries("schedules") {
        for case in fixtures::json(file).iter().flat_map(|v| v.as_array().expect("a list")) {
            schedule(file, case, &mut seen);
        }
    }
    seen.conclude("schedules", "schedules");
});

#[test]
fn schedules() {
    LazyLock::force(&SCHEDULES);
}

/// The set that the reference calls `name`; the rest of them goes by ImageNet's rule.
fn data_set(name: &str) -> DataSetId {
    let sets = [DataSetId::Cifar10, DataSetId::Cifar100, DataSetId::Inat18, DataSetId::PlacesLt];
    let named = sets.into_iter().find(|set| set.name().starts_with(name));
    named.unwrap_or(DataSetId::ImagenetLt)
}

fn schedule(file: &str, case: &Value, seen: &mut Deviations) {
    let name = case["dataset"].as_str().unwrap();
    let cifar = name.starts_with("cifar");
    let place = format!("{file} {name}, {} epochs", size(case, "epochs"));
    let intended = numbers(&case["lr_intended"]);
    // Where the list itself drops: the read-me gives these in words only.
    let drops = (1..intended.len()).filter(|&e| cifar && intended[e] < 0.5 * intended[e - 1]);
    let mut optim = OptimSpec {
        epochs: size(case, "epochs"),
        batch_size: 128,
        lr: number(case, "lr"),
        momentum: 0.9,
        weight_decay: 5e-4,
        warmup_epochs: size(case, "warm_epochs"),
        schedule: if cifar { ScheduleKind::Step } else { ScheduleKind::Cosine },
        milestones: drops.collect(),
        lr_mode: LearningRateMode::AsDescribed,
    };
    assert_eq!(case["first_epoch"].as_u64().unwrap_or(1), 1, "{place}: epochs count from 1");
    assert_eq!(intended.len(), optim.epochs, "{place}: a rate per epoch");
    for (e, want) in intended.iter().enumerate() {
        let got = learning_rate(&optim, data_set(name), e + 1);
        seen.add("as described, relative", (got - want).abs() / want, 1e-12, &place);
    }
    optim.lr_mode = LearningRateMode::AsReleased;
    let released = &case["effective_lr_in_released_code"];
    for e in (0..intended.len()).filter(|_| !released.is_null()) {
        let want = released.get("constant").unwrap_or(&released[e]).as_f64().unwrap();
        let got = learning_rate(&optim, data_set(name), e + 1);
        seen.add("as released, relative", (got - want).abs() / want, 1e-12, &place);
    }
}
