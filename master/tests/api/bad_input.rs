//! Bad input: a clear error each time, and the master goes on.

use std::time::Duration;

use mete_proto::convert::resources;
use mete_proto::mesos::v1 as mesos;
use mete_proto::mesos::v1::scheduler::{Call, Event, call};
use mete_proto::resources_text::parse_resources;
use mete_proto::strict::StrictCodec;
use tempfile::{TempDir, tempdir};
use tonic::{Code, Request, Status};

use crate::peers::{Agent, Framework, Master, bare, framework_info, task};

struct Scene {
    _dir: TempDir,
    master: Master,
    agent: Agent,
    framework: Framework,
    offer: mesos::Offer,
}

async fn scene() -> Scene {
    let dir = tempdir().expect("a directory");
    let master = Master::start(dir.path()).await;
    let agent = Agent::registered(&master).await;
    let mut framework = Framework::subscribed(&master).await;
    let offer = framework.offers().await.remove(0);
    Scene {
        _dir: dir,
        master,
        agent,
        framework,
        offer,
    }
}

impl Scene {
    /// Launches one task and says how it was answered.
    async fn answer(&mut self, spec: mesos::TaskInfo) -> mesos::TaskStatus {
        self.framework.accept(&[&self.offer], vec![spec]).await;
        self.framework.update().await
    }
}

fn words(status: &mesos::TaskStatus) -> &str {
    status.message()
}

#[tokio::test]
async fn an_offer_is_used_once() {
    let mut scene = scene().await;
    let spec = task("one", &scene.offer, "cpus:1;mem:64");
    scene.framework.accept(&[&scene.offer], vec![spec]).await;
    scene.agent.run_task().await;

    let status = scene
        .answer(task("two", &scene.offer, "cpus:1;mem:64"))
        .await;

    assert_eq!(status.state(), mesos::TaskState::TaskDropped);
    assert_eq!(status.reason(), mesos::task_status::Reason::InvalidOffers);
    assert!(words(&status).contains("not valid any more"), "{status:?}");
}

#[tokio::test]
async fn another_frameworks_offer_is_no_good() {
    let scene = scene().await;
    let mut other = Framework::subscribed(&scene.master).await;
    let spec = task("one", &scene.offer, "cpus:1;mem:64");

    other.accept(&[&scene.offer], vec![spec]).await;

    let status = other.update().await;
    assert_eq!(status.state(), mesos::TaskState::TaskDropped);
    assert!(words(&status).contains("another framework"), "{status:?}");
}

#[tokio::test]
async fn a_task_id_in_use_is_refused() {
    let mut scene = scene().await;
    let spec = task("one", &scene.offer, "cpus:1;mem:64");
    scene
        .framework
        .accept(&[&scene.offer], vec![spec.clone()])
        .await;
    scene.agent.run_task().await;
    let rest = scene.framework.offers().await.remove(0);

    scene.framework.accept(&[&rest], vec![spec]).await;

    let status = scene.framework.update().await;
    assert_eq!(status.state(), mesos::TaskState::TaskError);
    assert!(words(&status).contains("in use"), "{status:?}");
}

#[tokio::test]
async fn what_is_asked_must_be_there_and_make_sense() {
    let with = |offer: &mesos::Offer, cpus: f64| {
        let mut spec = task("one", offer, "cpus:1;mem:64");
        spec.resources[0].scalar = Some(mesos::value::Scalar { value: cpus });
        spec
    };
    for (cpus, expected) in [
        (99.0, "cpus 99 asked, 4 there"),
        (-1.0, "-1 is not possible"),
        (f64::NAN, "NaN is not possible"),
        (f64::INFINITY, "inf is not possible"),
    ] {
        let mut scene = scene().await;
        let spec = with(&scene.offer, cpus);

        let status = scene.answer(spec).await;

        assert_eq!(status.state(), mesos::TaskState::TaskError);
        assert_eq!(status.reason(), mesos::task_status::Reason::TaskInvalid);
        assert!(
            words(&status).contains(expected),
            "{expected} in {status:?}"
        );
        let again = scene.framework.offers().await;
        assert_eq!(
            again[0].resources, scene.offer.resources,
            "all of it comes back"
        );
    }
}

