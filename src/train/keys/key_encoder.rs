//! The keys that training meets: the key encoder of MoCo, the queue of the method, and both side by side.

use tch::{Device, Tensor};

use crate::{
    Result,
    rng::Streams,
    run::{Keys, Miner, TrainerSpec},
    train::{
        keys::{
            BatchKeys, ClassBalancedQueue, FifoQueue, GivenKeys, HardPairMiner, KeyQueue,
            KeySource, Mined, QueueState, Searchable,
        },
        nn::{
            model::{Model, normalise},
            parameters::{Statistics, TorchResult},
            tensors::{HostTensor, HostTensors},
        },
    },
};

/// How the entries of queues begin in a checkpoint.
const QUEUES: [&str; 2] = ["queue_", "fifo."];

/// Queue and key encoder of one method.
#[derive(Debug)]
pub(crate) struct ContrastKeys {
    queue: Option<Box<dyn KeyQueue + Send>>,
    encoder: Option<KeyEncoder>,
}

/// MoCo's momentum copy of the encoder.
#[derive(Debug)]
struct KeyEncoder {
    model: Model,
    momentum: f64,
    /// Parameters and statistics before the running step, while it may still be taken back.
    before: Option<(Tensor, Statistics)>,
}

impl KeyEncoder {
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

fn kept(
    queue: impl Searchable + KeyQueue + Send + 'static,
    mining: Option<HardPairMiner>,
) -> Result<Box<dyn KeyQueue + Send>> {
    Ok(match mining {
        Some(miner) => Box::new(Mined::new(queue, miner)?),
        None => Box::new(queue),
    })
}

impl ContrastKeys {
    pub(crate) fn new(
        spec: &TrainerSpec,
        model: &Model,
        classes: usize,
        streams: &Streams,
    ) -> Result<Self> {
        let (device, dim, seed) = (model.device(), spec.projection_dim, streams.seed());
        let numbers = &spec.contrast;
        let (per_class, init) = (numbers.queue_per_class, numbers.queue_init);
        let miner = HardPairMiner { num_pos: numbers.num_pos, num_neg: numbers.num_neg };
        let miner = (spec.loss.miner == Miner::HardPairs).then_some(miner);
        let queue = match spec.loss.queue() {
            Some(Keys::ClassBalancedQueue) => {
                let ring = ClassBalancedQueue::random(classes, per_class, dim, init, seed, device)?;
                Some(kept(ring, miner)?)
            }
            Some(_) => {
                let fifo = FifoQueue::random(per_class * classes, dim, init, seed, device)?;
                Some(kept(fifo, miner)?)
            }
            None => None,
        };
        let encoder = spec.loss.has_key_encoder().then(|| KeyEncoder {
            model: model.duplicate(),
            momentum: numbers.encoder_momentum,
            before: None,
        });
        Ok(Self { queue, encoder })
    }

    /// Whether a momentum copy of the encoder makes the keys.
    pub(crate) fn has_encoder(&self) -> bool {
        self.encoder.is_some()
    }

    /// Unit keys of `images` from the key encoder, no gradient, after it has followed the encoder.
    pub(crate) fn of_encoder(
        &mut self,
        model: &Model,
        images: &Tensor,
    ) -> TorchResult<Option<Tensor>> {
        self.encoder.as_mut().map_or(Ok(None), |encoder| encoder.keys(model, images))
    }

    /// What the anchors meet: the other rows of the batch, or `made` of the key encoder, unit rows with
    /// their labels; then what the queue gives.
    pub(crate) fn source(
        &self,
        made: Option<(&Tensor, &Tensor)>,
    ) -> Result<Box<dyn KeySource + '_>> {
        let made = made.map(|(keys, labels)| GivenKeys::new(keys, labels)).transpose()?;
        Ok(match (made, self.queue.as_deref()) {
            (None, None) => Box::new(BatchKeys),
            (None, Some(queue)) => Box::new(BatchKeys.and(queue)),
            (Some(made), None) => Box::new(made),
            (Some(made), Some(queue)) => Box::new(made.and(queue)),
        })
    }

    /// Takes back what [`of_encoder`](Self::of_encoder) changed in the running step.
    pub(crate) fn undo(&mut self) -> TorchResult<()> {
        self.encoder.as_mut().map_or(Ok(()), KeyEncoder::undo)
    }

    /// Ends the step: writes `keys` [B, D] into the queue, once those in it have been used.
    pub(crate) fn write(&mut self, keys: &Tensor, labels: &Tensor) -> Result<()> {
        if let Some(encoder) = &mut self.encoder {
            encoder.before = None;
        }
        self.queue.as_mut().map_or(Ok(()), |queue| queue.enqueue(keys, labels))
    }

    pub(crate) fn export(&self, into: &mut HostTensors) -> Result<()> {
        if let Some(queue) = &self.queue {
            let state = queue.state()?;
            into.extend(state.iter().map(|(name, t)| (name.clone(), HostTensor::from_torch(t))));
        }
        self.encoder.as_ref().map_or(Ok(()), |encoder| encoder.model.export("momentum.", into))
    }

    pub(crate) fn import_queue(&mut self, from: &HostTensors) -> Result<()> {
        let Some(queue) = &mut self.queue else { return Ok(()) };
        // The network is in the same state and stays on the host.
        let parts = from.iter().filter(|(name, _)| QUEUES.iter().any(|q| name.starts_with(q)));
        let state: Result<QueueState> =
            parts.map(|(name, t)| Ok((name.clone(), t.to_torch(Device::Cpu)?))).collect();
        queue.load_state(&state?)
    }

    /// MoCo's key encoder from the entries under `prefix`.
    pub(crate) fn import_encoder(&mut self, prefix: &str, from: &HostTensors) -> Result<()> {
        self.encoder.as_mut().map_or(Ok(()), |encoder| encoder.model.import(prefix, from))
    }
}
