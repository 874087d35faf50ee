//! What the commands that work on a finished run have in common: its images and its device.

use std::{path::Path, sync::atomic::AtomicBool};

use clap::Args;
use rescom::{
    Error, Result,
    run::RecordedSource,
    train::{self, SavedRun},
};

use crate::{
    images::{Checking, Images, Source},
    sweep_commands::plan_of,
    terminal,
};

/// Where the images are and what computes.
#[derive(Args)]
pub(crate) struct MachineArgs {
    /// Folder with the data set, or `synthetic` [default: as in the run's training].
    #[arg(long, value_name = "DIR")]
    data: Option<String>,
    /// auto, cpu or cuda:N.
    #[arg(long, default_value = "auto")]
    pub(crate) device: String,
    /// Threads for image loading and for libtorch [default: those of the training, with which results on
    /// the CPU repeat bit for bit].
    #[arg(long)]
    threads: Option<usize>,
}

impl MachineArgs {
    /// Threads to compute with, which libtorch is told here.
    pub(crate) fn threads(&self, run: &SavedRun) -> Result<usize> {
        let threads = match self.threads {
            Some(n) => terminal::threads(n)?,
            None => run.provenance.torch_threads.max(1),
        };
        train::set_threads(threads);
        Ok(threads)
    }

    /// Loads the images that the run was trained and evaluated on.
    pub(crate) fn images(&self, run: &SavedRun) -> Result<Images> {
        let set = run.recipe.data.set;
        // Generated images follow from their number alone: as many as the subset reaches to.
        let classes = run.counts.classes();
        let generated = run.largest_id().map(|id| id as usize / classes + 1);
        let source = match (&run.provenance.data_source, &self.data) {
            (RecordedSource::Typed(source), None) => source.clone(),
            (RecordedSource::Typed(source), Some(folder)) => {
                Source::like(set, source).in_folder(folder.clone()).locate(set, generated)?
            }
            (RecordedSource::Words(_), None) => of_old_record(run).locate(set, generated)?,
            (RecordedSource::Words(_), Some(folder)) => {
                of_old_record(run).in_folder(folder.clone()).locate(set, generated)?
            }
        };
        // The sweep's folder holds what its check of pictures found.
        let checking = Checking {
            out: run.dir.path().parent().unwrap_or(Path::new(".")),
            threads: run.provenance.torch_threads.max(1),
            stop: &AtomicBool::new(false),
        };
        let images = Images::load(source, set, &checking)?
            .ok_or_else(|| Error::run("the check of the pictures was stopped"))?;
        self.same_images(run, &images)?;
        Ok(images)
    }

    /// Refuses images that only happen to be there; those named with `--data` are taken with a warning.
    fn same_images(&self, run: &SavedRun, images: &Images) -> Result<()> {
        let then = &run.provenance;
        // Of a generated set more images may have been made than the run has: the first ones are the same.
        let generated = then.data_source.is_generated()
            && then.data_source.to_string() == images.source.to_string();
        if generated || then.data_sha256 == images.train.sha256() {
            return Ok(());
        }
        let what = format!(
            "the run was trained on images from \"{}\", these are other ones, from \"{}\"",
            then.data_source, images.source
        );
        if self.data.is_some() {
            eprintln!("{}: {what}", run.id);
            return Ok(());
        }
        Err(Error::input(format!("{}: {what}; name the right ones with --data", run.id)))
    }
}

/// Where the images of a run are whose record names them in words alone, as those up to commit ec519f4 do:
/// where the command line of its training says, else the usual place. Newer records say it in full and
/// never come here.
fn of_old_record(run: &SavedRun) -> Source {
    let plan = plan_of(run.training_command());
    plan.map_or_else(|| Source::usual(run.recipe.data.set), |plan| plan.source)
}

/// Refuses to write what is read: `out` must not be `input`.
pub(crate) fn apart(out: &Path, input: &Path) -> Result<()> {
    match (out.canonicalize(), input.canonicalize()) {
        (Ok(a), Ok(b)) if a == b => Err(Error::input(format!(
            "{}: would overwrite its own input; write to another file",
            out.display()
        ))),
        _ => Ok(()),
    }
}

/// Says on standard error what a person should know of `run`.
pub(crate) fn warn(run: &Path) -> impl FnMut(&str) {
    move |text| eprintln!("{}: {text}", run.display())
}

/// Pretty JSON on standard output.
pub(crate) fn print_json<T: serde::Serialize>(value: &T) -> Result<()> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|e| Error::run(format!("cannot express the result as JSON: {e}")))?;
    println!("{text}");
    Ok(())
}
