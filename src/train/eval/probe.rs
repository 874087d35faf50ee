//! Mixup and the encoders by themselves, host tensors in and out: for checks against reference values.

use tch::{Device, Kind, Tensor};

use crate::{
    Error, Result,
    rng::Streams,
    run::{EncoderSpec, Precision},
    train::{
        fit::mixup::Mixed,
        losses::CrossEntropy,
        nn::{
            model::{Model, ModelSpec},
            tensors::{HostTensor, HostTensors},
        },
    },
};

fn input(tensors: &HostTensors, name: &str) -> Result<Tensor> {
    let found = tensors.get(name);
    found
        .ok_or_else(|| Error::input(format!("probe: input `{name}` is missing")))?
        .to_torch(Device::Cpu)
}

fn leaf(tensor: &Tensor) -> Tensor {
    tensor.detach().copy().set_requires_grad(true)
}

/// Mixup of `x` [N, ...] by a permutation: `mixed`, and for `logits` the mixed cross-entropy `loss` and `grad_logits`.
///
/// # Errors
/// [`Error::Input`] if an input (`x`, `perm`, `labels`, `logits`) is missing.
pub fn mixup(inputs: &HostTensors, lambda: f64) -> Result<HostTensors> {
    let (x, labels) = (input(inputs, "x")?, input(inputs, "labels")?);
    let mixed = Mixed::new(&x, &labels, &input(inputs, "perm")?, lambda)?;
    let logits = leaf(&input(inputs, "logits")?);
    let loss = mixed.loss(&logits, &CrossEntropy)?;
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
            precision: Precision::Fp32,
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
        let images = leaf(&images.to_torch(Device::Cpu)?);
        let mut stages = vec![];
        let output = self.0.forward_watched(&images, train, &mut |name, x| {
            let mean = x.mean_dim([2i64, 3].as_slice(), false, Kind::Float);
            stages.push((name.to_owned(), HostTensor::from_torch(&mean), x.size()));
        })?;
        let mut gradients = HostTensors::new();
        if let Some(r) = r {
            let scalar = output.features.f_mul(&r.to_torch(Device::Cpu)?)?.f_sum(Kind::Float)?;
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
