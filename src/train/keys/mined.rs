//! A source of keys seen through the miner.

use tch::{Kind, Tensor};

use crate::{
    Error, Result,
    train::keys::{HardPairMiner, KeyQueue, KeySource, Pairs, QueueState},
};

/// A source that a miner can search. Open: of the methods only [`most`](Self::most) must be written, the others are
/// there to be quicker where a source knows more.
pub trait Searchable: KeySource {
    /// Most positives and most negatives that an anchor can ever find.
    fn most(&self) -> [usize; 2];

    /// Similarities of every anchor to its positives among `pairs`, which came from this source: `[M, P]` for any P
    /// of at least `most()[0]`, infinite where there is none.
    ///
    /// # Errors
    /// [`Error::Run`] if libtorch fails.
    fn positives(&self, pairs: &Pairs) -> Result<Tensor> {
        Ok(pairs.sim.f_masked_fill(&pairs.positive.f_logical_not()?, f64::INFINITY)?)
    }

    /// Whether an anchor may find fewer keys than [`most`](Self::most) says.
    fn may_lack(&self) -> bool {
        true
    }
}

/// The keys of a queue that the miner selects, positives first: those of the anchor's class with the
/// smallest similarity in increasing order, then the others with the largest in decreasing order (METHOD
/// section 3). Where fewer exist (a [`FifoQueue`](crate::train::keys::FifoQueue), unfilled slots) fewer are keys.
#[derive(Debug)]
pub struct Mined<Q> {
    queue: Q,
    miner: HardPairMiner,
}

impl<Q: Searchable> Mined<Q> {
    /// The `miner` on `queue`.
    ///
    /// # Errors
    /// [`Error::Input`] if the miner asks for more keys than the queue has room for.
    pub fn new(queue: Q, miner: HardPairMiner) -> Result<Self> {
        let asked = [("num_pos", miner.num_pos), ("num_neg", miner.num_neg)];
        for ((field, asked), most) in asked.into_iter().zip(queue.most()) {
            if asked > most {
                return Err(Error::input(format!(
                    "mining, {field} = {asked}: the queue holds only {most} such keys per anchor; lower it \
                     or take a larger queue"
                )));
            }
        }
        Ok(Self { queue, miner })
    }
}

impl<Q: Searchable> KeySource for Mined<Q> {
    fn pairs(&self, anchors: &Tensor, labels: &Tensor) -> Result<Pairs> {
        let all = self.queue.pairs(anchors, labels)?;
        let own = self.queue.positives(&all)?;
        let hard_pos = own.f_topk(self.miner.num_pos as i64, 1, false, true)?.0;
        let no_negative = match &all.valid {
            Some(valid) => all.positive.f_logical_or(&valid.f_logical_not()?)?,
            None => all.positive,
        };
        let others = all.sim.f_masked_fill(&no_negative, f64::NEG_INFINITY)?;
        let hard_neg = others.f_topk(self.miner.num_neg as i64, 1, true, true)?.0;
        let positive = Tensor::f_cat(&[hard_pos.f_ones_like()?, hard_neg.f_zeros_like()?], 1)?
            .f_to_kind(Kind::Bool)?;
        let (sim, labels) = (Tensor::f_cat(&[hard_pos, hard_neg], 1)?, all.labels);
        if !self.queue.may_lack() {
            return Ok(Pairs { sim, positive, valid: None, labels });
        }
        let valid = sim.f_isfinite()?;
        Ok(Pairs { sim, positive: positive.f_logical_and(&valid)?, valid: Some(valid), labels })
    }
}

impl<Q: Searchable + KeyQueue> KeyQueue for Mined<Q> {
    fn enqueue(&mut self, keys: &Tensor, labels: &Tensor) -> Result<()> {
        self.queue.enqueue(keys, labels)
    }

    fn state(&self) -> Result<QueueState> {
        self.queue.state()
    }

    fn load_state(&mut self, state: &QueueState) -> Result<()> {
        self.queue.load_state(state)
    }
}
