//! The keys that an anchor meets, and the similarities to them.

use std::fmt::Debug;

use tch::{Kind, Tensor};

use crate::{
    Result,
    train::nn::{
        parameters::TorchResult,
        tensors::{check_labels, matrix, same_device, wide},
    },
};

/// Where the keys of an anchor come from. Open: implement it for a source of your own; [`Pairs::against`] makes
/// the pairs for keys that are rows.
pub trait KeySource: Debug {
    /// The keys of `anchors` `[M, D]`, unit rows, of the classes `labels` `[M]`, int64, on the same device; gradients
    /// flow into the anchors through the similarities.
    ///
    /// # Errors
    /// [`crate::Error::Input`] if anchors, labels and keys do not fit each other; [`crate::Error::Run`] if libtorch
    /// fails.
    fn pairs(&self, anchors: &Tensor, labels: &Tensor) -> Result<Pairs>;

    /// These keys followed by those of `more`.
    fn and<K: KeySource>(self, more: K) -> With<Self, K>
    where
        Self: Sized,
    {
        With(self, more)
    }
}

/// Similarities between M anchors and the K keys of each.
#[derive(Debug)]
pub struct Pairs {
    /// s `[M, K]`, inner products before division by the temperature, with their graph.
    pub sim: Tensor,
    /// Which keys are positives, bool `[M, K]`.
    pub positive: Tensor,
    /// Which entries are keys at all, bool `[M, K]`; `None`: all of them. Others may be infinite and are no
    /// positives.
    pub valid: Option<Tensor>,
    /// Classes of the anchors, int64 `[M]`.
    pub labels: Tensor,
}

impl Pairs {
    /// Anchors `[M, D]` of the classes `labels` `[M]` against `keys` `[K, D]` of the classes `key_labels` `[K]`, where
    /// the same class is a positive. `present`: which keys count, bool `[1, K]`; `None`: all. A key of class -1 is
    /// nobody's positive.
    ///
    /// # Errors
    /// As [`KeySource::pairs`].
    pub fn against(
        anchors: &Tensor,
        labels: &Tensor,
        keys: &Tensor,
        key_labels: &Tensor,
        present: Option<&Tensor>,
    ) -> Result<Self> {
        matrix("anchors", anchors)?;
        check_labels("labels", labels, anchors, None)?;
        same_device("keys", keys, anchors.device())?;
        let z = wide(anchors)?;
        let sim = z.f_matmul(&keys.f_tr()?.f_to_kind(z.kind())?)?;
        let same = labels.f_unsqueeze(1)?.f_eq_tensor(&key_labels.f_unsqueeze(0)?)?;
        let labels = labels.shallow_clone();
        let Some(present) = present else {
            return Ok(Self { sim, positive: same, valid: None, labels });
        };
        let valid = present.f_expand_as(&sim)?;
        Ok(Self { sim, positive: same.f_logical_and(&valid)?, valid: Some(valid), labels })
    }

    /// These keys followed by `more`, for the same anchors.
    fn with(self, more: Self) -> TorchResult<Self> {
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
            labels: self.labels,
        })
    }
}

/// The other rows of the batch: with both views of every image in it, the second view of an anchor is
/// always among its positives. Gradients flow through them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchKeys;

impl KeySource for BatchKeys {
    fn pairs(&self, anchors: &Tensor, labels: &Tensor) -> Result<Pairs> {
        matrix("anchors", anchors)?;
        check_labels("labels", labels, anchors, None)?;
        let z = wide(anchors)?;
        let sim = off_diagonal(&z.f_matmul(&z.f_tr()?)?)?;
        let same = labels.f_unsqueeze(1)?.f_eq_tensor(&labels.f_unsqueeze(0)?)?;
        let positive = off_diagonal(&same)?;
        Ok(Pairs { sim, positive, valid: None, labels: labels.shallow_clone() })
    }
}

/// Entry (i, j) of `[M, M]` without the diagonal: `[M, M-1]`, columns in increasing order.
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

/// Keys that are given: those that another network made of the batch. No gradient flows into them.
#[derive(Debug)]
pub struct GivenKeys {
    /// `[K, D]`.
    keys: Tensor,
    /// `[K]`.
    labels: Tensor,
}

impl GivenKeys {
    /// Unit rows `keys` `[K, D]` of the classes `labels` `[K]`, int64, on the same device.
    ///
    /// # Errors
    /// [`crate::Error::Input`] if they are not a matrix of floats and as many labels of at least 0.
    pub fn new(keys: &Tensor, labels: &Tensor) -> Result<Self> {
        matrix("keys", keys)?;
        check_labels("labels of keys", labels, keys, None)?;
        Ok(Self { keys: keys.detach(), labels: labels.shallow_clone() })
    }
}

impl KeySource for GivenKeys {
    fn pairs(&self, anchors: &Tensor, labels: &Tensor) -> Result<Pairs> {
        Pairs::against(anchors, labels, &self.keys, &self.labels, None)
    }
}

/// The keys of two sources side by side; see [`KeySource::and`].
#[derive(Debug)]
pub struct With<A, B>(A, B);

impl<A: KeySource, B: KeySource> KeySource for With<A, B> {
    fn pairs(&self, anchors: &Tensor, labels: &Tensor) -> Result<Pairs> {
        Ok(self.0.pairs(anchors, labels)?.with(self.1.pairs(anchors, labels)?)?)
    }
}

impl<K: KeySource + ?Sized> KeySource for &K {
    fn pairs(&self, anchors: &Tensor, labels: &Tensor) -> Result<Pairs> {
        (**self).pairs(anchors, labels)
    }
}

impl<K: KeySource + ?Sized> KeySource for Box<K> {
    fn pairs(&self, anchors: &Tensor, labels: &Tensor) -> Result<Pairs> {
        (**self).pairs(anchors, labels)
    }
}
