//! MiSLAS stage 2 on any trained encoder (METHOD section 7): the encoder is frozen; classifier and one
//! factor per class are trained with label-aware smoothing on class-balanced batches.

use ndarray::Array2;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use crate::{
    Error, Result,
    data::Batch,
    longtail::ClassCounts,
    rng::Streams,
    run::{EncoderSpec, Precision, Recipe, SgdSpec},
    train::{
        eval::evaluate::{Network, Outputs},
        fit::{
            learner::{Learner, StepOutcome, put_steps, steps_in},
            sgd::Sgd,
        },
        losses::{ClassificationLoss as _, LabelAwareLoss, LabelAwareSmoothing, SmoothingShape},
        nn::{
            device::{self, Expected, Images, rows},
            layers::{Layout, Linear, Param},
            model::{Model, ModelSpec},
            parameters::{Pass, Store},
            tensors::HostTensors,
        },
    },
};

/// Settings of stage 2.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stage2Spec {
    /// Encoder of the trained network.
    pub encoder: EncoderSpec,
    /// Smoothing per class.
    pub smoothing: LabelAwareSmoothing,
    /// Shifted batch norm: the encoder's running statistics are re-estimated on class-balanced batches.
    pub shift_bn: bool,
    /// The classifier learns at the step's learning rate times this, the factors at the learning rate itself.
    pub lr_factor: f64,
    /// Optimiser.
    pub sgd: SgdSpec,
    /// Arithmetic of the encoder.
    #[serde(default)]
    pub precision: Precision,
    /// Activations with the channels innermost.
    #[serde(default)]
    pub channels_last: bool,
}

/// The settings of stage 2 in a recipe.
pub fn stage2_spec(recipe: &Recipe) -> Stage2Spec {
    let trainer = recipe.trainer();
    let s = &recipe.stage2;
    Stage2Spec {
        encoder: trainer.encoder,
        smoothing: LabelAwareSmoothing {
            shape: SmoothingShape::Concave,
            head: s.smooth_head,
            tail: s.smooth_tail,
        },
        shift_bn: s.shifted_batch_norm,
        lr_factor: s.lr_factor,
        sgd: SgdSpec { momentum: recipe.optim.momentum, weight_decay: s.weight_decay },
        precision: trainer.precision,
        channels_last: trainer.channels_last,
    }
}

/// A frozen encoder with the classifier and the factors that stage 2 trains.
#[derive(Debug)]
pub struct Stage2 {
    spec: Stage2Spec,
    encoder: Model,
    head: Store,
    linear: Linear,
    scale: Param,
    sgd: Sgd,
    /// Learning rate of each parameter relative to the step's.
    relative_lr: Tensor,
    loss: LabelAwareLoss,
    classes: usize,
    steps: u64,
}

impl Stage2 {
    /// Starts from the network in `state` (`encoder.*` and `linear.*`; a projection head is ignored), with
    /// factors of 1.
    ///
    /// # Errors
    /// [`Error::Input`] for settings out of range or a state that does not fit.
    pub fn new(
        spec: &Stage2Spec,
        counts: &ClassCounts,
        state: &HostTensors,
        device: &str,
    ) -> Result<Self> {
        spec.encoder.check()?;
        spec.sgd.check()?;
        if !(spec.lr_factor.is_finite() && spec.lr_factor >= 0.0) {
            return Err(Error::input(format!(
                "stage 2, lr_factor = {}: expected 0 or more",
                spec.lr_factor
            )));
        }
        let device = device::device(device)?;
        let classes = counts.classes();
        let model = ModelSpec {
            encoder: &spec.encoder,
            classes,
            projection_dim: None,
            precision: spec.precision,
            channels_last: spec.channels_last,
        };
        // Every value is replaced by `state`; the seed only fills the tensors before that.
        let mut encoder = Model::new(&model, &Streams::new(0), device);
        encoder.import("", state)?;

        let mut layout = Layout::default();
        let dim = spec.encoder.feature_dim() as i64;
        let linear = layout.linear("linear", dim, classes as i64, false);
        let scale = layout.scale("lws.learned_norm", classes as i64);
        let mut head = Store::new(layout, &Streams::new(0), device, false);
        head.import_present("", state)?;
        let relative_lr =
            Tensor::full([head.layout().parameters()], spec.lr_factor, (Kind::Float, device));
        let _ = head.split(&relative_lr)?[scale.index()].fill_(1.0);
        Ok(Self {
            sgd: Sgd::new(&head),
            loss: LabelAwareLoss::new(&spec.smoothing, counts)?,
            classes,
            spec: spec.clone(),
            encoder,
            head,
            linear,
            scale,
            relative_lr,
            steps: 0,
        })
    }

