//! Crashes, two agents on one directory, a full disk, a master that is gone.

use std::fs;
use std::process::Command;
use std::time::Duration;

use mete_agent::RunError;
use mete_agent_core::StopReason;
use mete_daemon::exit::Exit;
use mete_model::{TaskState, TaskStatus};
use mete_proto::mete::v1::master_message::Message;
use mete_proto::mete::v1::{Refused, Shutdown};

use super::master::{Master, info_of, status_of, task};
use super::world::{Daemon, Work, get, json};
use crate::support::{soon, until};

/// Waits until the agent counts so.
async fn metric(port: i32, line: &str) {
    let line = format!("mete_agent_{line}\n");
    let counts = async {
        loop {
            let (_, body) = get(port, "/metrics", &[]).await;
            if String::from_utf8(body).unwrap().contains(&line) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    soon(counts).await;
}

/// Waits until everything said so far is acknowledged.
pub(super) async fn quiet(port: i32) {
    metric(port, "reports_unacknowledged 0").await;
}

#[tokio::test]
async fn an_agent_that_was_killed_takes_its_tasks_over() {
    let mut master = Master::start().await;
    let work = Work::new();
    let agent = work.start(master.address, &[]);
    let (mut link, register) = master.admit().await;
    link.run(&task("web", "echo $$; exec sleep 1000")).await;
    link.until(TaskState::Running).await;
    quiet(register.agent_info.port()).await;
    let pid = work.said("web", "stdout").await;

    agent.kill().await;
    let agent = work.start(master.address, &[]);
    let (mut link, register) = master.admit().await;

    let known = &register.tasks[0];
    assert_eq!(info_of(known).task_id.value, "web");
    let status = TaskStatus::try_from(&known.latest_status).unwrap();
    assert_eq!(status.state, TaskState::Running);
    assert_eq!(register.unacknowledged, []);
    assert_eq!(register.frameworks.len(), 1);
    assert_eq!(work.said("web", "stdout").await, pid, "the same process");
    link.kill("web").await;
    link.until(TaskState::Killed).await;
    agent.stop().await.unwrap();
}

#[tokio::test]
async fn what_happened_while_the_agent_was_dead_is_reported_as_it_was() {
    let mut master = Master::start().await;
    let work = Work::new();
    let agent = work.start(master.address, &[]);
    let (mut link, register) = master.admit().await;
    let port = register.agent_info.port();
    let line = "echo ready; while [ ! -e go ]; do sleep 0.02; done; exit 7";
    link.run(&task("t", line)).await;
    link.until(TaskState::Running).await;
    work.said("t", "stdout").await;
    quiet(port).await;

    agent.kill().await;
    let tasks = work.path.join("tasks");
    fs::write(work.sandbox("t").join("go"), "").unwrap();
    let ended = || {
        let mut dirs = fs::read_dir(&tasks).unwrap().flatten();
        dirs.all(|dir| dir.path().join("exit.json").exists())
    };
    until(ended).await;
    let _agent = work.start(master.address, &[]);
    let (link, register) = master.admit().await;

    let status = TaskStatus::try_from(&status_of(&register.unacknowledged[0])).unwrap();
    assert_eq!(status.state, TaskState::Failed);
    assert_eq!(
        status.message.as_deref(),
        Some("Command exited with status 7")
    );
    link.acknowledge(&status).await;
}

#[tokio::test]
async fn reports_nobody_acknowledged_come_again_after_a_crash() {
    let mut master = Master::start().await;
    let work = Work::new();
    let agent = work.start(master.address, &[]);
    let (mut link, register) = master.admit().await;
    link.run(&task("t", "true")).await;
    let first = link.report().await;
    metric(register.agent_info.port(), "reports_unacknowledged 3").await;
    agent.kill().await;

    let _agent = work.start(master.address, &[]);
    let (mut link, register) = master.admit().await;

    let again = TaskStatus::try_from(&status_of(&register.unacknowledged[0])).unwrap();
    assert_eq!(again.uuid, first.uuid);
    link.acknowledge(&again).await;
    link.until(TaskState::Finished).await;
}

#[tokio::test]
async fn an_agent_that_ends_leaves_its_tasks_unless_told_otherwise() {
    let mut master = Master::start().await;
    let work = Work::new();
    let mut options = work.options(master.address, &[]);
    options.stop_tasks_on_exit = false;
    let agent = Daemon::start(options);
    let (mut link, _) = master.admit().await;
    link.run(&task("t", "exec sleep 1000")).await;
    link.until(TaskState::Running).await;
    agent.stop().await.unwrap();

    let agent = work.start(master.address, &[]);
    let (link, register) = master.admit().await;
    assert_eq!(register.tasks.len(), 1);
    drop(link);
    agent.stop().await.unwrap();

    let left = fs::read_dir(work.path.join("tasks")).unwrap().count();
    assert_eq!(left, 0, "this time it took its task along");
}

#[tokio::test]
async fn two_agents_in_one_directory_are_one_too_many() {
    let mut master = Master::start().await;
    let work = Work::new();
    let _agent = work.start(master.address, &[]);
    let _link = master.admit().await;

    let second = work.start(master.address, &[]).ended().await.unwrap_err();

    let words = second.to_string();
    assert!(matches!(second, RunError::TwoAgents { .. }), "{words}");
    assert!(words.contains(work.path.to_str().unwrap()), "{words}");
    assert_eq!(Exit::of(&second), Exit::Store);
}

#[tokio::test]
async fn a_port_in_use_is_named() {
    let mut master = Master::start().await;
    let (work, other) = (Work::new(), Work::new());
    let _agent = work.start(master.address, &[]);
    let (_link, register) = master.admit().await;
    let port = register.agent_info.port();
    let mut options = other.options(master.address, &[]);
    options.port = u16::try_from(port).unwrap();

    let second = Daemon::start(options).ended().await;

    let words = second.unwrap_err().to_string();
    let named = format!("port {port} on 127.0.0.1 is in use");
    assert!(words.contains(&named), "{words}");
}

#[tokio::test]
async fn a_silent_master_is_left_and_looked_for_again() {
    let mut master = Master::start().await;
    let work = Work::new();
    let _agent = work.start(master.address, &[]);
    let mut link = master.arrival().await;
    link.introduction().await;
    link.admit(1, 0.2).await;

    let (_second, register) = master.admit().await;

    assert_eq!(register.hello.master_epoch(), 1);
    assert!(register.agent_info.id.is_some(), "it keeps its id");
}

#[tokio::test]
async fn a_master_of_an_older_epoch_is_left() {
    let mut master = Master::start().await;
    let work = Work::new();
    let agent = work.start(master.address, &[]);
    let mut link = master.arrival().await;
    link.introduction().await;
    link.admit(5, 15.0).await;
    link.run(&task("t", "exec sleep 1000")).await;
    link.until(TaskState::Running).await;
    agent.kill().await;

    let _agent = work.start(master.address, &[]);
    let mut old = master.arrival().await;
    old.introduction().await;
    old.admit(4, 15.0).await;
    assert_eq!(old.next().await, None, "the agent hangs up");
    let mut new = master.arrival().await;
    assert_eq!(new.introduction().await.hello.master_epoch(), 5);
}

#[tokio::test]
async fn the_token_is_shown_to_the_master_and_asked_of_everybody() {
    let mut master = Master::start().await;
    let work = Work::new();
    let file = work.beside().join("token");
    fs::write(&file, "0123456789abcdef\n").unwrap();
    let flag = format!("--token-file={}", file.display());
    let _agent = work.start(master.address, &[&flag]);
    let (link, register) = master.admit().await;

    assert_eq!(
        link.authorization.as_deref(),
        Some("Bearer 0123456789abcdef")
    );
    let port = register.agent_info.port();
    assert_eq!(get(port, "/state", &[]).await.0, 401);
    assert_eq!(get(port, "/files/browse", &[("path", "/")]).await.0, 401);
    assert_eq!(get(port, "/health", &[]).await.0, 200);
}

#[tokio::test]
async fn principals_of_a_file_call_the_agent_with_their_secrets() {
    let mut master = Master::start().await;
    let work = Work::new();
    let file = work.beside().join("credentials");
    let secrets = r#"{"credentials":[{"principal":"ops","secret":"0123456789abcdef"}]}"#;
    fs::write(&file, secrets).unwrap();
    let owner = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    fs::set_permissions(&file, owner).unwrap();
    let flag = format!("--http-credentials={}", file.display());
    let _agent = work.start(master.address, &[&flag]);
    let (link, register) = master.admit().await;

    assert_eq!(link.authorization, None, "they are not for the master");
    let port = register.agent_info.port();
    let client = mete_daemon::http_client::plain().build().unwrap();
    for (name, secret, wanted) in [
        ("ops", "0123456789abcdef", 200),
        ("ops", "0123456789abcdeX", 401),
        ("dev", "0123456789abcdef", 401),
    ] {
        let asked = client.get(format!("http://127.0.0.1:{port}/state"));
        let answer = soon(asked.basic_auth(name, Some(secret)).send()).await;
        assert_eq!(answer.unwrap().status().as_u16(), wanted, "{name} {secret}");
    }
    assert_eq!(get(port, "/state", &[]).await.0, 401);
    assert_eq!(get(port, "/health", &[]).await.0, 200);
}

#[tokio::test]
async fn a_shutdown_by_the_master_ends_the_tasks_and_the_agent() {
    let mut master = Master::start().await;
    let work = Work::new();
    let agent = work.start(master.address, &[]);
    let (mut link, _) = master.admit().await;
    link.run(&task("t", "exec sleep 1000")).await;
    link.until(TaskState::Running).await;

    let reason = Some("marked gone".to_owned());
    link.say(Message::Shutdown(Shutdown { reason })).await;

    let ended = agent.ended().await.unwrap_err();
    assert!(matches!(ended, RunError::Stopped(StopReason::ShutDown(_))));
    assert!(ended.to_string().contains("marked gone"), "{ended}");
    assert_eq!(Exit::of(&ended), Exit::Failed);
    assert_eq!(fs::read_dir(work.path.join("tasks")).unwrap().count(), 0);
}

#[tokio::test]
async fn refused_for_good_the_agent_says_so_and_leaves_its_tasks() {
    let mut master = Master::start().await;
    let work = Work::new();
    let agent = work.start(master.address, &[]);
    let (mut link, _) = master.admit().await;
    link.run(&task("t", "exec sleep 1000")).await;
    link.until(TaskState::Running).await;
    agent.kill().await;

    let agent = work.start(master.address, &[]);
    let mut link = master.arrival().await;
    link.introduction().await;
    let refused = Refused {
        reason: "your work directory is another cluster's".into(),
        permanent: Some(true),
    };
    link.say(Message::Refused(refused)).await;

    let ended = agent.ended().await.unwrap_err();
    let words = mete_daemon::chain(&ended);
    assert!(words.contains("another cluster's"), "{words}");
    assert_eq!(
        Exit::of(&ended),
        Exit::Usage,
        "starting again does not help"
    );
    assert_eq!(fs::read_dir(work.path.join("tasks")).unwrap().count(), 1);
}

#[tokio::test]
async fn old_sandboxes_are_removed() {
    let mut master = Master::start().await;
    let work = Work::new();
    let agent = work.start(master.address, &[]);
    let (mut link, register) = master.admit().await;
    link.run(&task("t", "mkdir -p a/b; ln -s /etc a/b/c; echo x > a/b/d"))
        .await;
    link.until(TaskState::Finished).await;
    quiet(register.agent_info.port()).await;
    assert!(work.sandbox("t").exists());
    agent.stop().await.unwrap();

    let _agent = work.start(master.address, &["--gc-delay=0s"]);
    let (_link, register) = master.admit().await;

    metric(register.agent_info.port(), "sandboxes_kept 0").await;
    assert!(!work.path.join("slaves").exists());
}

/// A small file system; gone after the test.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    /// `None` when we may not mount.
    fn mount(size: &str) -> Option<Self> {
        let place = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"])
            .arg(place.path())
            .output();
        let mounted = mounted.is_ok_and(|output| output.status.success());
        mounted.then_some(Self(place))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).output();
    }
}

