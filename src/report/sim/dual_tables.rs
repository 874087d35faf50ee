//! The dual-imbalance study as tidy tables, for CSV files.

use crate::{
    contrast::LossForm,
    report::{
        Table, significant,
        sim::{
            results::{DualResults, ablation},
            words::loss_name,
        },
    },
    sim::{Cell, Estimate, KeySource, SweepAxis, SweepRow, heuristic_ratio},
};

/// What every table says of a cell.
const CELL: [&str; 4] = ["form", "loss", "queue", "mining"];
const THEORY: [&str; 2] = ["theory", "mean_field"];
const ESTIMATE: [&str; 3] = ["mean", "low", "high"];

fn table(parts: &[&[&str]]) -> Table {
    Table::new(parts.concat())
}

fn cell_values(form: LossForm, balanced: bool, source: KeySource, mined: bool) -> [String; 4] {
    let mined = if mined { "yes" } else { "no" };
    [form.name(), loss_name(balanced), source.name(), mined].map(String::from)
}

fn values_of(cell: &Cell) -> [String; 4] {
    cell_values(cell.form, cell.balanced_loss, cell.source, cell.mined)
}

fn estimate(e: &Estimate) -> [String; 3] {
    [e.mean, e.low, e.high].map(number)
}

fn number(value: f64) -> String {
    significant(value, 6)
}

fn optional(value: Option<f64>) -> String {
    value.map_or(String::new(), number)
}

/// One row per cell and statistic of the main study.
pub(crate) fn ratio_table(results: &DualResults) -> Table {
    let mut table = table(&[&CELL, &["statistic"], &ESTIMATE, &["theory"]]);
    for cell in &results.study.cells {
        for (s, e) in
            cell.ratios.iter().filter(|(s, _)| !s.only_for_out() || cell.form == LossForm::Out)
        {
            let theory = heuristic_ratio(&results.setup, *s, cell.balanced_loss, cell.source);
            let cells = values_of(cell).into_iter().chain([s.name().into()]);
            table.push(cells.chain(estimate(e)).chain([optional(theory)]));
        }
    }
    table
}

/// One row per cell and pair of groups.
pub(crate) fn mass_table(results: &DualResults) -> Table {
    let columns = ["anchor", "key", "positive", "signed_same_class", "negative"];
    let mut table = table(&[&CELL, &columns]);
    let names = results.study.groups.names();
    for cell in ablation(results) {
        for (a, row) in cell.mass.negative.iter().enumerate() {
            for (k, negative) in row.iter().enumerate() {
                let own = |v: f64| if a == k { number(v) } else { "0".into() };
                table.push(values_of(cell).into_iter().chain([
                    names[a].clone(),
                    names[k].clone(),
                    own(cell.mass.positive[a]),
                    own(cell.mass.signed[a]),
                    number(*negative),
                ]));
            }
        }
    }
    table
}

/// One row per cell of the loss in use, group of anchors, and part of the gradient with respect to
/// their features.
pub(crate) fn norm_table(results: &DualResults) -> Table {
    let mut table = table(&[&CELL, &["anchor", "part"], &ESTIMATE]);
    let names = results.study.groups.names();
    for cell in &results.study.cells {
        let Some(norms) = &cell.norms else { continue };
        for (part, estimates) in [("raw", &norms.raw), ("tangent", &norms.tangent)] {
            for (name, e) in names.iter().zip(estimates) {
                let cells = values_of(cell).into_iter().chain([name.clone(), part.into()]);
                table.push(cells.chain(estimate(e)));
            }
        }
    }
    table
}

/// One row per value, cell and statistic.
pub(crate) fn sweep_table(axis: SweepAxis, rows: &[SweepRow]) -> Table {
    let mut table = table(&[&[axis.name()], &CELL, &["statistic"], &ESTIMATE, &THEORY]);
    rows.iter().for_each(|r| table.push(sweep_cells(r)));
    table
}

fn sweep_cells(r: &SweepRow) -> impl Iterator<Item = String> {
    [r.value.to_string()]
        .into_iter()
        .chain(cell_values(r.form, r.balanced_loss, r.source, r.mined))
        .chain([r.statistic.name().into()])
        .chain(estimate(&r.ratio))
        .chain([optional(r.heuristic), optional(r.mean_field)])
}

/// The sweeps of all training stages.
pub(crate) fn stage_table(results: &DualResults) -> Table {
    let first = ["concentration", "imb"];
    let mut table = table(&[&first, &CELL, &["statistic"], &ESTIMATE, &THEORY]);
    for (kappa, rows) in &results.stages {
        for row in rows {
            table.push([kappa.to_string()].into_iter().chain(sweep_cells(row)));
        }
    }
    table
}
