//! Which instance the framework itself asks for which of its checks, and when.
//!
//! ```text
//! (runs) ─▶ due at a moment ─▶ being asked ─▶ due again ─▶ …      any ─▶ (runs no more) forgotten
//! ```
//! Invariants: a check of an instance is asked once at a time; an instance that does not run is not asked. Nothing of it
//! is stored: after a restart each check is asked anew, at its place in the interval.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use mete_model::Timestamp;

use crate::probe::{self, Check};
use crate::state::instances::{Instance, InstanceId, InstanceState};

/// Checks that are asked by the framework.
#[derive(Clone, Debug, Default)]
pub(crate) struct Probes {
    /// Each check of each instance that runs, with the moment when it is due; `None`: it is being asked.
    all: BTreeMap<(InstanceId, Check), Option<Timestamp>>,
    /// The same by moment.
    due: BTreeSet<(Timestamp, InstanceId, Check)>,
}

impl Probes {
    /// Brings the checks of an instance up to date. One that is new is due `first`, which is told its interval.
    pub(crate) fn follow(
        &mut self,
        instance: &Instance,
        first: impl Fn((Check, Duration)) -> Timestamp,
    ) {
        if instance.is_ending || !matches!(instance.state, InstanceState::Running { .. }) {
            self.forget(&instance.id);
            return;
        }
        if !instance.awaits_readiness() {
            self.drop_check(&instance.id, Check::Readiness);
        }
        let readiness = instance.awaits_readiness().then_some(Check::Readiness);
        let checks = instance.version.spec.own_checks().map(Check::Health);
        for check in checks.chain(readiness) {
            let key = (instance.id.clone(), check);
            if !self.all.contains_key(&key)
                && let Some(every) = probe::interval(instance, check)
            {
                self.put_off(&instance.id, check, first((check, every)));
            }
        }
    }

    /// Nothing is asked of this instance any more.
    pub(crate) fn forget(&mut self, id: &InstanceId) {
        let first = (id.clone(), Check::Health(0));
        let of_it = self.all.range(first..).take_while(|((of, _), _)| of == id);
        let keys: Vec<_> = of_it.map(|(key, _)| key.clone()).collect();
        for (id, check) in keys {
            self.drop_check(&id, check);
        }
    }

    fn drop_check(&mut self, id: &InstanceId, check: Check) {
        if let Some(Some(at)) = self.all.remove(&(id.clone(), check)) {
            self.due.remove(&(at, id.clone(), check));
        }
    }

    /// The check is due then, and not before.
    pub(crate) fn put_off(&mut self, id: &InstanceId, check: Check, until: Timestamp) {
        let before = self.all.insert((id.clone(), check), Some(until));
        if let Some(Some(at)) = before {
            self.due.remove(&(at, id.clone(), check));
        }
        self.due.insert((until, id.clone(), check));
    }

    /// Whether an answer was waited for.
    pub(crate) fn is_asked(&self, id: &InstanceId, check: Check) -> bool {
        self.all.get(&(id.clone(), check)) == Some(&None)
    }

    pub(crate) fn next_deadline(&self) -> Option<Timestamp> {
        self.due.first().map(|(at, _, _)| *at)
    }

    /// What is due; it is being asked from now on.
    pub(crate) fn take_due(&mut self, now: Timestamp) -> Vec<(InstanceId, Check)> {
        let mut taken = Vec::new();
        while let Some((at, id, check)) = self.due.pop_first() {
            if at > now {
                self.due.insert((at, id, check));
                break;
            }
            self.all.insert((id.clone(), check), None);
            taken.push((id, check));
        }
        taken
    }
}

/// When a check is asked next, not before `earliest`. Each check of each instance has its own place in the interval, by
/// name: so thousands that began together are not asked together, and nothing of it is left to chance.
pub(crate) fn next(
    earliest: Timestamp,
    id: &InstanceId,
    check: Check,
    interval: Duration,
) -> Timestamp {
    let interval = u64::try_from(interval.as_micros())
        .unwrap_or(u64::MAX / 2)
        .clamp(1, u64::MAX / 2);
    let at = earliest.as_micros();
    let missing = (place(id, check) % interval + interval - at % interval) % interval;
    Timestamp::from_micros(at.saturating_add(missing))
}

/// A number that a check of an instance always has: FNV-1a, which scatters names that differ in little.
fn place(id: &InstanceId, check: Check) -> u64 {
    let number = match check {
        Check::Health(at) => at,
        Check::Readiness => usize::MAX,
    };
    let bytes = id.as_str().bytes().chain(number.to_le_bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::app::AppId;

    fn id(number: u128) -> InstanceId {
        let app = AppId::new("/web").expect("good");
        InstanceId::new(&app, number.to_be_bytes())
    }

    #[test]
    fn many_instances_are_asked_evenly_over_the_interval() {
        let (noon, every) = (
            Timestamp::from_millis(1_700_000_000_000),
            Duration::from_secs(10),
        );
        let mut in_second = [0; 10];

        for number in 0..5_000 {
            let at = next(noon, &id(number), Check::Health(0), every);
            assert!(at >= noon && at < noon + every);
            in_second[at.since(noon).as_secs() as usize] += 1;
            assert_eq!(
                next(noon + every, &id(number), Check::Health(0), every),
                at + every,
                "the place in the interval stays"
            );
        }

        assert!(
            in_second.iter().all(|count| (400..600).contains(count)),
            "{in_second:?}"
        );
    }
}
