//! GPUs one by one: which device, and how much of it.
//!
//! A whole device is 1,000 thousandths. What an agent has names its devices; what a task asks for is an
//! amount only, until [`choose`](Devices::choose) picks the devices. Whole GPUs take wholly free devices;
//! less than one GPU takes a part of **one** device.

use std::fmt;
use std::sync::Arc;

/// Thousandths in one device.
pub const WHOLE_DEVICE: u16 = 1_000;

/// Most devices one agent may name. No machine has a hundred; the bound keeps a lying one from filling
/// the master's memory.
pub const MAX_DEVICES: usize = 1_024;

/// One GPU of an agent, or a part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Device {
    /// Its number on its agent.
    pub index: u16,
    /// How much of it, in thousandths: 1 to [`WHOLE_DEVICE`].
    pub milli: u16,
}

impl Device {
    /// Whether all of the device is here.
    pub const fn is_whole(self) -> bool {
        self.milli >= WHOLE_DEVICE
    }
}

/// A set of devices, each at most once, ascending by index; none of them of nothing. Cheap to clone.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Devices(Option<Arc<Box<[Device]>>>);

impl Devices {
    /// No device.
    pub const fn none() -> Self {
        Self(None)
    }

    /// `count` whole devices numbered from `first`; those numbered [`MAX_DEVICES`] and above are left away.
    pub fn whole_from(first: u64, count: u64) -> Self {
        let bound = MAX_DEVICES as u64;
        let numbers = first.min(bound)..first.saturating_add(count).min(bound);
        let devices = numbers.map(|index| Device {
            index: u16::try_from(index).unwrap_or(u16::MAX),
            milli: WHOLE_DEVICE,
        });
        Self::of_sorted(devices.collect())
    }

    /// Takes devices in any order. `None` when one is named twice, is of nothing, or is more than whole.
    pub fn new(mut all: Vec<Device>) -> Option<Self> {
        all.sort_unstable();
        let is_sound = all
            .iter()
            .all(|one| (1..=WHOLE_DEVICE).contains(&one.milli))
            && all.windows(2).all(|two| two[0].index != two[1].index);
        is_sound.then(|| Self::of_sorted(all))
    }

