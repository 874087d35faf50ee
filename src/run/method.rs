use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::Error;

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

    /// Whether the method has a contrastive part (projection head, two views).
    pub fn is_contrastive(self) -> bool {
        matches!(self, Self::SupConBalancedSoftmax | Self::MoCoBalancedSoftmax | Self::Rescom(_))
    }

    /// Augmented views of each image in a step: 2 with a contrastive part, else 1.
    pub fn views(self) -> usize {
        1 + usize::from(self.is_contrastive())
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::CrossEntropy => f.write_str("ce"),
            Self::BalancedSoftmax => f.write_str("balanced-softmax"),
            Self::SupConBalancedSoftmax => f.write_str("supcon+bs"),
            Self::MoCoBalancedSoftmax => f.write_str("moco+bs"),
            Self::Mislas => f.write_str("mislas"),
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
        Self::BASE
            .into_iter()
            .chain(RescomModules::combinations().map(Self::Rescom))
            .find(|m| m.to_string() == text)
            .ok_or_else(|| {
                Error::input(format!(
                    "method \"{text}\" is unknown; expected one of {}, or rescom with -no-loss, -no-queue, \
                     -no-mining, -no-siamese appended in this order",
                    Self::BASE.map(|m| m.to_string()).join(", ")
                ))
            })
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
        assert_eq!("resnet".parse::<Method>().unwrap_err().exit_code(), 2);
    }
}
