//! Tasks whose program has a terminal: what is typed reaches it, what it says is its output.

use mete_model::{TaskSpec, TaskState, WindowSize};
use mete_proto::mete::v1 as wire;
use reqwest::StatusCode;
use serde_json::{Value, json};
use tonic::Code;
use wire::exec_ended::How;
use wire::exec_request::Message as Ask;

use super::contained::contained;
use super::master::task;
use super::nested::{Caller, container, data};
use super::runtime;
use super::sessions::{Exec, size, start};
use super::world::Scene;
use crate::containers::possible;
use crate::support::until;

/// Says whether it has a terminal, and of what size; then what is typed, and the size that the terminal has by then.
const TALK: &str =
    "test -t 0 && test -t 1 && echo terminal; stty size; read word; echo got $word; stty size";

pub(super) fn with_terminal(mut spec: TaskSpec) -> TaskSpec {
    spec.command.terminal = Some(WindowSize {
        rows: 33,
        columns: 77,
    });
    spec
}

pub(super) fn another_size(rows: u32, columns: u32) -> Value {
    let size = json!({ "window_size": { "rows": rows, "columns": columns } });
    json!({ "type": "PROCESS_IO", "process_io": {
        "type": "CONTROL", "control": { "type": "TTY_INFO", "tty_info": size } } })
}

/// Types into the only task of an agent.
pub(super) async fn types(port: i32, records: &[Value]) -> StatusCode {
    let named = json!({ "type": "CONTAINER_ID", "container_id": container(port).await });
    let records: Vec<_> = [named].into_iter().chain(records.iter().cloned()).collect();
    Caller::of(port).input(&records).await
}

/// One that talks, on an agent that is killed and started again before anybody answers.
async fn talks(spec: &TaskSpec, more: &[&str]) {
    let mut scene = Scene::with(more).await;
    let id = spec.id.as_str();
    scene.link.run(spec).await;
    scene.link.until(TaskState::Running).await;
    until(|| scene.work.said_now(id, "stdout").contains("33 77")).await;
    let mut scene = scene.again(more).await;

    let port = scene.port;
    // As Mesos' own command line does, so that the program draws all anew.
    let sizes = [another_size(0, 0), another_size(44, 100)];
    let typed = types(port, &[&sizes[..], &[data("hello\n")]].concat()).await;

    assert_eq!(typed, StatusCode::OK);
    scene.link.until(TaskState::Finished).await;
    let said = scene.work.said_now(id, "stdout");
    let expected = "terminal\r\n33 77\r\nhello\r\ngot hello\r\n44 100\r\n";
    assert_eq!(said, expected);
    assert_eq!(scene.work.said_now(id, "stderr"), "");
    scene.end().await;
}

#[tokio::test]
async fn a_task_with_a_terminal_hears_what_is_typed_also_after_a_restart_of_its_agent() {
    talks(&with_terminal(task("plain", TALK)), &[]).await;
}

#[tokio::test]
async fn so_does_one_in_a_container() {
    if possible() {
        talks(&with_terminal(contained("inside", TALK, |_| {})), &[]).await;
    }
}

#[tokio::test]
async fn so_does_one_that_crun_has_built_a_container_for() {
    if runtime::installed() {
        let spec = with_terminal(contained("inside", TALK, |_| {}));
        talks(&spec, &["--oci-runtime=/usr/bin/crun"]).await;
    }
}

#[tokio::test]
async fn a_terminal_is_that_of_the_session_so_that_keys_are_signals() {
    let mut scene = Scene::with(&[]).await;
    let spec = with_terminal(task("t", "echo up > /dev/tty; exec sleep 1000"));
    scene.link.run(&spec).await;
    scene.link.until(TaskState::Running).await;
    until(|| scene.work.said_now("t", "stdout") == "up\r\n").await;

    let typed = types(scene.port, &[data("\u{3}")]).await;

    assert_eq!(typed, StatusCode::OK);
    let failed = scene.link.until(TaskState::Failed).await;
    let words = failed.message.unwrap();
    assert!(words.contains("signal"), "{words}");
}

#[tokio::test]
async fn nothing_is_typed_where_there_is_no_terminal() {
    let mut scene = Scene::with(&[]).await;
    scene.link.run(&task("t", "exec sleep 1000")).await;
    scene.link.until(TaskState::Running).await;

    let typed = types(scene.port, &[data("x")]).await;

    assert_eq!(typed, StatusCode::BAD_REQUEST);
}

/// Somebody attaches to a task of this kind, goes, and another comes and stays to its end.
pub(super) async fn people_attach_and_go(scene: &mut Scene, spec: TaskSpec) {
    let mut spec = with_terminal(spec);
    spec.command.program = mete_model::Program::Shell(
        "trap 'echo int' INT; while read word; do echo got $word; test \"$word\" = end && exit 6; done; exit 7".into(),
    );
    let id = spec.id.to_string();
    scene.link.run(&spec).await;
    scene.link.until(TaskState::Running).await;

    let mut first = Exec::attach(scene.port, &id).await.unwrap();
    first.say(Ask::Resize(size(0, 0))).await;
    first.say(Ask::Resize(size(44, 100))).await;
    first.type_in("one\n").await;
    first.until_said("got one\r\n").await;
    first.type_in("two\n").await;
    let (_, has_ended) = first.let_go().await;
    assert!(!has_ended, "the task runs on");
    until(|| scene.work.said_now(&id, "stdout").contains("got two\r\n")).await;
    let mut second = Exec::attach(scene.port, &id).await.unwrap();
    second.type_in("end\n").await;
    let how = second.ended().await;

    assert_eq!(how, How::ExitCode(6));
    assert_eq!(second.stdout, "end\r\ngot end\r\n");
    assert_eq!(second.stderr, "");
    scene.link.until(TaskState::Failed).await;
}

#[tokio::test]
async fn people_attach_to_a_task_with_a_terminal_over_grpc_and_go() {
    let mut scene = Scene::with(&[]).await;
    people_attach_and_go(&mut scene, task("plain", "")).await;
    if possible() {
        people_attach_and_go(&mut scene, contained("inside", "", |_| {})).await;
    }
    scene.end().await;
}

#[tokio::test]
async fn what_makes_no_sense_at_a_terminal_is_refused_by_name() {
    let mut scene = Scene::sleeping().await;
    let spec = with_terminal(task("talks", "exec sleep 1000"));
    scene.link.run(&spec).await;
    scene.link.until(TaskState::Running).await;

    for (task, code, words) in [
        ("t", Code::InvalidArgument, "task t has no terminal"),
        ("ghost", Code::NotFound, "\"ghost\""),
    ] {
        let Err(status) = Exec::attach(scene.port, task).await else {
            panic!("{task}: it was let in");
        };
        assert_eq!(status.code(), code, "{status:?}");
        assert!(status.message().contains(words), "{status:?}");
    }
    for (odd, words) in [
        (Ask::Signal(2), "signal: 2"),
        (Ask::Start(start("t", &["true"])), "start: "),
        (Ask::Resize(size(70_000, 1)), "70000 rows"),
    ] {
        let mut person = Exec::attach(scene.port, "talks").await.unwrap();
        person.say(odd).await;
        let status = person.refused().await;
        assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
        assert!(status.message().contains(words), "{status:?}");
    }
    scene.link.kill("talks").await;
    scene.link.until(TaskState::Killed).await;
}
