//! Frameworks in other languages: the definitions compile, and what is made of them runs a task; and one over a client
//! library that was written for Mesos.

use std::path::{Path, PathBuf};

use tokio::process::Command;
use tokio::time::timeout;

use crate::harness::{Cluster, PATIENCE};

/// How `scripts/python-protos` ends where PyPI cannot be reached.
const UNAVAILABLE: i32 = 69;

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Packages, pinned, of a client library that was written for Mesos' HTTP API.
const MESOS_CLIENT: [&str; 3] = ["mesoshttp==0.4.2", "kazoo==2.10.0", "requests==2.32.5"];

/// What a script has put into a directory; `None`, with a word, where PyPI cannot be reached.
async fn made_by(script: &str, name: &str, arguments: &[&str]) -> Option<PathBuf> {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let script = repository().join("scripts").join(script);
    let made = Command::new(script)
        .arg(&directory)
        .args(arguments)
        .output();
    let made = made.await.expect("the script runs");
    let said = String::from_utf8_lossy(&made.stderr).into_owned();
    if made.status.code() == Some(UNAVAILABLE) {
        eprintln!("skipped: PyPI cannot be reached:\n{said}");
        return None;
    }
    assert!(made.status.success(), "{said}");
    Some(directory)
}

/// What a program in Python says until it ends well.
async fn run(cluster: &Cluster, python: &mut Command) -> String {
    let output = timeout(PATIENCE, python.kill_on_drop(true).output())
        .await
        .unwrap_or_else(|_| panic!("it does not end\n{}", cluster.logs()))
        .expect("it runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{said}\n{}\n{}",
        String::from_utf8_lossy(&output.stderr),
        cluster.logs()
    );
    said
}

#[tokio::test(flavor = "multi_thread")]
async fn a_framework_in_python_runs_its_task_and_ends() {
    // With Python, gRPC, and all messages compiled for them.
    let Some(python) = made_by("python-protos", "python", &[]).await else {
        return;
    };
    let cluster = Cluster::start(&[]).await;
    let master = cluster.url("master");
    let mut hello = Command::new(python.join("venv/bin/python"));
    hello
        .arg(repository().join("examples/python/hello.py"))
        .arg(master.strip_prefix("http://").expect("an HTTP address"))
        .env("PYTHONPATH", python.join("modules"));

    let said = run(&cluster, &mut hello).await;

    assert!(said.contains("subscribed as"), "{said}");
    assert!(said.contains("TASK_RUNNING"), "{said}");
    assert!(
        said.contains("TASK_FINISHED Command exited with status 0"),
        "{said}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_written_for_mesos_runs_unchanged() {
    let Some(python) = made_by("python-packages", "mesos-client", &MESOS_CLIENT).await else {
        return;
    };
    let cluster = Cluster::start(&[]).await;
    let mut client = Command::new(python.join("venv/bin/python"));
    client
        .arg(repository().join("cli/tests/cluster/mesos_client.py"))
        .arg(cluster.url("master"));

    let said = run(&cluster, &mut client).await;

    for word in ["subscribed", "TASK_RUNNING", "TASK_FINISHED", "torn down"] {
        assert!(said.contains(word), "{word}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_framework_hears_its_own_executor_and_of_its_violent_end() {
    let cluster = Cluster::start(&[]).await;
    let master = cluster.url("master");
    let mut framework = Command::new("python3");
    framework
        .arg(repository().join("cli/tests/cluster/own_executor.py"))
        .arg(master.strip_prefix("http://").expect("an HTTP address"))
        .arg(repository().join("agent/tests/executor.py"));

    let said = run(&cluster, &mut framework).await;

    for line in [
        "TASK_RUNNING None",
        "MESSAGE pid",
        "TASK_FAILED REASON_EXECUTOR_TERMINATED",
        "FAILURE own 9",
        "torn down",
    ] {
        assert!(said.lines().any(|told| told == line), "{line}:\n{said}");
    }
}
