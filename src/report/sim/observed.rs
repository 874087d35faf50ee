//! All files of measurements on real features, and what their text is made of.

use crate::{
    Result,
    report::{
        Axis, HeatMap, HeatPanel, Lines, Mark, Panel, Series, Table, colors, significant,
        sim::{
            files::{ReportFile, json_bytes, push_figure},
            observed_data as data,
        },
        template::render,
    },
    sim::Observed,
};
use serde::Serialize;
use serde_json::Value;

/// Up to so many classes the gradient mass between them is drawn.
const MOST_CLASSES_DRAWN: usize = 200;

/// The published means of the positive similarity (ImageNet-LT, head/medium/tail).
const PUBLISHED: [(&str, [f64; 3]); 3] = [
    ("ResCom", [0.73, 0.68, 0.63]),
    ("SupCon+BS", [0.77, 0.68, 0.60]),
    ("MoCo+BS", [0.75, 0.64, 0.56]),
];

/// All files of `rescom-sim from-features`; `runtime` (seconds) appears in report.md only.
///
/// # Errors
/// If a figure cannot be drawn or the text cannot be written.
pub fn observed_files(
    observed: &Observed,
    source: &Value,
    train_counts: &[u64],
    command: &str,
    runtime: f64,
) -> Result<Vec<ReportFile>> {
    let mut files = vec![];
    push_figure(&mut files, "positive-similarity", &density_figure(observed))?;
    push_figure(&mut files, "gradients-by-rank", &rank_figure(observed))?;
    let mass_figure = train_counts.len() <= MOST_CLASSES_DRAWN;
    if mass_figure {
        push_figure(&mut files, "gradient-mass", &mass_map(observed))?;
    }
    for (name, table) in [
        ("classes.csv", data::class_table(observed, train_counts)),
        ("shot-groups.csv", data::shot_table(observed)),
        ("densities.csv", data::density_table(observed)),
        ("easy-pairs.csv", data::rank_table(observed)),
        ("carried.csv", data::carried_table(observed)),
        ("mining.csv", data::mining_table(observed)),
    ] {
        files.push((name.into(), table.csv().into_bytes()));
    }
    files.push(("results.json".into(), json_bytes(&data::observed_json(observed, source))));
    let context = ObservedContext::new(observed, source, mass_figure, command, runtime);
    let text = render("from-features.md.j2", &context)?;
    files.push(("report.md".into(), text.into_bytes()));
    Ok(files)
}

fn density_figure(observed: &Observed) -> Lines {
    let colors = [colors::BLUE, colors::ORANGE, colors::VERMILION];
    let mut series = vec![];
    let mut verticals = vec![];
    for (d, color) in observed.densities.iter().zip(colors).filter(|(d, _)| d.similarity.count > 0)
    {
        let name = format!("{}-shot, mean {}", d.group.name(), significant(d.similarity.mean, 3));
        series.push(Series::new(name, d.points.clone(), color, Mark::Line));
        verticals.push((d.similarity.mean, String::new()));
    }
    let values: Vec<f64> = series.iter().flat_map(|s| s.points.iter().map(|p| p.1)).collect();
    let mut panel = Panel::new(
        "Similarity of positive pairs",
        Axis::linear("cosine of two rows of one class", -1.0, 1.0),
        Axis::fit("density", values, false),
        series,
    );
    panel.verticals = verticals;
    Lines { panel_size: (460, 320), ..Lines::row(vec![panel]) }
}

fn rank_figure(observed: &Observed) -> Lines {
    let series = |values: &[f64], color| {
        let n = values.len() as f64;
        let at = |(r, v): (usize, &f64)| (100.0 * (r as f64 + 0.5) / n, *v);
        vec![Series::new("", values.iter().enumerate().map(at).collect(), color, Mark::LineDots)]
    };
    let (positive, negative) = (&observed.easy.positive.logits, &observed.easy.negative.logits);
    let panels = vec![
        Panel::new(
            "Positives",
            Axis::linear("positives, easiest first (%)", 0.0, 100.0),
            Axis::fit("mean |∂L/∂ℓ| × |P|", positive.iter().copied(), false),
            series(positive, colors::BLUE),
        ),
        Panel::new(
            "Negatives",
            Axis::linear("negatives, hardest first (%)", 0.0, 100.0),
            Axis::fit("mean |∂L/∂ℓ| × |N|", negative.iter().copied(), true),
            series(negative, colors::VERMILION),
        ),
    ];
    Lines::row(panels)
}

