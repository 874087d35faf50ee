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
    /// of two, the largest classes first.
    pub fn new(counts: &ClassCounts) -> Self {
        let n = counts.as_slice();
        if n.len() <= MOST_SINGLE_CLASSES {
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
        let largest = counts.max() as f64;
        let bin = |count: u64| (largest / count as f64).log2().floor() as usize;
        let mut filled: Vec<usize> = n.iter().map(|&count| bin(count)).collect();
        filled.sort_unstable();
        filled.dedup();
        let of_class: Vec<usize> =
            n.iter().map(|&count| filled.partition_point(|&b| b < bin(count))).collect();
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

    /// The shot group that most classes of each group belong to.
    pub fn shots(&self, counts: &ClassCounts) -> Vec<ShotGroup> {
        let shot = |m: &Vec<usize>| ShotGroup::of(counts.as_slice()[m[m.len() / 2]]);
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

    #[test]
    fn head_and_tail_are_found_in_any_order_of_classes() {
        let groups = ClassGroups::new(&ClassCounts::new(vec![5, 9, 2, 9, 2]).unwrap());
        assert_eq!((groups.head(), groups.tail()), (1, 4));
        let one = ClassGroups::new(&ClassCounts::new(vec![5]).unwrap());
        assert_eq!((one.head(), one.tail()), (0, 0));
    }
}
