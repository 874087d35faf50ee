//! What a run is: its recipe, its folder, its record, where it came from; and writes that survive
//! a crash.
//!
//! Invariant: never computes a number of the method and never names tch; a file is either whole
//! or absent, and one that is damaged is named, not replaced.

pub mod atomic;
mod check;
mod dir;
mod features;
mod marks;
mod method;
mod provenance;
mod recipe;
mod record;
mod spec;

pub use dir::{RunDir, RunLock};
pub use features::{
    EasyPairCurves, FeatureSample, FeatureSummary, GroupSimilarity, RunFeatures, SIMILARITY_BINS,
    Space,
};
pub use marks::{Mark, Marks, Replaced};
pub use method::{Method, MethodLabel, RescomModules};
pub use provenance::{DataKind, DataSource, Provenance, RecordedSource};
#[cfg(test)]
pub(crate) use recipe::tests::shipped;
pub use recipe::{Recipe, RecipeFile};
pub use record::{
    BestEpoch, EpochRecord, Evaluation, GradientNorm, GroupAccuracy, ReliabilityBin, RunRecord,
    Stage2Source, WeightsFile,
};
pub use spec::{
    Architecture, AugmentPolicy, AugmentSpec, ClassOrder, ContrastSpec, DataSetId, DataSpec,
    EvalSpec, LearningRateMode, MethodSpec, ModelSpec, OptimSpec, Precision, ProfileKind,
    QueueInit, RawRecipe, RunSpec, ScheduleKind, Stage2Spec,
};
