//! From launch to acknowledgement.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use mete_daemon::clock;
use mete_model::container::SecretValue;
use mete_model::{CommandSpec, FetchUri, HealthCheck, Limitation, Probe, Reason, TaskState};
use mete_proto::convert::task::to_run;
use mete_proto::mesos::v1 as mesos;
use mete_proto::mete::v1::master_message::Message;
use mete_proto::mete::v1::{Ping, agent_message};

use super::master::{AGENT, FRAMEWORK, Master, task};
use super::world::{Work, get, json};
use crate::support::until;

/// Variables that every shell has.
const SHELL_OWN: [&str; 5] = ["PATH", "PWD", "OLDPWD", "SHLVL", "_"];

#[tokio::test]
async fn a_task_starts_runs_ends_and_is_forgotten_once_acknowledged() {
    let mut master = Master::start().await;
    let work = Work::new();
    let agent = work.start(master.address, &["--attributes=rack:r1"]);
    let (mut link, register) = master.admit().await;
    let port = register.agent_info.port();

    link.run(&task("web.1", "echo hello; sleep 0.2")).await;
    for state in [TaskState::Starting, TaskState::Running, TaskState::Finished] {
        let status = link.report().await;
        assert_eq!(status.state, state, "{status:?}");
        assert_eq!(status.ip_addresses, ["127.0.0.1"]);
        link.acknowledge(&status).await;
    }

    assert_eq!(register.tasks, []);
    let attributes = register.agent_info.attributes.iter();
    let names: Vec<&str> = attributes.map(|one| one.name.as_str()).collect();
    // Networks are named only where there can be containers.
    assert_eq!(
        names.first().zip(names.last()),
        Some((&"containerizers", &"rack"))
    );
    assert_eq!(work.said("web.1", "stdout").await, "hello\n");
    let mut frameworks = 1;
    while frameworks > 0 {
        let (_, state) = json(port, "/state", &[]).await;
        assert_eq!(state["id"], AGENT);
        frameworks = state["frameworks"].as_array().unwrap().len();
    }
    let (_, tasks) = json(port, "/v1/tasks", &[]).await;
    assert_eq!(tasks["tasks"][0]["state"], "TASK_FINISHED");
    until(|| fs::read_dir(work.path.join("tasks")).unwrap().count() == 0).await;
    agent.stop().await.unwrap();
}

#[tokio::test]
async fn an_exit_code_is_told_in_words() {
    let mut master = Master::start().await;
    let work = Work::new();
    let _agent = work.start(master.address, &[]);
    let (mut link, _) = master.admit().await;

    link.run(&task("t", "exit 3")).await;
    let failed = link.until(TaskState::Failed).await;
    link.run(&task("u", "kill -9 $$")).await;
    let killed = link.until(TaskState::Failed).await;
    let mut nowhere = task("v", "");
    nowhere.command.program = mete_model::Program::Exec {
        path: "/no/such/program".into(),
        argv: vec![],
    };
    link.run(&nowhere).await;
    let unstarted = link.until(TaskState::Failed).await;

    assert_eq!(
        failed.message.as_deref(),
        Some("Command exited with status 3")
    );
    assert_eq!(
        killed.message.as_deref(),
        Some("Command terminated with signal Killed (9, SIGKILL)")
    );
    assert_eq!(unstarted.reason, Some(Reason::ContainerLaunchFailed));
    let words = unstarted.message.unwrap();
    assert!(words.contains("/no/such/program"), "{words}");
}

#[tokio::test]
async fn a_task_that_ignores_sigterm_dies_after_its_grace_period() {
    let mut master = Master::start().await;
    let work = Work::new();
    let _agent = work.start(master.address, &[]);
    let (mut link, _) = master.admit().await;
    let mut stubborn = task(
        "t",
        "trap 'echo asked' TERM; echo ready; while :; do sleep 0.05; done",
    );
    stubborn.kill_grace_period = Some(Duration::from_millis(500));
    link.run(&stubborn).await;
    link.until(TaskState::Running).await;
    work.said("t", "stdout").await;

    let before = clock::elapsed();
    link.kill("t").await;
    link.until(TaskState::Killing).await;
    let killed = link.until(TaskState::Killed).await;
    let took = clock::elapsed() - before;

    assert!(took >= Duration::from_millis(500), "{took:?}");
    assert!(killed.message.unwrap().contains("SIGKILL"));
    assert!(work.said("t", "stdout").await.ends_with("asked\n"));
}

