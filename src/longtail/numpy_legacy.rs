//! The part of NumPy's legacy generator (`numpy.random.RandomState`) that chooses long-tailed
//! subsets in the reference: MT19937 seeded by one integer, and the in-place shuffle.

const N: usize = 624;
const M: usize = 397;

/// MT19937 as `numpy.random.seed(seed)` leaves it.
#[derive(Debug, Clone)]
pub struct NumpyLegacy {
    state: [u32; N],
    at: usize,
}

impl NumpyLegacy {
    /// `numpy.random.RandomState(seed)` for an integer seed.
    pub fn new(seed: u32) -> Self {
        let mut state = [0; N];
        state[0] = seed;
        for i in 1..N {
            let last: u32 = state[i - 1];
            state[i] = (last ^ (last >> 30)).wrapping_mul(1_812_433_253).wrapping_add(i as u32);
        }
        Self { state, at: N }
    }

    /// The next 32 bits.
    pub fn next_u32(&mut self) -> u32 {
        if self.at == N {
            self.twist();
        }
        let mut y = self.state[self.at];
        self.at += 1;
        y ^= y >> 11;
        y ^= (y << 7) & 0x9d2c_5680;
        y ^= (y << 15) & 0xefc6_0000;
        y ^ (y >> 18)
    }

    fn twist(&mut self) {
        for i in 0..N {
            let y = (self.state[i] & 0x8000_0000) | (self.state[(i + 1) % N] & 0x7fff_ffff);
            let odd = if y & 1 == 1 { 0x9908_b0df } else { 0 };
            self.state[i] = self.state[(i + M) % N] ^ (y >> 1) ^ odd;
        }
        self.at = 0;
    }

    /// A uniform integer in 0..=`max`: 32-bit draws under the smallest covering mask, drawn again
    /// while too large.
    fn below_or_equal(&mut self, max: u32) -> u32 {
        let mask = max.checked_next_power_of_two().map_or(u32::MAX, |p| (p - 1) | max);
        loop {
            let value = self.next_u32() & mask;
            if value <= max {
                return value;
            }
        }
    }

    /// `numpy.random.shuffle` of a list, in place.
    ///
    /// # Panics
    /// If the list has more than 2^32 entries (NumPy then draws 64-bit numbers).
    pub fn shuffle<T>(&mut self, list: &mut [T]) {
        assert!(u32::try_from(list.len()).is_ok(), "a list of more than 2^32 entries");
        for i in (1..list.len()).rev() {
            list.swap(i, self.below_or_equal(i as u32) as usize);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_draws_are_those_of_mt19937() {
        // Matsumoto and Nishimura's reference: the 10,000th output for seed 5489 is 4123659995.
        let mut mt = NumpyLegacy::new(5489);
        assert_eq!((0..10_000).map(|_| mt.next_u32()).last(), Some(4_123_659_995));
    }

    #[test]
    fn a_shuffle_equals_that_of_numpy() {
        // numpy.random.RandomState(0).shuffle(list(range(10)))
        let mut list: Vec<u32> = (0..10).collect();
        NumpyLegacy::new(0).shuffle(&mut list);
        assert_eq!(list, [2, 8, 4, 9, 1, 6, 7, 3, 0, 5]);
    }
}
