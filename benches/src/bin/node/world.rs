//! A master and an agent as real processes under a temporary directory.
//!
//! Invariant: when a [`World`] is dropped, nothing it started is left; an agent that is killed is started again first,
//! because it knows what its tasks hold.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use mete_benches::process::end;
use reqwest::{Method, header};
use serde_json::Value;
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

/// Longest wait for anything that happens by itself.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(5);
/// Away from the ports of a cluster somebody may be running, and from those of other measurements.
const MASTER_PORT: u16 = 5_650;
const AGENT_PORT: u16 = 5_651;
const SERVICES_PORT: u16 = 5_652;
/// Room for thousands of tasks that do nothing; the machine need not have it.
const RESOURCES: &str = "cpus:1000;mem:1000000;disk:1000000";
/// Bytes of each log that go into an error.
const LOG_TAIL_BYTES: usize = 3_000;

/// The processes.
pub(crate) struct World {
    dir: TempDir,
    mete: PathBuf,
    master: Option<Child>,
    agent: Option<Child>,
    services: Option<Child>,
    http: reqwest::Client,
}

impl World {
    /// Starts both and waits until the agent is registered.
    pub(crate) async fn start(mete: &Path) -> Result<Self> {
        let mut world = Self {
            dir: tempfile::Builder::new().prefix("mete-node-").tempdir()?,
            mete: mete.to_owned(),
            master: None,
            agent: None,
            services: None,
            http: mete_daemon::http_client::plain()
                .timeout(PATIENCE)
                .build()?,
        };
        let port = format!("--port={MASTER_PORT}");
        let state = format!("--state-dir={}", world.dir().join("master").display());
        world.master = Some(world.spawn("master", &[port, state])?);
        world.start_agent()?;
        world.until_registered(0).await?;
        Ok(world)
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn master_url(&self) -> String {
        format!("http://127.0.0.1:{MASTER_PORT}")
    }

    pub(crate) fn agent_pid(&self) -> Result<u32> {
        Ok(self.agent.as_ref().context("no agent")?.id())
    }

    /// SIGKILL, and waits until it is gone.
    pub(crate) fn kill_agent(&mut self) -> Result<()> {
        let mut agent = self.agent.take().context("no agent")?;
        agent.kill()?;
        agent.wait()?;
        Ok(())
    }

    pub(crate) fn start_agent(&mut self) -> Result<()> {
        let arguments = [
            format!("--port={AGENT_PORT}"),
            format!("--master={}", self.master_url()),
            format!("--work-dir={}", self.dir().join("agent").display()),
            format!("--resources={RESOURCES}"),
            format!("--volume-root={}", self.dir().display()),
            "--stop-tasks-on-exit".to_owned(),
        ];
        self.agent = Some(self.spawn("agent", &arguments)?);
        Ok(())
    }

    /// Starts the service framework and waits until it answers.
    pub(crate) async fn start_services(&mut self) -> Result<()> {
        let arguments = [
            format!("--port={SERVICES_PORT}"),
            format!("--master={}", self.master_url()),
            format!("--state-dir={}", self.dir().join("services").display()),
        ];
        self.services = Some(self.spawn("services", &arguments)?);
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            let info = self.rest(Method::GET, "/v2/info", None).await;
            if info.is_ok_and(|info| info["frameworkId"].is_string()) {
                return Ok(());
            }
            sleep(LOOK).await;
        }
        bail!("no service framework within {PATIENCE:?}")
    }

    /// Ends the service framework.
    pub(crate) fn end_services(&mut self) -> Result<()> {
        let mut services = self.services.take().context("no service framework")?;
        ensure!(end(&mut services), "the service framework has not ended");
        Ok(())
    }

    /// Asks the service framework.
    pub(crate) async fn rest(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value> {
        let url = format!("http://127.0.0.1:{SERVICES_PORT}{path}");
        let mut request = self.http.request(method, url);
        if let Some(body) = body {
            let json = header::HeaderValue::from_static("application/json");
            request = request
                .header(header::CONTENT_TYPE, json)
                .body(body.to_string());
        }
        let answer = request.send().await?.error_for_status()?.bytes().await?;
        Ok(serde_json::from_slice(&answer)?)
    }

    /// Puts an image into the agent.
    pub(crate) fn import_image(&self, archive: &Path) -> Result<()> {
        let import = Command::new(&self.mete)
            .args(["image", "import"])
            .arg(archive)
            .arg(format!("--agent=http://127.0.0.1:{AGENT_PORT}"))
            .output()?;
        let said = String::from_utf8_lossy(&import.stderr);
        ensure!(import.status.success(), "no image: {said}");
        Ok(())
    }

    /// Waits until the agent has a master and `tasks` tasks.
    pub(crate) async fn until_registered(&self, tasks: usize) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if let Ok(state) = self.state().await
                && state["registered"] == true
                && live_tasks(&state) >= tasks
            {
                return Ok(());
            }
            sleep(LOOK).await;
        }
        bail!("no agent with {tasks} tasks within {PATIENCE:?}")
    }

    async fn state(&self) -> Result<Value> {
        let url = format!("http://127.0.0.1:{AGENT_PORT}/state");
        let answer = self.http.get(url).send().await?.bytes().await?;
        Ok(serde_json::from_slice(&answer)?)
    }

    /// The end of what was logged, for an error.
    pub(crate) fn logs(&self) -> String {
        let tail = |name| {
            let text = fs::read(self.dir().join(format!("{name}.log"))).unwrap_or_default();
            let tail = &text[text.len().saturating_sub(LOG_TAIL_BYTES)..];
            format!("--- {name}\n{}\n", String::from_utf8_lossy(tail))
        };
        ["master", "agent", "services"].map(tail).concat()
    }

    /// Ends all of it.
    pub(crate) async fn end(mut self) -> Result<()> {
        let daemons = [self.services.take(), self.agent.take(), self.master.take()];
        for mut child in daemons.into_iter().flatten() {
            if !end(&mut child) {
                bail!("a daemon has not ended in time\n{}", self.logs());
            }
        }
        Ok(())
    }

    fn spawn(&self, daemon: &str, arguments: &[String]) -> Result<Child> {
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.dir().join(format!("{daemon}.log")))?;
        Command::new(&self.mete)
            .arg(daemon)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("cannot start {}", self.mete.display()))
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if self.agent.is_none() && self.master.is_some() {
            let _ = self.start_agent();
        }
        let daemons = [self.services.take(), self.agent.take(), self.master.take()];
        for mut child in daemons.into_iter().flatten() {
            end(&mut child);
        }
    }
}

fn live_tasks(state: &Value) -> usize {
    let frameworks = state["frameworks"].as_array().into_iter().flatten();
    let executors = frameworks.flat_map(|one| one["executors"].as_array().into_iter().flatten());
    executors
        .map(|one| one["tasks"].as_array().map_or(0, Vec::len))
        .sum()
}
