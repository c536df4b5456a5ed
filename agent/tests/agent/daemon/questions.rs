//! What tools ask of an agent over Mesos' operator API, and by its older paths.

use std::time::Duration;

use mete_model::TaskState;
use mete_proto::mesos::v1 as mesos;
use mete_proto::mesos::v1::agent::{Call, Response, call};
use mete_proto::mete::v1 as wire;
use mete_proto::mete::v1::master_message::Message;
use prost::Message as _;
use serde_json::{Value, json};

use super::master::{Master, task};
use super::world::{Scene, Work, get, json as get_json};
use crate::support::soon;

/// Asks an agent; status and JSON.
async fn ask(port: i32, path: &str, question: &Value) -> (u16, Value) {
    let client = mete_daemon::http_client::plain().build().unwrap();
    let url = format!("http://127.0.0.1:{port}{path}");
    let answer = soon(client.post(url).json(question).send()).await.unwrap();
    let status = answer.status().as_u16();
    let body = soon(answer.bytes()).await.unwrap();
    (status, serde_json::from_slice(&body).unwrap_or_default())
}

#[tokio::test]
async fn every_question_is_answered_and_the_task_is_in_the_answers() {
    let mut scene = Scene::with(&[]).await;
    let port = scene.port;
    scene.link.run(&task("t", "echo hello; sleep 1000")).await;
    scene.link.until(TaskState::Running).await;

    for name in [
        "HEALTH",
        "FLAGS",
        "VERSION",
        "METRICS",
        "LOGGING_LEVEL",
        "STATE",
        "CONTAINERS",
        "FRAMEWORKS",
        "EXECUTORS",
        "TASKS",
        "AGENT",
        "OPERATIONS",
        "RESOURCE_PROVIDERS",
    ] {
        let question = format!("GET_{name}");
        let (status, told) = ask(port, "/api/v1", &json!({ "type": question })).await;
        assert_eq!((status, &told["type"]), (200, &json!(question)), "{told}");
        assert!(told[question.to_lowercase()].is_object(), "{told}");
    }

    let (_, state) = ask(port, "/slave(1)/api/v1/x", &json!({ "type": "GET_STATE" })).await;
    let tasks = &state["get_state"]["get_tasks"]["launched_tasks"];
    assert_eq!(tasks[0]["task_id"]["value"], "t");
    assert_eq!(tasks[0]["state"], "TASK_RUNNING");
    let executors = &state["get_state"]["get_executors"]["executors"];
    assert_eq!(executors[0]["executor_info"]["executor_id"]["value"], "t");
    let (_, containers) = ask(port, "/api/v1", &json!({ "type": "GET_CONTAINERS" })).await;
    let container = &containers["get_containers"]["containers"][0];
    assert_eq!(container["executor_id"]["value"], "t");
    assert!(
        container["resource_statistics"]["timestamp"].is_f64(),
        "{container}"
    );
    let (_, agent) = ask(port, "/api/v1", &json!({ "type": "GET_AGENT" })).await;
    let info = &agent["get_agent"]["agent_info"];
    assert_eq!(info["port"], json!(port));
    let metrics = get_json(port, "/metrics/snapshot", &[]).await.1;
    assert_eq!(metrics["slave/tasks_running"], 1.0);
    assert_eq!(metrics["slave/registered"], 1.0);
    has_the_names_of_mesos(&metrics);
    let (status, level) = get(port, "/slave(1)/logging/toggle", &[]).await;
    assert_eq!((status, &level[..]), (200, &b"0\n"[..]));
    let bad = [("level", "1"), ("duration", "soon")];
    assert_eq!(get(port, "/logging/toggle", &bad).await.0, 400);
}

/// What the master has made of it is in what the agent says of itself, until the master says otherwise.
#[tokio::test]
async fn what_is_reserved_and_how_it_drains_is_told() {
    let mut master = Master::start().await;
    let work = Work::new();
    let _agent = work.start(
        master.address,
        &["--resources", "cpus:4;mem:1024;disk:1000"],
    );
    let (link, register) = master.admit().await;
    let port = register.agent_info.port();
    let (_, before) = get_json(port, "/state", &[]).await;
    assert_eq!(before["reserved_resources"], json!({}));
    assert_eq!(before["drain_config"], Value::Null);
    let mut total = register.agent_info.resources;
    let mut reserved = total[0].clone();
    reserved.reservations = vec![mesos::resource::ReservationInfo {
        r#type: Some(mesos::resource::reservation_info::Type::Dynamic.into()),
        role: Some("eng".to_owned()),
        ..mesos::resource::ReservationInfo::default()
    }];
    for (resource, cpus) in [(&mut total[0], 3.0), (&mut reserved, 1.0)] {
        resource.scalar = Some(mesos::value::Scalar { value: cpus });
    }
    total.push(reserved);
    let mut standing = wire::Standing {
        resources: total,
        drain_config: Some(mesos::DrainConfig {
            max_grace_period: Some(mesos::DurationInfo {
                nanoseconds: 6_000_000_000,
            }),
            mark_gone: Some(true),
        }),
        drain_began: Some(mesos::TimeInfo {
            nanoseconds: 1_795_896_000_500_000_000,
        }),
    };

    link.say(Message::Standing(standing.clone())).await;

    let is_there = |state: &Value| state["drain_config"].is_object();
    let state = told(port, is_there).await;
    assert_eq!(state["reserved_resources"]["eng"]["cpus"], 1.0);
    assert_eq!(state["unreserved_resources"]["cpus"], 3.0);
    assert_eq!(state["resources"]["cpus"], 4.0);
    let config =
        json!({ "max_grace_period": { "nanoseconds": 6_000_000_000_i64 }, "mark_gone": true });
    assert_eq!(state["drain_config"], config);
    assert_eq!(state["estimated_drain_start_time_seconds"], 1_795_896_000.0);
    let (_, agent) = ask(port, "/api/v1", &json!({ "type": "GET_AGENT" })).await;
    let agent = &agent["get_agent"];
    assert_eq!(agent["drain_config"], config);
    assert!(agent["estimated_drain_start_time"].is_object(), "{agent}");
    let resources = agent["agent_info"]["resources"].as_array().unwrap();
    let of_eng = resources.iter().filter(|one| one["role"] == "eng");
    assert_eq!(of_eng.count(), 1, "{agent}");

    (standing.drain_config, standing.drain_began) = (None, None);
    link.say(Message::Standing(standing)).await;
    let state = told(port, |state| !is_there(state)).await;
    assert_eq!(state["reserved_resources"]["eng"]["cpus"], 1.0);
}

