//! The report of training runs, from generated records: what the tables add up, what the figures
//! name. The records are drawn at random around given accuracies; nothing here was trained.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeMap;

use rand::RngExt as _;
use rescom::{
    longtail::ShotGroup,
    report::training::{FinishedRun, training_report},
    rng::Streams,
    run::{
        BestEpoch, EasyPairCurves, EpochRecord, Evaluation, FeatureSample, FeatureSummary,
        GroupAccuracy, GroupSimilarity, Provenance, RecipeFile, ReliabilityBin, RunFeatures,
        RunRecord, SIMILARITY_BINS, Space,
    },
};

const FASHION: &str = include_str!("../experiments/recipes/fashion-mnist-lt.toml");
const CIFAR100: &str = include_str!("../experiments/recipes/cifar100-lt-imb100.toml");
const IMAGES: u64 = 200;

fn counts(classes: usize, factor: f64, reversed: bool) -> Vec<u64> {
    let share = |c: usize| factor.powf(-(c as f64) / (classes - 1) as f64);
    let mut counts: Vec<u64> = (0..classes).map(|c| (500.0 * share(c)) as u64).collect();
    if reversed {
        counts.reverse();
    }
    counts
}

/// A test on 200 images per class of a classifier that is right on about `level` of them, on fewer
/// of rare classes. Everything in it follows from the drawn predictions.
fn evaluation(counts: &[u64], level: f64, streams: &Streams) -> Evaluation {
    let mut rng = streams.stream("evaluation", &[]);
    let classes = counts.len();
    let mut confusion = vec![vec![0; classes]; classes];
    let mut bins = vec![(0u64, 0.0f64, 0u64); 15];
    for (true_class, &count) in counts.iter().enumerate() {
        let share = level * (0.6 + 0.4 * (count as f64 / 500.0).sqrt());
        for _ in 0..IMAGES {
            let right = rng.random::<f64>() < share;
            let other = (true_class + rng.random_range(1..classes)) % classes;
            confusion[true_class][if right { true_class } else { other }] += 1;
            let confidence = rng.random_range(0.2..1.0f64);
            let bin = &mut bins[(confidence * 15.0) as usize];
            *bin = (bin.0 + 1, bin.1 + confidence, bin.2 + u64::from(right));
        }
    }
    let per_class: Vec<f64> =
        (0..classes).map(|c| confusion[c][c] as f64 / IMAGES as f64).collect();
    let mean_over = |keep: &dyn Fn(usize) -> bool| {
        let of: Vec<f64> = (0..classes).filter(|c| keep(*c)).map(|c| per_class[c]).collect();
        (!of.is_empty()).then(|| of.iter().sum::<f64>() / of.len() as f64)
    };
    let group = |g: ShotGroup| mean_over(&|c| ShotGroup::of(counts[c]) == g);
    let [many, medium, few] = ShotGroup::ALL.map(group);
    let images = IMAGES * classes as u64;
    let gap = |&(n, confidence, right): &(u64, f64, u64)| {
        if n == 0 { 0.0 } else { (confidence - right as f64).abs() / images as f64 }
    };
    Evaluation {
        images,
        top1: mean_over(&|_| true).unwrap(),
        top5: 0.95,
        groups: GroupAccuracy { many, medium, few },
        ece: bins.iter().map(gap).sum(),
        reliability: bins
            .iter()
            .map(|&(n, confidence, right)| ReliabilityBin {
                count: n,
                confidence: confidence / n.max(1) as f64,
                accuracy: right as f64 / n.max(1) as f64,
            })
            .collect(),
        per_class,
        confusion,
    }
}

/// A finished run of `text`'s recipe with these changes; `level` is its accuracy, about.
fn run(text: &str, changes: &[&str], seed: u64, level: f64) -> FinishedRun {
    let mut file = RecipeFile::parse(text, "recipe").unwrap();
    changes.iter().for_each(|c| file.set_text(c).unwrap());
    file.set_text(&format!("run.seed={seed}")).unwrap();
    let (recipe, marks) = file.resolve().unwrap();
    let name = format!("{} {changes:?}", recipe.method.name);
    let streams = Streams::new(seed.wrapping_mul(1000) + name.len() as u64);
    let classes = recipe.data.set.classes();
    let reversed = format!("{:?}", recipe.data.class_order) == "Reversed";
    let counts = counts(classes, recipe.data.imbalance_factor, reversed);
    let last = evaluation(&counts, level, &streams);
    let epochs = (1..=4).map(|epoch| EpochRecord {
        epoch,
        lr: 0.1,
        loss_cls: (2.0 + 0.1 * seed as f64) / epoch as f64,
        loss_con: 0.5,
        loss: 2.5,
        steps: 10,
        test: (epoch % 2 == 0).then(|| Evaluation {
            top1: last.top1 * epoch as f64 / 4.0,
            confusion: Vec::new(),
            ..last.clone()
        }),
        train_seconds: 3.0 + epoch as f64,
    });
    let epochs: Vec<EpochRecord> = epochs.collect();
    let record = RunRecord {
        id: format!("{name}-seed{seed}"),
        marks,
        provenance: Provenance {
            version: "0".into(),
            commit: "none".into(),
            libtorch: "none".into(),
            device: "cpu".into(),
            torch_threads: 1,
            loader_threads: 1,
            data_source: "a test".into(),
            data_sha256: "0123456789abcdef".into(),
            subset_sha256: "0".into(),
            skipped_pictures: Default::default(),
            command: vec!["program".into(), "argument".into()],
        },
        stage2: None,
        class_names: (0..classes).map(|c| format!("kind {c}")).collect(),
        counts,
        best: BestEpoch { epoch: 4, test: last.clone() },
        last,
        epochs,
        seconds: 30.0,
        recipe,
    };
    FinishedRun { record, features: None }
}

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

