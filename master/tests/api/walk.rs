//! The walk of one task: offered, launched, reported, acknowledged, reconciled, ended; and what can be read meanwhile.

use mete_proto::mesos::v1 as mesos;
use mete_proto::mesos::v1::scheduler::{call, event};
use mete_proto::mete::v1::master_message::Message;
use tempfile::tempdir;

use crate::peers::{Agent, Framework, Master, bare, framework_info, task, task_id};

#[tokio::test]
async fn a_task_goes_all_the_way() {
    let dir = tempdir().expect("a directory");
    let master = Master::start(dir.path()).await;
    let mut agent = Agent::registered(&master).await;
    let mut framework = Framework::subscribed(&master).await;

    let offers = framework.offers().await;
    let offer = &offers[0];
    assert_eq!(offer.agent_id, agent.id);
    assert_eq!(offer.hostname, "127.0.0.2");
    let role = offer.allocation_info.as_ref().map(|info| info.role());
    assert_eq!(role, Some("web"));

    let spec = task("one", offer, "cpus:1;mem:64;ports:[31000-31000]");
    framework.accept(&[offer], vec![spec.clone()]).await;
    let run = agent.run_task().await;
    assert_eq!(run.framework_info.id, Some(framework.id.clone()));
    assert_eq!(run.task_info.task_id, spec.task_id);
    assert_eq!(run.task_info.data, spec.data, "nothing is lost on the way");
    let roles = run.task_info.resources.iter();
    assert!(
        roles
            .map(|resource| resource.allocation_info.as_ref().map(|info| info.role()))
            .all(|role| role == Some("web"))
    );

    let news = agent.status("one", mesos::TaskState::TaskRunning, 1);
    agent.report(&framework.id, news.clone()).await;
    let status = framework.update().await;
    assert_eq!(status, news, "as it came");

    framework.acknowledge(&status).await;
    let Message::Acknowledge(acknowledged) = agent.next().await else {
        panic!("an acknowledgement");
    };
    assert_eq!(acknowledged.uuid, status.uuid.expect("asked for"));

    framework.reconcile(&[]).await;
    let answer = framework.update().await;
    assert_eq!(answer.state(), mesos::TaskState::TaskRunning);
    assert_eq!(answer.reason(), mesos::task_status::Reason::Reconciliation);
    assert_eq!(answer.uuid, None);
    framework.reconcile(&["nobody"]).await;
    let answer = framework.update().await;
    assert_eq!(answer.state(), mesos::TaskState::TaskUnknown);

    let kill = call::Kill {
        task_id: task_id("one"),
        ..call::Kill::default()
    };
    let kill = mete_proto::mesos::v1::scheduler::Call {
        kill: Some(Box::new(kill)),
        ..bare(call::Type::Kill)
    };
    framework.say(kill).await;
    let Message::KillTask(kill) = agent.next().await else {
        panic!("a kill");
    };
    assert_eq!(kill.task_id, task_id("one"));
    master.stop().await;
}