/// Reserves what the text says, for role `web`, after `change`.
#[tokio::test]
async fn resources_handed_out_to_another_role_are_not_in_the_offer() {
    let mut scene = scene().await;
    let of = |role: &str| {
        let role = Some(role.to_owned());
        Some(mesos::resource::AllocationInfo { role })
    };
    let mut foreign = task("one", &scene.offer, "cpus:1;mem:64");
    for resource in &mut foreign.resources {
        resource.allocation_info = of("nobody");
    }
    let mut mixed = foreign.clone();
    mixed.task_id.value = "two".to_owned();
    mixed.resources[0].allocation_info = of("somebody");

    let tasks = vec![foreign, mixed];
    scene.framework.accept(&[&scene.offer], tasks).await;

    for what in [
        "handed out to nobody, the offers are in",
        "somebody and nobody",
    ] {
        let status = scene.framework.update().await;
        assert_eq!(status.state(), mesos::TaskState::TaskError);
        assert_eq!(status.reason(), mesos::task_status::Reason::TaskInvalid);
        assert!(words(&status).contains(what), "{status:?}");
    }
}

fn reserve(text: &str, change: impl Fn(&mut mesos::Resource)) -> mesos::offer::Operation {
    let resources = parse_resources(text).expect("good");
    let mut resources = resources::to_wire(&resources);
    for resource in &mut resources {
        let mut reservation = mesos::resource::ReservationInfo {
            role: Some("web".to_owned()),
            ..mesos::resource::ReservationInfo::default()
        };
        reservation.set_type(mesos::resource::reservation_info::Type::Dynamic);
        resource.reservations = vec![reservation];
        change(resource);
    }
    mesos::offer::Operation {
        r#type: Some(mesos::offer::operation::Type::Reserve.into()),
        reserve: Some(mesos::offer::operation::Reserve {
            resources,
            source: Vec::new(),
        }),
        ..mesos::offer::Operation::default()
    }
}

fn role(name: &str) -> impl Fn(&mut mesos::Resource) {
    move |resource| resource.reservations[0].role = Some(name.to_owned())
}

#[tokio::test]
async fn a_reservation_that_makes_no_sense_is_named_and_the_offer_stays() {
    let mut scene = scene().await;
    let many = |resource: &mut mesos::Resource| {
        let again = resource.reservations[0].clone();
        resource.reservations.push(again);
    };
    let scalar = |value: f64| {
        move |resource: &mut mesos::Resource| {
            resource.scalar = Some(mesos::value::Scalar { value });
        }
    };
    let at = "ACCEPT makes no sense: accept.operations[0].reserve.resources[0].";
    for (operation, expected) in [
        (
            reserve("cpus:1", role("../a")),
            "reservations[0].role: bad role \"../a\"",
        ),
        (
            reserve("cpus:1", role("*")),
            "reservations: role \"*\" cannot be reserved for",
        ),
        (
            reserve("cpus:1", many),
            "reservations: reservation for role \"web\" is not strictly below",
        ),
        (
            reserve("cpus:1", scalar(f64::NAN)),
            "scalar: NaN is not possible",
        ),
        (
            reserve("cpus:1", scalar(-1.0)),
            "scalar: -1 is not possible",
        ),
        (reserve("cpus:1", scalar(1e300)), "scalar: 1"),
        (reserve("cpus:1", scalar(1e-300)), "scalar: 0.0"),
    ] {
        scene
            .framework
            .operate(&[&scene.offer], vec![operation])
            .await;

        let error = scene.framework.error().await;

        assert!(error.starts_with(&format!("{at}{expected}")), "{error}");
    }
    let spec = task("one", &scene.offer, "cpus:1;mem:64");
    scene.framework.accept(&[&scene.offer], vec![spec]).await;
    scene.agent.run_task().await;
}

