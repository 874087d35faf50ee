//! Parameters and buffers of one network under PyTorch's names.
//!
//! All parameters live in one flat tensor, the only leaf of the graph: the optimiser, the gradient
//! norm, the momentum encoder and the cast to bfloat16 are then a few operations over the whole
//! network instead of a few per layer. A pass splits it into views; the backward of that split
//! lays all gradients side by side in the same order.

use rand_distr::{Distribution, StandardNormal, Uniform};
use tch::{Device, Kind, Tensor};

pub(crate) use crate::train::nn::device::TorchResult;
use crate::{
    Error, Result,
    rng::Streams,
    train::nn::{
        layers::{BatchNorm, Conv, Entry, Init, Layout, Linear, Param, Slot},
        tensors::{HostData, HostTensor, HostTensors},
    },
};

/// The state of one network on a device.
#[derive(Debug)]
pub(crate) struct Store {
    layout: Layout,
    flat: Tensor,
    /// Running means and variances of batch norm, side by side like the parameters.
    statistics: Tensor,
    /// The views of `statistics`, one per buffer.
    buffers: Vec<Tensor>,
    counters: Vec<i64>,
    channels_last: bool,
}

/// What a forward pass in training mode changes: running statistics and counters of batch norm.
#[derive(Debug)]
pub(crate) struct Statistics {
    values: Tensor,
    counters: Vec<i64>,
}

fn views(statistics: &Tensor, layout: &Layout) -> Vec<Tensor> {
    let mut offset = 0;
    let buffers = layout.entries.iter().filter(|e| matches!(e.slot, Slot::Buffer(_)));
    let view = |e: &Entry| {
        let n = e.shape.iter().product();
        offset += n;
        statistics.narrow(0, offset - n, n)
    };
    buffers.map(view).collect()
}

fn draw(init: Init, n: usize, index: usize, streams: &Streams) -> Vec<f32> {
    let mut rng = streams.stream("init", &[index as u64]);
    match init {
        Init::Ones => vec![1.0; n],
        Init::Zeros => vec![0.0; n],
        Init::Kaiming { fan } => {
            let std = (2.0 / fan as f64).sqrt();
            let normal = StandardNormal;
            let draw = || std * Distribution::<f64>::sample(&normal, &mut rng);
            std::iter::repeat_with(draw).take(n).map(|x| x as f32).collect()
        }
        Init::LinearUniform { fan_in } => {
            let bound = 1.0 / (fan_in as f64).sqrt();
            let uniform = Uniform::new(-bound, bound).expect("the bound is finite and positive");
            uniform.sample_iter(&mut rng).take(n).map(|x| x as f32).collect()
        }
    }
}

impl Store {
    /// Initial state drawn from the stream `init`, one sub-stream per entry.
    pub(crate) fn new(
        layout: Layout,
        streams: &Streams,
        device: Device,
        channels_last: bool,
    ) -> Self {
        let zeros = |n: i64| Tensor::zeros([n], (Kind::Float, device));
        let statistics = zeros(layout.buffer_values());
        let mut store = Self {
            flat: zeros(layout.parameters()),
            buffers: views(&statistics, &layout),
            statistics,
            counters: vec![0; layout.counters],
            layout,
            channels_last,
        };
        for (k, entry) in store.layout.entries.clone().iter().enumerate() {
            if matches!(entry.slot, Slot::Counter(_)) {
                continue;
            }
            let n = entry.shape.iter().product::<i64>() as usize;
            let values = draw(entry.init, n, k, streams);
            store.put(entry, &Tensor::from_slice(&values).reshape(&entry.shape));
        }
        let _ = store.flat.requires_grad_(true);
        store
    }

    /// An independent copy with the same values, outside any graph.
    pub(crate) fn duplicate(&self) -> Self {
        let statistics = self.statistics.copy();
        Self {
            layout: self.layout.clone(),
            flat: self.flat.detach().copy(),
            buffers: views(&statistics, &self.layout),
            statistics,
            counters: self.counters.clone(),
            channels_last: self.channels_last,
        }
    }

