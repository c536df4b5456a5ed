//! Executors of frameworks' own, as they were written for Mesos: a program that speaks HTTP, and one that says nothing.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use mete_model::{
    CommandSpec, ExecutorKind, ExecutorSpec, Reason, Resources, TaskSpec, TaskState, TaskStatus,
};
use mete_proto::mesos::v1 as mesos;
use mete_proto::mete::v1 as wire;
use serde_json::{Value, json};
use wire::agent_message::Message as Said;
use wire::master_message::Message;

use super::groups::{heard, run};
use super::master::{FRAMEWORK, Link, Master, info_of, status_of, task};
use super::nested::Caller;
use super::world::{Work, json as get_json};
use crate::support::{soon, until};

const EXECUTOR: &str = "own";

/// A program that speaks to its agent.
fn speaking() -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/executor.py");
    format!("exec python3 {}", script.display())
}

fn delegated(id: &str, executor: &str, line: &str) -> TaskSpec {
    let executor = ExecutorSpec {
        id: executor.parse().unwrap(),
        kind: ExecutorKind::Custom,
        name: "an executor".into(),
        resources: Resources::cpus_mem(10, 32),
        command: Some(CommandSpec::shell(line)),
        container: None,
        shutdown_grace_period: None,
        original: Bytes::new(),
    };
    TaskSpec {
        command: CommandSpec::shell(""),
        executor: Some(Arc::new(executor)),
        ..task(id, "")
    }
}

impl Link {
    async fn message_executor(&self, data: &'static [u8]) {
        self.say(Message::ExecutorMessage(wire::ExecutorMessage {
            framework_id: framework_id(),
            executor_id: executor_id(),
            data: data.into(),
        }))
        .await;
    }

    /// The next word of the executor to its framework.
    async fn executor_message(&mut self) -> Bytes {
        loop {
            match self.next().await {
                Some(Said::ExecutorMessage(message)) => return message.data,
                // A report whose acknowledgement an agent that was killed has not heard comes again.
                Some(Said::Pong(_) | Said::Update(_)) => {}
                other => panic!("a message is awaited, not {other:?}"),
            }
        }
    }

    /// The answer to a message. What is said before an executor is back is lost, as with Mesos.
    async fn echo_of(&mut self, data: &'static [u8]) -> Bytes {
        let heard = async {
            loop {
                self.message_executor(data).await;
                let short = std::time::Duration::from_millis(500);
                if let Ok(heard) = tokio::time::timeout(short, self.executor_message()).await {
                    return heard;
                }
            }
        };
        soon(heard).await
    }

    /// Waits until the executor is over, well, and with it a task.
    async fn end_of(&mut self, task: &str) {
        let mut seen = Vec::new();
        while seen.len() < 2 {
            match self.next().await {
                Some(Said::Update(update)) => {
                    let status = status_of(&update);
                    if status.task_id.value == task {
                        assert_eq!(status.state(), mesos::TaskState::TaskFailed);
                        let reason = mesos::task_status::Reason::ExecutorTerminated;
                        assert_eq!(status.reason(), reason);
                        seen.push(status.task_id.value);
                    }
                }
                Some(Said::ExecutorExited(exited)) => {
                    assert_eq!((exited.executor_id, exited.status), (executor_id(), 0));
                    seen.push(EXECUTOR.to_owned());
                }
                Some(Said::ExecutorMessage(_) | Said::Pong(_)) => {}
                other => panic!("an end is awaited, not {other:?}"),
            }
        }
        seen.sort();
        assert_eq!(seen, [task, EXECUTOR]);
    }

    /// The next report as it came; acknowledged.
    async fn full_report(&mut self) -> mesos::TaskStatus {
        loop {
            match self.next().await {
                Some(Said::Update(update)) => {
                    let whole = status_of(&update);
                    let status = TaskStatus::try_from(&whole).unwrap();
                    self.acknowledge(&status).await;
                    return whole;
                }
                Some(Said::Pong(_)) => {}
                other => panic!("a report is awaited, not {other:?}"),
            }
        }
    }
}

fn framework_id() -> mesos::FrameworkId {
    let value = FRAMEWORK.into();
    mesos::FrameworkId { value }
}

fn executor_id() -> mesos::ExecutorId {
    let value = EXECUTOR.into();
    mesos::ExecutorId { value }
}

