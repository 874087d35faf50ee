//! Classes one by one where there are few, and bins of classes of similar size where there are many.

use crate::longtail::{ClassCounts, ShotGroup};

/// Above this number of classes, results are aggregated by class size.
const MOST_SINGLE_CLASSES: usize = 200;

/// A partition of the classes into groups, in the order of the results' rows and columns.
#[derive(Debug, Clone, PartialEq)]
pub struct ClassGroups {
    of_class: Vec<usize>,
    members: Vec<Vec<usize>>,
    names: Vec<String>,
    head: usize,
    tail: usize,
}

impl ClassGroups {
    /// One group per class for up to 200 classes; otherwise bins whose counts lie within a factor
    /// of two and in one shot group, the largest classes first.
    pub fn new(counts: &ClassCounts) -> Self {
        Self::up_to(MOST_SINGLE_CLASSES, counts.as_slice())
    }

    /// The same with another number of classes up to which each is a group of its own; `n` are the
    /// class sizes, of which some may be 0.
    pub(super) fn up_to(most_single: usize, n: &[u64]) -> Self {
        if n.len() <= most_single {
            // The first largest and the last smallest, as in a sorted list.
            let largest = |&a: &usize, &b: &usize| n[a].cmp(&n[b]).then(b.cmp(&a));
            return Self {
                of_class: (0..n.len()).collect(),
                members: (0..n.len()).map(|c| vec![c]).collect(),
                names: (1..=n.len()).map(|c| c.to_string()).collect(),
                head: (0..n.len()).max_by(largest).unwrap_or(0),
                tail: (0..n.len()).min_by(largest).unwrap_or(0),
            };
        }
        let largest = n.iter().copied().max().unwrap_or(0) as f64;
        // Cut at the borders of the shot groups too: a bin across one would give the mass of all its
        // classes to one side.
        let bin = |&count: &u64| {
            let halvings = (largest / count.max(1) as f64).log2().floor() as usize;
            (ShotGroup::of(count), count == 0, halvings)
        };
        let mut filled: Vec<_> = n.iter().map(bin).collect();
        filled.sort_unstable();
        filled.dedup();
        let of_class: Vec<usize> =
            n.iter().map(|count| filled.partition_point(|b| *b < bin(count))).collect();
        let mut members = vec![vec![]; filled.len()];
        for (class, &group) in of_class.iter().enumerate() {
            members[group].push(class);
        }
        let name = |classes: &Vec<usize>| {
            let sizes = || classes.iter().map(|&c| n[c]);
            match (sizes().min(), sizes().max()) {
                (Some(low), Some(high)) if low < high => format!("{low}–{high}"),
                (Some(low), _) => low.to_string(),
                _ => String::new(),
            }
        };
        let names = members.iter().map(name).collect();
        Self { of_class, tail: members.len() - 1, head: 0, members, names }
    }

    /// Number of groups.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Never: there is at least one class.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// True if every group is a single class.
    pub fn single_classes(&self) -> bool {
        self.members.iter().all(|m| m.len() == 1)
    }

    /// Group of each class (C).
    pub fn of_class(&self) -> &[usize] {
        &self.of_class
    }

    /// Classes of each group.
    pub fn members(&self) -> &[Vec<usize>] {
        &self.members
    }

    /// Class numbers from 1, or ranges of class sizes ("33–64").
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The group of the largest class.
    pub fn head(&self) -> usize {
        self.head
    }

    /// The group of the smallest class.
    pub fn tail(&self) -> usize {
        self.tail
    }

    /// The shot group of each group: that of all its classes.
    pub fn shots(&self, counts: &ClassCounts) -> Vec<ShotGroup> {
        let shot = |m: &Vec<usize>| ShotGroup::of(counts.as_slice()[m[0]]);
        self.members.iter().map(shot).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_classes_fall_into_bins_of_similar_size() {
        let counts = ClassCounts::new((0..300).map(|c| 1 + (300 - c) % 97).collect()).unwrap();
        let groups = ClassGroups::new(&counts);
        assert_eq!(groups.members().iter().map(Vec::len).sum::<usize>(), 300);
        for members in groups.members() {
            let sizes = || members.iter().map(|&c| counts.as_slice()[c]);
            assert!(sizes().max().unwrap() <= 2 * sizes().min().unwrap());
        }
        assert!(groups.len() >= 6 && !groups.single_classes());
    }

    /// Pareto-like counts of 8142 classes, iNaturalist's number.
    fn pareto() -> ClassCounts {
        ClassCounts::new(
            (1..=8142u64).map(|rank| (1000 / rank).max(2) + 90 / (1 + rank / 100)).collect(),
        )
        .unwrap()
    }

    #[test]
    fn every_bin_lies_in_one_shot_group() {
        let text = include_str!("../../assets/priors/places_lt.csv").lines().skip(1);
        let places = text.map(|l| l.split_once(',').unwrap().1.trim().parse().unwrap()).collect();
        for counts in [pareto(), ClassCounts::new(places).unwrap()] {
            let groups = ClassGroups::new(&counts);
            assert!(!groups.single_classes());
            let shots = groups.shots(&counts);
            for shot in ShotGroup::ALL {
                let per_class: u64 =
                    counts.as_slice().iter().filter(|&&n| ShotGroup::of(n) == shot).sum();
                let binned: u64 = (0..groups.len())
                    .filter(|&g| shots[g] == shot)
                    .flat_map(|g| &groups.members()[g])
                    .map(|&c| counts.as_slice()[c])
                    .sum();
                assert_eq!(per_class, binned, "{shot:?}");
                assert!(per_class > 0, "{shot:?}");
            }
            // The largest first: the names fall.
            let sizes: Vec<u64> =
                groups.members().iter().map(|m| counts.as_slice()[m[0]]).collect();
            assert!(sizes.windows(2).all(|w| w[0] > w[1]), "{sizes:?}");
        }
    }

    #[test]
    fn head_and_tail_are_found_in_any_order_of_classes() {
        let groups = ClassGroups::new(&ClassCounts::new(vec![5, 9, 2, 9, 2]).unwrap());
        assert_eq!((groups.head(), groups.tail()), (1, 4));
        let one = ClassGroups::new(&ClassCounts::new(vec![5]).unwrap());
        assert_eq!((one.head(), one.tail()), (0, 0));
    }
}
