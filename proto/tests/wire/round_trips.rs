//! What is written is read as the same, in both directions.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use mete_model::container::{
    ContainerKind, Isolation, Login, Mount, MountSource, Network, PortMapping, Pull, Rlimit,
    RlimitKind, Transport,
};
use mete_model::{
    AgentId, AgentInfo, AttributeValue, Attributes, Capability, CommandSpec, ContainerId,
    ContainerSpec, Endpoint, ExecutorId, FaultDomain, FetchUri, FrameworkId, FrameworkInfo,
    HealthCheck, InverseOffer, Limit, LinuxCapability, Offer, OfferId, Probe, Program, Ranges,
    Reason, Resources, Role, Source, TaskId, TaskLimits, TaskSpec, TaskState, TaskStatus,
    Timestamp, Unavailability, UpdateId, WindowSize,
};
use mete_proto::convert::status::{kept, put_as_it_came};
use mete_proto::convert::task::{put_to_run, to_run};
use mete_proto::convert::{offer, resources};
use mete_proto::encoded;
use mete_proto::mesos::v1 as wire;
use mete_proto::strict::decode;
use proptest::collection::{btree_map, btree_set, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use prost::Message as _;

use super::task;

fn ranges() -> impl Strategy<Value = Ranges> {
    btree_set(1_u64..65_536, 0..6).prop_map(|numbers| numbers.into_iter().collect())
}

/// Resources of any size.
pub(super) fn resources() -> impl Strategy<Value = Resources> {
    (
        0..1_u64 << 50,
        0..1_u64 << 50,
        0..1_u64 << 50,
        0..9_000_u64,
        ranges(),
        btree_map("[a-e]{2,8}", 0..5_000_u64, 0..3),
    )
        .prop_map(|(cpus, mem, disk, gpus, ports, others)| {
            let mut all = Resources::none();
            (
                all.cpus_milli,
                all.mem_milli,
                all.disk_milli,
                all.gpus_milli,
            ) = (cpus, mem, disk, gpus);
            all.ports = ports;
            for (name, milli) in others {
                all.set_other(&name, milli);
            }
            all
        })
}

fn attributes() -> impl Strategy<Value = Attributes> {
    let value = prop_oneof![
        (-1_000_000_000_i64..1_000_000_000).prop_map(AttributeValue::Scalar),
        ranges().prop_map(AttributeValue::Ranges),
        ".{0,12}".prop_map(|text| AttributeValue::Text(text.into())),
    ];
    btree_map("[a-z]{1,8}", value, 0..4).prop_map(|all| {
        let mut attributes = Attributes::new();
        all.into_iter()
            .for_each(|(name, value)| attributes.set(&name, value));
        attributes
    })
}

fn text() -> impl Strategy<Value = String> {
    "[^\\x00]{1,20}"
}

fn command() -> impl Strategy<Value = CommandSpec> {
    let program = prop_oneof![
        text().prop_map(Program::Shell),
        (text(), vec("[^\\x00]{0,9}", 0..4)).prop_map(|(path, argv)| Program::Exec { path, argv }),
    ];
    let uri = (
        "http://[a-z]{1,9}/x",
        any::<bool>(),
        any::<bool>(),
        any::<bool>(),
        option::of("[a-z]{1,9}"),
    )
        .prop_map(
            |(value, extract, executable, cache, output_file)| FetchUri {
                value,
                extract,
                executable,
                cache,
                output_file,
            },
        );
    (
        program,
        btree_map("[A-Z_]{1,9}", "[^\\x00]{0,9}", 0..4),
        option::of("[a-z]{1,8}"),
        vec(uri, 0..3),
    )
        .prop_map(|(program, environment, user, uris)| CommandSpec {
            program,
            environment,
            secrets: std::collections::BTreeMap::new(),
            user,
            uris,
            terminal: None,
        })
}

fn span() -> impl Strategy<Value = Duration> {
    (0..1_000_000_000_u64).prop_map(Duration::from_millis)
}

fn health_check() -> impl Strategy<Value = HealthCheck> {
    let probe = prop_oneof![
        (
            1..=u16::MAX,
            "/[a-z/?=]{0,12}",
            vec(100..600_u16, 0..3),
            any::<bool>()
        )
            .prop_map(|(port, path, statuses, secure)| Probe::Http {
                port,
                path,
                statuses,
                secure
            }),
        (1..=u16::MAX).prop_map(|port| Probe::Tcp { port }),
        (1..=u16::MAX, "[a-zA-Z.]{0,9}").prop_map(|(port, service)| Probe::Grpc { port, service }),
        command().prop_map(Probe::Command),
    ];
    (probe, span(), span(), span(), span(), any::<u32>()).prop_map(
        |(probe, delay, interval, timeout, grace_period, consecutive_failures)| HealthCheck {
            probe,
            delay,
            interval,
            timeout,
            grace_period,
            consecutive_failures,
        },
    )
}

/// Anything that can be an id.
fn id() -> impl Strategy<Value = String> {
    "[a-zA-Z0-9_.-]{1,40}".prop_filter("no directories", |text| text != "." && text != "..")
}

/// A command and the container around it, if any; a container that asks for nothing is none.
fn contained() -> impl Strategy<Value = (CommandSpec, Option<Box<ContainerSpec>>)> {
    let own = vec("[^\\x00]{0,9}", 0..4);
    (command(), option::of(container()), option::of(own)).prop_map(
        |(mut command, container, own)| {
            let container = container.filter(|one| *one != ContainerSpec::default());
            if let (Some(arguments), Some(ContainerSpec { image: Some(_), .. })) = (own, &container)
            {
                command.program = Program::Image { arguments };
            }
            (command, container.map(Box::new))
        },
    )
}

fn container() -> impl Strategy<Value = ContainerSpec> {
    let pull = select(vec![Pull::IfMissing, Pull::Always]);
    let kind = select(vec![ContainerKind::Mesos, ContainerKind::Docker]);
    let network = network();
    let names = (
        option::of("[a-z]{1,9}(:[a-z]{1,3})?"),
        option::of("[a-z]{1,9}"),
        option::of("[a-z]{1,9}"),
        option::of("/[a-z]{1,9}"),
        vec("[a-z]{1,9}|[0-9]{1,3}", 0..3),
    );
    (
        names,
        (kind, pull),
        network,
        vec(mount(), 0..4),
        isolation(),
    )
        .prop_map(
            |(
                (image, hostname, user, working_dir, groups),
                (kind, pull),
                network,
                mut mounts,
                isolation,
            )| {
                // Memory is carried apart from the rest, and comes after it.
                mounts.sort_by_key(|mount| matches!(mount.source, MountSource::Tmpfs { .. }));
                ContainerSpec {
                    // An engine runs images only.
                    kind: match image {
                        Some(_) => kind,
                        None => ContainerKind::Mesos,
                    },
                    pull: if image.is_some() {
                        pull
                    } else {
                        Pull::IfMissing
                    },
                    image,
                    login: Login::Agents,
                    network,
                    hostname,
                    mounts,
                    isolation,
                    user,
                    groups,
                    working_dir,
                }
            },
        )
}

fn network() -> impl Strategy<Value = Network> {
    let mapping = (1..u16::MAX, select(vec![Transport::Tcp, Transport::Udp]));
    let ports = btree_map(1..u16::MAX, mapping, 0..4).prop_map(|ports| {
        let mapping = |(host, (container, transport))| PortMapping {
            host,
            container,
            transport,
        };
        ports.into_iter().map(mapping).collect::<Vec<_>>()
    });
    let names = btree_set("[a-z]{1,9}", 1..4).prop_map(|names| names.into_iter().collect());
    prop_oneof![
        Just(Network::Host),
        Just(Network::None),
        ports.clone().prop_map(|ports| Network::Bridge { ports }),
        (names, ports).prop_map(|(names, ports)| Network::Named { names, ports }),
    ]
}

fn mount() -> impl Strategy<Value = Mount> {
    let source = prop_oneof![
        "/[a-z/]{1,9}".prop_map(MountSource::Host),
        "[a-z]{1,9}".prop_map(MountSource::Sandbox),
        option::of(1..1_u64 << 40).prop_map(|size_bytes| MountSource::Tmpfs { size_bytes }),
        "[a-z0-9][a-z_.-]{0,9}".prop_map(MountSource::Named),
        "[a-z]{1,9}".prop_map(MountSource::Image),
    ];
    ("/?[a-z]{1,9}", source, any::<bool>()).prop_map(|(target, source, read_only)| Mount {
        target,
        source,
        read_only,
    })
}

fn isolation() -> impl Strategy<Value = Isolation> {
    let capabilities = || btree_set(select(LinuxCapability::all().collect::<Vec<_>>()), 0..4);
    let limit = option::of((0..1_u64 << 40, 0..1_u64 << 40));
    let rlimit = (select(RlimitKind::ALL.to_vec()), limit).prop_map(|(kind, limit)| Rlimit {
        kind,
        soft: limit.map(|(soft, _)| soft),
        hard: limit.map(|(soft, more)| soft + more),
    });
    let flags = (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>());
    let amounts = (
        option::of(1..1_u64 << 40),
        option::of(1..1_u64 << 20),
        option::of(1..1_u64 << 20),
    );
    let sets = (option::of(capabilities()), capabilities(), capabilities());
    (sets, flags, amounts, vec(rlimit, 0..3)).prop_map(
        |((capabilities, add, drop), flags, amounts, rlimits)| {
            let mut isolation = Isolation {
                privileged: false,
                capabilities,
                add,
                drop,
                seccomp: flags.0,
                no_new_privileges: flags.1,
                read_only_root: flags.2,
                shm_bytes: amounts.0,
                max_pids: amounts.1,
                cpu_limit_milli: amounts.2,
                rlimits,
            };
            if flags.3 {
                isolation.raze();
                isolation.no_new_privileges = flags.1;
            }
            isolation
        },
    )
}

fn task_limits() -> impl Strategy<Value = TaskLimits> {
    let limit = |unit: u64| {
        let some = (1..1_u64 << 20).prop_map(move |amount| Limit::At(amount * unit));
        option::of(prop_oneof![some, Just(Limit::Unlimited)])
    };
    (limit(1), limit(1 << 20)).prop_map(|(cpus_milli, mem_bytes)| TaskLimits {
        cpus_milli,
        mem_bytes,
    })
}

fn task_spec() -> impl Strategy<Value = TaskSpec> {
    let labels = vec((text(), option::of(".{0,9}")), 0..4);
    let names = (id(), ".{0,12}", id());
    let parts = (
        (resources(), task_limits()),
        contained(),
        option::of(health_check()),
        (
            option::of(span()),
            option::of((1..1_000_000_000_u64).prop_map(Duration::from_millis)),
            option::of((1..=u16::MAX, 1..=u16::MAX)),
        ),
        labels,
    );
    (names, parts).prop_map(
        |(
            (id, name, agent),
            (
                (resources, limits),
                inside,
                health_check,
                (kill_grace_period, max_completion_time, terminal),
                labels,
            ),
        )| {
            let (mut command, container) = inside;
            command.terminal = terminal.map(|(rows, columns)| WindowSize { rows, columns });
            TaskSpec {
                id: TaskId::new(id).expect("good"),
                name,
                agent: AgentId::new(agent).expect("good"),
                resources,
                account: None,
                limits,
                command,
                executor: None,
                container,
                health_check,
                check: None,
                kill_grace_period,
                max_completion_time,
                labels,
                original: Bytes::new(),
            }
        },
    )
}

fn status() -> impl Strategy<Value = TaskStatus> {
    let moment = || (0..4_000_000_000_000_000_u64).prop_map(Timestamp::from_micros);
    let facts = (
        select(TaskState::ALL.to_vec()),
        select(vec![Source::Master, Source::Agent, Source::Executor]),
        option::of(select(Reason::ALL.to_vec())),
        option::of(".{0,20}"),
        option::of(any::<[u8; 16]>()),
        option::of(any::<bool>()),
    );
    (
        id(),
        facts,
        option::of((id(), id(), id())),
        moment(),
        option::of(moment()),
        vec("[0-9.]{1,15}", 0..3),
    )
        .prop_map(
            |(
                task,
                (state, source, reason, message, uuid, healthy),
                place,
                timestamp,
                unreachable_time,
                ip_addresses,
            )| {
                let named = |at: fn((String, String, String)) -> String| place.clone().map(at);
                TaskStatus {
                    reason,
                    message,
                    agent: named(|all| all.0).map(|id| AgentId::new(id).expect("good")),
                    executor: named(|all| all.1).map(|id| ExecutorId::new(id).expect("good")),
                    container: named(|all| all.2).map(|id| ContainerId::new(id).expect("good")),
                    uuid: uuid.map(UpdateId),
                    healthy,
                    unreachable_time,
                    ip_addresses,
                    ..TaskStatus::new(TaskId::new(task).expect("good"), state, source, timestamp)
                }
            },
        )
}

fn role() -> impl Strategy<Value = Role> {
    prop_oneof![Just("*".to_owned()), "[a-z]{1,6}(/[a-z]{1,6}){0,2}"]
        .prop_map(|text| Role::new(&text).expect("good"))
}

fn framework() -> impl Strategy<Value = FrameworkInfo> {
    let who = (
        option::of(id()),
        ".{0,12}",
        ".{0,12}",
        option::of(".{1,9}"),
        ".{0,9}",
        option::of(".{1,9}"),
    );
    let capabilities = btree_set(select(Capability::ALL.to_vec()), 0..8);
    (who, btree_set(role(), 1..4), capabilities, span()).prop_map(
        |(
            (id, name, user, principal, hostname, webui_url),
            mut roles,
            capabilities,
            failover_timeout,
        )| {
            if !capabilities.contains(&Capability::MultiRole) {
                roles = roles.into_iter().take(1).collect();
            }
            FrameworkInfo {
                id: id.map(|id| FrameworkId::new(id).expect("good")),
                name,
                user,
                roles,
                capabilities,
                failover_timeout,
                principal,
                hostname,
                webui_url,
                original: Bytes::new(),
            }
        },
    )
}

fn endpoint() -> impl Strategy<Value = Endpoint> {
    ("[a-z]{1,9}", "(127\\.0\\.0\\.[1-9])?", 1..=u16::MAX)
        .prop_map(|(hostname, ip, port)| Endpoint { hostname, ip, port })
}

fn domain() -> impl Strategy<Value = Option<FaultDomain>> {
    option::of(("[a-z]{1,5}", "[a-z]{1,5}").prop_map(|(region, zone)| FaultDomain { region, zone }))
}

fn agent() -> impl Strategy<Value = AgentInfo> {
    let whole_gpus = resources().prop_map(|mut all| {
        all.gpus_milli -= all.gpus_milli % 1_000;
        all
    });
    (endpoint(), whole_gpus, attributes(), domain()).prop_map(
        |(endpoint, resources, attributes, domain)| AgentInfo {
            endpoint,
            resources,
            attributes,
            domain,
            original: Bytes::new(),
        },
    )
}

fn an_offer() -> impl Strategy<Value = Offer> {
    (
        (id(), id(), id()),
        endpoint(),
        role(),
        resources(),
        (attributes(), domain()),
    )
        .prop_map(
            |((offer, framework, agent), endpoint, role, resources, (attributes, domain))| Offer {
                id: OfferId::new(offer).expect("good"),
                framework: FrameworkId::new(framework).expect("good"),
                agent: AgentId::new(agent).expect("good"),
                endpoint,
                role,
                resources,
                attributes,
                unavailability: domain.as_ref().map(|_| Unavailability {
                    start: Timestamp::from_millis(1_800_000_000_000),
                    duration: Some(Duration::from_secs(60)),
                }),
                domain,
            },
        )
}

proptest! {
    #[test]
    fn scalars_on_the_wire_come_back_as_they_were(milli in 0..1_u64 << 50) {
        let list = vec![super::scalar("cpus", milli as f64 / 1e3), super::scalar("mem", milli as f64 / 1e3)];
        let read = resources::from_wire(&list).expect("good");

        prop_assert_eq!(read.cpus_milli, milli);
        prop_assert_eq!(resources::to_wire(&read), if milli == 0 { vec![] } else { list });
    }

    #[test]
    fn resources_come_back(all in resources()) {
        prop_assert_eq!(resources::from_wire(&resources::to_wire(&all)), Ok(all));
    }

    /// As frameworks and operators do: what is taken in pieces of three digits after the point is given back in others.
    #[test]
    fn decimals_that_are_reserved_and_given_back_add_up(
        rest in 0..5_000_000_u64,
        pieces in vec(1..100_000_u64, 1..20),
        cuts in btree_set(1..2_000_000_u64, 0..20),
    ) {
        let disk = |milli: u64, reserved: bool| {
            let mut disk = super::scalar("disk", milli as f64 / 1e3);
            disk.reservations.extend(reserved.then(|| wire::resource::ReservationInfo {
                r#type: Some(wire::resource::reservation_info::Type::Dynamic.into()),
                role: Some("dev".to_owned()),
                ..wire::resource::ReservationInfo::default()
            }));
            resources::from_wire(&[disk]).expect("good")
        };
        let sum: u64 = pieces.iter().sum();
        let total = disk(sum + rest, false);
        let mut pool = total.clone();
        for piece in pieces {
            pool = pool.reshaped(&disk(piece, false), &disk(piece, true)).expect("it is there");
            prop_assert_eq!(resources::from_wire(&resources::to_wire(&pool)), Ok(pool.clone()));
        }
        prop_assert_eq!(pool.by_role().into_values().collect::<Vec<_>>(), [disk(sum, true)]);
        let mut left = sum;
        let ends = cuts.into_iter().filter(|at| *at < sum).rev().chain([0]);
        for end in ends {
            let piece = left - end;
            left = end;
            pool = pool.reshaped(&disk(piece, true), &disk(piece, false)).expect("it is there");
            prop_assert_eq!(resources::from_wire(&resources::to_wire(&pool)), Ok(pool.clone()));
        }
        prop_assert_eq!(pool, total);
    }

    #[test]
    fn tasks_come_back(spec in task_spec()) {
        let info = wire::TaskInfo::from(&spec);
        let read: wire::TaskInfo = decode(info.encode_to_vec()).expect("complete");
        let back = TaskSpec::try_from(&read).expect("good");

        prop_assert_eq!(wire::TaskInfo::from(&back), info);
        prop_assert_eq!(TaskSpec { original: Bytes::new(), ..back }, spec);
    }

    #[test]
    fn what_changes_in_a_task_is_written_over_its_original(came in task_spec(), decided in task_spec()) {
        let mut info = wire::TaskInfo::from(&came);
        info.data = Some(Bytes::from_static(b"not looked at"));
        let original = TaskSpec::try_from(&info).expect("good").original;

        let changed = wire::TaskInfo::from(&TaskSpec { original, ..decided.clone() });

        prop_assert_eq!(&changed.data, &info.data);
        let back = TaskSpec::try_from(&changed).expect("good");
        prop_assert_eq!(TaskSpec { original: Bytes::new(), ..back }, decided);
    }

    #[test]
    fn statuses_come_back(status in status()) {
        let message = wire::TaskStatus::from(&status);
        let read: wire::TaskStatus = decode(message.encode_to_vec()).expect("complete");

        prop_assert_eq!(TaskStatus::try_from(&read), Ok(status));
    }

    #[test]
    fn a_task_is_written_for_its_agent_as_the_message_is_made(came in task_spec(), takes in resources(), changed in any::<bool>(), role in role()) {
        let came = TaskSpec::try_from(&wire::TaskInfo::from(&came)).expect("good");
        let spec = if changed { TaskSpec { resources: takes, ..came } } else { came };
        let mut made = to_run(&spec);
        resources::allocate(&mut made.resources, &role);

        let mut written = Vec::new();
        put_to_run(&mut written, 2, &spec, &role);

        prop_assert_eq!(one_message(&written), (2, made));
    }

    #[test]
    fn a_report_is_passed_on_in_the_state_and_words_that_are_known_by_now(came in status(), known in status()) {
        let came = wire::TaskStatus {
            data: Some(Bytes::from_static(b"not looked at")),
            ..wire::TaskStatus::from(&came)
        };
        let mut expected = came.clone();
        expected.set_state(known.state.into());
        if let Some(reason) = known.reason {
            expected.set_reason(reason.into());
        }
        expected.message = known.message.clone().or_else(|| came.message.clone());

        let mut written = Vec::new();
        put_as_it_came(&mut written, 1, &came.encode_to_vec(), &known);

        prop_assert_eq!(one_message(&written), (1, expected));
    }

    #[test]
    fn frameworks_come_back(came in framework(), decided in framework()) {
        for original in [Bytes::new(), wire::FrameworkInfo::from(&came).encode_to_vec().into()] {
            let info = wire::FrameworkInfo::from(&FrameworkInfo { original, ..decided.clone() });
            let back = FrameworkInfo::try_from(&info).expect("good");

            prop_assert_eq!(&wire::FrameworkInfo::from(&back), &info);
            prop_assert_eq!(FrameworkInfo { original: Bytes::new(), ..back }, decided.clone());
        }
    }

    #[test]
    fn agents_come_back(came in agent(), decided in agent()) {
        for original in [Bytes::new(), wire::AgentInfo::from(&came).encode_to_vec().into()] {
            let info = wire::AgentInfo::from(&AgentInfo { original, ..decided.clone() });
            let back = AgentInfo::try_from(&info).expect("good");

            prop_assert_eq!(&wire::AgentInfo::from(&back), &info);
            prop_assert_eq!(AgentInfo { original: Bytes::new(), ..back }, decided.clone());
        }
    }

    #[test]
    fn offers_come_back_to_frameworks_with_roles(came in an_offer(), refined in any::<bool>()) {
        let mut capabilities = BTreeSet::from([Capability::MultiRole]);
        if refined {
            capabilities.insert(Capability::ReservationRefinement);
        }

        let message = offer::to_wire(&came, &capabilities);

        prop_assert!(message.resources.iter().all(|one| one.role.is_none() == refined));
        prop_assert!(message.resources.iter().all(|one| one.allocation_info.is_some()));
        prop_assert_eq!(Offer::try_from(&message), Ok(came));
    }
}

/// The only field that was written, and its number.
fn one_message<M: prost::Message + Default>(written: &[u8]) -> (u32, M) {
    let fields: Vec<_> = encoded::delimited(written).collect();
    let [(number, message)] = fields[..] else {
        panic!("{} fields instead of one", fields.len());
    };
    (number, M::decode(message).expect("a message"))
}

#[test]
fn frameworks_of_one_role_are_not_told_whose_account_it_is() {
    let offer = Offer {
        id: OfferId::new("m-O1").expect("good"),
        framework: FrameworkId::new("m-0001").expect("good"),
        agent: AgentId::new("m-S1").expect("good"),
        endpoint: Endpoint {
            hostname: "a".to_owned(),
            ip: "127.0.0.2".to_owned(),
            port: 5051,
        },
        role: Role::new("prod").expect("good"),
        resources: Resources::cpus_mem(1_000, 64),
        attributes: Attributes::new(),
        domain: None,
        unavailability: None,
    };

    let message = offer::to_wire(&offer, &BTreeSet::new());

    assert_eq!(message.allocation_info, None);
    assert!(
        message
            .resources
            .iter()
            .all(|one| one.role.as_deref() == Some("*") && one.allocation_info.is_none())
    );
}

#[test]
fn what_is_not_looked_at_stays_in_the_task() {
    let mut info = task();
    info.data = Some(Bytes::from_static(b"\0opaque"));
    info.discovery = Some(wire::DiscoveryInfo {
        name: Some("web".to_owned()),
        ..Default::default()
    });
    resources::allocate(&mut info.resources, &Role::new("prod").expect("good"));

    let spec = TaskSpec::try_from(&info).expect("good");

    assert_eq!(wire::TaskInfo::from(&spec), info);
}

#[test]
fn an_inverse_offer_says_which_agent_and_when() {
    let offer = InverseOffer {
        id: OfferId::new("m-O7").expect("good"),
        framework: FrameworkId::new("m-0001").expect("good"),
        agent: AgentId::new("m-S1").expect("good"),
        unavailability: Unavailability {
            start: Timestamp::from_millis(1_800_000_000_000),
            duration: None,
        },
        is_draining: true,
    };

    let message = wire::InverseOffer::from(&offer);

    assert_eq!(InverseOffer::try_from(&message), Ok(offer));
    assert_eq!(
        message.unavailability.start.nanoseconds,
        1_800_000_000_000_000_000
    );
    assert!(
        InverseOffer::try_from(&wire::InverseOffer {
            agent_id: None,
            ..message
        })
        .is_err()
    );
}

#[test]
fn labels_and_names_of_networks_are_kept_of_a_report_and_data_are_not() {
    let mut message = wire::TaskStatus::from(&TaskStatus::new(
        TaskId::new("web").expect("good"),
        TaskState::Running,
        Source::Executor,
        Timestamp::from_micros(1_000_000),
    ));
    assert_eq!(kept(&message).expect("good").original, None);
    let named = wire::NetworkInfo {
        name: Some("blue".to_owned()),
        ip_addresses: vec![wire::network_info::IpAddress {
            protocol: None,
            ip_address: Some("10.9.0.2".to_owned()),
        }],
        ..wire::NetworkInfo::default()
    };
    message.container_status = Some(wire::ContainerStatus {
        network_infos: vec![named],
        ..wire::ContainerStatus::default()
    });
    let label = |value: String| wire::Labels {
        labels: vec![wire::Label {
            key: "k".to_owned(),
            value: Some(value),
        }],
    };
    message.labels = Some(label("v".to_owned()));
    let whole = message.clone();
    message.data = Some(vec![1, 2, 3].into());

    let read = kept(&message).expect("good");
    assert_eq!(read.ip_addresses, ["10.9.0.2"]);
    assert_eq!(wire::TaskStatus::from(&read), whole);
    message.labels = Some(label("v".repeat(1 << 20)));
    assert_eq!(kept(&message).expect("good").original, None);
}
