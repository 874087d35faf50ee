//! JSON and tables of the easy-pair study.

use crate::{
    report::{Table, significant, sim::files::ReportFile},
    sim::{EasyPairs, Mined},
};
use serde_json::{Value, json};

/// Largest number of points of a curve in JSON and CSV.
const POINTS: usize = 200;

/// The results as JSON: curves thinned to 200 ranks.
pub fn easy_json(stages: &[EasyPairs], by_temperature: &[EasyPairs]) -> Value {
    json!({
        "stages": stages.iter().map(one).collect::<Vec<_>>(),
        "temperatures": by_temperature.iter().map(one).collect::<Vec<_>>(),
    })
}

fn one(e: &EasyPairs) -> Value {
    let mined = |m: &Mined| {
        json!({
            "positives": m.kept.0, "negatives": m.kept.1, "pairs_kept": m.pairs,
            "positive_gradient_kept": m.positive, "negative_gradient_kept": m.negative,
            "gradient_after_mining": m.renormalised,
        })
    };
    let thin = |v: &[f64]| ranks(v.len()).map(|r| v[r]).collect::<Vec<_>>();
    let numbers = |n: usize| ranks(n).map(|r| r + 1).collect::<Vec<_>>();
    let curves = [("positive", &e.positive), ("negative", &e.negative)].map(|(side, c)| {
        json!({
            "side": side,
            "rank": numbers(c.logits.len()),
            "similarity": thin(&c.similarity),
            "gradient_logits": thin(&c.logits),
            "gradient_features": thin(&c.features),
        })
    });
    json!({
        "concentration": e.concentration,
        "temperature": e.temperature,
        "valley_rank": e.valley + 1,
        "positives_pushed_away": e.pushed_away,
        "negative_mass": e.escape,
        "negatives_for_90_percent": e.carry_90_99[0],
        "negatives_for_99_percent": e.carry_90_99[1],
        "carried": {
            "hardest_negatives": numbers(e.carried.len()),
            "gradient_share": thin(&e.carried),
        },
        "mining": e.mined.iter().map(mined).collect::<Vec<_>>(),
        "curves": curves,
    })
}

/// Places 0..n, thinned to [`POINTS`].
fn ranks(n: usize) -> impl Iterator<Item = usize> {
    (0..n).step_by(n.div_ceil(POINTS).max(1))
}

/// The tables of both reports with their file names; each says stage and temperature in every row.
pub(crate) fn tables(stages: &[EasyPairs], by_temperature: &[EasyPairs]) -> Vec<ReportFile> {
    let all: Vec<&EasyPairs> = stages.iter().chain(by_temperature).collect();
    [
        ("easy-pairs.csv", curve_table(stages)),
        ("easy-carried.csv", carried_table(stages, by_temperature)),
        ("easy-summary.csv", summary_table(stages, by_temperature)),
        ("easy-mining.csv", mining_table(stages, by_temperature)),
    ]
    .into_iter()
    .filter(|_| !all.is_empty())
    .map(|(name, table)| (name.to_string(), table.csv().into_bytes()))
    .collect()
}

/// Which run a row is of: "stage" where the concentration varies, "temperature" where that does.
fn runs<'a>(
    stages: &'a [EasyPairs],
    by_temperature: &'a [EasyPairs],
) -> impl Iterator<Item = ([String; 3], &'a EasyPairs)> {
    let named = |name: &'static str, e: &'a EasyPairs| {
        ([name.into(), e.concentration.to_string(), e.temperature.to_string()], e)
    };
    let stages = stages.iter().map(move |e| named("stage", e));
    stages.chain(by_temperature.iter().map(move |e| named("temperature", e)))
}

const RUN: [&str; 3] = ["varied", "concentration", "temperature"];

fn table(columns: &[&str]) -> Table {
    Table::new([&RUN, columns].concat())
}

/// One row per stage, side and rank.
fn curve_table(stages: &[EasyPairs]) -> Table {
    let mut table = Table::new([
        "concentration",
        "temperature",
        "side",
        "rank",
        "similarity",
        "gradient_logits",
        "gradient_features",
    ]);
    for e in stages {
        for (side, c) in [("positive", &e.positive), ("negative", &e.negative)] {
            for r in ranks(c.logits.len()) {
                table.push([
                    e.concentration.to_string(),
                    e.temperature.to_string(),
                    side.to_string(),
                    (r + 1).to_string(),
                    significant(c.similarity[r], 6),
                    significant(c.logits[r], 6),
                    significant(c.features[r], 6),
                ]);
            }
        }
    }
    table
}

/// One row per run and number of hardest negatives.
fn carried_table(stages: &[EasyPairs], by_temperature: &[EasyPairs]) -> Table {
    let mut table = table(&["hardest_negatives", "gradient_share"]);
    for (run, e) in runs(stages, by_temperature) {
        for r in ranks(e.carried.len()) {
            let row = [(r + 1).to_string(), significant(e.carried[r], 6)];
            table.push(run.iter().cloned().chain(row));
        }
    }
    table
}

/// One row per run and number with its interval.
fn summary_table(stages: &[EasyPairs], by_temperature: &[EasyPairs]) -> Table {
    let mut table = table(&["statistic", "mean", "low", "high"]);
    for (run, e) in runs(stages, by_temperature) {
        for (name, v) in [
            ("positives_pushed_away", e.pushed_away),
            ("negative_mass", e.escape),
            ("negatives_for_90_percent", e.carry_90_99[0]),
            ("negatives_for_99_percent", e.carry_90_99[1]),
        ] {
            let values = [v.mean, v.low, v.high].map(|v| significant(v, 6));
            table.push(run.iter().cloned().chain([name.to_string()]).chain(values));
        }
        // A rank of a mean curve, which has no interval.
        let valley =
            ["valley_rank".into(), (e.valley + 1).to_string(), String::new(), String::new()];
        table.push(run.iter().cloned().chain(valley));
    }
    table
}

/// One row per run, pair of Q_p and Q_n, and share that is kept.
fn mining_table(stages: &[EasyPairs], by_temperature: &[EasyPairs]) -> Table {
    let columns = ["positives", "negatives", "pairs_kept", "statistic", "mean", "low", "high"];
    let mut table = table(&columns);
    for (run, e) in runs(stages, by_temperature) {
        for m in &e.mined {
            let kept = [m.kept.0.to_string(), m.kept.1.to_string(), significant(m.pairs, 6)];
            for (name, v) in [
                ("positive_gradient_kept", m.positive),
                ("negative_gradient_kept", m.negative),
                ("gradient_after_mining", m.renormalised),
            ] {
                let values = [v.mean, v.low, v.high].map(|v| significant(v, 6));
                let row = kept.iter().cloned().chain([name.to_string()]).chain(values);
                table.push(run.iter().cloned().chain(row));
            }
        }
    }
    table
}
