//! Training: the loop over epochs, the steps, checkpoints, optimiser and schedule.

pub mod calibrate;
pub(crate) mod checkpoint;
pub(crate) mod epoch;
pub(crate) mod images;
pub(crate) mod mixup;
pub mod run;
pub(crate) mod saved;
pub(crate) mod schedule;
pub(crate) mod sgd;
pub mod stage2;
pub mod stage2_run;
pub(crate) mod trainer;
