//! Where the reference values are, and how deviations are counted.

use std::{collections::BTreeMap, fs, path::PathBuf, sync::OnceLock};

use rescom::train::{HostTensor, HostTensors, from_safetensors};
use serde_json::Value;

/// The directory: `RESCOM_FIXTURES`, relative to the working directory, or the repository's own copy.
pub(crate) fn dir() -> PathBuf {
    std::env::var_os("RESCOM_FIXTURES")
        .map_or_else(|| PathBuf::from("tests/fixtures"), PathBuf::from)
}

/// Only the repository's own lean copy may lack files that its manifest names.
pub(crate) fn is_lean_copy() -> bool {
    std::env::var_os("RESCOM_FIXTURES").is_none()
}

pub(crate) fn manifest() -> &'static Value {
    static MANIFEST: OnceLock<Value> = OnceLock::new();
    MANIFEST.get_or_init(|| {
        let path = dir().join("manifest.json");
        let text = fs::read_to_string(&path)
            .unwrap_or_else(|e| panic!("cannot read {}: {e}", path.display()));
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
    })
}

/// Manifest entries whose name starts with `prefix`.
pub(crate) fn entries(prefix: &str) -> Vec<(&'static str, &'static Value)> {
    let files = manifest()["files"].as_object().expect("manifest.files is an object");
    files.iter().filter(|(k, _)| k.starts_with(prefix)).map(|(k, v)| (k.as_str(), v)).collect()
}

/// The tensors of `name`; `None` if the lean copy leaves the file out.
pub(crate) fn tensors(name: &str) -> Option<HostTensors> {
    let path = dir().join(name);
    match fs::read(&path) {
        Ok(bytes) => Some(from_safetensors(name, &bytes).unwrap()),
        Err(_) if is_lean_copy() => None,
        Err(e) => panic!("cannot read {}, which the manifest names: {e}", path.display()),
    }
}

/// The JSON file `name`; `None` if the lean copy leaves it out.
pub(crate) fn json(name: &str) -> Option<Value> {
    let path = dir().join(name);
    match fs::read_to_string(&path) {
        Ok(text) => Some(serde_json::from_str(&text).unwrap()),
        Err(_) if is_lean_copy() => None,
        Err(e) => panic!("cannot read {}: {e}", path.display()),
    }
}

pub(crate) fn number(value: &Value, key: &str) -> f64 {
    value[key].as_f64().unwrap_or_else(|| panic!("manifest: `{key}` is not a number in {value}"))
}

pub(crate) fn size(value: &Value, key: &str) -> usize {
    value[key].as_u64().unwrap_or_else(|| panic!("manifest: `{key}` is not a size in {value}"))
        as usize
}

pub(crate) fn counts(value: &Value) -> rescom::longtail::ClassCounts {
    let list = value["cls_num"].as_array().expect("manifest: cls_num is a list");
    let counts = list.iter().map(|n| n.as_u64().unwrap()).collect();
    rescom::longtail::ClassCounts::new(counts).unwrap()
}

/// Largest deviation per quantity, with its tolerance and place.
#[derive(Default)]
pub(crate) struct Deviations(BTreeMap<String, (f64, f64, String)>);

impl Deviations {
    /// Records |difference| <= tolerance of `quantity`; NaN counts as infinite.
    pub(crate) fn add(&mut self, quantity: &str, difference: f64, tolerance: f64, place: &str) {
        let difference = if difference.is_nan() { f64::INFINITY } else { difference };
        let ratio = |d: f64, t: f64| if t == 0.0 { d } else { d / t };
        let seen = self.0.entry(quantity.into()).or_insert((0.0, tolerance, place.into()));
        if ratio(difference, tolerance) > ratio(seen.0, seen.1) {
            *seen = (difference, tolerance, place.into());
        }
    }

    /// Largest absolute difference of two tensors of the same shape.
    pub(crate) fn tensor(
        &mut self,
        quantity: &str,
        got: &HostTensor,
        want: &HostTensor,
        tolerance: f64,
        place: &str,
    ) {
        assert_eq!(got.shape, want.shape, "{place}: shape of {quantity}");
        self.add(quantity, largest_difference(got, want), tolerance, place);
    }

    /// Prints the table of the files named `prefix*` and fails if anything is beyond its tolerance, or if
    /// nothing was checked although the manifest names such files.
    pub(crate) fn conclude(self, kind: &str, prefix: &str) {
        if self.0.is_empty() {
            assert!(
                entries(prefix).is_empty() && !is_lean_copy(),
                "{kind}: no reference file of this kind was checked"
            );
            println!("\n{kind}: the manifest of this set names no such file");
            return;
        }
        println!("\n{kind}\n{:32} {:>12} {:>12}  where", "quantity", "largest", "tolerance");
        for (quantity, (d, t, place)) in &self.0 {
            println!("{quantity:32} {d:12.3e} {t:12.3e}  {place}");
        }
        let bad: Vec<_> = self.0.iter().filter(|(_, (d, t, _))| d > t).collect();
        assert!(bad.is_empty(), "{kind}: beyond tolerance: {bad:?}");
    }
}

pub(crate) fn largest_difference(got: &HostTensor, want: &HostTensor) -> f64 {
    let (got, want) = (got.to_f64(), want.to_f64());
    assert_eq!(got.len(), want.len());
    let difference = |(a, b): (&f64, &f64)| if a.is_nan() { f64::NAN } else { (a - b).abs() };
    got.iter().zip(&want).map(difference).fold(0.0, |m, d| if d.is_nan() { d } else { d.max(m) })
}

pub(crate) fn largest(tensor: &HostTensor) -> f64 {
    tensor.to_f64().iter().fold(0.0, |m, x| x.abs().max(m))
}
