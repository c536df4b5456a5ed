//! What operators say on a command line, to a real master in this process.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Output};

use mete_daemon::config;
use mete_master::Options;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

struct Master {
    url: String,
    shutdown: CancellationToken,
    dir: TempDir,
}

impl Master {
    async fn start() -> Self {
        Self::start_in(tempfile::tempdir().expect("a directory"), Vec::new()).await
    }

    async fn start_in(dir: TempDir, mut arguments: Vec<String>) -> Self {
        arguments.push(format!(
            "--state-dir={}",
            dir.path().join("state").display()
        ));
        let options: Options = config::load("master", arguments, [("", "")]).expect("good options");
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let shutdown = CancellationToken::new();
        tokio::spawn(mete_master::run_on(listener, options, shutdown.clone()));
        Self { url, shutdown, dir }
    }

    async fn run(&self, line: &str) -> Output {
        self.run_with(line, &[]).await
    }

    /// With these variables besides.
    async fn run_with(&self, line: &str, variables: &[(&str, &str)]) -> Output {
        let mut mete = Command::new(env!("CARGO_BIN_EXE_mete"));
        mete.env("METE_MASTER", &self.url).args(line.split(' '));
        mete.envs(variables.iter().copied());
        let ran = tokio::task::spawn_blocking(move || mete.output());
        ran.await.expect("no panic").expect("mete runs")
    }

