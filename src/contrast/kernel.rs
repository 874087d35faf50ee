//! The gradient of the supervised contrastive loss in float32, blocked and parallel. Anchors meet
//! the keys block by block with a running softmax ([`super::tiles`]): nothing as large as anchors x
//! keys is ever stored. With respect to anchor i, dL_i = (softmax-weighted mean of all keys - mean
//! of the positives) / T, and the mean of the positives is that of the anchor's class.

use super::Temperature;
use super::tiles::{COLUMNS, Softmax};
use crate::{Error, Result};
use ndarray::{Array2, ArrayView2, Axis, Slice};
use rayon::prelude::*;
use std::borrow::Cow;

/// What [`supcon_gradient`] finds for M anchors of D features.
#[derive(Debug, Clone)]
pub struct KernelValue {
    /// Mean over all anchors of the loss (form "out"), in nats.
    pub loss: f64,
    /// dL/d anchors `[M, D]`, keys held constant.
    pub grad_anchors: Array2<f32>,
}

/// Loss and gradient of `anchors` `[M, D]` against `keys` `[N, D]` with labels (M and N); keys are
/// not the anchors themselves. Anchors without positives contribute zero and count in the mean.
///
/// The result does not depend on the number of threads. Between processors it may differ in the
/// last bits: one with fused multiply-add rounds less often than one without.
///
/// # Errors
/// [`Error::Input`] if shapes do not fit or there is no anchor or no key.
pub fn supcon_gradient(
    (anchors, anchor_labels): (ArrayView2<f32>, &[usize]),
    (keys, key_labels): (ArrayView2<f32>, &[usize]),
    temperature: Temperature,
) -> Result<KernelValue> {
    let ((m, d), (n, key_d)) = (anchors.dim(), keys.dim());
    if m == 0 || n == 0 || d == 0 || d != key_d || m != anchor_labels.len() || n != key_labels.len()
    {
        return Err(Error::input(format!(
            "anchors {m}x{d} with {} labels and keys {n}x{key_d} with {} labels do not fit",
            anchor_labels.len(),
            key_labels.len()
        )));
    }
    let columns = d.next_multiple_of(COLUMNS);
    let (anchors, keys) = (padded(&anchors, columns), padded(&keys, columns));
    let t = temperature.get();
    let (means, (state, mut grad)) = rayon::join(
        || ClassMeans::new(anchor_labels, (&keys, key_labels), columns),
        || softmax(&anchors, &keys, columns, t),
    );
    let rows = grad.par_chunks_exact_mut(columns).zip(anchors.par_chunks_exact(columns));
    let losses: Vec<f64> = rows
        .zip(&state)
        .zip(anchor_labels)
        .map(|(((grad, anchor), &state), &label)| {
            finish_anchor(grad, anchor, state, means.of(label), (t, m as f64))
        })
        .collect();
    let grad = Array2::from_shape_vec((m, columns), grad).expect("M x columns values");
    let grad_anchors = if columns == d {
        grad
    } else {
        grad.slice_axis(Axis(1), Slice::from(..d)).as_standard_layout().into_owned()
    };
    Ok(KernelValue { loss: losses.iter().sum::<f64>() / m as f64, grad_anchors })
}

/// For each anchor the largest similarity and the sum of exponentials (M), and the weighted sum of
/// keys (M x columns), see [`Softmax`].
fn softmax(anchors: &[f32], keys: &[f32], columns: usize, t: f64) -> (Vec<(f32, f32)>, Vec<f32>) {
    let mut state = vec![(0.0, 0.0); anchors.len() / columns];
    let mut pulled = vec![0.0; anchors.len()];
    let rows = rows_per_task(state.len());
    let tasks = pulled.par_chunks_mut(rows * columns).zip(anchors.par_chunks(rows * columns));
    tasks.zip(state.par_chunks_mut(rows)).for_each(|((pulled, anchors), state)| {
        let inverse_t = (1.0 / t) as f32;
        // Compiled once per instruction set; the widest that the processor has is taken.
        pulp::Arch::new().dispatch(Softmax { anchors, keys, columns, inverse_t, state, pulled });
    });
    (state, pulled)
}

