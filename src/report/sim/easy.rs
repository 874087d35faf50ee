//! All files of the easy-pair study, and what its text is made of.

use crate::{
    Result,
    report::{
        Table,
        sim::{
            easy_data,
            easy_figures::{carry_figure, curve_figure},
            files::{ReportFile, json_bytes, push_figure},
            words::measured,
        },
        template::render,
    },
    sim::{EasyPairs, Estimate},
};
use serde::Serialize;

/// Markdown table of the stages.
fn stage_markdown(stages: &[EasyPairs]) -> String {
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
fn mining_markdown(stages: &[EasyPairs]) -> String {
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
/// If a figure cannot be drawn or the text cannot be written.
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
    let (runtime, easy) = (format!("{runtime:.1}"), EasySection::new(stages, by_temperature));
    let text = render("easy-pairs.md.j2", &EasyContext { command, runtime, easy })?;
    files.push(("report.md".into(), text.into_bytes()));
    Ok(files)
}

/// What the template of the report asks for.
#[derive(Serialize)]
struct EasyContext<'a> {
    command: &'a str,
    /// In seconds.
    runtime: String,
    easy: Option<EasySection>,
}

/// What the section of both reports asks for.
#[derive(Serialize)]
pub(crate) struct EasySection {
    positives: usize,
    negatives: usize,
    shaded: Option<Shaded>,
    stage_table: String,
    claim: Claim,
    /// None where fewer than two temperatures were simulated.
    temperatures: Option<Temperatures>,
    mining_table: String,
}

/// What the shade of the figure is.
#[derive(Serialize)]
struct Shaded {
    concentration: String,
    rank: usize,
}

/// The published claim, that a few hundred of 900 negatives carry everything, and what was measured.
#[derive(Serialize)]
struct Claim {
    seen_nowhere: bool,
    seen_everywhere: bool,
    temperature: String,
    negatives: usize,
    /// How many carry 90 %, from the stage with the fewest to that with the most.
    for_90: String,
    for_99: String,
    alike_90: String,
    alike_99: String,
}

/// The same by temperature: those at which the measurement comes near the claim.
#[derive(Serialize)]
struct Temperatures {
    concentration: String,
    near_nowhere: bool,
    near_everywhere: bool,
    near: Vec<NearTemperature>,
    table: String,
}

#[derive(Serialize)]
struct NearTemperature {
    temperature: String,
    for_90: String,
    for_99: String,
}

impl EasySection {
    /// None without a stage.
    pub(crate) fn new(stages: &[EasyPairs], by_temperature: &[EasyPairs]) -> Option<Self> {
        let first = stages.first()?;
        Some(Self {
            positives: first.positive.logits.len(),
            negatives: first.negative.logits.len(),
            shaded: shaded(stages),
            stage_table: stage_markdown(stages),
            claim: Claim::new(stages, first),
            temperatures: Temperatures::new(by_temperature),
            mining_table: mining_markdown(stages),
        })
    }
}

/// What the shade of the figure is, if it has one.
fn shaded(stages: &[EasyPairs]) -> Option<Shaded> {
    let last = stages.last().filter(|e| e.valley > 0)?;
    Some(Shaded { concentration: last.concentration.to_string(), rank: last.valley + 1 })
}

/// "a few hundred" of the 900 published negatives, as a share: up to four hundred.
const FEW: f64 = 4.0 / 9.0;

/// Whether so few negatives carry 90 % of the gradient.
fn by_few(e: &EasyPairs) -> bool {
    e.carry_90_99[0].mean <= FEW * e.carried.len() as f64
}

impl Claim {
    fn new(stages: &[EasyPairs], first: &EasyPairs) -> Self {
        let n = first.carried.len() as f64;
        let seen = stages.iter().filter(|e| by_few(e)).count();
        let span = |i: usize| {
            let values = stages.iter().map(|e| e.carry_90_99[i].mean);
            let (low, high) =
                values.fold((f64::INFINITY, 0.0f64), |(l, h), v| (l.min(v), h.max(v)));
            if low.round() == high.round() {
                format!("{low:.0}")
            } else {
                format!("{low:.0} to {high:.0}")
            }
        };
        Self {
            seen_nowhere: seen == 0,
            seen_everywhere: seen == stages.len(),
            temperature: first.temperature.to_string(),
            negatives: first.carried.len(),
            for_90: span(0),
            for_99: span(1),
            alike_90: format!("{:.0}", 0.9 * n),
            alike_99: format!("{:.0}", 0.99 * n),
        }
    }
}

impl Temperatures {
    fn new(by_temperature: &[EasyPairs]) -> Option<Self> {
        let first = by_temperature.first().filter(|_| by_temperature.len() > 1)?;
        let one = |e: &EasyPairs| {
            let [for_90, for_99] = e.carry_90_99.map(|c| format!("{:.0}", c.mean));
            NearTemperature { temperature: e.temperature.to_string(), for_90, for_99 }
        };
        let near: Vec<_> = by_temperature.iter().filter(|e| by_few(e)).map(one).collect();
        Some(Self {
            concentration: first.concentration.to_string(),
            near_nowhere: near.is_empty(),
            near_everywhere: near.len() == by_temperature.len(),
            near,
            table: stage_markdown(by_temperature),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        report::template::tests::assert_every_branch,
        rng::Streams,
        sim::{EasyParams, Noise, easy_pairs},
    };

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
        assert_eq!(shaded(&stages).unwrap().concentration, "200");
        assert!(shaded(&stages[..1]).is_none());
    }

    #[test]
    fn the_published_claim_is_compared_with_what_was_measured() {
        let text = |stages: &[EasyPairs], by_temperature: &[EasyPairs]| {
            let easy = EasySection::new(stages, by_temperature);
            let context = EasyContext { command: "x", runtime: "1.0".into(), easy };
            render("easy-pairs.md.j2", &context).unwrap()
        };
        let (a, b) = (stage(0.0, 10.0), stage(0.0, 0.02));
        let both = [b.clone(), a.clone()];
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

    #[test]
    fn every_branch_of_the_text_is_rendered() {
        let (stages, temperatures) = ([stage(0.0, 10.0), stage(200.0, 0.1)], [0.02, 0.03, 10.0]);
        let easy = EasySection::new(&stages, &temperatures.map(|t| stage(0.0, t)));
        let context = EasyContext { command: "rescom-sim", runtime: "1.0".into(), easy };
        assert_every_branch("easy-pairs.md.j2", &context);
    }
}
