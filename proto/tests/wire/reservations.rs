//! Reservations, volumes and devices are written and read as the same, in both forms; what cannot be is refused with field
//! and value.

use std::collections::BTreeSet;

use mete_model::{
    AgentId, Attributes, Capability, Device, Devices, Endpoint, FrameworkId, MB_MILLI, Offer,
    OfferId, Reservation, ReservationKind, Resources, Role, Tag, Volume,
};
use mete_proto::convert::{offer, resources};
use mete_proto::mesos::v1 as wire;
use proptest::prelude::*;

use super::refusals::refused_resource;
use super::{ports, scalar};

fn role(text: &str) -> Role {
    Role::new(text).expect("good")
}

fn dynamic(path: &str) -> Reservation {
    Reservation {
        role: role(path),
        kind: ReservationKind::Dynamic,
        principal: Some("ops".to_owned()),
        labels: vec![
            ("why".to_owned(), Some("now".to_owned())),
            ("bare".to_owned(), None),
        ],
    }
}

/// One of each kind that a framework without refinements can read.
fn simple_tags() -> Vec<Tag> {
    let kept = Tag::reserved(role("prod"));
    let reserved = Tag {
        reservations: vec![dynamic("prod")],
        ..Tag::default()
    };
    let volume = Tag {
        volume: Some(Volume {
            id: "v1".to_owned(),
            container_path: "data".to_owned(),
            read_only: true,
            principal: Some("ops".to_owned()),
        }),
        ..kept.clone()
    };
    let shared = Tag {
        shared: true,
        ..volume.clone()
    };
    let revocable = Tag {
        revocable: true,
        ..Tag::default()
    };
    vec![Tag::default(), kept, reserved, volume, shared, revocable]
}

fn refined_tag() -> Tag {
    Tag {
        reservations: vec![
            Tag::reserved(role("prod")).reservations.remove(0),
            dynamic("prod/web"),
            dynamic("prod/web/eu"),
        ],
        ..Tag::default()
    }
}

/// Disk for each tag; CPUs, ports and a device of its own for those that are no volumes.
fn filled(tags: Vec<Tag>) -> impl Strategy<Value = Resources> {
    let count = tags.len();
    proptest::collection::vec((0..9_000_u64, 0..3_u64, 0..=1_000_u16), count).prop_map(
        move |amounts| {
            let mut all = Resources::none();
            for (at, (tag, (cpus, disk_mb, gpu))) in (0_u16..).zip(tags.iter().zip(amounts)) {
                let mut part = Resources::none();
                part.disk_milli = disk_mb * MB_MILLI;
                if tag.volume.is_none() {
                    part.cpus_milli = cpus;
                    part.ports = (0..cpus % 4).map(|n| 100 * u64::from(at) + n).collect();
                    let device = Device {
                        index: at,
                        milli: gpu,
                    };
                    let devices = Vec::from_iter((gpu > 0).then_some(device));
                    part = part.with_named_devices(Devices::new(devices).expect("sound"));
                }
                all.add_part(tag.clone(), part);
            }
            all
        },
    )
}

fn offer_of(resources: Resources) -> Offer {
    Offer {
        id: OfferId::new("m-O1").expect("good"),
        framework: FrameworkId::new("m-0001").expect("good"),
        agent: AgentId::new("m-S1").expect("good"),
        endpoint: Endpoint {
            hostname: "a".to_owned(),
            ip: "127.0.0.2".to_owned(),
            port: 5051,
        },
        role: role("prod"),
        resources,
        attributes: Attributes::new(),
        domain: None,
        unavailability: None,
    }
}

proptest! {
    #[test]
    fn resources_with_parts_come_back(all in filled([simple_tags(), vec![refined_tag()]].concat())) {
        prop_assert_eq!(resources::from_wire(&resources::to_wire(&all)), Ok(all));
    }

    #[test]
    fn resources_with_parts_come_back_in_the_older_form(all in filled(simple_tags())) {
        let mut list = resources::to_wire(&all);
        resources::to_older_form(&mut list);

        prop_assert!(list.iter().all(|one| one.reservations.is_empty() && one.role.is_some()));
        prop_assert_eq!(resources::from_wire(&list), Ok(all));
    }

    #[test]
    fn resources_with_parts_come_back_in_the_form_of_answers_over_http(
        all in filled([simple_tags(), vec![refined_tag()]].concat())
    ) {
        let mut list = resources::to_wire(&all);
        resources::to_endpoint_form(&mut list);

        prop_assert_eq!(resources::from_wire(&list), Ok(all));
    }

    #[test]
    fn only_frameworks_that_take_parts_of_gpus_read_devices(all in filled(simple_tags())) {
        let ours = BTreeSet::from([Capability::GpuFractions, Capability::MultiRole]);
        let offer = offer_of(all);

        let theirs = offer::to_wire(&offer, &BTreeSet::new());
        let ours = offer::to_wire(&offer, &ours);

        prop_assert!(theirs.resources.iter().all(|one| one.devices.is_empty()));
        prop_assert_eq!(Offer::try_from(&ours), Ok(offer));
    }
}

