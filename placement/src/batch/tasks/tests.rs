use super::*;
use mete_model::Ranges;
use proptest::prelude::*;

fn ask(resources: Resources) -> Ask {
    Ask {
        resources,
        class: 0,
    }
}

fn with_gpus(gpus_milli: u64) -> Resources {
    let mut resources = Resources::cpus_mem(1_000, 64);
    resources.gpus_milli = gpus_milli;
    resources
}

fn machine(gpus_milli: u64) -> Resources {
    let mut total = Resources::cpus_mem(64_000, 4_096);
    total.gpus_milli = gpus_milli;
    total.with_devices()
}

fn anywhere(_: u32, _: usize) -> bool {
    true
}

fn bins_of(layout: &Layout) -> Vec<usize> {
    layout.placed.iter().map(|(_, bin, _)| *bin).collect()
}

fn laid_out(asks: Vec<Ask>, free: Vec<Resources>) -> Layout {
    let mut plan = TaskPlan::new(asks, free, anywhere).expect("few");
    plan.improve(500, 1);
    plan.layout(anywhere)
}

#[test]
fn tasks_fill_as_few_bins_as_can_be() {
    let asks = [6, 5, 4, 4, 3, 3, 3, 2].map(|cpus| ask(Resources::cpus_mem(cpus * 1_000, 1)));
    let free = vec![Resources::cpus_mem(10_000, 1_000); 5];
    let layout = laid_out(asks.to_vec(), free);

    let bins: BTreeSet<usize> = bins_of(&layout).into_iter().collect();
    assert_eq!((bins.len(), layout.unplaced), (3, Vec::new()));
}

#[test]
fn tasks_with_one_host_port_go_to_different_bins() {
    let http = Resources::cpus_mem(100, 1).with_ports(Ranges::interval(80, 80));
    let free = Resources::cpus_mem(10_000, 1_000).with_ports(Ranges::interval(1, 100));
    let layout = laid_out(vec![ask(http); 3], vec![free; 2]);

    assert_eq!((bins_of(&layout).len(), layout.unplaced), (2, vec![2]));
}

#[test]
fn parts_of_gpus_get_devices_that_hold_them() {
    let asks = [600, 400, 2_000, 600, 400].map(|milli| ask(with_gpus(milli)));
    let layout = laid_out(asks.to_vec(), vec![machine(4_000)]);

    assert_eq!(layout.unplaced, Vec::<usize>::new());
    let named = |(_, _, taken): &(usize, usize, Resources)| !taken.devices().list().is_empty();
    assert!(layout.placed.iter().all(named));
}

#[test]
fn parts_that_vectors_think_fit_find_another_place() {
    // Five parts of 400 are two GPUs in all, but two GPUs hold no more than four of them.
    let layout = laid_out(vec![ask(with_gpus(400)); 5], vec![machine(2_000); 2]);

    assert_eq!(layout.unplaced, Vec::<usize>::new());
    assert_eq!(
        bins_of(&layout).into_iter().collect::<BTreeSet<_>>().len(),
        2
    );
}

#[test]
fn a_class_goes_only_where_it_may() {
    let permit = |class: u32, bin: usize| class == 0 || bin == 1;
    let one = Resources::cpus_mem(1_000, 1);
    let special = Ask {
        resources: one.clone(),
        class: 7,
    };
    let asks = vec![ask(one.clone()), special.clone(), special];
    let plan = TaskPlan::new(asks, vec![one; 2], permit).expect("few");
    let layout = plan.layout(permit);

    assert_eq!(bins_of(&layout), [0, 1]);
    assert_eq!(layout.unplaced, [2]);
}

fn some(most: u64) -> impl Strategy<Value = Resources> {
    let ports = proptest::collection::btree_set(80_u64..90, 0..3);
    (0..most, 0..most, 0..4_u64, 0..11_u64, ports, 0..3_u64).prop_map(
        |(cpus, mem, whole, part, ports, fpga)| {
            let mut all =
                Resources::cpus_mem(cpus * 100, mem * 64).with_ports(ports.into_iter().collect());
            // Whole GPUs, or a part of one.
            all.gpus_milli = if whole > 1 {
                (whole - 1) * 1_000
            } else {
                part * 100
            };
            all.set_other("fpga", fpga * 1_000);
            all
        },
    )
}

proptest! {
    #[test]
    fn every_task_is_laid_out_once_and_nothing_is_given_twice(
        asks in proptest::collection::vec((some(20), 0..3_u32), 0..25),
        free in proptest::collection::vec(some(80), 0..8),
        steps in 0..200_u64,
    ) {
        let permit = |class: u32, bin: usize| class != 1 || bin.is_multiple_of(2);
        let asks: Vec<Ask> = asks.into_iter().map(|(resources, class)| Ask { resources, class }).collect();
        let free: Vec<Resources> = free.into_iter().map(Resources::with_devices).collect();
        let mut plan = TaskPlan::new(asks.clone(), free.clone(), permit).expect("few");
        plan.improve(steps, 4);

        let layout = plan.layout(permit);

        prop_assert_eq!(plan.plan().verify(), Ok(()));
        let mut left = free;
        for (task, bin, taken) in &layout.placed {
            prop_assert!(permit(asks[*task].class, *bin));
            prop_assert_eq!(taken.gpus_milli, asks[*task].resources.gpus_milli);
            let rest = left[*bin].minus(taken);
            prop_assert!(rest.is_some());
            left[*bin] = rest.expect("just checked");
        }
        let placed = layout.placed.iter().map(|(task, ..)| *task);
        let mut all: Vec<usize> = placed.chain(layout.unplaced.iter().copied()).collect();
        all.sort_unstable();
        prop_assert_eq!(all, (0..asks.len()).collect::<Vec<_>>());
        // What has no place fits nowhere.
        for task in layout.unplaced {
            let ask = &asks[task];
            let fits = |(bin, left): (usize, &Resources)| permit(ask.class, bin) && left.contains(&ask.resources);
            prop_assert!(!left.iter().enumerate().any(fits));
        }
    }
}
