//! L = L_cls + lambda L_con.

use tch::{Device, Tensor};

use crate::{
    Error, Result,
    contrast::Temperature,
    longtail::{ClassCounts, EffectiveNumber},
    train::{
        fit::config::{Classification, ContrastiveLossSpec, LossSpec},
        keys::source::{Anchors, Pairs},
        losses::{
            BalancedSoftmax, ClassBalancedSupCon, ClassificationLoss, ContrastiveLoss,
            CrossEntropy, FirstView, KeySource, SiameseBalancedSoftmax, SupConLoss,
            classification::fitting, leaf, matrix,
        },
        nn::{
            model::normalise,
            parameters::TorchResult,
            tensors::{HostTensor, HostTensors},
        },
    },
};

/// A classification loss and, with a weight, a contrastive one.
#[derive(Debug)]
pub struct JointLoss {
    classification: Box<dyn ClassificationLoss + Send>,
    contrast: Option<(f64, Box<dyn ContrastiveLoss + Send>)>,
}

/// The parts of one value, scalars.
#[derive(Debug)]
pub(crate) struct Terms {
    /// L_cls.
    pub(crate) cls: Tensor,
    /// L_con.
    pub(crate) con: Option<Tensor>,
    /// L.
    pub(crate) total: Tensor,
}

impl JointLoss {
    /// The classification loss alone.
    pub fn new(classification: impl ClassificationLoss + Send + 'static) -> Self {
        Self { classification: Box::new(classification), contrast: None }
    }

    /// With lambda times a contrastive loss.
    ///
    /// # Errors
    /// [`Error::Input`] unless lambda is a number of at least 0.
    pub fn with(
        self,
        lambda: f64,
        contrast: impl ContrastiveLoss + Send + 'static,
    ) -> Result<Self> {
        if !(lambda.is_finite() && lambda >= 0.0) {
            return Err(Error::input(format!(
                "joint loss, lambda = {lambda}: expected a number of at least 0"
            )));
        }
        Ok(Self { contrast: Some((lambda, Box::new(contrast))), ..self })
    }

    /// What `spec` describes, for classes with these training counts. Its queue, miner and key network are not
    /// part of the loss: the keys are given to [`evaluate`](Self::evaluate).
    ///
    /// # Errors
    /// [`Error::Input`] naming a value that is out of range.
    pub fn of_spec(spec: &LossSpec, counts: &ClassCounts) -> Result<Self> {
        spec.check(counts.classes())?;
        Self::on(spec, counts, Device::Cpu)
    }

    pub(crate) fn on(spec: &LossSpec, counts: &ClassCounts, device: Device) -> Result<Self> {
        let balanced = || BalancedSoftmax::on(counts, device);
        let momentum = spec.contrast.as_ref().is_some_and(ContrastiveLossSpec::has_key_network);
        // Rows of view 2 pass the encoder, but are not classified.
        let first = spec.views() == 2 && !spec.siamese && !momentum;
        let joint = match (spec.classification, spec.siamese) {
            (Classification::BalancedSoftmax, true) => {
                Self::new(SiameseBalancedSoftmax(balanced()))
            }
            (Classification::BalancedSoftmax, false) if first => Self::new(FirstView(balanced())),
            (Classification::BalancedSoftmax, false) => Self::new(balanced()),
            (Classification::CrossEntropy, _) if first => Self::new(FirstView(CrossEntropy)),
            (Classification::CrossEntropy, _) => Self::new(CrossEntropy),
        };
        let Some(contrast) = &spec.contrast else { return Ok(joint) };
        let supcon = SupConLoss::new(Temperature::new(contrast.temperature)?);
        match contrast.class_balanced_beta {
            Some(beta) => {
                let effective = EffectiveNumber::new(beta)?;
                let balanced = ClassBalancedSupCon::on(supcon, effective, counts, device);
                joint.with(contrast.con_weight, balanced)
            }
            None => joint.with(contrast.con_weight, supcon),
        }
    }