#[tokio::test]
async fn a_full_disk_stops_launches_but_not_kills_reports_and_acknowledgements() {
    let Some(disk) = SmallDisk::mount("24m") else {
        eprintln!("skipped: mounting a small file system needs root");
        return;
    };
    let mut master = Master::start().await;
    let work = Work::within(disk.0.path());
    let agent = work.start(master.address, &[]);
    let (mut link, register) = master.admit().await;
    let port = register.agent_info.port();
    // A task that fills the disk, goes on, and writes when it is told to end.
    let line =
        "trap 'exit 0' TERM; head -c 100m /dev/zero > big; echo full; while :; do sleep 0.05; done";
    link.run(&task("greedy", line)).await;
    link.until(TaskState::Running).await;
    let big = work.sandbox("greedy").join("big");
    let mut size = 0;
    until(|| {
        let now = fs::metadata(&big).map_or(0, |found| found.len());
        let done = now > 0 && now == size;
        size = now;
        std::thread::sleep(Duration::from_millis(50));
        done
    })
    .await;

    link.run(&task("late.1", "true")).await;
    let first = link.until(TaskState::Failed).await;
    link.run(&task("late.2", "true")).await;
    let second = link.until(TaskState::Failed).await;

    for (status, words) in [
        (first, "disk of the agent's work directory is full"),
        (second, "disk of the agent's work directory is full"),
    ] {
        let message = status.message.unwrap();
        assert!(message.contains(words), "{message}");
    }
    metric(port, "disk_full 1").await;

    link.kill("greedy").await;
    link.until(TaskState::Killed).await;
    // The agent may have removed the whole sandbox by now: the disk is full.
    let _ = fs::remove_file(&big);
    metric(port, "disk_full 0").await;
    link.run(&task("later", "true")).await;
    link.until(TaskState::Finished).await;

    agent.kill().await;
    let _agent = work.start(master.address, &[]);
    let (_link, register) = master.admit().await;
    assert!(register.agent_info.id.is_some(), "nothing was lost");
    let (_, tasks) = json(register.agent_info.port(), "/v1/tasks", &[]).await;
    let names: Vec<_> = tasks["tasks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|task| task["id"].clone())
        .collect();
    assert!(names.contains(&"later".into()), "{names:?}");
}
