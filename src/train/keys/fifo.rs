//! The first-in-first-out queue over all classes, as in MoCo: its keys are as imbalanced as the data.

use tch::{Device, Kind, Tensor};

use crate::{
    Error, Result,
    rng::Streams,
    train::{
        keys::{
            KeyQueue, KeySource, Pairs, QueueInit, QueueState, Searchable,
            queue::{check_keys, random_keys, take},
        },
        nn::{parameters::TorchResult, tensors::matrix},
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
    /// Random unit keys `[len, dim]` of no class, float32, from the stream `queue` of `seed`, the same on every
    /// device.
    ///
    /// # Errors
    /// [`Error::Input`] if a size is 0; [`Error::Run`] if memory does not suffice.
    pub fn random(
        len: usize,
        dim: usize,
        init: QueueInit,
        seed: u64,
        device: Device,
    ) -> Result<Self> {
        if len.min(dim) == 0 {
            return Err(Error::input(format!(
                "FIFO queue: {len} keys of {dim} numbers; expected at least 1 of each"
            )));
        }
        let keys = Tensor::from_slice(&random_keys(len, dim, &Streams::new(seed))?);
        let keys = keys.f_reshape([len as i64, dim as i64])?.f_to_device(device)?;
        Self::of_keys(keys, init)
    }

    /// The queue that `fifo.keys` `[K, D]`, in its own float type, `fifo.labels` `[K]` (-1: never written) and
    /// `fifo.state` [next slot, slots filled] describe, on the
    /// device of its keys.
    ///
    /// # Errors
    /// [`Error::Input`] naming a missing entry or one whose shape does not fit.
    pub fn from_state(state: &QueueState, init: QueueInit) -> Result<Self> {
        let keys = state.get("fifo.keys");
        let keys = keys.ok_or_else(|| Error::input("state: `fifo.keys` is missing"))?;
        matrix("state: `fifo.keys`", keys)?;
        let mut queue = Self::of_keys(keys.f_contiguous()?.f_detach_copy()?, init)?;
        queue.load_state(state)?;
        Ok(queue)
    }

    /// Keys `[K, D]` of no class.
    fn of_keys(rows: Tensor, init: QueueInit) -> Result<Self> {
        let labels = Tensor::f_full([rows.size()[0]], -1, (Kind::Int64, rows.device()))?;
        Ok(Self { rows, labels, next: 0, filled: 0, init })
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

impl KeySource for FifoQueue {
    fn pairs(&self, anchors: &Tensor, labels: &Tensor) -> Result<Pairs> {
        Pairs::against(anchors, labels, &self.rows, &self.labels, self.filled_mask()?.as_ref())
    }
}

impl Searchable for FifoQueue {
    fn most(&self) -> [usize; 2] {
        [self.len() as usize; 2]
    }
}

impl KeyQueue for FifoQueue {
    /// Writes keys `[B, D]` after the newest one; of more than K rows the last K stay.
    fn enqueue(&mut self, keys: &Tensor, labels: &Tensor) -> Result<()> {
        check_keys(keys, labels, &self.rows, None)?;
        let _guard = tch::no_grad_guard();
        let (len, b) = (self.len(), keys.size()[0]);
        let kept = b.min(len);
        let slots = Tensor::f_arange(kept, (Kind::Int64, self.rows.device()))?;
        let slots = slots.f_add_scalar(self.next + b - kept)?.f_remainder(len)?;
        let keys = keys.detach().f_narrow(0, b - kept, kept)?.f_to_kind(self.rows.kind())?;
        let _ = self.rows.f_index_copy_(0, &slots, &keys)?;
        let _ = self.labels.f_index_copy_(0, &slots, &labels.f_narrow(0, b - kept, kept)?)?;
        self.next = (self.next + b) % len;
        self.filled = (self.filled + b).min(len);
        Ok(())
    }

    /// `fifo.keys` `[K, D]`, `fifo.labels` `[K]`, `fifo.state` [next slot, slots filled].
    fn state(&self) -> Result<QueueState> {
        Ok([
            ("fifo.keys".to_owned(), self.rows.f_detach_copy()?),
            ("fifo.labels".to_owned(), self.labels.f_detach_copy()?),
            ("fifo.state".to_owned(), Tensor::from_slice(&[self.next, self.filled])),
        ]
        .into())
    }

    fn load_state(&mut self, state: &QueueState) -> Result<()> {
        let (len, dim) = (self.len(), self.rows.size()[1]);
        let keys = take(state, "fifo.keys", &[len, dim], None)?;
        let labels = take(state, "fifo.labels", &[len], None)?;
        let place = take(state, "fifo.state", &[2], Some(Kind::Int64))?;
        let (next, filled) = (place.f_int64_value(&[0])?, place.f_int64_value(&[1])?);
        if !(0..len).contains(&next) || !(0..=len).contains(&filled) {
            return Err(Error::input(format!(
                "state: `fifo.state` = [{next}, {filled}] is outside a queue of {len} keys"
            )));
        }
        let _guard = tch::no_grad_guard();
        self.rows.f_copy_(keys)?;
        self.labels.f_copy_(labels)?;
        (self.next, self.filled) = (next, filled);
        Ok(())
    }
}
