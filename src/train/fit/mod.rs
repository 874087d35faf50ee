//! Training: the loop over epochs, the steps, checkpoints, optimiser and schedule.

pub mod calibrate;
pub(crate) mod checkpoint;
pub mod epoch_loop;
pub mod images;
pub mod learner;
pub(crate) mod mixup;
pub mod one_stage_run;
pub(crate) mod saved;
pub(crate) mod schedule;
pub(crate) mod sgd;
pub mod stage2;
pub mod stage2_run;
pub(crate) mod trainer;
