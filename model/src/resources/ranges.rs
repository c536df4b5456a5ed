//! Sets of numbers as closed intervals: ports.
//!
//! A set is shared, not copied: most machines have the same ports and most tasks take none, so a clone
//! is one count and never an allocation. Each operation walks both sets once.

use std::fmt;
use std::sync::Arc;

/// A set of numbers, kept as sorted, disjoint, non-touching closed intervals.
///
/// The empty set is `None`, never an empty list, so that equal sets are equal values. One pointer wide: with it,
/// [`Resources`](super::Resources) are one line of a processor's cache.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ranges(Option<Arc<Intervals>>);

type Intervals = Box<[(u64, u64)]>;

impl Ranges {
    /// The empty set.
    pub const fn new() -> Self {
        Self(None)
    }

    /// All numbers from `first` to `last`, both included; empty when `first` is greater.
    pub fn interval(first: u64, last: u64) -> Self {
        if first > last {
            Self::new()
        } else {
            Self(Some(Arc::new(Box::new([(first, last)]))))
        }
    }

    /// The intervals, ascending.
    pub fn intervals(&self) -> &[(u64, u64)] {
        self.0.as_ref().map_or(&[], |all| all)
    }

    /// How many clones there are of it, itself among them; none of the empty set. Reading it brings near in memory what
    /// the next clone changes.
    pub fn sharers(&self) -> usize {
        self.0.as_ref().map_or(0, Arc::strong_count)
    }

    /// Whether there is no number in it.
    pub const fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// How many numbers are in it; saturates.
    pub fn count(&self) -> u64 {
        self.intervals().iter().fold(0, |sum: u64, (first, last)| {
            sum.saturating_add((last - first).saturating_add(1))
        })
    }

    /// Whether `number` is in it.
    pub fn contains(&self, number: u64) -> bool {
        let all = self.intervals();
        let at = all.partition_point(|(_, last)| *last < number);
        all.get(at).is_some_and(|(first, _)| *first <= number)
    }

    /// Whether every number of `other` is in it.
    pub fn includes(&self, other: &Self) -> bool {
        if other.is_empty() || self.is_same(other) {
            return true;
        }
        let all = self.intervals();
        other.intervals().iter().all(|(first, last)| {
            let at = all.partition_point(|(_, end)| end < first);
            all.get(at)
                .is_some_and(|(start, end)| start <= first && last <= end)
        })
    }

    /// Whether some number is in both.
    pub fn meets(&self, other: &Self) -> bool {
        let (mut a, mut b) = (self.intervals(), other.intervals());
        while let (Some(x), Some(y)) = (a.first(), b.first()) {
            if x.1 < y.0 {
                a = &a[1..];
            } else if y.1 < x.0 {
                b = &b[1..];
            } else {
                return true;
            }
        }
        false
    }

    /// Adds every number of `other`.
    pub fn add(&mut self, other: &Self) {
        if self.includes(other) {
            return;
        }
        if self.is_empty() {
            self.clone_from(other);
            return;
        }
        let (mut a, mut b) = (self.intervals(), other.intervals());
        let mut united = Vec::with_capacity(a.len() + b.len());
        loop {
            let from = match (a.first(), b.first()) {
                (Some(x), Some(y)) if x <= y => &mut a,
                (_, Some(_)) => &mut b,
                (Some(_), None) => &mut a,
                (None, None) => break,
            };
            push_united(&mut united, from[0]);
            *from = &from[1..];
        }
        *self = Self::of_sorted(united);
    }

    /// Removes every number of `other`; numbers that are not in it do not matter.
    pub fn remove(&mut self, other: &Self) {
        *self = self.without(other);
    }

    /// What is in this and not in `other`.
    #[must_use]
    pub fn without(&self, other: &Self) -> Self {
        if self.is_empty() || other.includes(self) {
            return Self::new();
        }
        if !self.meets(other) {
            return self.clone();
        }
        let mut cuts = other.intervals();
        let mut left = Vec::with_capacity(self.intervals().len() + cuts.len());
        for &(mut first, last) in self.intervals() {
            // A cut that reaches beyond this interval stays, for the next one.
            while let Some(&(cut_first, cut_last)) = cuts.first().filter(|cut| cut.0 <= last) {
                if cut_first > first {
                    left.push((first, cut_first - 1));
                }
                first = first.max(cut_last.saturating_add(1));
                if cut_last >= last {
                    break;
                }
                cuts = &cuts[1..];
            }
            let is_cut_off = cuts
                .first()
                .is_some_and(|cut| cut.0 <= last && last <= cut.1);
            if first <= last && !is_cut_off {
                left.push((first, last));
            }
        }
        Self::of_sorted(left)
    }

