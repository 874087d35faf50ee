//! `train_step_*`: whole training steps of ResCom from a given state.

use std::sync::LazyLock;

use rescom::{
    run::{Arch, EncoderSpec, Precision, SgdSpec, TrainerSpec},
    train::{HostTensor, HostTensors, Images, Trainer},
};
use serde_json::Value;

use super::{
    fixtures::{self, Deviations, File, number, size},
    losses,
};

/// Tolerances of the reference's read-me, section 3: (loss of step 1, 2, 3).
fn loss_tolerances(lr: f64) -> [f64; 3] {
    if lr < 0.01 { [1e-5, 1e-4, 1e-3] } else { [1e-5, 1e-3, 2e-2] }
}

pub(crate) static STEPS: LazyLock<()> = LazyLock::new(|| {
    let mut seen = Deviations::default();
    for (name, case) in fixtures::entries("train_step_") {
        check_entry(name, case, &mut seen);
    }
    seen.conclude("train_step_*", "train_step_");
});

#[test]
fn training_steps() {
    LazyLock::force(&STEPS);
}

fn check_entry(name: &str, case: &Value, seen: &mut Deviations) {
    let listed = fixtures::names(case, "files");
    let open = |part: &str| {
        let found = listed.iter().find(|file| file.contains(part));
        File::open(found.unwrap_or_else(|| panic!("{name}: no `{part}` among {listed:?}")))
    };
    let (Some(batches), Some(state0)) = (open("_batches."), open("_state0.")) else { return };
    let runs: Vec<&String> =
        case.as_object().unwrap().keys().filter(|k| k.starts_with("run_")).collect();
    assert!(!runs.is_empty(), "{name}: no run_* in the manifest");
    for key in runs {
        let tag = key.trim_start_matches("run_");
        let run = Run {
            name,
            tag,
            case,
            lr: number(&case[key], "lr"),
            batches: &batches,
            listed: &listed,
        };
        run.check(state0.all(), seen);
    }
    batches.conclude();
}

struct Run<'a> {
    name: &'a str,
    tag: &'a str,
    case: &'a Value,
    lr: f64,
    batches: &'a File,
    /// Files of the entry.
    listed: &'a [String],
}

fn images(tensor: &HostTensor) -> Images<'_> {
    let shape = tensor.shape.clone().try_into().expect("images have four sizes");
    Images { values: tensor.as_f32().expect("images are float32"), shape }
}

impl Run<'_> {
    fn trainer(&self, state0: &HostTensors) -> Trainer {
        let arch = Arch::parse(self.case["arch"].as_str().unwrap()).unwrap();
        let channels = self.batches.at("images0").shape[1];
        let (loss, contrast) = losses::method(self.case);
        let spec = TrainerSpec {
            encoder: EncoderSpec::new(arch, channels),
            loss,
            contrast,
            projection_dim: size(self.case, "dim"),
            mixup_alpha: 1.0,
            sgd: SgdSpec {
                momentum: number(self.case, "momentum"),
                weight_decay: number(self.case, "weight_decay"),
            },
            precision: Precision::Fp32,
            channels_last: false,
        };
        let mut trainer = Trainer::new(&spec, &fixtures::counts(self.case), 0, "cpu").unwrap();
        trainer.load_model(state0).unwrap();
        trainer.load_queue(state0).unwrap();
        let loaded = trainer.state().unwrap();
        for (name, value) in state0 {
            assert_eq!(loaded.get(name), Some(value), "{}: {name} of state0", self.name);
        }
        trainer
    }

    /// The state that the reference holds after `step`, if it holds one.
    fn state_after(&self, step: usize) -> Option<File> {
        let part = format!("_state{step}_{}.", self.tag);
        File::open(self.listed.iter().find(|file| file.contains(&part))?)
    }

    fn check(&self, state0: &HostTensors, seen: &mut Deviations) {
        let mut trainer = self.trainer(state0);
        let place = format!("{} {}", self.name, self.tag);
        let losses = self.batches.at(&format!("losses_{}", self.tag)).to_f64();
        let steps = losses.len() / 3;
        for s in 0..steps {
            let labels = self.batches.at(&format!("labels{s}")).as_i64().unwrap();
            let batch = images(self.batches.at(&format!("images{s}")));
            let half = &labels[..labels.len() / 2];
            let out = trainer.step(batch, half, self.lr).unwrap();
            assert!(out.applied);
            let tolerance = loss_tolerances(self.lr)[s.min(2)];
            for (got, want) in [out.loss_cls, out.loss_con, out.loss].iter().zip(&losses[3 * s..]) {
                let what = format!("loss, step {}, {}", s + 1, self.tag);
                seen.add(&what, (got - want).abs(), tolerance, &place);
            }
            if let Some(norm) =
                self.case[format!("run_{}", self.tag)]["grad_l2_norm_f64"][s].as_f64()
            {
                // Not in the read-me: ten times the relative tolerance of the losses.
                let what = format!("gradient norm, step {}, {}", s + 1, self.tag);
                seen.note(&what, (out.grad_norm - norm).abs() / norm, 10.0 * tolerance, &place);
            }
            if let Some(want) = self.state_after(s + 1) {
                self.check_state(&trainer.state().unwrap(), want.all(), s + 1, seen);
            }
        }
        if let Some(want) = self.batches.get(&format!("eval_logits_{}", self.tag)) {
            let got = trainer.logits(images(self.batches.at("eval_images"))).unwrap();
            let got = HostTensor::f32(&want.shape, got.into_raw_vec_and_offset().0).unwrap();
            seen.tensor("eval logits", &got, want, 3e-2, &place);
        }
    }

    fn check_state(
        &self,
        got: &HostTensors,
        want: &HostTensors,
        step: usize,
        seen: &mut Deviations,
    ) {
        let (largest, percentile) = if self.lr < 0.01 { (3e-4, 3e-5) } else { (1e-4, 1e-5) };
        let place = format!("{} {}", self.name, self.tag);
        let mut differences = vec![];
        for (name, want) in want {
            let got = got.get(name).unwrap_or_else(|| panic!("{place}: state lacks `{name}`"));
            assert_eq!(got.shape, want.shape, "{place}: {name}");
            if want.as_i64().is_some() {
                assert_eq!(got, want, "{place}: {name} after step {step}");
            } else if name.contains("running_") || name == "queue_list" {
                let what = format!("buffers after step {step}, {}", self.tag);
                // No tolerance in the read-me; `all_state*` there is up to five times the parameters'.
                let tolerance = 5.0 * largest * fixtures::largest(want).max(1.0);
                seen.note(&what, fixtures::largest_difference(got, want), tolerance, name);
            } else {
                let pairs = got.to_f64().into_iter().zip(want.to_f64());
                differences.extend(pairs.map(|(a, b)| (a - b).abs()));
            }
        }
        differences.sort_by(f64::total_cmp);
        let last = differences.len() - 1;
        let what = |q: &str| format!("parameters, {q}, step {step}, {}", self.tag);
        seen.add(&what("largest"), differences[last], largest, &place);
        seen.add(&what("99th pct"), differences[last * 99 / 100], percentile, &place);
    }
}
