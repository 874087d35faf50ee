//! Recipes: the tables of the file, checked once into what plan, trainer and report use.

mod check;
mod checked;
mod data;
mod file;
mod loss;
mod marks;
mod method;
mod model;
mod optim;
mod raw;
#[cfg(test)]
pub(crate) mod tests;
mod training;

pub use checked::Recipe;
pub use data::{AugmentPolicy, AugmentSpec, DataSetId, DataSpec};
pub use file::RecipeFile;
pub use loss::{ContrastSpec, Keys, LossName, LossSpec, Miner, QueueInit};
pub use marks::{Mark, Marks, Replaced};
pub use method::{Method, MethodLabel, MethodName, RescomModules};
pub use model::{Arch, EncoderSpec, ModelSpec, Precision};
pub use optim::{LearningRateMode, OptimSpec, ScheduleKind, SgdSpec};
pub use raw::{EvalSpec, MethodSpec, RawRecipe, RunSpec, Stage2Spec, Tables};
pub use training::TrainerSpec;
