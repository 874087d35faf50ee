//! Methods by name: what each computes in a step, and ResCom with any of its modules off.

use serde::{Deserialize, Serialize};

use super::config::{
    Classification, ContrastKind, ContrastSpec, HardPairMiner, MethodSpec, QueueInit, QueueSpec,
};

/// ResCom's four modules, each of which can be switched off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Modules {
    /// Siamese Balanced Softmax: off, view 1 alone is classified.
    pub siamese: bool,
    /// Class-balanced queue: off, a FIFO queue with as many keys in all.
    pub class_balanced_queue: bool,
    /// Hard pair mining: off, all queue keys are used.
    pub mining: bool,
    /// Effective-number weights of the anchors: off, every anchor weighs 1.
    pub class_balanced_loss: bool,
}

impl Modules {
    /// All four on: ResCom as published.
    pub const ALL: Self =
        Self { siamese: true, class_balanced_queue: true, mining: true, class_balanced_loss: true };

    /// The 16 combinations, all on first.
    pub fn combinations() -> impl Iterator<Item = Self> {
        (0..16u8).map(|off| Self {
            siamese: off & 1 == 0,
            class_balanced_queue: off & 2 == 0,
            mining: off & 4 == 0,
            class_balanced_loss: off & 8 == 0,
        })
    }
}

/// Methods by the name a recipe gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Method {
    /// Cross-entropy, one view.
    #[serde(rename = "ce")]
    CrossEntropy,
    /// Balanced Softmax, one view.
    #[serde(rename = "balanced-softmax")]
    BalancedSoftmax,
    /// SupCon on both views of the batch + Balanced Softmax on view 1.
    #[serde(rename = "supcon+bs")]
    SupConBs,
    /// MoCo (momentum encoder, FIFO queue) + Balanced Softmax on view 1.
    #[serde(rename = "moco+bs")]
    MocoBs,
    /// ResCom, or an ablation of it.
    #[serde(rename = "rescom")]
    ResCom,
    /// MiSLAS stage 1: mixup on cross-entropy.
    #[serde(rename = "mislas")]
    Mislas,
}

/// Constants from which [`Method::spec`] takes what its method needs.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MethodParams {
    /// lambda.
    pub con_weight: f64,
    /// T.
    pub temperature: f64,
    /// D.
    pub projection_dim: usize,
    /// b of the effective-number weights.
    pub effective_number_beta: f64,
    /// Q, keys per class.
    pub queue_per_class: usize,
    /// Treatment of unfilled slots.
    #[serde(default)]
    pub queue_init: QueueInit,
    /// Q_p.
    pub num_pos: usize,
    /// Q_n.
    pub num_neg: usize,
    /// Momentum of MoCo's key encoder.
    pub moco_momentum: f64,
    /// Keys in MoCo's queue.
    pub moco_queue: usize,
    /// alpha of mixup.
    pub mixup_alpha: f64,
}

impl Method {
    /// All methods.
    pub const ALL: [Self; 6] = [
        Self::CrossEntropy,
        Self::BalancedSoftmax,
        Self::SupConBs,
        Self::MocoBs,
        Self::ResCom,
        Self::Mislas,
    ];

    /// The name recipes use.
    pub fn name(self) -> &'static str {
        match self {
            Self::CrossEntropy => "ce",
            Self::BalancedSoftmax => "balanced-softmax",
            Self::SupConBs => "supcon+bs",
            Self::MocoBs => "moco+bs",
            Self::ResCom => "rescom",
            Self::Mislas => "mislas",
        }
    }

    /// What the method computes in a step. `modules` matters to `rescom` alone.
    pub fn spec(self, params: &MethodParams, modules: Modules, classes: usize) -> MethodSpec {
        use Classification::{BalancedSoftmax, CrossEntropy};
        let plain = |classification| MethodSpec {
            classification,
            siamese: false,
            mixup_alpha: None,
            contrast: None,
        };
        let contrast = ContrastSpec {
            con_weight: params.con_weight,
            temperature: params.temperature,
            projection_dim: params.projection_dim,
            class_balanced_beta: None,
            queue: None,
            mining: None,
            kind: ContrastKind::Supervised,
        };
        let init = params.queue_init;
        match self {
            Self::CrossEntropy => plain(CrossEntropy),
            Self::BalancedSoftmax => plain(BalancedSoftmax),
            Self::Mislas => {
                MethodSpec { mixup_alpha: Some(params.mixup_alpha), ..plain(CrossEntropy) }
            }
            Self::SupConBs => MethodSpec { contrast: Some(contrast), ..plain(BalancedSoftmax) },
            Self::MocoBs => MethodSpec {
                contrast: Some(ContrastSpec {
                    queue: Some(QueueSpec::Fifo { len: params.moco_queue, init }),
                    kind: ContrastKind::Momentum { momentum: params.moco_momentum },
                    ..contrast
                }),
                ..plain(BalancedSoftmax)
            },
            Self::ResCom => {
                let per_class = params.queue_per_class;
                let queue = if modules.class_balanced_queue {
                    QueueSpec::ClassBalanced { per_class, init }
                } else {
                    QueueSpec::Fifo { len: per_class * classes, init }
                };
                let mining = HardPairMiner { num_pos: params.num_pos, num_neg: params.num_neg };
                MethodSpec {
                    siamese: modules.siamese,
                    contrast: Some(ContrastSpec {
                        queue: Some(queue),
                        mining: modules.mining.then_some(mining),
                        class_balanced_beta: modules
                            .class_balanced_loss
                            .then_some(params.effective_number_beta),
                        ..contrast
                    }),
                    ..plain(BalancedSoftmax)
                }
            }
        }
    }
}
