//! The study of easy pairs.

use crate::arguments::{FeatureArgs, numbers, pair};
use crate::memory;
use crate::output::{self, CommonArgs};
use rescom::Result;
use rescom::report::aligned;
use rescom::report::sim::{easy_files, easy_json};
use rescom::rng::Streams;
use rescom::sim::{EasyPairs, EasyParams, easy_pairs};
use std::time::Instant;

/// Vanishing gradients of easy pairs: the mean gradient of one anchor over its sorted keys.
///
/// Example: rescom-sim easy-pairs --positives 100 --negatives 900 --temperature 0.1
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    easy: EasyArgs,
    #[command(flatten)]
    features: FeatureArgs,
    #[command(flatten)]
    common: CommonArgs,
}

/// What surrounds the anchor, and what is varied.
#[derive(clap::Args, Clone)]
pub(crate) struct EasyArgs {
    /// Positives of the anchor.
    #[arg(long, default_value_t = 100)]
    positives: usize,
    /// Negatives of the anchor, spread evenly over the other classes.
    #[arg(long, default_value_t = 900)]
    negatives: usize,
    /// Classes C.
    #[arg(long, default_value_t = 10)]
    classes: usize,
    /// Anchors averaged over.
    #[arg(long, default_value_t = 200)]
    anchors: usize,
    /// Concentrations (training stages), one curve each.
    #[arg(long, default_value = "0,64,128,256,512", allow_hyphen_values = true)]
    stages: String,
    /// Temperatures for the number of negatives that carry 90 and 99 % (at --concentration).
    #[arg(long, default_value = "0.05,0.07,0.1,0.2,0.5,1", allow_hyphen_values = true)]
    temperatures: String,
    /// Q_p,Q_n of mining; may be repeated.
    #[arg(long, default_values_t = ["10,100".to_string(), "10,300".into(), "50,300".into()])]
    mine: Vec<String>,
}

impl EasyArgs {
    /// The defaults, as the section of the dual-imbalance report uses them.
    pub(crate) fn section(features: &FeatureArgs) -> Self {
        let mut temperatures = vec![0.05, 0.07, 0.1, 0.2, 0.5, 1.0];
        if !temperatures.contains(&features.temperature) {
            temperatures.push(features.temperature);
            temperatures.sort_by(f64::total_cmp);
        }
        let list = |v: &[f64]| v.iter().map(f64::to_string).collect::<Vec<_>>().join(",");
        Self {
            positives: 100,
            negatives: 900,
            classes: 10,
            anchors: 200,
            stages: "0,64,128,256,512".into(),
            temperatures: list(&temperatures),
            mine: vec!["10,100".into(), "10,300".into(), "50,300".into()],
        }
    }

    /// Results by stage and by temperature.
    pub(crate) fn simulate(
        &self,
        features: &FeatureArgs,
        streams: &Streams,
    ) -> Result<(Vec<EasyPairs>, Vec<EasyPairs>)> {
        let params = EasyParams {
            positives: self.positives,
            negatives: self.negatives,
            classes: self.classes,
            dim: features.dim,
            noise: features.noise.get(),
            anchors: self.anchors,
        };
        let asked = format!(
            "--positives {}, --negatives {}, --anchors {}, --classes {}, --dim {}",
            self.positives, self.negatives, self.anchors, self.classes, features.dim
        );
        memory::enough_for(params.bytes(), &asked)?;
        let mining = self.mine.iter().map(|m| pair(m)).collect::<Result<Vec<_>>>()?;
        let at = |kappa: f64, t: f64| easy_pairs(&params, kappa, t, &mining, streams);
        let stages = numbers("--stages", &self.stages)?
            .into_iter()
            .map(|kappa| at(kappa, features.temperature))
            .collect::<Result<_>>()?;
        let temperatures = numbers("--temperatures", &self.temperatures)?
            .into_iter()
            .map(|t| at(features.concentration, t))
            .collect::<Result<_>>()?;
        Ok((stages, temperatures))
    }
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let started = Instant::now();
    let streams = Streams::new(args.common.seed);
    let (stages, temperatures) = args.easy.simulate(&args.features, &streams)?;
    let runtime = started.elapsed().as_secs_f64();
    let text = summary(&stages);
    args.common.deliver(
        "easy-pairs",
        || easy_files(&stages, &temperatures, &output::command_line(), runtime),
        || easy_json(&stages, &temperatures),
        &text,
    )
}

/// What a terminal shows: columns as wide as what stands in them.
fn summary(stages: &[EasyPairs]) -> String {
    let mut rows =
        vec![["stage", "pushed away", "negatives that carry 90 %", "99 %"].map(String::from)];
    rows.extend(stages.iter().map(|e| {
        let (positives, negatives) = (e.positive.logits.len(), e.carried.len());
        let [most, nearly_all] = e.carry_90_99;
        [
            format!("κ = {}", e.concentration),
            format!("{:.1} of {positives}", e.pushed_away.mean),
            format!("{:.0} of {negatives}", most.mean),
            format!("{:.0}", nearly_all.mean),
        ]
    }));
    aligned(&rows)
}
