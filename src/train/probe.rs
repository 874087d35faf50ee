//! The numerical pieces one by one, host tensors in and out: for checks against reference values and
//! against the plain implementation in `contrast`.

use tch::{Device, Kind, Tensor};

use super::{
    config::{Classification, MethodSpec, QueueInit, QueueSpec},
    contrastive,
    host::{HostData, HostTensor, HostTensors},
    loss::{self, Pairs},
    model::normalise,
    queue::ClassBalancedQueue,
};
use crate::{Error, Result, longtail::ClassCounts};

fn input(tensors: &HostTensors, name: &str) -> Result<Tensor> {
    let found = tensors.get(name).map(|t| t.to_torch(Device::Cpu));
    found.ok_or_else(|| Error::input(format!("probe: input `{name}` is missing")))
}

fn leaf(tensor: &Tensor) -> Tensor {
    tensor.detach().copy().set_requires_grad(true)
}

/// The queue that `queue_list` [D, C*Q] and, if there, `queue_ptr` [C] describe.
fn queue_of(tensors: &HostTensors, classes: usize, init: QueueInit) -> Result<ClassBalancedQueue> {
    let keys = input(tensors, "queue_list")?.tr().contiguous();
    let mut queue = ClassBalancedQueue::from_keys(&keys, classes, init, Device::Cpu);
    if tensors.contains_key("queue_ptr") {
        queue.import(tensors)?;
    }
    Ok(queue)
}

/// The joint loss of `spec` (class-balanced queue or none) and its gradients, for given rows.
///
/// Inputs: `raw_features` or `features` [M, D] (then taken as unit rows), `logits` [M, C], `labels`
/// [M] (view 1 first), `queue_list` [D, C*Q]. Outputs: `class_prior`, `class_weight`, `sim_con`,
/// `labels_con`, `loss_cls`, `loss_con`, `loss`, gradients `grad_*` of the total loss, and `queue_after`,
/// `ptr_after` once the view-1 rows are written.
///
/// # Errors
/// [`Error::Input`] if an input is missing or the specification has no contrastive part.
pub fn joint_loss(
    spec: &MethodSpec,
    counts: &ClassCounts,
    inputs: &HostTensors,
) -> Result<HostTensors> {
    spec.check(counts.classes())?;
    let contrast = spec.contrast.as_ref();
    let contrast =
        contrast.ok_or_else(|| Error::input("probe: the method has no contrastive part"))?;
    let labels = input(inputs, "labels")?;
    let rows = labels.size()[0];
    let logits = leaf(&input(inputs, "logits")?);
    let raw = inputs.contains_key("raw_features");
    let given = leaf(&input(inputs, if raw { "raw_features" } else { "features" })?);
    let z = if raw { normalise(&given)? } else { given.shallow_clone() };

    let mut pairs = Pairs::in_batch(&z, &labels)?;
    let mut queue = None;
    if let Some(QueueSpec::ClassBalanced { init, .. }) = contrast.queue {
        let keys = queue_of(inputs, counts.classes(), init)?;
        pairs = pairs.with(Pairs::class_balanced(&z, &labels, &keys, contrast.mining)?)?;
        queue = Some(keys);
    }
    let weights = contrast.class_balanced_beta;
    let weights =
        weights.map(|b| contrastive::class_weights(b, counts, Device::Cpu)).transpose()?;
    let prior = contrastive::log_prior(counts, Device::Cpu);
    let prior = (spec.classification == Classification::BalancedSoftmax).then_some(&prior);
    let classified = if spec.siamese { rows } else { rows / 2 };
    let cls = loss::classification(
        &logits.narrow(0, 0, classified),
        &labels.narrow(0, 0, classified),
        prior,
    )?;
    let per_anchor = pairs.supcon(contrast.temperature)?;
    let con = loss::weighted_mean(&per_anchor, &labels, weights.as_ref())?;
    let total = cls.f_add(&con.f_mul_scalar(contrast.con_weight)?)?;
    let grads =
        Tensor::f_run_backward(&[&total], &[&given, &z, &pairs.sim, &logits], false, false)?;

    let mut out = HostTensors::new();
    let mut put = |name: &str, value: &Tensor| {
        out.insert(name.into(), HostTensor::from_torch(value));
    };
    let p: Vec<f32> = counts.prior().as_slice().iter().map(|&p| p as f32).collect();
    put("class_prior", &Tensor::from_slice(&p));
    put(
        "class_weight",
        &weights.unwrap_or_else(|| prior.map_or_else(|| cls.ones_like(), Tensor::ones_like)),
    );
    put("sim_con", &pairs.sim);
    put("labels_con", &pairs.positive.f_to_kind(Kind::Float)?);
    for (name, value) in [("loss_cls", &cls), ("loss_con", &con), ("loss", &total)] {
        put(name, &value.f_reshape([1])?);
    }
    put(if raw { "grad_raw_features" } else { "grad_features" }, &grads[0]);
    put("grad_features", &grads[1]);
    put("grad_sim_con", &grads[2]);
    put("grad_logits", &grads[3]);
    if let Some(mut queue) = queue {
        queue.write(&z.detach().narrow(0, 0, rows / 2), &labels.narrow(0, 0, rows / 2))?;
        let mut after = HostTensors::new();
        queue.export(&mut after);
        for (name, value) in after {
            out.insert(
                format!("{}_after", name.trim_start_matches("queue_").replace("list", "queue")),
                value,
            );
        }
    }
    Ok(out)
}

