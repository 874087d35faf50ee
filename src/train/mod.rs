//! Training: encoders, losses, queues, optimiser, evaluation. The only module that names tch; host
//! arrays and [`HostTensors`] are its border.

mod border;
mod checkpoint;
pub mod config;
mod contrastive;
mod convert;
mod encoder;
pub mod engine;
mod host;
mod layout;
mod loss;
mod metrics;
mod mixup;
mod model;
mod network;
pub mod probe;
mod queue;
mod recipe;
mod runtime;
mod schedule;
mod selection;
mod sgd;
mod smoothing;
pub mod stage2;
mod store;
mod trainer;

pub use border::{Images, set_threads};
pub use convert::{Converted, convert, initial_state, state_names};
pub use host::{HostData, HostTensor, HostTensors, from_safetensors, to_safetensors};
pub use metrics::Metrics;
pub use recipe::trainer_spec;
pub use runtime::{Runtime, runtime};
pub use schedule::learning_rate;
pub use smoothing::{LabelAwareSmoothing, SmoothingShape};
pub use trainer::{StepOutcome, Trainer};

impl From<tch::TchError> for crate::Error {
    /// The first line of what libtorch says; the rest is its own call stack.
    fn from(error: tch::TchError) -> Self {
        let text = error.to_string();
        Self::run(format!("libtorch: {}", text.lines().next().unwrap_or_default()))
    }
}
