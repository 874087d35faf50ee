//! Queues of keys from earlier steps (METHOD section 3). Writing is vectorised and stays on the
//! device: no loop over samples, no read by the host.

use std::collections::BTreeMap;

use rand_distr::{Distribution, StandardNormal};
use tch::{Kind, Tensor};

use crate::{
    Error, Result,
    rng::Streams,
    train::{
        keys::KeySource,
        nn::tensors::{check_labels, matrix, same_device},
    },
};

/// What a checkpoint holds of a queue, under the names of its kind.
pub type QueueState = BTreeMap<String, Tensor>;

/// Keys kept from earlier steps. Open: implement it for a queue of your own.
pub trait KeyQueue: KeySource {
    /// Writes unit rows `keys` `[B, D]` of the classes `labels` `[B]`, int64, in row order, over the oldest keys. They
    /// are copied, without their graph.
    ///
    /// # Errors
    /// [`Error::Input`] if keys and labels do not fit each other or the queue; then nothing is written.
    /// [`Error::Run`] if libtorch fails.
    fn enqueue(&mut self, keys: &Tensor, labels: &Tensor) -> Result<()>;

    /// A copy of everything that [`enqueue`](Self::enqueue) changes.
    ///
    /// # Errors
    /// [`Error::Run`] if libtorch fails (out of memory).
    fn state(&self) -> Result<QueueState>;

    /// Takes over what [`state`](Self::state) gave, from any device.
    ///
    /// # Errors
    /// [`Error::Input`] naming a missing entry or one of another shape.
    fn load_state(&mut self, state: &QueueState) -> Result<()>;
}

/// Refuses what cannot be written into a queue whose keys are like `rows` `[.., D]`; `classes` where it is for
/// so many alone.
pub(crate) fn check_keys(
    keys: &Tensor,
    labels: &Tensor,
    rows: &Tensor,
    classes: Option<i64>,
) -> Result<()> {
    let (dim, expected) = (matrix("keys", keys)?.1, rows.size()[1]);
    if dim != expected {
        return Err(Error::input(format!(
            "keys: {dim} numbers each; the queue holds keys of {expected}"
        )));
    }
    same_device("keys", keys, rows.device())?;
    check_labels("labels of keys", labels, keys, classes)
}

/// Unit rows, n * dim values, from the stream `queue`.
pub(crate) fn random_keys(n: usize, dim: usize, streams: &Streams) -> Result<Vec<f32>> {
    let mut rng = streams.stream("queue", &[]);
    let mut keys = Vec::new();
    keys.try_reserve_exact(n.saturating_mul(dim)).map_err(|_| {
        Error::run(format!(
            "out of memory: {n} keys of {dim} numbers; take a smaller contrast.queue-per-class"
        ))
    })?;
    for _ in 0..n {
        let key: Vec<f64> =
            (0..dim).map(|_| Distribution::<f64>::sample(&StandardNormal, &mut rng)).collect();
        let norm = key.iter().map(|x| x * x).sum::<f64>().sqrt().max(1e-12);
        keys.extend(key.iter().map(|x| (x / norm) as f32));
    }
    Ok(keys)
}

/// The entry `name` of a checkpoint; `kind` is that of its values where it matters.
pub(crate) fn take<'a>(
    from: &'a QueueState,
    name: &str,
    shape: &[i64],
    kind: Option<Kind>,
) -> Result<&'a Tensor> {
    let found = from.get(name).ok_or_else(|| {
        Error::input(format!("state: `{name}` is missing; the method needs its queue"))
    })?;
    let size = found.size();
    if size != shape {
        return Err(Error::input(format!(
            "state: `{name}` has shape {size:?}; this method expects {shape:?}"
        )));
    }
    match kind.filter(|&kind| kind != found.kind()) {
        Some(kind) => Err(Error::input(format!(
            "state: `{name}` holds {:?} values; this method expects {kind:?}",
            found.kind()
        ))),
        None => Ok(found),
    }
}
