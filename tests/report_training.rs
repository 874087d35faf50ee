//! The report of training runs, from generated records: what the tables add up, what the figures
//! name. The records are drawn at random around given accuracies; nothing here was trained.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeMap;

use rescom::{report::training::training_report, run::SIMILARITY_BINS};

#[path = "report_training/records.rs"]
mod records;

use records::{CIFAR100, FASHION, Report, features, run, sweep};

const NINE: [&str; 9] = [
    "ce",
    "balanced-softmax",
    "supcon+bs",
    "moco+bs",
    "rescom",
    "rescom-no-loss",
    "rescom-no-queue",
    "rescom-no-mining",
    "rescom-no-siamese",
];

#[test]
fn only_seeds_are_averaged_and_other_recipes_stand_apart() {
    let mut runs = sweep(FASHION, &["ce", "rescom"], &[100], 3);
    let same = Report::of(&runs);
    let rows = same.table("fashion-mnist-natural-groups.csv");
    assert_eq!(rows.iter().map(|r| r["seeds"].as_str()).collect::<Vec<_>>(), ["3", "3"]);
    assert!(!same.0.contains_key("fashion-mnist-natural-settings.csv"));

    // One key: it becomes part of the rows' names, also of methods that have one value of it.
    let changes = ["method.name=rescom", "data.imbalance-factor=100", "contrast.temperature=0.1"];
    runs.push(run(FASHION, &changes, 0, 0.7));
    let two = Report::of(&runs);
    let names = |report: &Report| -> Vec<(String, String)> {
        let rows = report.table("fashion-mnist-natural-groups.csv");
        rows.iter().map(|r| (r["method"].clone(), r["seeds"].clone())).collect()
    };
    let expected = [
        ("ce [temperature 0.2]", "3"),
        ("rescom [temperature 0.1]", "1"),
        ("rescom [temperature 0.2]", "3"),
    ];
    assert_eq!(names(&two), expected.map(|(m, n)| (m.to_owned(), n.to_owned())));

    // Several keys: letters, and a table of what they stand for.
    let changes = [changes[0], changes[1], "contrast.temperature=0.1", "optim.lr=0.3"];
    runs.push(run(FASHION, &changes, 0, 0.7));
    let three = Report::of(&runs);
    assert_eq!(names(&three).len(), 4);
    let settings = three.table("fashion-mnist-natural-settings.csv");
    let keys: Vec<&str> = settings.iter().map(|r| r["key"].as_str()).collect();
    assert_eq!(keys, ["contrast.temperature", "optim.lr"]);
    assert!(names(&three).iter().all(|(m, _)| m.contains("[setting ")), "{:?}", names(&three));

    // A copy of a run is no further seed.
    runs.push(runs[0].clone());
    let e = training_report(&runs).unwrap_err();
    assert!(e.exit_code() == 2 && e.to_string().contains("same seed"), "{e}");
}

#[test]
fn methods_trained_unlike_each_other_are_named_as_such() {
    let mut runs = sweep(FASHION, &["ce"], &[100], 2);
    let like = Report::of(&runs);
    assert!(!like.text("report.md").contains("Not only the methods differ"));
    let changes = ["method.name=rescom", "data.imbalance-factor=100", "optim.epochs=11"];
    runs.push(run(FASHION, &changes, 0, 0.7));
    let unlike = Report::of(&runs);
    let line = unlike.text("report.md").lines().find(|l| l.contains("Not only the methods differ"));
    assert!(line.unwrap().contains("`optim.epochs`"), "{line:?}");
}

#[test]
fn class_orders_have_sections_and_files_of_their_own() {
    let mut runs = sweep(FASHION, &["ce", "rescom"], &[10, 100], 1);
    for method in ["ce", "rescom"] {
        let changes = [format!("method.name={method}"), "data.class-order=reversed".to_owned()];
        let changes: Vec<&str> = changes.iter().map(String::as_str).collect();
        runs.push(run(FASHION, &changes, 0, 0.5));
    }
    let report = Report::of(&runs);
    let text = report.text("report.md");
    for order in ["natural", "reversed"] {
        assert_eq!(text.matches(&format!("## Fashion-MNIST-LT, {order} class order")).count(), 1);
        for figure in ["accuracy", "classes", "curves", "reliability", "confusion"] {
            let name = format!("fashion-mnist-{order}-{figure}");
            assert!(report.0[&format!("{name}.png")].starts_with(b"\x89PNG"));
            assert!(text.contains(&format!("({name}.png)")), "{name} is not shown");
        }
    }
    let means =
        |order: &str| report.table(&format!("fashion-mnist-{order}-accuracy.csv"))[0].clone();
    assert_ne!(means("natural")["imb 100: last epoch"], means("reversed")["imb 100: last epoch"]);
}

