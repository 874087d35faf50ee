use tch::{Device, Kind, Tensor};

use crate::{
    longtail::ClassCounts,
    train::{LabelAwareSmoothing, SmoothingShape, losses::*},
};

/// Rows that half types hold exactly, so that widening loses nothing: multiples of 1/16.
fn coarse(rows: i64, dim: i64) -> Tensor {
    let n = rows * dim;
    let steps = Tensor::arange(n, (Kind::Float, Device::Cpu));
    ((steps * 7.0).remainder(29.0) / 16.0 - 0.875).reshape([rows, dim])
}

#[test]
fn half_rows_give_the_loss_of_the_same_rows_in_float32() {
    let labels = Tensor::from_slice(&[0i64, 1, 2, 0, 1, 2]);
    let counts = ClassCounts::new(vec![60, 20, 5]).unwrap();
    let miner = HardPairMiner { num_pos: 1, num_neg: 3 };
    let ring = || ClassBalancedQueue::random(3, 4, 5, QueueInit::Random, 1, Device::Cpu).unwrap();
    let fifo = || {
        let mut fifo =
            FifoQueue::random(12, 5, QueueInit::ExcludeUnfilled, 1, Device::Cpu).unwrap();
        fifo.enqueue(&coarse(6, 5), &labels).unwrap();
        fifo
    };
    let smoothing = LabelAwareSmoothing { shape: SmoothingShape::Concave, head: 0.3, tail: 0.0 };
    let classifications: [Box<dyn ClassificationLoss>; 5] = [
        Box::new(CrossEntropy),
        Box::new(BalancedSoftmax::new(&counts)),
        Box::new(SiameseBalancedSoftmax(BalancedSoftmax::new(&counts))),
        Box::new(FirstView(CrossEntropy)),
        Box::new(LabelAwareLoss::new(&smoothing, &counts).unwrap()),
    ];
    let supcon = SupConLoss::new(Temperature::new(0.05).unwrap());
    let all = |kind: Kind| -> Vec<Tensor> {
        let (z, logits) = (coarse(6, 5).to_kind(kind), coarse(6, 3).to_kind(kind));
        let keys: [Box<dyn KeySource>; 6] = [
            Box::new(BatchKeys),
            Box::new(GivenKeys::new(&z, &labels).unwrap()),
            Box::new(ring()),
            Box::new(Mined::new(ring(), miner).unwrap()),
            Box::new(fifo()),
            Box::new(Mined::new(fifo(), miner).unwrap()),
        ];
        let of_keys = |k: &dyn KeySource| supcon.loss(&k.pairs(&z, &labels).unwrap()).unwrap();
        let of_logits = |c: &dyn ClassificationLoss| c.loss(&logits, &labels).unwrap();
        keys.iter()
            .map(|k| of_keys(&**k))
            .chain(classifications.iter().map(|c| of_logits(&**c)))
            .collect()
    };
    let wide = all(Kind::Float);
    for kind in [Kind::BFloat16, Kind::Half] {
        for (i, (narrow, wide)) in all(kind).iter().zip(&wide).enumerate() {
            assert_eq!(narrow.kind(), Kind::Float, "loss {i} of {kind:?} rows");
            let (got, want) = (narrow.double_value(&[]), wide.double_value(&[]));
            assert!(want > 0.0 && want.is_finite(), "loss {i}: {want}");
            assert_eq!(got, want, "loss {i} of {kind:?} rows");
        }
    }
}
