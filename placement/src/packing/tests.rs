use proptest::prelude::*;

use super::*;

/// CPUs, memory in GiB and GPUs in thousandths, without names of devices.
fn some(cpus: u64, mem_gib: u64, gpus_milli: u64) -> Resources {
    let mut all = Resources::cpus_mem(cpus * 1_000, mem_gib * 1_024);
    all.gpus_milli = gpus_milli;
    all
}

fn machine(cpus: u64, gpus: u64) -> Resources {
    some(cpus, cpus * 4, gpus * 1_000).with_devices()
}

/// What is left of a machine after these tasks.
fn used(mut total: Resources, tasks: &[&Resources]) -> Resources {
    for task in tasks {
        total = total
            .pin(task)
            .and_then(|pinned| total.minus(&pinned))
            .expect("fits");
    }
    total
}

/// The numbers of the places, best first.
fn order(
    policy: Policy,
    asked: &Resources,
    places: &[(&Resources, &Resources)],
    mix: &Mix,
) -> Vec<usize> {
    let mut order: Vec<(Score, usize)> = places
        .iter()
        .enumerate()
        .map(|(at, (total, free))| {
            (
                policy.score(
                    asked,
                    Node {
                        total,
                        free,
                        group: 0,
                    },
                    mix,
                ),
                at,
            )
        })
        .collect();
    order.sort();
    order.into_iter().map(|(_, at)| at).collect()
}

fn mix_of(largest: &Resources, tasks: &[(&Resources, u32)]) -> Mix {
    let mut mix = Mix::default();
    mix.add_machine(largest, 0);
    for (task, times) in tasks {
        for _ in 0..*times {
            mix.note(task, Groups::ANY, 1);
        }
    }
    mix
}

#[test]
fn best_fit_takes_the_tightest_spread_the_emptiest_first_fit_the_first() {
    let whole = machine(8, 0);
    let (empty, tight, half) = (machine(8, 0), machine(2, 0), machine(4, 0));
    let places = [(&whole, &empty), (&whole, &tight), (&whole, &half)];
    let mix = mix_of(&whole, &[]);

    let order = |policy| order(policy, &some(1, 1, 0), &places, &mix);

    assert_eq!(order(Policy::BestFit), [1, 2, 0]);
    assert_eq!(order(Policy::Spread), [0, 2, 1]);
    assert_eq!(order(Policy::FirstFit), [0, 1, 2]);
}

#[test]
fn dot_product_keeps_what_is_plentiful_for_those_who_need_much_of_it() {
    let whole = some(16, 64, 0);
    let (much_memory, many_cpus) = (some(4, 64, 0), some(16, 16, 0));
    let places = [(&whole, &much_memory), (&whole, &many_cpus)];
    let mix = mix_of(&whole, &[]);

    assert_eq!(
        order(Policy::DotProduct, &some(1, 16, 0), &places, &mix),
        [1, 0]
    );
    assert_eq!(
        order(Policy::DotProduct, &some(4, 4, 0), &places, &mix),
        [0, 1]
    );
}

#[test]
fn l2_leaves_little_of_everything_rather_than_much_of_one() {
    let whole = some(16, 64, 0);
    // Both have as much in sum.
    let (even, skewed) = (some(8, 32, 0), some(15, 4, 0));
    let places = [(&whole, &skewed), (&whole, &even)];
    let mix = mix_of(&whole, &[]);

    assert_eq!(order(Policy::L2, &some(1, 4, 0), &places, &mix), [1, 0]);
}

#[test]
fn fgd_breaks_no_gpu_that_typical_tasks_need_whole() {
    let whole = machine(32, 2);
    let (half, one) = (some(2, 4, 500), some(4, 8, 1_000));
    let broken = used(whole.clone(), &[&half]);
    let places = [(&whole, &whole), (&whole, &broken)];
    let mix = mix_of(&whole, &[(&half, 1), (&one, 8)]);
    let node = Node {
        total: &whole,
        free: &broken,
        group: 0,
    };

    assert_eq!(order(Policy::Fgd, &half, &places, &mix), [1, 0]);
    assert_eq!(Policy::Fgd.device(&half, node, &mix), Some(0));
}

#[test]
fn worth_puts_parts_together_that_fill_a_device() {
    let whole = machine(32, 2);
    let (large, small, half) = (some(2, 4, 650), some(2, 4, 320), some(2, 4, 470));
    let mix = mix_of(&whole, &[(&large, 32), (&small, 32), (&half, 64)]);
    // Device 0 has 530 left, device 1 has 350.
    let free = used(whole.clone(), &[&half, &large]);
    let node = Node {
        total: &whole,
        free: &free,
        group: 0,
    };

    assert_eq!(Policy::Worth.device(&small, node, &mix), Some(1));
    assert_eq!(Policy::Worth.device(&half, node, &mix), Some(0));
    assert_eq!(
        Policy::BestFit.device(&some(1, 1, 300), node, &mix),
        Some(1)
    );
}