#[tokio::test]
async fn an_executor_runs_tasks_talks_outlives_its_agent_and_is_shut_down() {
    let mut master = Master::start().await;
    let work = Work::new();
    let daemon = work.start(master.address, &[]);
    let (mut link, registered) = master.admit().await;
    // An executor looks for its agent where it was told that it is.
    let port = format!("--port={}", registered.agent_info.port());

    link.run(&delegated("a", EXECUTOR, &speaking())).await;
    link.run(&delegated("b", EXECUTOR, &speaking())).await;
    for _ in 0..2 {
        let status = link.full_report().await;
        assert_eq!(status.state(), mesos::TaskState::TaskRunning);
        let of = format!("of {}", status.task_id.value);
        assert_eq!(status.data.as_deref(), Some(of.as_bytes()));
        assert_eq!(status.executor_id, Some(executor_id()));
        let within = status.container_status.unwrap_or_default();
        assert!(within.container_id.is_some(), "that of its executor");
    }
    let port_number = registered.agent_info.port();
    for path in ["/containers", "/monitor/statistics"] {
        let (_, all) = super::world::json(port_number, path, &[]).await;
        let all = all.as_array().unwrap();
        assert_eq!(all.len(), 1, "its tasks are in it: {all:?}");
        assert_eq!(all[0]["executor_id"], EXECUTOR);
        assert_eq!(all[0]["executor_name"], "an executor");
        assert!(all[0]["statistics"]["mem_soft_limit_bytes"].is_u64());
    }
    link.message_executor(b"one").await;
    assert_eq!(&link.executor_message().await[..], b"heard:one");
    link.kill("a").await;
    let killed = link.full_report().await;
    assert_eq!(
        (killed.task_id.value.as_str(), killed.state()),
        ("a", mesos::TaskState::TaskKilled)
    );

    daemon.kill().await;
    let _daemon = work.start(master.address, &[&port]);
    let (mut link, registered) = master.admit().await;
    assert_eq!(registered.executors.len(), 1);
    let mut tasks = registered.tasks.iter();
    let lives = tasks.find(|task| info_of(task).task_id.value == "b");
    let lives = lives.map(|task| task.latest_status.state());
    assert_eq!(lives, Some(mesos::TaskState::TaskRunning));
    assert_eq!(&link.echo_of(b"two").await[..], b"heard:two");

    let shutdown = wire::ShutdownExecutor {
        framework_id: framework_id(),
        executor_id: executor_id(),
    };
    link.say(Message::ShutdownExecutor(shutdown)).await;
    link.end_of("b").await;
}

#[tokio::test]
async fn an_executor_has_as_long_to_come_back_as_the_agent_was_told() {
    let mut master = Master::start().await;
    let work = Work::new();
    let daemon = work.start(master.address, &[]);
    let (link, _) = master.admit().await;
    link.run(&delegated("a", EXECUTOR, "echo; exec sleep 1000"))
        .await;
    work.said(EXECUTOR, "stdout").await;

    daemon.kill().await;
    let _daemon = work.start(master.address, &["--executor-reregistration-timeout=100ms"]);
    let (mut link, _) = master.admit().await;

    assert!(matches!(link.next().await, Some(Said::ExecutorExited(exited)) if exited.status == 9));
    let status = link.until(TaskState::Failed).await;
    assert_eq!(status.reason, Some(Reason::ExecutorReregistrationTimeout));
}

#[tokio::test]
async fn an_executor_that_ends_takes_its_tasks_along() {
    let mut master = Master::start().await;
    let work = Work::new();
    let _daemon = work.start(master.address, &[]);
    let (mut link, _) = master.admit().await;

    link.run(&delegated("a", EXECUTOR, "exit 3")).await;

    assert!(
        matches!(link.next().await, Some(Said::ExecutorExited(exited)) if exited.status == 3 << 8)
    );
    let status = link.until(TaskState::Failed).await;
    assert_eq!(status.reason, Some(Reason::ExecutorTerminated));
}

