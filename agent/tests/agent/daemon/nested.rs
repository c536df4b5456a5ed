//! Sessions over HTTP, by Mesos' calls.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mete_model::TaskState;
use mete_proto::mesos::v1::agent;
use mete_proto::{json as proto_json, recordio};
use prost::Message as _;
use reqwest::{Response, StatusCode};
use serde_json::{Value, json};

use super::master::{Master, task};
use super::world::{Scene, Work, json as get_json};
use crate::support::soon;

/// Somebody who calls one agent.
pub(super) struct Caller {
    http: reqwest::Client,
    url: String,
}

impl Caller {
    pub(super) fn of(port: i32) -> Self {
        Self {
            http: mete_daemon::http_client::plain().build().unwrap(),
            url: format!("http://127.0.0.1:{port}/api/v1"),
        }
    }

    pub(super) async fn call(&self, call: &Value) -> Response {
        soon(self.http.post(&self.url).json(call).send())
            .await
            .unwrap()
    }

    /// Input in records.
    pub(super) async fn input(&self, records: &[Value]) -> StatusCode {
        let records = records.iter().map(|record| {
            let call =
                json!({ "type": "ATTACH_CONTAINER_INPUT", "attach_container_input": record });
            let text = call.to_string();
            format!("{}\n{text}", text.len())
        });
        let post = self
            .http
            .post(&self.url)
            .header("Content-Type", "application/recordio")
            .header("Message-Content-Type", "application/json")
            .body(records.collect::<String>());
        soon(post.send()).await.unwrap().status()
    }
}

pub(super) fn launch(id: &Value, line: &str, container: &Value) -> Value {
    json!({
        "type": "LAUNCH_NESTED_CONTAINER_SESSION",
        "launch_nested_container_session": {
            "container_id": id,
            "command": { "value": line, "environment": { "variables": [{ "name": "COLOUR", "value": "red" }] } },
            "container": container,
        },
    })
}

/// What the records of an answer say on a stream.
pub(super) async fn said(answer: Response, stream: &str) -> String {
    let text = soon(answer.text()).await.unwrap();
    let (mut rest, mut all) = (text.as_str(), Vec::new());
    while let Some((length, more)) = rest.split_once('\n') {
        let (record, more) = more.split_at(length.parse().unwrap());
        rest = more;
        let record: Value = serde_json::from_str(record).unwrap();
        assert_eq!(record["type"], "DATA", "{record}");
        if record["data"]["type"] == stream {
            all.extend(
                STANDARD
                    .decode(record["data"]["data"].as_str().unwrap())
                    .unwrap(),
            );
        }
    }
    String::from_utf8(all).unwrap()
}

pub(super) fn data(text: &str) -> Value {
    let data = STANDARD.encode(text);
    json!({ "type": "PROCESS_IO", "process_io": { "type": "DATA", "data": { "type": "STDIN", "data": data } } })
}

/// The container of the one task of an agent.
pub(super) async fn container(port: i32) -> Value {
    let (_, tasks) = get_json(port, "/v1/tasks", &[]).await;
    json!({ "value": tasks["tasks"][0]["container_id"] })
}

