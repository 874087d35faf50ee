//! Learning rates by epoch (METHOD section 4; `schedules.json`).

use crate::run::{DataSetId, LearningRateMode, OptimSpec, ScheduleKind};

/// The learning rate of `epoch` (from 1), constant within it.
///
/// As described: lr * epoch / warmup before `warmup_epochs`; then `Step`: lr, and a tenth of it
/// after each milestone; `Cosine`: m + (lr - m)(1 + cos(pi (epoch - warmup)/(epochs - warmup)))/2
/// with m = lr * 1e-5. As released: on CIFAR the constant lr, elsewhere as described.
pub fn learning_rate(optim: &OptimSpec, set: DataSetId, epoch: usize) -> f64 {
    let released_constant =
        matches!(set, DataSetId::Cifar10 | DataSetId::Cifar100 | DataSetId::FashionMnist);
    if optim.lr_mode == LearningRateMode::AsReleased && released_constant {
        return optim.lr;
    }
    if epoch < optim.warmup_epochs {
        return optim.lr * epoch as f64 / optim.warmup_epochs as f64;
    }
    match optim.schedule {
        ScheduleKind::Step => {
            let passed = optim.milestones.iter().filter(|&&m| epoch > m).count();
            optim.lr * 0.1f64.powi(passed as i32)
        }
        ScheduleKind::Cosine => {
            let least = optim.lr * 1e-5;
            let span = optim.epochs.saturating_sub(optim.warmup_epochs).max(1) as f64;
            let done = (epoch - optim.warmup_epochs) as f64;
            // PI * done first, as the reference does: another order moves the last digits.
            least + (optim.lr - least) * (1.0 + (std::f64::consts::PI * done / span).cos()) / 2.0
        }
    }
}
