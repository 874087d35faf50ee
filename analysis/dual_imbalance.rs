//! The study of the dual class imbalance: main setup, sweeps, training stages, easy pairs.

use crate::arguments::{FeatureArgs, numbers};
use crate::easy_pairs::EasyArgs;
use crate::memory;
use crate::output::{self, CommonArgs, Progress};
use crate::profile::ProfileArgs;
use clap::ValueEnum;
use rescom::contrast::{HardPairMiner, LossForm};
use rescom::report::sim::{DualResults, dual_files, dual_json, dual_summary};
use rescom::rng::Streams;
use rescom::sim::{KeySource, Setup, SetupParams, SweepAxis, SweepPoint, dual_imbalance, sweep};
use rescom::{Error, Result};

/// The imbalance of anchors and keys: pair frequencies in closed form, and the measured gradient.
///
/// Example: rescom-sim dual-imbalance --classes 10 --imb 10 --json
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    profile: ProfileArgs,
    #[command(flatten)]
    features: FeatureArgs,
    /// Images per batch B; each has two views, and the other 2B-1 rows are keys of every anchor.
    #[arg(long, default_value_t = 128, help_heading = "Batch and queue")]
    batch: usize,
    /// Queue keys per class Q (default 100; 10 above 20 classes, 4 above 200).
    #[arg(long, help_heading = "Batch and queue")]
    keys_per_class: Option<usize>,
    /// Keys of the FIFO queue (default: as many as the class-balanced queue).
    #[arg(long, help_heading = "Batch and queue")]
    fifo_keys: Option<usize>,
    /// Concentration of the smallest class, if tail classes are looser (linear in ln n_c between).
    #[arg(long, allow_negative_numbers = true, help_heading = "Features")]
    tail_concentration: Option<f64>,
    /// b of the effective-number weights of the class-balanced loss.
    #[arg(long, default_value_t = 0.999999, allow_negative_numbers = true, help_heading = "Loss")]
    beta: f64,
    /// Q_p, hardest positives of the queue kept by mining.
    #[arg(long, default_value_t = 10, help_heading = "Loss")]
    mine_pos: usize,
    /// Q_n, hardest negatives of the queue kept by mining.
    #[arg(long, default_value_t = 300, help_heading = "Loss")]
    mine_neg: usize,
    /// Form of the loss that the report leads with.
    #[arg(long, value_enum, default_value_t = Form::Out, help_heading = "Loss")]
    form: Form,
    /// Also measure without any queue.
    #[arg(long, help_heading = "Batch and queue")]
    no_queue: bool,
    /// Independent batches of the main setup.
    #[arg(long, default_value_t = 400, help_heading = "Simulation")]
    batches: usize,
    /// Independent batches per point of a sweep (default: a quarter of --batches).
    #[arg(long, help_heading = "Simulation")]
    sweep_batches: Option<usize>,
    /// NAME=LIST with NAME one of imb, temperature, batch, keys, dim, concentration; may be
    /// repeated with other names; "none" for no sweep. Default: imb=1,2,5,10,20,50,100,200,500,1000.
    #[arg(long, help_heading = "Simulation")]
    sweep: Vec<String>,
    /// Concentrations (training stages) at which the exponents are measured, the last near the limit
    /// of identical positives; "none" for no stages.
    /// [default: 0,64,128,256,512,100000]
    #[arg(long, allow_hyphen_values = true, help_heading = "Simulation")]
    stages: Option<String>,
    #[command(flatten)]
    common: CommonArgs,
}

#[derive(Clone, Copy, ValueEnum)]
enum Form {
    /// Mean over positives outside the logarithm (in use).
    Out,
    /// Sum over positives.
    Sum,
    /// Mean over positives inside the logarithm.
    In,
}

impl Form {
    fn get(self) -> LossForm {
        match self {
            Self::Out => LossForm::Out,
            Self::Sum => LossForm::Sum,
            Self::In => LossForm::In,
        }
    }
}

const STAGE_CONCENTRATIONS: &str = "0,64,128,256,512,100000";
const IMBALANCES: &str = "1,2,5,10,20,50,100,200,500,1000";

/// Study numbers of the random streams.
const MAIN: u64 = 0;
const SWEEPS: u64 = 1_000;
const STAGES: u64 = 100_000;

pub(crate) fn run(args: &Args) -> Result<()> {
    let plan = Plan::new(args)?;
    plan.notes.iter().for_each(|note| eprintln!("note: {note}"));
    let progress = Progress::new(plan.batches());
    let results = plan.run(args, &progress)?;
    let runtime = progress.finish();
    let summary = format!("{}\n{runtime:.1} s; ", dual_summary(&results));
    args.common.deliver(
        "dual-imbalance",
        || dual_files(&results, runtime),
        || dual_json(&results),
        &summary,
    )
}

