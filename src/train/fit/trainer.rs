//! One training step of every method, and the forward passes of evaluation.

use ndarray::Array2;
use tch::{Kind, Tensor};

use crate::{
    Error, Result,
    data::Batch,
    longtail::ClassCounts,
    rng::Streams,
    run::TrainerSpec,
    train::{
        eval::evaluate::{Network, Outputs},
        fit::{
            learner::{Learner, StepOutcome, put_steps, steps_in},
            mixup::Mixup,
            sgd::Sgd,
        },
        keys::key_encoder::ContrastKeys,
        losses::{JointLoss, Terms},
        nn::{
            device::{self, Expected, Images},
            model::{Model, ModelSpec, Output, normalise},
            tensors::HostTensors,
        },
    },
};

/// Network, optimiser and queue: everything that a step changes.
#[derive(Debug)]
pub struct Trainer {
    spec: TrainerSpec,
    classes: usize,
    model: Model,
    sgd: Sgd,
    loss: JointLoss,
    keys: Option<ContrastKeys>,
    mixup: Option<Mixup>,
    steps: u64,
}

/// Rows to be written into the queue at the end of a step.
type NewKeys = Option<Tensor>;

impl Trainer {
    /// A fresh trainer. Initial weights and keys come from the streams `init` and `queue` of `seed`,
    /// so they are the same on every device; `device` is "cpu", "cuda", "cuda:N" or "auto".
    ///
    /// # Errors
    /// [`Error::Input`] for settings that do not fit each other, the classes or the machine.
    pub fn new(spec: &TrainerSpec, counts: &ClassCounts, seed: u64, device: &str) -> Result<Self> {
        spec.check_for_classes(counts.classes())?;
        let device = device::device(device)?;
        let streams = Streams::new(seed);
        let model = Model::new(
            &ModelSpec {
                encoder: &spec.encoder,
                classes: counts.classes(),
                projection_dim: spec.head(),
                precision: spec.precision,
                channels_last: spec.channels_last,
            },
            &streams,
            device,
        );
        let keys = spec.head().map(|_| ContrastKeys::new(spec, &model, counts.classes(), &streams));
        Ok(Self {
            sgd: Sgd::new(model.store()),
            mixup: spec.loss.mixup.then(|| Mixup::new(spec.mixup_alpha, streams)).transpose()?,
            spec: spec.clone(),
            classes: counts.classes(),
            loss: JointLoss::of_spec(&spec.loss, &spec.contrast, counts)?,
            keys: keys.transpose()?,
            model,
            steps: 0,
        })
    }

    /// The settings it was made with.
    pub fn spec(&self) -> &TrainerSpec {
        &self.spec
    }

    /// Steps done.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Trainable values of the network.
    pub fn parameters(&self) -> usize {
        self.model.store().layout().parameters() as usize
    }

    /// "cpu" or "cuda:N".
    pub fn device_name(&self) -> String {
        device::device_name(self.model.device())
    }

    /// One step of SGD at learning rate `lr`. With two views the images are [2B, C, H, W], view 1 of all
    /// samples first, and `labels` holds the B labels; with one view they are [B, C, H, W].
    ///
    /// The host reads the device once: the three losses and the gradient norm.
    ///
    /// # Errors
    /// [`Error::Input`] if images and labels do not fit; [`Error::Run`] if libtorch fails
    /// (out of memory).
    pub fn step(&mut self, images: Images<'_>, labels: &[i64], lr: f64) -> Result<StepOutcome> {
        let (images, labels) = self.batch(images, labels)?;
        let before = self.model.store().statistics()?;
        let (losses, new_keys) = self.losses(&images, &labels)?;
        let flat = self.model.store().flat();
        let grad = Tensor::f_run_backward(&[&losses.total], &[flat], false, false)?.swap_remove(0);
        let con = losses.con.unwrap_or_else(|| losses.cls.zeros_like());
        // Summed in float64: over millions of squares float32 loses the fifth digit.
        let norm = grad.f_norm_scalaropt_dtype(2, Kind::Double)?.f_to_kind(Kind::Float)?;
        let read = Tensor::f_stack(&[losses.cls, con, losses.total, norm], 0)?;
        let read: Vec<f64> = Vec::try_from(read.detach().f_to_kind(Kind::Double)?)?;
        let [loss_cls, loss_con, loss, grad_norm] = read[..] else {
            return Err(Error::run("a step did not return its four numbers"));
        };
        let applied = loss.is_finite() && grad_norm.is_finite();
        if applied {
            self.sgd.step(self.model.store(), &grad, lr, self.spec.sgd)?;
            if let (Some(rows), Some(keys)) = (&new_keys, &mut self.keys) {
                keys.write(rows, &labels)?;
            }
            self.steps += 1;
        } else {
            self.model.store_mut().restore(before)?;
            if let Some(keys) = &mut self.keys {
                keys.undo()?;
            }
        }
        Ok(StepOutcome { loss_cls, loss_con, loss, grad_norm, applied })
    }

    fn batch(&self, images: Images<'_>, labels: &[i64]) -> Result<(Tensor, Tensor)> {
        let expected = Expected {
            views: self.spec.loss.views(),
            channels: self.spec.encoder.in_channels,
            classes: self.classes,
        };
        let batch = device::batch(images, labels, expected, self.model.device())?;
        if images.shape[0] < 2 {
            return Err(Error::input("batch: batch norm needs at least 2 rows; enlarge the batch"));
        }
        Ok(batch)
    }

