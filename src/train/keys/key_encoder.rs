//! The keys of a step: who makes them, where they are kept, and which of them the anchors meet.

use tch::Tensor;

use crate::{
    Result,
    contrast::HardPairMiner,
    rng::Streams,
    run::{Keys, Miner, TrainerSpec},
    train::{
        losses::{
            BatchKeys, ClassBalancedQueue, FifoQueue, GivenKeys, KeyQueue, KeySource, Mined,
            on_tensors::Searchable,
        },
        nn::{
            model::{Model, normalise},
            parameters::{Statistics, TorchResult},
            tensors::HostTensors,
        },
    },
};

/// Queue and momentum network of one method.
#[derive(Debug)]
pub(crate) struct StepKeys {
    queue: Option<Box<dyn KeyQueue + Send>>,
    network: Option<KeyNetwork>,
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

fn kept(
    queue: impl Searchable + Send + 'static,
    mining: Option<HardPairMiner>,
) -> Result<Box<dyn KeyQueue + Send>> {
    Ok(match mining {
        Some(miner) => Box::new(Mined::new(queue, miner)?),
        None => Box::new(queue),
    })
}

impl StepKeys {
    pub(crate) fn new(
        spec: &TrainerSpec,
        model: &Model,
        classes: usize,
        streams: &Streams,
    ) -> Result<Self> {
        let (device, dim, numbers) = (model.device(), spec.projection_dim, &spec.contrast);
        let (per_class, init) = (numbers.queue_per_class, numbers.queue_init);
        let miner = HardPairMiner { num_pos: numbers.num_pos, num_neg: numbers.num_neg };
        let miner = (spec.loss.miner == Miner::HardPairs).then_some(miner);
        let queue = match spec.loss.queue() {
            Some(Keys::ClassBalancedQueue) => {
                let ring = ClassBalancedQueue::on(classes, per_class, dim, init, streams, device)?;
                Some(kept(ring, miner)?)
            }
            Some(_) => {
                let fifo = FifoQueue::on(per_class * classes, dim, init, streams, device)?;
                Some(kept(fifo, miner)?)
            }
            None => None,
        };
        let network = spec.loss.has_key_encoder().then(|| KeyNetwork {
            model: model.duplicate(),
            momentum: numbers.encoder_momentum,
            before: None,
        });
        Ok(Self { queue, network })
    }

    /// Whether a momentum copy of the encoder makes the keys.
    pub(crate) fn has_network(&self) -> bool {
        self.network.is_some()
    }

    /// Unit keys of `images` from the key network, no gradient, after it has followed the encoder.
    pub(crate) fn of_network(
        &mut self,
        model: &Model,
        images: &Tensor,
    ) -> TorchResult<Option<Tensor>> {
        self.network.as_mut().map_or(Ok(None), |network| network.keys(model, images))
    }

    /// What the anchors meet: the other rows of the batch, or `made` of the key network, unit rows with
    /// their labels; then what the queue gives.
    pub(crate) fn source(&self, made: Option<(&Tensor, &Tensor)>) -> Box<dyn KeySource + '_> {
        let made = made.map(|(keys, labels)| GivenKeys::on(keys, labels));
        match (made, self.queue.as_deref()) {
            (None, None) => Box::new(BatchKeys),
            (None, Some(queue)) => Box::new(BatchKeys.and(queue)),
            (Some(made), None) => Box::new(made),
            (Some(made), Some(queue)) => Box::new(made.and(queue)),
        }
    }

    /// Takes back what [`of_network`](Self::of_network) changed in the running step.
    pub(crate) fn undo(&mut self) -> TorchResult<()> {
        self.network.as_mut().map_or(Ok(()), KeyNetwork::undo)
    }

    /// Ends the step: writes `keys` [B, D] into the queue, once those in it have been used.
    pub(crate) fn write(&mut self, keys: &Tensor, labels: &Tensor) -> TorchResult<()> {
        if let Some(network) = &mut self.network {
            network.before = None;
        }
        self.queue.as_mut().map_or(Ok(()), |queue| queue.write(keys, labels))
    }

    pub(crate) fn export(&self, into: &mut HostTensors) -> Result<()> {
        if let Some(queue) = &self.queue {
            queue.export(into);
        }
        self.network.as_ref().map_or(Ok(()), |network| network.model.export("momentum.", into))
    }

    pub(crate) fn import_queue(&mut self, from: &HostTensors) -> Result<()> {
        self.queue.as_mut().map_or(Ok(()), |queue| queue.import(from))
    }

    /// MoCo's key network from the entries under `prefix`.
    pub(crate) fn import_network(&mut self, prefix: &str, from: &HostTensors) -> Result<()> {
        self.network.as_mut().map_or(Ok(()), |network| network.model.import(prefix, from))
    }
}
