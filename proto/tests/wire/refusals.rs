//! What makes no sense, or is not carried yet, is refused with field and value.

use mete_model::container::{Mount, MountSource};
use mete_model::{AgentInfo, FrameworkInfo, Program, TaskSpec, TaskStatus};
use mete_proto::convert::executor::group;
use mete_proto::convert::task::alone;
use mete_proto::convert::{ConvertError, offer, resources};
use mete_proto::mesos::v1 as wire;

use wire::container_info::DockerInfo;
use wire::container_info::docker_info::{Network as DockerNetwork, PortMapping as DockerPort};
use wire::executor_info::Type;

use super::{ports, scalar, task};

fn refused(change: impl FnOnce(&mut wire::TaskInfo)) -> String {
    let mut info = task();
    change(&mut info);
    TaskSpec::try_from(&info).expect_err("refused").to_string()
}

pub(super) fn refused_resource(change: impl FnOnce(&mut wire::Resource)) -> String {
    let mut resource = scalar("cpus", 1.0);
    change(&mut resource);
    resources::from_wire(&[resource])
        .expect_err("refused")
        .to_string()
}

#[test]
fn a_scalar_that_is_no_quantity_is_named() {
    let refused = |value| {
        resources::from_wire(&[scalar("mem", value)])
            .expect_err("refused")
            .to_string()
    };

    assert_eq!(
        refused(f64::NAN),
        "resources[0].scalar: NaN is not possible: a quantity is a number, at least 0"
    );
    assert_eq!(
        refused(-1.5),
        "resources[0].scalar: -1.5 is not possible: a quantity is a number, at least 0"
    );
    assert!(refused(f64::INFINITY).contains("inf is not possible"));
    assert!(refused(1e15).contains("more than can be counted"));
}

#[test]
fn many_large_scalars_do_not_overflow() {
    let large = vec![scalar("mem", 1e12); 100];

    let error = resources::from_wire(&large)
        .expect_err("refused")
        .to_string();

    assert!(
        error.contains("the sum is more than can be counted"),
        "{error}"
    );
}

#[test]
fn a_quantity_too_small_to_count_is_refused_and_others_are_rounded() {
    let read = |value| resources::from_wire(&[scalar("cpus", value)]);

    assert_eq!(
        read(1e-9).expect_err("refused").to_string(),
        "resources[0].scalar: 0.000000001 is not possible: less than half a thousandth cannot be counted"
    );
    assert_eq!(read(1.234_567_89).expect("good").cpus_milli, 1_235);
    assert!(read(0.0).expect("good").is_empty());
    assert!(read(-0.0).expect("good").is_empty());
}

#[test]
fn ten_thousand_names_are_too_many() {
    let many: Vec<_> = (0..10_000).map(|n| scalar(&format!("r{n}"), 1.0)).collect();
    let long = scalar(&"x".repeat(256), 1.0);
    let refused =
        |list: &[wire::Resource]| resources::from_wire(list).expect_err("refused").to_string();

    assert!(refused(&many).starts_with("resources[1024].name: 1025 is not possible: so many"));
    assert!(refused(&[long]).contains("1 to 255 bytes"));
    assert!(refused(&[scalar("", 1.0)]).contains("1 to 255 bytes"));
    assert!(resources::from_wire(&many[..1_000]).is_ok());
}

#[test]
fn ten_thousand_reservations_are_too_many() {
    let reserved = |n: u32| wire::Resource {
        role: Some(format!("r{n}")),
        ..scalar("cpus", 1.0)
    };
    let many: Vec<_> = (0..10_000).map(reserved).collect();

    let error = resources::from_wire(&many)
        .expect_err("refused")
        .to_string();

    assert!(
        error.starts_with("resources[1024].reservations: 1025 is not possible"),
        "{error}"
    );
}

#[test]
fn what_is_not_carried_is_named() {
    let source = |kind: wire::resource::disk_info::source::Type| {
        refused_resource(|one| {
            one.name = "disk".to_owned();
            let mut source = wire::resource::disk_info::Source::default();
            source.set_type(kind);
            one.disk = Some(Box::new(wire::resource::DiskInfo {
                source: Some(source),
                ..Default::default()
            }));
        })
    };
    for kind in ["PATH", "MOUNT", "BLOCK", "RAW"] {
        let kind = wire::resource::disk_info::source::Type::from_str_name(kind).expect("known");
        assert_eq!(
            source(kind),
            "resources[0].disk.source: disks other than the agent's own (PATH, MOUNT, BLOCK, RAW) are not carried yet"
        );
    }
    assert_eq!(
        refused_resource(|one| one.provider_id = Some(wire::ResourceProviderId::default())),
        "resources[0].provider_id: resource providers are not carried yet"
    );
    assert_eq!(
        refused_resource(|one| {
            one.name = "models".to_owned();
            one.set_type(wire::value::Type::Set);
        }),
        "resources[0].type: resources that are sets are not carried yet"
    );
    assert_eq!(
        refused_resource(|one| {
            one.disk = Some(Box::new(wire::resource::DiskInfo {
                volume: Some(wire::Volume::default()),
                ..Default::default()
            }));
        }),
        "resources[0].disk.volume: volumes that end with their task are not carried yet"
    );
}

