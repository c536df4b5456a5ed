//! Random numbers that follow from a seed alone.

/// splitmix64: one number of state, good enough to choose among moves.
#[derive(Clone, Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    /// The same seeds give the same numbers; `turn` tells the slices of one run apart.
    pub(crate) const fn new(seed: u64, turn: u64) -> Self {
        let mut dice = Self(seed);
        let stirred = dice.next();
        Self(stirred ^ turn)
    }

    const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut number = self.0;
        number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        number ^ (number >> 31)
    }

    /// A number from zero to `end`, without it; zero when `end` is zero.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "below `end`, which was a usize"
    )]
    pub(crate) const fn below(&mut self, end: usize) -> usize {
        ((self.next() as u128 * end as u128) >> 64) as usize
    }
}
