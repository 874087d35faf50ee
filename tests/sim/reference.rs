//! The float64 loss, its gradients, the miner and the queue against values computed with PyTorch: every case
//! that the manifest of `tests/fixtures` names, or of the folder in `RESCOM_FIXTURES`.

use ndarray::Array2;
use rescom::contrast::{
    ClassBalancedQueue, ClassBalancedSupCon, HardPairMiner, LossForm, SelfPairs, SupConLoss,
    Temperature,
};
use safetensors::{Dtype, SafeTensors};

use crate::place::{self, entries, number, size};

struct Fixture(Vec<u8>);

impl Fixture {
    /// None if the repository's lean copy leaves the file out.
    fn open(name: &str) -> Option<Self> {
        place::bytes(name).map(Self)
    }

    fn has(&self, name: &str) -> bool {
        SafeTensors::deserialize(&self.0).unwrap().tensor(name).is_ok()
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

/// Every case of the files `supcon*`, with its settings and its tensors.
fn supcon_cases() -> Vec<(String, &'static serde_json::Value, Fixture)> {
    let mut all = vec![];
    for (file, entry) in entries("supcon") {
        for (case, settings) in entry["cases"].as_object().unwrap() {
            all.extend(Fixture::open(file).map(|f| (case.clone(), settings, f)));
        }
    }
    assert!(!all.is_empty() || !place::is_lean_copy(), "no case was found");
    all
}

#[test]
fn a_batch_against_itself_equals_pytorch() {
    for (case, settings, f) in supcon_cases().into_iter().filter(|(case, ..)| !case.contains('.')) {
        let features = f.matrix(&format!("{case}.features"));
        let labels = f.labels(&format!("{case}.labels"));
        let rows = (features.view(), labels.as_slice());
        let loss = supcon(number(settings, "temperature"));
        let value = loss.evaluate(rows, rows, SelfPairs::Diagonal, None).unwrap();
        let loss = f.matrix(&format!("{case}.loss"))[[0, 0]];
        assert!((value.loss - loss).abs() < 1e-10, "{case}: {} {loss}", value.loss);
        assert_close(&case, &value.grad_sims, &f.matrix(&format!("{case}.grad_sim")), 1e-10);
        let grad = f.matrix(&format!("{case}.grad_features"));
        assert_close(&case, &value.grad_features(), &grad, 1e-10);
    }
}

#[test]
fn a_queue_with_and_without_positives_equals_pytorch() {
    for (case, settings, f) in supcon_cases() {
        let Some((set, variant)) = case.split_once('.') else { continue };
        let name = |part: &str| format!("{set}.{part}");
        let (anchors, labels) = (f.matrix(&name("features")), f.labels(&name("labels")));
        let (mut keys, mut key_labels) =
            (f.matrix(&name("queue")), f.labels(&name("queue_labels")));
        match variant {
            "queue_only" => {}
            "key_plus_queue" => {
                keys = ndarray::concatenate![ndarray::Axis(0), f.matrix(&name("keys")), keys];
                key_labels = labels.iter().chain(&key_labels).copied().collect();
            }
            other => panic!("{case}: variant `{other}` is not known"),
        }
        let anchors = (anchors.view(), labels.as_slice());
        let keys = (keys.view(), key_labels.as_slice());
        let loss = supcon(number(settings, "temperature"));
        let value = loss.evaluate(anchors, keys, SelfPairs::Distinct, None).unwrap();
        let name = |part: &str| format!("{case}.{part}");
        let expected = f.matrix(&name("loss_mean_all"))[[0, 0]];
        assert!((value.loss - expected).abs() < 1e-10, "{case}");
        assert_eq!(value.positives, f.labels(&name("num_pos")), "{case}");
        assert_close(&name("grad_sim"), &value.grad_sims, &f.matrix(&name("grad_sim")), 1e-10);
        let grad = f.matrix(&name("grad_features"));
        assert_close(&name("grad_features"), &value.grad_anchors, &grad, 1e-10);
    }
}

/// The stored values are float32, so the tolerance is theirs: 2e-6 of a loss, 5e-6 of the largest entry.
#[test]
fn a_rebalanced_step_equals_pytorch() {
    for (case, settings) in entries("loss_") {
        let Some(f) = Fixture::open(case) else { continue };
        let con_weight = number(settings, "con_weight");
        let (features, labels) = (f.matrix("features"), f.labels("labels"));
        let queue = f.matrix("queue").t().to_owned();
        let weights = f.matrix("class_weight").into_raw_vec_and_offset().0;
        let key_labels: Vec<_> =
            (0..queue.nrows()).map(|k| k * weights.len() / queue.nrows()).collect();
        let loss = ClassBalancedSupCon {
            form: LossForm::Out,
            temperature: Temperature::new(number(settings, "temperature")).unwrap(),
            weights,
            miner: Some(HardPairMiner {
                num_pos: size(settings, "select_num_pos"),
                num_neg: size(settings, "select_num_neg"),
            }),
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
    for (case, settings) in entries("queue_") {
        let Some(f) = Fixture::open(case) else { continue };
        let init = f.matrix("queue_init").t().to_owned();
        let (classes, per_class) =
            (size(settings, "num_classes"), size(settings, "queue_size_per_cls"));
        let mut queue = ClassBalancedQueue::new(classes, per_class, init).unwrap();
        for step in 0..size(settings, "steps") {
            let name = |part: &str| format!("step{step}.{part}");
            let features = f.matrix(&name("features"));
            let labels = f.labels(&name("labels"));
            let half = labels.len() / 2;
            let view_1 = features.view().split_at(ndarray::Axis(0), half).0;
            queue.push(&view_1, &labels[..half]).unwrap();
            assert_eq!(queue.keys(), f.matrix(&name("queue")).t(), "{case}, step {step}");
            assert_eq!(queue.pointers(), f.labels(&name("ptr")), "{case}, step {step}");
        }
        assert!(!f.has(&format!("step{}.queue", size(settings, "steps"))), "{case}: more steps");
    }
}
