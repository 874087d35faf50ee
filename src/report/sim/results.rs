//! What the dual-imbalance study found, and the cells that its report shows.

use crate::{
    contrast::LossForm,
    sim::{Cell, DualStudy, EasyPairs, KeySource, Setup, SweepAxis, SweepRow},
};

/// Everything that `rescom-sim dual-imbalance` found.
#[derive(Debug)]
pub struct DualResults {
    /// Name of the profile ("exp", "places-lt", a file).
    pub profile: String,
    /// The main setup.
    pub setup: Setup,
    /// The main study.
    pub study: DualStudy,
    /// Form of the loss that the report leads with.
    pub form: LossForm,
    /// Sweeps that were asked for, with all their rows.
    pub sweeps: Vec<(SweepAxis, Vec<SweepRow>)>,
    /// Imbalance sweeps at several training stages: concentration and rows.
    pub stages: Vec<(f64, Vec<SweepRow>)>,
    /// Easy pairs by training stage.
    pub easy: Vec<EasyPairs>,
    /// Easy pairs by temperature.
    pub easy_by_temperature: Vec<EasyPairs>,
    /// What has to be said about the sweeps (a largest class that had to be larger).
    pub notes: Vec<String>,
    /// The seed.
    pub seed: u64,
    /// The command line that gives these results.
    pub command: String,
}

/// The eight cells of the ablation in their order: remedies, each without and with mining.
pub(crate) fn ablation(results: &DualResults) -> Vec<&Cell> {
    let mut cells: Vec<&Cell> =
        results.study.cells.iter().filter(|c| c.form == results.form).collect();
    let order = |c: &&Cell| {
        let source = match c.source {
            KeySource::None => 2,
            KeySource::Fifo => 0,
            KeySource::ClassBalanced => 1,
        };
        (c.mined, source, c.balanced_loss)
    };
    cells.sort_by_key(order);
    cells
}
