//! The losses as parts: what they are made of can be exchanged, and what does not fit is refused.

use rescom::{
    contrast::{HardPairMiner, Temperature},
    longtail::EffectiveNumber,
    run::{ContrastSpec, Keys, LossSpec, Miner, QueueInit},
    train::{
        HostData, HostTensor, HostTensors, LabelAwareSmoothing, SmoothingShape,
        losses::{
            BalancedSoftmax, BatchKeys, ClassBalancedQueue, ClassBalancedSupCon,
            ClassificationLoss, ContrastiveLoss, CrossEntropy, FifoQueue, FirstView, GivenKeys,
            JointLoss, KeyQueue, KeySource, LabelAwareLoss, Mined, SiameseBalancedSoftmax,
            SupConLoss,
        },
    },
};

use crate::common::{counts, double, labels, normal, rescom, unit_rows};

const CLASSES: usize = 4;
const HALF: usize = 6;
const DIM: usize = 5;

fn supcon() -> SupConLoss {
    SupConLoss::new(Temperature::new(0.2).unwrap())
}

fn class_balanced() -> ClassBalancedSupCon {
    ClassBalancedSupCon::new(supcon(), EffectiveNumber::new(0.99).unwrap(), &counts(CLASSES))
}

fn int(values: Vec<i64>) -> HostTensor {
    HostTensor::i64(&[values.len()], values).unwrap()
}

/// Logits, unit rows and labels of both views.
fn inputs() -> HostTensors {
    let half = labels(1, HALF, CLASSES);
    let m = 2 * HALF;
    [
        ("logits".to_owned(), double(&[m, CLASSES], normal("logits", 1, m * CLASSES))),
        ("features".to_owned(), double(&[m, DIM], unit_rows("rows", 1, m, DIM))),
        ("labels".to_owned(), int([half.clone(), half].concat())),
    ]
    .into()
}

fn loss(of: &HostTensors) -> f64 {
    of["loss"].to_f64()[0]
}

/// Keys of all classes, as rows with labels and as both kinds of queue.
fn keys() -> (GivenKeys, ClassBalancedQueue, FifoQueue) {
    let (q, n) = (3, 3 * CLASSES);
    let rows = unit_rows("keys", 2, n, DIM);
    let of: Vec<i64> = (0..n).map(|k| (k / q) as i64).collect();
    let columns = (0..DIM * n).map(|e| rows[e % n * DIM + e / n]).collect();
    let given = GivenKeys::new(&double(&[n, DIM], rows.clone()), &int(of.clone())).unwrap();
    let ring = [("queue_list".to_owned(), double(&[DIM, n], columns))].into();
    let ring = ClassBalancedQueue::from_state(&ring, CLASSES, QueueInit::Random).unwrap();
    let fifo: HostTensors = [
        ("fifo.keys".to_owned(), double(&[n, DIM], rows)),
        ("fifo.labels".to_owned(), int(of)),
        ("fifo.state".to_owned(), int(vec![0, n as i64])),
    ]
    .into();
    (given, ring, FifoQueue::from_state(&fifo, QueueInit::Random).unwrap())
}

#[test]
fn the_loss_of_a_recipe_is_the_one_put_together_by_hand() {
    let inputs = inputs();
    let balanced = || BalancedSoftmax::new(&counts(CLASSES));
    let spec = |classification: &str, views_classified, contrast: &str| LossSpec {
        classification: classification.try_into().unwrap(),
        views_classified,
        contrast: contrast.try_into().ok(),
        keys: vec![Keys::Batch],
        miner: Miner::None,
        mixup: false,
    };
    let (ce, bs, plain) = ("cross-entropy", "balanced-softmax", "supcon");
    let by_hand = [
        (spec(ce, 1, plain), JointLoss::new(FirstView(CrossEntropy)), false),
        (spec(ce, 2, plain), JointLoss::new(CrossEntropy), false),
        (spec(bs, 1, plain), JointLoss::new(FirstView(balanced())), false),
        (spec(bs, 2, plain), JointLoss::new(SiameseBalancedSoftmax(balanced())), false),
        (
            spec(bs, 2, "class-balanced-supcon"),
            JointLoss::new(SiameseBalancedSoftmax(balanced())),
            true,
        ),
    ];
    let mut seen: Vec<f64> = vec![];
    for (spec, joint, weighted) in by_hand {
        let joint =
            if weighted { joint.with(0.5, class_balanced()) } else { joint.with(0.5, supcon()) };
        let joint = joint.unwrap();
        let hand = joint.evaluate(&inputs, &BatchKeys).unwrap();
        let numbers = rescom(DIM).contrast;
        let of_spec = JointLoss::of_spec(&spec, &numbers, &counts(CLASSES)).unwrap();
        assert_eq!(hand, of_spec.evaluate(&inputs, &BatchKeys).unwrap(), "{spec:?}");
        let value = loss(&hand);
        let parts = hand["loss_cls"].to_f64()[0] + 0.5 * hand["loss_con"].to_f64()[0];
        assert!((value - parts).abs() < 1e-14, "{value} {parts}");
        assert!(!seen.contains(&value), "{spec:?} gives the loss of another");
        seen.push(value);
    }
}

