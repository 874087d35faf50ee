//! Reference tensors, none of which may stay unread, and how deviations are counted.

use std::{cell::RefCell, collections::BTreeMap, collections::BTreeSet};

use rescom::train::{HostData, HostTensor, HostTensors, from_safetensors};
use serde_json::Value;

pub(crate) use crate::place::{bytes, entries, is_lean_copy, number, size};

/// The tensors of one file. Each must be asked for before [`conclude`](Self::conclude).
pub(crate) struct File {
    name: String,
    tensors: HostTensors,
    unread: RefCell<BTreeSet<String>>,
}

impl File {
    /// The file `name`; `None` if the lean copy leaves it out.
    pub(crate) fn open(name: &str) -> Option<Self> {
        let tensors = from_safetensors(name, &bytes(name)?).unwrap();
        let unread = RefCell::new(tensors.keys().cloned().collect());
        Some(Self { name: name.to_owned(), tensors, unread })
    }

    pub(crate) fn get(&self, tensor: &str) -> Option<&HostTensor> {
        self.unread.borrow_mut().remove(tensor);
        self.tensors.get(tensor)
    }

    pub(crate) fn at(&self, tensor: &str) -> &HostTensor {
        self.get(tensor).unwrap_or_else(|| panic!("{}: `{tensor}` is missing", self.name))
    }

    /// All of them, which counts as asking for each: for what takes a whole state.
    pub(crate) fn all(&self) -> &HostTensors {
        self.unread.borrow_mut().clear();
        &self.tensors
    }

    /// Names that start with `prefix`, without it.
    pub(crate) fn below(&self, prefix: &str) -> Vec<String> {
        self.tensors.keys().filter_map(|n| n.strip_prefix(prefix)).map(str::to_owned).collect()
    }

    /// Fails if a tensor was never asked for: a name that no test knows.
    pub(crate) fn conclude(&self) {
        let unread = self.unread.borrow();
        assert!(unread.is_empty(), "{}: no test reads {unread:?}", self.name);
    }
}

/// The JSON file `name`; `None` if the lean copy leaves it out.
pub(crate) fn json(name: &str) -> Option<Value> {
    let value = serde_json::from_slice(&bytes(name)?);
    Some(value.unwrap_or_else(|e| panic!("{name}: {e}")))
}

/// The strings of the list `key`, of which there is at least one.
pub(crate) fn names(entry: &Value, key: &str) -> Vec<String> {
    let list = entry[key].as_array().unwrap_or_else(|| panic!("manifest: no list `{key}`"));
    assert!(!list.is_empty(), "manifest: `{key}` is empty");
    list.iter().map(|name| name.as_str().expect("a name").to_owned()).collect()
}

/// Prints the keys of `value` that are not in `known`: a reference that says more than is checked.
pub(crate) fn mention_others(place: &str, value: &Value, known: &[&str]) {
    let keys = value.as_object().unwrap_or_else(|| panic!("{place} is not an object")).keys();
    for key in keys.filter(|key| !known.contains(&key.as_str())) {
        println!("{place}: `{key}` is not read by any test");
    }
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
        let ratio = |d: f64, t: f64| if t == 0.0 || t.is_infinite() { d } else { d / t };
        let seen = self.0.entry(quantity.into()).or_insert((0.0, tolerance, place.into()));
        if ratio(difference, tolerance) > ratio(seen.0, seen.1) {
            *seen = (difference, tolerance, place.into());
        }
    }

    /// [`add`](Self::add) of a quantity for which the reference states no tolerance: held to `tolerance` on
    /// the repository's own copy, printed alone on any other.
    pub(crate) fn note(&mut self, quantity: &str, difference: f64, tolerance: f64, place: &str) {
        let tolerance = if is_lean_copy() { tolerance } else { f64::INFINITY };
        self.add(quantity, difference, tolerance, place);
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
        let bad: Vec<_> = self.0.iter().filter(|(_, (d, t, _))| d > t || !d.is_finite()).collect();
        assert!(bad.is_empty(), "{kind}: beyond tolerance: {bad:?}");
    }
}

pub(crate) fn largest_difference(got: &HostTensor, want: &HostTensor) -> f64 {
    let (got, want) = (got.to_f64(), want.to_f64());
    assert_eq!(got.len(), want.len());
    let difference = |(a, b): (&f64, &f64)| if a.is_nan() { f64::NAN } else { (a - b).abs() };
    got.iter().zip(&want).map(difference).fold(0.0, |m, d| if d.is_nan() { d } else { d.max(m) })
}

/// The first `rows` rows of a tensor.
pub(crate) fn head(tensor: &HostTensor, rows: usize) -> HostTensor {
    let n = rows * tensor.shape[1..].iter().product::<usize>();
    let mut shape = tensor.shape.clone();
    shape[0] = rows;
    let data = match &tensor.data {
        HostData::F32(v) => HostData::F32(v[..n].to_vec()),
        HostData::F64(v) => HostData::F64(v[..n].to_vec()),
        HostData::I64(v) => HostData::I64(v[..n].to_vec()),
    };
    HostTensor { shape, data }
}

pub(crate) fn largest(tensor: &HostTensor) -> f64 {
    tensor.to_f64().iter().fold(0.0, |m, x| x.abs().max(m))
}
