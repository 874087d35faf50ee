//! What every training step keeps, for every method.

use rescom::{
    run::{Keys, LossSpec, Miner, Precision, QueueInit, TrainerSpec},
    train::{HostTensor, Trainer, from_safetensors, set_threads, to_safetensors},
};

use crate::common::{counts, images, labels, methods, pictures, rescom, spec};

const CLASSES: usize = 5;
const BATCH: usize = 12;

fn new(spec: &TrainerSpec, seed: u64) -> Trainer {
    // Tests run side by side; more threads each would only wait for one another.
    set_threads(1);
    Trainer::new(spec, &counts(CLASSES), seed, "cpu").unwrap()
}

/// One step on the batch of `seed`; the loss.
fn step(trainer: &mut Trainer, seed: u64, lr: f64) -> f64 {
    let y = labels(seed, BATCH, CLASSES);
    let x = pictures(seed, &y, trainer.spec().loss.views());
    let out = trainer.step(images(&x), &y, lr).unwrap();
    assert!(out.applied && out.grad_norm > 0.0);
    out.loss
}

#[test]
fn resuming_from_the_file_continues_bit_for_bit() {
    for (name, spec) in methods(6) {
        let mut one = new(&spec, 1);
        for s in 0..3 {
            step(&mut one, s, 0.1);
        }
        let bytes = to_safetensors(&one.state().unwrap()).unwrap();
        // A trainer that has gone elsewhere: everything must come from the file.
        let mut two = new(&spec, 1);
        let _ = step(&mut two, 77, 0.1);
        two.load_state(&from_safetensors("test", &bytes).unwrap()).unwrap();
        for s in 3..6 {
            assert_eq!(step(&mut one, s, 0.1), step(&mut two, s, 0.1), "{name}, step {s}");
        }
        assert!(one.state().unwrap() == two.state().unwrap(), "{name}");
        assert_eq!(two.steps(), 6);
    }
}

#[test]
fn the_same_seed_gives_the_same_run_and_another_does_not() {
    let run = |seed| {
        let mut t = new(&rescom(6), seed);
        step(&mut t, 0, 0.1);
        to_safetensors(&t.state().unwrap()).unwrap()
    };
    assert!(run(5) == run(5));
    assert!(run(5) != run(6));
}

#[test]
fn every_method_learns_the_bars() {
    for (name, method) in methods(6) {
        let mut t = new(&method, 3);
        // As many of each class, so that every method can do it.
        let y: Vec<i64> = (0..20).map(|i| i % CLASSES as i64).collect();
        let mut learn = |seed: u64| {
            let x = pictures(seed, &y, t.spec().loss.views());
            t.step(images(&x), &y, 0.05).unwrap().loss
        };
        let first: f64 = (0..3).map(&mut learn).sum();
        for seed in 3..40 {
            learn(seed);
        }
        let last: f64 = (40..43).map(&mut learn).sum();
        assert!(last < 0.8 * first, "{name}: {first} then {last}");
        let y: Vec<i64> = (0..50).map(|i| i % CLASSES as i64).collect();
        let logits = t.logits(images(&pictures(99, &y, 1))).unwrap();
        let best = |row: ndarray::ArrayView1<'_, f32>| {
            (0..CLASSES).max_by(|&a, &b| row[a].total_cmp(&row[b])).unwrap() as i64
        };
        let right =
            logits.rows().into_iter().zip(&y).filter(|(row, y)| best(row.view()) == **y).count();
        assert!(right > 25, "{name}: {right} of 50 right, 10 by chance");
    }
}

#[test]
fn all_sixteen_ablations_train_and_no_two_are_the_same() {
    let mut seen: Vec<(u8, f64)> = vec![];
    for off in 0..16u8 {
        let mut method = rescom(6);
        let loss = &mut method.loss;
        loss.views_classified = if off & 1 == 0 { 2 } else { 1 };
        if off & 2 != 0 {
            loss.keys = vec![Keys::Batch, Keys::FifoQueue];
        }
        if off & 4 != 0 {
            loss.miner = Miner::None;
        }
        if off & 8 != 0 {
            loss.contrast = "supcon".try_into().ok();
        }
        let mut t = new(&method, 1);
        step(&mut t, 0, 0.05);
        let loss = step(&mut t, 1, 0.05);
        for (other, l) in &seen {
            assert!((l - loss).abs() > 1e-9, "{off:04b} and {other:04b} give the same loss");
        }
        seen.push((off, loss));
    }
}

