//! What must hold for the simulation whatever the numbers are.

use proptest::prelude::*;
use rescom::contrast::{
    HardPairMiner, LossForm, Relation, SelfPairs, SupConLoss, Temperature, anchor_gradient,
};
use rescom::longtail::{ClassCounts, ImbalanceFactor, LongTailProfile};
use rescom::rng::Streams;
use rescom::sim::{
    DualStudy, KeySource, Noise, Setup, SetupParams, Statistic, dual_imbalance, limit_exponents,
    log_log_slope, observe, pair_frequency,
};

const QUEUES: [KeySource; 3] = [KeySource::Fifo, KeySource::ClassBalanced, KeySource::None];

fn exponential(imb: f64) -> ClassCounts {
    let profile = LongTailProfile::Exponential(ImbalanceFactor::new(imb).unwrap());
    profile.counts(10, 5000).unwrap()
}

fn params(counts: ClassCounts) -> SetupParams {
    SetupParams {
        counts,
        batch: 32,
        keys_per_class: 20,
        fifo_keys: None,
        dim: 16,
        noise: Noise::VonMisesFisher,
        concentration: 16.0,
        tail_concentration: None,
        temperature: 0.2,
        beta: 0.999999,
        miner: HardPairMiner { num_pos: 5, num_neg: 60 },
        batches: 48,
    }
}

fn study(params: SetupParams) -> DualStudy {
    let setup = Setup::new(params).unwrap();
    dual_imbalance(&setup, &QUEUES, true, 0, &Streams::new(5), &|_| {})
}

#[test]
fn pair_frequencies_are_the_published_ones() {
    let m = pair_frequency(&exponential(10.0));
    let first: Vec<_> = m.row(0).iter().map(|v| format!("{v:.2}")).collect();
    let published = "1.00 0.77 0.60 0.46 0.36 0.28 0.22 0.17 0.13 0.10";
    assert_eq!(first.join(" "), published);
    assert_eq!(format!("{:.2}", m[[9, 9]]), "0.01");
    for ((a, b), v) in m.indexed_iter() {
        let along = m[[(a + b).min(9), a + b - (a + b).min(9)]];
        assert_eq!(format!("{v:.2}"), format!("{along:.2}"), "({a},{b}) depends on a+b only");
    }
}

/// Untrained features at a high temperature: every similarity counts alike, so the negative mass
/// between two classes is exactly their pair frequency, and sums have closed forms.
#[test]
fn monte_carlo_equals_the_closed_form_where_it_must() {
    let mut p = params(exponential(10.0));
    (p.concentration, p.temperature, p.batches) = (0.0, 1000.0, 200);
    let prior = p.counts.prior();
    let frequency = pair_frequency(&p.counts);
    let result = study(p.clone());
    let cell = result.cell(LossForm::Out, false, KeySource::Fifo, false).unwrap();
    let largest = cell.mass.negative[0][1] / frequency[[0, 1]];
    for ((a, k), f) in frequency.indexed_iter().filter(|((a, k), _)| a != k) {
        let relative = cell.mass.negative[a][k] / largest / f;
        assert!((relative - 1.0).abs() < 0.12, "({a},{k}): {relative}");
    }
    // Number of keys: 63 rows of the batch and 200 of the queue.
    for (c, share) in prior.as_slice().iter().enumerate() {
        let positives = 1.0 + (62.0 + 200.0) * share;
        let expected = share * (1.0 - positives / 263.0) / p.temperature;
        assert!((cell.mass.positive[c] / expected - 1.0).abs() < 0.02, "class {c}");
        assert!((cell.mass.signed[c] + cell.mass.positive[c]).abs() < 1e-9, "all are pulled");
    }
    let siamese = cell.ratio(Statistic::SiameseLevel);
    assert!(siamese.low < 100.0 && siamese.high > 90.0, "{siamese:?}");
}

#[test]
fn slopes_approach_their_derived_limits() {
    let studies = |kappa: f64, t: f64| -> Vec<(f64, DualStudy)> {
        let one = |imb| {
            let mut p = params(exponential(imb));
            (p.concentration, p.temperature, p.fifo_keys) = (kappa, t, Some(3000));
            p.batches = 12;
            (imb, study(p))
        };
        [1.0, 4.0, 16.0].map(one).into()
    };
    let slope = |studies: &[(f64, DualStudy)], form, statistic| {
        let ratio = |(imb, s): &(f64, DualStudy)| {
            (*imb, s.cell(form, false, KeySource::Fifo, false).unwrap().ratio(statistic))
        };
        log_log_slope(&studies.iter().map(ratio).collect::<Vec<_>>()).mean
    };
    // The last two differ by what grows first: concentration at fixed T, or 1/T at fixed scatter.
    let (untrained, identical) = (studies(0.0, 100.0), studies(1e6, 0.15));
    let cold = studies(100.0, 0.01);
    let near = |found: f64, limit: i32, room: f64, what: &str| {
        assert!((found - f64::from(limit)).abs() < room, "{what}: {found}, limit {limit}");
    };
    for form in LossForm::ALL {
        for statistic in [Statistic::SameClass, Statistic::SameClassNet, Statistic::SiameseLevel] {
            let limits = limit_exponents(form, statistic, false, KeySource::Fifo).unwrap();
            let what = format!("{form:?} {statistic:?}");
            near(slope(&untrained, form, statistic), limits.untrained, 0.2, &what);
            near(slope(&identical, form, statistic), limits.identical, 0.2, &what);
            if let Some(limit) = limits.cold {
                near(slope(&cold, form, statistic), limit, 0.25, &what);
            }
        }
    }
    // The push on easy positives: gone in the one limit, all that is left in the other.
    let gap = |studies, statistic| slope(studies, LossForm::Out, statistic);
    let difference =
        |studies| gap(studies, Statistic::SameClass) - gap(studies, Statistic::SameClassNet);
    assert!(difference(&identical).abs() < 0.02 && difference(&cold) > 0.7);
}

