//! Features that were saved: the file, its checks, and which rows are measured.

use half::{bf16, f16};
use ndarray::Array2;
use rescom::rng::Streams;
use rescom::{Error, Result};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};

/// Class numbers are below this: the largest public lists of classes are a fifth of it, and what lies
/// above is an identifier, for which a table of classes would be mostly empty.
const MOST_CLASSES: usize = 100_000;

/// Images of a class: above 2^53 float64 knows no single ones.
const MOST_IMAGES: f64 = 9_007_199_254_740_992.0;

/// Checked content of a file.
pub(crate) struct Saved {
    /// `[N, D]`, the rows that are measured.
    pub(crate) features: Array2<f64>,
    /// Their classes.
    pub(crate) labels: Vec<usize>,
    /// Training images per class, or the rows per class of the whole file.
    pub(crate) counts: Vec<u64>,
    /// True if the file says how many training images a class has.
    pub(crate) counts_from_training: bool,
    /// Rows of the file.
    pub(crate) rows: usize,
    /// Classes that have rows in the file.
    pub(crate) classes_with_rows: usize,
}

impl Saved {
    /// Reads the bytes of a file and keeps at most `most` rows (at least 2), drawn from `streams`.
    ///
    /// # Errors
    /// [`Error::Input`] naming the tensor and the row that do not fit; rows that are not kept are
    /// checked too.
    pub(crate) fn read(bytes: &[u8], most: usize, streams: &Streams) -> Result<Self> {
        let file = SafeTensors::deserialize(bytes)
            .map_err(|e| Error::input(format!("not a whole safetensors file ({e:?})")))?;
        let tensor = |name: &str| {
            file.tensor(name).map_err(|_| {
                let mut names = file.names();
                names.sort_unstable();
                Error::input(format!("no tensor `{name}`; the file has {}", listed(&names)))
            })
        };
        let (features, labels) = (tensor("features")?, tensor("labels")?);
        let (n, d) = shape(&features)?;
        let trained = match file.names().contains(&"train_counts") {
            false => None,
            true => Some(counts(&tensor("train_counts")?)?),
        };
        let labels = classes(&labels, n, trained.as_deref())?;
        let sizes = rows_per_class(&labels);
        let kept = kept_rows(&labels, &sizes, most, streams);
        Ok(Self {
            features: rows(&features, d, &kept)?,
            labels: kept.iter().map(|&r| labels[r]).collect(),
            rows: n,
            classes_with_rows: sizes.iter().filter(|n| **n > 0).count(),
            counts_from_training: trained.is_some(),
            counts: trained.unwrap_or(sizes),
        })
    }
}

/// The first few names of a file, each cut to a length that a line has room for; how many more there are.
fn listed(names: &[&str]) -> String {
    const SHOWN: usize = 8;
    const LONGEST: usize = 40;
    let cut = |name: &&str| match name.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}...", &name[..end]),
        None => (*name).to_owned(),
    };
    let shown = names.iter().take(SHOWN).map(cut).collect::<Vec<_>>().join(", ");
    match names.len() {
        0 => "none".to_owned(),
        n if n <= SHOWN => shown,
        n => format!("{shown} and {} more", n - SHOWN),
    }
}

/// N and D.
fn shape(features: &TensorView<'_>) -> Result<(usize, usize)> {
    match features.shape()[..] {
        [n, d] if n > 0 && d > 0 => Ok((n, d)),
        [n, d] => {
            Err(Error::input(format!("features: shape [{n}, {d}]; expected N and D of at least 1")))
        }
        _ => Err(Error::input(format!("features: shape {:?}; expected [N, D]", features.shape()))),
    }
}

/// The kept rows, as float64, once every row is known to be finite.
fn rows(tensor: &TensorView<'_>, d: usize, kept: &[usize]) -> Result<Array2<f64>> {
    let Some((size, value)) = number(tensor.dtype()).filter(|_| is_float(tensor.dtype())) else {
        return Err(Error::input(format!(
            "features: {:?}; expected float32, float64, float16 or bfloat16",
            tensor.dtype()
        )));
    };
    let data = tensor.data();
    let values = data.chunks_exact(size).map(value).enumerate();
    if let Some((at, v)) = values.into_iter().find(|(_, v)| !v.is_finite()) {
        let (row, column) = (at / d, at % d);
        return Err(Error::input(format!(
            "features: row {row}, column {column} is {v}; expected finite numbers"
        )));
    }
    let of_row = |&r: &usize| data[r * d * size..(r + 1) * d * size].chunks_exact(size).map(value);
    let values: Vec<f64> = kept.iter().flat_map(of_row).collect();
    Array2::from_shape_vec((kept.len(), d), values)
        .map_err(|e| Error::input(format!("features: {e}")))
}

