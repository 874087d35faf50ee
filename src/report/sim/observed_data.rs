//! JSON and tables of measurements on real features.

use crate::{
    report::{Table, significant},
    sim::{ClassSimilarity, Observed, ShotMass},
};
use serde_json::{Map, Value, json};

/// The results as JSON; `source` describes the input (file, rows used, temperature).
pub fn observed_json(observed: &Observed, source: &Value) -> Value {
    let rows = |m: &ndarray::Array2<f64>| -> Vec<Vec<f64>> {
        m.rows().into_iter().map(|r| r.to_vec()).collect()
    };
    let per_group: Map<String, Value> = observed
        .densities
        .iter()
        .map(|d| (d.group.name().to_string(), similarity(&d.similarity)))
        .collect();
    let densities: Map<String, Value> = observed
        .densities
        .iter()
        .filter(|d| d.similarity.count > 0)
        .map(|d| {
            let (s, density): (Vec<f64>, Vec<f64>) = d.points.iter().copied().unzip();
            (d.group.name().to_string(), json!({ "similarity": s, "density": density }))
        })
        .collect();
    json!({
        "input": source,
        "loss": observed.loss,
        "anchors_without_positives": observed.without_positives,
        "groups": groups(observed),
        "gradient_mass": { "positive": rows(&observed.positive), "negative": rows(&observed.negative) },
        "gradient_mass_per_class": per_class_total(observed),
        "gradient_mass_per_class_parts": {
            "positive": observed.positive_per_class,
            "negative": observed.negative_per_class,
        },
        "feature_gradient_mass_per_class": observed.features_per_class,
        "feature_gradient_norm_per_class": {
            "raw": observed.norms_per_class,
            "tangent": observed.tangent_norms_per_class,
        },
        "shot_groups": observed.shots.iter().map(|s| shot(observed, s)).collect::<Vec<_>>(),
        "positive_similarity": {
            "per_class": observed.similarity.iter().map(similarity).collect::<Vec<_>>(),
            "per_group": per_group,
            "densities": densities,
        },
        "negative_gradient_carried": observed.easy.carried.iter()
            .map(|(k, v)| json!({ "hardest_share": k, "gradient_share": v })).collect::<Vec<_>>(),
        "easy_pairs": easy(observed),
    })
}

fn similarity(s: &ClassSimilarity) -> Value {
    json!({ "mean": s.mean, "count": s.count })
}

/// What the rows and columns of the matrices are: class numbers from 0, or ranges of class sizes.
fn groups(observed: &Observed) -> Value {
    let groups = &observed.groups;
    let names: Vec<String> = if groups.single_classes() {
        (0..groups.len()).map(|c| c.to_string()).collect()
    } else {
        groups.names().to_vec()
    };
    json!({
        "single_classes": groups.single_classes(),
        "names": names,
        "classes": groups.members().iter().map(Vec::len).collect::<Vec<_>>(),
    })
}

fn per_class_total(observed: &Observed) -> Vec<f64> {
    let parts = observed.positive_per_class.iter().zip(&observed.negative_per_class);
    parts.map(|(p, n)| p + n).collect()
}

/// Share of all gradient mass; null without any.
fn share(observed: &Observed, s: &ShotMass) -> f64 {
    (s.positive + s.negative) / per_class_total(observed).iter().sum::<f64>()
}

fn shot(observed: &Observed, s: &ShotMass) -> Value {
    json!({
        "group": s.group.name(),
        "classes": s.classes,
        "rows": s.rows,
        "gradient_mass": { "positive": s.positive, "negative": s.negative },
        "share": share(observed, s),
    })
}

fn easy(observed: &Observed) -> Value {
    let e = &observed.easy;
    let curves = [("positive", &e.positive), ("negative", &e.negative)].map(|(side, c)| {
        json!({
            "side": side,
            "relative_rank": relative_ranks(c.logits.len()),
            "gradient_logits": c.logits,
            "gradient_features": c.features,
        })
    });
    let mined = e.mined.iter().map(|m| {
        json!({
            "positives": m.asked.0, "negatives": m.asked.1, "pairs_kept": m.pairs,
            "positive_gradient_kept": m.positive, "negative_gradient_kept": m.negative,
            "gradient_after_mining": m.renormalised,
        })
    });
    json!({
        "anchors": e.anchors,
        "positives": e.positives,
        "negatives": e.negatives,
        "valley_relative_rank": e.valley,
        "positives_pushed_away": e.pushed_away,
        "negatives_for_90_percent": e.carry_90_99[0],
        "negatives_for_99_percent": e.carry_90_99[1],
        "mining": mined.collect::<Vec<_>>(),
        "curves": curves,
    })
}

