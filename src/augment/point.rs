//! Operations that look at one channel value at a time. What can be computed is: it is faster than a
//! table of 256 entries, which stays for the two operations that need one per channel.

use super::buffers::Quad;
use super::wide::widest;

/// One table per channel.
type Tables = [[u8; 256]; 3];

/// Replaces every value by its channel's table entry.
fn look_up(pixels: &mut [Quad], [r, g, b]: &Tables) {
    for pixel in pixels {
        let [red, green, blue, rest] = pixel.map(usize::from);
        *pixel = [r[red], g[green], b[blue], rest as u8];
    }
}

widest! {
    /// 255 - v.
    pub(super) fn invert(bytes: &mut [u8]) {
        for value in bytes {
            *value = 255 - *value;
        }
    }
}

/// Inverts values that are not below `threshold`.
pub(super) fn solarize(bytes: &mut [u8], threshold: f64) {
    // An integer is below the threshold if it is below the next integer.
    let whole = threshold.ceil();
    if whole <= 255.0 {
        invert_from(bytes, whole as u8);
    }
}

widest! {
    fn invert_from(bytes: &mut [u8], threshold: u8) {
        for value in bytes {
            *value = if *value < threshold { *value } else { 255 - *value };
        }
    }
}

widest! {
    /// Adds `add` to values below `threshold`, at most up to 255.
    pub(super) fn solarize_add(bytes: &mut [u8], add: i32, threshold: u8) {
        let add = add.clamp(-255, 255) as i16;
        for value in bytes {
            let more = (i16::from(*value) + add).clamp(0, 255) as u8;
            *value = if *value < threshold { more } else { *value };
        }
    }
}

widest! {
    /// Keeps the `bits` highest bits; 0 bits: black (present Pillow versions refuse it, earlier ones
    /// gave this), 8 and more: unchanged.
    pub(super) fn posterize(bytes: &mut [u8], bits: u8) {
        let mask = !(0xffu16 >> bits.min(8)) as u8;
        for value in bytes {
            *value &= mask;
        }
    }
}

/// degenerate + factor * (v - degenerate), as Pillow blends two images: in float32, clipped, truncated.
#[inline(always)]
pub(super) fn blend(degenerate: u8, value: u8, factor: f32) -> u8 {
    let (from, to) = (f32::from(degenerate), f32::from(value));
    truncate(from + factor * (to - from))
}

/// `value as u8` in a form that compilers turn into vector instructions.
#[inline(always)]
fn truncate(value: f32) -> u8 {
    let value = if value > 0.0 { value } else { 0.0 };
    let value = if value < 255.0 { value } else { 255.0 };
    let rounded = value + INTEGER;
    let above = u32::from(rounded - INTEGER > value);
    (rounded.to_bits() - above) as u8
}

/// Adding this to a float32 from 0 to 255 rounds it to an integer, which the lowest byte then is.
pub(super) const INTEGER: f32 = 8_388_608.0;

/// Blend of the three channels of a pixel, red in the lowest byte, with one level.
#[inline(always)]
pub(super) fn blend_pixel(pixel: Quad, level: u8, factor: f32) -> Quad {
    // As 32-bit lanes: bytes would be widened and narrowed at length.
    let whole = u32::from_le_bytes(pixel);
    let channel = |at: u32| u32::from(blend(level, (whole >> at) as u8, factor)) << at;
    (channel(0) | channel(8) | channel(16)).to_le_bytes()
}

widest! {
    /// Blend with one level: 0 changes the brightness.
    pub(super) fn blend_with(pixels: &mut [Quad], level: u8, factor: f32) {
        for pixel in pixels {
            *pixel = blend_pixel(*pixel, level, factor);
        }
    }
}

/// Blend with the mean of the luma, rounded to an integer.
pub(super) fn contrast(pixels: &mut [Quad], factor: f32) {
    let mean = (luma_sum(pixels) as f64 / pixels.len().max(1) as f64 + 0.5) as u8;
    blend_with(pixels, mean, factor);
}

