//! Frameworks over Mesos' v1 HTTP API: `POST /api/v1/scheduler`.

use mete_proto::json;
use mete_proto::mesos::v1 as mesos;
use mete_proto::mesos::v1::scheduler::{Call, Event, call, event};
use prost::Message as _;
use serde_json::{Value, json};
use tempfile::tempdir;

use crate::peers::{self, Agent, Framework, Master, framework_info};
use crate::v1::{self, JSON, PROTOBUF, Records, STREAM_ID, post};

const PATH: &str = "/api/v1/scheduler";

fn info() -> Value {
    serde_json::from_slice(&json::to_vec(&framework_info())).expect("JSON")
}

fn subscribe(info: &Value) -> Value {
    json!({ "type": "SUBSCRIBE", "subscribe": { "framework_info": info } })
}

/// A framework that is subscribed over HTTP.
struct Client<'a> {
    master: &'a Master,
    events: Records,
    id: String,
    stream: String,
}

impl<'a> Client<'a> {
    async fn subscribed(master: &'a Master) -> Self {
        Self::subscribed_as(master, &info()).await
    }

    async fn subscribed_as(master: &'a Master, info: &Value) -> Self {
        let mut call = subscribe(info);
        if let Some(id) = info.get("id") {
            call["framework_id"] = id.clone();
        }
        let mut events = Records::open(master, PATH, JSON, call.to_string()).await;
        let first = events.event().await;
        assert_eq!(first["type"], "SUBSCRIBED", "{first}");
        let id = &first["subscribed"]["framework_id"]["value"];
        Self {
            master,
            stream: events.stream_id(),
            events,
            id: id.as_str().expect("an id").to_owned(),
        }
    }

    /// A call of this framework; the status and the text.
    async fn call(&self, mut call: Value) -> (u16, String) {
        call["framework_id"] = json!({ "value": self.id });
        let headers = [("content-type", JSON), (STREAM_ID, self.stream.as_str())];
        let answer = post(self.master, PATH, &headers, call.to_string()).await;
        let status = answer.status().as_u16();
        if status == 202 {
            assert!(!answer.headers().contains_key("content-type"));
        }
        (status, answer.text().await.expect("a body"))
    }

    async fn offer(&mut self) -> Value {
        let offers = self.events.wait_for("OFFERS").await;
        offers["offers"]["offers"][0].clone()
    }

    async fn acknowledge_operation(&self, agent: &Agent, status: &Value) {
        let acknowledge = json!({ "agent_id": { "value": agent.id.value },
            "operation_id": status["operation_id"], "uuid": status["uuid"]["value"] });
        let call = json!({ "type": "ACKNOWLEDGE_OPERATION_STATUS",
            "acknowledge_operation_status": acknowledge });
        assert_eq!(self.call(call).await, (202, String::new()));
    }

    async fn launch(&self, offer: &Value, task: &Value) {
        let launch = json!({ "type": "LAUNCH", "launch": { "task_infos": [task] } });
        let accept = json!({ "offer_ids": [offer["id"]], "operations": [launch] });
        let call = json!({ "type": "ACCEPT", "accept": accept });
        assert_eq!(self.call(call).await, (202, String::new()));
    }
}

/// A task in the words of Mesos' own documentation.
fn task(offer: &Value) -> Value {
    json!({
        "name": "sleeper",
        "task_id": { "value": "one" },
        "agent_id": offer["agent_id"],
        "command": { "value": "sleep 60" },
        "resources": [
            { "name": "cpus", "type": "SCALAR", "scalar": { "value": "0.5" } },
            { "name": "mem", "type": "SCALAR", "scalar": { "value": 64 } },
        ],
    })
}

