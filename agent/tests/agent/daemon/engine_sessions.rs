//! Commands inside containers of a real Docker Engine.

use std::time::Duration;

use mete_model::{CommandSpec, HealthCheck, Probe, TaskState};
use mete_proto::mete::v1 as wire;
use reqwest::StatusCode;
use serde_json::{Value, json};
use wire::exec_ended::How;
use wire::exec_request::Message as Ask;

use super::contained::asked_inside;
use super::engine::{again, on_engine, with_engine};
use super::nested::{Caller, container, data, launch, said};
use super::sessions::{Exec, size, start, with_word};
use super::terminals::people_attach_and_go;
use super::world::Scene;
use crate::dockerd::{Dockerd, IMAGE};
use crate::support::{soon, until};

/// An agent with an engine, on which a task `t` sleeps; `None` where there can be none.
async fn sleeping() -> Option<(Dockerd, Scene)> {
    let (engine, mut scene) = with_engine(&[]).await?;
    let mut spec = on_engine("t", "trap '' TERM; while :; do sleep 1; done", IMAGE);
    let variables = &mut spec.command.environment;
    variables.insert("COLOUR".into(), "blue".into());
    scene.link.run(&spec).await;
    scene.link.until(TaskState::Running).await;
    Some((engine, scene))
}

#[tokio::test]
async fn a_command_runs_inside_a_container_of_an_engine() {
    let Some((_engine, scene)) = sleeping().await else {
        return;
    };
    let line = "pwd; echo $MESOS_TASK_ID $COLOUR $MORE; cat; echo bad >&2; exit 7";
    let mut wanted = start("t", &["sh", "-c", line]);
    wanted.environment.insert("MORE".into(), "red".into());

    let mut exec = Exec::begin(scene.port, wanted).await.unwrap();
    exec.type_in("typed\n").await;
    exec.say(Ask::StdinEnd(wire::StdinEnd {})).await;
    let how = exec.ended().await;

    let expected = "/mnt/mesos/sandbox\nt blue red\ntyped\n";
    assert_eq!(
        (exec.stdout.as_str(), exec.stderr.as_str()),
        (expected, "bad\n")
    );
    assert_eq!(how, How::ExitCode(7));
    for (word, errno) in [("nonsense", Some(2)), ("/etc", None)] {
        let mut exec = Exec::begin(scene.port, start("t", &[word])).await.unwrap();
        let How::NotStarted(why) = exec.ended().await else {
            panic!("{word}: it cannot run");
        };
        assert_eq!(why.errno, errno, "{why:?}");
        assert!(why.reason.contains(word), "{why:?}");
    }
    let line = "trap 'echo usr1' USR1; echo up; while :; do sleep 0.05; done";
    let command = start("t", &["sh", "-c", line]);
    let mut exec = Exec::begin(scene.port, command).await.unwrap();
    exec.until_said("up\n").await;
    exec.say(Ask::Signal(10)).await;
    exec.until_said("usr1\n").await;
    exec.say(Ask::Signal(15)).await;
    assert_eq!(exec.ended().await, How::Signal(15));
    scene.end().await;
}

#[tokio::test]
async fn much_goes_in_and_out_whole() {
    let Some((_engine, scene)) = sleeping().await else {
        return;
    };
    let mut exec = Exec::begin(scene.port, start("t", &["cat"])).await.unwrap();
    let all: String = (0..40_000).map(|number| format!("{number}\n")).collect();

    let how = exec.type_through(&all).await;

    assert_eq!(how, How::ExitCode(0));
    assert_eq!(exec.stdout.len(), all.len());
    assert_eq!(exec.stdout, all);
    scene.end().await;
}

