//! The loss of a single anchor, in the three forms found in the literature, and its gradient.

use crate::{Error, Result};

/// Temperature T > 0 of the contrastive softmax.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Temperature(f64);

impl Temperature {
    /// # Errors
    /// [`Error::Input`] unless `value` is finite and above zero.
    pub fn new(value: f64) -> Result<Self> {
        if value.is_finite() && value > 0.0 {
            Ok(Self(value))
        } else {
            Err(Error::input(format!("temperature {value}: expected a finite number above 0")))
        }
    }

    /// The temperature.
    pub fn get(self) -> f64 {
        self.0
    }
}

/// How the positives of an anchor enter its loss. P: positives, A: all keys,
/// pi_a = exp(s_a/T) / sum over A of exp(s/T).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LossForm {
    /// -1/|P| sum over P of ln pi_p: mean over positives outside the logarithm (L_out of Khosla et
    /// al. 2020, and the one ResCom uses; METHOD section 3).
    Out,
    /// -sum over P of ln pi_p: the same without 1/|P|.
    Sum,
    /// -ln(1/|P| sum over P of pi_p): mean inside the logarithm (L_in of Khosla et al. 2020).
    In,
}

impl LossForm {
    /// All forms, the one in use first.
    pub const ALL: [Self; 3] = [Self::Out, Self::Sum, Self::In];

    /// "out", "sum" or "in".
    pub fn name(self) -> &'static str {
        match self {
            Self::Out => "out",
            Self::Sum => "sum",
            Self::In => "in",
        }
    }
}

/// What a key is to an anchor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relation {
    /// Same class.
    Positive,
    /// Another class.
    Negative,
    /// Not a key of this anchor: itself, or left out by mining.
    Excluded,
}

/// Loss and gradient of one anchor.
#[derive(Debug, Clone, PartialEq)]
pub struct AnchorGradient {
    /// The loss in nats; 0 without positives.
    pub loss: f64,
    /// dL/ds per key (N values; s is the similarity before division by T, so 1/T is in it).
    pub grad: Vec<f64>,
    /// Number of positives |P|.
    pub positives: usize,
}

/// Loss of one anchor and its gradient with respect to the similarities `sims` (N values) of its
/// keys. An anchor without positives has loss 0 and gradient 0; similarities need not be cosines.
pub fn anchor_gradient(
    form: LossForm,
    temperature: Temperature,
    sims: &[f64],
    relations: &[Relation],
) -> AnchorGradient {
    assert_eq!(sims.len(), relations.len(), "one relation per key");
    let t = temperature.get();
    let positives = relations.iter().filter(|r| **r == Relation::Positive).count();
    if positives == 0 {
        return AnchorGradient { loss: 0.0, grad: vec![0.0; sims.len()], positives };
    }
    let kept = || sims.iter().zip(relations).filter(|(_, r)| **r != Relation::Excluded);
    // The largest logit is taken out so that no exponential overflows, whatever T is.
    let largest = kept().map(|(s, _)| s / t).fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = kept().map(|(s, _)| (s / t - largest).exp()).sum();
    let log_sum = largest + sum.ln();
    let count = positives as f64;
    let of_positives = |f: &dyn Fn(f64) -> f64| -> f64 {
        kept().filter(|(_, r)| **r == Relation::Positive).map(|(s, _)| f(s / t)).sum()
    };
    // ln of the sum of exp over the positives, for L_in.
    let top = kept().filter(|(_, r)| **r == Relation::Positive);
    let top = top.map(|(s, _)| s / t).fold(f64::NEG_INFINITY, f64::max);
    let log_positive = top + of_positives(&|l| (l - top).exp()).ln();
    let loss = match form {
        LossForm::Out => log_sum - of_positives(&|l| l) / count,
        LossForm::Sum => count * log_sum - of_positives(&|l| l),
        LossForm::In => log_sum - (log_positive - count.ln()),
    };
    let gradient = |(s, relation): (&f64, &Relation)| {
        let logit = s / t;
        let pi = (logit - log_sum).exp();
        let target = match (relation, form) {
            (Relation::Excluded, _) => return 0.0,
            (Relation::Negative, _) => 0.0,
            (Relation::Positive, LossForm::In) => (logit - log_positive).exp(),
            (Relation::Positive, _) => 1.0 / count,
        };
        let scale = if form == LossForm::Sum { count } else { 1.0 };
        scale * (pi - target) / t
    };
    let grad = sims.iter().zip(relations).map(gradient).collect();
    AnchorGradient { loss, grad, positives }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RELATIONS: [Relation; 6] = [
        Relation::Positive,
        Relation::Negative,
        Relation::Positive,
        Relation::Excluded,
        Relation::Negative,
        Relation::Positive,
    ];

    #[test]
    fn gradients_equal_central_differences_in_every_form() {
        let sims = [0.9, -0.2, 0.3, 0.95, 0.5, 0.7];
        for form in LossForm::ALL {
            for t in [0.05, 0.2, 1.0, 10.0] {
                let t = Temperature::new(t).unwrap();
                let value = anchor_gradient(form, t, &sims, &RELATIONS);
                let loss = |s: &[f64]| anchor_gradient(form, t, s, &RELATIONS).loss;
                for k in 0..sims.len() {
                    let h = 1e-5 * t.get();
                    let (mut up, mut down) = (sims, sims);
                    (up[k], down[k]) = (up[k] + h, down[k] - h);
                    let numeric = (loss(&up) - loss(&down)) / (2.0 * h);
                    let error = (numeric - value.grad[k]).abs();
                    assert!(error < 1e-7 / t.get(), "{form:?} T {t:?} key {k}: {error}");
                }
            }
        }
    }

    #[test]
    fn the_gradient_of_out_and_in_sums_to_zero() {
        let sims = [0.9, -0.2, 0.3, 0.95, 0.5, 0.7];
        for form in LossForm::ALL {
            let t = Temperature::new(0.01).unwrap();
            let grad = anchor_gradient(form, t, &sims, &RELATIONS).grad;
            assert!(grad.iter().all(|g| g.is_finite()));
            assert!(grad.iter().sum::<f64>().abs() < 1e-9);
        }
    }

    #[test]
    fn an_anchor_without_positives_is_zero() {
        let t = Temperature::new(0.1).unwrap();
        let value = anchor_gradient(LossForm::Out, t, &[0.3, 0.4], &[Relation::Negative; 2]);
        assert_eq!(value, AnchorGradient { loss: 0.0, grad: vec![0.0; 2], positives: 0 });
        assert!(anchor_gradient(LossForm::In, t, &[], &[]).grad.is_empty());
        assert!(Temperature::new(0.0).is_err() && Temperature::new(f64::NAN).is_err());
    }
}
