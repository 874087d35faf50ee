//! `loss_*` and `queue_*`: the joint loss, its gradients, and the class-balanced queue.

use std::sync::LazyLock;

use rescom::{
    contrast::{HardPairMiner, Temperature},
    longtail::EffectiveNumber,
    run::{ContrastSpec, LossSpec, Method, QueueInit, RescomModules},
    train::{
        HostTensor, HostTensors,
        losses::{
            BalancedSoftmax, BatchKeys, ClassBalancedQueue, ClassBalancedSupCon, JointLoss,
            KeySource, Mined, SiameseBalancedSoftmax, SupConLoss,
        },
    },
};
use serde_json::Value;

use super::fixtures::{self, Deviations, File, number, size};
use crate::gradients;

pub(crate) fn method(case: &Value) -> (LossSpec, ContrastSpec) {
    let rescom = Method::Rescom(RescomModules::ALL).loss().unwrap();
    let numbers = ContrastSpec {
        temperature: number(case, "temperature"),
        con_weight: number(case, "con_weight"),
        effective_number_beta: number(case, "effective_num_beta"),
        queue_per_class: size(case, "queue_size_per_cls"),
        num_pos: size(case, "select_num_pos"),
        num_neg: size(case, "select_num_neg"),
        queue_init: QueueInit::Random,
        encoder_momentum: 0.999,
    };
    (rescom, numbers)
}

pub(crate) static JOINT_LOSS: LazyLock<()> = LazyLock::new(|| {
    let mut seen = Deviations::default();
    for (name, case) in fixtures::entries("loss_") {
        let Some(want) = File::open(name) else { continue };
        check_case(name, case, &want, &mut seen);
        want.conclude();
    }
    seen.conclude("loss_*", "loss_");
});

#[test]
fn joint_loss_and_gradients() {
    LazyLock::force(&JOINT_LOSS);
}

/// The first half of the rows of `tensor`.
fn view_1(tensor: &HostTensor) -> HostTensor {
    fixtures::head(tensor, tensor.shape[0] / 2)
}

