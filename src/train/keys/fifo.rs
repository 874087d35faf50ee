//! The first-in-first-out queue over all classes, as in MoCo: its keys are as imbalanced as the data.

use tch::{Device, Kind, Tensor};

use crate::{
    Error, Result,
    rng::Streams,
    run::QueueInit,
    train::{
        keys::{
            queue::{random_keys, take},
            source::{Anchors, Pairs},
        },
        losses::{
            matrix,
            on_tensors::{Keys, Ring, Searchable},
        },
        nn::{
            parameters::TorchResult,
            tensors::{HostData, HostTensor, HostTensors},
        },
    },
};

/// One ring over all classes, newest keys replacing the oldest. As a source of keys it gives all of them.
#[derive(Debug)]
pub struct FifoQueue {
    /// `[K, D]`.
    rows: Tensor,
    /// Class of each key, -1 where none has been written: such a key is nobody's positive, `[K]`.
    labels: Tensor,
    next: i64,
    filled: i64,
    init: QueueInit,
}

impl FifoQueue {
    /// Random unit keys [len, dim] of no class, float32, from the stream `queue` of `seed`.
    ///
    /// # Errors
    /// [`Error::Input`] if a size is 0; [`Error::Run`] if memory does not suffice.
    pub fn random(len: usize, dim: usize, init: QueueInit, seed: u64) -> Result<Self> {
        if len.min(dim) == 0 {
            return Err(Error::input(format!(
                "FIFO queue: {len} keys of {dim} numbers; expected at least 1 of each"
            )));
        }
        Self::on(len, dim, init, &Streams::new(seed), Device::Cpu)
    }

    pub(crate) fn on(
        len: usize,
        dim: usize,
        init: QueueInit,
        streams: &Streams,
        device: Device,
    ) -> Result<Self> {
        let keys = Tensor::from_slice(&random_keys(len, dim, streams)?);
        Ok(Self::of_keys(&keys.reshape([len as i64, dim as i64]), init, device))
    }

    /// The queue that `fifo.keys` `[K, D]`, in its own float type, `fifo.labels` `[K]` (-1: never written) and
    /// `fifo.state` [next slot, slots filled] describe.
    ///
    /// # Errors
    /// [`Error::Input`] naming a missing entry or one whose shape does not fit.
    pub fn from_state(state: &HostTensors, init: QueueInit) -> Result<Self> {
        let keys = state.get("fifo.keys");
        let keys = keys.ok_or_else(|| Error::input("state: `fifo.keys` is missing"))?;
        let mut queue = Self::of_keys(&matrix("state: `fifo.keys`", keys)?, init, Device::Cpu);
        queue.import(state)?;
        Ok(queue)
    }

    /// Keys `[K, D]` of no class.
    fn of_keys(keys: &Tensor, init: QueueInit, device: Device) -> Self {
        Self {
            rows: keys.to_device(device),
            labels: Tensor::full([keys.size()[0]], -1, (Kind::Int64, device)),
            next: 0,
            filled: 0,
            init,
        }
    }

    fn len(&self) -> i64 {
        self.rows.size()[0]
    }

    /// Which slots count as keys, bool `[1, K]`; `None`: all.
    fn filled_mask(&self) -> TorchResult<Option<Tensor>> {
        if self.init == QueueInit::Random || self.filled == self.len() {
            return Ok(None);
        }
        let slots = Tensor::f_arange(self.len(), (Kind::Int64, self.rows.device()))?;
        Ok(Some(slots.f_lt(self.filled)?.f_unsqueeze(0)?))
    }
}

impl Keys for FifoQueue {
    fn pairs(&self, anchors: &Anchors<'_>) -> TorchResult<Pairs> {
        Pairs::against(anchors, &self.rows, &self.labels, self.filled_mask()?.as_ref())
    }
}

impl Searchable for FifoQueue {
    fn positives(&self, pairs: &Pairs, _labels: &Tensor) -> TorchResult<Tensor> {
        pairs.sim.f_masked_fill(&pairs.positive.f_logical_not()?, f64::INFINITY)
    }

    fn may_lack(&self) -> bool {
        true
    }

    fn most(&self) -> [usize; 2] {
        [self.len() as usize; 2]
    }
}

impl Ring for FifoQueue {
    /// Writes `z` `[B, D]` after the newest key; of more than K rows the last K stay.
    fn write(&mut self, z: &Tensor, labels: &Tensor) -> TorchResult<()> {
        let _guard = tch::no_grad_guard();
        let (len, b) = (self.len(), z.size()[0]);
        let kept = b.min(len);
        let slots = Tensor::f_arange(kept, (Kind::Int64, self.rows.device()))?;
        let slots = slots.f_add_scalar(self.next + b - kept)?.f_remainder(len)?;
        let keys = z.detach().f_narrow(0, b - kept, kept)?.f_to_kind(self.rows.kind())?;
        let _ = self.rows.f_index_copy_(0, &slots, &keys)?;
        let _ = self.labels.f_index_copy_(0, &slots, &labels.f_narrow(0, b - kept, kept)?)?;
        self.next = (self.next + b) % len;
        self.filled = (self.filled + b).min(len);
        Ok(())
    }

    /// `fifo.keys` `[K, D]`, `fifo.labels` `[K]`, `fifo.state` [next slot, slots filled].
    fn export(&self, into: &mut HostTensors) {
        into.insert("fifo.keys".into(), HostTensor::from_torch(&self.rows));
        into.insert("fifo.labels".into(), HostTensor::from_torch(&self.labels));
        let state = HostData::I64(vec![self.next, self.filled]);
        into.insert("fifo.state".into(), HostTensor { shape: vec![2], data: state });
    }

    /// Reads what [`export`](Self::export) wrote.
    fn import(&mut self, from: &HostTensors) -> Result<()> {
        let (len, dim) = (self.len() as usize, self.rows.size()[1] as usize);
        let keys = take(from, "fifo.keys", &[len, dim])?.to_torch(self.rows.device());
        let labels = take(from, "fifo.labels", &[len])?.to_torch(self.rows.device());
        let state = take(from, "fifo.state", &[2])?.as_i64().unwrap_or(&[]).to_vec();
        let &[next, filled] = state.as_slice() else {
            return Err(Error::input("state: `fifo.state` must be two int64 values"));
        };
        if !(0..self.len()).contains(&next) || !(0..=self.len()).contains(&filled) {
            return Err(Error::input(format!(
                "state: `fifo.state` = [{next}, {filled}] is outside a queue of {len} keys"
            )));
        }
        self.rows.copy_(&keys);
        self.labels.copy_(&labels);
        (self.next, self.filled) = (next, filled);
        Ok(())
    }
}
