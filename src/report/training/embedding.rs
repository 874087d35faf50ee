//! t-SNE of feature vectors, repeatable to the bit.

use std::collections::BTreeMap;

use bhtsne::tSNE;
use rand::RngExt as _;

use crate::{
    Error, Result,
    longtail::ShotGroup,
    report::{
        Axis, Lines, Panel, Rendered, Rgb, Series, render,
        training::{
            cells::{Cell, Group},
            diagnostics::{by_count, compared},
            features::SHOTS,
        },
    },
    rng::Streams,
    run::FeatureSample,
};

/// Perplexity where there are rows enough for it.
const PERPLEXITY: f32 = 30.0;
const ITERATIONS: usize = 1000;
const THETA: f32 = 0.5;

/// The perplexity for `rows` rows: [`PERPLEXITY`], but at most a third of their number.
fn perplexity(rows: usize) -> f32 {
    PERPLEXITY.min((rows.saturating_sub(1) / 3) as f32)
}

/// A place in the plane for each row of `sample`, by Barnes-Hut t-SNE on Euclidean distances of the
/// features as they are. The start is drawn from `streams`, and one thread computes, so that the
/// order of sums does not change.
///
/// # Errors
/// [`Error::Run`] if the thread cannot be started.
fn tsne(sample: &FeatureSample, streams: &Streams) -> Result<Vec<(f64, f64)>> {
    let rows: Vec<&[f32]> = sample.features.chunks_exact(sample.dim.max(1)).collect();
    let perplexity = perplexity(rows.len());
    if perplexity < 2.0 {
        return Ok(Vec::new());
    }
    let mut rng = streams.stream("t-sne", &[]);
    let start: Vec<f32> = (0..2 * rows.len()).map(|_| 1e-4 * (rng.random::<f32>() - 0.5)).collect();
    let one = rayon::ThreadPoolBuilder::new().num_threads(1).build();
    let one = one.map_err(|e| Error::run(format!("t-SNE: cannot start a thread: {e}")))?;
    let flat = one.install(|| {
        let mut tsne: tSNE<'_, f32, &[f32]> = tSNE::new(&rows);
        tsne.perplexity(perplexity).epochs(ITERATIONS).initial_embedding(start);
        tsne.barnes_hut(THETA, |a, b| distance(a, b)).embedding()
    });
    Ok(flat.as_chunks().0.iter().map(|&[x, y]| (f64::from(x), f64::from(y))).collect())
}

fn distance(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f32>().sqrt()
}

/// Samples of test features by the run's name.
pub(crate) type Samples<'a> = BTreeMap<String, &'a FeatureSample>;

/// The picture and what its caption needs: rows embedded and perplexity.
pub(crate) struct Pictured {
    pub(crate) rendered: Rendered,
    pub(crate) rows: usize,
    pub(crate) perplexity: f32,
    pub(crate) seeds: String,
    /// The runs that are shown: name, and class and place of each image.
    pub(crate) places: Vec<(String, Vec<Place>)>,
}

/// Name of the class and place of a test image.
pub(crate) type Place = (String, (f64, f64));

/// t-SNE of the compared methods' features, each of its first seed that has them.
pub(crate) fn picture(group: &Group, samples: &Samples<'_>) -> Result<Option<Pictured>> {
    let (mut panels, mut rows, mut seeds) = (Vec::new(), 0, Vec::new());
    let mut shown = Vec::new();
    for cell in compared(group) {
        let Some(run) = cell.measured.first() else { continue };
        let Some(sample) = samples.get(&run.run) else { continue };
        let places = tsne(sample, &Streams::new(0))?;
        if places.is_empty() {
            continue;
        }
        rows = places.len();
        let class = |label: &u32| {
            cell.classes.get(*label as usize).map(|c| c.name.clone()).unwrap_or_default()
        };
        let named = sample.labels.iter().map(class).zip(places.iter().copied()).collect();
        shown.push((run.run.clone(), named));
        seeds.push(run.seed.to_string());
        panels.push(cloud(cell, &places, &sample.labels));
    }
    if panels.is_empty() {
        return Ok(None);
    }
    seeds.dedup();
    let rendered = render(&Lines { panel_size: (400, 390), ..Lines::row(panels) })?;
    let perplexity = perplexity(rows);
    Ok(Some(Pictured { rendered, rows, perplexity, seeds: seeds.join(", "), places: shown }))
}

fn cloud(cell: &Cell, places: &[(f64, f64)], labels: &[u32]) -> Panel {
    let (classes, counts) = (&cell.classes, cell.counts());
    let pick = |keep: &dyn Fn(usize) -> bool| -> Vec<(f64, f64)> {
        let all = places.iter().zip(labels);
        all.filter(|(_, l)| keep(**l as usize)).map(|(p, _)| *p).collect()
    };
    let series: Vec<Series> = if counts.len() <= 20 {
        let one = |(i, class): (usize, usize)| {
            let name = format!("{} ({})", classes[class].name, counts[class]);
            Series::class(name, pick(&|c| c == class), i)
        };
        by_count(&counts).into_iter().enumerate().map(one).collect()
    } else {
        let one = |(i, (shots, name, color)): (usize, (ShotGroup, &str, Rgb))| {
            let of = |c: usize| counts.get(c).is_some_and(|&n| ShotGroup::of(n) == shots);
            Series { color, ..Series::class(name, pick(&of), i) }
        };
        SHOTS.into_iter().enumerate().map(one).collect()
    };
    let axis = |value: fn(&(f64, f64)) -> f64| {
        let (low, high) =
            places.iter().map(value).fold((f64::MAX, f64::MIN), |(l, h), v| (l.min(v), h.max(v)));
        let room = 0.03 * (high - low);
        Axis::linear("", low - room, high + room).with_ticks([])
    };
    Panel::new(cell.arm.to_string(), axis(|p| p.0), axis(|p| p.1), series)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three clusters in ten dimensions.
    fn sample() -> FeatureSample {
        let mut rng = Streams::new(3).stream("clusters", &[]);
        let labels: Vec<u32> = (0..150).map(|i| i % 3).collect();
        let row = |&label: &u32| -> Vec<f32> {
            let centre = |d: u32| if d % 3 == label { 6.0 } else { 0.0 };
            (0..10).map(|d| centre(d) + rng.random::<f32>()).collect()
        };
        FeatureSample { dim: 10, features: labels.iter().flat_map(row).collect(), labels }
    }

    #[test]
    fn clusters_stay_together_and_a_repetition_has_the_same_bits() {
        let sample = sample();
        let places = tsne(&sample, &Streams::new(0)).unwrap();
        assert_eq!(places, tsne(&sample, &Streams::new(0)).unwrap());
        assert_ne!(places, tsne(&sample, &Streams::new(1)).unwrap());
        // Every row's nearest neighbour in the plane is of its own cluster.
        for (i, a) in places.iter().enumerate() {
            let gap = |j: &usize| (places[*j].0 - a.0).hypot(places[*j].1 - a.1);
            let others = (0..places.len()).filter(|j| *j != i);
            let nearest = others.min_by(|j, k| gap(j).total_cmp(&gap(k))).unwrap();
            assert_eq!(sample.labels[nearest], sample.labels[i]);
        }
    }

    #[test]
    fn a_handful_of_rows_is_not_embedded() {
        let few = FeatureSample { dim: 2, features: vec![0.5; 10], labels: vec![0; 5] };
        assert_eq!(tsne(&few, &Streams::new(0)).unwrap(), []);
        assert_eq!((perplexity(1000), perplexity(61)), (30.0, 20.0));
    }
}
