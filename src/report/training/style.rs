//! How methods look: the same method has the same colour in every figure of every report.

use crate::{
    report::{Mark, Panel, Series, training::cells::Group},
    results::{Arm, Spread},
    run::{Method, MethodLabel, RescomModules},
};

/// Labels without a second stage: five methods besides ResCom, and its sixteen combinations.
const ONE_STAGE: usize = 21;

/// The number that decides on a method's colour, dots and dashes: ResCom follows the other methods
/// and comes before its ablations, those without one module first.
pub(crate) fn number_of(label: MethodLabel) -> usize {
    let plain = match label.method {
        Method::CrossEntropy => 0,
        Method::BalancedSoftmax => 1,
        Method::SupConBalancedSoftmax => 2,
        Method::MoCoBalancedSoftmax => 3,
        Method::Mislas => 9,
        // One of the three looks that are left, by its letters.
        Method::Other(name) => {
            let letters: usize = name.as_str().bytes().map(usize::from).sum();
            return 2 * ONE_STAGE + (letters + usize::from(label.stage2)) % 3;
        }
        Method::Rescom(modules) => {
            let mut all: Vec<RescomModules> = RescomModules::combinations().collect();
            all.sort_by_key(|m| m.off().len());
            let place = all.iter().position(|m| *m == modules).unwrap_or(0);
            // The nine colours go to the methods and to the single modules.
            if place < 5 { 4 + place } else { 5 + place }
        }
    };
    if label.stage2 { ONE_STAGE + plain } else { plain }
}

/// `series` with means and intervals of one standard deviation; without intervals for a single seed.
pub(crate) fn with_spread(series: Series, points: Vec<(f64, Spread)>) -> Series {
    let plain = Series { points: points.iter().map(|(x, s)| (*x, s.mean)).collect(), ..series };
    if points.iter().all(|(_, s)| s.sd.is_none()) {
        return plain;
    }
    let bar = |s: Spread| (s.mean - s.sd.unwrap_or(0.0), s.mean + s.sd.unwrap_or(0.0));
    plain.with_intervals(points.into_iter().map(|(_, s)| bar(s)).collect())
}

/// The series of an arm. Several settings of one method share its colour and differ in form.
pub(crate) fn styled(group: &Group, arm: &Arm, points: Vec<(f64, Spread)>, mark: Mark) -> Series {
    let number = number_of(arm.method);
    let arms = group.arms();
    let same = || arms.iter().filter(|a| a.method == arm.method);
    let variant = same().position(|a| a == arm).unwrap_or(0);
    let plain = Series::number(arm.to_string(), Vec::new(), number, mark);
    let plain = if variant > 0 { plain.variant(number, variant) } else { plain };
    with_spread(plain, points)
}

/// The legend lists methods in the order of the tables, also those that the first panel lacks.
pub(crate) fn legend_first(group: &Group, panels: &mut [Panel]) {
    let Some(first) = panels.first_mut() else { return };
    let drawn = std::mem::take(&mut first.series);
    let mark = drawn.first().map_or(Mark::Line, |s| s.mark);
    let entry = |arm: Arm| styled(group, &arm, Vec::new(), mark);
    first.series = group.arms().into_iter().map(entry).chain(drawn).collect();
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_method_has_a_look_of_its_own() {
        let combinations = RescomModules::combinations().skip(1).map(Method::Rescom);
        let methods: Vec<Method> = Method::BASE.into_iter().chain(combinations).collect();
        let labels = methods.iter().flat_map(|&method| {
            [false, true].map(|stage2| MethodLabel { method, stage2, foreign: false })
        });
        let looks = labels.map(|label| {
            let s = Series::number("", Vec::new(), number_of(label), Mark::LineDots);
            format!("{:?} {:?} {:?}", s.color, s.shape, s.dash)
        });
        assert_eq!(looks.collect::<BTreeSet<_>>().len(), 2 * ONE_STAGE);
        let single = |name: &str| number_of(name.parse().unwrap());
        assert_eq!((single("rescom"), single("rescom-no-siamese"), single("mislas")), (4, 8, 9));
    }
}
