//! Training: encoders, losses, queues, optimiser, evaluation. The only module that names tch; host
//! arrays and [`HostTensors`] are its border.

mod border;
pub mod calibrate;
mod checkpoint;
pub mod config;
mod convert;
mod encoder;
pub mod engine;
mod epoch;
mod evaluate;
pub mod features;
mod host;
mod layout;
pub mod losses;
mod metrics;
mod mixup;
mod model;
mod network;
pub mod probe;
mod recipe;
mod robustness;
mod runtime;
mod saved;
mod schedule;
mod selection;
mod sgd;
mod smoothing;
pub mod stage2;
pub mod stage2_run;
mod step_keys;
mod store;
mod trainer;

pub use border::{DeviceName, Images, set_threads};
pub use checkpoint::inspect;
pub use convert::{Converted, convert, initial_state, state_names};
pub use evaluate::{Collected, Network, Outputs, collect, evaluate};
pub use host::{HostData, HostTensor, HostTensors, from_safetensors, to_safetensors};
pub use metrics::Metrics;
pub use recipe::trainer_spec;
pub use robustness::{Baseline, CorruptionAccuracy, Relative, Robustness};
pub use runtime::{Runtime, runtime};
pub use saved::{Origin, SavedNetwork, SavedRun};
pub use schedule::learning_rate;
pub use smoothing::{LabelAwareSmoothing, SmoothingShape};
pub use trainer::{StepOutcome, Trainer};

/// What libtorch says, in one line: the rest is its own call stack. Also for the words of a panic,
/// which is how tch reports what fails in the middle of an operation.
pub fn libtorch_failure(text: &str) -> crate::Error {
    let line = text.lines().next().unwrap_or_default();
    let memory = ["can't allocate memory", "out of memory"].iter().any(|m| line.contains(m));
    let remedy = if memory {
        "; out of memory: take a smaller optim.batch-size or eval.batch-size, or a smaller model"
    } else {
        ""
    };
    crate::Error::run(format!("libtorch: {line}{remedy}"))
}

impl From<tch::TchError> for crate::Error {
    fn from(error: tch::TchError) -> Self {
        libtorch_failure(&error.to_string())
    }
}