#[test]
fn the_mean_and_deviation_of_a_row_are_those_of_its_runs() {
    let runs = sweep(FASHION, &["ce"], &[50], 4);
    let values: Vec<f64> = runs.iter().map(|r| 100.0 * r.record.last.top1).collect();
    let mean = values.iter().sum::<f64>() / 4.0;
    let sd = (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / 3.0).sqrt();
    let report = Report::of(&runs);
    let row = &report.table("fashion-mnist-natural-groups.csv")[0];
    assert_eq!(row["top-1"], format!("{mean:.1} ± {sd:.1}"));
    assert_eq!((row["backbone (width)"].as_str(), row["epochs"].as_str()), ("resnet32 (64)", "4"));
    let time = &report.table("fashion-mnist-natural-time.csv")[0];
    assert_eq!((time["median seconds per epoch"].as_str(), time["threads"].as_str()), ("5.5", "1"));
}

#[test]
fn the_ablation_lists_what_was_run_and_counts_what_was_not() {
    let some = Report::of(&sweep(FASHION, &NINE, &[100], 3));
    let rows = some.table("fashion-mnist-natural-ablation.csv");
    assert_eq!(rows.len(), 5);
    let modules = ["loss", "queue", "mining", "siamese"];
    let on = |row: &BTreeMap<String, String>| modules.iter().filter(|m| row[**m] == "✓").count();
    assert_eq!(rows.iter().map(on).collect::<Vec<_>>(), [4, 3, 3, 3, 3]);
    let text = some.text("report.md");
    assert!(text.contains("11 of the 16 combinations were not run"), "{text}");
    assert!(text.contains("`rescom-no-loss-no-queue`"));
    let svg = some.text("fashion-mnist-natural-ablation.svg");
    for name in ["rescom", "−loss", "−queue", "−mining", "−siamese", "few-shot classes"] {
        assert!(svg.contains(name), "{name}");
    }

    let names: Vec<String> = rescom::run::RescomModules::combinations()
        .map(|m| rescom::run::Method::Rescom(m).to_string())
        .collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let all = Report::of(&sweep(FASHION, &names, &[100], 2));
    assert_eq!(all.table("fashion-mnist-natural-ablation.csv").len(), 16);
    assert!(all.text("report.md").contains("all 16 combinations were run"));

    let none = Report::of(&sweep(FASHION, &["ce", "rescom"], &[100], 1));
    assert!(!none.0.contains_key("fashion-mnist-natural-ablation.csv"));
}

#[test]
fn every_figure_names_its_methods() {
    let report = Report::of(&sweep(FASHION, &NINE, &[10, 100], 3));
    for figure in ["accuracy", "classes", "curves", "reliability"] {
        let svg = report.text(&format!("fashion-mnist-natural-{figure}.svg"));
        for method in NINE {
            // The backend writes a text on a line of its own.
            let found = svg.lines().filter(|l| l.trim() == method).count();
            assert_eq!(found, 1, "{method} in {figure}");
        }
    }
    let classes = report.text("fashion-mnist-natural-classes.svg");
    assert!(classes.contains("kind 9 (5)"), "a class with its images is missing");
    assert!(!report.text("fashion-mnist-natural-accuracy.svg").contains("published"));
}

#[test]
fn published_points_stand_beside_sets_that_have_them() {
    let report = Report::of(&sweep(CIFAR100, &["ce", "rescom"], &[10, 100], 2));
    let svg = report.text("cifar100-natural-accuracy.svg");
    assert!(svg.contains("rescom, published") && svg.contains("ce, published"));
    let rescom = &report.table("cifar100-natural-accuracy.csv")[1];
    assert!(rescom["imb 100: published (difference)"].starts_with("53.8 ("), "{rescom:?}");
    // A hundred classes: no names, no numbers in the cells.
    assert!(!report.text("cifar100-natural-confusion.svg").contains("kind "));
    assert!(!report.text("cifar100-natural-classes.svg").contains("kind "));
}