fn mass_map(observed: &Observed) -> HeatMap {
    let total = &observed.positive + &observed.negative;
    let n = total.nrows();
    let names =
        (0..n).map(|c| if n <= 20 || c % (n / 10) == 0 { c.to_string() } else { String::new() });
    HeatMap {
        panels: vec![HeatPanel {
            title: "Gradient mass between classes".into(),
            values: total.rows().into_iter().map(|r| r.to_vec()).collect(),
            names: names.collect(),
            marked: None,
        }],
        row_label: "class of the anchor".into(),
        column_label: "class of the key".into(),
        value_label: "sum of |∂L/∂s|".into(),
        decimals: None,
        log: true,
        range: None,
    }
}

/// What the template of the report asks for.
#[derive(Serialize)]
struct ObservedContext<'a> {
    command: &'a str,
    /// In seconds.
    runtime: String,
    /// What was read, as JSON.
    source: String,
    loss: String,
    without_positives: usize,
    similarity_table: String,
    published_table: String,
    mass_figure: bool,
    /// Bins of classes of similar size; None where every class is by itself.
    bins: Option<usize>,
    shot_table: String,
    /// None of them without negatives.
    carried: Vec<Carried>,
    mining_table: String,
}

/// What a share of the negatives, the hardest, carries of their gradient; both in percent.
#[derive(Serialize)]
struct Carried {
    hardest: String,
    share: String,
}

impl<'a> ObservedContext<'a> {
    fn new(
        observed: &Observed,
        source: &Value,
        mass_figure: bool,
        command: &'a str,
        runtime: f64,
    ) -> Self {
        let carried = observed.easy.carried.iter().filter(|(_, share)| share.is_finite());
        let carried = carried.map(|(hardest, share)| Carried {
            hardest: format!("{:.0}", 100.0 * hardest),
            share: format!("{:.1}", 100.0 * share),
        });
        let groups = &observed.groups;
        Self {
            command,
            runtime: format!("{runtime:.1}"),
            source: format!("{source:#}"),
            loss: significant(observed.loss, 6),
            without_positives: observed.without_positives,
            similarity_table: similarity_table(observed).markdown(),
            published_table: published_table().markdown(),
            mass_figure,
            bins: (!groups.single_classes()).then(|| groups.len()),
            shot_table: data::shot_table(observed).markdown(),
            carried: carried.collect(),
            mining_table: data::mining_table(observed).markdown(),
        }
    }
}

fn similarity_table(observed: &Observed) -> Table {
    let mut table = Table::new(["group", "mean cosine", "ordered pairs"]);
    for d in &observed.densities {
        let s = &d.similarity;
        table.push([d.group.name().into(), significant(s.mean, 4), s.count.to_string()]);
    }
    table
}

fn published_table() -> Table {
    let mut table = Table::new(["published (ImageNet-LT)", "many", "medium", "few"]);
    for (name, means) in PUBLISHED {
        table.push([vec![name.to_string()], means.map(|m| m.to_string()).to_vec()].concat());
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        contrast::Temperature, report::template::tests::assert_every_branch, sim::observe,
    };
    use serde_json::json;

    #[test]
    fn every_branch_of_the_text_is_rendered() {
        let features = ndarray::Array2::from_shape_fn((6, 2), |(i, j)| (i + 2 * j + i * j) as f64);
        let t = Temperature::new(0.2).unwrap();
        let observed = observe(features, &[0, 0, 1, 1, 2, 2], &[9, 4, 2], t, &[(1, 2)]).unwrap();
        let source = json!({ "file": "f", "rows": 6 });
        let context = ObservedContext::new(&observed, &source, true, "rescom-sim", 1.0);
        let mut context = serde_json::to_value(context).unwrap();
        context["bins"] = 30.into();
        assert_every_branch("from-features.md.j2", &context);
    }
}
