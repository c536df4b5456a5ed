//! Operators and tools over Mesos' v1 HTTP API, and by the older paths: `POST /api/v1` and what is read with GET.

use mete_daemon::http_client;
use mete_proto::mesos::v1 as mesos;
use mete_proto::mesos::v1::master::{Response, response};
use prost::Message as _;
use reqwest::Method;
use reqwest::header::CONTENT_TYPE;
use serde_json::{Value, json};
use tempfile::tempdir;

use crate::life::brought;
use crate::peers::{self, Agent, Framework, Master, task};
use crate::v1::{JSON, PROTOBUF, Records, ask, call, post};

/// A master with an agent and a framework whose task runs.
struct Scene {
    master: Master,
    agent: Agent,
    framework: Framework,
    _dir: tempfile::TempDir,
}

async fn scene() -> Scene {
    let dir = tempdir().expect("a directory");
    let master = Master::start(dir.path()).await;
    let mut agent = Agent::registered(&master).await;
    let mut framework = Framework::subscribed(&master).await;
    let offer = framework.offers().await.remove(0);
    let task = task("one", &offer, "cpus:1;mem:64");
    framework.accept(&[&offer], vec![task]).await;
    agent.run_task().await;
    let mut running = agent.status("one", mesos::TaskState::TaskRunning, 1);
    let container_id = Some(mesos::ContainerId {
        value: "in-one".to_owned(),
        parent: None,
    });
    running.container_status = Some(mesos::ContainerStatus {
        container_id,
        ..mesos::ContainerStatus::default()
    });
    agent.report(&framework.id, running).await;
    framework.update().await;
    Scene {
        master,
        agent,
        framework,
        _dir: dir,
    }
}

#[tokio::test]
async fn every_question_is_answered() {
    let scene = scene().await;
    for name in [
        "HEALTH",
        "FLAGS",
        "VERSION",
        "METRICS",
        "LOGGING_LEVEL",
        "STATE",
        "AGENTS",
        "FRAMEWORKS",
        "EXECUTORS",
        "OPERATIONS",
        "TASKS",
        "ROLES",
        "WEIGHTS",
        "MASTER",
        "MAINTENANCE_STATUS",
        "MAINTENANCE_SCHEDULE",
        "QUOTA",
    ] {
        let question = format!("GET_{name}");
        let told = ask(
            &scene.master,
            &json!({ "type": question, "get_metrics": {} }),
        )
        .await;
        assert_eq!(told["type"], question);
        assert!(told[question.to_lowercase()].is_object(), "{told}");
    }

    let state = ask(&scene.master, &json!({ "type": "GET_STATE" })).await;

    let state = &state["get_state"];
    let task = &state["get_tasks"]["tasks"][0];
    assert_eq!(task["task_id"]["value"], "one");
    assert_eq!(task["state"], "TASK_RUNNING");
    assert_eq!(task["statuses"][0]["state"], "TASK_RUNNING");
    let cpus = json!({ "name": "cpus", "type": "SCALAR", "scalar": { "value": 1.0 },
        "allocation_info": { "role": "web" } });
    assert_eq!(task["resources"][0], cpus);
    let agent = &state["get_agents"]["agents"][0];
    assert_eq!(
        agent["agent_info"]["id"]["value"],
        json!(scene.agent.id.value)
    );
    assert_eq!(agent["pid"], "slave(1)@127.0.0.2:5051");
    assert_eq!(agent["allocated_resources"][0], cpus);
    assert_eq!(agent["total_resources"][0]["role"], "*");
    let framework = &state["get_frameworks"]["frameworks"][0];
    assert_eq!(
        framework["framework_info"]["id"]["value"],
        json!(scene.framework.id.value)
    );
    assert_eq!(
        (&framework["active"], &framework["recovered"]),
        (&json!(true), &json!(false))
    );
    let version = ask(&scene.master, &json!({ "type": "GET_VERSION" })).await;
    assert_eq!(version["get_version"]["version_info"]["version"], "1.11.0");
}

