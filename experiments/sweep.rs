//! Makes the runs of a plan, one after the other, and then the report.

use std::{
    collections::BTreeSet,
    process::ExitCode,
    sync::{Arc, atomic::AtomicBool},
    thread,
};

use rescom::{
    Error, Result,
    run::{RunDir, RunRecord},
    train::{self, DeviceName, Job, Outcome, fit::images, fit_one_stage},
};

use crate::{
    dry_run,
    guard::guarded,
    images::{Checking, Images},
    interrupt,
    plan::{DryRun, PlanRequest, PlannedRun},
    progress, report, terminal,
};

/// Runs the command.
pub(crate) fn run(request: &PlanRequest) -> Result<ExitCode> {
    let runs = request.runs()?;
    let threads = threads(request.args.threads)?;
    let device: DeviceName = request.args.device.parse()?;
    // A plan may be made for another machine.
    if request.args.dry_run != Some(DryRun::Plan) {
        device.check()?;
    }
    let remarks: BTreeSet<String> = runs.iter().filter_map(|run| run.recipe.remark()).collect();
    remarks.iter().for_each(|remark| eprintln!("note: {remark}"));
    if let Some(how) = request.args.dry_run {
        return dry_run::run(request, &runs, how, threads);
    }
    let stop = interrupt::watch()?;
    // What can be known to be wrong is said before hours of training, not after them.
    for run in &runs {
        train::inspect(&request.out().join(&run.id), &run.recipe)?;
    }
    let mut sweep = Sweep { request, runs: &runs, threads, stop, images: None };
    let (mut records, mut failed) = (Vec::new(), Vec::<(&str, String)>::new());
    for (number, run) in runs.iter().enumerate() {
        match sweep.make(number, run) {
            Ok(Outcome::Finished(record)) => records.push(*record),
            Ok(Outcome::Stopped { epoch }) => {
                eprintln!(
                    "stopped; {} is saved up to epoch {epoch}. The same command again goes on from there.",
                    run.id
                );
                return Ok(ExitCode::from(interrupt::EXIT_CODE));
            }
            Err(Error::Run(e)) => {
                eprintln!("{} failed: {e}", run.id);
                failed.push((&run.id, e));
            }
            // Bad input, or a disk that takes no files, would fail the next run as well.
            Err(e) => return Err(cut_short(request, &records, e)),
        }
    }
    finish(request, &records, &failed)
}

/// A sweep under way.
struct Sweep<'a> {
    request: &'a PlanRequest,
    runs: &'a [PlannedRun],
    threads: usize,
    stop: &'a AtomicBool,
    images: Option<Images>,
}

impl Sweep<'_> {
    /// Makes one run, unless it was made before.
    fn make(&mut self, number: usize, run: &PlannedRun) -> Result<Outcome> {
        let title = format!("{}/{} {}", number + 1, self.runs.len(), run.id);
        let before = |record| {
            eprintln!("{title}: finished before");
            Ok(Outcome::Finished(Box::new(record)))
        };
        let folder = self.request.out().join(&run.id);
        // Without the lock: a finished run is only read, perhaps from where nothing can be written.
        let old = RunDir::existing(&folder, &run.recipe)?;
        if let Some(record) = old.map(|dir| dir.record()).transpose()?.flatten() {
            return before(record);
        }
        // Before there is a folder: one without a run in it would only be in the way.
        let Some(images) = self.images(run)? else { return Ok(Outcome::Stopped { epoch: 0 }) };
        let dir = RunDir::open(&folder, &run.recipe)?;
        let _lock = dir.lock()?;
        if let Some(record) = dir.record()? {
            return before(record);
        }
        let job = Job {
            id: &run.id,
            recipe: &run.recipe,
            marks: &run.marks,
            dir: &dir,
            train: Arc::clone(&images.train),
            test: Arc::clone(&images.test),
            source: &images.source,
            device: &self.request.args.device,
            threads: self.threads,
            command: terminal::words(),
        };
        let mut progress = progress::RunProgress::new(title, &dir);
        let done = guarded(|| fit_one_stage(&job, &mut progress, self.stop));
        if let Err(e) = &done {
            dir.log(&format!("failed: {e}"));
        }
        done
    }

    /// Checks every run of the plan before the first one trains: those on the set of `images` against what
    /// is really there, those on other sets against what is published of them.
    fn check_runs(&self, images: &Images) -> Result<()> {
        for run in self.runs {
            let set = run.recipe.data.set;
            let (classes, here) = match set == images.set {
                true => (images.train.classes(), Some(images.train.usable().len())),
                false => (set.classes(), None),
            };
            run.check(classes)?;
            match here.filter(|_| set.long_tailed_images().is_some()) {
                Some(there) => images::steps(&run.recipe, there as u64).map(drop)?,
                None => images::size(&run.recipe).map(drop)?,
            }
        }
        Ok(())
    }

    /// The images of `run`, which it shares with other runs of its set; none after Ctrl-C while pictures
    /// were checked.
    fn images(&mut self, run: &PlannedRun) -> Result<Option<Images>> {
        let set = run.recipe.data.set;
        if self.images.as_ref().is_none_or(|there| there.set != set) {
            // Those of another set are freed first.
            self.images = None;
            let out = self.request.out();
            let checking = Checking { out: &out, threads: self.threads, stop: self.stop };
            // Of generated images no more than any run on this set asks for.
            let same_set = self.runs.iter().map(|r| &r.recipe.data).filter(|d| d.set == set);
            let most = same_set.map(|d| d.images_per_class as usize).max();
            let source = self.request.source.locate(set, most)?;
            self.images = Images::load(source, set, &checking)?;
            if let Some(images) = &self.images {
                self.check_runs(images)?;
            }
        }
        Ok(self.images.clone())
    }
}

/// The error that ends a sweep early, after the report of what is finished.
fn cut_short(request: &PlanRequest, records: &[RunRecord], error: Error) -> Error {
    if records.is_empty() && error.exit_code() == 2 {
        return error;
    }
    let reported = !records.is_empty() && report::write_folder(&request.out()).is_ok();
    let finished = match records.len() {
        0 => String::new(),
        1 => "1 run is finished".to_owned(),
        n => format!("{n} runs are finished"),
    };
    let text = format!(
        "{error}; {finished}{}{}the same command goes on after the last finished epoch once this is mended",
        if reported { " and in the report" } else { "" },
        if records.is_empty() { "" } else { ", and " },
    );
    if error.exit_code() == 2 { Error::input(text) } else { Error::run(text) }
}

fn finish(
    request: &PlanRequest,
    records: &[RunRecord],
    failed: &[(&str, String)],
) -> Result<ExitCode> {
    if !records.is_empty() {
        let path = report::write_folder(&request.out())?;
        if request.args.json {
            report::print_json(records)?;
        } else {
            println!("{}", path.display());
        }
    }
    let why = match failed {
        [] => return Ok(ExitCode::SUCCESS),
        [(id, why)] => format!("{id}: {why}"),
        [(id, why), ..] => {
            let all: Vec<&str> = failed.iter().map(|(id, _)| *id).collect();
            format!("{} (each log.txt says why; the first, {id}: {why})", all.join(", "))
        }
    };
    let others = if records.is_empty() { "" } else { ", the others are in the report" };
    let all = failed.len() + records.len();
    Err(Error::run(format!("{} of {all} runs failed{others}: {why}", failed.len())))
}

fn threads(asked: Option<usize>) -> Result<usize> {
    match asked {
        Some(n) => terminal::threads(n),
        None => Ok(thread::available_parallelism().map_or(1, std::num::NonZero::get)),
    }
}
