//! Wide vector instructions where the processor has them; the results are the same without.

/// Runs `work` compiled for the widest instructions of this processor. No operation is fused or
/// reordered by that: only several lanes are computed at once.
#[inline]
pub(super) fn wide<R>(work: impl FnOnce() -> R) -> R {
    pulp::Arch::new().dispatch(work)
}
