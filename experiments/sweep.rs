//! Makes the runs of a plan, one after the other, and then the report.

use std::{path::Path, process::ExitCode, sync::Arc};

use rescom::{
    Error, Result,
    data::{
        self, DataSet,
        cifar::{Check, Cifar},
        synthetic::Synthetic,
    },
    run::{DataSetId, Recipe, RunDir},
    train::engine::{self, Job, Outcome},
};

use crate::{
    interrupt,
    plan::{PlanRequest, PlannedRun},
    progress, report,
};

/// Runs the command.
pub(crate) fn run(request: &PlanRequest) -> Result<ExitCode> {
    let runs = request.runs()?;
    if request.args.dry_run {
        return print_plan(request, &runs);
    }
    let stop = interrupt::watch()?;
    let out = request.out();
    let threads = threads(request.args.threads)?;
    let mut loaded: Option<(DataSetId, Arc<DataSet>)> = None;
    let (mut records, mut failed) = (Vec::new(), Vec::new());
    for (number, run) in runs.iter().enumerate() {
        let dir = RunDir::open(&out.join(&run.id), &run.recipe)?;
        let _lock = dir.lock()?;
        if let Some(record) = dir.record()? {
            eprintln!("{}/{} {}: finished before", number + 1, runs.len(), run.id);
            records.push(record);
            continue;
        }
        let set = run.recipe.data.set;
        let data = match &loaded {
            Some((id, data)) if *id == set => Arc::clone(data),
            _ => {
                let data = Arc::new(load(&run.recipe, request.data.as_deref())?);
                loaded = Some((set, Arc::clone(&data)));
                data
            }
        };
        let job = Job {
            id: &run.id,
            recipe: &run.recipe,
            marks: &run.marks,
            dir: &dir,
            data,
            device: &request.args.device,
            threads,
            command: std::env::args().collect(),
        };
        let title = format!("{}/{} {}", number + 1, runs.len(), run.id);
        match engine::fit(&job, &mut progress::RunProgress::new(title, &dir), stop) {
            Ok(Outcome::Finished(record)) => records.push(*record),
            Ok(Outcome::Stopped { epoch }) => {
                eprintln!(
                    "stopped; {} is saved up to epoch {epoch}. The same command again goes on from there.",
                    run.id
                );
                return Ok(ExitCode::from(interrupt::EXIT_CODE));
            }
            // Bad input would fail the next run as well; a failed run need not.
            Err(e) if e.exit_code() == 2 => return Err(e),
            Err(e) => {
                dir.log(&format!("failed: {e}"));
                eprintln!("error: {}: {e}", run.id);
                failed.push(run.id.clone());
            }
        }
    }
    finish(request, &records, &failed)
}

fn finish(
    request: &PlanRequest,
    records: &[rescom::run::RunRecord],
    failed: &[String],
) -> Result<ExitCode> {
    if !records.is_empty() {
        let path = report::write(records, &request.out())?;
        if request.args.json {
            report::print_json(records)?;
        } else {
            println!("{}", path.display());
        }
    }
    if failed.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    Err(Error::run(format!(
        "{} of {} runs failed ({}); their folders hold the log, the others are in the report",
        failed.len(),
        failed.len() + records.len(),
        failed.join(", ")
    )))
}

fn threads(asked: Option<usize>) -> Result<usize> {
    match asked {
        Some(0) => Err(Error::input("--threads 0: expected at least 1")),
        Some(n) => Ok(n),
        None => Ok(std::thread::available_parallelism().map_or(1, std::num::NonZero::get)),
    }
}

/// Test images of each class in a generated set.
const SYNTHETIC_TEST: usize = 50;

/// The images of a data set: generated only if `data` says so, otherwise from the folder it names,
/// or from where the set is looked for.
fn load(recipe: &Recipe, data: Option<&str>) -> Result<DataSet> {
    let set = recipe.data.set;
    if data == Some("synthetic") {
        return synthetic(set, recipe.data.images_per_class as usize);
    }
    let mut progress = progress::of_data();
    let folder = data.map(Path::new);
    match (set, folder) {
        (DataSetId::FashionMnist, _) => data::fashion::load(folder, &mut progress),
        (DataSetId::Cifar10, Some(folder)) => Cifar::Ten.read(folder, Check::Published),
        (DataSetId::Cifar100, Some(folder)) => Cifar::Hundred.read(folder, Check::Published),
        (DataSetId::Cifar10 | DataSetId::Cifar100, None) => Err(Error::input(format!(
            "{}: no images; name the folder that holds the set with --data DIR, or --data synthetic for generated ones",
            set.name()
        ))),
        _ => Err(Error::input(format!(
            "{}: training on folders of large images is not connected yet; cifar and fashion-mnist are",
            set.name()
        ))),
    }
}

/// A generated set of the right number of classes and channels.
fn synthetic(set: DataSetId, train_per_class: usize) -> Result<DataSet> {
    let format = if set == DataSetId::Cifar100 { Cifar::Hundred } else { Cifar::Ten };
    let mut data = Synthetic { format, train_per_class, test_per_class: SYNTHETIC_TEST, seed: 0 }
        .generate()?;
    if set.channels() == 1 {
        (data.train, data.test) = (data.train.grey()?, data.test.grey()?);
    }
    Ok(data)
}

fn print_plan(request: &PlanRequest, runs: &[PlannedRun]) -> Result<ExitCode> {
    for run in runs {
        if request.args.json {
            let line =
                serde_json::to_string(run).map_err(|e| Error::run(format!("plan as JSON: {e}")))?;
            println!("{line}");
        } else {
            let (steps, images) = engine::size(&run.recipe)?;
            println!(
                "{}: {images} training images, {} epochs of {steps} steps of {} views",
                run.id,
                run.recipe.optim.epochs,
                run.recipe.optim.batch_size * run.recipe.method.name.views()
            );
        }
    }
    if !request.args.json {
        println!("{} runs into {}", runs.len(), request.out().display());
    }
    Ok(ExitCode::SUCCESS)
}
