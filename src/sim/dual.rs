//! The dual class imbalance, measured: gradient mass between classes under every remedy.

use super::batch::Simulation;
use super::masses::VariantMasses;
use super::statistic::Samples;
use super::{ClassGroups, Estimate, KeySource, Setup, Statistic};
use crate::contrast::LossForm;
use crate::longtail::ShotGroup;
use crate::rng::Streams;
use rayon::prelude::*;

/// Batches that are simulated before they are added up, in their order.
const WAVE: usize = 32;

/// Expected gradient mass between groups of classes (G x G): sums over the anchors of a batch of
/// |dL/ds|, L being the mean loss over its 2B anchors and s the cosine (1/T is in it).
#[derive(Debug, Clone)]
pub struct GroupMatrix {
    /// Same-class part, absolute (G).
    pub positive: Vec<f64>,
    /// Same-class part, signed (G): below zero where pairs are pulled together.
    pub signed: Vec<f64>,
    /// Different-class part by group of the anchors (rows) and of the keys (columns).
    pub negative: Vec<Vec<f64>>,
}

impl GroupMatrix {
    /// Positive and negative part in one matrix.
    pub fn total(&self) -> Vec<Vec<f64>> {
        let mut all = self.negative.clone();
        for (g, row) in all.iter_mut().enumerate() {
            row[g] += self.positive[g];
        }
        all
    }
}

/// Share of the batch's gradient mass that a shot group's anchors carry, beside its share of images.
#[derive(Debug, Clone, Copy)]
pub struct GroupMass {
    /// The group.
    pub group: ShotGroup,
    /// Share of all gradient mass (all pairs of the group's anchors).
    pub share: Estimate,
    /// Share of the training images.
    pub images: f64,
    /// Share of the classes.
    pub classes: f64,
}

/// Length of the whole gradient with respect to the features of the anchors, by their group (G):
/// expected sum over the anchors of a batch of |dL/dz|, L being the mean loss over its 2B anchors,
/// keys held constant.
#[derive(Debug, Clone)]
pub struct FeatureNorms {
    /// As it is.
    pub raw: Vec<Estimate>,
    /// Of its part tangent to the sphere at z.
    pub tangent: Vec<Estimate>,
}

/// One combination of loss form and remedies.
#[derive(Debug, Clone)]
pub struct Cell {
    /// Form of the loss.
    pub form: LossForm,
    /// Effective-number weights on the anchors.
    pub balanced_loss: bool,
    /// Keys outside the batch.
    pub source: KeySource,
    /// Q_p / Q_n mining on the queue.
    pub mined: bool,
    /// Head-to-tail ratios.
    pub ratios: Vec<(Statistic, Estimate)>,
    /// Gradient mass between groups of classes.
    pub mass: GroupMatrix,
    /// The same by shot group, batch level.
    pub by_shot: Vec<GroupMass>,
    /// With respect to features (the loss in use, form out, only).
    pub norms: Option<FeatureNorms>,
}

impl Cell {
    /// The estimate of one statistic.
    pub fn ratio(&self, statistic: Statistic) -> Estimate {
        let found = self.ratios.iter().find(|(s, _)| *s == statistic);
        found.map_or(Estimate::NONE, |(_, e)| *e)
    }
}

/// Everything measured in one setup.
#[derive(Debug, Clone)]
pub struct DualStudy {
    /// How classes were grouped.
    pub groups: ClassGroups,
    /// All cells: by key source and mining, form, weighting.
    pub cells: Vec<Cell>,
}

impl DualStudy {
    /// The cell with these properties, if it was simulated.
    pub fn cell(
        &self,
        form: LossForm,
        balanced_loss: bool,
        source: KeySource,
        mined: bool,
    ) -> Option<&Cell> {
        let is = |c: &&Cell| {
            (c.form, c.balanced_loss, c.source, c.mined) == (form, balanced_loss, source, mined)
        };
        self.cells.iter().find(is)
    }
}