#[tokio::test]
async fn a_task_is_launched_told_of_and_acknowledged() {
    let dir = tempdir().expect("a directory");
    let master = Master::start(dir.path()).await;
    let mut agent = Agent::registered(&master).await;
    let mut client = Client::subscribed(&master).await;
    let offer = client.offer().await;
    assert_eq!(offer["allocation_info"], json!({ "role": "web" }));
    assert_eq!(offer["url"]["path"], "/slave(1)");

    client.launch(&offer, &task(&offer)).await;

    let run = agent.run_task().await;
    assert_eq!(run.task_info.task_id.value, "one");
    let framework = run.framework_info.id.clone().expect("an id");
    assert_eq!(framework.value, client.id);
    let status = agent.status("one", mesos::TaskState::TaskRunning, 7);
    agent.report(&framework, status).await;
    let update = client.events.wait_for("UPDATE").await;
    let status = &update["update"]["status"];
    assert_eq!(status["state"], "TASK_RUNNING");
    assert_eq!(status["uuid"], "BwcHBwcHBwcHBwcHBwcHBw==");
    let acknowledge = json!({
        "agent_id": status["agent_id"], "task_id": status["task_id"], "uuid": status["uuid"],
    });
    let call = json!({ "type": "ACKNOWLEDGE", "acknowledge": acknowledge });
    assert_eq!(client.call(call).await.0, 202);
    let peers::Message::Acknowledge(acknowledged) = agent.next().await else {
        panic!("acknowledged");
    };
    assert_eq!(acknowledged.uuid, vec![7; 16]);
    let reconcile = json!({ "type": "RECONCILE", "reconcile": { "tasks": [] } });
    assert_eq!(client.call(reconcile).await.0, 202);
    let update = client.events.wait_for("UPDATE").await;
    assert_eq!(
        update["update"]["status"]["reason"],
        "REASON_RECONCILIATION"
    );
    assert_eq!(update["update"]["status"].get("uuid"), None);
}

