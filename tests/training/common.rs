use rand_distr::{Distribution, StandardNormal};
use rescom::{
    longtail::ClassCounts,
    rng::Streams,
    train::{
        HostData, HostTensor, Images,
        fit::config::{
            Arch, Classification, ContrastKind, ContrastiveLossSpec, EncoderSpec, HardPairMiner,
            LossSpec, Precision, QueueInit, QueueSpec, SgdSpec, TrainerSpec,
        },
    },
};

pub(crate) fn normal(name: &str, seed: u64, n: usize) -> Vec<f64> {
    let mut rng = Streams::new(seed).stream(name, &[]);
    (0..n).map(|_| Distribution::<f64>::sample(&StandardNormal, &mut rng)).collect()
}

/// Labels below `classes`, more of the first ones.
pub(crate) fn labels(seed: u64, n: usize, classes: usize) -> Vec<i64> {
    let skewed = |x: f64| ((x.abs() / 2.5).min(0.999).powi(2) * classes as f64) as i64;
    normal("labels", seed, n).into_iter().map(skewed).collect()
}

/// Unit rows whose values are exact in float32, so that both precisions see the same numbers.
pub(crate) fn unit_rows(name: &str, seed: u64, n: usize, d: usize) -> Vec<f64> {
    let mut values = normal(name, seed, n * d);
    for row in values.chunks_mut(d) {
        let norm = row.iter().map(|x| x * x).sum::<f64>().sqrt();
        row.iter_mut().for_each(|x| *x = f64::from((*x / norm) as f32));
    }
    values
}

pub(crate) fn double(shape: &[usize], values: Vec<f64>) -> HostTensor {
    HostTensor { shape: shape.to_vec(), data: HostData::F64(values) }
}

pub(crate) fn counts(classes: usize) -> ClassCounts {
    ClassCounts::new((0..classes).map(|c| 400 / (c as u64 + 1)).collect()).unwrap()
}

/// ResCom's contrastive part on a small scale.
pub(crate) fn contrast(dim: usize, queue: Option<QueueSpec>) -> ContrastiveLossSpec {
    ContrastiveLossSpec {
        con_weight: 0.5,
        temperature: 0.2,
        projection_dim: dim,
        class_balanced_beta: Some(0.99),
        queue,
        mining: None,
        kind: ContrastKind::Supervised,
    }
}

pub(crate) fn rescom(dim: usize) -> LossSpec {
    let queue = QueueSpec::ClassBalanced { per_class: 4, init: QueueInit::Random };
    LossSpec {
        classification: Classification::BalancedSoftmax,
        siamese: true,
        mixup_alpha: None,
        contrast: Some(ContrastiveLossSpec {
            mining: Some(HardPairMiner { num_pos: 1, num_neg: 6 }),
            ..contrast(dim, Some(queue))
        }),
    }
}

/// Cross-entropy alone.
pub(crate) fn plain() -> LossSpec {
    LossSpec {
        classification: Classification::CrossEntropy,
        siamese: false,
        mixup_alpha: None,
        contrast: None,
    }
}

/// One method of each kind, by name.
pub(crate) fn methods(dim: usize) -> Vec<(&'static str, LossSpec)> {
    let fifo = |init| Some(QueueSpec::Fifo { len: 24, init });
    let balanced = || LossSpec { classification: Classification::BalancedSoftmax, ..plain() };
    let with = |contrast| LossSpec { contrast: Some(contrast), ..balanced() };
    let moco = ContrastiveLossSpec {
        kind: ContrastKind::Momentum { momentum: 0.9 },
        class_balanced_beta: None,
        ..contrast(dim, fifo(QueueInit::ExcludeUnfilled))
    };
    let mined = ContrastiveLossSpec {
        mining: Some(HardPairMiner { num_pos: 2, num_neg: 9 }),
        ..contrast(dim, fifo(QueueInit::Random))
    };
    vec![
        ("ce", plain()),
        ("balanced-softmax", balanced()),
        ("mixup", LossSpec { mixup_alpha: Some(0.2), ..plain() }),
        (
            "supcon+bs",
            with(ContrastiveLossSpec { class_balanced_beta: None, ..contrast(dim, None) }),
        ),
        ("moco+bs", with(moco)),
        ("rescom", rescom(dim)),
        ("rescom, fifo", LossSpec { siamese: true, ..with(mined) }),
    ]
}

pub(crate) fn trainer(method: LossSpec) -> TrainerSpec {
    TrainerSpec {
        encoder: EncoderSpec { arch: Arch::ResNet20, in_channels: 1, width: Some(4) },
        method,
        sgd: SgdSpec::default(),
        precision: Precision::F32,
        channels_last: false,
    }
}

/// Side of the test images.
pub(crate) const SIDE: usize = 12;

/// `rows` grey images, each a bright bar whose place tells its class, with noise.
pub(crate) fn pictures(seed: u64, labels: &[i64], views: usize) -> Vec<f32> {
    let rows = labels.len() * views;
    let mut values = normal("pictures", seed, rows * SIDE * SIDE);
    for (row, image) in values.chunks_mut(SIDE * SIDE).enumerate() {
        let bar = labels[row % labels.len()] as usize * 2 % SIDE;
        image[bar * SIDE..(bar + 1) * SIDE].iter_mut().for_each(|x| *x += 3.0);
    }
    values.into_iter().map(|x| 0.5 * x as f32).collect()
}

pub(crate) fn images(values: &[f32]) -> Images<'_> {
    Images { values, shape: [values.len() / (SIDE * SIDE), 1, SIDE, SIDE] }
}
