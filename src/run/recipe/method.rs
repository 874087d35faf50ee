//! Methods: names for compositions of losses.

use std::{collections::BTreeMap, fmt, str::FromStr, sync::LazyLock};

use serde::{Deserialize, Serialize};

use super::loss::{Keys, LossName, LossSpec, Miner, is_kebab_case};
use crate::Error;

/// The compositions that have names.
static METHODS: LazyLock<BTreeMap<String, LossSpec>> = LazyLock::new(|| {
    toml::from_str(include_str!("../../../assets/methods.toml"))
        .expect("the shipped table is well formed; a test reads it")
});

/// Name of a method that the reports know nothing of besides: small letters, digits and hyphens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MethodName([u8; Self::LONGEST]);

impl MethodName {
    /// Most letters of a name; it is part of the name of a folder.
    const LONGEST: usize = 48;

    fn new(text: &str) -> Option<Self> {
        let mut name = [0; Self::LONGEST];
        name.get_mut(..text.len())?.copy_from_slice(text.as_bytes());
        is_kebab_case(text).then_some(Self(name))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        let end = self.0.iter().position(|&b| b == 0).unwrap_or(Self::LONGEST);
        str::from_utf8(&self.0[..end]).unwrap_or_default()
    }
}

/// Which of ResCom's four modules are on (METHOD section 3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RescomModules {
    /// Effective-number weights in the contrastive loss; off: every class weighs 1.
    pub class_balanced_loss: bool,
    /// Class-balanced queue; off: a FIFO queue with as many keys in all.
    pub class_balanced_queue: bool,
    /// Hard pair mining in the queue; off: every queue key is used.
    pub hard_pair_mining: bool,
    /// Balanced Softmax on both views; off: on view 1 alone.
    pub siamese_balanced_softmax: bool,
}

impl RescomModules {
    /// The full method.
    pub const ALL: Self = Self {
        class_balanced_loss: true,
        class_balanced_queue: true,
        hard_pair_mining: true,
        siamese_balanced_softmax: true,
    };

    /// All sixteen combinations, the full method first.
    pub fn combinations() -> impl Iterator<Item = Self> {
        (0..16u8).map(|off| Self {
            class_balanced_loss: off & 1 == 0,
            class_balanced_queue: off & 2 == 0,
            hard_pair_mining: off & 4 == 0,
            siamese_balanced_softmax: off & 8 == 0,
        })
    }

    /// Names of the modules that are off, as in the method's name.
    pub fn off(mut self) -> Vec<&'static str> {
        self.named().into_iter().filter(|(_, on)| !**on).map(|(name, _)| name).collect()
    }

    /// `full`, ResCom's composition, without the modules that are off.
    fn of(self, full: &LossSpec) -> LossSpec {
        let mut loss = full.clone();
        if !self.class_balanced_loss {
            loss.contrast = LossName::try_from("supcon").ok();
        }
        if !self.class_balanced_queue {
            loss.keys = vec![Keys::Batch, Keys::FifoQueue];
        }
        if !self.hard_pair_mining {
            loss.miner = Miner::None;
        }
        if !self.siamese_balanced_softmax {
            loss.views_classified = 1;
        }
        loss
    }

    fn named(&mut self) -> [(&'static str, &mut bool); 4] {
        [
            ("loss", &mut self.class_balanced_loss),
            ("queue", &mut self.class_balanced_queue),
            ("mining", &mut self.hard_pair_mining),
            ("siamese", &mut self.siamese_balanced_softmax),
        ]
    }
}

/// A training method by the name that recipes, the command line and reports use.
///
/// `rescom` may be followed by `-no-loss`, `-no-queue`, `-no-mining`, `-no-siamese` in this order:
/// the sixteen rows of the ablation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Method {
    /// Cross-entropy, one view.
    CrossEntropy,
    /// Balanced Softmax, one view.
    BalancedSoftmax,
    /// Supervised contrastive loss over both views plus Balanced Softmax.
    SupConBalancedSoftmax,
    /// Supervised contrastive loss with momentum encoder and FIFO queue plus Balanced Softmax.
    MoCoBalancedSoftmax,
    /// ResCom, or one of its ablations.
    Rescom(RescomModules),
    /// MiSLAS stage 1: mixup on cross-entropy (stage 2 is a command of its own).
    Mislas,
    /// Any other: one of `assets/methods.toml`, or what a recipe's own `[loss]` is called.
    Other(MethodName),
}

impl Method {
    /// Every method a report may compare, ablations excluded.
    pub const BASE: [Self; 6] = [
        Self::CrossEntropy,
        Self::BalancedSoftmax,
        Self::SupConBalancedSoftmax,
        Self::MoCoBalancedSoftmax,
        Self::Rescom(RescomModules::ALL),
        Self::Mislas,
    ];

    /// What the name stands for; none for a name that only a recipe with a `[loss]` of its own can have.
    pub fn loss(self) -> Option<LossSpec> {
        let Self::Rescom(modules) = self else { return METHODS.get(&self.to_string()).cloned() };
        METHODS.get("rescom").map(|full| modules.of(full))
    }

    /// The error for a name that stands for nothing.
    pub(super) fn unknown(self) -> Error {
        unknown(&self.to_string())
    }
}

