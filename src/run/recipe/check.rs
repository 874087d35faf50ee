//! The checks of a recipe's values, each in one place.

use super::{
    loss::{ContrastSpec, Keys, LossSpec, Miner},
    model::EncoderSpec,
    optim::{LearningRateMode, ScheduleKind, SgdSpec},
    raw::Tables,
};
use crate::{
    Error, Result,
    longtail::{EffectiveNumber, ImbalanceFactor, LongTailProfile},
};

/// Fails with the key, what it is and what was expected, unless `fits`.
fn need(fits: bool, key: &str, value: impl std::fmt::Display, expected: &str) -> Result<()> {
    if fits {
        return Ok(());
    }
    Err(Error::input(format!(
        "recipe, {key} = {value}: expected {expected}; change it in the recipe or with --set {key}=..."
    )))
}

/// Of one class: more than any memory holds, and few enough for products with it.
const MOST_KEYS: usize = 1_000_000_000;

const POSITIVE: &str = "a positive number";

fn is_positive(v: f64) -> bool {
    v > 0.0 && v.is_finite()
}

fn is_not_negative(v: f64) -> bool {
    v >= 0.0 && v.is_finite()
}

impl<L> Tables<L> {
    /// Every value but those of the loss, which depend on what it is put together from.
    pub(super) fn check_values(&self) -> Result<()> {
        self.check_data()?;
        self.check_optim()?;
        self.contrast.check()?;
        check_projection(self.model.projection_dim)?;
        self.check_rest()
    }

    fn check_data(&self) -> Result<()> {
        let d = &self.data;
        let available = d.set.images_per_class();
        let natural = d.profile.is_none();
        need(
            natural == available.is_none(),
            "data.profile",
            d.profile_name(),
            "natural for a set that is long-tailed itself, exp or step for a balanced one",
        )?;
        if let Some(most) = available {
            need(
                (1..=most).contains(&d.images_per_class),
                "data.images-per-class",
                d.images_per_class,
                &format!("1 to {most}, what {} has", d.set.name()),
            )?;
            let imb = ImbalanceFactor::new(d.imbalance_factor)?;
            LongTailProfile::Exponential(imb).counts(d.set.classes(), d.images_per_class).map_err(|_| {
                Error::input(format!(
                    "recipe, data.imbalance-factor = {} with data.images-per-class = {}: the smallest class would be \
                     empty; take at least {} images per class",
                    d.imbalance_factor, d.images_per_class, d.imbalance_factor.ceil()
                ))
            })?;
        }
        let a = &self.augment;
        let channels = d.set.channels();
        need(
            a.mean.len() == channels && a.std.len() == channels,
            "augment.mean/std",
            format!("{:?}/{:?}", a.mean, a.std),
            &format!("{channels} numbers each"),
        )?;
        need(
            a.std.iter().all(|s| is_positive(*s)),
            "augment.std",
            format!("{:?}", a.std),
            "positive numbers",
        )?;
        need(
            a.mean.iter().all(|m| m.is_finite()),
            "augment.mean",
            format!("{:?}", a.mean),
            "finite numbers",
        )
    }

    fn check_optim(&self) -> Result<()> {
        let o = &self.optim;
        need(o.epochs >= 1, "optim.epochs", o.epochs, "at least 1")?;
        need(o.batch_size >= 2, "optim.batch-size", o.batch_size, "at least 2 (batch norm)")?;
        need(is_positive(o.lr), "optim.lr", o.lr, POSITIVE)?;
        o.sgd().check()?;
        need(
            o.warmup_epochs < o.epochs.max(2),
            "optim.warmup-epochs",
            o.warmup_epochs,
            "fewer than optim.epochs",
        )?;
        need(
            o.milestones.is_sorted(),
            "optim.milestones",
            format!("{:?}", o.milestones),
            "increasing epochs",
        )
    }

    /// What is allowed and perhaps not meant: a step schedule whose steps come after the last epoch, as when
    /// `optim.epochs` alone is lowered.
    pub fn remark(&self) -> Option<String> {
        let o = &self.optim;
        let stepped =
            o.schedule == ScheduleKind::Step && o.lr_mode == LearningRateMode::AsDescribed;
        let late = o.milestones.iter().any(|&m| m >= o.epochs);
        (stepped && late).then(|| {
            let part = |tenths: usize| (o.epochs * tenths / 10).max(1);
            format!(
                "optim.milestones = {:?} with optim.epochs = {}: a step of the rate comes after the last epoch; for steps at \
                 the same parts of training as published, --set optim.milestones=[{},{}]",
                o.milestones,
                o.epochs,
                part(8),
                part(9)
            )
        })
    }

    fn check_rest(&self) -> Result<()> {
        need(self.eval.every >= 1, "eval.every", self.eval.every, "at least 1")?;
        need(self.eval.batch_size >= 1, "eval.batch-size", self.eval.batch_size, "at least 1")?;
        need(
            self.run.keep_checkpoints >= 1,
            "run.keep-checkpoints",
            self.run.keep_checkpoints,
            "at least 1",
        )?;
        let s = &self.stage2;
        need(is_positive(s.mixup_alpha), "stage2.mixup-alpha", s.mixup_alpha, POSITIVE)?;
        need(s.epochs >= 1, "stage2.epochs", s.epochs, "at least 1")?;
        need(is_positive(s.lr), "stage2.lr", s.lr, POSITIVE)?;
        for (key, v) in [("stage2.lr-factor", s.lr_factor), ("stage2.weight-decay", s.weight_decay)]
        {
            need(is_not_negative(v), key, v, "0 or more")?;
        }
        for (key, v) in
            [("stage2.smooth-head", s.smooth_head), ("stage2.smooth-tail", s.smooth_tail)]
        {
            need((0.0..1.0).contains(&v), key, v, "0 <= smoothing < 1")?;
        }
        Ok(())
    }
}

