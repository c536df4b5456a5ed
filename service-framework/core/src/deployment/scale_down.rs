//! Which instances go first when fewer are wanted. Pure.
//!
//! Where a GROUP_BY constraint keeps instances balanced, the fullest group gives first. Then those that do the least
//! work: waiting, unreachable, launching, staging, running but not ready, ready. Equals: the youngest, or the oldest
//! when the app says so.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use mete_model::Timestamp;

use crate::spec::app::KillSelection;
use crate::state::instances::{Instance, InstanceId, InstanceState};

/// Who goes before whom; the smallest goes first, the id makes the order the same in every run.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    work: u8,
    age: Age,
    id: InstanceId,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Age {
    Youngest(Reverse<Timestamp>),
    Oldest(Timestamp),
}

/// The `count` instances that go first. `grouped_by`: the field of the app's GROUP_BY constraint, if it has one.
pub fn victims<'a>(
    instances: impl Iterator<Item = &'a Arc<Instance>>,
    count: usize,
    selection: KillSelection,
    grouped_by: Option<&str>,
) -> Vec<InstanceId> {
    let mut groups: BTreeMap<Option<&str>, Vec<Rank>> = BTreeMap::new();
    for instance in instances {
        let group = grouped_by.and_then(|field| instance.place.as_ref()?.attribute(field));
        groups
            .entry(group)
            .or_default()
            .push(rank(instance, selection));
    }
    for group in groups.values_mut() {
        group.sort_unstable_by(|one, other| other.cmp(one)); // the first to go lies last, to be popped
    }
    let mut victims = Vec::new();
    while victims.len() < count {
        let fullest = groups
            .values_mut()
            .filter(|group| !group.is_empty())
            .max_by_key(|group| {
                let size = if grouped_by.is_some() { group.len() } else { 0 };
                (size, Reverse(group.last().cloned()))
            });
        let Some(first) = fullest.and_then(Vec::pop) else {
            break;
        };
        victims.push(first.id);
    }
    victims
}

fn rank(instance: &Instance, selection: KillSelection) -> Rank {
    let work = match instance.state {
        InstanceState::Waiting | InstanceState::Reserved { .. } => 0,
        InstanceState::Unreachable { .. } => 1,
        InstanceState::Launching { .. } => 2,
        InstanceState::Staging => 3,
        InstanceState::Starting => 4,
        InstanceState::Running { .. } if !instance.is_ready() => 5,
        InstanceState::Running { .. }
        | InstanceState::Draining { .. }
        | InstanceState::Killing { .. } => 6,
    };
    let active_since = instance
        .started_at
        .or(instance.staged_at)
        .unwrap_or(instance.since);
    let age = match selection {
        KillSelection::YoungestFirst => Age::Youngest(Reverse(active_since)),
        KillSelection::OldestFirst => Age::Oldest(active_since),
    };
    Rank {
        work,
        age,
        id: instance.id.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::app::{AppId, AppSpec};
    use crate::spec::history::AppVersion;
    use crate::state::instances::Place;

    fn instance(number: u8, started_s: u64, state: InstanceState, rack: &str) -> Arc<Instance> {
        let spec = Arc::new(AppSpec::new(AppId::new("/web").expect("good")));
        let place = Place {
            agent: mete_model::AgentId::new("a").expect("good"),
            host: "h".to_owned(),
            ip_addresses: Vec::new(),
            ports: Vec::new(),
            domain: None,
            attributes: vec![("rack".to_owned(), rack.to_owned())],
        };
        Arc::new(Instance {
            id: InstanceId::new(&spec.id, [number; 16]),
            version: Arc::new(AppVersion::first(Timestamp::EPOCH, spec)),
            state,
            since: Timestamp::EPOCH,
            place: Some(place),
            staged_at: None,
            started_at: Some(Timestamp::from_millis(started_s * 1_000)),
            health: Vec::new(),
            check: None,
            readiness: None,
            is_leaving: false,
            is_ending: false,
            containers: Vec::new(),
            incarnation: 1,
            holding: None,
        })
    }

    const READY: InstanceState = InstanceState::Running {
        healthy: Some(true),
    };

    fn order(
        instances: &[Arc<Instance>],
        selection: KillSelection,
        grouped_by: Option<&str>,
    ) -> Vec<usize> {
        let victims = victims(instances.iter(), instances.len() + 1, selection, grouped_by);
        let at = |id: &InstanceId| {
            instances
                .iter()
                .position(|instance| instance.id == *id)
                .expect("one of them")
        };
        victims.iter().map(at).collect()
    }

    #[test]
    fn those_that_do_the_least_go_first() {
        let sick = InstanceState::Running {
            healthy: Some(false),
        };
        let instances = [
            instance(0, 5, READY, "a"),
            instance(1, 1, sick, "a"),
            instance(2, 9, InstanceState::Staging, "a"),
        ];

        assert_eq!(
            order(&instances, KillSelection::YoungestFirst, None),
            [2, 1, 0]
        );
    }

    #[test]
    fn equals_go_by_age_as_the_app_says() {
        let instances = [
            instance(0, 5, READY, "a"),
            instance(1, 1, READY, "a"),
            instance(2, 9, READY, "b"),
        ];

        assert_eq!(
            order(&instances, KillSelection::YoungestFirst, None),
            [2, 0, 1]
        );
        assert_eq!(
            order(&instances, KillSelection::OldestFirst, None),
            [1, 0, 2]
        );
    }

    #[test]
    fn the_fullest_group_gives_first() {
        let instances = [
            instance(0, 1, READY, "a"),
            instance(1, 2, READY, "a"),
            instance(2, 3, READY, "a"),
            instance(3, 9, READY, "b"),
        ];

        assert_eq!(
            order(&instances, KillSelection::YoungestFirst, Some("rack")),
            [2, 1, 3, 0]
        );
    }
}
