//! The losses (METHOD section 3), as composable pieces on tensors of any float type.
//!
//! Everything is a log-sum-exp; nothing is filled with large finite sentinels, and an anchor
//! without positives contributes zero to value and gradient.

use tch::{Kind, Reduction, Tensor};

use super::{
    config::HardPairMiner,
    queue::{ClassBalancedQueue, FifoQueue},
    store::TorchResult,
};

/// Mean cross-entropy of `logits + log_prior` [N, C] against `labels` [N]; `None`: plain logits.
pub(super) fn classification(
    logits: &Tensor,
    labels: &Tensor,
    log_prior: Option<&Tensor>,
) -> TorchResult<Tensor> {
    let logits = wide(logits)?;
    let adjusted = match log_prior {
        Some(prior) => logits.f_add(prior)?,
        None => logits,
    };
    adjusted.f_cross_entropy_loss::<&Tensor>(labels, None, Reduction::Mean, -100, 0.0)
}

/// Half types become float32 before anything is exponentiated.
fn wide(x: &Tensor) -> TorchResult<Tensor> {
    match x.kind() {
        Kind::Half | Kind::BFloat16 => x.f_to_kind(Kind::Float),
        _ => Ok(x.shallow_clone()),
    }
}

/// Similarities between anchors and their keys.
#[derive(Debug)]
pub(super) struct Pairs {
    /// s [M, K], before division by the temperature.
    pub(super) sim: Tensor,
    /// Which keys are positives, bool [M, K].
    pub(super) positive: Tensor,
    /// Which entries are keys at all, bool [M, K]; `None`: all of them. Invalid ones may be infinite.
    pub(super) valid: Option<Tensor>,
}

/// Entry (i, j) of [M, M] without the diagonal: [M, M-1], columns in increasing order.
fn off_diagonal(square: &Tensor) -> TorchResult<Tensor> {
    let m = square.size()[0];
    // Dropping the first element makes every (M+1)-th of the rest a diagonal one, at the end of a row.
    square
        .f_reshape([-1])?
        .f_narrow(0, 1, m * m - 1)?
        .f_view([m - 1, m + 1])?
        .f_narrow(1, 0, m)?
        .f_reshape([m, m - 1])
}

/// Similarities [M, K] of anchors `z` [M, D] to `keys` [K, D], and where their labels agree.
fn against(
    z: &Tensor,
    labels: &Tensor,
    keys: &Tensor,
    key_labels: &Tensor,
) -> TorchResult<(Tensor, Tensor)> {
    let z = wide(z)?;
    let sim = z.f_matmul(&keys.f_tr()?.f_to_kind(z.kind())?)?;
    Ok((sim, labels.f_unsqueeze(1)?.f_eq_tensor(&key_labels.f_unsqueeze(0)?)?))
}

impl Pairs {
    /// The other M-1 rows of the batch are the keys; same label is positive.
    /// `z` [M, D] (unit rows), `labels` [M].
    pub(super) fn in_batch(z: &Tensor, labels: &Tensor) -> TorchResult<Self> {
        let z = wide(z)?;
        let sim = off_diagonal(&z.f_matmul(&z.f_tr()?)?)?;
        let same = labels.f_unsqueeze(1)?.f_eq_tensor(&labels.f_unsqueeze(0)?)?;
        Ok(Self { sim, positive: off_diagonal(&same)?, valid: None })
    }

    /// Keys of a class-balanced queue: those the miner selects, positives first, or all of them.
    pub(super) fn class_balanced(
        z: &Tensor,
        labels: &Tensor,
        queue: &ClassBalancedQueue,
        mining: Option<HardPairMiner>,
    ) -> TorchResult<Self> {
        let (sim, own) = against(z, labels, &queue.keys(), queue.key_labels())?;
        let filled = queue.filled_mask()?;
        let Some(miner) = mining else { return Self::all(sim, own, filled.as_ref()) };
        let columns = queue.columns_of(labels)?;
        let mut candidates = sim.f_gather(1, &columns, false)?;
        if let Some(filled) = &filled {
            let empty = filled.f_logical_not()?.f_expand_as(&sim)?.f_gather(1, &columns, false)?;
            candidates = candidates.f_masked_fill(&empty, f64::INFINITY)?;
        }
        let hard_pos = candidates.f_topk(miner.num_pos as i64, 1, false, true)?.0;
        Self::mined(&sim, &own, filled.as_ref(), hard_pos, miner.num_neg, filled.is_some())
    }

