//! Methods against each other on the same seeds.

use std::collections::BTreeMap;

use super::{
    cells::{Cell, Group},
    paired::PairedDifference,
    tables::factor_text,
};
use crate::{
    report::Table,
    run::{Evaluation, RunRecord},
};

/// What runs of one seed are compared in: the name of the column, and the number.
type Number = (&'static str, fn(&Evaluation) -> Option<f64>);
const NUMBERS: [Number; 4] = [
    ("top-1", |e| Some(e.top1)),
    ("many", |e| e.groups.many),
    ("medium", |e| e.groups.medium),
    ("few", |e| e.groups.few),
];

/// Differences `cell` - `reference` of one number, for the seeds that both have.
fn differences(cell: &Cell<'_>, reference: &Cell<'_>, number: Number) -> Vec<f64> {
    let by_seed = |c: &Cell<'_>| -> BTreeMap<u64, f64> {
        let of = |r: &&RunRecord| Some((r.recipe.run.seed, number.1(&r.last)?));
        c.runs.iter().filter_map(of).collect()
    };
    let (ours, theirs) = (by_seed(cell), by_seed(reference));
    ours.into_iter().filter_map(|(seed, v)| Some(v - theirs.get(&seed)?)).collect()
}

/// "+2.1 [+0.4, +3.8]" in points; without an interval for a single seed.
fn points(cell: &Cell<'_>, reference: &Cell<'_>, number: Number) -> String {
    let found = PairedDifference::of(&differences(cell, reference, number));
    found.map_or_else(|| "–".to_owned(), |d| d.points())
}

/// Differences of every method to the first baseline and to ResCom on the same seeds, one row per
/// factor, reference and method; none if there is no reference or nothing to compare with it.
pub(super) fn paired_table(group: &Group<'_>) -> Option<Table> {
    let header = ["imb", "method", "minus", "seeds in common"];
    let mut table = Table::new(header.into_iter().chain(NUMBERS.map(|n| n.0)));
    for factor in group.factors() {
        let cells: Vec<&Cell<'_>> = group.at(factor).collect();
        let baseline = cells.iter().find(|c| c.arm.is_baseline());
        let rescom = cells.iter().find(|c| c.arm.is_rescom());
        for reference in [baseline, rescom].into_iter().flatten() {
            for cell in cells.iter().filter(|c| c.arm != reference.arm) {
                // The baseline against ResCom is ResCom against the baseline, already in the table.
                let mirrored = baseline.is_some_and(|b| b.arm == cell.arm);
                if mirrored && reference.arm.is_rescom() {
                    continue;
                }
                let common = differences(cell, reference, NUMBERS[0]).len();
                if common == 0 {
                    continue;
                }
                let mut row = vec![
                    factor_text(factor),
                    cell.arm.to_string(),
                    reference.arm.to_string(),
                    common.to_string(),
                ];
                row.extend(NUMBERS.map(|n| points(cell, reference, n)));
                table.push(row);
            }
        }
    }
    (!table.is_empty()).then_some(table)
}
