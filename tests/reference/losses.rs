//! `loss_*` and `queue_*`: the joint loss, its gradients, and the class-balanced queue.

use rescom::train::{
    HostTensors,
    config::{
        Classification, ContrastKind, ContrastiveLossSpec, HardPairMiner, LossSpec, QueueInit,
        QueueSpec,
    },
    probe,
};
use serde_json::Value;

use crate::fixtures::{self, Deviations, number, size};

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

#[test]
fn joint_loss_and_gradients() {
    let mut seen = Deviations::default();
    for (name, case) in fixtures::entries("loss_") {
        let Some(want) = fixtures::tensors(name) else { continue };
        check_case(name, case, &want, &mut seen);
    }
    seen.conclude("loss_*", "loss_");
}

fn check_case(name: &str, case: &Value, want: &HostTensors, seen: &mut Deviations) {
    let mut inputs = want.clone();
    inputs.insert("queue_list".into(), want["queue"].clone());
    let counts = fixtures::counts(case);
    let spec = method(case);
    let got = probe::joint_loss(&spec, &counts, &inputs).unwrap();
    let relative = |key: &str| 2e-6 * fixtures::largest(&want[key]).max(1e-3);
    for key in ["loss_cls", "loss_con", "loss"] {
        seen.tensor(key, &got[key], &want[key], relative(key), name);
    }
    for key in ["grad_sim_con", "grad_features", "grad_logits", "grad_raw_features"] {
        let tolerance = 5e-6 * fixtures::largest(&want[key]);
        seen.tensor(key, &got[key], &want[key], tolerance, name);
    }
    seen.tensor("sim_con", &got["sim_con"], &want["sim_con"], 1e-6, name);
    seen.tensor("class_prior", &got["class_prior"], &want["class_prior"], 1e-7, name);
    let tolerance = 2e-7 * fixtures::largest(&want["class_weight"]);
    seen.tensor("class_weight", &got["class_weight"], &want["class_weight"], tolerance, name);
    for key in ["labels_con", "ptr_after"] {
        seen.tensor(key, &got[key], &want[key], 0.0, name);
    }

    // Normalised rows as given: the queue then holds exactly these, bit for bit.
    inputs.remove("raw_features");
    let got = probe::joint_loss(&spec, &counts, &inputs).unwrap();
    let tolerance = 5e-6 * fixtures::largest(&want["grad_features"]);
    seen.tensor("grad_features", &got["grad_features"], &want["grad_features"], tolerance, name);
    if let Some(queue) = want.get("queue_after") {
        assert_eq!(&got["queue_after"], queue, "{name}: queue_after must match bit for bit");
    }
}

#[test]
fn class_balanced_queue_bit_for_bit() {
    let mut seen = Deviations::default();
    for (name, case) in fixtures::entries("queue_") {
        let Some(want) = fixtures::tensors(name) else { continue };
        let mut queue: HostTensors = [
            ("queue_list".to_owned(), want["queue_init"].clone()),
            ("queue_ptr".to_owned(), want["ptr_init"].clone()),
        ]
        .into();
        for s in 0..size(case, "steps") {
            let at = |part: &str| &want[&format!("step{s}.{part}")];
            let classes = size(case, "num_classes");
            queue = probe::queue_write(&queue, classes, at("features"), at("labels")).unwrap();
            assert_eq!(&queue["queue_list"], at("queue"), "{name}: queue after step {s}");
            assert_eq!(&queue["queue_ptr"], at("ptr"), "{name}: pointers after step {s}");
            seen.tensor("queue", &queue["queue_list"], at("queue"), 0.0, name);
            seen.tensor("pointers", &queue["queue_ptr"], at("ptr"), 0.0, name);
        }
    }
    seen.conclude("queue_*", "queue_");
}
