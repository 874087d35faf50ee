//! `subset`: which images a long-tailed subset keeps.

use std::{path::PathBuf, process::ExitCode};

use clap::{Args, Subcommand, ValueEnum};
use rescom::{
    Error, Result,
    data::{self, Place, cifar::Check},
    longtail::{ClassOrder, ImbalanceFactor, SubsetManifest, SubsetRule, TailShape},
    run::{self, DataSetId},
};

use crate::{manifest, progress};

/// Arguments of `subset`.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  rescom-repro subset make --dataset cifar10 --imb 100 --out cifar10-lt-100.json\n  rescom-repro subset show cifar10-lt-100.json\n  rescom-repro subset export cifar10-lt-100.json --npy indices.npy\n  rescom-repro subset compare mine.json yours.json\n\nIn PyTorch: Subset(CIFAR10(root), numpy.load('indices.npy').tolist())"
)]
pub(crate) struct SubsetArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Choose the images as the reference does (NumPy's legacy generator) and print or write the
    /// manifest.
    Make(MakeArgs),
    /// Print the counts, the rule and the checksums of a manifest.
    #[command(after_help = "Example:\n  rescom-repro subset show cifar10-lt-100.json")]
    Show {
        /// A manifest: of `subset make --out`, or `subset.json` of a run.
        manifest: PathBuf,
        /// The whole manifest as JSON on standard output instead of a table.
        #[arg(long)]
        json: bool,
    },
    /// Say whether two manifests keep the same images, and where they differ; exit code 1 if not.
    #[command(after_help = "Example:\n  rescom-repro subset compare mine.json yours.json")]
    Compare {
        /// A manifest.
        one: PathBuf,
        /// Another.
        other: PathBuf,
        /// One JSON object on standard output instead of text.
        #[arg(long)]
        json: bool,
    },
    /// Write the indices for use elsewhere.
    #[command(
        after_help = "Example:\n  rescom-repro subset export cifar10-lt-100.json --npy indices.npy\n\nIn PyTorch: Subset(CIFAR10(root), numpy.load('indices.npy').tolist())"
    )]
    Export {
        /// A manifest.
        manifest: PathBuf,
        /// As a NumPy file of int64.
        #[arg(long)]
        npy: Option<PathBuf>,
        /// As text, one index per line.
        #[arg(long)]
        txt: Option<PathBuf>,
    },
}

/// Which subset.
#[derive(Args)]
pub(crate) struct RuleArgs {
    /// Folder or archive with the data, or `synthetic`; else the cache, else fetched.
    #[arg(long)]
    data: Option<String>,
    /// Take other data in the same format (no published checksum).
    #[arg(long)]
    unverified: bool,
    /// Imbalance factor n_max / n_min.
    #[arg(long, default_value_t = 100.0)]
    imb: f64,
    /// Shape of the tail.
    #[arg(long, value_enum, default_value = "exp")]
    profile: Profile,
    /// The reference's seed of the choice of images.
    #[arg(long, default_value_t = 0)]
    rand_number: u32,
    /// Which class is the head: natural, reversed, or seeded:N.
    #[arg(long, default_value = "natural")]
    class_order: ClassOrder,
    /// Images of the head class (else the mean class size).
    #[arg(long)]
    n_max: Option<u64>,
}

#[derive(Args)]
#[command(
    after_help = "Examples:\n  rescom-repro subset make --dataset cifar10 --imb 100 --out cifar10-lt-100.json\n  rescom-repro subset make --dataset cifar100 --imb 50 --json"
)]
struct MakeArgs {
    /// The data set.
    #[arg(long, value_enum)]
    dataset: SetName,
    #[command(flatten)]
    rule: RuleArgs,
    /// Write the manifest there.
    #[arg(long)]
    out: Option<PathBuf>,
    /// The whole manifest as JSON on standard output instead of a table.
    #[arg(long)]
    json: bool,
}

/// Data sets that fit into memory.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum SetName {
    #[value(name = "cifar10")]
    Cifar10,
    #[value(name = "cifar100")]
    Cifar100,
    FashionMnist,
    /// MNIST, to look at: read from --data DIR, not fetched; recipes do not train on it.
    Mnist,
}

impl SetName {
    /// The set as recipes name it; none for MNIST.
    pub(crate) fn id(self) -> Option<DataSetId> {
        match self {
            Self::Cifar10 => Some(DataSetId::Cifar10),
            Self::Cifar100 => Some(DataSetId::Cifar100),
            Self::FashionMnist => Some(DataSetId::FashionMnist),
            Self::Mnist => None,
        }
    }

    /// Loads it.
    pub(crate) fn load(self, place: Place<'_>, check: Check) -> Result<data::DataSet> {
        match (self.id(), place) {
            (Some(id), _) => data::load(id, place, check, &mut progress::of_data()),
            (None, Place::Given(dir)) => {
                data::fashion::load_mnist(dir, check, &mut progress::of_data())
            }
            (None, _) => Err(Error::input(
                "mnist is neither fetched nor generated: give the folder with its four files as --data DIR",
            )),
        }
    }
}

#[derive(Clone, Copy, ValueEnum)]
enum Profile {
    Exp,
    Step,
}

impl RuleArgs {
    /// Whether anything was asked for that is not the default.
    pub(crate) fn is_given(&self) -> bool {
        self.data.is_some()
            || self.unverified
            || self.imb != 100.0
            || !matches!(self.profile, Profile::Exp)
            || self.rand_number != 0
            || self.class_order != ClassOrder::Natural
            || self.n_max.is_some()
    }

    /// Loads the set and chooses the subset of its training images.
    pub(crate) fn load(&self, set: SetName) -> Result<(data::DataSet, SubsetManifest)> {
        let check = if self.unverified { Check::Format } else { Check::Published };
        let set = set.load(Place::from_option(self.data.as_deref()), check)?;
        let rule = SubsetRule {
            shape: match self.profile {
                Profile::Exp => TailShape::Exp,
                Profile::Step => TailShape::Step,
            },
            imbalance: ImbalanceFactor::new(self.imb)?,
            rand_number: self.rand_number,
            order: self.class_order,
            n_max: self.n_max,
        };
        let (labels, classes) = (&set.train.labels, set.train.classes());
        let manifest = SubsetManifest::choose(&set.name, labels, classes, &rule)?;
        Ok((set, manifest))
    }
}

/// Runs the command.
pub(crate) fn run(args: &SubsetArgs) -> Result<ExitCode> {
    match &args.action {
        Action::Make(args) => make(args),
        Action::Show { manifest, json } => manifest::show(manifest, *json),
        Action::Compare { one, other, json } => manifest::compare(one, other, *json),
        Action::Export { manifest, npy, txt } => {
            manifest::export(manifest, npy.as_deref(), txt.as_deref())
        }
    }
}

fn make(args: &MakeArgs) -> Result<ExitCode> {
    let (set, chosen) = args.rule.load(args.dataset)?;
    if let Some(path) = &args.out {
        run::atomic::write_json(path, &chosen)?;
        eprintln!("wrote {}", path.display());
    }
    manifest::print(&chosen, Some(&set.train.class_names), args.json)
}