#[test]
fn ports_are_ranges_up_to_65535() {
    let refused = |resource| {
        resources::from_wire(&[resource])
            .expect_err("refused")
            .to_string()
    };

    assert!(
        refused(scalar("ports", 80.0)).contains("type: SCALAR is not possible: ports are RANGES")
    );
    assert!(refused(ports(9, 8)).contains("9-8 is not possible"));
    assert!(refused(ports(1, 70_000)).contains("1-70000 is not possible"));
}

#[test]
fn resources_of_one_name_are_one() {
    let list = [
        scalar("cpus", 0.25),
        ports(1, 2),
        scalar("cpus", 0.5),
        ports(2, 3),
    ];

    let all = resources::from_wire(&list).expect("good");

    assert_eq!(all.to_string(), "cpus:0.75; ports:[1-3]");
}

#[test]
fn a_task_names_what_is_wrong_with_it() {
    assert_eq!(
        refused(|task| task.command = None),
        "command: it is missing"
    );
    assert_eq!(
        refused(|task| task.task_id.value = "a/b".to_owned()),
        "task_id.value: bad task id \"a/b\": it holds a slash or backslash"
    );
    assert_eq!(
        refused(|task| task.executor = Some(Box::default())),
        "executor.command: it is missing"
    );
    let both = wire::TaskInfo {
        command: Some(wire::CommandInfo::default()),
        executor: Some(Box::default()),
        ..wire::TaskInfo::default()
    };
    assert_eq!(
        alone(&both).expect_err("refused").to_string(),
        "command: a value is not possible: a task has a command or an executor, not both"
    );
}

#[test]
fn a_task_of_a_group_has_the_executor_of_its_group_or_none() {
    let id = |value: &str| wire::ExecutorId {
        value: value.to_owned(),
    };
    let mut pod = wire::ExecutorInfo {
        executor_id: id("pod"),
        ..wire::ExecutorInfo::default()
    };
    pod.set_type(Type::Default);
    let mut own = wire::ExecutorInfo {
        executor_id: id("own"),
        command: task().command,
        ..wire::ExecutorInfo::default()
    };
    own.set_type(Type::Custom);
    let with = |executor: &wire::ExecutorInfo| wire::TaskInfo {
        command: None,
        executor: Some(Box::new(executor.clone())),
        ..task()
    };

    let of_pod = wire::TaskInfo {
        command: task().command,
        ..with(&pod)
    };
    let taken = group(&pod, &[of_pod]).expect("the same as none");
    assert_eq!(taken.tasks[0].executor, None);
    assert_eq!(group(&pod, &[task()]), Ok(taken));
    let taken = group(&own, &[with(&own)]).expect("its own");
    assert_eq!(taken.tasks[0].executor.as_deref(), Some(&taken.executor));
    let told: wire::ExecutorInfo = (&taken.executor).into();
    let tasks = taken.tasks.iter().map(Into::into);
    let tasks: Vec<wire::TaskInfo> = tasks.collect();
    assert_eq!(group(&told, &tasks), Ok(taken), "as agents are told it");
    for (executor, other) in [(&pod, &own), (&own, &pod)] {
        let refused = group(executor, &[with(other)]).expect_err("another");
        let id = &other.executor_id.value;
        let words = format!(
            "task_group.tasks[0].executor: {id} is not possible: tasks of a group have the executor of their group"
        );
        assert_eq!(refused.to_string(), words);
    }
}

/// A Docker container with an image, changed a little.
fn docker(change: impl Fn(&mut DockerInfo)) -> wire::ContainerInfo {
    let mut docker = DockerInfo {
        image: "busybox".to_owned(),
        ..Default::default()
    };
    docker.set_network(DockerNetwork::Host);
    change(&mut docker);
    let mut container = wire::ContainerInfo {
        docker: Some(docker),
        ..Default::default()
    };
    container.set_type(wire::container_info::Type::Docker);
    container
}

