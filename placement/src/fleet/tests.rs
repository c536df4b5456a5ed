use std::collections::BTreeMap;

use mete_model::{MB_MILLI, Ranges};
use proptest::prelude::*;

use super::*;
use crate::packing::{Groups, Node, Packing};

/// What happens to a fleet.
#[derive(Clone, Debug)]
enum Happening {
    Set(u32, Resources, Resources),
    Remove(u32),
    /// By a policy, for a shape, where the number is not a multiple of the last.
    Ask(usize, Resources, u32),
    /// Scores are others from now on.
    Note(Resources),
    List(usize),
    Copy,
}

/// Few sizes, so that many nodes are equal.
fn resources(most: u64) -> impl Strategy<Value = Resources> {
    let gpus = prop_oneof![3 => Just(0), 1 => prop_oneof![Just(500), Just(1_000), Just(2_000), Just(4_000)]];
    let other = prop_oneof![9 => Just(0), 1 => Just(1_000_u64)];
    let ports = prop_oneof![3 => Just(None), 1 => (0..4_u64).prop_map(Some)];
    (
        0..=most,
        0..=most,
        prop_oneof![4 => Just(0), 1 => 0..=most],
        gpus,
        other,
        ports,
    )
        .prop_map(|(cpus, mem, disk, gpus, other, port)| {
            let mut all = Resources::cpus_mem(cpus * 500, 0);
            all.mem_milli = mem * MB_MILLI / 2; // So that rounding matters.
            all.disk_milli = disk * MB_MILLI;
            all.gpus_milli = gpus;
            all.set_other("fpga", other);
            if let Some(port) = port {
                all.ports = Ranges::interval(port, port + 1);
            }
            all
        })
}

fn happening(nodes: u32) -> impl Strategy<Value = Happening> {
    let policy = 0..Policy::ALL.len();
    prop_oneof![
        12 => (0..nodes, resources(8), resources(8))
            .prop_map(|(node, total, free)| (node, total.with_devices(), free.with_devices()))
            .prop_map(|(node, total, free)| Happening::Set(node, total.plus(&free), free)),
        2 => (0..nodes).prop_map(Happening::Remove),
        12 => (policy.clone(), resources(4), 2..9_u32)
            .prop_map(|(policy, asked, hidden)| Happening::Ask(policy, asked, hidden)),
        1 => resources(9).prop_map(Happening::Note),
        1 => policy.prop_map(Happening::List),
        1 => Just(Happening::Copy),
    ]
}

#[derive(Default)]
struct Brute {
    nodes: BTreeMap<u32, (Resources, Resources)>,
}

impl Brute {
    fn best(
        &self,
        policy: Policy,
        asked: &Resources,
        mix: &Mix,
        permit: impl Fn(u32) -> bool,
    ) -> Option<u32> {
        let fits = self
            .nodes
            .iter()
            .filter(|(node, (_, free))| free.contains(asked) && permit(**node));
        let best = fits.min_by_key(|(node, (total, free))| {
            let group = 0;
            (
                policy.score(asked, Node { total, free, group }, mix),
                **node,
            )
        });
        best.map(|(node, _)| *node)
    }
}

/// Plays the same to both and compares each answer.
fn play(happenings: Vec<Happening>) -> Result<(), TestCaseError> {
    let mut fleet = Fleet::default();
    let mut brute = Brute::default();
    let machine = Resources::cpus_mem(8_000, 8);
    let mut mix = Mix::new(&machine);
    for happening in happenings {
        match happening {
            Happening::Set(node, total, free) => {
                fleet.set(node, &total, &free, 0);
                brute.nodes.insert(node, (total, free));
            }
            Happening::Remove(node) => {
                fleet.remove(node);
                brute.nodes.remove(&node);
            }
            Happening::Ask(policy, asked, hidden) => {
                let policy = Policy::ALL[policy];
                let permit = |node: u32| !node.is_multiple_of(hidden);
                let found = fleet.best(policy, &asked, &mix, &mut |node| {
                    assert!(brute.nodes[&node].1.contains(&asked), "{node} is too small");
                    permit(node)
                });
                prop_assert_eq!(
                    found,
                    brute.best(policy, &asked, &mix, permit),
                    "{:?} {}",
                    policy,
                    asked
                );
            }
            Happening::Note(asked) => {
                mix.add_machine(&asked, 0);
                mix.note(&asked, Groups::ANY, 1);
            }

            Happening::List(policy) => {
                let listed: Vec<u32> = fleet.in_order(Policy::ALL[policy], &mix).collect();
                let mut sorted = listed.clone();
                sorted.sort_unstable();
                let free = brute.nodes.iter().filter(|(_, (_, free))| !free.is_empty());
                prop_assert_eq!(sorted, free.map(|(node, _)| *node).collect::<Vec<_>>());
            }
            Happening::Copy => fleet = fleet.clone(),
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn the_best_node_is_the_one_that_scoring_all_finds(
        happenings in proptest::collection::vec(happening(40), 0..120),
    ) {
        play(happenings)?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    #[test]
    fn the_same_holds_for_many_nodes(
        happenings in proptest::collection::vec(happening(500), 1_000..2_000),
    ) {
        play(happenings)?;
    }
}

fn fleet(free: &[Resources]) -> Fleet {
    let mut fleet = Fleet::default();
    for (node, free) in (0..).zip(free) {
        fleet.set(node, &Resources::cpus_mem(8_000, 8_192), free, 0);
    }
    fleet
}

#[test]
fn whole_agents_are_given_away_most_used_first() {
    let mut fleet = fleet(&[2_000, 8_000, 0, 1_000].map(|cpus| Resources::cpus_mem(cpus, 0)));
    let mix = Mix::new(&Resources::cpus_mem(8_000, 8_192));

    let mut listed = |policy| fleet.in_order(policy, &mix).collect::<Vec<u32>>();

    assert_eq!(listed(Policy::BestFit), [3, 0, 1]);
    assert_eq!(listed(Policy::Spread), [1, 0, 3]);
    assert_eq!(listed(Policy::FirstFit), [0, 1, 3]);
}

#[test]
fn nothing_is_found_in_an_empty_fleet() {
    let mut fleet = Fleet::default();
    fleet.remove(7);

    let found = fleet.best(
        Policy::BestFit,
        &Resources::none(),
        &Mix::default(),
        &mut |_| true,
    );

    assert_eq!(found, None);
}
