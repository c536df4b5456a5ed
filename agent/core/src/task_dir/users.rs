//! Users of a container that are others outside.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Users and groups of a container: number `n` inside is `first + n` on the machine. Text form: `FIRST:COUNT`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdRange {
    /// Whom root is outside; never root.
    pub first: u32,
    /// How many there are; at least one.
    pub count: u32,
}

/// A text that is no range.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not of the form FIRST:COUNT, both above zero and together at most 4294967295")]
pub struct BadIdRange(String);

impl IdRange {
    /// Who that is on the machine; `None`: nobody.
    pub const fn outside(self, id: u32) -> Option<u32> {
        match id < self.count {
            true => self.first.checked_add(id),
            false => None,
        }
    }
}

impl fmt::Display for IdRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.first, self.count)
    }
}

impl FromStr for IdRange {
    type Err = BadIdRange;
    fn from_str(text: &str) -> Result<Self, BadIdRange> {
        let numbers = text.split_once(':').and_then(|(first, count)| {
            let (first, count): (u32, u32) = (first.parse().ok()?, count.parse().ok()?);
            first.checked_add(count)?;
            (first > 0 && count > 0).then_some(Self { first, count })
        });
        numbers.ok_or_else(|| BadIdRange(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_inside_is_another_outside_or_nobody() {
        let range: IdRange = "100000:65536".parse().expect("fine");

        assert_eq!(range.outside(0), Some(100_000));
        assert_eq!(range.outside(65_535), Some(165_535));
        assert_eq!(range.outside(65_536), None);
        assert_eq!(range.to_string(), "100000:65536");
        for bad in ["", "1", "0:5", "5:0", "1:-1", "4294967295:1", "a:b"] {
            assert!(bad.parse::<IdRange>().is_err(), "{bad}");
        }
    }
}
