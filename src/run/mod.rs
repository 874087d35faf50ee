//! What a run is: its recipe, its folder, its record, where it came from; and writes that survive
//! a crash.
//!
//! Invariant: never computes a number of the method and never names tch; a file is either whole
//! or absent, and one that is damaged is named, not replaced.

pub mod atomic;
mod dir;
mod features;
mod provenance;
mod recipe;
mod record;

pub use dir::{RunDir, RunLock};
pub use features::{
    EasyPairCurves, FeatureSample, FeatureSummary, GroupSimilarity, RunFeatures, SIMILARITY_BINS,
    Space,
};
pub use provenance::{DataKind, DataSource, Provenance, RecordedSource};
#[cfg(test)]
pub(crate) use recipe::tests::shipped;
pub use recipe::{
    Arch, AugmentPolicy, AugmentSpec, ContrastSpec, DataSetId, DataSpec, EncoderSpec, EvalSpec,
    Keys, LearningRateMode, LossName, LossSpec, Mark, Marks, Method, MethodLabel, MethodName,
    MethodSpec, Miner, ModelSpec, OptimSpec, Precision, QueueInit, RawRecipe, Recipe, RecipeFile,
    Replaced, RescomModules, RunSpec, ScheduleKind, SgdSpec, Stage2Spec, Tables, TrainerSpec,
};
pub use record::{
    BestEpoch, EpochRecord, Evaluation, GradientNorm, GroupAccuracy, ReliabilityBin, RunRecord,
    Stage2Source, WeightsFile,
};
