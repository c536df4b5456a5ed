//! The healthy-task list, its followers, and kills that wait for them.

use mete_framework_sdk::TaskState;
use mete_framework_sdk::testkit::{Call, Master};
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::harness::{Cluster, Event, Service, agent, app};

async fn acknowledge(cluster: &Cluster, list: &Value, draining: Value) {
    let ack = json!({ "epoch": list["epoch"], "version": list["version"], "draining": draining });
    let (status, body) = cluster.service.put("/v2/backends/acks/edge-1", &ack).await;
    assert_eq!(status, StatusCode::NO_CONTENT, "{body}");
}

fn states(event: &Event) -> Vec<&str> {
    let instances = event.data["services"][0]["instances"]
        .as_array()
        .into_iter()
        .flatten();
    instances
        .map(|instance| instance["state"].as_str().expect("a state"))
        .collect()
}

fn service_app(instances: u32) -> Value {
    let mut wish = app("/web");
    wish["instances"] = json!(instances);
    wish["labels"] =
        json!({ "HAPROXY_0_MODE": "http", "HAPROXY_0_VHOST": "web.localhost", "other": "x" });
    wish["portDefinitions"] = json!([{ "port": 10007, "name": "http" }]);
    wish
}

#[tokio::test]
async fn what_proxies_have_in_effect_can_be_asked_for() {
    let cluster = Cluster::start().await;
    let (_, list) = cluster.service.get("/v2/backends").await;
    let none = json!({ "epoch": list["epoch"], "version": list["version"], "proxies": [] });
    assert_eq!(
        cluster.service.get("/v2/backends/acks").await,
        (StatusCode::OK, none)
    );

    acknowledge(&cluster, &list, json!([])).await;

    let (_, acks) = cluster.service.get("/v2/backends/acks").await;
    assert_eq!(
        acks["proxies"],
        json!([{ "proxyId": "edge-1", "version": list["version"] }])
    );
}

#[tokio::test]
async fn only_healthy_tasks_are_in_the_list() {
    let cluster = Cluster::start().await;
    let mut watch = cluster.service.stream("/v2/backends?watch=true", &[]).await;
    let first = watch.next().await;
    assert_eq!(
        (first.name.as_str(), &first.data["services"]),
        ("snapshot", &json!([]))
    );
    let id = format!(
        "{}-{}",
        first.data["epoch"].as_str().expect("epoch"),
        first.data["version"]
    );
    assert_eq!(first.id.as_deref(), Some(&*id));
    let mut wish = service_app(1);
    wish["healthChecks"] = json!([{ "protocol": "HTTP", "path": "/" }]);
    cluster.service.post("/v2/apps", &wish).await;
    cluster.running("/web", 1).await;
    let task = cluster.tasks()[0].0.clone();

    cluster.master.report(&task, TaskState::Running, |status| {
        status.healthy = Some(true)
    });

    let up = watch.until(|event| states(event) == ["up"]).await;
    assert_eq!(up.name, "change");
    let service = &up.data["services"][0];
    assert_eq!(
        service["labels"],
        json!({ "HAPROXY_0_MODE": "http", "HAPROXY_0_VHOST": "web.localhost" })
    );
    assert_eq!(
        (
            &service["appId"],
            &service["portIndex"],
            &service["servicePort"]
        ),
        (&json!("/web"), &json!(0), &json!(10007))
    );
    assert_eq!(
        (&service["mode"], &service["protocol"]),
        (&json!("http"), &json!("tcp"))
    );
    assert_eq!(service["instances"][0]["taskId"], task.as_str());
    let (_, whole) = cluster.service.get("/v2/backends").await;
    assert_eq!(
        (&whole["services"][0], &whole["version"]),
        (service, &up.data["version"])
    );

    cluster.master.report(&task, TaskState::Running, |status| {
        status.healthy = Some(false)
    });
    watch
        .until(|event| event.name == "change" && !states(event).contains(&"up"))
        .await;
}

#[tokio::test]
async fn a_planned_kill_waits_until_the_proxy_has_no_sessions_left() {
    let cluster = Cluster::start().await;
    let mut watch = cluster.service.stream("/v2/backends?watch=true", &[]).await;
    cluster.service.post("/v2/apps", &service_app(2)).await;
    let up = watch.until(|event| states(event) == ["up", "up"]).await;
    acknowledge(&cluster, &up.data, json!([])).await;
    cluster.settled("/web").await;

    cluster
        .service
        .put("/v2/apps/web", &json!({ "instances": 1 }))
        .await;

    let draining = watch
        .until(|event| states(event).contains(&"draining"))
        .await;
    let instances = draining.data["services"][0]["instances"]
        .as_array()
        .expect("instances");
    let drained = instances
        .iter()
        .find(|one| one["state"] == "draining")
        .expect("one drains");
    let task = drained["taskId"].as_str().expect("an id").to_owned();
    acknowledge(
        &cluster,
        &draining.data,
        json!([{ "taskId": task, "sessions": 2 }]),
    )
    .await;
    // Calls reach the master in order: a kill would have come before this launch.
    cluster.service.post("/v2/apps", &app("/later")).await;
    cluster.running("/later", 1).await;
    assert_eq!(cluster.kills(), 0);
    acknowledge(
        &cluster,
        &draining.data,
        json!([{ "taskId": task, "sessions": 0 }]),
    )
    .await;
    let killed = cluster
        .master
        .heard(|call| matches!(call, Call::Kill { .. }))
        .await
        .expect("a kill");
    assert!(matches!(killed.call, Call::Kill { task: id, .. } if id.as_str() == task));
    watch.until(|event| states(event) == ["up"]).await;
    cluster.settled("/web").await;
}