#[test]
fn a_container_names_what_is_not_carried() {
    let refused = |change: &dyn Fn(&mut DockerInfo)| {
        refused(|task| task.container = Some(Box::new(docker(change))))
    };

    assert_eq!(
        refused(&|docker| docker.set_network(DockerNetwork::User)),
        "container.network_infos: it is missing"
    );
    let mapped = |host_port, protocol: &str| DockerPort {
        host_port,
        container_port: 80,
        protocol: Some(protocol.to_owned()),
    };
    assert_eq!(
        refused(&|docker| docker.port_mappings = vec![mapped(31_000, "tcp")]),
        "container.docker.network: HOST is not possible: this kind of network has no names, and HOST and NONE have no mapped ports"
    );
    assert_eq!(
        refused(&|docker| {
            docker.set_network(DockerNetwork::Bridge);
            docker.port_mappings = vec![mapped(31_000, "sctp")];
        }),
        "container.docker.port_mappings[0].protocol: \"sctp\" is not possible: it is tcp or udp"
    );
    assert_eq!(
        refused(&|docker| {
            docker.set_network(DockerNetwork::Bridge);
            docker.port_mappings = vec![mapped(31_000, "tcp"), mapped(31_000, "TCP")];
        }),
        "container.port_mappings: 31000/tcp is not possible: a port of the host leads to one port of the container"
    );
    assert_eq!(
        refused(&|docker| docker.image.clear()),
        "container.docker.image: it is missing"
    );
}

#[test]
fn effective_capabilities_are_within_those_that_bound_them() {
    use wire::capability_info::Capability::{Chown, Kill};
    let list = |all: &[wire::capability_info::Capability]| wire::CapabilityInfo {
        capabilities: all.iter().map(|one| (*one).into()).collect(),
    };
    let said = |effective, bounding| {
        let linux = wire::LinuxInfo {
            effective_capabilities: Some(effective),
            bounding_capabilities: Some(bounding),
            ..wire::LinuxInfo::default()
        };
        let mut info = task();
        let mut container = docker(|_| {});
        container.linux_info = Some(linux);
        info.container = Some(Box::new(container));
        TaskSpec::try_from(&info)
    };

    assert_eq!(
        said(list(&[Chown, Kill]), list(&[Chown]))
            .expect_err("refused")
            .to_string(),
        "container.linux_info.effective_capabilities: KILL is not possible: bounding_capabilities are said and do not have it"
    );
    assert!(said(list(&[Chown]), list(&[Chown, Kill])).is_ok());
}

#[test]
fn dockers_parameters_are_refused_by_name_and_value() {
    let refused = |key: &str, value: &str| {
        let parameter = wire::Parameter {
            key: key.to_owned(),
            value: value.to_owned(),
        };
        refused(|task| {
            task.container = Some(Box::new(docker(|docker| {
                docker.parameters.push(parameter.clone())
            })));
        })
    };

    assert_eq!(
        refused("cap-add", "FLY"),
        "container.docker.parameters[0].value: \"FLY\" is not possible: it is a capability of Linux, or ALL"
    );
    assert_eq!(
        refused("oom-kill-disable", "true"),
        "container.docker.parameters[0].value: \"true\" is not possible: a task that has no memory left is always killed"
    );
    for value in ["data:/data", "/data", "/a:/b:z", "/a:/b:ro:z", "/a:../b"] {
        let said = refused("volume", value);
        assert!(
            said.starts_with("container.docker.parameters[0].value: "),
            "{said}"
        );
    }
    assert!(refused("volumes-from", "x").starts_with(
        "container.docker.parameters[0].key: \"volumes-from\" is not possible: known are cap-add"
    ));
}