#[test]
fn a_diverged_step_changes_nothing() {
    for (name, method) in methods(6) {
        let mut t = new(&method, 1);
        step(&mut t, 0, 0.1);
        let before = t.state().unwrap();
        let y = labels(1, BATCH, CLASSES);
        let mut x = pictures(1, &y, t.spec().loss.views());
        x[7] = f32::NAN;
        let out = t.step(images(&x), &y, 0.1).unwrap();
        assert!(!out.applied && !out.loss.is_finite(), "{name}");
        let after = t.state().unwrap();
        let moved: Vec<&String> =
            before.keys().filter(|n| before.get(*n) != after.get(*n)).collect();
        assert!(moved.is_empty() && before.len() == after.len(), "{name}: {moved:?}");
        assert_eq!(t.steps(), 1);
        // And the next step is the one that would have followed.
        let mut other = new(t.spec(), 1);
        other.load_state(&before).unwrap();
        assert_eq!(step(&mut t, 2, 0.1), step(&mut other, 2, 0.1), "{name}");
        assert!(t.state().unwrap() == other.state().unwrap(), "{name}");
    }
}

/// MoCo by its definition: theta_k = m theta_k + (1 - m) theta_q before the keys are made; the keys are the
/// network's projections of view 2 in training mode; those keys are compared with the anchors of view 1 and
/// then enter the queue with the batch's labels.
#[test]
fn the_key_network_follows_the_encoder_and_makes_the_keys() {
    const MOMENTUM: f32 = 0.9;
    let (_, method) = methods(6).into_iter().find(|(name, _)| *name == "moco+bs").unwrap();
    let mut t = new(&method.clone(), 1);
    step(&mut t, 0, 0.1);
    let before = t.state().unwrap();
    step(&mut t, 1, 0.1);
    let after = t.state().unwrap();
    let parameter = |n: &str| !(n.contains("running_") || n.ends_with("num_batches_tracked"));
    let mut moved = 0;
    for (name, theta_k) in &after {
        let Some(of_query) = name.strip_prefix("momentum.").filter(|n| parameter(n)) else {
            continue;
        };
        let old = before[name].as_f32().unwrap();
        let query = before[of_query].as_f32().unwrap();
        for ((new, old), query) in theta_k.as_f32().unwrap().iter().zip(old).zip(query) {
            let expected = MOMENTUM * old + (1.0 - MOMENTUM) * query;
            assert!((new - expected).abs() < 1e-6, "{name}: {new} {expected}");
            moved += usize::from((new - old).abs() > 1e-5);
        }
    }
    assert!(moved > 100, "{moved} parameters moved");

    // A network of ResCom's shape with the key network's weights, run on view 2 alone in training mode: what
    // it writes into its own queue are the keys. Its two views must both be view 2, as batch norm sees all rows.
    let y = labels(1, BATCH, CLASSES);
    let x = pictures(1, &y, 2);
    let view_2 = &x[x.len() / 2..];
    let mut plain = method;
    plain.loss.keys = vec![Keys::Batch, Keys::FifoQueue];
    plain.contrast.queue_init = QueueInit::Random;
    let mut keys = new(&plain, 9);
    let of_keys = after.iter().filter_map(|(n, t)| {
        let name = n.strip_prefix("momentum.")?;
        // Statistics before the step: they do not enter the keys in training mode.
        Some((name.to_owned(), if parameter(name) { t.clone() } else { before[n].clone() }))
    });
    keys.load_model(&of_keys.collect()).unwrap();
    let twice = [view_2, view_2].concat();
    assert!(keys.step(images(&twice), &y, 0.0).unwrap().applied);
    let (got, want) = (&after["fifo.keys"], &keys.state().unwrap()["fifo.keys"]);
    let width = 6 * BATCH;
    // The second step of the one, the first of the other.
    let got = &got.as_f32().unwrap()[width..2 * width];
    let want = &want.as_f32().unwrap()[..width];
    let largest = got.iter().zip(want).fold(0f32, |m, (g, w)| m.max((g - w).abs()));
    assert!(largest < 1e-5, "{largest}");
    assert_eq!(after["fifo.labels"].as_i64().unwrap()[BATCH..2 * BATCH], y);
}

#[test]
fn channels_last_and_bf16_give_nearly_the_same_step() {
    for (name, method) in methods(6) {
        let loss = |precision, channels_last| {
            let spec = TrainerSpec { precision, channels_last, ..method.clone() };
            let mut t = new(&spec, 1);
            (step(&mut t, 0, 0.01), step(&mut t, 1, 0.01))
        };
        let (a, b) = loss(Precision::Fp32, false);
        let (c, d) = loss(Precision::Fp32, true);
        assert!((a - c).abs() < 1e-5 * a && (b - d).abs() < 1e-4 * b, "{name}: {a} {c}, {b} {d}");
        let (e, f) = loss(Precision::Bf16, true);
        assert!((a - e).abs() < 0.05 * a && (b - f).abs() < 0.1 * b, "{name}: {a} {e}, {b} {f}");
        assert!((a - e).abs() > 1e-6 * a, "{name}: bfloat16 gives the very loss of float32, {a}");
    }
}