/// The agent's state, as soon as it is as wanted.
async fn told(port: i32, is_wanted: impl Fn(&Value) -> bool) -> Value {
    let state = async {
        loop {
            let (_, state) = get_json(port, "/state", &[]).await;
            if is_wanted(&state) {
                return state;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    soon(state).await
}

fn has_the_names_of_mesos(metrics: &Value) {
    for (name, value) in [
        ("slave/executors_running", 1.0),
        ("slave/executors_registering", 0.0),
        ("slave/executors_terminated", 0.0),
        ("slave/executors_preempted", 0.0),
        ("slave/valid_status_updates", 2.0),
        ("slave/container_launch_errors", 0.0),
        ("slave/cpus_revocable_percent", 0.0),
        ("slave/recovery_errors", 0.0),
        ("containerizer/fetcher/task_fetches_failed", 0.0),
        ("containerizer/mesos/container_destroy_errors", 0.0),
        ("gc/path_removals_pending", 0.0),
    ] {
        assert_eq!(metrics[name], value, "{name}");
    }
    for name in [
        "system/mem_total_bytes",
        "containerizer/fetcher/cache_size_total_bytes",
    ] {
        assert!(metrics[name].as_f64() > Some(0.0), "{name}");
    }
}

#[tokio::test]
async fn files_are_listed_and_read_and_nothing_outside_of_sandboxes() {
    let mut scene = Scene::with(&[]).await;
    let port = scene.port;
    scene.link.run(&task("t", "echo hello")).await;
    scene.link.until(TaskState::Finished).await;
    let (_, tasks) = get_json(port, "/v1/tasks", &[]).await;
    let sandbox = tasks["tasks"][0]["sandbox"].as_str().unwrap().to_owned();
    let list = |path: &str| json!({ "type": "LIST_FILES", "list_files": { "path": path } });
    let read = |path: &str| {
        let part = json!({ "path": path, "offset": 1, "length": 3 });
        json!({ "type": "READ_FILE", "read_file": part })
    };

    let (_, listed) = ask(port, "/api/v1", &list(&sandbox)).await;
    let (_, part) = ask(port, "/api/v1", &read(&format!("{sandbox}/stdout"))).await;

    let files = listed["list_files"]["file_infos"].as_array().unwrap();
    let stdout = files.iter().find(|file| file["size"] == 6).unwrap();
    assert_eq!(stdout["path"], format!("{sandbox}/stdout"));
    assert_eq!(part["read_file"], json!({ "size": 6, "data": "ZWxs" }));
    for bad in [
        list("/etc"),
        read("/etc/passwd"),
        read(&format!("{sandbox}/nothing")),
    ] {
        assert_eq!(ask(port, "/api/v1", &bad).await.0, 404, "{bad}");
    }
    let nameless = json!({ "type": "READ_FILE" });
    assert_eq!(ask(port, "/api/v1", &nameless).await.0, 400);
}

#[tokio::test]
async fn protobuf_scripts_and_other_paths_are_understood() {
    let scene = Scene::with(&[]).await;
    let port = scene.port;
    let question = Call {
        r#type: Some(call::Type::GetVersion.into()),
        ..Call::default()
    };
    let client = mete_daemon::http_client::plain().build().unwrap();
    let protobuf = "application/x-protobuf";
    let post = client
        .post(format!("http://127.0.0.1:{port}/api/v1"))
        .header("content-type", protobuf)
        .header("accept", protobuf)
        .body(question.encode_to_vec());

    let answer = soon(post.send()).await.unwrap();

    let kind = answer.headers()["content-type"].clone();
    let body = soon(answer.bytes()).await.unwrap();
    assert_eq!(kind, protobuf, "{body:?}");
    let told = Response::decode(body).unwrap();
    assert_eq!(told.get_version.unwrap().version_info.version, "1.11.0");
    let (_, script) = get(port, "/slave(1)/state", &[("jsonp", "f")]).await;
    assert!(script.starts_with(b"f({") && script.ends_with(b"});"));
    let (_, version) = get_json(port, "/version/", &[]).await;
    assert_eq!(version["version"], "1.11.0");
    let (_, flags) = get_json(port, "/slave%281%29/flags", &[]).await;
    assert_eq!(flags["flags"]["port"], json!(port.to_string()));
    for path in ["/slave(1)/state.json", "/slave%281%29/state.json"] {
        let (_, state) = get_json(port, path, &[]).await;
        assert!(state["build_time"].is_number(), "{path}");
        let allocated = &state["unreserved_resources_allocated"];
        assert!(allocated.is_object(), "{path}");
    }
    for (body, status) in [
        (json!({ "type": "NONSENSE" }), 400),
        (json!({}), 400),
        (json!({ "type": "PRUNE_IMAGES" }), 400),
        (json!({ "type": "SET_LOGGING_LEVEL" }), 400),
    ] {
        assert_eq!(ask(port, "/api/v1", &body).await.0, status, "{body}");
    }
}
