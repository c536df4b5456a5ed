//! What operators say on a command line, to a real master in this process.

use std::process::{Command, Output};

use mete_daemon::config;
use mete_master::Options;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

struct Master {
    url: String,
    shutdown: CancellationToken,
    _dir: TempDir,
}

impl Master {
    async fn start() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let state_dir = format!("--state-dir={}", dir.path().display());
        let options: Options =
            config::load("master", [state_dir], [("", "")]).expect("good options");
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let shutdown = CancellationToken::new();
        tokio::spawn(mete_master::run_on(listener, options, shutdown.clone()));
        Self {
            url,
            shutdown,
            _dir: dir,
        }
    }

    async fn run(&self, line: &str) -> Output {
        let mut mete = Command::new(env!("CARGO_BIN_EXE_mete"));
        mete.env("METE_MASTER", &self.url).args(line.split(' '));
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
async fn what_cannot_be_done_is_said_in_words() {
    let master = Master::start().await;

    for (line, words) in [
        (
            "agent drain nobody --deadline 10m",
            "agent nobody is not known",
        ),
        ("agent deactivate nobody", "agent nobody is not known"),
        ("agent reactivate nobody", "agent nobody is not known"),
        ("agent gone nobody", "agent nobody is not known"),
        ("role weight web 0", "weight 0 is not from 0.001"),
        ("policy worst-fit", "worst-fit"),
        ("quota set a/b --limit cpus=1", "not a top-level role"),
        ("quota set web", "say --limit, --guarantee, or both"),
    ] {
        let said = master.failed(line).await;
        assert!(said.contains(words), "{line}: {said}");
    }
}
