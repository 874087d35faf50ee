//! Losses of host values with their gradients: tensors made of the values, a loss, and its graph walked back.

use rescom::train::{
    HostTensor, HostTensors,
    losses::{ClassificationLoss, JointLoss, KeyQueue, KeySource, SupConLoss, unit_rows},
    losses::{ContrastiveLoss, QueueState},
};
use tch::{Device, Kind, Tensor};

pub(crate) fn tensor(host: &HostTensor) -> Tensor {
    host.to_torch(Device::Cpu).unwrap()
}

pub(crate) fn host(tensor: &Tensor) -> HostTensor {
    HostTensor::from_torch(tensor)
}

fn leaf(given: &HostTensor) -> Tensor {
    tensor(given).set_requires_grad(true)
}

fn named<const N: usize>(values: [(&str, &Tensor); N]) -> HostTensors {
    values.map(|(name, t)| (name.to_owned(), host(t))).into()
}

/// `loss` of logits `[N, C]` against labels `[N]`, and `grad_logits`.
pub(crate) fn of_logits(
    loss: &dyn ClassificationLoss,
    logits: &HostTensor,
    labels: &HostTensor,
) -> HostTensors {
    let logits = leaf(logits);
    let value = loss.loss(&logits, &tensor(labels)).unwrap();
    value.backward();
    named([("loss", &value), ("grad_logits", &logits.grad())])
}

/// `loss` of unit rows `[M, D]` with labels `[M]` against keys, `sim` and `positive` `[M, K]`, `num_pos` `[M]`, and the
/// gradients `grad_features` and `grad_sim`.
pub(crate) fn of_keys(
    loss: &dyn ContrastiveLoss,
    rows: &HostTensor,
    labels: &HostTensor,
    keys: &dyn KeySource,
) -> HostTensors {
    let rows = leaf(rows);
    let pairs = keys.pairs(&rows, &tensor(labels)).unwrap();
    let value = loss.loss(&pairs).unwrap();
    let grads = Tensor::run_backward(&[&value], &[&rows, &pairs.sim], false, false);
    named([
        ("loss", &value),
        ("sim", &pairs.sim),
        ("positive", &pairs.positive),
        ("num_pos", &pairs.positive.sum_dim_intlist([1i64].as_slice(), false, Kind::Int64)),
        ("grad_features", &grads[0]),
        ("grad_sim", &grads[1]),
    ])
}

/// The loss of every anchor `[M]`.
pub(crate) fn per_anchor(
    loss: SupConLoss,
    rows: &HostTensor,
    labels: &HostTensor,
    keys: &dyn KeySource,
) -> HostTensor {
    let pairs = keys.pairs(&tensor(rows), &tensor(labels)).unwrap();
    host(&loss.per_anchor(&pairs).unwrap())
}

/// The joint loss of `logits` `[N, C]`, `labels` `[N]` and `features` `[N, D]`, which are unit rows, or
/// `raw_features`, which are normalised first: `loss_cls`, `loss_con` and `loss` `[1]`; `sim_con` and `labels_con` `[N, K]`;
/// and the gradients of the total loss `grad_sim_con`, `grad_logits`, `grad_features` (of the unit rows) and, if those
/// were given, `grad_raw_features`.
pub(crate) fn joint(loss: &JointLoss, inputs: &HostTensors, keys: &dyn KeySource) -> HostTensors {
    let raw = inputs.get("raw_features").map(leaf);
    let z = raw.as_ref().map_or_else(|| leaf(&inputs["features"]), |x| unit_rows(x).unwrap());
    let (logits, labels) = (leaf(&inputs["logits"]), tensor(&inputs["labels"]));
    let pairs = keys.pairs(&z, &labels).unwrap();
    let terms = loss.terms(&logits, &labels, Some(&pairs)).unwrap();
    let mut leaves = vec![&z, &pairs.sim, &logits];
    leaves.extend(&raw);
    let grads = Tensor::run_backward(&[&terms.total], &leaves, false, false);
    let mut out = named([
        ("loss_cls", &terms.cls.reshape([1])),
        ("loss_con", &terms.con.unwrap().reshape([1])),
        ("loss", &terms.total.reshape([1])),
        ("sim_con", &pairs.sim),
        ("labels_con", &pairs.positive),
        ("grad_features", &grads[0]),
        ("grad_sim_con", &grads[1]),
        ("grad_logits", &grads[2]),
    ]);
    out.extend(grads.get(3).map(|grad| ("grad_raw_features".to_owned(), host(grad))));
    out
}

/// Writes host values into a queue.
pub(crate) fn enqueue(queue: &mut dyn KeyQueue, keys: &HostTensor, labels: &HostTensor) {
    queue.enqueue(&tensor(keys), &tensor(labels)).unwrap();
}

/// The state of a queue on the host.
pub(crate) fn state(queue: &dyn KeyQueue) -> HostTensors {
    queue.state().unwrap().iter().map(|(name, t)| (name.clone(), host(t))).collect()
}

/// A state from the host, for `from_state`.
pub(crate) fn queue_state(of: &HostTensors) -> QueueState {
    of.iter().map(|(name, t)| (name.clone(), tensor(t))).collect()
}
