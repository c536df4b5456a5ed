//! Groups of a whole agent: tasks that share a directory and a network, begin in order, end together.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use mete_model::container::{Mount, MountSource, Network};
use mete_model::executor::INIT_LABEL;
use mete_model::{
    ContainerSpec, ExecutorId, ExecutorKind, ExecutorSpec, Resources, TaskSpec, TaskState,
    TaskStatus,
};
use mete_proto::mesos::v1 as mesos;
use mete_proto::mete::v1 as wire;
use wire::agent_message::Message as Said;
use wire::master_message::Message;

use super::master::{FRAMEWORK, Link, Master, framework, info_of, status_of, task};
use super::nested::Caller;
use super::world::{Work, get, json};
use crate::containers::possible;
use crate::support::{soon, until};

pub(super) fn executor(network: Network) -> ExecutorSpec {
    let container = ContainerSpec {
        network,
        ..ContainerSpec::default()
    };
    ExecutorSpec {
        id: ExecutorId::new("pod").unwrap(),
        kind: ExecutorKind::Default,
        name: "a pod".into(),
        resources: Resources::cpus_mem(10, 32),
        command: None,
        container: Some(Box::new(container)),
        shutdown_grace_period: None,
        original: [].as_slice().into(),
    }
}

pub(super) async fn run(link: &Link, executor: &ExecutorSpec, tasks: &[TaskSpec]) {
    let run = wire::RunGroup {
        framework_info: (&framework()).into(),
        executor_info: executor.into(),
        task_group: mesos::TaskGroupInfo {
            tasks: tasks.iter().map(Into::into).collect(),
        },
    };
    link.say(Message::RunGroup(Box::new(run))).await;
}

/// Acknowledges reports until each of these has been heard.
pub(super) async fn heard(link: &mut Link, wanted: &[(&str, TaskState)]) -> Vec<TaskStatus> {
    let mut missing = wanted.to_vec();
    let mut found = Vec::new();
    while !missing.is_empty() {
        let status = link.report().await;
        link.acknowledge(&status).await;
        let before = missing.len();
        missing.retain(|(task, state)| status.task.as_str() != *task || status.state != *state);
        if missing.len() < before {
            found.push(status);
        } else {
            let ended = status.state.is_terminal();
            assert!(!ended, "{status:?} while {missing:?} is awaited");
        }
    }
    found
}

/// The sandbox of the executor.
fn pod(work: &Work) -> PathBuf {
    let framework = format!("slaves/m-S1/frameworks/{FRAMEWORK}");
    work.path.join(framework).join("executors/pod/runs/latest")
}

/// The sandbox of a task of it.
pub(super) fn sandbox(work: &Work, task: &str) -> PathBuf {
    pod(work).join("tasks").join(task)
}

/// In a container, with the directory `all` of the executor's sandbox at `shared`.
fn sharing(id: &str, line: &str) -> TaskSpec {
    let mut spec = task(id, line);
    spec.container = Some(Box::new(ContainerSpec {
        image: Some("busybox".into()),
        mounts: vec![Mount {
            target: "shared".into(),
            source: MountSource::Parent("all".into()),
            read_only: false,
        }],
        ..ContainerSpec::default()
    }));
    spec
}

pub(super) fn init(mut spec: TaskSpec) -> TaskSpec {
    spec.labels.push((INIT_LABEL.into(), None));
    spec
}

#[tokio::test]
async fn tasks_of_a_group_share_a_directory_and_a_network() {
    if !possible() {
        return;
    }
    let mut master = Master::start().await;
    let work = Work::new();
    let agent = work.start(master.address, &[]);
    let (mut link, register) = master.admit().await;
    // One writes and listens, the other waits for both; neither sees the machine's network.
    let serves = sharing(
        "serves",
        "echo written > shared/file; echo heard | nc -l -p 7777; sleep 1000",
    );
    let asks = sharing(
        "asks",
        "until nc 127.0.0.1 7777 > got; do sleep 0.05; done; cat shared/file got; ls /sys/class/net; echo $MESOS_EXECUTOR_ID",
    );

    run(&link, &executor(Network::None), &[serves, asks]).await;
    heard(
        &mut link,
        &[
            ("serves", TaskState::Running),
            ("asks", TaskState::Finished),
        ],
    )
    .await;

    let said = fs::read_to_string(sandbox(&work, "asks").join("stdout")).unwrap();
    assert_eq!(said, "written\nheard\nlo\npod\n");
    let (_, state) = json(register.agent_info.port(), "/state", &[]).await;
    let shown = &state["frameworks"][0]["executors"][0];
    assert_eq!(shown["id"], "pod");
    assert_eq!(shown["tasks"][0]["id"], "serves");
    let (_, tasks) = json(register.agent_info.port(), "/v1/tasks", &[]).await;
    let kept = tasks["tasks"].as_array().unwrap();
    let kept = kept.iter().find(|task| task["id"] == "asks").unwrap();
    let kept = PathBuf::from(kept["sandbox"].as_str().unwrap());
    assert!(kept.join("stdout").exists(), "{}", kept.display());
    let networks = || fs::read_dir(work.path.join("namespaces")).unwrap().count();
    assert_eq!(networks(), 1);
    link.kill("serves").await;
    heard(&mut link, &[("serves", TaskState::Killed)]).await;
    until(|| networks() == 0).await;
    drop(link);
    agent.stop().await.unwrap();
}

