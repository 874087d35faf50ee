//! From arguments to a list of runs, each with its resolved recipe.

use std::{path::PathBuf, str::FromStr};

use clap::{Args, ValueEnum};
use rescom::{
    Error, Result,
    longtail::ClassOrder,
    run::{DataSetId, Marks, Method, MethodLabel, Recipe, RecipeFile},
    train::losses,
};
use serde::Serialize;
use toml::Value;

use crate::images::Source;

/// For sets of which a long-tailed subset is chosen.
#[derive(Args, Clone)]
struct FactorArgs {
    /// Imbalance factors n_max/n_min, at least 1.
    #[arg(long, value_delimiter = ',', default_value = "10,50,100")]
    imb: Vec<f64>,
}

/// Arguments that every sweep takes.
#[derive(Args, Clone)]
pub(crate) struct SweepArgs {
    /// Methods: ce, balanced-softmax, supcon+bs, moco+bs, rescom, mislas; rescom-no-queue and so on
    /// for ablations (-no-loss, -no-queue, -no-mining, -no-siamese, in this order).
    #[arg(long, value_delimiter = ',', default_value = "ce,balanced-softmax,rescom")]
    pub(crate) methods: Vec<String>,
    /// Seeds; each is a run of its own.
    #[arg(long, value_delimiter = ',', default_value = "0")]
    pub(crate) seeds: Vec<u64>,
    /// A preset of the recipe: quick (minutes, a smoke test with real numbers) or full.
    #[arg(long, default_value = "full")]
    pub(crate) preset: String,
    /// A recipe file instead of the built-in one.
    #[arg(long, value_name = "FILE")]
    pub(crate) recipe: Option<PathBuf>,
    /// Override one value of the recipe, for example optim.epochs=20 (repeatable).
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
    /// Which class is the head: natural, reversed, or seeded:N for a permutation. Which classes are rare decides how hard the tail is. Default: the
    /// recipe's; image lists have their own.
    #[arg(long, value_name = "ORDER")]
    pub(crate) class_order: Option<OrderArg>,
    /// auto, cpu or cuda:N.
    #[arg(long, default_value = "auto")]
    pub(crate) device: String,
    /// fp32 or bf16 (default: the recipe's).
    #[arg(long)]
    pub(crate) precision: Option<String>,
    /// as-described or as-released (default: the recipe's).
    #[arg(long)]
    pub(crate) schedule: Option<String>,
    /// Threads for image loading and for libtorch (default: all cores).
    #[arg(long)]
    pub(crate) threads: Option<usize>,
    /// Folder for runs and report [default: reports/runs/NAME-PRESET].
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// Print the plan with the time to expect, from a short calibration on this machine, and stop;
    /// --dry-run=plan measures nothing. Needs no data set.
    #[arg(long, value_enum, value_name = "HOW", num_args = 0..=1, require_equals = true,
        default_missing_value = "measure")]
    pub(crate) dry_run: Option<DryRun>,
    /// Do only part I of N of the plan (1/4 .. 4/4), for batch systems.
    #[arg(long, value_name = "I/N")]
    pub(crate) shard: Option<String>,
    /// One JSON object per run on standard output instead of text.
    #[arg(long)]
    pub(crate) json: bool,
}

/// How much of a plan is printed.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum DryRun {
    /// With the time to expect.
    Measure,
    /// Runs, images and steps alone.
    Plan,
}

/// `--class-order`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum OrderArg {
    /// Which class is the head.
    Order(ClassOrder),
    /// `seeded` without its seed, which only commands have that were recorded before it had to be given.
    WithoutSeed,
}

impl FromStr for OrderArg {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "seeded" => Ok(Self::WithoutSeed),
            _ => text.parse().map(Self::Order),
        }
    }
}

/// Arguments of `fashion-mnist`.
#[derive(Args)]
#[command(
    after_help = "Example:\n  rescom-repro fashion-mnist --imb 10,50,100 --methods ce,balanced-softmax,rescom --preset quick"
)]
pub(crate) struct FashionArgs {
    #[command(flatten)]
    factors: FactorArgs,
    #[command(flatten)]
    sweep: SweepArgs,
    /// Folder with the four idx files, or `synthetic` for a generated set.
    #[arg(long, value_name = "DIR")]
    data: Option<String>,
    /// Take other images in the same format from --data (no published checksum); the report then says so.
    #[arg(long, requires = "data")]
    unverified: bool,
}

