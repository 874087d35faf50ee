//! The gradient of the supervised contrastive loss in float32, blocked and parallel: for a block of
//! anchors the similarities, one fused pass over each row (largest, exponentials, sums, gradient in
//! place), and the product back to features. Nothing as large as anchors x keys is ever stored.

use super::{Temperature, fast};
use crate::{Error, Result};
use ndarray::{Array2, ArrayView2, ArrayViewMut2, Axis};
use rayon::prelude::*;

/// Similarities held at a time by a thread: 1 MiB, so that a block stays in its cache (4 MiB took
/// twice as long at 16,384 keys).
const BLOCK_VALUES: usize = 1 << 18;

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
/// The result does not depend on the number of threads.
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
    // Keys of one class side by side: the positives of an anchor are one range.
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by_key(|&k| key_labels[k]);
    let keys = keys.select(Axis(0), &order);
    let labels: Vec<usize> = order.iter().map(|&k| key_labels[k]).collect();
    let range = |label: usize| {
        (labels.partition_point(|&l| l < label), labels.partition_point(|&l| l <= label))
    };
    let ranges: Vec<_> = anchor_labels.iter().map(|&l| range(l)).collect();
    // At most 128, so that small batches still fill several threads.
    let rows = (BLOCK_VALUES / n).clamp(16, 128);
    let mut grad_anchors = Array2::zeros((m, d));
    let transposed = keys.t();
    let losses: Vec<f64> = grad_anchors
        .axis_chunks_iter_mut(Axis(0), rows)
        .into_par_iter()
        .enumerate()
        .map(|(block, mut grad): (usize, ArrayViewMut2<f32>)| {
            let start = block * rows;
            let end = start + grad.nrows();
            let (_, rest) = anchors.split_at(Axis(0), start);
            let (anchors, _) = rest.split_at(Axis(0), end - start);
            // A product of narrow matrices may come out column by column.
            let mut sims = anchors.dot(&transposed);
            if !sims.is_standard_layout() {
                sims = sims.as_standard_layout().into_owned();
            }
            // Compiled once per instruction set; the widest that the processor has is taken.
            let loss = pulp::Arch::new().dispatch(|| {
                let mut loss = 0.0;
                for (mut row, &range) in sims.rows_mut().into_iter().zip(&ranges[start..end]) {
                    let row = row.as_slice_mut().expect("rows in standard layout are contiguous");
                    loss += gradient_row(row, range, temperature.get() as f32, m as f32);
                }
                loss
            });
            grad.assign(&sims.dot(&keys));
            loss
        })
        .collect();
    Ok(KernelValue { loss: losses.iter().sum::<f64>() / m as f64, grad_anchors })
}

/// Turns a row of similarities into dL/ds, L the mean over `anchors` anchors; returns the anchor's
/// own loss. Keys `from..to` are its positives.
#[inline(always)]
fn gradient_row(row: &mut [f32], (from, to): (usize, usize), t: f32, anchors: f32) -> f64 {
    if from == to {
        row.fill(0.0);
        return 0.0;
    }
    let inverse_t = 1.0 / t;
    let count = (to - from) as f32;
    let largest = fast::max(row);
    let pulled = f64::from(fast::sum(&row[from..to]) / count);
    let total = fast::exponentials_in_place(row, largest, inverse_t);
    let unit = inverse_t / anchors;
    let scale = unit / total;
    for e in &mut *row {
        *e *= scale;
    }
    for g in &mut row[from..to] {
        *g -= unit / count;
    }
    (f64::from(largest) - pulled) * f64::from(inverse_t) + f64::from(total).ln()
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
        for (m, n, d, classes) in [(70, 900, 32, 7), (1, 1, 3, 1), (13, 5, 8, 40), (3, 9, 1, 2)] {
            for t in [0.01, 0.1, 10.0] {
                let ((a, la), (k, lk)) = (random(m, d, classes, "a"), random(n, d, classes, "k"));
                let t = Temperature::new(t).unwrap();
                let reference = SupConLoss { form: LossForm::Out, temperature: t }
                    .evaluate((a.view(), &la), (k.view(), &lk), SelfPairs::Distinct, None)
                    .unwrap();
                let (a32, k32) = (a.mapv(|v| v as f32), k.mapv(|v| v as f32));
                let fast = supcon_gradient((a32.view(), &la), (k32.view(), &lk), t).unwrap();
                assert!((fast.loss - reference.loss).abs() <= 1e-5 * reference.loss.abs().max(1.0));
                let largest = reference.grad_anchors.iter().fold(1e-12f64, |x, v| x.max(v.abs()));
                // At T = 0.01 a rounding of 1e-7 in a similarity is 1e-5 in its exponential.
                let tolerance = 2e-6 + 4e-7 / t.get();
                for (x, y) in fast.grad_anchors.iter().zip(&reference.grad_anchors) {
                    let error = (f64::from(*x) - y).abs() / largest;
                    assert!(error < tolerance, "T {t:?}: off by {error}");
                }
            }
        }
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
