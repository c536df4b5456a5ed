//! A cluster of real processes under one temporary directory, and the means to look at it.
//!
//! Clusters of this test binary run one at a time: they use the same ports, and figures would mean nothing otherwise.

use std::fmt::Debug;
use std::fs;
use std::io::Write as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::{Instant, sleep};

/// Away from the ports of a cluster somebody may be running, and below the kernel's own.
pub(crate) const SHIFT: u16 = 700;
/// Longest wait for anything that happens by itself.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks at what will happen.
const LOOK: Duration = Duration::from_millis(20);

static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());

/// Looks until there is something to see; panics with `what` when the deadline comes first.
pub(crate) async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(seen) = look().await {
            return seen;
        }
        assert!(
            Instant::now() < deadline,
            "not seen within {PATIENCE:?}: {what}"
        );
        sleep(LOOK).await;
    }
}

/// `mete` with arguments.
pub(crate) fn mete(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mete"));
    command.args(arguments).stdin(Stdio::null());
    command
}

/// A `mete up` and all that it has started.
pub(crate) struct Cluster {
    pub(crate) dir: TempDir,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    up: Option<Child>,
    http: reqwest::Client,
    _alone: MutexGuard<'static, ()>,
}

impl Cluster {
    /// Starts a cluster and waits until everything listens.
    pub(crate) async fn start(arguments: &[&str]) -> Self {
        Self::start_with(arguments, &[]).await
    }

    /// The same with environment variables for the daemons.
    pub(crate) async fn start_with(arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        let alone = ONE_AT_A_TIME.lock().await;
        let http = mete_daemon::http_client::plain()
            .timeout(Duration::from_secs(20))
            .build()
            .expect("an HTTP client");
        let mut cluster = Self {
            dir: tempfile::Builder::new()
                .prefix("mete-")
                .tempdir()
                .expect("a temporary directory"),
            arguments: arguments.iter().map(ToString::to_string).collect(),
            environment: environment
                .iter()
                .map(|(name, value)| (name.to_string(), value.to_string()))
                .collect(),
            up: None,
            http,
            _alone: alone,
        };
        cluster.up().await;
        cluster
    }

    /// Starts `mete up` on the directory, at first or again.
    pub(crate) async fn up(&mut self) {
        let _ = fs::remove_file(self.state_dir().join("cluster.json"));
        self.up = Some(self.command(&[]).spawn().expect("mete up starts"));
        let pid = self.up_pid();
        eventually("cluster.json", async || {
            assert!(alive(pid), "mete up ended:\n{}", self.logs());
            self.state_dir().join("cluster.json").exists().then_some(())
        })
        .await;
    }