#[tokio::test]
async fn protobuf_is_said_and_heard_as_well() {
    let dir = tempdir().expect("a directory");
    let master = Master::start(dir.path()).await;
    let call = Call {
        subscribe: Some(Box::new(call::Subscribe {
            framework_info: framework_info(),
            ..call::Subscribe::default()
        })),
        ..peers::bare(call::Type::Subscribe)
    };
    // Also by a longer path, below the name of the process.
    let path = "/master/api/v1/scheduler/x";
    let mut events = Records::open(&master, path, PROTOBUF, call.encode_to_vec()).await;
    let mut event = async || {
        let record = events.next().await.expect("no end");
        Event::decode(record).expect("an event")
    };

    let (first, second) = (event().await, event().await);

    let subscribed = first.subscribed.expect("SUBSCRIBED first");
    assert_eq!(subscribed.heartbeat_interval_seconds, Some(15.0));
    assert_eq!(second.r#type(), event::Type::Heartbeat);
    let id = subscribed.framework_id;
    let suppress = Call {
        framework_id: Some(id),
        ..peers::bare(call::Type::Suppress)
    };
    let stream = events.stream_id();
    let headers = [("content-type", PROTOBUF), (STREAM_ID, stream.as_str())];
    let answer = post(&master, PATH, &headers, suppress.encode_to_vec()).await;
    assert_eq!(answer.status(), 202);
}

#[expect(clippy::too_many_lines, reason = "a table")]
#[tokio::test]
async fn what_is_wrong_with_a_request_is_told_in_the_order_of_mesos() {
    let dir = tempdir().expect("a directory");
    let master = Master::start(dir.path()).await;
    let client = Client::subscribed(&master).await;
    let overgrpc = Framework::subscribed(&master).await;
    let id = json!({ "value": client.id });
    let revive = json!({ "type": "REVIVE", "framework_id": id });
    let (stream, other) = (client.stream.as_str(), "another");
    let json = ("content-type", JSON);
    let mine = (STREAM_ID, stream);
    let with = |more: Value| {
        let mut call = revive.clone();
        let more = more.as_object().expect("fields").clone();
        call.as_object_mut().expect("fields").extend(more);
        call.to_string()
    };
    let subscribe = subscribe(&info());
    let twice = json!({ "type": "SUBSCRIBE", "framework_id": { "value": "x" }, "subscribe":
        { "framework_info": { "user": "u", "name": "n", "id": { "value": "y" } } } });
    let nameless =
        json!({ "type": "SUBSCRIBE", "subscribe": { "framework_info": { "user": "u" } } });
    for (headers, body, status, words) in [
        (vec![], revive.to_string(), 400, "Content-Type is missing"),
        (
            vec![("content-type", "application/json; charset=utf-8")],
            revive.to_string(),
            415,
            "charset",
        ),
        (vec![json, mine], "{".to_owned(), 400, "at byte 1"),
        (vec![json, mine], "{}".to_owned(), 400, "no type"),
        (
            vec![json],
            nameless.to_string(),
            400,
            "framework_info.name is missing",
        ),
        (vec![json], twice.to_string(), 400, "framework_id"),
        (
            vec![json, mine],
            subscribe.to_string(),
            400,
            "no Mesos-Stream-Id yet",
        ),
        (
            vec![json, ("accept", "text/html")],
            subscribe.to_string(),
            406,
            "text/html",
        ),
        (
            vec![json],
            revive.to_string(),
            400,
            "Mesos-Stream-Id is missing",
        ),
        (
            vec![json, (STREAM_ID, other)],
            revive.to_string(),
            400,
            "\"another\"",
        ),
        (
            vec![json, mine],
            with(json!({ "type": "ACCEPT" })),
            400,
            "accept",
        ),
        (
            vec![json, mine],
            with(json!({ "type": "UNKNOWN" })),
            501,
            "UNKNOWN",
        ),
        (
            vec![json, mine],
            with(json!({ "framework_id": { "value": "nobody" } })),
            400,
            "nobody",
        ),
        (
            vec![json, mine],
            with(json!({ "framework_id": { "value": overgrpc.id.value } })),
            403,
            "not subscribed over HTTP",
        ),
        (
            vec![json, mine],
            with(
                json!({ "type": "ACKNOWLEDGE", "acknowledge": { "agent_id": { "value": "a" },
                "task_id": { "value": "t" }, "uuid": "AAAA" } }),
            ),
            400,
            "16 bytes",
        ),
        (vec![json, mine], revive.to_string(), 202, ""),
    ] {
        let answer = post(&master, PATH, &headers, body.clone()).await;
        let got = answer.status().as_u16();
        let text = answer.text().await.expect("a body");
        assert_eq!(got, status, "{headers:?} {body}: {text}");
        assert!(text.contains(words), "{headers:?} {body}: {text}");
    }
    let answer = master.get(PATH).await;
    assert_eq!(answer.status(), 405);
    assert_eq!(answer.headers()["allow"], "POST");
}

#[tokio::test]
async fn a_subscription_that_makes_no_sense_is_a_stream_with_one_error() {
    let dir = tempdir().expect("a directory");
    let master = Master::start(dir.path()).await;
    let client = Client::subscribed(&master).await;
    let torn_down = json!({ "type": "TEARDOWN" });
    assert_eq!(client.call(torn_down).await.0, 202);
    let mut removed = info();
    removed["id"] = json!({ "value": client.id });
    let mut misnamed = info();
    misnamed["id"] = json!({ "value": "a/b" });
    let mut twice = info();
    twice["roles"] = json!(["web", "web"]);
    for (info, words) in [
        (removed, "Framework has been removed"),
        (misnamed, "slash"),
        (twice, "twice"),
    ] {
        let mut call = subscribe(&info);
        if let Some(id) = info.get("id") {
            call["framework_id"] = id.clone();
        }
        let mut events = Records::open(&master, PATH, JSON, call.to_string()).await;

        let event = events.event().await;

        assert_eq!(event["type"], "ERROR", "{event}");
        let said = event["error"]["message"].as_str().expect("words");
        assert!(said.contains(words), "{said}");
        assert_eq!(events.next().await, None);
    }
}

#[tokio::test]
async fn a_framework_may_come_without_roles_and_name_them_later() {
    let dir = tempdir().expect("a directory");
    let master = Master::start(dir.path()).await;
    let _agent = Agent::registered(&master).await;
    let mut later = info();
    later["roles"] = json!([]);
    later["capabilities"] = json!([{ "type": "MULTI_ROLE" }]);
    let mut client = Client::subscribed_as(&master, &later).await;

    (later["roles"], later["id"]) = (json!(["web"]), json!({ "value": client.id }));
    let update = json!({ "framework_info": later });
    let update = json!({ "type": "UPDATE_FRAMEWORK", "update_framework": update });
    let (status, said) = client.call(update).await;

    assert_eq!(status, 200, "{said}");
    assert_eq!(client.offer().await["allocation_info"]["role"], "web");
}

#[tokio::test]
async fn a_task_of_an_impossible_name_is_answered_and_the_others_are_launched() {
    let dir = tempdir().expect("a directory");
    let master = Master::start(dir.path()).await;
    let mut agent = Agent::registered(&master).await;
    let mut client = Client::subscribed(&master).await;
    let offer = client.offer().await;
    let mut bad = task(&offer);
    bad["task_id"] = json!({ "value": "x/y" });
    let launch = json!({ "task_infos": [bad, task(&offer)] });
    let operations = json!([{ "type": "LAUNCH", "launch": launch }]);
    let accept = json!({ "offer_ids": [offer["id"]], "operations": operations });

    let (status, said) = client
        .call(json!({ "type": "ACCEPT", "accept": accept }))
        .await;

    assert_eq!(status, 202, "{said}");
    let told = &client.events.wait_for("UPDATE").await["update"]["status"];
    assert_eq!(told["task_id"]["value"], "x/y");
    assert_eq!(told["state"], "TASK_ERROR");
    assert_eq!(told["reason"], "REASON_TASK_INVALID");
    assert_eq!(told["source"], "SOURCE_MASTER");
    assert!(told["message"].as_str().expect("words").contains("slash"));
    assert_eq!(agent.run_task().await.task_info.task_id.value, "one");
}

#[tokio::test]
async fn a_second_subscription_takes_over_and_the_first_id_is_void() {
    let dir = tempdir().expect("a directory");
    let master = Master::start(dir.path()).await;
    let mut first = Client::subscribed(&master).await;
    let mut again = info();
    again["id"] = json!({ "value": first.id });

    let second = Client::subscribed_as(&master, &again).await;

    assert_eq!(second.id, first.id);
    let last = first.events.wait_for("ERROR").await;
    assert_eq!(last["error"]["message"], "Framework failed over");
    assert_eq!(first.events.next().await, None);
    let revive = json!({ "type": "REVIVE" });
    assert_eq!(first.call(revive.clone()).await.0, 400);
    assert_eq!(second.call(revive).await.0, 202);
}

#[tokio::test]
async fn who_has_the_head_of_its_subscription_may_call_at_once() {
    let dir = tempdir().expect("a directory");
    let master = Master::start(dir.path()).await;
    let first = Client::subscribed(&master).await;
    let mut again = info();
    again["id"] = json!({ "value": first.id });
    let mut call = subscribe(&again);
    call["framework_id"] = again["id"].clone();
    let revive = json!({ "type": "REVIVE", "framework_id": again["id"] });

    for _ in 0..50 {
        let events = Records::open(&master, PATH, JSON, call.to_string()).await;
        let stream = events.stream_id();
        let headers = [("content-type", JSON), (STREAM_ID, stream.as_str())];
        let answer = post(&master, PATH, &headers, revive.to_string()).await;
        let status = answer.status().as_u16();
        assert_eq!(status, 202, "{}", answer.text().await.expect("a body"));
    }
}

#[tokio::test]
async fn a_stream_that_nobody_reads_any_more_is_a_framework_that_is_away() {
    let dir = tempdir().expect("a directory");
    let master = Master::start(dir.path()).await;
    let mut watch = Records::open(&master, "/api/v1", JSON, r#"{"type":"SUBSCRIBE"}"#).await;
    watch.wait_for("SUBSCRIBED").await;
    let client = Client::subscribed(&master).await;
    watch.wait_for("FRAMEWORK_ADDED").await;
    let id = client.id.clone();
    drop(client);

    let updated = watch.wait_for("FRAMEWORK_UPDATED").await;

    let framework = &updated["framework_updated"]["framework"];
    assert_eq!(framework["framework_info"]["id"]["value"], json!(id));
    assert_eq!(framework["connected"], false);
}

#[tokio::test]
async fn a_framework_changes_what_it_says_of_itself_all_or_nothing() {
    let dir = tempdir().expect("a directory");
    let master = Master::start(dir.path()).await;
    let client = Client::subscribed(&master).await;
    let update = |field: &str, value: Value| {
        let mut info = info();
        info["id"] = json!({ "value": client.id });
        info[field] = value;
        json!({ "type": "UPDATE_FRAMEWORK", "update_framework": { "framework_info": info } })
    };

    let done = client.call(update("name", json!("renamed"))).await;
    let refused = client.call(update("user", json!("nobody"))).await;

    assert_eq!(done, (200, String::new()));
    assert_eq!(refused.0, 400, "{}", refused.1);
    assert!(refused.1.contains("user of framework"), "{}", refused.1);
    let told = v1::ask(&master, &json!({ "type": "GET_FRAMEWORKS" })).await;
    let framework = &told["get_frameworks"]["frameworks"][0];
    assert_eq!(framework["framework_info"]["name"], "renamed");
}

#[tokio::test]
async fn offer_constraints_are_shown_as_they_were_said() {
    let dir = tempdir().expect("a directory");
    let master = Master::start(dir.path()).await;
    let constraint = |selector: Value, predicate: Value| json!({ "attribute_constraints": [{ "selector": selector, "predicate": predicate }] });
    let rack = json!({ "attribute_name": "rack" });
    let groups = json!([
        constraint(rack.clone(), json!({ "exists": {} })),
        constraint(rack.clone(), json!({ "not_exists": {} })),
        constraint(rack.clone(), json!({ "text_equals": { "value": "r1" } })),
        constraint(
            rack.clone(),
            json!({ "text_not_equals": { "value": "r2" } })
        ),
        constraint(
            json!({ "pseudoattribute_type": "HOSTNAME" }),
            json!({ "text_matches": { "regex": "a|b" } })
        ),
        constraint(
            json!({ "pseudoattribute_type": "ZONE" }),
            json!({ "text_not_matches": { "regex": "z.*" } })
        ),
        constraint(
            json!({ "pseudoattribute_type": "REGION" }),
            json!({ "exists": {} })
        ),
    ]);
    let constraints = json!({ "role_constraints": { "web": { "groups": groups } } });
    let mut call = subscribe(&info());
    call["subscribe"]["offer_constraints"] = constraints.clone();
    let mut events = Records::open(&master, PATH, JSON, call.to_string()).await;
    assert_eq!(events.event().await["type"], "SUBSCRIBED");

    let told = v1::ask(&master, &json!({ "type": "GET_FRAMEWORKS" })).await;

    let framework = &told["get_frameworks"]["frameworks"][0];
    assert_eq!(framework["offer_constraints"], constraints);
}

#[tokio::test]
async fn operations_are_reconciled_by_where_their_agents_are() {
    let dir = tempdir().expect("a directory");
    let master = Master::start(dir.path()).await;
    let agent = Agent::registered(&master).await;
    let mut client = Client::subscribed(&master).await;
    let operations = json!([
        { "operation_id": { "value": "here" }, "agent_id": { "value": agent.id.value } },
        { "operation_id": { "value": "nowhere" } },
    ]);
    let call = json!({ "type": "RECONCILE_OPERATIONS",
        "reconcile_operations": { "operations": operations } });

    assert_eq!(client.call(call).await.0, 202);

    for id in ["here", "nowhere"] {
        let event = client.events.wait_for("UPDATE_OPERATION_STATUS").await;
        let status = &event["update_operation_status"]["status"];
        assert_eq!(status["operation_id"]["value"], id);
        assert_eq!(status["state"], "OPERATION_UNKNOWN");
    }
}

/// Disk for `web`, with what makes it special.
fn disk(megabytes: u64, volume: bool) -> Value {
    let mut disk = json!({ "name": "disk", "type": "SCALAR", "scalar": { "value": megabytes },
        "reservations": [{ "type": "DYNAMIC", "role": "web" }] });
    if volume {
        disk["disk"] = json!({ "persistence": { "id": "v" },
            "volume": { "container_path": "data", "mode": "RW" } });
    }
    disk
}

/// A volume is made, grows, shrinks, and cannot shrink any more.
fn resizes() -> Value {
    json!([
        { "type": "RESERVE", "reserve": { "resources": [disk(100, false)] } },
        { "type": "CREATE", "create": { "volumes": [disk(50, true)] } },
        { "type": "GROW_VOLUME", "id": { "value": "grow" },
            "grow_volume": { "volume": disk(50, true), "addition": disk(50, false) } },
        { "type": "SHRINK_VOLUME", "id": { "value": "shrink" },
            "shrink_volume": { "volume": disk(100, true), "subtract": { "value": 0.5 } } },
        { "type": "SHRINK_VOLUME", "id": { "value": "too much" },
            "shrink_volume": { "volume": disk(100, true), "subtract": { "value": 100 } } },
    ])
}

#[tokio::test]
async fn a_named_operation_is_told_until_it_is_acknowledged() {
    let dir = tempdir().expect("a directory");
    let master = Master::start(dir.path()).await;
    let agent = Agent::registered(&master).await;
    let mut client = Client::subscribed(&master).await;
    let offer = client.offer().await;
    let operations = resizes();
    let accept = json!({ "offer_ids": [offer["id"]], "operations": operations });

    let accepted = client
        .call(json!({ "type": "ACCEPT", "accept": accept }))
        .await;

    assert_eq!(accepted, (202, String::new()));
    let mut statuses = Vec::new();
    for _ in 0..3 {
        let event = client.events.wait_for("UPDATE_OPERATION_STATUS").await;
        statuses.push(event["update_operation_status"]["status"].clone());
    }
    let [grown, shrunk, refused] = &statuses[..] else {
        unreachable!("three");
    };
    assert_eq!(grown["state"], "OPERATION_FINISHED");
    assert_eq!(grown["converted_resources"][0]["scalar"]["value"], 100.0);
    assert_eq!(shrunk["operation_id"]["value"], "shrink");
    let left = shrunk["converted_resources"].as_array().expect("a list");
    let left: Vec<_> = left.iter().map(|one| &one["scalar"]["value"]).collect();
    assert_eq!(left, [&json!(0.5), &json!(99.5)]);
    assert_eq!(refused["state"], "OPERATION_ERROR");
    assert_eq!(refused.get("uuid"), None, "nothing to acknowledge");
    let get = json!({ "type": "GET_OPERATIONS" });
    let told = v1::ask(&master, &get).await;
    let told = told["get_operations"]["operations"]
        .as_array()
        .expect("a list")
        .clone();
    assert_eq!(told.len(), 2, "{told:?}");
    assert_eq!(
        told[0]["info"]["grow_volume"]["volume"],
        disk_told(50.0, true)
    );
    assert_eq!(
        told[0]["info"]["grow_volume"]["addition"],
        disk_told(50.0, false)
    );
    assert_eq!(told[1]["info"]["shrink_volume"]["subtract"]["value"], 0.5);
    assert_eq!(told[1]["latest_status"], *shrunk);

    for status in [grown, shrunk] {
        client.acknowledge_operation(&agent, status).await;
    }
    let call = json!({ "type": "RECONCILE_OPERATIONS", "reconcile_operations":
        { "operations": [{ "operation_id": shrunk["operation_id"] }] } });
    assert_eq!(client.call(call).await.0, 202);
    let event = client.events.wait_for("UPDATE_OPERATION_STATUS").await;
    let status = &event["update_operation_status"]["status"];
    assert_eq!(status["state"], "OPERATION_UNKNOWN");
    let told = v1::ask(&master, &get).await;
    assert_eq!(told["get_operations"], json!({}));
}

/// As the master tells it.
fn disk_told(megabytes: f64, volume: bool) -> Value {
    let mut told = disk(0, volume);
    told["scalar"]["value"] = json!(megabytes);
    told
}

/// Basic of `name` with `secret`.
fn basic(name: &str, secret: &str) -> String {
    let client = mete_daemon::http_client::plain().build().expect("a client");
    let request = client.get("http://x").basic_auth(name, Some(secret));
    let request = request.build().expect("a request");
    let shown = request.headers()["authorization"].to_str();
    shown.expect("text").to_owned()
}

#[tokio::test]
async fn principals_are_who_they_say_and_speak_for_themselves() {
    let dir = tempdir().expect("a directory");
    let file = dir.path().join("credentials");
    let secrets = r#"{"credentials":[{"principal":"ops","secret":"0123456789abcdef"}]}"#;
    std::fs::write(&file, secrets).expect("written");
    let owner = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(&file, owner).expect("set");
    let option = format!("--credentials={}", file.display());
    let master = Master::with(dir.path(), &[&option]).await;
    let with = |principal: &str| {
        let mut info = info();
        info["principal"] = json!(principal);
        subscribe(&info).to_string()
    };
    let (good, bad) = (
        basic("ops", "0123456789abcdef"),
        basic("ops", "0123456789abcdeX"),
    );
    for (shown, principal, status) in [
        (bad.as_str(), "ops", 401),
        (good.as_str(), "marathon", 400),
        (good.as_str(), "ops", 200),
        ("Bearer 0123456789abcdef", "ops", 200),
    ] {
        let headers = [("content-type", JSON), ("authorization", shown)];
        let answer = post(&master, PATH, &headers, with(principal)).await;
        assert_eq!(answer.status(), status, "{shown} {principal}");
        if status == 401 {
            let challenge = &answer.headers()["www-authenticate"];
            assert!(
                challenge
                    .to_str()
                    .expect("text")
                    .starts_with("Basic realm=")
            );
        }
    }
    // Nobody reserves in another's name, nor makes volumes.
    let resource = json!({ "name": "disk", "type": "SCALAR", "scalar": { "value": 1 },
        "reservations": [{ "type": "DYNAMIC", "role": "db", "principal": "marathon" }] });
    let mut volume = resource.clone();
    volume["reservations"][0]["principal"] = json!("ops");
    volume["disk"] = json!({ "persistence": { "id": "v", "principal": "marathon" },
        "volume": { "container_path": "data", "mode": "RW" } });
    let agent = json!({ "value": "none" });
    let reserve = json!({ "agent_id": agent, "resources": [resource] });
    let create = json!({ "agent_id": agent, "volumes": [volume] });
    for call in [
        json!({ "type": "RESERVE_RESOURCES", "reserve_resources": reserve }),
        json!({ "type": "CREATE_VOLUMES", "create_volumes": create }),
    ] {
        let headers = [("content-type", JSON), ("authorization", good.as_str())];
        let answer = post(&master, "/api/v1", &headers, call.to_string()).await;
        assert_eq!(answer.status(), 400);
        let why = answer.text().await.expect("text");
        assert!(why.contains("is marathon"), "{why}");
    }
    assert_eq!(master.get("/state").await.status(), 401);
    for open in ["/health", "/version"] {
        assert_eq!(master.get(open).await.status(), 200, "{open}");
    }
}

#[tokio::test]
async fn a_framework_of_one_principal_takes_no_calls_of_another() {
    let dir = tempdir().expect("a directory");
    let file = dir.path().join("credentials");
    let secrets = r#"{"credentials":[{"principal":"alice","secret":"0123456789abcdef"},
        {"principal":"bob","secret":"fedcba9876543210"}]}"#;
    std::fs::write(&file, secrets).expect("written");
    let owner = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(&file, owner).expect("set");
    let option = format!("--credentials={}", file.display());
    let master = Master::with(dir.path(), &[&option]).await;
    let alice = basic("alice", "0123456789abcdef");
    let bob = basic("bob", "fedcba9876543210");
    let say = async |who: &str, stream: &str, call: &Value| {
        let mut headers = vec![("content-type", JSON), ("authorization", who)];
        if !stream.is_empty() {
            headers.push((STREAM_ID, stream));
        }
        post(&master, PATH, &headers, call.to_string()).await
    };
    let mut info = info();
    info.as_object_mut().expect("an object").remove("principal");
    info["failover_timeout"] = json!(60);

    let mut subscribed = Records::of(say(&alice, "", &subscribe(&info)).await);
    let stream = subscribed.stream_id();
    let id = subscribed.event().await["subscribed"]["framework_id"].clone();
    let revive = json!({ "type": "REVIVE", "framework_id": id });

    assert_eq!(say(&alice, &stream, &revive).await.status(), 202);
    let refused = say(&bob, &stream, &revive).await;
    assert_eq!(refused.status(), 400);
    let why = refused.text().await.expect("text");
    assert!(why.contains("bob") && why.contains("alice"), "{why}");

    // Nor can bob take it over, whether or not he names a principal.
    info["id"] = id.clone();
    let mut takes_over = subscribe(&info);
    takes_over["framework_id"] = id.clone();
    let mut refused = Records::of(say(&bob, "", &takes_over).await);
    assert_eq!(refused.event().await["type"], "ERROR");
    // What alice says later goes on without naming one, too.
    let update = json!({ "type": "UPDATE_FRAMEWORK", "framework_id": id,
        "update_framework": { "framework_info": info } });
    assert_eq!(say(&alice, &stream, &update).await.status(), 200);
}

