use crate::{Error, Result};

/// Training images per class, n_c >= 1, in the order of the data set's labels (not sorted).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClassCounts(Vec<u64>);

impl ClassCounts {
    /// Checks and wraps the counts.
    ///
    /// # Errors
    /// [`Error::Input`] if there is no class, a class without images (the message names the class), or
    /// more images in all than 64 bits count.
    pub fn new(counts: Vec<u64>) -> Result<Self> {
        if counts.is_empty() {
            return Err(Error::input(
                "class counts: the list is empty; expected at least one class",
            ));
        }
        if let Some(class) = counts.iter().position(|&n| n == 0) {
            return Err(Error::input(format!(
                "class counts: class {class} has 0 images; every class needs at least one"
            )));
        }
        if counts.iter().try_fold(0u64, |sum, &n| sum.checked_add(n)).is_none() {
            return Err(Error::input(format!(
                "class counts: more than {} images in all; expected images, not bytes or identifiers",
                u64::MAX
            )));
        }
        Ok(Self(counts))
    }

    /// The counts, one per class.
    pub fn as_slice(&self) -> &[u64] {
        &self.0
    }

    /// Number of classes C.
    pub fn classes(&self) -> usize {
        self.0.len()
    }

    /// Number of images in all.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// Largest count, n_1.
    pub fn max(&self) -> u64 {
        self.0.iter().copied().max().unwrap_or(1)
    }

    /// Smallest count, n_C.
    pub fn min(&self) -> u64 {
        self.0.iter().copied().min().unwrap_or(1)
    }

    /// n_1 / n_C as it really is (truncation of counts makes it differ from the one asked for).
    pub fn imbalance_factor(&self) -> f64 {
        self.max() as f64 / self.min() as f64
    }

    /// p_c = n_c / sum(n).
    pub fn prior(&self) -> ClassPrior {
        let total = self.total() as f64;
        ClassPrior(self.0.iter().map(|&n| n as f64 / total).collect())
    }

    /// The shot group of each class.
    pub fn shot_groups(&self) -> Vec<ShotGroup> {
        self.0.iter().map(|&n| ShotGroup::of(n)).collect()
    }
}

/// Class probabilities p_c, summing to one.
#[derive(Debug, Clone, PartialEq)]
pub struct ClassPrior(Vec<f64>);

impl ClassPrior {
    /// The probabilities, one per class.
    pub fn as_slice(&self) -> &[f64] {
        &self.0
    }
}

/// Many-shot (> 100 training images), medium-shot (20..=100), few-shot (< 20).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ShotGroup {
    /// More than 100 training images.
    Many,
    /// 20 to 100 training images, both included.
    Medium,
    /// Fewer than 20 training images.
    Few,
}

impl ShotGroup {
    /// All groups, head first.
    pub const ALL: [Self; 3] = [Self::Many, Self::Medium, Self::Few];

    /// The group of a class with `count` training images.
    pub fn of(count: u64) -> Self {
        match count {
            0..20 => Self::Few,
            20..=100 => Self::Medium,
            _ => Self::Many,
        }
    }

    /// "many", "medium" or "few".
    pub fn name(self) -> &'static str {
        match self {
            Self::Many => "many",
            Self::Medium => "medium",
            Self::Few => "few",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn group_borders_are_those_of_the_field() {
        use ShotGroup::{Few, Many, Medium};
        for (n, group) in [(1, Few), (19, Few), (20, Medium), (100, Medium), (101, Many)] {
            assert_eq!(ShotGroup::of(n), group, "n = {n}");
        }
    }

    #[test]
    fn an_empty_class_is_named() {
        let e = ClassCounts::new(vec![3, 0, 1]).unwrap_err();
        assert!(e.to_string().contains("class 1"), "{e}");
        assert_eq!(e.exit_code(), 2);
        assert!(ClassCounts::new(vec![]).is_err());
    }

    #[test]
    fn a_total_beyond_64_bits_is_refused() {
        assert_eq!(ClassCounts::new(vec![u64::MAX - 1, 1]).unwrap().total(), u64::MAX);
        let e = ClassCounts::new(vec![u64::MAX, 1]).unwrap_err();
        assert!(e.to_string().contains("images in all"), "{e}");
    }
}