    fn losses(&mut self, images: &Tensor, labels: &Tensor) -> Result<(Terms, NewKeys)> {
        if let Some(mixup) = &self.mixup {
            let mixed = mixup.mix(self.steps, images, labels)?;
            let logits = self.model.forward(&mixed.images, true)?.logits;
            let cls = mixed.loss(&logits, self.loss.classification())?;
            return Ok((Terms { total: cls.shallow_clone(), cls, con: None }, None));
        }
        let b = labels.size()[0];
        let mut rows = images.shallow_clone();
        let mut made = None;
        if let Some(keys) = &mut self.keys
            && keys.has_encoder()
        {
            rows = images.f_narrow(0, 0, b)?;
            made = keys.of_encoder(&self.model, &images.f_narrow(0, b, b)?)?;
        }
        let Output { logits, projections, .. } = self.model.forward(&rows, true)?;
        let of_rows = if rows.size()[0] == b {
            labels.shallow_clone()
        } else {
            Tensor::f_cat(&[labels, labels], 0)?
        };
        let (Some(keys), Some(raw)) = (&self.keys, projections) else {
            return Ok((self.loss.terms(&logits, &of_rows, None)?, None));
        };
        let z = normalise(&raw)?;
        let source = keys.source(made.as_ref().map(|made| (made, labels)))?;
        let terms = self.loss.terms(&logits, &of_rows, Some(&source.pairs(&z, &of_rows)?))?;
        let new_keys = made.unwrap_or(z).detach().f_narrow(0, 0, b)?;
        Ok((terms, Some(new_keys)))
    }

    /// Logits [N, C] in evaluation mode: running statistics, no prior.
    ///
    /// # Errors
    /// As [`step`](Self::step).
    pub fn logits(&mut self, images: Images<'_>) -> Result<Array2<f32>> {
        self.model.logits(images)
    }

    /// Logits, features and, where the method has a head, unit projections, in evaluation mode.
    ///
    /// # Errors
    /// As [`step`](Self::step).
    pub fn outputs(&mut self, images: Images<'_>) -> Result<Outputs> {
        self.model.outputs(images)
    }

    /// Everything a step changes, by name: the network under PyTorch's names, `optimizer.*`, the
    /// queue, the key network and the step count. [`load_state`](Self::load_state) then continues bit
    /// for bit.
    ///
    /// # Errors
    /// [`Error::Run`] if libtorch fails.
    pub fn state(&self) -> Result<HostTensors> {
        let mut state = self.model_state()?;
        self.sgd.export(self.model.store(), &mut state)?;
        if let Some(keys) = &self.keys {
            keys.export(&mut state)?;
        }
        put_steps(self.steps, &mut state);
        Ok(state)
    }

    /// The network alone, under PyTorch's names.
    ///
    /// # Errors
    /// [`Error::Run`] if libtorch fails.
    pub fn model_state(&self) -> Result<HostTensors> {
        let mut state = HostTensors::new();
        self.model.export("", &mut state)?;
        Ok(state)
    }

    /// Takes over a state that [`state`](Self::state) gave, whole.
    ///
    /// # Errors
    /// [`Error::Input`] naming a missing entry or one of another shape.
    pub fn load_state(&mut self, state: &HostTensors) -> Result<()> {
        self.load_model(state)?;
        self.sgd.import(self.model.store(), state)?;
        if let Some(keys) = &mut self.keys {
            keys.import_encoder("momentum.", state)?;
        }
        self.steps = steps_in(state)?;
        self.load_queue(state)
    }

    /// Takes over the network alone; the optimiser, the queue and the step count stay. The key
    /// encoder of MoCo becomes a copy of it.
    ///
    /// # Errors
    /// [`Error::Input`] naming a missing entry or one of another shape.
    pub fn load_model(&mut self, state: &HostTensors) -> Result<()> {
        self.model.import("", state)?;
        if let Some(keys) = &mut self.keys {
            keys.import_encoder("", state)?;
        }
        Ok(())
    }

    /// Takes over the queue alone (`queue_list`, `queue_ptr` as the reference names them, or `fifo.*`).
    ///
    /// # Errors
    /// [`Error::Input`] naming a missing entry or one of another shape.
    pub fn load_queue(&mut self, state: &HostTensors) -> Result<()> {
        self.keys.as_mut().map_or(Ok(()), |keys| keys.import_queue(state))
    }
}

impl Network for Trainer {
    fn logits(&mut self, images: Images<'_>) -> Result<Array2<f32>> {
        Self::logits(self, images)
    }

    fn outputs(&mut self, images: Images<'_>) -> Result<Outputs> {
        Self::outputs(self, images)
    }
}

impl Learner for Trainer {
    fn step(&mut self, batch: &Batch, lr: f64) -> Result<StepOutcome> {
        Self::step(self, Images::of(batch), &batch.labels, lr)
    }

    fn state(&self) -> Result<HostTensors> {
        Self::state(self)
    }

    fn load_state(&mut self, state: &HostTensors) -> Result<()> {
        Self::load_state(self, state)
    }

    fn device_name(&self) -> String {
        Self::device_name(self)
    }
}
