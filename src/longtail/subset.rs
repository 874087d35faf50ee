//! Which images a long-tailed subset keeps, equal image by image to the reference's choice
//! (METHOD section 6), and the manifest that records it.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::numpy_legacy::NumpyLegacy;
use super::{ClassCounts, ImbalanceFactor, LongTailProfile};
use crate::rng::Streams;
use crate::{Error, Result};

/// Which class is the head: the order in which classes receive the falling counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClassOrder {
    /// Class 0 is the largest: the data set's own order, as in the reference.
    Natural,
    /// The last class is the largest.
    Reversed,
    /// A random order drawn from this seed.
    Seeded(u64),
}

impl ClassOrder {
    /// The classes, head first.
    pub fn classes(self, count: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..count).collect();
        match self {
            Self::Natural => {}
            Self::Reversed => order.reverse(),
            Self::Seeded(seed) => {
                use rand::seq::SliceRandom as _;
                order.shuffle(&mut Streams::new(seed).stream("class-order", &[]));
            }
        }
        order
    }

    /// The word for folders and tables: `seeded` is the order of seed 0, `seeded-N` that of any other.
    pub fn label(self) -> String {
        match self {
            Self::Natural => "natural".to_owned(),
            Self::Reversed => "reversed".to_owned(),
            Self::Seeded(0) => "seeded".to_owned(),
            Self::Seeded(seed) => format!("seeded-{seed}"),
        }
    }
}

/// `natural`, `reversed` or `seeded:N`.
impl fmt::Display for ClassOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Seeded(seed) => write!(f, "seeded:{seed}"),
            other => f.write_str(&other.label()),
        }
    }
}

impl FromStr for ClassOrder {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match (text, text.strip_prefix("seeded:").map(str::parse)) {
            ("natural", _) => Ok(Self::Natural),
            ("reversed", _) => Ok(Self::Reversed),
            (_, Some(Ok(seed))) => Ok(Self::Seeded(seed)),
            _ => Err(Error::input(format!(
                "class order {text}: expected natural, reversed or seeded:N"
            ))),
        }
    }
}

/// The shape of the tail, as the reference names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TailShape {
    /// [`LongTailProfile::Exponential`].
    Exp,
    /// [`LongTailProfile::Step`].
    Step,
}

impl TailShape {
    /// The name that recipes and manifests use.
    pub fn name(self) -> &'static str {
        match self {
            Self::Exp => "exp",
            Self::Step => "step",
        }
    }

    /// The shape called `name`.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Exp, Self::Step].into_iter().find(|shape| shape.name() == name)
    }

    /// The profile of this shape.
    pub fn profile(self, imbalance: ImbalanceFactor) -> LongTailProfile {
        match self {
            Self::Exp => LongTailProfile::Exponential(imbalance),
            Self::Step => LongTailProfile::Step(imbalance),
        }
    }
}

/// Everything that decides which images are kept.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SubsetRule {
    /// The shape of the tail.
    pub shape: TailShape,
    /// n_max / n_min asked for.
    pub imbalance: ImbalanceFactor,
    /// The reference's `rand_number`: seed of the legacy NumPy generator (its default is 0).
    pub rand_number: u32,
    /// Which class is the head.
    pub order: ClassOrder,
    /// Images of the head class; `None`: as many as the data set's mean class has.
    pub n_max: Option<u64>,
}

/// What was kept: enough to make the same subset again anywhere, and to prove it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SubsetManifest {
    /// Name of the data set, for example `cifar10`.
    pub data_set: String,
    /// SHA-256 over the labels of the full training set (little-endian int64), hex.
    pub labels_sha256: String,
    /// Shape of the tail.
    pub shape: TailShape,
    /// n_max / n_min asked for.
    pub imbalance_factor: f64,
    /// Seed of the legacy NumPy generator.
    pub rand_number: u32,
    /// Which class is the head.
    pub class_order: ClassOrder,
    /// Images kept per class, in label order.
    pub counts: Vec<u64>,
    /// SHA-256 over `indices` as little-endian int64, hex.
    pub sha256: String,
    /// Positions in the full training set, class by class, in the order of the draw.
    pub indices: Vec<u32>,
}

