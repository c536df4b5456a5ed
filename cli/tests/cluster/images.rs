//! Apps from images: pulled by the agents from a registry, run in containers, behind HAProxy.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::harness::{Cluster, eventually, mete};

/// A registry that ends with its test.
pub(crate) struct Registry {
    child: Child,
    address: String,
    _place: tempfile::TempDir,
}

impl Registry {
    /// Where it listens.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Its image: a busybox that can serve `/www`.
    pub(crate) fn image(&self) -> String {
        format!("{}/box:1", self.address)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a program; its words when it fails.
fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output();
    let output = output.unwrap_or_else(|error| panic!("{program} is to be installed: {error}"));
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {words}");
}

/// A real registry with one image, `box:1`: a busybox that can serve `/www`.
pub(crate) async fn registry() -> Registry {
    let place = tempfile::tempdir().expect("a directory");
    let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    let address = free.expect("a port").to_string();
    let settings = format!(
        "version: 0.1\nstorage: {{filesystem: {{rootdirectory: {}/store}}}}\nhttp: {{addr: {address}}}\n",
        place.path().display()
    );
    let file = place.path().join("registry.yml");
    fs::write(&file, settings).expect("written");
    let mut serving = Command::new("docker-registry");
    serving
        .arg("serve")
        .arg(&file)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let registry = Registry {
        child: serving.spawn().expect("docker-registry is installed"),
        address,
        _place: place,
    };
    let place = registry._place.path();
    let client = mete_daemon::http_client::plain().build().expect("a client");
    let url = format!("http://{}/v2/", registry.address);
    eventually("the registry listens", async || {
        client.get(&url).send().await.ok()
    })
    .await;
    push(place, &registry.address);
    registry
}

fn push(place: &Path, registry: &str) {
    let root = place.join("root");
    fs::create_dir_all(root.join("bin")).expect("made");
    fs::create_dir_all(root.join("www")).expect("made");
    fs::copy("/bin/busybox", root.join("bin/busybox")).expect("busybox-static is installed");
    std::os::unix::fs::symlink("busybox", root.join("bin/sh")).expect("linked");
    fs::write(root.join("www/index.html"), r#"{"app":"/box"}"#).expect("written");
    let layout = place.join("layout");
    let image = format!("{}:box", layout.display());
    run(
        "umoci",
        &["init", "--layout", &layout.display().to_string()],
    );
    run("umoci", &["new", "--image", &image]);
    run(
        "umoci",
        &[
            "insert",
            "--image",
            &image,
            &root.display().to_string(),
            "/",
        ],
    );
    run(
        "umoci",
        &[
            "config",
            "--image",
            &image,
            "--config.env",
            "PATH=/bin",
            "--config.env",
            "COLOUR=of the image",
            "--config.workingdir",
            "/www",
        ],
    );
    let target = format!("docker://{registry}/box:1");
    run(
        "skopeo",
        &[
            "copy",
            "--dest-tls-verify=false",
            &format!("oci:{image}"),
            &target,
        ],
    );
}

/// What an agent says of its images.
fn images(cluster: &Cluster, agent: &str) -> Vec<Value> {
    let url = cluster.url(agent);
    let output = mete(&["image", "list", "--json", "--agent", &url]).output();
    let output = output.expect("mete runs");
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{words}");
    serde_json::from_slice(&output.stdout).expect("a list")
}

/// Three instances of the image, one on each agent.
fn app(registry: &Registry) -> Value {
    json!({
        "id": "/box",
        "cmd": "exec busybox httpd -f -p $PORT0 -h .",
        "cpus": 0.05,
        "mem": 32,
        "instances": 3,
        "constraints": [["hostname", "MAX_PER", "1"]],
        "container": { "type": "MESOS", "docker": { "image": format!("{}/box:1", registry.address) } },
        "portDefinitions": [{ "port": 10_000, "name": "http", "protocol": "tcp" }],
        "labels": { "HAPROXY_0_MODE": "http" },
        "healthChecks": [{
            "protocol": "MESOS_HTTP", "path": "/index.html", "portIndex": 0, "delaySeconds": 0,
            "intervalSeconds": 1, "timeoutSeconds": 2, "gracePeriodSeconds": 20, "maxConsecutiveFailures": 3
        }]
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_from_an_image_runs_in_containers_behind_haproxy() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root can build containers");
        return;
    }
    let registry = registry().await;
    let environment = [("METE_AGENT_INSECURE_REGISTRY", registry.address.as_str())];
    let mut cluster = Cluster::start_with(&[], &environment).await;

    cluster.ok("POST", "/v2/apps", Some(&app(&registry))).await;

    cluster.healthy("/box").await;
    cluster.haproxy_follows("/box", "box_10000").await;
    let answer = cluster.through_haproxy(10_000).await;
    assert_eq!(answer.expect("HAProxy passes it on")["app"], "/box");
    for task in cluster.tasks("/box").await {
        // The first process of the container: another root than ours, and its own count of processes.
        let pid = cluster.task_pid(&task).await;
        let page = fs::read_to_string(format!("/proc/{pid}/root/www/index.html"));
        assert_eq!(page.expect("the image is its root"), r#"{"app":"/box"}"#);
        let spaces = |who: &str| fs::read_link(format!("/proc/{who}/ns/pid")).expect("there");
        assert_ne!(spaces(&pid.to_string()), spaces("self"), "{task}");
    }
    let agents = ["agent-1", "agent-2", "agent-3"];
    for agent in agents {
        let list = images(&cluster, agent);
        assert_eq!(list.len(), 1, "{agent}: {list:?}");
        let holders = list[0]["containers"].as_array().expect("a list").len();
        assert_eq!(holders, 1, "{agent}: {list:?}");
    }

    an_agent_finds_its_image_again(&cluster).await;

    cluster.ok("DELETE", "/v2/apps/box?force=true", None).await;
    eventually("nobody holds the image", async || {
        let free = |agent| {
            let list = images(&cluster, agent);
            list[0]["containers"].as_array().is_none_or(Vec::is_empty)
        };
        agents.into_iter().all(free).then_some(())
    })
    .await;
    let url = cluster.url("agent-2");
    let name = format!("{}/box:1", registry.address);
    let removed = mete(&["image", "rm", &name, "--agent", &url]).output();
    assert!(removed.expect("mete runs").status.success());
    assert_eq!(images(&cluster, "agent-2"), Vec::<Value>::new());

    cluster.down().await;
    let mounts = fs::read_to_string("/proc/self/mounts").expect("there");
    let place = cluster.state_dir().display().to_string();
    assert!(!mounts.contains(&place), "mounts are left: {mounts}");
}

/// An agent that is killed finds its container, and the image of it.
async fn an_agent_finds_its_image_again(cluster: &Cluster) {
    let before = cluster.tasks("/box").await;
    cluster.kill("agent-1").await;
    eventually("the image is held again", async || {
        let url = cluster.url("agent-1");
        let output = mete(&["image", "list", "--json", "--agent", &url])
            .output()
            .ok()?;
        let list: Vec<Value> = serde_json::from_slice(&output.stdout).ok()?;
        let held = list.first()?["containers"].as_array()?.len();
        (held == 1).then_some(())
    })
    .await;
    let ids = |tasks: &[Value]| tasks.iter().map(|task| task["id"].to_string()).collect();
    let ids: (Vec<String>, Vec<String>) = (ids(&before), ids(&cluster.tasks("/box").await));
    assert_eq!(ids.0, ids.1, "the same tasks");
}

/// Sends an archive or a directory to the first agent under a name.
fn import(cluster: &Cluster, path: &Path, name: &str) {
    let path = path.display().to_string();
    let url = cluster.url("agent-1");
    let line = ["image", "import", &path, "--name", name, "--agent", &url];
    let output = mete(&line).output().expect("mete runs");
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{path}: {words}");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains(name), "{path}: {said}");
}

/// Archives of the image as they are written by others: a layout as directory and as tar, and that of `docker save`.
fn archives(registry: &Registry) -> [(std::path::PathBuf, &'static str); 3] {
    let place = registry._place.path();
    let (layout, tar, saved) = (
        place.join("layout"),
        place.join("layout.tar"),
        place.join("saved.tar"),
    );
    let here = layout.display().to_string();
    run(
        "tar",
        &["-C", &here, "-cf", &tar.display().to_string(), "."],
    );
    let target = format!("docker-archive:{}:box:1", saved.display());
    run("skopeo", &["copy", &format!("oci:{here}:box"), &target]);
    [
        (layout, "box/layout:1"),
        (tar, "box/tar:1"),
        (saved, "box/saved:1"),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn apps_run_from_images_that_were_brought_by_hand() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root can build containers");
        return;
    }
    let registry = registry().await;
    let cluster = Cluster::start(&["--agents", "1"]).await;

    for (number, (path, name)) in archives(&registry).into_iter().enumerate() {
        import(&cluster, &path, name);
        let id = format!("/box{number}");
        let app = json!({
            "id": id, "cmd": "exec busybox sleep 1000", "cpus": 0.05, "mem": 32, "instances": 1,
            "container": { "type": "MESOS", "docker": { "image": name } },
        });
        cluster.ok("POST", "/v2/apps", Some(&app)).await;
        cluster.healthy(&id).await;

        let task = cluster.tasks(&id).await.remove(0);
        let pid = cluster.task_pid(&task).await;
        let page = fs::read_to_string(format!("/proc/{pid}/root/www/index.html"));
        assert_eq!(page.expect("the image is its root"), r#"{"app":"/box"}"#);
    }

    let url = cluster.url("agent-1");
    let output = mete(&["image", "import", "/etc/hostname", "--agent", &url]).output();
    let output = output.expect("mete runs");
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && !words.is_empty(), "{words}");
}