    /// What was printed by a command that did what it should.
    async fn done(&self, line: &str) -> String {
        let output = self.run(line).await;
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{line}: {errors}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// What was said by a command that failed.
    async fn failed(&self, line: &str) -> String {
        let output = self.run(line).await;
        assert!(!output.status.success(), "{line}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    }
}

impl Drop for Master {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn weights_quotas_and_policies_are_set_and_shown() {
    let master = Master::start().await;

    master.done("role weight web/api 2.5").await;
    master.done("quota set web --limit cpus=4,mem=1024").await;
    let refused = master.failed("quota set web --guarantee cpus=2").await;
    master
        .done("quota set web --guarantee cpus=2 --force")
        .await;
    master.done("policy spread --role web").await;
    master.done("policy first-fit").await;

    assert!(refused.contains("the cluster has 0"), "{refused}");
    let roles = master.done("role list").await;
    let web = roles
        .lines()
        .find(|line| line.trim_start().starts_with("web "))
        .expect(&roles);
    for part in ["cpus=4,mem=1024", "cpus=2", "0.0%", "spread"] {
        assert!(web.contains(part), "{part} in {roles}");
    }
    assert!(roles.contains("web/api"), "{roles}");
    assert!(roles.contains("2.5"), "{roles}");
    let quotas = master.done("quota list").await;
    assert!(quotas.contains("cpus=4,mem=1024"), "{quotas}");
    let policies = master.done("policy").await;
    assert!(policies.contains("first-fit"), "{policies}");
    assert_eq!(master.done("policy --role web").await.trim(), "spread");
    master.done("policy default --role web").await;
    master.failed("policy --role web").await;
    master.done("quota remove web").await;
    let why = master.failed("quota remove web").await;
    assert!(why.contains("role web has no quota"), "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_known_by_name_shows_a_password_from_a_file_or_a_variable() {
    let dir = tempfile::tempdir().expect("a directory");
    let kept = |name: &str, text: &str| {
        let path = dir.path().join(name);
        fs::write(&path, text).expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("set");
        path.display().to_string()
    };
    let secret = "0123456789abcdef";
    let known = json!({ "credentials": [{ "principal": "ops", "secret": secret }] });
    let credentials = kept("credentials", &known.to_string());
    let (right, wrong) = (kept("right", secret), kept("wrong", "fedcba9876543210"));
    let short = kept("short", "hunter2");
    let option = format!("--credentials={credentials}");
    let master = Master::start_in(dir, vec![option]).await;
    let asked = async |more: &str, variables: &[(&str, &str)]| {
        let output = master
            .run_with(&format!("role list{more}"), variables)
            .await;
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            !errors.contains(secret) && !errors.contains("hunter2"),
            "{errors}"
        );
        (output.status.success(), errors)
    };
    let user = |file: &str| format!(" --user ops --password-file {file}");

    assert!(asked(&user(&right), &[]).await.0);
    assert!(asked(" --user ops", &[("METE_PASSWORD", secret)]).await.0);
    let named = [("METE_USER", "ops"), ("METE_PASSWORD_FILE", right.as_str())];
    assert!(asked("", &named).await.0);
    let stranger = format!(" --user nobody --password-file {right}");
    let password_only = format!(" --password-file {right}");
    for (more, words) in [
        (String::new(), "--user"),
        (user(&wrong), "refused (401"),
        (stranger, "refused (401"),
        (" --user ops".to_owned(), "--user needs a password"),
        (password_only, "needs the name"),
        (
            format!(" --user a:b --password-file {right}"),
            "has a colon",
        ),
        (user(&short), "has 7 characters"),
        (user("/not/there"), "/not/there"),
    ] {
        let (done, errors) = asked(&more, &[]).await;
        assert!(!done && errors.contains(words), "{more}: {errors}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_done_is_said_in_words() {
    let master = Master::start().await;

    for (line, words) in [
        (
            "agent drain nobody --deadline 10m",
            "agent nobody is not known",
        ),
        ("agent deactivate nobody", "agent nobody is not known"),
        ("agent reactivate nobody", "agent nobody is not known"),
        ("agent mark-gone nobody", "agent nobody is not known"),
        ("agent gone nobody", "agent nobody is not known"),
        (
            "agent drain nobody --grace 30",
            "must be a duration with its unit",
        ),
        ("role weight web 0", "weight 0 is not from 0.001"),
        ("policy worst-fit", "worst-fit"),
        ("quota set a/b --limit cpus=1", "not a top-level role"),
        ("quota set web", "say --limit, --guarantee, or both"),
        (
            "maintenance down node-1",
            "machine node-1 is not in the maintenance schedule",
        ),
        ("maintenance up node-1", "machine node-1 is not down"),
        ("maintenance down", "<HOST>"),
        ("maintenance schedule", "--host"),
        ("maintenance schedule --host node-1", "--start"),
        (
            "maintenance schedule --host node-1 --start tomorrow",
            "bad --start \"tomorrow\"",
        ),
        (
            "maintenance schedule --host node-1 --start now --for 1",
            "must be a duration with its unit",
        ),
        (
            "maintenance schedule --host node-1 --start now --file w.json",
            "cannot be used with",
        ),
        (
            "maintenance schedule --file no-such-file",
            "cannot read no-such-file",
        ),
    ] {
        let said = master.failed(line).await;
        assert!(said.contains(words), "{line}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn machines_are_planned_go_down_and_come_up() {
    let master = Master::start().await;
    let status = async || {
        let table = master.done("maintenance status").await;
        let rows = table.lines().skip(1).map(str::split_whitespace);
        rows.map(|row| row.collect::<Vec<_>>().join(" "))
            .collect::<Vec<_>>()
    };

    let planned = master
        .done(
            "maintenance schedule --host node-1,10.0.0.2 --start 2100-01-01T10:00+01:00 --for 90m",
        )
        .await;
    master
        .done("maintenance schedule --host node-3 --start in 2h")
        .await;
    let twice = master
        .failed("maintenance schedule --host NODE-1 --start now")
        .await;
    master.done("maintenance down Node-1 10.0.0.2").await;

    let words = "machine node-1 is planned to be away from 2100-01-01T09:00:00Z, for 1h 30m";
    assert!(planned.contains(words), "{planned}");
    assert!(
        twice.contains("machine node-1 stands more than once"),
        "{twice}"
    );
    let rows = status().await;
    assert_eq!(rows[0], "node-1 down 2100-01-01T09:00:00Z 1h 30m");
    assert_eq!(rows[1], "10.0.0.2 down 2100-01-01T09:00:00Z 1h 30m");
    assert!(rows[2].starts_with("node-3 planned 2"), "{rows:?}");
    assert!(rows[2].ends_with("Z -"), "{rows:?}");
    let json = master.done("maintenance status --json").await;
    let json: Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(json["down_machines"][0]["ip"], "10.0.0.2", "{json}");
    assert_eq!(json["draining_machines"][0]["id"]["hostname"], "node-3");
    assert_eq!(json["windows"].as_array().map(Vec::len), Some(2));
    let down = master.failed("maintenance clear").await;
    assert!(down.contains("must stay in the schedule"), "{down}");
    let up = master.done("maintenance up node-1 10.0.0.2").await;
    assert_eq!(up, "machine node-1 is up\nmachine 10.0.0.2 is up\n");
    assert_eq!(status().await.len(), 1);
    master.done("maintenance clear").await;
    assert!(status().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_replaces_the_schedule() {
    let master = Master::start().await;
    let file = master.dir.path().join("windows.json");
    let windows = json!({ "windows": [{
        "machine_ids": [{ "hostname": "node-2", "ip": "10.0.0.2" }],
        "unavailability": { "start": { "nanoseconds": 4_000_000_000_000_000_000_i64 } },
    }] });
    std::fs::write(&file, windows.to_string()).expect("written");
    let from_file = format!("maintenance schedule --file {}", file.display());
    master
        .done("maintenance schedule --host node-1 --start now --for 1h")
        .await;

    let said = master.done(&from_file).await;

    assert_eq!(said, "windows in the schedule: 1\n");
    let json = master.done("maintenance status --json").await;
    let json: Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(json["windows"], windows["windows"]);
    let table = master.done("maintenance status").await;
    assert!(table.contains("node-2 (10.0.0.2)"), "{table}");
    let down = master.done("maintenance down 10.0.0.2").await;
    assert_eq!(down, "machine node-2 (10.0.0.2) is down\n");
    std::fs::write(&file, r#"{ "window": [] }"#).expect("written");
    let wrong = master.failed(&from_file).await;
    assert!(wrong.contains("unknown field `window`"), "{wrong}");
}
