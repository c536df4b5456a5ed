//! Which ports of an offer a task gets.

use mete_model::Ranges;

/// One port a task asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PortAsk {
    /// Whichever is there.
    Any,
    /// This one.
    Exactly(u64),
}

/// The ports that are asked for by number.
pub(crate) fn fixed(asks: &[PortAsk]) -> Ranges {
    asks.iter()
        .filter_map(|ask| match ask {
            PortAsk::Any => None,
            PortAsk::Exactly(port) => Some(*port),
        })
        .collect()
}

/// How many ports are asked for without a number.
pub(crate) fn any_count(asks: &[PortAsk]) -> u64 {
    asks.iter().filter(|ask| **ask == PortAsk::Any).count() as u64
}

/// Whether no port is asked for twice by number.
pub(crate) fn are_distinct(asks: &[PortAsk]) -> bool {
    fixed(asks).count() + any_count(asks) == asks.len() as u64
}

/// Picks ports out of `there` in the order they were asked for; `None` when they are not there.
/// Those without a number start at a place that `seed` decides and follow one another, so that a port
/// that was just given up is rarely given out at once (Marathon's rule).
pub fn choose(there: &Ranges, asks: &[PortAsk], seed: u64) -> Option<Vec<u64>> {
    let fixed = fixed(asks);
    if !there.includes(&fixed) || !are_distinct(asks) {
        return None;
    }
    let mut pool = there.clone();
    pool.remove(&fixed);
    let size = pool.count();
    if size < any_count(asks) {
        return None;
    }
    let mut at = if size == 0 { 0 } else { scatter(seed) % size };
    asks.iter()
        .map(|ask| match ask {
            PortAsk::Exactly(port) => Some(*port),
            PortAsk::Any => {
                let port = pool.nth(at);
                at = (at + 1) % size;
                port
            }
        })
        .collect()
}

/// Seeds that are close to each other lead far apart (the last steps of splitmix64).
pub(crate) const fn scatter(seed: u64) -> u64 {
    let seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let seed = (seed ^ (seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let seed = (seed ^ (seed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    seed ^ (seed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ports_come_in_the_order_they_were_asked_for() {
        let there = Ranges::interval(31_000, 31_003);
        let asks = [PortAsk::Any, PortAsk::Exactly(31_001), PortAsk::Any];

        let mut ports = choose(&there, &asks, 7).expect("all there");

        assert_eq!(ports[1], 31_001);
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), 3);
    }

    #[test]
    fn a_port_is_not_given_twice() {
        let there = Ranges::interval(80, 81);

        assert_eq!(choose(&there, &[PortAsk::Exactly(80); 2], 1), None);
        assert_eq!(choose(&there, &[PortAsk::Any; 3], 1), None);
        assert_eq!(choose(&there, &[PortAsk::Exactly(79)], 1), None);
    }

    proptest! {
        #[test]
        fn chosen_ports_are_there_and_distinct(there in proptest::collection::btree_set(0_u64..50, 0..20), any in 0_usize..20, seed: u64) {
            let ranges: Ranges = there.iter().copied().collect();

            match choose(&ranges, &vec![PortAsk::Any; any], seed) {
                Some(ports) => {
                    let distinct: std::collections::BTreeSet<u64> = ports.iter().copied().collect();
                    prop_assert_eq!(distinct.len(), any);
                    prop_assert!(distinct.is_subset(&there));
                }
                None => prop_assert!(there.len() < any),
            }
        }
    }
}
