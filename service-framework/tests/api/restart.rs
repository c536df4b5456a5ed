//! What a new life knows of the one before.

use std::error::Error;

use mete_daemon::exit::Exit;
use mete_framework_sdk::testkit::{Call, Refusal};
use mete_framework_sdk::{FaultDomain, TaskState};
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Cluster, Service, agent, app};

#[tokio::test]
async fn a_restart_adopts_what_runs_and_restarts_nothing() {
    let cluster = Cluster::start().await;
    let mut wish = app("/web");
    wish["instances"] = json!(2);
    cluster.service.post("/v2/apps", &wish).await;
    cluster.running("/web", 2).await;
    let before = cluster.settled("/web").await;
    let framework = cluster.service.get("/v2/info").await.1["frameworkId"].clone();
    let epoch = cluster.service.get("/v2/backends").await.1["epoch"].clone();
    let tasks = cluster.tasks();

    let cluster = cluster.restart().await;

    let after = cluster.running("/web", 2).await;
    let info = cluster
        .until("/v2/info", |info| info["frameworkId"].is_string())
        .await;
    assert_eq!(info["frameworkId"], framework);
    assert_eq!(after["app"]["version"], before["app"]["version"]);
    assert_eq!(
        after["app"]["portDefinitions"],
        before["app"]["portDefinitions"]
    );
    assert_ne!(cluster.service.get("/v2/backends").await.1["epoch"], epoch);
    cluster
        .eventually("the second subscription", |cluster| {
            !cluster.master.frameworks().is_empty()
        })
        .await;
    let (status, _) = cluster
        .service
        .send(Method::PATCH, "/v2/apps/web", &json!({ "instances": 3 }))
        .await;
    assert!(status.is_success());
    cluster.running("/web", 3).await;
    assert!(tasks.iter().all(|(task, _)| {
        cluster
            .tasks()
            .contains(&(task.clone(), TaskState::Running))
    }));
    assert_eq!(cluster.kills(), 0);
}

#[tokio::test]
async fn what_is_asked_while_the_master_is_away_is_done_when_it_is_back() {
    let cluster = Cluster::start().await;
    cluster.service.post("/v2/apps", &app("/web")).await;
    cluster.running("/web", 1).await;
    cluster
        .master
        .refuse(Some(Refusal::Unavailable("not ready".to_owned())));
    cluster.master.cut();
    cluster
        .eventually("the end of the link", |cluster| {
            cluster.master.frameworks().is_empty()
        })
        .await;

    let (status, _) = cluster
        .service
        .put("/v2/apps/web?force=true", &json!({ "instances": 2 }))
        .await;
    assert!(status.is_success());
    cluster.master.refuse(None);

    cluster.running("/web", 2).await;
    assert_eq!(cluster.kills(), 0);
}

#[tokio::test]
async fn updates_are_acknowledged_once_they_are_stored() {
    let cluster = Cluster::start().await;
    cluster.service.post("/v2/apps", &app("/web")).await;
    cluster.running("/web", 1).await;

    let acknowledged = cluster
        .master
        .heard(|call| matches!(call, Call::Acknowledge { .. }))
        .await;

    assert!(acknowledged.is_some());
}

#[tokio::test]
async fn a_second_one_on_the_same_state_is_told_so() {
    let cluster = Cluster::start().await;
    let options: mete_service_framework::Options = mete_daemon::config::load(
        "services",
        [
            "--port=0".to_owned(),
            format!("--state-dir={}", cluster.directory.path().display()),
        ],
        std::iter::empty::<(String, String)>(),
    )
    .expect("good options");

    let refused =
        mete_service_framework::run(options, tokio_util::sync::CancellationToken::new()).await;

    let error = refused.expect_err("locked");
    assert_eq!(Exit::of(&error), Exit::Store);
    let chain: Vec<String> =
        std::iter::successors(Some(&error as &dyn Error), |&error| error.source())
            .map(ToString::to_string)
            .collect();
    assert!(
        chain.join(": ").contains("locked by another process"),
        "{chain:?}"
    );
}

#[tokio::test]
async fn it_ends_with_the_reason_when_the_master_refuses_it_for_good() {
    let cluster = Cluster::start().await;
    cluster
        .eventually("the subscription", |cluster| {
            !cluster.master.frameworks().is_empty()
        })
        .await;
    let Cluster {
        master, service, ..
    } = cluster;
    let framework = master.frameworks()[0].clone();

    master.dismiss(&framework, "framework was torn down");

    let error = service.ended().await;
    assert_eq!(
        error.to_string(),
        "the master refuses this framework: framework was torn down"
    );
    let directory = tempfile::tempdir().expect("a directory");
    master.refuse(Some(Refusal::Unauthenticated("no".to_owned())));
    let error = Service::start(&master, directory.path(), &[])
        .await
        .ended()
        .await;
    assert!(error.to_string().contains("no"), "{error}");
}

#[tokio::test]
async fn after_a_teardown_the_next_start_launches_all_anew_under_another_id() {
    let cluster = Cluster::start().await;
    cluster.service.post("/v2/apps", &app("/web")).await;
    cluster.running("/web", 1).await;
    let Cluster {
        master,
        service,
        directory,
    } = cluster;
    let before = master.frameworks();

    master.dismiss(
        &before[0],
        "Framework has been removed: torn down by an operator",
    );
    let error = service.ended().await;
    assert!(error.to_string().contains("torn down by an operator"));
    let service = Service::start(&master, directory.path(), &[]).await;

    let cluster = Cluster {
        master,
        service,
        directory,
    };
    cluster
        .eventually("a subscription under another id", |cluster| {
            let known = cluster.master.frameworks();
            known.iter().any(|id| !before.contains(id))
        })
        .await;
    cluster.running("/web", 1).await;
}

#[tokio::test]
async fn where_instances_run_is_told_before_and_after_a_restart() {
    let cluster = Cluster::start_on(&[]).await;
    let mut there = agent("127.0.0.2");
    there.domain = Some(FaultDomain {
        region: "eu".to_owned(),
        zone: "eu-1".to_owned(),
    });
    cluster.master.add_agent(there);
    cluster.service.post("/v2/apps", &app("/web")).await;
    let pod = json!({ "id": "/pod", "containers": [
        { "name": "a", "exec": { "command": { "shell": "true" } }, "resources": { "cpus": 0.1, "mem": 16 } }] });
    cluster.service.post("/v2/pods", &pod).await;
    let told = async |cluster: &Cluster| {
        let runs = |told: &Value| told["status"] == "STABLE";
        let pod = cluster.until("/v2/pods/pod::status", runs).await;
        let web = cluster.running("/web", 1).await;
        let (pod, web) = (&pod["instances"][0], &web["app"]["tasks"][0]);
        json!([
            pod["agentRegion"],
            pod["agentZone"],
            web["region"],
            web["zone"]
        ])
    };
    let expected = json!(["eu", "eu-1", "eu", "eu-1"]);

    assert_eq!(told(&cluster).await, expected);
    let cluster = cluster.restart().await;
    assert_eq!(told(&cluster).await, expected);
}
