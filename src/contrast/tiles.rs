//! The float32 kernel's arithmetic on vectors: products in register tiles, the exponential, and the
//! running softmax over blocks of keys. Each lane is an anchor, so that no sum crosses lanes and an
//! anchor's result does not depend on its neighbours, on the width of a vector or on threads.
//!
//! Whatever touches a vector is a function that is always inlined, never a closure: closures are
//! compiled for the oldest processor, and a call to one moves every vector through memory.

use pulp::{Simd, WithSimd};

/// Keys worked on at a time: their similarities to the anchors of a panel stay in the first cache.
const KEYS: usize = 128;

/// Columns of features are padded to a multiple of this, so that tiles need no remainder.
pub(super) const COLUMNS: usize = 8;

/// Anchors against all keys: for each anchor the largest similarity, the sum of
/// exp((s - largest) / T) over the keys, and the sum of the keys weighted with it.
pub(super) struct Softmax<'a> {
    /// M x `columns`.
    pub(super) anchors: &'a [f32],
    /// N x `columns`.
    pub(super) keys: &'a [f32],
    /// D, padded to a multiple of [`COLUMNS`].
    pub(super) columns: usize,
    /// 1/T.
    pub(super) inverse_t: f32,
    /// Largest similarity and sum of exponentials (M).
    pub(super) state: &'a mut [(f32, f32)],
    /// Weighted sums of keys, M x `columns`.
    pub(super) pulled: &'a mut [f32],
}

impl WithSimd for Softmax<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        // Sums held in registers: 16 of 32, or 12 of 16.
        if const { S::REGISTER_COUNT >= 32 } {
            self.run::<S, 8, 2>(simd);
        } else {
            self.run::<S, 4, 3>(simd);
        }
    }
}

/// What is kept of `V` vectors of anchors from one block of keys to the next.
struct Panel<F, const V: usize> {
    largest: [F; V],
    total: [F; V],
}

impl Softmax<'_> {
    /// Tiles of `R` x `V` vectors.
    #[inline(always)]
    fn run<S: Simd, const R: usize, const V: usize>(self, simd: S) {
        let (d, width) = (self.columns, V * S::F32_LANES);
        let panels = self.state.len().div_ceil(width);
        let mut anchors = Lines::new(panels * d * width);
        let mut sums = Lines::new(panels * d * width);
        let mut weights = Lines::new(KEYS * width);
        pack(self.anchors, d, width, anchors.get());
        let packed = vectors::<S, V>(anchors.get());
        let mut states: Vec<Panel<S::f32s, V>> = (0..panels)
            .map(|_| Panel {
                largest: [simd.splat_f32s(f32::NEG_INFINITY); V],
                total: [simd.splat_f32s(0.0); V],
            })
            .collect();
        let summed = vectors_mut::<S, V>(sums.get());
        let inverse_t = simd.splat_f32s(self.inverse_t);
        for keys in self.keys.chunks(KEYS * d) {
            let rows = &mut vectors_mut::<S, V>(weights.get())[..keys.len() / d];
            let panels = packed.chunks_exact(d).zip(summed.chunks_exact_mut(d)).zip(&mut states);
            for ((anchors, sums), state) in panels {
                similarities::<S, R, V>(simd, keys, d, anchors, rows);
                let scale = state.exponentials(simd, rows, inverse_t);
                for (at, sums) in sums.chunks_exact_mut(R).enumerate() {
                    weighted_keys::<S, R, V>(simd, keys, (d, at), rows, &scale, sums);
                }
            }
        }
        for (panel, state) in states.iter().enumerate() {
            let (mut largest, mut total) = (vec![0.0; width], vec![0.0; width]);
            S::as_mut_simd_f32s(&mut largest).0.copy_from_slice(&state.largest);
            S::as_mut_simd_f32s(&mut total).0.copy_from_slice(&state.total);
            let to = self.state.iter_mut().skip(panel * width);
            to.zip(largest.into_iter().zip(total)).for_each(|(to, value)| *to = value);
        }
        unpack(sums.get(), d, width, self.pulled);
    }
}

impl<F: Copy, const V: usize> Panel<F, V> {
    /// Turns the similarities of a block of keys into exp((s - largest) / T); returns what sums over
    /// earlier keys are to be multiplied with, since `largest` may have grown.
    #[inline(always)]
    fn exponentials<S: Simd<f32s = F>>(
        &mut self,
        simd: S,
        rows: &mut [[F; V]],
        inverse_t: F,
    ) -> [F; V] {
        let before = self.largest;
        for row in &*rows {
            for (largest, &s) in self.largest.iter_mut().zip(row) {
                *largest = simd.max_f32s(*largest, s);
            }
        }
        let mut sum = [simd.splat_f32s(0.0); V];
        for row in rows {
            for v in 0..V {
                row[v] = weight(simd, row[v], self.largest[v], inverse_t);
                sum[v] = simd.add_f32s(sum[v], row[v]);
            }
        }
        let mut scale = before;
        for v in 0..V {
            scale[v] = weight(simd, before[v], self.largest[v], inverse_t);
            self.total[v] = simd.mul_add_e_f32s(self.total[v], scale[v], sum[v]);
        }
        scale
    }
}