#[tokio::test]
async fn a_reconciliation_longer_than_a_stream_holds_is_told_in_full() {
    const TASKS: usize = 140_000;
    let dir = tempdir().expect("a directory");
    let master = Master::start(dir.path()).await;
    let mut client = Client::subscribed(&master).await;
    let tasks: Vec<Value> = (0..TASKS)
        .map(|at| json!({ "task_id": { "value": format!("t{at}") } }))
        .collect();

    let call = json!({ "type": "RECONCILE", "reconcile": { "tasks": tasks } });
    assert_eq!(client.call(call).await, (202, String::new()));

    for at in 0..TASKS {
        let update = client.events.wait_for("UPDATE").await;
        let task = &update["update"]["status"]["task_id"]["value"];
        assert_eq!(*task, json!(format!("t{at}")));
    }
}

#[tokio::test]
async fn the_second_record_is_a_heartbeat_whatever_waits_for_the_framework() {
    let dir = tempdir().expect("a directory");
    let master = Master::start(dir.path()).await;
    let _agent = Agent::registered(&master).await;

    let mut records = Records::open(&master, PATH, JSON, subscribe(&info()).to_string()).await;

    let mut next = async || -> Value {
        let record = records.next().await.expect("a record");
        serde_json::from_slice(&record).expect("JSON")
    };
    for kind in ["SUBSCRIBED", "HEARTBEAT", "OFFERS"] {
        assert_eq!(next().await["type"], kind);
    }
}

