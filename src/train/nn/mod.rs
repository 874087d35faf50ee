//! The network on its device: backbones with their heads, parameters, precision, and the border to arrays of the host.

pub(crate) mod backbone;
pub(crate) mod convert;
pub(crate) mod device;
pub(crate) mod layers;
pub(crate) mod libtorch;
pub(crate) mod model;
pub(crate) mod parameters;
pub(crate) mod tensors;