/// Everything checked before anything is simulated.
struct Plan {
    setup: Setup,
    sweeps: Vec<(SweepAxis, Vec<SweepPoint>)>,
    stages: Vec<(f64, Vec<SweepPoint>)>,
    sources: Vec<KeySource>,
    notes: Vec<String>,
}

impl Plan {
    fn new(args: &Args) -> Result<Self> {
        let setup = setup(args, args.profile.counts()?, args.batches)?;
        let mut sources = vec![KeySource::Fifo, KeySource::ClassBalanced];
        if args.no_queue {
            sources.push(KeySource::None);
        }
        let mut notes = vec![];
        let sweeps = sweeps(args, &mut notes)?;
        let mut stages = vec![];
        let asked = args.stages.as_deref().unwrap_or(STAGE_CONCENTRATIONS);
        if !args.profile.has_imbalance() && args.stages.as_ref().is_some_and(|s| s != "none") {
            return Err(Error::input(format!(
                "--stages {asked}: the counts of {} are fixed, and exponents need several imbalance factors; leave it out, \
                 or use --profile exp or step",
                args.profile.profile
            )));
        }
        if args.profile.has_imbalance() && asked != "none" {
            for kappa in numbers("--stages", asked)? {
                let (points, note) =
                    imbalance_points(args, "--stages", &STAGE_IMBALANCES, Some(kappa))?;
                notes.extend(note.filter(|_| stages.is_empty()));
                stages.push((kappa, points));
            }
        }
        let plan = Self { setup, sweeps, stages, sources, notes };
        let swept = plan.sweeps.iter().flat_map(|(_, points)| points);
        let staged = plan.stages.iter().flat_map(|(_, points)| points);
        fits_into_memory(&plan.setup)?;
        swept.chain(staged).try_for_each(|point| fits_into_memory(&point.setup))?;
        Ok(plan)
    }

    fn batches(&self) -> u64 {
        let of = |points: &[SweepPoint]| {
            points.iter().map(|p| p.setup.params().batches as u64).sum::<u64>()
        };
        self.setup.params().batches as u64
            + self.sweeps.iter().map(|(_, p)| of(p)).sum::<u64>()
            + self.stages.iter().map(|(_, p)| of(p)).sum::<u64>()
    }

    fn run(self, args: &Args, progress: &Progress) -> Result<DualResults> {
        let streams = Streams::new(args.common.seed);
        let step = progress.step("main setup");
        let study = dual_imbalance(&self.setup, &self.sources, true, MAIN, &streams, &step);
        let mut sweeps = vec![];
        for (i, (axis, points)) in self.sweeps.into_iter().enumerate() {
            let first = SWEEPS * (i as u64 + 1);
            let rows =
                measure(&points, &self.sources, true, first, &streams, progress, axis.name());
            sweeps.push((axis, rows));
        }
        let mut stages = vec![];
        for (i, (kappa, points)) in self.stages.into_iter().enumerate() {
            let first = STAGES + SWEEPS * i as u64;
            let queues = [KeySource::Fifo, KeySource::ClassBalanced];
            let rows =
                measure(&points, &queues, false, first, &streams, progress, "training stages");
            stages.push((kappa, rows));
        }
        let easy = EasyArgs::section(&args.features);
        let (easy, easy_by_temperature) = easy.simulate(&args.features, &streams)?;
        Ok(DualResults {
            profile: args.profile.profile.clone(),
            setup: self.setup,
            study,
            form: args.form.get(),
            sweeps,
            stages,
            easy,
            easy_by_temperature,
            notes: self.notes,
            seed: args.common.seed,
            command: output::command_line(),
        })
    }
}

/// A sweep point by point, so that progress counts all its batches.
fn measure(
    points: &[SweepPoint],
    sources: &[KeySource],
    mining: bool,
    first: u64,
    streams: &Streams,
    progress: &Progress,
    name: &str,
) -> Vec<rescom::sim::SweepRow> {
    let one = |(i, point): (usize, &SweepPoint)| {
        let step = progress.step(name);
        sweep(std::slice::from_ref(point), sources, mining, first + i as u64, streams, &step)
    };
    points.iter().enumerate().flat_map(one).collect()
}

/// Of the numbers that are at work at the same time.
fn fits_into_memory(setup: &Setup) -> Result<()> {
    let p = setup.params();
    let asked = format!(
        "--classes {}, --dim {}, --batch {}, --keys-per-class {}, --fifo-keys {}, --batches {}",
        setup.classes(),
        p.dim,
        p.batch,
        p.keys_per_class,
        setup.queue_keys(KeySource::Fifo),
        p.batches
    );
    memory::enough_for(setup.bytes(rayon::current_num_threads()), &asked)
}