/// exp((s - largest) / T).
#[inline(always)]
fn weight<S: Simd>(simd: S, s: S::f32s, largest: S::f32s, inverse_t: S::f32s) -> S::f32s {
    exp_nonpositive(simd, simd.mul_f32s(simd.sub_f32s(s, largest), inverse_t))
}

/// exp(x) for x <= 0 as in [`super::fast::exp_nonpositive`], except that below -87 it stays at
/// exp(-87). NaN stays NaN.
#[inline(always)]
fn exp_nonpositive<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    const ROUND: f32 = 12_582_912.0;
    const COEFFICIENTS: [f32; 6] = [1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0];
    // In this order, since the larger of a number and NaN is the second on x86.
    let x = simd.max_f32s(simd.splat_f32s(-87.0), x);
    let log2_e = simd.splat_f32s(std::f32::consts::LOG2_E);
    let shifted = simd.mul_add_e_f32s(x, log2_e, simd.splat_f32s(ROUND));
    let n = simd.sub_f32s(shifted, simd.splat_f32s(ROUND));
    let r = simd.mul_add_e_f32s(n, simd.splat_f32s(-0.693_359_4), x);
    let r = simd.mul_add_e_f32s(n, simd.splat_f32s(2.121_944_4e-4), r);
    let mut p = simd.splat_f32s(1.0 / 720.0);
    for c in COEFFICIENTS {
        p = simd.mul_add_e_f32s(p, r, simd.splat_f32s(c));
    }
    // The low bits of the shifted number are n; what is above them is shifted out.
    let exponent = simd.add_u32s(simd.transmute_u32s_f32s(shifted), simd.splat_u32s(127));
    let bits = simd.wrapping_dyn_shl_u32s(exponent, simd.splat_u32s(23));
    simd.mul_f32s(p, simd.transmute_f32s_u32s(bits))
}

/// Similarities of a block of keys (N x d) to a panel of anchors (d vectors): one row per key.
#[inline(always)]
fn similarities<S: Simd, const R: usize, const V: usize>(
    simd: S,
    keys: &[f32],
    d: usize,
    anchors: &[[S::f32s; V]],
    out: &mut [[S::f32s; V]],
) {
    let mut tiles = out.chunks_exact_mut(R);
    let mut keys = keys.chunks(R * d);
    for (out, keys) in (&mut tiles).zip(&mut keys) {
        out.copy_from_slice(&products::<S, R, V>(simd, keys, d, anchors));
    }
    let rest = keys.flat_map(|keys| keys.chunks(d));
    for (out, key) in tiles.into_remainder().iter_mut().zip(rest) {
        [*out] = products::<S, 1, V>(simd, key, d, anchors);
    }
}

/// The similarities of `R` keys.
#[inline(always)]
fn products<S: Simd, const R: usize, const V: usize>(
    simd: S,
    keys: &[f32],
    d: usize,
    anchors: &[[S::f32s; V]],
) -> [[S::f32s; V]; R] {
    let rows: [&[[f32; COLUMNS]]; R] =
        std::array::from_fn(|r| keys[r * d..(r + 1) * d].as_chunks().0);
    let mut sums = [[simd.splat_f32s(0.0); V]; R];
    for (at, anchors) in anchors.as_chunks::<COLUMNS>().0.iter().enumerate() {
        let keys: [&[f32; COLUMNS]; R] = std::array::from_fn(|r| &rows[r][at]);
        for x in 0..COLUMNS {
            for r in 0..R {
                let key = simd.splat_f32s(keys[r][x]);
                for v in 0..V {
                    sums[r][v] = simd.mul_add_e_f32s(key, anchors[x][v], sums[r][v]);
                }
            }
        }
    }
    sums
}

/// Columns `at * R..` of the sum of a block of keys (N x d) weighted for each anchor, added to what
/// earlier blocks gave, times `scale`.
#[inline(always)]
fn weighted_keys<S: Simd, const R: usize, const V: usize>(
    simd: S,
    keys: &[f32],
    (d, at): (usize, usize),
    weights: &[[S::f32s; V]],
    scale: &[S::f32s; V],
    out: &mut [[S::f32s; V]],
) {
    let mut sums = [[simd.splat_f32s(0.0); V]; R];
    let columns = keys.as_chunks::<R>().0[at..].iter().step_by(d / R);
    for (key, weights) in columns.zip(weights) {
        for r in 0..R {
            let key = simd.splat_f32s(key[r]);
            for v in 0..V {
                sums[r][v] = simd.mul_add_e_f32s(key, weights[v], sums[r][v]);
            }
        }
    }
    for (out, sum) in out.iter_mut().zip(sums) {
        for v in 0..V {
            out[v] = simd.mul_add_e_f32s(out[v], scale[v], sum[v]);
        }
    }
}

