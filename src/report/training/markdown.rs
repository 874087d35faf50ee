//! The report of training runs as files; what its text speaks of besides the sections of the groups.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use serde::Serialize;

use crate::{
    Error, Result,
    report::{
        template::render,
        training::{
            Files,
            cells::Group,
            section::{SectionContext, section, set_title},
            tables::backbone,
        },
    },
    results::{FinishedRun, Frames, samples},
    run::{Mark, Replaced, RunRecord},
};

/// The report of `runs`: `report.md`, each figure as PNG and SVG, and the tables of the runs
/// ([`Frames::files`]) that every number in it is computed from.
/// Runs are averaged over seeds only; each data set in each class order has its own section.
///
/// # Errors
/// [`Error::Input`] without runs, or if one is there twice; [`Error::Run`] if a figure cannot be drawn
/// or the text cannot be written.
pub fn training_report(runs: &[FinishedRun]) -> Result<Files> {
    if runs.is_empty() {
        return Err(Error::input("report: no finished run; train first, or name another folder"));
    }
    let mut frames = Frames::of(runs)?;
    let (groups, samples) = (Group::all(runs, &frames)?, samples(runs)?);
    let mut files = Files::new();
    let records: Vec<&RunRecord> = runs.iter().map(|r| &r.record).collect();
    let mut sections = Vec::new();
    for group in &groups {
        let section = section(group, &samples)?;
        sections.push(section.context);
        files.extend(section.files);
        for (run, places) in &section.places {
            frames.add_picture(run, places)?;
        }
    }
    let text = render("training.md.j2", &TrainingContext::new(&records, &groups, sections)?)?;
    files.insert(0, ("report.md".into(), text.into_bytes()));
    files.extend(frames.files()?);
    Ok(files)
}

/// What the template of the report asks for.
#[derive(Serialize)]
struct TrainingContext {
    data_sets: String,
    generated: bool,
    unverified: bool,
    runs: usize,
    backbones: String,
    epochs: String,
    batch_sizes: String,
    seeds: Seeds,
    sections: Vec<SectionContext>,
    /// Values that a preset or the command line set.
    changed: Vec<MarkedValues>,
    assumed: Vec<MarkedValues>,
    origins: Vec<Origin>,
    seconds: String,
    /// Some run left out images.
    skipped: bool,
}

impl TrainingContext {
    fn new(
        records: &[&RunRecord],
        groups: &[Group],
        sections: Vec<SectionContext>,
    ) -> Result<Self> {
        let seconds: f64 = records.iter().map(|r| r.seconds).sum();
        let origins: BTreeSet<Origin> = records.iter().map(|r| Origin::of(r)).collect();
        let left_out = |r: &&RunRecord| r.provenance.skipped_pictures.iter().sum::<usize>() > 0;
        Ok(Self {
            data_sets: distinct(records.iter().map(|r| set_title(r.recipe.data.set).to_owned())),
            generated: records.iter().any(|r| r.is_synthetic()),
            unverified: records.iter().any(|r| r.is_unverified()),
            runs: records.len(),
            backbones: distinct(records.iter().map(|r| backbone(r))),
            epochs: numbers(records.iter().map(|r| r.epochs.len())),
            batch_sizes: numbers(records.iter().map(|r| r.recipe.optim.batch_size)),
            seeds: Seeds::of(records, groups),
            sections,
            changed: marked(records, Mark::Changed)?,
            assumed: marked(records, Mark::Assumed)?,
            origins: origins.into_iter().collect(),
            seconds: format!("{seconds:.0}"),
            skipped: records.iter().any(left_out),
        })
    }
}

/// The different texts in order, joined.
fn distinct(texts: impl Iterator<Item = String>) -> String {
    texts.collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>().join(", ")
}

fn numbers(values: impl Iterator<Item = usize>) -> String {
    let all: Vec<String> =
        values.collect::<BTreeSet<_>>().iter().map(ToString::to_string).collect();
    all.join(", ")
}