fn sweep(text: &str, methods: &[&str], factors: &[u32], seeds: u64) -> Vec<FinishedRun> {
    let mut runs = Vec::new();
    for (i, method) in methods.iter().enumerate() {
        for factor in factors {
            let changes =
                [format!("method.name={method}"), format!("data.imbalance-factor={factor}")];
            let changes: Vec<&str> = changes.iter().map(String::as_str).collect();
            let level = 0.75 - 0.0006 * f64::from(*factor) + 0.012 * i as f64;
            runs.extend((0..seeds).map(|seed| run(text, &changes, seed, level)));
        }
    }
    runs
}

struct Report(BTreeMap<String, Vec<u8>>);

impl Report {
    fn of(runs: &[FinishedRun]) -> Self {
        Self(training_report(runs).unwrap().into_iter().collect())
    }

    fn text(&self, name: &str) -> &str {
        let bytes = self.0.get(name).unwrap_or_else(|| panic!("{name} of {:?}", self.0.keys()));
        std::str::from_utf8(bytes).unwrap()
    }

    /// The rows of a table as maps from column to cell.
    fn table(&self, name: &str) -> Vec<BTreeMap<String, String>> {
        let reader = csv::Reader::from_reader(self.text(name).as_bytes());
        reader.into_deserialize().map(Result::unwrap).collect()
    }
}

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

/// Features as they might be: clusters by class, pairs that become less alike towards the tail, and
/// gradients of a V and of a steep fall.
fn features(record: &RunRecord) -> RunFeatures {
    let seed = record.recipe.run.seed;
    let mut rng = Streams::new(seed).stream("features", &[]);
    let mut group = |mean: f64| {
        let mut histogram = vec![0; SIMILARITY_BINS];
        let mut sum = 0.0;
        for _ in 0..2000 {
            let cosine = mean + 0.4 * (rng.random::<f64>() + rng.random::<f64>() - 1.0);
            let cosine = cosine.clamp(-1.0, 0.999);
            histogram[((cosine + 1.0) * SIMILARITY_BINS as f64 / 2.0) as usize] += 1;
            sum += cosine;
        }
        Some(GroupSimilarity { classes: 3, pairs: 2000, mean: sum / 2000.0, histogram })
    };
    let classes = record.counts.len();
    let positive: Vec<f64> = (0..100).map(|r| (f64::from(r) / 60.0 - 0.5).abs() * 0.01).collect();
    let negative: Vec<f64> = (0..900).map(|r| 0.02 * (-f64::from(r) / 80.0).exp()).collect();
    let summary = FeatureSummary {
        epoch: 4,
        checkpoint_sha256: "0".into(),
        space: if record.recipe.method.name.is_contrastive() {
            Space::Projection
        } else {
            Space::Encoder
        },
        dim: 8,
        images: 20 * classes as u64,
        many: group(0.7),
        medium: group(0.6),
        few: group(0.5),
        easy: EasyPairCurves {
            anchors: 50,
            temperature: 0.2,
            positive_similarity: (0..100).map(|r| 1.0 - f64::from(r) / 100.0).collect(),
            positive_gradient: positive,
            negative_similarity: (0..900).map(|r| 0.9 - f64::from(r) / 900.0).collect(),
            negative_gradient: negative,
        },
    };
    let labels: Vec<u32> = (0..20 * classes as u32).map(|i| i % classes as u32).collect();
    let value = |(label, d): (u32, u32)| {
        rng.random::<f32>() + if label % 8 == d { 3.0 } else { 0.2 * (label / 8) as f32 }
    };
    let cells = labels.iter().flat_map(|&label| (0..8).map(move |d| (label, d)));
    let features = cells.map(value).collect();
    RunFeatures { summary, sample: FeatureSample { dim: 8, features, labels } }
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
