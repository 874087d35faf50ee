//! What is simulated: checked once, then trusted by the numerics.

use super::Noise;
use crate::contrast::{HardPairMiner, Temperature};
use crate::longtail::{ClassCounts, EffectiveNumber};
use crate::{Error, Result};

/// Where the keys outside the batch come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeySource {
    /// Nowhere: the batch alone.
    None,
    /// A first-in-first-out queue, as imbalanced as the data (MoCo).
    Fifo,
    /// The same number of keys for each class (ResCom).
    ClassBalanced,
}

impl KeySource {
    /// "none", "fifo" or "class-balanced".
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Fifo => "fifo",
            Self::ClassBalanced => "class-balanced",
        }
    }
}

/// Parameters as given; [`Setup::new`] checks them.
#[derive(Debug, Clone, PartialEq)]
pub struct SetupParams {
    /// Training images per class.
    pub counts: ClassCounts,
    /// B, images per batch; each has two views.
    pub batch: usize,
    /// Q, keys per class of the class-balanced queue.
    pub keys_per_class: usize,
    /// Keys of the FIFO queue; None: as many as the class-balanced one holds.
    pub fifo_keys: Option<usize>,
    /// D, dimension of the features.
    pub dim: usize,
    /// Distribution of features around the direction of their class.
    pub noise: Noise,
    /// How closely features gather around their class ("training stage"); 0 is untrained.
    pub concentration: f64,
    /// Concentration of the smallest class, if tail classes are looser.
    pub tail_concentration: Option<f64>,
    /// T.
    pub temperature: f64,
    /// b of the effective-number weights.
    pub beta: f64,
    /// Q_p and Q_n of the cells with mining.
    pub miner: HardPairMiner,
    /// Independent batches that are simulated.
    pub batches: usize,
}

/// Checked parameters.
#[derive(Debug, Clone, PartialEq)]
pub struct Setup {
    params: SetupParams,
    temperature: Temperature,
    weights: Vec<f64>,
}

/// Features of a larger concentration are all the same in float32 as well, and drawing them by
/// rejection would not come to an end.
const MOST_CONCENTRATION: f64 = 1e12;

/// # Errors
/// [`Error::Input`] for a concentration that features cannot be drawn with.
pub(super) fn check_concentration(value: f64) -> Result<()> {
    if (0.0..=MOST_CONCENTRATION).contains(&value) {
        return Ok(());
    }
    Err(Error::input(format!(
        "concentration {value}: expected a number from 0 to {MOST_CONCENTRATION:e}"
    )))
}

impl Setup {
    /// # Errors
    /// [`Error::Input`] naming the parameter that is out of its range.
    pub fn new(params: SetupParams) -> Result<Self> {
        let temperature = Temperature::new(params.temperature)?;
        let weights = EffectiveNumber::new(params.beta)?.weights(&params.counts);
        for (what, value, least) in [
            ("batch size", params.batch, 1),
            ("keys per class", params.keys_per_class, 1),
            ("keys of the FIFO queue", params.fifo_keys.unwrap_or(1), 1),
            ("feature dimension", params.dim, 1),
            ("number of batches", params.batches, 2),
        ] {
            if value < least {
                return Err(Error::input(format!("{what} {value}: expected at least {least}")));
            }
        }
        check_concentration(params.concentration)?;
        check_concentration(params.tail_concentration.unwrap_or(0.0))?;
        Ok(Self { params, temperature, weights })
    }

    /// The parameters.
    pub fn params(&self) -> &SetupParams {
        &self.params
    }

    /// T.
    pub fn temperature(&self) -> Temperature {
        self.temperature
    }

    /// w_c, effective-number weights (C).
    pub fn weights(&self) -> &[f64] {
        &self.weights
    }

    /// C.
    pub fn classes(&self) -> usize {
        self.params.counts.classes()
    }

    /// Number of keys in the queue.
    pub fn queue_keys(&self, source: KeySource) -> usize {
        let balanced = self.classes().saturating_mul(self.params.keys_per_class);
        match source {
            KeySource::None => 0,
            KeySource::Fifo => self.params.fifo_keys.unwrap_or(balanced),
            KeySource::ClassBalanced => balanced,
        }
    }

    /// Bytes of memory that its simulation takes, roughly and rather too many, with `threads` batches at
    /// work at a time. A floating-point number: sizes that no machine has are not beyond it.
    pub fn bytes(&self, threads: usize) -> f64 {
        let p = &self.params;
        let (classes, dim) = (self.classes() as f64, p.dim as f64);
        let balanced = classes * p.keys_per_class as f64;
        let keys = 2.0 * p.batch as f64 + p.fifo_keys.map_or(balanced, |n| balanced.max(n as f64));
        // Features of the keys twice, their labels, and the similarities and gradients of about 100 anchors.
        let batch = keys * (8.0 * dim + 640.0);
        // Directions of the classes and what spreads them; statistics of every batch.
        40.0 * classes * dim + threads as f64 * batch + 16e3 * p.batches as f64
    }

    /// The concentration of each class: the same for all, or falling with ln n_c from the largest
    /// class to the smallest.
    pub fn concentrations(&self) -> Vec<f64> {
        let counts = &self.params.counts;
        let head = self.params.concentration;
        let tail = self.params.tail_concentration.unwrap_or(head);
        let range = counts.imbalance_factor().ln();
        let largest = counts.max() as f64;
        let at = |&n: &u64| {
            let depth = if range > 0.0 { (largest / n as f64).ln() / range } else { 0.0 };
            head + (tail - head) * depth
        };
        counts.as_slice().iter().map(at).collect()
    }
}
