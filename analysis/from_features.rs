//! Measurements on the features of a real network.

use crate::output::{self, CommonArgs};
use ndarray::Array2;
use rescom::contrast::Temperature;
use rescom::report::sim::{observed_files, observed_json};
use rescom::rng::Streams;
use rescom::sim::observe;
use rescom::{Error, Result};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use serde_json::json;
use std::{path::PathBuf, time::Instant};

/// Rows up to which every pair is taken.
const EXACT_ROWS: usize = 8192;

/// Gradient mass, easy pairs and positive similarity on features that were saved.
///
/// FILE holds the tensors `features` [N, D] (float32 or float64), `labels` [N] (int64, int32 or
/// uint8) and, if the shot groups are to follow training counts, `train_counts` [C]. Rows are
/// normalised. Every row is an anchor and every other row a key.
///
/// Example: rescom-sim from-features features.safetensors --temperature 0.1 --json
#[derive(clap::Args)]
pub(crate) struct Args {
    /// A safetensors file.
    file: PathBuf,
    /// Temperature T.
    #[arg(long, default_value_t = 0.2)]
    temperature: f64,
    /// Rows that are kept, drawn per class, if there are more (exact up to 8192).
    #[arg(long, default_value_t = EXACT_ROWS)]
    max_rows: usize,
    #[command(flatten)]
    common: CommonArgs,
}

struct Input {
    features: Array2<f64>,
    labels: Vec<usize>,
    train_counts: Option<Vec<u64>>,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let started = Instant::now();
    let temperature = Temperature::new(args.temperature)?;
    if args.max_rows == 0 {
        return Err(Error::input("--max-rows 0: expected at least 1"));
    }
    let name = args.file.display().to_string();
    let in_file = |e: Error| match e {
        Error::Input(what) => Error::input(format!("{name}: {what}")),
        other => other,
    };
    let bytes = std::fs::read(&args.file).map_err(Error::io("read", &args.file))?;
    let input = parse(&bytes).map_err(in_file)?;
    drop(bytes);
    let rows = input.labels.len();
    let classes = input.labels.iter().max().map_or(0, |m| m + 1);
    // Without training counts, the rows of each class in the file stand in for them.
    let counted = || {
        let mut counts = vec![0; classes];
        input.labels.iter().for_each(|&l| counts[l] += 1);
        counts
    };
    let from_training = input.train_counts.is_some();
    let counts = input.train_counts.clone().unwrap_or_else(counted);
    let input = subsample(input, args.max_rows, &Streams::new(args.common.seed));
    let used = input.labels.len();
    let observed = observe(input.features, &input.labels, &counts, temperature).map_err(in_file)?;
    let source = json!({
        "file": name,
        "rows": rows,
        "rows_used": used,
        "exact": used == rows,
        "classes": counts.len(),
        "temperature": args.temperature,
        "shot_groups_from": if from_training { "train_counts" } else { "labels of the file" },
        "seed": args.common.seed,
    });
    let mut text =
        format!("{used} of {rows} rows, {} classes, loss {:.4}\n", counts.len(), observed.loss);
    for d in &observed.densities {
        let s = &d.similarity;
        text += &format!(
            "{}-shot: mean positive similarity {:.3} over {} pairs\n",
            d.group.name(),
            s.mean,
            s.count
        );
    }
    let runtime = started.elapsed().as_secs_f64();
    args.common.deliver(
        "from-features",
        || observed_files(&observed, &source, &counts, &output::command_line(), runtime),
        || observed_json(&observed, &source),
        &text,
    )
}