#[tokio::test]
async fn a_session_is_a_nested_container_with_input_output_and_an_end() {
    let scene = Scene::sleeping().await;
    let port = scene.port;
    let parent = container(port).await;
    let caller = Caller::of(port);
    let one = json!({ "value": "one", "parent": parent });
    let wait = |id: &Value| json!({ "type": "WAIT_NESTED_CONTAINER", "wait_nested_container": { "container_id": id } });

    let line = "echo $COLOUR; cat; echo bad >&2; exit 7";
    let output = caller.call(&launch(&one, line, &Value::Null)).await;
    assert_eq!(output.status(), StatusCode::OK);
    assert_eq!(output.headers()["content-type"], "application/recordio");
    let again = caller.call(&launch(&one, "true", &Value::Null)).await;
    assert_eq!(again.status(), StatusCode::CONFLICT);
    let named = json!({ "type": "CONTAINER_ID", "container_id": one });
    let taken = caller.input(&[named, data("typed\n"), data("")]).await;
    assert_eq!(taken, StatusCode::OK);

    assert_eq!(said(output, "STDOUT").await, "red\ntyped\n");
    let ended: Value = caller.call(&wait(&one)).await.json().await.unwrap();
    assert_eq!(ended["wait_nested_container"]["exit_status"], 7 << 8);

    let two = json!({ "value": "two", "parent": parent });
    let terminal =
        json!({ "type": "MESOS", "tty_info": { "window_size": { "rows": 33, "columns": 77 } } });
    let output = caller.call(&launch(&two, "stty size", &terminal)).await;
    assert_eq!(said(output, "STDOUT").await, "33 77\r\n");
    let none = json!({ "value": "none", "parent": parent });
    let terminal =
        json!({ "type": "MESOS", "tty_info": { "window_size": { "rows": 0, "columns": 0 } } });
    let output = caller.call(&launch(&none, "stty size", &terminal)).await;
    assert_eq!(said(output, "STDOUT").await, "24 80\r\n");
    let three = json!({ "value": "three", "parent": parent });
    let output = caller
        .call(&launch(&three, "exec sleep 1000", &Value::Null))
        .await;
    let kill = json!({ "type": "KILL_NESTED_CONTAINER", "kill_nested_container": { "container_id": three, "signal": 15 } });
    assert_eq!(caller.call(&kill).await.status(), StatusCode::OK);
    assert_eq!(said(output, "STDOUT").await, "");
    let ended: Value = caller.call(&wait(&three)).await.json().await.unwrap();
    assert_eq!(ended["wait_nested_container"]["exit_status"], 15);
    assert_eq!(caller.call(&kill).await.status(), StatusCode::NOT_FOUND);
    let nobody = json!({ "value": "nobody", "parent": parent });
    assert_eq!(
        caller.call(&wait(&nobody)).await.status(),
        StatusCode::NOT_FOUND
    );
}

