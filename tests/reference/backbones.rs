//! `backbone_names.json` and `backbone_*.safetensors`: names, shapes, counts and outputs of the encoders.

use rescom::train::{
    HostTensor, HostTensors,
    config::{Arch, EncoderSpec},
    probe::EncoderProbe,
    state_names,
};
use serde_json::Value;

use crate::fixtures::{self, Deviations, largest};

/// The reference's hash: wrapping 32-bit arithmetic.
fn mix(mut x: u32) -> u32 {
    x ^= x >> 16;
    x = x.wrapping_mul(0x7feb_352d);
    x ^= x >> 15;
    x = x.wrapping_mul(0x846c_a68b);
    x ^ (x >> 16)
}

/// u(k, i) in 0..1.
fn u(seed: u32, k: u32, i: usize) -> f64 {
    f64::from(mix((i as u32).wrapping_add(mix(k.wrapping_add(seed))))) / 4_294_967_296.0
}

fn filled(seed: u32, k: u32, name: &str, shape: &[usize]) -> HostTensor {
    let n = shape.iter().product();
    let fan: usize = shape.iter().skip(1).product();
    let value = |i| {
        let u = u(seed, k, i);
        match name.rsplit('.').next() {
            Some("weight") if shape.len() == 4 => (2.0 * u - 1.0) * (6.0 / fan as f64).sqrt(),
            Some("running_var") => 0.75 + 0.5 * u,
            Some("running_mean") | Some("bias") => 0.1 * (2.0 * u - 1.0),
            Some("weight") => 0.5 + 0.4 * u,
            other => panic!("no rule for {other:?} of {name}"),
        }
    };
    HostTensor::f32(shape, (0..n).map(|i| value(i) as f32).collect()).unwrap()
}

fn input(seed: u32, shape: &[usize]) -> HostTensor {
    let [n, c, h, w] = shape[..] else { panic!("input shape {shape:?}") };
    let mut values = Vec::with_capacity(n * c * h * w);
    for j in 0..n {
        for channel in 0..c {
            for y in 0..h {
                for x in 0..w {
                    let noise = 0.8 * (2.0 * u(seed, 1_000_000, values.len()) - 1.0);
                    let angle = 0.15 * (channel + 1) as f64 * y as f64
                        + 0.11 * (j + 1) as f64 * x as f64
                        + 0.5 * j as f64;
                    values.push((1.2 * angle.sin() + noise) as f32);
                }
            }
        }
    }
    HostTensor::f32(shape, values).unwrap()
}

fn names() -> Option<Value> {
    fixtures::entries("backbone_names").first()?;
    fixtures::json("backbone_names.json")
}

fn sizes(value: &Value) -> Vec<usize> {
    value.as_array().unwrap().iter().map(|n| n.as_u64().unwrap() as usize).collect()
}

#[test]
fn names_shapes_and_counts() {
    let Some(names) = names() else {
        assert!(fixtures::entries("backbone_").is_empty(), "backbone_names.json is missing");
        return;
    };
    let mut checked = 0;
    for arch in Arch::ALL {
        let spec = EncoderSpec::new(arch, 3);
        let ours = state_names(&spec, 1, None).unwrap();
        let ours: Vec<_> = ours.iter().filter(|(n, _)| n.starts_with("encoder.")).collect();
        let is_parameter = |n: &str| n.ends_with(".weight") || n.ends_with(".bias");
        let parameters = ours.iter().filter(|(n, _)| is_parameter(n));
        let count: usize = parameters.map(|(_, s)| s.iter().product::<usize>()).sum();
        for family in ["cifar", "imagenet"] {
            if let Some(want) =
                names["parameter_counts"][format!("{family}/{}", arch.name())].as_u64()
            {
                assert_eq!(count as u64, want, "{}", arch.name());
                checked += 1;
            }
        }
        let Some(entries) = names["models"][arch.name()]["entries"].as_array() else { continue };
        assert_eq!(ours.len(), entries.len(), "{}", arch.name());
        for ((name, shape), entry) in ours.iter().zip(entries) {
            assert_eq!(name.trim_start_matches("encoder."), entry["name"].as_str().unwrap());
            assert_eq!(shape, &sizes(&entry["shape"]), "{name}");
        }
        checked += 1;
    }
    assert!(checked > 0, "no network of backbone_names.json is known here");
}

#[test]
fn encoders() {
    let mut seen = Deviations::default();
    for (name, case) in fixtures::entries("backbone_") {
        let Some(arch) =
            name.strip_prefix("backbone_").and_then(|n| n.strip_suffix(".safetensors"))
        else {
            continue;
        };
        let Some(want) = fixtures::tensors(name) else { continue };
        let seed = case["seed"].as_u64().unwrap() as u32;
        for (tag, sub) in case["cases"].as_object().unwrap() {
            let shape = sizes(&sub["input"]);
            let spec = EncoderSpec::new(Arch::parse(arch).unwrap(), shape[1]);
            let state: HostTensors = state_names(&spec, 1, None)
                .unwrap()
                .into_iter()
                .filter(|(n, _)| n.starts_with("encoder."))
                .enumerate()
                .filter(|(_, (n, _))| !n.ends_with("num_batches_tracked"))
                .map(|(k, (n, s))| (n.clone(), filled(seed, k as u32, &n, &s)))
                .collect();
            for channels_last in [false, true] {
                let mut probe = EncoderProbe::new(&spec, &state, channels_last).unwrap();
                let case = Case { arch, tag, seed, images: input(seed, &shape), want: &want };
                case.check(&mut probe, &mut seen);
            }
        }
    }
    seen.conclude("backbone_*", "backbone_");
}

struct Case<'a> {
    arch: &'a str,
    tag: &'a str,
    seed: u32,
    images: HostTensor,
    want: &'a HostTensors,
}

impl Case<'_> {
    fn check(&self, probe: &mut EncoderProbe, seen: &mut Deviations) {
        let place = format!("{} {}", self.arch, self.tag);
        let want = |what: &str| self.want.get(&format!("{}.{what}", self.tag));
        let got = probe.run(&self.images, false, None).unwrap();
        seen.tensor("features, eval", &got.features, want("features_eval").unwrap(), 2e-5, &place);
        for (stage, mean, shape) in &got.stages {
            let expected = want(&format!("{stage}_channel_mean")).unwrap();
            seen.tensor("channel means, eval", mean, expected, 2e-5, &place);
            let expected = want(&format!("{stage}_shape")).unwrap().as_i64().unwrap();
            assert_eq!(shape, expected, "{place}: shape of {stage}");
        }
        let Some(features) = want("features_train") else { return };
        let width = features.shape[1];
        let n = features.shape[0] * width;
        let r = (0..n).map(|i| (2.0 * u(self.seed, 2_000_000, i) - 1.0) as f32).collect();
        let r = HostTensor::f32(&features.shape, r).unwrap();
        let got = probe.run(&self.images, true, Some(&r)).unwrap();
        seen.tensor("features, train", &got.features, features, 2e-5, &place);
        let after = probe.state().unwrap();
        for (name, value) in &after {
            let name = name.trim_start_matches("encoder.");
            if let Some(expected) = want(&format!("after_train.{name}")) {
                seen.tensor("running values", value, expected, 2e-6, &format!("{place} {name}"));
            }
        }
        for (name, gradient) in &got.gradients {
            if let Some(expected) = want(name) {
                let tolerance = 1e-4 * largest(expected);
                seen.tensor("gradients", gradient, expected, tolerance, &format!("{place} {name}"));
            }
        }
    }
}