/// The middle of each step, 0 to 1.
fn relative_ranks(n: usize) -> Vec<f64> {
    (0..n).map(|r| (r as f64 + 0.5) / n as f64).collect()
}

/// As tables show it.
fn number(value: f64) -> String {
    significant(value, 6)
}

/// One row per class.
pub(crate) fn class_table(observed: &Observed, train_counts: &[u64]) -> Table {
    let mut table = Table::new([
        "class",
        "train_count",
        "positive_similarity",
        "pairs",
        "mass_positive",
        "mass_negative",
        "mass_features",
        "norm_features",
        "norm_features_tangent",
    ]);
    for (c, n) in train_counts.iter().enumerate() {
        table.push([
            c.to_string(),
            n.to_string(),
            number(observed.similarity[c].mean),
            observed.similarity[c].count.to_string(),
            number(observed.positive_per_class[c]),
            number(observed.negative_per_class[c]),
            number(observed.features_per_class[c]),
            number(observed.norms_per_class[c]),
            number(observed.tangent_norms_per_class[c]),
        ]);
    }
    table
}

/// One row per shot group: the gradient mass of its anchors.
pub(crate) fn shot_table(observed: &Observed) -> Table {
    let mut table =
        Table::new(["group", "classes", "rows", "mass_positive", "mass_negative", "share"]);
    for s in &observed.shots {
        table.push([
            s.group.name().into(),
            s.classes.to_string(),
            s.rows.to_string(),
            number(s.positive),
            number(s.negative),
            number(share(observed, s)),
        ]);
    }
    table
}

/// One row per shot group with pairs and bin of the cosine.
pub(crate) fn density_table(observed: &Observed) -> Table {
    let mut table = Table::new(["group", "similarity", "density"]);
    for d in observed.densities.iter().filter(|d| d.similarity.count > 0) {
        for (s, density) in &d.points {
            table.push([d.group.name().into(), number(*s), number(*density)]);
        }
    }
    table
}

/// One row per side and step of relative rank.
pub(crate) fn rank_table(observed: &Observed) -> Table {
    let mut table = Table::new(["side", "relative_rank", "gradient_logits", "gradient_features"]);
    let e = &observed.easy;
    for (side, c) in [("positive", &e.positive), ("negative", &e.negative)] {
        let ranks = relative_ranks(c.logits.len());
        for ((rank, logits), features) in ranks.iter().zip(&c.logits).zip(&c.features) {
            table.push([side.into(), number(*rank), number(*logits), number(*features)]);
        }
    }
    table
}

/// What the hardest negatives carry, and how few carry 90 and 99 %.
pub(crate) fn carried_table(observed: &Observed) -> Table {
    let mut table = Table::new(["hardest_share", "hardest_negatives", "gradient_share"]);
    let e = &observed.easy;
    for (k, v) in &e.carried {
        table.push([number(*k), number(k * e.negatives), number(*v)]);
    }
    for (k, v) in e.carry_90_99.iter().zip([0.9, 0.99]) {
        table.push([number(k / e.negatives), number(*k), number(v)]);
    }
    table
}

/// One row per pair of Q_p and Q_n.
pub(crate) fn mining_table(observed: &Observed) -> Table {
    let mut table = Table::new([
        "positives",
        "negatives",
        "pairs_kept",
        "positive_gradient_kept",
        "negative_gradient_kept",
        "gradient_after_mining",
    ]);
    for m in &observed.easy.mined {
        let values = [m.pairs, m.positive, m.negative, m.renormalised].map(number);
        table.push([m.asked.0.to_string(), m.asked.1.to_string()].into_iter().chain(values));
    }
    table
}
