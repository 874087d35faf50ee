//! Axes: a range, its scale, and ticks at numbers that people read.

/// One axis of a panel.
#[derive(Debug, Clone, PartialEq)]
pub struct Axis {
    label: String,
    low: f64,
    high: f64,
    log: bool,
    ticks: Vec<(f64, String)>,
    upright: bool,
}

impl Axis {
    /// A linear axis over [low, high] with four to six round ticks where round numbers allow it.
    pub fn linear(label: impl Into<String>, low: f64, high: f64) -> Self {
        let (low, high) = widened(low, high);
        let step = round_step(low, high);
        let (first, last) = multiples(low, high, step);
        let fraction =
            |d: &i32| (step * 10f64.powi(*d)).fract().min(1.0 - (step * 10f64.powi(*d)).fract());
        let decimals = (0..12).find(|d| fraction(d) < 1e-6).unwrap_or(12) as usize;
        let text = |v: f64| format!("{:.decimals$}", v + 0.0).replace('-', "−");
        let ticks = (first..=last).map(|k| k as f64 * step).map(|v| (v, text(v))).collect();
        Self { label: label.into(), low, high, log: false, ticks, upright: false }
    }

    /// A logarithmic axis over [low, high] (both above zero), ticks at decades and, where fewer
    /// than three decades are shown, at 2 and 5 as well.
    pub fn log(label: impl Into<String>, low: f64, high: f64) -> Self {
        let low = low.max(f64::MIN_POSITIVE);
        let high = if high > low { high } else { low * 10.0 };
        let decades = (high / low).log10();
        let every = (decades / 6.0).ceil().max(1.0) as i32;
        let digits: &[f64] = if decades < 3.0 { &[1.0, 2.0, 5.0] } else { &[1.0] };
        let (first, last) = (low.log10().floor() as i32, high.log10().ceil() as i32);
        let at: Vec<f64> = (first..=last)
            .filter(|e| e.rem_euclid(every) == 0)
            .flat_map(|e| digits.iter().map(move |d| d * 10f64.powi(e)))
            .filter(|&v| v >= low * 0.999 && v <= high * 1.001)
            .collect();
        // One style per axis: powers of ten throughout if any tick needs one.
        let plain = at.iter().all(|v| (0.00099..=20_000.0).contains(v));
        let text = if plain { plain_text } else { power_text };
        let ticks = at.into_iter().map(|v| (v, text(v))).collect();
        Self { label: label.into(), low, high, log: true, ticks, upright: false }
    }

    /// The axis that holds all finite `values`, with a little room; logarithmic if `log`
    /// (values at or below zero are then left out).
    pub fn fit(label: impl Into<String>, values: impl IntoIterator<Item = f64>, log: bool) -> Self {
        let usable = |v: &f64| v.is_finite() && (!log || *v > 0.0);
        let (low, high) = values
            .into_iter()
            .filter(usable)
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(lo, hi), v| (lo.min(v), hi.max(v)));
        let (low, high) = if low <= high { (low, high) } else { (0.5, 1.0) };
        if log {
            return Self::log(label, low / 1.25, high * 1.25);
        }
        let room = 0.04 * (high - low);
        let low = if low >= 0.0 && low - room < 0.25 * high { 0.0 } else { low - room };
        Self::linear(label, low, high + room)
    }

    /// Named positions 0, 1, 2 ... (classes, settings).
    pub fn categories<S: Into<String>>(
        label: impl Into<String>,
        names: impl IntoIterator<Item = S>,
    ) -> Self {
        let ticks: Vec<_> =
            names.into_iter().enumerate().map(|(i, name)| (i as f64, name.into())).collect();
        let high = ticks.len() as f64 - 0.5;
        Self { label: label.into(), low: -0.5, high, log: false, ticks, upright: false }
    }

    /// The same axis with ticks at the given positions, labelled with the shortest exact text.
    #[must_use]
    pub fn with_ticks(mut self, at: impl IntoIterator<Item = f64>) -> Self {
        self.ticks = at.into_iter().map(|v| (v, format!("{v}").replace('-', "−"))).collect();
        self
    }

    /// The same axis with ticks at the given positions and these texts.
    #[must_use]
    pub fn with_labels(mut self, ticks: impl IntoIterator<Item = (f64, String)>) -> Self {
        self.ticks = ticks.into_iter().collect();
        self
    }

    /// The same axis with tick labels that read from bottom to top: long names (horizontal axes).
    #[must_use]
    pub fn upright(mut self) -> Self {
        self.upright = true;
        self
    }

    /// Whether tick labels read from bottom to top.
    pub fn is_upright(&self) -> bool {
        self.upright
    }

    /// What the axis shows, with its unit.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// Ticks: position and text.
    pub fn ticks(&self) -> &[(f64, String)] {
        &self.ticks
    }

    /// Where `value` lies on the axis: 0 at its low end, 1 at its high end (beyond if outside).
    /// Not finite on a logarithmic axis if `value` is not above zero.
    pub fn position(&self, value: f64) -> f64 {
        if self.log {
            (value / self.low).log10() / (self.high / self.low).log10()
        } else {
            (value - self.low) / (self.high - self.low)
        }
    }
}

