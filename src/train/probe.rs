//! The numerical pieces one by one, host tensors in and out: for checks against reference values and
//! against the plain implementation in `contrast`.

use tch::{Device, Kind, Tensor};

use super::{
    config::{Classification, EncoderSpec, LossSpec, Precision, QueueInit, QueueSpec},
    contrastive,
    host::{HostTensor, HostTensors},
    loss::{self, Pairs},
    mixup::Mixed,
    model::{Model, ModelSpec, normalise},
    queue::{ClassBalancedQueue, FifoQueue},
};
use crate::{Error, Result, longtail::ClassCounts, rng::Streams};

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

/// The joint loss of `spec` (one encoder) and its gradients, for given rows.
///
/// Inputs: `raw_features` or `features` [M, D] (then taken as unit rows), `logits` [M, C], `labels`
/// [M] (view 1 first), and for a queue what a checkpoint holds: `queue_list` [D, C*Q] (with `queue_ptr`,
/// `queue_filled`), or `fifo.keys`, `fifo.labels`, `fifo.state`. Outputs: `class_prior`, `class_weight`, `sim_con`,
/// `labels_con`, `loss_cls`, `loss_con`, `loss`, gradients `grad_*` of the total loss, and `queue_after`,
/// `ptr_after` once the view-1 rows are written.
///
/// # Errors
/// [`Error::Input`] if an input is missing or the specification has no contrastive part.
pub fn joint_loss(
    spec: &LossSpec,
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
    match contrast.queue {
        Some(QueueSpec::ClassBalanced { init, .. }) => {
            let keys = queue_of(inputs, counts.classes(), init)?;
            pairs = pairs.with(Pairs::class_balanced(&z, &labels, &keys, contrast.mining)?)?;
            queue = Some(keys);
        }
        Some(QueueSpec::Fifo { len, init }) => {
            let dim = contrast.projection_dim;
            let mut keys = FifoQueue::new(len, dim, init, &Streams::new(0), Device::Cpu)?;
            keys.import(inputs)?;
            pairs = pairs.with(Pairs::fifo(&z, &labels, &keys, contrast.mining)?)?;
        }
        None => {}
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

/// Supervised contrastive loss of `anchors` [N, D] with `labels` [N], in their own float type. Keys are
/// the other anchors, or, where `keys` lists any, those [K, D] with their labels [K], side by side.
/// Gives `loss` (mean over all anchors), `loss_per_anchor` [N], `num_pos` [N], `grad_features` [N, D] and
/// `grad_sim`.
///
/// # Errors
/// [`Error::Run`] if libtorch refuses the shapes.
pub fn supcon(
    anchors: &HostTensor,
    labels: &HostTensor,
    keys: &[(&HostTensor, &HostTensor)],
    temperature: f64,
) -> Result<HostTensors> {
    let z = leaf(&anchors.to_torch(Device::Cpu));
    let labels = labels.to_torch(Device::Cpu);
    let mut pairs: Option<Pairs> = None;
    for (keys, of) in keys {
        let (keys, of) = (keys.to_torch(Device::Cpu), of.to_torch(Device::Cpu));
        let more = Pairs::with_keys(&z, &labels, &keys, &of)?;
        pairs = Some(match pairs {
            Some(pairs) => pairs.with(more)?,
            None => more,
        });
    }
    let pairs = pairs.map_or_else(|| Pairs::in_batch(&z, &labels), Ok)?;
    let per_anchor = pairs.supcon(temperature)?;
    let loss = loss::weighted_mean(&per_anchor, &labels, None)?;
    let grad = Tensor::f_run_backward(&[&loss], &[&z, &pairs.sim], false, false)?;
    let positives = pairs.positive.f_sum_dim_intlist([1i64].as_slice(), false, Kind::Int64)?;
    let named = [
        ("loss", &loss),
        ("loss_per_anchor", &per_anchor),
        ("num_pos", &positives),
        ("grad_features", &grad[0]),
        ("grad_sim", &grad[1]),
    ];
    Ok(named.map(|(name, t)| (name.to_owned(), HostTensor::from_torch(t))).into())
}

/// Label-aware smoothed loss of `logits` [N, C] against `labels` [N] with smoothing per class: `loss`, `grad_logits`.
///
/// # Errors
/// [`Error::Run`] if libtorch refuses the shapes.
pub fn label_aware(
    logits: &HostTensor,
    labels: &HostTensor,
    smoothing: &[f64],
) -> Result<HostTensors> {
    let logits = leaf(&logits.to_torch(Device::Cpu));
    let smoothing = Tensor::from_slice(smoothing).f_to_kind(logits.kind())?;
    let loss = loss::label_aware(&logits, &labels.to_torch(Device::Cpu), &smoothing)?;
    let grad = Tensor::f_run_backward(&[&loss], &[&logits], false, false)?;
    let named = [("loss", &loss), ("grad_logits", &grad[0])];
    Ok(named.map(|(name, t)| (name.to_owned(), HostTensor::from_torch(t))).into())
}

/// Mixup of `x` [N, ...] by a permutation: `mixed`, and for `logits` the mixed cross-entropy `loss` and `grad_logits`.
///
/// # Errors
/// [`Error::Input`] if an input (`x`, `perm`, `labels`, `logits`) is missing.
pub fn mixup(inputs: &HostTensors, lambda: f64) -> Result<HostTensors> {
    let (x, labels) = (input(inputs, "x")?, input(inputs, "labels")?);
    let mixed = Mixed::new(&x, &labels, &input(inputs, "perm")?, lambda)?;
    let logits = leaf(&input(inputs, "logits")?);
    let loss = mixed.loss(&logits, None)?;
    let grad = Tensor::f_run_backward(&[&loss], &[&logits], false, false)?;
    let named = [("mixed", &mixed.images), ("loss", &loss), ("grad_logits", &grad[0])];
    Ok(named.map(|(name, t)| (name.to_owned(), HostTensor::from_torch(t))).into())
}

/// An encoder with a given state, for [`Encoding`].
#[derive(Debug)]
pub struct EncoderProbe(Model);

/// What an encoder made of some images.
#[derive(Debug)]
pub struct Encoding {
    /// f [N, F].
    pub features: HostTensor,
    /// Spatial mean [N, channels] and shape of the output of `bn1` and of each stage, by name.
    pub stages: Vec<(String, HostTensor, Vec<i64>)>,
    /// `grad_input` and `grad.<name>` of sum(features * r), where r was given.
    pub gradients: HostTensors,
}

impl EncoderProbe {
    /// An encoder with the entries `encoder.*` of `state`; `channels_last` as in training.
    ///
    /// # Errors
    /// [`Error::Input`] for an entry of another shape.
    pub fn new(spec: &EncoderSpec, state: &HostTensors, channels_last: bool) -> Result<Self> {
        spec.check()?;
        let model = ModelSpec {
            encoder: spec,
            classes: 1,
            projection_dim: None,
            precision: Precision::F32,
            channels_last,
        };
        let mut model = Model::new(&model, &Streams::new(0), Device::Cpu);
        model.import_present(state)?;
        Ok(Self(model))
    }

    /// Runs images [N, C, H, W]; in training mode the running statistics move.
    ///
    /// # Errors
    /// [`Error::Run`] if libtorch fails.
    pub fn run(
        &mut self,
        images: &HostTensor,
        train: bool,
        r: Option<&HostTensor>,
    ) -> Result<Encoding> {
        let images = leaf(&images.to_torch(Device::Cpu));
        let mut stages = vec![];
        let output = self.0.forward_watched(&images, train, &mut |name, x| {
            let mean = x.mean_dim([2i64, 3].as_slice(), false, Kind::Float);
            stages.push((name.to_owned(), HostTensor::from_torch(&mean), x.size()));
        })?;
        let mut gradients = HostTensors::new();
        if let Some(r) = r {
            let scalar = output.features.f_mul(&r.to_torch(Device::Cpu))?.f_sum(Kind::Float)?;
            let flat = self.0.store().flat();
            let grads = Tensor::f_run_backward(&[&scalar], &[&images, flat], false, false)?;
            gradients.insert("grad_input".into(), HostTensor::from_torch(&grads[0]));
            let parts = self.0.store().split(&grads[1])?;
            for (name, part) in self.0.store().layout().parameter_names().zip(&parts) {
                let name = name.trim_start_matches("encoder.");
                gradients.insert(format!("grad.{name}"), HostTensor::from_torch(part));
            }
        }
        Ok(Encoding { features: HostTensor::from_torch(&output.features), stages, gradients })
    }

    /// The state as it is now, `encoder.*`.
    ///
    /// # Errors
    /// [`Error::Run`] if libtorch fails.
    pub fn state(&self) -> Result<HostTensors> {
        let mut state = HostTensors::new();
        self.0.export("", &mut state)?;
        state.retain(|name, _| name.starts_with("encoder."));
        Ok(state)
    }
}