/// The class of each row; `train_counts` (C) decides how many there are.
fn classes(tensor: &TensorView<'_>, n: usize, train_counts: Option<&[u64]>) -> Result<Vec<usize>> {
    if *tensor.shape() != [n] && *tensor.shape() != [n, 1] {
        return Err(Error::input(format!(
            "labels: shape {:?}; expected [{n}] or [{n}, 1] as features have {n} rows",
            tensor.shape()
        )));
    }
    let Some((size, value)) = number(tensor.dtype()).filter(|_| !is_float(tensor.dtype())) else {
        return Err(Error::input(format!(
            "labels: {:?}; expected whole numbers (int64, int32, uint8 or another of these)",
            tensor.dtype()
        )));
    };
    let classes = train_counts.map_or(MOST_CLASSES, <[u64]>::len);
    let label = |(row, v): (usize, f64)| {
        let fits = (0.0..classes as f64).contains(&v);
        fits.then_some(v as usize).ok_or_else(|| {
            let reason = match train_counts {
                Some(_) => "as train_counts says",
                None => "number the classes from 0 on",
            };
            Error::input(format!(
                "labels: row {row} has label {v}; expected 0..{classes}, {reason}"
            ))
        })
    };
    tensor.data().chunks_exact(size).map(value).enumerate().map(label).collect()
}

/// Training images per class: whole numbers of at least 1, in any type.
fn counts(tensor: &TensorView<'_>) -> Result<Vec<u64>> {
    if !matches!(tensor.shape(), [c] | [c, 1] if (1..=MOST_CLASSES).contains(c)) {
        return Err(Error::input(format!(
            "train_counts: shape {:?}; expected [C] with C from 1 to {MOST_CLASSES}",
            tensor.shape()
        )));
    }
    let (size, value) = number(tensor.dtype()).ok_or_else(|| {
        Error::input(format!("train_counts: {:?}; expected whole numbers", tensor.dtype()))
    })?;
    let count = |(class, v): (usize, f64)| {
        let fits = v.fract() == 0.0 && (1.0..=MOST_IMAGES).contains(&v);
        fits.then_some(v as u64).ok_or_else(|| {
            Error::input(format!(
                "train_counts: class {class} has {v} images; expected a whole number from 1 to {MOST_IMAGES}"
            ))
        })
    };
    tensor.data().chunks_exact(size).map(value).enumerate().map(count).collect()
}

fn is_float(dtype: Dtype) -> bool {
    matches!(dtype, Dtype::F64 | Dtype::F32 | Dtype::F16 | Dtype::BF16)
}

/// Bytes of a number, and how they are read.
type Reader = (usize, fn(&[u8]) -> f64);

/// The reader of a type, None for types that hold no numbers. Integers beyond 2^53 are rounded, and
/// refused afterwards as class numbers and as counts.
fn number(dtype: Dtype) -> Option<Reader> {
    macro_rules! reader {
        ($number:ty, $convert:expr) => {{
            const SIZE: usize = size_of::<$number>();
            let read: fn(&[u8]) -> f64 = |bytes| {
                let bytes: [u8; SIZE] = bytes.try_into().unwrap_or([0; SIZE]);
                $convert(<$number>::from_le_bytes(bytes))
            };
            Some((SIZE, read))
        }};
    }
    match dtype {
        Dtype::F64 => reader!(f64, f64::from),
        Dtype::F32 => reader!(f32, f64::from),
        Dtype::F16 => reader!(f16, f64::from),
        Dtype::BF16 => reader!(bf16, f64::from),
        Dtype::I64 => reader!(i64, |v| v as f64),
        Dtype::U64 => reader!(u64, |v| v as f64),
        Dtype::I32 => reader!(i32, f64::from),
        Dtype::U32 => reader!(u32, f64::from),
        Dtype::I16 => reader!(i16, f64::from),
        Dtype::U16 => reader!(u16, f64::from),
        Dtype::I8 => reader!(i8, f64::from),
        Dtype::U8 => reader!(u8, f64::from),
        _ => None,
    }
}

