//! What subscribers of `/v2/events` hear.

use mete_framework_sdk::TaskState;
use serde_json::json;

use crate::harness::{Cluster, app};

#[tokio::test]
async fn a_deployment_is_told_from_the_post_to_its_end() {
    let cluster = Cluster::start().await;
    let mut events = cluster.service.stream("/v2/events", &[]).await;
    let attached = events.next().await;
    assert_eq!(
        (attached.name.as_str(), &attached.data["eventType"]),
        ("event_stream_attached", &json!("event_stream_attached"))
    );

    cluster.service.post("/v2/apps", &app("/web")).await;

    let mut heard = Vec::new();
    loop {
        let event = events.next().await;
        assert_eq!(event.data["eventType"], event.name.as_str());
        assert!(
            event.data["timestamp"]
                .as_str()
                .is_some_and(|time| time.len() == 24 && time.ends_with('Z'))
        );
        match event.name.as_str() {
            "api_post_event" => {
                assert_eq!(event.data["appDefinition"]["id"], "/web");
                assert_eq!(
                    (&event.data["clientIp"], &event.data["uri"]),
                    (&json!("127.0.0.1"), &json!("/v2/apps"))
                );
            }
            "status_update_event" => {
                assert_eq!(event.data["appId"], "/web");
                assert_eq!(event.data["ports"].as_array().map(Vec::len), Some(1));
                assert!(
                    event.data["taskStatus"]
                        .as_str()
                        .is_some_and(|state| state.starts_with("TASK_"))
                );
            }
            _ => {}
        }
        let is_over = event.name == "deployment_success";
        heard.push(event.name);
        if is_over {
            assert_eq!(
                event.data["plan"]["steps"][0]["actions"],
                json!([{ "action": "StartApplication", "app": "/web" }])
            );
            let groups = (
                &event.data["plan"]["original"],
                &event.data["plan"]["target"],
            );
            assert_eq!(
                groups,
                (&json!({}), &json!({})),
                "Python's client needs them"
            );
            break;
        }
    }
    let at = |name: &str| {
        heard
            .iter()
            .position(|one| one == name)
            .unwrap_or_else(|| panic!("{name} in {heard:?}"))
    };
    assert!(
        at("group_change_success") < at("deployment_info"),
        "{heard:?}"
    );
    assert!(
        at("deployment_info") < at("status_update_event"),
        "{heard:?}"
    );
    assert!(
        at("status_update_event") < at("deployment_success"),
        "{heard:?}"
    );
    at("api_post_event");
    at("instance_changed_event");
    at("deployment_step_success");
}

#[tokio::test]
async fn a_filter_leaves_the_rest_out() {
    let cluster = Cluster::start().await;
    let path = "/v2/events?plan-format=light&event_type=status_update_event&event_type=app_terminated_event";
    let mut events = cluster.service.stream(path, &[]).await;

    cluster.service.post("/v2/apps", &app("/web")).await;
    cluster.running("/web", 1).await;
    cluster.service.delete("/v2/apps/web").await;

    let killed = events.until(|event| event.data["taskStatus"] == "TASK_KILLED");
    assert_eq!(killed.await.name, "status_update_event");
    let ended = events.next().await;
    assert_eq!(
        (ended.name.as_str(), &ended.data["appId"]),
        ("app_terminated_event", &json!("/web"))
    );
}

#[tokio::test]
async fn health_is_told_when_it_changes() {
    let cluster = Cluster::start().await;
    let mut wish = app("/web");
    wish["healthChecks"] = json!([{ "protocol": "MESOS_HTTP", "path": "/" }]);
    cluster.service.post("/v2/apps", &wish).await;
    cluster.running("/web", 1).await;
    let task = cluster.tasks()[0].0.clone();
    let mut events = cluster
        .service
        .stream("/v2/events?event_type=health_status_changed_event", &[])
        .await;

    cluster.master.report(&task, TaskState::Running, |status| {
        status.healthy = Some(true)
    });

    let event = events.next().await;
    assert_eq!(
        (&event.data["appId"], &event.data["alive"]),
        (&json!("/web"), &json!(true))
    );
    let answer = cluster
        .until("/v2/apps/web", |answer| answer["app"]["tasksHealthy"] == 1)
        .await;
    let result = &answer["app"]["tasks"][0]["healthCheckResults"][0];
    assert_eq!(
        (&result["alive"], &result["consecutiveFailures"]),
        (&json!(true), &json!(0))
    );
    assert!(result["firstSuccess"].is_string() && result["instanceId"].is_string());
}

#[tokio::test]
async fn streams_end_with_the_service_framework() {
    let cluster = Cluster::start().await;
    let mut events = cluster.service.stream("/v2/events", &[]).await;
    events.next().await;
    let mut backends = cluster.service.stream("/v2/backends?watch=true", &[]).await;
    backends.next().await;

    cluster.service.stop().await;

    assert!(events.ends().await && backends.ends().await);
}

#[tokio::test]
async fn a_subscriber_that_comes_back_goes_on_where_it_was() {
    let cluster = Cluster::start().await;
    let path = "/v2/events?event_type=api_post_event";
    let mut events = cluster.service.stream(path, &[]).await;
    cluster.service.post("/v2/apps", &app("/a")).await;
    let last = events.next().await.id.expect("an id");
    drop(events);
    cluster.service.post("/v2/apps", &app("/b")).await;
    cluster.service.post("/v2/apps", &app("/c")).await;

    let headers = [("Last-Event-ID", last.as_str())];
    let mut events = cluster.service.stream(path, &headers).await;

    let (second, third) = (events.next().await, events.next().await);
    let ids = [&second, &third].map(|event| event.data["appDefinition"]["id"].clone());
    assert_eq!(ids, [json!("/b"), json!("/c")]);
    assert!(second.id != third.id && second.id.as_ref() != Some(&last));
}

/// Numbers of a former life say nothing: the stream begins anew, after a line that readers pass over.
#[tokio::test]
async fn after_a_restart_a_stream_says_that_events_are_missing() {
    let cluster = Cluster::start().await;
    let mut events = cluster.service.stream("/v2/events", &[]).await;
    let last = events.next().await.id.expect("an id");
    drop(events);
    let cluster = cluster.restart().await;

    let headers = [("Last-Event-ID", last.as_str())];
    let mut events = cluster.service.stream("/v2/events", &headers).await;

    let first = events.block().await.expect("a first line");
    assert!(
        first.starts_with(": ") && first.contains("missing"),
        "{first}"
    );
    assert_eq!(events.next().await.name, "event_stream_attached");
}
