//! Tasks on a Docker Engine, a real one. Needs root, dockerd and busybox, and says so without.

use std::sync::Arc;

use mete_agent::cgroups::Limits;
use mete_agent::containerizer::docker::Containerizers;
use mete_agent::containerizer::permissions::Permissions;
use mete_agent::containerizer::{Containerizer, Found, KillSignal, Start, StartError};
use mete_agent::docker::{Setup, Wanted};
use mete_agent_core::task_dir::End;
use mete_model::ContainerSpec;
use mete_model::container::{ContainerKind, Mount, MountSource, Network, Program};
use mete_model::container::{Rlimit, RlimitKind};

use crate::dockerd::{Dockerd, IMAGE, engine_possible};
use crate::support::{Agent, id, runner, soon, until};

/// What an agent runs tasks with; with the engine.
fn tasks(agent: &Agent, engine: &Dockerd) -> Containerizers {
    let setup = Setup {
        socket: engine.socket(),
        scope: format!("test-{}", agent.work.path().display()),
        permissions: Permissions::default(),
        cpu_quota: false,
        max_pids: 77,
        logins: None,
    };
    Containerizers::new(Arc::new(agent.again()), Some(Arc::new(setup)))
}

/// A task in a container of the engine.
fn task(
    agent: &Agent,
    container: &str,
    line: &str,
    change: impl FnOnce(&mut ContainerSpec),
) -> Start {
    let mut start = agent.task(container, "");
    let mut spec = ContainerSpec {
        kind: ContainerKind::Docker,
        image: Some(IMAGE.into()),
        network: Network::None,
        ..ContainerSpec::default()
    };
    change(&mut spec);
    start.limits = Limits::new(100, 64 << 20);
    start.environment = [("PATH".to_owned(), "/bin".to_owned())].into();
    start.docker = Some(Wanted {
        user: spec.user.clone(),
        spec,
        volumes: Vec::new(),
        secrets: None,
        devices: Vec::new(),
        program: Program::Shell(line.into()),
    });
    start
}

#[tokio::test]
async fn a_task_on_an_engine_runs_ends_and_leaves_nothing_but_its_sandbox() {
    if !engine_possible() {
        return;
    }
    let (agent, engine) = (Agent::new(), Dockerd::start().await);
    let tasks = tasks(&agent, &engine);
    let line = "echo hello; echo mine > here; echo oops >&2; pwd; exit 3";

    let start = task(&agent, "d1", line, |spec| {
        spec.working_dir = Some("/mnt/mesos/sandbox".into());
    });
    let shim = soon(tasks.start(start)).await.unwrap();
    let exit = soon(shim.ended()).await.unwrap();

    assert_eq!(exit.end, End::Exited { code: 3 });
    assert!(exit.started_at_us.is_some_and(|at| at <= exit.ended_at_us));
    assert_eq!(
        agent.said("d1", "stdout").await,
        "hello\n/mnt/mesos/sandbox\n"
    );
    assert_eq!(agent.said("d1", "stderr").await, "oops\n");
    assert_eq!(agent.said("d1", "here").await, "mine\n");
    assert_eq!(engine.containers().await, ["/mete-d1"]);
    soon(tasks.destroy(id("d1"))).await.unwrap();
    assert_eq!(engine.containers().await, [""; 0]);
    assert!(!agent.dir("d1").path().exists());
}

#[tokio::test]
async fn walls_and_limits_of_a_task_are_the_engines() {
    if !engine_possible() {
        return;
    }
    let (agent, engine) = (Agent::new(), Dockerd::start().await);
    let tasks = tasks(&agent, &engine);
    let line = "ulimit -n; echo no 2>/dev/null > /x || echo read-only; ls /t /data; \
                cat /proc/self/status; id -u; echo end";
    let start = task(&agent, "d1", line, |spec| {
        spec.isolation.read_only_root = true;
        spec.isolation.capabilities = Some([].into());
        spec.isolation.rlimits.push(Rlimit {
            kind: RlimitKind::Nofile,
            soft: Some(64),
            hard: Some(64),
        });
        spec.user = Some("7:8".into());
        let mount = |target: &str, source| Mount {
            target: target.into(),
            source,
            read_only: false,
        };
        let memory = MountSource::Tmpfs {
            size_bytes: Some(1 << 20),
        };
        spec.mounts = vec![
            mount("/t", memory),
            mount("/data", MountSource::Sandbox("own/data".into())),
        ];
    });

    let shim = soon(tasks.start(start)).await.unwrap();
    soon(shim.ended()).await.unwrap();

    let said = agent.said("d1", "stdout").await;
    assert!(said.starts_with("64\nread-only\n"), "{said}");
    assert!(said.contains("CapBnd:\t0000000000000000"), "{said}");
    assert!(said.contains("NoNewPrivs:\t1"), "{said}");
    assert!(said.contains("Seccomp:\t2"), "{said}");
    assert!(said.ends_with("\n7\nend\n"), "{said}");
    assert!(agent.work.path().join("sandboxes/d1/own/data").is_dir());

    let greedy = task(&agent, "d2", "exec tail /dev/zero", |_| {});
    let shim = soon(tasks.start(greedy)).await.unwrap();
    let exit = soon(shim.ended()).await.unwrap();
    assert_eq!(exit.end, End::Signaled { signal: 9 });
    assert!(exit.is_out_of_memory(), "{}", exit.sentence());
    for container in ["d1", "d2"] {
        soon(tasks.destroy(id(container))).await.unwrap();
    }
}