    /// The devices, ascending by index.
    pub fn list(&self) -> &[Device] {
        self.0.as_ref().map_or(&[], |all| all)
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// All thousandths together.
    pub fn sum_milli(&self) -> u64 {
        self.list().iter().map(|one| u64::from(one.milli)).sum()
    }

    /// How much of device `index` is here, in thousandths.
    pub fn milli(&self, index: u16) -> u16 {
        let all = self.list();
        all.binary_search_by_key(&index, |one| one.index)
            .ok()
            .and_then(|at| all.get(at))
            .map_or(0, |one| one.milli)
    }

    /// How many are wholly here.
    pub fn whole_count(&self) -> u64 {
        self.list().iter().filter(|one| one.is_whole()).count() as u64
    }

    /// The most there is of a single device, in thousandths.
    pub fn largest_milli(&self) -> u16 {
        self.list().iter().map(|one| one.milli).max().unwrap_or(0)
    }

    /// Whether each of `other` is here in full.
    pub fn includes(&self, other: &Self) -> bool {
        self.is_same(other)
            || other
                .list()
                .iter()
                .all(|one| self.milli(one.index) >= one.milli)
    }

    /// Whether an amount can be had: its whole GPUs as wholly free devices, the rest from one other.
    pub fn can_give(&self, milli: u64) -> bool {
        let (whole, rest) = split(milli);
        let free = self.whole_count();
        match rest {
            0 => free >= whole,
            // A device that is partly taken does for the rest, or one more whole device.
            rest => {
                free > whole
                    || (free == whole
                        && self
                            .list()
                            .iter()
                            .any(|one| !one.is_whole() && one.milli >= rest))
            }
        }
    }

    /// Picks devices for an amount: wholly free ones from the lowest index, for the rest the device that
    /// is left with least, the lowest on ties. `None` when it cannot be had.
    pub fn choose(&self, milli: u64) -> Option<Self> {
        let (whole, rest) = split(milli);
        let (mut chosen, left) = self.take_whole(whole)?;
        if rest > 0 {
            chosen.add(&left.one_part(left.tightest(rest)?, rest)?);
        }
        Some(chosen)
    }

    /// The same with the part of a GPU on device `index`.
    pub fn choose_on(&self, milli: u64, index: u16) -> Option<Self> {
        let (whole, rest) = split(milli);
        if rest == 0 {
            return self.choose(milli);
        }
        let part = self.one_part(index, rest)?;
        let others = self.without(&self.one_part(index, self.milli(index))?);
        let (mut chosen, _) = others.take_whole(whole)?;
        chosen.add(&part);
        Some(chosen)
    }

    /// Adds every device of `more`. False, and nothing changes, when a device would be more than whole:
    /// then these are not devices of one agent.
    pub fn add(&mut self, more: &Self) -> bool {
        if more.is_empty() {
            return true;
        }
        if self.is_empty() {
            self.clone_from(more);
            return true;
        }
        let (mut a, mut b) = (self.list(), more.list());
        let mut sum: Vec<Device> = Vec::with_capacity(a.len() + b.len());
        while let (Some(&x), Some(&y)) = (a.first(), b.first()) {
            if x.index <= y.index {
                a = &a[1..];
            }
            if y.index <= x.index {
                b = &b[1..];
            }
            sum.push(match x.index.cmp(&y.index) {
                std::cmp::Ordering::Less => x,
                std::cmp::Ordering::Greater => y,
                std::cmp::Ordering::Equal => Device {
                    index: x.index,
                    milli: x.milli + y.milli,
                },
            });
        }
        sum.extend_from_slice(a);
        sum.extend_from_slice(b);
        if sum.iter().any(|one| one.milli > WHOLE_DEVICE) {
            return false;
        }
        *self = Self::of_sorted(sum);
        true
    }

    /// What is left of each device after as much of `taken` as there is has been taken away.
    #[must_use]
    pub fn without(&self, taken: &Self) -> Self {
        if taken.is_empty() {
            return self.clone();
        }
        if self.is_same(taken) {
            return Self::none();
        }
        let left = self.list().iter().map(|one| Device {
            index: one.index,
            milli: one.milli.saturating_sub(taken.milli(one.index)),
        });
        Self::of_sorted(left.filter(|one| one.milli > 0).collect())
    }

    /// Takes an amount away wherever it is, for want of better knowledge: as [`choose`](Self::choose) does
    /// if it can, otherwise from the lowest index up.
    #[must_use]
    pub fn without_amount(&self, milli: u64) -> Self {
        if milli == 0 {
            return self.clone();
        }
        if let Some(chosen) = self.choose(milli) {
            return self.without(&chosen);
        }
        let mut due = milli;
        let left = self.list().iter().map(|one| {
            let cut = u16::try_from(due).unwrap_or(u16::MAX).min(one.milli);
            due -= u64::from(cut);
            Device {
                index: one.index,
                milli: one.milli - cut,
            }
        });
        Self::of_sorted(left.filter(|one| one.milli > 0).collect())
    }

    /// The first `count` wholly free devices, and all others.
    fn take_whole(&self, count: u64) -> Option<(Self, Self)> {
        let count = usize::try_from(count).ok()?;
        let (mut taken, mut left) = (Vec::new(), Vec::new());
        for &one in self.list() {
            let wanted = one.is_whole() && taken.len() < count;
            if wanted { &mut taken } else { &mut left }.push(one);
        }
        (taken.len() == count).then(|| (Self::of_sorted(taken), Self::of_sorted(left)))
    }

    /// The device that is left with least when so much of it is taken, the lowest on ties.
    fn tightest(&self, milli: u16) -> Option<u16> {
        self.list()
            .iter()
            .filter(|one| one.milli >= milli)
            .min_by_key(|one| (one.milli, one.index))
            .map(|one| one.index)
    }

    /// A part of one device; `None` when there is less of it.
    fn one_part(&self, index: u16, milli: u16) -> Option<Self> {
        (self.milli(index) >= milli)
            .then(|| Self(Some(Arc::new(Box::new([Device { index, milli }])))))
    }

    fn is_same(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Some(a), Some(b)) => Arc::ptr_eq(a, b),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        }
    }

    fn of_sorted(all: Vec<Device>) -> Self {
        if all.is_empty() {
            Self::none()
        } else {
            Self(Some(Arc::new(all.into_boxed_slice())))
        }
    }
}

