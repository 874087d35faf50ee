//! Methods against each other on the same seeds.

use std::collections::BTreeMap;

use crate::{
    report::{
        Table,
        training::{
            cells::{Cell, Group},
            numeric::{self, BY_SHOTS, Measure},
            paired::PairedDifference,
            tables::factor_text,
        },
    },
    run::RunRecord,
};

/// Differences `cell` - `reference` of one number, for the seeds that both have.
fn differences(cell: &Cell<'_>, reference: &Cell<'_>, measure: Measure) -> Vec<f64> {
    let by_seed = |c: &Cell<'_>| -> BTreeMap<u64, f64> {
        let of = |r: &&RunRecord| Some((r.recipe.run.seed, measure.1(&r.last)?));
        c.runs.iter().filter_map(of).collect()
    };
    let (ours, theirs) = (by_seed(cell), by_seed(reference));
    ours.into_iter().filter_map(|(seed, v)| Some(v - theirs.get(&seed)?)).collect()
}

/// A method and what it is compared with, at one factor.
struct Row<'g, 'a> {
    cell: &'g Cell<'a>,
    reference: &'g Cell<'a>,
}

impl Row<'_, '_> {
    fn difference(&self, measure: Measure) -> Option<PairedDifference> {
        PairedDifference::of(&differences(self.cell, self.reference, measure))
    }

    fn names(&self) -> [String; 3] {
        let factor = factor_text(self.cell.imbalance_factor);
        [factor, self.cell.arm.to_string(), self.reference.arm.to_string()]
    }
}

/// Every method against the first baseline and against ResCom, by factor, reference and method,
/// where they have a seed in common.
fn rows<'g, 'a>(group: &'g Group<'a>) -> Vec<Row<'g, 'a>> {
    let mut rows = Vec::new();
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
                let row = Row { cell, reference };
                rows.extend(row.difference(BY_SHOTS[0]).map(|_| row));
            }
        }
    }
    rows
}

/// Differences of every method to the first baseline and to ResCom on the same seeds, "+2.1 [+0.4,
/// +3.8]" in points; none if there is no reference or nothing to compare with it.
pub(crate) fn paired_table(group: &Group<'_>) -> Option<Table> {
    let header = ["imb", "method", "minus", "seeds in common"];
    let mut table = Table::new(header.into_iter().chain(BY_SHOTS.map(|n| n.0)));
    for row in rows(group) {
        let common = row.difference(BY_SHOTS[0]).map_or(0, |d| d.n);
        let points =
            |measure| row.difference(measure).map_or_else(|| "–".to_owned(), |d| d.points());
        let cells = row.names().into_iter().chain([common.to_string()]);
        table.push(cells.chain(BY_SHOTS.map(points)));
    }
    (!table.is_empty()).then_some(table)
}

/// The same with one number per cell, as fractions, one row per comparison and measure.
pub(crate) fn paired_csv(group: &Group<'_>) -> Table {
    let header = ["imb", "method", "minus", "measure", "mean", "low", "high", "n"];
    let mut table = Table::new(header);
    for row in rows(group) {
        for measure in BY_SHOTS {
            let Some(d) = row.difference(measure) else { continue };
            let mut cells = row.names().to_vec();
            cells.extend([
                measure.0.to_owned(),
                numeric::number(Some(d.mean)),
                numeric::number(d.interval.map(|i| i.0)),
                numeric::number(d.interval.map(|i| i.1)),
                d.n.to_string(),
            ]);
            table.push(cells);
        }
    }
    table
}
