use std::sync::Arc;

use mete_model::{AgentId, AttributeValue, Attributes, Endpoint, FrameworkId, OfferId};
use proptest::prelude::*;

use super::*;

fn offer(number: usize, resources: Resources) -> Offer {
    let mut attributes = Attributes::new();
    let rack = AttributeValue::Text(Arc::from(["a", "b", "c"][number % 3]));
    attributes.set("rack", rack);
    Offer {
        id: OfferId::new(format!("O{number}")).expect("good"),
        framework: FrameworkId::new("F").expect("good"),
        agent: AgentId::new(format!("S{number}")).expect("good"),
        endpoint: Endpoint {
            hostname: format!("host-{number}"),
            ip: "127.0.0.2".to_owned(),
            port: 5_051,
        },
        role: Role::any(),
        resources,
        attributes,
        domain: None,
        unavailability: None,
    }
}

fn offers(cpus: &[u64]) -> Vec<Offer> {
    cpus.iter()
        .enumerate()
        .map(|(number, cpus)| {
            let ports = Ranges::interval(31_000, 31_009);
            offer(
                number,
                Resources::cpus_mem(cpus * 1_000, cpus * 1_024).with_ports(ports),
            )
        })
        .collect()
}

fn task(cpus: u64, count: u32) -> Waiting {
    Waiting {
        count,
        ..Waiting::new(Resources::cpus_mem(cpus * 1_000, cpus * 512))
    }
}

fn constrained(field: &str, operator: &str, count: u32) -> Waiting {
    let constraint = Constraint::parse(field, operator, None).expect("good");
    Waiting {
        constraints: vec![constraint],
        ..task(1, count)
    }
}

fn used(matched: &Matched) -> Vec<usize> {
    matched.launches.iter().map(|launch| launch.offer).collect()
}

#[test]
fn several_tasks_share_one_offer() {
    let matched = match_tasks(
        &[task(1, 3), task(2, 1)],
        &offers(&[8, 5]),
        Policy::BestFit,
        1,
    );

    assert_eq!(used(&matched), [1, 1, 1, 1]);
    assert_eq!(matched.unused, [0]);
    assert_eq!(matched.missing, [0, 0]);
    assert_eq!(matched.left[&1].cpus_milli, 0);
    assert_eq!(matched.by_offer()[&1].len(), 4);
}

#[test]
fn each_policy_has_its_own_order() {
    let offers = offers(&[4, 2, 8]);

    let first = |policy| used(&match_tasks(&[task(1, 1)], &offers, policy, 1));

    assert_eq!(first(Policy::BestFit), [1]);
    assert_eq!(first(Policy::Spread), [2]);
    assert_eq!(first(Policy::FirstFit), [0]);
}

#[test]
fn unique_hosts_take_one_each() {
    let shape = constrained("hostname", "UNIQUE", 3);

    let matched = match_tasks(&[shape], &offers(&[8, 8]), Policy::BestFit, 1);

    assert_eq!(used(&matched), [0, 1]);
    assert_eq!(matched.missing, [1]);
    let names: Vec<_> = matched
        .rejections
        .iter()
        .flat_map(|r| &r.reasons)
        .map(WhyNot::as_str)
        .collect();
    assert_eq!(names, ["UnfulfilledConstraint"; 2]);
}

#[test]
fn grouped_tasks_spread_evenly_over_what_is_there() {
    let shape = constrained("rack", "GROUP_BY", 7);

    let matched = match_tasks(&[shape], &offers(&[8, 8, 8, 8]), Policy::BestFit, 1);

    let mut racks = [0; 3];
    for launch in &matched.launches {
        racks[launch.offer % 3] += 1;
    }
    racks.sort_unstable();
    assert_eq!(racks, [2, 2, 3]);
}

#[test]
fn instances_placed_before_count() {
    let offers = offers(&[8, 8]);
    let mut shape = constrained("hostname", "UNIQUE", 1);
    shape.placed = vec![Placed::from(Place::from(&offers[0]))];

    assert_eq!(
        used(&match_tasks(&[shape], &offers, Policy::FirstFit, 1)),
        [1]
    );
}