#[tokio::test]
async fn a_nested_container_runs_with_nobody_listening_until_it_ends_and_is_forgotten_when_removed()
{
    let scene = Scene::sleeping().await;
    let port = scene.port;
    let parent = container(port).await;
    let caller = Caller::of(port);
    let one = json!({ "value": "one", "parent": parent });
    let call = |kind: &str, more: Value| {
        let mut part = json!({ "container_id": one });
        let all = part.as_object_mut().unwrap();
        all.extend(more.as_object().unwrap().clone());
        json!({ "type": kind, kind.to_lowercase(): part })
    };
    let status = async |kind: &str, more: Value| {
        let answer = caller.call(&call(kind, more)).await;
        answer.status().as_u16()
    };

    let line = json!({ "command": { "value": "echo said; echo done > out; exec sleep 1000" } });
    assert_eq!(status("LAUNCH_NESTED_CONTAINER", line.clone()).await, 200);
    assert_eq!(status("LAUNCH_CONTAINER", line.clone()).await, 202);
    scene.work.said("t", "out").await;
    let list = json!({ "type": "GET_CONTAINERS", "get_containers": { "show_nested": true } });
    let listed: Value = caller.call(&list).await.json().await.unwrap();
    let listed = listed["get_containers"]["containers"].as_array().cloned();
    let listed = listed.unwrap_or_default();
    assert!(
        listed.iter().any(|c| c["container_id"] == one),
        "{listed:?}"
    );
    assert_eq!(status("REMOVE_CONTAINER", json!({})).await, 409);
    assert_eq!(status("KILL_CONTAINER", json!({})).await, 200);
    let ended = caller.call(&call("WAIT_CONTAINER", json!({}))).await;
    let ended: Value = ended.json().await.unwrap();
    assert_eq!(ended["wait_container"]["exit_status"], 9);
    assert_eq!(status("LAUNCH_CONTAINER", line.clone()).await, 409);
    assert_eq!(status("REMOVE_NESTED_CONTAINER", json!({})).await, 200);
    assert_eq!(status("WAIT_CONTAINER", json!({})).await, 404);
    assert_eq!(status("REMOVE_CONTAINER", json!({})).await, 200);

    assert_eq!(status("LAUNCH_CONTAINER", line.clone()).await, 200);
    let alone = json!({ "type": "LAUNCH_CONTAINER", "launch_container":
        { "container_id": { "value": "alone" }, "command": { "value": "true" } } });
    assert_eq!(caller.call(&alone).await.status(), StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_container_below_a_nested_one_runs_in_the_same_task_and_ends_with_it() {
    let scene = Scene::sleeping().await;
    let parent = container(scene.port).await;
    let caller = Caller::of(scene.port);
    let one = json!({ "value": "one", "parent": parent });
    let two = json!({ "value": "two", "parent": one });
    let call = async |kind: &str, id: &Value, line: &str| {
        let part = json!({ "container_id": id, "command": { "value": line } });
        let call = json!({ "type": kind, kind.to_lowercase(): part });
        caller.call(&call).await
    };

    let early = call("LAUNCH_NESTED_CONTAINER", &two, "true").await;
    assert_eq!(early.status(), StatusCode::NOT_FOUND, "there is no parent");
    for (id, line) in [
        (&one, "exec sleep 1000"),
        (&two, "echo > up; exec sleep 1000"),
    ] {
        let launched = call("LAUNCH_NESTED_CONTAINER", id, line).await;
        assert_eq!(launched.status(), StatusCode::OK);
    }
    scene.work.said("t", "up").await;
    let list = json!({ "type": "GET_CONTAINERS", "get_containers": { "show_nested": true } });
    let listed: Value = caller.call(&list).await.json().await.unwrap();
    let listed = listed["get_containers"]["containers"].as_array().cloned();
    let ids: Vec<Value> = listed
        .unwrap()
        .iter()
        .map(|c| c["container_id"].clone())
        .collect();
    assert!(ids.contains(&one) && ids.contains(&two), "{ids:?}");

    let killed = call("KILL_NESTED_CONTAINER", &one, "").await;
    assert_eq!(killed.status(), StatusCode::OK);
    let ended = call("WAIT_NESTED_CONTAINER", &two, "").await;
    let ended: Value = ended.json().await.unwrap();
    assert_eq!(ended["wait_nested_container"]["exit_status"], 9);
}

#[tokio::test]
async fn what_a_task_prints_from_now_on_is_told_until_it_ends() {
    let mut master = Master::start().await;
    let work = Work::new();
    let _agent = work.start(master.address, &[]);
    let (mut link, register) = master.admit().await;
    let port = register.agent_info.port();
    let wait = "while [ ! -e go ]; do sleep 0.02; done";
    let line = format!("echo before; {wait}; echo after; echo bad >&2; exit 0");
    link.run(&task("t", &line)).await;
    link.until(TaskState::Running).await;
    work.said("t", "stdout").await;
    let (_, tasks) = get_json(port, "/v1/tasks", &[]).await;
    let container = json!({ "value": tasks["tasks"][0]["container_id"] });
    let caller = Caller::of(port);
    let attach = |id: &Value| json!({ "type": "ATTACH_CONTAINER_OUTPUT", "attach_container_output": { "container_id": id } });

    let (first, second) = (
        caller.call(&attach(&container)).await,
        caller.call(&attach(&container)).await,
    );
    assert_eq!(first.headers()["content-type"], "application/recordio");
    std::fs::write(work.sandbox("t").join("go"), "").unwrap();

    assert_eq!(said(first, "STDOUT").await, "after\n");
    assert_eq!(said(second, "STDERR").await, "bad\n");
    link.until(TaskState::Finished).await;
    let ghost = json!({ "value": "ghost" });
    let nobody = caller.call(&attach(&ghost)).await;
    assert_eq!(nobody.status(), StatusCode::NOT_FOUND);
    let over = caller.call(&attach(&container)).await;
    assert!(over.status().is_client_error(), "{over:?}");
}

/// A refusal as clients of Mesos read it: a sentence, not JSON.
async fn in_words(refused: Response) -> String {
    let kind = &refused.headers()["content-type"];
    assert_eq!(kind, "text/plain; charset=utf-8");
    let words = soon(refused.text()).await.unwrap();
    assert!(!words.starts_with('{'), "{words}");
    words
}

#[tokio::test]
async fn calls_are_made_with_post() {
    let mut master = Master::start().await;
    let work = Work::new();
    let _agent = work.start(master.address, &[]);
    let (_link, register) = master.admit().await;
    let caller = Caller::of(register.agent_info.port());

    let asked = soon(caller.http.get(&caller.url).send()).await.unwrap();

    assert_eq!(asked.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(asked.headers()["allow"], "POST");
    assert_eq!(in_words(asked).await, "calls are made with POST");
}

#[tokio::test]
async fn what_is_no_call_is_refused() {
    let mut master = Master::start().await;
    let work = Work::new();
    let _agent = work.start(master.address, &[]);
    let (_link, register) = master.admit().await;
    let caller = Caller::of(register.agent_info.port());
    let ghost = json!({ "value": "x", "parent": { "value": "ghost" } });

    let post = |kind: &[(&'static str, &'static str)]| {
        let post = caller.http.post(&caller.url).body("type=LAUNCH");
        let post = kind
            .iter()
            .fold(post, |post, (name, value)| post.header(*name, *value));
        soon(post.send())
    };
    for (kind, status) in [
        (&[][..], StatusCode::BAD_REQUEST),
        (
            &[("content-type", "text/plain")],
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
        ),
        (
            &[("content-type", "application/recordio")],
            StatusCode::BAD_REQUEST,
        ),
        (
            &[
                ("content-type", "application/recordio"),
                ("message-content-type", "text/plain"),
            ],
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
        ),
        (
            &[("content-type", "Application/JSON; charset=utf-8")],
            StatusCode::BAD_REQUEST,
        ),
    ] {
        let refused = post(kind).await.unwrap();
        assert_eq!(refused.status(), status, "{kind:?}");
        assert!(!in_words(refused).await.is_empty(), "{kind:?}");
    }
    for form in [("accept", "application/json"), ("message-accept", "text/x")] {
        let post = caller.http.post(&caller.url).header(form.0, form.1);
        let post = post.json(&launch(&ghost, "true", &Value::Null));
        let refused = soon(post.send()).await.unwrap();
        assert_eq!(refused.status(), StatusCode::NOT_ACCEPTABLE, "{form:?}");
    }
    let unknown = caller.call(&launch(&ghost, "true", &Value::Null)).await;
    assert_eq!(unknown.status(), StatusCode::NOT_FOUND);
    let words = in_words(unknown).await;
    assert!(words.contains("ghost"), "{words}");
    let odd = caller.call(&json!({ "type": "UNKNOWN" })).await;
    assert_eq!(odd.status(), StatusCode::NOT_IMPLEMENTED);
    let odd = json!({ "value": "../x", "parent": { "value": "ghost" } });
    let odd = caller.call(&launch(&odd, "true", &Value::Null)).await;
    assert_eq!(odd.status(), StatusCode::BAD_REQUEST);
    let named = json!({ "type": "CONTAINER_ID", "container_id": ghost });
    assert_eq!(caller.input(&[named]).await, StatusCode::NOT_FOUND);
    assert_eq!(caller.input(&[data("x")]).await, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_session_has_the_user_it_asks_for_or_is_refused() {
    if !rustix::process::geteuid().is_root() {
        return; // Nobody else can become another user.
    }
    let scene = Scene::sleeping().await;
    let port = scene.port;
    let parent = container(port).await;
    let caller = Caller::of(port);
    let run = async |id: &str, user: &str| {
        let id = json!({ "value": id, "parent": parent });
        let mut call = launch(&id, "id -un", &Value::Null);
        call["launch_nested_container_session"]["command"]["user"] = json!(user);
        call["launch_nested_container_session"]["command"]["shell"] = json!("true"); // Read as everywhere.
        caller.call(&call).await
    };

    for user in ["nobody", "root"] {
        let answer = run(user, user).await;
        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!(said(answer, "STDOUT").await, format!("{user}\n"));
    }
    let refused = run("three", "nosuchuser").await;
    assert_eq!(refused.status(), StatusCode::BAD_REQUEST);
    assert!(refused.text().await.unwrap().contains("nosuchuser"));
}

#[tokio::test]
async fn records_and_answers_come_in_the_form_that_is_asked_for() {
    let scene = Scene::sleeping().await;
    let port = scene.port;
    let parent = container(port).await;
    let caller = Caller::of(port);
    let post = async |call: &Value, headers: &[(&'static str, &'static str)]| {
        let post = caller.http.post(&caller.url).json(call);
        let post = headers
            .iter()
            .fold(post, |post, (name, value)| post.header(*name, *value));
        soon(post.send()).await.unwrap()
    };
    let begin = |id: &str, line: &str| {
        let id = json!({ "value": id, "parent": parent });
        launch(&id, line, &Value::Null)
    };
    let protobuf = "application/x-protobuf";

    let headers = [
        ("accept", "application/recordio"),
        ("message-accept", protobuf),
    ];
    let answer = post(&begin("one", "cat; exit 3"), &headers).await;
    assert_eq!(answer.headers()["message-content-type"], protobuf);

    let id = json!({ "value": "one", "parent": parent });
    let named = json!({ "type": "CONTAINER_ID", "container_id": id });
    let typed = [named, data("typed"), data("")].map(|record| {
        let call = json!({ "type": "ATTACH_CONTAINER_INPUT", "attach_container_input": record });
        let call: agent::Call = proto_json::from_slice(call.to_string().as_bytes()).unwrap();
        recordio::encode(&call.encode_to_vec())
    });
    let input = caller
        .http
        .post(&caller.url)
        .header("content-type", "application/recordio")
        .header("message-content-type", protobuf)
        .body(typed.concat());
    assert_eq!(soon(input.send()).await.unwrap().status(), StatusCode::OK);
    let said = soon(answer.bytes()).await.unwrap();
    let mut record = said.split(|byte| *byte == b'\n').skip(1);
    let record = agent::ProcessIo::decode(record.next().unwrap()).unwrap();
    assert_eq!(record.data.unwrap().data.unwrap(), "typed");

    let wait =
        json!({ "type": "WAIT_NESTED_CONTAINER", "wait_nested_container": { "container_id": id } });
    let ended = post(&wait, &[("accept", protobuf)]).await;
    assert_eq!(ended.headers()["content-type"], protobuf);
    let ended = agent::Response::decode(ended.bytes().await.unwrap()).unwrap();
    let ended = ended.wait_nested_container.unwrap();
    assert_eq!(ended.exit_status, Some(3 << 8));
}

#[tokio::test]
async fn a_tasks_own_container_is_waited_for_and_sent_signals() {
    let mut master = Master::start().await;
    let work = Work::new();
    let _agent = work.start(master.address, &[]);
    let (mut link, register) = master.admit().await;
    let port = register.agent_info.port();
    let caller = Caller::of(port);
    let about = |id: &Value, kind: &str, more: Value| {
        let mut part = json!({ "container_id": id });
        let all = part.as_object_mut().unwrap();
        all.extend(more.as_object().unwrap().clone());
        json!({ "type": kind, kind.to_lowercase(): part })
    };
    let line = "trap 'exit 7' USR1; echo up; while :; do sleep 0.02; done";
    for number in 0.. {
        let name = format!("t{number}");
        link.run(&task(&name, line)).await;
        link.until(TaskState::Running).await;
        work.said(&name, "stdout").await;
        let id = container(port).await;
        let odd = about(&id, "KILL_CONTAINER", json!({ "signal": 900 }));
        assert_eq!(caller.call(&odd).await.status(), StatusCode::BAD_REQUEST);

        let wait = about(&id, "WAIT_CONTAINER", json!({}));
        let usr1 = about(&id, "KILL_CONTAINER", json!({ "signal": 10 }));
        let (ended, sent) = tokio::join!(caller.call(&wait), caller.call(&usr1));

        assert_eq!(sent.status(), StatusCode::OK);
        let failed = link.until(TaskState::Failed).await;
        assert_eq!(
            failed.message.as_deref(),
            Some("Command exited with status 7")
        );
        // Whoever comes too late is told that there is none; then once more.
        if ended.status() == StatusCode::OK {
            let ended: Value = ended.json().await.unwrap();
            assert_eq!(ended["wait_container"]["exit_status"], 7 << 8);
            return;
        }
    }
}
