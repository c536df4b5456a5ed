//! Bad input: a clear error each time, and the master goes on.

use std::time::Duration;

use mete_proto::mesos::v1 as mesos;
use mete_proto::mesos::v1::scheduler::{Call, Event, call};
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

#[tokio::test]
async fn executors_and_groups_are_refused_by_name() {
    let mut scene = scene().await;
    let mut spec = task("one", &scene.offer, "cpus:1;mem:64");
    spec.executor = Some(mesos::ExecutorInfo::default());

    let status = scene.answer(spec).await;

    assert_eq!(status.state(), mesos::TaskState::TaskError);
    assert!(words(&status).contains("executor"), "{status:?}");
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
        "RECONCILE_OPERATIONS is not carried yet"
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
    let mut agent = Agent::open(&scene.master).await;
    let mut register = crate::peers::registration();
    register.agent_info.port = Some(0);

    agent
        .say(mete_proto::mete::v1::agent_message::Message::Register(
            register,
        ))
        .await;

    let mete_proto::mete::v1::master_message::Message::Refused(refused) = agent.next().await else {
        panic!("refused");
    };
    assert!(
        refused.reason.contains("agent_info.port"),
        "{}",
        refused.reason
    );
}