#[test]
fn the_older_form_says_static_and_dynamic_as_mesos_does() {
    let one = Resources::cpus_mem(1_000, 0);
    let tags = simple_tags();
    let all = Resources::none()
        .with_part(tags[1].clone(), one.clone())
        .with_part(tags[2].clone(), one);

    let mut list = resources::to_wire(&all);
    resources::to_older_form(&mut list);

    let said: Vec<_> = list
        .iter()
        .map(|one| (one.role.as_deref(), one.reservation.as_ref()))
        .collect();
    let mut dynamic = wire::resource::ReservationInfo {
        principal: Some("ops".to_owned()),
        ..Default::default()
    };
    dynamic.labels = said[1].1.and_then(|info| info.labels.clone());
    assert_eq!(said, [(Some("prod"), None), (Some("prod"), Some(&dynamic))]);
}

#[test]
fn a_bad_role_of_a_reservation_is_named() {
    for bad in ["../a", "a/./b", "a//b", "/a", "-a", "a b", "a/*", ""] {
        let error = refused_resource(|one| one.role = Some(bad.to_owned()));
        assert!(
            error.starts_with(&format!("resources[0].role: bad role {bad:?}")),
            "{error}"
        );
        let error = refused_resource(|one| one.reservations.push(reservation(bad)));
        assert!(
            error.starts_with(&format!(
                "resources[0].reservations[0].role: bad role {bad:?}"
            )),
            "{error}"
        );
    }
}

fn reservation(role: &str) -> wire::resource::ReservationInfo {
    let mut info = wire::resource::ReservationInfo {
        role: Some(role.to_owned()),
        ..Default::default()
    };
    info.set_type(wire::resource::reservation_info::Type::Dynamic);
    info
}

#[test]
fn reservations_that_cannot_stand_on_one_another_are_named() {
    let refused = |roles: &[&str]| {
        refused_resource(|one| one.reservations = roles.iter().copied().map(reservation).collect())
    };

    assert_eq!(
        refused(&["a", "a"]),
        "resources[0].reservations: reservation for role \"a\" is not strictly below that for role \"a\""
    );
    assert_eq!(
        refused(&["a", "b"]),
        "resources[0].reservations: reservation for role \"b\" is not strictly below that for role \"a\""
    );
    assert!(refused(&["a/b", "a"]).contains("is not strictly below"));
    assert!(refused(&["a", "a/b", "a"]).contains("is not strictly below")); // A cycle.
    assert!(refused(&["*"]).contains("role \"*\" cannot be reserved for"));
    let static_below = refused_resource(|one| {
        one.reservations = vec![reservation("a"), reservation("a/b")];
        one.reservations[1].set_type(wire::resource::reservation_info::Type::Static);
    });
    assert!(
        static_below.contains("only the first may be static"),
        "{static_below}"
    );
    let deep: Vec<String> = (1..=40).map(|depth| vec!["a"; depth].join("/")).collect();
    let deep: Vec<&str> = deep.iter().map(String::as_str).collect();
    assert!(refused(&deep).contains("40 reservations on top of one another"));
}

