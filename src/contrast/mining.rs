//! Supervised hard pair mining (METHOD section 3): the least similar positives and the most similar
//! negatives of the queue. Keys of the batch are never mined; all of them stay.

use serde::{Deserialize, Serialize};

/// Keeps Q_p positives and Q_n negatives of the queue for each anchor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HardPairMiner {
    /// Q_p: positives with the smallest similarity that are kept.
    pub num_pos: usize,
    /// Q_n: negatives with the largest similarity that are kept.
    pub num_neg: usize,
}

/// Positions in the queue of what was kept for one anchor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MinedKeys {
    /// Hard positives, least similar first.
    pub positives: Vec<usize>,
    /// Hard negatives, most similar first.
    pub negatives: Vec<usize>,
}

impl HardPairMiner {
    /// Mines for an anchor of class `label` with similarities `sims` to keys labelled `key_labels`
    /// (both N). Fewer keys than asked for are all kept. Of equal similarities the earlier key wins.
    pub fn mine(&self, sims: &[f64], key_labels: &[usize], label: usize) -> MinedKeys {
        let order = |keys: &mut Vec<usize>, keep: usize, sign: f64| {
            keys.sort_by(|&a, &b| (sign * sims[a]).total_cmp(&(sign * sims[b])).then(a.cmp(&b)));
            keys.truncate(keep);
        };
        let (mut positives, mut negatives): (Vec<_>, Vec<_>) =
            (0..sims.len()).partition(|&k| key_labels[k] == label);
        order(&mut positives, self.num_pos, 1.0);
        order(&mut negatives, self.num_neg, -1.0);
        MinedKeys { positives, negatives }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hardest_pairs_are_kept_in_order() {
        let sims = [0.9, 0.1, 0.5, -0.3, 0.8, 0.1];
        let labels = [0, 0, 0, 1, 1, 1];
        let mined = HardPairMiner { num_pos: 2, num_neg: 2 }.mine(&sims, &labels, 0);
        assert_eq!(mined, MinedKeys { positives: vec![1, 2], negatives: vec![4, 5] });
        let all = HardPairMiner { num_pos: 9, num_neg: 9 }.mine(&sims, &labels, 2);
        assert_eq!(all.positives, Vec::<usize>::new());
        assert_eq!(all.negatives, [0, 4, 2, 1, 5, 3], "ties keep their order");
    }
}
