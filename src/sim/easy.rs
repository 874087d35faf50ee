//! Vanishing gradients of easy pairs: the mean gradient of one anchor over its sorted keys.

use super::{Estimate, FeatureModel, Noise, setup::check_concentration};
use crate::contrast::{LossForm, Relation, Temperature, anchor_gradient};
use crate::rng::{Rng, Streams};
use crate::{Error, Result};
use rayon::prelude::*;

/// One anchor's surroundings.
#[derive(Debug, Clone, PartialEq)]
pub struct EasyParams {
    /// Positives per anchor.
    pub positives: usize,
    /// Negatives per anchor, spread evenly over the other classes.
    pub negatives: usize,
    /// C, classes that the keys come from.
    pub classes: usize,
    /// D.
    pub dim: usize,
    /// Distribution of the features.
    pub noise: Noise,
    /// Anchors averaged over.
    pub anchors: usize,
}

impl EasyParams {
    /// Bytes of memory that the simulation takes, roughly and rather too many. A floating-point number:
    /// sizes that no machine has are not beyond it.
    pub fn bytes(&self) -> f64 {
        let keys = self.positives as f64 + self.negatives as f64;
        // Similarities, gradients and what both are computed in; directions of the classes.
        48.0 * self.anchors as f64 * keys + 48.0 * self.classes as f64 * (self.dim as f64 + 1.0)
    }

    fn check(&self) -> Result<()> {
        for (what, value, least) in [
            ("positives", self.positives, 1),
            ("negatives", self.negatives, 1),
            ("classes", self.classes, 2),
            ("feature dimension", self.dim, 1),
            ("anchors", self.anchors, 2),
        ] {
            if value < least {
                return Err(Error::input(format!("{what} {value}: expected at least {least}")));
            }
        }
        Ok(())
    }
}

/// Mean curves over ranks; index 0 is the key with the largest similarity.
#[derive(Debug, Clone)]
pub struct EasyCurve {
    /// Mean similarity by rank.
    pub similarity: Vec<f64>,
    /// Mean |dL/dl| by rank, l = s/T.
    pub logits: Vec<f64>,
    /// Mean |dL/dl| sqrt(1 - s^2) by rank: what reaches the features, in units of 1/T.
    pub features: Vec<f64>,
}

/// What mining leaves.
#[derive(Debug, Clone, Copy)]
pub struct Mined {
    /// Q_p and Q_n.
    pub kept: (usize, usize),
    /// Share of the positive gradient (absolute) that lies on the kept positives.
    pub positive: Estimate,
    /// Share of the negative gradient that lies on the kept negatives.
    pub negative: Estimate,
    /// The anchor's whole gradient, absolute, when only the kept pairs form the softmax, over that
    /// of all pairs.
    pub renormalised: Estimate,
    /// Share of the pairs that is kept.
    pub pairs: f64,
}

/// Results for one stage and temperature.
#[derive(Debug, Clone)]
pub struct EasyPairs {
    /// Concentration of the features.
    pub concentration: f64,
    /// T.
    pub temperature: f64,
    /// Positives, easiest (most similar) first.
    pub positive: EasyCurve,
    /// Negatives, hardest (most similar) first.
    pub negative: EasyCurve,
    /// Where the mean positive gradient is smallest: the rank of the bottom of the V.
    pub valley: usize,
    /// Number of positives that are pushed away (pi > 1/|P|).
    pub pushed_away: Estimate,
    /// 1 - S: the mass of the negatives, which is also the net pull on the positives.
    pub escape: Estimate,
    /// Mean share of the negative gradient carried by the hardest k, for k = 1..=negatives.
    pub carried: Vec<f64>,
    /// Hardest negatives that carry 90 % and 99 % of the negative gradient.
    pub carry_90_99: [Estimate; 2],
    /// What mining leaves, by pair of Q_p and Q_n.
    pub mined: Vec<Mined>,
}

/// dL/dl of an anchor's positives and negatives, in the order of its sorted keys.
type Gradients = (Vec<f64>, Vec<f64>);

/// One anchor, keys sorted.
struct AnchorDraw {
    positives: Vec<f64>,
    negatives: Vec<f64>,
}

