//! The tables that the report shows, numbers as people read them.

use std::collections::BTreeSet;

use crate::{
    Result,
    report::{Table, published::Published, training::cells::Group},
    results::{Columns as _, Spread, query},
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
pub(crate) fn main_table(group: &Group) -> Table {
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
            let last = cell.and_then(|c| c.last("top1"));
            row.push(text(last));
            row.push(text(cell.and_then(|c| c.best_top1)));
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
pub(crate) fn published_table(group: &Group) -> Option<Table> {
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
pub(crate) fn groups_table(group: &Group) -> Table {
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
            cell.seeds.to_string(),
            percent(cell.last("top1")),
            percent(cell.last("many")),
            percent(cell.last("medium")),
            percent(cell.last("few")),
            percent(cell.last("top5")),
            percent(cell.last("ece")),
            cell.epochs.to_string(),
            format!("{} ({})", cell.arch, cell.feature_dim),
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
pub(crate) fn time_table(group: &Group) -> Table {
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
        for here in &cell.seconds {
            let Some(seconds) = median(here.all.clone()) else { continue };
            let fastest = here.fastest;
            let seen = (here.steps * cell.batch_size * cell.views) as f64;
            // A stage 2 has its own batches; what it saw per epoch is not in the record.
            let rate = (!cell.arm.method.stage2 && fastest > 0.0).then(|| seen / fastest);
            table.push([
                cell.arm.to_string(),
                factor_text(cell.imbalance_factor),
                here.device.clone(),
                here.threads.to_string(),
                cell.train_images.to_string(),
                cell.views.to_string(),
                format!("{seconds:.1}"),
                format!("{fastest:.1}"),
                rate.map_or_else(|| "–".to_owned(), |r| format!("{r:.0}")),
            ]);
        }
    }
    table
}

/// Which values the lettered settings stand for; none where no letters are used.
///
/// # Errors
/// [`Error::Run`](crate::Error::Run) if the query does not fit the tables.
pub(crate) fn settings_table(group: &Group) -> Result<Option<Table>> {
    let found = query::settings(&group.frames)?;
    let (keys, settings) = (found.texts("key")?, found.texts("setting")?);
    let values = found.texts("value")?;
    let distinct = |texts: &[String]| texts.iter().cloned().collect::<BTreeSet<String>>();
    let (rows, mut names) = (distinct(&keys), Vec::from_iter(distinct(&settings)));
    if rows.len() < 2 {
        return Ok(None);
    }
    // A, B ... Z, A1: as they were given.
    names.sort_by_key(|name| (name.len(), name.clone()));
    let mut table = Table::new(std::iter::once("key".to_owned()).chain(names.clone()));
    for key in rows {
        let value = |name: &String| {
            let row = keys.iter().zip(&settings).position(|(k, s)| *k == key && s == name);
            row.map(|row| values[row].clone()).unwrap_or_default()
        };
        let values: Vec<String> = names.iter().map(value).collect();
        table.push(std::iter::once(key).chain(values));
    }
    Ok(Some(table))
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