#[tokio::test]
async fn a_kill_of_an_unknown_task_is_answered() {
    let mut master = Master::start().await;
    let work = Work::new();
    let _agent = work.start(master.address, &[]);
    let (mut link, _) = master.admit().await;

    link.kill("ghost").await;

    assert_eq!(link.report().await.state, TaskState::Gone);
}

#[tokio::test]
async fn a_task_that_turns_unhealthy_is_reported_and_killed() {
    let mut master = Master::start().await;
    let work = Work::new();
    let _agent = work.start(master.address, &[]);
    let (mut link, _) = master.admit().await;
    let mut spec = task("t", "touch healthy; exec sleep 1000");
    let mut check = HealthCheck::new(Probe::Command(CommandSpec::shell("test -e healthy")));
    check.delay = Duration::ZERO;
    check.interval = Duration::from_millis(50);
    check.grace_period = Duration::from_secs(30);
    check.consecutive_failures = 2;
    spec.health_check = Some(check);
    link.run(&spec).await;

    let first = link.until_it(|status| status.healthy.is_some()).await;
    fs::remove_file(work.sandbox("t").join("healthy")).unwrap();
    let second = link.until_it(|status| status.healthy == Some(false)).await;
    let killed = link.until(TaskState::Killed).await;

    assert_eq!(
        (first.state, first.healthy),
        (TaskState::Running, Some(true))
    );
    assert_eq!(second.reason, Some(Reason::TaskHealthCheckStatusUpdated));
    assert_eq!(killed.healthy, Some(false));
    let words = killed.message.unwrap();
    assert!(words.contains("failed 2 times in a row"), "{words}");
}

#[tokio::test]
async fn a_task_knows_who_it_is_and_nothing_of_the_agent() {
    let mut master = Master::start().await;
    let work = Work::new();
    let _agent = work.start(master.address, &[]);
    let (mut link, register) = master.admit().await;
    let mut spec = task("web.1", "env | sort; echo end");
    spec.command.environment = [("PORT0".into(), "31000".into())].into();

    link.run(&spec).await;
    link.until(TaskState::Finished).await;

    let text = fs::read_to_string(work.sandbox("web.1").join("stdout")).unwrap();
    let found = |name: &str| {
        let prefix = format!("{name}=");
        let mut lines = text.lines();
        lines.find_map(|line| line.strip_prefix(&prefix).map(str::to_owned))
    };
    let sandbox = work.sandbox("web.1").canonicalize().unwrap();
    let endpoint = format!("127.0.0.1:{}", register.agent_info.port());
    for (name, value) in [
        ("MESOS_TASK_ID", "web.1"),
        ("MESOS_EXECUTOR_ID", "web.1"),
        ("MESOS_FRAMEWORK_ID", FRAMEWORK),
        ("MESOS_SLAVE_ID", AGENT),
        ("MESOS_AGENT_ID", AGENT),
        ("MESOS_SANDBOX", sandbox.to_str().unwrap()),
        ("MESOS_DIRECTORY", sandbox.to_str().unwrap()),
        ("MESOS_AGENT_ENDPOINT", endpoint.as_str()),
        ("MESOS_ALLOCATION_ROLE", "*"),
        ("MESOS_CONTAINER_IP", "127.0.0.1"),
        ("PORT0", "31000"),
        ("PWD", sandbox.to_str().unwrap()),
    ] {
        assert_eq!(found(name).as_deref(), Some(value), "{name} in {text}");
    }
    // What a shell sets for itself does not count.
    for (name, _) in std::env::vars().filter(|(name, _)| !SHELL_OWN.contains(&name.as_str())) {
        assert_eq!(found(&name), None, "{name} is the agent's");
    }
}

