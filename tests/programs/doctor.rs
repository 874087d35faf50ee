//! `rescom-repro doctor` from outside.

use std::{
    path::Path,
    process::{Command, Output},
};

use serde_json::Value;

/// Runs `doctor` with an empty cache and home of its own.
fn doctor(cache: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_rescom-repro"))
        .arg("doctor")
        .args(arguments)
        .env("XDG_CACHE_HOME", cache)
        .output()
        .unwrap()
}

#[test]
fn json_names_versions_devices_and_a_remedy_for_each_missing_data_set() {
    let cache = tempfile::tempdir().unwrap();
    let output = doctor(cache.path(), &["--json"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(found["rescom"], env!("CARGO_PKG_VERSION"));
    assert!(found["rustc"].as_str().unwrap().starts_with("rustc 1."));
    assert_eq!(found["devices"][0], "cpu");
    assert!(found["libtorch_threads"].as_u64().unwrap() >= 1);
    if cfg!(target_os = "linux") {
        assert!(found["libtorch"].as_str().unwrap().starts_with("2.11.0"));
    }
    assert_eq!(found["cached"].as_array().unwrap().len(), 0);
    let remedies = found["remedies"].as_array().unwrap();
    for set in found["data_sets"].as_array().unwrap().iter().filter(|set| set["found"].is_null()) {
        let name = set["name"].as_str().unwrap();
        assert!(remedies.iter().any(|r| r.as_str().unwrap().starts_with(name)), "{name}");
    }
}

#[test]
fn text_shows_the_cache_and_what_lies_in_it() {
    let cache = tempfile::tempdir().unwrap();
    let folder = cache.path().join("rescom/libtorch-x");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("lib.so"), vec![0; 2_500_000]).unwrap();
    let output = doctor(cache.path(), &[]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success());
    assert!(text.contains("2.5 MB  libtorch-x"), "{text}");
    assert!(text.contains("Fashion-MNIST"), "{text}");
}

#[test]
fn without_a_home_the_rest_is_found_all_the_same() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rescom-repro"));
    let output = command.args(["doctor", "--json"]).env_remove("HOME").env_remove("XDG_CACHE_HOME");
    let output = output.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(found["cache"].is_null() && found["devices"][0] == "cpu", "{found}");
    let remedies = found["remedies"].as_array().unwrap();
    let cache = remedies.iter().filter(|r| r.as_str().unwrap().starts_with("cache: "));
    assert_eq!(cache.count(), 1, "{found}");
}

#[test]
fn unknown_options_are_bad_usage() {
    let cache = tempfile::tempdir().unwrap();
    assert_eq!(doctor(cache.path(), &["--jsn"]).status.code(), Some(2));
}
