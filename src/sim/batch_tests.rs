//! The float32 row against the float64 oracle, with and without mining.

use super::*;
use crate::contrast::{HardPairMiner, Relation, anchor_gradient};
use crate::longtail::ClassCounts;
use crate::sim::{Noise, SetupParams};

fn setup(t: f64) -> Setup {
    Setup::new(SetupParams {
        counts: ClassCounts::new(vec![60, 30, 8, 2]).unwrap(),
        batch: 24,
        keys_per_class: 9,
        fifo_keys: None,
        dim: 12,
        noise: Noise::Gaussian,
        concentration: 6.0,
        tail_concentration: None,
        temperature: t,
        beta: 0.99,
        miner: HardPairMiner { num_pos: 4, num_neg: 11 },
        batches: 2,
    })
    .unwrap()
}

/// Labels of the keys in the order of the columns, and where the queue begins.
fn labels(keys: &Keys) -> Vec<usize> {
    keys.segments.iter().flat_map(|s| vec![s.class; s.end - s.start]).collect()
}

#[test]
fn one_anchor_equals_the_float64_reference() {
    for t in [0.05, 0.2, 10.0] {
        let setup = setup(t);
        let groups = ClassGroups::new(&setup.params().counts);
        let streams = Streams::new(9);
        let simulation = Simulation::new(&setup, &groups, vec![], &streams);
        let mut rng = streams.stream("test", &[]);
        let (anchors, classes, others) = simulation.draw_anchors(&mut rng);
        let batch_labels: Vec<usize> = vec![0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2];
        let batch = simulation.draw_features(&batch_labels, &mut rng);
        for source in [KeySource::Fifo, KeySource::ClassBalanced] {
            let queue = simulation.draw_queue(source, &mut rng);
            let keys = join(&batch, &batch_labels, &queue.0, &queue.1);
            let key_labels = labels(&keys);
            let sims = anchors.dot(&keys.features.t());
            let mut scratch = Scratch::default();
            for (i, &class) in classes.iter().enumerate() {
                let row = sims.row(i).to_vec();
                for mined in [false, true] {
                    let anchor = (class, others[i]);
                    simulation.anchor(&row, &keys, batch_labels.len(), anchor, mined, &mut scratch);
                    let kept = kept(&setup, &row, &key_labels, batch_labels.len(), class, mined);
                    compare(&setup, &scratch.row, &row, others[i], &key_labels, class, &kept);
                }
            }
        }
    }
}

/// Which columns are keys, according to the reference miner.
fn kept(
    setup: &Setup,
    row: &[f32],
    key_labels: &[usize],
    in_batch: usize,
    class: usize,
    mined: bool,
) -> Vec<bool> {
    if !mined {
        return vec![true; row.len()];
    }
    let sims: Vec<f64> = row[in_batch..].iter().map(|s| f64::from(*s)).collect();
    let chosen = setup.params().miner.mine(&sims, &key_labels[in_batch..], class);
    let mut kept: Vec<bool> = (0..row.len()).map(|k| k < in_batch).collect();
    chosen.positives.iter().chain(&chosen.negatives).for_each(|&k| kept[in_batch + k] = true);
    kept
}

fn compare(
    setup: &Setup,
    seen: &RowMass,
    row: &[f32],
    other: f32,
    key_labels: &[usize],
    class: usize,
    kept: &[bool],
) {
    let relation = |k: usize| match (kept[k], key_labels[k] == class) {
        (false, _) => Relation::Excluded,
        (true, true) => Relation::Positive,
        (true, false) => Relation::Negative,
    };
    let mut relations: Vec<_> = (0..row.len()).map(relation).collect();
    relations.push(Relation::Positive);
    let sims: Vec<f64> = row.iter().chain([&other]).map(|s| f64::from(*s)).collect();
    let t = setup.temperature();
    let exact = anchor_gradient(LossForm::Out, t, &sims, &relations);
    let mut expected = RowMass { positives: exact.positives as f64, ..RowMass::default() };
    expected.negative = vec![0.0; setup.classes()];
    expected.feature_negative = vec![0.0; setup.classes()];
    for (k, g) in exact.grad.iter().enumerate() {
        let (mass, tangent) = (g.abs() * t.get(), (1.0 - sims[k] * sims[k]).max(0.0).sqrt());
        match relations[k] {
            Relation::Positive => {
                expected.absolute += mass;
                expected.net -= g * t.get();
                expected.feature_absolute += mass * tangent;
            }
            Relation::Negative => {
                expected.negative[key_labels[k]] += mass;
                expected.feature_negative[key_labels[k]] += mass * tangent;
            }
            Relation::Excluded => {}
        }
    }
    let close = |a: f64, b: f64, what: &str| {
        assert!((a - b).abs() < 3e-5 * b.abs() + 1e-6, "{what}: {a}, expected {b}");
    };
    close(seen.positives, expected.positives, "positives");
    close(seen.net, expected.net, "net");
    close(seen.absolute, expected.absolute, "absolute");
    close(seen.feature_absolute, expected.feature_absolute, "features");
    for c in 0..setup.classes() {
        close(seen.negative[c], expected.negative[c], "negative");
        close(seen.feature_negative[c], expected.feature_negative[c], "negative, features");
    }
}
