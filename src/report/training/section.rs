//! One group's part of the report: its tables, its figures, and what is to be said of them.

use std::collections::BTreeSet;

use crate::{
    Result,
    longtail::ClassOrder,
    report::{
        Rendered, Table,
        training::{
            Files, ablation, accuracy,
            cells::Group,
            comparison, curves, diagnostics, easy,
            embedding::{self, Place, Samples},
            features, plots,
            tables::{self, factor_text},
        },
    },
    results::query,
    run::DataSetId,
};

/// Text and figures under construction. Every figure is written as PNG and SVG.
pub(crate) struct Section {
    stem: String,
    pub(crate) text: String,
    pub(crate) files: Files,
    /// The runs in the t-SNE picture and the places of their images.
    pub(crate) places: Vec<(String, Vec<Place>)>,
}

impl Section {
    fn new(group: &Group) -> Self {
        let stem = format!("{}-{}-", group.set.name(), group.order.label());
        Self { stem, text: String::new(), files: Files::new(), places: Vec::new() }
    }

    fn paragraph(&mut self, text: &str) {
        if !text.is_empty() {
            self.text.push_str(&format!("{text}\n\n"));
        }
    }

    fn heading(&mut self, title: &str) {
        self.paragraph(&format!("### {title}"));
    }

    fn table(&mut self, table: &Table) {
        self.paragraph(table.markdown().trim_end());
    }

    fn figure(&mut self, name: &str, caption: &str, rendered: Rendered) {
        let stem = &self.stem;
        self.files.push((format!("{stem}{name}.png"), rendered.png));
        self.files.push((format!("{stem}{name}.svg"), rendered.svg.into_bytes()));
        let alt = format!("figure: {}", name.replace('-', " "));
        self.text.push_str(&format!("![{alt}]({stem}{name}.png)\n\n*{caption}*\n\n"));
    }
}

pub(crate) fn set_title(set: DataSetId) -> &'static str {
    match set {
        DataSetId::Cifar10 => "CIFAR-10-LT",
        DataSetId::Cifar100 => "CIFAR-100-LT",
        DataSetId::FashionMnist => "Fashion-MNIST-LT",
        DataSetId::ImagenetLt => "ImageNet-LT",
        DataSetId::Inat18 => "iNaturalist 2018",
        DataSetId::PlacesLt => "Places-LT",
    }
}

/// The part of the report that shows `group`.
pub(crate) fn section(group: &Group, samples: &Samples<'_>) -> Result<Section> {
    let mut out = Section::new(group);
    out.paragraph(&format!("## {}, {} class order", set_title(group.set), group.order.label()));
    out.paragraph(&class_order_note(group));
    main_result(group, &mut out)?;
    same_seeds(group, &mut out);
    modules(group, &mut out)?;
    classes(group, &mut out)?;
    calibration(group, &mut out)?;
    trained_features(group, samples, &mut out)?;
    time(group, &mut out);
    Ok(out)
}

fn main_result(group: &Group, out: &mut Section) -> Result<()> {
    out.heading("Accuracy");
    if let Some(table) = tables::settings_table(group)? {
        out.paragraph(
            "The runs were trained in several settings. Only runs of one setting are averaged; the methods' rows name \
             theirs.",
        );
        out.table(&table);
    } else {
        out.paragraph(&unlike_note(group)?);
    }
    out.table(&tables::main_table(group));
    out.paragraph(&best_epoch_note(group));
    out.figure("accuracy", &accuracy::caption(group), accuracy::figure(group)?);
    if let Some(table) = tables::published_table(group) {
        out.heading("Published numbers");
        out.table(&table);
        out.paragraph(
            "Top-1 and accuracy by shot group in percent, as their sources state them; what was trained there differs \
             from what was trained here in more than the method (last section). A difference is shown above only beside \
             the same method and encoder.",
        );
    }
    out.heading("Shot groups and calibration (last epoch)");
    out.table(&tables::groups_table(group));
    out.paragraph(
        "ECE: expected calibration error over 15 bins, in percent; each run's own, then the mean over seeds. Width: that \
         of the encoder's features.",
    );
    Ok(())
}

/// Settings that are the same within each method, but not across methods.
fn unlike_note(group: &Group) -> Result<String> {
    let keys = query::unlike(&group.frames)?;
    if keys.is_empty() {
        return Ok(String::new());
    }
    Ok(format!(
        "**Not only the methods differ:** at one imbalance factor the recipes differ in {} as well.",
        keys.iter().map(|k| format!("`{k}`")).collect::<Vec<_>>().join(", ")
    ))
}

fn same_seeds(group: &Group, out: &mut Section) {
    let Some(table) = comparison::paired_table(group) else { return };
    out.heading("Differences on the same seeds");
    out.table(&table);
    out.paragraph(
        "Mean over the seeds that both methods have of the difference of the last epoch's accuracy, in points, with the \
         95 % t-interval of paired differences (none for one seed). A seed decides on initial weights, order and \
         augmentation, not on the subset of images; no correction is made for the number of comparisons.",
    );
}