/// Numbers that begin on a cache line: a vector that lies across two takes twice as long.
struct Lines {
    values: Vec<f32>,
    start: usize,
    len: usize,
}

impl Lines {
    fn new(len: usize) -> Self {
        let values = vec![0.0f32; len + 16];
        // The offset is a wish: where it cannot be had, the result is slower and the same.
        let start = values.as_ptr().align_offset(64).min(16);
        Self { values, start, len }
    }

    fn get(&mut self) -> &mut [f32] {
        &mut self.values[self.start..self.start + self.len]
    }
}

#[inline(always)]
fn vectors<S: Simd, const V: usize>(values: &[f32]) -> &[[S::f32s; V]] {
    S::as_simd_f32s(values).0.as_chunks().0
}

#[inline(always)]
fn vectors_mut<S: Simd, const V: usize>(values: &mut [f32]) -> &mut [[S::f32s; V]] {
    S::as_mut_simd_f32s(values).0.as_chunks_mut().0
}

/// Rows of d values into panels of `width` anchors, each d x width; anchors that are not there are 0.
fn pack(rows: &[f32], d: usize, width: usize, panels: &mut [f32]) {
    for (rows, panel) in rows.chunks(d * width).zip(panels.chunks_exact_mut(d * width)) {
        for (i, row) in rows.chunks_exact(d).enumerate() {
            for (to, v) in panel.chunks_exact_mut(width).zip(row) {
                to[i] = *v;
            }
        }
    }
}

/// The way back.
fn unpack(panels: &[f32], d: usize, width: usize, rows: &mut [f32]) {
    for (rows, panel) in rows.chunks_mut(d * width).zip(panels.chunks_exact(d * width)) {
        for (i, row) in rows.chunks_exact_mut(d).enumerate() {
            for (v, from) in row.iter_mut().zip(panel.chunks_exact(width)) {
                *v = from[i];
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Exp(Vec<f32>);

    impl WithSimd for Exp {
        type Output = Vec<f32>;

        #[inline(always)]
        fn with_simd<S: Simd>(mut self, simd: S) -> Vec<f32> {
            for x in S::as_mut_simd_f32s(&mut self.0).0 {
                *x = exp_nonpositive(simd, *x);
            }
            self.0
        }
    }

    #[test]
    fn the_exponential_is_that_of_float64_on_every_instruction_set() {
        let x: Vec<f32> = (0..870_400).map(|i| -(i as f32) * 1e-4).collect();
        let wide = pulp::Arch::new().dispatch(Exp(x.clone()));
        let scalar = pulp::Arch::Scalar.dispatch(Exp(x.clone()));
        for values in [wide, scalar] {
            for (x, e) in x.iter().zip(values) {
                let exact = f64::from(x.max(-87.0)).exp();
                assert!((f64::from(e) / exact - 1.0).abs() < 3e-7, "{x}: {e}");
            }
        }
        let special = [0.0, -500.0, f32::NEG_INFINITY, f32::NAN].repeat(16);
        let e = pulp::Arch::new().dispatch(Exp(special));
        assert_eq!(e[0], 1.0);
        assert!(e[1] < 2e-38 && e[2] < 2e-38 && e[3].is_nan());
    }

    /// Every instruction set gives the same but for the rounding of fused products.
    #[test]
    fn vectors_of_every_width_agree() {
        let (m, n, d) = (37, 301, 16);
        let value = |i: usize| ((i * 7919 % 1009) as f32 / 1009.0 - 0.5) / 2.0;
        let anchors: Vec<f32> = (0..m * d).map(value).collect();
        let keys: Vec<f32> = (0..n * d).map(|i| value(i + 17)).collect();
        let run = |arch: pulp::Arch| {
            let (mut state, mut pulled) = (vec![(0.0, 0.0); m], vec![0.0; m * d]);
            arch.dispatch(Softmax {
                anchors: &anchors,
                keys: &keys,
                columns: d,
                inverse_t: 10.0,
                state: &mut state,
                pulled: &mut pulled,
            });
            (state, pulled)
        };
        let (wide, scalar) = (run(pulp::Arch::new()), run(pulp::Arch::Scalar));
        for (a, b) in wide.0.iter().zip(&scalar.0) {
            assert!((a.0 - b.0).abs() < 1e-6 && (a.1 / b.1 - 1.0).abs() < 1e-5);
        }
        for (a, b) in wide.1.iter().zip(&scalar.1) {
            assert!((a - b).abs() < 1e-4 * (1.0 + b.abs()), "{a} {b}");
        }
    }
}
