use std::sync::Arc;

use mete_model::resources::{Device, Devices, Tag};
use mete_model::{AgentId, AttributeValue, Attributes, Endpoint, FrameworkId, OfferId};
use proptest::prelude::*;

use super::*;

mod plan; // the batch form

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

/// An offer of a machine with so many GPUs.
fn gpu_offer(number: usize, gpus: u64, model: Option<&str>) -> Offer {
    let mut resources = Resources::cpus_mem(8_000, 8_192);
    resources.gpus_milli = gpus * 1_000;
    let mut offer = offer(number, resources.with_devices());
    if let Some(model) = model {
        let model = AttributeValue::Text(Arc::from(model));
        offer.attributes.set("gpu_model", model);
    }
    offer
}

/// So many tasks that take so much of a GPU each.
fn gpu_task(gpus_milli: u64, count: u32) -> Waiting {
    let mut waiting = Waiting {
        count,
        ..Waiting::new(Resources::cpus_mem(100, 64))
    };
    waiting.resources.gpus_milli = gpus_milli;
    waiting
}

/// Each launch's devices and how much it takes of them, in thousandths.
fn devices(matched: &Matched) -> Vec<Vec<(u16, u16)>> {
    let launches = matched.launches.iter();
    let devices = launches.map(|launch| launch.resources.devices().list().iter());
    devices
        .map(|list| list.map(|one| (one.index, one.milli)).collect())
        .collect()
}

#[test]
fn parts_of_gpus_share_devices_and_whole_ones_are_whole() {
    let waiting = [gpu_task(600, 2), gpu_task(400, 2), gpu_task(1_000, 1)];

    let matched = match_tasks(&waiting, &[gpu_offer(0, 3, None)], Policy::BestFit, 1);

    assert_eq!(
        devices(&matched),
        [[(0, 600)], [(1, 600)], [(0, 400)], [(1, 400)], [(2, 1_000)]]
    );
    assert_eq!(matched.left[&0].gpus_milli, 0);
}

#[test]
fn the_device_is_the_one_that_the_policy_chooses() {
    let mut offer = gpu_offer(0, 2, None);
    let taken = offer.resources.pin_on(&gpu_task(200, 1).resources, 0);
    offer.resources = offer
        .resources
        .minus(&taken.expect("there"))
        .expect("there");
    // On the device of 800 a task of 600 leaves 200, of which nobody here has any use; on the whole one
    // it leaves 400, which the others take.
    let waiting = [gpu_task(600, 1), gpu_task(400, 20)];
    let mut mix = Mix::default();
    mix.add_machine(&offer.resources, 1);
    for shape in &waiting {
        mix.note(&shape.resources, crate::packing::Groups::ANY, shape.count);
    }

    let mut chosen = BTreeSet::new();
    for policy in Policy::ALL {
        let node = Node {
            total: &offer.resources,
            free: &offer.resources,
            group: 1,
        };
        let device = policy.device(&waiting[0].resources, node, &mix);
        let matched = match_tasks(&waiting, std::slice::from_ref(&offer), policy, 1);

        let (first, _) = devices(&matched)[0][0];
        assert_eq!(Some(first), device, "{policy}");
        chosen.insert(first);
    }
    assert_eq!(chosen.len(), 2, "policies differ");
}

#[test]
fn gpus_without_names_are_taken_by_amount() {
    let mut offer = gpu_offer(0, 1, None);
    offer.resources = offer.resources.without_device_names();

    let matched = match_tasks(&[gpu_task(500, 2)], &[offer], Policy::Worth, 1);

    assert_eq!(devices(&matched), [[], []] as [[_; 0]; 2]);
    assert_eq!(matched.left[&0].gpus_milli, 0);
}

#[test]
fn devices_of_a_reservation_are_not_taken_for_what_is_nobodys() {
    let mut offer = gpu_offer(0, 1, None);
    let tag = Tag::reserved(Role::new("web").expect("good"));
    let mut reserved = Resources::none();
    reserved.gpus_milli = 1_000;
    let used = Device {
        index: 1,
        milli: 500,
    };
    let named = Devices::new(vec![used]).expect("good");
    offer.resources = offer
        .resources
        .with_part(tag, reserved.with_named_devices(named));

    // The reserved device is the tightest.
    let matched = match_tasks(&[gpu_task(500, 3)], &[offer], Policy::BestFit, 1);

    assert_eq!(devices(&matched), [[(0, 500)], [(0, 500)]]);
    assert_eq!(matched.missing, [1]);
}

#[test]
fn a_sought_after_model_is_left_to_those_who_need_it() {
    let offers = [gpu_offer(0, 1, Some("A100")), gpu_offer(1, 1, Some("T4"))];
    let mut choosy = gpu_task(1_000, 1);
    choosy.constraints = vec![Constraint::parse("gpu_model", "IS", Some("A100")).expect("good")];

    let matched = match_tasks(&[gpu_task(1_000, 1), choosy], &offers, Policy::Worth, 1);

    assert_eq!(used(&matched), [1, 0]);
}

#[test]
fn gpus_that_are_there_only_in_sum_are_a_reason() {
    let mut offer = gpu_offer(0, 2, None);
    for index in 0..2 {
        let taken = offer.resources.pin_on(&gpu_task(500, 1).resources, index);
        offer.resources = offer
            .resources
            .minus(&taken.expect("there"))
            .expect("there");
    }
    let matched = match_tasks(&[gpu_task(1_000, 1)], &[offer], Policy::BestFit, 1);
    let words: Vec<_> = matched.rejections[0]
        .reasons
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(words, ["gpus 1 asked, 1 there"]);
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
            let node = table.node(at);
            all.push((crowd, table.policy.score(&fixed, node, &table.mix), at));
        }
    }
    all.into_iter().min()
}

/// Offers of machines, each in half CPUs, quarters of a GiB, GPUs, ports after the first, and whether its role is `web`.
fn machine_offers(machines: &[(u64, u64, u64, u64, bool)]) -> Vec<Offer> {
    let offers = machines.iter().enumerate();
    let offers = offers.map(|(number, (cpus, mem, gpus, ports, is_web))| {
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
    });
    offers.collect()
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
        let offers = machine_offers(&machines);
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