#[tokio::test]
async fn a_task_that_fails_ends_its_group_with_grace() {
    let mut master = Master::start().await;
    let work = Work::new();
    let _agent = work.start(master.address, &[]);
    let (mut link, _) = master.admit().await;
    let polite = task(
        "polite",
        "trap 'echo asked; exit 0' TERM; echo ready; while :; do sleep 0.02; done",
    );
    let mut stubborn = task("stubborn", "trap '' TERM; while :; do sleep 0.02; done");
    stubborn.kill_grace_period = Some(Duration::from_millis(300));
    let ready = sandbox(&work, "polite").join("stdout");
    let fails = task(
        "fails",
        &format!(
            "until grep -q ready {}; do sleep 0.02; done; exit 7",
            ready.display()
        ),
    );

    run(&link, &executor(Network::Host), &[polite, stubborn, fails]).await;
    let ended = heard(
        &mut link,
        &[
            ("polite", TaskState::Killed),
            ("stubborn", TaskState::Killed),
            ("fails", TaskState::Failed),
        ],
    )
    .await;

    let said = |id: &str| {
        let status = ended.iter().find(|status| status.task.as_str() == id);
        status.unwrap().message.clone().unwrap()
    };
    let why = "task fails of its group failed (Command exited with status 7)";
    assert_eq!(
        said("polite"),
        format!("{why}; Command exited with status 0")
    );
    assert_eq!(
        said("stubborn"),
        format!("{why}; Command terminated with signal Killed (9, SIGKILL)")
    );
    assert_eq!(fs::read_to_string(ready).unwrap(), "ready\nasked\n");
}

#[tokio::test]
async fn init_tasks_come_first_and_a_killed_agent_goes_on_with_the_order() {
    let mut master = Master::start().await;
    let work = Work::new();
    let agent = work.start(master.address, &[]);
    let (mut link, _) = master.admit().await;
    let log = work.beside().join("log");
    let write = |word: &str| format!("echo {word} >> {}", log.display());
    let go = work.beside().join("go");
    let wait = format!("until test -e {}; do sleep 0.02; done", go.display());
    let tasks = [
        task("main", &write("main")),
        init(task("first", &write("first"))),
        init(task("second", &format!("{wait}; {}", write("second")))),
    ];

    run(&link, &executor(Network::Host), &tasks).await;
    heard(
        &mut link,
        &[
            ("first", TaskState::Finished),
            ("second", TaskState::Running),
        ],
    )
    .await;
    agent.kill().await;
    fs::write(&go, "").unwrap();
    let ended = || {
        let mut dirs = fs::read_dir(work.path.join("tasks")).unwrap().flatten();
        dirs.all(|dir| dir.path().join("exit.json").exists())
    };
    until(ended).await;
    let _agent = work.start(master.address, &[]);
    let (mut link, register) = master.admit().await;

    let names = register.tasks.iter().map(|task| {
        let executor = task.executor_info.as_ref().unwrap();
        (
            info_of(task).task_id.value,
            executor.executor_id.value.as_str(),
        )
    });
    let names: Vec<_> = names.collect();
    assert!(
        names
            .iter()
            .any(|(task, executor)| task == "main" && *executor == "pod"),
        "{names:?}"
    );
    heard(
        &mut link,
        &[
            ("second", TaskState::Finished),
            ("main", TaskState::Finished),
        ],
    )
    .await;
    assert_eq!(fs::read_to_string(&log).unwrap(), "first\nsecond\nmain\n");
}

