//! A network on test images: the numbers of an evaluation, and its raw outputs.

use ndarray::{Array2, Axis};

use crate::{
    Error, Result,
    data::{ImageSource, Loader},
    longtail::ClassCounts,
    run::{BestEpoch, EpochRecord, Evaluation},
    train::{Images, Metrics},
};

/// What a network says of N images in evaluation mode.
#[derive(Debug, Clone, PartialEq)]
pub struct Outputs {
    /// Logits [N, C], without prior.
    pub logits: Array2<f32>,
    /// Features f of the encoder [N, F].
    pub features: Array2<f32>,
    /// Unit projections z [N, D], where there is a projection head.
    pub projections: Option<Array2<f32>>,
}

/// A network that can be evaluated.
pub trait Network {
    /// Logits [N, C] in evaluation mode, without prior.
    ///
    /// # Errors
    /// [`Error::Input`] for images that do not fit; [`Error::Run`] if libtorch fails.
    fn logits(&mut self, images: Images<'_>) -> Result<Array2<f32>>;

    /// Everything of one pass in evaluation mode.
    ///
    /// # Errors
    /// As [`logits`](Self::logits).
    fn outputs(&mut self, images: Images<'_>) -> Result<Outputs>;
}

/// Evaluates `network` on the images of `loader` (one view each). The training counts decide on the
/// shot groups.
///
/// # Errors
/// As [`Network::logits`], [`Metrics::add`] and the loader's.
pub fn evaluate<S: ImageSource + ?Sized + 'static>(
    network: &mut dyn Network,
    loader: &Loader<S>,
    counts: &ClassCounts,
) -> Result<Evaluation> {
    let mut metrics = Metrics::new(counts);
    for batch in loader.epoch(0) {
        let batch = batch?;
        let logits = network.logits(Images::of(&batch))?;
        metrics.add(&logits, &batch.labels)?;
    }
    metrics.finish()
}

/// The outputs of a whole set, with the labels (N).
#[derive(Debug, Clone, PartialEq)]
pub struct Collected {
    /// Rows in the order of the loader.
    pub outputs: Outputs,
    /// Class of each row.
    pub labels: Vec<u32>,
}

/// Passes the images of `loader` through `network` and keeps everything.
///
/// # Errors
/// As [`evaluate`]; [`Error::Input`] if the loader has no image.
pub fn collect<S: ImageSource + ?Sized + 'static>(
    network: &mut dyn Network,
    loader: &Loader<S>,
) -> Result<Collected> {
    let (mut logits, mut features, mut projections) = (vec![], vec![], vec![]);
    let mut labels = Vec::new();
    for batch in loader.epoch(0) {
        let batch = batch?;
        let out = network.outputs(Images::of(&batch))?;
        logits.push(out.logits);
        features.push(out.features);
        projections.extend(out.projections);
        labels.extend(batch.labels.iter().map(|&label| label as u32));
    }
    let outputs = Outputs {
        logits: stacked(&logits)?,
        features: stacked(&features)?,
        projections: if projections.is_empty() { None } else { Some(stacked(&projections)?) },
    };
    Ok(Collected { outputs, labels })
}

fn stacked(parts: &[Array2<f32>]) -> Result<Array2<f32>> {
    let views: Vec<_> = parts.iter().map(|part| part.view()).collect();
    ndarray::concatenate(Axis(0), &views)
        .map_err(|e| Error::input(format!("outputs of the network: {e}")))
}

/// The last evaluation, and the best among those on as many images; takes the confusion matrices out
/// of everything but the last.
///
/// # Errors
/// [`Error::Run`] if no epoch was evaluated.
pub(crate) fn last_and_best(epochs: &mut [EpochRecord]) -> Result<(Evaluation, BestEpoch)> {
    let tested = || epochs.iter().filter_map(|e| Some((e.epoch, e.test.as_ref()?)));
    let Some((last_epoch, last)) = tested().next_back() else {
        return Err(Error::run("no epoch was evaluated"));
    };
    let last = last.clone();
    // Only evaluations on the whole test set compare. The first of equals, so that more epochs
    // never change what is called best.
    let whole = tested().filter(|(_, t)| t.images == last.images);
    let best = whole.reduce(|best, t| if t.1.top1 > best.1.top1 { t } else { best });
    let (epoch, test) = best.unwrap_or((last_epoch, &last));
    let mut best = BestEpoch { epoch, test: test.clone() };
    best.test.confusion.clear();
    epochs.iter_mut().filter_map(|e| e.test.as_mut()).for_each(|t| t.confusion.clear());
    Ok((last, best))
}
