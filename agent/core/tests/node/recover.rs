use mete_agent_core::{Action, Found, LaunchOutcome, Node, Phase, Settings};
use mete_model::{Machine, Reason, TaskState};

use crate::fixture::*;

/// An agent that was killed after its task was begun, before it was known to run.
fn crashed_while_starting() -> World {
    let mut world = World::registered();
    world.run(NOON, spec("web"));
    world.crash();
    world
}

fn crashed_while_running(spec: mete_model::TaskSpec) -> World {
    let mut world = World::running(spec);
    world.crash();
    world
}

#[test]
fn a_task_that_still_runs_is_adopted_and_nothing_is_said() {
    let mut world = crashed_while_running(spec("web"));
    let container = world.node.unaccounted()[0].container.clone();

    let actions = world.recover("boot-1", [(key("web"), Found::Running)]);

    let key = key("web");
    assert_eq!(
        actions[0],
        Action::Adopt {
            key: key.clone(),
            container
        }
    );
    assert_eq!(world.node.view().tasks[&key].phase, Phase::Running);
    let (registration, _) = world.admit(NOON, 1);
    assert_eq!(registration.unacknowledged, []);
    assert_eq!(*registration.tasks[0].spec, spec("web"), "nothing is lost");
}

#[test]
fn a_task_that_came_to_run_meanwhile_is_reported_running() {
    let mut world = crashed_while_starting();

    world.recover("boot-1", [(key("web"), Found::Running)]);

    let (registration, _) = world.admit(NOON, 1);
    let states: Vec<_> = registration
        .unacknowledged
        .iter()
        .map(|report| report.status.state)
        .collect();
    assert_eq!(states, [TaskState::Starting, TaskState::Running]);
}

#[test]
fn a_task_that_ended_meanwhile_is_reported_as_it_truly_ended() {
    let mut world = crashed_while_running(spec("web"));

    world.recover("boot-1", [(key("web"), Found::Ended(exit(0)))]);

    assert_eq!(world.state(&key("web")), Some(TaskState::Finished));
    assert_eq!(world.node.view().unacknowledged, 1);
}

#[test]
fn a_task_that_never_started_is_dropped() {
    let mut world = crashed_while_starting();

    world.recover("boot-1", [(key("web"), Found::NeverStarted)]);

    let latest = world.node.view().tasks[&key("web")].latest.clone();
    assert_eq!(latest.state, TaskState::Dropped);
    assert_eq!(latest.reason, Some(Reason::AgentRestarted));
}

#[test]
fn a_task_that_vanished_has_failed() {
    let mut world = crashed_while_running(spec("web"));

    world.recover("boot-1", []);

    let latest = world.node.view().tasks[&key("web")].latest.clone();
    assert_eq!(latest.state, TaskState::Failed);
    assert_eq!(latest.reason, Some(Reason::ExecutorTerminated));
}

#[test]
fn after_a_reboot_nothing_runs_whatever_was_found() {
    let mut world = crashed_while_running(spec("web"));

    let actions = world.recover("boot-2", [(key("web"), Found::Running)]);

    assert!(
        actions
            .iter()
            .all(|action| !matches!(action, Action::Adopt { .. }))
    );
    let latest = world.node.view().tasks[&key("web")].latest.clone();
    assert_eq!(latest.state, TaskState::Failed);
    assert_eq!(
        latest.message.as_deref(),
        Some("the machine of the agent was restarted")
    );
}

#[test]
fn a_kill_goes_on_after_a_crash() {
    let mut world = World::running(spec("web"));
    world.kill(at(1.0), &key("web"));
    world.crash();

    let actions = world.recover("boot-1", [(key("web"), Found::Running)]);

    assert!(
        actions
            .iter()
            .any(|action| matches!(action, Action::Terminate { .. }))
    );
    let killed = world.step(at(6.0), mete_agent_core::Input::Deadline);
    assert!(
        killed
            .iter()
            .any(|action| matches!(action, Action::Kill { .. }))
    );
}

#[test]
fn health_checking_goes_on_where_it_was() {
    let mut world = World::running(checked("web"));
    let due = world.node.next_deadline().expect("a probe");
    world.step(due, mete_agent_core::Input::Deadline);
    world.probed(due, &key("web"), true);
    world.crash();
    world.recover("boot-1", [(key("web"), Found::Running)]);

    world.step(at(2.0), mete_agent_core::Input::Deadline);
    world.probed(at(2.0), &key("web"), false);

    let latest = world.node.view().tasks[&key("web")].latest.clone();
    assert_eq!(
        latest.healthy,
        Some(false),
        "no second grace period: it has been healthy"
    );
}

#[test]
fn reports_nobody_has_acknowledged_outlive_a_crash() {
    let mut world = World::running(spec("web"));
    let ended = report(&world.exited(at(5.0), &key("web"), exit(3))).status;
    world.crash();
    world.recover("boot-1", []);

    let (registration, _) = world.admit(NOON, 1);

    assert_eq!(registration.unacknowledged[0].status, ended);
}

