//! A queue seen through the miner.

use tch::{Kind, Tensor};

use crate::{
    Error, Result,
    contrast::HardPairMiner,
    train::{
        keys::source::{Anchors, Pairs},
        losses::on_tensors::{Keys, Ring, Searchable},
        nn::{parameters::TorchResult, tensors::HostTensors},
    },
};

/// The keys of a queue that the miner selects, positives first: those of the anchor's class with the
/// smallest similarity in increasing order, then the others with the largest in decreasing order (METHOD
/// section 3). Where fewer exist (a [`FifoQueue`](crate::train::losses::FifoQueue), unfilled slots) fewer are keys.
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

impl<Q: Searchable> Keys for Mined<Q> {
    fn pairs(&self, anchors: &Anchors<'_>) -> TorchResult<Pairs> {
        let all = self.queue.pairs(anchors)?;
        let own = self.queue.positives(&all, anchors.labels)?;
        let hard_pos = own.f_topk(self.miner.num_pos as i64, 1, false, true)?.0;
        let no_negative = match &all.valid {
            Some(valid) => all.positive.f_logical_or(&valid.f_logical_not()?)?,
            None => all.positive,
        };
        let others = all.sim.f_masked_fill(&no_negative, f64::NEG_INFINITY)?;
        let hard_neg = others.f_topk(self.miner.num_neg as i64, 1, true, true)?.0;
        let positive = Tensor::f_cat(&[hard_pos.f_ones_like()?, hard_neg.f_zeros_like()?], 1)?
            .f_to_kind(Kind::Bool)?;
        let sim = Tensor::f_cat(&[hard_pos, hard_neg], 1)?;
        if !self.queue.may_lack() {
            return Ok(Pairs { sim, positive, valid: None });
        }
        let valid = sim.f_isfinite()?;
        Ok(Pairs { sim, positive: positive.f_logical_and(&valid)?, valid: Some(valid) })
    }
}

impl<Q: Searchable> Ring for Mined<Q> {
    fn write(&mut self, rows: &Tensor, labels: &Tensor) -> TorchResult<()> {
        self.queue.write(rows, labels)
    }

    fn export(&self, into: &mut HostTensors) {
        self.queue.export(into);
    }

    fn import(&mut self, from: &HostTensors) -> Result<()> {
        self.queue.import(from)
    }
}
