//! What the README promises: one command brings a cluster up, takes it down, and brings it back.

use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;

use crate::harness::{Cluster, SHIFT, ended, eventually, mete, web};

/// Everything is down within this time after Ctrl-C.
const DOWN: Duration = Duration::from_secs(10);

fn web_file(instances: u32) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), web(instances).to_string()).expect("written");
    file
}

/// Control groups of the cluster's agents, in any hierarchy.
fn cgroups_of(cluster: &Cluster) -> Vec<String> {
    let state_dir = cluster.state_dir().canonicalize().expect("it is there");
    let scopes = ["agent-1", "agent-2", "agent-3"]
        .map(|name| mete_agent::cgroups::scope_of(name, &state_dir.join(name)));
    let list = std::process::Command::new("find")
        .args(["/sys/fs/cgroup", "-type", "d", "-path", "*/mete/*"])
        .output();
    let text = String::from_utf8_lossy(&list.expect("find runs").stdout).into_owned();
    text.lines()
        .filter(|line| scopes.iter().any(|scope| line.contains(scope.as_str())))
        .map(str::to_owned)
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_gets_traffic_and_everything_goes_and_comes_back() {
    let file = web_file(2);
    let mut cluster = Cluster::start(&["--app", file.path().to_str().expect("a path")]).await;
    let app = cluster.healthy("/web").await;
    cluster.haproxy_follows("/web", "web_10000").await;

    let answer = cluster
        .through_haproxy(10_000)
        .await
        .expect("HAProxy passes requests on");
    assert_eq!(answer["app"], "/web");
    let by_host = mete_daemon::http_client::plain().build().expect("a client");
    let by_host = by_host
        .get(format!("http://127.0.0.1:{}/", 9080 + SHIFT))
        .header("Host", "web.localhost")
        .send()
        .await;
    assert_eq!(by_host.expect("the shared frontend answers").status(), 200);
    let framework = cluster.ok("GET", "/v2/info", None).await["frameworkId"].clone();
    assert!(framework.is_string(), "{framework}");

    let (status, took) = cluster.down().await;
    assert!(status.success(), "{:?}\n{}", ended(status), cluster.logs());
    assert!(took < DOWN, "took {took:?}");
    eventually("nothing is left", async || {
        cluster.leftovers().is_empty().then_some(())
    })
    .await;
    assert_eq!(cgroups_of(&cluster), Vec::<String>::new());
    let sockets = walk(&cluster.state_dir(), |kind| {
        std::os::unix::fs::FileTypeExt::is_socket(kind)
    });
    assert_eq!(sockets, Vec::<String>::new(), "sockets are left");

    cluster.up().await;
    let again = cluster.healthy("/web").await;
    assert_eq!(again["version"], app["version"], "the same app");
    assert_eq!(
        cluster.ok("GET", "/v2/info", None).await["frameworkId"],
        framework,
        "the same framework"
    );
    eventually("traffic again", async || {
        cluster.through_haproxy(10_000).await
    })
    .await;
}

fn walk(dir: &std::path::Path, wanted: impl Fn(&std::fs::FileType) -> bool + Copy) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let Ok(kind) = entry.file_type() else {
            continue;
        };
        if kind.is_dir() {
            found.extend(walk(&entry.path(), wanted));
        } else if wanted(&kind) {
            found.push(entry.path().display().to_string());
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_is_quicker_and_leaves_no_more() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let stubborn = serde_json::json!({
        "id": "/stubborn", "cmd": "trap '' TERM; while true; do sleep 1; done", "instances": 3,
        "cpus": 0.1, "mem": 32, "portDefinitions": [], "taskKillGracePeriodSeconds": 60,
    });
    std::fs::write(file.path(), stubborn.to_string()).expect("written");
    let mut cluster = Cluster::start(&["--app", file.path().to_str().expect("a path")]).await;
    cluster.healthy("/stubborn").await;

    cluster.interrupt();
    let (_, took) = cluster.down().await;

    assert!(took < Duration::from_secs(3), "took {took:?}");
    assert_eq!(cluster.leftovers(), Vec::<String>::new());
    assert_eq!(cgroups_of(&cluster), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn until_healthy_ends_when_each_instance_has_served() {
    let file = web_file(3);
    let mut cluster = Cluster::start(&[]).await;
    cluster.down().await;

    let status = cluster
        .command(&[
            "--until-healthy",
            "--app",
            file.path().to_str().expect("a path"),
        ])
        .status();

    let status = status.expect("mete up runs");
    assert_eq!(
        status.code(),
        Some(0),
        "{:?}\n{}",
        ended(status),
        cluster.logs()
    );
    eventually("nothing is left", async || {
        cluster.leftovers().is_empty().then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_whose_words_nobody_reads_ends_as_others_do() {
    let file = web_file(1);
    let mut cluster = Cluster::start(&[]).await;
    cluster.down().await;
    let arguments = [
        "--until-healthy",
        "--app",
        file.path().to_str().expect("a path"),
    ];

    let mut up = cluster.command(&arguments);
    let up = up.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut up = up.expect("mete up runs");
    drop((up.stdout.take(), up.stderr.take()));
    let status = up.wait().expect("mete up ends");

    assert_eq!(status.code(), Some(0), "{}", cluster.logs());
    assert_eq!(cluster.leftovers(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn until_healthy_says_why_not() {
    let mut cluster = Cluster::start(&[]).await;
    cluster.down().await;
    let file = tempfile::NamedTempFile::new().expect("a file");
    let mut app: Value = web(1);
    app["cpus"] = 512.into();
    std::fs::write(file.path(), app.to_string()).expect("written");

    let output = cluster
        .command(&[
            "--until-healthy",
            "--timeout",
            "5s",
            "--app",
            file.path().to_str().expect("a path"),
        ])
        .stderr(Stdio::piped())
        .output()
        .expect("mete up runs");

    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("/web: 0 of 1 running") && said.contains("InsufficientCpus"),
        "{said}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_port_is_named() {
    let cluster = Cluster::start(&[]).await;

    let dir = tempfile::tempdir().expect("a directory");
    let second = mete(&["up", "--port-base", &SHIFT.to_string(), "--state-dir"])
        .arg(dir.path())
        .output()
        .expect("runs");

    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert_eq!(second.status.code(), Some(1), "{said}");
    assert!(
        said.contains(&format!("port {}", 5050 + SHIFT)) && said.contains("master"),
        "{said}"
    );
    drop(cluster);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_adds_shows_scales_and_removes() {
    let cluster = Cluster::start(&[]).await;
    let file = web_file(2);
    let addresses = [
        (
            "METE_SERVICES",
            format!("http://127.0.0.1:{}", 8080 + SHIFT),
        ),
        ("METE_MASTER", cluster.url("master")),
    ];
    let run = |arguments: &[&str]| {
        let output = mete(arguments)
            .envs(addresses.iter().map(|(name, value)| (name, value)))
            .output()
            .expect("mete runs");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            output.status.success(),
            "{arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        text
    };

    run(&[
        "app",
        "add",
        file.path().to_str().expect("a path"),
        "--wait",
    ]);
    assert!(run(&["app", "list"]).contains("/web"));
    let tasks: Value = serde_json::from_str(&run(&["task", "list", "--json"])).expect("JSON");
    assert_eq!(tasks["tasks"].as_array().map(Vec::len), Some(2));
    let id = tasks["tasks"][0]["id"].as_str().expect("an id").to_owned();
    assert!(run(&["task", "logs", &id]).contains("listening on"));
    let agents: Value = serde_json::from_str(&run(&["agent", "list", "--json"])).expect("JSON");
    assert_eq!(agents.as_array().map(Vec::len), Some(3));
    run(&["app", "scale", "web", "3", "--wait"]);
    assert_eq!(cluster.tasks("/web").await.len(), 3);
    assert!(run(&["status"]).contains("agents      3 of 3 active"));
    run(&["deployment", "list"]);
    run(&["app", "restart", "web", "--wait"]);
    assert!(run(&["app", "show", "web"]).contains("/web"));
    run(&["app", "rm", "web", "--wait"]);
    assert_eq!(cluster.tasks("/web").await.len(), 0);

    let unknown = mete(&["app", "show", "nothing"])
        .envs(addresses.iter().map(|(name, value)| (name, value)))
        .output();
    let unknown = unknown.expect("mete runs");
    assert_eq!(unknown.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("App '/nothing' does not exist"));
}
