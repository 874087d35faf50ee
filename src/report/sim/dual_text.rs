//! What the text of the dual-imbalance report is made of: its numbers and Markdown tables.

use crate::{
    Result,
    contrast::LossForm,
    report::{
        Table, aligned, significant,
        sim::{
            dual_json::group_pair_frequency,
            easy::EasySection,
            findings::{Findings, findings},
            results::{DualResults, ablation},
            sweep_line::SweepLine,
            words::{exponent, measured, remedy},
        },
        template::render,
    },
    sim::{
        Cell, KeySource, Statistic, SweepAxis, SweepRow, heuristic_exponent, heuristic_ratio,
        limit_exponents,
    },
};
use serde::Serialize;

const LEADING: [(Statistic, &str); 3] = [
    (Statistic::BatchLevel, "batch level"),
    (Statistic::SiameseLevel, "Siamese level"),
    (Statistic::SameClass, "same class"),
];

const NORMS: [(Statistic, &str); 2] =
    [(Statistic::GradientNorm, "‖∂L/∂z‖"), (Statistic::TangentNorm, "tangent ‖∂L/∂z‖")];

/// What a terminal shows.
pub fn dual_summary(results: &DualResults) -> String {
    let counts = &results.setup.params().counts;
    let frequency = group_pair_frequency(results);
    let row: Vec<_> = frequency[0].iter().take(10).map(|v| format!("{v:.2}")).collect();
    let mut out = format!(
        "{} classes, {} images, imbalance factor {}\npair frequency, first row: {}{}\n\n",
        counts.classes(),
        counts.total(),
        significant(counts.imbalance_factor(), 4),
        row.join(" "),
        if frequency.len() > 10 { " ..." } else { "" },
    );
    out += "head-to-tail ratio of gradient mass, 95 % interval (pair-frequency heuristic)\n";
    let header = ["", LEADING[0].1, LEADING[1].1, LEADING[2].1].map(String::from);
    let rows = ablation(results).into_iter().map(|cell| {
        let mining = if cell.mined { " + mining" } else { "" };
        let value = |s: Statistic| {
            let theory = heuristic_ratio(&results.setup, s, cell.balanced_loss, cell.source);
            let theory = theory.map_or(String::new(), |t| format!(" ({})", significant(t, 3)));
            format!("{}{theory}", measured(cell.ratio(s)))
        };
        let [a, b, c] = LEADING.map(|(s, _)| value(s));
        [format!("{}{mining}", remedy(cell.balanced_loss, cell.source)), a, b, c]
    });
    out + &aligned(&std::iter::once(header).chain(rows).collect::<Vec<_>>())
}

/// One row per cell of the ablation: what was measured of each statistic, and its theory.
fn ablation_markdown(
    results: &DualResults,
    title: &str,
    statistics: &[(Statistic, &str)],
    values: impl Fn(&Cell, Statistic) -> (String, Option<String>),
) -> String {
    let columns = statistics.iter().flat_map(|(_, name)| [*name, "theory"]);
    let mut table = Table::new(std::iter::once(title).chain(columns));
    for cell in ablation(results) {
        let measured = statistics.iter().flat_map(|(s, _)| {
            let (measured, theory) = values(cell, *s);
            [measured, theory.unwrap_or("n/a".into())]
        });
        table.push(std::iter::once(setting_name(cell)).chain(measured));
    }
    table.markdown()
}

fn ratio_markdown(results: &DualResults, title: &str, statistics: &[(Statistic, &str)]) -> String {
    ablation_markdown(results, title, statistics, |cell, s| {
        let theory = heuristic_ratio(&results.setup, s, cell.balanced_loss, cell.source);
        (measured(cell.ratio(s)), theory.map(|t| significant(t, 3)))
    })
}

fn setting_name(cell: &Cell) -> String {
    let mining = if cell.mined { ", mining" } else { "" };
    format!("{}{mining}", remedy(cell.balanced_loss, cell.source))
}

fn shot_markdown(results: &DualResults) -> String {
    let cells = ablation(results);
    let mut header = vec!["share of the gradient (%)".to_string()];
    let groups: Vec<_> = cells.first().map(|c| c.by_shot.clone()).unwrap_or_default();
    header.extend(groups.iter().map(|g| {
        format!(
            "{} ({:.0} % of images, {:.0} % of classes)",
            g.group.name(),
            100.0 * g.images,
            100.0 * g.classes
        )
    }));
    let mut table = Table::new(header);
    for cell in cells {
        let shares = cell.by_shot.iter().map(|g| measured(g.share.scaled(100.0)));
        table.push(std::iter::once(setting_name(cell)).chain(shares));
    }
    table.markdown()
}

fn slope_markdown(results: &DualResults, rows: &[SweepRow]) -> String {
    let pairs = (Statistic::SameClassPairs, "same-class pairs (count)");
    let statistics = [LEADING[0], LEADING[1], LEADING[2], pairs];
    ablation_markdown(results, "exponent of the imbalance", &statistics, |cell, s| {
        // Numbers of pairs do not depend on the form of the loss and are kept for one form.
        let form = if s.only_for_out() { LossForm::Out } else { cell.form };
        let line = SweepLine { form, ..SweepLine::of(cell, s) };
        let theory = heuristic_exponent(s, cell.balanced_loss, cell.source);
        (slope_text(line, rows), theory.map(|t| t.to_string()))
    })
}