#[test]
fn confusion_and_reliability_are_those_of_all_seeds() {
    let runs = sweep(FASHION, &["ce", "rescom"], &[100], 3);
    let report = Report::of(&runs);
    let rows = report.table("fashion-mnist-natural-confusion.csv");
    let number = |r: &BTreeMap<String, String>, key: &str| r[key].parse::<f64>().unwrap();
    let ce = || rows.iter().filter(|r| r["method"] == "ce");
    let in_class = ce().filter(|r| r["true_class"] == "kind 3");
    assert_eq!(in_class.map(|r| number(r, "test_images")).sum::<f64>(), 600.0);
    let right = ce().filter(|r| r["true_class"] == r["predicted_class"]);
    let right = right.map(|r| number(r, "test_images")).sum::<f64>() / 6000.0;
    let top1 = runs[..3].iter().map(|r| r.record.last.top1).sum::<f64>() / 3.0;
    assert!((right - top1).abs() < 1e-9);

    let bins = report.table("fashion-mnist-natural-reliability.csv");
    let bins: Vec<_> = bins.iter().filter(|r| r["method"] == "ce").collect();
    assert_eq!(bins.len(), 15);
    assert_eq!(bins.iter().map(|r| number(r, "test_images")).sum::<f64>(), 6000.0);
    let right: f64 = bins.iter().map(|r| number(r, "test_images") * number(r, "accuracy")).sum();
    assert!((right / 6000.0 - top1).abs() < 1e-5, "weights of the bins");

    // Ten classes by training images, each row's shares in whole percent.
    let svg = report.text("fashion-mnist-natural-confusion.svg");
    let first = svg.find("kind 0").unwrap();
    assert!(first < svg.find("kind 9").unwrap());
    assert!(svg.contains("share of the true class (%)"));
}

#[test]
fn trained_features_are_shown_where_they_were_measured() {
    let mut runs = sweep(FASHION, &["ce", "rescom", "rescom-no-loss"], &[100], 2);
    let without = Report::of(&runs);
    assert!(!without.text("report.md").contains("Trained features"));
    for run in &mut runs {
        run.features = Some(features(&run.record));
    }
    runs[5].features = None;
    let report = Report::of(&runs);
    let rows = report.table("fashion-mnist-natural-similarity.csv");
    let seeds: Vec<&str> = rows.iter().map(|r| r["seeds"].as_str()).collect();
    assert_eq!(seeds, ["2", "2", "1"]);
    assert_eq!(
        (&*rows[0]["measured on"], &*rows[1]["measured on"]),
        ("encoder features", "projections")
    );
    // A density integrates to one, over both seeds together.
    let densities = report.table("fashion-mnist-natural-densities.csv");
    let of_ce = densities.iter().filter(|r| r["method"] == "ce" && r["group"] == "many");
    let sum: f64 = of_ce.map(|r| r["density"].parse::<f64>().unwrap()).sum();
    assert!((sum * 2.0 / SIMILARITY_BINS as f64 - 1.0).abs() < 1e-4, "{sum}");
    let curve = report.table("fashion-mnist-natural-easy-pairs.csv");
    assert_eq!(curve.iter().filter(|r| r["method"] == "rescom").count(), 1000);
    let text = report.text("report.md");
    assert!(text.contains("T = 0.2, 50 anchors with 100 positives and 900 negatives each"));
    for (figure, name) in [("similarity", "few-shot classes"), ("easy-pairs", "rescom-no-loss")] {
        let svg = report.text(&format!("fashion-mnist-natural-{figure}.svg"));
        assert!(svg.contains(name), "{name} in {figure}");
    }
    if cfg!(feature = "train") {
        let rows = report.table("fashion-mnist-natural-tsne.csv");
        assert_eq!(rows.len(), 2 * 200);
        assert!(report.text("fashion-mnist-natural-tsne.svg").contains("kind 9 (5)"));
        assert!(text.contains("t-SNE of the encoder features of 200 test images"));
    }
}

#[test]
fn differences_are_those_of_runs_with_the_same_seed() {
    let mut runs = sweep(FASHION, &["ce", "rescom"], &[100], 4);
    // Seed 0 of ce and seed 3 of rescom are missing: two seeds are left.
    runs.remove(7);
    runs.remove(0);
    let report = Report::of(&runs);
    let rows = report.table("fashion-mnist-natural-paired.csv");
    // The baseline against ResCom would say the same with the signs turned.
    assert_eq!(rows.len(), 1);
    let top1 = |method: &str, seed: u64| {
        let found = runs
            .iter()
            .map(|r| &r.record)
            .find(|r| r.recipe.method.name.to_string() == method && r.recipe.run.seed == seed);
        100.0 * found.unwrap().last.top1
    };
    let gain: Vec<f64> = [1, 2].iter().map(|&s| top1("rescom", s) - top1("ce", s)).collect();
    let mean = (gain[0] + gain[1]) / 2.0;
    // Two pairs: half a width of t(0.975, 1) = 12.7062 times |a - b| / 2.
    let half = 12.706_204_7 * (gain[0] - gain[1]).abs() / 2.0;
    let expected = format!("{mean:+.1} [{:+.1}, {:+.1}]", mean - half, mean + half);
    assert_eq!((&rows[0]["method"], &rows[0]["minus"]), (&"rescom".into(), &"ce".into()));
    assert_eq!((&rows[0]["top-1"], &rows[0]["seeds in common"]), (&expected, &"2".into()));
}
