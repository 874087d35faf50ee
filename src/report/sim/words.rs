//! Names and numbers as the tables and texts show them.

use crate::{
    report::interval,
    sim::{Estimate, KeySource},
};

/// The remedies in words: "plain", "class-balanced loss", "class-balanced queue", "both".
pub(crate) fn remedy(balanced_loss: bool, source: KeySource) -> &'static str {
    match (balanced_loss, source) {
        (false, KeySource::Fifo) => "plain",
        (true, KeySource::Fifo) => "class-balanced loss",
        (false, KeySource::ClassBalanced) => "class-balanced queue",
        (true, KeySource::ClassBalanced) => "both",
        (false, KeySource::None) => "no queue",
        (true, KeySource::None) => "no queue, class-balanced loss",
    }
}

/// The weighting of the loss in tables and JSON.
pub(crate) fn loss_name(balanced: bool) -> &'static str {
    if balanced { "class-balanced" } else { "plain" }
}

/// "mean [low, high]" for Markdown, with the sign that is as long as a digit.
pub(crate) fn measured(e: Estimate) -> String {
    let text = interval(e.mean, e.low, e.high).replace("[-", "[−").replace(", -", ", −");
    text.strip_prefix('-').map_or_else(|| text.clone(), |rest| format!("−{rest}"))
}

/// An exponent with its interval, or "n/a".
pub(crate) fn exponent(e: Estimate) -> String {
    if e.mean.is_finite() {
        format!("{:.2} [{:.2}, {:.2}]", e.mean, e.low, e.high).replace('-', "−")
    } else {
        "n/a".into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_are_as_long_as_digits() {
        let e = Estimate { mean: -0.5, low: -1.0, high: 1e-7 };
        assert_eq!(measured(e), "−0.500 [−1.00, 1.00e-7]");
    }
}