#[test]
fn two_half_batches_evaluate_as_their_union() {
    let mut t = new(&rescom(6), 1);
    step(&mut t, 0, 0.05);
    let y = labels(4, BATCH, CLASSES);
    let x = pictures(4, &y, 2);
    let (first, second) = x.split_at(x.len() / 2);
    let union = t.logits(images(&x)).unwrap();
    let halves = [t.logits(images(first)).unwrap(), t.logits(images(second)).unwrap()];
    let halves = ndarray::concatenate![ndarray::Axis(0), halves[0], halves[1]];
    let largest = (&union - &halves).iter().fold(0f32, |m, d| m.max(d.abs()));
    assert!(largest < 1e-5, "{largest}");
    let rescom::train::Outputs { features, projections: z, .. } = t.outputs(images(&x)).unwrap();
    assert_eq!((features.dim(), z.as_ref().unwrap().dim()), ((2 * BATCH, 16), (2 * BATCH, 6)));
    for row in z.unwrap().rows() {
        assert!((row.dot(&row) - 1.0).abs() < 1e-5);
    }
}

#[test]
fn what_cannot_work_is_refused_before_training() {
    let mut asks_too_much = rescom(6);
    asks_too_much.contrast.num_pos = 5;
    let mut no_queue = rescom(6);
    no_queue.loss.keys = vec![Keys::Batch];
    let mut cold = rescom(6);
    cold.contrast.temperature = 0.0;
    let mut heavy = rescom(6);
    heavy.contrast.con_weight = f64::NAN;
    let mut mixed = rescom(6);
    mixed.loss.mixup = true;
    let mut thrice = rescom(6);
    thrice.loss.views_classified = 3;
    let mut nothing = rescom(6);
    nothing.loss.keys = vec![];
    let mut both = spec("moco+bs", 6);
    both.loss.views_classified = 2;
    let unknown = LossSpec { classification: "softmax".try_into().unwrap(), ..rescom(6).loss };
    let unknown = TrainerSpec { loss: unknown, ..rescom(6) };
    for (method, word) in [
        (asks_too_much, "contrast.num-pos = 5: expected at most the 4 keys"),
        (no_queue, "loss.keys has no queue"),
        (cold, "contrast.temperature = 0"),
        (heavy, "contrast.con-weight = NaN"),
        (mixed, "loss.mixup"),
        (thrice, "loss.views-classified = 3: expected 1 or 2"),
        (nothing, "loss.keys = []: expected batch or key-encoder"),
        (both, "only view 1 passes the encoder"),
        (
            unknown,
            "loss.classification = softmax: there is no such loss; expected one of cross-entropy",
        ),
    ] {
        let e = Trainer::new(&method, &counts(CLASSES), 1, "cpu").unwrap_err();
        assert!(e.exit_code() == 2 && e.to_string().contains(word), "{e}");
    }
    let e = Trainer::new(&spec("ce", 6), &counts(CLASSES), 1, "cuda:99").unwrap_err();
    assert_eq!(e.exit_code(), 2, "{e}");
}

#[test]
fn a_batch_that_does_not_fit_is_refused() {
    let mut t = new(&rescom(6), 1);
    let y = labels(0, BATCH, CLASSES);
    let one_view = pictures(0, &y, 1);
    let two_views = pictures(0, &y, 2);
    let outside = vec![CLASSES as i64; BATCH];
    assert_eq!(t.step(images(&one_view), &y, 0.1).unwrap_err().exit_code(), 2);
    assert_eq!(t.step(images(&two_views), &outside, 0.1).unwrap_err().exit_code(), 2);
    assert_eq!(t.step(images(&two_views), &[], 0.1).unwrap_err().exit_code(), 2);
}

#[test]
fn a_checkpoint_of_another_network_is_refused_by_name() {
    let state = new(&rescom(6), 1).state().unwrap();
    let e = new(&rescom(8), 1).load_state(&state).unwrap_err();
    assert!(e.to_string().contains("mlp.3.weight"), "{e}");
    let mut short = state.clone();
    short.remove("queue_list");
    let e = new(&rescom(6), 1).load_state(&short).unwrap_err();
    assert!(e.to_string().contains("queue_list"), "{e}");
    let mut narrow = state.clone();
    narrow.insert("queue_filled".into(), HostTensor::i64(&[2], vec![1, 1]).unwrap());
    let e = new(&rescom(6), 1).load_state(&narrow).unwrap_err();
    assert!(e.to_string().contains("queue_filled"), "{e}");
    // A released checkpoint has none: its queue is full.
    let mut released = state.clone();
    released.remove("queue_filled");
    let mut t = new(&rescom(6), 1);
    t.load_state(&released).unwrap();
    assert_eq!(t.state().unwrap()["queue_filled"].as_i64(), Some(&[4; CLASSES][..]));
    let network = new(&rescom(6), 1).model_state().unwrap();
    assert!(new(&rescom(6), 1).load_state(&network).is_err());
}
