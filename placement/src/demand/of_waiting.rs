//! The shape of tasks that wait for the matcher: what of their constraints can be told of an agent by itself.
//!
//! A shape never excludes a place that the matcher would take: what cannot be said so is left out, and the
//! matcher decides when the offer is there.
//!
//! | constraint | in the shape |
//! |---|---|
//! | IS, LIKE, UNLIKE, CLUSTER with a value | as it is |
//! | UNIQUE | one per agent; not where one stands |
//! | MAX_PER n | n per agent; not where n stand |
//! | CLUSTER without a value | where the others stand, once they do |
//! | GROUP_BY | as many per agent as keep its value level with the others; not where more stand than elsewhere; first where none stand |
//! | any of the last four | only where there is the attribute |

use super::{MAX_ANY_PORTS, MAX_CONSTRAINTS, MAX_COUNT, Shape, Takes, WHOLE_GPU};
use crate::constraints::{Constraint, Field, MAX_PATTERN_BYTES, Pattern, Rule, Tally};
use crate::matcher::Waiting;
use crate::ports;
use crate::quota::MIN_CPUS_MILLI;

/// Constraints of one shape that name where others stand, a kilobyte each: some hundred hosts. Where more
/// stand, the rest is left to the matcher, and a thousand shapes still fit into one message.
const MAX_TAKEN: usize = 4;

impl Shape {
    /// The shape of tasks that wait, as far as it can be told of an agent by itself.
    pub fn of(waiting: &Waiting) -> Self {
        let mut shape = Self {
            name: None,
            role: waiting.roles.first().cloned(),
            resources: waiting.fixed(),
            any_ports: u32::try_from(ports::any_count(&waiting.ports)).unwrap_or(u32::MAX),
            constraints: Vec::new(),
            preferred: Vec::new(),
            max_per_agent: None,
            takes: Takes::Any,
            count: waiting.count,
        };
        for constraint in &waiting.constraints {
            shape.constrain(constraint, waiting);
        }
        shape.keep_within_bounds();
        shape
    }

    /// Whatever waits can be said: what passes a bound of shapes is said as far as it goes, and who asks for nothing asks for
    /// the least that is offered.
    fn keep_within_bounds(&mut self) {
        if self.resources.is_empty() && self.any_ports == 0 {
            self.resources.cpus_milli = MIN_CPUS_MILLI;
        }
        if self.resources.gpus_milli > WHOLE_GPU {
            self.resources.gpus_milli = self.resources.gpus_milli.next_multiple_of(WHOLE_GPU);
        }
        self.count = self.count.clamp(1, MAX_COUNT);
        self.any_ports = self.any_ports.min(MAX_ANY_PORTS);
        self.max_per_agent = self.max_per_agent.map(|most| most.max(1));
        self.constraints.truncate(MAX_CONSTRAINTS);
        let room = MAX_CONSTRAINTS - self.constraints.len();
        self.preferred.truncate(room);
    }

    fn constrain(&mut self, constraint: &Constraint, waiting: &Waiting) {
        let tally = || {
            Tally::new(
                constraint,
                waiting.placed.iter().map(|placed| placed.place()),
            )
        };
        match &constraint.rule {
            Rule::Is(_)
            | Rule::Home(_)
            | Rule::Like(_)
            | Rule::Unlike(_)
            | Rule::Cluster(Some(_)) => {
                self.constraints.push(constraint.clone());
                return;
            }
            Rule::Unique => {
                self.at_most_per_agent(1);
                self.keep_away(constraint, &tally(), |count| count >= 1);
            }
            Rule::MaxPer(most) => {
                self.at_most_per_agent(*most);
                self.keep_away(constraint, &tally(), |count| count >= *most);
            }
            Rule::Cluster(None) => {
                let tally = tally();
                let mut values = tally.values();
                // Where the others stand on several values nothing would be taken, whatever is said here.
                if let (Some((value, _)), None) = (values.next(), values.next()) {
                    let rule = Rule::Cluster(Some(value.to_owned()));
                    self.constraints.push(part(constraint, rule));
                    return;
                }
            }
            Rule::GroupBy(groups) => {
                let tally = tally();
                let least = tally.least(*groups);
                self.at_most_per_agent(level(&tally, self.count, *groups, least));
                let closed = named(constraint, &tally, |count| count > least);
                // A value that has not been seen may have come: an agent that joined, or is back.
                let seen = named(constraint, &tally, |count| (1..=least).contains(&count));
                self.preferred
                    .extend(seen.into_iter().take(MAX_TAKEN - closed.len()));
                self.constraints.extend(closed);
            }
        }
        self.needs(constraint);
    }

