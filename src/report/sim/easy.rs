//! Figures and text of the easy-pair study.

use crate::{
    Result,
    report::{
        Table,
        sim::{
            ReportFile, easy_data,
            easy_figures::{carry_figure, curve_figure},
            json_bytes, measured, push_figure,
        },
    },
    sim::{EasyPairs, Estimate},
};

/// Markdown table of the stages.
pub(crate) fn stage_markdown(stages: &[EasyPairs]) -> String {
    let mut table = Table::new([
        "stage",
        "T",
        "positives pushed away",
        "valley at rank",
        "negative mass 1−S",
        "negatives for 90 %",
        "for 99 %",
    ]);
    for e in stages {
        // The normal interval of a count may reach below zero; the count cannot.
        let pushed = Estimate { low: e.pushed_away.low.max(0.0), ..e.pushed_away };
        table.push([
            format!("κ = {}", e.concentration),
            e.temperature.to_string(),
            measured(pushed),
            // Smallest at the easiest positive: the mean curve has no left arm.
            if e.valley == 0 { "none".into() } else { (e.valley + 1).to_string() },
            measured(e.escape),
            measured(e.carry_90_99[0]),
            measured(e.carry_90_99[1]),
        ]);
    }
    table.markdown()
}

/// Markdown table of what mining keeps and costs.
pub(crate) fn mining_markdown(stages: &[EasyPairs]) -> String {
    let mut table = Table::new([
        "stage",
        "Q_p / Q_n",
        "pairs kept",
        "of the positive gradient",
        "of the negative gradient",
        "gradient after mining / before",
    ]);
    for e in stages {
        for m in &e.mined {
            table.push([
                format!("κ = {}", e.concentration),
                format!("{} / {}", m.kept.0, m.kept.1),
                format!("{:.0} %", 100.0 * m.pairs),
                measured(m.positive),
                measured(m.negative),
                measured(m.renormalised),
            ]);
        }
    }
    table.markdown()
}

/// All files of `rescom-sim easy-pairs`; `runtime` (seconds) appears in report.md only.
///
/// # Errors
/// If a figure cannot be drawn.
pub fn easy_files(
    stages: &[EasyPairs],
    by_temperature: &[EasyPairs],
    command: &str,
    runtime: f64,
) -> Result<Vec<ReportFile>> {
    let mut files = vec![];
    push_figure(&mut files, "easy-pairs", &curve_figure(stages))?;
    push_figure(&mut files, "hard-negatives", &carry_figure(stages, by_temperature))?;
    files.extend(easy_data::tables(stages, by_temperature));
    let json = easy_data::easy_json(stages, by_temperature);
    files.push(("results.json".into(), json_bytes(&json)));
    let text = format!(
        "# Vanishing gradients of easy pairs\n\n`{command}`, {runtime:.1} s\n\n{}",
        section(stages, by_temperature)
    );
    files.push(("report.md".into(), text.into_bytes()));
    Ok(files)
}

/// The section of both reports.
pub(crate) fn section(stages: &[EasyPairs], by_temperature: &[EasyPairs]) -> String {
    let Some(first) = stages.first() else { return String::new() };
    let (p, n) = (first.positive.logits.len(), first.negative.logits.len());
    let mut text = format!(
        "One anchor with {p} positives and {n} negatives; keys sorted by similarity, means over anchors \
         (95 % intervals over anchors). π is the softmax over all keys; the gradient with respect to a logit ℓ = s/T is \
         π − 1/|P| for a positive and π for a negative.\n\n\
         ![Mean gradient over sorted keys](easy-pairs.png)\n\n\
         **Figure.** Positive gradients form a V: a positive whose π exceeds 1/|P| is pushed away, one at π = 1/|P| gets nothing, and \
         only the hard ones are pulled.{} With respect to features every gradient is multiplied by √(1−s²), which is small for easy \
         positives (s near 1), so the left arm of the V shrinks as well. The mean over anchors does not reach zero at the bottom of \
         the V, since every anchor has its zero at another rank.\n\n{}\n",
        shaded(stages),
        stage_markdown(stages)
    );
    text += "![Share carried by the hardest negatives](hard-negatives.png)\n\n\
             **Figure.** Share of the negative gradient that the hardest k negatives carry, by stage; \
             dotted: all negatives alike.";
    if by_temperature.len() > 1 {
        text += " Second panel: how many negatives carry 90 % and 99 % of it, by temperature, with 95 % intervals.";
    }
    text += "\n\n";
    text += &departure(stages, by_temperature);
    if by_temperature.len() > 1 {
        text += &format!("By temperature:\n\n{}\n", stage_markdown(by_temperature));
    }
    text += &format!(
        "What mining with Q_p and Q_n keeps (of the gradient before mining), what it costs in pairs, and the size of the \
         gradient once the kept pairs form the softmax alone:\n\n{}\n",
        mining_markdown(stages)
    );
    text
}

