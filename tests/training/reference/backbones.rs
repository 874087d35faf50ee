//! `backbone_names.json` and `backbone_*.safetensors`: names, shapes, counts and outputs of the encoders.

use std::sync::LazyLock;

use rescom::{
    run::{Arch, EncoderSpec},
    train::{HostTensor, HostTensors, eval::probe::EncoderProbe, state_names},
};
use serde_json::Value;

use super::fixtures::{self, Deviations, File, largest};

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

fn sizes(value: &Value) -> Vec<usize> {
    value.as_array().unwrap().iter().map(|n| n.as_u64().unwrap() as usize).collect()
}

/// `backbone_*.json`: names, shapes and counts.
pub(crate) static NAMES: LazyLock<()> = LazyLock::new(|| {
    let tables = fixtures::entries("backbone_").into_iter().filter(|(n, _)| n.ends_with(".json"));
    for names in tables.filter_map(|(name, _)| fixtures::json(name)) {
        let mut checked = 0;
        for (full, count) in names["parameter_counts"].as_object().unwrap() {
            let name = full.rsplit('/').next().unwrap();
            let Ok(arch) = Arch::parse(name) else {
                println!("{full}: counted by the reference, not built here");
                continue;
            };
            let is_parameter = |n: &str| n.ends_with(".weight") || n.ends_with(".bias");
            let ours = entries(arch);
            let parameters = ours.iter().filter(|(n, _)| is_parameter(n));
            let ours: usize = parameters.map(|(_, s)| s.iter().product::<usize>()).sum();
            assert_eq!(Some(ours as u64), count.as_u64(), "{full}");
            checked += 1;
        }
        for (name, model) in names["models"].as_object().unwrap() {
            let seed = names["seed"].as_u64().unwrap() as u32;
            check_names(Arch::parse(name).unwrap(), model, seed);
            checked += 1;
        }
        assert!(checked > 0, "no network of the list of names is known here");
    }
});

#[test]
fn names_shapes_and_counts() {
    LazyLock::force(&NAMES);
}

/// Entries of the encoder and their shapes, in order.
fn entries(arch: Arch) -> Vec<(String, Vec<usize>)> {
    let all = state_names(&EncoderSpec::new(arch, 3), 1, None).unwrap();
    all.into_iter()
        .filter_map(|(n, shape)| Some((n.strip_prefix("encoder.")?.to_owned(), shape)))
        .collect()
}

fn check_names(arch: Arch, model: &Value, seed: u32) {
    let ours = entries(arch);
    let theirs = model["entries"].as_array().unwrap();
    assert_eq!(ours.len(), theirs.len(), "{}", arch.name());
    let mut filled_values = model["first4"].as_object().unwrap().clone();
    for (k, ((name, shape), entry)) in ours.iter().zip(theirs).enumerate() {
        assert_eq!(entry["k"].as_u64(), Some(k as u64));
        assert_eq!(entry["name"], **name);
        assert_eq!(shape, &sizes(&entry["shape"]), "{name}");
        if let Some(first) = filled_values.remove(name) {
            let ours = filled(seed, k as u32, name, shape).to_f64();
            let theirs = first.as_array().unwrap().iter().map(|v| v.as_f64().unwrap());
            assert!(theirs.zip(&ours).all(|(a, b)| a == *b), "{}: values of {name}", arch.name());
        }
    }
    assert!(filled_values.is_empty(), "{}: no entries {filled_values:?}", arch.name());
}

