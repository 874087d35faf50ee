//! Runs whose records say in words alone where their images came from, as all did up to commit ec519f4.

use std::{fs, path::Path};

use rescom::{run::RecordedSource, train::SavedRun};

use super::common::{copy_of, json, ok, read_json};

/// Finished runs of that commit without their weights; one of generated images, one of a folder.
const OLD: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/old-run");
const GENERATED: &str = "cifar10-imb10-moco+bs-seed0";
const GIVEN: &str = "cifar10-imb10-ce-seed0";

#[test]
fn old_folders_are_opened() {
    for (name, words) in [(GENERATED, "generated, seed 0"), (GIVEN, "unverified: images")] {
        let run = SavedRun::open(&Path::new(OLD).join(name)).unwrap();
        assert_eq!(run.provenance.data_source, RecordedSource::Words(words.into()));
        let record = run.record().unwrap().unwrap();
        assert_eq!(record.provenance, run.provenance);
        assert_eq!(
            (record.is_synthetic(), record.is_unverified()),
            (name == GENERATED, name == GIVEN)
        );
    }
}

#[test]
fn the_images_of_an_old_run_are_found_by_its_command_line() {
    // A run of today whose source is recorded as that commit did, with a command line of then.
    let (run, guard) = copy_of("ce", 0);
    let today = read_json(&run.join("record.json"));
    let old = read_json(&Path::new(OLD).join(GENERATED).join("provenance.json"));
    for file in ["provenance.json", "record.json"] {
        let mut content = read_json(&run.join(file));
        let provenance =
            if file == "record.json" { &mut content["provenance"] } else { &mut content };
        for key in ["data_source", "command"] {
            provenance[key] = old[key].clone();
        }
        fs::write(run.join(file), content.to_string()).unwrap();
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