/// Simulates one stage (concentration) at one temperature. The same seed draws the same directions
/// at every temperature.
///
/// # Errors
/// [`Error::Input`] if a size is too small, the temperature is not above 0, or the concentration is
/// below 0.
pub fn easy_pairs(
    params: &EasyParams,
    concentration: f64,
    temperature: f64,
    mining: &[(usize, usize)],
    streams: &Streams,
) -> Result<EasyPairs> {
    params.check()?;
    let t = Temperature::new(temperature)?;
    check_concentration(concentration)?;
    let kappas = vec![concentration; params.classes];
    let model = FeatureModel::new(params.dim, kappas, params.noise, streams);
    let anchors: Vec<AnchorDraw> = (0..params.anchors)
        .into_par_iter()
        .map(|i| draw(params, &model, &mut streams.stream("easy", &[i as u64])))
        .collect();
    let gradients: Vec<_> = anchors.par_iter().map(|a| gradient(a, t)).collect();
    Ok(summary(params, (concentration, t), &anchors, &gradients, mining))
}

fn draw(params: &EasyParams, model: &FeatureModel, rng: &mut Rng) -> AnchorDraw {
    let (mut z, mut k) = (vec![0.0; params.dim], vec![0.0; params.dim]);
    model.draw(0, rng, &mut z);
    let mut similarity = |class: usize| {
        model.draw(class, rng, &mut k);
        z.iter().zip(&k).map(|(a, b)| f64::from(a * b)).sum::<f64>()
    };
    let mut positives: Vec<f64> = (0..params.positives).map(|_| similarity(0)).collect();
    let mut negatives: Vec<f64> =
        (0..params.negatives).map(|i| similarity(1 + i % (params.classes - 1))).collect();
    positives.sort_by(|a, b| b.total_cmp(a));
    negatives.sort_by(|a, b| b.total_cmp(a));
    AnchorDraw { positives, negatives }
}

/// dL/dl of positives and negatives, in their order.
fn gradient(anchor: &AnchorDraw, t: Temperature) -> Gradients {
    let sims: Vec<f64> = anchor.positives.iter().chain(&anchor.negatives).copied().collect();
    let relation = |i: usize| {
        if i < anchor.positives.len() { Relation::Positive } else { Relation::Negative }
    };
    let relations: Vec<_> = (0..sims.len()).map(relation).collect();
    let mut grad = anchor_gradient(LossForm::Out, t, &sims, &relations).grad;
    grad.iter_mut().for_each(|g| *g *= t.get());
    let negatives = grad.split_off(anchor.positives.len());
    (grad, negatives)
}

fn summary(
    params: &EasyParams,
    (concentration, t): (f64, Temperature),
    anchors: &[AnchorDraw],
    gradients: &[Gradients],
    mining: &[(usize, usize)],
) -> EasyPairs {
    let positive = curve(anchors.iter().map(|a| &a.positives), gradients.iter().map(|g| &g.0));
    let negative = curve(anchors.iter().map(|a| &a.negatives), gradients.iter().map(|g| &g.1));
    let smallest = positive.logits.iter().enumerate().min_by(|a, b| a.1.total_cmp(b.1));
    let count = |g: &Gradients| g.0.iter().filter(|v| **v > 0.0).count() as f64;
    let of = |f: &dyn Fn(&Gradients) -> f64| {
        Estimate::of_mean(&gradients.iter().map(f).collect::<Vec<_>>())
    };
    let carry = |share: f64| {
        of(&|g: &Gradients| {
            let total: f64 = g.1.iter().sum();
            let mut running = 0.0;
            let reached = g.1.iter().position(|v| {
                running += v;
                running >= share * total
            });
            reached.map_or(g.1.len(), |k| k + 1) as f64
        })
    };
    let mut carried = vec![0.0; params.negatives];
    for (_, negatives) in gradients {
        let total: f64 = negatives.iter().sum();
        let mut running = 0.0;
        for (to, v) in carried.iter_mut().zip(negatives) {
            running += v;
            *to += running / total / gradients.len() as f64;
        }
    }
    EasyPairs {
        concentration,
        temperature: t.get(),
        valley: smallest.map_or(0, |(i, _)| i),
        pushed_away: of(&count),
        escape: of(&|g| g.1.iter().sum()),
        carried,
        carry_90_99: [carry(0.9), carry(0.99)],
        mined: mining.iter().map(|&kept| mined(kept, t, anchors, gradients)).collect(),
        positive,
        negative,
    }
}

