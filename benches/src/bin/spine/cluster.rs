//! A cluster of real processes under a temporary directory, and the means to look at it.
//!
//! Invariant: whatever ends this program short of SIGKILL drops the [`Cluster`], and nothing it started is left then.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use mete_benches::process::signal;
use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::time::{Instant, sleep, timeout};

/// Away from the ports of a cluster somebody may be running, and from those of the end-to-end tests.
const SHIFT: u16 = 300;
/// Longest wait for anything that happens by itself.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// One REST call or one command of the admin socket.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// `mete up` promises to be gone within 10 s.
const END_PATIENCE: Duration = Duration::from_secs(15);
/// Between two looks at what is not measured.
const LOOK: Duration = Duration::from_millis(20);
/// Between two looks at what is: short beside every answer, long enough not to be the machine's main work.
pub(crate) const CLOSE_LOOK: Duration = Duration::from_millis(2);
/// Lines of each log that go into an error.
const LOG_TAIL_LINES: usize = 15;

/// A `mete up` and all that it has started.
#[derive(Debug)]
pub(crate) struct Cluster {
    dir: TempDir,
    up: Option<Child>,
    info: Value,
    http: reqwest::Client,
}

impl Cluster {
    /// Starts a cluster and waits until everything listens.
    pub(crate) async fn start(mete: &Path) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("mete-spine-").tempdir()?;
        let log = fs::File::create(dir.path().join("up.log"))?;
        let up = Command::new(mete)
            .args(["up", "--port-base", &SHIFT.to_string(), "--state-dir"])
            .arg(dir.path().join("state"))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            // Ctrl-C is for this program, which says when the cluster ends.
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start {}", mete.display()))?;
        let mut cluster = Self {
            dir,
            up: Some(up),
            info: Value::Null,
            http: mete_daemon::http_client::plain()
                .connect_timeout(CALL_TIMEOUT)
                .build()?,
        };
        cluster.wait_until_up().await?;
        Ok(cluster)
    }

    async fn wait_until_up(&mut self) -> Result<()> {
        let file = self.state_dir().join("cluster.json");
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Ok(text) = fs::read_to_string(&file) {
                self.info = serde_json::from_str(&text).context("cluster.json")?;
                return Ok(());
            }
            let ended = self.up.as_mut().and_then(|up| up.try_wait().transpose());
            if let Some(status) = ended.transpose()? {
                bail!("`mete up` ended with {status}\n{}", self.logs());
            }
            if Instant::now() > deadline {
                bail!("no cluster within {PATIENCE:?}\n{}", self.logs());
            }
            sleep(LOOK).await;
        }
    }

    fn state_dir(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    /// SIGTERM to `mete up`; how long it took until it had ended.
    pub(crate) async fn down(&mut self) -> Result<Duration> {
        let begin = Instant::now();
        let up = self.up.as_mut().context("`mete up` was started")?;
        signal(up.id(), Signal::TERM);
        while begin.elapsed() < END_PATIENCE {
            if let Some(status) = up.try_wait()? {
                let took = begin.elapsed();
                self.up = None;
                if !status.success() {
                    bail!("`mete up` ended with {status}\n{}", self.logs());
                }
                return Ok(took);
            }
            sleep(CLOSE_LOOK).await;
        }
        bail!("`mete up` has not ended within {END_PATIENCE:?}")
    }

    /// The end of everything that was logged, for an error.
    pub(crate) fn logs(&self) -> String {
        let logs = fs::read_dir(self.state_dir().join("logs")).into_iter();
        let logs = logs.flatten().flatten().map(|entry| entry.path());
        let tail = |path: PathBuf| {
            let text = fs::read_to_string(&path).unwrap_or_default();
            let lines: Vec<&str> = text.lines().collect();
            let tail = &lines[lines.len().saturating_sub(LOG_TAIL_LINES)..];
            format!("--- {}\n{}\n", path.display(), tail.join("\n"))
        };
        let up = std::iter::once(self.dir.path().join("up.log"));
        up.chain(logs).map(tail).collect()
    }

    /// Name and pid of each daemon.
    pub(crate) fn daemons(&self) -> Result<Vec<(String, u32)>> {
        let daemons = self.info["daemons"].as_array().context("daemons")?;
        let read = |daemon: &Value| {
            let pid = u32::try_from(daemon["pid"].as_u64()?).ok()?;
            Some((daemon["name"].as_str()?.to_owned(), pid))
        };
        let read = daemons.iter().map(read).collect::<Option<_>>();
        read.context("a daemon of cluster.json has no name or no pid")
    }

    /// Where a daemon answers.
    pub(crate) fn url(&self, daemon: &str) -> Result<String> {
        let daemons = self.info["daemons"].as_array().context("daemons")?;
        let entry = daemons.iter().find(|entry| entry["name"] == daemon);
        let url = entry.and_then(|entry| entry["url"].as_str());
        Ok(url.with_context(|| format!("no {daemon}"))?.to_owned())
    }

    /// Where a service port is reached through HAProxy.
    pub(crate) fn service_address(service_port: u16) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, service_port + SHIFT).into()
    }

    /// One call to the service framework that must succeed.
    pub(crate) async fn rest(
        &self,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value> {
        let url = format!("{}{path}", self.url("services")?);
        let (status, answer) = self.call(method, &url, body).await?;
        if !(200..300).contains(&status) {
            bail!("{method} {path}: {status} {answer}");
        }
        Ok(answer)
    }

    /// One HTTP call; status and body (null when it is not JSON).
    pub(crate) async fn call(
        &self,
        method: &str,
        url: &str,
        body: Option<&Value>,
    ) -> Result<(u16, Value)> {
        let request = self
            .http
            .request(method.parse()?, url)
            .timeout(CALL_TIMEOUT);
        let request = match body {
            Some(body) => request.json(body),
            None => request,
        };
        let answer = request.send().await?;
        let status = answer.status().as_u16();
        let body = answer.bytes().await?;
        Ok((status, serde_json::from_slice(&body).unwrap_or_default()))
    }

    /// A stream of the service framework that does not end by itself.
    pub(crate) async fn open_stream(&self, path: &str) -> Result<reqwest::Response> {
        let url = format!("{}{path}", self.url("services")?);
        let request = self.http.get(&url).header("accept", "text/event-stream");
        let answer = timeout(CALL_TIMEOUT, request.send()).await??;
        Ok(answer.error_for_status()?)
    }

    /// Addresses of all servers that HAProxy sends requests to. `None` while it does not answer, as during a reload.
    pub(crate) async fn servers_up(&self) -> Option<Vec<String>> {
        let table = self.admin("show servers state").await.ok()?;
        let mut lines = table.lines();
        let header = lines.find(|line| line.starts_with("# "))?;
        let names: Vec<&str> = header.trim_start_matches("# ").split_whitespace().collect();
        let column = |name| names.iter().position(|have| *have == name);
        let address = column("srv_addr")?;
        let port = column("srv_port")?;
        let operational = column("srv_op_state")?;
        let admin = column("srv_admin_state")?;
        let up = |line: &str| {
            let words: Vec<&str> = line.split_whitespace().collect();
            // 0 of the one is stopped, 0 of the other is neither drained nor in maintenance.
            let takes = *words.get(operational)? != "0" && *words.get(admin)? == "0";
            takes.then(|| Some(format!("{}:{}", words.get(address)?, words.get(port)?)))?
        };
        Some(lines.filter_map(up).collect())
    }

    /// A command of HAProxy's admin socket.
    async fn admin(&self, command: &str) -> Result<String> {
        let socket = self.info["haproxy"]["adminSocket"].as_str();
        let socket = socket.context("no admin socket in cluster.json")?;
        let ask = async {
            let mut stream = UnixStream::connect(socket).await?;
            stream.write_all(format!("{command}\n").as_bytes()).await?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await?;
            Ok(answer)
        };
        timeout(CALL_TIMEOUT, ask).await?
    }

    /// Processes of this cluster: pid, arguments and environment.
    pub(crate) fn processes(&self) -> Vec<Process> {
        let dir = self.dir.path().display().to_string();
        let mine = |process: &Process| {
            let mut words = process.arguments.iter().chain(&process.environment);
            words.any(|word| word.contains(&dir))
        };
        processes().into_iter().filter(mine).collect()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Some(mut up) = self.up.take() {
            signal(up.id(), Signal::TERM);
            let mut waited = Duration::ZERO;
            while matches!(up.try_wait(), Ok(None)) && waited < END_PATIENCE {
                std::thread::sleep(LOOK);
                waited += LOOK;
            }
            // It may have ended; then there is nothing to kill and to wait for.
            let _ = up.kill();
            let _ = up.wait();
        }
        for process in self.processes() {
            signal(process.pid, Signal::KILL);
        }
    }
}

/// A process as `/proc` shows it.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    pub(crate) arguments: Vec<String>,
    pub(crate) environment: Vec<String>,
}

/// Every process but this one that we may look at.
fn processes() -> Vec<Process> {
    let words = |path: PathBuf| {
        let bytes = fs::read(path).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        text.split_terminator('\0').map(str::to_owned).collect()
    };
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let read = |entry: fs::DirEntry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        (pid != std::process::id()).then(|| Process {
            pid,
            arguments: words(entry.path().join("cmdline")),
            environment: words(entry.path().join("environ")),
        })
    };
    entries.filter_map(read).collect()
}

/// Looks until there is something to see.
pub(crate) async fn eventually<T>(
    what: &str,
    pause: Duration,
    mut look: impl AsyncFnMut() -> Option<T>,
) -> Result<T> {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        if let Some(seen) = look().await {
            return Ok(seen);
        }
        sleep(pause).await;
    }
    Err(anyhow!("not seen within {PATIENCE:?}: {what}"))
}

/// [`eventually`] for what is not measured.
pub(crate) async fn by_and_by<T>(what: &str, look: impl AsyncFnMut() -> Option<T>) -> Result<T> {
    eventually(what, LOOK, look).await
}
