use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use crate::{
    Error, Result,
    report::training::{
        Files,
        cells::Group,
        section::{section, set_title},
        tables::backbone,
    },
    results::{FinishedRun, Frames, samples},
    run::{Mark, Replaced, RunRecord},
};

/// The report of `runs`: `report.md`, each figure as PNG and SVG, and the tables of the runs
/// ([`Frames::files`]) that every number in it is computed from.
/// Runs are averaged over seeds only; each data set in each class order has its own section.
///
/// # Errors
/// [`Error::Input`] without runs, or if one is there twice; [`Error::Run`] if a figure cannot be drawn.
pub fn training_report(runs: &[FinishedRun]) -> Result<Files> {
    if runs.is_empty() {
        return Err(Error::input("report: no finished run; train first, or name another folder"));
    }
    let mut frames = Frames::of(runs)?;
    let (groups, samples) = (Group::all(runs, &frames)?, samples(runs)?);
    let mut files = Files::new();
    let records: Vec<&RunRecord> = runs.iter().map(|r| &r.record).collect();
    let mut text = head(&records, &groups);
    for group in &groups {
        let section = section(group, &samples)?;
        text.push_str(&section.text);
        files.extend(section.files);
        for (run, places) in &section.places {
            frames.add_picture(run, places)?;
        }
    }
    text.push_str(&protocol(&records)?);
    text.push_str(&origin(&records));
    files.insert(0, ("report.md".into(), text.into_bytes()));
    files.extend(frames.files()?);
    Ok(files)
}

/// The different texts in order, joined.
fn distinct(texts: impl Iterator<Item = String>) -> String {
    texts.collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>().join(", ")
}

fn numbers(values: impl Iterator<Item = usize>) -> String {
    let all: Vec<String> =
        values.collect::<BTreeSet<_>>().iter().map(ToString::to_string).collect();
    all.join(", ")
}

/// How many seeds there are, and whether every cell has them all.
fn seeds_text(records: &[&RunRecord], groups: &[Group]) -> String {
    let seeds: BTreeSet<u64> = records.iter().map(|r| r.recipe.run.seed).collect();
    let list: Vec<String> = seeds.iter().map(u64::to_string).collect();
    if let [one] = list.as_slice() {
        return format!(
            "one seed ({one}): no spread can be given, and small differences mean nothing"
        );
    }
    let sizes = || groups.iter().flat_map(|g| g.cells.iter().map(|c| c.seeds));
    let uneven = match sizes().min() {
        Some(least) if least < seeds.len() => {
            format!("; not every row has all of them (the fewest: {least})")
        }
        _ => String::new(),
    };
    format!("{} seeds ({}): mean ± sample standard deviation{uneven}", list.len(), list.join(", "))
}

fn head(records: &[&RunRecord], groups: &[Group]) -> String {
    let synthetic = records.iter().any(|r| r.is_synthetic());
    let sets = distinct(records.iter().map(|r| set_title(r.recipe.data.set).to_owned()));
    let warning = if synthetic {
        " - on GENERATED images, not on the real data set\n\nThe images were generated (`--data synthetic`): \
         the numbers show that the pipeline works and say nothing about the data set whose format they take.\n"
    } else if records.iter().any(|r| r.is_unverified()) {
        " - on UNVERIFIED images\n\nThe images were not compared with the published data set (`--unverified`), only read in \
         its format: the numbers are those of other images and do not belong beside published ones.\n"
    } else {
        "\n"
    };
    format!(
        "# {sets}: methods for long-tailed recognition{warning}\n{} runs; encoder and width of its features: {}; {} epochs; \
         batches of {} images; {}. Accuracies are top-1 in percent on the balanced test set after the last epoch; the best \
         epoch, where there was a choice, was chosen on test images and stands apart for comparison with work that reports it. Many, medium and few \
         are means of class accuracies over classes with more than 100, 20 to 100, and fewer than 20 training images.\n\n",
        records.len(),
        distinct(records.iter().map(|r| backbone(r))),
        numbers(records.iter().map(|r| r.epochs.len())),
        numbers(records.iter().map(|r| r.recipe.optim.batch_size)),
        seeds_text(records, groups),
    )
}