    /// Keys of a first-in-first-out queue: those the miner selects (fewer where fewer exist), or all.
    pub(super) fn fifo(
        z: &Tensor,
        labels: &Tensor,
        queue: &FifoQueue,
        mining: Option<HardPairMiner>,
    ) -> TorchResult<Self> {
        let (sim, own) = against(z, labels, &queue.keys(), queue.key_labels())?;
        let filled = queue.filled_mask()?;
        let Some(miner) = mining else { return Self::all(sim, own, filled.as_ref()) };
        // Unfilled slots carry no label, so `own` already leaves them out.
        let candidates = sim.f_masked_fill(&own.f_logical_not()?, f64::INFINITY)?;
        let hard_pos = candidates.f_topk(miner.num_pos as i64, 1, false, true)?.0;
        Self::mined(&sim, &own, filled.as_ref(), hard_pos, miner.num_neg, true)
    }

    fn all(sim: Tensor, own: Tensor, filled: Option<&Tensor>) -> TorchResult<Self> {
        let valid = match filled {
            Some(mask) => Some(mask.f_expand_as(&sim)?),
            None => None,
        };
        let positive = match &valid {
            Some(valid) => own.f_logical_and(valid)?,
            None => own,
        };
        Ok(Self { sim, positive, valid })
    }

    fn mined(
        sim: &Tensor,
        own: &Tensor,
        filled: Option<&Tensor>,
        hard_pos: Tensor,
        num_neg: usize,
        may_lack: bool,
    ) -> TorchResult<Self> {
        let mut excluded = own.shallow_clone();
        if let Some(filled) = filled {
            excluded = excluded.f_logical_or(&filled.f_logical_not()?)?;
        }
        let others = sim.f_masked_fill(&excluded, f64::NEG_INFINITY)?;
        let hard_neg = others.f_topk(num_neg as i64, 1, true, true)?.0;
        let positive = Tensor::f_cat(&[hard_pos.f_ones_like()?, hard_neg.f_zeros_like()?], 1)?
            .f_to_kind(Kind::Bool)?;
        let sim = Tensor::f_cat(&[hard_pos, hard_neg], 1)?;
        if !may_lack {
            return Ok(Self { sim, positive, valid: None });
        }
        let valid = sim.f_isfinite()?;
        Ok(Self { sim, positive: positive.f_logical_and(&valid)?, valid: Some(valid) })
    }

    /// `keys` [K, D] with `key_labels` [K] of another network; same label is positive.
    pub(super) fn with_keys(
        z: &Tensor,
        labels: &Tensor,
        keys: &Tensor,
        key_labels: &Tensor,
    ) -> TorchResult<Self> {
        let sim = wide(z)?.f_matmul(&wide(keys)?.f_tr()?)?;
        let positive = labels.f_unsqueeze(1)?.f_eq_tensor(&key_labels.f_unsqueeze(0)?)?;
        Ok(Self { sim, positive, valid: None })
    }

    /// These keys followed by `more`, for the same anchors.
    pub(super) fn with(self, more: Self) -> TorchResult<Self> {
        let valid = match (self.valid, more.valid) {
            (None, None) => None,
            (a, b) => {
                let all = |sim: &Tensor| sim.f_ones_like()?.f_to_kind(Kind::Bool);
                let a = a.map_or_else(|| all(&self.sim), Ok)?;
                let b = b.map_or_else(|| all(&more.sim), Ok)?;
                Some(Tensor::f_cat(&[a, b], 1)?)
            }
        };
        Ok(Self {
            sim: Tensor::f_cat(&[self.sim, more.sim], 1)?,
            positive: Tensor::f_cat(&[self.positive, more.positive], 1)?,
            valid,
        })
    }

