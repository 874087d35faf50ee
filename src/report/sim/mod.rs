//! The simulation reports: JSON, tidy tables, figures and Markdown of the three studies.

mod dual_figures;
mod dual_json;
mod dual_tables;
mod dual_text;
mod easy;
mod easy_data;
mod easy_figures;
mod findings;
mod observed;
mod observed_data;

pub use dual_json::dual_json;
pub use dual_text::dual_summary;
pub use easy::easy_files;
pub use easy_data::easy_json;
pub use observed::observed_files;
pub use observed_data::observed_json;

use crate::{
    Result,
    contrast::LossForm,
    report::{Figure, interval, render},
    sim::{
        Cell, DualStudy, EasyPairs, Estimate, KeySource, Setup, Slope, Statistic, SweepAxis,
        SweepRow, log_log_slope,
    },
};
use serde_json::Value;

/// Size of one of two panels side by side, logical pixels: text of 9.7 units is 7 points high where
/// the figure is as wide as a page (178 mm), and as high in a single panel of one column (84 mm).
const PANEL: (u32, u32) = (350, 275);

/// A file of a report: its name in the report's folder and its bytes.
pub type ReportFile = (String, Vec<u8>);

/// Everything that `rescom-sim dual-imbalance` found.
#[derive(Debug)]
pub struct DualResults {
    /// Name of the profile ("exp", "places-lt", a file).
    pub profile: String,
    /// The main setup.
    pub setup: Setup,
    /// The main study.
    pub study: DualStudy,
    /// Form of the loss that the report leads with.
    pub form: LossForm,
    /// Sweeps that were asked for, with all their rows.
    pub sweeps: Vec<(SweepAxis, Vec<SweepRow>)>,
    /// Imbalance sweeps at several training stages: concentration and rows.
    pub stages: Vec<(f64, Vec<SweepRow>)>,
    /// Easy pairs by training stage.
    pub easy: Vec<EasyPairs>,
    /// Easy pairs by temperature.
    pub easy_by_temperature: Vec<EasyPairs>,
    /// What has to be said about the sweeps (a largest class that had to be larger).
    pub notes: Vec<String>,
    /// The seed.
    pub seed: u64,
    /// The command line that gives these results.
    pub command: String,
}

/// All files of the dual-imbalance report; `runtime` in seconds appears in report.md only, so that
/// every other file is the same for the same seed.
///
/// # Errors
/// If a figure cannot be drawn.
pub fn dual_files(results: &DualResults, runtime: f64) -> Result<Vec<ReportFile>> {
    let mut files = vec![];
    for (name, figure) in dual_figures::figures(results) {
        push_figure(&mut files, name, figure.as_ref())?;
    }
    files.push(("results.json".into(), json_bytes(&dual_json(results))));
    files.push(("ratios.csv".into(), dual_tables::ratio_table(results).csv().into_bytes()));
    files.push(("mass.csv".into(), dual_tables::mass_table(results).csv().into_bytes()));
    files.push(("norms.csv".into(), dual_tables::norm_table(results).csv().into_bytes()));
    for (axis, rows) in &results.sweeps {
        let table = dual_tables::sweep_table(*axis, rows);
        files.push((format!("sweep-{}.csv", axis.name()), table.csv().into_bytes()));
    }
    if !results.stages.is_empty() {
        files.push(("stages.csv".into(), dual_tables::stage_table(results).csv().into_bytes()));
    }
    files.extend(easy_data::tables(&results.easy, &results.easy_by_temperature));
    files.push(("report.md".into(), dual_text::report(results, runtime).into_bytes()));
    Ok(files)
}

fn push_figure(files: &mut Vec<ReportFile>, name: &str, figure: &dyn Figure) -> Result<()> {
    let drawn = render(figure)?;
    files.push((format!("{name}.png"), drawn.png));
    files.push((format!("{name}.svg"), drawn.svg.into_bytes()));
    Ok(())
}

fn json_bytes(value: &Value) -> Vec<u8> {
    json_text(value).into_bytes()
}

/// JSON with a final newline, indented but for lists and objects that hold nothing but numbers and
/// words: each of those is a line, so that a matrix reads row by row and a table line by line.
pub fn json_text(value: &Value) -> String {
    let mut out = String::new();
    write_json(value, 0, &mut out);
    out + "\n"
}