/// What the shade of the figure is, if it has one.
fn shaded(stages: &[EasyPairs]) -> String {
    let last = stages.last().filter(|e| e.valley > 0);
    last.map_or(String::new(), |e| {
        format!(
            " Shaded for the last stage alone (κ = {}), left of the bottom of its V at rank {}: the \"unfriendly\" side.",
            e.concentration,
            e.valley + 1
        )
    })
}

/// "a few hundred" of the 900 published negatives, as a share: up to four hundred.
const FEW: f64 = 4.0 / 9.0;

/// Whether the published claim, that a few hundred of 900 negatives carry everything, is what was
/// measured.
fn departure(stages: &[EasyPairs], by_temperature: &[EasyPairs]) -> String {
    let Some(first) = stages.first() else { return String::new() };
    let n = first.carried.len() as f64;
    let few = |e: &&EasyPairs| e.carry_90_99[0].mean <= FEW * n;
    let span = |i: usize| {
        let values = stages.iter().map(|e| e.carry_90_99[i].mean);
        let (low, high) = values.fold((f64::INFINITY, 0.0f64), |(l, h), v| (l.min(v), h.max(v)));
        if low.round() == high.round() {
            format!("{low:.0}")
        } else {
            format!("{low:.0} to {high:.0}")
        }
    };
    let (title, verdict) = match stages.iter().filter(few).count() {
        0 => ("Departure from the published picture.", "is not what is measured here"),
        k if k == stages.len() => {
            ("As in the published picture.", "is what is measured here for 90 %")
        }
        _ => ("In part as in the published picture.", "is measured in some of the stages here"),
    };
    let mut text = format!(
        "**{title}** The published curves (one network at epoch 200) are read as showing that a few hundred of 900 negatives carry \
         everything. That {verdict}: at T = {} the hardest {} of {n} negatives carry 90 % of the negative gradient, and {} carry \
         99 % (all alike, it would be {:.0} and {:.0}).",
        first.temperature,
        span(0),
        span(1),
        0.9 * n,
        0.99 * n,
    );
    let near: Vec<&EasyPairs> = by_temperature.iter().filter(few).collect();
    if let (true, Some(e)) = (by_temperature.len() > 1, by_temperature.first()) {
        let one = |e: &&EasyPairs| {
            let [ninety, most] = e.carry_90_99.map(|c| c.mean);
            format!("T = {} ({ninety:.0} for 90 %, {most:.0} for 99 %)", e.temperature)
        };
        let named: Vec<_> = near.iter().map(one).collect();
        text += &match named.len() {
            0 => {
                format!(" At κ = {} no temperature of those below comes near it.", e.concentration)
            }
            k if k == by_temperature.len() => {
                format!(" At κ = {} every temperature below comes near it.", e.concentration)
            }
            _ => format!(
                " Of the temperatures below, at κ = {}, only {} comes near it.",
                e.concentration,
                named.join(" and ")
            ),
        };
    }
    text += " The features of this model have no confusable classes: the negatives of an anchor all scatter around about the same distance \
             from it. In a network some classes lie close to the anchor's, and their keys can carry most of the gradient; the \
             published network may be such a one. `rescom-sim from-features` measures it on a network's own features.\n\n";
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Streams;
    use crate::sim::{EasyParams, Noise, easy_pairs};

    fn stage(kappa: f64, t: f64) -> EasyPairs {
        let params = EasyParams {
            positives: 20,
            negatives: 90,
            classes: 10,
            dim: 32,
            noise: Noise::VonMisesFisher,
            anchors: 16,
        };
        easy_pairs(&params, kappa, t, &[(5, 10)], &Streams::new(2)).unwrap()
    }

    #[test]
    fn a_curve_without_a_left_arm_has_no_valley_and_counts_are_not_negative() {
        let mut stages = [stage(0.0, 10.0), stage(200.0, 0.1)];
        stages[0].pushed_away = Estimate { mean: 0.01, low: -0.004, high: 0.024 };
        let table = stage_markdown(&stages);
        let lines: Vec<_> = table.lines().collect();
        assert!(lines[2].contains("| 0.0100 [0, 0.0240] | none |"), "{table}");
        assert!(stages[1].valley > 0 && !lines[3].contains("none"), "{table}");
        assert!(shaded(&stages).contains("κ = 200"));
        assert_eq!(shaded(&stages[..1]), "");
    }

    #[test]
    fn the_published_claim_is_compared_with_what_was_measured() {
        let (flat, sharp) = (stage(0.0, 10.0), stage(0.0, 0.02));
        let text =
            |stages: &[EasyPairs], temperatures: &[EasyPairs]| departure(stages, temperatures);
        let (a, b) = (flat.clone(), sharp.clone());
        let both = [sharp, flat];
        let one = text(std::slice::from_ref(&a), &both);
        assert!(
            one.contains("is not what is measured here") && one.contains("only T = 0.02 ("),
            "{one}"
        );
        let other = text(std::slice::from_ref(&b), &[a.clone(), a]);
        assert!(other.contains("is what is measured here for 90 %"), "{other}");
        assert!(other.contains("no temperature of those below"), "{other}");
        assert!(text(&both, &[]).contains("in some of the stages"));
    }
}
