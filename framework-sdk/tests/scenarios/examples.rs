//! Whole frameworks, as users start them: the examples' binaries against the master in memory.

use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use mete_framework_sdk::testkit::{Call, Master};
use mete_framework_sdk::{Resources, TaskState};
use tokio::process::Command;
use tokio::time::timeout;

/// Far longer than an example takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// The binary of an example: beside the directory of the tests' own. `cargo test` has built it; `cargo test --test` has
/// not.
fn example(name: &str) -> PathBuf {
    let own = std::env::current_exe().expect("a test has a path");
    let target = own.parent().and_then(Path::parent).expect("target/debug");
    let path = target.join("examples").join(name);
    if !path.exists() {
        let built = std::process::Command::new(env!("CARGO"))
            .args(["build", "--quiet", "--example", name])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .status();
        assert!(built.is_ok_and(|status| status.success()), "{name} builds");
    }
    path
}

async fn run(name: &str, arguments: &[&str]) -> Output {
    let mut command = Command::new(example(name));
    command
        .args(arguments)
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let output = timeout(PATIENCE, command.output()).await;
    output.expect("it ends in time").expect("it starts")
}

/// Ends each task as soon as it runs; `end` says how.
async fn end_tasks(master: &Master, mut end: impl FnMut(&str) -> TaskState) {
    loop {
        for (key, state) in master.tasks() {
            if state == TaskState::Running {
                master.finish(&key.task, end(key.task.as_str()));
            }
        }
        tokio::time::sleep(Duration::from_millis(20)).await; // As a command would take a moment.
    }
}

async fn run_beside(
    master: &Master,
    end: impl FnMut(&str) -> TaskState,
    name: &str,
    arguments: &[&str],
) -> (bool, String) {
    let output = tokio::select! {
        output = run(name, arguments) => output,
        () = end_tasks(master, end) => unreachable!("it goes on for ever"),
    };
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    let stderr = String::from_utf8_lossy(&output.stderr);
    (output.status.success(), format!("{stdout}{stderr}"))
}

#[tokio::test]
async fn hello_runs_its_task_and_leaves() {
    let master = Master::start().await.expect("a free port");
    master.add_agent(Resources::cpus_mem(1_000, 128));

    let address = master.address();
    let (success, said) = run_beside(&master, |_| TaskState::Finished, "hello", &[&address]).await;

    assert!(success, "{said}");
    assert!(
        said.contains("hello-1 is TASK_RUNNING\nhello-1 is TASK_FINISHED\n"),
        "{said}"
    );
    let teardown = |call: &Call| matches!(call, Call::Teardown);
    assert!(master.heard(teardown).await.is_some());
    assert_eq!(master.frameworks(), []);
}

#[tokio::test]
async fn hello_says_when_its_task_failed() {
    let master = Master::start().await.expect("a free port");
    master.add_agent(Resources::cpus_mem(1_000, 128));

    let address = master.address();
    let (success, said) = run_beside(&master, |_| TaskState::Failed, "hello", &[&address]).await;

    assert!(!success, "{said}");
    assert!(said.contains("hello-1 is TASK_FAILED"), "{said}");
}

#[tokio::test]
async fn batch_works_off_its_list_and_runs_failed_tasks_again() {
    let master = Master::start().await.expect("a free port");
    master.add_agent(Resources::cpus_mem(1_000, 1_024));
    master.add_agent(Resources::cpus_mem(1_000, 1_024));
    let address = master.address();
    let first_attempt_of_7_fails = |task: &str| match task {
        "batch-7-1" => TaskState::Failed,
        _ => TaskState::Finished,
    };

    let arguments = [
        "--master",
        &address,
        "--count=25",
        "--cpus=0.25",
        "--share-report=1",
    ];
    let (success, said) = run_beside(&master, first_attempt_of_7_fails, "batch", &arguments).await;

    assert!(success, "{said}");
    assert!(
        said.contains("summary finished=25 failed=0 relaunched=1 "),
        "{said}"
    );
    assert!(
        said.contains("share of batch in role *\nsecond  tasks    cpus   mem_mb\n"),
        "{said}"
    );
    let (_, peak) = said.split_once("peak_cpus=").expect("a share");
    let peak: f64 = peak
        .lines()
        .next()
        .and_then(|text| text.parse().ok())
        .expect("a number");
    assert!(peak <= 2.0, "never more than there is: {said}");
}

#[tokio::test]
async fn batch_gives_a_task_up_after_its_attempts() {
    let master = Master::start().await.expect("a free port");
    master.add_agent(Resources::cpus_mem(1_000, 1_024));
    let address = master.address();

    let arguments = [
        "--master",
        &address,
        "--count=2",
        "--attempts=2",
        "--role=jobs",
    ];
    let (success, said) = run_beside(&master, |_| TaskState::Failed, "batch", &arguments).await;

    assert!(!success, "{said}");
    assert!(
        said.contains("summary finished=0 failed=2 relaunched=2 "),
        "{said}"
    );
}
