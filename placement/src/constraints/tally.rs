//! How many instances stand on which value of one constraint's field.

use std::collections::BTreeMap;

use super::{Constraint, Place};

/// Counts per value. Kept up by [`Tally::add`] instead of being counted anew for each place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    counts: BTreeMap<String, u32>,
}

impl Tally {
    /// Counts instances for one constraint.
    pub fn new<'a>(
        constraint: &Constraint,
        instances: impl IntoIterator<Item = Place<'a>>,
    ) -> Self {
        let mut tally = Self::default();
        for place in instances {
            tally.add(constraint, place);
        }
        tally
    }

    /// One more instance.
    pub fn add(&mut self, constraint: &Constraint, place: Place<'_>) {
        let Some(value) = constraint.field.value(place) else {
            return;
        };
        match self.counts.get_mut(&*value) {
            Some(count) => *count = count.saturating_add(1),
            None => {
                self.counts.insert(value.into_owned(), 1);
            }
        }
    }

    /// Every value that some stand on, in order, and how many.
    pub fn values(&self) -> impl Iterator<Item = (&str, u32)> {
        self.counts.iter().map(|(value, count)| (&**value, *count))
    }

    /// How many stand on `value`.
    pub fn count(&self, value: &str) -> u32 {
        self.counts.get(value).copied().unwrap_or(0)
    }

    /// Whether none stands on another value.
    pub fn is_all_on(&self, value: &str) -> bool {
        match self.counts.len() {
            0 => true,
            1 => self.counts.contains_key(value),
            _ => false,
        }
    }

    /// How many stand on the value with the fewest, when at least `groups` values are expected.
    pub fn least(&self, groups: u32) -> u32 {
        if self.counts.len() < groups as usize {
            0
        } else {
            self.counts.values().copied().min().unwrap_or(0)
        }
    }
}
