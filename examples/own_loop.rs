//! ResCom in a training loop of your own: a small network of tch, tch's optimiser, the losses and the queue of this
//! crate. The images are generated: grey bars whose place is their class, in noise, long-tailed.
//!
//! `cargo run --features train --example own_loop`

use rand::RngExt as _;
use rescom::{
    longtail::{ClassCounts, EffectiveNumber},
    rng::Streams,
    train::losses::{
        BalancedSoftmax, BatchKeys, ClassBalancedQueue, ClassBalancedSupCon, HardPairMiner,
        JointLoss, KeyQueue as _, KeySource as _, Mined, QueueInit, SiameseBalancedSoftmax,
        SupConLoss, Temperature, unit_rows,
    },
};
use tch::{
    Device, Tensor,
    nn::{self, Module as _, OptimizerConfig as _},
};

const COUNTS: [u64; 5] = [200, 80, 32, 13, 5];
const SIDE: usize = 10;
const BATCH: usize = 64;
const STEPS: u64 = 100;
/// Width of the features and of the projections.
const DIM: i64 = 32;

/// A backbone with the two heads of ResCom.
struct Network {
    backbone: nn::Sequential,
    classifier: nn::Linear,
    projection: nn::Linear,
}

impl Network {
    fn new(vs: &nn::Path<'_>) -> Self {
        let conv = nn::ConvConfig { stride: 2, padding: 1, ..Default::default() };
        let flat = 8 * (SIDE / 2 * SIDE / 2) as i64;
        let backbone = nn::seq()
            .add(nn::conv2d(vs / "conv", 1, 8, 3, conv))
            .add_fn(|x| x.relu().flat_view())
            .add(nn::linear(vs / "features", flat, DIM, Default::default()))
            .add_fn(Tensor::relu);
        let classes = COUNTS.len() as i64;
        let classifier = nn::linear(vs / "classifier", DIM, classes, Default::default());
        let projection = nn::linear(vs / "projection", DIM, DIM, Default::default());
        Self { backbone, classifier, projection }
    }
}

/// Both views of a batch `[2B, 1, SIDE, SIDE]`, view 1 of all images first, and the labels `[B]`, drawn as often as the
/// classes have images. The noise differs between the views.
fn batch(step: u64, streams: Streams) -> (Tensor, Tensor) {
    let mut rng = streams.stream("batch", &[step]);
    let pool = COUNTS.iter().enumerate().flat_map(|(class, &n)| vec![class; n as usize]);
    let pool: Vec<usize> = pool.collect();
    let labels: Vec<usize> = (0..BATCH).map(|_| pool[rng.random_range(0..pool.len())]).collect();
    let mut pixels = vec![0f32; 2 * BATCH * SIDE * SIDE];
    for (row, image) in pixels.chunks_mut(SIDE * SIDE).enumerate() {
        image.iter_mut().for_each(|x| *x = rng.random_range(-1.0..1.0));
        let bar = 2 * labels[row % BATCH] * SIDE;
        image[bar..bar + SIDE].iter_mut().for_each(|x| *x += 1.0);
    }
    let side = SIDE as i64;
    let labels: Vec<i64> = labels.iter().map(|&y| y as i64).collect();
    (Tensor::from_slice(&pixels).reshape([-1, 1, side, side]), Tensor::from_slice(&labels))
}

/// Trains and gives the loss of every step, in nats.
pub(crate) fn train() -> rescom::Result<Vec<f64>> {
    let counts = ClassCounts::new(COUNTS.to_vec())?;
    let device = Device::cuda_if_available();
    let vs = nn::VarStore::new(device);
    let network = Network::new(&vs.root());
    let mut sgd = nn::Sgd { momentum: 0.9, ..Default::default() }.build(&vs, 0.03)?;

    let supcon = SupConLoss::new(Temperature::new(0.2)?);
    let supcon = ClassBalancedSupCon::new(supcon, EffectiveNumber::new(0.999)?, &counts);
    let loss = JointLoss::new(SiameseBalancedSoftmax(BalancedSoftmax::new(&counts)));
    let loss = loss.with(0.5, supcon)?;
    let (per_class, init) = (8, QueueInit::Random);
    let queue = ClassBalancedQueue::random(COUNTS.len(), per_class, DIM as usize, init, 0, device)?;
    let mut queue = Mined::new(queue, HardPairMiner { num_pos: 2, num_neg: 20 })?;

    let mut losses = vec![];
    for step in 0..STEPS {
        let (images, labels) = batch(step, Streams::new(0));
        let (images, labels) = (images.to_device(device), labels.to_device(device));
        let features = network.backbone.forward(&images);
        let logits = network.classifier.forward(&features);
        let z = unit_rows(&network.projection.forward(&features))?;
        let both = Tensor::cat(&[&labels, &labels], 0);
        let pairs = BatchKeys.and(&queue).pairs(&z, &both)?;
        let terms = loss.terms(&logits, &both, Some(&pairs))?;
        sgd.backward_step(&terms.total);
        queue.enqueue(&z.narrow(0, 0, BATCH as i64), &labels)?; // view 1, once its keys were met
        losses.push(terms.total.double_value(&[]));
    }
    Ok(losses)
}

fn main() -> rescom::Result<()> {
    for (i, ten) in train()?.chunks(10).enumerate() {
        let mean = ten.iter().sum::<f64>() / ten.len() as f64;
        println!("steps {:>3} to {:>3}  mean loss {mean:.4} nats", 10 * i + 1, 10 * i + ten.len());
    }
    Ok(())
}
