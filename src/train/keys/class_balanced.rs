//! The class-balanced queue: the same number of keys for every class, however rare it is.

use tch::{Device, Kind, Tensor};

use crate::{
    Error, Result,
    rng::Streams,
    train::{
        keys::{
            KeyQueue, KeySource, Pairs, QueueInit, QueueState, Searchable,
            queue::{check_keys, random_keys, take},
        },
        nn::{
            parameters::TorchResult,
            tensors::{check_labels, matrix},
        },
    },
};

/// One ring of Q keys per class (METHOD section 3). As a source of keys it gives all of them, class by
/// class.
#[derive(Debug)]
pub struct ClassBalancedQueue {
    /// [C*Q + 1, D]: key j of class c in row c*Q + j; the last row takes writes that a later one in
    /// the same step would overwrite.
    rows: Tensor,
    /// Next slot of each class, `[C]`.
    ptr: Tensor,
    /// Slots written so far, at most Q, `[C]`.
    filled: Tensor,
    /// Class of each key, `[C*Q]`.
    labels: Tensor,
    classes: i64,
    per_class: i64,
    init: QueueInit,
}

impl ClassBalancedQueue {
    /// Random unit keys `[classes * per_class, dim]`, float32, from the stream `queue` of `seed`, the same on every
    /// device.
    ///
    /// # Errors
    /// [`Error::Input`] if a size is 0; [`Error::Run`] if memory does not suffice.
    pub fn random(
        classes: usize,
        per_class: usize,
        dim: usize,
        init: QueueInit,
        seed: u64,
        device: Device,
    ) -> Result<Self> {
        if classes.min(per_class).min(dim) == 0 {
            return Err(Error::input(format!(
                "class-balanced queue: {classes} classes, {per_class} keys per class, {dim} numbers per \
                 key; expected at least 1 of each"
            )));
        }
        let keys = random_keys(classes.saturating_mul(per_class), dim, &Streams::new(seed))?;
        let keys = Tensor::from_slice(&keys).f_reshape([(classes * per_class) as i64, dim as i64]);
        Self::of_keys(&keys?, classes as i64, init, device)
    }

    /// The queue of `classes` classes that `queue_list` `[D, C*Q]`, in its own float type, and where they are
    /// given `queue_ptr` `[C]` (otherwise 0) and `queue_filled` `[C]` (otherwise Q) describe, on the device of
    /// its keys.
    ///
    /// # Errors
    /// [`Error::Input`] naming a missing entry or one whose shape does not fit.
    pub fn from_state(state: &QueueState, classes: usize, init: QueueInit) -> Result<Self> {
        let list = state.get("queue_list");
        let list = list.ok_or_else(|| Error::input("state: `queue_list` is missing"))?;
        let (_, n) = matrix("state: `queue_list`", list)?;
        let classes = classes as i64;
        if classes == 0 || n == 0 || n % classes != 0 {
            return Err(Error::input(format!(
                "state: `queue_list` has {n} columns; expected the same number for each of {classes} classes"
            )));
        }
        let mut queue = Self::of_keys(&list.f_tr()?, classes, init, list.device())?;
        let mut state: QueueState =
            state.iter().map(|(name, value)| (name.clone(), value.shallow_clone())).collect();
        let start = || Tensor::zeros([classes], (Kind::Int64, Device::Cpu));
        state.entry("queue_ptr".into()).or_insert_with(start);
        queue.load_state(&state)?;
        Ok(queue)
    }

    /// Every class's keys `[C*Q, D]` at the first slot.
    fn of_keys(keys: &Tensor, classes: i64, init: QueueInit, device: Device) -> Result<Self> {
        let _guard = tch::no_grad_guard();
        let (n, dim) = (keys.size()[0], keys.size()[1]);
        let per_class = n / classes;
        let spare = Tensor::f_zeros([1, dim], (keys.kind(), keys.device()))?;
        let int = (Kind::Int64, device);
        Ok(Self {
            rows: Tensor::f_cat(&[keys, &spare], 0)?.f_contiguous()?.f_to_device(device)?,
            ptr: Tensor::f_zeros([classes], int)?,
            filled: Tensor::f_zeros([classes], int)?,
            labels: Tensor::f_arange(n, int)?.f_divide_scalar_mode(per_class, "floor")?,
            classes,
            per_class,
            init,
        })
    }