/// A slope with its interval, its ends, and what it leaves out.
fn slope_text(line: SweepLine, rows: &[SweepRow]) -> String {
    let ends = line.end_slopes(rows).map_or(String::new(), |[low, high]| {
        format!("; {:.2} → {:.2}", low.mean, high.mean).replace('-', "−")
    });
    let slope = line.slope(rows);
    let dropped = match line.undefined(rows) {
        (0, _) => String::new(),
        _ if !slope.mean.is_finite() => String::new(),
        (without, all) => format!(" ({without} of {all} points undefined)"),
    };
    format!("{}{ends}{dropped}", exponent(slope))
}

/// Which exponent holds for which form and quantity: the two limits, and what is measured.
fn exponent_markdown(results: &DualResults, source: KeySource) -> String {
    let mut header =
        vec!["quantity".into(), "form".into(), "limits (untrained; κ → ∞; T → 0)".to_string()];
    for (kappa, _) in &results.stages {
        header.push(format!("κ = {kappa}"));
        header.push("mean field".into());
    }
    let mut table = Table::new(header);
    for (statistic, name) in [
        (Statistic::SameClass, "same class, absolute"),
        (Statistic::SameClassNet, "same class, net"),
        (Statistic::PerPositivePair, "per positive pair"),
        (Statistic::NegativeByAnchor, "negatives by anchor"),
        (Statistic::NegativeByKey, "negatives by key"),
        (Statistic::SiameseLevel, "different classes, anchor × key"),
        (Statistic::BatchLevel, "batch level"),
        (Statistic::GradientNorm, "batch level, ‖∂L/∂z‖"),
        (Statistic::TangentNorm, "batch level, tangent ‖∂L/∂z‖"),
        (Statistic::SameClassPairs, "number of same-class pairs"),
    ] {
        for form in
            LossForm::ALL.into_iter().filter(|f| !statistic.only_for_out() || *f == LossForm::Out)
        {
            let limits = limit_exponents(form, statistic, false, source);
            let limits = limits.map_or("n/a".into(), |l| {
                let cold = l.cold.map_or("n/a".into(), |c| c.to_string());
                format!("{}; {}; {cold}", l.untrained, l.identical).replace('-', "−")
            });
            let mut row = vec![name.to_string(), form.name().into(), limits];
            let line = SweepLine::plain(form, source, statistic);
            for (_, rows) in &results.stages {
                row.push(exponent(line.slope(rows)));
                let field = line.mean_field_slope(rows);
                row.push(if field.is_finite() {
                    format!("{field:.2}").replace('-', "−")
                } else {
                    "n/a".into()
                });
            }
            table.push(row);
        }
    }
    table.markdown()
}

/// What the template of the report asks for.
#[derive(Serialize)]
struct DualContext<'a> {
    command: &'a str,
    seed: u64,
    /// In seconds.
    runtime: String,
    profile: &'a str,
    classes: usize,
    images: u64,
    largest: u64,
    smallest: u64,
    imbalance_factor: String,
    batch: usize,
    fifo_keys: usize,
    keys_per_class: usize,
    dim: usize,
    temperature: String,
    noise: &'static str,
    concentration: String,
    tail_concentration: Option<String>,
    beta: String,
    mined_positives: usize,
    mined_negatives: usize,
    form: &'static str,
    batches: usize,
    notes: &'a [String],
    ratio_table: String,
    /// Measured for one form of the loss only.
    norm_table: Option<String>,
    /// None where one group has all classes: its share is all of it.
    shot_table: Option<String>,
    sweeps: Vec<SweepContext>,
    findings: Option<Findings>,
    /// None where fewer than two stages were simulated.
    exponents: Option<ExponentTables>,
    easy: Option<EasySection>,
}

/// A sweep; `slope_table` if it is one of the imbalance.
#[derive(Serialize)]
struct SweepContext {
    axis: &'static str,
    slope_table: Option<String>,
}

/// Exponents by training stage.
#[derive(Serialize)]
struct ExponentTables {
    fifo_table: String,
    balanced_table: String,
}

