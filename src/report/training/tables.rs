//! The tables that the report shows, numbers as people read them; `numeric` has those of the CSV files.

use crate::{
    report::{
        Table,
        published::Published,
        training::cells::{Cell, FinishedRun, Group, Spread},
    },
    run::RunRecord,
};

/// A spread in percent, or a dash.
pub(crate) fn percent(spread: Option<Spread>) -> String {
    spread.map_or_else(|| "–".to_owned(), |s| s.percent())
}

/// The factor as people write it: 100, 2.5; two decimals are enough for a quotient of counts.
pub(crate) fn factor_text(factor: f64) -> String {
    format!("{}", (100.0 * factor).round() / 100.0)
}

/// "resnet32 (64)": the encoder and the width of its features.
pub(crate) fn backbone(record: &RunRecord) -> String {
    let arch = record.recipe.model.arch;
    format!("{} ({})", arch.name(), arch.feature_dim())
}

/// Method x imbalance factor, top-1 of the last epoch and of the best where that was a choice; beside
/// them the published number and the difference where the group has any. With "(n = 1)" behind each
/// number if not all have as many seeds.
pub(crate) fn main_table(group: &Group<'_>) -> Table {
    let any_published = !group.all_published().is_empty();
    let mut header = vec!["method".to_owned()];
    for factor in group.factors() {
        let factor = factor_text(factor);
        header.push(format!("imb {factor}: last epoch"));
        header.push(format!("imb {factor}: best epoch"));
        if any_published {
            header.push(format!("imb {factor}: published (difference)"));
        }
    }
    let text = |spread: Option<Spread>| match spread {
        Some(s) if group.uneven() => format!("{} (n = {})", s.percent(), s.n),
        other => percent(other),
    };
    let mut table = Table::new(header);
    for arm in group.arms() {
        let mut row = vec![arm.to_string()];
        for factor in group.factors() {
            let cell = group.cell(&arm, factor);
            let last = cell.and_then(|c| c.last(|e| Some(e.top1)));
            row.push(text(last));
            row.push(text(cell.and_then(Cell::best_top1)));
            if any_published {
                let published = group.published(&arm, factor);
                row.push(published.map_or_else(|| "–".to_owned(), |p| beside(&p, last)));
            }
        }
        table.push(row);
    }
    table
}

/// "84.9 (-3.1)": the published number, and ours minus it.
fn beside(published: &Published, ours: Option<Spread>) -> String {
    match ours {
        Some(ours) => {
            format!("{:.1} ({:+.1})", published.top1, 100.0 * ours.mean - published.top1)
        }
        None => format!("{:.1}", published.top1),
    }
}

/// Every number that was published for the data set at the group's factors, with its source.
pub(crate) fn published_table(group: &Group<'_>) -> Option<Table> {
    let mut table = Table::new([
        "published method",
        "imb",
        "encoder",
        "top-1",
        "many",
        "medium",
        "few",
        "note",
        "source",
    ]);
    let or_dash = |v: Option<f64>| v.map_or_else(|| "–".to_owned(), |v| format!("{v:.1}"));
    for p in group.all_published() {
        let [many, medium, few] = p.shots.map(or_dash);
        table.push([
            p.method,
            p.imbalance_factor.map_or_else(|| "–".to_owned(), factor_text),
            p.backbone,
            format!("{:.1}", p.top1),
            many,
            medium,
            few,
            p.note,
            p.source,
        ]);
    }
    (!table.is_empty()).then_some(table)
}

/// Many, medium, few and calibration of the last epoch, one row per cell.
pub(crate) fn groups_table(group: &Group<'_>) -> Table {
    let mut table = Table::new([
        "method",
        "imb",
        "seeds",
        "top-1",
        "many",
        "medium",
        "few",
        "top-5",
        "ECE",
        "epochs",
        "backbone (width)",
    ]);
    for cell in &group.cells {
        table.push([
            cell.arm.to_string(),
            factor_text(cell.imbalance_factor),
            cell.runs.len().to_string(),
            percent(cell.last(|e| Some(e.top1))),
            percent(cell.last(|e| e.groups.many)),
            percent(cell.last(|e| e.groups.medium)),
            percent(cell.last(|e| e.groups.few)),
            percent(cell.last(|e| Some(e.top5))),
            percent(cell.last(|e| Some(e.ece))),
            cell.runs[0].epochs.len().to_string(),
            backbone(cell.runs[0]),
        ]);
    }
    table
}

/// The middle value; the mean of the two middle ones of an even number.
fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let (low, high) =
        (values.get(values.len().checked_sub(1)? / 2)?, values.get(values.len() / 2)?);
    Some((low + high) / 2.0)
}

/// Seconds of training per epoch, one row per cell, device and number of threads.
pub(crate) fn time_table(group: &Group<'_>) -> Table {
    let mut table = Table::new([
        "method",
        "imb",
        "device",
        "threads",
        "training images",
        "views per image",
        "median seconds per epoch",
        "fastest epoch (s)",
        "views per second (fastest epoch)",
    ]);
    for cell in &group.cells {
        let place = |r: &RunRecord| (r.provenance.device.clone(), r.provenance.torch_threads);
        let mut places: Vec<_> = cell.runs.iter().map(|r| place(r)).collect();
        places.sort();
        places.dedup();
        for here in places {
            let runs = || cell.runs.iter().filter(|r| place(r) == here);
            let each = || runs().flat_map(|r| r.epochs.iter().map(|e| e.train_seconds));
            let Some(seconds) = median(each().collect()) else { continue };
            let fastest = each().fold(seconds, f64::min);
            let recipe = &cell.runs[0].recipe;
            let views = recipe.loss.views();
            let steps = cell.runs[0].epochs.last().map_or(0, |e| e.steps);
            let seen = (steps * recipe.optim.batch_size * views) as f64;
            // A stage 2 has its own batches; what it saw per epoch is not in the record.
            let rate = (!cell.arm.method.stage2 && fastest > 0.0).then(|| seen / fastest);
            table.push([
                cell.arm.to_string(),
                factor_text(cell.imbalance_factor),
                here.0,
                here.1.to_string(),
                cell.runs[0].counts.iter().sum::<u64>().to_string(),
                views.to_string(),
                format!("{seconds:.1}"),
                format!("{fastest:.1}"),
                rate.map_or_else(|| "–".to_owned(), |r| format!("{r:.0}")),
            ]);
        }
    }
    table
}

/// One row per run: what a reader needs to compute anything else.
pub fn runs_table(runs: &[FinishedRun]) -> Table {
    let mut table = Table::new([
        "run",
        "data_set",
        "class_order",
        "imbalance_factor",
        "method",
        "seed",
        "arch",
        "feature_dim",
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
        "device",
        "threads",
    ]);
    let number = |v: f64| format!("{v:.6}");
    let optional = |v: Option<f64>| v.map(number).unwrap_or_default();
    for FinishedRun { record: r, .. } in runs {
        table.push([
            r.id.clone(),
            r.recipe.data.set.name().to_owned(),
            r.recipe.data.class_order.label(),
            factor_text(r.imbalance_factor()),
            r.method_label().to_string(),
            r.recipe.run.seed.to_string(),
            r.recipe.model.arch.name().to_owned(),
            r.recipe.model.arch.feature_dim().to_string(),
            r.epochs.len().to_string(),
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
            r.provenance.device.clone(),
            r.provenance.torch_threads.to_string(),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::median;

    #[test]
    fn medians_are_in_the_middle() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!((median(vec![]), median(vec![7.0])), (None, Some(7.0)));
    }
}