#[tokio::test]
async fn a_reservation_that_cannot_be_is_answered_and_all_comes_back() {
    let mut scene = scene().await;
    let operation = reserve("cpus:1", role("another"));

    scene
        .framework
        .operate(&[&scene.offer], vec![operation])
        .await;

    let error = scene.framework.error().await;
    assert!(
        error.contains("RESERVE of cpus(reservations: [(DYNAMIC,another)]):1 dropped"),
        "{error}"
    );
    let again = scene.framework.offers().await;
    assert_eq!(again[0].resources, scene.offer.resources);
}

#[tokio::test]
async fn a_task_of_ten_thousand_resources_is_refused() {
    let mut scene = scene().await;
    let mut spec = task("one", &scene.offer, "cpus:1;mem:64");
    let more = (0..10_000).map(|n| mesos::Resource {
        name: format!("r{n}"),
        ..spec.resources[0].clone()
    });
    let more: Vec<_> = more.collect();
    spec.resources.extend(more);

    let status = scene.answer(spec).await;

    assert_eq!(status.state(), mesos::TaskState::TaskError);
    assert!(
        words(&status).contains("more than can be told apart"),
        "{status:?}"
    );
}

#[tokio::test]
async fn a_part_of_a_gpu_is_for_frameworks_that_know_of_parts() {
    for (gpus, expected) in [
        ("gpus:0.5", "without the capability GPU_FRACTIONS"),
        ("gpus:1.5", "it is a whole number, or less than one"),
        ("gpus:3", "gpus 3 asked, 0 there"),
    ] {
        let mut scene = scene().await;
        let spec = task("one", &scene.offer, &format!("cpus:1;mem:64;{gpus}"));

        let status = scene.answer(spec).await;

        assert_eq!(status.state(), mesos::TaskState::TaskError);
        assert!(words(&status).contains(expected), "{status:?}");
    }
}

#[tokio::test]
async fn a_task_has_a_command_or_an_executor_and_that_is_a_program() {
    let mut scene = scene().await;
    let mut both = task("one", &scene.offer, "cpus:1;mem:64");
    both.executor = Some(Box::default());

    let status = scene.answer(both).await;

    assert_eq!(status.state(), mesos::TaskState::TaskError);
    let wanted = "command: a value is not possible: a task has a command or an executor, not both";
    assert_eq!(words(&status), wanted);
}

#[tokio::test]
async fn a_call_nobody_knows_is_answered_by_its_number_and_the_stream_stays() {
    let mut scene = scene().await;
    let unknown = Call {
        r#type: Some(77),
        ..Call::default()
    };

    scene.framework.say(unknown).await;
    assert_eq!(scene.framework.error().await, "77 is not known");
    scene
        .framework
        .say(bare(call::Type::ReconcileOperations))
        .await;
    assert_eq!(
        scene.framework.error().await,
        "RECONCILE_OPERATIONS makes no sense: reconcile_operations: it is missing"
    );
    scene.framework.say(bare(call::Type::Accept)).await;
    assert_eq!(
        scene.framework.error().await,
        "ACCEPT makes no sense: accept: it is missing"
    );

    scene.framework.reconcile(&["x"]).await;
    assert_eq!(
        scene.framework.update().await.state(),
        mesos::TaskState::TaskUnknown
    );
}

#[tokio::test]
async fn a_call_in_anothers_name_is_refused() {
    let mut scene = scene().await;
    let mut revive = bare(call::Type::Revive);
    revive.framework_id = Some(mesos::FrameworkId {
        value: "another".to_owned(),
    });

    scene.framework.say(revive).await;

    assert!(
        scene
            .framework
            .error()
            .await
            .contains("names framework \"another\"")
    );
}

