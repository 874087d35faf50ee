//! `train_step_*`: whole training steps of ResCom from a given state.

use rescom::train::{
    HostTensor, HostTensors, Images, Trainer,
    config::{Arch, EncoderSpec, Precision, SgdSpec, TrainerSpec},
};
use serde_json::Value;

use crate::{
    fixtures::{self, Deviations, number},
    losses,
};

/// Tolerances of the reference's read-me, section 3: (loss of step 1, 2, 3).
fn loss_tolerances(lr: f64) -> [f64; 3] {
    if lr < 0.01 { [1e-5, 1e-4, 1e-3] } else { [1e-5, 1e-3, 2e-2] }
}

#[test]
fn training_steps() {
    let mut seen = Deviations::default();
    for (name, case) in fixtures::entries("train_step_") {
        let files: Vec<&str> =
            case["files"].as_array().unwrap().iter().map(|f| f.as_str().unwrap()).collect();
        let file = |part: &str| {
            let found = files.iter().find(|f| f.contains(part));
            found.and_then(|f| fixtures::tensors(f))
        };
        let (Some(batches), Some(state0)) = (file("_batches."), file("_state0.")) else { continue };
        for key in case.as_object().unwrap().keys().filter(|k| k.starts_with("run_lr")) {
            let tag = key.trim_start_matches("run_");
            let run = Run { name, tag, case, lr: number(&case[key], "lr"), batches: &batches };
            run.check(&state0, &file, &mut seen);
        }
    }
    seen.conclude("train_step_*", "train_step_");
}

struct Run<'a> {
    name: &'a str,
    tag: &'a str,
    case: &'a Value,
    lr: f64,
    batches: &'a HostTensors,
}

fn images(tensor: &HostTensor) -> Images<'_> {
    let shape = tensor.shape.clone().try_into().expect("images have four sizes");
    Images { values: tensor.as_f32().expect("images are float32"), shape }
}

impl Run<'_> {
    fn trainer(&self, state0: &HostTensors) -> Trainer {
        let arch = Arch::parse(self.case["arch"].as_str().unwrap()).unwrap();
        let channels = self.batches["images0"].shape[1];
        let spec = TrainerSpec {
            encoder: EncoderSpec::new(arch, channels),
            method: losses::method(self.case),
            sgd: SgdSpec {
                momentum: number(self.case, "momentum"),
                weight_decay: number(self.case, "weight_decay"),
            },
            precision: Precision::F32,
            channels_last: false,
        };
        let mut trainer = Trainer::new(&spec, &fixtures::counts(self.case), 0, "cpu").unwrap();
        trainer.load_model(state0).unwrap();
        trainer.load_queue(state0).unwrap();
        trainer
    }

    fn check(
        &self,
        state0: &HostTensors,
        file: &dyn Fn(&str) -> Option<HostTensors>,
        seen: &mut Deviations,
    ) {
        let mut trainer = self.trainer(state0);
        let place = format!("{} {}", self.name, self.tag);
        let losses = self.batches[&format!("losses_{}", self.tag)].to_f64();
        let steps = losses.len() / 3;
        for s in 0..steps {
            let labels = &self.batches[&format!("labels{s}")];
            let labels = labels.as_i64().unwrap();
            let batch = images(&self.batches[&format!("images{s}")]);
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
                seen.add(&what, (out.grad_norm - norm).abs() / norm, 10.0 * tolerance, &place);
            }
            if let Some(want) = file(&format!("_state{}_{}.", s + 1, self.tag)) {
                self.check_state(&trainer.state().unwrap(), &want, s + 1, seen);
            }
        }
        if let Some(want) = self.batches.get(&format!("eval_logits_{}", self.tag)) {
            let got = trainer.logits(images(&self.batches["eval_images"])).unwrap();
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
                seen.tensor(&what, got, want, tolerance, name);
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
