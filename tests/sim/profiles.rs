//! `rescom-sim` on every profile as it is, and on more classes than it shows one by one.

use serde_json::Value;

use crate::common::json;

#[test]
fn every_profile_runs_with_the_default_sweep() {
    let folder = tempfile::tempdir().unwrap();
    for (profile, classes, largest) in [
        ("step", 10, 5000),
        ("cifar10-lt", 10, 5000),
        ("cifar100-lt", 100, 500),
        ("fashion-mnist-lt", 10, 6000),
        ("places-lt", 365, 4980),
    ] {
        let few = ["--batches", "3", "--sweep-batches", "2", "--batch", "8", "--dim", "8"];
        // Stages fit exponents, for which fixed counts have one imbalance factor too few.
        let stages: &[&str] = if profile == "places-lt" { &[] } else { &["--stages", "0"] };
        let args = [&["dual-imbalance", "--profile", profile, "--json"], stages, &few[..]].concat();
        let result = json(&args, folder.path());
        assert_eq!(result["profile"]["classes"], classes, "{profile}");
        let counts = result["profile"]["counts"].as_array().unwrap();
        assert_eq!(counts.iter().filter_map(Value::as_u64).max(), Some(largest), "{profile}");
    }
}

#[test]
fn shares_of_shot_groups_do_not_depend_on_the_bins() {
    // 8,142 classes from 1,000 images to 2; anchors are drawn from bins, which must not reach over the
    // borders of shot groups: without imbalance among the keys a group's share of the gradient follows from
    // its own classes.
    let folder = tempfile::tempdir().unwrap();
    let count = |c: u32| (1000.0 / f64::from(c + 1).powf(0.69)).max(2.0) as u64;
    let rows: String = (0..8142).map(|c| format!("{c},{}\n", count(c))).collect();
    let file = folder.path().join("counts.csv");
    std::fs::write(&file, format!("class,count\n{rows}")).unwrap();
    let profile = format!("counts:{}", file.display());
    let sizes = ["--batch", "256", "--batches", "8", "--dim", "16", "--concentration", "0"];
    let args =
        [&["dual-imbalance", "--profile", &profile, "--sweep", "none", "--json"], &sizes[..]]
            .concat();
    let result = json(&args, folder.path());
    let names = result["groups"]["names"].as_array().unwrap();
    assert!(names.len() < 30, "{names:?}");
    let settings = result["settings"].as_array().unwrap();
    let balanced =
        |s: &&Value| s["loss"] == "plain" && s["queue"] == "class-balanced" && s["mining"] == false;
    let groups = settings.iter().find(balanced).unwrap()["shot_groups"].as_array().unwrap();
    assert_eq!(groups.len(), 3);
    for group in groups {
        let (share, images) =
            (group["share"]["mean"].as_f64().unwrap(), group["images"].as_f64().unwrap());
        assert!((share / images - 1.0).abs() < 0.05, "{group}");
    }
}