fn setup(args: &Args, counts: rescom::longtail::ClassCounts, batches: usize) -> Result<Setup> {
    Setup::new(params(args, counts, batches))
}

fn params(args: &Args, counts: rescom::longtail::ClassCounts, batches: usize) -> SetupParams {
    let default_keys = match counts.classes() {
        0..=20 => 100,
        21..=200 => 10,
        _ => 4,
    };
    SetupParams {
        counts,
        batch: args.batch,
        keys_per_class: args.keys_per_class.unwrap_or(default_keys),
        fifo_keys: args.fifo_keys,
        dim: args.features.dim,
        noise: args.features.noise.get(),
        concentration: args.features.concentration,
        tail_concentration: args.tail_concentration,
        temperature: args.features.temperature,
        beta: args.beta,
        miner: HardPairMiner { num_pos: args.mine_pos, num_neg: args.mine_neg },
        batches,
    }
}

fn sweep_batches(args: &Args) -> usize {
    args.sweep_batches.unwrap_or((args.batches / 4).max(8))
}

/// The sweeps asked for; what has to be said about them is added to `notes`.
fn sweeps(args: &Args, notes: &mut Vec<String>) -> Result<Vec<(SweepAxis, Vec<SweepPoint>)>> {
    if args.sweep == ["none"] {
        return Ok(vec![]);
    }
    let default = [format!("imb={IMBALANCES}")];
    let asked: &[String] = match (&args.sweep[..], args.profile.has_imbalance()) {
        ([], true) => &default,
        (asked, _) => asked,
    };
    let mut sweeps: Vec<(SweepAxis, Vec<SweepPoint>)> = vec![];
    for text in asked {
        let (axis, points, note) = one_sweep(args, text)?;
        if sweeps.iter().any(|(a, _)| *a == axis) {
            let name = axis.name();
            return Err(Error::input(format!(
                "--sweep {text}: {name} is swept twice; give all its values in one list, --sweep {name}=LIST"
            )));
        }
        sweeps.push((axis, points));
        notes.extend(note);
    }
    Ok(sweeps)
}

/// Axis, points, and what has to be said about them.
type OneSweep = (SweepAxis, Vec<SweepPoint>, Option<String>);

fn one_sweep(args: &Args, text: &str) -> Result<OneSweep> {
    if text == "none" {
        return Err(Error::input(
            "--sweep none: stands alone; leave out either it or the other sweeps",
        ));
    }
    let wrong = || {
        let names = SweepAxis::ALL.map(SweepAxis::name).join(", ");
        Error::input(format!(
            "--sweep {text}: expected NAME=LIST with NAME one of {names}, or none"
        ))
    };
    let (name, list) = text.split_once('=').ok_or_else(wrong)?;
    let axis = SweepAxis::ALL.into_iter().find(|a| a.name() == name).ok_or_else(wrong)?;
    let values = numbers(&format!("--sweep {name}"), list)?;
    if axis == SweepAxis::Imbalance {
        let (points, note) = imbalance_points(args, "--sweep imb=", &values, None)?;
        return Ok((axis, points, note));
    }
    let base = params(args, args.profile.counts()?, sweep_batches(args));
    let point = |&value: &f64| {
        let params =
            axis.apply(base.clone(), value).map_err(|e| Error::input(format!("--sweep {e}")))?;
        let asked = |e: Error| Error::input(format!("--sweep {name}={value}: {e}"));
        Ok(SweepPoint { value, setup: Setup::new(params).map_err(asked)? })
    };
    Ok((axis, values.iter().map(point).collect::<Result<_>>()?, None))
}

/// Two decades and the balanced case are enough for an exponent at one stage.
const STAGE_IMBALANCES: [f64; 4] = [2.0, 10.0, 50.0, 200.0];

/// One point per imbalance factor, at concentration `kappa` if it is given.
fn imbalance_points(
    args: &Args,
    flag: &str,
    values: &[f64],
    kappa: Option<f64>,
) -> Result<(Vec<SweepPoint>, Option<String>)> {
    let (counts, note) = args.profile.swept(flag, values)?;
    let point = |counts| {
        let mut params = params(args, counts, sweep_batches(args));
        params.concentration = kappa.unwrap_or(params.concentration);
        // Counts are whole numbers: the slope is taken against the factor they really have.
        Ok(SweepPoint { value: params.counts.imbalance_factor(), setup: Setup::new(params)? })
    };
    Ok((counts.into_iter().map(point).collect::<Result<_>>()?, note))
}