/// Whether a task may ask for so many thousandths of a GPU: whole ones, or a part of one.
pub const fn is_askable(milli: u64) -> bool {
    milli < WHOLE_DEVICE as u64 || milli.is_multiple_of(WHOLE_DEVICE as u64)
}

/// Whole devices and the rest in thousandths.
fn split(milli: u64) -> (u64, u16) {
    let whole = u64::from(WHOLE_DEVICE);
    (
        milli / whole,
        u16::try_from(milli % whole).unwrap_or_default(),
    )
}

/// `[0,2:0.5]`: device 0 and half of device 2.
impl fmt::Display for Devices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[")?;
        for (at, one) in self.list().iter().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            write!(f, "{comma}{}", one.index)?;
            if !one.is_whole() {
                write!(f, ":{}", f64::from(one.milli) / 1e3)?;
            }
        }
        f.write_str("]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn devices(all: &[(u16, u16)]) -> Devices {
        let all = all
            .iter()
            .map(|&(index, milli)| Device { index, milli })
            .collect();
        Devices::new(all).expect("sound")
    }

    #[test]
    fn whole_gpus_come_from_the_lowest_wholly_free_devices() {
        let there = devices(&[(0, 400), (1, 1_000), (2, 1_000), (3, 1_000)]);

        assert_eq!(
            there.choose(2_000),
            Some(devices(&[(1, 1_000), (2, 1_000)]))
        );
        assert_eq!(there.choose(4_000), None);
        assert!(there.can_give(3_000) && !there.can_give(4_000));
    }

    #[test]
    fn a_part_of_a_gpu_goes_where_least_is_left_over() {
        let there = devices(&[(0, 1_000), (1, 700), (2, 500), (3, 500)]);

        assert_eq!(there.choose(500), Some(devices(&[(2, 500)])));
        assert_eq!(there.choose(600), Some(devices(&[(1, 600)])));
        assert_eq!(there.choose(900), Some(devices(&[(0, 900)])));
        assert_eq!(there.choose_on(500, 1), Some(devices(&[(1, 500)])));
        assert_eq!(there.choose_on(600, 2), None);
    }

    #[test]
    fn a_part_is_never_put_together_from_two_devices() {
        let there = devices(&[(0, 400), (1, 400)]);

        assert!(!there.can_give(500));
        assert_eq!(there.choose(500), None);
        assert_eq!(there.without_amount(500), devices(&[(1, 300)]));
    }

    #[test]
    fn a_device_cannot_be_more_than_whole() {
        let mut there = devices(&[(0, 600)]);

        assert!(!there.add(&devices(&[(0, 500)])));
        assert_eq!(there, devices(&[(0, 600)]));
        assert!(there.add(&devices(&[(0, 400), (3, 1)])));
        assert_eq!(there, devices(&[(0, 1_000), (3, 1)]));
        for bad in [vec![(0, 0)], vec![(0, 1_001)], vec![(0, 1), (0, 1)]] {
            let bad = bad
                .into_iter()
                .map(|(index, milli)| Device { index, milli })
                .collect();
            assert_eq!(Devices::new(bad), None);
        }
    }

    #[test]
    fn only_whole_gpus_or_a_part_of_one_can_be_asked_for() {
        for (milli, sound) in [
            (0, true),
            (1, true),
            (999, true),
            (1_000, true),
            (1_500, false),
            (8_000, true),
        ] {
            assert_eq!(is_askable(milli), sound, "{milli}");
        }
    }

    #[test]
    fn what_can_be_given_is_what_can_be_chosen() {
        for free in [
            devices(&[]),
            devices(&[(0, 1_000)]),
            devices(&[(0, 300), (1, 1_000)]),
            devices(&[(0, 300), (1, 700), (5, 1_000), (6, 1_000)]),
        ] {
            for milli in (0..3_500).step_by(50) {
                let chosen = free.choose(milli);
                assert_eq!(free.can_give(milli), chosen.is_some(), "{milli} of {free}");
                if let Some(chosen) = chosen {
                    assert_eq!(chosen.sum_milli(), milli);
                    let mut whole = free.without(&chosen);
                    assert!(whole.add(&chosen));
                    assert_eq!(whole, free);
                }
            }
        }
    }
}
