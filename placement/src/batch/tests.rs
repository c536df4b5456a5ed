//! Every plan is complete and valid, whatever it is made of.

use super::*;
use proptest::prelude::*;

fn items(sizes: &[u64]) -> Vec<Vec<u64>> {
    sizes.iter().map(|&size| vec![size]).collect()
}

fn bins_of(plan: &Plan) -> Vec<(usize, Vec<u32>)> {
    plan.bins()
        .map(|(bin, items)| (bin, items.to_vec()))
        .collect()
}

/// Vectors of three dimensions whose units lie far apart; now and then something huge.
fn sizes(count: usize) -> impl Strategy<Value = Vec<Vec<u64>>> {
    let small = || 0..=60_u64;
    let huge = prop_oneof![9 => small(), 1 => Just(u64::MAX), 1 => Just(u64::MAX / 2)];
    let vector = prop_oneof![
        8 => (small(), small().prop_map(|n| n << 20), small()),
        1 => (small(), small(), huge),
    ];
    proptest::collection::vec(vector.prop_map(|(a, b, c)| vec![a, b, c]), 0..count)
}

proptest! {
    #[test]
    fn a_plan_of_identical_bins_is_valid_after_any_number_of_steps(
        items in sizes(40), slices in proptest::collection::vec(0..60_u64, 0..6), seed in any::<u64>(),
    ) {
        let mut plan = Plan::identical(items, vec![100, 100 << 20, 100]).expect("three dimensions");
        prop_assert_eq!(plan.verify(), Ok(()));

        for steps in slices {
            let before = plan.bins_used();
            let better = improve(&mut plan, steps, seed);

            prop_assert_eq!(plan.verify(), Ok(()));
            prop_assert!(plan.unplaced().is_empty());
            prop_assert_eq!(plan.bins_used() < before, better);
            prop_assert!(plan.bins_used() <= before);
        }
    }

    #[test]
    fn a_plan_of_given_bins_is_valid_after_any_number_of_steps(
        items in sizes(30), bins in sizes(12), slices in proptest::collection::vec(0..60_u64, 0..6), seed in any::<u64>(),
    ) {
        let mut plan = Plan::on_bins(items, bins).expect("three dimensions");
        prop_assert_eq!(plan.verify(), Ok(()));

        for steps in slices {
            let before = (plan.unplaced().len(), plan.bins_used());
            let better = improve(&mut plan, steps, seed);

            let after = (plan.unplaced().len(), plan.bins_used());
            prop_assert_eq!(plan.verify(), Ok(()));
            prop_assert_eq!(after < before, better);
            prop_assert!(after <= before);
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_plan(items in sizes(40), seed in any::<u64>()) {
        let made = || {
            let capacity = vec![100, 100 << 20, u64::MAX];
            let mut plan = Plan::identical(items.clone(), capacity).expect("three dimensions");
            improve(&mut plan, 70, seed);
            improve(&mut plan, 30, seed);
            bins_of(&plan)
        };

        prop_assert_eq!(made(), made());
    }

    #[test]
    fn a_few_numbers_are_packed_as_well_as_can_be(
        sizes in proptest::collection::vec(1..=20_u64, 1..=8),
    ) {
        let mut plan = Plan::identical(items(&sizes), vec![20]).expect("one dimension");
        improve(&mut plan, 2_000, 1);

        prop_assert_eq!(plan.bins_used(), optimum(&sizes, 20));
    }

    #[test]
    fn units_do_not_matter(sizes in sizes(25), unit in 1..1_000_u64) {
        let small: Vec<Vec<u64>> = sizes.into_iter().filter(|size| size[2] <= 100).collect();
        let larger = |vector: &Vec<u64>| vector.iter().map(|size| size * unit).collect::<Vec<u64>>();
        let capacity = vec![100, 100 << 20, 100];
        let mut plan = Plan::identical(small.clone(), capacity.clone()).expect("three dimensions");
        let scaled = small.iter().map(larger).collect();
        let mut other = Plan::identical(scaled, larger(&capacity)).expect("three dimensions");

        improve(&mut plan, 50, 3);
        improve(&mut other, 50, 3);

        prop_assert_eq!(bins_of(&plan), bins_of(&other));
    }
}

/// Tries every way.
fn optimum(sizes: &[u64], capacity: u64) -> usize {
    fn place(left: &[u64], bins: &mut Vec<u64>, capacity: u64, best: &mut usize) {
        let Some((&size, left)) = left.split_first() else {
            *best = bins.len().min(*best);
            return;
        };
        for bin in 0..bins.len() {
            if bins[bin] + size <= capacity {
                bins[bin] += size;
                place(left, bins, capacity, best);
                bins[bin] -= size;
            }
        }
        bins.push(size);
        place(left, bins, capacity, best);
        bins.pop();
    }
    let mut best = sizes.len();
    place(sizes, &mut Vec::new(), capacity, &mut best);
    best
}

#[test]
fn a_greedy_start_is_made_perfect() {
    // Decreasing first fit needs four bins: 6+3, 5+4, 4+3, 3 …; three are enough.
    let mut plan =
        Plan::identical(items(&[6, 5, 4, 4, 3, 3, 3, 2]), vec![10]).expect("one dimension");
    improve(&mut plan, 1_000, 7);

    assert_eq!(plan.bins_used(), 3);
    assert!(plan.is_ideal());
}

#[test]
fn nothing_needs_no_bins() {
    let mut none = Plan::identical(Vec::new(), vec![10]).expect("no items");
    let mut nowhere = Plan::on_bins(items(&[1]), Vec::new()).expect("no bins");

    assert!(!improve(&mut none, 10, 0));
    assert!(!improve(&mut nowhere, 10, 0));
    assert_eq!((none.bins_used(), none.is_ideal()), (0, true));
    assert_eq!((nowhere.bins_used(), nowhere.too_big()), (0, &[0][..]));
}

#[test]
fn items_that_ask_nothing_share_one_bin() {
    let mut plan = Plan::identical(items(&[0, 0, 0]), vec![0]).expect("one dimension");
    let mut pointless = Plan::identical(vec![Vec::new(); 3], Vec::new()).expect("no dimension");
    improve(&mut plan, 10, 0);
    improve(&mut pointless, 10, 0);

    assert_eq!((plan.bins_used(), plan.is_ideal()), (1, true));
    assert_eq!((pointless.bins_used(), pointless.is_ideal()), (1, true));
}

#[test]
fn what_is_larger_than_any_bin_is_named() {
    let mut plan = Plan::identical(items(&[4, 11, 6, 12]), vec![10]).expect("one dimension");
    improve(&mut plan, 10, 0);

    assert_eq!(plan.too_big(), [1, 3]);
    assert_eq!(plan.verify(), Ok(()));
    assert_eq!(plan.bins_used(), 1);
}

#[test]
fn what_has_no_place_on_the_bins_there_are_is_named() {
    let mut plan = Plan::on_bins(items(&[6, 6, 6]), items(&[10, 7])).expect("one dimension");
    improve(&mut plan, 100, 0);

    assert_eq!(plan.bins_used(), 2);
    assert_eq!(plan.unplaced().len(), 1);
    assert!(!plan.is_ideal());
}

#[test]
fn the_largest_numbers_do_not_overflow() {
    let half = u64::MAX / 2;
    let sizes = items(&[u64::MAX, half, half, 1, half + 1]);
    let mut plan = Plan::identical(sizes.clone(), vec![u64::MAX]).expect("one dimension");
    let mut given =
        Plan::on_bins(sizes, items(&[u64::MAX, u64::MAX, u64::MAX])).expect("one dimension");
    improve(&mut plan, 500, 5);
    improve(&mut given, 500, 5);

    assert_eq!(plan.verify(), Ok(()));
    assert_eq!((plan.bins_used(), plan.lower_bound()), (3, 3));
    assert_eq!((given.bins_used(), given.unplaced().len()), (3, 0));
}

#[test]
fn vectors_of_different_lengths_are_refused_by_place() {
    let item = Plan::identical(vec![vec![1, 2], vec![1]], vec![10, 10]).expect_err("one is short");
    let bin = Plan::on_bins(Vec::new(), vec![vec![1], vec![1, 2]]).expect_err("one is long");

    assert_eq!(item.to_string(), "item 1 has 1 dimensions, the bins have 2");
    assert_eq!(
        bin.to_string(),
        "bin 1 has 2 dimensions, the first bin has 1"
    );
}
