//! Ids and chances from a seed: the core has no randomness of its own.
//!
//! The seed is random and new at every start of the agent, so that no id is given out twice.

use mete_model::{ContainerId, UpdateId};

/// A generator (SplitMix64, Steele et al. 2014), one for each half of an id.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    halves: [u64; 2],
}

impl Names {
    pub(crate) const fn new(seed: [u64; 2]) -> Self {
        Self { halves: seed }
    }

    pub(crate) fn update(&mut self) -> UpdateId {
        UpdateId(self.uuid())
    }

    pub(crate) fn container(&mut self) -> ContainerId {
        ContainerId::new(UpdateId(self.uuid()).to_string())
            .expect("a UUID in hexadecimal holds nothing that an id may not hold")
    }

    /// From 0 to 999, evenly.
    pub(crate) fn thousandths(&mut self) -> u32 {
        (self.next(0) % 1_000) as u32
    }

    fn uuid(&mut self) -> [u8; 16] {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.next(0).to_be_bytes());
        bytes[8..].copy_from_slice(&self.next(1).to_be_bytes());
        // RFC 9562 §5.4: version 4, variant 10.
        bytes[6] = bytes[6] & 0x0f | 0x40;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        bytes
    }

    const fn next(&mut self, half: usize) -> u64 {
        self.halves[half] = self.halves[half].wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.halves[half];
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_uuids_of_version_four_and_differ() {
        let mut names = Names::new([1, 2]);
        let (first, second) = (names.update(), names.update());

        assert_ne!(first, second);
        assert_eq!(first.0[6] >> 4, 4);
        assert_eq!(first.0[8] >> 6, 2);
        assert_eq!(names.container().as_str().len(), 36);
    }
}