impl FashionArgs {
    /// What to do.
    pub(crate) fn plan(&self) -> PlanRequest {
        PlanRequest {
            name: "fashion-mnist",
            sets: vec![DataSetId::FashionMnist],
            factors: self.factors.imb.clone(),
            recipe: None,
            source: Source::memory(self.data.as_ref(), self.unverified),
            args: self.sweep.clone(),
        }
    }
}

/// The two CIFAR sets.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum CifarArg {
    /// CIFAR-10.
    Cifar10,
    /// CIFAR-100.
    Cifar100,
}

/// Arguments of `cifar`.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  rescom-repro cifar --imb 10,50,100 --dry-run\n  rescom-repro cifar --dataset cifar10 --imb 100 --preset quick --data synthetic"
)]
pub(crate) struct CifarArgs {
    #[command(flatten)]
    factors: FactorArgs,
    #[command(flatten)]
    sweep: SweepArgs,
    /// Data sets.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "cifar10,cifar100")]
    dataset: Vec<CifarArg>,
    /// Folder that holds a CIFAR folder or archive, or `synthetic` for a generated set.
    #[arg(long, value_name = "DIR")]
    data: Option<String>,
    /// Take other images in CIFAR's format (no published checksum); the report then says so.
    #[arg(long)]
    unverified: bool,
}

impl CifarArgs {
    /// What to do.
    pub(crate) fn plan(&self) -> PlanRequest {
        let id = |arg: &CifarArg| match arg {
            CifarArg::Cifar10 => DataSetId::Cifar10,
            CifarArg::Cifar100 => DataSetId::Cifar100,
        };
        PlanRequest {
            name: "cifar",
            sets: self.dataset.iter().map(id).collect(),
            factors: self.factors.imb.clone(),
            recipe: None,
            source: Source::memory(self.data.as_ref(), self.unverified),
            args: self.sweep.clone(),
        }
    }
}

/// A sweep as asked for.
pub(crate) struct PlanRequest {
    /// Name of the command.
    pub(crate) name: &'static str,
    /// Data sets.
    pub(crate) sets: Vec<DataSetId>,
    /// Imbalance factors; one, unused, for sets that are long-tailed themselves.
    pub(crate) factors: Vec<f64>,
    /// Name and text of a built-in recipe other than the set's usual one.
    pub(crate) recipe: Option<(&'static str, &'static str)>,
    /// Where the images come from.
    pub(crate) source: Source,
    /// The common arguments.
    pub(crate) args: SweepArgs,
}

/// One run of the plan.
#[derive(Clone, Serialize)]
pub(crate) struct PlannedRun {
    /// Folder name.
    pub(crate) id: String,
    /// Resolved recipe.
    pub(crate) recipe: Recipe,
    /// Where its values come from.
    pub(crate) marks: Marks,
}

impl PlannedRun {
    /// Checks what it asks of images that have `classes` classes, as its trainer will.
    ///
    /// # Errors
    /// [`Error::Input`] naming the run and what does not fit.
    pub(crate) fn check(&self, classes: usize) -> Result<()> {
        self.recipe.check_for_classes(classes).map_err(|e| match e {
            Error::Input(what) => Error::input(format!("{}: {what}", self.id)),
            other => other,
        })
    }
}

macro_rules! recipe {
    ($name:literal) => {
        ($name, include_str!(concat!("recipes/", $name)))
    };
}