/// Writes the first half of `features` [2B, D] (all rows if `labels` are as many) into a queue given
/// as `queue_list`, `queue_ptr`, and returns it in the same form.
///
/// # Errors
/// [`Error::Input`] if an input is missing or does not fit.
pub fn queue_write(
    queue: &HostTensors,
    classes: usize,
    features: &HostTensor,
    labels: &HostTensor,
) -> Result<HostTensors> {
    let mut keys = queue_of(queue, classes, QueueInit::Random)?;
    let half = (features.shape[0] / 2) as i64;
    let (features, labels) = (features.to_torch(Device::Cpu), labels.to_torch(Device::Cpu));
    keys.write(&features.narrow(0, 0, half), &labels.narrow(0, 0, half))?;
    let mut out = HostTensors::new();
    keys.export(&mut out);
    Ok(out)
}

/// Supervised contrastive loss of similarities `sim` [M, K] with 0/1 `positive` [M, K]: `loss`
/// (mean over all anchors), `loss_per_anchor` [M] and `grad_sim` [M, K], in the type of `sim`.
///
/// # Errors
/// [`Error::Run`] if libtorch refuses the shapes.
pub fn supcon(sim: &HostTensor, positive: &HostTensor, temperature: f64) -> Result<HostTensors> {
    let sim = leaf(&sim.to_torch(Device::Cpu));
    let positive = positive.to_torch(Device::Cpu).f_to_kind(Kind::Bool)?;
    let pairs = Pairs { sim: sim.shallow_clone(), positive, valid: None };
    let per_anchor = pairs.supcon(temperature)?;
    let loss = loss::weighted_mean(&per_anchor, &Tensor::new(), None)?;
    let grad = Tensor::f_run_backward(&[&loss], &[&sim], false, false)?;
    let named = [("loss", &loss), ("loss_per_anchor", &per_anchor), ("grad_sim", &grad[0])];
    Ok(named.map(|(name, t)| (name.to_owned(), HostTensor::from_torch(t))).into())
}

/// Values as float64, for tests that run the same computation in both precisions.
pub fn to_double(tensor: &HostTensor) -> HostTensor {
    HostTensor { shape: tensor.shape.clone(), data: HostData::F64(tensor.to_f64()) }
}