    /// What both hold.
    #[must_use]
    pub fn common(&self, other: &Self) -> Self {
        if self.includes(other) {
            return other.clone();
        }
        if other.includes(self) {
            return self.clone();
        }
        let (mut a, mut b) = (self.intervals(), other.intervals());
        let mut both = Vec::new();
        while let (Some(x), Some(y)) = (a.first(), b.first()) {
            let (first, last) = (x.0.max(y.0), x.1.min(y.1));
            if first <= last {
                both.push((first, last));
            }
            if x.1 < y.1 {
                a = &a[1..];
            } else {
                b = &b[1..];
            }
        }
        Self::of_sorted(both)
    }

    /// The numbers, ascending.
    pub fn iter(&self) -> impl Iterator<Item = u64> + '_ {
        self.intervals()
            .iter()
            .flat_map(|(first, last)| *first..=*last)
    }

    /// The `n`-th number, counted from zero.
    pub fn nth(&self, mut n: u64) -> Option<u64> {
        for (first, last) in self.intervals() {
            let length = (last - first).saturating_add(1);
            if n < length {
                return Some(first + n);
            }
            n -= length;
        }
        None
    }

    /// Whether both are the same list in memory; then they are equal.
    fn is_same(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Some(a), Some(b)) => Arc::ptr_eq(a, b),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        }
    }

    /// Takes intervals that are already sorted, disjoint and do not touch.
    fn of_sorted(intervals: Vec<(u64, u64)>) -> Self {
        if intervals.is_empty() {
            Self::new()
        } else {
            Self(Some(Arc::new(intervals.into_boxed_slice())))
        }
    }
}

/// Appends an interval that begins no earlier than the last one did, and unites them if they touch.
fn push_united(united: &mut Vec<(u64, u64)>, (first, last): (u64, u64)) {
    match united.last_mut() {
        Some((_, end)) if first <= end.saturating_add(1) => *end = last.max(*end),
        _ => united.push((first, last)),
    }
}

impl FromIterator<u64> for Ranges {
    fn from_iter<I: IntoIterator<Item = u64>>(numbers: I) -> Self {
        Self::from_iter(numbers.into_iter().map(|number| (number, number)))
    }
}

/// Intervals whose first is greater than their last hold nothing.
impl FromIterator<(u64, u64)> for Ranges {
    fn from_iter<I: IntoIterator<Item = (u64, u64)>>(intervals: I) -> Self {
        let mut sorted: Vec<(u64, u64)> = intervals
            .into_iter()
            .filter(|(first, last)| first <= last)
            .collect();
        sorted.sort_unstable();
        let mut united = Vec::with_capacity(sorted.len());
        for interval in sorted {
            push_united(&mut united, interval);
        }
        Self::of_sorted(united)
    }
}

/// As Mesos prints it: `[31000-31002, 31010-31010]`.
impl fmt::Display for Ranges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[")?;
        for (at, (first, last)) in self.intervals().iter().enumerate() {
            let comma = if at == 0 { "" } else { ", " };
            write!(f, "{comma}{first}-{last}")?;
        }
        f.write_str("]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[test]
    fn touching_intervals_become_one() {
        let ranges: Ranges = [(5, 7), (1, 2), (3, 4), (10, 9)].into_iter().collect();

        assert_eq!(ranges.intervals(), [(1, 7)]);
        assert_eq!(ranges.to_string(), "[1-7]");
    }

    #[test]
    fn the_largest_numbers_do_not_overflow() {
        let all = Ranges::interval(0, u64::MAX);
        let top = Ranges::interval(u64::MAX, u64::MAX);
        let mut rest = all.without(&top);

        assert_eq!(rest, Ranges::interval(0, u64::MAX - 1));
        assert_eq!(all.count(), u64::MAX);
        rest.add(&top);
        assert_eq!(rest, all);
    }

    fn numbers() -> impl Strategy<Value = BTreeSet<u64>> {
        proptest::collection::btree_set(0_u64..60, 0..30)
    }

    proptest! {
        #[test]
        fn ranges_behave_like_sets(a in numbers(), b in numbers()) {
            let (left, right): (Ranges, Ranges) = (a.iter().copied().collect(), b.iter().copied().collect());
            let mut union = left.clone();
            union.add(&right);
            let mut difference = left.clone();
            difference.remove(&right);

            prop_assert_eq!(&union, &a.union(&b).copied().collect::<Ranges>());
            prop_assert_eq!(&difference, &a.difference(&b).copied().collect::<Ranges>());
            prop_assert_eq!(&left.common(&right), &a.intersection(&b).copied().collect::<Ranges>());
            prop_assert_eq!(left.includes(&right), b.is_subset(&a));
            prop_assert_eq!(left.meets(&right), !b.is_disjoint(&a));
            prop_assert_eq!(left.count(), a.len() as u64);
            prop_assert_eq!(left.iter().collect::<Vec<_>>(), a.iter().copied().collect::<Vec<_>>());
            prop_assert_eq!(left.nth(3), a.iter().nth(3).copied());
            prop_assert_eq!(left.is_empty(), a.is_empty());
            for n in 0..60 { prop_assert_eq!(left.contains(n), a.contains(&n)); }
        }
    }
}
