//! Ranges of addresses: the first is the bridge's, the others are given out one after the other.

use std::collections::BTreeSet;
use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The widest range: the number of an address has 16 bits.
const WIDEST: u8 = 16;

/// The narrowest range: bridge and one container.
const NARROWEST: u8 = 30;

/// A range of IPv4 addresses: `172.31.5.0/24`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Range {
    network: Ipv4Addr,
    prefix: u8,
}

/// Why a text is no range of addresses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no range of addresses: {rule}")]
pub struct BadRange {
    text: String,
    rule: &'static str,
}

impl FromStr for Range {
    type Err = BadRange;
    fn from_str(text: &str) -> Result<Self, BadRange> {
        let bad = |rule| BadRange {
            text: text.to_owned(),
            rule,
        };
        let (network, prefix) = parse(text).ok_or_else(|| bad("it is written as 172.31.5.0/24"))?;
        if !(WIDEST..=NARROWEST).contains(&prefix) {
            return Err(bad("it has from 16 to 30 bits in common"));
        }
        let range = Self { network, prefix };
        if u32::from(network) & !range.mask() != 0 {
            return Err(bad("it begins with an address whose last bits are zero"));
        }
        Ok(range)
    }
}

impl TryFrom<String> for Range {
    type Error = BadRange;
    fn try_from(text: String) -> Result<Self, BadRange> {
        text.parse()
    }
}

impl From<Range> for String {
    fn from(range: Range) -> Self {
        range.to_string()
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network, self.prefix)
    }
}

fn parse(text: &str) -> Option<(Ipv4Addr, u8)> {
    let (address, prefix) = text.split_once('/')?;
    Some((address.parse().ok()?, prefix.parse().ok()?))
}

impl Range {
    /// The `n`-th of those that are tried when nothing is said.
    pub(super) const fn usual(n: u8) -> Self {
        Self {
            network: Ipv4Addr::new(172, 31, n, 0),
            prefix: 24,
        }
    }

    const fn mask(self) -> u32 {
        u32::MAX << (32 - self.prefix)
    }

    /// How many bits all addresses have in common.
    pub(super) const fn prefix(self) -> u8 {
        self.prefix
    }

    /// The bridge's own address.
    pub(super) fn gateway(self) -> Ipv4Addr {
        self.at(1)
    }

    fn at(self, index: u32) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.network) | index)
    }

    /// The number of an address within the range.
    pub(super) fn index(self, address: Ipv4Addr) -> u16 {
        // A range has 16 bits of its own at most.
        (u32::from(address) & !self.mask() & u32::from(u16::MAX)) as u16
    }

    /// Whether an address lies in it.
    pub(super) fn holds(self, address: Ipv4Addr) -> bool {
        u32::from(address) & self.mask() == u32::from(self.network)
    }

    /// The first address after `last`, in a circle, that is not taken.
    pub(super) fn next(
        self,
        last: Option<Ipv4Addr>,
        taken: &BTreeSet<Ipv4Addr>,
    ) -> Option<Ipv4Addr> {
        // Neither the network's own, nor the bridge's, nor the one that means all.
        let (first, end) = (2, !self.mask());
        let last = last.filter(|last| self.holds(*last));
        let after = last.map_or(first, |last| u32::from(self.index(last)) + 1);
        let after = after.clamp(first, end);
        let mut candidates = (after..end).chain(first..after).map(|index| self.at(index));
        candidates.find(|address| !taken.contains(address))
    }

    /// Whether it has addresses in common with `10.0.0.0/8`, `192.0.2.1` or the like; words that are no addresses
    /// have none.
    pub(super) fn overlaps(self, text: &str) -> bool {
        let parsed = parse(text).or_else(|| Some((text.parse().ok()?, 32)));
        let Some((address, prefix @ 1..=32)) = parsed else {
            return false;
        };
        let mask = self.mask() & (u32::MAX << (32 - u32::from(prefix)));
        u32::from(address) & mask == u32::from(self.network) & mask
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let range: Range = "172.31.5.0/24".parse().expect("good");

        assert_eq!(range.to_string(), "172.31.5.0/24");
        assert_eq!(range, Range::usual(5));
        assert_eq!(range.gateway(), Ipv4Addr::new(172, 31, 5, 1));
        for bad in [
            "172.31.5.0",
            "172.31.5.1/24",
            "172.31.5.0/31",
            "10.0.0.0/8",
            "x/24",
        ] {
            assert!(bad.parse::<Range>().is_err(), "{bad}");
        }
    }

    #[test]
    fn addresses_go_round_and_are_given_once() {
        let range: Range = "10.1.0.0/29".parse().expect("good");
        let at = |last: u8| Ipv4Addr::new(10, 1, 0, last);
        let mut taken: BTreeSet<_> = [at(3)].into();

        assert_eq!(range.next(None, &taken), Some(at(2)));
        assert_eq!(range.next(Some(at(2)), &taken), Some(at(4)));
        assert_eq!(range.next(Some(at(6)), &taken), Some(at(2)));
        assert_eq!(range.next(Some(Ipv4Addr::LOCALHOST), &taken), Some(at(2)));
        taken.extend([at(2), at(4), at(5), at(6)]);
        assert_eq!(range.next(Some(at(2)), &taken), None);
    }

    #[test]
    fn ranges_that_are_in_use_are_seen() {
        let range = Range::usual(5);

        for other in [
            "172.31.5.9",
            "172.31.5.0/30",
            "172.16.0.0/12",
            "172.31.5.1/24",
        ] {
            assert!(range.overlaps(other), "{other}");
        }
        // The way to everywhere is in nobody's way.
        for other in ["172.31.4.0/24", "default", "0.0.0.0/0", "192.0.2.2/24"] {
            assert!(!range.overlaps(other), "{other}");
        }
    }
}