fn modules(group: &Group, out: &mut Section) -> Result<()> {
    let Some(table) = ablation::ablation_table(group) else { return Ok(()) };
    out.heading("Ablation");
    out.table(&table);
    out.paragraph(&ablation::missing(group));
    if let Some(rendered) = ablation::ablation_bars(group)? {
        out.figure("ablation", &ablation::caption(group), rendered);
    }
    Ok(())
}

fn classes(group: &Group, out: &mut Section) -> Result<()> {
    out.heading("Classes");
    let rendered = plots::accuracy_by_class(group)?;
    out.figure("classes", &plots::class_caption(group), rendered);
    if let Some(rendered) = diagnostics::confusion(group)? {
        let factor = factor_text(diagnostics::shown_factor(group));
        let sorted =
            "Rows are true classes and sum to 100 %; classes by training images, most first";
        out.figure(
            "confusion",
            &format!(
                "Confusion on the test set at imbalance factor {factor}, all seeds together. {sorted}. All methods and \
                 factors are in the CSV file."
            ),
            rendered,
        );
    }
    Ok(())
}

fn calibration(group: &Group, out: &mut Section) -> Result<()> {
    out.heading("Calibration and learning curves");
    if let Some(rendered) = diagnostics::reliability(group)? {
        out.figure("reliability", &diagnostics::reliability_caption(group), rendered);
    }
    out.figure("curves", &curves::caption(group), curves::figure(group)?);
    Ok(())
}

/// What `features.json` and `features.safetensors` in the run folders say; nothing if no run has them.
fn trained_features(group: &Group, samples: &Samples<'_>, out: &mut Section) -> Result<()> {
    let Some(table) = features::similarity_table(group) else { return Ok(()) };
    out.heading("Trained features");
    let kinds = match features::mixed(group) {
        true => {
            " Methods with a contrastive loss are measured where it acts, on their projections, the others on encoder \
             features: the two kinds are not comparable with each other."
        }
        false => "",
    };
    out.paragraph(&format!(
        "Mean cosine of two test images of one class, by shot group; every pair counts once.{kinds}"
    ));
    out.table(&table);
    if let Some(rendered) = features::similarity(group)? {
        out.figure("similarity", &features::caption(group), rendered);
    }
    if let Some(rendered) = easy::figure(group)? {
        out.figure("easy-pairs", &easy::caption(group), rendered);
    }
    if let Some(picture) = embedding::picture(group, samples)? {
        out.figure(
            "tsne",
            &format!(
                "t-SNE of the encoder features of {} test images at imbalance factor {}, seed {}: perplexity {}, \
                 Barnes-Hut with θ = 0.5, 1000 iterations from a drawn start. Distances between clusters and their sizes \
                 mean nothing.",
                picture.rows,
                factor_text(diagnostics::shown_factor(group)),
                picture.seeds,
                picture.perplexity
            ),
            picture.rendered,
        );
        out.places = picture.places;
    }
    Ok(())
}

fn time(group: &Group, out: &mut Section) {
    out.heading("Time per epoch");
    out.table(&tables::time_table(group));
    out.paragraph(
        "Seconds of training (evaluation excluded), over all epochs and seeds, as the runs recorded them. Whatever else \
         ran on the machine is in these numbers, other runs of a sweep included: the fastest epoch is the least disturbed \
         one, and views per second are counted in it.",
    );
}

fn class_order_note(group: &Group) -> String {
    let Some(first) = group.cells.first() else { return String::new() };
    let counts: Vec<String> =
        first.classes.iter().map(|c| format!("{} {}", c.name, c.train_images)).collect();
    let counts = if counts.len() > 20 {
        String::new()
    } else {
        format!(
            " At imbalance factor {} the training images are: {}.",
            factor_text(first.imbalance_factor),
            counts.join(", ")
        )
    };
    let warning = match (group.set, group.order) {
        (DataSetId::FashionMnist, ClassOrder::Natural) => {
            " Which classes are rare decides how hard the tail is: `--class-order reversed` makes the last classes the \
             head."
        }
        _ => "",
    };
    format!("Class order: {}.{warning}{counts}", group.order.label())
}

/// What the dashes in the columns of the best epoch mean.
fn best_epoch_note(group: &Group) -> String {
    if group.cells.iter().all(|c| c.best_top1.is_some()) {
        return String::new();
    }
    let without = || group.cells.iter().filter(|c| c.best_top1.is_none());
    let sizes = without().flat_map(|c| &c.test_sizes);
    let parts: BTreeSet<u64> = sizes.filter(|(_, whole)| !whole).map(|(n, _)| *n).collect();
    let earlier = match parts.is_empty() {
        true => "no earlier one was evaluated".to_owned(),
        false => {
            let sizes: Vec<String> = parts.iter().map(u64::to_string).collect();
            format!("earlier ones on at most {} of its images", sizes.join(" or "))
        }
    };
    format!(
        "– in a column of the best epoch: only the last epoch was evaluated on the whole test set ({earlier}), so there \
         was no epoch to choose."
    )
}
