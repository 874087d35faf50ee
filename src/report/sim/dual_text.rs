//! Text of the dual-imbalance report, with its Markdown tables.

use crate::{
    contrast::LossForm,
    report::{
        Table, aligned, significant,
        sim::{
            DualResults, SweepLine, ablation, easy,
            findings::{exponent, findings},
            measured, remedy,
        },
    },
    sim::{
        Cell, KeySource, Statistic, SweepAxis, SweepRow, heuristic_exponent, heuristic_ratio,
        limit_exponents,
    },
};

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
    let frequency = crate::report::sim::dual_json::group_pair_frequency(results);
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

/// What the interval of a slope is, and what it is not.
const STRAIGHT: &str = "\nSlope of the straight line through all points of the sweep with its 95 % interval, which is the statistical \
    one: it carries the sampling errors of the ratios and not the bend of the curve. The slopes of its two ends show \
    how far the curve is from a power law: behind the semicolon, over the lowest decade → over the highest decade of the imbalance \
    factor. Points \
    where a ratio is undefined (a mass of zero) cannot enter; where there are any, their number is given.\n\n";

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

/// report.md.
pub(crate) fn report(results: &DualResults, runtime: f64) -> String {
    let p = results.setup.params();
    let counts = &p.counts;
    let mut out = format!(
        "# The dual class imbalance of supervised contrastive learning, measured\n\n\
         `{}` (seed {}, {runtime:.1} s)\n\n{}\n",
        results.command,
        results.seed,
        include_str!("question.md"),
    );
    out += &format!(
        "## Set-up\n\nProfile {}: {} classes, {} images, largest {} and smallest {} (imbalance factor {}). \
         B = {} images with two views; the other 2B−1 rows are keys of every anchor, and a queue adds {} keys (FIFO) or {} per \
         class (class-balanced). D = {}, T = {}, {} noise with concentration κ = {}{}; effective-number weights at b = {}; mining \
         keeps Q_p = {} and Q_n = {} of the queue. Loss form \"{}\". {} independent batches; intervals are 95 %, delta method on the \
         logarithm over batches (batch means).\n\n{}\n",
        results.profile,
        counts.classes(),
        counts.total(),
        counts.max(),
        counts.min(),
        significant(counts.imbalance_factor(), 4),
        p.batch,
        results.setup.queue_keys(KeySource::Fifo),
        p.keys_per_class,
        p.dim,
        p.temperature,
        p.noise.name(),
        p.concentration,
        p.tail_concentration.map_or(String::new(), |k| format!(" (smallest class {k})")),
        p.beta,
        p.miner.num_pos,
        p.miner.num_neg,
        results.form.name(),
        p.batches,
        include_str!("definitions.md"),
    );
    for note in &results.notes {
        out += &format!("Note: {note}.\n\n");
    }
    out += "## The published picture: pair frequencies\n\n![Pair frequency](pair-frequency.png)\n\n\
         **Figure.** p_c p_c′ / p_1². The staircase separates pairs that are rarer than the rarest class is in plain \
         classification (below 1/imbalance).\n\n";
    out += "## Measured gradient mass\n\n![Gradient mass](gradient-mass.png)\n\n\
         **Figure.** Expected Σ|∂L/∂s| between anchors (rows) and keys (columns), each panel relative to its own largest cell. The \
         diagonal is the positive part.\n\n![Ratios](ratios.png)\n\n\
         **Figure.** Head-to-tail ratios by what is class-balanced: nothing, the loss, the queue, or both. Filled: measured, with 95 % \
         intervals (often smaller than the dot). Open: pair-frequency heuristic.\n\n";
    out += &ratio_markdown(results, "setting", &LEADING);
    out += "\n\"Theory\" is the published heuristic: mass proportional to the number of pairs.\n\n";
    if results.form == LossForm::Out {
        out += &ratio_markdown(results, "head-to-tail ratio of the gradient's length", &NORMS);
        out += "\nThe length of the whole gradient with respect to an anchor's feature instead of the sum over its pairs: pulls in \
             opposite directions cancel. Per class, with intervals, in norms.csv.\n\n";
    }
    // The share of the only group is all of it.
    if ablation(results).iter().any(|c| c.by_shot.len() > 1) {
        out += &shot_markdown(results);
        out += "\nShares of the batch's gradient mass (all pairs of the group's anchors) by shot group: many above 100 training \
             images, few below 20.\n\n";
    }
    for (axis, rows) in &results.sweeps {
        out += &format!("## Sweep: {}\n\n![Sweep](sweep-{}.png)\n\n", axis.name(), axis.name());
        out += "**Figure.** Head-to-tail ratios without mining, with 95 % intervals. Dashed: the pair-frequency heuristic, each \
             distinct line once";
        out += if *axis == SweepAxis::Imbalance {
            ", marked with its exponent"
        } else {
            ", marked with its ratio"
        };
        out += ". The number of pairs does not depend on the weights of the loss. All cells and statistics are in the CSV.\n\n";
        if *axis == SweepAxis::Imbalance {
            out += &slope_markdown(results, rows);
            out += STRAIGHT;
        }
    }
    out += &findings(results);
    if results.stages.len() > 1 {
        out += include_str!("derivation.md");
        out += "\n![Exponents](exponents.png)\n\n\
             **Figure.** Log-log slope of head-to-tail ratios against the imbalance factor, plain loss and FIFO queue, by training \
             stage (steps are not to scale). Crosses: the mean-field prediction, which knows the numbers of keys and the \
             distribution of similarities, and nothing of the measured gradients. Dashed: the exponent of pair frequencies.\n\n\
             In the tables κ → ∞ is taken at fixed T and T → 0 at fixed κ; n/a where no power holds. Slopes are those of straight \
             lines over factors of 2 to 200 with their statistical intervals.\n\n### FIFO queue\n\n";
        out += &exponent_markdown(results, KeySource::Fifo);
        out += "\n### Class-balanced queue\n\n";
        out += &exponent_markdown(results, KeySource::ClassBalanced);
        out += "\n";
    }
    if !results.easy.is_empty() {
        out += "## Vanishing gradients of easy pairs\n\n";
        out += &easy::section(&results.easy, &results.easy_by_temperature);
    }
    out + include_str!("limits.md")
}