#[test]
fn worth_leaves_cpus_where_gpus_need_them() {
    // Tasks take 8 CPUs with a GPU; the tight machine has no more for its GPUs, the other has plenty.
    let (tight, plenty) = (machine(16, 2), machine(64, 2));
    let places = [(&tight, &tight), (&plenty, &plenty)];
    let mix = mix_of(&plenty, &[(&some(8, 8, 1_000), 16)]);

    assert_eq!(order(Policy::Worth, &some(4, 4, 0), &places, &mix), [1, 0]);
    assert_eq!(
        order(Policy::BestFit, &some(4, 4, 0), &places, &mix),
        [0, 1]
    );
}

#[test]
fn worth_leaves_scarce_models_to_those_who_can_use_no_other() {
    let (scarce, common) = (machine(32, 4), machine(32, 4));
    let mut mix = Mix::default();
    mix.add_machine(&scarce, 1);
    mix.add_machine(&common, 2);
    let one = some(4, 4, 1_000);
    for _ in 0..64 {
        mix.note(&one, Groups::ANY, 1);
        mix.note(&one, [1].into_iter().collect(), 1);
    }
    // The scarce one is tighter.
    let free = used(scarce.clone(), &[&one]);
    let score = |total, free, group| Policy::Worth.score(&one, Node { total, free, group }, &mix);

    assert!(score(&common, &common, 2) < score(&scarce, &free, 1));
}

#[test]
fn worth_knowing_nothing_is_best_fit() {
    let whole = machine(32, 4);
    let half = used(whole.clone(), &[&some(8, 8, 2_000)]);
    let places = [(&whole, &whole), (&whole, &half)];

    assert_eq!(
        order(
            Policy::Worth,
            &some(4, 4, 1_000),
            &places,
            &mix_of(&whole, &[])
        ),
        [1, 0]
    );
}

#[test]
fn who_needs_no_gpu_goes_where_none_is_but_under_first_fit() {
    let (plain, with_gpus) = (machine(8, 0), machine(2, 4));
    let no_gpu_left = used(machine(8, 1), &[&some(7, 7, 1_000)]);
    let total = machine(8, 1);
    let places = [
        (&with_gpus, &with_gpus),
        (&total, &no_gpu_left),
        (&plain, &plain),
    ];
    let mix = mix_of(&machine(8, 4), &[(&some(1, 1, 1_000), 4)]);

    for policy in Policy::ALL {
        let best = order(policy, &some(1, 1, 0), &places, &mix)[0];

        assert_eq!(
            best,
            if policy == Policy::FirstFit { 0 } else { 2 },
            "{policy}"
        );
    }
}

#[test]
fn only_parts_of_named_devices_are_a_choice() {
    let whole = machine(32, 2);
    let offer = some(32, 32, 2_000);
    let mix = mix_of(&whole, &[(&some(1, 1, 300), 4)]);

    for policy in Policy::ALL {
        let device = |asked: &Resources, free: &Resources| {
            policy.device(
                asked,
                Node {
                    total: &whole,
                    free,
                    group: 0,
                },
                &mix,
            )
        };

        assert_eq!(device(&some(1, 1, 300), &whole), Some(0), "{policy}");
        assert_eq!(device(&some(1, 1, 300), &offer), None, "{policy}");
        assert_eq!(device(&some(1, 1, 1_000), &whole), None, "{policy}");
        assert_eq!(device(&some(1, 1, 0), &whole), None, "{policy}");
    }
}

#[test]
fn names_are_read_as_they_are_written() {
    for policy in Policy::ALL {
        assert_eq!(policy.to_string().parse(), Ok(policy));
    }
    let error = "tetris"
        .parse::<Policy>()
        .map_err(|error| error.to_string());

    assert_eq!(
        error,
        Err("no packing policy is named \"tetris\"; there are first-fit, best-fit, spread, dot-product, l2, fgd, worth".to_owned())
    );
}