/// Simulates `setup` for every form and weighting of the loss and the given key sources (`mining`:
/// queues also with mining). Streams are those of study number `study`, so that studies are
/// independent. `progress` is told how many batches are done.
pub fn dual_imbalance(
    setup: &Setup,
    sources: &[KeySource],
    mining: bool,
    study: u64,
    streams: &Streams,
    progress: &(dyn Fn(usize) + Sync),
) -> DualStudy {
    let groups = ClassGroups::new(&setup.params().counts);
    let prior = setup.params().counts.prior();
    let of_group = |m: &Vec<usize>| m.iter().map(|&c| prior.as_slice()[c]).sum::<f64>();
    let prior: Vec<f64> = groups.members().iter().map(of_group).collect();
    let variants: Vec<_> = sources
        .iter()
        .flat_map(|&s| [(s, false), (s, true)])
        .filter(|&(s, mined)| !mined || (mining && s != KeySource::None))
        .collect();
    let simulation = Simulation::new(setup, &groups, variants.clone(), streams);
    let mut sums = vec![VariantMasses::zeros(groups.len()); variants.len()];
    let keys: Vec<_> = (0..LossForm::ALL.len()).flat_map(|f| [(f, 0), (f, 1)]).collect();
    let mut samples = vec![Samples::new(); variants.len() * keys.len()];
    let mut shots: Vec<Vec<[f64; 3]>> = vec![vec![]; variants.len() * keys.len()];
    let mut norms: Vec<Vec<[[Vec<f64>; 2]; 2]>> = vec![vec![]; variants.len()];
    let shot_of = groups.shots(&setup.params().counts);
    let batches = setup.params().batches;
    for first in (0..batches).step_by(WAVE) {
        let wave: Vec<_> = (first..batches.min(first + WAVE))
            .into_par_iter()
            .map(|b| simulation.batch(&mut streams.stream("batch", &[study, b as u64])))
            .collect();
        // Added in the order of the batches: the sum is the same at any number of threads.
        for batch in &wave {
            for (v, masses) in batch.iter().enumerate() {
                sums[v].add(masses);
                norms[v].push(masses.norms.clone());
                for (k, &key) in keys.iter().enumerate() {
                    samples[v * keys.len() + k].push(&groups, &prior, masses, key);
                    shots[v * keys.len() + k].push(shot_masses(masses, key, &prior, &shot_of));
                }
            }
        }
        progress(first + wave.len());
    }
    let unit = 1.0 / (setup.temperature().get() * batches as f64);
    let mut cells = vec![];
    for (v, &(source, mined)) in variants.iter().enumerate() {
        for (k, &(form, weighting)) in keys.iter().enumerate() {
            let masses = &sums[v].by_form[form][weighting];
            let row = |g: usize| -> Vec<f64> {
                let row = &masses.negative[g * groups.len()..(g + 1) * groups.len()];
                row.iter().map(|m| m * prior[g] * unit).collect()
            };
            let scaled = |of: &[f64], sign: f64| -> Vec<f64> {
                of.iter().zip(&prior).map(|(m, p)| sign * m * p * unit).collect()
            };
            cells.push(Cell {
                form: LossForm::ALL[form],
                balanced_loss: weighting == 1,
                source,
                mined,
                ratios: samples[v * keys.len() + k].estimates(),
                mass: GroupMatrix {
                    positive: scaled(&masses.absolute, 1.0),
                    signed: scaled(&masses.net, -1.0),
                    negative: (0..groups.len()).map(row).collect(),
                },
                by_shot: shares(&shots[v * keys.len() + k], setup),
                norms: (LossForm::ALL[form] == LossForm::Out)
                    .then(|| feature_norms(&norms[v], weighting, &prior, setup)),
            });
        }
    }
    DualStudy { groups, cells }
}

fn feature_norms(
    batches: &[[[Vec<f64>; 2]; 2]],
    weighting: usize,
    prior: &[f64],
    setup: &Setup,
) -> FeatureNorms {
    let estimates = |which: usize| {
        let of = |(g, p): (usize, &f64)| {
            let values: Vec<f64> = batches.iter().map(|b| b[weighting][which][g]).collect();
            Estimate::of_mean(&values).scaled(p / setup.temperature().get())
        };
        prior.iter().enumerate().map(of).collect()
    };
    FeatureNorms { raw: estimates(0), tangent: estimates(1) }
}

/// Batch-level mass of each shot group in one batch.
fn shot_masses(
    masses: &VariantMasses,
    (form, weighting): (usize, usize),
    prior: &[f64],
    shot_of: &[ShotGroup],
) -> [f64; 3] {
    let m = &masses.by_form[form][weighting];
    let n = prior.len();
    ShotGroup::ALL.map(|shot| {
        (0..n)
            .filter(|&g| shot_of[g] == shot)
            .map(|g| {
                prior[g] * (m.absolute[g] + m.negative[g * n..(g + 1) * n].iter().sum::<f64>())
            })
            .sum()
    })
}

fn shares(batches: &[[f64; 3]], setup: &Setup) -> Vec<GroupMass> {
    let counts = &setup.params().counts;
    let members = |shot: ShotGroup| {
        let in_group = move |n: &&u64| ShotGroup::of(**n) == shot;
        counts.as_slice().iter().filter(in_group).collect::<Vec<_>>()
    };
    let share = |(i, shot): (usize, ShotGroup)| {
        let classes = members(shot);
        let images: u64 = classes.iter().copied().sum();
        let rows: Vec<_> = batches.iter().map(|b| vec![b[i], b.iter().sum()]).collect();
        GroupMass {
            group: shot,
            share: Estimate::of_ratio(&rows, &[1.0, -1.0]),
            images: images as f64 / counts.total() as f64,
            classes: classes.len() as f64 / counts.classes() as f64,
        }
    };
    ShotGroup::ALL
        .into_iter()
        .enumerate()
        .filter(|(_, s)| !members(*s).is_empty())
        .map(share)
        .collect()
}
