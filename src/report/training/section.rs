//! One group's part of the report: its tables, its figures, and what is to be said of them.

use super::{
    Files, ablation,
    cells::Group,
    comparison, diagnostics, features, plots, settings,
    tables::{self, factor_text},
};
use crate::{
    Result,
    report::{Rendered, Table},
    run::{ClassOrder, DataSetId},
};

/// Text and files under construction. Every table is written as CSV, every figure as PNG and SVG.
pub(super) struct Section {
    stem: String,
    pub(super) text: String,
    pub(super) files: Files,
}

impl Section {
    fn new(group: &Group<'_>) -> Self {
        let stem = format!("{}-{}-", group.set.name(), order_name(group.order));
        Self { stem, text: String::new(), files: Files::new() }
    }

    fn paragraph(&mut self, text: &str) {
        if !text.is_empty() {
            self.text.push_str(&format!("{text}\n\n"));
        }
    }

    fn heading(&mut self, title: &str) {
        self.paragraph(&format!("### {title}"));
    }

    /// The table as CSV only.
    fn csv(&mut self, name: &str, table: &Table) {
        self.files.push((format!("{}{name}.csv", self.stem), table.csv().into_bytes()));
    }

    fn table(&mut self, name: &str, table: &Table) {
        self.paragraph(table.markdown().trim_end());
        self.csv(name, table);
    }

    fn figure(&mut self, name: &str, caption: &str, rendered: Rendered) {
        let stem = &self.stem;
        self.files.push((format!("{stem}{name}.png"), rendered.png));
        self.files.push((format!("{stem}{name}.svg"), rendered.svg.into_bytes()));
        let alt = format!("figure: {}", name.replace('-', " "));
        self.text.push_str(&format!("![{alt}]({stem}{name}.png)\n\n*{caption}*\n\n"));
    }
}

pub(super) fn set_title(set: DataSetId) -> &'static str {
    match set {
        DataSetId::Cifar10 => "CIFAR-10-LT",
        DataSetId::Cifar100 => "CIFAR-100-LT",
        DataSetId::FashionMnist => "Fashion-MNIST-LT",
        DataSetId::ImagenetLt => "ImageNet-LT",
        DataSetId::Inat18 => "iNaturalist 2018",
        DataSetId::PlacesLt => "Places-LT",
    }
}

fn order_name(order: ClassOrder) -> String {
    format!("{order:?}").to_lowercase()
}

/// The part of the report that shows `group`.
pub(super) fn section(group: &Group<'_>) -> Result<Section> {
    let mut out = Section::new(group);
    out.paragraph(&format!("## {}, {} class order", set_title(group.set), order_name(group.order)));
    out.paragraph(&class_order_note(group));
    accuracy(group, &mut out)?;
    same_seeds(group, &mut out);
    modules(group, &mut out)?;
    classes(group, &mut out)?;
    calibration(group, &mut out)?;
    trained_features(group, &mut out)?;
    time(group, &mut out);
    Ok(out)
}

fn accuracy(group: &Group<'_>, out: &mut Section) -> Result<()> {
    out.heading("Accuracy");
    if let Some(table) = group.settings.table() {
        out.paragraph(
            "The runs were trained in several settings. Only runs of one setting are averaged; the methods' rows name \
             theirs.",
        );
        out.table("settings", &table);
    } else {
        out.paragraph(&unlike_note(group)?);
    }
    out.table("accuracy", &tables::main_table(group));
    out.paragraph(&best_epoch_note(group));
    let rendered = plots::accuracy_by_factor(group)?;
    out.figure(
        "accuracy",
        "Top-1 accuracy against the imbalance factor. Error bars, where there are several seeds, are one sample standard \
         deviation; methods are shifted sideways so that the bars stand apart. Rings, where \
         there are any, are published numbers.",
        rendered,
    );
    out.heading("Shot groups and calibration (last epoch)");
    out.table("groups", &tables::groups_table(group));
    out.paragraph("ECE: expected calibration error over 15 bins, in percent. Width: that of the encoder's features.");
    Ok(())
}

/// Settings that are the same within each method, but not across methods.
fn unlike_note(group: &Group<'_>) -> Result<String> {
    let keys = settings::unlike(group.runs())?;
    if keys.is_empty() {
        return Ok(String::new());
    }
    Ok(format!(
        "**Not only the methods differ:** at one imbalance factor the recipes differ in {} as well.",
        keys.iter().map(|k| format!("`{k}`")).collect::<Vec<_>>().join(", ")
    ))
}

fn same_seeds(group: &Group<'_>, out: &mut Section) {
    let Some(table) = comparison::paired_table(group) else { return };
    out.heading("Differences on the same seeds");
    out.table("paired", &table);
    out.paragraph(
        "Mean over the seeds that both methods have of the difference of the last epoch's accuracy, in points, with the \
         95 % t-interval of paired differences (none for one seed). A seed decides on initial weights, order and \
         augmentation, not on the subset of images; no correction is made for the number of comparisons.",
    );
}

fn modules(group: &Group<'_>, out: &mut Section) -> Result<()> {
    let Some(table) = ablation::ablation_table(group) else { return Ok(()) };
    out.heading("Ablation");
    out.table("ablation", &table);
    out.paragraph(&ablation::missing(group));
    if let Some(rendered) = ablation::ablation_bars(group)? {
        out.figure(
            "ablation",
            "ResCom and what is left of it without single modules: mean over all classes and over the few-shot classes, \
             error bars (several seeds) one sample standard deviation.",
            rendered,
        );
    }
    Ok(())
}

