use super::cells::{Cell, Group, Spread};
use crate::{
    report::{
        Table,
        published::{Published, published, published_name},
    },
    run::{MethodLabel, RunRecord},
};

/// A spread in percent, or a dash.
pub(super) fn percent(spread: Option<Spread>) -> String {
    spread.map_or_else(|| "–".to_owned(), |s| s.percent())
}

/// The factor as people write it: 100, 2.5.
pub(super) fn factor_text(factor: f64) -> String {
    format!("{factor}")
}

/// Method x imbalance factor, top-1 of the last epoch; beside it the published number and the
/// difference where there is one.
pub(super) fn main_table(group: &Group<'_>) -> Table {
    let published: Vec<Published> =
        published().into_iter().filter(|p| p.set == group.set).collect();
    let mut header = vec!["method".to_owned()];
    for factor in group.factors() {
        let factor = factor_text(factor);
        header.push(format!("imb {factor}: last epoch"));
        header.push(format!("imb {factor}: best epoch"));
        if !published.is_empty() {
            header.push(format!("imb {factor}: published (difference)"));
        }
    }
    let mut table = Table::new(header);
    for method in group.methods() {
        let mut row = vec![method.to_string()];
        for factor in group.factors() {
            let cell = group.cell(method, factor);
            row.push(percent(cell.and_then(|c| c.last(|e| Some(e.top1)))));
            row.push(percent(cell.and_then(Cell::best_top1)));
            if !published.is_empty() {
                row.push(beside(&published, method, factor, cell));
            }
        }
        table.push(row);
    }
    table
}

/// "84.9 (-3.1)": the published number and ours minus it.
fn beside(
    published: &[Published],
    method: MethodLabel,
    factor: f64,
    cell: Option<&Cell<'_>>,
) -> String {
    let row = published_name(method).and_then(|name| {
        published
            .iter()
            .find(|p| p.method == name && p.imbalance_factor.is_none_or(|f| f == factor))
    });
    let Some(row) = row else { return "–".to_owned() };
    match cell.and_then(|c| c.last(|e| Some(e.top1))) {
        Some(ours) => format!("{:.1} ({:+.1})", row.top1, 100.0 * ours.mean - row.top1),
        None => format!("{:.1}", row.top1),
    }
}

/// Many, medium, few and calibration of the last epoch, one row per cell.
pub(super) fn groups_table(group: &Group<'_>) -> Table {
    let mut table = Table::new([
        "method", "imb", "seeds", "top-1", "many", "medium", "few", "top-5", "ECE", "epochs",
    ]);
    for factor in group.factors() {
        for method in group.methods() {
            let Some(cell) = group.cell(method, factor) else { continue };
            table.push([
                method.to_string(),
                factor_text(factor),
                cell.runs.len().to_string(),
                percent(cell.last(|e| Some(e.top1))),
                percent(cell.last(|e| e.groups.many)),
                percent(cell.last(|e| e.groups.medium)),
                percent(cell.last(|e| e.groups.few)),
                percent(cell.last(|e| Some(e.top5))),
                percent(cell.last(|e| Some(e.ece))),
                cell.runs[0].recipe.optim.epochs.to_string(),
            ]);
        }
    }
    table
}

/// One row per run: what a reader needs to compute anything else.
pub fn runs_table(records: &[RunRecord]) -> Table {
    let mut table = Table::new([
        "run",
        "data_set",
        "class_order",
        "imbalance_factor",
        "method",
        "seed",
        "arch",
        "epochs",
        "train_images",
        "top1_last",
        "top1_best",
        "best_epoch",
        "top5_last",
        "many",
        "medium",
        "few",
        "ece",
        "seconds",
    ]);
    let number = |v: f64| format!("{v:.6}");
    let optional = |v: Option<f64>| v.map(number).unwrap_or_default();
    for r in records {
        table.push([
            r.id.clone(),
            r.recipe.data.set.name().to_owned(),
            format!("{:?}", r.recipe.data.class_order).to_lowercase(),
            factor_text(r.recipe.data.imbalance_factor),
            r.method_label().to_string(),
            r.recipe.run.seed.to_string(),
            format!("{:?}", r.recipe.model.arch).to_lowercase(),
            r.recipe.optim.epochs.to_string(),
            r.counts.iter().sum::<u64>().to_string(),
            number(r.last.top1),
            number(r.best.test.top1),
            r.best.epoch.to_string(),
            number(r.last.top5),
            optional(r.last.groups.many),
            optional(r.last.groups.medium),
            optional(r.last.groups.few),
            number(r.last.ece),
            format!("{:.1}", r.seconds),
        ]);
    }
    table
}
