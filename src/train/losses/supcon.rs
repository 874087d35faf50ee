//! The supervised contrastive loss over any keys, plain and weighted by class.

use tch::{Device, Kind, Tensor};

use crate::{
    Result,
    contrast::Temperature,
    longtail::{ClassCounts, EffectiveNumber},
    train::{
        keys::source::{Anchors, Pairs},
        losses::{KeySource, labels_of, leaf, matrix, on_tensors::Contrast},
        nn::{
            parameters::TorchResult,
            tensors::{HostTensor, HostTensors},
        },
    },
};

/// A contrastive loss. The types of this module alone implement it.
pub trait ContrastiveLoss: Contrast {
    /// The loss of unit rows `anchors` `[M, D]` with `labels` `[M]` against `keys` (K of them per anchor), in
    /// the rows' own float type: `loss` in nats, `loss_per_anchor` `[M]` before weights, `num_pos` `[M]`,
    /// `grad_features` `[M, D]` with given keys and queues held constant, and for every pair `sim`, `positive`
    /// (0 or 1) and `grad_sim`, `[M, K]`.
    ///
    /// # Errors
    /// [`crate::Error::Input`] if anchors and labels do not fit each other; [`crate::Error::Run`] if the
    /// keys or the weights do not fit them.
    fn evaluate(
        &self,
        anchors: &HostTensor,
        labels: &HostTensor,
        keys: &dyn KeySource,
    ) -> Result<HostTensors> {
        let z = leaf(&matrix("anchors", anchors)?);
        let labels = labels_of("labels", labels, z.size()[0], 0, i64::MAX)?;
        let pairs = keys.pairs(&Anchors { z: &z, labels: &labels })?;
        let per_anchor = self.per_anchor(&pairs)?;
        let loss = self.mean(&per_anchor, &labels)?;
        let grad = Tensor::f_run_backward(&[&loss], &[&z, &pairs.sim], false, false)?;
        let positives = pairs.positive.f_sum_dim_intlist([1i64].as_slice(), false, Kind::Int64)?;
        let named = [
            ("loss", &loss),
            ("loss_per_anchor", &per_anchor),
            ("num_pos", &positives),
            ("sim", &pairs.sim),
            ("positive", &pairs.positive),
            ("grad_features", &grad[0]),
            ("grad_sim", &grad[1]),
        ];
        Ok(named.map(|(name, t)| (name.to_owned(), HostTensor::from_torch(t))).into())
    }
}

impl<L: Contrast> ContrastiveLoss for L {}

/// Supervised contrastive loss, the mean over positives outside the logarithm: mean over anchors of
/// -1/|P_i| sum over positives of ln softmax(s_i / T) (Khosla et al. 2020). An anchor without positives
/// adds nothing and still counts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SupConLoss {
    temperature: Temperature,
}

impl SupConLoss {
    /// At this temperature.
    pub fn new(temperature: Temperature) -> Self {
        Self { temperature }
    }
}

impl Contrast for SupConLoss {
    fn per_anchor(&self, pairs: &Pairs) -> TorchResult<Tensor> {
        let mut logits = pairs.sim.f_div_scalar(self.temperature.get())?;
        let count = pairs.positive.f_sum_dim_intlist([1i64].as_slice(), true, logits.kind())?;
        let has_positive = count.f_gt(0.0)?;
        let no_positive = has_positive.f_logical_not()?;
        if let Some(valid) = &pairs.valid {
            logits = logits
                .f_masked_fill(&valid.f_logical_not()?, f64::NEG_INFINITY)?
                // A row without any key would give inf - inf below.
                .f_masked_fill(&no_positive, 0.0)?;
        }
        let all = logits.f_logsumexp([1i64].as_slice(), true)?;
        let positives = logits
            .f_masked_fill(&pairs.positive.f_logical_not()?, 0.0)?
            .f_sum_dim_intlist([1i64].as_slice(), true, logits.kind())?;
        let loss = all.f_sub(&positives.f_div(&count.f_clamp_min(1.0)?)?)?;
        loss.f_masked_fill(&no_positive, 0.0)?.f_squeeze_dim(1)
    }

    fn mean(&self, per_anchor: &Tensor, _labels: &Tensor) -> TorchResult<Tensor> {
        per_anchor.f_mean(per_anchor.kind())
    }
}

/// [`SupConLoss`] with every anchor's loss times w_y, the effective-number weight of its class (METHOD
/// section 3). The mean is over anchors, not over weights.
#[derive(Debug)]
pub struct ClassBalancedSupCon {
    supcon: SupConLoss,
    /// w `[C]`.
    weights: Tensor,
}

impl ClassBalancedSupCon {
    /// With the weights of classes that have these training counts.
    pub fn new(supcon: SupConLoss, effective: EffectiveNumber, counts: &ClassCounts) -> Self {
        Self::on(supcon, effective, counts, Device::Cpu)
    }

    /// The weights are computed in float64 and rounded to float32, as the reference does.
    pub(crate) fn on(
        supcon: SupConLoss,
        effective: EffectiveNumber,
        counts: &ClassCounts,
        device: Device,
    ) -> Self {
        let weights: Vec<f32> = effective.weights(counts).iter().map(|&w| w as f32).collect();
        Self { supcon, weights: Tensor::from_slice(&weights).to_device(device) }
    }

    /// w_c of every class (C).
    pub fn weights(&self) -> Vec<f64> {
        HostTensor::from_torch(&self.weights).to_f64()
    }
}

impl Contrast for ClassBalancedSupCon {
    fn per_anchor(&self, pairs: &Pairs) -> TorchResult<Tensor> {
        self.supcon.per_anchor(pairs)
    }

    fn mean(&self, per_anchor: &Tensor, labels: &Tensor) -> TorchResult<Tensor> {
        let weighted = per_anchor.f_mul(&self.weights.f_index_select(0, labels)?)?;
        weighted.f_mean(weighted.kind())
    }
}
