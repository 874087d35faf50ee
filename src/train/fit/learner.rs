//! What the epoch loop trains: anything that learns from batches and can be saved, resumed and
//! evaluated.

use crate::{
    Error, Result,
    data::Batch,
    train::{HostData, HostTensor, HostTensors, eval::evaluate::Network},
};

/// What one step computed.
#[derive(Debug, Clone, Copy, PartialEq)]
#[must_use]
pub struct StepOutcome {
    /// L_cls.
    pub loss_cls: f64,
    /// L_con before its weight; 0 without a contrastive part.
    pub loss_con: f64,
    /// L = L_cls + lambda L_con.
    pub loss: f64,
    /// L2 norm of the whole gradient, weight decay not included.
    pub grad_norm: f64,
    /// False when loss or gradient is not finite: everything is then as it was before the step.
    pub applied: bool,
}

/// A network with all that its training changes. As a [`Network`] it is evaluated, and its outputs are
/// the features that are written.
///
/// [`Trainer`](crate::train::Trainer) is the learner of every one-stage method,
/// [`Stage2`](crate::train::fit::stage2::Stage2) that of the second stage of MiSLAS.
pub trait Learner: Network {
    /// One step at learning rate `lr` on a batch as the loader made it.
    ///
    /// # Errors
    /// [`Error::Input`] if the batch does not fit; [`Error::Run`] if libtorch fails, out of memory for
    /// example. A loss or gradient that is not finite is no error but an outcome.
    fn step(&mut self, batch: &Batch, lr: f64) -> Result<StepOutcome>;

    /// Everything a step changes, by name. [`load_state`](Self::load_state) then continues bit for bit.
    ///
    /// # Errors
    /// [`Error::Run`] if libtorch fails.
    fn state(&self) -> Result<HostTensors>;

    /// Takes over a state that [`state`](Self::state) gave, whole.
    ///
    /// # Errors
    /// [`Error::Input`] naming a missing entry or one of another shape.
    fn load_state(&mut self, state: &HostTensors) -> Result<()>;

    /// The device it computes on: "cpu" or "cuda:N".
    fn device_name(&self) -> String;
}

/// Name of the number of steps done in a state.
const STEPS: &str = "trainer.steps";

/// Writes the number of steps done into a state.
pub(crate) fn put_steps(steps: u64, state: &mut HostTensors) {
    let value = HostTensor { shape: vec![], data: HostData::I64(vec![steps as i64]) };
    state.insert(STEPS.into(), value);
}

/// The number of steps done in a state.
///
/// # Errors
/// [`Error::Input`] if there is none: the state is a network alone.
pub(crate) fn steps_in(state: &HostTensors) -> Result<u64> {
    let steps = state.get(STEPS).and_then(|t| t.as_i64()?.first().copied());
    steps.and_then(|n| u64::try_from(n).ok()).ok_or_else(|| {
        Error::input(format!(
            "state: `{STEPS}` is missing; this file is a network, not a checkpoint"
        ))
    })
}
