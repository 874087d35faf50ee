//! Training: encoders, losses, queues, optimiser, evaluation. The only module that names tch; host
//! arrays and [`HostTensors`] are its border.

mod border;
pub mod config;
mod contrastive;
mod encoder;
mod host;
mod loss;
mod methods;
mod mixup;
mod model;
mod network;
pub mod probe;
mod queue;
mod runtime;
mod sgd;
mod store;
mod trainer;

pub use border::Images;
pub use host::{HostData, HostTensor, HostTensors, from_safetensors, to_safetensors};
pub use runtime::{Runtime, runtime};
pub use trainer::{StepOutcome, Trainer};

impl From<tch::TchError> for crate::Error {
    /// The first line of what libtorch says; the rest is its own call stack.
    fn from(error: tch::TchError) -> Self {
        let text = error.to_string();
        Self::run(format!("libtorch: {}", text.lines().next().unwrap_or_default()))
    }
}
