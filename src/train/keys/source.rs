//! The keys that an anchor meets, and the similarities to them.

use std::fmt::Debug;

use tch::{Kind, Tensor};

use crate::{
    Result,
    train::{
        losses::{labels_of, matrix, on_tensors::Keys, wide},
        nn::{parameters::TorchResult, tensors::HostTensor},
    },
};

/// Where the keys of an anchor come from: the types of this module, alone or joined, by reference or boxed.
pub trait KeySource: Keys {
    /// These keys followed by those of `more`.
    fn and<K: KeySource>(self, more: K) -> With<Self, K>
    where
        Self: Sized,
    {
        With(self, more)
    }
}

impl<K: Keys + ?Sized> KeySource for K {}

/// Anchors of a step.
#[derive(Debug, Clone, Copy)]
pub struct Anchors<'a> {
    /// Unit rows `[M, D]`.
    pub(crate) z: &'a Tensor,
    /// `[M]`.
    pub(crate) labels: &'a Tensor,
}

/// Similarities between anchors and their keys.
#[derive(Debug)]
pub struct Pairs {
    /// s `[M, K]`, before division by the temperature.
    pub(crate) sim: Tensor,
    /// Which keys are positives, bool `[M, K]`.
    pub(crate) positive: Tensor,
    /// Which entries are keys at all, bool `[M, K]`; `None`: all of them. Others may be infinite.
    pub(crate) valid: Option<Tensor>,
}

impl Pairs {
    /// Similarities to `keys` `[K, D]`; same label is positive. `present`: which of them count, `[1, K]`.
    pub(crate) fn against(
        anchors: &Anchors<'_>,
        keys: &Tensor,
        key_labels: &Tensor,
        present: Option<&Tensor>,
    ) -> TorchResult<Self> {
        let z = wide(anchors.z)?;
        let sim = z.f_matmul(&keys.f_tr()?.f_to_kind(z.kind())?)?;
        let same = anchors.labels.f_unsqueeze(1)?.f_eq_tensor(&key_labels.f_unsqueeze(0)?)?;
        let Some(present) = present else { return Ok(Self { sim, positive: same, valid: None }) };
        let valid = present.f_expand_as(&sim)?;
        Ok(Self { sim, positive: same.f_logical_and(&valid)?, valid: Some(valid) })
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
        })
    }
}

/// The other rows of the batch: with both views of every image in it, the second view of an anchor is
/// always among its positives. Gradients flow through them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchKeys;

impl Keys for BatchKeys {
    fn pairs(&self, anchors: &Anchors<'_>) -> TorchResult<Pairs> {
        let z = wide(anchors.z)?;
        let sim = off_diagonal(&z.f_matmul(&z.f_tr()?)?)?;
        let labels = anchors.labels;
        let same = labels.f_unsqueeze(1)?.f_eq_tensor(&labels.f_unsqueeze(0)?)?;
        Ok(Pairs { sim, positive: off_diagonal(&same)?, valid: None })
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
    /// Unit rows `keys` `[K, D]` of the classes `labels` `[K]`.
    ///
    /// # Errors
    /// [`crate::Error::Input`] if they are not a matrix of floats and as many labels of at least 0.
    pub fn new(keys: &HostTensor, labels: &HostTensor) -> Result<Self> {
        let keys = matrix("keys", keys)?;
        let labels = labels_of("labels of keys", labels, keys.size()[0], 0, i64::MAX)?;
        Ok(Self { keys, labels })
    }

    pub(crate) fn on(keys: &Tensor, labels: &Tensor) -> Self {
        Self { keys: keys.shallow_clone(), labels: labels.shallow_clone() }
    }
}

impl Keys for GivenKeys {
    fn pairs(&self, anchors: &Anchors<'_>) -> TorchResult<Pairs> {
        Pairs::against(anchors, &self.keys, &self.labels, None)
    }
}

/// The keys of two sources side by side; see [`KeySource::and`].
#[derive(Debug)]
pub struct With<A, B>(A, B);

impl<A: Keys, B: Keys> Keys for With<A, B> {
    fn pairs(&self, anchors: &Anchors<'_>) -> TorchResult<Pairs> {
        self.0.pairs(anchors)?.with(self.1.pairs(anchors)?)
    }
}

impl<K: Keys + ?Sized> Keys for &K {
    fn pairs(&self, anchors: &Anchors<'_>) -> TorchResult<Pairs> {
        (**self).pairs(anchors)
    }
}

impl<K: Keys + ?Sized> Keys for Box<K> {
    fn pairs(&self, anchors: &Anchors<'_>) -> TorchResult<Pairs> {
        (**self).pairs(anchors)
    }
}
