use ndarray::{Array2, ArrayView2};

use crate::longtail::ClassCounts;

/// Logit adjustment (Menon et al. 2021, additive form): the mean over rows of CE(logits + tau ln p, y) in
/// nats, and its gradient `[N, C]`, for `logits` `[N, C]` and `labels` `[N]` below C; p are the classes' shares of
/// the training images.
pub fn logit_adjustment(
    logits: &ArrayView2<'_, f64>,
    labels: &[usize],
    counts: &ClassCounts,
    tau: f64,
) -> (f64, Array2<f64>) {
    let prior = counts.prior();
    let n = labels.len() as f64;
    let mut gradient = Array2::zeros(logits.raw_dim());
    let mut loss = 0.0;
    for ((row, mut slope), &y) in logits.rows().into_iter().zip(gradient.rows_mut()).zip(labels) {
        let adjusted: Vec<f64> =
            row.iter().zip(prior.as_slice()).map(|(l, p)| l + tau * p.ln()).collect();
        let most = adjusted.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = adjusted.iter().map(|a| (a - most).exp()).sum();
        loss += (most + sum.ln() - adjusted[y]) / n;
        for (c, a) in adjusted.iter().enumerate() {
            slope[c] = ((a - most).exp() / sum - f64::from(c == y)) / n;
        }
    }
    (loss, gradient)
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    #[test]
    fn the_gradient_is_the_slope_and_the_value_that_of_the_formula() {
        let counts = ClassCounts::new(vec![60, 30, 10]).unwrap();
        let logits = array![[0.3, -1.2, 2.0], [1.5, 0.1, -0.4]];
        let labels = [2, 0];
        let (loss, gradient) = logit_adjustment(&logits.view(), &labels, &counts, 1.0);
        // With tau = 1 the softmax is p_c exp(l_c) over its sum.
        let share = |row: usize, y: usize| {
            let of = |c: usize| [0.6, 0.3, 0.1][c] * f64::exp(logits[[row, c]]);
            of(y) / (of(0) + of(1) + of(2))
        };
        let by_hand = -(share(0, 2).ln() + share(1, 0).ln()) / 2.0;
        assert!((loss - by_hand).abs() < 1e-14, "{loss} {by_hand}");
        let h = 1e-6;
        for ((i, c), analytic) in gradient.indexed_iter() {
            let at = |shift: f64| {
                let mut moved = logits.clone();
                moved[[i, c]] += shift;
                logit_adjustment(&moved.view(), &labels, &counts, 1.0).0
            };
            let slope = (at(h) - at(-h)) / (2.0 * h);
            assert!((slope - analytic).abs() < 1e-9, "[{i}, {c}]: {slope} {analytic}");
        }
    }
}