fn curve<'a>(
    sims: impl Iterator<Item = &'a Vec<f64>>,
    grads: impl Iterator<Item = &'a Vec<f64>>,
) -> EasyCurve {
    let mut out = EasyCurve { similarity: vec![], logits: vec![], features: vec![] };
    let mut n = 0.0;
    for (sims, grads) in sims.zip(grads) {
        n += 1.0;
        for c in [&mut out.similarity, &mut out.logits, &mut out.features] {
            c.resize(sims.len(), 0.0);
        }
        for (k, (s, g)) in sims.iter().zip(grads).enumerate() {
            out.similarity[k] += s;
            out.logits[k] += g.abs();
            out.features[k] += g.abs() * (1.0 - s * s).max(0.0).sqrt();
        }
    }
    for c in [&mut out.similarity, &mut out.logits, &mut out.features] {
        c.iter_mut().for_each(|v| *v /= n);
    }
    out
}

fn mined(
    (num_pos, num_neg): (usize, usize),
    t: Temperature,
    anchors: &[AnchorDraw],
    gradients: &[Gradients],
) -> Mined {
    let total = |v: &[f64]| v.iter().map(|g| g.abs()).sum::<f64>();
    let share = |kept: f64, all: f64| if all > 0.0 { kept / all } else { f64::NAN };
    let mut rows: [Vec<f64>; 3] = [vec![], vec![], vec![]];
    for (anchor, (positive, negative)) in anchors.iter().zip(gradients) {
        let hard = positive.len().saturating_sub(num_pos);
        let kept_neg = num_neg.min(negative.len());
        rows[0].push(share(total(&positive[hard..]), total(positive)));
        rows[1].push(share(total(&negative[..kept_neg]), total(negative)));
        let kept = AnchorDraw {
            positives: anchor.positives[hard..].to_vec(),
            negatives: anchor.negatives[..kept_neg].to_vec(),
        };
        let (p, n) = gradient(&kept, t);
        rows[2].push(share(total(&p) + total(&n), total(positive) + total(negative)));
    }
    let all = (anchors[0].positives.len() + anchors[0].negatives.len()) as f64;
    let kept = (num_pos.min(anchors[0].positives.len()), num_neg.min(anchors[0].negatives.len()));
    Mined {
        kept,
        positive: Estimate::of_mean(&rows[0]),
        negative: Estimate::of_mean(&rows[1]),
        renormalised: Estimate::of_mean(&rows[2]),
        pairs: (kept.0 + kept.1) as f64 / all,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params() -> EasyParams {
        EasyParams {
            positives: 100,
            negatives: 900,
            classes: 10,
            dim: 64,
            noise: Noise::VonMisesFisher,
            anchors: 64,
        }
    }

    #[test]
    fn the_positive_gradient_is_v_shaped_and_the_negative_falls() {
        let e = easy_pairs(&params(), 256.0, 0.1, &[(10, 300)], &Streams::new(1)).unwrap();
        assert!(e.valley > 0 && e.valley < 99, "{}", e.valley);
        assert!(e.positive.logits[0] > e.positive.logits[e.valley]);
        assert!(e.positive.logits[99] > e.positive.logits[e.valley]);
        assert!(e.negative.logits.windows(2).all(|w| w[0] >= w[1]));
        assert!((e.carried[899] - 1.0).abs() < 1e-9 && e.carried[299] > 0.333);
        assert!((e.mined[0].pairs - 0.31).abs() < 1e-12);
    }

    /// What pulls the positives is what pushes the negatives: the gradient sums to zero.
    #[test]
    fn untrained_features_give_the_closed_form() {
        let e = easy_pairs(&params(), 0.0, 10.0, &[], &Streams::new(1)).unwrap();
        // At T = 10 all similarities are alike: pi = 1/1000 for every key.
        assert!((e.escape.mean - 0.9).abs() < 1e-3);
        assert!((e.positive.logits[50] - (0.01 - 0.001)).abs() < 1e-5);
        assert!((e.carry_90_99[0].mean - 810.0).abs() < 10.0);
    }

    #[test]
    fn sizes_of_zero_are_refused() {
        for change in [
            |p: &mut EasyParams| p.positives = 0,
            |p: &mut EasyParams| p.negatives = 0,
            |p: &mut EasyParams| p.dim = 0,
            |p: &mut EasyParams| p.classes = 1,
        ] {
            let mut p = params();
            change(&mut p);
            assert_eq!(easy_pairs(&p, 1.0, 0.1, &[], &Streams::new(1)).unwrap_err().exit_code(), 2);
        }
    }
}