#[tokio::test]
async fn a_framework_says_in_both_places_who_it_is_and_keeps_its_checkpoint() {
    let dir = tempdir().expect("a directory");
    let master = Master::start(dir.path()).await;
    let client = Client::subscribed(&master).await;
    let id = json!({ "value": client.id });
    let mut with_id = info();
    with_id["id"] = id.clone();

    let headers = [("content-type", JSON)];
    let mut outside = subscribe(&info());
    outside["framework_id"] = id.clone();
    for call in [outside, subscribe(&with_id)] {
        let answer = post(&master, PATH, &headers, call.to_string()).await;
        assert_eq!(answer.status(), 400, "{call}");
    }

    let update = |info: &Value| json!({ "type": "UPDATE_FRAMEWORK", "update_framework": { "framework_info": info } });
    let (mut other, mut checkpoint) = (with_id.clone(), with_id.clone());
    other["id"] = json!({ "value": "other" });
    checkpoint["checkpoint"] = json!(true);
    for (info, status) in [
        (&info(), 400),
        (&other, 400),
        (&checkpoint, 400),
        (&with_id, 200),
    ] {
        let (got, why) = client.call(update(info)).await;
        assert_eq!(got, status, "{info}: {why}");
    }
}

#[tokio::test]
async fn a_framework_is_gone_when_its_teardown_is_answered() {
    let dir = tempdir().expect("a directory");
    let master = Master::start(dir.path()).await;
    let client = Client::subscribed(&master).await;

    assert_eq!(client.call(json!({ "type": "TEARDOWN" })).await.0, 202);

    let state = master.state().await;
    assert_eq!(state["frameworks"], json!([]));
}
