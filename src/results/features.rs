use polars::prelude::*;

use super::columns::failed;
use crate::{Result, longtail::ShotGroup, run::FeatureSummary};

/// Rows of the table `features` under construction.
#[derive(Default)]
pub(super) struct Rows {
    run: Vec<String>,
    quantity: Vec<&'static str>,
    part: Vec<String>,
    index: Vec<Option<u64>>,
    value: Vec<f64>,
}

impl Rows {
    pub(super) fn push(
        &mut self,
        run: &str,
        quantity: &'static str,
        (part, index): (&str, Option<u64>),
        value: f64,
    ) {
        self.run.push(run.to_owned());
        self.quantity.push(quantity);
        self.part.push(part.to_owned());
        self.index.push(index);
        self.value.push(value);
    }

    /// `values` under the indices 1, 2 and so on.
    fn list(
        &mut self,
        run: &str,
        quantity: &'static str,
        part: &str,
        values: impl IntoIterator<Item = f64>,
    ) {
        for (index, value) in (1..).zip(values) {
            self.push(run, quantity, (part, Some(index)), value);
        }
    }

    /// Everything that `features.json` of a run says.
    pub(super) fn summary(&mut self, run: &str, summary: &FeatureSummary) {
        for (group, s) in summary.groups() {
            let part = ShotGroup::name(group);
            self.push(run, "similarity-pairs", (part, None), s.pairs as f64);
            self.push(run, "similarity-mean", (part, None), s.mean);
            self.list(run, "similarity-histogram", part, s.histogram.iter().map(|&n| n as f64));
        }
        let easy = &summary.easy;
        let sides = [
            ("positive", &easy.positive_similarity, &easy.positive_gradient),
            ("negative", &easy.negative_similarity, &easy.negative_gradient),
        ];
        for (side, similarity, gradient) in sides {
            self.list(run, "easy-similarity", side, similarity.iter().copied());
            self.list(run, "easy-gradient", side, gradient.iter().copied());
        }
        for (quantity, value) in [
            ("easy-temperature", easy.temperature),
            ("easy-anchors", easy.anchors as f64),
            ("measured-epoch", summary.epoch as f64),
            ("measured-images", summary.images as f64),
        ] {
            self.push(run, quantity, ("", None), value);
        }
    }

    pub(super) fn frame(self) -> Result<DataFrame> {
        df!(
            "run" => self.run,
            "quantity" => self.quantity,
            "part" => self.part,
            "index" => self.index,
            "value" => self.value,
        )
        .map_err(failed)
    }
}