#[tokio::test]
async fn state_shows_what_tools_read() {
    let dir = tempdir().expect("a directory");
    let master = Master::with(dir.path(), &["--cluster=blue", "--hostname=m1"]).await;
    let mut agent = Agent::registered(&master).await;
    let mut framework = Framework::subscribed(&master).await;
    let offers = framework.offers().await;
    let spec = task("one", &offers[0], "cpus:1.5;mem:64;ports:[31000-31000]");
    framework.accept(&[&offers[0]], vec![spec]).await;
    agent.run_task().await;
    let news = agent.status("one", mesos::TaskState::TaskRunning, 1);
    agent.report(&framework.id, news).await;
    framework.update().await;

    let state = master.state().await;

    assert_eq!(state["cluster"], "blue");
    assert_eq!(state["hostname"], "m1");
    assert_eq!(state["leader"], state["pid"]);
    assert_eq!(state["activated_slaves"], 1);
    let slave = &state["slaves"][0];
    assert_eq!(slave["id"], agent.id.value.as_str());
    assert_eq!(slave["pid"], "slave(1)@127.0.0.2:5051");
    assert_eq!(slave["active"], true);
    assert_eq!(slave["resources"]["ports"], "[31000-31009]");
    assert_eq!(slave["used_resources"]["cpus"], 1.5);
    assert_eq!(slave["offered_resources"]["cpus"], 2.5);
    let known = &state["frameworks"][0];
    assert_eq!(known["id"], framework.id.value.as_str());
    assert_eq!(known["active"], true);
    assert_eq!(known["roles"][0], "web");
    let known = &known["tasks"][0];
    assert_eq!(known["id"], "one");
    assert_eq!(known["state"], "TASK_RUNNING");
    assert_eq!(known["slave_id"], agent.id.value.as_str());
    assert_eq!(known["statuses"][0]["state"], "TASK_RUNNING");
    assert_eq!(known["resources"]["mem"], 64.0);

    let below: serde_json::Value = master
        .get("/master/state")
        .await
        .json()
        .await
        .expect("JSON");
    assert_eq!(below["id"], state["id"]);
    assert_eq!(master.get("/health").await.status(), 200);
    let version: serde_json::Value = master.get("/version").await.json().await.expect("JSON");
    assert_eq!(version["version"], state["version"]);
    let metrics = master.get("/metrics").await.text().await.expect("text");
    for line in [
        "mete_master_tasks{state=\"TASK_RUNNING\"} 1",
        "mete_master_agents{state=\"registered\"} 1",
        "mete_master_frameworks{state=\"active\"} 1",
        "mete_master_resources{resource=\"cpus\"} 4",
        "mete_master_tasks_launched_total 1",
    ] {
        assert!(metrics.contains(line), "{line} in {metrics}");
    }
}

#[tokio::test]
async fn the_first_events_are_subscribed_and_a_heartbeat() {
    let dir = tempdir().expect("a directory");
    let master = Master::start(dir.path()).await;
    let mut framework = Framework::open(&master).await;
    framework.subscribe(framework_info()).await;

    let first = framework
        .message()
        .await
        .expect("no error")
        .expect("no end");
    let second = framework
        .message()
        .await
        .expect("no error")
        .expect("no end");

    let subscribed = first.subscribed.expect("SUBSCRIBED");
    assert_eq!(subscribed.heartbeat_interval_seconds, Some(15.0));
    assert!(
        subscribed
            .master_epoch
            .is_some_and(|epoch| epoch > 1_700_000_000)
    );
    assert_eq!(subscribed.protocol_version, Some(1));
    let info = subscribed.master_info.expect("who it is");
    assert!(subscribed.framework_id.value.starts_with(&info.id));
    assert_eq!(info.ip, u32::from_ne_bytes([127, 0, 0, 1]));
    assert_eq!(second.r#type(), event::Type::Heartbeat);
}

#[tokio::test]
async fn a_framework_that_takes_over_ends_the_old_stream() {
    let dir = tempdir().expect("a directory");
    let master = Master::start(dir.path()).await;
    let mut old = Framework::subscribed(&master).await;
    let mut info = framework_info();
    info.id = Some(old.id.clone());

    let new = Framework::subscribed_as(&master, info).await;

    assert_eq!(new.id, old.id);
    assert_eq!(old.error().await, "Framework failed over");
    assert!(matches!(old.message().await, Ok(None)));
}

#[tokio::test]
async fn a_torn_down_framework_is_not_let_in_again() {
    let dir = tempdir().expect("a directory");
    let master = Master::start(dir.path()).await;
    let mut framework = Framework::subscribed(&master).await;
    framework.say(bare(call::Type::Teardown)).await;
    while framework.message().await.expect("no error").is_some() {}

    let mut again = Framework::open(&master).await;
    let mut info = framework_info();
    info.id = Some(framework.id.clone());
    again.subscribe(info).await;

    assert!(again.error().await.contains("Framework has been removed"));
    assert!(matches!(again.message().await, Ok(None)));
}