widest! {
    fn luma_sum(pixels: &[Quad]) -> u64 {
        let mut sum = 0;
        // So few that their sum fits 32 bits.
        for block in pixels.chunks(1 << 16) {
            let mut part = 0;
            for &pixel in block {
                part += luma(u32::from_le_bytes(pixel));
            }
            sum += u64::from(part);
        }
        sum
    }
}

/// Pillow's conversion to grey of one pixel, red in the lowest byte.
#[inline(always)]
pub(super) fn luma(pixel: u32) -> u32 {
    let [r, g, b] = [pixel & 255, (pixel >> 8) & 255, (pixel >> 16) & 255];
    (r * 19595 + g * 38470 + b * 7471 + 0x8000) >> 16
}

/// How often each value occurs, per channel.
fn histograms(pixels: &[Quad]) -> [[u32; 256]; 3] {
    // Neighbours are often equal: two sets of counters, so that one need not wait for the other.
    let mut counts = [[[0u32; 256]; 3]; 2];
    let (pairs, rest) = pixels.as_chunks::<2>();
    for pair in pairs {
        for (channels, pixel) in counts.iter_mut().zip(pair) {
            for (channel, &v) in channels.iter_mut().zip(pixel) {
                channel[usize::from(v)] += 1;
            }
        }
    }
    let [mut counts, others] = counts;
    for pixel in rest {
        for (channel, &v) in counts.iter_mut().zip(pixel) {
            channel[usize::from(v)] += 1;
        }
    }
    for (count, other) in counts.as_flattened_mut().iter_mut().zip(others.as_flattened()) {
        *count += other;
    }
    counts
}

fn identity() -> [u8; 256] {
    std::array::from_fn(|v| v as u8)
}

/// Stretches each channel to 0..=255.
pub(super) fn autocontrast(pixels: &mut [Quad]) {
    let tables = extremes(pixels).map(|(low, high)| {
        if high <= low {
            return identity();
        }
        let scale = 255.0 / f64::from(high - low);
        let offset = -f64::from(low) * scale;
        std::array::from_fn(|v| (v as f64 * scale + offset) as u8)
    });
    look_up(pixels, &tables);
}

widest! {
    /// The lowest and the highest value of each channel.
    fn extremes(pixels: &[Quad]) -> [(u8, u8); 3] {
        std::array::from_fn(|channel| {
            let (mut low, mut high) = (u32::MAX, 0);
            for &pixel in pixels {
                let value = (u32::from_le_bytes(pixel) >> (8 * channel)) & 255;
                low = low.min(value);
                high = high.max(value);
            }
            (low as u8, high as u8)
        })
    }
}

/// Makes each channel's histogram as even as a table can.
pub(super) fn equalize(pixels: &mut [Quad]) {
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
            let mut pixels = [[7; 4]; 300];
            change(&mut pixels);
            assert_eq!(pixels, [[7; 4]; 300]);
        }
    }

    #[test]
    fn truncation_is_that_of_the_language() {
        for step in -100..26_000 {
            let value = step as f32 * 0.01;
            let near = [value, value.next_up(), value.next_down(), value.round()];
            assert_eq!(near.map(truncate), near.map(|v| v as u8), "{near:?}");
        }
    }

    #[test]
    fn blending_beyond_both_ends_is_clipped() {
        assert_eq!((blend(10, 200, 2.0), blend(200, 10, 2.0), blend(10, 200, 0.5)), (255, 0, 105));
    }

    #[test]
    fn thresholds_between_integers_and_beyond_bytes() {
        for (threshold, kept) in
            [(-1.0, 0), (0.0, 0), (0.5, 1), (7.0, 7), (255.5, 256), (300.0, 256)]
        {
            let mut bytes: Vec<u8> = (0..=255).collect();
            solarize(&mut bytes, threshold);
            let right =
                |(i, &v): (usize, &u8)| usize::from(v) == if i < kept { i } else { 255 - i };
            assert!(bytes.iter().enumerate().all(right), "{threshold}");
        }
        let mut bytes = [0, 100, 127, 128, 255];
        solarize_add(&mut bytes, 150, 128);
        assert_eq!(bytes, [150, 250, 255, 128, 255]);
        solarize_add(&mut bytes, -1000, 255);
        assert_eq!(bytes, [0, 0, 255, 0, 255]);
    }
}
