//! From a checked recipe to the settings of a trainer.

use crate::{
    run::{self, Method, Recipe, RescomModules},
    train::fit::config::{
        Arch, Classification, ContrastKind, ContrastiveLossSpec, EncoderSpec, HardPairMiner,
        LossSpec, Precision, QueueInit, QueueSpec, SgdSpec, TrainerSpec,
    },
};

/// The trainer that `recipe` describes for `classes` classes (those of its data set, unless its images
/// come from a list of other classes).
pub fn trainer_spec(recipe: &Recipe, classes: usize) -> TrainerSpec {
    TrainerSpec {
        encoder: EncoderSpec {
            arch: arch(recipe.model.arch),
            in_channels: recipe.data.set.channels(),
            width: None,
        },
        method: loss_spec(recipe, classes),
        sgd: SgdSpec { momentum: recipe.optim.momentum, weight_decay: recipe.optim.weight_decay },
        precision: match recipe.run.precision {
            run::Precision::Fp32 => Precision::F32,
            run::Precision::Bf16 => Precision::Bf16,
        },
        // A tenth faster or more on CPUs, and what tensor cores want.
        channels_last: true,
    }
}

fn arch(arch: run::Architecture) -> Arch {
    use run::Architecture as A;
    match arch {
        A::Resnet20 => Arch::ResNet20,
        A::Resnet32 => Arch::ResNet32,
        A::Resnet44 => Arch::ResNet44,
        A::Resnet56 => Arch::ResNet56,
        A::Resnet110 => Arch::ResNet110,
        A::Resnet50 => Arch::ResNet50,
        A::Resnext50_32x4d => Arch::ResNeXt50,
    }
}

fn loss_spec(recipe: &Recipe, classes: usize) -> LossSpec {
    let c = &recipe.contrast;
    let init = match c.queue_init {
        run::QueueInit::Random => QueueInit::Random,
        run::QueueInit::ExcludeUnfilled => QueueInit::ExcludeUnfilled,
    };
    let fifo = QueueSpec::Fifo { len: c.queue_per_class * classes, init };
    let plain = |classification| LossSpec {
        classification,
        siamese: false,
        mixup_alpha: None,
        contrast: None,
    };
    let balanced = plain(Classification::BalancedSoftmax);
    let contrast = ContrastiveLossSpec {
        con_weight: c.con_weight,
        temperature: c.temperature,
        projection_dim: recipe.model.projection_dim,
        class_balanced_beta: None,
        queue: None,
        mining: None,
        kind: ContrastKind::Supervised,
    };
    match recipe.method.name {
        Method::CrossEntropy => plain(Classification::CrossEntropy),
        Method::Mislas => LossSpec {
            mixup_alpha: Some(recipe.stage2.mixup_alpha),
            ..plain(Classification::CrossEntropy)
        },
        Method::BalancedSoftmax => balanced,
        Method::SupConBalancedSoftmax => LossSpec { contrast: Some(contrast), ..balanced },
        Method::MoCoBalancedSoftmax => LossSpec {
            contrast: Some(ContrastiveLossSpec {
                queue: Some(fifo),
                kind: ContrastKind::Momentum { momentum: c.encoder_momentum },
                ..contrast
            }),
            ..balanced
        },
        Method::Rescom(RescomModules {
            class_balanced_loss,
            class_balanced_queue,
            hard_pair_mining,
            siamese_balanced_softmax,
        }) => {
            let ring = QueueSpec::ClassBalanced { per_class: c.queue_per_class, init };
            let miner = HardPairMiner { num_pos: c.num_pos, num_neg: c.num_neg };
            LossSpec {
                siamese: siamese_balanced_softmax,
                contrast: Some(ContrastiveLossSpec {
                    class_balanced_beta: class_balanced_loss.then_some(c.effective_number_beta),
                    queue: Some(if class_balanced_queue { ring } else { fifo }),
                    mining: hard_pair_mining.then_some(miner),
                    ..contrast
                }),
                ..balanced
            }
        }
    }
}