fn parse(bytes: &[u8]) -> Result<Input> {
    let file = SafeTensors::deserialize(bytes)
        .map_err(|e| Error::input(format!("not a whole safetensors file ({e:?})")))?;
    let tensor = |name: &str| {
        file.tensor(name).map_err(|_| {
            let names = file.names().into_iter().map(ToString::to_string).collect::<Vec<_>>();
            Error::input(format!("no tensor `{name}`; the file has: {}", names.join(", ")))
        })
    };
    let (features, labels) = (tensor("features")?, tensor("labels")?);
    let [n, d] = features.shape()[..] else {
        return Err(Error::input(format!(
            "features: shape {:?}; expected [N, D]",
            features.shape()
        )));
    };
    if n == 0 || d == 0 {
        return Err(Error::input(format!(
            "features: shape [{n}, {d}]; expected N and D of at least 1"
        )));
    }
    if labels.shape() != [n] {
        return Err(Error::input(format!(
            "labels: shape {:?}; expected [{n}] as features have {n} rows",
            labels.shape()
        )));
    }
    let values = floats(&features)?;
    let features = Array2::from_shape_vec((n, d), values)
        .map_err(|e| Error::input(format!("features: {e}")))?;
    let train_counts = match file.names().contains(&"train_counts") {
        false => None,
        true => Some(counts(&tensor("train_counts")?)?),
    };
    let classes = train_counts.as_ref().map_or(1_000_000, Vec::len);
    let label = |(row, v): (usize, i64)| {
        usize::try_from(v).ok().filter(|l| *l < classes).ok_or_else(|| {
            Error::input(format!("labels: row {row} has label {v}; expected 0..{classes}"))
        })
    };
    let labels =
        integers("labels", &labels)?.into_iter().enumerate().map(label).collect::<Result<_>>()?;
    Ok(Input { features, labels, train_counts })
}

fn counts(tensor: &TensorView<'_>) -> Result<Vec<u64>> {
    let count = |(class, v): (usize, i64)| {
        u64::try_from(v).ok().filter(|n| *n > 0).ok_or_else(|| {
            Error::input(format!("train_counts: class {class} has {v} images; expected at least 1"))
        })
    };
    integers("train_counts", tensor)?.into_iter().enumerate().map(count).collect()
}

fn floats(tensor: &TensorView<'_>) -> Result<Vec<f64>> {
    let data = tensor.data();
    match tensor.dtype() {
        Dtype::F32 => {
            Ok(data.as_chunks().0.iter().map(|b| f64::from(f32::from_le_bytes(*b))).collect())
        }
        Dtype::F64 => Ok(data.as_chunks().0.iter().map(|b| f64::from_le_bytes(*b)).collect()),
        other => Err(Error::input(format!("features: {other:?}; expected float32 or float64"))),
    }
}

fn integers(name: &str, tensor: &TensorView<'_>) -> Result<Vec<i64>> {
    let data = tensor.data();
    match tensor.dtype() {
        Dtype::I64 => Ok(data.as_chunks().0.iter().map(|b| i64::from_le_bytes(*b)).collect()),
        Dtype::I32 => {
            Ok(data.as_chunks().0.iter().map(|b| i64::from(i32::from_le_bytes(*b))).collect())
        }
        Dtype::U8 => Ok(data.iter().map(|b| i64::from(*b)).collect()),
        other => Err(Error::input(format!("{name}: {other:?}; expected int64, int32 or uint8"))),
    }
}

/// Keeps the same share of every class (at least one row each), drawn without replacement.
fn subsample(input: Input, most: usize, streams: &Streams) -> Input {
    use rand::seq::SliceRandom;
    let n = input.labels.len();
    if n <= most {
        return input;
    }
    let classes = input.labels.iter().max().map_or(0, |m| m + 1);
    let mut members: Vec<Vec<usize>> = vec![vec![]; classes];
    input.labels.iter().enumerate().for_each(|(row, &label)| members[label].push(row));
    let mut kept = vec![];
    for (class, rows) in members.iter_mut().enumerate().filter(|(_, r)| !r.is_empty()) {
        rows.shuffle(&mut streams.stream("subsample", &[class as u64]));
        let share = (rows.len() as f64 * most as f64 / n as f64).floor() as usize;
        kept.extend_from_slice(&rows[..share.max(1)]);
    }
    kept.sort_unstable();
    Input {
        features: input.features.select(ndarray::Axis(0), &kept),
        labels: kept.iter().map(|&r| input.labels[r]).collect(),
        train_counts: input.train_counts,
    }
}