#[tokio::test]
async fn a_kill_waits_for_no_proxy_longer_than_the_deadline() {
    let master = Master::start().await.expect("a port");
    master.add_agent(agent("127.0.0.2"));
    let directory = tempfile::tempdir().expect("a directory");
    let service = Service::start(&master, directory.path(), &["--drain-deadline=200ms"]).await;
    let cluster = Cluster {
        master,
        service,
        directory,
    };
    cluster.service.post("/v2/apps", &service_app(1)).await;
    cluster.running("/web", 1).await;
    let (_, list) = cluster.service.get("/v2/backends").await;
    acknowledge(&cluster, &list, json!([])).await;

    cluster.service.delete("/v2/apps/web").await;

    let killed = cluster
        .master
        .heard(|call| matches!(call, Call::Kill { .. }))
        .await;
    assert!(killed.is_some());
    cluster
        .eventually("the end of the task", |cluster| cluster.tasks().is_empty())
        .await;
}

#[tokio::test]
async fn acknowledgements_that_make_no_sense_are_refused() {
    let cluster = Cluster::start().await;
    let (_, list) = cluster.service.get("/v2/backends").await;
    let ack = |version: u64, task: &str| {
        let draining = json!([{ "taskId": task, "sessions": 0 }]);
        json!({ "epoch": list["epoch"], "version": version, "draining": draining })
    };

    for (proxy, body) in [
        ("edge", ack(1, "../x")),
        ("edge", ack(1_000_000, "t")),
        (&"x".repeat(500), ack(1, "t")),
    ] {
        let (status, told) = cluster
            .service
            .put(&format!("/v2/backends/acks/{proxy}"), &body)
            .await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{told}");
    }
}

#[tokio::test]
async fn a_service_that_moves_is_at_both_ports_until_the_move_is_over() {
    let cluster = Cluster::start().await;
    let mut watch = cluster.service.stream("/v2/backends?watch=true", &[]).await;
    cluster.service.post("/v2/apps", &service_app(1)).await;
    watch.until(|event| states(event) == ["up"]).await;
    cluster.settled("/web").await;

    cluster
        .service
        .put(
            "/v2/apps/web",
            &json!({ "portDefinitions": [{ "port": 10008 }] }),
        )
        .await;

    let removed = watch
        .until(|event| {
            event.data["removed"]
                .as_array()
                .is_some_and(|gone| !gone.is_empty())
        })
        .await;
    assert_eq!(
        removed.data["removed"],
        json!([{ "appId": "/web", "portIndex": 0, "servicePort": 10007 }])
    );
    let (_, list) = cluster.service.get("/v2/backends").await;
    assert_eq!(
        (
            list["services"].as_array().map(Vec::len),
            &list["services"][0]["servicePort"]
        ),
        (Some(1), &json!(10008))
    );
    cluster.settled("/web").await;
}

#[tokio::test]
async fn a_follower_goes_on_where_it_was() {
    let cluster = Cluster::start().await;
    let mut watch = cluster.service.stream("/v2/backends?watch=true", &[]).await;
    cluster.service.post("/v2/apps", &service_app(1)).await;
    let up = watch.until(|event| states(event) == ["up"]).await;
    drop(watch);
    let id = up.id.expect("an id");

    let mut same = cluster
        .service
        .stream("/v2/backends?watch=true", &[("Last-Event-ID", &id)])
        .await;
    let beat = same.next().await;
    assert_eq!(
        (beat.name.as_str(), &beat.data["version"]),
        ("heartbeat", &up.data["version"])
    );
    cluster.service.delete("/v2/apps/web").await;
    let gone = same.until(|event| event.data["removed"] != json!([])).await;
    assert_eq!(
        (gone.name.as_str(), &gone.data["removed"]),
        (
            "change",
            &json!([{ "appId": "/web", "portIndex": 0, "servicePort": 10007 }])
        )
    );

    let mut late = cluster
        .service
        .stream("/v2/backends?watch=true", &[("Last-Event-ID", &id)])
        .await;
    assert_eq!(late.next().await.name, "change");
    for unknown in ["other-epoch-7", "nonsense", ""] {
        let mut anew = cluster
            .service
            .stream("/v2/backends?watch=true", &[("Last-Event-ID", unknown)])
            .await;
        assert_eq!(anew.next().await.name, "snapshot", "{unknown:?}");
    }
}
