//! SGD equal to PyTorch's (no dampening, no Nesterov), over all parameters at once.

use tch::{Kind, Tensor};

use crate::{
    Error, Result,
    run::SgdSpec,
    train::nn::{
        parameters::{Store, TorchResult},
        tensors::{HostTensor, HostTensors},
    },
};

/// v, laid out like the parameters. Zero at the start, which makes the first step's v = g'.
#[derive(Debug)]
pub(crate) struct Sgd {
    velocity: Tensor,
}

fn name(parameter: &str) -> String {
    format!("optimizer.momentum.{parameter}")
}

impl Sgd {
    pub(crate) fn new(store: &Store) -> Self {
        Self { velocity: store.flat().detach().zeros_like() }
    }

    /// g' = g + wd w; v = m v + g'; w = w - lr v.
    pub(crate) fn step(
        &mut self,
        store: &Store,
        grad: &Tensor,
        lr: f64,
        spec: SgdSpec,
    ) -> TorchResult<()> {
        let _guard = tch::no_grad_guard();
        self.follow(store, grad, spec)?;
        let _ = store.flat().detach().f_sub_(&self.velocity.f_mul_scalar(lr)?)?;
        Ok(())
    }

    /// [`step`](Self::step) with learning rate `lr` times `relative`, one per parameter value.
    pub(crate) fn step_with_relative_lr(
        &mut self,
        store: &Store,
        grad: &Tensor,
        lr: f64,
        relative: &Tensor,
        spec: SgdSpec,
    ) -> TorchResult<()> {
        let _guard = tch::no_grad_guard();
        self.follow(store, grad, spec)?;
        let change = self.velocity.f_mul_scalar(lr)?.f_mul_(relative)?;
        let _ = store.flat().detach().f_sub_(&change)?;
        Ok(())
    }

    fn follow(&mut self, store: &Store, grad: &Tensor, spec: SgdSpec) -> TorchResult<()> {
        let mut decay = store.flat().detach().f_mul_scalar(spec.weight_decay)?;
        let grad = decay.f_add_(grad)?;
        let _ = self.velocity.f_mul_scalar_(spec.momentum)?.f_add_(&grad)?;
        Ok(())
    }

    pub(crate) fn export(&self, store: &Store, into: &mut HostTensors) -> Result<()> {
        let parts = store.split(&self.velocity)?;
        for (part, parameter) in parts.iter().zip(store.layout().parameter_names()) {
            into.insert(name(parameter), HostTensor::from_torch(part));
        }
        Ok(())
    }

    pub(crate) fn import(&mut self, store: &Store, from: &HostTensors) -> Result<()> {
        let mut parts = store.split(&self.velocity)?;
        for (part, parameter) in parts.iter_mut().zip(store.layout().parameter_names()) {
            let name = name(parameter);
            let found = from.get(&name).map(|t| t.to_torch(store.device())).transpose()?;
            match found {
                Some(value) if value.size() == part.size() && value.kind() == Kind::Float => {
                    part.copy_(&value);
                }
                _ => {
                    return Err(Error::input(format!(
                        "state: `{name}` is missing or not float32 {:?}; this file is not a \
                         checkpoint of this network",
                        part.size()
                    )));
                }
            }
        }
        Ok(())
    }
}