#[tokio::test]
async fn a_terminal_of_an_engine_has_a_size_and_passes_every_key_on() {
    let Some((_engine, scene)) = sleeping().await else {
        return;
    };
    // An engine may give it its first size a moment later.
    let line = "printf '\\001\\002'; trap 'echo size $(stty size)' WINCH; trap 'echo int; exit 3' INT; \
        until stty size | grep -q '33 77'; do sleep 0.05; done; tty; read word; echo got $word; while :; do sleep 0.05; done";
    let mut wanted = start("t", &["sh", "-c", line]);
    wanted.terminal = Some(size(33, 77));

    let mut exec = Exec::begin(scene.port, wanted).await.unwrap();
    exec.until_said("/dev/pts/").await;
    // At ^P and ^Q engines let go of who types, unless they are told otherwise.
    exec.type_in("hel\u{10}\u{11}lo\n").await;
    exec.until_said("got hel\u{10}lo\r\n").await;
    exec.say(Ask::Resize(size(44, 88))).await;
    exec.until_said("size 44 88\r\n").await;
    exec.type_in("\u{3}").await;
    let how = exec.ended().await;

    assert!(exec.stdout.starts_with("\u{1}\u{2}"), "{:?}", exec.stdout);
    assert!(exec.stdout.ends_with("int\r\n"), "{:?}", exec.stdout);
    assert_eq!((how, exec.stderr), (How::ExitCode(3), String::new()));
    let mut wanted = start("t", &["cat"]);
    wanted.terminal = Some(size(24, 80));
    let mut exec = Exec::begin(scene.port, wanted).await.unwrap();
    exec.say(Ask::StdinEnd(wire::StdinEnd {})).await;
    assert_eq!(exec.ended().await, How::ExitCode(0));
    scene.end().await;
}

#[tokio::test]
async fn people_attach_to_a_task_of_an_engine_with_a_terminal_and_go() {
    let Some((_engine, mut scene)) = sleeping().await else {
        return;
    };
    people_attach_and_go(&mut scene, on_engine("talks", "", IMAGE)).await;
    scene.end().await;
}

#[tokio::test]
async fn nothing_of_a_command_stays_in_a_container_of_an_engine() {
    let Some((engine, mut scene)) = sleeping().await else {
        return;
    };
    let word = "4242.41";
    let line = format!(
        "trap '' HUP; (setsid sleep {word} &); setsid sleep {word} & echo up; test -z $1 || exit 4; sleep {word}"
    );
    // Its caller goes away, with a terminal and without.
    for terminal in [None, Some(size(24, 80))] {
        let mut wanted = start("t", &["/bin/sh", "-c", &line]);
        wanted.terminal = terminal;
        let mut exec = Exec::begin(scene.port, wanted).await.unwrap();
        exec.until_said("up").await;
        until(|| with_word(word) >= 3).await;
        drop(exec);
        until(|| with_word(word) == 0).await;
    }
    // It ends by itself.
    let ends = start("t", &["/bin/sh", "-c", &line, "sh", "x"]);
    let mut exec = Exec::begin(scene.port, ends).await.unwrap();
    assert_eq!(exec.ended().await, How::ExitCode(4));
    assert_eq!(with_word(word), 0);
    // Its caller goes away before it has begun.
    engine.hang();
    let late = format!("echo > began; exec sleep {word}");
    let late = Exec::begin(scene.port, start("t", &["/bin/sh", "-c", &late]));
    let gone = tokio::time::timeout(Duration::from_millis(500), late).await;
    assert!(gone.is_err(), "the engine hangs");
    engine.go_on();
    let began = scene.work.sandbox("t").join("began");
    until(|| began.exists()).await;
    until(|| with_word(word) == 0).await;
    // Its agent dies.
    let stays = start("t", &["/bin/sh", "-c", &line]);
    let mut exec = Exec::begin(scene.port, stays).await.unwrap();
    exec.until_said("up").await;
    scene = again(&engine, scene).await;
    assert_eq!(with_word(word), 0);
    assert_eq!(scene.register.tasks.len(), 1, "the task runs on");
    // Its task ends.
    let ends = start("t", &["/bin/sh", "-c", &line]);
    let mut exec = Exec::begin(scene.port, ends).await.unwrap();
    exec.until_said("up").await;
    scene.link.kill("t").await;
    assert_eq!(exec.ended().await, How::Signal(9));
    scene.link.until(TaskState::Killed).await;
    assert_eq!(with_word(word), 0);
    scene.end().await;
}

