//! The float64 loss, its gradients, the miner and the queue against values computed with PyTorch
//! (tests/fixtures, see manifest.json).

#![allow(clippy::unwrap_used)] // helpers of tests are tests

use ndarray::Array2;
use rescom::contrast::{
    ClassBalancedQueue, ClassBalancedSupCon, HardPairMiner, LossForm, SelfPairs, SupConLoss,
    Temperature,
};
use safetensors::{Dtype, SafeTensors};

struct Fixture(Vec<u8>);

impl Fixture {
    fn open(name: &str) -> Self {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/");
        Self(std::fs::read(format!("{path}{name}.safetensors")).unwrap())
    }

    fn matrix(&self, name: &str) -> Array2<f64> {
        let all = SafeTensors::deserialize(&self.0).unwrap();
        let t = all.tensor(name).unwrap();
        let data: Vec<f64> = match t.dtype() {
            Dtype::F64 => {
                t.data().chunks(8).map(|b| f64::from_le_bytes(b.try_into().unwrap())).collect()
            }
            Dtype::F32 => t
                .data()
                .chunks(4)
                .map(|b| f64::from(f32::from_le_bytes(b.try_into().unwrap())))
                .collect(),
            Dtype::I64 => t
                .data()
                .chunks(8)
                .map(|b| i64::from_le_bytes(b.try_into().unwrap()) as f64)
                .collect(),
            other => panic!("{name}: {other:?}"),
        };
        let shape = match *t.shape() {
            [r, c] => (r, c),
            [n] => (n, 1),
            _ => panic!("{name}: {:?}", t.shape()),
        };
        Array2::from_shape_vec(shape, data).unwrap()
    }

    fn labels(&self, name: &str) -> Vec<usize> {
        self.matrix(name).iter().map(|&v| v as usize).collect()
    }
}

fn assert_close(what: &str, seen: &Array2<f64>, expected: &Array2<f64>, tolerance: f64) {
    assert_eq!(seen.dim(), expected.dim(), "{what}");
    let largest = expected.iter().fold(0.0f64, |a, b| a.max(b.abs()));
    let error = (seen - expected).iter().fold(0.0f64, |a, b| a.max(b.abs()));
    assert!(error <= tolerance * largest.max(1e-300), "{what}: off by {error} of {largest}");
}

fn supcon(temperature: f64) -> SupConLoss {
    SupConLoss { form: LossForm::Out, temperature: Temperature::new(temperature).unwrap() }
}

#[test]
fn a_batch_against_itself_equals_pytorch() {
    let f = Fixture::open("supcon");
    for (case, t) in [("batch0", 0.1), ("batch1", 0.07), ("batch2", 0.2)] {
        let features = f.matrix(&format!("{case}.features"));
        let labels = f.labels(&format!("{case}.labels"));
        let rows = (features.view(), labels.as_slice());
        let value = supcon(t).evaluate(rows, rows, SelfPairs::Diagonal, None).unwrap();
        let loss = f.matrix(&format!("{case}.loss"))[[0, 0]];
        assert!((value.loss - loss).abs() < 1e-10, "{case}: {} {loss}", value.loss);
        assert_close(case, &value.grad_sims, &f.matrix(&format!("{case}.grad_sim")), 1e-10);
        let grad = f.matrix(&format!("{case}.grad_features"));
        assert_close(case, &value.grad_features(), &grad, 1e-10);
    }
}

