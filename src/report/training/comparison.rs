//! Methods against each other on the same seeds.

use crate::{
    report::{
        Table,
        training::{
            cells::{Differences, Group},
            paired::PairedDifference,
            tables::factor_text,
        },
    },
    results::query::BY_SHOTS,
};

/// Every method against the first baseline and against ResCom, by factor, reference and method,
/// where they have a seed in common.
fn rows(group: &Group) -> Vec<&Differences> {
    let mut rows = Vec::new();
    for factor in group.factors() {
        let baseline = group.at(factor).find(|c| c.arm.is_baseline());
        let rescom = group.at(factor).find(|c| c.arm.is_rescom());
        for reference in [baseline, rescom].into_iter().flatten() {
            for cell in group.at(factor).filter(|c| c.arm != reference.arm) {
                // The baseline against ResCom is ResCom against the baseline, already in the table.
                let mirrored = baseline.is_some_and(|b| b.arm == cell.arm);
                if mirrored && reference.arm.is_rescom() {
                    continue;
                }
                let these = |d: &&Differences| {
                    let arms = d.arm == cell.arm && d.minus == reference.arm;
                    arms && d.imbalance_factor == factor
                };
                rows.extend(group.differences.iter().find(these));
            }
        }
    }
    rows
}

/// Differences of every method to the first baseline and to ResCom on the same seeds, "+2.1 [+0.4,
/// +3.8]" in points; none if there is no reference or nothing to compare with it.
pub(crate) fn paired_table(group: &Group) -> Option<Table> {
    let header = ["imb", "method", "minus", "seeds in common"];
    let mut table = Table::new(header.into_iter().chain(BY_SHOTS.map(|n| n.1)));
    for row in rows(group) {
        let factor = factor_text(row.imbalance_factor);
        let common = row.by_seed[0].len().to_string();
        let names = [factor, row.arm.to_string(), row.minus.to_string(), common];
        let points = |differences: &Vec<f64>| {
            PairedDifference::of(differences).map_or_else(|| "–".to_owned(), |d| d.points())
        };
        table.push(names.into_iter().chain(row.by_seed.iter().map(points)));
    }
    (!table.is_empty()).then_some(table)
}