impl SgdSpec {
    /// # Errors
    /// [`Error::Input`] unless 0 <= momentum < 1 and the weight decay is a number of at least 0.
    pub fn check(&self) -> Result<()> {
        need(
            (0.0..1.0).contains(&self.momentum),
            "optim.momentum",
            self.momentum,
            "0 <= momentum < 1",
        )?;
        need(
            is_not_negative(self.weight_decay),
            "optim.weight-decay",
            self.weight_decay,
            "0 or more",
        )
    }
}

impl EncoderSpec {
    /// # Errors
    /// [`Error::Input`] naming the field that cannot be used.
    pub fn check(&self) -> Result<()> {
        if ![1, 3].contains(&self.in_channels) {
            return Err(Error::input(format!(
                "encoder.in_channels = {}: expected 1 (grey) or 3 (RGB)",
                self.in_channels
            )));
        }
        match (self.width, self.arch.cifar_blocks()) {
            (Some(_), None) => Err(Error::input(format!(
                "encoder.width: {} has one width only; remove the field",
                self.arch.name()
            ))),
            (Some(w), Some(_)) if w == 0 || w % 4 != 0 => {
                Err(Error::input(format!("encoder.width = {w}: expected a positive multiple of 4")))
            }
            _ => Ok(()),
        }
    }
}

pub(super) fn check_projection(dim: usize) -> Result<()> {
    need(dim >= 1, "model.projection-dim", dim, "at least 1")
}

impl ContrastSpec {
    /// Every number by itself; what the miner asks of the queue is
    /// [`check_miner`](Self::check_miner)'s.
    pub(super) fn check(&self) -> Result<()> {
        need(is_positive(self.temperature), "contrast.temperature", self.temperature, POSITIVE)?;
        need(
            is_not_negative(self.con_weight),
            "contrast.con-weight",
            self.con_weight,
            "0 or more",
        )?;
        EffectiveNumber::new(self.effective_number_beta)?;
        need(
            (1..=MOST_KEYS).contains(&self.queue_per_class),
            "contrast.queue-per-class",
            self.queue_per_class,
            &format!("1 to {MOST_KEYS}"),
        )?;
        need(
            (0.0..=1.0).contains(&self.encoder_momentum),
            "contrast.encoder-momentum",
            self.encoder_momentum,
            "0 to 1",
        )
    }

    /// That the miner never asks for more keys of `queue` than an anchor of one of `classes` classes can
    /// find in it.
    pub(super) fn check_miner(&self, queue: Keys, classes: usize) -> Result<()> {
        let q = self.queue_per_class;
        let others = classes.saturating_sub(1);
        let ([own, rest], [of_own, of_rest]) = match queue {
            // Its keys may all be of one class.
            Keys::FifoQueue => {
                ([classes.saturating_mul(q); 2], ["in all".to_owned(), "in all".to_owned()])
            }
            _ => (
                [q, others.saturating_mul(q)],
                [
                    "of a class (contrast.queue-per-class)".to_owned(),
                    format!("of the {others} other classes"),
                ],
            ),
        };
        for (key, asked, there, of) in [
            ("contrast.num-pos", self.num_pos, own, of_own),
            ("contrast.num-neg", self.num_neg, rest, of_rest),
        ] {
            let expected = format!("at most the {there} keys that the queue holds {of}");
            need(asked <= there, key, asked, &expected)?;
        }
        Ok(())
    }
}

impl LossSpec {
    /// That the parts fit each other.
    pub(super) fn check(&self) -> Result<()> {
        need(
            [1, 2].contains(&self.views_classified),
            "loss.views-classified",
            self.views_classified,
            "1 or 2",
        )?;
        need(
            !self.mixup || self.views() == 1,
            "loss.mixup",
            self.mixup,
            "false: mixup works on single views, without a contrastive loss",
        )?;
        self.check_keys()?;
        need(
            self.miner == Miner::None || self.queue().is_some(),
            "loss.miner",
            "hard-pairs",
            "none: mining selects queue keys, but loss.keys has no queue",
        )?;
        if !self.has_key_encoder() {
            return Ok(());
        }
        need(
            self.views_classified == 1,
            "loss.views-classified",
            self.views_classified,
            "1: with keys of a key encoder only view 1 passes the encoder",
        )?;
        need(
            self.queue() == Some(Keys::FifoQueue) && self.miner == Miner::None,
            "loss.keys",
            words(&self.keys),
            "key-encoder with a fifo-queue and without a miner",
        )
    }

    fn check_keys(&self) -> Result<()> {
        let fits = match (self.contrast.is_some(), &self.keys[..]) {
            (false, keys) => keys.is_empty(),
            (true, [Keys::Batch | Keys::KeyEncoder]) => true,
            (true, [Keys::Batch | Keys::KeyEncoder, queue]) => {
                matches!(queue, Keys::FifoQueue | Keys::ClassBalancedQueue)
            }
            (true, _) => false,
        };
        let expected = match self.contrast {
            None => "no keys, as loss.contrast is none",
            Some(_) => {
                "batch or key-encoder, then if wanted one of fifo-queue and class-balanced-queue"
            }
        };
        need(fits, "loss.keys", words(&self.keys), expected)
    }
}

/// The keys as the file has them.
fn words(keys: &[Keys]) -> String {
    let word = |k: &Keys| match k {
        Keys::Batch => "\"batch\"",
        Keys::KeyEncoder => "\"key-encoder\"",
        Keys::FifoQueue => "\"fifo-queue\"",
        Keys::ClassBalancedQueue => "\"class-balanced-queue\"",
    };
    format!("[{}]", keys.iter().map(word).collect::<Vec<_>>().join(", "))
}
