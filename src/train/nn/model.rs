//! Encoder, classifier and projection head as one network: `encoder.*`, `linear.*`, `mlp.{0,1,3}.*`.

use ndarray::Array2;
use tch::{Device, Kind, Tensor};

use crate::{
    Result,
    rng::Streams,
    run::{EncoderSpec, Precision},
    train::{
        eval::evaluate::Outputs,
        nn::{
            backbone::{Encoder, Watch},
            device::{Images, rows},
            layers::{BatchNorm, Layout, Linear},
            parameters::{Pass, Store, TorchResult},
            tensors::HostTensors,
        },
    },
};

#[derive(Debug, Clone)]
struct Projection {
    hidden: Linear,
    bn: BatchNorm,
    out: Linear,
}

/// Rows of one forward pass.
pub(crate) struct Output {
    /// f, [N, F].
    pub(crate) features: Tensor,
    /// [N, C], float32.
    pub(crate) logits: Tensor,
    /// Rows before normalisation, [N, D]; `None` without a projection head.
    pub(crate) projections: Option<Tensor>,
}

/// What a network is made of.
#[derive(Debug, Clone)]
pub(crate) struct ModelSpec<'a> {
    pub(crate) encoder: &'a EncoderSpec,
    pub(crate) classes: usize,
    pub(crate) projection_dim: Option<usize>,
    pub(crate) precision: Precision,
    pub(crate) channels_last: bool,
}

/// A network with its state.
#[derive(Debug)]
pub(crate) struct Model {
    store: Store,
    encoder: Encoder,
    linear: Linear,
    projection: Option<Projection>,
    bf16: bool,
}

impl Model {
    fn build(spec: &ModelSpec<'_>) -> (Layout, Encoder, Linear, Option<Projection>) {
        let mut layout = Layout::default();
        let encoder = Encoder::build(spec.encoder, &mut layout);
        let dim = spec.encoder.feature_dim() as i64;
        let kaiming = spec.encoder.arch.cifar_blocks().is_some();
        let linear = layout.linear("linear", dim, spec.classes as i64, kaiming);
        let projection = spec.projection_dim.map(|out| Projection {
            hidden: layout.linear("mlp.0", dim, dim, kaiming),
            bn: layout.batch_norm("mlp.1", dim),
            out: layout.linear("mlp.3", dim, out as i64, kaiming),
        });
        (layout, encoder, linear, projection)
    }

    /// Names and shapes alone, no memory for values.
    pub(crate) fn layout(spec: &ModelSpec<'_>) -> Layout {
        Self::build(spec).0
    }

    pub(crate) fn new(spec: &ModelSpec<'_>, streams: &Streams, device: Device) -> Self {
        let (layout, encoder, linear, projection) = Self::build(spec);
        let store = Store::new(layout, streams, device, spec.channels_last);
        let bf16 = spec.precision == Precision::Bf16;
        Self { store, encoder, linear, projection, bf16 }
    }

    /// The momentum copy: same values, never a leaf of a graph.
    pub(crate) fn duplicate(&self) -> Self {
        Self {
            store: self.store.duplicate(),
            encoder: self.encoder.clone(),
            linear: self.linear,
            projection: self.projection.clone(),
            bf16: self.bf16,
        }
    }

    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    pub(crate) fn store_mut(&mut self) -> &mut Store {
        &mut self.store
    }

    pub(crate) fn device(&self) -> Device {
        self.store.device()
    }

    pub(crate) fn export(&self, prefix: &str, into: &mut HostTensors) -> Result<()> {
        self.store.export(prefix, into)
    }

    pub(crate) fn import(&mut self, prefix: &str, from: &HostTensors) -> Result<()> {
        self.store.import(prefix, from)
    }

    /// [`import`](Self::import) of the entries that are there; the others stay.
    pub(crate) fn import_present(&mut self, from: &HostTensors) -> Result<()> {
        self.store.import_present("", from)
    }

    /// Images [N, C, H, W] on the model's device through encoder and heads.
    pub(crate) fn forward(&mut self, images: &Tensor, train: bool) -> TorchResult<Output> {
        self.forward_watched(images, train, &mut |_, _| {})
    }

    /// The logits of [`outputs`](Self::outputs) alone.
    pub(crate) fn logits(&mut self, images: Images<'_>) -> Result<Array2<f32>> {
        let images = images.to_torch(self.device())?;
        rows(&tch::no_grad(|| self.forward(&images, false))?.logits)
    }

    /// [`forward`](Self::forward) in evaluation mode, brought to the host.
    pub(crate) fn outputs(&mut self, images: Images<'_>) -> Result<Outputs> {
        let images = images.to_torch(self.device())?;
        let output = tch::no_grad(|| self.forward(&images, false))?;
        Ok(Outputs {
            logits: rows(&output.logits)?,
            features: rows(&output.features)?,
            projections: output.projections.map(|raw| rows(&normalise(&raw)?)).transpose()?,
        })
    }

    /// [`forward`](Self::forward), showing what passes between the encoder's stages.
    pub(crate) fn forward_watched(
        &mut self,
        images: &Tensor,
        train: bool,
        watch: Watch<'_>,
    ) -> TorchResult<Output> {
        let mut pass = Pass::new(&mut self.store, train, self.bf16)?;
        let features = self.encoder.forward(images, &mut pass, watch)?;
        let logits = pass.linear(self.linear, &features)?.f_to_kind(Kind::Float)?;
        let projections = match &self.projection {
            None => None,
            Some(p) => {
                let hidden = pass.linear(p.hidden, &features)?;
                let hidden = pass.batch_norm(p.bn, &hidden)?.f_relu_()?;
                Some(pass.linear(p.out, &hidden)?.f_to_kind(Kind::Float)?)
            }
        };
        Ok(Output { features, logits, projections })
    }
}

/// Rows divided by max(L2 norm, 1e-12).
pub(crate) fn normalise(rows: &Tensor) -> TorchResult<Tensor> {
    let norm = rows.f_norm_scalaropt_dim(2, [1i64].as_slice(), true)?;
    rows.f_div(&norm.f_clamp_min(1e-12)?)
}
