//! L = L_cls + lambda L_con.

use tch::{Device, Tensor};

use crate::{
    Error, Result,
    longtail::ClassCounts,
    run::{ContrastSpec, LossSpec},
    train::{
        keys::source::{Anchors, Pairs},
        losses::{
            ClassificationLoss, ContrastiveLoss, FirstView, KeySource,
            classification::fitting,
            leaf, matrix,
            registry::{classification, contrastive},
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

/// Lambda, once it is a weight.
fn weight(lambda: f64) -> Result<f64> {
    if lambda.is_finite() && lambda >= 0.0 {
        return Ok(lambda);
    }
    Err(Error::input(format!("joint loss, lambda = {lambda}: expected a number of at least 0")))
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
        Ok(Self { contrast: Some((weight(lambda)?, Box::new(contrast))), ..self })
    }

    /// What a recipe's `[loss]` and `[contrast]` describe, for classes with these training counts. Its queue, miner
    /// and key encoder are not part of the loss: the keys are given to [`evaluate`](Self::evaluate).
    ///
    /// # Errors
    /// [`Error::Input`] for a name that no loss has, or a value that is out of range.
    pub fn of_spec(spec: &LossSpec, numbers: &ContrastSpec, counts: &ClassCounts) -> Result<Self> {
        Self::on(spec, numbers, counts, Device::Cpu)
    }

    pub(crate) fn on(
        spec: &LossSpec,
        numbers: &ContrastSpec,
        counts: &ClassCounts,
        device: Device,
    ) -> Result<Self> {
        let every = classification(&spec.classification, counts, device)?;
        // Rows of view 2 pass the encoder, but are not classified.
        let first = spec.views() == 2 && spec.views_classified == 1 && !spec.has_key_encoder();
        let classification = if first { Box::new(FirstView(every)) } else { every };
        let contrast = |name| contrastive(name, numbers, counts, device);
        let contrast = spec.contrast.as_ref().map(contrast).transpose()?;
        let lambda = weight(numbers.con_weight)?;
        Ok(Self { classification, contrast: contrast.map(|loss| (lambda, loss)) })
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
