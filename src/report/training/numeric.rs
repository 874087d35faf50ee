//! The tables of the CSV files: one number per cell, all accuracies and errors as fractions.

use crate::{
    report::{
        Table,
        training::{
            cells::{Cell, Group, Spread},
            tables::factor_text,
        },
    },
    run::Evaluation,
};

/// A number of an evaluation and its name in the column `measure`.
pub(crate) type Measure = (&'static str, fn(&Evaluation) -> Option<f64>);

/// Over all classes, and by shot group.
pub(crate) const BY_SHOTS: [Measure; 4] = [
    ("top-1", |e| Some(e.top1)),
    ("many", |e| e.groups.many),
    ("medium", |e| e.groups.medium),
    ("few", |e| e.groups.few),
];

/// Six decimals, or an empty cell.
pub(crate) fn number(value: Option<f64>) -> String {
    value.map(|v| format!("{v:.6}")).unwrap_or_default()
}

/// Mean, sample standard deviation and number of seeds: the columns `mean`, `sd`, `n`.
pub(crate) fn spread(value: Option<Spread>) -> [String; 3] {
    let n = value.map_or(0, |s| s.n);
    [number(value.map(|s| s.mean)), number(value.and_then(|s| s.sd)), n.to_string()]
}

/// One row per cell: the last epoch, the best one where it was a choice, the published number.
pub(crate) fn accuracy(group: &Group<'_>) -> Table {
    let mut table =
        Table::new(["method", "imb", "mean", "sd", "n", "best_mean", "best_sd", "published"]);
    for cell in &group.cells {
        let published = group.published(&cell.arm, cell.imbalance_factor);
        let [best_mean, best_sd, _] = spread(cell.best_top1());
        let mut row = vec![cell.arm.to_string(), factor_text(cell.imbalance_factor)];
        row.extend(spread(cell.last(|e| Some(e.top1))));
        row.extend([best_mean, best_sd, number(published.map(|p| p.top1 / 100.0))]);
        table.push(row);
    }
    table
}

/// One row per cell and measure of the last epoch; shot groups without a class have none.
pub(crate) fn groups(group: &Group<'_>) -> Table {
    let header = ["method", "imb", "measure", "mean", "sd", "n", "epochs", "arch", "feature_dim"];
    let mut table = Table::new(header);
    let others: [Measure; 2] = [("top-5", |e| Some(e.top5)), ("ece", |e| Some(e.ece))];
    for cell in &group.cells {
        let run = cell.runs[0];
        for (measure, value) in BY_SHOTS.into_iter().chain(others) {
            let Some(found) = cell.last(value) else { continue };
            let mut row =
                vec![cell.arm.to_string(), factor_text(cell.imbalance_factor), measure.to_owned()];
            row.extend(spread(Some(found)));
            let arch = run.recipe.model.arch;
            let epochs = run.epochs.len().to_string();
            row.extend([epochs, arch.name().to_owned(), arch.feature_dim().to_string()]);
            table.push(row);
        }
    }
    table
}

/// Accuracy of each class, mean over seeds, one row per cell and class.
pub(crate) fn classes(group: &Group<'_>) -> Table {
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
                number(Some(s.mean)),
                number(s.sd),
            ]);
        }
    }
    table
}

/// Rows of a cell, one per measure of [`BY_SHOTS`], behind the cells of `front`.
pub(crate) fn shot_rows(table: &mut Table, front: &[String], cell: &Cell<'_>) {
    for (measure, value) in BY_SHOTS {
        let Some(found) = cell.last(value) else { continue };
        let measure = std::iter::once(measure.to_owned());
        table.push(front.iter().cloned().chain(measure).chain(spread(Some(found))));
    }
}
