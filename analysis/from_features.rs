//! Measurements on the features of a real network.

use crate::arguments::pair;
use crate::features_file::Saved;
use crate::output::{self, CommonArgs};
use rescom::contrast::Temperature;
use rescom::report::sim::{observed_files, observed_json};
use rescom::rng::Streams;
use rescom::sim::{Observed, observe};
use rescom::{Error, Result};
use serde_json::{Value, json};
use std::{path::PathBuf, time::Instant};

/// Rows up to which every pair is taken.
const EXACT_ROWS: usize = 8192;

/// Gradient mass, easy pairs and positive similarity on features that were saved.
///
/// FILE holds the tensors `features` [N, D] (float32, float64, float16 or bfloat16), `labels` [N] or
/// [N, 1] (integers) and, if the shot groups are to follow training counts, `train_counts` [C]. Rows
/// are normalised. Every row is an anchor and every other row a key.
///
/// Example: rescom-sim from-features features.safetensors --temperature 0.1 --json
#[derive(clap::Args)]
pub(crate) struct Args {
    /// A safetensors file.
    file: PathBuf,
    /// Temperature T.
    #[arg(long, default_value_t = 0.2, allow_negative_numbers = true)]
    temperature: f64,
    /// Rows that are kept if there are more, drawn per class, at least two of a class (exact up to
    /// 8192).
    #[arg(long, default_value_t = EXACT_ROWS)]
    max_rows: usize,
    /// Q_p,Q_n of mining; may be repeated.
    #[arg(long, default_values_t = ["10,100".to_string(), "10,300".into(), "50,300".into()])]
    mine: Vec<String>,
    #[command(flatten)]
    common: CommonArgs,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let started = Instant::now();
    let temperature = Temperature::new(args.temperature)?;
    if args.max_rows < 2 {
        let n = args.max_rows;
        return Err(Error::input(format!(
            "--max-rows {n}: expected at least 2, an anchor and a key"
        )));
    }
    let mining = args.mine.iter().map(|m| pair(m)).collect::<Result<Vec<_>>>()?;
    let name = args.file.display().to_string();
    let in_file = |e: Error| match e {
        Error::Input(what) => Error::input(format!("{name}: {what}")),
        other => other,
    };
    let bytes = std::fs::read(&args.file).map_err(Error::io("read", &args.file))?;
    let saved = Saved::read(&bytes, args.max_rows, &Streams::new(args.common.seed));
    let mut saved = saved.map_err(in_file)?;
    drop(bytes);
    let features = std::mem::take(&mut saved.features);
    let Saved { labels, counts, .. } = &saved;
    let observed = observe(features, labels, counts, temperature, &mining).map_err(in_file)?;
    let source = source(args, &saved, &observed);
    let runtime = started.elapsed().as_secs_f64();
    args.common.deliver(
        "from-features",
        || observed_files(&observed, &source, counts, &output::command_line(), runtime),
        || observed_json(&observed, &source),
        &summary(&saved, &observed),
    )
}

/// Classes whose rows are measured.
fn classes_used(observed: &Observed) -> usize {
    observed.shots.iter().map(|s| s.classes).sum()
}

/// What is said of the input.
fn source(args: &Args, saved: &Saved, observed: &Observed) -> Value {
    json!({
        "file": args.file.display().to_string(),
        "rows": saved.rows,
        "rows_used": saved.labels.len(),
        "exact": saved.labels.len() == saved.rows,
        "classes": saved.counts.len(),
        "classes_with_rows": saved.classes_with_rows,
        "classes_used": classes_used(observed),
        "temperature": args.temperature,
        "shot_groups_from":
            if saved.counts_from_training { "train_counts" } else { "labels of the file" },
        "seed": args.common.seed,
    })
}

/// What a terminal shows.
fn summary(saved: &Saved, observed: &Observed) -> String {
    let (used, of) = (saved.labels.len(), saved.rows);
    let mut text =
        format!("{used} of {of} rows, {} classes, loss {:.4}\n", saved.counts.len(), observed.loss);
    if used < of {
        text += &format!(
            "rows drawn per class, at least two of a class that has them, from {} of {} classes\n",
            classes_used(observed),
            saved.classes_with_rows
        );
    }
    for d in &observed.densities {
        let (group, s) = (d.group.name(), &d.similarity);
        text += &if s.count > 0 {
            format!("{group}-shot: mean positive similarity {:.3} over {} pairs\n", s.mean, s.count)
        } else {
            format!("{group}-shot: no positive pairs\n")
        };
    }
    text
}