/// Turns the weighted sum of keys into dL/d anchor, L the mean over `anchors` anchors; returns the
/// anchor's own loss. `mean`: that of the positives, if there is any.
fn finish_anchor(
    grad: &mut [f32],
    anchor: &[f32],
    (largest, total): (f32, f32),
    mean: Option<&[f32]>,
    (t, anchors): (f64, f64),
) -> f64 {
    let Some(mean) = mean else {
        grad.fill(0.0);
        return 0.0;
    };
    let unit = (1.0 / (t * anchors)) as f32;
    let inverse = 1.0 / total;
    for (g, &p) in grad.iter_mut().zip(mean) {
        *g = (*g * inverse - p) * unit;
    }
    let pulled: f64 = anchor.iter().zip(mean).map(|(a, p)| f64::from(*a) * f64::from(*p)).sum();
    (f64::from(largest) - pulled) / t + f64::from(total).ln()
}

/// Enough tasks for every thread, and in a task as many anchors as its caches hold, since each task
/// reads all keys. An anchor's result does not depend on it.
fn rows_per_task(anchors: usize) -> usize {
    (anchors / (4 * rayon::current_num_threads())).next_multiple_of(32).clamp(32, 256)
}

/// Rows one after the other, padded with zeros to `columns`; copied only if they are not so.
fn padded<'a>(rows: &ArrayView2<'a, f32>, columns: usize) -> Cow<'a, [f32]> {
    match rows.to_slice() {
        Some(values) if rows.ncols() == columns => Cow::Borrowed(values),
        _ => {
            let mut copy = Array2::zeros((rows.nrows(), columns));
            copy.slice_axis_mut(Axis(1), Slice::from(..rows.ncols())).assign(rows);
            Cow::Owned(copy.into_raw_vec_and_offset().0)
        }
    }
}

/// Mean of the keys of each class that an anchor has.
struct ClassMeans {
    classes: Vec<usize>,
    counts: Vec<usize>,
    means: Array2<f32>,
}

impl ClassMeans {
    fn new(anchor_labels: &[usize], (keys, labels): (&[f32], &[usize]), columns: usize) -> Self {
        let mut classes = anchor_labels.to_vec();
        classes.sort_unstable();
        classes.dedup();
        let mut counts = vec![0; classes.len()];
        let mut sums = Array2::<f64>::zeros((classes.len(), columns));
        let all = sums.as_slice_mut().expect("zeros lie one after the other");
        pulp::Arch::new().dispatch(|| {
            for (key, label) in keys.chunks_exact(columns).zip(labels) {
                if let Ok(class) = classes.binary_search(label) {
                    counts[class] += 1;
                    let sum = &mut all[class * columns..(class + 1) * columns];
                    for (sum, v) in sum.iter_mut().zip(key) {
                        *sum += f64::from(*v);
                    }
                }
            }
        });
        for (mut sum, &count) in sums.axis_iter_mut(Axis(0)).zip(&counts) {
            sum /= count.max(1) as f64;
        }
        Self { classes, counts, means: sums.mapv(|v| v as f32) }
    }