/// A range with room between its ends.
fn widened(low: f64, high: f64) -> (f64, f64) {
    if high > low {
        return (low, high);
    }
    let half = 0.5 * low.abs().max(1.0);
    (low - half, low + half)
}

/// The first and the last multiple of `step` in [low, high], as its factors.
fn multiples(low: f64, high: f64, step: f64) -> (i64, i64) {
    ((low / step - 1e-9).ceil() as i64, (high / step + 1e-9).floor() as i64)
}

/// The step of 1, 2 or 5 times a power of ten, or else of 2.5, with which [low, high] has four to six
/// ticks, five if possible; where none has, too many are better than too few.
fn round_step(low: f64, high: f64) -> f64 {
    let decade = ((high - low) / 5.0).log10().floor() as i32;
    let powers = [decade - 1, decade, decade + 1].map(|e| 10f64.powi(e));
    let steps = [1.0, 2.0, 5.0, 2.5].iter().flat_map(|digit| powers.map(|p| (*digit, digit * p)));
    let cost = |(digit, step): &(f64, f64)| {
        let (first, last) = multiples(low, high, *step);
        match last - first + 1 {
            n @ 4..=6 if *digit == 2.5 => (0, 1 + (n - 5).abs()),
            n @ 4..=6 => (0, (n - 5).abs()),
            n if n < 4 => (2 * (4 - n), 0),
            n => (n - 6, 0),
        }
    };
    let cheapest = steps.min_by_key(cost);
    cheapest.map_or(high - low, |(_, step)| step)
}

/// With as many decimals as a digit times a power of ten needs.
fn plain_text(value: f64) -> String {
    let decimals = (-(value.log10() + 1e-9).floor()).max(0.0) as usize;
    format!("{value:.decimals$}")
}

/// As 10ⁿ, or d·10ⁿ.
pub(crate) fn power_text(value: f64) -> String {
    let exponent = (value.log10() + 1e-9).floor() as i32;
    let digit = (value / 10f64.powi(exponent)).round();
    let raised: String = exponent
        .to_string()
        .chars()
        .map(|c| {
            c.to_digit(10)
                .map_or('⁻', |d| ['⁰', '¹', '²', '³', '⁴', '⁵', '⁶', '⁷', '⁸', '⁹'][d as usize])
        })
        .collect();
    if digit == 1.0 { format!("10{raised}") } else { format!("{digit}·10{raised}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(axis: &Axis) -> Vec<&str> {
        axis.ticks().iter().map(|(_, t)| t.as_str()).collect()
    }

    #[test]
    fn ticks_are_round_numbers() {
        assert_eq!(texts(&Axis::linear("x", 0.0, 1.0)), ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
        assert_eq!(texts(&Axis::linear("x", -1.0, 1.0)), ["−1.0", "−0.5", "0.0", "0.5", "1.0"]);
        assert_eq!(texts(&Axis::log("x", 1.0, 1000.0)), ["1", "10", "100", "1000"]);
        assert_eq!(
            texts(&Axis::log("x", 1e-6, 1e-4)),
            ["10⁻⁶", "2·10⁻⁶", "5·10⁻⁶", "10⁻⁵", "2·10⁻⁵", "5·10⁻⁵", "10⁻⁴"]
        );
        assert_eq!(
            texts(&Axis::log("x", 1.0, 1e6)),
            ["10⁰", "10¹", "10²", "10³", "10⁴", "10⁵", "10⁶"]
        );
    }

    #[test]
    fn any_range_has_enough_ticks_and_not_too_many() {
        assert_eq!(texts(&Axis::linear("x", 26.3, 80.0)), ["30", "40", "50", "60", "70", "80"]);
        for i in 0..400 {
            let low = 0.37 * f64::from(i) - 60.0;
            for high in [low + 0.013 * f64::from(i + 1), low + 1.7 * f64::from(i + 1)] {
                let n = texts(&Axis::linear("x", low, high)).len();
                assert!((3..=7).contains(&n), "{low} to {high}: {n} ticks");
            }
        }
    }

    #[test]
    fn positions_span_the_axis() {
        let log = Axis::log("x", 1.0, 100.0);
        assert!((log.position(10.0) - 0.5).abs() < 1e-12);
        let fitted = Axis::fit("y", [3.0, f64::NAN, 7.0], false);
        assert!(fitted.position(3.0) > 0.0 && fitted.position(7.0) < 1.0);
        assert!(Axis::fit("y", [2.0], false).position(2.0).is_finite());
        assert!(Axis::fit("y", [], true).position(1.0).is_finite());
    }
}
