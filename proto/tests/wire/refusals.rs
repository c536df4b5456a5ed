//! What makes no sense, or is not carried yet, is refused with field and value.

use mete_model::{AgentInfo, FrameworkInfo, TaskSpec, TaskStatus};
use mete_proto::convert::{ConvertError, offer, resources};
use mete_proto::mesos::v1 as wire;

use super::{ports, scalar, task};

fn refused(change: impl FnOnce(&mut wire::TaskInfo)) -> String {
    let mut info = task();
    change(&mut info);
    TaskSpec::try_from(&info).expect_err("refused").to_string()
}

fn refused_resource(change: impl FnOnce(&mut wire::Resource)) -> String {
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
fn resources_that_are_not_carried_yet_are_named() {
    assert_eq!(
        refused_resource(|one| one.role = Some("prod".to_owned())),
        "resources[0].role: reserved resources are not carried yet"
    );
    assert_eq!(
        refused_resource(|one| one
            .reservations
            .push(wire::resource::ReservationInfo::default())),
        "resources[0].reservations: reserved resources are not carried yet"
    );
    assert_eq!(
        refused_resource(|one| one.revocable = Some(wire::resource::RevocableInfo {})),
        "resources[0].revocable: revocable resources are not carried yet"
    );
    assert_eq!(
        refused_resource(|one| one.shared = Some(wire::resource::SharedInfo {})),
        "resources[0].shared: shared resources are not carried yet"
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
        refused(|task| task.executor = Some(wire::ExecutorInfo::default())),
        "executor: executors are not carried yet"
    );
    assert_eq!(
        refused(|task| {
            let mesos = wire::container_info::MesosInfo {
                image: Some(wire::Image::default()),
            };
            let mut container = wire::ContainerInfo {
                mesos: Some(mesos),
                ..Default::default()
            };
            container.set_type(wire::container_info::Type::Mesos);
            task.container = Some(container);
        }),
        "container.mesos.image: images are not carried yet"
    );
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
            task.health_check = Some(wire::HealthCheck {
                http: Some(http),
                ..Default::default()
            });
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
fn a_plain_container_is_what_every_task_has() {
    let mut info = task();
    let mut container = wire::ContainerInfo::default();
    container.set_type(wire::container_info::Type::Mesos);
    info.container = Some(container);

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
    assert_eq!(refused(&info), "roles");
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
