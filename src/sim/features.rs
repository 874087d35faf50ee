//! Features on the unit sphere around one direction per class.

use crate::contrast::fast;
use crate::rng::{Rng, Streams};
use ndarray::Array2;
use rand::RngExt;
use rand_distr::{Distribution, StandardNormal};

/// How features scatter around the direction mu of their class.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Noise {
    /// von Mises-Fisher: density proportional to exp(kappa mu.z).
    VonMisesFisher,
    /// The direction of a normal vector with mean mu and covariance I/kappa.
    Gaussian,
}

impl Noise {
    /// The distribution's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::VonMisesFisher => "von Mises-Fisher",
            Self::Gaussian => "normalised Gaussian",
        }
    }
}

/// Class directions (a simplex where D allows it) and the scatter around them.
#[derive(Debug, Clone)]
pub struct FeatureModel {
    centers: Array2<f32>,
    concentrations: Vec<f64>,
    noise: Noise,
}

impl FeatureModel {
    /// Directions for `concentrations.len()` classes in `dim` dimensions. For dim >= C-1 they are
    /// the corners of a regular simplex (an ETF: all cosines -1/(C-1)); otherwise random directions
    /// from the stream "centers", pushed apart where C is at most 512.
    pub fn new(dim: usize, concentrations: Vec<f64>, noise: Noise, streams: &Streams) -> Self {
        let classes = concentrations.len();
        let centers = if dim + 1 >= classes {
            simplex(classes, dim)
        } else {
            spread(classes, dim, &mut streams.stream("centers", &[classes as u64, dim as u64]))
        };
        Self { centers: centers.mapv(|v| v as f32), concentrations, noise }
    }

    /// D.
    pub fn dim(&self) -> usize {
        self.centers.ncols()
    }

    /// C.
    pub fn classes(&self) -> usize {
        self.centers.nrows()
    }

    /// Draws a feature of `class` into `out` (D values, unit length).
    pub fn draw(&self, class: usize, rng: &mut Rng, out: &mut [f32]) {
        for v in &mut *out {
            *v = StandardNormal.sample(rng);
        }
        let center = self.centers.row(class);
        let center = center.to_slice().expect("rows in standard layout are contiguous");
        let kappa = self.concentrations[class];
        match self.noise {
            Noise::Gaussian => {
                for (v, &c) in out.iter_mut().zip(center) {
                    *v += kappa.sqrt() as f32 * c;
                }
                scale_to(out, 1.0);
            }
            Noise::VonMisesFisher => {
                let cosine = von_mises_cosine(kappa, out.len(), rng);
                let along = fast::dot(out, center);
                for (v, &c) in out.iter_mut().zip(center) {
                    *v -= along * c;
                }
                scale_to(out, (1.0 - cosine * cosine).max(0.0).sqrt());
                for (v, &c) in out.iter_mut().zip(center) {
                    *v += cosine as f32 * c;
                }
                scale_to(out, 1.0);
            }
        }
    }
}

fn scale_to(v: &mut [f32], length: f64) {
    let norm = f64::from(fast::dot(v, v)).sqrt();
    let factor = if norm > 0.0 { (length / norm) as f32 } else { 0.0 };
    for x in v {
        *x *= factor;
    }
}

/// The cosine to the mean of a von Mises-Fisher vector (Wood 1994: a beta proposal, accepted with
/// the right probability).
fn von_mises_cosine(kappa: f64, dim: usize, rng: &mut Rng) -> f64 {
    if dim == 1 {
        // Two points: +1 with probability 1 / (1 + exp(-2 kappa)).
        return if rng.random::<f64>() < 1.0 / (1.0 + (-2.0 * kappa).exp()) { 1.0 } else { -1.0 };
    }
    let m = (dim - 1) as f64;
    let b = m / (2.0 * kappa + (4.0 * kappa * kappa + m * m).sqrt());
    let x0 = (1.0 - b) / (1.0 + b);
    let c = kappa * x0 + m * (1.0 - x0 * x0).ln();
    let gamma = |rng: &mut Rng| rand_distr::Gamma::new(m / 2.0, 1.0).map_or(0.5, |g| g.sample(rng));
    loop {
        let (g1, g2) = (gamma(rng), gamma(rng));
        let beta = g1 / (g1 + g2);
        let w = (1.0 - (1.0 + b) * beta) / (1.0 - (1.0 - b) * beta);
        if kappa * w + m * (1.0 - x0 * w).ln() - c >= rng.random::<f64>().ln() {
            return w;
        }
    }
}