#[tokio::test]
async fn a_group_that_makes_no_sense_is_none() {
    let mut master = Master::start().await;
    let work = Work::new();
    let _agent = work.start(master.address, &[]);
    let (mut link, _) = master.admit().await;
    let mut executor: mesos::ExecutorInfo = (&executor(Network::Host)).into();
    executor.r#type = None;

    link.say(Message::RunGroup(Box::new(wire::RunGroup {
        framework_info: (&framework()).into(),
        executor_info: executor,
        task_group: mesos::TaskGroupInfo {
            tasks: vec![(&task("a", "true")).into()],
        },
    })))
    .await;
    let refused = match link.next().await {
        Some(Said::Update(update)) => TaskStatus::try_from(&status_of(&update)).unwrap(),
        other => panic!("a report is awaited, not {other:?}"),
    };

    assert_eq!(refused.state, TaskState::Error);
    assert_eq!(
        refused.message.as_deref(),
        Some("executor.type: it is missing")
    );
}

/// An executor of two tasks, as tools see it that look at containers.
async fn looks_like_one_with_two_in_it(port: i32) {
    // What has begun since the last look is in the next one.
    let containers = soon(async {
        loop {
            let (_, all) = json(port, "/containers", &[("show_nested", "true")]).await;
            match all.as_array().unwrap().len() {
                3 => return all,
                _ => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    });
    let containers = containers.await;
    let [one, two, first] = &containers.as_array().unwrap()[..] else {
        panic!("three of {containers}");
    };
    assert_eq!([&first["executor_id"], &first["source"]], ["pod", "pod"]);
    assert_eq!([&one["source"], &two["source"]], ["one", "two"]);
    assert_eq!(
        one["status"]["container_id"]["parent"]["value"],
        first["container_id"]
    );
    let limit = |of: &serde_json::Value| of["statistics"]["mem_soft_limit_bytes"].as_u64();
    let of_tasks = limit(one).unwrap() + limit(two).unwrap();
    assert_eq!(limit(first), Some(of_tasks + (32 << 20)));
    let (_, top) = json(port, "/monitor/statistics", &[]).await;
    assert_eq!(top.as_array().unwrap().len(), 1, "{top}");
    let (_, state) = json(port, "/state", &[]).await;
    let shown = &state["frameworks"][0]["executors"][0];
    let status = &shown["tasks"][0]["statuses"][0]["container_status"];
    assert_eq!(
        status["container_id"]["parent"]["value"],
        shown["container"]
    );
}

#[tokio::test]
async fn tools_find_tasks_of_a_group_below_its_executor_which_is_no_task() {
    let mut master = Master::start().await;
    let work = Work::new();
    let _agent = work.start(master.address, &[]);
    let (mut link, register) = master.admit().await;
    let port = register.agent_info.port();

    run(
        &link,
        &executor(Network::Host),
        &[
            task("one", "exec sleep 1000"),
            task("two", "exec sleep 1000"),
        ],
    )
    .await;
    let both = [("one", TaskState::Running), ("two", TaskState::Running)];
    heard(&mut link, &both).await;
    looks_like_one_with_two_in_it(port).await;
    let latest = format!("/frameworks/{FRAMEWORK}/executors/pod/runs/latest");
    let browsed = get(port, "/files/browse", &[("path", &latest)]).await;
    assert_eq!(browsed.0, 200);
    let place = format!("{latest}/tasks");
    let (_, entries) = json(port, "/files/browse", &[("path", &place)]).await;
    assert_eq!([&entries[0]["uid"], &entries[0]["gid"]], ["root", "root"]);
    link.kill("one").await;
    let both = [("one", TaskState::Killed), ("two", TaskState::Killed)];
    heard(&mut link, &both).await;
    let gone = async || {
        let (_, state) = json(port, "/state", &[]).await;
        let over = &state["completed_frameworks"][0]["completed_executors"];
        let over = over.as_array().filter(|all| !all.is_empty())?;
        Some(over.clone())
    };
    let over = soon(async {
        loop {
            match gone().await {
                Some(over) => return over,
                None => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    });
    let over = over.await;

    assert_eq!(over.len(), 1, "{over:?}");
    assert_eq!(over[0]["id"], "pod");
    let tasks = over[0]["completed_tasks"].as_array().unwrap();
    assert_eq!(tasks.len(), 2, "{tasks:?}");
    assert_eq!(tasks[0]["executor_id"], "pod");
    assert_eq!(tasks[0]["statuses"][0]["state"], "TASK_KILLED");
    assert!(
        tasks[0]["resources"]["mem"].as_f64() > Some(0.0),
        "{tasks:?}"
    );
    assert_eq!(over[0]["type"], "DEFAULT");
    let asked = Caller::of(port)
        .call(&serde_json::json!({ "type": "GET_TASKS" }))
        .await;
    let asked: serde_json::Value = asked.json().await.unwrap();
    let tasks = asked["get_tasks"]["completed_tasks"].as_array().unwrap();
    assert_eq!(tasks.len(), 2, "{tasks:?}");
}
