//! One line of a sweep: its points, its slope, and how straight it is.

use crate::{
    contrast::LossForm,
    sim::{Cell, Estimate, KeySource, Slope, Statistic, SweepRow, log_log_slope},
};

/// What a line of a sweep shows: one statistic of one cell.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct SweepLine {
    pub(crate) form: LossForm,
    pub(crate) balanced_loss: bool,
    pub(crate) source: KeySource,
    pub(crate) mined: bool,
    pub(crate) statistic: Statistic,
}

impl SweepLine {
    pub(crate) fn of(cell: &Cell, statistic: Statistic) -> Self {
        let Cell { form, balanced_loss, source, mined, .. } = *cell;
        Self { form, balanced_loss, source, mined, statistic }
    }

    /// Without class-balanced weights and without mining.
    pub(crate) fn plain(form: LossForm, source: KeySource, statistic: Statistic) -> Self {
        Self { form, balanced_loss: false, source, mined: false, statistic }
    }

    pub(crate) fn rows(self, rows: &[SweepRow]) -> impl Iterator<Item = &SweepRow> {
        rows.iter().filter(move |r| {
            let SweepRow { form, balanced_loss, source, mined, statistic, .. } = **r;
            Self { form, balanced_loss, source, mined, statistic } == self
        })
    }

    /// Its log-log slope in the rows of an imbalance sweep.
    pub(crate) fn slope(self, rows: &[SweepRow]) -> Slope {
        let points: Vec<(f64, Estimate)> = self.rows(rows).map(|r| (r.value, r.ratio)).collect();
        log_log_slope(&points)
    }

    /// Slopes in the lowest and in the highest decade of the sweep: how straight the line is. None
    /// where the sweep spans no more than a decade or a decade has a single point.
    pub(crate) fn end_slopes(self, rows: &[SweepRow]) -> Option<[Slope; 2]> {
        let points: Vec<(f64, Estimate)> = self.rows(rows).map(|r| (r.value, r.ratio)).collect();
        let low = points.iter().map(|p| p.0).fold(f64::INFINITY, f64::min);
        let high = points.iter().map(|p| p.0).fold(0.0, f64::max);
        // Counts are whole numbers: a factor of 10 may be one of 10.02.
        let decade = 10.1;
        let of = |keep: &dyn Fn(f64) -> bool| {
            let kept: Vec<_> = points.iter().copied().filter(|(x, _)| keep(*x)).collect();
            log_log_slope(&kept)
        };
        let ends = [of(&|x| x <= decade * low), of(&|x| decade * x >= high)];
        let told = high > decade * low && ends.iter().all(|e| e.mean.is_finite());
        told.then_some(ends)
    }

    /// Points of the sweep where the ratio is not defined, and all points: the former do not enter
    /// the slope.
    pub(crate) fn undefined(self, rows: &[SweepRow]) -> (usize, usize) {
        let without = |r: &&SweepRow| !(r.ratio.mean.is_finite() && r.ratio.mean > 0.0);
        (self.rows(rows).filter(without).count(), self.rows(rows).count())
    }

    /// Slope of the mean-field prediction of the same.
    pub(crate) fn mean_field_slope(self, rows: &[SweepRow]) -> f64 {
        let exact = |v: f64| Estimate { mean: v, low: v, high: v };
        let points: Vec<(f64, Estimate)> =
            self.rows(rows).filter_map(|r| Some((r.value, exact(r.mean_field?)))).collect();
        log_log_slope(&points).mean
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(ratio: impl Fn(f64) -> f64) -> Vec<SweepRow> {
        let row = |value: f64| SweepRow {
            value,
            form: LossForm::Out,
            balanced_loss: false,
            source: KeySource::Fifo,
            mined: false,
            statistic: Statistic::BatchLevel,
            ratio: Estimate { mean: ratio(value), low: ratio(value), high: ratio(value) },
            heuristic: None,
            mean_field: None,
        };
        [1.0, 2.0, 10.0, 100.0, 500.0, 1000.0].map(row).into()
    }

    fn line() -> SweepLine {
        SweepLine::plain(LossForm::Out, KeySource::Fifo, Statistic::BatchLevel)
    }

    #[test]
    fn a_bent_line_has_other_slopes_at_its_ends() {
        let bent = rows(|x: f64| if x <= 10.0 { x } else { 10.0 * (x / 10.0).powf(0.5) });
        let [low, high] = line().end_slopes(&bent).unwrap();
        assert!((low.mean - 1.0).abs() < 1e-12 && (high.mean - 0.5).abs() < 1e-12);
        assert!(line().end_slopes(&bent[..3]).is_none(), "one decade has no ends");
    }

    #[test]
    fn points_without_a_ratio_are_counted() {
        let gap = rows(|x: f64| if x > 100.0 { f64::NAN } else { x });
        assert_eq!(line().undefined(&gap), (2, 6));
        assert_eq!(line().undefined(&rows(|x| x)), (0, 6));
    }
}