    /// The part for logits `[N, C]` and labels `[N]`, which need not be those of whole images (mixup).
    pub(crate) fn classification(&self) -> &dyn ClassificationLoss {
        &*self.classification
    }

    /// The value for rows of one pass: logits `[N, C]`, labels `[N]` (view 1 of all images, then view 2), and
    /// where there is a contrastive part unit rows with their keys.
    pub(crate) fn of(
        &self,
        logits: &Tensor,
        labels: &Tensor,
        contrast: Option<(&Anchors<'_>, &Pairs)>,
    ) -> TorchResult<Terms> {
        let cls = self.classification.of(logits, labels)?;
        let (Some((lambda, loss)), Some((anchors, pairs))) = (&self.contrast, contrast) else {
            return Ok(Terms { total: cls.shallow_clone(), cls, con: None });
        };
        let con = loss.mean(&loss.per_anchor(pairs)?, anchors.labels)?;
        let total = cls.f_add(&con.f_mul_scalar(*lambda)?)?;
        Ok(Terms { cls, con: Some(con), total })
    }

    /// The loss of the rows of one pass and its gradients, for the keys that `keys` gives.
    ///
    /// Takes `logits` `[N, C]`, `labels` `[N]` (view 1 of all images, then view 2) and `features` `[N, D]`, which are
    /// unit rows, or `raw_features`, which are normalised first. Gives `loss_cls`, `loss_con` and `loss` `[1]` in
    /// nats; `sim_con` `[N, K]` and `labels_con` `[N, K]`, the similarities before division by the temperature and
    /// 1 where the key is a positive; and the gradients of the total loss `grad_sim_con`, `grad_logits`,
    /// `grad_features` (of the unit rows) and, if those were given, `grad_raw_features`.
    ///
    /// # Errors
    /// [`Error::Input`] if an input is missing or does not fit, or if the loss has no contrastive part (then
    /// evaluate the classification loss itself).
    pub fn evaluate(&self, inputs: &HostTensors, keys: &dyn KeySource) -> Result<HostTensors> {
        let input = |name: &str| {
            let found = inputs.get(name);
            found.ok_or_else(|| Error::input(format!("joint loss: input `{name}` is missing")))
        };
        let logits = leaf(&matrix("logits", input("logits")?)?);
        let raw = inputs.contains_key("raw_features");
        let name = if raw { "raw_features" } else { "features" };
        let given = leaf(&matrix(name, input(name)?)?);
        let (n, rows) = (logits.size()[0], given.size()[0]);
        if rows != n {
            return Err(Error::input(format!("{name}: {rows} rows; expected {n}, as of logits")));
        }
        let labels = fitting(&*self.classification, &logits, input("labels")?)?;
        let z = if raw { normalise(&given)? } else { given.shallow_clone() };
        let anchors = Anchors { z: &z, labels: &labels };
        let pairs = keys.pairs(&anchors)?;
        let terms = self.of(&logits, &labels, Some((&anchors, &pairs)))?;
        let Some(con) = &terms.con else {
            return Err(Error::input("joint loss: it has no contrastive part"));
        };
        let leaves = [&given, &z, &pairs.sim, &logits];
        let grads = Tensor::f_run_backward(&[&terms.total], &leaves, false, false)?;
        let mut out = HostTensors::new();
        let mut put = |name: &str, value: &Tensor| {
            out.insert(name.into(), HostTensor::from_torch(value));
        };
        for (name, value) in [("loss_cls", &terms.cls), ("loss_con", con), ("loss", &terms.total)] {
            put(name, &value.f_reshape([1])?);
        }
        put("sim_con", &pairs.sim);
        put("labels_con", &pairs.positive);
        put(if raw { "grad_raw_features" } else { "grad_features" }, &grads[0]);
        put("grad_features", &grads[1]);
        put("grad_sim_con", &grads[2]);
        put("grad_logits", &grads[3]);
        Ok(out)
    }
}