/// The built-in recipe for a data set, of the nearest factor that there is one for.
fn built_in(set: DataSetId, factor: f64) -> (&'static str, &'static str) {
    match set {
        DataSetId::FashionMnist => recipe!("fashion-mnist-lt.toml"),
        DataSetId::Cifar10 if factor >= 75.0 => recipe!("cifar10-lt-imb100.toml"),
        DataSetId::Cifar10 if factor >= 30.0 => recipe!("cifar10-lt-imb50.toml"),
        DataSetId::Cifar10 => recipe!("cifar10-lt-imb10.toml"),
        DataSetId::Cifar100 if factor >= 75.0 => recipe!("cifar100-lt-imb100.toml"),
        DataSetId::Cifar100 if factor >= 30.0 => recipe!("cifar100-lt-imb50.toml"),
        DataSetId::Cifar100 => recipe!("cifar100-lt-imb10.toml"),
        DataSetId::ImagenetLt => recipe!("imagenet-lt-resnet50.toml"),
        DataSetId::Inat18 => recipe!("inat18-resnet50.toml"),
        DataSetId::PlacesLt => recipe!("places-lt-resnet50.toml"),
    }
}

impl PlanRequest {
    /// Folder for runs and report.
    pub(crate) fn out(&self) -> PathBuf {
        let default = || PathBuf::from(format!("reports/runs/{}-{}", self.name, self.args.preset));
        self.args.out.clone().unwrap_or_else(default)
    }

    /// Every run, in the order in which they will be made; with `--shard`, only this part's.
    ///
    /// # Errors
    /// The first argument or recipe value that does not fit.
    pub(crate) fn runs(&self) -> Result<Vec<PlannedRun>> {
        self.check_args()?;
        let methods =
            self.args.methods.iter().map(|m| m.parse()).collect::<Result<Vec<Method>>>()?;
        let mut runs = Vec::new();
        // Seeds outermost: a sweep that is cut short has every method once before any twice.
        for &seed in &self.args.seeds {
            for &set in &self.sets {
                for &factor in &self.factors {
                    for &method in &methods {
                        runs.push(self.one(set, factor, method, seed)?);
                    }
                }
            }
        }
        let mut ids: Vec<&str> = runs.iter().map(|r| r.id.as_str()).collect();
        ids.sort_unstable();
        if let Some(twice) = ids.windows(2).find(|w| w[0] == w[1]) {
            return Err(Error::input(format!(
                "run {} is asked for twice; name each factor, method and seed once",
                twice[0]
            )));
        }
        let (part, parts) = self.shard()?;
        Ok(runs
            .into_iter()
            .enumerate()
            .filter(|(i, _)| i % parts == part)
            .map(|(_, r)| r)
            .collect())
    }

    fn one(&self, set: DataSetId, factor: f64, method: Method, seed: u64) -> Result<PlannedRun> {
        let mut file = match &self.args.recipe {
            Some(path) => {
                let text = std::fs::read_to_string(path).map_err(Error::io("read", path))?;
                RecipeFile::parse(&text, &path.display().to_string())?
            }
            None => {
                let (name, text) = self.recipe.unwrap_or_else(|| built_in(set, factor));
                RecipeFile::parse(text, name)?
            }
        };
        file.preset(&self.args.preset)?;
        let seed_value = i64::try_from(seed)
            .map_err(|_| Error::input(format!("--seeds {seed}: expected at most {}", i64::MAX)))?;
        for (key, value) in [
            ("data.imbalance-factor", Value::Float(factor)),
            ("method.name", Value::String(method.to_string())),
            ("run.seed", Value::Integer(seed_value)),
        ] {
            file.set_choice(key, value)?;
        }
        if let Some(OrderArg::Order(order)) = self.args.class_order {
            file.set("data.class-order", Value::String(order.to_string()))?;
        }
        for (key, value) in
            [("run.precision", &self.args.precision), ("optim.lr-mode", &self.args.schedule)]
        {
            if let Some(value) = value {
                file.set(key, Value::String(value.clone()))?;
            }
        }
        self.args.set.iter().try_for_each(|s| file.set_text(s))?;
        let (recipe, marks) = file.resolve()?;
        losses::check(&recipe.loss)?;
        if recipe.data.set != set {
            let (found, due) = (recipe.data.set.name(), set.name());
            return Err(Error::input(format!(
                "recipe: data.set = {found}: expected {due}, which the command is for"
            )));
        }
        Ok(PlannedRun { id: run_id(&recipe, recipe.method.name.into()), recipe, marks })
    }

