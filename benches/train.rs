//! One training step (forward, backward, SGD, queue) on the CPU, ResNet-32 at 32x32, beside the same step in
//! PyTorch (eager) in the same run, round by round in turn. Threads of both: `RESCOM_BENCH_THREADS`, 1 if
//! unset.
//!
//! `cargo bench --features train --bench train`; for the peer see `benches/peers/mod.rs`.

use rescom::{
    longtail::ClassCounts,
    run::{Arch, ContrastSpec, EncoderSpec, Method, Precision, QueueInit, SgdSpec, TrainerSpec},
    train::{Images, Trainer, set_threads},
};

mod peers;

use peers::{Peer, calls_per_second, in_turn};

const ROUNDS: usize = 5;
/// Images B per step; as many labels, and views times as many rows.
const BATCH: usize = 32;
const CLASSES: usize = 100;

fn spec(name: &str, channels_last: bool) -> TrainerSpec {
    let method: Method = name.parse().expect("a method");
    TrainerSpec {
        encoder: EncoderSpec::new(Arch::ResNet32, 3),
        loss: method.loss().expect("a name with a composition"),
        contrast: ContrastSpec {
            temperature: 0.2,
            con_weight: 0.5,
            effective_number_beta: 0.999999,
            queue_per_class: 10,
            num_pos: 1,
            num_neg: 400,
            queue_init: QueueInit::Random,
            encoder_momentum: 0.999,
        },
        projection_dim: 32,
        mixup_alpha: 1.0,
        sgd: SgdSpec::default(),
        precision: Precision::Fp32,
        channels_last,
    }
}

fn main() {
    let threads = std::env::var("RESCOM_BENCH_THREADS").ok().and_then(|n| n.parse().ok());
    let threads = threads.unwrap_or(1);
    set_threads(threads);
    let counts = (0..CLASSES as u64).map(|c| 500 / (c + 1) + 1).collect();
    let counts = ClassCounts::new(counts).expect("no class is empty");
    let mut peer = Peer::start("train_step.py", &[]);
    println!("median of {ROUNDS} rounds, {threads} threads");
    println!("{:<34} {:>12} {:>12} {:>8}", "views/s", "ours", "peer", "ratio");
    for (name, channels_last) in
        ["balanced-softmax", "rescom"].into_iter().flat_map(|n| [(n, false), (n, true)])
    {
        let spec = spec(name, channels_last);
        let mut trainer = Trainer::new(&spec, &counts, 0, "cpu").expect("the settings fit");
        let rows = BATCH * spec.loss.views();
        let values: Vec<f32> =
            (0..rows * 3072).map(|i| (i * 7919 % 1000) as f32 / 500.0 - 1.0).collect();
        let labels: Vec<i64> = (0..BATCH).map(|i| (i * 7 % CLASSES) as i64).collect();
        let images = Images { values: &values, shape: [rows, 3, 32, 32] };
        let mut step = || {
            let _ = trainer.step(images, &labels, 1e-4).expect("a step works");
        };
        let order = if channels_last { "channels last" } else { "channels first" };
        let question = format!("{name} {order}");
        let mut peers = [(peer.take(), question.clone())];
        let (ours, theirs) = in_turn(ROUNDS, || calls_per_second(&mut step), &mut peers);
        [(peer, _)] = peers;
        let views = rows as f64;
        let (rate, ratio) = match theirs[0] {
            Some(rate) => (format!("{:.0}", views * rate), format!("{:.2}", ours / rate)),
            None => ("-".into(), "-".into()),
        };
        println!("{question:<34} {:>12.0} {rate:>12} {ratio:>8}", views * ours);
    }
}