#[test]
fn the_two_forms_of_reservations_are_not_mixed() {
    assert_eq!(
        refused_resource(|one| {
            one.role = Some("b".to_owned());
            one.reservations.push(reservation("a"));
        }),
        "resources[0].role: b is not possible: it is not the role in 'reservations'"
    );
    assert_eq!(
        refused_resource(|one| {
            one.role = Some("a/b".to_owned());
            one.reservations = vec![reservation("a"), reservation("a/b")];
        }),
        "resources[0].role: a/b is not possible: it is not set beside several 'reservations'"
    );
    assert_eq!(
        refused_resource(|one| {
            one.role = Some("a".to_owned());
            one.reservation = Some(wire::resource::ReservationInfo {
                principal: Some("ops".to_owned()),
                ..Default::default()
            });
            one.reservations.push(reservation("a"));
        }),
        "resources[0].reservation: a value is not possible: it is not what stands in 'reservations'"
    );
    assert_eq!(
        refused_resource(|one| {
            one.reservation = Some(wire::resource::ReservationInfo::default());
        }),
        "resources[0].role: \"*\" is not possible: a reservation is for another role"
    );
    assert_eq!(
        refused_resource(|one| {
            one.role = Some("a".to_owned());
            one.reservation = Some(reservation("a"));
        }),
        "resources[0].reservation.role: a value is not possible: it is set in 'reservations' only"
    );
    assert_eq!(
        refused_resource(
            |one| one.reservations.push(wire::resource::ReservationInfo {
                role: Some("a".to_owned()),
                ..Default::default()
            })
        ),
        "resources[0].reservations[0].type: it is missing"
    );
}

fn volume(id: &str) -> wire::resource::DiskInfo {
    let mut volume = wire::Volume {
        container_path: "data".to_owned(),
        ..Default::default()
    };
    volume.set_mode(wire::volume::Mode::Rw);
    wire::resource::DiskInfo {
        persistence: Some(wire::resource::disk_info::Persistence {
            id: id.to_owned(),
            principal: None,
        }),
        volume: Some(volume),
        ..Default::default()
    }
}

#[test]
fn a_volume_is_reserved_disk_with_a_place() {
    let refused = |change: &dyn Fn(&mut wire::Resource)| {
        refused_resource(|one| {
            one.name = "disk".to_owned();
            one.reservations = vec![reservation("a")];
            one.disk = Some(Box::new(volume("v")));
            change(one);
        })
    };

    assert!(refused(&|one| one.reservations.clear()).contains("a volume is on reserved disk"));
    assert!(
        refused(&|one| one.name = "mem".to_owned()).contains("volumes are of the resource 'disk'")
    );
    assert!(
        refused(&|one| one.revocable = Some(wire::resource::RevocableInfo {}))
            .contains("not on revocable disk")
    );
    assert_eq!(
        refused(&|one| one.disk.as_mut().expect("there").volume = None),
        "resources[0].disk.volume: it is missing"
    );
    for bad in ["", "..", "a/b", "a\0"] {
        assert!(
            refused(&|one| one.disk = Some(Box::new(volume(bad))))
                .starts_with("resources[0].disk.persistence.id: "),
            "{bad:?}"
        );
    }
    assert_eq!(
        refused_resource(|one| one.shared = Some(wire::resource::SharedInfo {})),
        "resources[0].shared: cpus is not possible: only volumes are shared"
    );
}

#[test]
fn a_port_cannot_be_in_two_reservations() {
    let mut reserved = ports(2, 5);
    reserved.role = Some("a".to_owned());

    let error = resources::from_wire(&[ports(1, 3), reserved])
        .expect_err("refused")
        .to_string();

    assert_eq!(
        error,
        "resources.ports: [2-3] is not possible: a port is either reserved or not, and for one role"
    );
}

#[test]
fn devices_that_are_not_possible_are_named() {
    let device = |index, milli| wire::resource::Device { index, milli };
    let refused = |value, devices: Vec<wire::resource::Device>| {
        let gpus = wire::Resource {
            devices,
            ..scalar("gpus", value)
        };
        resources::from_wire(&[gpus])
            .expect_err("refused")
            .to_string()
    };

    assert!(refused(1.0, vec![device(0, 500)]).contains("they do not make up the scalar"));
    assert!(refused(1.0, vec![device(0, 500), device(0, 500)]).contains("one is named twice"));
    assert!(
        refused(2.0, vec![device(0, 2_000)]).starts_with("resources[0].devices[0].milli: 2000")
    );
    assert!(refused(0.0, vec![device(0, 0)]).starts_with("resources[0].devices[0].milli: 0"));
    assert!(
        refused(1.0, vec![device(70_000, 1_000)])
            .starts_with("resources[0].devices[0].index: 70000")
    );
    assert!(
        refused_resource(|one| one.devices = vec![device(0, 1_000)])
            .contains("only gpus have devices")
    );
    let half = wire::Resource {
        devices: vec![device(0, 600)],
        ..scalar("gpus", 0.6)
    };
    let twice = resources::from_wire(&[half.clone(), half]).expect_err("refused");
    assert!(
        twice
            .to_string()
            .contains("more than the whole of one is given"),
        "{twice}"
    );
}
