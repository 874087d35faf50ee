//! Queues of keys from earlier steps (METHOD section 3). Writing is vectorised and stays on the
//! device: no loop over samples, no read by the host.

use rand_distr::{Distribution, StandardNormal};
use tch::{Device, Kind, Tensor};

use super::{
    config::QueueInit,
    host::{HostData, HostTensor, HostTensors},
    store::TorchResult,
};
use crate::{Error, Result, rng::Streams};

fn random_keys(n: usize, dim: usize, streams: &Streams) -> Result<Vec<f32>> {
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

fn take<'a>(from: &'a HostTensors, name: &str, shape: &[usize]) -> Result<&'a HostTensor> {
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

/// One ring of Q keys per class.
#[derive(Debug)]
pub(super) struct ClassBalancedQueue {
    /// [C*Q + 1, D]: key j of class c in row c*Q + j; the last row takes writes that a later one in
    /// the same step would overwrite.
    rows: Tensor,
    /// Next slot of each class, [C].
    ptr: Tensor,
    /// Slots written so far, at most Q, [C].
    filled: Tensor,
    /// Class of each key, [C*Q].
    labels: Tensor,
    classes: i64,
    per_class: i64,
    init: QueueInit,
}

impl ClassBalancedQueue {
    /// Random unit keys from the stream `queue`.
    pub(super) fn new(
        classes: usize,
        per_class: usize,
        dim: usize,
        init: QueueInit,
        streams: &Streams,
        device: Device,
    ) -> Result<Self> {
        let keys = random_keys(classes * per_class, dim, streams)?;
        let keys = Tensor::from_slice(&keys).reshape([(classes * per_class) as i64, dim as i64]);
        Ok(Self::from_keys(&keys, classes, init, device))
    }

    pub(super) fn from_keys(
        keys: &Tensor,
        classes: usize,
        init: QueueInit,
        device: Device,
    ) -> Self {
        let (n, dim) = (keys.size()[0], keys.size()[1]);
        let classes = classes as i64;
        let per_class = n / classes;
        let spare = Tensor::zeros([1, dim], (keys.kind(), keys.device()));
        let int = (Kind::Int64, device);
        Self {
            rows: Tensor::cat(&[keys, &spare], 0).to_device(device),
            ptr: Tensor::zeros([classes], int),
            filled: Tensor::zeros([classes], int),
            labels: Tensor::arange(n, int).divide_scalar_mode(per_class, "floor"),
            classes,
            per_class,
            init,
        }
    }

    /// Keys [C*Q, D], unit rows.
    pub(super) fn keys(&self) -> Tensor {
        self.rows.narrow(0, 0, self.classes * self.per_class)
    }

    /// Class of each key, [C*Q].
    pub(super) fn key_labels(&self) -> &Tensor {
        &self.labels
    }

    /// Rows of each label's own ring, [M, Q].
    pub(super) fn columns_of(&self, labels: &Tensor) -> TorchResult<Tensor> {
        let slots = Tensor::f_arange(self.per_class, (Kind::Int64, labels.device()))?;
        labels.f_mul_scalar(self.per_class)?.f_unsqueeze(1)?.f_add(&slots)
    }

    /// Which slots count as keys, bool [1, C*Q]; `None`: all.
    pub(super) fn filled_mask(&self) -> TorchResult<Option<Tensor>> {
        if self.init == QueueInit::Random {
            return Ok(None);
        }
        let slots = Tensor::f_arange(self.per_class, (Kind::Int64, self.rows.device()))?;
        let mask = slots.f_unsqueeze(0)?.f_lt_tensor(&self.filled.f_unsqueeze(1)?)?;
        Ok(Some(mask.f_reshape([1, -1])?))
    }

    /// Writes `z` [B, D] in row order, each key into its class's ring; a class with more than Q keys
    /// keeps the last Q, its pointer as if all had been written one after the other.
    pub(super) fn write(&mut self, z: &Tensor, labels: &Tensor) -> TorchResult<()> {
        let _guard = tch::no_grad_guard();
        let q = self.per_class;
        let same =
            labels.f_unsqueeze(1)?.f_eq_tensor(&labels.f_unsqueeze(0)?)?.f_to_kind(Kind::Int64)?;
        let sum = |t: Tensor| t.f_sum_dim_intlist([1i64].as_slice(), false, Kind::Int64);
        let earlier = sum(same.f_tril(-1)?)?;
        let later = sum(same.f_triu(1)?)?;
        let slot = self.ptr.f_index_select(0, labels)?.f_add(&earlier)?.f_remainder(q)?;
        let spare = self.classes * q;
        let row = labels.f_mul_scalar(q)?.f_add(&slot)?.f_masked_fill(&later.f_ge(q)?, spare)?;
        let keys = z.detach().f_to_kind(self.rows.kind())?;
        let _ = self.rows.f_index_copy_(0, &row, &keys)?;
        let ones = labels.f_ones_like()?;
        let _ = self.ptr.f_index_add_(0, labels, &ones)?.f_remainder_(q)?;
        let _ = self.filled.f_index_add_(0, labels, &ones)?.f_clamp_max_(q)?;
        Ok(())
    }

