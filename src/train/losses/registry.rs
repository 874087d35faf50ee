//! The losses by the names that recipes use. A new loss of a file of its own is entered here and nowhere else:
//! its module, its type for users, its name.

#[path = "logit_adjustment.rs"]
mod logit_adjustment;

pub use logit_adjustment::LogitAdjustment;

use tch::Tensor;

use crate::{
    Error, Result,
    longtail::{ClassCounts, EffectiveNumber},
    run::{ContrastSpec, LossName, LossSpec},
    train::losses::{
        BalancedSoftmax, ClassBalancedSupCon, ClassificationLoss, ContrastiveLoss, CrossEntropy,
        SupConLoss, Temperature,
    },
};

type Classification = Box<dyn ClassificationLoss + Send>;
type Contrastive = Box<dyn ContrastiveLoss + Send>;

type MakeClassification = fn(&ClassCounts) -> Classification;

/// Losses of logits, made from the training counts.
const CLASSIFICATION: &[(&str, MakeClassification)] = &[
    ("cross-entropy", |_| Box::new(CrossEntropy)),
    ("balanced-softmax", |counts| Box::new(BalancedSoftmax::new(counts))),
    ("logit-adjustment", |counts| Box::new(LogitAdjustment::new(counts))),
];

type MakeContrastive = fn(&ContrastSpec, &ClassCounts) -> Result<Contrastive>;

/// Losses of anchors against keys, made from the recipe's numbers and the training counts.
const CONTRASTIVE: &[(&str, MakeContrastive)] = &[
    ("supcon", |numbers, _| Ok(Box::new(supcon(numbers)?))),
    ("class-balanced-supcon", |numbers, counts| {
        let effective = EffectiveNumber::new(numbers.effective_number_beta)?;
        Ok(Box::new(ClassBalancedSupCon::new(supcon(numbers)?, effective, counts)))
    }),
];

fn supcon(numbers: &ContrastSpec) -> Result<SupConLoss> {
    Ok(SupConLoss::new(Temperature::new(numbers.temperature)?))
}

/// The entry called `name` in one of the lists above; `key` is where the recipe names it.
fn entry<T: Copy>(list: &[(&str, T)], key: &str, name: &LossName) -> Result<T> {
    let found = list.iter().find(|(known, _)| *known == name.as_str());
    found.map(|(_, make)| *make).ok_or_else(|| {
        let known: Vec<&str> = list.iter().map(|(known, _)| *known).collect();
        Error::input(format!(
            "recipe, {key} = {name}: there is no such loss; expected one of {}",
            known.join(", ")
        ))
    })
}

/// The classification loss called `name`, for classes with these training counts.
///
/// # Errors
/// [`Error::Input`] listing the known names.
pub(crate) fn classification(name: &LossName, counts: &ClassCounts) -> Result<Classification> {
    Ok(entry(CLASSIFICATION, "loss.classification", name)?(counts))
}

/// The contrastive loss called `name`, for classes with these training counts.
///
/// # Errors
/// [`Error::Input`] listing the known names, or for a number that is out of range.
pub(crate) fn contrastive(
    name: &LossName,
    numbers: &ContrastSpec,
    counts: &ClassCounts,
) -> Result<Contrastive> {
    entry(CONTRASTIVE, "loss.contrast", name)?(numbers, counts)
}

/// That there are losses of the names in `loss`: a plan asks before anything is trained.
///
/// # Errors
/// [`Error::Input`] listing the known names.
pub fn check(loss: &LossSpec) -> Result<()> {
    entry(CLASSIFICATION, "loss.classification", &loss.classification)?;
    if let Some(name) = &loss.contrast {
        entry(CONTRASTIVE, "loss.contrast", name)?;
    }
    Ok(())
}

impl ClassificationLoss for Classification {
    fn loss(&self, logits: &Tensor, labels: &Tensor) -> Result<Tensor> {
        (**self).loss(logits, labels)
    }
}
