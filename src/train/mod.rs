//! Training: backbones, losses, queues, optimiser, evaluation. The only module that names tch, which is its
//! language inside and at its door: [`losses`] and [`keys`] take and give [`tch::Tensor`]. What files and reports
//! read of it are plain arrays and [`HostTensors`].

pub mod eval;
pub mod fit;
pub mod keys;
pub mod losses;
pub mod nn;

pub use eval::{
    corruption::{Baseline, CorruptionAccuracy, Relative, Robustness},
    evaluate::{Collected, Network, Outputs, collect, evaluate},
    metrics::Metrics,
};
pub use fit::{
    checkpoint::inspect,
    epoch_loop::{Job, Observer, Outcome, Training},
    learner::{Learner, StepOutcome},
    one_stage_run::fit_one_stage,
    saved::{Origin, SavedNetwork, SavedRun},
    schedule::learning_rate,
    stage2_run::{Start, fit_stage2},
    trainer::Trainer,
};
pub use losses::{LabelAwareSmoothing, SmoothingShape};
pub use nn::{
    convert::{Converted, convert, initial_state, state_names},
    device::{DeviceName, Images, set_threads},
    libtorch::{Runtime, runtime},
    tensors::{HostData, HostTensor, HostTensors, from_safetensors, to_safetensors},
};
/// The version of tch whose tensors the losses take.
pub use tch;

/// What libtorch says, in one line: the rest is its own call stack. Also for the words of a panic,
/// which is how tch reports what fails in the middle of an operation.
pub fn libtorch_failure(text: &str) -> crate::Error {
    // A panic shows the text as a literal of Rust: lines end in a backslash and an n there.
    let line = text.lines().next().unwrap_or_default().split("\\n").next().unwrap_or_default();
    let line = line.split_once("value: Torch(\"").map_or(line, |(_, words)| words);
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
