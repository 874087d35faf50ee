use rand::seq::SliceRandom as _;
use rand_distr::{Beta, Distribution as _};

use crate::rng::Rng;
use crate::{Error, Result};

/// Mixup (Zhang et al. 2018; stage 1 of MiSLAS): every image of a batch becomes
/// lambda x + (1 - lambda) x', x' another image of the batch, and its loss is mixed alike.
///
/// Here is what is drawn. The images are mixed by the training loop, on its device and after
/// normalisation: it needs the whole batch and both lists of labels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Mixup {
    beta: Beta<f64>,
}

/// What one batch is mixed with.
#[derive(Debug, Clone, PartialEq)]
pub struct MixupDraw {
    /// Share of an image itself, 0 to 1.
    pub lambda: f64,
    /// Row x' of each image x: a permutation of the batch.
    pub partners: Vec<i64>,
}

impl Mixup {
    /// lambda follows Beta(`alpha`, `alpha`).
    ///
    /// # Errors
    /// [`Error::Input`] unless `alpha` is finite and above 0.
    pub fn new(alpha: f64) -> Result<Self> {
        match Beta::new(alpha, alpha) {
            Ok(beta) if alpha.is_finite() => Ok(Self { beta }),
            _ => Err(Error::input(format!("mixup_alpha = {alpha}: expected a number above 0"))),
        }
    }

    /// Draws for a batch of `images`: lambda first, then the permutation.
    pub fn draw(&self, images: usize, rng: &mut Rng) -> MixupDraw {
        let lambda = self.beta.sample(rng);
        let mut partners: Vec<i64> = (0..images as i64).collect();
        partners.shuffle(rng);
        MixupDraw { lambda, partners }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Streams;

    #[test]
    fn lambda_has_the_moments_of_its_distribution() {
        for alpha in [0.2, 1.0, 4.0] {
            let (mixup, mut rng) = (Mixup::new(alpha).unwrap(), Streams::new(1).stream("t", &[]));
            let draws: Vec<f64> = (0..20_000).map(|_| mixup.draw(1, &mut rng).lambda).collect();
            let mean = draws.iter().sum::<f64>() / 20_000.0;
            let variance = draws.iter().map(|l| (l - 0.5) * (l - 0.5)).sum::<f64>() / 20_000.0;
            // Beta(a, a): mean 1/2, variance 1 / (4 (2a + 1)).
            assert!((mean - 0.5).abs() < 0.015, "{alpha}: mean {mean}");
            let expected = 0.25 / (2.0 * alpha + 1.0);
            assert!((variance / expected - 1.0).abs() < 0.05, "{alpha}: variance {variance}");
        }
    }

    #[test]
    fn partners_are_a_permutation_and_every_image_may_come() {
        let (mixup, mut rng) = (Mixup::new(0.2).unwrap(), Streams::new(2).stream("t", &[]));
        let mut seen = [[0; 5]; 5];
        for _ in 0..1_000 {
            let mut partners = mixup.draw(5, &mut rng).partners;
            partners.iter().enumerate().for_each(|(row, &p)| seen[row][p as usize] += 1);
            partners.sort_unstable();
            assert_eq!(partners, [0, 1, 2, 3, 4]);
        }
        // 200 expected each, standard deviation 13.
        assert!(seen.as_flattened().iter().all(|&n| (140..260).contains(&n)), "{seen:?}");
    }

    #[test]
    fn nonsense_is_refused() {
        for alpha in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert!(Mixup::new(alpha).is_err(), "{alpha}");
        }
    }
}
