//! What AutoAugment really draws: each of the 25 sub-policies as often as any other, each step with its
//! probability, each sign as often as the other, all independently.

use std::collections::BTreeMap;

use rescom::augment::auto::{self, Step};
use rescom::rng::Streams;

const DRAWS: usize = 400_000;

/// What one step can become, with its probability, in the words of `Debug`.
fn outcomes(&(probability, operation, index): &Step) -> Vec<(String, f64)> {
    let with = |sign| format!("{:?}", Some(operation.with(operation.magnitude(index), sign)));
    let mut all = vec![("None".to_owned(), 1.0 - probability)];
    if operation.is_signed() {
        // At magnitude 0 both signs are the same operation.
        all.extend([1.0, -1.0].map(|sign| (with(sign), probability / 2.0)));
    } else {
        all.push((with(1.0), probability));
    }
    all.retain(|(_, probability)| *probability > 0.0);
    all
}

/// Probabilities of the outcomes of each sub-policy once it is chosen.
fn expected() -> Vec<BTreeMap<String, f64>> {
    let both = |[first, second]: &[Step; 2]| {
        let mut all = BTreeMap::new();
        for (a, p) in outcomes(first) {
            for (b, q) in outcomes(second) {
                *all.entry(format!("{a} {b}")).or_default() += p * q;
            }
        }
        all
    };
    auto::POLICY.iter().map(both).collect()
}

fn drawn() -> BTreeMap<String, usize> {
    let mut rng = Streams::new(0).stream("draws", &[]);
    let mut counts = BTreeMap::new();
    for _ in 0..DRAWS {
        let [first, second] = auto::draw(&mut rng);
        *counts.entry(format!("{first:?} {second:?}")).or_default() += 1;
    }
    counts
}

#[test]
fn every_outcome_of_the_policy_is_as_frequent_as_stated() {
    let mut mixture: BTreeMap<String, f64> = BTreeMap::new();
    for (outcome, probability) in expected().into_iter().flatten() {
        *mixture.entry(outcome).or_default() += probability / 25.0;
    }
    assert!((mixture.values().sum::<f64>() - 1.0).abs() < 1e-12);
    let counts = drawn();
    let stray = counts.keys().find(|outcome| !mixture.contains_key(*outcome));
    assert_eq!(stray, None, "an outcome of no sub-policy");
    let term = |(outcome, probability): (&String, &f64)| {
        let expected = probability * DRAWS as f64;
        assert!(expected > 5.0, "{outcome}: too rare to judge");
        let seen = counts.get(outcome).copied().unwrap_or(0) as f64;
        (seen - expected).powi(2) / expected
    };
    let chi_squared: f64 = mixture.iter().map(term).sum();
    let freedom = (mixture.len() - 1) as f64;
    println!("chi squared {chi_squared:.1} with {freedom} degrees of freedom");
    assert!((chi_squared - freedom).abs() < 4.0 * (2.0 * freedom).sqrt(), "{chi_squared}");
}

/// Two pairs of sub-policies have the same operations and differ in probabilities alone: those count
/// together here, and the test above holds them apart.
#[test]
fn every_sub_policy_is_drawn_equally_often() {
    let (expected, counts) = (expected(), drawn());
    let mut groups: BTreeMap<Vec<&String>, Vec<usize>> = BTreeMap::new();
    for (number, outcomes) in expected.iter().enumerate() {
        groups.entry(outcomes.keys().collect()).or_default().push(number);
    }
    assert_eq!(groups.len(), 23);
    for (outcomes, members) in groups {
        // Outcomes that give these sub-policies away.
        let elsewhere = |outcome: &String| {
            let mut others = expected.iter().enumerate().filter(|(n, _)| !members.contains(n));
            others.any(|(_, all)| all.contains_key(outcome))
        };
        let (mut seen, mut probability) = (0, 0.0);
        for outcome in outcomes.into_iter().filter(|outcome| !elsewhere(outcome)) {
            seen += counts.get(outcome).copied().unwrap_or(0);
            probability += members.iter().map(|&n| expected[n][outcome] / 25.0).sum::<f64>();
        }
        let mean = probability * DRAWS as f64;
        assert!(mean > 200.0, "sub-policies {members:?} cannot be told from others");
        let deviation = (seen as f64 - mean) / (mean * (1.0 - probability)).sqrt();
        println!("sub-policies {members:?}: {seen}, {mean:.0} expected, {deviation:.1} sigma");
        assert!(deviation.abs() < 4.0, "sub-policies {members:?}: {seen}, {mean:.0} expected");
    }
}
