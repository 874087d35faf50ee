//! Losses and queues on random shapes: against the float64 oracle, by finite differences, permuted.

use ndarray::Array2;
use proptest::prelude::*;
use rand::seq::SliceRandom as _;
use rescom::{
    contrast::{self, ClassBalancedSupCon, HardPairMiner, LossForm, Temperature},
    longtail::EffectiveNumber,
    rng::Streams,
    run::{ContrastSpec, Keys, Miner, QueueInit, TrainerSpec},
    train::{
        HostTensor, HostTensors,
        losses::{
            BatchKeys, ClassBalancedQueue, FifoQueue, GivenKeys, JointLoss, KeySource, Mined,
            SupConLoss,
        },
    },
};

use tch::Device;

use crate::{
    common::{self, double, labels, normal, unit_rows},
    gradients,
};

#[derive(Debug, Clone)]
struct Setting {
    seed: u64,
    half: usize,
    classes: usize,
    dim: usize,
    per_class: usize,
    mining: Option<(usize, usize)>,
    fifo: bool,
    exclude: bool,
}

fn settings() -> impl Strategy<Value = Setting> {
    let sizes = (any::<u64>(), 2usize..9, 2usize..8, 2usize..12, 1usize..6);
    (sizes, any::<[bool; 3]>(), 0.0f64..1.0, 0.0f64..1.0).prop_map(
        |((seed, half, classes, dim, per_class), [mine, fifo, exclude], p, n)| {
            let pick = |share: f64, most: usize| 1 + (share * most as f64 * 0.999) as usize;
            let mining = (pick(p, per_class), pick(n, per_class * (classes - 1)));
            let mining = mine.then_some(mining);
            Setting { seed, half, classes, dim, per_class, mining, fifo, exclude }
        },
    )
}

struct Made {
    spec: TrainerSpec,
    inputs: HostTensors,
    labels: Vec<usize>,
    /// Keys that count, with their classes.
    keys: Array2<f64>,
    key_labels: Vec<usize>,
}

impl Setting {
    fn make(&self) -> Made {
        let (m, d, q) = (2 * self.half, self.dim, self.per_class);
        let n = self.classes * q;
        let half = labels(self.seed, self.half, self.classes);
        let both = [half.clone(), half].concat();
        let keys = unit_rows("keys", self.seed, n, d);
        let features = unit_rows("features", self.seed, m, d);
        let mut inputs: HostTensors = [
            ("features".to_owned(), double(&[m, d], features)),
            (
                "logits".to_owned(),
                double(&[m, self.classes], normal("logits", self.seed, m * self.classes)),
            ),
            ("labels".to_owned(), HostTensor::i64(&[m], both.clone()).unwrap()),
        ]
        .into();
        let init = if self.exclude { QueueInit::ExcludeUnfilled } else { QueueInit::Random };
        let rows = Array2::from_shape_vec((n, d), keys.clone()).unwrap();
        // Which slots hold keys: a random number per ring (or in all), from the front.
        let share: Vec<f64> =
            normal("filled", self.seed, self.classes).iter().map(|x| x.abs().fract()).collect();
        let (queue, counted, of): (_, Vec<bool>, Vec<i64>) = if self.fifo {
            let filled = (share[0] * n as f64) as usize;
            let of: Vec<i64> = labels(self.seed ^ 1, n, self.classes);
            inputs.insert("fifo.keys".into(), double(&[n, d], keys));
            inputs.insert("fifo.labels".into(), HostTensor::i64(&[n], of.clone()).unwrap());
            let state = vec![(filled % n) as i64, filled as i64];
            inputs.insert("fifo.state".into(), HostTensor::i64(&[2], state).unwrap());
            let counted = (0..n).map(|k| !self.exclude || k < filled).collect();
            // A slot that never was written has no class, as in training.
            let of: Vec<i64> = of
                .iter()
                .enumerate()
                .map(|(k, &c)| if self.exclude && k >= filled { -1 } else { c })
                .collect();
            inputs.insert("fifo.labels".into(), HostTensor::i64(&[n], of.clone()).unwrap());
            (Keys::FifoQueue, counted, of)
        } else {
            let filled: Vec<i64> = share.iter().map(|s| (s * (q + 1) as f64) as i64).collect();
            let columns = rows.t().iter().copied().collect();
            inputs.insert("queue_list".into(), double(&[d, n], columns));
            inputs.insert(
                "queue_ptr".into(),
                HostTensor::i64(&[self.classes], vec![0; self.classes]).unwrap(),
            );
            inputs.insert(
                "queue_filled".into(),
                HostTensor::i64(&[self.classes], filled.clone()).unwrap(),
            );
            let counted =
                (0..n).map(|k| !self.exclude || ((k % q) as i64) < filled[k / q]).collect();
            let of = (0..n).map(|k| (k / q) as i64).collect();
            (Keys::ClassBalancedQueue, counted, of)
        };
        let mut spec = common::rescom(d);
        let (num_pos, num_neg) = self.mining.unwrap_or_default();
        let numbers = ContrastSpec { queue_per_class: q, queue_init: init, ..spec.contrast };
        spec.contrast = ContrastSpec { num_pos, num_neg, ..numbers };
        spec.loss.keys = vec![Keys::Batch, queue];
        spec.loss.miner = if self.mining.is_some() { Miner::HardPairs } else { Miner::None };
        let kept: Vec<usize> = (0..n).filter(|&k| counted[k]).collect();
        Made {
            spec,
            inputs,
            labels: both.iter().map(|&y| y as usize).collect(),
            keys: rows.select(ndarray::Axis(0), &kept),
            key_labels: kept.iter().map(|&k| of[k] as usize).collect(),
        }
    }