impl<'a> DualContext<'a> {
    fn new(results: &'a DualResults, runtime: f64) -> Self {
        let p = results.setup.params();
        let counts = &p.counts;
        let title = "head-to-tail ratio of the gradient's length";
        let norms = || ratio_markdown(results, title, &NORMS);
        let shots = ablation(results).iter().any(|c| c.by_shot.len() > 1);
        let sweep = |(axis, rows): &(SweepAxis, Vec<SweepRow>)| SweepContext {
            axis: axis.name(),
            slope_table: (*axis == SweepAxis::Imbalance).then(|| slope_markdown(results, rows)),
        };
        let exponents = || ExponentTables {
            fifo_table: exponent_markdown(results, KeySource::Fifo),
            balanced_table: exponent_markdown(results, KeySource::ClassBalanced),
        };
        Self {
            command: &results.command,
            seed: results.seed,
            runtime: format!("{runtime:.1}"),
            profile: &results.profile,
            classes: counts.classes(),
            images: counts.total(),
            largest: counts.max(),
            smallest: counts.min(),
            imbalance_factor: significant(counts.imbalance_factor(), 4),
            batch: p.batch,
            fifo_keys: results.setup.queue_keys(KeySource::Fifo),
            keys_per_class: p.keys_per_class,
            dim: p.dim,
            temperature: p.temperature.to_string(),
            noise: p.noise.name(),
            concentration: p.concentration.to_string(),
            tail_concentration: p.tail_concentration.map(|k| k.to_string()),
            beta: p.beta.to_string(),
            mined_positives: p.miner.num_pos,
            mined_negatives: p.miner.num_neg,
            form: results.form.name(),
            batches: p.batches,
            notes: &results.notes,
            ratio_table: ratio_markdown(results, "setting", &LEADING),
            norm_table: (results.form == LossForm::Out).then(norms),
            shot_table: shots.then(|| shot_markdown(results)),
            sweeps: results.sweeps.iter().map(sweep).collect(),
            findings: findings(results),
            exponents: (results.stages.len() > 1).then(exponents),
            easy: EasySection::new(&results.easy, &results.easy_by_temperature),
        }
    }
}

/// report.md.
///
/// # Errors
/// If the template asks for what is not there.
pub(crate) fn report(results: &DualResults, runtime: f64) -> Result<String> {
    render("dual-imbalance.md.j2", &DualContext::new(results, runtime))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        contrast::HardPairMiner,
        longtail::ClassCounts,
        report::template::tests::assert_every_branch,
        rng::Streams,
        sim::{
            EasyPairs, EasyParams, Noise, Setup, SetupParams, SweepPoint, dual_imbalance,
            easy_pairs, sweep,
        },
    };
    use serde_json::json;

    const QUEUES: [KeySource; 2] = [KeySource::Fifo, KeySource::ClassBalanced];

    fn setup(counts: &[u64]) -> Setup {
        let params = SetupParams {
            counts: ClassCounts::new(counts.to_vec()).unwrap(),
            batch: 8,
            keys_per_class: 4,
            fifo_keys: None,
            dim: 8,
            noise: Noise::VonMisesFisher,
            concentration: 16.0,
            tail_concentration: Some(8.0),
            temperature: 0.2,
            beta: 0.999,
            miner: HardPairMiner { num_pos: 2, num_neg: 4 },
            batches: 8,
        };
        Setup::new(params).unwrap()
    }

    fn easy(temperature: f64) -> EasyPairs {
        let params = EasyParams {
            positives: 10,
            negatives: 30,
            classes: 3,
            dim: 8,
            noise: Noise::VonMisesFisher,
            anchors: 8,
        };
        easy_pairs(&params, 16.0, temperature, &[(5, 10)], &Streams::new(2)).unwrap()
    }

    /// A study that has every part of the report: three shot groups, two sweeps, two stages.
    fn results() -> DualResults {
        let streams = Streams::new(1);
        let point = |value: f64, counts: &[u64]| SweepPoint { value, setup: setup(counts) };
        let points = [point(2.0, &[80, 60, 40]), point(10.0, &[300, 90, 30])];
        let rows = |first| sweep(&points, &QUEUES, true, first, &streams, &|_| ());
        let setup = setup(&[200, 50, 10]);
        DualResults {
            profile: "counts".into(),
            study: dual_imbalance(&setup, &QUEUES, true, 0, &streams, &|_| ()),
            setup,
            form: LossForm::Out,
            sweeps: vec![(SweepAxis::Imbalance, rows(10)), (SweepAxis::Temperature, rows(20))],
            stages: vec![(0.0, rows(30)), (16.0, rows(40))],
            easy: vec![easy(0.1)],
            easy_by_temperature: [0.02, 0.03, 10.0].map(easy).into(),
            notes: vec!["the largest class is larger".into()],
            seed: 1,
            command: "rescom-sim dual-imbalance".into(),
        }
    }

    #[test]
    fn every_branch_of_the_text_is_rendered() {
        let results = results();
        let mut context = serde_json::to_value(DualContext::new(&results, 1.0)).unwrap();
        let siamese = &mut context["findings"]["different_classes"];
        for side in ["below", "above"] {
            siamese[side] = json!(["loss", "queue"]);
        }
        assert_every_branch("dual-imbalance.md.j2", &context);
    }

    #[test]
    fn what_was_not_studied_has_no_section() {
        let (sweeps, stages, easy) = (vec![], vec![], vec![]);
        let form = LossForm::Sum;
        let text = report(&DualResults { form, sweeps, stages, easy, ..results() }, 1.0).unwrap();
        let titles: Vec<_> = text.lines().filter(|l| l.starts_with("## ")).collect();
        let expected = [
            "## Question",
            "## Set-up",
            "## The published picture: pair frequencies",
            "## Measured gradient mass",
            "## What this does not show",
        ];
        assert_eq!(titles, expected);
        assert!(!text.contains("norms.csv"));
    }
}