#[test]
fn dockers_parameters_are_understood() {
    let said = [
        ("cap-drop", "all"),
        ("cap-add", "NET_BIND_SERVICE"),
        ("cpus", "1.5"),
        ("label", "MESOS_TASK_ID=t"),
        ("pids-limit", "20"),
        ("read-only", "true"),
        ("security-opt", "seccomp=unconfined"),
        ("shm-size", "16m"),
        ("tmpfs", "/run:size=1k"),
        ("ulimit", "nofile=10:20"),
        ("volume", "/srv/data:/data:ro"),
        ("memory-swap", "-1"),
        ("memory-swappiness", "0"),
        ("memory-reservation", "64m"),
        ("oom-kill-disable", "false"),
        ("init", "true"),
        ("log-driver", "json-file"),
    ];
    let mut info = task();
    info.container = Some(Box::new(docker(|docker| {
        docker.parameters = said
            .map(|(key, value)| wire::Parameter {
                key: key.to_owned(),
                value: value.to_owned(),
            })
            .into();
    })));

    let spec = TaskSpec::try_from(&info).expect("good").container;

    let spec = spec.expect("there is one");
    let isolation = &spec.isolation;
    assert_eq!(spec.image.as_deref(), Some("busybox"));
    assert_eq!(isolation.remaining().len(), 1);
    assert_eq!(isolation.cpu_limit_milli, Some(1_500));
    assert_eq!(isolation.max_pids, Some(20));
    assert!(isolation.read_only_root && !isolation.seccomp && isolation.no_new_privileges);
    assert_eq!(isolation.shm_bytes, Some(16 << 20));
    assert_eq!(
        spec.mounts[0].source,
        MountSource::Tmpfs {
            size_bytes: Some(1_024)
        }
    );
    assert_eq!(isolation.rlimits[0].hard, Some(20));
    assert_eq!(
        spec.mounts[1],
        Mount {
            target: "/data".into(),
            source: MountSource::Host("/srv/data".into()),
            read_only: true,
        }
    );
}

#[test]
fn only_an_image_stands_in_for_a_command() {
    let mut info = task();
    info.command = Some(wire::CommandInfo {
        shell: Some(false),
        arguments: vec!["-x".to_owned()],
        ..Default::default()
    });

    let without = TaskSpec::try_from(&info).expect_err("refused").to_string();
    info.container = Some(Box::new(docker(|_| {})));
    let with = TaskSpec::try_from(&info).expect("good");

    assert_eq!(without, "command.value: it is missing");
    let arguments = vec!["-x".to_owned()];
    assert_eq!(with.command.program, Program::Image { arguments });
}

#[test]
fn a_command_and_its_checks_name_what_is_wrong_with_them() {
    assert_eq!(
        refused(|task| {
            let variable = wire::environment::Variable {
                name: "A=B".to_owned(),
                ..Default::default()
            };
            let environment = wire::Environment {
                variables: vec![variable],
            };
            task.command.as_mut().expect("there").environment = Some(environment);
        }),
        "command.environment.variables[0].name: \"A=B\" is not possible: a variable has a name without '=' and NUL"
    );
    assert_eq!(
        refused(|task| {
            let http = wire::health_check::HttpCheckInfo {
                port: 70_000,
                ..Default::default()
            };
            task.health_check = Some(Box::new(wire::HealthCheck {
                http: Some(http),
                ..Default::default()
            }));
        }),
        "health_check.http.port: 70000 is not possible: ports go from 1 to 65535"
    );
    assert_eq!(
        refused(|task| {
            let span = wire::DurationInfo { nanoseconds: -5 };
            task.kill_policy = Some(wire::KillPolicy {
                grace_period: Some(span),
            });
        }),
        "kill_policy.grace_period: -5 is not possible: a span is at least 0 nanoseconds"
    );
}

#[test]
fn what_to_fetch_names_what_is_wrong_with_it() {
    let refused = |value: &str, output_file: Option<&str>| {
        refused(|task| {
            let uri = wire::command_info::Uri {
                value: value.into(),
                output_file: output_file.map(str::to_owned),
                ..Default::default()
            };
            task.command.as_mut().expect("there").uris = vec![uri];
        })
    };

    assert_eq!(
        refused("/a#sha256=12", None),
        "command.uris[0].value: \"/a#sha256=12\" is not possible: its fragment gives at most one checksum, \
         sha256=<64 digits> or sha512=<128 digits>"
    );
    assert_eq!(
        refused("/a", Some("../b")),
        "command.uris[0].output_file: \"../b\" is not possible: it is a path below the sandbox"
    );
}

#[test]
fn a_plain_container_is_what_every_task_has() {
    let mut info = task();
    let mut container = wire::ContainerInfo::default();
    container.set_type(wire::container_info::Type::Mesos);
    info.container = Some(Box::new(container));

    assert!(TaskSpec::try_from(&info).is_ok());
}

