//! Service ports: given once, kept over updates. Those that are given are unique over all apps; those that apps ask for by
//! number need not be.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use crate::spec::app::PortDefinition;

/// Every service port of the range is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no service port left")]
pub struct UsedUp;

/// Gives each definition that asks for port 0 a number: the one `before` had at the same place, another one of
/// `before`, or the lowest of `range` of which no app says that it `is_taken`. What it had it keeps, whoever has asked for
/// the same number since.
///
/// # Errors
/// [`UsedUp`] when there is none; some definitions may have been given one by then.
pub fn assign(
    definitions: &mut [PortDefinition],
    before: &[PortDefinition],
    is_taken: impl Fn(u16) -> bool,
    range: RangeInclusive<u16>,
) -> Result<(), UsedUp> {
    let mut used: BTreeSet<u16> = definitions
        .iter()
        .map(|definition| definition.port)
        .filter(|port| *port != 0)
        .collect();
    for (at, definition) in definitions
        .iter_mut()
        .enumerate()
        .filter(|(_, definition)| definition.port == 0)
    {
        let same_place = before.get(at).map(|old| old.port);
        let is_free = |port: &u16| *port != 0 && !used.contains(port);
        if let Some(port) = same_place.filter(is_free) {
            used.insert(port);
            definition.port = port;
        }
    }
    let left_over: Vec<u16> = before
        .iter()
        .map(|old| old.port)
        .filter(|port| *port != 0 && !used.contains(port))
        .collect();
    let free =
        range.filter(|port| !is_taken(*port) && !used.contains(port) && !left_over.contains(port));
    let mut candidates = left_over.iter().copied().chain(free);
    for definition in definitions
        .iter_mut()
        .filter(|definition| definition.port == 0)
    {
        definition.port = candidates.next().ok_or(UsedUp)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn definitions(ports: &[u16]) -> Vec<PortDefinition> {
        ports
            .iter()
            .map(|port| PortDefinition {
                port: *port,
                ..PortDefinition::default_port()
            })
            .collect()
    }

    fn assigned(asked: &[u16], before: &[u16], taken: &[u16]) -> Result<Vec<u16>, UsedUp> {
        let mut asked = definitions(asked);
        assign(
            &mut asked,
            &definitions(before),
            |port| taken.contains(&port),
            10_000..=10_003,
        )?;
        Ok(asked.iter().map(|definition| definition.port).collect())
    }

    #[test]
    fn the_lowest_free_numbers_are_given() {
        assert_eq!(
            assigned(&[0, 80, 0], &[], &[10_000, 10_002]),
            Ok(vec![10_001, 80, 10_003])
        );
        assert_eq!(
            assigned(&[0, 0], &[], &[10_000, 10_001, 10_002]),
            Err(UsedUp)
        );
    }

    #[test]
    fn an_update_keeps_the_numbers() {
        assert_eq!(
            assigned(&[0, 0], &[10_003, 10_001], &[]),
            Ok(vec![10_003, 10_001])
        );
        assert_eq!(
            assigned(&[0, 0], &[10_003, 10_001], &[10_003]),
            Ok(vec![10_003, 10_001]),
            "another app has asked for one since"
        );
        assert_eq!(
            assigned(&[10_001, 0, 0], &[10_003, 10_001], &[]),
            Ok(vec![10_001, 10_003, 10_000])
        );
    }
}
