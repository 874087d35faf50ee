//! Where the reference values are and what their manifest names. Shared with tests that do without tensors.
#![allow(dead_code, reason = "each test program uses a part")]

use std::{
    collections::BTreeSet,
    fs,
    path::PathBuf,
    sync::{Mutex, OnceLock},
};

use serde_json::Value;

/// The directory: `RESCOM_FIXTURES`, relative to the working directory, or the repository's own copy.
pub(crate) fn dir() -> PathBuf {
    std::env::var_os("RESCOM_FIXTURES").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures")),
        PathBuf::from,
    )
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

static READ: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// The bytes of `name`, which counts as read from then on; `None` if the lean copy leaves the file out.
pub(crate) fn bytes(name: &str) -> Option<Vec<u8>> {
    let path = dir().join(name);
    match fs::read(&path) {
        Ok(bytes) => {
            READ.lock().expect("no test panics with the lock").insert(name.to_owned());
            Some(bytes)
        }
        Err(_) if is_lean_copy() => None,
        Err(e) => panic!("cannot read {}, which the manifest names: {e}", path.display()),
    }
}

/// Whether a test has read `name`.
pub(crate) fn was_read(name: &str) -> bool {
    READ.lock().expect("no test panics with the lock").contains(name)
}

pub(crate) fn number(value: &Value, key: &str) -> f64 {
    value[key].as_f64().unwrap_or_else(|| panic!("manifest: `{key}` is not a number in {value}"))
}

pub(crate) fn size(value: &Value, key: &str) -> usize {
    value[key].as_u64().unwrap_or_else(|| panic!("manifest: `{key}` is not a size in {value}"))
        as usize
}
