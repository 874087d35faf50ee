//! A loss in ten lines: class-balanced SupCon over the batch and a mined class-balanced queue.
//!
//! `cargo run --features train --example losses`

use rescom::{longtail::*, train::losses::*};
use tch::{Device, Kind, Tensor};

fn main() -> rescom::Result<()> {
    let counts = ClassCounts::new(vec![500, 100, 20])?; // training images per class
    let supcon = SupConLoss::new(Temperature::new(0.2)?);
    let loss = ClassBalancedSupCon::new(supcon, EffectiveNumber::new(0.999999)?, &counts);
    let queue = ClassBalancedQueue::random(3, 10, 16, QueueInit::Random, 0, Device::Cpu)?;
    let keys = BatchKeys.and(Mined::new(queue, HardPairMiner { num_pos: 1, num_neg: 12 })?);
    // Projections of both views of three images: view 1 of all, then view 2.
    let projections = Tensor::randn([6, 16], (Kind::Float, Device::Cpu)).set_requires_grad(true);
    let labels = Tensor::from_slice(&[0i64, 1, 2, 0, 1, 2]);
    let value = loss.loss(&keys.pairs(&unit_rows(&projections)?, &labels)?)?;
    value.backward();
    println!("loss {:.4} nats", value.double_value(&[]));
    println!("norm of its gradient {:.4}", projections.grad().norm().double_value(&[]));
    Ok(())
}
