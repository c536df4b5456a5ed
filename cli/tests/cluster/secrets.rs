//! Secrets in files, through all levels: the task reads them, and nobody else finds anything of them anywhere.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::harness::{Cluster, eventually};

const SECRET: &str = "correct-horse-battery-staple";
/// Of [`SECRET`].
const DIGEST: &str = "87cbebfeebc05f7c54ac9336c4b4bbec831227a641951a4bde7edd56020f8590";

/// Of [`SECRET`], as it stands in bytes that are written as text, wherever in them it begins.
const ENCODED: [&str; 3] = [
    "Y29ycmVjdC1ob3JzZS1iYXR0ZXJ5LXN0YXBsZ",
    "NvcnJlY3QtaG9yc2UtYmF0dGVyeS1zdGFwbG",
    "jb3JyZWN0LWhvcnNlLWJhdHRlcnktc3RhcGxl",
];

/// Tells what it has read without saying it.
const READ: &str = "sha256sum < password > digest && exec sleep 1000";

fn app() -> Value {
    json!({
        "id": "/app", "cpus": 0.05, "mem": 32, "cmd": READ, "portDefinitions": [],
        "secrets": { "pw": { "source": "env:PASSWORD" } },
        "container": { "type": "MESOS", "volumes": [{ "containerPath": "password", "secret": "pw" }] },
    })
}

fn pod() -> Value {
    json!({
        "id": "/pod", "secrets": { "pw": { "source": "env:PASSWORD" } },
        "volumes": [{ "name": "pw", "secret": "pw" }],
        "containers": [{
            "name": "one", "exec": { "command": { "shell": READ } },
            "resources": { "cpus": 0.05, "mem": 32 },
            "volumeMounts": [{ "name": "pw", "mountPath": "password" }],
        }],
    })
}

/// Every file below a directory; links are not followed.
fn files(place: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in fs::read_dir(place).into_iter().flatten().flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => all.extend(files(&entry.path())),
            Ok(kind) if kind.is_file() => all.push(entry.path()),
            Ok(_) | Err(_) => {}
        }
    }
    all
}

/// Whether bytes hold the secret, as it is or encoded.
fn tells(bytes: &[u8]) -> bool {
    let mut forms = ENCODED.into_iter().chain([SECRET]).map(str::as_bytes);
    forms.any(|form| bytes.windows(form.len()).any(|part| part == form))
}

/// The files of a cluster that hold the secret.
fn holding(cluster: &Cluster) -> Vec<PathBuf> {
    let holds = |path: &PathBuf| tells(&fs::read(path).unwrap_or_default());
    files(cluster.dir.path())
        .into_iter()
        .filter(holds)
        .collect()
}

/// What each task has found in its file.
fn digests(cluster: &Cluster) -> Vec<String> {
    let all = files(cluster.dir.path()).into_iter();
    let all = all.filter(|path| path.ends_with("digest"));
    let texts = all.filter_map(|path| fs::read_to_string(path).ok());
    let first = |text: String| text.split(' ').next().map(str::to_owned);
    texts
        .filter_map(first)
        .filter(|text| !text.is_empty())
        .collect()
}

/// All that master, agent and service framework tell of tasks, as one text.
async fn told(cluster: &Cluster) -> String {
    let mut all = String::new();
    for path in [
        "/v2/apps/app",
        "/v2/pods/pod",
        "/v2/pods/pod::status",
        "/v2/groups",
        "/v2/queue",
    ] {
        all += &cluster.ok("GET", path, None).await.to_string();
    }
    for daemon in ["master", "agent-1"] {
        let url = cluster.url(daemon);
        for path in ["/state", "/tasks", "/containers"] {
            all += &cluster
                .call("GET", &format!("{url}{path}"), None)
                .await
                .1
                .to_string();
        }
        for question in ["GET_TASKS", "GET_STATE", "GET_CONTAINERS", "GET_EXECUTORS"] {
            let question = json!({ "type": question });
            let url = format!("{url}/api/v1");
            all += &cluster
                .call("POST", &url, Some(&question))
                .await
                .1
                .to_string();
        }
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_in_a_file_is_read_by_its_task_and_found_nowhere_else() {
    let environment = [("METE_SECRET_PASSWORD", SECRET), ("RUST_LOG", "debug")];
    let mut cluster = Cluster::start_with(&["--agents", "1"], &environment).await;
    cluster.ok("POST", "/v2/apps", Some(&app())).await;
    cluster.ok("POST", "/v2/pods", Some(&pod())).await;
    eventually("both have read it", async || {
        (digests(&cluster) == [DIGEST, DIGEST]).then_some(())
    })
    .await;
    cluster.healthy("/app").await;

    let told_of_it = told(&cluster).await;
    assert!(told_of_it.contains("\"SECRET\"") && !tells(told_of_it.as_bytes()));
    let held = holding(&cluster);
    assert_eq!(held.len(), 2, "{held:?}");
    for path in &held {
        let place = path.parent().and_then(Path::parent).expect("a place");
        assert!(place.ends_with("secrets"), "{}", path.display());
        assert_eq!(fs::metadata(path).expect("there").mode() & 0o777, 0o400);
    }
    let task = cluster.tasks("/app").await.remove(0);
    let sandbox = files(cluster.dir.path()).into_iter();
    let sandbox = sandbox
        .filter(|path| path.ends_with("digest"))
        .find(|path| {
            path.to_string_lossy()
                .contains(task["id"].as_str().expect("id"))
        });
    let sandbox = sandbox
        .expect("its sandbox")
        .parent()
        .expect("one")
        .to_owned();
    let url = format!(
        "{}/files/read?path={}/password&offset=0",
        cluster.url("agent-1"),
        sandbox.display()
    );
    let (status, answer) = cluster.call("GET", &url, None).await;
    assert!(!tells(answer.to_string().as_bytes()), "{status} {answer}");

    // An agent that was killed keeps what its tasks read, and removes what belongs to none.
    let secrets = held[0].parent().and_then(Path::parent).expect("a place");
    let stray = secrets.join("stray");
    fs::create_dir(&stray).expect("made");
    fs::write(stray.join("0"), SECRET).expect("written");
    cluster.kill("agent-1").await;
    eventually("what belongs to no task is removed", async || {
        (!stray.exists()).then_some(())
    })
    .await;
    assert_eq!(holding(&cluster), held);
    assert!(!tells(told(&cluster).await.as_bytes()));

    cluster.ok("DELETE", "/v2/apps/app", None).await;
    cluster.ok("DELETE", "/v2/pods/pod", None).await;
    eventually("nothing of it is left", async || {
        holding(&cluster).is_empty().then_some(())
    })
    .await;
    cluster.down().await;
    assert_eq!(cluster.leftovers(), Vec::<String>::new());
}