#[tokio::test]
async fn what_a_task_needs_is_in_its_sandbox_before_it_starts() {
    let mut master = Master::start().await;
    let work = Work::new();
    let _agent = work.start(master.address, &[]);
    let (mut link, register) = master.admit().await;
    let script = work.beside().join("script");
    fs::write(&script, "#!/bin/sh\ncat answer\n").unwrap();
    let port = register.agent_info.port();
    let uri = |value: String, executable, output_file: Option<&str>| FetchUri {
        value,
        extract: true,
        executable,
        cache: false,
        output_file: output_file.map(str::to_owned),
    };
    let mut spec = task("t", "./script");
    spec.command.uris = vec![
        uri(script.display().to_string(), true, None),
        uri(
            format!("http://127.0.0.1:{port}/version"),
            false,
            Some("answer"),
        ),
    ];
    link.run(&spec).await;
    link.until(TaskState::Finished).await;

    let mut missing = task("u", "true");
    missing.command.uris = vec![uri(format!("http://127.0.0.1:{port}/nothing"), false, None)];
    link.run(&missing).await;
    let failed = link.until(TaskState::Failed).await;

    assert!(work.said_now("t", "stdout").contains("\"version\""));
    let words = failed.message.unwrap();
    assert!(
        words.contains("Failed to fetch all URIs for container") && words.contains("404"),
        "{words}"
    );
}

#[tokio::test]
async fn what_a_task_wants_unpacked_and_kept_is_so_and_counted() {
    let mut master = Master::start().await;
    let work = Work::new();
    let _agent = work.start(master.address, &[]);
    let (mut link, register) = master.admit().await;
    let mut archive = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(6);
    header.set_mode(0o644);
    let archived = archive.append_data(&mut header, "app/answer", &b"42 it\n"[..]);
    archived.unwrap();
    let path = work.beside().join("app.tar");
    fs::write(&path, archive.into_inner().unwrap()).unwrap();
    let cached = |fragment: &str| FetchUri {
        value: format!("{}{fragment}", path.display()),
        extract: true,
        executable: false,
        cache: true,
        output_file: None,
    };

    for name in ["t", "u"] {
        let mut spec = task(name, "cat app/answer");
        spec.command.uris = vec![cached("")];
        link.run(&spec).await;
        link.until(TaskState::Finished).await;
    }
    let mut wrong = task("v", "true");
    wrong.command.uris = vec![cached(&format!("#sha256={}", "0".repeat(64)))];
    link.run(&wrong).await;
    let failed = link.until(TaskState::Failed).await;

    assert_eq!(work.said_now("t", "stdout"), "42 it\n");
    assert_eq!(work.said_now("u", "stdout"), "42 it\n");
    assert_eq!(failed.reason, Some(Reason::ContainerLaunchFailed));
    let words = failed.message.unwrap();
    assert!(words.contains("wanted was sha256=0000"), "{words}");
    let (_, body) = get(register.agent_info.port(), "/metrics", &[]).await;
    let text = String::from_utf8(body).unwrap();
    for line in [
        "mete_agent_fetcher_cache_hits_total 1",
        "mete_agent_fetcher_cache_misses_total 2",
        "mete_agent_fetcher_cache_files 1",
        "mete_agent_fetcher_cache_max_bytes 2147483648",
        "mete_agent_fetcher_task_fetches_succeeded_total 2",
        "mete_agent_fetcher_task_fetches_failed_total 1",
    ] {
        assert!(text.contains(&format!("{line}\n")), "{line} in {text}");
    }
}

#[tokio::test]
async fn a_task_that_this_agent_cannot_run_is_an_error() {
    let mut master = Master::start().await;
    let work = Work::new();
    let _agent = work.start(master.address, &[]);
    let (mut link, _) = master.admit().await;
    let mut info: mesos::TaskInfo = (&task("t", "true")).into();
    info.command = None;

    link.run_info(info).await;
    let refused = link.report().await;

    assert_eq!(refused.state, TaskState::Error);
    assert_eq!(refused.reason, Some(Reason::TaskInvalid));
    assert_eq!(refused.message.as_deref(), Some("command: it is missing"));
}

#[tokio::test]
async fn a_master_that_reads_late_hears_all_that_happened_on_the_same_stream() {
    const TASKS: usize = 6_000;
    let mut master = Master::start().await;
    let work = Work::new();
    let _agent = work.start(master.address, &[]);
    let (mut link, _) = master.admit().await;
    let mut info: mesos::TaskInfo = (&task("t", "true")).into();
    info.command = None;

    // More than may wait to be sent, and than what is on the way holds.
    for number in 0..TASKS {
        info.task_id.value = format!("t{number}");
        link.run_info(info.clone()).await;
    }
    // Nobody acknowledges any.
    let mut heard = BTreeSet::new();
    while heard.len() < TASKS {
        heard.insert(link.report().await.task);
    }
}

