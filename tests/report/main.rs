//! The report of training runs, from generated records: what the tables add up, what the figures
//! name. The records are drawn at random around given accuracies; nothing here was trained.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::{BTreeMap, BTreeSet};

use rescom::{
    report::training::training_report,
    results::{query, schema},
    run::SIMILARITY_BINS,
};

mod honesty;
mod records;

use records::{CIFAR100, FASHION, Report, Row, features, run, sweep};

const NATURAL: (&str, &str) = ("fashion-mnist", "natural");

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

/// Top-1 of each cell of Fashion-MNIST-LT in its natural order.
fn top1(report: &Report) -> Vec<Row> {
    let rows = report.answer(NATURAL, query::measures).into_iter();
    rows.filter(|r| r["measure"] == "top1").collect()
}

fn number(row: &Row, key: &str) -> f64 {
    row[key].parse().unwrap_or_else(|_| panic!("{key} of {row:?}"))
}

#[test]
fn only_seeds_are_averaged_and_other_recipes_stand_apart() {
    let mut runs = sweep(FASHION, &["ce", "rescom"], &[100], 3);
    let same = Report::of(&runs);
    let rows = top1(&same);
    assert_eq!(rows.iter().map(|r| r["n"].as_str()).collect::<Vec<_>>(), ["3", "3"]);
    assert!(same.answer(NATURAL, query::settings).is_empty());

    // One key: it becomes part of the rows' names, also of methods that have one value of it.
    let changes = ["method.name=rescom", "data.imbalance-factor=100", "contrast.temperature=0.1"];
    runs.push(run(FASHION, &changes, 0, 0.7));
    let two = Report::of(&runs);
    let names = |report: &Report| -> Vec<(String, String)> {
        top1(report).iter().map(|r| (r["arm"].clone(), r["n"].clone())).collect()
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
    let settings = three.answer(NATURAL, query::settings);
    let keys: BTreeSet<&str> = settings.iter().map(|r| r["key"].as_str()).collect();
    assert_eq!(keys.into_iter().collect::<Vec<_>>(), ["contrast.temperature", "optim.lr"]);
    let text = three.text("report.md");
    assert!(text.contains("| key | setting A | setting B | setting C |"), "{text}");
    assert!(text.contains("| contrast.temperature | 0.1 | 0.1 | 0.2 |"), "{text}");
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
        let rows = report.answer(("fashion-mnist", order), query::measures);
        rows.into_iter().find(|r| r["imbalance_factor"] == "100.0").unwrap()["mean"].clone()
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
    let row = &top1(&report)[0];
    assert!(number(row, "mean") == mean && row["n"] == "4", "{row:?}");
    assert!((number(row, "sd") - sd).abs() < 1e-12, "{row:?}");
    let text = format!("| {:.1} ± {:.1} |", 100.0 * mean, 100.0 * sd);
    assert!(report.text("report.md").contains(&text), "{text}");
    let row = &report.table("runs.csv")[0];
    assert_eq!((&*row["arch"], &*row["feature_dim"], &*row["epochs"]), ("resnet32", "64", "4"));
    // One thread, one view per image; 10 steps of 128 images in the fastest epoch of 4 s.
    let images = &row["train_images"];
    let time = format!("| ce | 50 | cpu | 1 | {images} | 1 | 5.5 | 4.0 | 320 |");
    assert!(report.text("report.md").contains(&time), "{time}");
}

#[test]
fn the_ablation_lists_what_was_run_and_counts_what_was_not() {
    let some = Report::of(&sweep(FASHION, &NINE, &[100], 3));
    assert!(some.text("report.md").contains("| 100 | ✓ | ✓ |  | ✓ | 3 |"));
    let text = some.text("report.md");
    let modules = ["loss", "queue", "mining", "siamese"];
    let on = |row: &Row| modules.iter().filter(|m| row[**m] == "true").count();
    let rows = some.table("runs.csv").into_iter().filter(|r| r["seed"] == "0");
    let rows: Vec<Row> = rows.filter(|r| !r["loss"].is_empty()).collect();
    assert_eq!(rows.iter().map(on).collect::<Vec<_>>(), [4, 3, 3, 3, 3]);
    // The table has them in this order, each with its checks.
    let mut table = text.split("### Ablation").nth(1).unwrap().lines().skip(4);
    let checks = |_: &Row| table.next().unwrap().matches('✓').count();
    assert_eq!(rows.iter().map(checks).collect::<Vec<_>>(), [4, 3, 3, 3, 3]);
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
    let table = all.text("report.md").split("### Ablation").nth(1).unwrap();
    assert_eq!(table.lines().filter(|l| l.starts_with("| 100 |")).count(), 16);
    assert!(all.text("report.md").contains("all 16 combinations were run"));

    let none = Report::of(&sweep(FASHION, &["ce", "rescom"], &[100], 1));
    assert!(!none.text("report.md").contains("### Ablation"));
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
    let rows = report.answer(("cifar100", "natural"), query::measures);
    let hundred = |r: &&Row| r["method"] == "rescom" && r["imbalance_factor"] == "100.0";
    let row = rows.iter().filter(hundred).find(|r| r["measure"] == "top1").unwrap();
    let text = report.text("report.md");
    let difference = 100.0 * number(row, "mean") - 53.8;
    assert!(text.contains(&format!("| 53.8 ({difference:+.1}) |")), "{text}");
    // Each number with its source, also of methods that were not run, at the factors that were.
    for line in [
        "| ResCom | 100 | resnet32 | 53.8 | – | – | – | 400 epochs AutoAugment + Cutout | ResCom read-me |",
        "| BCL | 10 | resnet32 | 64.9 | – | – | – |  | collected table in the SCoRe read-me |",
    ] {
        assert!(text.contains(line), "{line}");
    }
    assert!(!text.contains("| ResCom | 50 | resnet32 |"));
    // A hundred classes: no names, no numbers in the cells.
    assert!(!report.text("cifar100-natural-confusion.svg").contains("kind "));
    assert!(!report.text("cifar100-natural-classes.svg").contains("kind "));
}

#[test]
fn confusion_and_reliability_are_those_of_all_seeds() {
    let runs = sweep(FASHION, &["ce", "rescom"], &[100], 3);
    let report = Report::of(&runs);
    let rows = report.answer(NATURAL, query::confusion);
    let ce = || rows.iter().filter(|r| r["method"] == "ce");
    let in_class = ce().filter(|r| r["true_class"] == "3");
    assert_eq!(in_class.map(|r| number(r, "test_images")).sum::<f64>(), 600.0);
    let right = ce().filter(|r| r["true_class"] == r["predicted_class"]);
    let right = right.map(|r| number(r, "test_images")).sum::<f64>() / 6000.0;
    let top1 = runs[..3].iter().map(|r| r.record.last.top1).sum::<f64>() / 3.0;
    assert!((right - top1).abs() < 1e-9);

    let bins = report.answer(NATURAL, query::reliability);
    let bins: Vec<_> = bins.iter().filter(|r| r["method"] == "ce").collect();
    assert_eq!(bins.len(), 15);
    let (bins, empty): (Vec<_>, Vec<_>) = bins.into_iter().partition(|r| r["test_images"] != "0");
    assert!(!empty.is_empty() && empty.iter().all(|r| r["lowest_seed"].is_empty()), "{empty:?}");
    assert_eq!(bins.iter().map(|r| number(r, "test_images")).sum::<f64>(), 6000.0);
    let right: f64 = bins.iter().map(|r| number(r, "test_images") * number(r, "accuracy")).sum();
    assert!((right / 6000.0 - top1).abs() < 1e-12, "weights of the bins");

    // The bars are those of all images, and so is the error that is printed beside the seeds' own.
    let gap = |r: &&BTreeMap<String, String>| {
        number(r, "test_images") * (number(r, "confidence") - number(r, "accuracy")).abs()
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
    let rows = report.answer(NATURAL, query::similarity);
    let rows: Vec<_> = rows.iter().filter(|r| r["part"] == "few").collect();
    let seeds: Vec<&str> = rows.iter().map(|r| r["n"].as_str()).collect();
    assert_eq!(seeds, ["2", "2", "1"]);
    let text = report.text("report.md");
    assert!(text.contains("| ce | 100 | 2 | encoder features |"), "{text}");
    assert!(text.contains("| rescom | 100 | 2 | projections |"), "{text}");
    // A density integrates to one, over both seeds together.
    let densities = report.answer(NATURAL, query::densities);
    let of_ce = densities.iter().filter(|r| r["method"] == "ce" && r["part"] == "many");
    let sum: f64 = of_ce.map(|r| r["density"].parse::<f64>().unwrap()).sum();
    assert!((sum * 2.0 / SIMILARITY_BINS as f64 - 1.0).abs() < 1e-4, "{sum}");
    let curve = report.answer(NATURAL, query::gradients);
    assert_eq!(curve.iter().filter(|r| r["method"] == "rescom").count(), 1000);
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
    let rows = report.table("features.csv");
    assert_eq!(rows.iter().filter(|r| r["quantity"] == "tsne-x").count(), 2 * 200);
    assert!(report.text("fashion-mnist-natural-tsne.svg").contains("kind 9 (5)"));
    assert!(text.contains("t-SNE of the encoder features of 200 test images"));
}

#[test]
fn differences_are_those_of_runs_with_the_same_seed() {
    let mut runs = sweep(FASHION, &["ce", "rescom"], &[100], 4);
    // Seed 0 of ce and seed 3 of rescom are missing: two seeds are left.
    runs.remove(7);
    runs.remove(0);
    let report = Report::of(&runs);
    // The baseline against ResCom would say the same with the signs turned.
    let table = report.text("report.md").split("### Differences on the same seeds").nth(1).unwrap();
    let table = table.split("###").next().unwrap();
    assert_eq!(table.lines().filter(|l| l.starts_with("| 100 |")).count(), 1, "{table}");
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
}

#[test]
fn the_tables_are_those_of_the_schema_in_both_forms() {
    let mut runs = sweep(FASHION, &["ce", "rescom"], &[10, 100], 2);
    runs[0].features = Some(features(&runs[0].record));
    let report = Report::of(&runs);
    for (table, (name, frame)) in schema::TABLES.iter().zip(report.1.tables()) {
        assert_eq!(table.name, name);
        let columns = frame.columns().iter().map(|c| (c.name().as_str(), c.dtype().to_string()));
        let expected = table.columns.iter().map(|c| {
            let kind = match c.kind {
                schema::Kind::Text => "str",
                schema::Kind::Count => "u64",
                schema::Kind::Number => "f64",
                schema::Kind::Flag => "bool",
            };
            (c.name, kind.to_owned())
        });
        assert_eq!(columns.collect::<Vec<_>>(), expected.collect::<Vec<_>>(), "{name}");
        assert_eq!(report.table(&format!("{name}.csv")).len(), frame.height(), "{name}");
    }
    let quantities: BTreeSet<String> =
        report.table("features.csv").into_iter().map(|r| r["quantity"].clone()).collect();
    let expected = schema::QUANTITIES.iter().map(|q| q[0].to_owned());
    assert_eq!(quantities, expected.collect::<BTreeSet<_>>());
    // A float in CSV is the float itself.
    let accuracy = report.table("runs.csv")[0]["top1"].parse::<f64>().unwrap();
    assert_eq!(accuracy, runs[0].record.last.top1);
}

#[test]
fn runs_of_one_name_are_told_apart() {
    let mut runs = sweep(FASHION, &["ce"], &[100], 1);
    let changes = ["method.name=ce", "data.imbalance-factor=100", "optim.epochs=11"];
    runs.push(run(FASHION, &changes, 0, 0.2));
    runs[1].record.id = runs[0].record.id.clone();
    let report = Report::of(&runs);
    let names: BTreeSet<String> =
        report.table("runs.csv").into_iter().map(|r| r["run"].clone()).collect();
    assert_eq!(names.len(), 2);
    let rows = report.answer(NATURAL, query::classes);
    assert!(rows.len() == 20 && rows.iter().all(|r| r["n"] == "1"), "{rows:?}");
}

#[test]
fn the_documentation_says_of_each_column_what_the_schema_says() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/formats-training.md");
    let text = std::fs::read_to_string(path).unwrap();
    assert!(text.contains(&schema::markdown()), "should hold:\n{}", schema::markdown());
}
