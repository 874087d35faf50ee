//! One training step (forward, backward, SGD, queue) on the CPU, ResNet-32 at 32x32, in images per
//! second. Peer, to be run on the same machine with the same number of threads:
//! benches/peers/train_step.py (PyTorch, eager). Threads: `RESCOM_BENCH_THREADS`, 1 if unset.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use rescom::{
    longtail::ClassCounts,
    train::{
        Images, Trainer,
        config::{
            Arch, Classification, ContrastKind, ContrastiveLossSpec, EncoderSpec, HardPairMiner,
            LossSpec, Precision, QueueInit, QueueSpec, SgdSpec, TrainerSpec,
        },
        set_threads,
    },
};

/// Images B per step; as many labels, and views times as many rows.
const BATCH: usize = 32;
const CLASSES: usize = 100;

fn method(name: &str) -> LossSpec {
    let contrast = ContrastiveLossSpec {
        con_weight: 0.5,
        temperature: 0.2,
        projection_dim: 32,
        class_balanced_beta: Some(0.999999),
        queue: Some(QueueSpec::ClassBalanced { per_class: 10, init: QueueInit::Random }),
        mining: Some(HardPairMiner { num_pos: 1, num_neg: 400 }),
        kind: ContrastKind::Supervised,
    };
    let rescom = name == "rescom";
    LossSpec {
        classification: Classification::BalancedSoftmax,
        siamese: rescom,
        mixup_alpha: None,
        contrast: rescom.then_some(contrast),
    }
}

fn step(c: &mut Criterion) {
    let threads = std::env::var("RESCOM_BENCH_THREADS").ok().and_then(|n| n.parse().ok());
    set_threads(threads.unwrap_or(1));
    let mut group = c.benchmark_group("train_step");
    group.sample_size(10);
    let counts = (0..CLASSES as u64).map(|c| 500 / (c + 1) + 1).collect();
    let counts = ClassCounts::new(counts).expect("no class is empty");
    for name in ["balanced-softmax", "rescom"] {
        for channels_last in [false, true] {
            let spec = TrainerSpec {
                encoder: EncoderSpec::new(Arch::ResNet32, 3),
                method: method(name),
                sgd: SgdSpec::default(),
                precision: Precision::F32,
                channels_last,
            };
            let mut trainer = Trainer::new(&spec, &counts, 0, "cpu").expect("the settings fit");
            let rows = BATCH * spec.method.views();
            let values: Vec<f32> =
                (0..rows * 3072).map(|i| (i * 7919 % 1000) as f32 / 500.0 - 1.0).collect();
            let labels: Vec<i64> = (0..BATCH).map(|i| (i * 7 % CLASSES) as i64).collect();
            let images = Images { values: &values, shape: [rows, 3, 32, 32] };
            group.throughput(Throughput::Elements(rows as u64));
            let order = if channels_last { "channels last" } else { "channels first" };
            group.bench_function(BenchmarkId::new(name, order), |b| {
                b.iter(|| trainer.step(images, &labels, 1e-4).expect("a step works"));
            });
        }
    }
    group.finish();
}

criterion_group! {
    name = benches;
    // Criterion's own plots need system fonts, which a bare machine lacks.
    config = Criterion::default().without_plots();
    targets = step
}
criterion_main!(benches);
