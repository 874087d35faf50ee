//! Operations that look at one channel value at a time: a table of 256 entries per channel.

/// One table per channel.
type Tables = [[u8; 256]; 3];

/// Replaces every value by its channel's table entry.
fn look_up(pixels: &mut [u8], tables: &Tables) {
    let [r, g, b] = tables;
    for pixel in pixels.chunks_exact_mut(3) {
        pixel[0] = r[usize::from(pixel[0])];
        pixel[1] = g[usize::from(pixel[1])];
        pixel[2] = b[usize::from(pixel[2])];
    }
}

fn same_for_all(pixels: &mut [u8], entry: impl Fn(u8) -> u8) {
    let mut table = [0; 256];
    for (value, slot) in (0..=255u8).zip(&mut table) {
        *slot = entry(value);
    }
    for value in pixels {
        *value = table[usize::from(*value)];
    }
}

/// 255 - v.
pub(super) fn invert(pixels: &mut [u8]) {
    for value in pixels {
        *value = 255 - *value;
    }
}

/// Inverts values that are not below `threshold`.
pub(super) fn solarize(pixels: &mut [u8], threshold: f64) {
    same_for_all(pixels, |v| if f64::from(v) < threshold { v } else { 255 - v });
}

/// Adds `add` to values below `threshold`, at most up to 255.
pub(super) fn solarize_add(pixels: &mut [u8], add: i32, threshold: i32) {
    same_for_all(pixels, |v| {
        let v = i32::from(v);
        (if v < threshold { (v + add).clamp(0, 255) } else { v }) as u8
    });
}

/// Keeps the `bits` highest bits; 0 bits: black (present Pillow versions refuse it, earlier ones gave
/// this), 8 and more: unchanged.
pub(super) fn posterize(pixels: &mut [u8], bits: u8) {
    let mask = !(0xffu16 >> bits.min(8)) as u8;
    for value in pixels {
        *value &= mask;
    }
}

/// degenerate + factor * (v - degenerate), as Pillow blends two images: in float32, clipped, truncated.
#[inline(always)]
pub(super) fn blend(degenerate: u8, value: u8, factor: f32) -> u8 {
    let (from, to) = (f32::from(degenerate), f32::from(value));
    // `as` clips at 0 and 255 and truncates between: the same for inter- and extrapolation.
    (from + factor * (to - from)) as u8
}

/// Blend with black.
pub(super) fn brightness(pixels: &mut [u8], factor: f32) {
    same_for_all(pixels, |v| blend(0, v, factor));
}

/// Blend with the mean of the luma, rounded to an integer.
pub(super) fn contrast(pixels: &mut [u8], factor: f32) {
    let sum: u64 = pixels.chunks_exact(3).map(|p| u64::from(luma(p))).sum();
    let mean = (sum as f64 / (pixels.len() / 3).max(1) as f64 + 0.5) as u8;
    same_for_all(pixels, |v| blend(mean, v, factor));
}

/// Pillow's conversion to grey of one RGB pixel.
#[inline(always)]
pub(super) fn luma(pixel: &[u8]) -> u8 {
    let weigh = |v: u8, weight: u32| u32::from(v) * weight;
    let sum = weigh(pixel[0], 19595) + weigh(pixel[1], 38470) + weigh(pixel[2], 7471);
    ((sum + 0x8000) >> 16) as u8
}

/// How often each value occurs, per channel.
fn histograms(pixels: &[u8]) -> [[u32; 256]; 3] {
    let mut counts = [[0; 256]; 3];
    for pixel in pixels.chunks_exact(3) {
        for (channel, &v) in counts.iter_mut().zip(pixel) {
            channel[usize::from(v)] += 1;
        }
    }
    counts
}

fn identity() -> [u8; 256] {
    std::array::from_fn(|v| v as u8)
}

/// Stretches each channel to 0..=255.
pub(super) fn autocontrast(pixels: &mut [u8]) {
    let tables = histograms(pixels).map(|counts| {
        let low = counts.iter().position(|&n| n > 0).unwrap_or(0);
        let high = counts.iter().rposition(|&n| n > 0).unwrap_or(0);
        if high <= low {
            return identity();
        }
        let scale = 255.0 / (high - low) as f64;
        let offset = -(low as f64) * scale;
        std::array::from_fn(|v| (v as f64 * scale + offset) as u8)
    });
    look_up(pixels, &tables);
}

/// Makes each channel's histogram as even as a table can.
pub(super) fn equalize(pixels: &mut [u8]) {
    let tables = histograms(pixels).map(|counts| {
        let total: u32 = counts.iter().sum();
        let levels = counts.iter().filter(|&&n| n > 0).count();
        let last = counts.iter().rfind(|&&n| n > 0).copied().unwrap_or(0);
        let step = (total - last) / 255;
        if levels <= 1 || step == 0 {
            return identity();
        }
        let mut below = step / 2;
        counts.map(|n| {
            let level = (below / step).min(255) as u8;
            below += n;
            level
        })
    });
    look_up(pixels, &tables);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn posterize_covers_every_number_of_bits() {
        for (bits, expected) in [(0, 0), (1, 0x80), (4, 0xf0), (8, 0xff), (9, 0xff)] {
            let mut pixels = [0xff; 3];
            posterize(&mut pixels, bits);
            assert_eq!(pixels, [expected; 3], "{bits} bits");
        }
    }

    #[test]
    fn one_level_images_are_left_alone() {
        for change in [autocontrast, equalize] {
            let mut pixels = [7; 3 * 300];
            change(&mut pixels);
            assert_eq!(pixels, [7; 3 * 300]);
        }
    }

    #[test]
    fn blending_beyond_both_ends_is_clipped() {
        assert_eq!((blend(10, 200, 2.0), blend(200, 10, 2.0), blend(10, 200, 0.5)), (255, 0, 105));
    }
}