    /// None if there is no key of class `label`.
    fn of(&self, label: usize) -> Option<&[f32]> {
        let class = self.classes.binary_search(&label).ok().filter(|&c| self.counts[c] > 0)?;
        self.means.row(class).to_slice()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contrast::{LossForm, SelfPairs, SupConLoss};
    use crate::rng::Streams;
    use rand::RngExt;
    use rand_distr::{Distribution, StandardNormal};

    fn random(rows: usize, dim: usize, classes: usize, name: &str) -> (Array2<f64>, Vec<usize>) {
        let mut rng = Streams::new(3).stream(name, &[]);
        let mut f = Array2::from_shape_simple_fn((rows, dim), || StandardNormal.sample(&mut rng));
        crate::contrast::normalize_rows(&mut f);
        (f, (0..rows).map(|_| rng.random_range(0..classes)).collect())
    }

    #[test]
    fn float32_agrees_with_the_float64_reference() {
        // Odd sizes: one row, one column, fewer keys than a tile, several blocks of keys with a rest.
        for (m, n, d, classes) in
            [(70, 900, 32, 7), (1, 1, 3, 1), (13, 5, 8, 40), (3, 9, 1, 2), (97, 389, 19, 3)]
        {
            for t in [0.01, 0.1, 10.0] {
                let ((a, la), (k, lk)) = (random(m, d, classes, "a"), random(n, d, classes, "k"));
                compare((&a, &la), (&k, &lk), t);
            }
        }
    }

    /// Keys sorted from the least to the most similar, so that the largest similarity grows in every
    /// block, and of lengths other than 1.
    #[test]
    fn a_growing_maximum_is_followed() {
        let ((a, la), (mut k, lk)) = (random(40, 16, 4, "a"), random(1000, 16, 4, "k"));
        for (i, mut row) in k.rows_mut().into_iter().enumerate() {
            row *= 0.01 * (i + 1) as f64;
        }
        compare((&a, &la), (&k, &lk), 0.2);
    }

    fn compare((a, la): (&Array2<f64>, &[usize]), (k, lk): (&Array2<f64>, &[usize]), t: f64) {
        let temperature = Temperature::new(t).unwrap();
        let reference = SupConLoss { form: LossForm::Out, temperature }
            .evaluate((a.view(), la), (k.view(), lk), SelfPairs::Distinct, None)
            .unwrap();
        let (a32, k32) = (a.mapv(|v| v as f32), k.mapv(|v| v as f32));
        let fast = supcon_gradient((a32.view(), la), (k32.view(), lk), temperature).unwrap();
        assert!((fast.loss - reference.loss).abs() <= 1e-5 * reference.loss.abs().max(1.0));
        let largest = reference.grad_anchors.iter().fold(1e-12f64, |x, v| x.max(v.abs()));
        // At T = 0.01 a rounding of 1e-7 in a similarity is 1e-5 in its exponential.
        let tolerance = 2e-6 + 4e-7 / t;
        for (x, y) in fast.grad_anchors.iter().zip(&reference.grad_anchors) {
            let error = (f64::from(*x) - y).abs() / largest;
            assert!(error < tolerance, "{:?} {:?} T {t}: off by {error}", a.dim(), k.dim());
        }
        // Rows that do not lie one after the other are the same rows.
        let columns = a32.t().as_standard_layout().into_owned();
        let turned = supcon_gradient((columns.t(), la), (k32.view(), lk), temperature).unwrap();
        assert_eq!(turned.grad_anchors, fast.grad_anchors);
    }

    #[test]
    fn anchors_without_positives_are_zero_and_nan_is_not_lost() {
        let (a, k) = (Array2::from_elem((2, 3), 0.5f32), Array2::from_elem((4, 3), 0.5f32));
        let t = Temperature::new(0.1).unwrap();
        let value = supcon_gradient((a.view(), &[7, 1]), (k.view(), &[1, 1, 2, 2]), t).unwrap();
        assert!(value.grad_anchors.row(0).iter().all(|g| *g == 0.0));
        assert!((value.loss - 4f64.ln() / 2.0).abs() < 1e-6, "{}", value.loss);
        let mut broken = k;
        broken[[0, 0]] = f32::NAN;
        let value =
            supcon_gradient((a.view(), &[1, 1]), (broken.view(), &[2, 1, 1, 1]), t).unwrap();
        assert!(value.loss.is_nan() && value.grad_anchors[[0, 0]].is_nan());
    }

    #[test]
    fn the_number_of_threads_does_not_show() {
        let ((a, la), (k, lk)) = (random(333, 16, 5, "a"), random(2000, 16, 5, "k"));
        let (a, k) = (a.mapv(|v| v as f32), k.mapv(|v| v as f32));
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let t = Temperature::new(0.1).unwrap();
            pool.install(|| supcon_gradient((a.view(), &la), (k.view(), &lk), t).unwrap())
        };
        let (one, three) = (run(1), run(3));
        assert_eq!(one.loss.to_bits(), three.loss.to_bits());
        assert_eq!(one.grad_anchors, three.grad_anchors);
    }
}
