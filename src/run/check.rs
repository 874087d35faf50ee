//! The checks that turn a raw recipe into one that the engine accepts.

use super::{LearningRateMode, Method, RawRecipe, Recipe, ScheduleKind, spec::ProfileKind};
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

impl RawRecipe {
    /// Checks every value once; numerics rely on it.
    ///
    /// # Errors
    /// [`Error::Input`] naming the first key that does not fit, and what would.
    pub fn check(self) -> Result<Recipe> {
        self.check_data()?;
        self.check_optim()?;
        self.check_contrast()?;
        self.check_rest()?;
        Ok(Recipe::checked(self))
    }

    fn check_data(&self) -> Result<()> {
        let d = &self.data;
        let available = d.set.images_per_class();
        let natural = d.profile == ProfileKind::Natural;
        need(
            natural == available.is_none(),
            "data.profile",
            format!("{:?}", d.profile),
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
        need((0.0..1.0).contains(&o.momentum), "optim.momentum", o.momentum, "0 <= momentum < 1")?;
        need(is_not_negative(o.weight_decay), "optim.weight-decay", o.weight_decay, "0 or more")?;
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

    fn check_contrast(&self) -> Result<()> {
        let c = &self.contrast;
        need(is_positive(c.temperature), "contrast.temperature", c.temperature, POSITIVE)?;
        need(is_not_negative(c.con_weight), "contrast.con-weight", c.con_weight, "0 or more")?;
        EffectiveNumber::new(c.effective_number_beta)?;
        need(
            self.model.projection_dim >= 1,
            "model.projection-dim",
            self.model.projection_dim,
            "at least 1",
        )?;
        need(
            (1..=MOST_KEYS).contains(&c.queue_per_class),
            "contrast.queue-per-class",
            c.queue_per_class,
            &format!("1 to {MOST_KEYS}"),
        )?;
        self.check_miner(self.data.set.classes())?;
        need(
            (0.0..=1.0).contains(&c.encoder_momentum),
            "contrast.encoder-momentum",
            c.encoder_momentum,
            "0 to 1",
        )
    }

    fn check_miner(&self, classes: usize) -> Result<()> {
        let c = &self.contrast;
        need(
            c.num_pos <= c.queue_per_class,
            "contrast.num-pos",
            c.num_pos,
            &format!(
                "at most the {} keys that the queue holds of a class (contrast.queue-per-class)",
                c.queue_per_class
            ),
        )?;
        let negatives = classes.saturating_sub(1).saturating_mul(c.queue_per_class);
        need(
            c.num_neg <= negatives,
            "contrast.num-neg",
            c.num_neg,
            &format!(
                "at most the {negatives} keys that the queue holds of the {} other classes",
                classes.saturating_sub(1)
            ),
        )
    }

    /// What the recipe needs of images that have `classes` classes, where those are not the ones of its set
    /// (other image lists).
    ///
    /// # Errors
    /// [`Error::Input`] if the method mines more keys than a queue for so many classes holds.
    pub fn check_classes(&self, classes: usize) -> Result<()> {
        match self.method.name {
            Method::Rescom(modules) if modules.hard_pair_mining => self.check_miner(classes),
            _ => Ok(()),
        }
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
