use std::collections::BTreeMap;

use super::{
    Files,
    cells::Group,
    plots,
    tables::{factor_text, groups_table, main_table, runs_table},
};
use crate::{
    Error, Result,
    report::Rendered,
    run::{ClassOrder, DataSetId, Mark, RunRecord},
};

/// The report of `records`: `report.md`, `runs.csv`, and each figure as PNG and SVG.
///
/// # Errors
/// [`Error::Input`] without records; [`Error::Run`] if a figure cannot be drawn.
pub fn training_report(records: &[RunRecord]) -> Result<Files> {
    let Some(first) = records.first() else {
        return Err(Error::input("report: no finished run; train first, or name another folder"));
    };
    let groups = Group::all(records);
    let mut files = Files::new();
    let mut text = head(records, first);
    for group in &groups {
        section(group, groups.len() > 1, &mut text, &mut files)?;
    }
    text.push_str(&protocol(records));
    text.push_str(&origin(records));
    files.insert(0, ("report.md".into(), text.into_bytes()));
    files.push(("runs.csv".into(), runs_table(records).csv().into_bytes()));
    Ok(files)
}

fn set_title(set: DataSetId) -> &'static str {
    match set {
        DataSetId::Cifar10 => "CIFAR-10-LT",
        DataSetId::Cifar100 => "CIFAR-100-LT",
        DataSetId::FashionMnist => "Fashion-MNIST-LT",
        DataSetId::ImagenetLt => "ImageNet-LT",
        DataSetId::Inat18 => "iNaturalist 2018",
        DataSetId::PlacesLt => "Places-LT",
    }
}

/// "5 ± 0 seeds" is no use to anyone: how many seeds the cells have, in words.
fn seeds_text(records: &[RunRecord]) -> String {
    let mut seeds: Vec<u64> = records.iter().map(|r| r.recipe.run.seed).collect();
    seeds.sort_unstable();
    seeds.dedup();
    let list: Vec<String> = seeds.iter().map(u64::to_string).collect();
    match list.as_slice() {
        [one] => {
            format!("one seed ({one}): no spread can be given, and small differences mean nothing")
        }
        _ => {
            format!("{} seeds ({}): mean ± sample standard deviation", list.len(), list.join(", "))
        }
    }
}

fn head(records: &[RunRecord], first: &RunRecord) -> String {
    let synthetic = records.iter().any(RunRecord::is_synthetic);
    let mut names: Vec<&str> = records.iter().map(|r| set_title(r.recipe.data.set)).collect();
    names.dedup();
    let title = format!("# {}: methods for long-tailed recognition", names.join(", "));
    let warning = if synthetic {
        " - on GENERATED images, not on the real data set\n\nThe images were generated (`--data synthetic`): \
         the numbers show that the pipeline works and say nothing about the data set whose format they take.\n"
    } else {
        "\n"
    };
    let r = &first.recipe;
    format!(
        "{title}{warning}\n{} runs of {}, {} epochs, batches of {} images, {}. Accuracies are top-1 in percent on the \
         balanced test set after the last epoch; the best epoch was chosen on test images and stands apart for \
         comparison with work that reports it. Many, medium and few are means of class accuracies over classes with \
         more than 100, 20 to 100, and fewer than 20 training images.\n\n",
        records.len(),
        format!("{:?}", r.model.arch).to_lowercase(),
        r.optim.epochs,
        r.optim.batch_size,
        seeds_text(records),
    )
}

fn section(group: &Group<'_>, titled: bool, text: &mut String, files: &mut Files) -> Result<()> {
    let order = format!("{:?}", group.order).to_lowercase();
    let stem = format!("{}-{order}-", group.set.name());
    if titled {
        text.push_str(&format!("## {}, {order} class order\n\n", set_title(group.set)));
    }
    text.push_str(&class_order_note(group));
    text.push_str(&format!("### Accuracy\n\n{}\n", main_table(group).markdown()));
    text.push_str(&best_epoch_note(group));
    text.push_str(&format!(
        "### Shot groups and calibration (last epoch)\n\n{}\n",
        groups_table(group).markdown()
    ));
    let mut figure = |name: &str, caption: &str, rendered: Rendered| {
        text.push_str(&format!("![{caption}]({stem}{name}.png)\n\n*{caption}*\n\n"));
        files.push((format!("{stem}{name}.png"), rendered.png));
        files.push((format!("{stem}{name}.svg"), rendered.svg.into_bytes()));
    };
    figure(
        "accuracy",
        "Top-1 accuracy against the imbalance factor; bars, where there are several seeds, are one standard deviation.",
        plots::accuracy_by_factor(group)?,
    );
    figure(
        "classes",
        "Accuracy of each class, head on the left; dashed lines separate the shot groups.",
        plots::accuracy_by_class(group)?,
    );
    figure(
        "curves",
        "Classification loss on the training views (above) and accuracy on test images (below) by epoch; before the last epoch on as many of them as the records say.",
        plots::learning_curves(group)?,
    );
    Ok(())
}