/// Says something to the agent; the answer's status, and the answer.
async fn say(
    port: i32,
    headers: &[(&'static str, &str)],
    body: impl Into<String>,
) -> (u16, reqwest::Response) {
    let client = mete_daemon::http_client::plain().build().unwrap();
    let mut request = client.post(format!("http://127.0.0.1:{port}/api/v1/executor"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let answer = soon(request.body(body.into()).send()).await.unwrap();
    (answer.status().as_u16(), answer)
}

const JSON: (&str, &str) = ("content-type", "application/json");

fn call(kind: &str, executor: &str, more: Value) -> String {
    let mut call = json!({
        "type": kind,
        "framework_id": { "value": FRAMEWORK },
        "executor_id": { "value": executor },
    });
    let all = call.as_object_mut().unwrap();
    all.extend(more.as_object().unwrap().clone());
    call.to_string()
}

fn news(change: impl Fn(&mut Value)) -> String {
    let mut status = json!({
        "task_id": { "value": "a" },
        "state": "TASK_RUNNING",
        "source": "SOURCE_EXECUTOR",
        "uuid": "AAAAAAAAAAAAAAAAAAAAAA==",
    });
    change(&mut status);
    call(
        "UPDATE",
        EXECUTOR,
        json!({ "update": { "status": status } }),
    )
}

#[tokio::test]
async fn each_fault_of_an_executor_has_the_status_that_mesos_gives_it() {
    let mut master = Master::start().await;
    let work = Work::new();
    let _daemon = work.start(master.address, &[]);
    let (mut link, registered) = master.admit().await;
    let port = registered.agent_info.port();
    let subscribe = call("SUBSCRIBE", EXECUTOR, json!({ "subscribe": {} }));

    let (status, _) = say(port, &[JSON], &subscribe).await;
    assert_eq!(status, 400, "framework that is not here");
    link.run(&delegated("a", EXECUTOR, "exec sleep 1000")).await;
    until(|| work.sandbox(EXECUTOR).exists()).await;

    let (status, _) = super::world::get(port, "/api/v1/executor", &[]).await;
    assert_eq!(status, 405);
    let plain = [("content-type", "text/plain")];
    let unknown = call("SUBSCRIBE", "other", json!({ "subscribe": {} }));
    let heartbeat = call("HEARTBEAT", EXECUTOR, json!({}));
    let as_xml = [JSON, ("accept", "text/xml")];
    for (headers, body, wanted) in [
        (&[][..], &subscribe, 400),
        (&plain[..], &subscribe, 415),
        (&[JSON][..], &"{".to_owned(), 400),
        (&[JSON][..], &"{}".to_owned(), 400),
        (&[JSON][..], &unknown, 400),
        (&[JSON][..], &heartbeat, 403),
        (&as_xml[..], &subscribe, 406),
        (&[JSON][..], &call("SUBSCRIBE", EXECUTOR, json!({})), 400),
    ] {
        let (status, answer) = say(port, headers, body).await;
        let said = answer.text().await.unwrap();
        assert_eq!(status, wanted, "{headers:?} {body}: {said}");
    }

    let _stream = subscribed(port, &subscribe).await;
    for (body, wanted) in calls_and_answers(heartbeat) {
        let (status, answer) = say(port, &[JSON], body.as_str()).await;
        let said = answer.text().await.unwrap();
        assert_eq!(
            status,
            wanted,
            "{}: {said}",
            body.get(..300).unwrap_or(&body)
        );
    }
    let report = link.report().await;
    assert_eq!(report.state, TaskState::Running);
}

/// The stream of the executor, of which the first record was read.
async fn subscribed(port: i32, subscribe: &str) -> reqwest::Response {
    let (status, mut stream) = say(port, &[JSON], subscribe).await;
    assert_eq!(status, 200);
    assert_eq!(stream.headers()["content-type"], "application/json");
    assert!(stream.headers().get("content-length").is_none());
    let first = soon(stream.chunk()).await.unwrap().unwrap();
    let (length, record) = first.split_at(first.iter().position(|b| *b == b'\n').unwrap());
    let length: usize = std::str::from_utf8(length).unwrap().parse().unwrap();
    let subscribed: Value = serde_json::from_slice(&record[1..=length]).unwrap();
    assert_eq!(subscribed["type"], "SUBSCRIBED");
    let said = &subscribed["subscribed"];
    assert_eq!(said["executor_info"]["executor_id"]["value"], EXECUTOR);
    assert_eq!(said["framework_info"]["id"]["value"], FRAMEWORK);
    assert_eq!(said["agent_info"]["port"], port);
    stream
}

/// What an executor that is subscribed may say, and what makes no sense.
fn calls_and_answers(heartbeat: String) -> Vec<(String, u16)> {
    vec![
        (heartbeat, 202),
        (news(|_| {}), 202),
        (news(|status| status["uuid"] = "AAAA".into()), 400),
        (news(|status| status["uuid"] = Value::Null), 400),
        (news(|status| status["source"] = "SOURCE_AGENT".into()), 400),
        (news(|status| status["source"] = Value::Null), 400),
        (news(|status| status["state"] = "TASK_STAGING".into()), 400),
        (
            news(|status| status["executor_id"] = json!({ "value": "x" })),
            400,
        ),
        (call("UPDATE", EXECUTOR, json!({})), 400),
        (call("MESSAGE", EXECUTOR, json!({})), 400),
        (
            call(
                "MESSAGE",
                EXECUTOR,
                json!({ "message": { "data": "eA==" } }),
            ),
            202,
        ),
        (
            call(
                "MESSAGE",
                EXECUTOR,
                json!({ "message": { "data": "AAAA".repeat(400_000) } }),
            ),
            413,
        ),
    ]
}

#[tokio::test]
async fn where_the_agent_has_a_token_each_executor_has_one_of_its_own_for_its_calls_alone() {
    let mut master = Master::start().await;
    let work = Work::new();
    let token = work.beside().join("token");
    fs::write(&token, "the-token-of-the-cluster").unwrap();
    let with_token = format!("--token-file={}", token.display());
    let _daemon = work.start(master.address, &[&with_token]);
    let (link, registered) = master.admit().await;
    let port = registered.agent_info.port();
    let line = "echo $MESOS_EXECUTOR_AUTHENTICATION_TOKEN > token; exec sleep 1000";
    for executor in ["one", "two"] {
        let task = delegated(&format!("of-{executor}"), executor, line);
        link.run(&task).await;
    }
    let one = format!("Bearer {}", work.said("one", "token").await.trim());
    let two = format!("Bearer {}", work.said("two", "token").await.trim());
    let subscribe = call("SUBSCRIBE", "one", json!({ "subscribe": {} }));

    for (shown, wanted) in [
        (None, 401),
        (Some("Bearer one.00"), 401),
        (Some(two.as_str()), 403),
        (Some(one.as_str()), 200),
        (Some("Bearer the-token-of-the-cluster"), 200),
    ] {
        let shown = shown.map(|shown| ("authorization", shown));
        let headers: Vec<_> = [JSON].into_iter().chain(shown).collect();
        let (status, _) = say(port, &headers, &subscribe).await;
        assert_eq!(status, wanted, "{shown:?}");
    }
    let client = mete_daemon::http_client::plain().build().unwrap();
    let state = client.get(format!("http://127.0.0.1:{port}/state"));
    let state = soon(state.header("authorization", &one).send()).await;
    assert_eq!(state.unwrap().status().as_u16(), 401);
}

#[tokio::test]
async fn an_agent_that_authenticates_no_executors_takes_calls_of_its_own_machine_without_a_token() {
    let mut master = Master::start().await;
    let work = Work::new();
    let token = work.beside().join("token");
    fs::write(&token, "the-token-of-the-cluster").unwrap();
    let with_token = format!("--token-file={}", token.display());
    let without = "--authenticate-http-executors=false";
    let _daemon = work.start(master.address, &[&with_token, without]);
    let (mut link, registered) = master.admit().await;
    let port = registered.agent_info.port();
    let of_here = |id: &str| call("SUBSCRIBE", id, json!({ "subscribe": {} }));

    // It shows nothing, as those do that know of no token.
    let line = format!("unset MESOS_EXECUTOR_AUTHENTICATION_TOKEN; {}", speaking());
    link.run(&delegated("a", EXECUTOR, &line)).await;
    heard(&mut link, &[("a", TaskState::Running)]).await;

    for (shown, executor, wanted) in [
        (None, "another", 400),
        (Some("Bearer one.00"), EXECUTOR, 401),
        (Some(""), EXECUTOR, 401),
    ] {
        let shown = shown.map(|shown| ("authorization", shown));
        let headers: Vec<_> = [JSON].into_iter().chain(shown).collect();
        let (status, _) = say(port, &headers, of_here(executor)).await;
        assert_eq!(status, wanted, "{shown:?}");
    }
    let (status, _) = get_json(port, "/state", &[]).await;
    assert_eq!(status, 401);
    let client = mete_daemon::http_client::plain().build().unwrap();
    let flags = client.get(format!("http://127.0.0.1:{port}/flags"));
    let flags = flags.header("authorization", "Bearer the-token-of-the-cluster");
    let flags: Value = soon(flags.send()).await.unwrap().json().await.unwrap();
    assert_eq!(flags["flags"]["authenticate_http_executors"], "false");
}

#[tokio::test]
async fn a_task_that_has_ended_is_shown_below_its_executor_while_that_lives() {
    let mut master = Master::start().await;
    let work = Work::new();
    let _daemon = work.start(master.address, &[]);
    let (mut link, register) = master.admit().await;
    let port = register.agent_info.port();
    for id in ["a", "b"] {
        link.run(&delegated(id, EXECUTOR, &speaking())).await;
        heard(&mut link, &[(id, TaskState::Running)]).await;
    }
    link.kill("a").await;
    heard(&mut link, &[("a", TaskState::Killed)]).await;

    let ids = |tasks: &Value| -> Vec<String> {
        let tasks = tasks.as_array().into_iter().flatten();
        tasks
            .map(|task| task["id"].as_str().unwrap_or_default().to_owned())
            .collect()
    };
    // Its end is acknowledged by then or not.
    let (_, state) = get_json(port, "/state", &[]).await;
    let executor = &state["frameworks"][0]["executors"][0];
    assert_eq!(ids(&executor["tasks"]), ["b"], "{executor}");
    assert_eq!(ids(&executor["completed_tasks"]), ["a"], "{executor}");
    let ended = &executor["completed_tasks"][0];
    assert_eq!(ended["statuses"][0]["state"], "TASK_KILLED", "{ended}");
}

#[tokio::test]
async fn a_group_is_launched_as_one_by_an_executor_which_ends_it_as_it_wants() {
    let mut master = Master::start().await;
    let work = Work::new();
    let _daemon = work.start(master.address, &[]);
    let (mut link, _) = master.admit().await;
    let tasks = ["a", "b"].map(|id| delegated(id, EXECUTOR, &speaking()));
    let executor = tasks[0].executor.clone().unwrap();

    run(&link, &executor, &tasks).await;
    let both = [("a", TaskState::Running), ("b", TaskState::Running)];
    heard(&mut link, &both).await;

    // What it writes passes through its shim, and may come later than its reports.
    let said = || work.said_now(EXECUTOR, "stdout");
    until(|| said().contains("LAUNCH_GROUP\n")).await;
    assert_eq!(said().matches("LAUNCH_GROUP\n").count(), 1, "{}", said());
    link.kill("b").await;
    let both = [("a", TaskState::Killed), ("b", TaskState::Killed)];
    heard(&mut link, &both).await;
    until(|| said().contains("KILL\n")).await;
    assert_eq!(said().matches("KILL\n").count(), 1, "{}", said());
}

#[tokio::test]
async fn a_nested_container_runs_beside_an_executor_in_its_sandbox() {
    let mut master = Master::start().await;
    let work = Work::new();
    let _daemon = work.start(master.address, &[]);
    let (mut link, register) = master.admit().await;
    link.run(&delegated("a", EXECUTOR, &speaking())).await;
    link.until(TaskState::Running).await;
    let port = register.agent_info.port();
    let (_, all) = super::world::json(port, "/containers", &[]).await;
    let parent = json!({ "value": all[0]["container_id"] });
    assert_eq!(all[0]["status"]["container_id"], parent);
    let id = json!({ "value": "beside", "parent": parent });
    let caller = Caller::of(port);
    let launch = json!({ "type": "LAUNCH_NESTED_CONTAINER", "launch_nested_container":
        { "container_id": id, "command": { "value": "echo here > beside; exit 3" } } });
    let wait =
        json!({ "type": "WAIT_NESTED_CONTAINER", "wait_nested_container": { "container_id": id } });

    let launched = caller.call(&launch).await;
    let waited = caller.call(&wait).await;

    assert_eq!(launched.status(), 200);
    let ended: Value = waited.json().await.unwrap();
    assert_eq!(ended["wait_nested_container"]["exit_status"], 3 << 8);
    assert_eq!(work.said(EXECUTOR, "beside").await, "here\n");
}