    /// All parameters in one row.
    pub(crate) fn flat(&self) -> &Tensor {
        &self.flat
    }

    /// Puts `flat` in the place of the parameters, and gives those that were there.
    pub(crate) fn replace_flat(&mut self, flat: Tensor) -> Tensor {
        std::mem::replace(&mut self.flat, flat)
    }

    /// A copy of what the next pass in training mode will change; stays on the device.
    pub(crate) fn statistics(&self) -> TorchResult<Statistics> {
        let mut values = self.statistics.f_empty_like()?;
        values.f_copy_(&self.statistics)?;
        Ok(Statistics { values, counters: self.counters.clone() })
    }

    /// Takes that pass back.
    pub(crate) fn restore(&mut self, before: Statistics) -> TorchResult<()> {
        self.statistics.f_copy_(&before.values)?;
        self.counters = before.counters;
        Ok(())
    }

    pub(crate) fn layout(&self) -> &Layout {
        &self.layout
    }

    pub(crate) fn device(&self) -> Device {
        self.flat.device()
    }

    fn view(&self, part: &Tensor, shape: &[i64]) -> TorchResult<Tensor> {
        match *shape {
            [o, i, h, w] if self.channels_last => {
                part.f_view([o, h, w, i])?.f_permute([0, 3, 1, 2])
            }
            _ => part.f_view(shape),
        }
    }

    fn shapes(&self) -> impl Iterator<Item = &Entry> {
        self.layout.entries.iter().filter(|e| matches!(e.slot, Slot::Param(_)))
    }

    /// Parameters as views into `flat` (this store's own, a gradient or a momentum of the same layout).
    pub(crate) fn split(&self, flat: &Tensor) -> TorchResult<Vec<Tensor>> {
        let parts = flat.f_split_with_sizes(&self.layout.sizes, 0)?;
        parts.iter().zip(self.shapes()).map(|(part, e)| self.view(part, &e.shape)).collect()
    }

    fn put(&mut self, entry: &Entry, value: &Tensor) {
        tch::no_grad(|| match entry.slot {
            Slot::Param(id) => {
                let offset: i64 = self.layout.sizes[..id].iter().sum();
                let part = self.flat.detach().narrow(0, offset, self.layout.sizes[id]);
                self.view(&part, &entry.shape)
                    .expect("the flat tensor has room for every parameter")
                    .copy_(value);
            }
            Slot::Buffer(id) => self.buffers[id].copy_(value),
            Slot::Counter(_) => {}
        });
    }

    /// The whole state under `prefix` + PyTorch's names.
    pub(crate) fn export(&self, prefix: &str, into: &mut HostTensors) -> Result<()> {
        let parts = tch::no_grad(|| self.split(&self.flat.detach()))?;
        for entry in &self.layout.entries {
            let host = match entry.slot {
                Slot::Param(id) => HostTensor::from_torch(&parts[id]),
                Slot::Buffer(id) => HostTensor::from_torch(&self.buffers[id]),
                Slot::Counter(id) => {
                    HostTensor { shape: vec![], data: HostData::I64(vec![self.counters[id]]) }
                }
            };
            into.insert(format!("{prefix}{}", entry.name), host);
        }
        Ok(())
    }

    /// Takes the state from `from`. A missing counter becomes 0, as in files of old PyTorch; every
    /// other entry must be there in the right shape.
    ///
    /// # Errors
    /// [`Error::Input`] naming the entry.
    pub(crate) fn import(&mut self, prefix: &str, from: &HostTensors) -> Result<()> {
        self.take(prefix, from, false)
    }

    /// [`import`](Self::import) of the entries that `from` has; the others stay.
    pub(crate) fn import_present(&mut self, prefix: &str, from: &HostTensors) -> Result<()> {
        self.take(prefix, from, true)
    }