fn classes(group: &Group<'_>, out: &mut Section) -> Result<()> {
    let classes = group.runs().next().map_or(0, |r| r.counts.len());
    out.heading("Classes");
    let rendered = plots::accuracy_by_class(group)?;
    let many = match plots::window(classes) {
        _ if classes <= 20 => String::new(),
        width => format!(
            " Each point is the mean of {width} neighbouring classes; bands are one sample standard deviation over seeds."
        ),
    };
    out.figure(
        "classes",
        &format!(
            "Accuracy of each class, most training images on the left; dashed verticals separate the shot groups. Error \
             bars, where there are several seeds, are one sample standard deviation.{many}"
        ),
        rendered,
    );
    out.csv("classes", &tables::classes_table(group));
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
        out.csv("confusion", &diagnostics::confusion_table(group));
    }
    Ok(())
}

fn calibration(group: &Group<'_>, out: &mut Section) -> Result<()> {
    let factor = factor_text(diagnostics::shown_factor(group));
    if let Some(rendered) = diagnostics::reliability(group)? {
        out.heading("Calibration and learning curves");
        out.figure(
            "reliability",
            &format!(
                "Reliability at imbalance factor {factor}: accuracy of the test images in each of 15 bins of confidence, \
                 all seeds together (every image counts), and its gap to the bin's mean confidence; how many images a bin \
                 holds is in the CSV file. ECE is the mean over seeds ± sample standard deviation."
            ),
            rendered,
        );
        out.csv("reliability", &diagnostics::reliability_table(group));
    }
    let rendered = plots::learning_curves(group)?;
    out.figure(
        "curves",
        "Classification loss on the training views (left) and accuracy on test images (right) by epoch: mean over seeds, \
         bands one sample standard deviation. Losses of different methods are different functions and are not comparable. \
         Before the last epoch accuracy is that on as many test images as the CSV file says.",
        rendered,
    );
    out.csv("curves", &plots::curves_table(group));
    Ok(())
}

/// What `features.json` and `features.safetensors` in the run folders say; nothing if no run has them.
fn trained_features(group: &Group<'_>, out: &mut Section) -> Result<()> {
    let Some(table) = features::similarity_table(group) else { return Ok(()) };
    let factor = factor_text(diagnostics::shown_factor(group));
    out.heading("Trained features");
    out.paragraph(
        "Mean cosine of two test images of one class, by shot group; every pair counts once. Methods with a contrastive \
         loss are measured where it acts, on their projections, the others on encoder features: the two kinds are not \
         comparable with each other.",
    );
    out.table("similarity", &table);
    if let Some(rendered) = features::similarity(group)? {
        out.figure(
            "similarity",
            &format!(
                "Similarity of positive pairs of test images at imbalance factor {factor}, all seeds together; the means \
                 are many / medium / few. Published means for ImageNet-LT (not comparable: other images, networks and \
                 training): ResCom 0.73 / 0.68 / 0.63, SupCon+BS 0.77 / 0.68 / 0.60, MoCo+BS 0.75 / 0.64 / 0.56."
            ),
            rendered,
        );
        out.csv("densities", &features::density_table(group));
    }
    if let Some(rendered) = features::easy_pairs(group)? {
        out.figure(
            "easy-pairs",
            &format!(
                "Gradient of the supervised contrastive loss with respect to the logits l = s/T by rank of the key, on \
                 test images at imbalance factor {factor}: {}. Positives that exceed π = 1/|P| are pushed away (left arm), \
                 hard ones pulled (right arm); the hardest negatives carry almost everything. Mean over anchors and seeds.",
                features::easy_setup(group)
            ),
            rendered,
        );
        out.csv("easy-pairs", &features::easy_table(group));
    }
    #[cfg(feature = "train")]
    if let Some(picture) = super::embedding::picture(group)? {
        out.figure(
            "tsne",
            &format!(
                "t-SNE of the encoder features of {} test images at imbalance factor {factor}, seed {}: perplexity {}, \
                 Barnes-Hut with θ = 0.5, 1000 iterations from a drawn start. Distances between clusters and their sizes \
                 mean nothing.",
                picture.rows, picture.seeds, picture.perplexity
            ),
            picture.rendered,
        );
        out.csv("tsne", &picture.table);
    }
    Ok(())
}

fn time(group: &Group<'_>, out: &mut Section) {
    out.heading("Time per epoch");
    out.table("time", &tables::time_table(group));
    out.paragraph(
        "Median over all epochs and seeds of the seconds of training (evaluation excluded), as the runs recorded them; \
         whatever else ran on the machine is in these numbers.",
    );
}

fn class_order_note(group: &Group<'_>) -> String {
    let Some(run) = group.runs().next() else { return String::new() };
    let counts: Vec<String> =
        run.class_names.iter().zip(&run.counts).map(|(n, c)| format!("{n} {c}")).collect();
    let counts = if counts.len() > 20 {
        String::new()
    } else {
        format!(
            " At imbalance factor {} the training images are: {}.",
            factor_text(group.cells[0].imbalance_factor),
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
    format!("Class order: {}.{warning}{counts}", order_name(group.order))
}

/// Where no earlier epoch was evaluated on the whole test set, "best" says nothing.
fn best_epoch_note(group: &Group<'_>) -> String {
    let whole = |r: &crate::run::RunRecord| {
        let tests = r.epochs.iter().filter_map(|e| e.test.as_ref());
        tests.filter(|t| t.images == r.last.images).count()
    };
    if group.runs().any(|r| whole(r) > 1) {
        return String::new();
    }
    let interim =
        group.runs().find_map(|r| Some(r.epochs.iter().find_map(|e| e.test.as_ref())?.images));
    format!(
        "Only the last epoch was evaluated on the whole test set (earlier ones on {} of its images), so both columns \
         are the same here.",
        interim.unwrap_or(0)
    )
}
