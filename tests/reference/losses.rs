//! `loss_*` and `queue_*`: the joint loss, its gradients, and the class-balanced queue.

use std::sync::LazyLock;

use rescom::train::{
    HostTensors,
    config::{
        Classification, ContrastKind, ContrastiveLossSpec, HardPairMiner, LossSpec, QueueInit,
        QueueSpec,
    },
    probe,
};
use serde_json::Value;

use crate::fixtures::{self, Deviations, File, number, size};

pub(crate) fn method(case: &Value) -> LossSpec {
    LossSpec {
        classification: Classification::BalancedSoftmax,
        siamese: true,
        mixup_alpha: None,
        contrast: Some(ContrastiveLossSpec {
            con_weight: number(case, "con_weight"),
            temperature: number(case, "temperature"),
            projection_dim: size(case, "dim"),
            class_balanced_beta: Some(number(case, "effective_num_beta")),
            queue: Some(QueueSpec::ClassBalanced {
                per_class: size(case, "queue_size_per_cls"),
                init: QueueInit::Random,
            }),
            mining: Some(HardPairMiner {
                num_pos: size(case, "select_num_pos"),
                num_neg: size(case, "select_num_neg"),
            }),
            kind: ContrastKind::Supervised,
        }),
    }
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

fn check_case(name: &str, case: &Value, want: &File, seen: &mut Deviations) {
    let inputs = ["raw_features", "features", "logits", "labels", "queue"];
    let mut inputs: HostTensors =
        inputs.map(|key| (key.replace("queue", "queue_list"), want.at(key).clone())).into();
    let counts = fixtures::counts(case);
    let listed: Vec<i64> = counts.as_slice().iter().map(|&n| n as i64).collect();
    assert_eq!(want.at("cls_num").as_i64(), Some(&listed[..]), "{name}: counts of the manifest");
    assert_eq!(number(case, "balsfx_n"), 0.0, "{name}: a prior inside the contrastive softmax");
    let spec = method(case);
    let got = probe::joint_loss(&spec, &counts, &inputs).unwrap();
    for key in ["loss_cls", "loss_con", "loss"] {
        let tolerance = 2e-6 * fixtures::largest(want.at(key)).max(1e-3);
        seen.tensor(key, &got[key], want.at(key), tolerance, name);
    }
    for key in ["grad_sim_con", "grad_features", "grad_logits", "grad_raw_features"] {
        let tolerance = 5e-6 * fixtures::largest(want.at(key));
        seen.tensor(key, &got[key], want.at(key), tolerance, name);
    }
    seen.tensor("sim_con", &got["sim_con"], want.at("sim_con"), 1e-6, name);
    seen.tensor("class_prior", &got["class_prior"], want.at("class_prior"), 1e-7, name);
    let tolerance = 2e-7 * fixtures::largest(want.at("class_weight"));
    seen.tensor("class_weight", &got["class_weight"], want.at("class_weight"), tolerance, name);
    for key in ["labels_con", "ptr_after"] {
        seen.tensor(key, &got[key], want.at(key), 0.0, name);
    }

    // Normalised rows as given: the queue then holds exactly these, bit for bit.
    inputs.remove("raw_features");
    let got = probe::joint_loss(&spec, &counts, &inputs).unwrap();
    let tolerance = 5e-6 * fixtures::largest(want.at("grad_features"));
    seen.tensor("grad_features", &got["grad_features"], want.at("grad_features"), tolerance, name);
    if let Some(queue) = want.get("queue_after") {
        assert_eq!(&got["queue_after"], queue, "{name}: queue_after must match bit for bit");
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
        let mut queue: HostTensors = [
            ("queue_list".to_owned(), want.at("queue_init").clone()),
            ("queue_ptr".to_owned(), want.at("ptr_init").clone()),
        ]
        .into();
        for s in 0..size(case, "steps") {
            let at = |part: &str| want.at(&format!("step{s}.{part}"));
            queue = probe::queue_write(&queue, classes, at("features"), at("labels")).unwrap();
            assert_eq!(&queue["queue_list"], at("queue"), "{name}: queue after step {s}");
            assert_eq!(&queue["queue_ptr"], at("ptr"), "{name}: pointers after step {s}");
            seen.tensor("queue", &queue["queue_list"], at("queue"), 0.0, name);
            seen.tensor("pointers", &queue["queue_ptr"], at("ptr"), 0.0, name);
        }
        want.conclude();
    }
    seen.conclude("queue_*", "queue_");
});

#[test]
fn class_balanced_queue_bit_for_bit() {
    LazyLock::force(&QUEUE);
}