fn class_order_note(group: &Group<'_>) -> String {
    let Some(run) = group.cells.first().and_then(|c| c.runs.first()) else { return String::new() };
    let counts: Vec<String> =
        run.class_names.iter().zip(&run.counts).map(|(n, c)| format!("{n} {c}")).collect();
    let counts = if counts.len() > 20 {
        String::new()
    } else {
        format!(
            " At imbalance factor {} the training images are: {}.",
            factor_text(group.cells[0].key.imbalance_factor),
            counts.join(", ")
        )
    };
    let warning = match (group.set, group.order) {
        (DataSetId::FashionMnist, ClassOrder::Natural) => {
            " Fashion-MNIST's last classes (sneaker, bag, ankle boot) are its easiest, so this order flatters the tail; \
             `--class-order reversed` makes them the head."
        }
        _ => "",
    };
    format!("Class order: {}.{warning}{counts}\n\n", format!("{:?}", group.order).to_lowercase())
}

/// Where no earlier epoch was evaluated on the whole test set, "best" says nothing.
fn best_epoch_note(group: &Group<'_>) -> String {
    let runs = || group.cells.iter().flat_map(|c| &c.runs);
    let whole = |r: &RunRecord| {
        r.epochs
            .iter()
            .filter_map(|e| e.test.as_ref())
            .filter(|t| t.images == r.last.images)
            .count()
    };
    if runs().any(|r| whole(r) > 1) {
        return String::new();
    }
    let interim = runs().find_map(|r| Some(r.epochs.iter().find_map(|e| e.test.as_ref())?.images));
    format!(
        "Only the last epoch was evaluated on the whole test set (earlier ones on {} of its images), so both columns \
         are the same here.\n\n",
        interim.unwrap_or(0)
    )
}

/// What differs from the published protocol, from the marks of the recipes.
fn protocol(records: &[RunRecord]) -> String {
    let mut by_key: BTreeMap<String, (Mark, Vec<String>)> = BTreeMap::new();
    for r in records {
        for mark in [Mark::Changed, Mark::Assumed] {
            for key in r.marks.with(mark) {
                let value = r.recipe.value_of(key).unwrap_or_default();
                let entry = by_key.entry(key.to_owned()).or_insert((mark, Vec::new()));
                if !entry.1.contains(&value) {
                    entry.1.push(value);
                }
            }
        }
    }
    let list = |mark: Mark| -> String {
        let rows = by_key.iter().filter(|(_, (m, _))| *m == mark);
        let rows: Vec<String> =
            rows.map(|(k, (_, v))| format!("`{k}` = {}", v.join(" / "))).collect();
        if rows.is_empty() { "none".into() } else { rows.join(", ") }
    };
    format!(
        "## What differs from the published protocol\n\n* Set by the preset or on the command line: {}.\n* Not known \
         from the paper or the released code, and assumed: {}.\n\n",
        list(Mark::Changed),
        list(Mark::Assumed)
    )
}

fn origin(records: &[RunRecord]) -> String {
    let mut lines: Vec<String> = records
        .iter()
        .map(|r| {
            let p = &r.provenance;
            format!(
                "rescom {} ({}), libtorch {}, {} with {} threads; training images with SHA-256 {}; made by \
                 `rescom-repro {}`",
                p.version,
                p.commit,
                p.libtorch,
                p.device,
                p.torch_threads,
                p.data_sha256.get(..12).unwrap_or(&p.data_sha256),
                p.command.get(1..).unwrap_or_default().join(" ")
            )
        })
        .collect();
    lines.sort();
    lines.dedup();
    let seconds: f64 = records.iter().map(|r| r.seconds).sum();
    format!(
        "## Where this comes from\n\n{}\n\nTraining and evaluation of all runs took {:.0} s. Each run's folder holds its \
         recipe, subset manifest, records and checkpoints.\n",
        lines.iter().map(|l| format!("* {l}")).collect::<Vec<_>>().join("\n"),
        seconds
    )
}