/// A machine, what is free on it, its kind: with and without GPUs, sometimes absurdly large.
fn node() -> impl Strategy<Value = (Resources, Resources, u16)> {
    let amounts = (0..=128_u64, 0..=512_u64, 0..=8_u64);
    let taken = proptest::collection::vec(1..=1_000_u64, 0..8);
    (amounts, taken, 0..3_u16, proptest::bool::weighted(0.05)).prop_map(
        |((cpus, mem, gpus), taken, group, is_absurd)| {
            let mut total = some(cpus, mem, gpus * 1_000).with_devices();
            if is_absurd {
                total.cpus_milli = u64::MAX;
                total.mem_milli = u64::MAX;
            }
            let mut free = total.clone();
            for gpus in taken {
                let task = some(gpus % 7, gpus % 13, gpus);
                if let Some(left) = free.pin(&task).and_then(|pinned| free.minus(&pinned)) {
                    free = left;
                }
            }
            (total, free, group)
        },
    )
}

fn task() -> impl Strategy<Value = Resources> {
    let gpus = prop_oneof![
        Just(0),
        1..1_000_u64,
        (1..=8_u64).prop_map(|whole| whole * 1_000)
    ];
    (0..=32_u64, 0..=64_u64, gpus).prop_map(|(cpus, mem, gpus)| some(cpus, mem, gpus))
}

fn mix() -> impl Strategy<Value = Mix> {
    let noted =
        proptest::collection::vec((task(), proptest::option::of(0..3_u16), 1..40_u32), 0..12);
    let machines = proptest::collection::vec(node(), 0..5);
    (noted, machines).prop_map(|(noted, machines)| {
        let mut mix = Mix::default();
        for (total, _, group) in machines {
            mix.add_machine(&total, group);
        }
        for (task, group, times) in noted {
            let groups = group.map_or(Groups::ANY, |group| [group].into_iter().collect());
            mix.note(&task, groups, times);
        }
        mix
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// With that the best place is the same in whatever order places are looked at.
    #[test]
    fn a_score_depends_on_nothing_but_its_own_node_and_the_mix(
        nodes in proptest::collection::vec(node(), 1..12),
        asked in task(),
        mix in mix(),
    ) {
        for policy in Policy::ALL {
            let score = |(at, (total, free, group)): (usize, &(Resources, Resources, u16))| {
                (policy.score(&asked, Node { total, free, group: *group }, &mix), at)
            };
            let forth = nodes.iter().enumerate().map(score).min();
            let back = nodes.iter().enumerate().rev().map(score).min();

            prop_assert_eq!(forth, back);
        }
    }

    #[test]
    fn a_chosen_device_has_room(one in node(), asked in task(), mix in mix()) {
        let (total, free, group) = one;
        for policy in Policy::ALL {
            let device = policy.device(&asked, Node { total: &total, free: &free, group }, &mix);

            if let Some(device) = device {
                let fits = u64::from(free.devices().milli(device)) >= asked.gpus_milli;
                prop_assert!(fits, "{} on device {device} of {}", policy, free);
            } else if free.contains(&asked) {
                prop_assert!(asked.gpus_milli == 0 || asked.gpus_milli >= 1_000);
            }
        }
    }

    #[test]
    fn the_same_history_gives_the_same_scores(
        noted in proptest::collection::vec((task(), 1..100_u32), 1..40),
        one in node(),
        asked in task(),
    ) {
        let (total, free, group) = one;
        let learnt = || {
            let mut mix = Mix::new(&total);
            for (task, times) in &noted {
                mix.note(task, Groups::ANY, *times);
            }
            mix
        };
        let (a, b) = (learnt(), learnt());
        for policy in Policy::ALL {
            let node = Node { total: &total, free: &free, group };

            prop_assert_eq!(policy.score(&asked, node, &a), policy.score(&asked, node, &b));
        }
        prop_assert_eq!(a.version(), b.version());
    }

    /// What an index of such machines relies on.
    #[test]
    fn without_gpus_scores_go_by_size(
        nodes in proptest::collection::vec((0..128_u64, 0..512_u64), 2..10),
        asked in (0..4_u64, 0..4_u64),
        mix in mix(),
    ) {
        let total = some(128, 512, 0);
        let asked = some(asked.0, asked.1, 0);
        let mut frees: Vec<Resources> = nodes.iter().map(|(cpus, mem)| some(*cpus, *mem, 0)).collect();
        frees.sort_by_key(|free| size(free, &mix));
        let scores = |policy: Policy| -> Vec<Score> {
            frees.iter().map(|free| policy.score(&asked, Node { total: &total, free, group: 0 }, &mix)).collect()
        };

        prop_assert!(scores(Policy::BestFit).is_sorted());
        prop_assert!(scores(Policy::Worth).is_sorted());
        prop_assert!(scores(Policy::Spread).is_sorted_by(|a, b| a >= b));
        prop_assert!(scores(Policy::FirstFit).is_sorted());
    }
}
