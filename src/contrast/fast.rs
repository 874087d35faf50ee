//! The float32 path: one pass over the similarities of an anchor gives its gradient mass by class.
//!
//! Keys lie sorted by class, so that the keys of one class are one segment of a row and every sum
//! below runs over contiguous memory. `anchor_gradient` is the float64 reference; a test holds the
//! two together.

/// Lanes that sums are split into; fixed, so that a sum does not depend on the processor.
const LANES: usize = 16;

/// exp(x) for x <= 0, relative error below 3e-7. Below -87 the result is 0, since 2^-126 is the least
/// normal float32: a key whose similarity is more than 87 T below the anchor's largest has no weight
/// in the softmax, where float64 gives it one below 2e-38.
#[inline(always)]
pub fn exp_nonpositive(x: f32) -> f32 {
    // x = n ln 2 + r with |r| <= ln 2 / 2; adding 1.5 * 2^23 rounds to the nearest integer.
    const ROUND: f32 = 12_582_912.0;
    let clamped = if x < -87.0 { -87.0 } else { x };
    let shifted = clamped * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    // ln 2 in two parts: the first has few bits, so that n times it is exact.
    let r = clamped - n * 0.693_359_4 - n * -2.121_944_4e-4;
    let p = 1.0 / 720.0;
    let p = p * r + 1.0 / 120.0;
    let p = p * r + 1.0 / 24.0;
    let p = p * r + 1.0 / 6.0;
    let p = p * r + 0.5;
    let p = p * r + 1.0;
    let p = p * r + 1.0;
    let exponent = shifted.to_bits().wrapping_sub(ROUND.to_bits()).wrapping_add(127);
    let scale = f32::from_bits(exponent << 23);
    if x < -87.0 { 0.0 } else { p * scale }
}

/// Sum of `values` in fixed lanes.
#[inline(always)]
pub fn sum(values: &[f32]) -> f32 {
    fold(values, 0.0, |a, v| a + v, |a, b| a + b)
}

/// Largest of `values`, or -inf without any.
#[inline(always)]
pub fn max(values: &[f32]) -> f32 {
    let larger = |a: f32, b: f32| if b > a { b } else { a };
    fold(values, f32::NEG_INFINITY, larger, larger)
}

#[inline(always)]
fn fold(
    values: &[f32],
    start: f32,
    step: impl Fn(f32, f32) -> f32,
    join: impl Fn(f32, f32) -> f32,
) -> f32 {
    let mut lanes = [start; LANES];
    let (chunks, rest) = values.as_chunks::<LANES>();
    for chunk in chunks {
        for (lane, &v) in lanes.iter_mut().zip(chunk) {
            *lane = step(*lane, v);
        }
    }
    for (lane, &v) in lanes.iter_mut().zip(rest) {
        *lane = step(*lane, v);
    }
    lanes.into_iter().fold(start, join)
}

/// `exps[j] = exp((sims[j] - largest) / T)`, for all keys of a row; `largest` is the row's maximum.
#[inline(always)]
pub fn exponentials(sims: &[f32], largest: f32, inverse_t: f32, exps: &mut [f32]) {
    for (e, &s) in exps.iter_mut().zip(sims) {
        *e = exp_nonpositive((s - largest) * inverse_t);
    }
}

/// Sum over j of `|exps[j] / total - target|`: the positive part of the gradient with its sign lost.
#[inline(always)]
pub fn absolute_gap(exps: &[f32], inverse_total: f32, target: f32) -> f32 {
    let step = |a: f32, e: f32| a + (e * inverse_total - target).abs();
    fold(exps, 0.0, step, |a, b| a + b)
}

/// `weights[j] = sqrt(1 - sims[j]^2)`, the length of the part of a key that is tangent to the sphere
/// at the anchor: what a similarity's gradient is multiplied with on its way to the features.
#[inline(always)]
pub fn tangents(sims: &[f32], weights: &mut [f32]) {
    for (w, &s) in weights.iter_mut().zip(sims) {
        let square = 1.0 - s * s;
        *w = if square > 0.0 { square.sqrt() } else { 0.0 };
    }
}

/// Sum over j of `a[j] * b[j]` in fixed lanes.
#[inline(always)]
pub fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0.0f32; LANES];
    let ((a_chunks, a_rest), (b_chunks, b_rest)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    for (x, y) in a_chunks.iter().zip(b_chunks) {
        for k in 0..LANES {
            lanes[k] += x[k] * y[k];
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(x, y)| x * y).sum();
    lanes.into_iter().fold(rest, |a, b| a + b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exponential_is_that_of_float64() {
        let mut worst = 0.0f64;
        for i in 0..870_000 {
            let x = -(i as f32) * 1e-4;
            let exact = f64::from(x).exp();
            worst = worst.max((f64::from(exp_nonpositive(x)) / exact - 1.0).abs());
        }
        assert!(worst < 3e-7, "{worst}");
        assert_eq!(exp_nonpositive(0.0), 1.0);
        assert_eq!(exp_nonpositive(-500.0), 0.0);
        assert_eq!(exp_nonpositive(f32::NEG_INFINITY), 0.0);
    }

    #[test]
    fn sums_over_lanes_take_every_value() {
        for n in [0usize, 1, 15, 16, 17, 100] {
            let values: Vec<f32> = (0..n).map(|i| i as f32).collect();
            assert_eq!(sum(&values), (n * n.saturating_sub(1) / 2) as f32);
            assert_eq!(dot(&values, &vec![1.0; n]), sum(&values));
            assert_eq!(max(&values), if n == 0 { f32::NEG_INFINITY } else { n as f32 - 1.0 });
        }
    }
}