#[test]
fn a_balanced_profile_gives_ratio_one_within_its_interval() {
    let result = study(params(exponential(1.0)));
    let (mut inside, mut all) = (0, 0);
    for cell in &result.cells {
        for (statistic, ratio) in &cell.ratios {
            let half = (ratio.high - ratio.low) / 2.0;
            assert!((ratio.mean - 1.0).abs() < 2.5 * half, "{statistic:?} {ratio:?}");
            (inside, all) = (inside + usize::from(ratio.contains(1.0)), all + 1);
        }
    }
    // 95 % intervals; cells share their draws, so the share scatters.
    assert!(inside as f64 > 0.75 * f64::from(all), "{inside} of {all}");
}

#[test]
fn relabelling_the_classes_permutes_the_matrix() {
    let order = [3, 0, 4, 1, 2];
    let counts = vec![400, 200, 100, 50, 25];
    let permuted = order.iter().map(|&c| counts[c]).collect();
    let run = |counts| {
        let mut p = params(ClassCounts::new(counts).unwrap());
        p.batches = 300;
        study(p)
    };
    let (a, b) = (run(counts.clone()), run(permuted));
    for source in QUEUES {
        let cell =
            |s: &DualStudy| s.cell(LossForm::Out, false, source, false).unwrap().mass.total();
        let (a, b) = (cell(&a), cell(&b));
        for (i, &from_i) in order.iter().enumerate() {
            for (j, &from_j) in order.iter().enumerate() {
                let ratio = b[i][j] / a[from_i][from_j];
                assert!((ratio - 1.0).abs() < 0.15, "{source:?} ({i},{j}): {ratio}");
            }
        }
    }
}

#[test]
fn the_same_seed_gives_the_same_bytes_at_any_number_of_threads() {
    let run = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| format!("{:?}", study(params(exponential(10.0)))))
    };
    let one = run(1);
    assert_eq!(one, run(2));
    assert_eq!(one, run(5));
}

/// One image per batch and no queue: the other view is the only key, and there is nothing to learn.
#[test]
fn an_anchor_with_its_other_view_alone_has_no_gradient() {
    let mut p = params(ClassCounts::new(vec![10, 10]).unwrap());
    p.batch = 1;
    let result = study(p);
    let cell = result.cell(LossForm::Out, false, KeySource::None, false).unwrap();
    assert_eq!(cell.mass.total(), vec![vec![0.0; 2]; 2]);
    assert!(cell.ratio(Statistic::BatchLevel).mean.is_nan(), "no mass, no ratio");
}

#[test]
fn odd_settings_are_defined_or_null_and_never_nan_in_the_matrix() {
    for (counts, batch, keys, dim) in [
        (vec![7], 1, 1, 1),
        (vec![7], 3, 1, 2),
        (vec![9, 1], 2, 1, 1),
        (vec![1000, 1, 1], 5, 1, 2),
        ((0..250).map(|c| 1 + c * c).collect(), 4, 1, 3),
    ] {
        for t in [0.01, 10.0] {
            let mut p = params(ClassCounts::new(counts.clone()).unwrap());
            (p.batch, p.keys_per_class, p.dim, p.temperature) = (batch, keys, dim, t);
            p.batches = 4;
            for cell in study(p).cells {
                let all = cell.mass.total();
                assert!(all.iter().flatten().all(|v| v.is_finite() && *v >= 0.0), "{counts:?}");
            }
        }
    }
}

