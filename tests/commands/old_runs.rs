//! Runs whose records say in words alone where their images came from, as all did up to commit ec519f4.

use std::{fs, path::Path};

use rescom::{run::RecordedSource, train::SavedRun};

use crate::common::{copy_of, json, ok, read_json};

/// `recipe.toml`, `subset.json`, `provenance.json` and `record.json` of such a run, made as the sweep of the
/// tests here is.
const OLD: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/old-run");

#[test]
fn an_old_folder_is_opened() {
    let run = SavedRun::open(Path::new(OLD)).unwrap();
    let words = RecordedSource::Words("generated, seed 0".into());
    assert_eq!(run.provenance.data_source, words);
    let record = run.record().unwrap().unwrap();
    assert_eq!(record.provenance, run.provenance);
    assert!(record.is_synthetic() && !record.is_unverified());
}

#[test]
fn the_images_of_an_old_run_are_found_by_its_command_line() {
    // Weights of today, so that the test does not depend on the machine that made the old ones.
    let (run, guard) = copy_of("ce", 0);
    let today = read_json(&run.join("record.json"));
    for file in ["provenance.json", "record.json"] {
        fs::copy(Path::new(OLD).join(file), run.join(file)).unwrap();
    }
    let name = run.to_str().unwrap();
    let found = json(&ok(&["evaluate", name, "--json"]));
    assert_eq!(found[0]["test"], today["last"]);
    let record = json(&ok(&["stage2", name, "--set", "stage2.epochs=1", "--json"]));
    assert_eq!(record["provenance"]["data_source"]["kind"], "generated");
    let report = ok(&["report", guard.path().to_str().unwrap()]);
    let report = fs::read_to_string(report.trim()).unwrap();
    assert!(report.lines().next().unwrap().contains("GENERATED"), "{report}");
    assert!(report.contains("| ce |") && report.contains("| ce+mislas |"), "{report}");
}

#[test]
fn the_images_of_a_run_are_found_without_its_command_line() {
    let (run, _guard) = copy_of("ce", 1);
    let record = read_json(&run.join("record.json"));
    let path = run.join("provenance.json");
    let mut provenance = read_json(&path);
    let source = serde_json::json!({
        "kind": "generated", "seed": 0, "train_per_class": 40, "verified": false
    });
    assert_eq!(provenance["data_source"], source);
    provenance["command"] = serde_json::json!(["nobody", "reads", "this"]);
    fs::write(&path, provenance.to_string()).unwrap();
    let found = json(&ok(&["evaluate", run.to_str().unwrap(), "--json"]));
    assert_eq!(found[0]["test"], record["last"]);
}
