//! Plans stay valid and never become worse, however they are improved.

use super::*;

/// Lays all launches once more, in their order, and finds each allowed.
fn is_valid(waiting: &[Waiting], offers: &[Offer], matched: &Matched) -> Result<(), String> {
    let mut left: Vec<Resources> = offers.iter().map(|one| one.resources.clone()).collect();
    let mut tallies: Vec<Vec<Tally>> = waiting
        .iter()
        .map(|shape| {
            let placed = || shape.placed.iter().map(Placed::place);
            let constraints = shape.constraints.iter();
            constraints.map(|one| Tally::new(one, placed())).collect()
        })
        .collect();
    for launch in &matched.launches {
        let (shape, offer) = (&waiting[launch.waiting], &offers[launch.offer]);
        let (left, tallies) = (&mut left[launch.offer], &mut tallies[launch.waiting]);
        let standing = standing(shape, offer, left, &shape.fixed(), tallies);
        if !matches!(standing, Standing::Open { .. }) {
            return Err(format!("not allowed: {launch:?}"));
        }
        let mut expected = shape.fixed();
        expected.ports.add(&launch.ports.iter().copied().collect());
        let named = launch.resources.devices().clone();
        if !named.is_empty() {
            expected = expected.with_named_devices(named);
        }
        let ports = shape.ports.len() as u64 + shape.resources.ports.count();
        if launch.resources != expected || launch.resources.ports.count() != ports {
            return Err(format!("takes something else: {launch:?}"));
        }
        // `minus` is None as soon as anything is given twice.
        *left = left.minus(&launch.resources).ok_or("used twice")?;
        for (constraint, tally) in shape.constraints.iter().zip(tallies) {
            tally.add(constraint, Place::from(offer));
        }
    }
    for (at, left) in left.iter().enumerate() {
        let is_unused = matched.unused.contains(&at);
        if matched.left.get(&at) != (!is_unused).then_some(left) {
            return Err(format!("what is left of {at} is wrong"));
        }
    }
    for (index, shape) in waiting.iter().enumerate() {
        let launches = matched.launches.iter();
        let launched = launches.filter(|launch| launch.waiting == index).count();
        if launched + matched.missing[index] as usize != shape.count as usize {
            return Err(format!("{launched} of {index} are launched"));
        }
    }
    Ok(())
}

/// What is missing of all, how many tasks waste GPUs, how many offers are used.
fn outcome(offers: &[Offer], policy: Policy, matched: &Matched) -> (u32, usize, usize) {
    let strays = matched.launches.iter().filter(|launch| {
        offers[launch.offer].resources.gpus_milli > 0 && launch.resources.gpus_milli == 0
    });
    let strays = if policy == Policy::FirstFit {
        0
    } else {
        strays.count()
    };
    let used = if policy == Policy::Spread {
        0
    } else {
        matched.left.len()
    };
    (matched.missing.iter().sum(), strays, used)
}

fn improved(waiting: &[Waiting], offers: &[Offer], policy: Policy, slices: &[u64]) -> Matched {
    let mut plan = Plan::new(waiting, offers, policy, 1);
    for (seed, steps) in (0..).zip(slices) {
        improve(&mut plan, *steps, seed);
    }
    plan.into_matched()
}

proptest! {
    #[test]
    fn improved_plans_are_valid_and_never_worse(
        waiting in proptest::collection::vec(any_waiting(), 0..6),
        machines in proptest::collection::vec((0..9_u64, 0..9_u64, 0..3_u64, 0..5_u64, any::<bool>()), 0..8),
        policy in proptest::sample::select(Policy::ALL.to_vec()),
        slices in proptest::collection::vec(0..20_u64, 1..4),
    ) {
        let offers = machine_offers(&machines);
        let online = match_tasks(&waiting, &offers, policy, 1);

        let matched = improved(&waiting, &offers, policy, &slices);

        prop_assert_eq!(is_valid(&waiting, &offers, &online), Ok(()));
        prop_assert_eq!(is_valid(&waiting, &offers, &matched), Ok(()));
        for (now, before) in matched.missing.iter().zip(&online.missing) {
            prop_assert!(now <= before);
        }
        prop_assert!(outcome(&offers, policy, &matched) <= outcome(&offers, policy, &online));
        prop_assert_eq!(&matched, &improved(&waiting, &offers, policy, &slices));
    }
}

#[test]
fn without_steps_it_is_what_came_of_the_order() {
    let (waiting, offers) = ([task(4, 2), task(6, 2)], offers(&[10, 10]));

    let plan = Plan::new(&waiting[..], &offers, Policy::BestFit, 3);

    let online = match_tasks(&waiting, &offers, Policy::BestFit, 3);
    assert_eq!(plan.into_matched(), online);
}

#[test]
fn what_the_order_left_out_finds_a_place() {
    let (waiting, offers) = ([task(4, 2), task(6, 2)], offers(&[10, 10]));
    let mut plan = Plan::new(&waiting[..], &offers, Policy::BestFit, 1);
    assert_eq!(plan.missing(), [0, 1]);

    assert!(improve(&mut plan, 100, 1));

    assert_eq!(plan.missing(), [0, 0]);
    assert!(!improve(&mut plan, 100, 2), "it cannot be better");
}

#[test]
fn fewer_offers_are_used_but_not_by_spread() {
    let (waiting, offers) = ([task(4, 2), task(6, 2)], offers(&[10, 10, 10]));
    let used = |policy| {
        let mut plan = Plan::new(&waiting[..], &offers, policy, 1);
        let before = plan.offers_used();
        improve(&mut plan, 100, 1);
        (before, plan.offers_used())
    };

    assert_eq!(used(Policy::BestFit), (3, 2));
    assert_eq!(used(Policy::Spread), (3, 3));
}

#[test]
fn who_came_first_does_not_make_room_for_more_who_came_later() {
    let (waiting, offers) = ([task(8, 1), task(5, 2)], offers(&[10]));

    let matched = improved(&waiting, &offers, Policy::BestFit, &[100]);

    assert_eq!(matched.missing, [0, 2]);
}

#[test]
fn grouped_tasks_stay_even_while_others_move_around_them() {
    let grouped = constrained("rack", "GROUP_BY", 4);
    let waiting = [grouped, task(2, 2), task(3, 2)];
    let offers = offers(&[7, 7]);
    let online = match_tasks(&waiting, &offers, Policy::BestFit, 1);
    assert_eq!(online.missing, [0, 0, 1]);

    let matched = improved(&waiting, &offers, Policy::BestFit, &[200]);

    let on = |offer| {
        let launches = matched.launches.iter();
        launches
            .filter(|one| (one.waiting, one.offer) == (0, offer))
            .count()
    };
    assert_eq!([on(0), on(1)], [2, 2]);
    assert_eq!(matched.missing, [0; 3]);
}

#[test]
fn tasks_without_gpus_do_not_gather_on_machines_with_gpus() {
    let mut offers = offers(&[4, 4]);
    offers.push(gpu_offer(2, 1, None));
    let waiting = [gpu_task(1_000, 1), task(2, 1)];

    let matched = improved(&waiting, &offers, Policy::Worth, &[100]);

    assert_eq!(used(&matched).len(), 2);
    assert_eq!(matched.left.len(), 2);
}