#[tokio::test]
async fn pings_are_answered_and_metrics_count() {
    let mut master = Master::start().await;
    let work = Work::new();
    let _agent = work.start(master.address, &[]);
    let (mut link, register) = master.admit().await;

    link.say(Message::Ping(Ping { sequence: 7 })).await;
    let answer = link.next().await;

    assert!(matches!(
        answer,
        Some(agent_message::Message::Pong(pong)) if pong.sequence == 7
    ));
    let port = register.agent_info.port();
    let (status, body) = get(port, "/metrics", &[]).await;
    let text = String::from_utf8(body).unwrap();
    assert_eq!(status, 200);
    assert!(text.contains("mete_agent_registered 1"), "{text}");
    assert!(
        text.contains("mete_agent_tasks{phase=\"running\"} 0"),
        "{text}"
    );
    assert_eq!(get(port, "/health", &[]).await.0, 200);
}

#[tokio::test]
async fn a_task_that_takes_too_much_memory_fails_for_that_reason() {
    let mut master = Master::start().await;
    let work = Work::new();
    let _agent = work.start(master.address, &[]);
    let (mut link, register) = master.admit().await;
    let port = register.agent_info.port();
    link.run(&task("quiet", "exec sleep 1000")).await;
    link.until(TaskState::Running).await;
    let (_, usage) = json(port, "/monitor/statistics", &[]).await;
    let limit = &usage[0]["statistics"]["mem_limit_bytes"];
    let (_, same) = json(port, "/monitor/statistics.json", &[]).await;
    assert_eq!(same[0]["executor_id"], "quiet");
    let (_, body) = get(port, "/metrics", &[]).await;
    let text = String::from_utf8(body).unwrap();
    let labels = format!("{{framework=\"{FRAMEWORK}\",task=\"quiet\"}}");
    let line = format!("mete_agent_container_memory_limit_bytes{labels} {limit}\n");
    if *limit != 64 << 20 {
        eprintln!("skipped: this host has no memory limits for us ({usage})");
        return;
    }

    assert!(text.contains(&line), "{text}");
    let pressure = &usage[0]["statistics"]["pressure"]["memory"];
    let measured = std::path::Path::new("/proc/pressure/memory").exists();
    assert_eq!(pressure["some_percent"].is_number(), measured, "{usage}");

    link.run(&task("t", "head -c 300m /dev/zero | tail")).await;
    let failed = link.until(TaskState::Failed).await;

    assert_eq!(failed.reason, Some(Reason::ContainerLimitationMemory));
    let words = failed.message.unwrap();
    assert!(words.contains("more than its 64 MB of memory"), "{words}");
    assert!(
        words.contains("its memory limit of 64 MiB, it has had"),
        "{words}"
    );
    assert_eq!(failed.limitation, Some(Limitation::Memory(64 << 20)));
}

#[tokio::test]
async fn a_variable_that_holds_a_secret_is_seen_by_the_task_alone() {
    let mut master = Master::start().await;
    let work = Work::new();
    let _agent = work.start(master.address, &[]);
    let (mut link, register) = master.admit().await;
    let port = register.agent_info.port();
    let mut spec = task("t", "echo $COLOUR $PASSWORD > out; exec sleep 1000");
    let secret = SecretValue::new(*b"hunter2");
    spec.command.secrets = [("PASSWORD".to_owned(), Some(secret))].into();
    spec.command.environment = [("COLOUR".to_owned(), "red".to_owned())].into();

    link.run_info(to_run(&spec)).await;
    link.until(TaskState::Running).await;

    assert_eq!(work.said("t", "out").await, "red hunter2\n");
    for path in ["/state", "/containers", "/v1/tasks", "/metrics"] {
        let (_, told) = get(port, path, &[]).await;
        assert!(
            !String::from_utf8_lossy(&told).contains("hunter2"),
            "{path}"
        );
    }
    let store = std::fs::read(work.path.join("agent.redb")).unwrap();
    assert!(!store.windows(7).any(|bytes| bytes == b"hunter2"));
}