/// Corners of a regular simplex: rows of unit length, all cosines -1/(C-1).
fn simplex(classes: usize, dim: usize) -> Array2<f64> {
    let mut centers = Array2::zeros((classes, dim));
    if classes == 1 {
        centers[[0, 0]] = 1.0;
        return centers;
    }
    // Corner c has a positive entry in column c and the same negative entry for all later corners.
    let cosine = -1.0 / (classes - 1) as f64;
    for column in 0..classes - 1 {
        let used: f64 = (0..column).map(|k| centers[[column, k]].powi(2)).sum();
        let here = (1.0 - used).max(0.0).sqrt();
        centers[[column, column]] = here;
        for later in column + 1..classes {
            let shared: f64 = (0..column).map(|k| centers[[column, k]] * centers[[later, k]]).sum();
            centers[[later, column]] = (cosine - shared) / here;
        }
    }
    centers
}

/// Random unit directions; for at most 512 classes they then repel each other.
fn spread(classes: usize, dim: usize, rng: &mut Rng) -> Array2<f64> {
    let mut centers = Array2::from_shape_simple_fn((classes, dim), || StandardNormal.sample(rng));
    crate::contrast::normalize_rows(&mut centers);
    let rounds = if classes <= 512 { 60 } else { 0 };
    for _ in 0..rounds {
        let mut push = centers.dot(&centers.t());
        // A soft maximum: the nearest directions push hardest.
        push.mapv_inplace(|s| (8.0 * (s - 1.0)).exp());
        push.diag_mut().fill(0.0);
        let total = push.sum() / classes as f64;
        centers = &centers - &(push.dot(&centers) * (0.3 / total.max(1e-300)));
        crate::contrast::normalize_rows(&mut centers);
    }
    centers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn simplex_corners_are_equally_far_apart() {
        for (classes, dim) in [(1, 1), (2, 1), (4, 3), (10, 16)] {
            let c = simplex(classes, dim);
            let gram = c.dot(&c.t());
            for ((i, j), s) in gram.indexed_iter() {
                let expected = if i == j { 1.0 } else { -1.0 / (classes as f64 - 1.0) };
                assert!((s - expected).abs() < 1e-12, "{classes} {dim}: {s}");
            }
        }
    }

    #[test]
    fn more_classes_than_a_simplex_holds_are_pushed_apart() {
        let streams = Streams::new(1);
        let largest = |c: &Array2<f64>| {
            let gram = c.dot(&c.t());
            gram.indexed_iter().filter(|((i, j), _)| i != j).map(|(_, s)| *s).fold(-1.0, f64::max)
        };
        let mut random = Array2::from_shape_simple_fn((20, 4), || {
            StandardNormal.sample(&mut streams.stream("x", &[]))
        });
        let mut rng = streams.stream("centers", &[20, 4]);
        random.mapv_inplace(|_: f64| StandardNormal.sample(&mut rng));
        crate::contrast::normalize_rows(&mut random);
        let spread = spread(20, 4, &mut streams.stream("centers", &[20, 4]));
        assert!(largest(&spread) < largest(&random), "{} {}", largest(&spread), largest(&random));
    }

    /// E[mu.z] of a von Mises-Fisher vector in 3 dimensions is coth(kappa) - 1/kappa, exactly.
    #[test]
    fn the_mean_cosine_is_that_of_the_distribution() {
        for kappa in [0.0, 0.5, 3.0, 40.0] {
            let model =
                FeatureModel::new(3, vec![kappa; 2], Noise::VonMisesFisher, &Streams::new(3));
            let mut rng = Streams::new(5).stream("draw", &[]);
            let n = 20_000;
            let mut out = [0.0; 3];
            let mut mean = 0.0;
            for _ in 0..n {
                model.draw(0, &mut rng, &mut out);
                mean += f64::from(out[0]) / f64::from(n);
                let norm: f32 = out.iter().map(|v| v * v).sum();
                assert!((norm - 1.0).abs() < 1e-5);
            }
            let exact = if kappa == 0.0 { 0.0 } else { 1.0 / f64::tanh(kappa) - 1.0 / kappa };
            assert!((mean - exact).abs() < 4.0 / f64::from(n).sqrt(), "{kappa}: {mean} {exact}");
        }
    }
}
