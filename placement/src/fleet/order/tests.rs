use std::collections::BTreeMap;

use mete_model::Resources;
use proptest::prelude::*;

use super::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn an_order_stays_in_order_whatever_moves(
        start in proptest::collection::vec(0..200_u64, 0..1_000),
        moves in proptest::collection::vec((0..1_200_u32, proptest::option::weighted(0.6, 0..200_u64)), 0..4_000),
    ) {
        let amounts = |key: u64| Amounts::of(&Resources::cpus_mem(key, 1_000 - key));
        let mut known: BTreeMap<u32, u64> = (0..).zip(start.iter().copied()).collect();
        let mut order = Order::build(known.iter().map(|(node, key)| (*key, *node)).collect(), |node| amounts(known[&node]));

        for (node, key) in moves {
            match key {
                Some(key) => {
                    order.set(node, key, amounts(key));
                    known.insert(node, key);
                }
                None => {
                    order.remove(node);
                    known.remove(&node);
                }
            }
        }

        let mut sorted: Vec<(u64, u32)> = known.iter().map(|(node, key)| (*key, *node)).collect();
        sorted.sort_unstable();
        prop_assert_eq!(order.iter().collect::<Vec<_>>(), sorted.iter().map(|(_, node)| *node).collect::<Vec<_>>());
        for (at, bucket) in order.buckets.iter().enumerate() {
            prop_assert!(bucket.len() > 0);
            prop_assert_eq!(order.firsts[at], bucket.first());
            for kind in 0..KINDS {
                prop_assert_eq!(order.most[kind][at], bucket.most(kind));
            }
        }
        for least in [0, 50, 150, 199] {
            let needs = Needs::of(&Resources::cpus_mem(least, 810));
            let fits = |(key, _): &&(u64, u32)| (30..190).contains(key) && *key >= least && 1_000 - *key >= 810;
            let first = sorted.iter().find(fits).map(|(_, node)| *node);
            prop_assert_eq!(order.first(&needs, (30, 190), |_| true), first);
        }
    }
}
