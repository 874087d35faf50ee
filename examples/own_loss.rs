//! A loss that this crate does not have, as a type of yours: the focal loss (Lin et al. 2017) with the prior of
//! Balanced Softmax, put together with the crate's contrastive loss.
//!
//! `cargo run --features train --example own_loss`

use rescom::{
    longtail::ClassCounts,
    train::losses::{
        BalancedSoftmax, BatchKeys, ClassificationLoss, JointLoss, KeySource as _, SupConLoss,
        Temperature, unit_rows,
    },
};
use tch::{Device, Kind, Tensor};

/// Mean over rows of -(1 - p_y)^gamma ln p_y, where p = softmax(logits + ln prior).
#[derive(Debug)]
struct FocalLoss {
    gamma: f64,
    /// ln prior `[C]`.
    log_prior: Tensor,
}

impl ClassificationLoss for FocalLoss {
    fn loss(&self, logits: &Tensor, labels: &Tensor) -> rescom::Result<Tensor> {
        let prior = self.log_prior.to_device(logits.device());
        let log_p = logits.f_add(&prior)?.log_softmax(1, None);
        let own = log_p.f_gather(1, &labels.unsqueeze(1), false)?;
        let weight = (-own.exp() + 1.0).pow_tensor_scalar(self.gamma);
        Ok(-(weight * own).mean(None))
    }
}

/// The joint loss of some rows in nats, and the norm of its gradient in the logits.
pub(crate) fn focal_and_contrastive(gamma: f64) -> rescom::Result<(f64, f64)> {
    let counts = ClassCounts::new(vec![500, 100, 20])?;
    let prior: Vec<f32> =
        BalancedSoftmax::new(&counts).log_prior().iter().map(|&x| x as f32).collect();
    let focal = FocalLoss { gamma, log_prior: Tensor::from_slice(&prior) };
    let loss = JointLoss::new(focal).with(0.5, SupConLoss::new(Temperature::new(0.2)?))?;

    let waves = |columns: i64| {
        let steps = Tensor::arange(6 * columns, (Kind::Float, Device::Cpu));
        (steps * 1.7).sin().reshape([6, columns]).set_requires_grad(true)
    };
    let (logits, projections) = (waves(3), waves(16));
    let labels = Tensor::from_slice(&[0i64, 1, 2, 0, 1, 2]);
    let pairs = BatchKeys.pairs(&unit_rows(&projections)?, &labels)?;
    let terms = loss.terms(&logits, &labels, Some(&pairs))?;
    terms.total.backward();
    Ok((terms.total.double_value(&[]), logits.grad().norm().double_value(&[])))
}

fn main() -> rescom::Result<()> {
    for gamma in [0.0, 1.0, 2.0] {
        let (loss, gradient) = focal_and_contrastive(gamma)?;
        println!("gamma {gamma}: loss {loss:.4} nats, norm of the gradient {gradient:.4}");
    }
    Ok(())
}
