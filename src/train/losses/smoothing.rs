//! Label-aware smoothing per class (METHOD section 7): more for the head, which is over-confident.

use std::f64::consts::PI;

use serde::{Deserialize, Serialize};

use crate::{Error, Result, longtail::ClassCounts};

/// How smoothing rises from the smallest class (r = 0) to the largest (r = 1).
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum SmoothingShape {
    /// sin(pi r / 2), the one used for the published numbers.
    #[default]
    Concave,
    /// r.
    Linear,
    /// 1 + sin(3 pi / 2 + pi r / 2).
    Convex,
    /// r^power.
    Exp {
        /// Power, positive.
        power: f64,
    },
}

/// Smoothing between the smallest and the largest class.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LabelAwareSmoothing {
    /// Shape.
    #[serde(default)]
    pub shape: SmoothingShape,
    /// Smoothing of the class with most images, 0 <= head < 1.
    pub head: f64,
    /// Smoothing of the class with fewest images, 0 <= tail < 1.
    pub tail: f64,
}

impl LabelAwareSmoothing {
    /// # Errors
    /// [`Error::Input`] unless both ends are in 0..1, and a power is positive.
    pub fn check(&self) -> Result<()> {
        if let SmoothingShape::Exp { power } = self.shape
            && !(power > 0.0 && power.is_finite())
        {
            return Err(Error::input(format!(
                "label-aware smoothing: power {power}; expected a positive number"
            )));
        }
        if (0.0..1.0).contains(&self.head) && (0.0..1.0).contains(&self.tail) {
            return Ok(());
        }
        Err(Error::input(format!(
            "label-aware smoothing: head {} and tail {}; expected 0 <= value < 1",
            self.head, self.tail
        )))
    }

    /// eps_c of every class. With equal counts every class is a head class.
    pub fn per_class(&self, counts: &ClassCounts) -> Vec<f64> {
        let (least, span) = (counts.min() as f64, (counts.max() - counts.min()) as f64);
        let rise = |n: u64| {
            let r = if span > 0.0 { (n as f64 - least) / span } else { 1.0 };
            match self.shape {
                SmoothingShape::Concave => (PI * r / 2.0).sin(),
                SmoothingShape::Linear => r,
                SmoothingShape::Convex => 1.0 + (1.5 * PI + PI * r / 2.0).sin(),
                SmoothingShape::Exp { power } => r.powf(power),
            }
        };
        let span = self.head - self.tail;
        counts.as_slice().iter().map(|&n| self.tail + span * rise(n)).collect()
    }
}
