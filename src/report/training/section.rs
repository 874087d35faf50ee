//! One group's part of the report: its tables and figures, and what its text speaks of.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::{
    Result,
    longtail::ClassOrder,
    report::{
        Rendered,
        training::{
            Files,
            ablation::{self, AblationContext},
            accuracy::{self, AccuracyCaption},
            cells::{ClassRow, Group},
            comparison,
            curves::{self, CurvesCaption},
            diagnostics::{self, ReliabilityCaption},
            easy::{self, EasyCaption},
            embedding::{self, Place, Samples},
            features::{self, SimilarityCaption},
            plots::{self, ClassesCaption},
            tables::{self, factor_text},
        },
    },
    results::query,
    run::DataSetId,
};

/// Figures under construction, each written as PNG and SVG.
struct Written {
    stem: String,
    files: Files,
    places: Places,
}

impl Written {
    fn figure(&mut self, name: &str, rendered: Rendered) {
        let stem = &self.stem;
        self.files.push((format!("{stem}{name}.png"), rendered.png));
        self.files.push((format!("{stem}{name}.svg"), rendered.svg.into_bytes()));
    }
}

/// The runs in the t-SNE picture and the places of their images.
type Places = Vec<(String, Vec<Place>)>;

/// A group's part of the report: what its text speaks of, its figures, its places in the picture.
pub(crate) struct Section {
    pub(crate) context: SectionContext,
    pub(crate) files: Files,
    pub(crate) places: Places,
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

/// The part of the report that shows `group`.
pub(crate) fn section(group: &Group, samples: &Samples<'_>) -> Result<Section> {
    let stem = format!("{}-{}-", group.set.name(), group.order.label());
    let mut out = Written { stem: stem.clone(), files: Files::new(), places: Places::new() };
    let settings_table = tables::settings_table(group)?.map(|table| table.markdown());
    let alike = settings_table.is_none();
    let unlike_keys = if alike { query::unlike(&group.frames)? } else { Vec::new() };
    out.figure("accuracy", accuracy::figure(group)?);
    let ablation = ablation::context(group);
    if ablation.is_some() {
        out.figure("ablation", ablation::ablation_bars(group)?);
    }
    out.figure("classes", plots::accuracy_by_class(group)?);
    let confusion =
        diagnostics::confusion(group)?.map(|rendered| out.figure("confusion", rendered));
    let reliability = diagnostics::reliability(group)?.map(|rendered| {
        out.figure("reliability", rendered);
        diagnostics::reliability_caption(group)
    });
    out.figure("curves", curves::figure(group)?);
    let context = SectionContext {
        data_set: set_title(group.set),
        class_order: group.order.label(),
        stem,
        smallest_factor: factor_text(group.factors().first().copied().unwrap_or(1.0)),
        largest_factor: factor_text(diagnostics::shown_factor(group)),
        order_decides: (group.set, group.order) == (DataSetId::FashionMnist, ClassOrder::Natural),
        classes_named: classes_named(group),
        settings_table,
        unlike_keys,
        accuracy_table: tables::main_table(group).markdown(),
        unchosen: unchosen(group),
        accuracy: accuracy::caption(group),
        published_table: tables::published_table(group).map(|table| table.markdown()),
        groups_table: tables::groups_table(group).markdown(),
        paired_table: comparison::paired_table(group).map(|table| table.markdown()),
        ablation,
        classes: plots::class_caption(group),
        confusion: confusion.is_some(),
        reliability,
        curves: curves::caption(group),
        features: trained_features(group, samples, &mut out)?,
        time_table: tables::time_table(group).markdown(),
    };
    Ok(Section { context, files: out.files, places: out.places })
}

/// What `features.json` and `features.safetensors` in the run folders say; none if no run has them.
fn trained_features(
    group: &Group,
    samples: &Samples<'_>,
    out: &mut Written,
) -> Result<Option<FeaturesContext>> {
    let Some(table) = features::similarity_table(group) else { return Ok(None) };
    let similarity = features::similarity(group)?.map(|rendered| {
        out.figure("similarity", rendered);
        features::caption(group)
    });
    let easy = easy::figure(group)?.map(|rendered| {
        out.figure("easy-pairs", rendered);
        easy::caption(group)
    });
    let tsne = embedding::picture(group, samples)?.map(|picture| {
        out.figure("tsne", picture.rendered);
        out.places = picture.places;
        let perplexity = picture.perplexity.to_string();
        TsneCaption { rows: picture.rows, seeds: picture.seeds, perplexity }
    });
    let similarity_table = table.markdown();
    let mixed = features::mixed(group);
    Ok(Some(FeaturesContext { mixed, similarity_table, similarity, easy, tsne }))
}

/// Classes up to which each is named with its training images.
const NAMED: usize = 20;

fn classes_named(group: &Group) -> Vec<NamedClass> {
    let Some(first) = group.cells.first().filter(|c| c.classes.len() <= NAMED) else {
        return Vec::new();
    };
    let one = |c: &ClassRow| NamedClass { name: c.name.clone(), images: c.train_images };
    first.classes.iter().map(one).collect()
}

/// What the dashes in the columns of the best epoch mean; none if there are none.
fn unchosen(group: &Group) -> Option<Unchosen> {
    let without: Vec<_> = group.cells.iter().filter(|c| c.best_top1.is_none()).collect();
    let sizes = without.iter().flat_map(|c| &c.test_sizes);
    let parts: BTreeSet<u64> = sizes.filter(|(_, whole)| !whole).map(|(n, _)| *n).collect();
    let sizes: Vec<String> = parts.iter().map(u64::to_string).collect();
    let earlier_images = (!sizes.is_empty()).then(|| sizes.join(" or "));
    (!without.is_empty()).then_some(Unchosen { earlier_images })
}