#[test]
fn a_queue_with_and_without_positives_equals_pytorch() {
    let f = Fixture::open("supcon");
    for (case, t) in [("queue0", 0.1), ("queue1", 0.07)] {
        let name = |part: &str| format!("{case}.{part}");
        let (anchors, labels) = (f.matrix(&name("features")), f.labels(&name("labels")));
        let (queue, queue_labels) = (f.matrix(&name("queue")), f.labels(&name("queue_labels")));
        let keys = f.matrix(&name("keys"));
        let both = ndarray::concatenate![ndarray::Axis(0), keys, queue];
        let both_labels: Vec<_> = labels.iter().chain(&queue_labels).copied().collect();
        for (variant, keys, key_labels) in
            [("queue_only", &queue, &queue_labels), ("key_plus_queue", &both, &both_labels)]
        {
            let anchors = (anchors.view(), labels.as_slice());
            let keys = (keys.view(), key_labels.as_slice());
            let value = supcon(t).evaluate(anchors, keys, SelfPairs::Distinct, None).unwrap();
            let name = |part: &str| format!("{case}.{variant}.{part}");
            let expected = f.matrix(&name("loss_mean_all"))[[0, 0]];
            assert!((value.loss - expected).abs() < 1e-10, "{case} {variant}");
            assert_eq!(value.positives, f.labels(&name("num_pos")));
            assert_close(&name("grad_sim"), &value.grad_sims, &f.matrix(&name("grad_sim")), 1e-10);
            let grad = f.matrix(&name("grad_features"));
            assert_close(&name("grad_features"), &value.grad_anchors, &grad, 1e-10);
        }
    }
}

/// The stored values are float32, so the tolerance is theirs (5e-6 of the largest entry).
#[test]
fn a_rebalanced_step_equals_pytorch() {
    for (case, t, num_pos, num_neg, con_weight) in [
        ("loss_c10_imb10_pos4_neg40", 0.1, 4, 40, 0.5),
        ("loss_c7_odd", 0.1, 4, 1, 0.5),
        ("loss_edge_one_class", 0.1, 1, 4, 1.0),
    ] {
        let f = Fixture::open(case);
        let (features, labels) = (f.matrix("features"), f.labels("labels"));
        let queue = f.matrix("queue").t().to_owned();
        let weights = f.matrix("class_weight").into_raw_vec_and_offset().0;
        let key_labels: Vec<_> =
            (0..queue.nrows()).map(|k| k * weights.len() / queue.nrows()).collect();
        let loss = ClassBalancedSupCon {
            form: LossForm::Out,
            temperature: Temperature::new(t).unwrap(),
            weights,
            miner: Some(HardPairMiner { num_pos, num_neg }),
        };
        let value = loss
            .evaluate((features.view(), labels.as_slice()), (queue.view(), key_labels.as_slice()))
            .unwrap();
        let expected = f.matrix("loss_con")[[0, 0]];
        assert!((value.loss / expected - 1.0).abs() < 2e-6, "{case}: {} {expected}", value.loss);
        let sims = Array2::from_shape_vec(
            (labels.len(), value.sims[0].len()),
            value.sims.into_iter().flatten().collect(),
        )
        .unwrap();
        assert_close(case, &sims, &f.matrix("sim_con"), 1e-6);
        let flags: Vec<f64> =
            value.positive.iter().flatten().map(|&p| f64::from(u8::from(p))).collect();
        assert_eq!(flags, f.matrix("labels_con").into_raw_vec_and_offset().0, "{case}");
        let grads = value.grad_sims.iter().flatten().map(|g| con_weight * g).collect();
        let grads = Array2::from_shape_vec(sims.dim(), grads).unwrap();
        assert_close(case, &grads, &f.matrix("grad_sim_con"), 5e-6);
        let grad = value.grad_features * con_weight;
        assert_close(case, &grad, &f.matrix("grad_features"), 5e-6);
    }
}

#[test]
fn the_class_balanced_queue_equals_the_reference_bit_for_bit() {
    let f = Fixture::open("queue_c5_q3");
    let init = f.matrix("queue_init").t().to_owned();
    let mut queue = ClassBalancedQueue::new(5, 3, init).unwrap();
    for step in 0..8 {
        let name = |part: &str| format!("step{step}.{part}");
        let features = f.matrix(&name("features"));
        let labels = f.labels(&name("labels"));
        let half = labels.len() / 2;
        let view_1 = features.view().split_at(ndarray::Axis(0), half).0;
        queue.push(&view_1, &labels[..half]).unwrap();
        assert_eq!(queue.keys(), f.matrix(&name("queue")).t(), "step {step}");
        assert_eq!(queue.pointers(), f.labels(&name("ptr")), "step {step}");
    }
}
