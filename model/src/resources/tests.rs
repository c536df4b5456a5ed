//! Sums of resources: nothing is lost, nothing appears.

use super::*;
use crate::role::Role;
use proptest::prelude::*;

fn role(text: &str) -> Role {
    Role::new(text).expect("good")
}

fn volume() -> Tag {
    Tag {
        volume: Some(Volume {
            id: "v".into(),
            container_path: "data".into(),
            read_only: false,
            principal: None,
        }),
        ..Tag::reserved(role("prod"))
    }
}

fn shared_volume() -> Tag {
    Tag {
        shared: true,
        ..volume()
    }
}

fn revocable() -> Tag {
    Tag {
        revocable: true,
        ..Tag::default()
    }
}

/// Plain resources: scalars, ports, some devices, one further scalar.
fn plain() -> impl Strategy<Value = Resources> {
    (
        0..9_000_u64,
        0..1_u64 << 40,
        0..1_u64 << 40,
        proptest::collection::btree_map(0_u16..6, 1_u16..=1_000, 0..4),
        proptest::collection::btree_set(31_000_u64..31_040, 0..12),
        0..50_u64,
    )
        .prop_map(|(cpus, mem, disk, gpus, ports, fpga)| {
            let devices = gpus
                .into_iter()
                .map(|(index, milli)| Device { index, milli });
            let devices = Devices::new(devices.collect()).expect("sound");
            let mut all = Resources {
                cpus_milli: cpus,
                mem_milli: mem,
                disk_milli: disk,
                ports: ports.into_iter().collect(),
                ..Resources::none()
            }
            .with_named_devices(devices);
            all.set_other("fpga", fpga);
            all
        })
}

/// With parts: reserved, revocable, a volume of one of two sizes, shared or not.
fn some() -> impl Strategy<Value = Resources> {
    let sizes = (0..3_u64, 0..2_u64);
    (
        plain(),
        proptest::option::of(plain()),
        proptest::option::of(plain()),
        sizes,
    )
        .prop_map(|(all, reserved, idle, (size, shared_size))| {
            let disk = |size: u64| Resources {
                disk_milli: size * MB_MILLI,
                ..Resources::none()
            };
            all.with_part(Tag::reserved(role("prod")), reserved.unwrap_or_default())
                .with_part(revocable(), idle.unwrap_or_default())
                .with_part(volume(), disk(size))
                .with_part(shared_volume(), disk(shared_size))
        })
}

/// A part of something, so that taking it often succeeds.
fn whole_and_part() -> impl Strategy<Value = (Resources, Resources)> {
    (some(), some(), 0..4_u8).prop_map(|(whole, other, how)| match how {
        0 => (whole.plus(&other), other),
        1 => (whole.clone(), whole),
        2 => (whole.plus(&other), other.plain()),
        _ => (whole, other),
    })
}

proptest! {
    #[test]
    fn what_was_taken_and_what_is_left_make_the_whole((whole, asked) in whole_and_part()) {
        match whole.minus(&asked) {
            Some(left) => {
                // Devices that were never named cannot be named by adding.
                let pinned = whole.pin(&asked).expect("it is there");
                prop_assert_eq!(left.plus(&pinned), whole.clone());
                prop_assert!(whole.shortages(&asked).is_empty());
                prop_assert!(whole.contains(&left));
            }
            None => {
                prop_assert!(!whole.contains(&asked));
                prop_assert!(!whole.shortages(&asked).is_empty());
            }
        }
    }

    #[test]
    fn a_part_never_has_a_share_above_one(whole in some(), asked in some()) {
        let part = whole.minus_at_most(&asked);

        prop_assert!(part.dominant_share(&whole) <= 1.0);
        prop_assert!(part.devices().sum_milli() == part.gpus_milli);
    }

    #[test]
    fn taking_everything_leaves_what_is_shared(whole in some()) {
        let left = whole.minus_at_most(&whole.clone());
        let rebuilt = whole.plain().plus(&whole.clone().only_parts(|_| true).minus_at_most(&whole.plain()));

        prop_assert_eq!(left.has_parts(), whole.part(&shared_volume()).is_some());
        prop_assert!(left.plain().is_empty());
        prop_assert_eq!(rebuilt, whole);
    }

    #[test]
    fn flat_sums_scalars_and_ports_of_all_parts(whole in some()) {
        let flat = whole.flat();
        let sum = |of: &dyn Fn(&Resources) -> u64| of(&whole.plain()) + whole.parts().map(|(_, part)| of(part)).sum::<u64>();

        prop_assert!(!flat.has_parts());
        prop_assert_eq!(flat.cpus_milli, sum(&|one| one.cpus_milli));
        prop_assert_eq!(flat.disk_milli, sum(&|one| one.disk_milli));
        prop_assert_eq!(flat.gpus_milli, sum(&|one| one.gpus_milli));
        prop_assert_eq!(flat.other("fpga"), sum(&|one| one.other("fpga")));
        for (_, part) in whole.parts() { prop_assert!(flat.ports.includes(&part.ports)); }
    }

    #[test]
    fn gpus_asked_by_amount_are_there_exactly_when_they_can_be_pinned(whole in plain(), gpus in 0..4_000_u64) {
        let asked = Resources { gpus_milli: gpus, ..Resources::none() };

        let pinned = whole.pin(&asked);

        // Without names only the amount counts; that is the case when there are none at all.
        prop_assert_eq!(whole.contains(&asked), pinned.is_some());
        if let Some(pinned) = pinned {
            prop_assert_eq!(pinned.gpus_milli, gpus);
            prop_assert_eq!(whole.minus(&pinned), whole.minus(&asked));
        }
    }
}

