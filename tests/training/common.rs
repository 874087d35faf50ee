use rand_distr::{Distribution, StandardNormal};
use rescom::{
    longtail::ClassCounts,
    rng::Streams,
    run::{Arch, ContrastSpec, EncoderSpec, Method, Precision, QueueInit, SgdSpec, TrainerSpec},
    train::{HostData, HostTensor, Images},
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

/// A small trainer of the method `name`, with projections of width `dim`.
pub(crate) fn spec(name: &str, dim: usize) -> TrainerSpec {
    TrainerSpec {
        encoder: EncoderSpec { arch: Arch::ResNet20, in_channels: 1, width: Some(4) },
        loss: name.parse::<Method>().unwrap().loss().unwrap(),
        contrast: ContrastSpec {
            temperature: 0.2,
            con_weight: 0.5,
            effective_number_beta: 0.99,
            queue_per_class: 4,
            num_pos: 1,
            num_neg: 6,
            queue_init: QueueInit::Random,
            encoder_momentum: 0.9,
        },
        projection_dim: dim,
        mixup_alpha: 0.2,
        sgd: SgdSpec::default(),
        precision: Precision::Fp32,
        channels_last: false,
    }
}

pub(crate) fn rescom(dim: usize) -> TrainerSpec {
    spec("rescom", dim)
}

/// One method of each kind, by name.
pub(crate) fn methods(dim: usize) -> Vec<(&'static str, TrainerSpec)> {
    let of = |name| (name, spec(name, dim));
    let mut moco = of("moco+bs");
    moco.1.contrast.queue_per_class = 5;
    moco.1.contrast.queue_init = QueueInit::ExcludeUnfilled;
    let mut fifo = of("rescom-no-queue");
    fifo.1.contrast = ContrastSpec { num_pos: 2, num_neg: 9, ..fifo.1.contrast };
    let [ce, bs, mixup] = ["ce", "balanced-softmax", "mislas"].map(of);
    vec![ce, bs, mixup, of("supcon+bs"), moco, of("rescom"), fifo]
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
