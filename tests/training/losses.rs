//! The losses as parts: what they are made of can be exchanged, and what does not fit is refused.

use rescom::{
    contrast::{HardPairMiner, Temperature},
    longtail::EffectiveNumber,
    run::{ContrastSpec, Keys, LossSpec, Miner, QueueInit},
    train::{
        HostTensor, HostTensors, LabelAwareSmoothing, SmoothingShape,
        losses::{
            BalancedSoftmax, BatchKeys, ClassBalancedQueue, ClassBalancedSupCon,
            ClassificationLoss, CrossEntropy, FifoQueue, FirstView, GivenKeys, JointLoss, KeyQueue,
            KeySource, LabelAwareLoss, Mined, Pairs, QueueState, Searchable,
            SiameseBalancedSoftmax, SupConLoss, unit_rows,
        },
    },
};

use tch::{Device, Kind, Tensor};

use crate::{
    common::{self, counts, double, labels, normal, rescom},
    gradients::{self, host, tensor},
};

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
        ("features".to_owned(), double(&[m, DIM], common::unit_rows("rows", 1, m, DIM))),
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
    let rows = common::unit_rows("keys", 2, n, DIM);
    let of: Vec<i64> = (0..n).map(|k| (k / q) as i64).collect();
    let columns = (0..DIM * n).map(|e| rows[e % n * DIM + e / n]).collect();
    let given = double(&[n, DIM], rows.clone());
    let given = GivenKeys::new(&tensor(&given), &tensor(&int(of.clone()))).unwrap();
    let ring = [("queue_list".to_owned(), tensor(&double(&[DIM, n], columns)))].into();
    let ring = ClassBalancedQueue::from_state(&ring, CLASSES, QueueInit::Random).unwrap();
    let fifo: HostTensors = [
        ("fifo.keys".to_owned(), double(&[n, DIM], rows)),
        ("fifo.labels".to_owned(), int(of)),
        ("fifo.state".to_owned(), int(vec![0, n as i64])),
    ]
    .into();
    let fifo = gradients::queue_state(&fifo);
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
        let hand = gradients::joint(&joint, &inputs, &BatchKeys);
        let numbers = rescom(DIM).contrast;
        let of_spec = JointLoss::of_spec(&spec, &numbers, &counts(CLASSES)).unwrap();
        assert_eq!(hand, gradients::joint(&of_spec, &inputs, &BatchKeys), "{spec:?}");
        let value = loss(&hand);
        let parts = hand["loss_cls"].to_f64()[0] + 0.5 * hand["loss_con"].to_f64()[0];
        assert!((value - parts).abs() < 1e-14, "{value} {parts}");
        assert!(!seen.contains(&value), "{spec:?} gives the loss of another");
        seen.push(value);
    }
}

#[test]
fn a_loss_of_the_first_view_has_no_gradient_in_the_second() {
    let inputs = inputs();
    let (logits, of) = (&inputs["logits"], &inputs["labels"]);
    let first = gradients::of_logits(&FirstView(CrossEntropy), logits, of);
    let both = gradients::of_logits(&CrossEntropy, logits, of);
    let grad = |of: &HostTensors| of["grad_logits"].to_f64();
    let (first, both) = (grad(&first), grad(&both));
    let (seen, unseen) = first.split_at(HALF * CLASSES);
    assert!(unseen.iter().all(|&g| g == 0.0), "{unseen:?}");
    // The mean is over half as many rows.
    for (g, b) in seen.iter().zip(&both) {
        assert!((g - 2.0 * b).abs() < 1e-15, "{g} {b}");
    }
    assert!(both[HALF * CLASSES..].iter().any(|&g| g != 0.0));
}