#[test]
fn every_reason_is_given_with_amounts() {
    let mut shape = task(4, 1);
    shape.resources.gpus_milli = 1_000;
    shape.ports = vec![PortAsk::Exactly(80), PortAsk::Any];
    shape.constraints = vec![Constraint::parse("rack", "IS", Some("z")).expect("good")];
    shape.roles = [Role::new("web").expect("good")].into();

    let matched = match_tasks(&[shape], &offers(&[1]), Policy::BestFit, 1);

    let words: Vec<_> = matched.rejections[0]
        .reasons
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        words,
        [
            "role * is not taken",
            "cpus 4 asked, 1 there",
            "mem 2048 asked, 1024 there",
            "gpus 1 asked, 0 there",
            "constraint rack:IS:z does not hold on a",
            "ports 2 asked, 10 there, not [80-80]",
        ]
    );
}

#[test]
fn ports_are_given_out_once() {
    let mut shape = task(1, 6);
    shape.ports = vec![PortAsk::Any; 2];

    let matched = match_tasks(&[shape], &offers(&[8]), Policy::BestFit, 42);

    let ports: BTreeSet<u64> = matched
        .launches
        .iter()
        .flat_map(|launch| launch.ports.clone())
        .collect();
    assert_eq!(matched.launches.len(), 5);
    assert_eq!(ports, (31_000..=31_009).collect());
    assert_eq!(
        matched.rejections[0].reasons[0].as_str(),
        "InsufficientPorts"
    );
}

#[test]
fn tasks_that_ask_for_nothing_come_to_an_end() {
    let matched = match_tasks(
        &[Waiting {
            count: u32::MAX,
            ..Waiting::new(Resources::none())
        }],
        &offers(&[1]),
        Policy::BestFit,
        1,
    );

    assert_eq!(matched.launches.len(), MAX_LAUNCHES);
    assert_eq!(matched.missing, [u32::MAX - 10_000]);
}

fn some_shape() -> impl Strategy<Value = Waiting> {
    let constraint = prop_oneof![
        Just(None),
        Just(Some(("hostname", "UNIQUE", None))),
        Just(Some(("rack", "GROUP_BY", None))),
        Just(Some(("rack", "CLUSTER", None))),
        Just(Some(("rack", "MAX_PER", Some("2")))),
        Just(Some(("rack", "UNLIKE", Some("a")))),
    ];
    let ports = proptest::collection::vec(
        prop_oneof![
            Just(PortAsk::Any),
            (30_998_u64..31_012).prop_map(PortAsk::Exactly)
        ],
        0..4,
    );
    (0_u64..5, 0_u32..6, ports, constraint).prop_map(|(cpus, count, ports, constraint)| Waiting {
        ports,
        constraints: constraint
            .map(|(field, operator, value)| {
                Constraint::parse(field, operator, value).expect("good")
            })
            .into_iter()
            .collect(),
        ..task(cpus, count)
    })
}

proptest! {
    #[test]
    fn no_offer_is_oversubscribed(
        shapes in proptest::collection::vec(some_shape(), 0..8),
        cpus in proptest::collection::vec(0_u64..10, 0..8),
        policy in prop_oneof![Just(Policy::BestFit), Just(Policy::Spread), Just(Policy::FirstFit)],
        seed: u64,
    ) {
        let offers = offers(&cpus);

        let matched = match_tasks(&shapes, &offers, policy, seed);

        let mut left: Vec<Resources> = offers.iter().map(|offer| offer.resources.clone()).collect();
        for launch in &matched.launches {
            // `minus` is None as soon as a scalar or a port is given twice.
            left[launch.offer] = left[launch.offer].minus(&launch.resources).expect("it is there");
            prop_assert_eq!(launch.ports.len(), shapes[launch.waiting].ports.len());
            prop_assert!(launch.resources.contains(&shapes[launch.waiting].fixed()));
        }
        for (number, left) in left.iter().enumerate() {
            let is_unused = matched.unused.contains(&number);
            prop_assert_eq!(matched.left.get(&number), (!is_unused).then_some(left));
        }
        for (index, shape) in shapes.iter().enumerate() {
            let launched = matched.launches.iter().filter(|launch| launch.waiting == index).count();
            prop_assert_eq!(launched + matched.missing[index] as usize, shape.count as usize);
        }
        // What is missing has a reason everywhere.
        for rejection in &matched.rejections {
            prop_assert!(!rejection.reasons.is_empty(), "{:?}", rejection);
        }
        prop_assert_eq!(&matched, &match_tasks(&shapes, &offers, policy, seed));
    }
}