#[test]
fn keys_are_the_same_wherever_they_come_from() {
    let inputs = inputs();
    let (given, ring, fifo) = keys();
    let of = |keys: &dyn KeySource| {
        class_balanced().evaluate(&inputs["features"], &inputs["labels"], keys).unwrap()
    };
    let want = of(&given);
    assert_eq!(of(&ring), want);
    assert_eq!(of(&fifo), want);
    let want = of(&BatchKeys.and(&given));
    assert!(loss(&want) > loss(&of(&given)), "more keys, more loss");
    assert_eq!(of(&BatchKeys.and(&ring)), want);
    // A miner that asks for every key gives the same keys in another order.
    let all = HardPairMiner { num_pos: 3, num_neg: 3 * (CLASSES - 1) };
    let mined = [
        of(&BatchKeys.and(Mined::new(ring, all).unwrap())),
        of(&BatchKeys.and(Mined::new(fifo, all).unwrap())),
    ];
    for mined in &mined {
        assert!((loss(mined) - loss(&want)).abs() < 1e-13);
        let gradients = mined["grad_features"].to_f64().into_iter();
        for (g, w) in gradients.zip(want["grad_features"].to_f64()) {
            assert!((g - w).abs() < 1e-13, "{g} {w}");
        }
    }
    assert_eq!(mined[0]["sim"], mined[1]["sim"]);
}

#[test]
fn a_miner_keeps_the_hardest_in_order() {
    // One anchor of class 0 along the first axis: the similarity of a key is its first coordinate.
    let key = |s: f64| [s, (1.0 - s * s).sqrt()];
    let rows: Vec<f64> = [0.9, 0.1, 0.5, -0.3, 0.8, 0.2].into_iter().flat_map(key).collect();
    let fifo: HostTensors = [
        ("fifo.keys".to_owned(), double(&[6, 2], rows)),
        ("fifo.labels".to_owned(), int(vec![0, 0, 0, 1, 1, 1])),
        ("fifo.state".to_owned(), int(vec![0, 6])),
    ]
    .into();
    let mine = |num_pos, num_neg| {
        let fifo = FifoQueue::from_state(&fifo, QueueInit::Random).unwrap();
        let keys = Mined::new(fifo, HardPairMiner { num_pos, num_neg }).unwrap();
        let anchor = double(&[1, 2], vec![1.0, 0.0]);
        supcon().evaluate(&anchor, &int(vec![0]), &keys).unwrap()
    };
    let found = mine(2, 1);
    assert_eq!(found["sim"].to_f64(), [0.1, 0.5, 0.8]);
    assert_eq!(found["positive"].as_i64().unwrap(), [1, 1, 0]);
    let by_hand = |positives: &[f64], negatives: &[f64]| {
        let sum: f64 = positives.iter().chain(negatives).map(|s| (s / 0.2).exp()).sum();
        positives.iter().map(|s| sum.ln() - s / 0.2).sum::<f64>() / positives.len() as f64
    };
    assert!((loss(&found) - by_hand(&[0.1, 0.5], &[0.8])).abs() < 1e-12);
    // Fewer than asked for: all of them, and what is missing is no key.
    let found = mine(5, 4);
    assert_eq!(found["num_pos"].as_i64().unwrap(), [3]);
    assert!((loss(&found) - by_hand(&[0.9, 0.1, 0.5], &[-0.3, 0.8, 0.2])).abs() < 1e-12);
}