    /// `mete up` with the arguments of this cluster and some more.
    pub(crate) fn command(&self, more: &[&str]) -> Command {
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.dir.path().join("up.log"))
            .expect("a log");
        let mut command = mete(&["up", "--port-base", &SHIFT.to_string()]);
        command
            .arg("--state-dir")
            .arg(self.state_dir())
            .args(&self.arguments)
            .args(more);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.stdout(log.try_clone().expect("a log")).stderr(log);
        command
    }

    pub(crate) fn state_dir(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    /// Everything that was written to logs, for a failure.
    pub(crate) fn logs(&self) -> String {
        let tail = |path: &Path| {
            let text = fs::read_to_string(path).unwrap_or_default();
            let lines: Vec<&str> = text.lines().rev().take(25).collect();
            format!(
                "--- {}\n{}\n",
                path.display(),
                lines.into_iter().rev().collect::<Vec<_>>().join("\n")
            )
        };
        let mut all = tail(&self.dir.path().join("up.log"));
        for entry in fs::read_dir(self.state_dir().join("logs"))
            .into_iter()
            .flatten()
            .flatten()
        {
            all.push_str(&tail(&entry.path()));
        }
        all
    }

    pub(crate) fn up_pid(&self) -> u32 {
        self.up.as_ref().expect("mete up was started").id()
    }

    /// SIGINT to `mete up`.
    pub(crate) fn interrupt(&self) {
        signal(self.up_pid(), Signal::INT);
    }

    /// SIGTERM to `mete up`; how it ended, and how long that took.
    pub(crate) async fn down(&mut self) -> (ExitStatus, Duration) {
        let begin = Instant::now();
        signal(self.up_pid(), Signal::TERM);
        let mut up = self.up.take().expect("mete up was started");
        let status = eventually("mete up ends", async || {
            up.try_wait().expect("mete up can be waited for")
        })
        .await;
        (status, begin.elapsed())
    }

    /// What `cluster.json` says.
    pub(crate) fn info(&self) -> Value {
        let text = fs::read_to_string(self.state_dir().join("cluster.json")).expect("cluster.json");
        serde_json::from_str(&text).expect("cluster.json is JSON")
    }

    pub(crate) fn pid(&self, daemon: &str) -> u32 {
        let info = self.info();
        let daemons = info["daemons"].as_array().expect("daemons");
        let entry = daemons
            .iter()
            .find(|entry| entry["name"] == daemon)
            .unwrap_or_else(|| panic!("no {daemon}"));
        u32::try_from(entry["pid"].as_u64().expect("pid")).expect("a pid")
    }

    pub(crate) fn url(&self, daemon: &str) -> String {
        let info = self.info();
        let daemons = info["daemons"].as_array().expect("daemons");
        let entry = daemons
            .iter()
            .find(|entry| entry["name"] == daemon)
            .unwrap_or_else(|| panic!("no {daemon}"));
        entry["url"].as_str().expect("url").to_owned()
    }

    /// kill -9, and wait until `mete up` has started the daemon again.
    pub(crate) async fn kill(&self, daemon: &str) {
        let pid = self.pid(daemon);
        signal(pid, Signal::KILL);
        eventually(&format!("{daemon} is started again"), async || {
            (self.pid(daemon) != pid).then_some(())
        })
        .await;
    }

    /// One REST call; status and body (null when it is not JSON).
    pub(crate) async fn rest(
        &self,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> (u16, Value) {
        let base = format!("http://127.0.0.1:{}", 8080 + SHIFT);
        self.call(method, &format!("{base}{path}"), body).await
    }

    pub(crate) async fn call(&self, method: &str, url: &str, body: Option<&Value>) -> (u16, Value) {
        let method = method.parse().expect("a method");
        let mut request = self.http.request(method, url);
        if let Some(body) = body {
            request = request.json(body);
        }
        match request.send().await {
            Ok(answer) => {
                let status = answer.status().as_u16();
                let body = answer.bytes().await.unwrap_or_default();
                (status, serde_json::from_slice(&body).unwrap_or_default())
            }
            Err(_) => (0, Value::Null),
        }
    }

    /// The same, for calls that must succeed.
    pub(crate) async fn ok(&self, method: &str, path: &str, body: Option<&Value>) -> Value {
        let (status, answer) = self.rest(method, path, body).await;
        assert!(
            (200..300).contains(&status),
            "{method} {path}: {status} {answer}\n{}",
            self.logs()
        );
        answer
    }

    /// Waits until an app has as many instances running and healthy as it wants, and no deployment is under way.
    pub(crate) async fn healthy(&self, app: &str) -> Value {
        eventually(
            &format!("{app} is healthy; {}", self.dir.path().display()),
            async || {
                let (status, answer) = self
                    .rest("GET", &format!("/v2/apps{app}?embed=app.tasks"), None)
                    .await;
                let app = &answer["app"];
                let wanted = app["instances"].as_u64()?;
                let checked = app["healthChecks"]
                    .as_array()
                    .is_some_and(|all| !all.is_empty());
                let done = status == 200
                    && app["tasksRunning"] == wanted
                    && (!checked || app["tasksHealthy"] == wanted)
                    && app["deployments"].as_array().is_some_and(Vec::is_empty);
                done.then(|| app.clone())
            },
        )
        .await
    }

    /// Ids of the tasks of an app that run now.
    pub(crate) async fn tasks(&self, app: &str) -> Vec<Value> {
        let (_, answer) = self
            .rest("GET", &format!("/v2/apps{app}/tasks"), None)
            .await;
        let mut tasks = answer["tasks"].as_array().cloned().unwrap_or_default();
        tasks.sort_by_key(|task| task["id"].as_str().unwrap_or_default().to_owned());
        tasks
    }

    /// Process of a task: who listens on its first port.
    pub(crate) async fn task_pid(&self, task: &Value) -> u32 {
        let id = task["id"].as_str().expect("id");
        eventually(&format!("the process of {id}"), async || {
            processes()
                .into_iter()
                .find(|(_, _, environment)| environment.contains(&format!("MESOS_TASK_ID={id}")))
                .map(|(pid, _, _)| pid)
        })
        .await
    }

    /// Who answers through HAProxy at an app's service port.
    pub(crate) async fn through_haproxy(&self, service_port: u16) -> Option<Value> {
        let client = mete_daemon::http_client::plain()
            .pool_max_idle_per_host(0)
            .timeout(Duration::from_secs(5))
            .build()
            .ok()?;
        let answer = client
            .get(format!("http://127.0.0.1:{}/", service_port + SHIFT))
            .send()
            .await
            .ok()?;
        if answer.status() != 200 {
            return None;
        }
        serde_json::from_slice(&answer.bytes().await.ok()?).ok()
    }

    /// Servers of a backend that HAProxy sends requests to: `host:port`, sorted.
    pub(crate) fn servers_up(&self, backend: &str) -> Vec<String> {
        let mut up: Vec<String> = self
            .stat()
            .into_iter()
            .filter(|row| {
                row["pxname"] == backend
                    && row["svname"] != "BACKEND"
                    && row["svname"] != "FRONTEND"
            })
            .filter(|row| {
                row["status"]
                    .as_str()
                    .is_some_and(|status| status.starts_with("UP") || status == "no check")
            })
            .map(|row| row["addr"].as_str().unwrap_or_default().to_owned())
            .collect();
        up.sort();
        up
    }

    /// Waits until HAProxy sends requests to exactly the tasks of an app.
    pub(crate) async fn haproxy_follows(&self, app: &str, backend: &str) {
        eventually(
            &format!("HAProxy has exactly the tasks of {app}"),
            async || {
                let mut wanted: Vec<String> = self
                    .tasks(app)
                    .await
                    .iter()
                    .filter(|task| task["state"] == "TASK_RUNNING")
                    .map(|task| {
                        format!(
                            "{}:{}",
                            task["host"].as_str().unwrap_or_default(),
                            task["ports"][0]
                        )
                    })
                    .collect();
                wanted.sort();
                (!wanted.is_empty() && self.servers_up(backend) == wanted).then_some(())
            },
        )
        .await;
    }

    /// Rows of `show stat`; none when HAProxy does not answer.
    pub(crate) fn stat(&self) -> Vec<Value> {
        let Some(csv) = self.admin("show stat") else {
            return Vec::new();
        };
        let mut lines = csv.lines().filter(|line| !line.is_empty());
        let head: Vec<&str> = lines
            .next()
            .unwrap_or_default()
            .trim_start_matches("# ")
            .split(',')
            .collect();
        let row = |line: &str| {
            head.iter()
                .zip(line.split(','))
                .map(|(name, cell)| (name.to_string(), json!(cell)))
                .collect()
        };
        lines.map(row).collect()
    }

    /// A command of HAProxy's admin socket.
    pub(crate) fn admin(&self, command: &str) -> Option<String> {
        use std::io::Read as _;
        let info = self.info();
        let mut stream =
            std::os::unix::net::UnixStream::connect(info["haproxy"]["adminSocket"].as_str()?)
                .ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(2))).ok()?;
        stream.write_all(format!("{command}\n").as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer)
    }

    /// Processes that have anything to do with this cluster.
    pub(crate) fn leftovers(&self) -> Vec<String> {
        let dir = self.dir.path().display().to_string();
        let mine = |(_, line, environment): &(u32, String, String)| {
            line.contains(&dir) || environment.contains(&dir)
        };
        processes()
            .into_iter()
            .filter(mine)
            .map(|(pid, line, _)| format!("{pid}: {line}"))
            .collect()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.logs());
        }
        if let Some(mut up) = self.up.take() {
            signal(up.id(), Signal::TERM);
            let deadline = std::time::Duration::from_secs(15);
            let mut waited = Duration::ZERO;
            while matches!(up.try_wait(), Ok(None)) && waited < deadline {
                std::thread::sleep(LOOK);
                waited += LOOK;
            }
            let _ = up.kill();
            let _ = up.wait();
        }
        let dir = self.dir.path().display().to_string();
        for (pid, line, environment) in processes() {
            if line.contains(&dir) || environment.contains(&dir) {
                signal(pid, Signal::KILL);
            }
        }
    }
}

