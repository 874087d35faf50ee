//! State dicts of PyTorch, saved as safetensors, under this crate's names.

use std::collections::BTreeMap;

use tch::Device;

use crate::{
    Error, Result,
    rng::Streams,
    run::{EncoderSpec, Precision},
    train::nn::{
        model::{Model, ModelSpec},
        tensors::{HostData, HostTensor, HostTensors},
    },
};

/// Names and shapes of a network's state, in PyTorch's order.
///
/// # Errors
/// [`crate::Error::Input`] if the encoder's settings do not fit.
pub fn state_names(
    encoder: &EncoderSpec,
    classes: usize,
    projection_dim: Option<usize>,
) -> Result<Vec<(String, Vec<usize>)>> {
    encoder.check()?;
    let layout = Model::layout(&ModelSpec {
        encoder,
        classes,
        projection_dim,
        precision: Precision::Fp32,
        channels_last: false,
    });
    let shape = |s: &[i64]| s.iter().map(|&n| n as usize).collect();
    Ok(layout.names().map(|(name, s)| (name.to_owned(), shape(s))).collect())
}

/// What a conversion found.
#[derive(Debug, Clone, PartialEq)]
pub struct Converted {
    /// Entries that fit, under this crate's names.
    pub state: HostTensors,
    /// Entries of the network that the file lacks (counters of batch norm excepted: they become 0).
    pub missing: Vec<String>,
    /// Entries of the file, under its own names, that the network does not have, or that are integers where it has
    /// floats (or the reverse).
    pub unexpected: Vec<String>,
    /// Entries of another shape: name, shape in the file, shape expected.
    pub misshapen: Vec<(String, Vec<usize>, Vec<usize>)>,
}

impl Converted {
    /// Whether the network can be loaded from `state`.
    pub fn is_complete(&self) -> bool {
        self.missing.is_empty() && self.misshapen.is_empty()
    }
}

/// The name here of an entry called `name` there: the prefixes of data parallel and of MoCo's query encoder
/// go, and a bare torchvision network becomes the encoder with its `fc` as classifier.
fn rename(name: &str, bare: bool) -> String {
    let name = strip(name);
    match name.strip_prefix("fc.") {
        Some(rest) => format!("linear.{rest}"),
        None if bare && !name.starts_with("linear.") && !name.starts_with("mlp.") => {
            format!("encoder.{name}")
        }
        None => name.to_owned(),
    }
}

fn strip(name: &str) -> &str {
    let name = name.strip_prefix("module.").unwrap_or(name);
    name.strip_prefix("encoder_q.").unwrap_or(name)
}

/// A tensor as the network holds the entry `name`: counters as int64, everything else as float32.
fn typed(name: &str, tensor: &HostTensor) -> Option<HostTensor> {
    let counter = name.ends_with(".num_batches_tracked");
    match &tensor.data {
        HostData::I64(_) => counter.then(|| tensor.clone()),
        HostData::F32(_) => (!counter).then(|| tensor.clone()),
        HostData::F64(values) => (!counter).then(|| HostTensor {
            shape: tensor.shape.clone(),
            data: HostData::F32(values.iter().map(|&x| x as f32).collect()),
        }),
    }
}

/// Finds in `source` the state of the network described, in float32, and lists what does not fit. Queue entries
/// (`queue_list`, `queue_ptr`) are carried over as they are.
///
/// # Errors
/// [`Error::Input`] if the encoder's settings do not fit, or if two entries stand for the same one.
pub fn convert(
    encoder: &EncoderSpec,
    classes: usize,
    projection_dim: Option<usize>,
    source: &HostTensors,
) -> Result<Converted> {
    let names = state_names(encoder, classes, projection_dim)?;
    let bare = !source.keys().any(|name| strip(name).starts_with("encoder."));
    let mut left: BTreeMap<String, (&String, &HostTensor)> = BTreeMap::new();
    for (name, tensor) in source {
        let ours = rename(name, bare);
        if let Some((other, _)) = left.insert(ours.clone(), (name, tensor)) {
            return Err(Error::input(format!(
                "state: `{other}` and `{name}` both stand for `{ours}`; remove one of them"
            )));
        }
    }
    let mut out = Converted {
        state: HostTensors::new(),
        missing: vec![],
        unexpected: vec![],
        misshapen: vec![],
    };
    for (name, shape) in names {
        let found = left.get(&name).map(|(_, tensor)| (typed(&name, tensor), &tensor.shape));
        match found {
            Some((Some(tensor), found)) if *found == shape => {
                left.remove(&name);
                out.state.insert(name, tensor);
            }
            Some((Some(_), found)) => {
                out.misshapen.push((name.clone(), found.clone(), shape));
                left.remove(&name);
            }
            // Of another type: unexpected as it is, and missing as it should be.
            Some((None, _)) if name.ends_with(".num_batches_tracked") => {}
            Some((None, _)) => out.missing.push(name),
            None if name.ends_with(".num_batches_tracked") => {}
            None => out.missing.push(name),
        }
    }
    for queue in ["queue_list", "queue_ptr"] {
        let renamed = rename(queue, bare);
        if let Some((_, tensor)) = left.remove(&renamed) {
            out.state.insert(queue.into(), tensor.clone());
        }
    }
    out.unexpected = left.values().map(|(name, _)| (*name).clone()).collect();
    Ok(out)
}

/// A network of the initial state of `seed`, for export.
///
/// # Errors
/// [`crate::Error::Input`] if the encoder's settings do not fit.
pub fn initial_state(
    encoder: &EncoderSpec,
    classes: usize,
    projection_dim: Option<usize>,
    seed: u64,
) -> Result<HostTensors> {
    encoder.check()?;
    let spec = ModelSpec {
        encoder,
        classes,
        projection_dim,
        precision: Precision::Fp32,
        channels_last: false,
    };
    let model = Model::new(&spec, &Streams::new(seed), Device::Cpu);
    let mut state = HostTensors::new();
    model.export("", &mut state)?;
    Ok(state)
}
