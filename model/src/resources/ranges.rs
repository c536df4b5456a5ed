//! Sets of numbers as closed intervals: ports.

use std::fmt;

/// A set of numbers, kept as sorted, disjoint, non-touching closed intervals.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ranges(Vec<(u64, u64)>);

impl Ranges {
    /// The empty set.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// All numbers from `first` to `last`, both included; empty when `first` is greater.
    pub fn interval(first: u64, last: u64) -> Self {
        if first > last {
            Self::new()
        } else {
            Self(vec![(first, last)])
        }
    }

    /// The intervals, ascending.
    pub fn intervals(&self) -> &[(u64, u64)] {
        &self.0
    }

    /// Whether there is no number in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many numbers are in it; saturates.
    pub fn count(&self) -> u64 {
        self.0.iter().fold(0, |sum: u64, (first, last)| {
            sum.saturating_add((last - first).saturating_add(1))
        })
    }

    /// Whether `number` is in it.
    pub fn contains(&self, number: u64) -> bool {
        let at = self.0.partition_point(|(_, last)| *last < number);
        self.0.get(at).is_some_and(|(first, _)| *first <= number)
    }

    /// Whether every number of `other` is in it.
    pub fn includes(&self, other: &Self) -> bool {
        other.0.iter().all(|(first, last)| {
            let at = self.0.partition_point(|(_, end)| end < first);
            self.0
                .get(at)
                .is_some_and(|(start, end)| start <= first && last <= end)
        })
    }

    /// Adds every number of `other`.
    pub fn add(&mut self, other: &Self) {
        if other.0.is_empty() {
            return;
        }
        self.0.extend_from_slice(&other.0);
        self.0.sort_unstable();
        let mut merged: Vec<(u64, u64)> = Vec::with_capacity(self.0.len());
        for &(first, last) in &self.0 {
            match merged.last_mut() {
                Some((_, end)) if first <= end.saturating_add(1) => *end = last.max(*end),
                _ => merged.push((first, last)),
            }
        }
        self.0 = merged;
    }

    /// Removes every number of `other`; numbers that are not in it do not matter.
    pub fn remove(&mut self, other: &Self) {
        for &(cut_first, cut_last) in &other.0 {
            let mut left = Vec::with_capacity(self.0.len() + 1);
            for &(first, last) in &self.0 {
                if last < cut_first || cut_last < first {
                    left.push((first, last));
                    continue;
                }
                if first < cut_first {
                    left.push((first, cut_first - 1));
                }
                if cut_last < last {
                    left.push((cut_last + 1, last));
                }
            }
            self.0 = left;
        }
    }

    /// What both hold.
    pub fn common(&self, other: &Self) -> Self {
        let mut outside = self.clone();
        outside.remove(other);
        let mut both = self.clone();
        both.remove(&outside);
        both
    }

    /// The numbers, ascending.
    pub fn iter(&self) -> impl Iterator<Item = u64> + '_ {
        self.0.iter().flat_map(|(first, last)| *first..=*last)
    }

    /// The `n`-th number, counted from zero.
    pub fn nth(&self, mut n: u64) -> Option<u64> {
        for (first, last) in &self.0 {
            let length = (last - first).saturating_add(1);
            if n < length {
                return Some(first + n);
            }
            n -= length;
        }
        None
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
        let mut ranges = Self::new();
        let all = Self(
            intervals
                .into_iter()
                .filter(|(first, last)| first <= last)
                .collect(),
        );
        ranges.add(&all);
        ranges
    }
}

/// As Mesos prints it: `[31000-31002, 31010-31010]`.
impl fmt::Display for Ranges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[")?;
        for (at, (first, last)) in self.0.iter().enumerate() {
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

    #[test]
    fn touching_intervals_become_one() {
        let ranges: Ranges = [(5, 7), (1, 2), (3, 4), (10, 9)].into_iter().collect();

        assert_eq!(ranges.intervals(), [(1, 7)]);
        assert_eq!(ranges.to_string(), "[1-7]");
    }

    proptest! {
        #[test]
        fn ranges_behave_like_sets(a in proptest::collection::btree_set(0_u64..60, 0..30), b in proptest::collection::btree_set(0_u64..60, 0..30)) {
            let (left, right): (Ranges, Ranges) = (a.iter().copied().collect(), b.iter().copied().collect());
            let mut union = left.clone();
            union.add(&right);
            let mut difference = left.clone();
            difference.remove(&right);

            prop_assert_eq!(union, a.union(&b).copied().collect::<Ranges>());
            prop_assert_eq!(&difference, &a.difference(&b).copied().collect::<Ranges>());
            prop_assert_eq!(left.common(&right), a.intersection(&b).copied().collect::<Ranges>());
            prop_assert_eq!(left.includes(&right), b.is_subset(&a));
            prop_assert_eq!(left.count(), a.len() as u64);
            prop_assert_eq!(left.iter().collect::<Vec<_>>(), a.iter().copied().collect::<Vec<_>>());
            prop_assert_eq!(left.nth(3), a.iter().nth(3).copied());
            for n in 0..60 { prop_assert_eq!(left.contains(n), a.contains(&n)); }
        }
    }
}