    /// Keys `[C*Q, D]`, unit rows.
    fn keys(&self) -> Tensor {
        self.rows.narrow(0, 0, self.classes * self.per_class)
    }

    /// Rows of each label's own ring, `[M, Q]`.
    fn columns_of(&self, labels: &Tensor) -> TorchResult<Tensor> {
        let slots = Tensor::f_arange(self.per_class, (Kind::Int64, labels.device()))?;
        labels.f_mul_scalar(self.per_class)?.f_unsqueeze(1)?.f_add(&slots)
    }

    /// Which slots count as keys, bool `[1, C*Q]`; `None`: all.
    fn filled_mask(&self) -> TorchResult<Option<Tensor>> {
        if self.init == QueueInit::Random {
            return Ok(None);
        }
        let slots = Tensor::f_arange(self.per_class, (Kind::Int64, self.rows.device()))?;
        let mask = slots.f_unsqueeze(0)?.f_lt_tensor(&self.filled.f_unsqueeze(1)?)?;
        Ok(Some(mask.f_reshape([1, -1])?))
    }
}

impl KeySource for ClassBalancedQueue {
    fn pairs(&self, anchors: &Tensor, labels: &Tensor) -> Result<Pairs> {
        check_labels("labels", labels, anchors, Some(self.classes))?;
        Pairs::against(anchors, labels, &self.keys(), &self.labels, self.filled_mask()?.as_ref())
    }
}

impl Searchable for ClassBalancedQueue {
    /// Only the ring of the anchor's own class is looked at.
    fn positives(&self, pairs: &Pairs) -> Result<Tensor> {
        let columns = self.columns_of(&pairs.labels)?;
        let own = pairs.sim.f_gather(1, &columns, false)?;
        match &pairs.valid {
            None => Ok(own),
            Some(valid) => {
                let empty = valid.f_gather(1, &columns, false)?.f_logical_not()?;
                Ok(own.f_masked_fill(&empty, f64::INFINITY)?)
            }
        }
    }

    fn may_lack(&self) -> bool {
        self.init == QueueInit::ExcludeUnfilled
    }

    fn most(&self) -> [usize; 2] {
        [self.per_class as usize, (self.per_class * (self.classes - 1)) as usize]
    }
}

impl KeyQueue for ClassBalancedQueue {
    /// Writes keys `[B, D]` in row order, each key into its class's ring; a class with more than Q keys
    /// keeps the last Q, its pointer as if all had been written one after the other.
    fn enqueue(&mut self, keys: &Tensor, labels: &Tensor) -> Result<()> {
        check_keys(keys, labels, &self.rows, Some(self.classes))?;
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
        let keys = keys.detach().f_to_kind(self.rows.kind())?;
        let _ = self.rows.f_index_copy_(0, &row, &keys)?;
        let ones = labels.f_ones_like()?;
        let _ = self.ptr.f_index_add_(0, labels, &ones)?.f_remainder_(q)?;
        let _ = self.filled.f_index_add_(0, labels, &ones)?.f_clamp_max_(q)?;
        Ok(())
    }

    /// `queue_list` `[D, C*Q]` and `queue_ptr` `[C]` as the reference names them, `queue_filled` `[C]`.
    fn state(&self) -> Result<QueueState> {
        Ok([
            ("queue_list".to_owned(), self.keys().f_tr()?.f_detach_copy()?),
            ("queue_ptr".to_owned(), self.ptr.f_detach_copy()?),
            ("queue_filled".to_owned(), self.filled.f_detach_copy()?),
        ]
        .into())
    }

    /// Takes over a state. One without `queue_filled` (a released checkpoint) is taken as full.
    fn load_state(&mut self, state: &QueueState) -> Result<()> {
        let (classes, dim) = (self.classes, self.rows.size()[1]);
        let list = take(state, "queue_list", &[dim, classes * self.per_class], None)?;
        let ptr = take(state, "queue_ptr", &[classes], None)?;
        let filled = match state.get("queue_filled") {
            Some(_) => Some(take(state, "queue_filled", &[classes], None)?),
            None => None,
        };
        let _guard = tch::no_grad_guard();
        self.keys().f_copy_(&list.f_tr()?)?;
        self.ptr.f_copy_(ptr)?;
        match filled {
            Some(filled) => self.filled.f_copy_(filled)?,
            None => drop(self.filled.f_fill_(self.per_class)?),
        }
        Ok(())
    }
}