pub(crate) static ENCODERS: LazyLock<()> = LazyLock::new(|| {
    let mut seen = Deviations::default();
    for (name, entry) in fixtures::entries("backbone_") {
        if name.ends_with(".json") {
            continue;
        }
        let Some(want) = File::open(name) else { continue };
        let arch = arch_of(name, entry);
        let seed = entry["seed"].as_u64().unwrap() as u32;
        for (tag, sub) in entry["cases"].as_object().unwrap() {
            let shape = sizes(&sub["input"]);
            let images = input(seed, &shape);
            if let Some(first) = sub["input_first4"].as_array() {
                let ours = images.to_f64();
                assert!(
                    first.iter().zip(&ours).all(|(a, b)| a.as_f64() == Some(*b)),
                    "{name} {tag}"
                );
            }
            let spec = EncoderSpec::new(arch, shape[1]);
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
                let case = Case { name, tag, seed, images: images.clone(), want: &want };
                case.check(&mut probe, &mut seen);
            }
        }
        want.conclude();
    }
    seen.conclude("backbone_*", "backbone_");
});

#[test]
fn encoders() {
    LazyLock::force(&ENCODERS);
}

/// The network of the file `name`: what the manifest says, or the longest name of one that follows
/// `backbone_`.
fn arch_of(name: &str, entry: &Value) -> Arch {
    if let Some(arch) = entry["arch"].as_str() {
        return Arch::parse(arch).unwrap();
    }
    let rest = name.trim_start_matches("backbone_");
    let known = Arch::ALL.into_iter().filter(|arch| rest.starts_with(arch.name()));
    known.max_by_key(|arch| arch.name().len()).unwrap_or_else(|| panic!("{name}: which network?"))
}

struct Case<'a> {
    name: &'a str,
    tag: &'a str,
    seed: u32,
    images: HostTensor,
    want: &'a File,
}

impl Case<'_> {
    fn check(&self, probe: &mut EncoderProbe, seen: &mut Deviations) {
        let place = format!("{} {}", self.name, self.tag);
        let at = |what: &str| self.want.at(&format!("{}.{what}", self.tag));
        let got = probe.run(&self.images, false, None).unwrap();
        seen.tensor("features, eval", &got.features, at("features_eval"), 2e-5, &place);
        for (stage, mean, shape) in &got.stages {
            let expected = at(&format!("{stage}_channel_mean"));
            seen.tensor("channel means, eval", mean, expected, 2e-5, &place);
            let expected = at(&format!("{stage}_shape")).as_i64().unwrap();
            assert_eq!(shape, expected, "{place}: shape of {stage}");
        }
        let names = self.want.below(&format!("{}.", self.tag));
        let of_training = |n: &&String| {
            ["features_train", "after_train.", "grad"].iter().any(|start| n.starts_with(start))
        };
        let names: Vec<&String> = names.iter().filter(of_training).collect();
        if !names.is_empty() {
            self.check_training(probe, &names, seen);
        }
    }

    /// Every tensor `names` of this tag against one pass in training mode.
    fn check_training(&self, probe: &mut EncoderProbe, names: &[&String], seen: &mut Deviations) {
        let place = format!("{} {}", self.name, self.tag);
        let at = |what: &str| self.want.at(&format!("{}.{what}", self.tag));
        let features = at("features_train");
        let n = features.len();
        let r = (0..n).map(|i| (2.0 * u(self.seed, 2_000_000, i) - 1.0) as f32).collect();
        let r = HostTensor::f32(&features.shape, r).unwrap();
        let mut got = probe.run(&self.images, true, Some(&r)).unwrap();
        seen.tensor("features, train", &got.features, features, 2e-5, &place);
        let after = probe.state().unwrap();
        for name in names.iter().filter(|name| **name != "features_train") {
            let place = format!("{place} {name}");
            if let Some(entry) = name.strip_prefix("after_train.") {
                let value = after.get(&format!("encoder.{entry}"));
                let value = value.unwrap_or_else(|| panic!("{place}: no such entry here"));
                seen.tensor("running values", value, at(name), 2e-6, &place);
            } else {
                let gradient = got.gradients.remove(*name);
                let gradient = gradient.unwrap_or_else(|| panic!("{place}: no such gradient here"));
                let tolerance = 1e-4 * largest(at(name));
                seen.tensor("gradients", &gradient, at(name), tolerance, &place);
            }
        }
    }
}
