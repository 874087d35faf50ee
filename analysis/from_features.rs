//! Measurements on the features of a real network.

use crate::output::{self, CommonArgs};
use ndarray::Array2;
use rand::seq::SliceRandom;
use rescom::contrast::Temperature;
use rescom::report::sim::{observed_files, observed_json};
use rescom::rng::Streams;
use rescom::sim::{MOST_CLASSES, check_finite, observe};
use rescom::{Error, Result};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use serde_json::json;
use std::{collections::BTreeSet, path::PathBuf, time::Instant};

/// Rows up to which every pair is taken.
const EXACT_ROWS: usize = 8192;

/// Gradient mass, easy pairs and positive similarity on features that were saved.
///
/// FILE holds the tensors `features` [N, D] (any float type), `labels` [N] (any integer type) and, if the
/// shot groups are to follow training counts, `train_counts` [C]. Rows are normalised. Every row is an
/// anchor and every other row a key.
///
/// Example: rescom-sim from-features features.safetensors --temperature 0.1 --json
#[derive(clap::Args)]
pub(crate) struct Args {
    /// A safetensors file.
    file: PathBuf,
    /// Temperature T.
    #[arg(long, default_value_t = 0.2)]
    temperature: f64,
    /// Rows that are kept if there are more (exact up to 8192): the same share of each class, but at least two
    /// where it has them, and whole classes left out where there are too many for that.
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
    check_finite(&input.features).map_err(in_file)?;
    let input = subsample(input, args.max_rows, &Streams::new(args.common.seed));
    let used = input.labels.len();
    let classes_used = input.labels.iter().collect::<BTreeSet<_>>().len();
    let observed = observe(input.features, &input.labels, &counts, temperature).map_err(in_file)?;
    let source = json!({
        "file": name,
        "rows": rows,
        "rows_used": used,
        "exact": used == rows,
        "classes_used": classes_used,
        "classes": counts.len(),
        "temperature": args.temperature,
        "shot_groups_from": if from_training { "train_counts" } else { "labels of the file" },
        "seed": args.common.seed,
    });
    let mut text =
        format!("{used} of {rows} rows, {} classes, loss {:.4}\n", counts.len(), observed.loss);
    for d in observed.densities.iter().filter(|d| d.similarity.count > 0) {
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
    if !matches!(labels.shape(), [rows] | [rows, 1] if *rows == n) {
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
    let classes = train_counts.as_ref().map_or(MOST_CLASSES, Vec::len);
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

/// The values of a tensor of floats; none if it is of another type.
fn as_floats(tensor: &TensorView<'_>) -> Option<Vec<f64>> {
    let data = tensor.data();
    fn all<const N: usize>(data: &[u8], value: impl Fn([u8; N]) -> f64) -> Option<Vec<f64>> {
        Some(data.as_chunks::<N>().0.iter().map(|b| value(*b)).collect())
    }
    match tensor.dtype() {
        Dtype::F64 => all(data, f64::from_le_bytes),
        Dtype::F32 => all(data, |b| f32::from_le_bytes(b).into()),
        Dtype::F16 => all(data, |b| half::f16::from_le_bytes(b).into()),
        Dtype::BF16 => all(data, |b| half::bf16::from_le_bytes(b).into()),
        _ => None,
    }
}

fn floats(tensor: &TensorView<'_>) -> Result<Vec<f64>> {
    as_floats(tensor).ok_or_else(|| {
        let found = tensor.dtype();
        Error::input(format!("features: {found:?}; expected float64, float32, float16 or bfloat16"))
    })
}

/// Whole numbers, in floats too.
fn integers(name: &str, tensor: &TensorView<'_>) -> Result<Vec<i64>> {
    fn all<const N: usize>(data: &[u8], value: impl Fn([u8; N]) -> i64) -> Vec<i64> {
        data.as_chunks::<N>().0.iter().map(|b| value(*b)).collect()
    }
    let data = tensor.data();
    Ok(match tensor.dtype() {
        Dtype::I64 => all(data, i64::from_le_bytes),
        Dtype::I32 => all(data, |b| i32::from_le_bytes(b).into()),
        Dtype::I16 => all(data, |b| i16::from_le_bytes(b).into()),
        Dtype::I8 => all(data, |b| i8::from_le_bytes(b).into()),
        // What is beyond is out of range as well.
        Dtype::U64 => all(data, |b| i64::try_from(u64::from_le_bytes(b)).unwrap_or(i64::MAX)),
        Dtype::U32 => all(data, |b| u32::from_le_bytes(b).into()),
        Dtype::U16 => all(data, |b| u16::from_le_bytes(b).into()),
        Dtype::U8 => all(data, |[b]| b.into()),
        other => {
            let values = as_floats(tensor).ok_or_else(|| {
                Error::input(format!("{name}: {other:?}; expected whole numbers, such as int64"))
            })?;
            let whole = |(row, v): (usize, f64)| match v.fract() == 0.0 && v.abs() < 2f64.powi(53) {
                true => Ok(v as i64),
                false => {
                    Err(Error::input(format!("{name}: entry {row} is {v}; expected whole numbers")))
                }
            };
            values.into_iter().enumerate().map(whole).collect::<Result<_>>()?
        }
    })
}

/// Keeps at most `most` rows, drawn without replacement: the same share of every class, but not less than
/// two rows where a class has them, so that it keeps its positives. Where even that is too much, whole
/// classes are left out.
fn subsample(input: Input, most: usize, streams: &Streams) -> Input {
    let n = input.labels.len();
    if n <= most {
        return input;
    }
    let classes = input.labels.iter().max().map_or(0, |m| m + 1);
    let mut members: Vec<Vec<usize>> = vec![vec![]; classes];
    input.labels.iter().enumerate().for_each(|(row, &label)| members[label].push(row));
    members.retain(|rows| !rows.is_empty());
    let least = |rows: &Vec<usize>| rows.len().min(2);
    if members.iter().map(least).sum::<usize>() > most {
        members.shuffle(&mut streams.stream("subsample classes", &[]));
        let mut room = most;
        members.retain(|rows| {
            let fits = least(rows) <= room;
            room -= if fits { least(rows) } else { 0 };
            fits
        });
    }
    let share = |part: f64| {
        move |rows: &Vec<usize>| ((rows.len() as f64 * part).floor() as usize).max(least(rows))
    };
    // The largest share of the classes with more than two rows that fits.
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..50 {
        let middle = (low + high) / 2.0;
        let fits = members.iter().map(share(middle)).sum::<usize>() <= most;
        *(if fits { &mut low } else { &mut high }) = middle;
    }
    let mut kept = vec![];
    for rows in &mut members {
        let class = input.labels[rows[0]] as u64;
        rows.shuffle(&mut streams.stream("subsample", &[class]));
        kept.extend_from_slice(&rows[..share(low)(rows)]);
    }
    kept.sort_unstable();
    Input {
        features: input.features.select(ndarray::Axis(0), &kept),
        labels: kept.iter().map(|&r| input.labels[r]).collect(),
        train_counts: input.train_counts,
    }
}
