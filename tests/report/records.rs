//! Generated records of runs, and the report of some.

use std::{collections::BTreeMap, io::Cursor};

use polars::prelude::{CsvWriter, DataFrame, ParquetReader, SerReader as _, SerWriter as _};
use rand::RngExt as _;
use rescom::{
    longtail::ShotGroup,
    report::training::training_report,
    results::{FinishedRun, Frames, query},
    rng::Streams,
    run::{
        BestEpoch, EasyPairCurves, EpochRecord, Evaluation, FeatureSample, FeatureSummary,
        GroupAccuracy, GroupSimilarity, Provenance, RecipeFile, RecordedSource, ReliabilityBin,
        RunFeatures, RunRecord, SIMILARITY_BINS, Space,
    },
};

pub(crate) const FASHION: &str = include_str!("../../experiments/recipes/fashion-mnist-lt.toml");
pub(crate) const CIFAR100: &str = include_str!("../../experiments/recipes/cifar100-lt-imb100.toml");
pub(crate) const IMAGENET: &str =
    include_str!("../../experiments/recipes/imagenet-lt-resnet50.toml");
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
pub(crate) fn run(text: &str, changes: &[&str], seed: u64, level: f64) -> FinishedRun {
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
        grad_norm: None,
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
            data_source: RecordedSource::Words("a test".into()),
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

pub(crate) fn sweep(text: &str, methods: &[&str], factors: &[u32], seeds: u64) -> Vec<FinishedRun> {
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

/// The files of a report, and the tables among them as they are read back.
pub(crate) struct Report(pub(crate) BTreeMap<String, Vec<u8>>, pub(crate) Frames);

/// A row of a table, by column.
pub(crate) type Row = BTreeMap<String, String>;

fn rows(csv: &[u8]) -> Vec<Row> {
    csv::Reader::from_reader(csv).into_deserialize().map(Result::unwrap).collect()
}

impl Report {
    pub(crate) fn of(runs: &[FinishedRun]) -> Self {
        let files: BTreeMap<String, Vec<u8>> = training_report(runs).unwrap().into_iter().collect();
        let table = |name: &str| {
            let bytes = files[&format!("{name}.parquet")].clone();
            ParquetReader::new(Cursor::new(bytes)).finish().unwrap()
        };
        let frames = Frames {
            runs: table("runs"),
            epochs: table("epochs"),
            classes: table("classes"),
            confusion: table("confusion"),
            reliability: table("reliability"),
            features: table("features"),
            recipes: table("recipes"),
        };
        Self(files, frames)
    }

    /// What a query on the report's tables answers for one data set and class order, with the row's name
    /// in the report as `arm`. Lists are left out.
    pub(crate) fn answer(
        &self,
        (set, order): (&str, &str),
        query: fn(&Frames) -> rescom::Result<DataFrame>,
    ) -> Vec<Row> {
        let section = query::section(&self.1, set, order).unwrap();
        let mut answer = query(&section).unwrap();
        let lists = answer.columns().iter().filter(|c| c.dtype().is_list());
        let lists: Vec<_> = lists.map(|c| c.name().clone()).collect();
        lists.iter().for_each(|name| answer = answer.drop(name).unwrap());
        let mut csv = Vec::new();
        CsvWriter::new(&mut csv).finish(&mut answer).unwrap();
        let mut rows = rows(&csv);
        for row in rows.iter_mut().filter(|r| r.contains_key("method")) {
            let arm = match row["setting"].as_str() {
                "" => row["method"].clone(),
                setting => format!("{} [{setting}]", row["method"]),
            };
            row.insert("arm".to_owned(), arm);
        }
        rows
    }

    pub(crate) fn text(&self, name: &str) -> &str {
        let bytes = self.0.get(name).unwrap_or_else(|| panic!("{name} of {:?}", self.0.keys()));
        std::str::from_utf8(bytes).unwrap()
    }

    /// The rows of a table as maps from column to cell.
    pub(crate) fn table(&self, name: &str) -> Vec<Row> {
        rows(self.text(name).as_bytes())
    }
}

/// Features as they might be: clusters by class, pairs that become less alike towards the tail, and
/// gradients of a V and of a steep fall.
pub(crate) fn features(record: &RunRecord) -> RunFeatures {
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
        space: if record.recipe.loss.contrast.is_some() {
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
