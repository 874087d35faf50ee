use std::{cmp::Ordering, fmt};

use crate::run::{Method, MethodLabel, RescomModules};

/// What a row of a table or a series of a figure shows: a method, and the setting it was trained
/// with where the runs of that method have several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arm {
    /// Method, with or without stage 2 of MiSLAS.
    pub method: MethodLabel,
    /// What tells it from the method's other arms ("T = 0.1", "setting B"); empty if there are none.
    pub variant: String,
}

impl fmt::Display for Arm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.variant.is_empty() {
            return self.method.fmt(f);
        }
        write!(f, "{} [{}]", self.method, self.variant)
    }
}

/// The order of rows: methods from simple to full, then ResCom's ablations, those with most modules
/// first, then runs with a second stage.
impl Ord for Arm {
    fn cmp(&self, other: &Self) -> Ordering {
        let place = |a: &Self| (a.method.stage2, a.modules().map(|m| m.off().len()));
        let same = (self.method, &self.variant).cmp(&(other.method, &other.variant));
        place(self).cmp(&place(other)).then(same)
    }
}

impl PartialOrd for Arm {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Arm {
    /// Cross-entropy or Balanced Softmax without a second stage: what others are measured against.
    pub fn is_baseline(&self) -> bool {
        let plain = matches!(self.method.method, Method::CrossEntropy | Method::BalancedSoftmax);
        plain && !self.method.stage2
    }

    /// ResCom or one of its ablations, without a second stage.
    pub fn modules(&self) -> Option<RescomModules> {
        match self.method {
            MethodLabel { method: Method::Rescom(modules), stage2: false, .. } => Some(modules),
            _ => None,
        }
    }

    /// ResCom with all its modules.
    pub fn is_rescom(&self) -> bool {
        self.modules() == Some(RescomModules::ALL)
    }
}
