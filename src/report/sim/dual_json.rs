//! The JSON of `rescom-sim dual-imbalance` (documented in docs/formats.md).

use crate::{
    report::sim::{
        easy_data::easy_json,
        results::{DualResults, ablation},
        sweep_line::SweepLine,
        words::loss_name,
    },
    sim::{Cell, Estimate, Statistic, SweepAxis, SweepRow, heuristic_exponent, heuristic_ratio},
};
use serde_json::{Value, json};

/// The whole result. Ratios that are not defined (fewer than three classes at the Siamese level,
/// no mass at all) are null.
pub fn dual_json(results: &DualResults) -> Value {
    let setup = &results.setup;
    let p = setup.params();
    let cells = ablation(results);
    let groups = &results.study.groups;
    json!({
        "profile": {
            "name": results.profile,
            "classes": setup.classes(),
            "imbalance_factor": p.counts.imbalance_factor(),
            "counts": p.counts.as_slice(),
        },
        "groups": {
            "single_classes": groups.single_classes(),
            "names": groups.names(),
            "classes": groups.members().iter().map(Vec::len).collect::<Vec<_>>(),
        },
        "parameters": {
            "form": results.form.name(),
            "batch": p.batch,
            "keys_per_class": p.keys_per_class,
            "fifo_keys": setup.queue_keys(crate::sim::KeySource::Fifo),
            "dim": p.dim,
            "noise": p.noise.name(),
            "concentration": p.concentration,
            "tail_concentration": p.tail_concentration,
            "temperature": p.temperature,
            "effective_number_beta": p.beta,
            "mined_positives": p.miner.num_pos,
            "mined_negatives": p.miner.num_neg,
            "batches": p.batches,
        },
        "interval": "95 %, delta method on the logarithm over independent batches (batch means)",
        "theory": "published heuristic: mass proportional to the number of pairs of the two classes",
        "pair_frequency": group_pair_frequency(results),
        "settings": cells.iter().map(|c| setting(results, c)).collect::<Vec<_>>(),
        "gradient_mass": cells.iter().map(|c| c.mass.total()).collect::<Vec<_>>(),
        "slopes": slopes(results),
        "sweeps": sweeps(results),
        "stages": stages(results),
        "easy_pairs": easy_json(&results.easy, &results.easy_by_temperature),
        "notes": results.notes,
        "seed": results.seed,
        "command": results.command,
    })
}

/// p_c p_c' / p_1^2 between classes, or the mean of it between class-size bins.
pub(crate) fn group_pair_frequency(results: &DualResults) -> Vec<Vec<f64>> {
    let counts = &results.setup.params().counts;
    let mean = |members: &Vec<usize>| {
        let sum: u64 = members.iter().map(|&c| counts.as_slice()[c]).sum();
        sum as f64 / (members.len() as f64 * counts.max() as f64)
    };
    let relative: Vec<f64> = results.study.groups.members().iter().map(mean).collect();
    relative.iter().map(|a| relative.iter().map(|b| a * b).collect()).collect()
}

fn setting(results: &DualResults, cell: &Cell) -> Value {
    let with_theory = |statistic: Statistic| {
        let Estimate { mean, low, high } = cell.ratio(statistic);
        let theory = heuristic_ratio(&results.setup, statistic, cell.balanced_loss, cell.source);
        json!({ "mean": mean, "low": low, "high": high, "theory": theory })
    };
    let all: serde_json::Map<String, Value> = cell
        .ratios
        .iter()
        .map(|(s, e)| {
            (s.name().to_string(), json!({ "mean": e.mean, "low": e.low, "high": e.high }))
        })
        .collect();
    let shots: Vec<_> = cell
        .by_shot
        .iter()
        .map(|g| json!({ "group": g.group.name(), "share": g.share, "images": g.images, "classes": g.classes }))
        .collect();
    json!({
        "loss": loss_name(cell.balanced_loss),
        "queue": cell.source.name(),
        "mining": cell.mined,
        "batch_level_ratio": with_theory(Statistic::BatchLevel),
        "siamese_level_ratio": with_theory(Statistic::SiameseLevel),
        "same_class_ratio": with_theory(Statistic::SameClass),
        "ratios": all,
        "shot_groups": shots,
        "gradient_mass": cell.mass.total(),
        "gradient_mass_positive": cell.mass.positive,
        "gradient_mass_signed_same_class": cell.mass.signed,
        "gradient_mass_negative": cell.mass.negative,
        "feature_gradient_norm": cell.norms.as_ref()
            .map(|n| json!({ "raw": n.raw, "tangent": n.tangent })),
    })
}

/// Log-log slopes against the imbalance factor, if it was swept.
fn slopes(results: &DualResults) -> Vec<Value> {
    let Some((_, rows)) = results.sweeps.iter().find(|(a, _)| *a == SweepAxis::Imbalance) else {
        return vec![];
    };
    let one = |cell: &&Cell| {
        let of = |s: Statistic| {
            let slope = SweepLine::of(cell, s).slope(rows);
            let theory = heuristic_exponent(s, cell.balanced_loss, cell.source);
            json!({ "mean": slope.mean, "low": slope.low, "high": slope.high, "theory": theory })
        };
        json!({
            "loss": loss_name(cell.balanced_loss),
            "queue": cell.source.name(),
            "mining": cell.mined,
            "batch_level": of(Statistic::BatchLevel),
            "siamese_level": of(Statistic::SiameseLevel),
            "same_class": of(Statistic::SameClass),
            "same_class_net": of(Statistic::SameClassNet),
            "same_class_pairs": of(Statistic::SameClassPairs),
            "gradient_norm": of(Statistic::GradientNorm),
            "gradient_norm_tangent": of(Statistic::TangentNorm),
        })
    };
    ablation(results).iter().map(one).collect()
}

/// Every row of every sweep, as in sweep-NAME.csv.
fn sweeps(results: &DualResults) -> Vec<Value> {
    let one = |(axis, rows): &(SweepAxis, Vec<SweepRow>)| json!({ "axis": axis.name(), "rows": rows.iter().map(sweep_row).collect::<Vec<_>>() });
    results.sweeps.iter().map(one).collect()
}

/// Every row of the imbalance sweeps at the training stages, as in stages.csv.
fn stages(results: &DualResults) -> Vec<Value> {
    let one = |(kappa, rows): &(f64, Vec<SweepRow>)| json!({ "concentration": kappa, "rows": rows.iter().map(sweep_row).collect::<Vec<_>>() });
    results.stages.iter().map(one).collect()
}

fn sweep_row(r: &SweepRow) -> Value {
    json!({
        "value": r.value,
        "form": r.form.name(),
        "loss": loss_name(r.balanced_loss),
        "queue": r.source.name(),
        "mining": r.mined,
        "statistic": r.statistic.name(),
        "mean": r.ratio.mean,
        "low": r.ratio.low,
        "high": r.ratio.high,
        "theory": r.heuristic,
        "mean_field": r.mean_field,
    })
}
