//! Queues of keys from earlier steps (METHOD section 3). Writing is vectorised and stays on the
//! device: no loop over samples, no read by the host.

use rand_distr::{Distribution, StandardNormal};

use crate::{
    Error, Result,
    rng::Streams,
    train::{
        losses::{labels_of, matrix, on_tensors::Ring},
        nn::tensors::{HostTensor, HostTensors},
    },
};

/// A queue of keys. The types of this module alone implement it.
pub trait KeyQueue: Ring {
    /// Writes unit rows `keys` `[B, D]` of the classes `labels` `[B]`, in row order, over the oldest keys.
    ///
    /// # Errors
    /// [`Error::Input`] if they do not fit each other, [`Error::Run`] if they do not fit the queue.
    fn push(&mut self, keys: &HostTensor, labels: &HostTensor) -> Result<()> {
        let keys = matrix("keys", keys)?;
        let labels = labels_of("labels of keys", labels, keys.size()[0], 0, i64::MAX)?;
        Ok(self.write(&keys, &labels)?)
    }

    /// What a checkpoint holds of it, under the names of its kind.
    fn state(&self) -> HostTensors {
        let mut state = HostTensors::new();
        self.export(&mut state);
        state
    }

    /// Takes over what [`state`](Self::state) gave.
    ///
    /// # Errors
    /// [`Error::Input`] naming a missing entry or one of another shape.
    fn load(&mut self, state: &HostTensors) -> Result<()> {
        self.import(state)
    }
}

impl<Q: Ring> KeyQueue for Q {}

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

/// The entry `name` of a checkpoint.
pub(crate) fn take<'a>(
    from: &'a HostTensors,
    name: &str,
    shape: &[usize],
) -> Result<&'a HostTensor> {
    let found = from.get(name).ok_or_else(|| {
        Error::input(format!("state: `{name}` is missing; the method needs its queue"))
    })?;
    if found.shape != shape {
        return Err(Error::input(format!(
            "state: `{name}` has shape {:?}; this method expects {shape:?}",
            found.shape
        )));
    }
    Ok(found)
}