/// pid, command line and environment of every process we may look at.
fn processes() -> Vec<(u32, String, String)> {
    let own = std::process::id();
    let mut all = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse::<u32>().ok())
        else {
            continue;
        };
        if pid == own {
            continue;
        }
        let text = |file: &str| {
            let bytes = fs::read(entry.path().join(file)).unwrap_or_default();
            String::from_utf8_lossy(&bytes).replace('\0', " ")
        };
        let line = text("cmdline");
        if !line.is_empty() {
            all.push((pid, line, text("environ")));
        }
    }
    all
}

pub(crate) fn alive(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')')
        .next()
        .is_some_and(|rest| !rest.trim().is_empty() && !rest.trim_start().starts_with('Z'))
}

pub(crate) fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        // It may be gone already.
        let _ = kill_process(pid, signal);
    }
}

/// An app of `mete whoami` with quick health checks.
pub(crate) fn web(instances: u32) -> Value {
    json!({
        "id": "/web",
        "cmd": "exec mete whoami --port $PORT0",
        "cpus": 0.05,
        "mem": 32,
        "instances": instances,
        "portDefinitions": [{ "port": 10_000, "name": "http", "protocol": "tcp" }],
        "labels": { "HAPROXY_0_MODE": "http", "HAPROXY_0_VHOST": "web.localhost" },
        "healthChecks": [{
            "protocol": "MESOS_HTTP", "path": "/health", "portIndex": 0, "delaySeconds": 0,
            "intervalSeconds": 1, "timeoutSeconds": 2, "gracePeriodSeconds": 5, "maxConsecutiveFailures": 2
        }]
    })
}

/// How a process ended, for messages.
pub(crate) fn ended(status: ExitStatus) -> impl Debug {
    (status.code(), status.signal())
}