    fn scores(&mut self, features: &Tensor) -> Result<Tensor> {
        let pass = Pass::new(&mut self.head, false, false)?;
        let logits = pass.linear(self.linear, features)?;
        Ok(logits.f_mul(pass.parameter(self.scale))?)
    }

    /// One step at learning rate `lr` on images `[B, C, H, W]` of a class-balanced batch and their labels `[B]`.
    /// `loss_cls` and `loss` are the smoothed loss.
    ///
    /// # Errors
    /// [`Error::Input`] if images and labels do not fit; [`Error::Run`] if libtorch fails.
    pub fn step(&mut self, images: Images<'_>, labels: &[i64], lr: f64) -> Result<StepOutcome> {
        let (channels, classes) = (self.spec.encoder.in_channels, self.classes);
        let expected = Expected { views: 1, channels, classes };
        let (images, labels) = device::batch(images, labels, expected, self.encoder.device())?;
        let shift = self.spec.shift_bn;
        let before = self.encoder.store().statistics()?;
        let features = tch::no_grad(|| self.encoder.forward(&images, shift))?.features;
        let scores = self.scores(&features)?;
        let loss = self.loss.loss(&scores, &labels)?;
        let flat = self.head.flat();
        let grad = Tensor::f_run_backward(&[&loss], &[flat], false, false)?.swap_remove(0);
        // Summed in float64: over millions of squares float32 loses the fifth digit.
        let norm = grad.f_norm_scalaropt_dtype(2, Kind::Double)?.f_to_kind(Kind::Float)?;
        let read = Tensor::f_stack(&[loss.detach(), norm], 0)?;
        let read: Vec<f64> = Vec::try_from(read.f_to_kind(Kind::Double)?)?;
        let (loss, grad_norm) = (read[0], read[1]);
        let applied = loss.is_finite() && grad_norm.is_finite();
        if applied {
            self.sgd.step_with_relative_lr(
                &self.head,
                &grad,
                lr,
                &self.relative_lr,
                self.spec.sgd,
            )?;
            self.steps += 1;
        } else {
            self.encoder.store_mut().restore(before)?;
        }
        Ok(StepOutcome { loss_cls: loss, loss_con: 0.0, loss, grad_norm, applied })
    }

    /// Logits [N, C] in evaluation mode, factors included.
    ///
    /// # Errors
    /// As [`step`](Self::step).
    pub fn logits(&mut self, images: Images<'_>) -> Result<Array2<f32>> {
        let images = images.to_torch(self.encoder.device())?;
        let _guard = tch::no_grad_guard();
        let features = self.encoder.forward(&images, false)?.features;
        rows(&self.scores(&features)?)
    }

    /// Logits, factors included, and features, in evaluation mode; stage 2 has no projection head.
    ///
    /// # Errors
    /// As [`step`](Self::step).
    pub fn outputs(&mut self, images: Images<'_>) -> Result<Outputs> {
        let images = images.to_torch(self.encoder.device())?;
        let _guard = tch::no_grad_guard();
        let features = self.encoder.forward(&images, false)?.features;
        let logits = rows(&self.scores(&features)?)?;
        Ok(Outputs { logits, features: rows(&features)?, projections: None })
    }

    /// "cpu" or "cuda:N".
    pub fn device_name(&self) -> String {
        device::device_name(self.encoder.device())
    }

    /// Everything a step changes: `encoder.*`, `linear.*`, `lws.learned_norm`, `optimizer.*` and the
    /// step count.
    ///
    /// # Errors
    /// [`Error::Run`] if libtorch fails.
    pub fn state(&self) -> Result<HostTensors> {
        let mut state = HostTensors::new();
        self.encoder.export("", &mut state)?;
        self.head.export("", &mut state)?;
        self.sgd.export(&self.head, &mut state)?;
        put_steps(self.steps, &mut state);
        Ok(state)
    }

    /// Takes over a state that [`state`](Self::state) gave.
    ///
    /// # Errors
    /// [`Error::Input`] naming a missing entry or one of another shape.
    pub fn load_state(&mut self, state: &HostTensors) -> Result<()> {
        self.encoder.import("", state)?;
        self.head.import("", state)?;
        self.sgd.import(&self.head, state)?;
        self.steps = steps_in(state)?;
        Ok(())
    }

    /// Steps done.
    pub fn steps(&self) -> u64 {
        self.steps
    }
}

impl Network for Stage2 {
    fn logits(&mut self, images: Images<'_>) -> Result<Array2<f32>> {
        Self::logits(self, images)
    }

    fn outputs(&mut self, images: Images<'_>) -> Result<Outputs> {
        Self::outputs(self, images)
    }
}

impl Learner for Stage2 {
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
