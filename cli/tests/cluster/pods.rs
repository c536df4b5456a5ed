//! Pods through all levels: containers that share a directory, end together, roll, and are adopted by a new life of the
//! service framework.

use std::fs;

use mete_agent::networks::{NetworkOptions, Networks};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::harness::{Cluster, PATIENCE, eventually};
use crate::together::done;

/// Containers `web`, which answers, and `log`, which write to a directory that both see, where that can be.
fn pod() -> Value {
    let resources = json!({ "cpus": 0.05, "mem": 32 });
    let web = "echo web >> words; exec mete whoami --port $ENDPOINT_HTTP";
    let log = "while sleep 0.1; do echo log >> words; done";
    let mut pod = json!({ "id": "/shop/pod", "containers": [
        { "name": "web", "exec": { "command": { "shell": web } }, "resources": resources,
            "endpoints": [{ "name": "http" }],
            "healthCheck": { "http": { "endpoint": "http", "path": "/health" }, "intervalSeconds": 2,
                "timeoutSeconds": 1, "delaySeconds": 0 } },
        { "name": "log", "exec": { "command": { "shell": log } }, "resources": resources },
    ] });
    if can_share() {
        pod["volumes"] = json!([{ "name": "data" }]);
        for container in pod["containers"].as_array_mut().into_iter().flatten() {
            let line = container["exec"]["command"]["shell"].as_str();
            let line = format!("cd data; {}", line.unwrap_or_default());
            container["exec"]["command"]["shell"] = json!(line);
            container["volumeMounts"] = json!([{ "name": "data", "mountPath": "data" }]);
        }
    }
    pod
}

/// Walls of containers, and so mounts, are for root to build.
fn can_share() -> bool {
    rustix::process::geteuid().is_root()
}

/// How the pod stands once it is as wanted and `is_so`.
async fn stable(cluster: &Cluster, is_so: impl Fn(&Value) -> bool) -> Value {
    eventually("the pod is stable", async || {
        let (_, told) = cluster.rest("GET", "/v2/pods/shop/pod::status", None).await;
        let instances = told["instances"].as_array()?;
        let done = told["status"] == "STABLE" && instances.len() == 1 && is_so(&instances[0]);
        let (_, deployments) = cluster.rest("GET", "/v2/deployments", None).await;
        (done && deployments == json!([])).then(|| instances[0].clone())
    })
    .await
}

/// Waits until the endpoint of an instance answers.
async fn answers(cluster: &Cluster, instance: &Value) -> Value {
    let host = instance["agentHostname"].as_str().expect("a host");
    let port = &instance["containers"][0]["endpoints"][0]["allocatedHostPort"];
    let url = format!("http://{host}:{port}/");
    eventually("the endpoint answers", async || {
        let (status, answer) = cluster.call("GET", &url, None).await;
        (status == 200).then_some(answer)
    })
    .await
}

/// Waits until both containers have written to the file that they share.
async fn both_write(cluster: &Cluster) {
    eventually("both have written to one file", async || {
        let find = std::process::Command::new("find")
            .arg(cluster.dir.path())
            .args(["-path", "*/volumes/data/words"])
            .output()
            .expect("find runs");
        let path = String::from_utf8_lossy(&find.stdout).trim().to_owned();
        let words = fs::read_to_string(path).ok()?;
        (words.contains("web\n") && words.contains("log\n")).then_some(())
    })
    .await;
}