    fn at_most_per_agent(&mut self, most: u32) {
        let before = self.max_per_agent.unwrap_or(u32::MAX);
        self.max_per_agent = Some(before.min(most));
    }

    /// Not on the values of which `is_closed` holds.
    fn keep_away(&mut self, of: &Constraint, tally: &Tally, is_closed: impl Fn(u32) -> bool) {
        self.constraints.extend(named(of, tally, is_closed));
    }

    /// Only where there is something in the field; every agent has a host name.
    fn needs(&mut self, of: &Constraint) {
        if of.field == Field::Hostname {
            return;
        }
        if let Ok(anything) = Pattern::new("(?s).*") {
            self.constraints.push(part(of, Rule::Like(anything)));
        }
    }
}

/// A part of a constraint that is not told as it is.
fn part(written: &Constraint, rule: Rule) -> Constraint {
    let part = Constraint {
        field: written.field.clone(),
        rule,
        stated: None,
    };
    part.standing_for(written)
}

/// That it is none of the values of which `is_closed` holds, as many as can be named.
fn named(of: &Constraint, tally: &Tally, is_closed: impl Fn(u32) -> bool) -> Vec<Constraint> {
    let closed = tally.values().filter(|(_, count)| is_closed(*count));
    let mut lists: Vec<String> = Vec::new();
    for (value, _) in closed {
        let word = regex::escape(value);
        if word.len() > MAX_PATTERN_BYTES {
            continue; // Too long to be named.
        }
        match lists.last_mut() {
            Some(list) if list.len() + 1 + word.len() <= MAX_PATTERN_BYTES => {
                list.push('|');
                list.push_str(&word);
            }
            Some(_) | None => lists.push(word),
        }
        if lists.len() > MAX_TAKEN {
            lists.truncate(MAX_TAKEN);
            break;
        }
    }
    let patterns = lists.iter().filter_map(|list| Pattern::new(list).ok());
    patterns
        .map(|pattern| part(of, Rule::Unlike(pattern)))
        .collect()
}