#[tokio::test]
async fn protobuf_is_answered_to_who_wants_it() {
    let scene = scene().await;
    let headers = [("content-type", JSON), ("accept", PROTOBUF)];

    let answer = post(
        &scene.master,
        "/api/v1/operator",
        &headers,
        r#"{"type":"GET_TASKS"}"#,
    )
    .await;

    assert_eq!(answer.headers()[CONTENT_TYPE], PROTOBUF);
    let told = Response::decode(answer.bytes().await.expect("a body")).expect("a response");
    assert_eq!(told.r#type(), response::Type::GetTasks);
    assert_eq!(told.get_tasks.expect("tasks").tasks.len(), 1);
}

#[tokio::test]
async fn who_subscribes_hears_all_there_is_and_then_what_happens() {
    let mut scene = scene().await;
    let subscribe = r#"{"type":"SUBSCRIBE"}"#;
    let mut watch = Records::open(&scene.master, "/api/v1", JSON, subscribe).await;
    let first = watch.event().await;
    assert_eq!(first["type"], "SUBSCRIBED");
    assert_eq!(first["subscribed"]["heartbeat_interval_seconds"], 15.0);
    let tasks = &first["subscribed"]["get_state"]["get_tasks"]["tasks"];
    assert_eq!(tasks[0]["task_id"]["value"], "one");

    let finished = scene.agent.status("one", mesos::TaskState::TaskFinished, 2);
    let running = scene.agent.status("one", mesos::TaskState::TaskRunning, 1);
    scene.framework.acknowledge(&running).await;
    scene.agent.next().await;
    scene
        .agent
        .report(&scene.framework.id, finished.clone())
        .await;

    let updated = watch.wait_for("TASK_UPDATED").await;
    let updated = &updated["task_updated"];
    assert_eq!(updated["status"]["state"], "TASK_FINISHED");
    assert_eq!(updated["state"], "TASK_FINISHED");
    let _second = Agent::registered_as(&scene.master, {
        let mut registration = peers::registration();
        registration.agent_info.hostname = "second".to_owned();
        registration
    })
    .await;
    let added = watch.wait_for("AGENT_ADDED").await;
    let added = &added["agent_added"]["agent"]["agent_info"];
    assert_eq!(added["hostname"], "second");
    let other = Framework::subscribed(&scene.master).await;
    let added = watch.wait_for("FRAMEWORK_ADDED").await;
    let added = &added["framework_added"]["framework"]["framework_info"];
    assert_eq!(added["id"]["value"], json!(other.id.value));
    let teardown = json!({ "type": "TEARDOWN",
        "teardown": { "framework_id": { "value": other.id.value } } });
    assert_eq!(call(&scene.master, "/api/v1", &teardown).await.0, 200);
    let removed = watch.wait_for("FRAMEWORK_REMOVED").await;
    let removed = &removed["framework_removed"]["framework_info"];
    assert_eq!(removed["id"]["value"], json!(other.id.value));
}

#[tokio::test]
async fn who_follows_hears_of_tasks_that_come_back_with_their_agent() {
    let dir = tempdir().expect("a directory");
    let quick = ["--agent-ping-timeout=200ms", "--max-agent-ping-timeouts=2"];
    let master = Master::with(dir.path(), &quick).await;
    let mut agent = Agent::registered(&master).await;
    let mut framework = Framework::subscribed(&master).await;
    let offer = framework.offers().await.remove(0);
    let spec = task("one", &offer, "cpus:1;mem:64");
    framework.accept(&[&offer], vec![spec]).await;
    let run = agent.run_task().await;
    let subscribe = r#"{"type":"SUBSCRIBE"}"#;
    let mut watch = Records::open(&master, "/api/v1", JSON, subscribe).await;
    let told = |event: &Value| event["task_updated"]["status"]["state"].clone();
    while told(&watch.wait_for("TASK_UPDATED").await) != "TASK_UNREACHABLE" {}
    while let Ok(Some(_)) = agent.message().await {}

    let mut register = peers::registration();
    register.agent_info.id = Some(agent.id.clone());
    register.tasks = vec![brought(&framework.id, &run, &agent)];
    register.frameworks = vec![run.framework_info.clone()];
    let _back = Agent::registered_as(&master, register).await;

    watch.wait_for("AGENT_ADDED").await;
    let added = watch.wait_for("TASK_ADDED").await;
    let added = &added["task_added"]["task"];
    assert_eq!(added["task_id"]["value"], "one");
    assert_eq!(added["state"], "TASK_RUNNING");
}

#[tokio::test]
async fn who_follows_hears_of_agents_that_go_down_with_their_machine_and_return() {
    let scene = scene().await;
    let master = &scene.master;
    let subscribe = r#"{"type":"SUBSCRIBE"}"#;
    let mut watch = Records::open(master, "/api/v1", JSON, subscribe).await;
    let machines = json!([{ "hostname": "127.0.0.2" }]);
    let window = json!({ "machine_ids": machines,
        "unavailability": { "start": { "nanoseconds": 4_000_000_000_000_000_000_i64 } } });
    for order in [
        json!({ "type": "UPDATE_MAINTENANCE_SCHEDULE",
            "update_maintenance_schedule": { "schedule": { "windows": [window] } } }),
        json!({ "type": "START_MAINTENANCE", "start_maintenance": { "machines": machines } }),
    ] {
        assert_eq!(call(master, "/api/v1", &order).await.0, 200, "{order}");
    }

    let updated = watch.wait_for("TASK_UPDATED").await;
    assert_eq!(updated["task_updated"]["state"], "TASK_GONE");
    let removed = watch.wait_for("AGENT_REMOVED").await;
    let id = json!(scene.agent.id.value);
    assert_eq!(removed["agent_removed"]["agent_id"]["value"], id);
    let stop = json!({ "type": "STOP_MAINTENANCE", "stop_maintenance": { "machines": machines } });
    assert_eq!(call(master, "/api/v1", &stop).await.0, 200);
    let mut register = peers::registration();
    register.agent_info.id = Some(scene.agent.id.clone());
    let _back = Agent::registered_as(master, register).await;
    let added = watch.wait_for("AGENT_ADDED").await;
    assert_eq!(
        added["agent_added"]["agent"]["agent_info"]["id"]["value"],
        id
    );
}

#[tokio::test]
async fn what_is_reserved_in_decimals_is_given_back_as_their_sum() {
    let scene = scene().await;
    let agent = json!({ "value": scene.agent.id.value });
    let mem = |value: f64| {
        json!([{ "name": "mem", "type": "SCALAR", "scalar": { "value": value },
            "reservations": [{ "type": "DYNAMIC", "role": "db" }] }])
    };
    for (value, shown) in [(10.4, 10.4), (10.4, 20.8), (33.333, 54.133)] {
        let order = json!({ "type": "RESERVE_RESOURCES",
            "reserve_resources": { "agent_id": agent, "resources": mem(value) } });
        let (status, text) = call(&scene.master, "/api/v1", &order).await;
        assert_eq!(status, 202, "{text}");
        let told = &scene.master.json("/slaves").await["slaves"][0];
        assert_eq!(told["reserved_resources"]["db"]["mem"], shown);
    }

    let order = json!({ "type": "UNRESERVE_RESOURCES",
        "unreserve_resources": { "agent_id": agent, "resources": mem(54.133) } });
    let (status, text) = call(&scene.master, "/api/v1", &order).await;

    assert_eq!(status, 202, "{text}");
    let told = &scene.master.json("/slaves").await["slaves"][0];
    assert_eq!(told["reserved_resources"], json!({}));
    assert_eq!(told["unreserved_resources"]["mem"], 1_024.0);
}

/// Disk kept for `db`, or a volume on it.
fn disk(megabytes: u64, volume: bool) -> Value {
    let mut disk = json!({ "name": "disk", "type": "SCALAR", "scalar": { "value": megabytes },
        "reservations": [{ "type": "DYNAMIC", "role": "db" }] });
    if volume {
        disk["disk"] = json!({ "persistence": { "id": "v" },
            "volume": { "container_path": "data", "mode": "RW" } });
    }
    disk
}

fn cpus(value: u32) -> Value {
    json!({ "name": "cpus", "type": "SCALAR", "scalar": { "value": value } })
}

fn set_quota(role: &str, guarantee: Value) -> Value {
    json!({ "type": "SET_QUOTA", "set_quota": { "quota_request": { "role": role, "guarantee": guarantee } } })
}

fn remove_quota(role: &str) -> Value {
    json!({ "type": "REMOVE_QUOTA", "remove_quota": { "role": role } })
}

#[expect(clippy::too_many_lines, reason = "a table")]
#[tokio::test]
async fn orders_are_carried_out_and_bad_ones_are_answered_in_words() {
    let scene = scene().await;
    let master = &scene.master;
    let agent = json!({ "value": scene.agent.id.value });
    let nobody = json!({ "value": "nobody" });
    let reserved = json!([{ "name": "cpus", "type": "SCALAR", "scalar": { "value": 1.0 },
        "reservations": [{ "type": "DYNAMIC", "role": "db" }] }]);
    let too_much = json!([{ "name": "cpus", "type": "SCALAR", "scalar": { "value": 9.0 },
        "reservations": [{ "type": "DYNAMIC", "role": "db" }] }]);
    for (order, status) in [
        (
            json!({ "type": "UPDATE_WEIGHTS", "update_weights": { "weight_infos": [{ "role": "web", "weight": 2 }] } }),
            200,
        ),
        (
            json!({ "type": "UPDATE_WEIGHTS", "update_weights": { "weight_infos": [{ "role": "web", "weight": -1 }] } }),
            400,
        ),
        (
            json!({ "type": "UPDATE_QUOTA", "update_quota": { "quota_configs": [{ "role": "web", "limits": { "cpus": { "value": 3 } } }] } }),
            200,
        ),
        (
            json!({ "type": "UPDATE_QUOTA", "update_quota": { "quota_configs": [{ "role": "one", "limits": { "cpus": { "value": 3 } } },
                { "role": "two", "guarantees": { "cpus": { "value": 2000 } } }] } }),
            400,
        ),
        (set_quota("one", json!([])), 400),
        (set_quota("one", json!([cpus(2), cpus(3)])), 400),
        (set_quota("one", json!([cpus(2000)])), 409),
        (set_quota("one", json!([cpus(1)])), 200),
        (set_quota("one", json!([cpus(2)])), 400),
        (remove_quota("one"), 200),
        (remove_quota("one"), 400),
        (
            json!({ "type": "RESERVE_RESOURCES", "reserve_resources": { "agent_id": agent, "resources": reserved } }),
            202,
        ),
        (
            json!({ "type": "RESERVE_RESOURCES", "reserve_resources": { "agent_id": agent, "resources": too_much } }),
            409,
        ),
        (
            json!({ "type": "RESERVE_RESOURCES", "reserve_resources": { "agent_id": agent, "resources": [] } }),
            400,
        ),
        (
            json!({ "type": "UNRESERVE_RESOURCES", "unreserve_resources": { "agent_id": agent, "resources": reserved } }),
            202,
        ),
        (
            json!({ "type": "RESERVE_RESOURCES", "reserve_resources": { "agent_id": agent, "resources": [disk(100, false)] } }),
            202,
        ),
        (
            json!({ "type": "CREATE_VOLUMES", "create_volumes": { "agent_id": agent, "volumes": [disk(50, true)] } }),
            202,
        ),
        (
            json!({ "type": "GROW_VOLUME", "grow_volume": { "agent_id": agent, "volume": disk(50, true), "addition": disk(50, false) } }),
            202,
        ),
        (
            json!({ "type": "GROW_VOLUME", "grow_volume": { "volume": disk(100, true), "addition": disk(50, false) } }),
            400,
        ),
        (
            json!({ "type": "GROW_VOLUME", "grow_volume": { "agent_id": agent, "volume": disk(100, true), "addition": disk(50, false) } }),
            409,
        ),
        (
            json!({ "type": "SHRINK_VOLUME", "shrink_volume": { "agent_id": agent, "volume": disk(100, true), "subtract": { "value": -1 } } }),
            400,
        ),
        (
            json!({ "type": "SHRINK_VOLUME", "shrink_volume": { "agent_id": agent, "volume": disk(100, true), "subtract": { "value": 40 } } }),
            202,
        ),
        (
            json!({ "type": "DESTROY_VOLUMES", "destroy_volumes": { "agent_id": agent, "volumes": [disk(60, true)] } }),
            202,
        ),
        (
            json!({ "type": "UPDATE_MAINTENANCE_SCHEDULE", "update_maintenance_schedule": { "schedule": {} } }),
            200,
        ),
        (
            json!({ "type": "START_MAINTENANCE", "start_maintenance": { "machines": [] } }),
            400,
        ),
        (
            json!({ "type": "DRAIN_AGENT", "drain_agent": { "agent_id": agent, "max_grace_period": { "seconds": -1 } } }),
            400,
        ),
        (
            json!({ "type": "DEACTIVATE_AGENT", "deactivate_agent": { "agent_id": agent } }),
            200,
        ),
        (
            json!({ "type": "REACTIVATE_AGENT", "reactivate_agent": { "agent_id": agent } }),
            200,
        ),
        (
            json!({ "type": "DRAIN_AGENT", "drain_agent": { "agent_id": agent, "max_grace_period": { "seconds": "60" } } }),
            200,
        ),
        (
            json!({ "type": "MARK_AGENT_GONE", "mark_agent_gone": { "agent_id": nobody } }),
            404,
        ),
        (
            json!({ "type": "TEARDOWN", "teardown": { "framework_id": nobody } }),
            400,
        ),
        (json!({ "type": "TEARDOWN" }), 400),
        (
            json!({ "type": "GROW_VOLUME", "grow_volume": { "volume": { "name": "disk", "type": "SCALAR" }, "addition": { "name": "disk", "type": "SCALAR" } } }),
            400,
        ),
        (
            json!({ "type": "SET_LOGGING_LEVEL", "set_logging_level": { "level": 1, "duration": { "nanoseconds": -5 } } }),
            400,
        ),
        (
            json!({ "type": "READ_FILE", "read_file": { "path": "/master/log", "offset": 0 } }),
            404,
        ),
        (json!({ "type": "UNKNOWN" }), 501),
    ] {
        let (got, text) = call(master, "/api/v1", &order).await;
        assert_eq!(got, status, "{order}: {text}");
        assert_eq!(text.is_empty(), status < 300, "{order}: {text}");
    }

    let weights = ask(master, &json!({ "type": "GET_WEIGHTS" })).await;
    let told = &weights["get_weights"]["weight_infos"];
    assert_eq!(told, &json!([{ "weight": 2.0, "role": "web" }]));
    let quota = ask(master, &json!({ "type": "GET_QUOTA" })).await;
    let configs = quota["get_quota"]["status"]["configs"].as_array();
    let configs = configs.expect("a list");
    assert_eq!(
        configs.len(),
        1,
        "of those refused nothing is kept: {quota}"
    );
    assert_eq!(configs[0]["limits"]["cpus"]["value"], 3.0);
    let agents = ask(master, &json!({ "type": "GET_AGENTS" })).await;
    let drained = &agents["get_agents"]["agents"][0]["drain_info"];
    assert_eq!(drained["state"], "DRAINING");
}

async fn text(master: &Master, path: &str) -> (u16, String) {
    let answer = master.get(path).await;
    let status = answer.status().as_u16();
    (status, answer.text().await.expect("a body"))
}

#[tokio::test]
async fn numbers_have_the_names_of_mesos() {
    let master = &scene().await.master;

    let metrics = master.json("/metrics/snapshot").await;
    for (name, value) in [
        ("master/elected", 1.0),
        ("master/tasks_running", 1.0),
        ("master/tasks_finished", 0.0),
        ("master/slaves_active", 1.0),
        ("master/frameworks_active", 1.0),
        ("master/cpus_used", 1.0),
        ("master/cpus_percent", 0.25),
        ("master/messages_register_framework", 1.0),
        ("master/messages_register_slave", 1.0),
        ("master/messages_launch_tasks", 1.0),
        ("master/messages_status_update", 1.0),
        ("master/messages_authenticate", 0.0),
        ("master/slave_removals/reason_unhealthy", 0.0),
        ("master/slave_shutdowns_scheduled", 0.0),
        ("master/operator_event_stream_subscribers", 0.0),
        ("allocator/mesos/resources/cpus/total", 4.0),
        ("registrar/queued_operations", 0.0),
        ("registrar/log/recovered", 1.0),
    ] {
        assert_eq!(metrics[name], json!(value), "{name}");
    }
    for name in [
        "system/cpus_total",
        "system/load_1min",
        "system/mem_total_bytes",
        "registrar/registry_size_bytes",
        "registrar/state_fetch_ms",
        "registrar/state_store_ms",
        "registrar/state_store_ms/count",
        "registrar/state_store_ms/p9999",
        "allocator/mesos/allocation_run_ms/max",
        "allocator/mesos/allocation_runs",
    ] {
        let above = metrics[name].as_f64().is_some_and(|value| value > 0.0);
        assert!(above || name.contains("load"), "{name}: {}", metrics[name]);
    }
}

#[tokio::test]
async fn a_master_has_no_files() {
    let master = &scene().await.master;

    let refused = text(master, "/files/download?path=/etc/passwd").await;
    let why = "the master shows no file /etc/passwd.\n".to_owned();
    assert_eq!(refused, (404, why));
    let bad = "Expecting 'path=value' in query.\n".to_owned();
    assert_eq!(text(master, "/master/files/read").await, (400, bad));
    assert_eq!(master.json("/files/debug").await, json!({}));
}

#[tokio::test]
async fn older_paths_are_read_as_tools_for_mesos_read_them() {
    let scene = scene().await;
    let master = &scene.master;
    let agent = scene.agent.id.value.as_str();

    let slaves = master.json(&format!("/slaves?slave_id={agent}")).await;
    let slave = &slaves["slaves"][0];
    assert_eq!(slave["id"], agent);
    let used = &slave["used_resources_full"][0];
    assert_eq!(used["role"], "*");
    assert_eq!(used["allocation_info"], json!({ "role": "web" }));
    assert_eq!(slave["version"], "1.11.0");
    assert_eq!(slave["capabilities"][0], "MULTI_ROLE");
    assert_eq!(master.json("/slaves?slave_id=x").await["slaves"], json!([]));
    let tasks = master
        .json("/master/tasks?limit=5&order=asc&task_id=one")
        .await;
    assert_eq!(tasks["tasks"][0]["state"], "TASK_RUNNING");
    let within = &tasks["tasks"][0]["statuses"][0]["container_status"];
    assert_eq!(within["container_id"]["value"], "in-one");
    assert_eq!(master.json("/tasks?offset=1").await["tasks"], json!([]));
    // Mesos takes a negative limit for no limit, and what is no number for nothing said.
    for asked in ["order=asc&limit=-1", "limit=all&offset=&order=up"] {
        let listed = master.json(&format!("/tasks?{asked}")).await;
        assert_eq!(listed["tasks"].as_array().map(Vec::len), Some(1), "{asked}");
    }
    let frameworks = master.json("/frameworks").await;
    assert_eq!(frameworks["frameworks"][0]["tasks"][0]["id"], "one");
    let summary = master.json("/state-summary").await;
    assert_eq!(summary["slaves"][0]["TASK_RUNNING"], 1);
    assert_eq!(summary["frameworks"][0]["slave_ids"], json!([agent]));
    assert_eq!(summary["frameworks"][0].get("tasks"), None);
    let version = master.json("/version").await;
    assert_eq!(version["version"], "1.11.0");
    assert!(version["build_time"].as_f64() > Some(0.0), "{version}");
    assert!(version["build_date"].is_string() && version["build_user"].is_string());
    assert_eq!(master.json("/flags").await["flags"]["cluster"], "mete");
    assert_eq!(
        text(master, "/logging/toggle").await,
        (200, "0\n".to_owned())
    );
    let (status, said) = text(master, "/master/logging/toggle?level=1").await;
    assert_eq!(status, 400, "{said}");
}

#[tokio::test]
async fn older_paths_have_longer_forms_and_are_scripts_where_that_is_asked_for() {
    let scene = scene().await;
    let master = &scene.master;

    for path in [
        "/state/",
        "/master/state",
        "/state/more",
        "//state",
        "/master//state-summary",
        "/system/stats.json",
        "/state.json",
        "/master/tasks.json",
    ] {
        assert_eq!(master.get(path).await.status(), 200, "{path}");
    }
    for path in ["/master.json", "/master", "/nothing"] {
        assert_eq!(master.get(path).await.status(), 404, "{path}");
    }
    let script = master
        .get("/state-summary?jsonp=angular.callbacks._0")
        .await;
    assert_eq!(script.headers()[CONTENT_TYPE], "text/javascript");
    let script = script.text().await.expect("a body");
    assert!(script.starts_with("angular.callbacks._0({") && script.ends_with("});"));
    assert_eq!(master.get("/state?jsonp=alert(1)").await.status(), 400);
}

#[tokio::test]
async fn the_leader_is_told_and_long_answers_are_packed() {
    let scene = scene().await;
    let client = http_client::plain().redirect(reqwest::redirect::Policy::none());
    let client = client.build().expect("a client");
    let get = |path: &str| {
        let request = client.request(Method::GET, format!("{}{path}", scene.master.url));
        request.header("accept-encoding", "gzip").send()
    };

    let redirect = get("/redirect").await.expect("an answer");
    let long = get("/state").await.expect("an answer");
    let short = get("/version").await.expect("an answer");

    assert_eq!(redirect.status(), 307);
    let place = scene.master.url.trim_start_matches("http:");
    assert_eq!(redirect.headers()["location"], place);
    assert_eq!(long.headers()["content-encoding"], "gzip");
    assert!(!short.headers().contains_key("content-encoding"));
}

#[tokio::test]
async fn forms_order_as_scripts_for_mesos_do() {
    let scene = scene().await;
    let master = &scene.master;
    let agent = scene.agent.id.value.as_str();
    let list = |value: f64| {
        json!([{ "name": "disk", "type": "SCALAR", "scalar": { "value": value },
            "role": "db", "reservation": { "principal": "ops" } }])
    };
    let form = |resources: &Value| {
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("slaveId", agent);
        form.append_pair("resources", &resources.to_string());
        form.finish()
    };
    let kind = [("content-type", "application/x-www-form-urlencoded")];
    for (path, body, status) in [
        ("/reserve", form(&list(100.0)), 202),
        ("/reserve", form(&list(1e6)), 409),
        ("/reserve", form(&json!({})), 400),
        ("/reserve", "slaveId=x".to_owned(), 400),
        ("/master/unreserve", form(&list(60.0)), 202),
    ] {
        let answer = post(master, path, &kind, body.clone()).await;
        let got = answer.status().as_u16();
        let text = answer.text().await.expect("a body");
        assert_eq!(got, status, "{path} {body}: {text}");
    }
    // What is listed as reserved can be given back as it is listed.
    let listed = master.json("/slaves").await;
    let listed = listed["slaves"][0]["reserved_resources_full"]["db"].clone();
    assert_eq!(listed[0]["role"], "db");
    assert_eq!(listed[0]["reservation"], json!({ "principal": "ops" }));
    for (path, body, status) in [
        ("/unreserve", form(&listed), 202),
        ("/teardown", "frameworkId=nobody".to_owned(), 400),
        (
            "/teardown",
            format!("frameworkId={}", scene.framework.id.value),
            200,
        ),
    ] {
        let answer = post(master, path, &[], body.clone()).await;
        let got = answer.status().as_u16();
        let text = answer.text().await.expect("a body");
        assert_eq!(got, status, "{path} {body}: {text}");
    }
    let state = master.state().await;
    assert_eq!(state["frameworks"], json!([]));
    assert_eq!(
        state["completed_frameworks"][0]["id"],
        json!(scene.framework.id.value)
    );
}

#[tokio::test]
async fn all_who_subscribe_at_the_same_moment_are_let_in() {
    let scene = scene().await;
    let headers = [("content-type", JSON), ("accept", JSON)];
    let come = (0..200).map(|_| {
        let body = json!({ "type": "SUBSCRIBE" }).to_string();
        post(&scene.master, "/api/v1", &headers, body)
    });

    for answer in futures::future::join_all(come).await {
        assert_eq!(answer.status(), 200);
        assert_eq!(Records::of(answer).event().await["type"], "SUBSCRIBED");
    }
}
