//! Random numbers that are the same in every run.

/// xorshift64*: good enough to be unforeseen.
#[derive(Clone)]
pub(crate) struct Dice(u64);

impl Dice {
    /// Seeds that are close to each other lead far apart.
    pub(crate) const fn new(seed: u64) -> Self {
        let seed = seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let seed = (seed ^ (seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        // Zero would stay zero.
        Self((seed ^ (seed >> 27)) | 1)
    }

    pub(crate) const fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % end
    }

    pub(crate) const fn small(&mut self, end: u32) -> u32 {
        (self.below(end as u64) & 0xffff_ffff) as u32
    }

    pub(crate) const fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    pub(crate) fn of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        let at = self.below(all.len() as u64);
        &all[usize::try_from(at).expect("below a length")]
    }

    /// Takes one out, when there is any.
    pub(crate) fn take<T>(&mut self, all: &mut Vec<T>) -> Option<T> {
        let end = (!all.is_empty()).then_some(all.len() as u64)?;
        let at = usize::try_from(self.below(end)).expect("below a length");
        Some(all.swap_remove(at))
    }
}
