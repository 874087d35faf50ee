use super::cells::{Arm, Cell, FinishedRun, Group, Spread};
use crate::{
    report::{
        Table,
        published::{Published, published, published_name},
    },
    run::RunRecord,
};

/// A spread in percent, or a dash.
pub(super) fn percent(spread: Option<Spread>) -> String {
    spread.map_or_else(|| "–".to_owned(), |s| s.percent())
}

/// The factor as people write it: 100, 2.5; two decimals are enough for a quotient of counts.
pub(super) fn factor_text(factor: f64) -> String {
    format!("{}", (100.0 * factor).round() / 100.0)
}

/// "resnet32 (64)": the encoder and the width of its features.
pub(super) fn backbone(record: &RunRecord) -> String {
    let arch = record.recipe.model.arch;
    format!("{} ({})", arch.name(), arch.feature_dim())
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
    for arm in group.arms() {
        let mut row = vec![arm.to_string()];
        for factor in group.factors() {
            let cell = group.cell(&arm, factor);
            row.push(percent(cell.and_then(|c| c.last(|e| Some(e.top1)))));
            row.push(percent(cell.and_then(Cell::best_top1)));
            if !published.is_empty() {
                let same = published.iter().filter(|p| group.same_backbone(&arm, p));
                row.push(beside(same, &arm, factor, cell));
            }
        }
        table.push(row);
    }
    table
}

/// "84.9 (-3.1)": the number published for the same encoder, and ours minus it.
fn beside<'p>(
    mut published: impl Iterator<Item = &'p Published>,
    arm: &Arm,
    factor: f64,
    cell: Option<&Cell<'_>>,
) -> String {
    let row = published_name(arm.method).and_then(|name| {
        published.find(|p| p.method == name && p.imbalance_factor.is_none_or(|f| f == factor))
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

/// Accuracy of each class, mean over seeds, one row per cell and class.
pub(super) fn classes_table(group: &Group<'_>) -> Table {
    let mut table =
        Table::new(["method", "imb", "class", "train_images", "seeds", "accuracy", "sd"]);
    for cell in &group.cells {
        let run = cell.runs[0];
        for (class, (name, count)) in run.class_names.iter().zip(&run.counts).enumerate() {
            let Some(s) = cell.last(|e| e.per_class.get(class).copied()) else { continue };
            table.push([
                cell.arm.to_string(),
                factor_text(cell.imbalance_factor),
                name.clone(),
                count.to_string(),
                s.n.to_string(),
                format!("{:.6}", s.mean),
                s.sd.map(|sd| format!("{sd:.6}")).unwrap_or_default(),
            ]);
        }
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
pub(super) fn time_table(group: &Group<'_>) -> Table {
    let mut table = Table::new([
        "method",
        "imb",
        "device",
        "threads",
        "training images",
        "views per image",
        "median seconds per epoch",
        "views per second",
    ]);
    for cell in &group.cells {
        let place = |r: &RunRecord| (r.provenance.device.clone(), r.provenance.torch_threads);
        let mut places: Vec<_> = cell.runs.iter().map(|r| place(r)).collect();
        places.sort();
        places.dedup();
        for here in places {
            let runs = || cell.runs.iter().filter(|r| place(r) == here);
            let seconds = runs().flat_map(|r| r.epochs.iter().map(|e| e.train_seconds)).collect();
            let Some(seconds) = median(seconds) else { continue };
            let recipe = &cell.runs[0].recipe;
            let views = recipe.method.name.views();
            let steps = cell.runs[0].epochs.last().map_or(0, |e| e.steps);
            let seen = (steps * recipe.optim.batch_size * views) as f64;
            // A stage 2 has its own batches; what it saw per epoch is not in the record.
            let rate = (!cell.arm.method.stage2 && seconds > 0.0).then(|| seen / seconds);
            table.push([
                cell.arm.to_string(),
                factor_text(cell.imbalance_factor),
                here.0,
                here.1.to_string(),
                cell.runs[0].counts.iter().sum::<u64>().to_string(),
                views.to_string(),
                format!("{seconds:.1}"),
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
            format!("{:?}", r.recipe.data.class_order).to_lowercase(),
            factor_text(r.imbalance_factor()),
            r.method_label().to_string(),
            r.recipe.run.seed.to_string(),
            r.recipe.model.arch.name(),
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
