//! Makes the runs of a plan, one after the other, and then the report.

use std::{process::ExitCode, sync::Arc};

use rescom::{
    Error, Result,
    data::{self, ImageSource, Place, cifar::Check},
    run::{DataSetId, RunDir},
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
    let mut images: Option<Images> = None;
    let (mut records, mut failed) = (Vec::new(), Vec::new());
    for (number, run) in runs.iter().enumerate() {
        let dir = RunDir::open(&out.join(&run.id), &run.recipe)?;
        let _lock = dir.lock()?;
        if let Some(record) = dir.record()? {
            eprintln!("{}/{} {}: finished before", number + 1, runs.len(), run.id);
            records.push(record);
            continue;
        }
        let images = match images.take().filter(|i| i.set == run.recipe.data.set) {
            Some(there) => images.insert(there),
            None => images.insert(Images::load(run, &runs, request.data.as_deref())?),
        };
        let job = Job {
            id: &run.id,
            recipe: &run.recipe,
            marks: &run.marks,
            dir: &dir,
            train: Arc::clone(&images.train),
            test: Arc::clone(&images.test),
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

/// The images of one data set, shared by its runs.
struct Images {
    set: DataSetId,
    train: Arc<dyn ImageSource>,
    test: Arc<dyn ImageSource>,
}

impl Images {
    fn load(run: &PlannedRun, plan: &[PlannedRun], data: Option<&str>) -> Result<Self> {
        let set = run.recipe.data.set;
        let mut place = Place::from_option(data);
        if let Place::Synthetic { train_per_class, .. } = &mut place {
            // No more than any run of the plan asks for.
            *train_per_class = plan.iter().map(|r| r.recipe.data.images_per_class as usize).max();
        }
        let loaded = data::load(set, place, Check::Published, &mut progress::of_data())?;
        Ok(Self { set, train: Arc::new(loaded.train), test: Arc::new(loaded.test) })
    }
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