/// How many seeds there are.
#[derive(Serialize)]
struct Seeds {
    only_one: bool,
    number: usize,
    list: String,
    /// Seeds of the cell that has the fewest, if that is not all.
    fewest: Option<usize>,
}

impl Seeds {
    fn of(records: &[&RunRecord], groups: &[Group]) -> Self {
        let seeds: BTreeSet<u64> = records.iter().map(|r| r.recipe.run.seed).collect();
        let list: Vec<String> = seeds.iter().map(u64::to_string).collect();
        let sizes = groups.iter().flat_map(|g| g.cells.iter().map(|c| c.seeds));
        Self {
            only_one: seeds.len() == 1,
            number: seeds.len(),
            list: list.join(", "),
            fewest: sizes.min().filter(|least| *least < seeds.len()),
        }
    }
}

/// A value that some runs have, and what the recipe file said in its place, where that is known.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Setting {
    value: String,
    replaced: Option<Replaced>,
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.value)?;
        match &self.replaced {
            Some(r) => write!(f, " ({}: {})", r.mark.name(), r.was),
            None => Ok(()),
        }
    }
}

/// The values of a key that carries a mark: "8 (released: 400)", and in how many runs if not in all.
#[derive(Serialize)]
struct MarkedValues {
    key: String,
    values: String,
    in_runs: Option<usize>,
}

/// The values of every key that carries `mark` in some run.
fn marked(records: &[&RunRecord], mark: Mark) -> Result<Vec<MarkedValues>> {
    let mut by_key: BTreeMap<&str, (usize, BTreeSet<Setting>)> = BTreeMap::new();
    for r in records {
        let values = r.recipe.values()?;
        for key in r.marks.with(mark) {
            let value = values.get(key).cloned().unwrap_or_default();
            let (runs, settings) = by_key.entry(key).or_default();
            *runs += 1;
            settings.insert(Setting { value, replaced: r.marks.replaced(key).cloned() });
        }
    }
    let row = |(key, (runs, settings)): (&str, (usize, BTreeSet<Setting>))| {
        let all: Vec<String> = settings.iter().map(Setting::to_string).collect();
        let in_runs = (runs != records.len()).then_some(runs);
        MarkedValues { key: key.to_owned(), values: all.join(" / "), in_runs }
    };
    Ok(by_key.into_iter().map(row).collect())
}

/// Where runs come from, in the order of the text that is made of it.
#[derive(Serialize, PartialEq, Eq, PartialOrd, Ord)]
struct Origin {
    version: String,
    commit: String,
    libtorch: String,
    device: String,
    threads: String,
    one_thread: bool,
    /// The first digits of the images' SHA-256.
    images: String,
    /// No image was left out.
    whole: bool,
    skipped_training: usize,
    skipped_test: usize,
    command: String,
}