fn check_case(name: &str, case: &Value, want: &File, seen: &mut Deviations) {
    let inputs = ["raw_features", "features", "logits", "labels"];
    let mut inputs: HostTensors = inputs.map(|key| (key.to_owned(), want.at(key).clone())).into();
    let counts = fixtures::counts(case);
    let listed: Vec<i64> = counts.as_slice().iter().map(|&n| n as i64).collect();
    assert_eq!(want.at("cls_num").as_i64(), Some(&listed[..]), "{name}: counts of the manifest");
    assert_eq!(number(case, "balsfx_n"), 0.0, "{name}: a prior inside the contrastive softmax");
    let queue = || {
        let state = [("queue_list".to_owned(), want.at("queue").clone())].into();
        let state = gradients::queue_state(&state);
        ClassBalancedQueue::from_state(&state, counts.classes(), QueueInit::Random).unwrap()
    };
    let miner = HardPairMiner {
        num_pos: size(case, "select_num_pos"),
        num_neg: size(case, "select_num_neg"),
    };
    let keys = BatchKeys.and(Mined::new(queue(), miner).unwrap());
    let (loss, numbers) = method(case);
    let joint = JointLoss::of_spec(&loss, &numbers, &counts).unwrap();
    let got = gradients::joint(&joint, &inputs, &keys);
    for key in ["loss_cls", "loss_con", "loss"] {
        let tolerance = 2e-6 * fixtures::largest(want.at(key)).max(1e-3);
        seen.tensor(key, &got[key], want.at(key), tolerance, name);
    }
    for key in ["grad_sim_con", "grad_features", "grad_logits", "grad_raw_features"] {
        let tolerance = 5e-6 * fixtures::largest(want.at(key));
        seen.tensor(key, &got[key], want.at(key), tolerance, name);
    }
    seen.tensor("sim_con", &got["sim_con"], want.at("sim_con"), 1e-6, name);
    seen.tensor("labels_con", &got["labels_con"], want.at("labels_con"), 0.0, name);

    // From normalised rows as given, part by part, as the joint loss says and as the parts say.
    inputs.remove("raw_features");
    let got = gradients::joint(&joint, &inputs, &keys);
    let tolerance = 5e-6 * fixtures::largest(want.at("grad_features"));
    seen.tensor("grad_features", &got["grad_features"], want.at("grad_features"), tolerance, name);
    let balanced = BalancedSoftmax::new(&counts);
    let prior = want.at("class_prior");
    for (got, want) in balanced.log_prior().iter().zip(prior.to_f64()) {
        seen.add("class_prior", (got.exp() - 1e-9 - want).abs(), 1e-7, name);
    }
    let balanced = SiameseBalancedSoftmax(balanced);
    let cls = gradients::of_logits(&balanced, &inputs["logits"], &inputs["labels"]);
    assert_eq!(cls["loss"].data, got["loss_cls"].data, "{name}: Siamese Balanced Softmax alone");
    assert_eq!(cls["grad_logits"], got["grad_logits"], "{name}: Siamese Balanced Softmax alone");
    let temperature = Temperature::new(number(case, "temperature")).unwrap();
    let effective = EffectiveNumber::new(number(case, "effective_num_beta")).unwrap();
    let supcon = ClassBalancedSupCon::new(SupConLoss::new(temperature), effective, &counts);
    let weights = want.at("class_weight");
    for (got, want) in supcon.weights().iter().zip(weights.to_f64()) {
        seen.add("class_weight", (got - want).abs(), 2e-7 * fixtures::largest(weights), name);
    }
    let con = gradients::of_keys(&supcon, &inputs["features"], &inputs["labels"], &keys);
    assert_eq!(con["loss"].data, got["loss_con"].data, "{name}: class-balanced SupCon alone");
    assert_eq!(con["sim"], got["sim_con"], "{name}: its keys");

    // The queue then holds exactly the normalised rows of view 1, bit for bit.
    let mut queue = queue();
    gradients::enqueue(&mut queue, &view_1(&inputs["features"]), &view_1(&inputs["labels"]));
    let state = gradients::state(&queue);
    seen.tensor("ptr_after", &state["queue_ptr"], want.at("ptr_after"), 0.0, name);
    if let Some(after) = want.get("queue_after") {
        assert_eq!(&state["queue_list"], after, "{name}: queue_after bit for bit");
    }
}

pub(crate) static QUEUE: LazyLock<()> = LazyLock::new(|| {
    let mut seen = Deviations::default();
    for (name, case) in fixtures::entries("queue_") {
        let Some(want) = File::open(name) else { continue };
        let classes = size(case, "num_classes");
        let per_class = size(case, "queue_size_per_cls");
        let owners: Vec<i64> = (0..classes * per_class).map(|k| (k / per_class) as i64).collect();
        assert_eq!(
            want.at("queue_label").as_i64(),
            Some(&owners[..]),
            "{name}: classes of the keys"
        );
        let state = [
            ("queue_list".to_owned(), want.at("queue_init").clone()),
            ("queue_ptr".to_owned(), want.at("ptr_init").clone()),
        ];
        let state = gradients::queue_state(&state.into());
        let queue = ClassBalancedQueue::from_state(&state, classes, QueueInit::Random);
        let mut queue = queue.unwrap();
        for s in 0..size(case, "steps") {
            let at = |part: &str| want.at(&format!("step{s}.{part}"));
            gradients::enqueue(&mut queue, &view_1(at("features")), &view_1(at("labels")));
            let state = gradients::state(&queue);
            assert_eq!(&state["queue_list"], at("queue"), "{name}: queue after step {s}");
            assert_eq!(&state["queue_ptr"], at("ptr"), "{name}: pointers after step {s}");
            seen.tensor("queue", &state["queue_list"], at("queue"), 0.0, name);
            seen.tensor("pointers", &state["queue_ptr"], at("ptr"), 0.0, name);
        }
        want.conclude();
    }
    seen.conclude("queue_*", "queue_");
});

#[test]
fn class_balanced_queue_bit_for_bit() {
    LazyLock::force(&QUEUE);
}
