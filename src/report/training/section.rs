//! One group's part of the report: its tables and figures, and what its text speaks of.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::{
    Result,
    longtail::ClassOrder,
    report::{
        Rendered, Table,
        training::{
            Files,
            ablation::{self, AblationContext},
            accuracy::{self, AccuracyCaption},
            cells::Group,
            comparison,
            curves::{self, CurvesCaption},
            diagnostics::{self, ReliabilityCaption},
            easy::{self, EasyCaption},
            features::{self, SimilarityCaption},
            numeric,
            plots::{self, ClassesCaption},
            settings,
            tables::{self, factor_text},
        },
    },
    run::{DataSetId, RunRecord},
};

/// Files under construction. Every table is written as CSV, every figure as PNG and SVG.
struct Written {
    stem: String,
    files: Files,
}

impl Written {
    fn csv(&mut self, name: &str, table: &Table) {
        self.files.push((format!("{}{name}.csv", self.stem), table.csv().into_bytes()));
    }

    fn figure(&mut self, name: &str, rendered: Rendered) {
        let stem = &self.stem;
        self.files.push((format!("{stem}{name}.png"), rendered.png));
        self.files.push((format!("{stem}{name}.svg"), rendered.svg.into_bytes()));
    }

    /// The table as CSV, and as text for the report.
    fn table(&mut self, name: &str, table: &Table) -> String {
        self.csv(name, table);
        table.markdown()
    }
}

/// What the template asks for of one group.
#[derive(Serialize)]
pub(crate) struct SectionContext {
    pub(crate) data_set: &'static str,
    pub(crate) class_order: String,
    /// What the names of the group's files begin with.
    pub(crate) stem: String,
    pub(crate) smallest_factor: String,
    /// The factor that figures of a single one show.
    pub(crate) largest_factor: String,
    /// The data set's last classes are harder than its first.
    pub(crate) order_decides: bool,
    /// Empty where there are too many to name.
    pub(crate) classes_named: Vec<NamedClass>,
    pub(crate) settings_table: Option<String>,
    pub(crate) unlike_keys: Vec<String>,
    pub(crate) accuracy_table: String,
    /// Of some cell no best epoch could be chosen.
    pub(crate) unchosen: Option<Unchosen>,
    pub(crate) accuracy: AccuracyCaption,
    pub(crate) published_table: Option<String>,
    pub(crate) groups_table: String,
    pub(crate) paired_table: Option<String>,
    pub(crate) ablation: Option<AblationContext>,
    pub(crate) classes: ClassesCaption,
    pub(crate) confusion: bool,
    pub(crate) reliability: Option<ReliabilityCaption>,
    pub(crate) curves: CurvesCaption,
    /// None if no run measured its features.
    pub(crate) features: Option<FeaturesContext>,
    pub(crate) time_table: String,
}

/// A class and its training images.
#[derive(Serialize)]
pub(crate) struct NamedClass {
    pub(crate) name: String,
    pub(crate) images: u64,
}

/// On how many test images epochs before the last were evaluated; none if they were not.
#[derive(Serialize)]
pub(crate) struct Unchosen {
    pub(crate) earlier_images: Option<String>,
}

/// What the section on trained features asks for.
#[derive(Serialize)]
pub(crate) struct FeaturesContext {
    /// Some were measured on projections, some on encoder features.
    pub(crate) mixed: bool,
    pub(crate) similarity_table: String,
    pub(crate) similarity: Option<SimilarityCaption>,
    pub(crate) easy: Option<EasyCaption>,
    pub(crate) tsne: Option<TsneCaption>,
}