#[tokio::test]
async fn a_subscription_that_makes_no_sense_is_answered_and_ended() {
    let scene = scene().await;
    let mut framework = Framework::open(&scene.master).await;
    let mut info = framework_info();
    info.roles = vec!["bad role".to_owned()];

    framework.subscribe(info).await;

    assert!(framework.error().await.contains("bad role"));
    assert!(matches!(framework.message().await, Ok(None)));
}

#[tokio::test]
async fn a_stream_must_begin_with_subscribe() {
    let scene = scene().await;
    let mut framework = Framework::open(&scene.master).await;

    framework.say(bare(call::Type::Revive)).await;

    let status = framework.message().await.expect_err("refused");
    assert_eq!(status.code(), Code::FailedPrecondition);
    assert!(
        status.message().contains("must be SUBSCRIBE, not REVIVE"),
        "{status}"
    );
}

#[tokio::test]
async fn a_stream_that_says_nothing_is_ended() {
    let dir = tempdir().expect("a directory");
    let master = Master::with(dir.path(), &["--greeting-timeout=300ms"]).await;
    let mut framework = Framework::open(&master).await;
    let mut agent = Agent::open(&master).await;

    let status = framework.message().await.expect_err("ended");
    assert_eq!(status.code(), Code::DeadlineExceeded);
    let status = agent.message().await.expect_err("ended");
    assert_eq!(status.code(), Code::DeadlineExceeded);
}

/// Field 3 of a call is a message; here it is a number.
#[derive(Clone, PartialEq, prost::Message)]
struct Garbage {
    #[prost(uint64, tag = "3")]
    subscribe: u64,
}

/// A SUBSCRIBE of ten megabytes.
#[derive(Clone, PartialEq, prost::Message)]
struct Huge {
    #[prost(bytes = "vec", tag = "3")]
    subscribe: Vec<u8>,
}

async fn send<T: prost::Message + 'static>(master: &Master, message: T) -> Status {
    let mut client = tonic::client::Grpc::new(master.channel().await);
    client.ready().await.expect("ready");
    let path = tonic::codegen::http::uri::PathAndQuery::from_static("/mete.v1.Scheduler/Connect");
    let messages =
        tokio_stream::StreamExt::chain(tokio_stream::iter([message]), tokio_stream::pending());
    let answer = client
        .streaming(
            Request::new(messages),
            path,
            StrictCodec::<T, Event>::default(),
        )
        .await;
    let mut events = match answer {
        Ok(answer) => answer.into_inner(),
        Err(status) => return status,
    };
    let ended = tokio::time::timeout(Duration::from_secs(10), events.message()).await;
    ended.expect("in time").expect_err("refused")
}

#[tokio::test]
async fn garbage_ends_the_stream_with_what_is_wrong() {
    let scene = scene().await;

    let status = send(&scene.master, Garbage { subscribe: 7 }).await;

    assert_eq!(status.code(), Code::InvalidArgument, "{status}");
    assert!(
        status.message().contains("mesos.v1.scheduler.Call"),
        "{status}"
    );
    assert_eq!(scene.master.get("/health").await.status(), 200);
}

#[tokio::test]
async fn a_call_of_ten_megabytes_is_refused() {
    let scene = scene().await;

    let status = send(
        &scene.master,
        Huge {
            subscribe: vec![0; 10 << 20],
        },
    )
    .await;

    assert_eq!(status.code(), Code::OutOfRange, "{status}");
    assert_eq!(scene.master.get("/health").await.status(), 200);
}