fn rows_per_class(labels: &[usize]) -> Vec<u64> {
    let mut counts = vec![0; labels.iter().max().map_or(0, |m| m + 1)];
    labels.iter().for_each(|&l| counts[l] += 1);
    counts
}

/// At most `most` rows in their order: the same share of every class, drawn without replacement, but of
/// no class fewer than two (or all it has), since an anchor without a positive measures nothing. Where
/// two rows of every class are too many, classes are drawn.
fn kept_rows(labels: &[usize], sizes: &[u64], most: usize, streams: &Streams) -> Vec<usize> {
    use rand::seq::SliceRandom;
    if labels.len() <= most {
        return (0..labels.len()).collect();
    }
    let mut members: Vec<Vec<usize>> = vec![vec![]; sizes.len()];
    labels.iter().enumerate().for_each(|(row, &label)| members[label].push(row));
    let mut classes: Vec<usize> = (0..sizes.len()).filter(|&c| sizes[c] > 0).collect();
    let least = |c: &usize| members[*c].len().min(2);
    if classes.iter().map(least).sum::<usize>() > most {
        classes.shuffle(&mut streams.stream("subsample-classes", &[]));
        let mut used = 0;
        classes.retain(|c| {
            let fits = used + least(c) <= most;
            used += if fits { least(c) } else { 0 };
            fits
        });
        classes.sort_unstable();
    }
    let rows_at =
        |share: f64, c: &usize| ((members[*c].len() as f64 * share) as usize).max(least(c));
    // The largest share that respects the limit.
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..60 {
        let middle = 0.5 * (low + high);
        let fits = classes.iter().map(|c| rows_at(middle, c)).sum::<usize>() <= most;
        (low, high) = if fits { (middle, high) } else { (low, middle) };
    }
    let chosen = |&c: &usize| {
        let mut rows = members[c].clone();
        rows.shuffle(&mut streams.stream("subsample", &[c as u64]));
        rows.truncate(rows_at(low, &c));
        rows
    };
    let mut kept: Vec<usize> = classes.iter().flat_map(chosen).collect();
    kept.sort_unstable();
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(labels: &[usize], most: usize) -> Vec<u64> {
        let sizes = rows_per_class(labels);
        let rows = kept_rows(labels, &sizes, most, &Streams::new(3));
        assert!(rows.len() <= most && rows.windows(2).all(|w| w[0] < w[1]), "{rows:?}");
        let mut of = rows_per_class(&rows.iter().map(|&r| labels[r]).collect::<Vec<_>>());
        of.resize(sizes.len(), 0);
        of
    }

    #[test]
    fn no_class_is_left_with_one_row_of_several() {
        let three_each: Vec<usize> = (0..1200).map(|r| r % 400).collect();
        // 400 rows hold two of 200 classes, 500 of 250; 900 hold two of all.
        for (most, whole) in [(400, 200), (500, 250), (900, 400)] {
            let kept = kept(&three_each, most);
            assert_eq!(kept.iter().filter(|n| **n >= 2).count(), whole, "{most}");
            assert!(kept.iter().all(|n| *n != 1), "{most}");
        }
    }

    #[test]
    fn a_large_class_gives_its_share_and_a_small_one_what_it_has() {
        let labels = [vec![0; 1000], vec![1; 100], vec![2; 3], vec![3]].concat();
        let kept = kept(&labels, 110);
        assert_eq!(kept[2..], [2, 1]);
        assert!((kept[0] as f64 / kept[1] as f64 - 10.0).abs() < 1.5, "{kept:?}");
        assert!(kept.iter().sum::<u64>() >= 108, "{kept:?}");
    }

    #[test]
    fn a_file_of_many_foreign_tensors_is_named_in_a_short_line() {
        let names: Vec<String> =
            (0..200_000).map(|i| format!("layer{i}.{}", "w".repeat(90))).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let line = listed(&names);
        assert!(line.len() < 500 && line.ends_with(" and 199992 more"), "{line}");
        assert_eq!(listed(&names[..1]).len(), 43);
        assert_eq!((listed(&["a", "b"]).as_str(), listed(&[]).as_str()), ("a, b", "none"));
    }

    #[test]
    fn a_count_above_the_limit_is_told_the_limit() {
        let bytes = u64::MAX.to_le_bytes();
        let tensor = TensorView::new(Dtype::U64, vec![1], &bytes).unwrap();
        let e = counts(&tensor).unwrap_err().to_string();
        assert!(e.contains("from 1 to 9007199254740992"), "{e}");
    }
}