    fn keys(&self, made: &Made) -> Box<dyn KeySource> {
        let init = if self.exclude { QueueInit::ExcludeUnfilled } else { QueueInit::Random };
        let state = gradients::queue_state(&made.inputs);
        let fifo = || FifoQueue::from_state(&state, init).unwrap();
        let ring = || ClassBalancedQueue::from_state(&state, self.classes, init).unwrap();
        let miner = self.mining.map(|(num_pos, num_neg)| HardPairMiner { num_pos, num_neg });
        let queue: Box<dyn KeySource> = match (miner, self.fifo) {
            (Some(miner), true) => Box::new(Mined::new(fifo(), miner).unwrap()),
            (Some(miner), false) => Box::new(Mined::new(ring(), miner).unwrap()),
            (None, true) => Box::new(fifo()),
            (None, false) => Box::new(ring()),
        };
        Box::new(BatchKeys.and(queue))
    }

    fn loss(&self, made: &Made) -> HostTensors {
        let numbers = &made.spec.contrast;
        let counts = common::counts(self.classes);
        let joint = JointLoss::of_spec(&made.spec.loss, numbers, &counts).unwrap();
        gradients::joint(&joint, &made.inputs, &*self.keys(made))
    }
}

fn close(got: f64, want: f64, tolerance: f64) -> bool {
    (got - want).abs() <= tolerance * want.abs().max(1.0)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn contrastive_loss_equals_the_oracle(setting in settings()) {
        let made = setting.make();
        let got = setting.loss(&made);
        let counts = common::counts(setting.classes);
        let weights = EffectiveNumber::new(0.99).unwrap().weights(&counts);
        let oracle = ClassBalancedSupCon {
            form: LossForm::Out,
            temperature: Temperature::new(0.2).unwrap(),
            // The weights are float32 in training.
            weights: weights.iter().map(|&w| f64::from(w as f32)).collect(),
            miner: setting.mining.map(|(num_pos, num_neg)| HardPairMiner { num_pos, num_neg }),
        };
        let features = Array2::from_shape_vec(
            (2 * setting.half, setting.dim),
            made.inputs["features"].to_f64(),
        ).unwrap();
        let want = oracle
            .evaluate((features.view(), &made.labels), (made.keys.view(), &made.key_labels))
            .unwrap();
        let loss = got["loss_con"].to_f64()[0];
        prop_assert!(close(loss, want.loss, 1e-12), "{loss} {}", want.loss);
        let scale = 0.5; // con_weight: the gradient is that of the total loss.
        for (g, w) in got["grad_features"].to_f64().iter().zip(&want.grad_features) {
            prop_assert!(close(*g, scale * w, 1e-11), "{g} {w}");
        }
    }

    #[test]
    fn gradients_equal_finite_differences(setting in settings()) {
        // The mined set may change under a small shift only where two keys tie; those are rare enough
        // among random rows that a failure would be a real one.
        let mut made = setting.make();
        let rows = 2 * setting.half;
        let raw = normal("raw", setting.seed, rows * setting.dim);
        made.inputs.insert("raw_features".into(), double(&[rows, setting.dim], raw));
        let gradients = setting.loss(&made);
        for (name, gradient) in [("raw_features", "grad_raw_features"), ("logits", "grad_logits")] {
            let values = made.inputs[name].to_f64();
            let shape = made.inputs[name].shape.clone();
            let h = 1e-6;
            for i in (0..values.len()).step_by(values.len() / 3 + 1) {
                let mut at = |shift: f64| {
                    let mut moved = values.clone();
                    moved[i] += shift;
                    made.inputs.insert(name.into(), double(&shape, moved));
                    setting.loss(&made)["loss"].to_f64()[0]
                };
                let slope = (at(h) - at(-h)) / (2.0 * h);
                made.inputs.insert(name.into(), double(&shape, values.clone()));
                let analytic = gradients[gradient].to_f64()[i];
                prop_assert!((slope - analytic).abs() < 1e-6 * analytic.abs().max(1.0), "{name}[{i}]: {slope} {analytic}");
            }
        }
    }

    #[test]
    fn the_order_of_rows_does_not_matter(setting in settings()) {
        let made = setting.make();
        let want = setting.loss(&made);
        // Any order of all 2B rows: samples change places, views part and swap.
        let mut order: Vec<usize> = (0..2 * setting.half).collect();
        order.shuffle(&mut Streams::new(setting.seed).stream("order", &[]));
        let mut mixed = Made { inputs: made.inputs.clone(), ..made };
        for name in ["features", "logits"] {
            let tensor = &mixed.inputs[name];
            let (width, shape, values) = (tensor.shape[1], tensor.shape.clone(), tensor.to_f64());
            let rows = order.iter().flat_map(|&i| &values[i * width..(i + 1) * width]);
            let rows = rows.copied().collect();
            mixed.inputs.insert(name.into(), double(&shape, rows));
        }
        let both = mixed.inputs["labels"].as_i64().unwrap();
        let both: Vec<i64> = order.iter().map(|&i| both[i]).collect();
        mixed.inputs.insert("labels".into(), HostTensor::i64(&[both.len()], both).unwrap());
        let got = setting.loss(&mixed);
        for name in ["loss_cls", "loss_con", "loss"] {
            let (g, w) = (got[name].to_f64()[0], want[name].to_f64()[0]);
            prop_assert!(close(g, w, 1e-12), "{name}: {g} {w}");
        }
    }

    #[test]
    fn classifying_two_views_is_the_mean_of_both_halves(setting in settings()) {
        let made = setting.make();
        let whole = setting.loss(&made)["loss_cls"].to_f64()[0];
        let mut one = made;
        one.spec.loss.views_classified = 1;
        let first = setting.loss(&one)["loss_cls"].to_f64()[0];
        let shape = one.inputs["logits"].shape.clone();
        let mut swapped = one.inputs["logits"].to_f64();
        swapped.rotate_left(setting.half * setting.classes);
        one.inputs.insert("logits".into(), double(&shape, swapped));
        let second = setting.loss(&one)["loss_cls"].to_f64()[0];
        prop_assert!(close(whole, (first + second) / 2.0, 1e-13), "{whole} {first} {second}");
    }

    #[test]
    fn the_queue_equals_the_oracle(setting in settings()) {
        let (classes, q, d) = (setting.classes, setting.per_class, setting.dim);
        let keys = unit_rows("keys", setting.seed, classes * q, d);
        let keys = Array2::from_shape_vec((classes * q, d), keys).unwrap();
        let mut oracle = contrast::ClassBalancedQueue::new(classes, q, keys.clone()).unwrap();
        let columns = keys.t().iter().copied().collect();
        let state = [("queue_list".to_owned(), double(&[d, classes * q], columns))].into();
        let state = gradients::queue_state(&state);
        let mut queue = ClassBalancedQueue::from_state(&state, classes, QueueInit::Random).unwrap();
        for step in 0..3 {
            let b = setting.half * (1 + 2 * step);
            let of = labels(setting.seed ^ step as u64, b, classes);
            let rows = unit_rows("rows", setting.seed ^ step as u64, b, d);
            let view_1 = Array2::from_shape_vec((b, d), rows.clone()).unwrap();
            let known: Vec<usize> = of.iter().map(|&c| c as usize).collect();
            oracle.push(&view_1, &known).unwrap();
            let of = HostTensor::i64(&[b], of).unwrap();
            gradients::enqueue(&mut queue, &double(&[b, d], rows), &of);
            let state = gradients::state(&queue);
            let columns: Vec<f64> = oracle.keys().t().iter().copied().collect();
            prop_assert_eq!(state["queue_list"].to_f64(), columns);
            let pointers: Vec<i64> = oracle.pointers().iter().map(|&p| p as i64).collect();
            prop_assert_eq!(state["queue_ptr"].as_i64().unwrap(), &pointers[..]);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_fifo_queue_equals_the_oracle(setting in settings()) {
        let (len, d) = (setting.classes * setting.per_class, setting.dim);
        let keys = Array2::from_shape_vec((len, d), unit_rows("keys", setting.seed, len, d)).unwrap();
        // The oracle begins with classes for all keys; here none has one before it is written.
        let unwritten = setting.classes;
        let mut oracle = contrast::FifoQueue::new(keys.clone(), vec![unwritten; len]).unwrap();
        let state = [
            ("fifo.keys".to_owned(), double(&[len, d], keys.iter().copied().collect())),
            ("fifo.labels".to_owned(), HostTensor::i64(&[len], vec![-1; len]).unwrap()),
            ("fifo.state".to_owned(), HostTensor::i64(&[2], vec![0, 0]).unwrap()),
        ];
        let state = gradients::queue_state(&state.into());
        let mut queue = FifoQueue::from_state(&state, QueueInit::ExcludeUnfilled).unwrap();
        let mut written = 0;
        for step in 0..4 {
            // From fewer rows than the queue holds to far more.
            let b = 1 + setting.half * step * step;
            let of = labels(setting.seed ^ step as u64, b, setting.classes);
            let rows = unit_rows("rows", setting.seed ^ step as u64, b, d);
            let known: Vec<usize> = of.iter().map(|&c| c as usize).collect();
            oracle.push(&Array2::from_shape_vec((b, d), rows.clone()).unwrap(), &known).unwrap();
            let of = HostTensor::i64(&[b], of).unwrap();
            gradients::enqueue(&mut queue, &double(&[b, d], rows), &of);
            written += b;
            let state = gradients::state(&queue);
            let expected: Vec<f64> = oracle.keys().iter().copied().collect();
            prop_assert_eq!(state["fifo.keys"].to_f64(), expected);
            let classes = |&c: &usize| if c == unwritten { -1 } else { c as i64 };
            let expected: Vec<i64> = oracle.labels().iter().map(classes).collect();
            prop_assert_eq!(state["fifo.labels"].as_i64().unwrap(), &expected[..]);
            let expected = [(written % len) as i64, written.min(len) as i64];
            prop_assert_eq!(state["fifo.state"].as_i64().unwrap(), &expected[..]);
        }
    }

    #[test]
    fn only_written_keys_count_where_unfilled_slots_are_excluded(setting in settings()) {
        let (classes, q, d) = (setting.classes, setting.per_class, setting.dim);
        let init = QueueInit::ExcludeUnfilled;
        let (seed, on) = (setting.seed, Device::Cpu);
        let mut ring = ClassBalancedQueue::random(classes, q, d, init, seed, on).unwrap();
        let mut fifo = FifoQueue::random(classes * q, d, init, seed, on).unwrap();
        // As many rows as the FIFO queue holds at most; of each class the last Q stay in the ring.
        let b = (classes * q).min(2 * setting.half);
        let of = labels(setting.seed ^ 5, b, classes);
        let rows = unit_rows("rows", setting.seed ^ 5, b, d);
        let (keys, of_keys) = (double(&[b, d], rows.clone()), HostTensor::i64(&[b], of.clone()).unwrap());
        gradients::enqueue(&mut ring, &keys, &of_keys);
        gradients::enqueue(&mut fifo, &keys, &of_keys);
        let number = |c: usize| of.iter().filter(|&&y| y == c as i64).count();
        let filled: Vec<i64> = (0..classes).map(|c| number(c).min(q) as i64).collect();
        let state = gradients::state(&ring);
        prop_assert_eq!(state["queue_filled"].as_i64().unwrap(), &filled[..]);

        let m = setting.half;
        let anchors = double(&[m, d], unit_rows("anchors", setting.seed, m, d));
        let anchors_of = HostTensor::i64(&[m], labels(setting.seed ^ 6, m, classes)).unwrap();
        let loss = SupConLoss::new(Temperature::new(0.2).unwrap());
        let of_source =
            |keys: &dyn KeySource| gradients::of_keys(&loss, &anchors, &anchors_of, keys);
        let stay = |i: &usize| of[i + 1..].iter().filter(|&&y| y == of[*i]).count() < q;
        let in_ring: Vec<usize> = (0..b).filter(stay).collect();
        let given = |which: &[usize]| {
            let values = which.iter().flat_map(|&i| rows[i * d..(i + 1) * d].to_vec()).collect();
            let labels = which.iter().map(|&i| of[i]).collect();
            let n = which.len();
            let (keys, labels) = (double(&[n, d], values), HostTensor::i64(&[n], labels).unwrap());
            GivenKeys::new(&gradients::tensor(&keys), &gradients::tensor(&labels)).unwrap()
        };
        let all: Vec<usize> = (0..b).collect();
        let single = |t: &HostTensors, name: &str| t[name].to_f64();
        for (got, want) in [
            (of_source(&ring), of_source(&given(&in_ring))),
            (of_source(&fifo), of_source(&given(&all))),
        ] {
            for name in ["loss", "grad_features", "num_pos"] {
                // Random keys are float32; those pushed are exact in it.
                for (g, w) in single(&got, name).into_iter().zip(single(&want, name)) {
                    prop_assert!(close(g, w, 1e-5), "{name}: {g} {w}");
                }
            }
        }
    }
}

#[test]
fn an_anchor_without_positives_adds_nothing() {
    let anchors = double(&[2, 2], vec![1.0, 0.0, 0.0, 1.0]);
    let keys = double(&[2, 2], vec![0.6, 0.8, 1.0, 0.0]);
    let of = |v: [i64; 2]| HostTensor::i64(&[2], v.to_vec()).unwrap();
    let keys = GivenKeys::new(&gradients::tensor(&keys), &gradients::tensor(&of([0, 0]))).unwrap();
    let loss = SupConLoss::new(Temperature::new(0.1).unwrap());
    let got = gradients::of_keys(&loss, &anchors, &of([0, 1]), &keys);
    let per_anchor = gradients::per_anchor(loss, &anchors, &of([0, 1]), &keys).to_f64();
    assert!(per_anchor[0] > 0.0 && per_anchor[1] == 0.0);
    assert!(got["grad_features"].to_f64()[2..].iter().all(|&g| g == 0.0));
}

#[test]
fn a_small_temperature_stays_finite() {
    // s/T reaches 1000: exponentials would overflow without the log-sum-exp.
    let n = 6;
    let rows: Vec<f32> = unit_rows("tight", 3, n, 4).iter().map(|&x| x as f32).collect();
    let anchors = HostTensor::f32(&[n, 4], rows).unwrap();
    let of = HostTensor::i64(&[n], vec![0, 0, 0, 1, 1, 1]).unwrap();
    let loss = SupConLoss::new(Temperature::new(1e-3).unwrap());
    let got = gradients::of_keys(&loss, &anchors, &of, &BatchKeys);
    for (name, tensor) in &got {
        assert!(tensor.to_f64().iter().all(|x| x.is_finite()), "{name}");
    }
}