impl SubsetManifest {
    /// Chooses the subset of a training set with these `labels`.
    ///
    /// Legacy NumPy `RandomState(rand_number)`; for each class in label order the ascending list
    /// of its images is shuffled and the first n_c are kept.
    ///
    /// # Errors
    /// [`Error::Input`] if there are no images, a label is not below `classes`, a class would keep
    /// none, or has fewer images than the profile asks for.
    pub fn choose(
        data_set: &str,
        labels: &[u32],
        classes: usize,
        rule: &SubsetRule,
    ) -> Result<Self> {
        let mut members = by_class(labels, classes)?;
        let n_max = rule.n_max.unwrap_or((labels.len() / classes) as u64);
        let falling = rule.shape.profile(rule.imbalance).counts(classes, n_max)?;
        let mut counts = vec![0; classes];
        for (rank, class) in rule.order.classes(classes).into_iter().enumerate() {
            counts[class] = falling.as_slice()[rank];
        }

        let mut generator = NumpyLegacy::new(rule.rand_number);
        let mut indices = Vec::new();
        for (class, (list, &keep)) in members.iter_mut().zip(&counts).enumerate() {
            if keep > list.len() as u64 {
                return Err(Error::input(format!(
                    "long-tailed subset of {data_set}: class {class} has {} images, the profile \
                     asks for {keep}; give a smaller head count",
                    list.len()
                )));
            }
            generator.shuffle(list);
            indices.extend_from_slice(&list[..keep as usize]);
        }
        Ok(Self {
            data_set: data_set.to_owned(),
            labels_sha256: sha256_int64(labels),
            shape: rule.shape,
            imbalance_factor: rule.imbalance.get(),
            rand_number: rule.rand_number,
            class_order: rule.order,
            counts,
            sha256: sha256_int64(&indices),
            indices,
        })
    }

    /// The counts as a checked type.
    ///
    /// # Errors
    /// [`Error::Input`] if a class is empty (a manifest edited by hand).
    pub fn class_counts(&self) -> Result<ClassCounts> {
        ClassCounts::new(self.counts.clone())
    }

    /// Checks the manifest against itself: its checksum, and counts that add up to its indices, none of
    /// which occurs twice.
    ///
    /// # Errors
    /// [`Error::Input`] naming the first thing that does not fit.
    pub fn check_itself(&self) -> Result<()> {
        let wrong = |what: String| {
            Err(Error::input(format!("damaged subset manifest: {what}; make it anew")))
        };
        if self.counts.is_empty() {
            return wrong("it has no classes".into());
        }
        if sha256_int64(&self.indices) != self.sha256 {
            return wrong("the SHA-256 of its indices is not the one it states".into());
        }
        let mut sorted = self.indices.clone();
        sorted.sort_unstable();
        if let Some(pair) = sorted.windows(2).find(|pair| pair[0] == pair[1]) {
            return wrong(format!("index {} occurs twice", pair[0]));
        }
        let total = self.counts.iter().try_fold(0u64, |sum, &n| sum.checked_add(n));
        if total != Some(self.indices.len() as u64) {
            let indices = self.indices.len();
            return wrong(format!("its counts do not add up to its {indices} indices"));
        }
        if !self.follows_from_its_rule() {
            return wrong("its counts are not those of its rule".into());
        }
        Ok(())
    }

    /// Whether the rule gives these counts. A rule may have been given by mu, whose inverse the manifest
    /// holds: mu is then one of its neighbours.
    fn follows_from_its_rule(&self) -> bool {
        let classes = self.counts.len();
        let ranked: Vec<u64> =
            self.class_order.classes(classes).into_iter().map(|class| self.counts[class]).collect();
        let mu = 1.0 / self.imbalance_factor;
        [mu, mu.next_down(), mu.next_up()].into_iter().any(|mu| {
            let imbalance = ImbalanceFactor::from_mu(mu);
            let counts = imbalance.and_then(|i| self.shape.profile(i).counts(classes, ranked[0]));
            counts.is_ok_and(|counts| counts.as_slice() == ranked)
        })
    }

    /// [`check_itself`](Self::check_itself), and against the training set it is to be used on.
    ///
    /// # Errors
    /// [`Error::Input`] naming the first thing that does not fit.
    pub fn check(&self, labels: &[u32]) -> Result<()> {
        self.check_itself()?;
        let wrong = |what: String| Err(Error::input(format!("subset manifest: {what}")));
        if sha256_int64(labels) != self.labels_sha256 {
            return wrong(format!(
                "made from a {} with other labels than the data set at hand",
                self.data_set
            ));
        }
        let mut counts = vec![0; self.counts.len()];
        for &index in &self.indices {
            let Some(&label) = labels.get(index as usize) else {
                return wrong(format!(
                    "index {index} is beyond the last image, {}",
                    labels.len().saturating_sub(1)
                ));
            };
            match counts.get_mut(label as usize) {
                None => return wrong(format!("image {index} is of a class without a count")),
                Some(n) => *n += 1,
            }
        }
        match counts.iter().zip(&self.counts).position(|(a, b)| a != b) {
            Some(class) => wrong(format!(
                "class {class} has {} indices, {} stated",
                counts[class], self.counts[class]
            )),
            None => Ok(()),
        }
    }
}

