//! The report of training runs, from generated records: what the tables add up, what the figures
//! name. The records are drawn at random around given accuracies; nothing here was trained.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeMap;

use rescom::{report::training::training_report, run::SIMILARITY_BINS};

mod honesty;
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

/// The rows of a table of numbers that hold top-1.
fn top1(report: &Report, name: &str) -> Vec<BTreeMap<String, String>> {
    let rows = report.table(name).into_iter();
    rows.filter(|r| r["measure"] == "top-1").collect()
}

fn number(row: &BTreeMap<String, String>, key: &str) -> f64 {
    row[key].parse().unwrap_or_else(|_| panic!("{key} of {row:?}"))
}

#[test]
fn only_seeds_are_averaged_and_other_recipes_stand_apart() {
    let mut runs = sweep(FASHION, &["ce", "rescom"], &[100], 3);
    let same = Report::of(&runs);
    let rows = top1(&same, "fashion-mnist-natural-groups.csv");
    assert_eq!(rows.iter().map(|r| r["n"].as_str()).collect::<Vec<_>>(), ["3", "3"]);
    assert!(!same.0.contains_key("fashion-mnist-natural-settings.csv"));

    // One key: it becomes part of the rows' names, also of methods that have one value of it.
    let changes = ["method.name=rescom", "data.imbalance-factor=100", "contrast.temperature=0.1"];
    runs.push(run(FASHION, &changes, 0, 0.7));
    let two = Report::of(&runs);
    let names = |report: &Report| -> Vec<(String, String)> {
        let rows = top1(report, "fashion-mnist-natural-groups.csv");
        rows.iter().map(|r| (r["method"].clone(), r["n"].clone())).collect()
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
    let mean = |order: &str| {
        let rows = report.table(&format!("fashion-mnist-{order}-accuracy.csv"));
        rows.into_iter().find(|r| r["imb"] == "100").unwrap()["mean"].clone()
    };
    assert_ne!(mean("natural"), mean("reversed"));
}

#[test]
fn the_mean_and_deviation_of_a_row_are_those_of_its_runs() {
    let runs = sweep(FASHION, &["ce"], &[50], 4);
    let values: Vec<f64> = runs.iter().map(|r| r.record.last.top1).collect();
    let mean = values.iter().sum::<f64>() / 4.0;
    let sd = (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / 3.0).sqrt();
    let report = Report::of(&runs);
    for table in ["accuracy", "groups"] {
        let row = &report.table(&format!("fashion-mnist-natural-{table}.csv"))[0];
        assert!((number(row, "mean") - mean).abs() < 1e-6 && row["n"] == "4", "{row:?}");
        assert!((number(row, "sd") - sd).abs() < 1e-6, "{row:?}");
    }
    let text = format!("| {:.1} ± {:.1} |", 100.0 * mean, 100.0 * sd);
    assert!(report.text("report.md").contains(&text), "{text}");
    let row = &report.table("fashion-mnist-natural-groups.csv")[0];
    assert_eq!((&*row["arch"], &*row["feature_dim"], &*row["epochs"]), ("resnet32", "64", "4"));
    let time = &report.table("fashion-mnist-natural-time.csv")[0];
    assert_eq!((time["median seconds per epoch"].as_str(), time["threads"].as_str()), ("5.5", "1"));
    // 10 steps of 128 images in the fastest epoch.
    assert_eq!(time["fastest epoch (s)"], "4.0");
    assert_eq!(time["views per second (fastest epoch)"], "320");
}

#[test]
fn the_ablation_lists_what_was_run_and_counts_what_was_not() {
    let some = Report::of(&sweep(FASHION, &NINE, &[100], 3));
    let rows = top1(&some, "fashion-mnist-natural-ablation.csv");
    assert_eq!(rows.len(), 5);
    assert!(some.text("report.md").contains("| 100 | ✓ | ✓ |  | ✓ | 3 |"));
    let modules = ["loss", "queue", "mining", "siamese"];
    let on = |row: &BTreeMap<String, String>| modules.iter().filter(|m| row[**m] == "1").count();
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
    assert_eq!(top1(&all, "fashion-mnist-natural-ablation.csv").len(), 16);
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
    let rows = report.table("cifar100-natural-accuracy.csv");
    let of = |factor: &str| rows.iter().find(|r| r["method"] == "rescom" && r["imb"] == factor);
    assert_eq!((number(of("100").unwrap(), "published"), rows.len()), (0.538, 4));
    let text = report.text("report.md");
    let difference = 100.0 * number(of("100").unwrap(), "mean") - 53.8;
    assert!(text.contains(&format!("| 53.8 ({difference:+.1}) |")), "{text}");
    // Each number with its source, also of methods that were not run, at the factors that were.
    for line in [
        "| ResCom | 100 | resnet32 | 53.8 | – | – | – | 400 epochs AutoAugment + Cutout | ResCom read-me |",
        "| BCL | 10 | resnet32 | 64.9 | – | – | – |  | collected table in the SCoRe read-me |",
    ] {
        assert!(text.contains(line), "{line}");
    }
    assert!(report.table("cifar100-natural-published.csv").iter().all(|r| r["imb"] != "50"));
    // A hundred classes: no names, no numbers in the cells.
    assert!(!report.text("cifar100-natural-confusion.svg").contains("kind "));
    assert!(!report.text("cifar100-natural-classes.svg").contains("kind "));
}

#[test]
fn confusion_and_reliability_are_those_of_all_seeds() {
    let runs = sweep(FASHION, &["ce", "rescom"], &[100], 3);
    let report = Report::of(&runs);
    let rows = report.table("fashion-mnist-natural-confusion.csv");
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
    let (bins, empty): (Vec<_>, Vec<_>) = bins.into_iter().partition(|r| r["test_images"] != "0");
    assert!(!empty.is_empty() && empty.iter().all(|r| r["accuracy"].is_empty()), "{empty:?}");
    assert_eq!(bins.iter().map(|r| number(r, "test_images")).sum::<f64>(), 6000.0);
    let right: f64 = bins.iter().map(|r| number(r, "test_images") * number(r, "accuracy")).sum();
    assert!((right / 6000.0 - top1).abs() < 1e-5, "weights of the bins");

    // The bars are those of all images, and so is the error that is printed beside the seeds' own.
    let gap = |r: &&BTreeMap<String, String>| {
        number(r, "test_images") * (number(r, "mean_confidence") - number(r, "accuracy")).abs()
    };
    let pooled = 100.0 * bins.iter().map(gap).sum::<f64>() / 6000.0;
    let own = runs[..3].iter().map(|r| 100.0 * r.record.last.ece).sum::<f64>() / 3.0;
    let svg = report.text("fashion-mnist-natural-reliability.svg");
    assert!(svg.contains(&format!("ECE pooled {pooled:.1} %")), "{pooled}");
    assert!(svg.contains(&format!("ECE per seed {own:.1} ± ")), "{own}");
    for row in &bins {
        let inside = number(row, "lowest_seed")..=number(row, "highest_seed");
        assert!(inside.contains(&number(row, "accuracy")), "{row:?}");
    }

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
    let rows: Vec<_> = rows.iter().filter(|r| r["group"] == "few").collect();
    let seeds: Vec<&str> = rows.iter().map(|r| r["n"].as_str()).collect();
    assert_eq!(seeds, ["2", "2", "1"]);
    assert_eq!(
        (&*rows[0]["measured_on"], &*rows[1]["measured_on"]),
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
    for (figure, name) in [
        ("similarity", "few-shot classes"),
        ("easy-pairs", "rescom-no-loss"),
        ("easy-pairs", "ce (encoder)"),
    ] {
        let svg = report.text(&format!("fashion-mnist-natural-{figure}.svg"));
        assert!(svg.contains(name), "{name} in {figure}");
    }
    // The first 90 of 900 negatives of exp(-r / 80), as a share of all.
    assert!(
        text.contains("the hardest 10 % of the negatives carry: ce 68 %, rescom 68 %"),
        "{text}"
    );
    assert!(!text.contains("(left arm)") && text.contains("Long dashes: encoder features"));
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
    let rows = top1(&report, "fashion-mnist-natural-paired.csv");
    // The baseline against ResCom would say the same with the signs turned.
    assert_eq!(rows.len(), 1);
    let accuracy = |method: &str, seed: u64| {
        let found = runs
            .iter()
            .map(|r| &r.record)
            .find(|r| r.recipe.method.name.to_string() == method && r.recipe.run.seed == seed);
        100.0 * found.unwrap().last.top1
    };
    let gain: Vec<f64> =
        [1, 2].iter().map(|&s| accuracy("rescom", s) - accuracy("ce", s)).collect();
    let mean = (gain[0] + gain[1]) / 2.0;
    // Two pairs: half a width of t(0.975, 1) = 12.7062 times |a - b| / 2.
    let half = 12.706_204_7 * (gain[0] - gain[1]).abs() / 2.0;
    let expected = format!("{mean:+.1} [{:+.1}, {:+.1}]", mean - half, mean + half);
    let line = format!("| 100 | rescom | ce | 2 | {expected} |");
    assert!(report.text("report.md").contains(&line), "{line}");
    assert_eq!((&rows[0]["method"], &rows[0]["minus"]), (&"rescom".into(), &"ce".into()));
    for (key, expected) in [("mean", mean), ("low", mean - half), ("high", mean + half)] {
        assert!((100.0 * number(&rows[0], key) - expected).abs() < 1e-3, "{key} of {:?}", rows[0]);
    }
    assert_eq!(rows[0]["n"], "2");
}