/// 8142 classes, iNaturalist's number, with Pareto-like counts and B = 256.
#[test]
fn thousands_of_classes_are_simulated() {
    let counts = (1..=8142u64).map(|rank| (1000 / rank).max(2) + 90 / (1 + rank / 100)).collect();
    let counts = ClassCounts::new(counts).unwrap();
    let mut p = params(counts.clone());
    (p.batch, p.keys_per_class, p.batches, p.dim) = (256, 4, 3, 32);
    p.concentration = 100.0;
    let result = study(p);
    assert!(result.groups.len() < 30 && !result.groups.single_classes());
    for cell in &result.cells {
        let total = cell.mass.total();
        assert!(total.iter().flatten().all(|v| v.is_finite() && *v >= 0.0));
        let sum: f64 = cell.by_shot.iter().map(|g| g.share.mean).sum();
        assert_eq!(cell.by_shot.len(), 3);
        assert!((sum - 1.0).abs() < 1e-9, "{sum}");
        // Weights per anchor are close to equal here, so a plain anchor's mass follows its images.
        for group in
            cell.by_shot.iter().filter(|_| !cell.balanced_loss && cell.form == LossForm::Out)
        {
            let relative = group.share.mean / group.images;
            assert!((0.7..1.4).contains(&relative), "{:?} {:?}: {relative}", cell.source, group);
        }
    }
    let plain = result.cell(LossForm::Out, false, KeySource::Fifo, false).unwrap();
    let batch = plain.ratio(Statistic::BatchLevel).mean;
    assert!(batch > 20.0, "the head's anchors are more often in a batch: {batch}");
}

fn random_sims() -> impl Strategy<Value = (Vec<f64>, Vec<usize>)> {
    (1usize..40).prop_flat_map(|n| {
        (prop::collection::vec(-1.0..1.0f64, n), prop::collection::vec(0usize..3, n))
    })
}

proptest! {
    // The failing case is printed with its values; nothing is left in the tree.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn one_anchor_is_finite_and_balanced((sims, kinds) in random_sims(), exponent in -2.0..1.0f64) {
        let kind = [Relation::Positive, Relation::Negative, Relation::Excluded];
        let relations: Vec<_> = kinds.iter().map(|&k| kind[k]).collect();
        let t = Temperature::new(10f64.powf(exponent)).unwrap();
        let positives = relations.iter().filter(|r| **r == Relation::Positive).count();
        for form in LossForm::ALL {
            let value = anchor_gradient(form, t, &sims, &relations);
            prop_assert_eq!(value.positives, positives);
            prop_assert!(value.loss.is_finite() && value.grad.iter().all(|g| g.is_finite()));
            // Pull and push are equal, and an anchor without positives is left alone.
            let scale = value.grad.iter().map(|g| g.abs()).sum::<f64>();
            // Logits of size 1/T round by eps/T, and the gradient has another 1/T: near-satisfied
            // anchors at a low temperature cancel down to that.
            let rounding = 8.0 * f64::EPSILON * sims.len() as f64 / (t.get() * t.get());
            prop_assert!(value.grad.iter().sum::<f64>().abs() <= 1e-9 * scale + rounding);
            prop_assert!(positives > 0 || (value.loss == 0.0 && scale == 0.0));
        }
    }

    #[test]
    fn real_features_equal_the_reference(
        n in 1usize..24, d in 1usize..5, classes in 1usize..6, exponent in -2.0..1.0f64, seed in 0u64..1000,
    ) {
        use rand::RngExt;
        let mut rng = Streams::new(seed).stream("features", &[]);
        let mut features = ndarray::Array2::from_shape_simple_fn((n, d), || rng.random_range(-1.0..1.0));
        let labels: Vec<usize> = (0..n).map(|_| rng.random_range(0..classes)).collect();
        let t = Temperature::new(10f64.powf(exponent)).unwrap();
        let observed = observe(features.clone(), &labels, &vec![50; classes], t, &[(3, 4)]).unwrap();
        rescom::contrast::normalize_rows(&mut features);
        let rows = (features.view(), labels.as_slice());
        let loss = SupConLoss { form: LossForm::Out, temperature: t };
        let value = loss.evaluate(rows, rows, SelfPairs::Diagonal, None).unwrap();
        let error = (observed.loss - value.loss).abs();
        prop_assert!(error <= 1e-9 * value.loss.abs().max(1.0), "{} {}", observed.loss, value.loss);
        prop_assert_eq!(observed.without_positives, value.positives.iter().filter(|p| **p == 0).count());
        let mut expected = ndarray::Array2::<f64>::zeros((classes, classes));
        for ((i, j), g) in value.grad_sims.indexed_iter() {
            expected[[labels[i], labels[j]]] += g.abs();
        }
        let seen = &observed.positive + &observed.negative;
        for (a, b) in seen.iter().zip(&expected) {
            prop_assert!((a - b).abs() <= 1e-9 * b.abs() + 1e-12, "{} {}", a, b);
        }
        let (mut raw, mut tangent) = (vec![0.0; classes], vec![0.0; classes]);
        for ((g, z), &label) in value.grad_anchors.rows().into_iter().zip(features.rows()).zip(&labels) {
            raw[label] += g.dot(&g).sqrt();
            let g = &g - &(&z * g.dot(&z));
            tangent[label] += g.dot(&g).sqrt();
        }
        let seen = observed.norms_per_class.iter().chain(&observed.tangent_norms_per_class);
        for (a, b) in seen.zip(raw.iter().chain(&tangent)) {
            prop_assert!((a - b).abs() <= 1e-9 * b.abs() + 1e-12 / t.get(), "{} {}", a, b);
        }
    }
}
