//! `--dry-run`: the plan of a sweep, and how long it will take here.

use std::{process::ExitCode, time::Instant};

use rescom::{
    Error, Result,
    data::SYNTHETIC_TEST_IMAGES,
    run::Recipe,
    train::fit::{
        calibrate::{self, Cost, Kind},
        images,
    },
};
use serde::Serialize;

use crate::plan::{DryRun, PlanRequest, PlannedRun};

/// One run as `--json` prints it.
#[derive(Serialize)]
struct Line<'a> {
    #[serde(flatten)]
    run: &'a PlannedRun,
    train_images: u64,
    steps_per_epoch: usize,
    /// Null with `--dry-run=plan`.
    expected_seconds: Option<f64>,
}

/// Prints the plan.
pub(crate) fn run(
    request: &PlanRequest,
    runs: &[PlannedRun],
    how: DryRun,
    threads: usize,
) -> Result<ExitCode> {
    let mut costs = Costs { request, threads, known: Vec::new(), seconds: 0.0 };
    let mut total = 0.0;
    for run in runs {
        let (steps, images) = match request.source.listed(run.recipe.data.set)? {
            Some((images, classes)) => {
                run.check(classes)?;
                (images::steps(&run.recipe, images)?, images)
            }
            None => images::size(&run.recipe)?,
        };
        let seconds = match how {
            DryRun::Plan => None,
            DryRun::Measure => Some(costs.of(&run.recipe, steps)?),
        };
        total += seconds.unwrap_or(0.0);
        if request.args.json {
            let line = Line {
                run,
                train_images: images,
                steps_per_epoch: steps,
                expected_seconds: seconds,
            };
            let line = serde_json::to_string(&line)
                .map_err(|e| Error::run(format!("plan as JSON: {e}")))?;
            println!("{line}");
        } else {
            println!(
                "{}: {images} training images, {} epochs of {steps} steps of {} views{}",
                run.id,
                run.recipe.optim.epochs,
                run.recipe.optim.batch_size * run.recipe.loss.views(),
                seconds.map(|s| format!(", {}", about(s))).unwrap_or_default()
            );
        }
    }
    if !request.args.json {
        if let Some(note) = request.source.assumed_images() {
            println!("{note}");
        }
        let number = counted(runs.len(), "run");
        println!("{number}{} into {}", costs.words(total), request.out().display());
    }
    Ok(ExitCode::SUCCESS)
}

/// What was measured so far.
struct Costs<'a> {
    request: &'a PlanRequest,
    threads: usize,
    known: Vec<(Kind, usize, Cost)>,
    /// Spent on measuring.
    seconds: f64,
}

impl Costs<'_> {
    /// Seconds of a run; measures if no run of this kind was measured before.
    fn of(&mut self, recipe: &Recipe, steps: usize) -> Result<f64> {
        let kind = Kind::of(recipe);
        let at = match self.known.iter().position(|(known, ..)| *known == kind) {
            Some(at) => at,
            None => {
                let start = Instant::now();
                eprintln!("measuring {} on {}", recipe.method.name, recipe.data.set.name());
                let cost = calibrate::measure(recipe, &self.request.args.device, self.threads)?;
                self.seconds += start.elapsed().as_secs_f64();
                self.known.push((kind, recipe.optim.batch_size, cost));
                self.known.len() - 1
            }
        };
        let test = match self.request.source.is_synthetic() {
            true => SYNTHETIC_TEST_IMAGES,
            false => recipe.data.set.test_images(),
        };
        Ok(self.known[at].2.of_run(recipe, steps, test))
    }

    /// ", about 5 h 10 min on cpu, 2 threads (measured with 3 steps ...)".
    fn words(&self, total: f64) -> String {
        let Some((.., cost)) = self.known.first() else { return String::new() };
        let fewest = self.known.iter().map(|(.., c)| c.steps).min().unwrap_or(0);
        let scaled = self.known.iter().filter(|(_, batch, cost)| cost.batch < *batch);
        let scaled = scaled.min_by_key(|(.., cost)| cost.batch);
        let scaled = match scaled {
            Some((_, full, cost)) => {
                format!(
                    ", with batches of {} scaled up to {full} where those take long",
                    cost.batch
                )
            }
            None => String::new(),
        };
        format!(
            ", {} on {}, {} (measured with {} of {} of run in {:.0} s{scaled}{}; reading data and drawing the \
             report not included)",
            about(total),
            cost.device,
            counted(self.threads, "thread"),
            counted(fewest, "step"),
            counted(self.known.len(), "kind"),
            self.seconds,
            load()
        )
    }
}

/// What else the machine was doing, where the system tells (Linux) and it was too much: a measurement
/// beside other work says what a run would take beside that work.
fn load() -> String {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = text.split(' ').next().and_then(|n| n.parse::<f64>().ok());
    match load.filter(|load| *load > 1.25 * cores as f64) {
        Some(load) => format!(", on a busy machine: load {load:.1} on {}", counted(cores, "core")),
        None => String::new(),
    }
}

/// "1 run", "2 runs".
fn counted(n: usize, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

/// "about 5 h 10 min": two units at most.
fn about(seconds: f64) -> String {
    let minutes = (seconds / 60.0).round() as u64;
    let (days, hours) = (minutes / 1440, minutes / 60 % 24);
    match (days, hours) {
        (0, 0) if seconds < 90.0 => format!("about {seconds:.0} s"),
        (0, 0) => format!("about {minutes} min"),
        (0, hours) => format!("about {hours} h {} min", minutes % 60),
        (days, hours) => format!("about {days} d {hours} h"),
    }
}

#[cfg(test)]
mod tests {
    use super::about;

    #[test]
    fn times_are_said_in_two_units_at_most() {
        for (seconds, said) in [
            (7.4, "about 7 s"),
            (89.0, "about 89 s"),
            (100.0, "about 2 min"),
            (3599.0, "about 1 h 0 min"),
            (18_600.0, "about 5 h 10 min"),
            (864_000.0, "about 10 d 0 h"),
        ] {
            assert_eq!(about(seconds), said);
        }
    }
}