/// The ascending list of images of each class.
fn by_class(labels: &[u32], classes: usize) -> Result<Vec<Vec<u32>>> {
    if labels.is_empty() || classes == 0 || u32::try_from(labels.len()).is_err() {
        return Err(Error::input(format!(
            "long-tailed subset: {} images of {classes} classes; expected at least one of each",
            labels.len()
        )));
    }
    let mut members = vec![Vec::new(); classes];
    for (index, &label) in labels.iter().enumerate() {
        let Some(list) = members.get_mut(label as usize) else {
            return Err(Error::input(format!(
                "long-tailed subset: image {index} has label {label}, expected 0..{classes}"
            )));
        };
        list.push(index as u32);
    }
    Ok(members)
}

/// SHA-256 of the numbers as little-endian int64 (what `numpy.asarray(x, "<i8").tobytes()` gives).
pub fn sha256_int64(numbers: &[u32]) -> String {
    let mut hash = Sha256::new();
    for &n in numbers {
        hash.update(i64::from(n).to_le_bytes());
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(classes: u32) -> Vec<u32> {
        (0..5000).map(|i| (i * 7919 + 13) % classes).collect()
    }

    fn rule(imb: f64, order: ClassOrder) -> SubsetRule {
        SubsetRule {
            shape: TailShape::Exp,
            imbalance: ImbalanceFactor::new(imb).unwrap(),
            rand_number: 0,
            order,
            n_max: None,
        }
    }

    #[test]
    fn the_order_moves_the_tail_and_nothing_else() {
        let labels = labels(10);
        let of = |order| SubsetManifest::choose("x", &labels, 10, &rule(10.0, order)).unwrap();
        let (natural, reversed) = (of(ClassOrder::Natural), of(ClassOrder::Reversed));
        assert!(natural.counts.iter().rev().eq(&reversed.counts));
        let seeded = of(ClassOrder::Seeded(3));
        assert_ne!(seeded.counts, natural.counts);
        let sorted = |mut v: Vec<u64>| {
            v.sort_unstable();
            v
        };
        assert_eq!(sorted(seeded.counts.clone()), sorted(natural.counts.clone()));
        for manifest in [natural, reversed, seeded] {
            manifest.check(&labels).unwrap();
        }
    }

    #[test]
    fn counts_follow_from_a_rule_given_by_mu() {
        let labels: Vec<u32> = (0..7000).map(|i| i % 7).collect();
        for shape in [TailShape::Exp, TailShape::Step] {
            for hundredths in 1..=100 {
                let imbalance = ImbalanceFactor::from_mu(f64::from(hundredths) / 100.0).unwrap();
                let rule = SubsetRule { shape, imbalance, ..rule(1.0, ClassOrder::Seeded(1)) };
                SubsetManifest::choose("x", &labels, 7, &rule).unwrap().check(&labels).unwrap();
            }
        }
    }

    #[test]
    fn a_changed_manifest_is_noticed() {
        let labels = labels(10);
        let manifest =
            SubsetManifest::choose("x", &labels, 10, &rule(10.0, ClassOrder::Natural)).unwrap();
        let mut other = manifest.clone();
        other.indices[0] = other.indices[1];
        assert!(other.check(&labels).unwrap_err().to_string().contains("SHA-256"));
        other.sha256 = sha256_int64(&other.indices);
        assert!(other.check(&labels).unwrap_err().to_string().contains("twice"));
        let empty = SubsetManifest {
            counts: vec![],
            indices: vec![],
            sha256: sha256_int64(&[]),
            ..manifest.clone()
        };
        assert!(empty.check_itself().unwrap_err().to_string().contains("no classes"));
        for (shift, part) in [(1, "add up"), (0, "those of its rule")] {
            let mut edited = manifest.clone();
            edited.counts[9] += 1;
            edited.counts[8] -= 1 - shift;
            let e = edited.check_itself().unwrap_err().to_string();
            assert!(e.contains("damaged") && e.contains(part), "{e}");
        }
        let mut foreign = labels.clone();
        foreign.swap(0, 1);
        assert!(manifest.check(&foreign).unwrap_err().to_string().contains("other labels"));
    }

    #[test]
    fn more_images_than_there_are_is_refused() {
        let mut rule = rule(10.0, ClassOrder::Natural);
        rule.n_max = Some(501);
        let e = SubsetManifest::choose("x", &labels(10), 10, &rule).unwrap_err();
        assert!(e.to_string().contains("class 0 has 500"), "{e}");
    }

    #[test]
    fn orders_are_parsed_from_the_words_they_show() {
        for order in [ClassOrder::Natural, ClassOrder::Reversed, ClassOrder::Seeded(7)] {
            assert_eq!(order.to_string().parse::<ClassOrder>().unwrap(), order);
        }
        for bad in ["seeded", "seeded:x", "other"] {
            assert_eq!(bad.parse::<ClassOrder>().unwrap_err().exit_code(), 2, "{bad}");
        }
        assert_eq!([0, 7].map(|n| ClassOrder::Seeded(n).label()), ["seeded", "seeded-7"]);
    }
}