#[tokio::test]
async fn nothing_of_a_check_stays_in_a_container_of_an_engine() {
    let Some((_engine, mut scene)) = with_engine(&[]).await else {
        return;
    };
    let word = "4242.43";
    let leaves = format!("(setsid sleep {word} >/dev/null 2>&1 &); echo >> checked");
    // One check that ends by itself, one whose time is over before it ends, one whose time is over before it begins.
    for (id, line, timeout_ms) in [
        ("ends", leaves.clone(), 20_000),
        ("hangs", format!("{leaves}; sleep {word}"), 2_000),
        ("late", format!("{leaves}; sleep {word}"), 1),
    ] {
        let mut spec = on_engine(id, "while :; do sleep 1; done", IMAGE);
        spec.health_check = Some(HealthCheck {
            probe: Probe::Command(CommandSpec::shell(line)),
            timeout: Duration::from_millis(timeout_ms),
            interval: Duration::from_secs(1_000),
            grace_period: Duration::ZERO,
            ..asked_inside()
        });
        scene.link.run(&spec).await;
        scene.link.until_it(|status| status.healthy.is_some()).await;
        until(|| scene.work.sandbox(id).join("checked").exists() || id == "late").await;
        until(|| with_word(word) == 0).await;
        scene.link.kill(id).await;
        scene.link.until(TaskState::Killed).await;
    }
    scene.end().await;
}

#[tokio::test]
async fn what_a_killed_agent_has_left_in_a_container_of_an_engine_is_ended_by_the_next() {
    let Some((engine, scene)) = sleeping().await else {
        return;
    };
    let word = "4242.42";
    let line = format!("(setsid sleep {word} &); exec sleep {word}");
    let names = engine.containers().await;
    engine
        .leave_behind(names[0].trim_start_matches('/'), &line)
        .await;
    until(|| with_word(word) == 2).await;

    let scene = again(&engine, scene).await;

    assert_eq!(with_word(word), 0);
    assert_eq!(scene.register.tasks.len(), 1, "the task runs on");
    scene.end().await;
}

#[tokio::test]
async fn sessions_over_http_go_into_containers_of_an_engine() {
    let Some((_engine, mut scene)) = sleeping().await else {
        return;
    };
    let parent = container(scene.port).await;
    let caller = Caller::of(scene.port);
    let id = |name: &str| json!({ "value": name, "parent": parent });
    let wait = async |id: &Value| {
        let call = json!({ "type": "WAIT_CONTAINER", "wait_container": { "container_id": id } });
        let ended: Value = caller.call(&call).await.json().await.unwrap();
        ended["wait_container"]["exit_status"].clone()
    };

    let one = id("one");
    let line = "echo $COLOUR; cat; exit 7";
    let output = caller.call(&launch(&one, line, &Value::Null)).await;
    assert_eq!(output.status(), StatusCode::OK);
    let named = json!({ "type": "CONTAINER_ID", "container_id": one });
    let taken = caller.input(&[named, data("typed\n"), data("")]).await;
    assert_eq!(taken, StatusCode::OK);
    assert_eq!(said(output, "STDOUT").await, "red\ntyped\n");
    assert_eq!(wait(&one).await, 7 << 8);

    let two = id("two");
    let terminal =
        json!({ "type": "MESOS", "tty_info": { "window_size": { "rows": 33, "columns": 77 } } });
    let line = "until stty size | grep -q '33 77'; do sleep 0.05; done; id -u";
    let mut as_web = launch(&two, line, &terminal);
    as_web["launch_nested_container_session"]["command"]["user"] = json!("web");
    let output = caller.call(&as_web).await;
    let told = said(output, "STDOUT").await;
    assert!(told.ends_with("4444\r\n"), "{told:?}");
    let mut as_nobody = launch(&id("nobody"), line, &Value::Null);
    as_nobody["launch_nested_container_session"]["command"]["user"] = json!("ghost");
    let refused = caller.call(&as_nobody).await;
    assert_eq!(refused.status(), StatusCode::BAD_REQUEST);
    assert!(soon(refused.text()).await.unwrap().contains("ghost"));

    let kill = |id: &Value, signal: i32| json!({ "type": "KILL_CONTAINER", "kill_container": { "container_id": id, "signal": signal } });
    let three = id("three");
    let sleeps = launch(&three, "exec sleep 1000", &Value::Null);
    let output = caller.call(&sleeps).await;
    assert_eq!(caller.call(&kill(&three, 15)).await.status(), 200);
    assert_eq!(said(output, "STDOUT").await, "");
    assert_eq!(wait(&three).await, 15);
    // Of the task itself.
    let kill = kill(&parent, 9);
    let (ended, killed) = tokio::join!(wait(&parent), caller.call(&kill));
    assert_eq!((ended, killed.status()), (json!(9), StatusCode::OK));
    scene.link.until(TaskState::Failed).await;
    scene.end().await;
}