    fn take(&mut self, prefix: &str, from: &HostTensors, partial: bool) -> Result<()> {
        for entry in &self.layout.entries.clone() {
            let name = format!("{prefix}{}", entry.name);
            let found = from.get(&name);
            if partial && found.is_none() {
                continue;
            }
            if let Slot::Counter(id) = entry.slot {
                let count = found.and_then(|t| t.as_i64()?.first().copied());
                self.counters[id] = count.unwrap_or(0);
                continue;
            }
            let Some(host) = found else {
                return Err(Error::input(format!(
                    "state: `{name}` is missing; this network expects it with shape {:?}",
                    entry.shape
                )));
            };
            let shape: Vec<i64> = host.shape.iter().map(|&n| n as i64).collect();
            if shape != entry.shape {
                return Err(Error::input(format!(
                    "state: `{name}` has shape {shape:?}; this network expects {:?}",
                    entry.shape
                )));
            }
            self.put(entry, &host.to_torch(Device::Cpu)?);
        }
        Ok(())
    }
}

/// One forward pass: the parameters as views, in float32 and, where asked, in bfloat16.
pub(crate) struct Pass<'a> {
    store: &'a mut Store,
    parts: Vec<Tensor>,
    low: Option<Vec<Tensor>>,
    train: bool,
}

impl<'a> Pass<'a> {
    /// `train`: batch norm uses and records the batch's statistics.
    pub(crate) fn new(store: &'a mut Store, train: bool, bf16: bool) -> TorchResult<Self> {
        let parts = store.split(&store.flat)?;
        let low =
            if bf16 { Some(store.split(&store.flat.f_to_kind(Kind::BFloat16)?)?) } else { None };
        Ok(Self { store, parts, low, train })
    }

    /// A parameter as it is, float32.
    pub(crate) fn parameter(&self, id: Param) -> &Tensor {
        &self.parts[id.0]
    }

    fn weight(&self, id: Param) -> &Tensor {
        &self.low.as_ref().unwrap_or(&self.parts)[id.0]
    }

    /// Images as the network wants them: dtype and memory format.
    pub(crate) fn input(&self, x: &Tensor) -> TorchResult<Tensor> {
        let x = if self.store.channels_last {
            x.f_permute([0, 2, 3, 1])?.f_contiguous()?.f_permute([0, 3, 1, 2])?
        } else {
            x.shallow_clone()
        };
        self.cast(&x)
    }

    fn cast(&self, x: &Tensor) -> TorchResult<Tensor> {
        if self.low.is_some() { x.f_to_kind(Kind::BFloat16) } else { Ok(x.shallow_clone()) }
    }

    pub(crate) fn conv(&self, c: Conv, x: &Tensor) -> TorchResult<Tensor> {
        let pair = |n: i64| [n, n];
        let none: Option<&Tensor> = None;
        let (stride, padding) = (pair(c.stride), pair(c.padding));
        x.f_conv2d(self.weight(c.weight), none, stride, padding, pair(1), c.groups)
    }

    /// Biased batch variance for normalising, unbiased for the running value; momentum 0.1, eps 1e-5.
    pub(crate) fn batch_norm(&mut self, bn: BatchNorm, x: &Tensor) -> TorchResult<Tensor> {
        if self.train {
            self.store.counters[bn.counter] += 1;
        }
        let buffers = &self.store.buffers;
        x.f_batch_norm(
            Some(&self.parts[bn.weight.0]),
            Some(&self.parts[bn.bias.0]),
            Some(&buffers[bn.mean]),
            Some(&buffers[bn.var]),
            self.train,
            0.1,
            1e-5,
            true,
        )
    }

    pub(crate) fn linear(&self, l: Linear, x: &Tensor) -> TorchResult<Tensor> {
        self.cast(x)?.f_linear(self.weight(l.weight), Some(self.weight(l.bias)))
    }
}
