//! What each module of ResCom is worth: the combinations that were run.

use serde::Serialize;

use crate::{
    Result,
    report::{
        Align, Axis, Lines, Mark, Panel, Rendered, Series, Table, colors, render,
        training::{
            cells::{Cell, Group},
            plots::{fitted, in_percent},
            style::with_spread,
            tables::{factor_text, percent},
        },
    },
    results::Spread,
    run::{Method, RescomModules},
};

/// ResCom and its ablations at one factor, the full method first.
fn variants(group: &Group, factor: f64) -> Vec<(RescomModules, &Cell)> {
    let found = |m: RescomModules| {
        group.at(factor).filter(move |c| c.arm.modules() == Some(m)).map(move |c| (m, c))
    };
    let mut all: Vec<_> = RescomModules::combinations().flat_map(found).collect();
    all.sort_by_key(|(modules, _)| modules.off().len());
    all
}

/// The factors at which there is something to compare: at least two variants.
fn factors(group: &Group) -> Vec<f64> {
    group.factors().into_iter().filter(|f| variants(group, *f).len() >= 2).collect()
}

/// One row per combination that was run; none if no factor has two of them.
fn ablation_table(group: &Group) -> Option<Table> {
    let factors = factors(group);
    if factors.is_empty() {
        return None;
    }
    let mut table = Table::new([
        "imb", "loss", "queue", "mining", "siamese", "seeds", "top-1", "many", "medium", "few",
    ]);
    for factor in factors {
        for (m, cell) in variants(group, factor) {
            let check = |on: bool| if on { "✓" } else { "" }.to_owned();
            let variant = &cell.arm.variant;
            let imb = factor_text(factor);
            table.push([
                if variant.is_empty() { imb } else { format!("{imb} [{variant}]") },
                check(m.class_balanced_loss),
                check(m.class_balanced_queue),
                check(m.hard_pair_mining),
                check(m.siamese_balanced_softmax),
                cell.seeds.to_string(),
                percent(cell.last("top1")),
                percent(cell.last("many")),
                percent(cell.last("medium")),
                percent(cell.last("few")),
            ]);
        }
    }
    Some(table)
}

/// What the text speaks of beside the table, and the caption of [`ablation_bars`].
#[derive(Serialize)]
pub(crate) struct AblationContext {
    pub(crate) table: String,
    pub(crate) factors: Vec<NotRun>,
    pub(crate) few_shot: bool,
    pub(crate) several_seeds: bool,
}

/// The combinations that were not run at a factor of the table: how many, and which if any.
#[derive(Serialize)]
pub(crate) struct NotRun {
    pub(crate) factor: String,
    pub(crate) number: usize,
    pub(crate) not_run: Option<String>,
}

/// The table and what holds for its runs; none if no factor has two combinations.
pub(crate) fn context(group: &Group) -> Option<AblationContext> {
    let cells = || group.cells.iter().filter(|c| c.arm.modules().is_some());
    Some(AblationContext {
        table: ablation_table(group)?.markdown(),
        factors: factors(group).into_iter().map(|f| not_run(group, f)).collect(),
        few_shot: cells().any(|c| c.last("few").is_some()),
        several_seeds: cells().any(|c| c.seeds > 1),
    })
}

fn not_run(group: &Group, factor: f64) -> NotRun {
    let found = variants(group, factor);
    let not_run: Vec<String> = RescomModules::combinations()
        .filter(|m| found.iter().all(|(there, _)| there != m))
        .map(|m| format!("`{}`", Method::Rescom(m)))
        .collect();
    NotRun {
        factor: factor_text(factor),
        number: not_run.len(),
        not_run: (!not_run.is_empty()).then(|| not_run.join(", ")),
    }
}

/// Accuracy over all classes and over the few-shot ones, one pair of bars per variant; one panel
/// per factor that [`context`] speaks of.
pub(crate) fn ablation_bars(group: &Group) -> Result<Rendered> {
    let panels: Vec<Panel> =
        factors(group).into_iter().map(|f| panel(&variants(group, f), f)).collect();
    let most = panels.iter().map(|p| p.x.ticks().len()).max().unwrap_or(0) as u32;
    let panel_size = (500.max(120 + 44 * most), 360);
    render(&Lines { columns: 1, panel_size, ..Lines::row(panels) })
}

fn panel(variants: &[(RescomModules, &Cell)], factor: f64) -> Panel {
    let number = |cell: &Cell, few: bool| -> Option<Spread> {
        let spread = if few { cell.last("few") } else { cell.last("top1") };
        spread.map(in_percent)
    };
    let mut series = Vec::new();
    let mut texts = Vec::new();
    for (few, name, color) in
        [(false, "all classes", colors::BLUE), (true, "few-shot classes", colors::ORANGE)]
    {
        let shift = if few { 0.2 } else { -0.2 };
        let spreads: Vec<(f64, Spread)> = variants
            .iter()
            .enumerate()
            .filter_map(|(i, (_, cell))| Some((i as f64 + shift, number(cell, few)?)))
            .collect();
        if spreads.is_empty() {
            continue;
        }
        for (x, s) in &spreads {
            let top = s.mean + s.sd.unwrap_or(0.0) + 2.6;
            texts.push(((*x, top), format!("{:.1}", s.mean), Align::Middle));
        }
        series.push(with_spread(
            Series::new(name, Vec::new(), color, Mark::Bars { width: 36 }),
            spreads,
        ));
    }
    let names = variants.iter().map(|(m, cell)| {
        let off = m.off();
        let mut name = match off.len() {
            0 => "rescom".to_owned(),
            _ => off.iter().map(|o| format!("−{o}")).collect::<Vec<_>>().join(" "),
        };
        if !cell.arm.variant.is_empty() {
            name.push_str(&format!(" [{}]", cell.arm.variant));
        }
        name
    });
    let names: Vec<String> = names.collect();
    let long = names.len() > 6 || names.iter().any(|n| n.chars().count() > 12);
    let x = Axis::categories("ResCom, and what is left without a module (−)", names);
    let y = fitted("top-1 accuracy (%)", &series, Some(0.0));
    let title =
        format!("ResCom with and without its modules, imbalance factor {}", factor_text(factor));
    let mut panel = Panel::new(title, if long { x.upright() } else { x }, y, series);
    panel.texts = texts;
    panel
}