/// What the caption of the t-SNE figure speaks of.
#[derive(Serialize)]
pub(crate) struct TsneCaption {
    pub(crate) rows: usize,
    pub(crate) seeds: String,
    pub(crate) perplexity: String,
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

/// What the report says of `group`, and its files.
pub(crate) fn section(group: &Group<'_>) -> Result<(SectionContext, Files)> {
    let stem = format!("{}-{}-", group.set.name(), group.order.label());
    let mut out = Written { stem: stem.clone(), files: Files::new() };
    let settings_table = group.settings.table().map(|table| out.table("settings", &table));
    let alike = settings_table.is_none();
    let unlike_keys = if alike { settings::unlike(group.runs())? } else { Vec::new() };
    out.csv("accuracy", &numeric::accuracy(group));
    out.figure("accuracy", accuracy::figure(group)?);
    let published_table = tables::published_table(group).map(|t| out.table("published", &t));
    out.csv("groups", &numeric::groups(group));
    let paired_table = comparison::paired_table(group).map(|t| t.markdown());
    if paired_table.is_some() {
        out.csv("paired", &comparison::paired_csv(group));
    }
    let ablation = modules(group, &mut out)?;
    let confusion = classes(group, &mut out)?;
    let reliability = calibration(group, &mut out)?;
    let context = SectionContext {
        data_set: set_title(group.set),
        class_order: group.order.label(),
        stem,
        smallest_factor: factor_text(group.cells[0].imbalance_factor),
        largest_factor: factor_text(diagnostics::shown_factor(group)),
        order_decides: (group.set, group.order) == (DataSetId::FashionMnist, ClassOrder::Natural),
        classes_named: classes_named(group),
        settings_table,
        unlike_keys,
        accuracy_table: tables::main_table(group).markdown(),
        unchosen: unchosen(group),
        accuracy: accuracy::caption(group),
        published_table,
        groups_table: tables::groups_table(group).markdown(),
        paired_table,
        ablation,
        classes: plots::class_caption(group),
        confusion,
        reliability,
        curves: curves::caption(group),
        features: trained_features(group, &mut out)?,
        time_table: out.table("time", &tables::time_table(group)),
    };
    Ok((context, out.files))
}

fn modules(group: &Group<'_>, out: &mut Written) -> Result<Option<AblationContext>> {
    let context = ablation::context(group);
    if context.is_some() {
        out.csv("ablation", &ablation::ablation_csv(group));
        out.figure("ablation", ablation::ablation_bars(group)?);
    }
    Ok(context)
}

/// Whether there is a confusion to show.
fn classes(group: &Group<'_>, out: &mut Written) -> Result<bool> {
    out.figure("classes", plots::accuracy_by_class(group)?);
    out.csv("classes", &numeric::classes(group));
    let confusion = diagnostics::confusion(group)?;
    let shown = confusion.is_some();
    if let Some(rendered) = confusion {
        out.figure("confusion", rendered);
        out.csv("confusion", &diagnostics::confusion_table(group));
    }
    Ok(shown)
}

/// What is said of the reliability, if there is any to show.
fn calibration(group: &Group<'_>, out: &mut Written) -> Result<Option<ReliabilityCaption>> {
    let reliability = diagnostics::reliability(group)?.map(|rendered| {
        out.figure("reliability", rendered);
        out.csv("reliability", &diagnostics::reliability_table(group));
        diagnostics::reliability_caption(group)
    });
    out.figure("curves", curves::figure(group)?);
    out.csv("curves", &curves::table(group));
    Ok(reliability)
}

/// What `features.json` and `features.safetensors` in the run folders say; none if no run has them.
fn trained_features(group: &Group<'_>, out: &mut Written) -> Result<Option<FeaturesContext>> {
    let Some(table) = features::similarity_table(group) else { return Ok(None) };
    out.csv("similarity", &features::similarity_csv(group));
    let similarity = features::similarity(group)?.map(|rendered| {
        out.figure("similarity", rendered);
        out.csv("densities", &features::density_table(group));
        features::caption(group)
    });
    let easy = easy::figure(group)?.map(|rendered| {
        out.figure("easy-pairs", rendered);
        out.csv("easy-pairs", &easy::table(group));
        easy::caption(group)
    });
    Ok(Some(FeaturesContext {
        mixed: features::mixed(group),
        similarity_table: table.markdown(),
        similarity,
        easy,
        tsne: tsne(group, out)?,
    }))
}

#[cfg(feature = "train")]
fn tsne(group: &Group<'_>, out: &mut Written) -> Result<Option<TsneCaption>> {
    let Some(picture) = crate::report::training::embedding::picture(group)? else {
        return Ok(None);
    };
    out.figure("tsne", picture.rendered);
    out.csv("tsne", &picture.table);
    let perplexity = picture.perplexity.to_string();
    Ok(Some(TsneCaption { rows: picture.rows, seeds: picture.seeds, perplexity }))
}

/// The embedding is built with the feature `train` only.
#[cfg(not(feature = "train"))]
fn tsne(_: &Group<'_>, _: &mut Written) -> Result<Option<TsneCaption>> {
    Ok(None)
}

/// Classes up to which each is named with its training images.
const NAMED: usize = 20;

fn classes_named(group: &Group<'_>) -> Vec<NamedClass> {
    let Some(run) = group.runs().next().filter(|r| r.class_names.len() <= NAMED) else {
        return Vec::new();
    };
    let one = |(name, &images): (&String, &u64)| NamedClass { name: name.clone(), images };
    run.class_names.iter().zip(&run.counts).map(one).collect()
}

/// What the dashes in the columns of the best epoch mean; none if there are none.
fn unchosen(group: &Group<'_>) -> Option<Unchosen> {
    let without: Vec<_> = group.cells.iter().filter(|c| c.best_top1().is_none()).collect();
    let runs = without.iter().flat_map(|c| &c.runs);
    let parts: BTreeSet<u64> = runs.flat_map(|r| partial(r)).collect();
    let sizes: Vec<String> = parts.iter().map(u64::to_string).collect();
    let earlier_images = (!sizes.is_empty()).then(|| sizes.join(" or "));
    (!without.is_empty()).then_some(Unchosen { earlier_images })
}

/// Test images of the evaluations that were not of the whole test set.
fn partial(run: &RunRecord) -> impl Iterator<Item = u64> {
    let tests = run.epochs.iter().filter_map(|e| e.test.as_ref());
    tests.map(|t| t.images).filter(|n| *n < run.last.images)
}
