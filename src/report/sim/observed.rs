//! Figures and text of measurements on real features.

use crate::{
    Result,
    report::{
        Axis, HeatMap, HeatPanel, Lines, Mark, Panel, Series, Table, colors, significant,
        sim::{ReportFile, json_bytes, observed_data as data, push_figure},
    },
    sim::Observed,
};
use serde_json::Value;

/// The published means of the positive similarity (ImageNet-LT, head/medium/tail).
const PUBLISHED: [(&str, [f64; 3]); 3] = [
    ("ResCom", [0.73, 0.68, 0.63]),
    ("SupCon+BS", [0.77, 0.68, 0.60]),
    ("MoCo+BS", [0.75, 0.64, 0.56]),
];

/// All files of `rescom-sim from-features`; `runtime` (seconds) appears in report.md only.
///
/// # Errors
/// If a figure cannot be drawn.
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
    if train_counts.len() <= 200 {
        push_figure(&mut files, "gradient-mass", &mass_figure(observed))?;
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
    let text = report(observed, source, train_counts, command, runtime);
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

fn mass_figure(observed: &Observed) -> HeatMap {
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

fn report(
    observed: &Observed,
    source: &Value,
    train_counts: &[u64],
    command: &str,
    runtime: f64,
) -> String {
    let mut similarities = Table::new(["group", "mean cosine", "ordered pairs"]);
    for d in &observed.densities {
        let s = &d.similarity;
        similarities.push([d.group.name().into(), significant(s.mean, 4), s.count.to_string()]);
    }
    let mut published = Table::new(["published (ImageNet-LT)", "many", "medium", "few"]);
    for (name, means) in PUBLISHED {
        let cells = means.map(|m| m.to_string());
        published.push([vec![name.to_string()], cells.to_vec()].concat());
    }
    let carried: Vec<_> = observed
        .easy
        .carried
        .iter()
        .filter(|(_, v)| v.is_finite())
        .map(|(k, v)| format!("{:.0} % carry {:.1} %", 100.0 * k, 100.0 * v))
        .collect();
    let carried = if carried.is_empty() {
        "There are no negatives.".to_string()
    } else {
        format!("Of the negatives the hardest {} of the negative gradient.", carried.join(", "))
    };
    let groups = if observed.groups.single_classes() {
        String::new()
    } else {
        let n = observed.groups.len();
        format!(
            " Between classes it is kept by {n} bins of classes of similar size (`groups` in results.json)."
        )
    };
    let mass =
        if train_counts.len() <= 200 { "![Gradient mass](gradient-mass.png)\n\n" } else { "" };
    format!(
        "# Gradients on real features\n\n`{command}`, {runtime:.1} s\n\n```json\n{source:#}\n```\n\n\
         Loss {} nats over all anchors; {} anchors have no positive (they contribute zero and count).\n\n\
         ## Similarity of positive pairs\n\n![Densities](positive-similarity.png)\n\n{}\n\
         Dashed lines are the means. For comparison only (other data, other networks):\n\n{}\n\
         ## Gradient mass\n\n{mass}Sums of |∂L/∂s| over pairs of rows, L the mean over all anchors; per class in `classes.csv`.{groups}\n\n{}\n\
         ## Easy pairs\n\n![By rank](gradients-by-rank.png)\n\n{carried} Curves, also with respect to features: \
         `easy-pairs.csv`.\n\nWhat mining with Q_p and Q_n keeps (of the gradient before mining), what it costs in pairs, and the \
         size of the gradient once the kept pairs form the softmax alone:\n\n{}",
        significant(observed.loss, 6),
        observed.without_positives,
        similarities.markdown(),
        published.markdown(),
        data::shot_table(observed).markdown(),
        data::mining_table(observed).markdown(),
    )
}