#[test]
fn keys_are_the_same_wherever_they_come_from() {
    let inputs = inputs();
    let (given, ring, fifo) = keys();
    let of = |keys: &dyn KeySource| {
        gradients::of_keys(&class_balanced(), &inputs["features"], &inputs["labels"], keys)
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
    let fifo = gradients::queue_state(&fifo);
    let mine = |num_pos, num_neg| {
        let fifo = FifoQueue::from_state(&fifo, QueueInit::Random).unwrap();
        let keys = Mined::new(fifo, HardPairMiner { num_pos, num_neg }).unwrap();
        let anchor = double(&[1, 2], vec![1.0, 0.0]);
        gradients::of_keys(&supcon(), &anchor, &int(vec![0]), &keys)
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

/// `queue` whose state was changed by `change`.
fn damaged(queue: &dyn KeyQueue, change: impl Fn(&mut QueueState)) -> QueueState {
    let mut state = queue.state().unwrap();
    change(&mut state);
    state
}

fn refused<T: std::fmt::Debug>(found: rescom::Result<T>, words: &str) {
    let e = found.expect_err(words);
    assert!(e.exit_code() == 2 && e.to_string().contains(words), "{words}: {e}");
}

#[test]
fn logits_and_labels_that_do_not_fit_are_refused_with_a_word_on_it() {
    let inputs = inputs();
    let (logits, of) = (tensor(&inputs["logits"]), tensor(&inputs["labels"]));
    let zeros = |n| Tensor::zeros([n], (Kind::Int64, Device::Cpu));
    let (short, large) = (zeros(3), zeros(2 * HALF as i64) + CLASSES as i64);
    let one_class = Tensor::zeros([2, 1], (Kind::Double, Device::Cpu));
    let three = Tensor::zeros([3, CLASSES as i64], (Kind::Double, Device::Cpu));
    let even = LabelAwareSmoothing { shape: SmoothingShape::Linear, head: 0.3, tail: 0.0 };
    let label_aware = LabelAwareLoss::new(&even, &counts(CLASSES)).unwrap();
    let balanced = BalancedSoftmax::new(&counts(CLASSES));
    refused(CrossEntropy.loss(&logits, &short), "labels: Int64 values of shape [3]; expected 12");
    refused(CrossEntropy.loss(&logits, &of.to_kind(Kind::Int)), "labels: Int values");
    refused(CrossEntropy.loss(&logits, &large), "row 0 has label 4; expected 0..4");
    refused(CrossEntropy.loss(&of, &of), "logits: Int64 values of shape [12]");
    refused(CrossEntropy.loss(&logits.narrow(0, 0, 0), &zeros(0)), "0 rows");
    refused(balanced.loss(&one_class, &zeros(2)), "1 columns; expected 4");
    refused(label_aware.loss(&one_class, &zeros(2)), "1 columns; expected 4");
    refused(FirstView(CrossEntropy).loss(&three, &short), "3 rows of 4 classes");
    refused(SiameseBalancedSoftmax(balanced).loss(&three, &short), "one class, and two rows");
    let powered = |power| LabelAwareSmoothing { shape: SmoothingShape::Exp { power }, ..even };
    let whole = LabelAwareSmoothing { head: 1.0, ..even };
    for (smoothing, words) in
        [(powered(-1.0), "power -1"), (powered(f64::NAN), "power NaN"), (whole, "head 1")]
    {
        refused(LabelAwareLoss::new(&smoothing, &counts(CLASSES)), words);
    }
    let joint = || JointLoss::new(CrossEntropy).with(1.0, supcon()).unwrap();
    let pairs = BatchKeys.pairs(&tensor(&inputs["features"]), &of).unwrap();
    refused(JointLoss::new(CrossEntropy).with(f64::NAN, supcon()), "lambda = NaN");
    refused(joint().terms(&logits, &of, None), "expected the pairs");
    refused(JointLoss::new(CrossEntropy).terms(&logits, &of, Some(&pairs)), "no contrastive part");
}

#[test]
fn keys_and_queues_that_do_not_fit_are_refused_with_a_word_on_it() {
    let inputs = inputs();
    let (rows, of) = (tensor(&inputs["features"]), tensor(&inputs["labels"]));
    let (short, large) = (of.narrow(0, 0, 3), &of + CLASSES as i64);
    let queue =
        || ClassBalancedQueue::random(CLASSES, 3, DIM, QueueInit::Random, 0, Device::Cpu).unwrap();
    let fifo = FifoQueue::random(4, DIM, QueueInit::Random, 0, Device::Cpu).unwrap();
    let ring = |state| ClassBalancedQueue::from_state(&state, CLASSES, QueueInit::Random);
    let list = |n| [("queue_list".to_owned(), rows.narrow(0, 0, n).tr())].into();
    refused(BatchKeys.pairs(&rows, &short), "labels: Int64 values of shape [3]");
    refused(BatchKeys.pairs(&rows.get(0), &of), "anchors: Double values of shape [5]");
    refused(unit_rows(&of), "rows: Int64 values");
    refused(GivenKeys::new(&rows, &(&of - 5)), "expected at least 0");
    refused(queue().pairs(&rows, &large), "expected 0..4");
    refused(queue().enqueue(&rows, &short), "labels of keys: Int64 values of shape [3]");
    refused(
        queue().enqueue(&rows.narrow(1, 0, 2), &of),
        "2 numbers each; the queue holds keys of 5",
    );
    refused(Mined::new(queue(), MANY), "num_pos = 4: the queue holds only 3");
    refused(ring(QueueState::new()), "`queue_list` is missing");
    refused(ring(list(5)), "5 columns");
    refused(ClassBalancedQueue::random(0, 1, 1, QueueInit::Random, 0, Device::Cpu), "0 classes");
    refused(FifoQueue::random(4, 0, QueueInit::Random, 0, Device::Cpu), "4 keys of 0 numbers");
    for (change, words) in [
        (None, "`fifo.state` is missing"),
        (Some(Tensor::from_slice(&[0.0, 1.0])), "`fifo.state` holds Double values"),
        (Some(Tensor::from_slice(&[4i64, 0])), "[4, 0] is outside a queue of 4 keys"),
        (Some(Tensor::from_slice(&[1i64])), "`fifo.state` has shape [1]"),
    ] {
        let state = damaged(&fifo, |state| {
            let before = state.remove("fifo.state");
            assert!(before.is_some());
            state.extend(change.iter().map(|t| ("fifo.state".to_owned(), t.copy())));
        });
        refused(FifoQueue::from_state(&state, QueueInit::Random), words);
    }
    // A class beyond the queue's is refused before anything is written.
    let mut queue = queue();
    let before = gradients::state(&queue);
    refused(queue.enqueue(&rows, &large), "row 0 has label");
    assert_eq!(gradients::state(&queue), before);
}

const MANY: HardPairMiner = HardPairMiner { num_pos: 4, num_neg: 1 };

#[test]
fn a_spec_is_refused_before_anything_is_built() {
    let full = rescom(DIM);
    let of = |loss: &LossSpec, numbers: ContrastSpec| {
        JointLoss::of_spec(loss, &numbers, &counts(CLASSES))
    };
    let beta = ContrastSpec { effective_number_beta: 1.0, ..full.contrast };
    refused(of(&full.loss, beta), "beta");
    refused(of(&full.loss, ContrastSpec { con_weight: -1.0, ..full.contrast }), "lambda = -1");
    let unknown = LossSpec { contrast: "triplet".try_into().ok(), ..full.loss.clone() };
    let words = "loss.contrast = triplet: there is no such loss; expected one of supcon";
    refused(of(&unknown, full.contrast), words);
}

#[test]
fn a_state_is_a_copy_and_gives_the_same_queue_back() {
    let rows = common::unit_rows("state", 4, 7, DIM);
    let keys = Tensor::from_slice(&rows).reshape([7, DIM as i64]).set_requires_grad(true);
    let of = Tensor::from_slice(&labels(4, 7, CLASSES));
    let init = QueueInit::ExcludeUnfilled;
    let rings = |seed| ClassBalancedQueue::random(CLASSES, 3, DIM, init, seed, Device::Cpu);
    let fifos = |seed| FifoQueue::random(9, DIM, init, seed, Device::Cpu);
    let queues: [[Box<dyn KeyQueue>; 2]; 2] = [
        [Box::new(rings(1).unwrap()), Box::new(rings(2).unwrap())],
        [Box::new(fifos(1).unwrap()), Box::new(fifos(2).unwrap())],
    ];
    for [mut queue, mut other] in queues {
        queue.enqueue(&keys, &of).unwrap();
        let (kept, then) = (queue.state().unwrap(), gradients::state(&*queue));
        assert!(kept.values().all(|t| !t.requires_grad()), "a queue holds no graph");
        queue.enqueue(&keys.narrow(0, 0, 2), &of.narrow(0, 0, 2)).unwrap();
        assert_ne!(gradients::state(&*queue), then, "{queue:?}");
        let copied = kept.iter().map(|(name, t)| (name.clone(), host(t))).collect();
        assert_eq!(then, copied, "writing changed what `state` had given");
        other.load_state(&kept).unwrap();
        assert_eq!(gradients::state(&*other), then);
        other.enqueue(&keys.narrow(0, 0, 2), &of.narrow(0, 0, 2)).unwrap();
        assert_eq!(gradients::state(&*other), gradients::state(&*queue));
    }
}

/// A source as a user would write one: the mean direction of each class, given once.
#[derive(Debug)]
struct Centres(Tensor);

impl KeySource for Centres {
    fn pairs(&self, anchors: &Tensor, labels: &Tensor) -> rescom::Result<Pairs> {
        let classes = Tensor::arange(self.0.size()[0], (Kind::Int64, anchors.device()));
        Pairs::against(anchors, labels, &self.0, &classes, None)
    }
}

impl Searchable for Centres {
    fn most(&self) -> [usize; 2] {
        [1, self.0.size()[0] as usize - 1]
    }
}

#[test]
fn a_source_of_the_users_composes_and_can_be_mined() {
    let inputs = inputs();
    let (rows, of) = (&inputs["features"], &inputs["labels"]);
    let centres = double(&[CLASSES, DIM], common::unit_rows("centres", 3, CLASSES, DIM));
    let own = || Centres(tensor(&centres));
    let given = int((0..CLASSES as i64).collect());
    let given = GivenKeys::new(&tensor(&centres), &tensor(&given)).unwrap();
    let of_keys = |keys: &dyn KeySource| gradients::of_keys(&supcon(), rows, of, keys);
    let want = of_keys(&BatchKeys.and(given));
    assert_eq!(of_keys(&BatchKeys.and(own())), want);
    let all = HardPairMiner { num_pos: 1, num_neg: CLASSES - 1 };
    let mined = of_keys(&BatchKeys.and(Mined::new(own(), all).unwrap()));
    assert!((loss(&mined) - loss(&want)).abs() < 1e-13);
}