#[test]
fn a_volume_goes_whole_or_not_at_all() {
    let disk = |mb: u64| Resources {
        disk_milli: mb * MB_MILLI,
        ..Resources::none()
    };
    let there = Resources::none().with_part(volume(), disk(10));
    let half = Resources::none().with_part(volume(), disk(5));

    assert!(there.contains(&there.clone()));
    assert!(!there.contains(&half));
    assert_eq!(
        there.shortages(&half),
        ["disk(reservations: [(STATIC,prod)])[v:data] 5 asked, 10 there, which only goes whole"]
    );
    assert_eq!(there.minus(&there.clone()), Some(Resources::none()));
}

#[test]
fn a_shared_volume_is_not_used_up() {
    let disk = Resources {
        disk_milli: MB_MILLI,
        ..Resources::none()
    };
    let mut there = Resources::none().with_part(shared_volume(), disk.clone());

    let left = there.minus(&there.clone()).expect("there");

    assert_eq!(left, there);
    assert_eq!(left.plus(&there), there);
    assert_eq!(there.take_part(&shared_volume()), Some(disk));
    assert!(there.is_empty());
}

#[test]
fn a_reshaped_whole_has_the_same_quantities_in_another_form() {
    let disk = Resources {
        disk_milli: MB_MILLI,
        ..Resources::none()
    };
    let whole = Resources::cpus_mem(1_000, 64).with_part(Tag::reserved(role("prod")), disk.clone());
    let from = Resources::none().with_part(Tag::reserved(role("prod")), disk.clone());
    let to = Resources::none().with_part(shared_volume(), disk);

    let made = whole.reshaped(&from, &to).expect("it is there");

    assert_eq!(made.flat(), whole.flat());
    assert_eq!(made.reshaped(&from, &to), None);
    assert_eq!(made.reshaped(&to, &from), Some(whole));
    assert!(made.unshared().parts().next().is_none());
}

#[test]
fn plain_and_reserved_do_not_stand_in_for_each_other() {
    let asked = Resources::cpus_mem(1_000, 64);
    let reserved = Resources::none().with_part(Tag::reserved(role("prod")), asked.clone());

    assert!(!reserved.contains(&asked) && !asked.contains(&reserved));
    assert!(reserved.flat().contains(&asked));
    assert_eq!(
        asked.shortages(&reserved),
        [
            "cpus(reservations: [(STATIC,prod)]) 1 asked, 0 there",
            "mem(reservations: [(STATIC,prod)]) 64 asked, 0 there"
        ]
    );
}

#[test]
fn an_agents_gpus_are_numbered_from_zero_over_all_parts() {
    let gpus = |milli| Resources {
        gpus_milli: milli,
        ..Resources::none()
    };
    let total = gpus(2_000)
        .with_part(Tag::reserved(role("prod")), gpus(1_000))
        .with_devices();

    assert_eq!(
        total.to_string(),
        "gpus:2[0,1]; gpus(reservations: [(STATIC,prod)]):1[2]"
    );
    assert_eq!(total.flat().devices(), &Devices::whole_from(0, 3));
    assert_eq!(total.clone().with_devices(), total);
}

#[test]
fn gpus_of_two_agents_sum_to_an_amount() {
    let agent = Resources {
        gpus_milli: 2_000,
        ..Resources::none()
    }
    .with_devices();

    let sum = agent.plus(&agent);

    assert_eq!(sum.gpus_milli, 4_000);
    assert!(sum.devices().is_empty());
    assert_eq!(sum.minus_at_most(&agent).gpus_milli, 2_000);
}

#[test]
fn a_part_of_a_gpu_can_be_pinned_on_a_given_device() {
    let agent = Resources {
        gpus_milli: 2_000,
        ..Resources::none()
    }
    .with_devices();
    let asked = Resources {
        gpus_milli: 250,
        ..Resources::none()
    };

    let pinned = agent.pin_on(&asked, 1).expect("it fits");
    let left = agent.minus(&pinned).expect("it was there");

    assert_eq!(left.to_string(), "gpus:1.75[0,1:0.75]");
    assert_eq!(left.pin(&asked), Some(pinned));
    assert_eq!(agent.pin_on(&asked, 2), None);
    assert_eq!(
        left.shortages(&Resources {
            gpus_milli: 1_750,
            ..Resources::none()
        }),
        Vec::<String>::new()
    );
}

#[test]
fn clones_of_plain_resources_share_everything() {
    let ports = Ranges::interval(31_000, 32_000);
    let agent = Resources::cpus_mem(4_000, 1_024).with_ports(ports);

    let copy = agent.clone();

    assert!(std::ptr::eq(
        agent.ports.intervals(),
        copy.ports.intervals()
    ));
    assert!(agent.minus_at_most(&copy).is_empty());
}

#[test]
fn resources_print_as_mesos_prints_them() {
    let all = Resources::cpus_mem(1_500, 128).with_ports(Ranges::interval(31_000, 31_001));

    assert_eq!(all.to_string(), "cpus:1.5; mem:128; ports:[31000-31001]");
    assert_eq!(Resources::none().to_string(), "nothing");
}

#[test]
fn a_shortage_names_what_is_missing() {
    let there = Resources::cpus_mem(500, 64);
    let asked = Resources::cpus_mem(2_000, 64).with_ports(Ranges::interval(80, 80));

    assert_eq!(
        there.shortages(&asked),
        ["cpus 2 asked, 0.5 there", "ports [80-80] not there"]
    );
}
