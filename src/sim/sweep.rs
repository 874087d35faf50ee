//! The same measurement over a range of one parameter.

use super::theory::{MeanField, heuristic_ratio};
use super::{Cell, DualStudy, Estimate, KeySource, Setup, SetupParams, Statistic, dual_imbalance};
use crate::contrast::LossForm;
use crate::rng::Streams;
use crate::{Error, Result};

/// The parameter that is varied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SweepAxis {
    /// Imbalance factor n_1/n_C.
    Imbalance,
    /// Temperature T.
    Temperature,
    /// Images per batch B.
    Batch,
    /// Queue keys per class Q (the FIFO queue grows with it).
    Keys,
    /// Feature dimension D.
    Dimension,
    /// Concentration of the features ("training stage").
    Concentration,
}

impl SweepAxis {
    /// All axes.
    pub const ALL: [Self; 6] = [
        Self::Imbalance,
        Self::Temperature,
        Self::Batch,
        Self::Keys,
        Self::Dimension,
        Self::Concentration,
    ];

    /// The name on the command line and in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Imbalance => "imb",
            Self::Temperature => "temperature",
            Self::Batch => "batch",
            Self::Keys => "keys",
            Self::Dimension => "dim",
            Self::Concentration => "concentration",
        }
    }

    /// `params` with this parameter set to `value` (the imbalance factor is the caller's: counts
    /// come from a profile).
    ///
    /// # Errors
    /// [`Error::Input`] if the value does not fit the parameter.
    pub fn apply(self, mut params: SetupParams, value: f64) -> Result<SetupParams> {
        const MOST: f64 = 1e9;
        let whole = || {
            if value >= 1.0 && value.fract() == 0.0 && value <= MOST {
                Ok(value as usize)
            } else {
                let name = self.name();
                Err(Error::input(format!(
                    "{name}={value}: expected a whole number from 1 to {MOST:e}"
                )))
            }
        };
        match self {
            Self::Imbalance => {}
            Self::Temperature => params.temperature = value,
            Self::Batch => params.batch = whole()?,
            Self::Keys => params.keys_per_class = whole()?,
            Self::Dimension => params.dim = whole()?,
            Self::Concentration => params.concentration = value,
        }
        Ok(params)
    }
}

/// One point of a sweep.
#[derive(Debug, Clone)]
pub struct SweepPoint {
    /// The parameter's value.
    pub value: f64,
    /// The setup at that value.
    pub setup: Setup,
}

/// One row of the tidy table: one cell and statistic at one value.
#[derive(Debug, Clone)]
pub struct SweepRow {
    /// The parameter's value.
    pub value: f64,
    /// Form of the loss.
    pub form: LossForm,
    /// Effective-number weights.
    pub balanced_loss: bool,
    /// Keys outside the batch.
    pub source: KeySource,
    /// Mining on the queue.
    pub mined: bool,
    /// What is compared.
    pub statistic: Statistic,
    /// Head-to-tail ratio.
    pub ratio: Estimate,
    /// The pair-frequency heuristic, where the paper has one.
    pub heuristic: Option<f64>,
    /// The mean-field prediction, where there is one (without mining).
    pub mean_field: Option<f64>,
}

/// Measures every point; streams of point i are those of study `first_study` + i.
pub fn sweep(
    points: &[SweepPoint],
    sources: &[KeySource],
    mining: bool,
    first_study: u64,
    streams: &Streams,
    progress: &(dyn Fn(usize) + Sync),
) -> Vec<SweepRow> {
    let mut rows = vec![];
    for (i, point) in points.iter().enumerate() {
        let study = first_study + i as u64;
        let result = dual_imbalance(&point.setup, sources, mining, study, streams, progress);
        rows.extend(tidy(point.value, &point.setup, &result, streams));
    }
    rows
}

/// The rows of one study.
pub fn tidy(value: f64, setup: &Setup, study: &DualStudy, streams: &Streams) -> Vec<SweepRow> {
    let field = MeanField::new(setup, streams);
    let row = |cell: &Cell, statistic: Statistic, ratio: Estimate| SweepRow {
        value,
        form: cell.form,
        balanced_loss: cell.balanced_loss,
        source: cell.source,
        mined: cell.mined,
        statistic,
        ratio,
        heuristic: heuristic_ratio(setup, statistic, cell.balanced_loss, cell.source),
        mean_field: (!cell.mined && study.groups.single_classes())
            .then(|| field.ratio(cell.form, statistic, cell.balanced_loss, cell.source))
            .flatten(),
    };
    let mut rows = vec![];
    for cell in &study.cells {
        let skip = |s: Statistic| s.only_for_out() && cell.form != LossForm::Out;
        rows.extend(cell.ratios.iter().filter(|(s, _)| !skip(*s)).map(|(s, e)| row(cell, *s, *e)));
    }
    rows
}