#[test]
fn roles_stand_where_the_capability_says() {
    let mut info = wire::FrameworkInfo {
        name: "f".to_owned(),
        ..Default::default()
    };
    let refused =
        |info: &wire::FrameworkInfo| FrameworkInfo::try_from(info).expect_err("refused").path;
    assert_eq!(FrameworkInfo::try_from(&info).expect("good").roles.len(), 1);

    info.roles = vec!["a".to_owned()];
    assert_eq!(refused(&info), "roles");

    let multi = wire::framework_info::capability::Type::MultiRole.into();
    info.capabilities = vec![wire::framework_info::Capability {
        r#type: Some(multi),
    }];
    assert!(FrameworkInfo::try_from(&info).is_ok());

    info.role = Some("a".to_owned());
    assert_eq!(refused(&info), "role");

    (info.role, info.roles) = (None, vec!["a".to_owned(), "a".to_owned()]);
    assert_eq!(refused(&info), "roles[1]");

    info.roles = vec!["../a".to_owned()];
    assert_eq!(refused(&info), "roles[0]");

    info.roles.clear();
    assert_eq!(
        FrameworkInfo::try_from(&info)
            .expect("none yet")
            .roles
            .len(),
        0
    );
}

#[test]
fn an_empty_framework_id_is_none() {
    let info = wire::FrameworkInfo {
        id: Some(wire::FrameworkId::default()),
        ..Default::default()
    };

    assert_eq!(FrameworkInfo::try_from(&info).expect("good").id, None);
}

#[test]
fn a_framework_may_not_be_away_for_ever() {
    let with = |seconds| wire::FrameworkInfo {
        failover_timeout: Some(seconds),
        ..Default::default()
    };

    assert!(FrameworkInfo::try_from(&with(1e12)).is_err());
    assert!(FrameworkInfo::try_from(&with(f64::NAN)).is_err());
    assert!(
        FrameworkInfo::try_from(&with(-1.0))
            .expect("over at once")
            .failover_timeout
            .is_zero()
    );
}

#[test]
fn an_agent_names_what_is_wrong_with_it() {
    let refused =
        |info: wire::AgentInfo| AgentInfo::try_from(&info).expect_err("refused").to_string();
    let agent = wire::AgentInfo {
        hostname: "a".to_owned(),
        ..Default::default()
    };

    assert!(refused(wire::AgentInfo::default()).starts_with("hostname: "));
    assert!(
        refused(wire::AgentInfo {
            port: Some(-1),
            ..agent.clone()
        })
        .starts_with("port: -1 ")
    );
    let rack = wire::Attribute {
        name: "rack".to_owned(),
        r#type: 3,
        ..Default::default()
    };
    assert_eq!(
        refused(wire::AgentInfo {
            resources: vec![scalar("gpus", 1.5)],
            ..agent.clone()
        }),
        "resources.gpus: 1.5 is not possible: an agent has whole GPUs, at most 1024"
    );
    let refused = refused(wire::AgentInfo {
        attributes: vec![rack],
        ..agent
    });
    assert_eq!(refused, "attributes[0].text: it is missing");
}

#[test]
fn a_status_names_what_is_wrong_with_it() {
    let status = wire::TaskStatus {
        task_id: wire::TaskId {
            value: "a".to_owned(),
        },
        source: Some(1),
        timestamp: Some(1.0),
        ..Default::default()
    };
    let refused = |status: wire::TaskStatus| -> ConvertError {
        TaskStatus::try_from(&status).expect_err("refused")
    };
    assert!(TaskStatus::try_from(&status).is_ok());

    assert_eq!(
        refused(wire::TaskStatus {
            state: 99,
            ..status.clone()
        })
        .path,
        "state"
    );
    assert_eq!(
        refused(wire::TaskStatus {
            uuid: Some(vec![1, 2].into()),
            ..status.clone()
        })
        .to_string(),
        "uuid: one of 2 bytes is not possible: an update id has 16 bytes"
    );
    let newer = wire::TaskStatus {
        reason: Some(999),
        ..status
    };
    assert_eq!(TaskStatus::try_from(&newer).expect("good").reason, None);
}

#[test]
fn a_hostile_value_is_shown_only_in_part() {
    let message = refused(|task| {
        let name = format!("{}=", "x".repeat(1_000_000));
        let variable = wire::environment::Variable {
            name,
            ..Default::default()
        };
        let environment = wire::Environment {
            variables: vec![variable],
        };
        task.command.as_mut().expect("there").environment = Some(environment);
    });

    assert!(message.len() < 300, "{} bytes", message.len());
}

#[test]
fn a_refusal_without_sense_is_the_default() {
    let refusal = |seconds| {
        offer::refusal(Some(&wire::Filters {
            refuse_seconds: Some(seconds),
        }))
        .as_secs_f64()
    };

    assert_eq!(offer::refusal(None).as_secs_f64(), 5.0);
    assert_eq!(refusal(-1.0), 5.0);
    assert_eq!(refusal(f64::NAN), 5.0);
    assert_eq!(refusal(0.0), 0.0);
    assert_eq!(refusal(f64::INFINITY), 365.0 * 86_400.0);
}