fn unknown(name: &str) -> Error {
    let base = Method::BASE.map(|m| m.to_string());
    let others = METHODS.keys().filter(|name| !base.contains(name));
    let known: Vec<&str> = base.iter().chain(others).map(String::as_str).collect();
    Error::input(format!(
        "method \"{name}\" is unknown; expected one of {}, or rescom with -no-loss, -no-queue, -no-mining, \
         -no-siamese appended in this order; a recipe with a table [loss] may have a name of its own, in small \
         letters with hyphens",
        known.join(", ")
    ))
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::CrossEntropy => f.write_str("ce"),
            Self::BalancedSoftmax => f.write_str("balanced-softmax"),
            Self::SupConBalancedSoftmax => f.write_str("supcon+bs"),
            Self::MoCoBalancedSoftmax => f.write_str("moco+bs"),
            Self::Mislas => f.write_str("mislas"),
            Self::Other(name) => f.write_str(name.as_str()),
            Self::Rescom(mut modules) => {
                f.write_str("rescom")?;
                for (name, on) in modules.named() {
                    if !*on {
                        write!(f, "-no-{name}")?;
                    }
                }
                Ok(())
            }
        }
    }
}

impl FromStr for Method {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let known = Self::BASE
            .into_iter()
            .chain(RescomModules::combinations().map(Self::Rescom))
            .find(|m| m.to_string() == text);
        // What looks like an ablation and is none is a slip of the pen.
        let own = || MethodName::new(text).filter(|_| !text.starts_with("rescom-no-"));
        known.or_else(|| own().map(Self::Other)).ok_or_else(|| unknown(text))
    }
}

impl TryFrom<String> for Method {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl From<Method> for String {
    fn from(method: Method) -> Self {
        method.to_string()
    }
}

/// A method, and whether stage 2 of MiSLAS followed it: one row of a table. `Display` gives
/// "rescom", "rescom+mislas", "mislas" (stage 1 alone), "mislas+stage2" (both stages) and
/// "rescom+weights+mislas" (stage 2 by that recipe on an encoder from elsewhere).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MethodLabel {
    /// How the encoder was trained.
    pub method: Method,
    /// Whether stage 2 of MiSLAS retrained the classifier.
    pub stage2: bool,
    /// Whether the encoder came from a file instead of a run of the method.
    pub foreign: bool,
}

impl From<Method> for MethodLabel {
    fn from(method: Method) -> Self {
        Self { method, stage2: false, foreign: false }
    }
}

impl fmt::Display for MethodLabel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.method.fmt(f)?;
        match (self.stage2, self.method) {
            (false, _) => Ok(()),
            (true, _) if self.foreign => f.write_str("+weights+mislas"),
            (true, Method::Mislas) => f.write_str("+stage2"),
            (true, _) => f.write_str("+mislas"),
        }
    }
}

impl FromStr for MethodLabel {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        if let Some(name) = text.strip_suffix("+weights+mislas") {
            return Ok(Self { method: name.parse()?, stage2: true, foreign: true });
        }
        let label = |name: &str, stage2| Ok(Self { method: name.parse()?, stage2, foreign: false });
        match (text.strip_suffix("+stage2"), text.strip_suffix("+mislas")) {
            (Some("mislas"), _) => label("mislas", true),
            (_, Some(name)) if name != "mislas" => label(name, true),
            _ => label(text, false),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_distinct_and_parses_back() {
        let all: Vec<Method> = Method::BASE
            .into_iter()
            .chain(RescomModules::combinations().skip(1).map(Method::Rescom))
            .collect();
        let names: std::collections::BTreeSet<String> = all.iter().map(Method::to_string).collect();
        assert_eq!(names.len(), 21);
        for m in all {
            assert_eq!(m.to_string().parse::<Method>().unwrap(), m);
        }
        for text in [
            "ce",
            "rescom-no-queue+mislas",
            "mislas",
            "mislas+stage2",
            "supcon+bs+mislas",
            "ce+weights+mislas",
            "mislas+weights+mislas",
        ] {
            assert_eq!(text.parse::<MethodLabel>().unwrap().to_string(), text);
        }
        assert!("mislas+mislas".parse::<MethodLabel>().is_err());
        assert!("rescom-no-mining-no-loss".parse::<Method>().is_err());
        assert_eq!("ResNet".parse::<Method>().unwrap_err().exit_code(), 2);
    }

    #[test]
    fn every_name_stands_for_a_composition_of_its_own() {
        let ablations = RescomModules::combinations().map(Method::Rescom);
        let named = METHODS.keys().map(|name| name.parse::<Method>().unwrap());
        let all: std::collections::BTreeSet<Method> = named.chain(ablations).collect();
        let losses: std::collections::HashSet<LossSpec> =
            all.iter().map(|m| m.loss().unwrap()).collect();
        assert_eq!((losses.len(), all.len()), (15 + METHODS.len(), 15 + METHODS.len()));
        assert!(Method::BASE.iter().all(|m| METHODS.contains_key(&m.to_string())));
    }

    #[test]
    fn a_name_of_ones_own_is_short_and_plain() {
        let own: Method = "my-loss-2".parse().unwrap();
        assert_eq!((own.to_string(), own.loss()), ("my-loss-2".to_owned(), None));
        let long = "x".repeat(49);
        for bad in ["", "my loss", "-x", "x--y", "Übel", "x/y", "a+b", "rescom-no-minig", &long] {
            assert!(bad.parse::<Method>().is_err(), "{bad}");
        }
    }
}