    /// Refuses what would be dropped without a word: a value of the recipe that an option of its own says
    /// as well, and a class order where there is none to choose.
    fn check_args(&self) -> Result<()> {
        let order = self.args.class_order;
        if order == Some(OrderArg::WithoutSeed) {
            return Err(Error::input(
                "--class-order seeded: of which seed? Write seeded:N, for example seeded:0",
            ));
        }
        let own = |set: &&DataSetId| set.long_tailed_images().is_some();
        if let (Some(set), Some(_)) = (
            self.sets.iter().find(own),
            order.filter(|o| *o != OrderArg::Order(ClassOrder::Natural)),
        ) {
            return Err(Error::input(format!(
                "--class-order: {} is long-tailed itself, its lists say which class is the head; leave it out",
                set.name()
            )));
        }
        for change in &self.args.set {
            let by = match key_of(change) {
                "method.name" => "--methods",
                "run.seed" => "--seeds",
                "data.imbalance-factor" => "--imb",
                "data.class-order" if order.is_some() => "--class-order",
                "run.precision" if self.args.precision.is_some() => "--precision",
                "optim.lr-mode" if self.args.schedule.is_some() => "--schedule",
                _ => continue,
            };
            return Err(Error::input(format!("--set {change}: {by} says this; leave --set out")));
        }
        Ok(())
    }

    fn shard(&self) -> Result<(usize, usize)> {
        let Some(text) = &self.args.shard else { return Ok((0, 1)) };
        let parsed = text
            .split_once('/')
            .and_then(|(i, n)| Some((i.parse::<usize>().ok()?, n.parse::<usize>().ok()?)));
        match parsed {
            Some((i, n)) if (1..=n).contains(&i) => Ok((i - 1, n)),
            _ => Err(Error::input(format!(
                "--shard {text}: expected I/N, 1 <= I <= N, for example 1/4"
            ))),
        }
    }
}

/// The key of `key=value`.
fn key_of(change: &str) -> &str {
    change.split_once('=').map_or(change, |(key, _)| key).trim()
}

/// Folder name of a run of `recipe`, which is of its method or of stage 2 after it.
pub(crate) fn run_id(recipe: &Recipe, label: MethodLabel) -> String {
    let data = &recipe.data;
    let order = match data.class_order {
        ClassOrder::Natural => String::new(),
        ClassOrder::Seeded(seed) if seed == u64::from(data.subset_seed) => "-seeded".to_owned(),
        other => format!("-{}", other.label()),
    };
    let (set, seed) = (data.set.name(), recipe.run.seed);
    match data.profile {
        // The counts are the set's own; what differs between published runs is the encoder.
        None => {
            format!("{set}-{}{order}-{label}-seed{seed}", recipe.model.arch.name())
        }
        Some(_) => format!("{set}-imb{}{order}-{label}-seed{seed}", data.imbalance_factor),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Wrapper {
        #[command(flatten)]
        fashion: FashionArgs,
    }

    fn request(extra: &[&str]) -> PlanRequest {
        Wrapper::parse_from(["x"].iter().chain(extra)).fashion.plan()
    }

    #[test]
    fn shards_partition_the_plan() {
        let all: Vec<String> =
            request(&["--seeds", "0,1"]).runs().unwrap().into_iter().map(|r| r.id).collect();
        assert_eq!(all.len(), 18);
        let mut parts: Vec<String> = (1..=4)
            .flat_map(|i| {
                request(&["--seeds", "0,1", "--shard", &format!("{i}/4")]).runs().unwrap()
            })
            .map(|r| r.id)
            .collect();
        parts.sort();
        let mut sorted = all;
        sorted.sort();
        assert_eq!(parts, sorted);
    }

    #[test]
    fn what_cannot_be_planned_is_an_input_error() {
        for bad in [
            ["--shard", "5/4"],
            ["--shard", "0/4"],
            ["--imb", "0.01"],
            ["--methods", "resnet"],
            ["--methods", "ce,ce"],
            ["--preset", "slow"],
            ["--set", "contrast.num-neg=100000"],
        ] {
            let e = request(&bad).runs().err().expect("refused");
            assert_eq!(e.exit_code(), 2, "{bad:?}: {e}");
        }
    }
}
