//! The contrastive part of a step: which keys an anchor meets, who makes them, where they go.

use tch::{Device, Tensor};

use super::{
    config::{ContrastKind, ContrastiveLossSpec, QueueSpec},
    host::HostTensors,
    loss::{self, Pairs},
    model::{Model, normalise},
    queue::{ClassBalancedQueue, FifoQueue},
    store::{Statistics, TorchResult},
};
use crate::{
    Result,
    longtail::{ClassCounts, EffectiveNumber},
    rng::Streams,
};

#[derive(Debug)]
enum Queue {
    ClassBalanced(ClassBalancedQueue),
    Fifo(FifoQueue),
}

/// Keys, miner and weights of one method.
#[derive(Debug)]
pub(super) struct Contrast {
    spec: ContrastiveLossSpec,
    weights: Option<Tensor>,
    queue: Option<Queue>,
    key_network: Option<KeyNetwork>,
}

/// MoCo's momentum copy of the encoder.
#[derive(Debug)]
struct KeyNetwork {
    model: Model,
    momentum: f64,
    /// Parameters and statistics before the running step, while it may still be taken back.
    before: Option<(Tensor, Statistics)>,
}

impl KeyNetwork {
    /// theta_k = m theta_k + (1 - m) theta_q, then unit keys of `images`, no gradient.
    fn keys(&mut self, encoder: &Model, images: &Tensor) -> TorchResult<Option<Tensor>> {
        let _guard = tch::no_grad_guard();
        let theta = encoder.store().flat().detach();
        let store = self.model.store_mut();
        let followed = store.flat().f_lerp(&theta, 1.0 - self.momentum)?;
        let statistics = store.statistics()?;
        self.before = Some((store.replace_flat(followed), statistics));
        match self.model.forward(images, true)?.projections {
            Some(raw) => normalise(&raw).map(Some),
            None => Ok(None),
        }
    }

    fn undo(&mut self) -> TorchResult<()> {
        let Some((flat, statistics)) = self.before.take() else { return Ok(()) };
        let store = self.model.store_mut();
        let _ = store.replace_flat(flat);
        store.restore(statistics)
    }
}

/// ln(p_c + 1e-9) in float32 arithmetic, as the reference computes it.
pub(super) fn log_prior(counts: &ClassCounts, device: Device) -> Tensor {
    let prior: Vec<f32> = counts.prior().as_slice().iter().map(|&p| p as f32).collect();
    (Tensor::from_slice(&prior) + 1e-9).log().to_device(device)
}

pub(super) fn class_weights(beta: f64, counts: &ClassCounts, device: Device) -> Result<Tensor> {
    let w: Vec<f32> =
        EffectiveNumber::new(beta)?.weights(counts).iter().map(|&w| w as f32).collect();
    Ok(Tensor::from_slice(&w).to_device(device))
}

impl Contrast {
    pub(super) fn new(
        spec: &ContrastiveLossSpec,
        model: &Model,
        counts: &ClassCounts,
        streams: &Streams,
    ) -> Result<Self> {
        let (device, classes, dim) = (model.device(), counts.classes(), spec.projection_dim);
        let queue = spec.queue.map(|queue| match queue {
            QueueSpec::ClassBalanced { per_class, init } => {
                ClassBalancedQueue::new(classes, per_class, dim, init, streams, device)
                    .map(Queue::ClassBalanced)
            }
            QueueSpec::Fifo { len, init } => {
                FifoQueue::new(len, dim, init, streams, device).map(Queue::Fifo)
            }
        });
        let queue = queue.transpose()?;
        let weights = spec.class_balanced_beta.map(|b| class_weights(b, counts, device));
        let key_network = match spec.kind {
            ContrastKind::Momentum { momentum } => {
                Some(KeyNetwork { model: model.duplicate(), momentum, before: None })
            }
            ContrastKind::Supervised => None,
        };
        Ok(Self { spec: spec.clone(), weights: weights.transpose()?, queue, key_network })
    }

    /// Unit keys of `images` from the key network, no gradient, after it has followed the encoder.
    pub(super) fn momentum_keys(
        &mut self,
        model: &Model,
        images: &Tensor,
    ) -> TorchResult<Option<Tensor>> {
        self.key_network.as_mut().map_or(Ok(None), |network| network.keys(model, images))
    }

    fn pairs(&self, z: &Tensor, labels: &Tensor, keys: Option<&Tensor>) -> TorchResult<Pairs> {
        let mining = self.spec.mining;
        match (&self.queue, keys) {
            (Some(Queue::Fifo(queue)), Some(keys)) => {
                let of_batch = Pairs::with_keys(z, labels, keys, labels)?;
                of_batch.with(Pairs::fifo(z, labels, queue, None)?)
            }
            (Some(Queue::Fifo(queue)), None) => {
                Pairs::in_batch(z, labels)?.with(Pairs::fifo(z, labels, queue, mining)?)
            }
            (Some(Queue::ClassBalanced(queue)), _) => {
                Pairs::in_batch(z, labels)?.with(Pairs::class_balanced(z, labels, queue, mining)?)
            }
            (None, _) => Pairs::in_batch(z, labels),
        }
    }

    /// Whether a momentum copy of the encoder makes the keys.
    pub(super) fn has_key_network(&self) -> bool {
        self.key_network.is_some()
    }

    /// lambda.
    pub(super) fn con_weight(&self) -> f64 {
        self.spec.con_weight
    }

    /// L_con of unit rows `z` with their labels: both views [2B, D], or view 1 [B, D] and the `keys`
    /// [B, D] of view 2 from the momentum network.
    pub(super) fn loss(
        &self,
        z: &Tensor,
        labels: &Tensor,
        keys: Option<&Tensor>,
    ) -> TorchResult<Tensor> {
        let per_anchor = self.pairs(z, labels, keys)?.supcon(self.spec.temperature)?;
        loss::weighted_mean(&per_anchor, labels, self.weights.as_ref())
    }

    /// Takes back what [`momentum_keys`](Self::momentum_keys) changed in the running step.
    pub(super) fn undo(&mut self) -> TorchResult<()> {
        self.key_network.as_mut().map_or(Ok(()), KeyNetwork::undo)
    }

    /// Ends the step: writes `keys` [B, D] into the queue, once those in it have been used.
    pub(super) fn write(&mut self, keys: &Tensor, labels: &Tensor) -> TorchResult<()> {
        if let Some(network) = &mut self.key_network {
            network.before = None;
        }
        match &mut self.queue {
            Some(Queue::ClassBalanced(queue)) => queue.write(keys, labels),
            Some(Queue::Fifo(queue)) => queue.write(keys, labels),
            None => Ok(()),
        }
    }

    pub(super) fn export(&self, into: &mut HostTensors) -> Result<()> {
        match &self.queue {
            Some(Queue::ClassBalanced(queue)) => queue.export(into),
            Some(Queue::Fifo(queue)) => queue.export(into),
            None => {}
        }
        match &self.key_network {
            Some(network) => network.model.export("momentum.", into),
            None => Ok(()),
        }
    }

    pub(super) fn import_queue(&mut self, from: &HostTensors) -> Result<()> {
        match &mut self.queue {
            Some(Queue::ClassBalanced(queue)) => queue.import(from),
            Some(Queue::Fifo(queue)) => queue.import(from),
            None => Ok(()),
        }
    }

    /// MoCo's key network from the entries under `prefix`.
    pub(super) fn import_key_model(&mut self, prefix: &str, from: &HostTensors) -> Result<()> {
        match &mut self.key_network {
            Some(network) => network.model.import(prefix, from),
            None => Ok(()),
        }
    }
}