#[test]
fn a_framework_that_was_being_shut_down_still_is() {
    let mut world = World::running(spec("web"));
    let id = key("web").framework;
    world.order(at(1.0), mete_agent_core::Order::ShutdownFramework(id));
    world.crash();

    world.recover("boot-1", [(key("web"), Found::Ended(signaled(15)))]);

    let view = world.node.view();
    assert!(view.tasks.is_empty() && view.frameworks.is_empty());
    assert_eq!(view.unacknowledged, 0);
}

/// With a device, and a shared volume on disk that was reserved and refined.
fn with_parts(plain: mete_model::Resources) -> mete_model::Resources {
    use mete_model::{Device, Devices, Reservation, ReservationKind, Resources, Role, Tag, Volume};
    let role = |text| Role::new(text).expect("good");
    let mut tag = Tag::reserved(role("prod"));
    tag.reservations.push(Reservation {
        role: role("prod/web"),
        kind: ReservationKind::Dynamic,
        principal: Some("ops".into()),
        labels: vec![("why".into(), None)],
    });
    tag.shared = true;
    tag.volume = Some(Volume {
        id: "v".into(),
        container_path: "data".into(),
        read_only: true,
        principal: None,
    });
    let mut disk = Resources::none();
    disk.disk_milli = 1_000;
    let half = Device {
        index: 3,
        milli: 500,
    };
    plain
        .with_named_devices(Devices::new(vec![half]).expect("sound"))
        .with_part(tag, disk)
}

#[test]
fn every_kind_of_spec_is_stored_whole() {
    let mut full = checked("web");
    full.resources = full
        .resources
        .with_ports(mete_model::Ranges::interval(31_000, 31_004));
    full.resources.set_other("fpga", 2_000);
    full.resources = with_parts(full.resources);
    full.command.environment.insert("A".into(), "ü\n".into());
    full.command.user = Some("nobody".into());
    full.command.program = mete_model::Program::Exec {
        path: "sleep".into(),
        argv: vec!["sleep".into(), "9".into()],
    };
    full.command.uris.push(mete_model::FetchUri {
        value: "http://x/y".into(),
        extract: false,
        executable: true,
        cache: false,
        output_file: Some("z".into()),
    });
    full.container = Some(Box::new(contained()));
    for probe in [
        mete_model::Probe::Command(full.command.clone()),
        mete_model::Probe::Http {
            port: 80,
            path: "/h".into(),
            statuses: vec![200, 204],
            secure: true,
        },
    ] {
        if let Some(check) = &mut full.health_check {
            check.probe = probe;
        }
        let mut world = World::registered();
        world.run(NOON, full.clone());
        world.launched(NOON, &key("web"), LaunchOutcome::Started);
        let before = world.node.view().tasks[&key("web")].clone();

        world.crash();

        assert_eq!(world.node.view().tasks[&key("web")], before);
        assert_eq!(*before.spec, full);
    }
}

/// A container that says everything.
fn contained() -> mete_model::ContainerSpec {
    use mete_model::container::{
        ContainerKind, Isolation, Login, Mount, MountSource, Network, PortMapping, Pull, Rlimit,
        RlimitKind, Transport,
    };
    let mount = |source| Mount {
        target: "/m".into(),
        source,
        read_only: true,
    };
    let capabilities = || mete_model::LinuxCapability::USUAL.into_iter().collect();
    mete_model::ContainerSpec {
        kind: ContainerKind::Docker,
        image: Some("busybox".into()),
        pull: Pull::Always,
        login: Login::Own(None),
        network: Network::Named {
            names: vec!["blue".into()],
            ports: vec![PortMapping {
                host: 31_000,
                container: 53,
                transport: Transport::Udp,
            }],
        },
        hostname: Some("h".into()),
        mounts: vec![
            mount(MountSource::Host("/srv".into())),
            mount(MountSource::Sandbox("data".into())),
            mount(MountSource::Tmpfs {
                size_bytes: Some(1),
            }),
            mount(MountSource::Image("other".into())),
            mount(MountSource::Named("kept".into())),
        ],
        isolation: Isolation {
            privileged: true,
            capabilities: Some(capabilities()),
            add: capabilities(),
            drop: capabilities(),
            seccomp: false,
            no_new_privileges: false,
            read_only_root: true,
            shm_bytes: Some(2),
            max_pids: Some(3),
            cpu_limit_milli: Some(4),
            rlimits: vec![Rlimit {
                kind: RlimitKind::Nofile,
                soft: Some(5),
                hard: None,
            }],
        },
        user: Some("u".into()),
        groups: vec!["g".into()],
        working_dir: Some("/w".into()),
    }
}

#[test]
fn a_record_that_cannot_be_read_is_named() {
    let settings = || Settings {
        ip: "127.0.0.1".into(),
        kill_grace: seconds(3),
        gc_delay: seconds(3),
        executor_reregistration_timeout: seconds(3),
        disk_reserve_bytes: 0,
        seed: [0, 0],
    };
    for (key, value) in [
        ("agent/identity", &b"\x02{}"[..]),
        ("task/f/t", b"\x01{\"container\":1}"),
        ("weather", b"\x01{}"),
        ("life/f/t", b""),
    ] {
        let entry = (key.as_bytes().to_vec(), value.to_vec());
        let bad = Node::recover(settings(), [entry])
            .expect_err(key)
            .to_string();
        assert!(bad.contains(key), "{bad}");
    }
}
