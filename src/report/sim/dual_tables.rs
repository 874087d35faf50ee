//! The dual-imbalance study as tidy tables, for CSV files.

use super::{DualResults, ablation, dual_text::yes};
use crate::contrast::LossForm;
use crate::report::{Table, significant};
use crate::sim::{SweepAxis, SweepRow, heuristic_ratio};

/// One row per cell and statistic of the main study.
pub(super) fn ratio_table(results: &DualResults) -> Table {
    let mut table = Table::new([
        "form",
        "loss",
        "queue",
        "mining",
        "statistic",
        "mean",
        "low",
        "high",
        "theory",
    ]);
    for cell in &results.study.cells {
        for (s, e) in
            cell.ratios.iter().filter(|(s, _)| !s.only_for_out() || cell.form == LossForm::Out)
        {
            let theory = heuristic_ratio(&results.setup, *s, cell.balanced_loss, cell.source);
            table.push([
                cell.form.name().into(),
                if cell.balanced_loss { "class-balanced" } else { "plain" }.into(),
                cell.source.name().into(),
                yes(cell.mined).into(),
                s.name().into(),
                significant(e.mean, 6),
                significant(e.low, 6),
                significant(e.high, 6),
                theory.map_or(String::new(), |t| significant(t, 6)),
            ]);
        }
    }
    table
}

/// One row per cell and pair of groups.
pub(super) fn mass_table(results: &DualResults) -> Table {
    let mut table = Table::new([
        "form",
        "loss",
        "queue",
        "mining",
        "anchor",
        "key",
        "positive",
        "signed_same_class",
        "negative",
    ]);
    let names = results.study.groups.names();
    for cell in ablation(results) {
        for (a, row) in cell.mass.negative.iter().enumerate() {
            for (k, negative) in row.iter().enumerate() {
                let own = |v: f64| if a == k { significant(v, 6) } else { "0".into() };
                table.push([
                    cell.form.name().into(),
                    if cell.balanced_loss { "class-balanced" } else { "plain" }.into(),
                    cell.source.name().into(),
                    yes(cell.mined).into(),
                    names[a].clone(),
                    names[k].clone(),
                    own(cell.mass.positive[a]),
                    own(cell.mass.signed[a]),
                    significant(*negative, 6),
                ]);
            }
        }
    }
    table
}

/// One row per value, cell and statistic.
pub(super) fn sweep_table(axis: SweepAxis, rows: &[SweepRow]) -> Table {
    let mut table = Table::new(sweep_header(axis.name()));
    rows.iter().for_each(|r| table.push(sweep_cells(r)));
    table
}

fn sweep_header(value: &str) -> Vec<String> {
    [
        value,
        "form",
        "loss",
        "queue",
        "mining",
        "statistic",
        "mean",
        "low",
        "high",
        "theory",
        "mean_field",
    ]
    .map(String::from)
    .to_vec()
}

fn sweep_cells(r: &SweepRow) -> Vec<String> {
    let optional = |v: Option<f64>| v.map_or(String::new(), |t| significant(t, 6));
    vec![
        r.value.to_string(),
        r.form.name().into(),
        if r.balanced_loss { "class-balanced" } else { "plain" }.into(),
        r.source.name().into(),
        yes(r.mined).into(),
        r.statistic.name().into(),
        significant(r.ratio.mean, 6),
        significant(r.ratio.low, 6),
        significant(r.ratio.high, 6),
        optional(r.heuristic),
        optional(r.mean_field),
    ]
}

/// The sweeps of all training stages.
pub(super) fn stage_table(results: &DualResults) -> Table {
    let mut header = sweep_header("imb");
    header.insert(0, "concentration".into());
    let mut table = Table::new(header);
    for (kappa, rows) in &results.stages {
        for row in rows {
            let mut cells = sweep_cells(row);
            cells.insert(0, kappa.to_string());
            table.push(cells);
        }
    }
    table
}
