//! Questions on a copy: all of what is asked gets its answer.

use std::collections::BTreeSet;

use mete_model::{AgentId, Capability, Resources, Timestamp};
use mete_placement::demand::Shape;
use mete_placement::{AgentFacts, Allocator, Moved, Options, WhatIf};

const NOON: Timestamp = Timestamp::from_millis(43_200_000);

fn agent(name: &str) -> AgentId {
    AgentId::new(name).expect("a good id")
}

/// Agents with so many thousandths of a CPU each.
fn cluster(cpus_milli: &[u64]) -> Allocator {
    let mut allocator = Allocator::new(Options::default());
    for (n, cpus) in cpus_milli.iter().enumerate() {
        let total = Resources::cpus_mem(*cpus, 64_000);
        allocator.add_agent(agent(&format!("S{n}")), AgentFacts::new(total));
    }
    allocator
}

fn milli_cpus(count: u32) -> Shape {
    Shape {
        count,
        ..Shape::new(Resources::cpus_mem(1, 0))
    }
}

#[test]
fn more_tasks_than_one_round_places_are_placed_to_the_last() {
    let allocator = cluster(&[30_000, 30_000]);
    let question = WhatIf {
        add: vec![milli_cpus(40_000), milli_cpus(30_000)],
        ..WhatIf::default()
    };

    let answer = allocator.what_if(NOON, &question);

    let placed = answer
        .shapes
        .iter()
        .map(|one| one.placed.values().sum::<u32>());
    assert_eq!(placed.collect::<Vec<_>>(), [40_000, 20_000]);
    assert_eq!(answer.shapes[0].missing, 0);
    assert_eq!(answer.shapes[1].missing, 10_000);
    let why_not = answer.shapes[1].why_not.as_ref().expect("some are missing");
    assert_eq!(why_not.agents[0].reason.code(), "TOO_SMALL", "{why_not:#?}");
    assert_eq!(answer.free_after.cpus_milli, 0);
}

#[test]
fn what_moves_goes_where_its_framework_may_go() {
    let mut allocator = cluster(&[4_000]);
    let mut with_gpus = Resources::cpus_mem(8_000, 64_000);
    with_gpus.gpus_milli = 1_000;
    allocator.add_agent(agent("G"), AgentFacts::new(with_gpus));
    let moved = |capabilities: BTreeSet<Capability>| Moved {
        capabilities,
        shapes: vec![Shape::new(Resources::cpus_mem(1_000, 64))],
    };
    let question = WhatIf {
        drain: vec![agent("S0")],
        moved: vec![
            moved(BTreeSet::new()),
            moved([Capability::GpuResources].into()),
        ],
        ..WhatIf::default()
    };

    let answer = allocator.what_if(NOON, &question);

    let [plain, takes_gpus] = &answer.shapes[..] else {
        panic!("two answers: {answer:#?}");
    };
    assert_eq!(plain.missing, 1);
    let why_not = plain.why_not.as_ref().expect("it is missing");
    let codes: BTreeSet<_> = why_not
        .agents
        .iter()
        .map(|group| group.reason.code())
        .collect();
    assert_eq!(codes, BTreeSet::from(["AGENT_DRAINING", "HAS_GPUS"]));
    assert_eq!(takes_gpus.placed, [(agent("G"), 1)].into());
}
