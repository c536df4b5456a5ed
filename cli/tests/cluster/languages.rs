//! Frameworks in other languages: the definitions compile, and what is made of them runs a task.

use std::path::{Path, PathBuf};

use tokio::process::Command;
use tokio::time::timeout;

use crate::harness::{Cluster, PATIENCE};

/// How `scripts/python-protos` ends where PyPI cannot be reached.
const UNAVAILABLE: i32 = 69;

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// A directory with Python, gRPC, and all messages compiled for them.
async fn python() -> Option<PathBuf> {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("python");
    let script = repository().join("scripts/python-protos");
    let made = Command::new(script).arg(&directory).output().await;
    let made = made.expect("scripts/python-protos runs");
    let said = String::from_utf8_lossy(&made.stderr).into_owned();
    if made.status.code() == Some(UNAVAILABLE) {
        eprintln!("skipped: PyPI cannot be reached:\n{said}");
        return None;
    }
    assert!(made.status.success(), "{said}");
    Some(directory)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_framework_in_python_runs_its_task_and_ends() {
    let Some(python) = python().await else { return };
    let cluster = Cluster::start(&[]).await;
    let master = cluster.url("master");

    let run = Command::new(python.join("venv/bin/python"))
        .arg(repository().join("examples/python/hello.py"))
        .arg(master.strip_prefix("http://").expect("an HTTP address"))
        .env("PYTHONPATH", python.join("modules"))
        .kill_on_drop(true)
        .output();
    let output = timeout(PATIENCE, run)
        .await
        .unwrap_or_else(|_| panic!("hello.py does not end\n{}", cluster.logs()))
        .expect("hello.py runs");

    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{said}\n{}\n{}",
        String::from_utf8_lossy(&output.stderr),
        cluster.logs()
    );
    assert!(said.contains("subscribed as"), "{said}");
    assert!(said.contains("TASK_RUNNING"), "{said}");
    assert!(said.contains("TASK_FINISHED exited with code 0"), "{said}");
}