fn write_json(value: &Value, depth: usize, out: &mut String) {
    let nested = |v: &Value| v.is_array() || v.is_object();
    let line = |depth: usize| format!("\n{}", "  ".repeat(depth));
    match value {
        Value::Array(items) if items.iter().any(nested) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                out.push_str(if i > 0 { "," } else { "" });
                out.push_str(&line(depth + 1));
                write_json(item, depth + 1, out);
            }
            out.push_str(&line(depth));
            out.push(']');
        }
        Value::Object(fields) if fields.values().any(nested) => {
            out.push('{');
            for (i, (name, item)) in fields.iter().enumerate() {
                out.push_str(if i > 0 { "," } else { "" });
                out.push_str(&format!("{}{}: ", line(depth + 1), Value::from(name.as_str())));
                write_json(item, depth + 1, out);
            }
            out.push_str(&line(depth));
            out.push('}');
        }
        flat => out.push_str(&flat.to_string()),
    }
}

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

/// "mean [low, high]" for Markdown, with the sign that is as long as a digit.
fn measured(e: Estimate) -> String {
    let text = interval(e.mean, e.low, e.high).replace("[-", "[−").replace(", -", ", −");
    text.strip_prefix('-').map_or_else(|| text.clone(), |rest| format!("−{rest}"))
}

/// The weighting of the loss in tables and JSON.
fn loss_name(balanced: bool) -> &'static str {
    if balanced { "class-balanced" } else { "plain" }
}

/// The eight cells of the ablation in their order: remedies, each without and with mining.
fn ablation(results: &DualResults) -> Vec<&Cell> {
    let mut cells: Vec<&Cell> =
        results.study.cells.iter().filter(|c| c.form == results.form).collect();
    let order = |c: &&Cell| {
        let source = match c.source {
            KeySource::None => 2,
            KeySource::Fifo => 0,
            KeySource::ClassBalanced => 1,
        };
        (c.mined, source, c.balanced_loss)
    };
    cells.sort_by_key(order);
    cells
}

/// What a line of a sweep shows: one statistic of one cell.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct SweepLine {
    form: LossForm,
    balanced_loss: bool,
    source: KeySource,
    mined: bool,
    statistic: Statistic,
}

impl SweepLine {
    fn of(cell: &Cell, statistic: Statistic) -> Self {
        let Cell { form, balanced_loss, source, mined, .. } = *cell;
        Self { form, balanced_loss, source, mined, statistic }
    }

    /// Without class-balanced weights and without mining.
    fn plain(form: LossForm, source: KeySource, statistic: Statistic) -> Self {
        Self { form, balanced_loss: false, source, mined: false, statistic }
    }

    fn rows(self, rows: &[SweepRow]) -> impl Iterator<Item = &SweepRow> {
        rows.iter().filter(move |r| {
            let SweepRow { form, balanced_loss, source, mined, statistic, .. } = **r;
            Self { form, balanced_loss, source, mined, statistic } == self
        })
    }

    /// Its log-log slope in the rows of an imbalance sweep.
    fn slope(self, rows: &[SweepRow]) -> Slope {
        let points: Vec<(f64, Estimate)> = self.rows(rows).map(|r| (r.value, r.ratio)).collect();
        log_log_slope(&points)
    }

    /// Slopes in the lowest and in the highest decade of the sweep: how straight the line is. None
    /// where the sweep spans no more than a decade or a decade has a single point.
    fn end_slopes(self, rows: &[SweepRow]) -> Option<[Slope; 2]> {
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
    fn undefined(self, rows: &[SweepRow]) -> (usize, usize) {
        let without = |r: &&SweepRow| !(r.ratio.mean.is_finite() && r.ratio.mean > 0.0);
        (self.rows(rows).filter(without).count(), self.rows(rows).count())
    }

    /// Slope of the mean-field prediction of the same.
    fn mean_field_slope(self, rows: &[SweepRow]) -> f64 {
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

    #[test]
    fn signs_are_as_long_as_digits() {
        let e = Estimate { mean: -0.5, low: -1.0, high: 1e-7 };
        assert_eq!(measured(e), "−0.500 [−1.00, 1.00e-7]");
    }

    use serde_json::json;

    #[test]
    fn json_is_the_same_value_with_rows_on_lines_of_their_own() {
        let value = json!({
            "matrix": [[1.5, 2.0], [null, -1e-7]],
            "a \"name\"": { "of": [], "rows": [{ "x": 1, "y": "z" }, { "x": 2, "y": "w" }] },
            "none": {},
        });
        let text = json_text(&value);
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value);
        assert!(text.contains("\n    [1.5,2.0],\n    [null,-1e-7]\n  ],"), "{text}");
        assert!(text.contains("\n      {\"x\":1,\"y\":\"z\"},\n"), "{text}");
    }
}