/// Where the next one goes when every offer is looked at.
fn best_of_all(
    table: &Table<'_>,
    shape: &Waiting,
    tallies: &[Tally],
) -> Option<(u32, Score, usize)> {
    let fixed = shape.fixed();
    let mut all = Vec::new();
    for (at, offer) in table.offers.iter().enumerate() {
        let left = table.left(at);
        let is_open = left.contains(&fixed);
        if let Standing::Open { crowd } = standing(shape, offer, left, &fixed, tallies)
            && is_open
        {
            let node = Node {
                total: &offer.resources,
                free: left,
                group: 0,
            };
            all.push((crowd, table.policy.score(&fixed, node, &table.mix), at));
        }
    }
    all.into_iter().min()
}

fn any_waiting() -> impl Strategy<Value = Waiting> {
    let constraints = proptest::sample::subsequence(
        vec![
            ("rack", "GROUP_BY", None),
            ("hostname", "UNIQUE", None),
            ("hostname", "MAX_PER", Some("2")),
            ("rack", "UNLIKE", Some("a")),
        ],
        0..3,
    );
    let ports = prop_oneof![Just(vec![]), Just(vec![PortAsk::Any, PortAsk::Any])];
    let role = proptest::option::weighted(0.2, Just(Role::new("web").expect("good")));
    (
        0..4_u64,
        0..4_u64,
        0..2_u64,
        1..8_u32,
        constraints,
        ports,
        role,
    )
        .prop_map(|(cpus, mem, gpus, count, constraints, ports, role)| {
            let mut resources = Resources::cpus_mem(cpus * 500, 1 + mem * 256);
            resources.gpus_milli = gpus * 500;
            let parsed = constraints.into_iter().map(|(field, operator, value)| {
                Constraint::parse(field, operator, value).expect("good")
            });
            Waiting {
                count,
                ports,
                constraints: parsed.collect(),
                roles: role.into_iter().collect(),
                ..Waiting::new(resources)
            }
        })
}

proptest! {
    #[test]
    fn each_goes_where_looking_at_every_offer_would_put_it(
        // Often more tasks than are placed by looking at all, and often fewer.
        waiting in proptest::collection::vec(any_waiting(), 1..5),
        machines in proptest::collection::vec((0..9_u64, 0..9_u64, 0..3_u64, 0..5_u64, any::<bool>()), 0..12),
        policy in proptest::sample::select(Policy::ALL.to_vec()),
    ) {
        let offers: Vec<Offer> = machines.iter().enumerate().map(|(number, (cpus, mem, gpus, ports, is_web))| {
            let mut resources = Resources::cpus_mem(cpus * 500, mem * 256);
            resources.gpus_milli = gpus * 1_000;
            if *ports > 0 {
                resources.ports = Ranges::interval(31_000, 31_000 + ports);
            }
            let mut offer = offer(number, resources.with_devices());
            if *is_web {
                offer.role = Role::new("web").expect("good");
            }
            offer
        }).collect();
        let matched = match_tasks(&waiting, &offers, policy, 1);

        let mut table = Table::new(&waiting, &offers, policy, 1);
        for launch in &matched.launches {
            let shape = &waiting[launch.waiting];
            let tallies = table.tallies(launch.waiting, shape);
            let best = best_of_all(&table, shape, &tallies).map(|(_, _, at)| at);
            prop_assert_eq!(best, Some(launch.offer));
            table.place(launch.waiting, shape, &shape.fixed(), launch.offer);
        }
        for (index, shape) in waiting.iter().enumerate().filter(|(index, _)| matched.missing[*index] > 0) {
            let tallies = table.tallies(index, shape);
            prop_assert_eq!(best_of_all(&table, shape, &tallies), None, "{} could have been placed", index);
        }
    }
}