#[tokio::test]
async fn an_agent_that_makes_no_sense_is_refused_with_the_field() {
    let scene = scene().await;
    let with = |change: &dyn Fn(&mut mesos::AgentInfo)| {
        let mut register = crate::peers::registration();
        change(&mut register.agent_info);
        register
    };
    let gpus = parse_resources("gpus:2").expect("good");
    let mut gpus = resources::to_wire(&gpus).remove(0);
    let ports = parse_resources("ports(web):[31000-31000]").expect("good");
    let ports = resources::to_wire(&ports).remove(0);
    gpus.scalar = Some(mesos::value::Scalar { value: 1.5 });
    for (register, expected) in [
        (with(&|info| info.port = Some(0)), "agent_info.port"),
        (
            with(&|info| info.resources.push(gpus.clone())),
            "agent_info.resources.gpus: 1.5 is not possible: an agent has whole GPUs",
        ),
        (
            with(&|info| info.resources.push(ports.clone())),
            "agent_info.resources.ports: [31000-31000] is not possible: a port is either reserved or not",
        ),
    ] {
        let mut agent = Agent::open(&scene.master).await;

        agent
            .say(mete_proto::mete::v1::agent_message::Message::Register(
                Box::new(register),
            ))
            .await;

        let mete_proto::mete::v1::master_message::Message::Refused(refused) = agent.next().await
        else {
            panic!("refused");
        };
        assert!(refused.reason.contains(expected), "{}", refused.reason);
    }
}

#[tokio::test]
async fn a_demand_that_cannot_be_meant_is_refused_with_field_and_value() {
    let mut scene = scene().await;
    let stated = |operator: &str| call::shape::Constraint {
        field: "rack".to_owned(),
        operator: operator.to_owned(),
        value: Some("((a{1000}){1000}){1000}".to_owned()),
        stated: None,
    };
    let shape = |operator: &str| call::Shape {
        resources: vec![mesos::Resource {
            name: "cpus".to_owned(),
            scalar: Some(mesos::value::Scalar { value: 1.0 }),
            ..mesos::Resource::default()
        }],
        constraints: vec![stated(operator)],
        ..call::Shape::default()
    };
    for (operator, expected) in [
        ("LIKE", "exceeds size limit"),
        ("MAX_PER", "MAX_PER needs a whole number"),
        ("NEAR", r#"unknown operator "NEAR""#),
    ] {
        let mut demand = bare(call::Type::Demand);
        demand.demand = Some(call::Demand {
            shapes: vec![shape(operator)],
        });

        scene.framework.say(demand).await;

        let why = scene.framework.error().await;
        let path = "DEMAND makes no sense: demand.shapes[0].constraints[0]: ";
        assert!(why.starts_with(path) && why.contains(expected), "{why}");
    }
}

#[tokio::test]
async fn a_framework_whose_offer_constraints_explode_is_not_let_in() {
    use mesos::scheduler::attribute_constraint::{Predicate, Selector, predicate, selector};
    use mesos::scheduler::{AttributeConstraint, OfferConstraints, offer_constraints};

    let dir = tempdir().expect("a directory");
    let master = Master::start(dir.path()).await;
    let mut framework = Framework::open(&master).await;
    let regex = "((a{1000}){1000}){1000}".to_owned();
    let constraint = AttributeConstraint {
        selector: Selector {
            selector: Some(selector::Selector::AttributeName("rack".to_owned())),
        },
        predicate: Predicate {
            predicate: Some(predicate::Predicate::TextMatches(predicate::TextMatches {
                regex,
            })),
        },
    };
    let group = offer_constraints::role_constraints::Group {
        attribute_constraints: vec![constraint],
    };
    let of_role = offer_constraints::RoleConstraints {
        groups: vec![group],
    };
    let mut subscribe = bare(call::Type::Subscribe);
    subscribe.subscribe = Some(Box::new(call::Subscribe {
        framework_info: framework_info(),
        offer_constraints: Some(OfferConstraints {
            role_constraints: [("web".to_owned(), of_role)].into(),
        }),
        ..call::Subscribe::default()
    }));

    framework.say(subscribe).await;

    let why = framework.error().await;
    let path = r#"subscribe.offer_constraints.role_constraints["web"].groups[0]"#;
    assert!(
        why.contains(path) && why.contains("exceeds size limit"),
        "{why}"
    );
}