    /// `queue_list` [D, C*Q] and `queue_ptr` [C] as the reference names them, `queue_filled` [C].
    pub(super) fn export(&self, into: &mut HostTensors) {
        into.insert("queue_list".into(), HostTensor::from_torch(&self.keys().tr()));
        into.insert("queue_ptr".into(), HostTensor::from_torch(&self.ptr));
        into.insert("queue_filled".into(), HostTensor::from_torch(&self.filled));
    }

    /// Reads what [`export`](Self::export) wrote. A file without `queue_filled` (a released
    /// checkpoint) is taken as full.
    pub(super) fn import(&mut self, from: &HostTensors) -> Result<()> {
        let (classes, keys) = (self.classes as usize, (self.classes * self.per_class) as usize);
        let dim = self.rows.size()[1] as usize;
        let list = take(from, "queue_list", &[dim, keys])?.to_torch(self.rows.device());
        let ptr = take(from, "queue_ptr", &[classes])?.to_torch(self.rows.device());
        self.keys().copy_(&list.tr());
        self.ptr.copy_(&ptr);
        if from.contains_key("queue_filled") {
            let filled = take(from, "queue_filled", &[classes])?;
            self.filled.copy_(&filled.to_torch(self.rows.device()));
        } else {
            let _ = self.filled.fill_(self.per_class);
        }
        Ok(())
    }
}

/// One ring over all classes, newest keys replacing the oldest.
#[derive(Debug)]
pub(super) struct FifoQueue {
    /// [K, D].
    rows: Tensor,
    /// Class of each key, -1 where none has been written: such a key is nobody's positive, [K].
    labels: Tensor,
    next: i64,
    filled: i64,
    init: QueueInit,
}

impl FifoQueue {
    /// Random unit keys from the stream `queue`.
    pub(super) fn new(
        len: usize,
        dim: usize,
        init: QueueInit,
        streams: &Streams,
        device: Device,
    ) -> Result<Self> {
        let keys = Tensor::from_slice(&random_keys(len, dim, streams)?);
        Ok(Self {
            rows: keys.reshape([len as i64, dim as i64]).to_device(device),
            labels: Tensor::full([len as i64], -1, (Kind::Int64, device)),
            next: 0,
            filled: 0,
            init,
        })
    }

    fn len(&self) -> i64 {
        self.rows.size()[0]
    }

    /// Keys [K, D], unit rows.
    pub(super) fn keys(&self) -> Tensor {
        self.rows.shallow_clone()
    }

    /// Class of each key, [K].
    pub(super) fn key_labels(&self) -> &Tensor {
        &self.labels
    }

    /// Which slots count as keys, bool [1, K]; `None`: all.
    pub(super) fn filled_mask(&self) -> TorchResult<Option<Tensor>> {
        if self.init == QueueInit::Random || self.filled == self.len() {
            return Ok(None);
        }
        let slots = Tensor::f_arange(self.len(), (Kind::Int64, self.rows.device()))?;
        Ok(Some(slots.f_lt(self.filled)?.f_unsqueeze(0)?))
    }

    /// Writes `z` [B, D] after the newest key; of more than K rows the last K stay.
    pub(super) fn write(&mut self, z: &Tensor, labels: &Tensor) -> TorchResult<()> {
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

    /// `fifo.keys` [K, D], `fifo.labels` [K], `fifo.state` [next slot, slots filled].
    pub(super) fn export(&self, into: &mut HostTensors) {
        into.insert("fifo.keys".into(), HostTensor::from_torch(&self.rows));
        into.insert("fifo.labels".into(), HostTensor::from_torch(&self.labels));
        let state = HostData::I64(vec![self.next, self.filled]);
        into.insert("fifo.state".into(), HostTensor { shape: vec![2], data: state });
    }

    /// Reads what [`export`](Self::export) wrote.
    pub(super) fn import(&mut self, from: &HostTensors) -> Result<()> {
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
