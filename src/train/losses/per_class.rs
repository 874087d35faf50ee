//! One constant per class, where it is needed.

use std::cell::RefCell;

use tch::{Device, Tensor};

use crate::train::nn::{device::upload, parameters::TorchResult, tensors::HostTensor};

/// Constants `[C]`. They move to another device when they are first asked for there, so that a loss is
/// made without naming one.
#[derive(Debug)]
pub(crate) struct PerClass(RefCell<Tensor>);

impl PerClass {
    pub(crate) fn new(values: Tensor) -> Self {
        Self(RefCell::new(values))
    }

    /// C.
    pub(crate) fn classes(&self) -> i64 {
        self.0.borrow().size()[0]
    }

    /// The constants on `device`.
    pub(crate) fn on(&self, device: Device) -> TorchResult<Tensor> {
        if self.0.borrow().device() != device {
            let moved = upload(&self.0.borrow().f_to_device(Device::Cpu)?, device)?;
            *self.0.borrow_mut() = moved;
        }
        Ok(self.0.borrow().shallow_clone())
    }

    /// The constants as numbers.
    pub(crate) fn values(&self) -> Vec<f64> {
        HostTensor::from_torch(&self.0.borrow()).to_f64()
    }
}