impl Origin {
    fn of(record: &RunRecord) -> Self {
        let p = &record.provenance;
        let [skipped_training, skipped_test] = p.skipped_pictures;
        Self {
            version: p.version.clone(),
            commit: p.commit.clone(),
            libtorch: p.libtorch.clone(),
            device: p.device.clone(),
            threads: p.torch_threads.to_string(),
            one_thread: p.torch_threads == 1,
            images: p.data_sha256.get(..12).unwrap_or(&p.data_sha256).to_owned(),
            whole: skipped_training + skipped_test == 0,
            skipped_training,
            skipped_test,
            command: p.command.get(1..).unwrap_or_default().join(" "),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{
        template::tests::assert_every_branch,
        training::{
            ablation::{AblationContext, NotRun},
            accuracy::{AccuracyCaption, SeedsAt, SeedsOf},
            curves::CurvesCaption,
            diagnostics::ReliabilityCaption,
            easy::{EasyCaption, MethodShare, Setup},
            features::SimilarityCaption,
            plots::ClassesCaption,
            section::{FeaturesContext, NamedClass, TsneCaption, Unchosen},
        },
    };

    fn table() -> String {
        "| a |\n| --- |\n| 1 |\n".into()
    }

    fn features() -> FeaturesContext {
        let share = || MethodShare { method: "rescom".into(), percent: "1.5".into() };
        let setup = || Setup {
            temperature: "0.2".into(),
            anchors: "50".into(),
            positives: "10".into(),
            negatives: "90".into(),
        };
        FeaturesContext {
            mixed: true,
            similarity_table: table(),
            similarity: Some(SimilarityCaption { hidden: "2".into(), published: true }),
            easy: Some(EasyCaption {
                setups: vec![setup(), setup()],
                pushed: vec![share(), share()],
                shown: "0.05".into(),
                others: true,
                hardest_tenth: vec![share(), share()],
            }),
            tsne: Some(TsneCaption { rows: 200, seeds: "0".into(), perplexity: "30".into() }),
        }
    }

    /// A section in which everything is there.
    fn one_section() -> SectionContext {
        let class = || NamedClass { name: "coat".into(), images: 500 };
        let numbers = || {
            let one = || SeedsOf { seeds: 1, methods: Some("ce, rescom".into()) };
            SeedsAt { factor: "100".into(), numbers: vec![one(), one()] }
        };
        let factor =
            || NotRun { factor: "100".into(), number: 1, not_run: Some("`rescom-no-loss`".into()) };
        SectionContext {
            data_set: "Fashion-MNIST-LT",
            class_order: "natural".into(),
            stem: "fashion-mnist-natural-".into(),
            smallest_factor: "10".into(),
            largest_factor: "100".into(),
            order_decides: true,
            classes_named: vec![class(), class()],
            settings_table: Some(table()),
            unlike_keys: vec!["optim.epochs".into(), "optim.lr".into()],
            accuracy_table: table(),
            unchosen: Some(Unchosen { earlier_images: Some("50".into()) }),
            accuracy: AccuracyCaption {
                several_factors: true,
                several_seeds: true,
                shifted: true,
                published: true,
                unlike_seeds: vec![numbers(), numbers()],
            },
            published_table: Some(table()),
            groups_table: table(),
            paired_table: Some(table()),
            ablation: Some(AblationContext {
                table: table(),
                factors: vec![factor(), factor()],
                few_shot: true,
                several_seeds: true,
            }),
            classes: ClassesCaption { several_groups: true, several_seeds: true, window: Some(10) },
            confusion: true,
            reliability: Some(ReliabilityCaption { several_seeds: true }),
            curves: CurvesCaption {
                bands: true,
                crowd: Some(5),
                part_images: Some("50".into()),
                all_images: "2000".into(),
            },
            features: Some(features()),
            time_table: table(),
        }
    }

    #[test]
    fn every_branch_of_the_text_is_rendered() {
        let marked = || MarkedValues {
            key: "optim.epochs".into(),
            values: "8 (released: 400)".into(),
            in_runs: Some(1),
        };
        let origin = || Origin {
            version: "0".into(),
            commit: "none".into(),
            libtorch: "none".into(),
            device: "cpu".into(),
            threads: "1".into(),
            one_thread: true,
            images: "0123456789ab".into(),
            whole: true,
            skipped_training: 2,
            skipped_test: 1,
            command: "fashion-mnist".into(),
        };
        let context = TrainingContext {
            data_sets: "Fashion-MNIST-LT".into(),
            generated: true,
            unverified: true,
            runs: 3,
            backbones: "resnet32 (64)".into(),
            epochs: "8".into(),
            batch_sizes: "64".into(),
            seeds: Seeds { only_one: true, number: 3, list: "0, 1, 2".into(), fewest: Some(1) },
            sections: vec![one_section()],
            changed: vec![marked(), marked()],
            assumed: vec![marked(), marked()],
            origins: vec![origin(), origin()],
            seconds: "30".into(),
            skipped: true,
        };
        assert_every_branch("training.md.j2", &context);
    }
}
