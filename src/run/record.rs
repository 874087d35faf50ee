use serde::{Deserialize, Serialize};

use super::{Marks, MethodLabel, Provenance, Recipe};

/// Accuracy over the classes of one shot group; `None` where the group has no class with test images.
/// Fractions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct GroupAccuracy {
    /// Classes with more than 100 training images.
    pub many: Option<f64>,
    /// Classes with 20 to 100.
    pub medium: Option<f64>,
    /// Classes with fewer than 20.
    pub few: Option<f64>,
}

/// One bin of a reliability diagram. Fractions.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ReliabilityBin {
    /// Test images whose confidence fell into the bin.
    pub count: u64,
    /// Their mean confidence; 0 where there are none.
    pub confidence: f64,
    /// Their accuracy; 0 where there are none.
    pub accuracy: f64,
}

/// An evaluation on (balanced) test images. All accuracies are fractions, not percent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Test images used.
    pub images: u64,
    /// Share whose true class ranks first.
    pub top1: f64,
    /// Share whose true class is among the first five.
    pub top5: f64,
    /// Accuracy of each class, in label order.
    pub per_class: Vec<f64>,
    /// Mean of the class accuracies per shot group.
    pub groups: GroupAccuracy,
    /// Expected calibration error, 15 bins.
    pub ece: f64,
    /// The 15 bins.
    pub reliability: Vec<ReliabilityBin>,
    /// `confusion[true][predicted]`, counts; empty in records of single epochs and beyond 1,000
    /// classes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub confusion: Vec<Vec<u64>>,
}

/// Norms of the gradient over the steps of an epoch, weight decay not included.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct GradientNorm {
    /// Mean.
    pub mean: f64,
    /// Largest.
    pub max: f64,
}

/// One epoch, as appended to `epochs.jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EpochRecord {
    /// From 1.
    pub epoch: usize,
    /// Learning rate of the epoch.
    pub lr: f64,
    /// Mean losses over the steps, in nats: classification.
    pub loss_cls: f64,
    /// Contrastive, unweighted; 0 for methods without.
    pub loss_con: f64,
    /// Total.
    pub loss: f64,
    /// L2 norm of the whole gradient over the steps; none in records of older versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grad_norm: Option<GradientNorm>,
    /// Steps of the epoch.
    pub steps: usize,
    /// The evaluation after it, where one was due.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test: Option<Evaluation>,
    /// Seconds of training, evaluation excluded. The only field that a repetition does not reproduce.
    pub train_seconds: f64,
}

/// The epoch with the best accuracy among those evaluated on the whole test set, told apart from the
/// last one because it was chosen on test images.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BestEpoch {
    /// From 1.
    pub epoch: usize,
    /// Its evaluation.
    pub test: Evaluation,
}

/// What a run of MiSLAS stage 2 started from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stage2Source {
    /// Folder name of the run whose network it took over; with `weights`, the run that gave data set,
    /// subset and recipe.
    pub run: String,
    /// Finished epochs of that network; none where it is `weights`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<usize>,
    /// SHA-256 of the network's file, hex.
    pub checkpoint_sha256: String,
    /// The command line of that run, which says where the images are.
    pub command: Vec<String>,
    /// A network from elsewhere; none where it is the run's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weights: Option<WeightsFile>,
}

impl Stage2Source {
    /// Whether both are the same network for the same run, wherever its file lies.
    pub fn is_same(&self, other: &Self) -> bool {
        let key = |s: &Self| (s.run.clone(), s.checkpoint_sha256.clone(), s.weights.is_some());
        key(self) == key(other)
    }
}

/// A trained network that no run of ours made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WeightsFile {
    /// The file, as it was named.
    pub file: String,
    /// Whether the classifier came from it as well; otherwise it was drawn from the recipe's seed.
    pub classifier: bool,
}

/// What a finished run leaves: everything that a report needs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunRecord {
    /// Folder name of the run.
    pub id: String,
    /// The resolved recipe.
    pub recipe: Recipe,
    /// Where each value of the recipe comes from.
    pub marks: Marks,
    /// Version, libtorch, device, threads, checksums, command line.
    pub provenance: Provenance,
    /// What stage 2 of MiSLAS started from; none for a run of the method itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage2: Option<Stage2Source>,
    /// Training images per class, in label order.
    pub counts: Vec<u64>,
    /// Names of the classes, in label order.
    pub class_names: Vec<String>,
    /// The last epoch, on the whole test set.
    pub last: Evaluation,
    /// The best epoch among those evaluated on the whole test set.
    pub best: BestEpoch,
    /// Every epoch (of stage 2, if this is one).
    pub epochs: Vec<EpochRecord>,
    /// Seconds in all, evaluation included, interruptions excluded.
    pub seconds: f64,
}

impl RunRecord {
    /// Whether the images were generated (`--data synthetic`) instead of the real data set's.
    pub fn is_synthetic(&self) -> bool {
        self.provenance.data_source.is_generated()
    }

    /// Whether nobody checked that the images are the published set (`--unverified`).
    pub fn is_unverified(&self) -> bool {
        self.provenance.data_source.is_unverified()
    }

    /// The recipe's imbalance factor where the tail was cut to one; n_max/n_min of the counts where the
    /// set is long-tailed itself (256 for ImageNet-LT).
    pub fn imbalance_factor(&self) -> f64 {
        if self.recipe.data.set.images_per_class().is_some() {
            return self.recipe.data.imbalance_factor;
        }
        let most = self.counts.iter().max().copied().unwrap_or(1);
        let fewest = self.counts.iter().filter(|&&n| n > 0).min().copied().unwrap_or(1);
        most as f64 / fewest as f64
    }

    /// What tables and figures call this run's training: its method, and whether stage 2 of MiSLAS
    /// followed. Runs of one label, data set, factor and class order differ in their seeds alone.
    pub fn method_label(&self) -> MethodLabel {
        MethodLabel {
            method: self.recipe.method.name,
            stage2: self.stage2.is_some(),
            foreign: self.stage2.as_ref().is_some_and(|source| source.weights.is_some()),
        }
    }
}
