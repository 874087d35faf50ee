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
    keys.layout.segments.iter().flat_map(|s| vec![s.class; s.end - s.start]).collect()
}

#[test]
fn one_anchor_equals_the_float64_reference() {
    for t in [0.01, 0.05, 0.2, 10.0] {
        let setup = setup(t);
        let groups = ClassGroups::new(&setup.params().counts);
        let streams = Streams::new(9);
        let simulation = Simulation::new(&setup, &groups, vec![], &streams);
        let mut rng = streams.stream("test", &[]);
        let anchors = simulation.draw_anchors(&mut rng);
        let batch_labels: Vec<usize> = vec![0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2];
        let batch = simulation.draw_features(&batch_labels, &mut rng);
        for source in [KeySource::Fifo, KeySource::ClassBalanced] {
            let queue = simulation.draw_queue(source, &mut rng);
            let keys = join(&batch, &batch_labels, &queue.0, &queue.1);
            let key_labels = labels(&keys);
            let sims = anchors.features.dot(&keys.features.t());
            let mut scratch = Scratch::default();
            let mut gradient = vec![0.0; key_labels.len()];
            for (i, &class) in anchors.classes.iter().enumerate() {
                let row = sims.row(i).to_vec();
                for mined in [false, true] {
                    let anchor = (class, anchors.others[i]);
                    let pass = simulation.row_pass();
                    pass.anchor(&row, &keys.layout, anchor, mined, &mut scratch, &mut gradient);
                    let kept = kept(&setup, &row, &key_labels, batch_labels.len(), class, mined);
                    let seen = (&scratch.row, gradient.as_slice());
                    compare(&setup, seen, &row, anchor.1, &key_labels, class, &kept);
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
    (seen, gradient): (&RowMass, &[f32]),
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
    close(seen.other_gradient, exact.grad[row.len()] * t.get(), "other view");
    for (seen, exact) in gradient.iter().zip(&exact.grad) {
        close(f64::from(*seen), exact * t.get(), "gradient of a key");
    }
    close(seen.positives, expected.positives, "positives");
    close(seen.net, expected.net, "net");
    close(seen.absolute, expected.absolute, "absolute");
    close(seen.feature_absolute, expected.feature_absolute, "features");
    for c in 0..setup.classes() {
        close(seen.negative[c], expected.negative[c], "negative");
        close(seen.feature_negative[c], expected.feature_negative[c], "negative, features");
    }
}

/// The length of the gradient against central differences of the float64 loss: of the anchor as it
/// is moved freely, and on the sphere (the loss of z / |z|).
#[test]
fn gradient_norms_equal_finite_differences() {
    for (t, mined) in [(0.1, false), (0.1, true), (0.5, false)] {
        let setup = setup(t);
        let groups = ClassGroups::new(&setup.params().counts);
        let streams = Streams::new(21);
        let simulation = Simulation::new(&setup, &groups, vec![], &streams);
        let mut rng = streams.stream("test", &[]);
        let anchors = simulation.draw_anchors(&mut rng);
        let batch_labels = vec![0, 0, 0, 0, 1, 1, 1, 1, 2, 2];
        let batch = simulation.draw_features(&batch_labels, &mut rng);
        let queue = simulation.draw_queue(KeySource::ClassBalanced, &mut rng);
        let keys = join(&batch, &batch_labels, &queue.0, &queue.1);
        let key_labels = labels(&keys);
        let sims = anchors.features.dot(&keys.features.t());
        let masses = simulation.masses(&anchors, &keys, &sims, mined);
        let mut expected = vec![[0.0; 2]; groups.len()];
        for (i, &class) in anchors.classes.iter().enumerate() {
            let kept =
                kept(&setup, &sims.row(i).to_vec(), &key_labels, batch_labels.len(), class, mined);
            let loss = |z: &[f64]| loss_at(z, &setup, (&anchors, i), (&keys, &key_labels), &kept);
            let z: Vec<f64> = anchors.features.row(i).iter().map(|v| f64::from(*v)).collect();
            let on_sphere = |z: &[f64]| {
                let length = z.iter().map(|v| v * v).sum::<f64>().sqrt();
                loss(&z.iter().map(|v| v / length).collect::<Vec<_>>())
            };
            let share = t / simulation.anchors_per_group as f64;
            expected[class][0] += share * numeric_norm(&z, loss);
            expected[class][1] += share * numeric_norm(&z, on_sphere);
        }
        for (c, expected) in expected.iter().enumerate() {
            for (weighting, weight) in [1.0, setup.weights()[c]].into_iter().enumerate() {
                for (seen, expected) in masses.norms[weighting].iter().zip(expected) {
                    let error = (seen[c] / (weight * expected) - 1.0).abs();
                    assert!(error < 1e-4, "T {t}, class {c}: {} {expected}", seen[c]);
                }
            }
        }
    }
}

/// The float64 loss of anchor i, were its feature `z`.
fn loss_at(
    z: &[f64],
    setup: &Setup,
    (anchors, i): (&Anchors, usize),
    (keys, key_labels): (&Keys, &[usize]),
    kept: &[bool],
) -> f64 {
    let rows = keys.features.rows().into_iter().chain([anchors.views.row(i)]);
    let sims: Vec<f64> =
        rows.map(|k| k.iter().zip(z).map(|(k, z)| f64::from(*k) * z).sum()).collect();
    let relation = |(k, &kept): (usize, &bool)| match kept {
        false => Relation::Excluded,
        true if key_labels[k] == anchors.classes[i] => Relation::Positive,
        true => Relation::Negative,
    };
    let relations: Vec<_> =
        kept.iter().enumerate().map(relation).chain([Relation::Positive]).collect();
    anchor_gradient(LossForm::Out, setup.temperature(), &sims, &relations).loss
}

/// Length of the gradient of `loss` at `z`, by central differences.
fn numeric_norm(z: &[f64], loss: impl Fn(&[f64]) -> f64) -> f64 {
    let h = 1e-5;
    let slope = |d: usize| {
        let (mut up, mut down) = (z.to_vec(), z.to_vec());
        (up[d], down[d]) = (up[d] + h, down[d] - h);
        (loss(&up) - loss(&down)) / (2.0 * h)
    };
    (0..z.len()).map(|d| slope(d).powi(2)).sum::<f64>().sqrt()
}