#[test]
fn what_does_not_fit_is_refused_with_a_word_on_it() {
    let inputs = inputs();
    let (logits, rows, of) = (&inputs["logits"], &inputs["features"], &inputs["labels"]);
    let (short, large) = (int(vec![0; 3]), int(vec![CLASSES as i64; 2 * HALF]));
    let queue = || ClassBalancedQueue::random(CLASSES, 3, DIM, QueueInit::Random, 0).unwrap();
    let state = |name: &str, shape: &[usize]| -> HostTensors {
        let n = shape.iter().product();
        [(name.to_owned(), double(shape, vec![0.1; n]))].into()
    };
    let ring = |state| ClassBalancedQueue::from_state(&state, CLASSES, QueueInit::Random).err();
    let smoothing = LabelAwareSmoothing { shape: SmoothingShape::Concave, head: 1.0, tail: 0.0 };
    let no_contrast = JointLoss::new(CrossEntropy).evaluate(&inputs, &BatchKeys).err();
    let joint = JointLoss::new(CrossEntropy).with(1.0, supcon()).unwrap();
    let balanced = BalancedSoftmax::new(&counts(CLASSES));
    let one_class = double(&[2, 1], vec![0.5, 0.1]);
    let even = LabelAwareSmoothing { shape: SmoothingShape::Linear, head: 0.3, tail: 0.0 };
    let label_aware = LabelAwareLoss::new(&even, &counts(CLASSES)).unwrap();
    let three = double(&[3, CLASSES], vec![0.5; 3 * CLASSES]);
    let powered = |power| LabelAwareSmoothing { shape: SmoothingShape::Exp { power }, ..even };
    let powered = |power| LabelAwareLoss::new(&powered(power), &counts(CLASSES)).err();
    let without = |name: &str| {
        let mut inputs = inputs.clone();
        inputs.remove(name);
        joint.evaluate(&inputs, &BatchKeys).err()
    };
    let full = rescom(DIM);
    let of_numbers =
        |numbers: ContrastSpec| JointLoss::of_spec(&full.loss, &numbers, &counts(CLASSES)).err();
    let bad_beta = ContrastSpec { effective_number_beta: 1.0, ..full.contrast };
    let bad_lambda = ContrastSpec { con_weight: -1.0, ..full.contrast };
    let unknown = LossSpec { contrast: "triplet".try_into().ok(), ..full.loss.clone() };
    let unknown = JointLoss::of_spec(&unknown, &full.contrast, &counts(CLASSES)).err();
    let many = HardPairMiner { num_pos: 4, num_neg: 1 };
    let torn = HostTensor { shape: vec![2, 3], data: HostData::F64(vec![0.0; 5]) };
    for (found, words) in [
        (CrossEntropy.evaluate(logits, &short).err(), "labels: shape [3]; expected 12"),
        (CrossEntropy.evaluate(logits, &large).err(), "row 0 has label 4; expected 0..4"),
        (CrossEntropy.evaluate(of, of).err(), "logits: shape [12] with 12 values"),
        (CrossEntropy.evaluate(&torn, of).err(), "logits: shape [2, 3] with 5 values"),
        (balanced.evaluate(&one_class, &int(vec![0; 2])).err(), "1 columns; expected 4"),
        (label_aware.evaluate(&one_class, &int(vec![0; 2])).err(), "1 columns; expected 4"),
        (FirstView(CrossEntropy).evaluate(&three, &short).err(), "3 rows of 4 classes"),
        (
            SiameseBalancedSoftmax(balanced).evaluate(&three, &short).err(),
            "one class, and two rows",
        ),
        (CrossEntropy.evaluate(&double(&[0, 4], vec![]), &int(vec![])).err(), "0 rows"),
        (powered(-1.0), "power -1"),
        (powered(f64::NAN), "power NaN"),
        (JointLoss::new(CrossEntropy).with(f64::NAN, supcon()).err(), "lambda = NaN"),
        (supcon().evaluate(rows, &short, &BatchKeys).err(), "labels: shape [3]"),
        (GivenKeys::new(rows, &int(vec![-1; 12])).err(), "row 0 has label -1; expected at least 0"),
        (queue().push(rows, &short).err(), "labels of keys: shape [3]"),
        (Mined::new(queue(), many).err(), "num_pos = 4: the queue holds only 3"),
        (ring(HostTensors::new()), "`queue_list` is missing"),
        (ring(state("queue_list", &[DIM, 5])), "5 columns"),
        (
            FifoQueue::from_state(&state("fifo.keys", &[2, 3]), QueueInit::Random).err(),
            "fifo.labels",
        ),
        (ClassBalancedQueue::random(0, 1, 1, QueueInit::Random, 0).err(), "0 classes"),
        (FifoQueue::random(4, 0, QueueInit::Random, 0).err(), "4 keys of 0 numbers"),
        (LabelAwareLoss::new(&smoothing, &counts(CLASSES)).err(), "head 1"),
        (no_contrast, "no contrastive part"),
        (without("labels"), "`labels` is missing"),
        (without("features"), "`features` is missing"),
        (of_numbers(bad_beta), "beta"),
        (of_numbers(bad_lambda), "lambda = -1"),
        (unknown, "loss.contrast = triplet: there is no such loss; expected one of supcon"),
    ] {
        let e = found.unwrap_or_else(|| panic!("no error for: {words}"));
        assert!(e.exit_code() == 2 && e.to_string().contains(words), "{words}: {e}");
    }
    // A class beyond the queue's is libtorch's to refuse; nothing is written then.
    let mut queue = queue();
    let before = queue.state();
    assert!(queue.push(rows, &large).is_err());
    assert_eq!(queue.state(), before);
}