/// What the command line tells of the pod while an instance runs that was not the first.
async fn people_see(cluster: &Cluster, instance: &Value) {
    let listed = done(cluster, &["pod", "list"]).await;
    let row: Vec<&str> = listed
        .lines()
        .nth(1)
        .expect("a row")
        .split_whitespace()
        .collect();
    assert_eq!(row, ["/shop/pod", "1/1", "STABLE", "web,log"]);
    let shown = done(cluster, &["pod", "show", "/shop/pod"]).await;
    let web = instance["containers"][0]["containerId"]
        .as_str()
        .expect("an id");
    assert!(shown.contains(web), "{shown}");
    assert!(
        shown.contains("TASK_KILLED") || shown.contains("TASK_FAILED"),
        "{shown}"
    );
    let shown = done(cluster, &["group", "show", "/shop"]).await;
    assert!(shown.contains("/shop/pod × 1"), "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_shares_ends_together_rolls_is_adopted_and_ends() {
    let mut cluster = Cluster::start(&["--agents", "1"]).await;
    let file = cluster.dir.path().join("pod.json");
    fs::write(&file, pod().to_string()).expect("written");
    let file = file.to_str().expect("text");
    done(&cluster, &["pod", "add", file]).await;

    let first = stable(&cluster, |_| true).await;
    let told = answers(&cluster, &first).await;
    assert_eq!(told["task"], first["containers"][0]["containerId"]);
    if can_share() {
        both_write(&cluster).await;
    }

    // A container dies: the others go with it, and another instance comes.
    let log = json!({ "id": first["containers"][1]["containerId"] });
    let pid = i32::try_from(cluster.task_pid(&log).await).expect("a pid");
    kill_process(Pid::from_raw(pid).expect("a pid"), Signal::KILL).expect("it was there");
    let second = stable(&cluster, |one| one["id"] != first["id"]).await;
    answers(&cluster, &second).await;
    let (_, told) = cluster.rest("GET", "/v2/pods/shop/pod::status", None).await;
    let ended = &told["terminationHistory"][0];
    assert_eq!(ended["instanceID"], first["id"]);
    assert_eq!(ended["containers"][0]["containerId"], log["id"]);

    let mut wanted = pod();
    wanted["environment"] = json!({ "VERSION": "2" });
    cluster.ok("PUT", "/v2/pods/shop/pod", Some(&wanted)).await;
    let third = stable(&cluster, |one| one["id"] != second["id"]).await;

    cluster.kill("services").await;
    let adopted = stable(&cluster, |_| true).await;
    assert_eq!(adopted["id"], third["id"], "within {PATIENCE:?}");
    let told = answers(&cluster, &adopted).await;
    assert_eq!(told["task"], third["containers"][0]["containerId"]);

    people_see(&cluster, &third).await;
    done(&cluster, &["pod", "rm", "/shop/pod"]).await;
    eventually("nothing of the pod is left", async || {
        let (_, state) = cluster
            .call("GET", &format!("{}/state", cluster.url("master")), None)
            .await;
        let used = &state["slaves"][0]["used_resources"]["cpus"];
        let (status, _) = cluster.rest("GET", "/v2/pods/shop/pod", None).await;
        (status == 404 && *used == 0.0).then_some(())
    })
    .await;
    cluster.down().await;
    assert_eq!(cluster.leftovers(), Vec::<String>::new());
}

/// Container `web` answers inside; `ask` asks it over their loopback and serves what it heard.
fn bridged() -> Value {
    let resources = json!({ "cpus": 0.05, "mem": 32 });
    let ask = "until busybox wget -q -O answer http://127.0.0.1:8080/; do sleep 0.05; done; \
        exec busybox httpd -f -p $ENDPOINT_HEARD -h .";
    json!({ "id": "/shop/pod", "networks": [{ "mode": "container/bridge" }], "containers": [
        { "name": "web", "exec": { "command": { "shell": "exec mete whoami --host 0.0.0.0 --port 8080" } },
            "resources": resources, "endpoints": [{ "name": "http", "containerPort": 8080 }],
            "healthCheck": { "http": { "endpoint": "http", "path": "/health" }, "intervalSeconds": 2,
                "timeoutSeconds": 1, "delaySeconds": 0 } },
        { "name": "ask", "exec": { "command": { "shell": ask } }, "resources": resources,
            "endpoints": [{ "name": "heard", "containerPort": 9000 }] },
    ] })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_on_the_bridge_is_reached_by_ports_of_the_host_and_talks_over_its_loopback() {
    let here = [127, 0, 0, 1].into();
    if let Err(why) = Networks::new("", NetworkOptions::default(), here).bridge() {
        eprintln!("skipped: no bridge: {why}");
        return;
    }
    let mut cluster = Cluster::start(&["--agents", "1"]).await;
    cluster.ok("POST", "/v2/pods", Some(&bridged())).await;

    let instance = stable(&cluster, |_| true).await;

    let told = answers(&cluster, &instance).await;
    assert_eq!(told["task"], instance["containers"][0]["containerId"]);
    let network = &instance["networks"][0];
    assert_eq!(network["name"], "mesos-bridge");
    let address = network["addresses"][0].as_str().expect("an address");
    assert!(address.starts_with("172.31."), "{address}");
    let host = instance["agentHostname"].as_str().expect("a host");
    let port = &instance["containers"][1]["endpoints"][0]["allocatedHostPort"];
    let url = format!("http://{host}:{port}/answer");
    let heard = eventually("the neighbour has heard", async || {
        let (status, answer) = cluster.call("GET", &url, None).await;
        (status == 200).then_some(answer)
    })
    .await;
    assert_eq!(heard["task"], told["task"]);
    done(&cluster, &["pod", "rm", "/shop/pod"]).await;
    cluster.down().await;
    assert_eq!(cluster.leftovers(), Vec::<String>::new());
}