    /// -1/|P_i| sum over positives of log softmax(s_i / T), one value per anchor [M]; 0 where there
    /// is no positive.
    pub(super) fn supcon(&self, temperature: f64) -> TorchResult<Tensor> {
        let mut logits = self.sim.f_div_scalar(temperature)?;
        let count = self.positive.f_sum_dim_intlist([1i64].as_slice(), true, self.sim.kind())?;
        let has_positive = count.f_gt(0.0)?;
        let no_positive = has_positive.f_logical_not()?;
        if let Some(valid) = &self.valid {
            logits = logits
                .f_masked_fill(&valid.f_logical_not()?, f64::NEG_INFINITY)?
                // A row without any key would give inf - inf below.
                .f_masked_fill(&no_positive, 0.0)?;
        }
        let all = logits.f_logsumexp([1i64].as_slice(), true)?;
        let positives = logits
            .f_masked_fill(&self.positive.f_logical_not()?, 0.0)?
            .f_sum_dim_intlist([1i64].as_slice(), true, logits.kind())?;
        let loss = all.f_sub(&positives.f_div(&count.f_clamp_min(1.0)?)?)?;
        loss.f_masked_fill(&no_positive, 0.0)?.f_squeeze_dim(1)
    }
}

/// Mean over anchors of w_{y_i} times the anchor's loss (not divided by the sum of weights).
/// `weights` [C], `None`: 1.
pub(super) fn weighted_mean(
    per_anchor: &Tensor,
    labels: &Tensor,
    weights: Option<&Tensor>,
) -> TorchResult<Tensor> {
    let weighted = match weights {
        Some(w) => per_anchor.f_mul(&w.f_index_select(0, labels)?)?,
        None => per_anchor.shallow_clone(),
    };
    weighted.f_mean(weighted.kind())
}

/// Mean over rows of (1 - s_y) (-log p_y) + s_y mean_k(-log p_k); `smoothing` s [C].
pub(super) fn label_aware(
    logits: &Tensor,
    labels: &Tensor,
    smoothing: &Tensor,
) -> TorchResult<Tensor> {
    let log_p = wide(logits)?.f_log_softmax(1, None)?;
    let own = log_p.f_gather(1, &labels.f_unsqueeze(1)?, false)?.f_squeeze_dim(1)?.f_neg()?;
    let all = log_p.f_mean_dim([1i64].as_slice(), false, log_p.kind())?.f_neg()?;
    let s = smoothing.f_index_select(0, labels)?;
    own.f_add(&all.f_sub(&own)?.f_mul(&s)?)?.f_mean(log_p.kind())
}

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::*;
    use crate::{rng::Streams, train::config::QueueInit};

    /// Rows that half types hold exactly, so that widening loses nothing: multiples of 1/16.
    fn coarse(rows: i64, dim: i64) -> Tensor {
        let n = rows * dim;
        let steps = Tensor::arange(n, (Kind::Float, Device::Cpu));
        ((steps * 7.0).remainder(29.0) / 16.0 - 0.875).reshape([rows, dim])
    }

    #[test]
    fn half_rows_give_the_loss_of_the_same_rows_in_float32() {
        let labels = Tensor::from_slice(&[0i64, 1, 2, 0, 1, 2]);
        let prior = Tensor::from_slice(&[-0.5f32, -1.5, -2.0]);
        let streams = Streams::new(1);
        let cpu = Device::Cpu;
        let ring = ClassBalancedQueue::new(3, 4, 5, QueueInit::Random, &streams, cpu).unwrap();
        let mut fifo = FifoQueue::new(12, 5, QueueInit::ExcludeUnfilled, &streams, cpu).unwrap();
        fifo.write(&coarse(6, 5), &labels).unwrap();
        let smoothing = Tensor::from_slice(&[0.3f32, 0.2, 0.0]);
        let miner = Some(HardPairMiner { num_pos: 1, num_neg: 3 });
        let all = |kind: Kind| -> Vec<Tensor> {
            let (z, logits) = (coarse(6, 5).to_kind(kind), coarse(6, 3).to_kind(kind));
            let pairs = [
                Pairs::in_batch(&z, &labels).unwrap(),
                Pairs::with_keys(&z, &labels, &z, &labels).unwrap(),
                Pairs::class_balanced(&z, &labels, &ring, None).unwrap(),
                Pairs::class_balanced(&z, &labels, &ring, miner).unwrap(),
                Pairs::fifo(&z, &labels, &fifo, None).unwrap(),
                Pairs::fifo(&z, &labels, &fifo, miner).unwrap(),
            ];
            let mut losses: Vec<Tensor> =
                pairs.iter().map(|p| p.supcon(0.05).unwrap().mean(Kind::Float)).collect();
            losses.push(classification(&logits, &labels, Some(&prior)).unwrap());
            losses.push(label_aware(&logits, &labels, &smoothing).unwrap());
            losses
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
}