#[tokio::test]
async fn what_cannot_start_says_why_and_leaves_nothing() {
    if !engine_possible() {
        return;
    }
    let (agent, engine) = (Agent::new(), Dockerd::start().await);
    let tasks = tasks(&agent, &engine);

    let mut start = task(&agent, "d1", "", |_| {});
    start.docker.as_mut().unwrap().program = Program::Exec {
        path: "/bin/nothing".into(),
        argv: Vec::new(),
    };
    let refused = soon(tasks.start(start)).await.expect_err("no program");
    assert!(refused.to_string().contains("/bin/nothing"), "{refused}");
    let start = task(&agent, "d2", "true", |spec| {
        spec.image = Some("no:1".into())
    });
    let refused = soon(tasks.start(start)).await.expect_err("no image");
    assert!(matches!(refused, StartError::Engine(_)), "{refused}");
    assert!(refused.to_string().contains("no:1"), "{refused}");

    assert_eq!(engine.containers().await, [""; 0]);
    for container in ["d1", "d2"] {
        assert!(!agent.dir(container).path().exists());
    }
}

#[tokio::test]
async fn tasks_on_an_engine_are_asked_to_end_and_killed_also_while_it_hangs() {
    if !engine_possible() {
        return;
    }
    let (agent, engine) = (Agent::new(), Dockerd::start().await);
    let tasks = tasks(&agent, &engine);
    let polite = "trap 'echo bye; exit 9' TERM; echo up; while :; do sleep 0.1; done";
    let polite = task(&agent, "d1", polite, |_| {});
    let stubborn = "trap '' TERM; echo up; while :; do sleep 0.1; done";
    let stubborn = task(&agent, "d2", stubborn, |_| {});

    let first = soon(tasks.start(polite)).await.unwrap();
    let second = soon(tasks.start(stubborn)).await.unwrap();
    agent.said("d1", "stdout").await;
    agent.said("d2", "stdout").await;
    let usage = tasks.usage(id("d1")).await;
    assert!(usage.mem_bytes.is_some_and(|bytes| bytes > 0), "{usage:?}");
    assert_eq!(usage.mem_limit_bytes, Some(64 << 20));
    soon(tasks.kill(id("d1"), KillSignal::Terminate))
        .await
        .unwrap();
    let exit = soon(first.ended()).await.unwrap();
    assert_eq!(exit.end, End::Exited { code: 9 });
    engine.hang();
    let killed = soon(tasks.kill(id("d2"), KillSignal::Kill)).await;
    engine.go_on();
    killed.unwrap();
    let exit = soon(second.ended()).await.unwrap();
    assert_eq!(exit.end, End::Signaled { signal: 9 });
    for container in ["d1", "d2"] {
        soon(tasks.destroy(id(container))).await.unwrap();
    }
    assert_eq!(engine.containers().await, [""; 0]);
}

#[tokio::test]
async fn a_task_whose_container_was_paused_is_killed() {
    if !engine_possible() {
        return;
    }
    let (agent, engine) = (Agent::new(), Dockerd::start().await);
    let tasks = tasks(&agent, &engine);
    let start = task(&agent, "d1", "while :; do sleep 1; done", |_| {});
    let shim = soon(tasks.start(start)).await.unwrap();
    engine.pause("mete-d1").await;

    soon(tasks.kill(id("d1"), KillSignal::Kill)).await.unwrap();

    let exit = soon(shim.ended()).await.unwrap();
    assert_eq!(exit.end, End::Signaled { signal: 9 });
    soon(tasks.destroy(id("d1"))).await.unwrap();
}

#[tokio::test]
async fn a_task_is_found_again_and_its_end_is_told_also_when_its_engine_was_killed() {
    if !engine_possible() {
        return;
    }
    let (agent, mut engine) = (Agent::new(), Dockerd::start().await);
    let before = tasks(&agent, &engine);
    let waits = task(
        &agent,
        "d1",
        "while ! test -e /mnt/mesos/sandbox/go; do sleep 0.1; done; exit 4",
        |_| {},
    );
    let stays = task(&agent, "d2", "echo up; exec sleep 1000", |_| {});
    let gone = task(&agent, "d3", "echo up; exec sleep 1000", |_| {});
    for start in [waits, stays, gone] {
        drop(soon(before.start(start)).await.unwrap());
    }
    drop(before);

    let after = tasks(&agent, &engine);
    std::fs::write(agent.work.path().join("sandboxes/d1/go"), "").unwrap();
    until(|| agent.dir("d1").exit().exists()).await;
    let Found::Ended(exit) = after.find(id("d1")).await.unwrap() else {
        panic!("it has ended meanwhile");
    };
    assert_eq!(exit.end, End::Exited { code: 4 });
    // Without its follower nobody sees how a container ends: it does not outlive it.
    let follower = runner(&agent.dir("d3")).task;
    let Found::Running(shim) = after.find(id("d3")).await.unwrap() else {
        panic!("it runs");
    };
    mete_agent::processes::signal(follower, rustix::process::Signal::KILL);
    assert_eq!(soon(shim.ended()).await, None);
    let Found::Running(shim) = after.find(id("d2")).await.unwrap() else {
        panic!("it runs");
    };
    engine.kill_and_restart().await;
    let exit = soon(shim.ended()).await.expect("the next engine tells");
    assert!(!exit.is_success(), "{}", exit.sentence());
    for container in ["d1", "d2", "d3"] {
        soon(after.destroy(id(container))).await.unwrap();
    }
    assert_eq!(engine.containers().await, [""; 0]);
}
