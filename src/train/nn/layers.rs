//! Names, shapes, order and first values of a network's state, gathered while it is built.

/// How a parameter starts.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Init {
    /// Normal with standard deviation sqrt(2 / fan), the fan being that of the inputs or outputs.
    Kaiming {
        fan: i64,
    },
    /// Uniform within +-1/sqrt(fan_in), PyTorch's default for linear layers.
    LinearUniform {
        fan_in: i64,
    },
    Ones,
    Zeros,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Slot {
    Param(usize),
    Buffer(usize),
    Counter(usize),
}

#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) shape: Vec<i64>,
    pub(crate) slot: Slot,
    pub(crate) init: Init,
}

/// Parameter number.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Param(pub(crate) usize);

impl Param {
    /// Its place among the views of [`Store::split`].
    pub(crate) fn index(self) -> usize {
        self.0
    }
}

/// The four tensors and the counter of a batch norm.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BatchNorm {
    pub(crate) weight: Param,
    pub(crate) bias: Param,
    pub(crate) mean: usize,
    pub(crate) var: usize,
    pub(crate) counter: usize,
}

/// A linear layer with bias.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Linear {
    pub(crate) weight: Param,
    pub(crate) bias: Param,
}

/// A convolution without bias.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Conv {
    pub(crate) weight: Param,
    pub(crate) stride: i64,
    pub(crate) padding: i64,
    pub(crate) groups: i64,
}

/// Names, shapes and order of a network's state, gathered while it is built.
#[derive(Debug, Clone, Default)]
pub(crate) struct Layout {
    pub(crate) entries: Vec<Entry>,
    pub(crate) sizes: Vec<i64>,
    buffers: usize,
    pub(crate) counters: usize,
}

impl Layout {
    fn param(&mut self, name: String, shape: &[i64], init: Init) -> Param {
        let id = self.sizes.len();
        self.sizes.push(shape.iter().product());
        self.entries.push(Entry { name, shape: shape.to_vec(), slot: Slot::Param(id), init });
        Param(id)
    }

    fn buffer(&mut self, name: String, channels: i64, init: Init) -> usize {
        let id = self.buffers;
        self.buffers += 1;
        self.entries.push(Entry { name, shape: vec![channels], slot: Slot::Buffer(id), init });
        id
    }

    pub(crate) fn conv(
        &mut self,
        name: &str,
        shape: [i64; 4],
        stride: i64,
        groups: i64,
        fan_out: bool,
    ) -> Conv {
        let [out, inner, kh, kw] = shape;
        // PyTorch counts the fan of a grouped convolution from the weight's own shape.
        let fan = kh * kw * if fan_out { out } else { inner };
        let weight = self.param(format!("{name}.weight"), &shape, Init::Kaiming { fan });
        Conv { weight, stride, padding: kh / 2, groups }
    }

    pub(crate) fn batch_norm(&mut self, name: &str, channels: i64) -> BatchNorm {
        let weight = self.param(format!("{name}.weight"), &[channels], Init::Ones);
        let bias = self.param(format!("{name}.bias"), &[channels], Init::Zeros);
        let mean = self.buffer(format!("{name}.running_mean"), channels, Init::Zeros);
        let var = self.buffer(format!("{name}.running_var"), channels, Init::Ones);
        let counter = self.counters;
        self.counters += 1;
        self.entries.push(Entry {
            name: format!("{name}.num_batches_tracked"),
            shape: vec![],
            slot: Slot::Counter(counter),
            init: Init::Zeros,
        });
        BatchNorm { weight, bias, mean, var, counter }
    }

    /// A linear layer; `kaiming`: normal weights as the CIFAR networks, else PyTorch's default.
    pub(crate) fn linear(&mut self, name: &str, fan_in: i64, out: i64, kaiming: bool) -> Linear {
        let uniform = Init::LinearUniform { fan_in };
        let init = if kaiming { Init::Kaiming { fan: fan_in } } else { uniform };
        Linear {
            weight: self.param(format!("{name}.weight"), &[out, fan_in], init),
            bias: self.param(format!("{name}.bias"), &[out], uniform),
        }
    }

    /// One factor per class, 1 at the start.
    pub(crate) fn scale(&mut self, name: &str, classes: i64) -> Param {
        self.param(name.to_owned(), &[1, classes], Init::Ones)
    }

    /// Names and shapes of the state, in PyTorch's order.
    pub(crate) fn names(&self) -> impl Iterator<Item = (&str, &[i64])> {
        self.entries.iter().map(|e| (e.name.as_str(), e.shape.as_slice()))
    }

    /// Names of the parameters, in the order of the flat tensor.
    pub(crate) fn parameter_names(&self) -> impl Iterator<Item = &str> {
        let params = self.entries.iter().filter(|e| matches!(e.slot, Slot::Param(_)));
        params.map(|e| e.name.as_str())
    }

    /// Values of all buffers together.
    pub(crate) fn buffer_values(&self) -> i64 {
        let buffers = self.entries.iter().filter(|e| matches!(e.slot, Slot::Buffer(_)));
        buffers.map(|e| e.shape.iter().product::<i64>()).sum()
    }

    /// Number of trainable values.
    pub(crate) fn parameters(&self) -> i64 {
        self.sizes.iter().sum()
    }
}