/// A value that some runs have, and what the recipe file said in its place, where that is known.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Setting {
    value: String,
    replaced: Option<Replaced>,
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.value)?;
        match &self.replaced {
            Some(r) => write!(f, " ({}: {})", r.mark.name(), r.was),
            None => Ok(()),
        }
    }
}

/// "`optim.epochs` = 8 (released: 400)": the values of every key that carries `mark` in some run, and
/// in how many if not in all.
fn marked(records: &[&RunRecord], mark: Mark) -> Result<String> {
    let mut by_key: BTreeMap<&str, (usize, BTreeSet<Setting>)> = BTreeMap::new();
    for r in records {
        let values = r.recipe.values()?;
        for key in r.marks.with(mark) {
            let value = values.get(key).cloned().unwrap_or_default();
            let (runs, settings) = by_key.entry(key).or_default();
            *runs += 1;
            settings.insert(Setting { value, replaced: r.marks.replaced(key).cloned() });
        }
    }
    let row = |(key, (runs, settings)): (&str, (usize, BTreeSet<Setting>))| {
        let all: Vec<String> = settings.iter().map(Setting::to_string).collect();
        let some = match runs == records.len() {
            true => String::new(),
            false => format!(" in {runs} of {} runs", records.len()),
        };
        format!("`{key}` = {}{some}", all.join(" / "))
    };
    let rows: Vec<String> = by_key.into_iter().map(row).collect();
    Ok(if rows.is_empty() { "none".into() } else { rows.join(", ") })
}

/// What differs from the published protocol, from the marks of the recipes.
fn protocol(records: &[&RunRecord]) -> Result<String> {
    Ok(format!(
        "## What differs from the published protocol\n\n* Set by the preset or on the command line (in parentheses: the \
         recipe's value and where it comes from, if the run recorded it): {}.\n* Not known from the paper or the \
         released code, and assumed: {}.\n\n",
        marked(records, Mark::Changed)?,
        marked(records, Mark::Assumed)?
    ))
}

fn skipped_text([train, test]: [usize; 2]) -> String {
    match train + test {
        0 => String::new(),
        _ => format!(
            ", of which {train} (and {test} test images) cannot be decoded and are left out"
        ),
    }
}

fn threads(n: usize) -> String {
    if n == 1 { "1 thread".into() } else { format!("{n} threads") }
}

fn origin(records: &[&RunRecord]) -> String {
    let line = |r: &&RunRecord| {
        let p = &r.provenance;
        format!(
            "rescom {} ({}), libtorch {}, {} with {}; training images with SHA-256 {}{}; made by \
             `rescom-repro {}`",
            p.version,
            p.commit,
            p.libtorch,
            p.device,
            threads(p.torch_threads),
            p.data_sha256.get(..12).unwrap_or(&p.data_sha256),
            skipped_text(p.skipped_pictures),
            p.command.get(1..).unwrap_or_default().join(" ")
        )
    };
    let lines: BTreeSet<String> = records.iter().map(line).collect();
    let skipped: usize = records.iter().flat_map(|r| r.provenance.skipped_pictures).sum();
    let skipped = match skipped {
        0 => "",
        _ => {
            " Some runs left out pictures that cannot be decoded: `skipped-pictures.txt` in their folders."
        }
    };
    let seconds: f64 = records.iter().map(|r| r.seconds).sum();
    format!(
        "## Where this comes from\n\n{}\n\nTraining and evaluation of all runs took {seconds:.0} s. Each run's folder \
         holds its recipe, subset manifest, records and checkpoints. In the CSV files accuracies and errors are \
         fractions, not percent.{skipped}\n",
        lines.iter().map(|l| format!("* {l}")).collect::<Vec<_>>().join("\n"),
    )
}