/// How many more of a shape one value may get before others are looked at: the share of each value, but no more than stand
/// there. An allocator that fills one agent after the other shows one value only; so the first round shows
/// every agent, and those after it grow by doubling as long as no value is new.
fn level(tally: &Tally, waiting: u32, groups: u32, least: u32) -> u32 {
    let (values, standing) = tally
        .values()
        .fold((0_u64, 0_u64), |(values, sum), (_, count)| {
            (values + 1, sum + u64::from(count))
        });
    let values = values.max(u64::from(groups)).max(1);
    let share = (standing + u64::from(waiting)).div_ceil(values);
    let more = share.saturating_sub(u64::from(least));
    u32::try_from(more).unwrap_or(u32::MAX).min(least).max(1)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use mete_model::{AttributeValue, Attributes, FaultDomain, Ranges, Resources, Role};
    use proptest::prelude::*;

    use super::*;
    use crate::constraints::Placed;
    use crate::ports::PortAsk;

    fn placed(host: &str, rack: Option<&str>) -> Placed {
        let mut attributes = Attributes::new();
        if let Some(rack) = rack {
            attributes.set("rack", AttributeValue::Text(Arc::from(rack)));
        }
        Placed {
            hostname: host.to_owned(),
            domain: None::<FaultDomain>,
            attributes,
        }
    }

    fn waiting(constraints: &[(&str, &str, Option<&str>)], placed: &[Placed]) -> Waiting {
        let read = |(field, operator, value): &(&str, &str, Option<&str>)| {
            Constraint::parse(field, operator, *value).expect("good")
        };
        Waiting {
            constraints: constraints.iter().map(read).collect(),
            placed: placed.to_vec(),
            ..Waiting::new(Resources::cpus_mem(1_000, 64))
        }
    }

    /// What its constraints say of an agent.
    fn words(shape: &Shape) -> Vec<String> {
        words_of(&shape.constraints)
    }

    fn words_of(constraints: &[Constraint]) -> Vec<String> {
        let as_it_is = |constraint: &Constraint| Constraint {
            stated: None,
            ..constraint.clone()
        };
        let all = constraints.iter().map(as_it_is);
        all.map(|constraint| constraint.to_string()).collect()
    }

    #[test]
    fn what_a_constraint_comes_down_to_is_told_as_it_was_written() {
        let told = |constraint: (&str, &str, Option<&str>)| -> Vec<String> {
            let placed = [placed("h1", Some("a")), placed("h2", Some("a"))];
            let shape = Shape::of(&waiting(&[constraint], &placed));
            shape.constraints.iter().map(ToString::to_string).collect()
        };

        assert_eq!(told(("hostname", "UNIQUE", None)), ["hostname:UNIQUE"]);
        assert_eq!(told(("rack", "MAX_PER", Some("2"))), ["rack:MAX_PER:2"; 2]);
        assert_eq!(told(("rack", "CLUSTER", None)), ["rack:CLUSTER"]);
        assert_eq!(told(("rack", "UNLIKE", Some("a|b"))), ["rack:UNLIKE:a|b"]);
        let long = "x".repeat(300);
        assert_eq!(told((&long, "UNIQUE", None))[0], long[..255]);
    }

    #[test]
    fn what_is_asked_for_is_in_the_shape() {
        let waiting = Waiting {
            ports: vec![PortAsk::Any, PortAsk::Exactly(80), PortAsk::Any],
            count: 7,
            roles: [Role::new("web").expect("good")].into(),
            ..waiting(&[], &[])
        };

        let shape = Shape::of(&waiting);

        let expected = Shape {
            role: Some(Role::new("web").expect("good")),
            any_ports: 2,
            count: 7,
            ..Shape::new(Resources::cpus_mem(1_000, 64).with_ports(Ranges::interval(80, 80)))
        };
        assert_eq!(shape, expected);
    }

    #[test]
    fn unique_hosts_are_one_per_agent_and_not_those_that_are_taken() {
        let placed = [placed("h1.example", None), placed("h2", None)];

        let shape = Shape::of(&waiting(&[("hostname", "UNIQUE", None)], &placed));

        assert_eq!(shape.max_per_agent, Some(1));
        assert_eq!(words(&shape), [r"hostname:UNLIKE:h1\.example|h2"]);
    }

    #[test]
    fn max_per_keeps_away_from_what_is_full() {
        let placed = ["a", "a", "b"].map(|rack| placed("h", Some(rack)));

        let shape = Shape::of(&waiting(&[("rack", "MAX_PER", Some("2"))], &placed));

        assert_eq!(shape.max_per_agent, Some(2));
        assert_eq!(words(&shape), ["rack:UNLIKE:a", "rack:LIKE:(?s).*"]);
    }

    #[test]
    fn group_by_asks_every_agent_for_one_then_for_as_many_as_stand_there() {
        let group_by = [("rack", "GROUP_BY", None)];
        let shape = |racks: &[&str], count| {
            let placed: Vec<Placed> = racks.iter().map(|rack| placed("h", Some(rack))).collect();
            Shape::of(&Waiting {
                count,
                ..waiting(&group_by, &placed)
            })
        };

        let first = shape(&[], 6);
        let uneven = shape(&["a", "a", "b"], 6);
        let even = shape(&["a", "a", "b", "b"], 6);
        let last = shape(&["a", "a", "b", "b"], 1);

        assert_eq!(first.max_per_agent, Some(1));
        assert_eq!(words(&first), ["rack:LIKE:(?s).*"]);
        assert_eq!(first.preferred, []);
        assert_eq!(uneven.max_per_agent, Some(1));
        assert_eq!(words(&uneven), ["rack:UNLIKE:a", "rack:LIKE:(?s).*"]);
        assert_eq!(words_of(&uneven.preferred), ["rack:UNLIKE:b"]);
        assert_eq!(even.max_per_agent, Some(2));
        assert_eq!(words(&even), ["rack:LIKE:(?s).*"]);
        assert_eq!(words_of(&even.preferred), ["rack:UNLIKE:a|b"]);
        assert_eq!(last.max_per_agent, Some(1));
    }

    #[test]
    fn cluster_without_a_value_goes_where_the_others_stand() {
        let cluster = [("rack", "CLUSTER", None)];

        let free = Shape::of(&waiting(&cluster, &[]));
        let bound = Shape::of(&waiting(&cluster, &[placed("h", Some("a"))]));

        assert_eq!(words(&free), ["rack:LIKE:(?s).*"]);
        assert_eq!(words(&bound), ["rack:CLUSTER:a"]);
    }

    #[test]
    fn taken_hosts_are_named_as_far_as_there_is_room() {
        let host = |number: u32| placed(&format!("a-host-with-a-name-{number:04}"), None);
        let placed: Vec<Placed> = (0..1_000).map(host).collect();

        let shape = Shape::of(&waiting(&[("hostname", "UNIQUE", None)], &placed));

        assert_eq!(shape.constraints.len(), MAX_TAKEN);
        assert_eq!(shape.check(), Ok(()));
        assert!(shape.permits(placed[0].place()).is_err());
        assert!(shape.permits(placed[999].place()).is_ok());
    }

    #[test]
    fn what_is_preferred_keeps_within_the_same_room() {
        let host = |number: u32| placed(&format!("a-host-with-a-name-{:04}", number / 3), None);
        let mut placed: Vec<Placed> = (0..3_000).map(host).collect();
        placed.truncate(2_998); // The last has one, all others three.

        let group_by = waiting(&[("hostname", "GROUP_BY", None)], &placed);
        let full = Shape::of(&group_by);
        let level = Shape::of(&Waiting {
            placed: placed[..2_997].to_vec(),
            ..group_by
        });

        assert_eq!(
            (full.constraints.len(), full.preferred.len()),
            (MAX_TAKEN, 0)
        );
        assert_eq!(
            (level.constraints.len(), level.preferred.len()),
            (0, MAX_TAKEN)
        );
        assert_eq!(level.check(), Ok(()));
    }

    proptest! {
        /// Whatever the matcher would take now, the shape permits.
        #[test]
        fn a_shape_never_excludes_what_the_matcher_takes(
            operators in proptest::collection::vec(0_usize..7, 1..4),
            on_host in any::<bool>(),
            stand in proptest::collection::vec((0_u8..4, proptest::option::of(0_u8..3)), 0..6),
            there in (0_u8..4, proptest::option::of(0_u8..3)),
            count in 1_u32..4,
        ) {
            let all = [
                ("UNIQUE", None), ("CLUSTER", None), ("CLUSTER", Some("1")), ("GROUP_BY", Some("2")),
                ("LIKE", Some("[01]")), ("UNLIKE", Some("1")), ("MAX_PER", Some("2")),
            ];
            let field = if on_host { "hostname" } else { "rack" };
            let stated: Vec<_> = operators.iter().map(|at| (field, all[*at].0, all[*at].1)).collect();
            let at = |(host, rack): (u8, Option<u8>)| placed(&host.to_string(), rack.map(|rack| rack.to_string()).as_deref());
            let stand: Vec<Placed> = stand.into_iter().map(at).collect();
            let waiting = Waiting { count, ..waiting(&stated, &stand) };
            let there = at(there);

            let takes = waiting.constraints.iter().all(|constraint| {
                let tally = Tally::new(constraint, stand.iter().map(Placed::place));
                constraint.allows(there.place(), &tally)
            });
            let shape = Shape::of(&waiting);

            prop_assert_eq!(shape.check(), Ok(()));
            prop_assert!(!takes || shape.permits(there.place()).is_ok(), "{:?} {:?}", shape, there);
            // Of one that waits, alone with these operators, it is the matcher's very word.
            if count == 1 && stated.len() == 1 {
                let scattered = stated[0] == (field, "CLUSTER", None) || stated[0] == (field, "CLUSTER", Some("1"));
                prop_assert!(scattered || takes == shape.permits(there.place()).is_ok(), "{:?} {:?}", shape, there);
            }
        }
    }
}
