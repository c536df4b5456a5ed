//! A world for one test: a service framework in memory, tasks that are small servers, one sync with its HAProxy.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt::Debug;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use axum::extract::{Path as UrlPath, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Sse;
use axum::response::sse::Event;
use axum::routing::{get, put};
use axum::{Json, Router};
use futures::{Stream, StreamExt, stream};
use mete_daemon::{clock, config, http_client};
use mete_discovery::haproxy::rows::{Row, read_states};
use mete_discovery::haproxy::runtime::Sockets;
use mete_discovery::{Options, RunError};
use mete_proto::rest::backends::{
    Ack, Backends, Change, Heartbeat, Instance, InstanceState, Mode, Protocol, Service,
};
use tokio::net::TcpListener;
use tokio::sync::{broadcast, watch};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

/// How long anything may take before a test gives up; far above what it takes.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// Waits until `check` has an answer, or says what it was waiting for.
pub(crate) async fn eventually<T, F: Future<Output = Option<T>>>(
    what: &str,
    mut check: impl FnMut() -> F,
) -> T {
    let begin = clock::elapsed();
    loop {
        if let Some(found) = check().await {
            return found;
        }
        assert!(
            clock::elapsed() - begin < DEADLINE,
            "waited in vain for: {what}"
        );
        sleep(Duration::from_millis(2)).await;
    }
}

/// A port that is free now, on the loopback address, and below those that the system gives out by itself.
pub(crate) fn free_port() -> u16 {
    // Another test process begins elsewhere.
    static NEXT: LazyLock<AtomicU16> = LazyLock::new(|| {
        let spread = std::process::id() % 100 * 100;
        AtomicU16::new(20_000 + u16::try_from(spread).expect("below 10,000"))
    });
    loop {
        let port = 20_000 + NEXT.fetch_add(1, Ordering::Relaxed) % 12_000;
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

// ---------------------------------------------------------------- service framework

#[derive(Debug)]
struct Told {
    list: Backends,
    acks: Vec<(String, Ack)>,
    resumed_from: Vec<Option<String>>,
}

/// The service framework's side of the list.
#[derive(Clone, Debug)]
pub(crate) struct Framework {
    told: Arc<Mutex<Told>>,
    events: broadcast::Sender<Event>,
    acked: watch::Sender<u64>,
    pub(crate) address: SocketAddr,
    end: Arc<Mutex<CancellationToken>>,
    /// When set, whoever does not show it is turned away.
    token: Arc<Mutex<Option<String>>>,
}

impl Framework {
    pub(crate) async fn start() -> Self {
        let list = Backends {
            epoch: "epoch-1".into(),
            version: 1,
            services: Vec::new(),
        };
        let told = Told {
            list,
            acks: Vec::new(),
            resumed_from: Vec::new(),
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let framework = Self {
            told: Arc::new(Mutex::new(told)),
            events: broadcast::channel(1000).0,
            acked: watch::channel(0).0,
            address: listener.local_addr().expect("an address"),
            end: Arc::default(),
            token: Arc::default(),
        };
        framework.serve(listener);
        framework
    }

    fn serve(&self, listener: TcpListener) {
        let end = self.end.lock().expect("lock").clone();
        let router = Router::new()
            .route("/v2/backends", get(list))
            .route("/v2/backends/acks/{proxy}", put(ack))
            .with_state((self.clone(), end.clone()));
        let ended = end.cancelled_owned();
        tokio::spawn(
            axum::serve(listener, router)
                .with_graceful_shutdown(ended)
                .into_future(),
        );
    }

    /// Ends all its connections and listens no more.
    pub(crate) fn stop(&self) {
        self.end.lock().expect("lock").cancel();
    }

    /// Listens again, as a new process would: with a new epoch.
    pub(crate) async fn restart(&self) {
        *self.end.lock().expect("lock") = CancellationToken::new();
        {
            let mut told = self.told.lock().expect("lock");
            told.list.epoch.push('x');
            told.list.version = 1;
        }
        let bound = eventually("the framework's port", || async {
            TcpListener::bind(self.address).await.ok()
        })
        .await;
        self.serve(bound);
    }

    /// Changes the list, and tells everybody who follows. Returns the new version.
    pub(crate) fn change(&self, change: impl FnOnce(&mut Vec<Service>)) -> u64 {
        let mut told = self.told.lock().expect("lock");
        let before = told.list.services.clone();
        change(&mut told.list.services);
        told.list.version += 1;
        let now = &told.list.services;
        let changed = now
            .iter()
            .filter(|service| !before.contains(service))
            .cloned()
            .collect();
        let keys: Vec<_> = now.iter().map(Service::key).collect();
        let removed = before
            .iter()
            .map(Service::key)
            .filter(|key| !keys.contains(key))
            .collect();
        let Backends { epoch, version, .. } = &told.list;
        let (epoch, version) = (epoch.clone(), *version);
        let change = Change {
            epoch: epoch.clone(),
            version,
            services: changed,
            removed,
        };
        let event = Event::default()
            .event("change")
            .id(format!("{epoch}-{version}"))
            .json_data(&change);
        // Nobody following is fine: they get a snapshot.
        let _ = self.events.send(event.expect("a change is json"));
        version
    }

    /// Sends a heartbeat to everybody who follows.
    pub(crate) fn beat(&self) {
        let told = self.told.lock().expect("lock");
        let beat = Heartbeat {
            epoch: told.list.epoch.clone(),
            version: told.list.version,
        };
        let event = Event::default()
            .event("heartbeat")
            .json_data(&beat)
            .expect("json");
        let _ = self.events.send(event);
    }

    pub(crate) fn want_token(&self, token: &str) {
        *self.token.lock().expect("lock") = Some(format!("Bearer {token}"));
    }

    fn lets_in(&self, headers: &HeaderMap) -> bool {
        let wanted = self.token.lock().expect("lock").clone();
        let shown = headers
            .get("authorization")
            .and_then(|value| value.to_str().ok());
        wanted.is_none_or(|wanted| shown == Some(&wanted))
    }

    /// Changes the instances of one service.
    pub(crate) fn instances(&self, app: &str, change: impl FnOnce(&mut Vec<Instance>)) -> u64 {
        self.change(|services| {
            let service = services
                .iter_mut()
                .find(|service| service.app_id == app)
                .expect("the app is there");
            change(&mut service.instances);
        })
    }

    /// Waits for an acknowledgement that `check` has something to say about, also one that came before.
    pub(crate) async fn ack<T: Debug>(&self, what: &str, check: impl Fn(&Ack) -> Option<T>) -> T {
        let mut changed = self.acked.subscribe();
        let found = timeout(DEADLINE, async {
            loop {
                let last = self.told.lock().expect("lock").acks.last().cloned();
                if let Some(found) = last.and_then(|(_, ack)| check(&ack)) {
                    return found;
                }
                changed.changed().await.expect("the framework lives");
            }
        });
        match found.await {
            Ok(found) => found,
            Err(_) => panic!(
                "no acknowledgement: {what}; last {:?}",
                self.told.lock().expect("lock").acks.last()
            ),
        }
    }

    /// Waits until a version is acknowledged.
    pub(crate) async fn acked(&self, version: u64) -> Ack {
        self.ack(&format!("version {version}"), |ack| {
            (ack.version >= version).then(|| ack.clone())
        })
        .await
    }

    pub(crate) fn proxies(&self) -> Vec<String> {
        self.told
            .lock()
            .expect("lock")
            .acks
            .iter()
            .map(|(proxy, _)| proxy.clone())
            .collect()
    }

    pub(crate) fn resumed_from(&self) -> Vec<Option<String>> {
        self.told.lock().expect("lock").resumed_from.clone()
    }
}

type Shared = State<(Framework, CancellationToken)>;

async fn list(
    State((framework, end)): Shared,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, StatusCode> {
    if !framework.lets_in(&headers) {
        return Err(StatusCode::UNAUTHORIZED);
    }
    let last = headers
        .get("last-event-id")
        .and_then(|id| id.to_str().ok())
        .map(str::to_owned);
    let (first, events) = {
        let mut told = framework.told.lock().expect("lock");
        told.resumed_from.push(last.clone());
        let id = format!("{}-{}", told.list.epoch, told.list.version);
        let snapshot = Event::default()
            .event("snapshot")
            .id(id.clone())
            .json_data(&told.list)
            .expect("json");
        (
            (last.as_ref() != Some(&id)).then_some(snapshot),
            framework.events.subscribe(),
        )
    };
    let later = stream::unfold(events, |mut events| async {
        Some((events.recv().await.ok()?, events))
    });
    Ok(Sse::new(
        stream::iter(first)
            .chain(later)
            .take_until(end.cancelled_owned())
            .map(Ok),
    ))
}

async fn ack(
    State((framework, _)): Shared,
    UrlPath(proxy): UrlPath<String>,
    headers: HeaderMap,
    Json(ack): Json<Ack>,
) -> StatusCode {
    if !framework.lets_in(&headers) {
        return StatusCode::UNAUTHORIZED;
    }
    framework.told.lock().expect("lock").acks.push((proxy, ack));
    framework.acked.send_modify(|count| *count += 1);
    StatusCode::NO_CONTENT
}

// ---------------------------------------------------------------- tasks

/// A task: an HTTP server that answers with its name, or a TCP one that echoes.
#[derive(Debug)]
pub(crate) struct Task {
    pub(crate) name: String,
    pub(crate) port: u16,
    job: JoinHandle<()>,
}

impl Drop for Task {
    fn drop(&mut self) {
        self.job.abort();
    }
}

impl Task {
    pub(crate) async fn http(name: &str) -> Self {
        Self::http_on(name, 0).await
    }

    pub(crate) async fn http_on(name: &str, port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).await;
        let listener = listener.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let own = name.to_owned();
        let answer = move |path: axum::http::Uri| async move {
            if path.path() == "/slow" {
                sleep(Duration::from_millis(300)).await;
            }
            own
        };
        let router = Router::new().fallback(answer);
        let job =
            tokio::spawn(async move { axum::serve(listener, router).await.expect("it serves") });
        Self {
            name: name.to_owned(),
            port,
            job,
        }
    }

    pub(crate) async fn echo(name: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let job = tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.expect("a connection");
                tokio::spawn(async move {
                    let (mut read, mut write) = stream.split();
                    let _ = tokio::io::copy(&mut read, &mut write).await;
                });
            }
        });
        Self {
            name: name.to_owned(),
            port,
            job,
        }
    }

    pub(crate) fn up(&self) -> Instance {
        Instance {
            task_id: self.name.clone(),
            host: "127.0.0.1".into(),
            port: self.port,
            state: InstanceState::Up,
        }
    }
}

pub(crate) fn service(app: &str, port: u16, mode: Mode, instances: Vec<Instance>) -> Service {
    Service {
        app_id: app.into(),
        port_index: 0,
        service_port: port,
        since: String::new(),
        left: false,
        protocol: Protocol::Tcp,
        mode,
        labels: BTreeMap::new(),
        instances,
    }
}

pub(crate) fn with_labels(service: Service, labels: &[(&str, &str)]) -> Service {
    let labels = labels
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect();
    Service { labels, ..service }
}

pub(crate) fn draining(task: &str) -> impl FnOnce(&mut Vec<Instance>) {
    let task = task.to_owned();
    move |instances| {
        let instance = instances
            .iter_mut()
            .find(|instance| instance.task_id == task)
            .expect("the task is there");
        instance.state = InstanceState::Draining;
    }
}

pub(crate) fn gone(task: &str) -> impl FnOnce(&mut Vec<Instance>) {
    let task = task.to_owned();
    move |instances| instances.retain(|instance| instance.task_id != task)
}

// ---------------------------------------------------------------- sync

/// One sync that runs in this process.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) shutdown: CancellationToken,
    pub(crate) job: JoinHandle<Result<(), RunError>>,
}

impl Running {
    /// As SIGTERM would.
    pub(crate) async fn end(self) -> Result<(), RunError> {
        self.shutdown.cancel();
        timeout(DEADLINE, self.job)
            .await
            .expect("it ends")
            .expect("it does not panic")
    }

    /// As SIGKILL would: nothing is done any more.
    pub(crate) async fn kill(self) {
        self.job.abort();
        assert!(
            self.job.await.is_err_and(|error| error.is_cancelled()),
            "it was alive"
        );
    }
}

/// Everything of one test.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) framework: Framework,
    pub(crate) folder: tempfile::TempDir,
    pub(crate) http: u16,
    pub(crate) stats: u16,
    pub(crate) own: u16,
}

impl Drop for World {
    fn drop(&mut self) {
        kill_haproxies(&self.state_dir().join("haproxy.cfg"));
    }
}

/// Kills whatever has this file on its command line, whatever the sync made of it.
fn kill_haproxies(config: &Path) {
    for entry in std::fs::read_dir("/proc").expect("/proc").flatten() {
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let names_it = line
            .split(|byte| *byte == 0)
            .any(|word| word == config.as_os_str().as_encoded_bytes());
        let pid = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
            .and_then(rustix::process::Pid::from_raw);
        if let Some(pid) = pid.filter(|_| names_it) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    }
}

impl World {
    pub(crate) async fn new() -> Self {
        // Shown for tests that fail. The default is that of the thread, so that each test has its own.
        let lines = tracing_subscriber::fmt().with_max_level(tracing::Level::DEBUG);
        let _ = lines.with_test_writer().try_init();
        let framework = Framework::start().await;
        let folder = tempfile::Builder::new()
            .prefix("mete")
            .tempdir_in("/tmp")
            .expect("a folder");
        Self {
            framework,
            folder,
            http: free_port(),
            stats: free_port(),
            own: free_port(),
        }
    }

    pub(crate) fn state_dir(&self) -> PathBuf {
        self.folder
            .path()
            .canonicalize()
            .expect("it exists")
            .join("state")
    }

    pub(crate) fn sync(&self) -> Running {
        self.sync_with(&[])
    }

    /// With more options; those that are among the world's replace these.
    pub(crate) fn sync_with(&self, more: &[&str]) -> Running {
        let mut arguments = vec![
            format!("--services=http://{}", self.framework.address),
            format!("--state-dir={}", self.state_dir().display()),
            format!("--http-bind=127.0.0.1:{}", self.http),
            format!("--stats-bind=127.0.0.1:{}", self.stats),
            format!("--port={}", self.own),
        ];
        let key = |argument: &str| argument.split('=').next().map(str::to_owned);
        arguments.retain(|own| more.iter().all(|other| key(other) != key(own)));
        arguments.extend(more.iter().map(|&argument| argument.to_owned()));
        let options: Options = config::load(
            "haproxy-sync",
            arguments,
            std::iter::empty::<(&str, &str)>(),
        )
        .expect("good options");
        let shutdown = CancellationToken::new();
        let running = mete_discovery::run(options, shutdown.clone());
        let job = tokio::spawn(async {
            let ended = running.await;
            println!("the sync ended: {ended:?}");
            ended
        });
        Running { shutdown, job }
    }

    pub(crate) fn sockets(&self) -> Sockets {
        Sockets::new(
            &self.state_dir().join("admin.sock"),
            &self.state_dir().join("master.sock"),
        )
    }

    pub(crate) async fn rows(&self) -> Vec<Row> {
        let answer = self
            .sockets()
            .ask("show servers state")
            .await
            .expect("haproxy answers");
        read_states(&answer).expect("a table")
    }

    pub(crate) async fn row(&self, server: &str) -> Option<Row> {
        self.rows()
            .await
            .into_iter()
            .find(|row| row.server == server)
    }

    /// Which worker serves, and how often the master has reloaded: equal before and after means no reload.
    pub(crate) async fn generation(&self) -> (u32, u64) {
        let sockets = self.sockets();
        // Right after a reload the master's socket is closed for a moment.
        eventually("both sockets to answer", || async {
            let worker = sockets.worker().await.ok()?;
            Some((worker.pid, sockets.processes().await.ok()?.reloads))
        })
        .await
    }

    pub(crate) async fn state(&self) -> serde_json::Value {
        let answer = answer_of(format!("http://127.0.0.1:{}/state", self.own)).await;
        answer.json().await.expect("json")
    }

    pub(crate) fn config_text(&self) -> String {
        std::fs::read_to_string(self.state_dir().join("haproxy.cfg")).expect("a configuration")
    }
}

// ---------------------------------------------------------------- requests

/// What an address answers.
pub(crate) async fn answer_of(address: String) -> reqwest::Response {
    let client = http_client::plain().build().expect("a client");
    client.get(address).send().await.expect("an answer")
}

/// `GET /` at a port, on a connection of its own; the text of a good answer.
pub(crate) async fn ask(port: u16) -> Option<String> {
    ask_host(port, "127.0.0.1", "/")
        .await
        .filter(|(status, _)| *status == 200)
        .map(|(_, text)| text)
}

pub(crate) async fn ask_host(port: u16, host: &str, path: &str) -> Option<(u16, String)> {
    let client = http_client::plain()
        .pool_max_idle_per_host(0)
        .build()
        .expect("a client");
    let request = client
        .get(format!("http://127.0.0.1:{port}{path}"))
        .header("host", host);
    let answer = request.timeout(DEADLINE).send().await.ok()?;
    Some((answer.status().as_u16(), answer.text().await.ok()?))
}

/// Requests without a pause, on kept and on fresh connections, until it is stopped.
#[derive(Debug)]
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicU64>,
    failures: Arc<Mutex<Vec<String>>>,
    jobs: Vec<JoinHandle<()>>,
}

impl Load {
    pub(crate) fn on(port: u16) -> Self {
        let load = Self {
            stop: Arc::default(),
            done: Arc::default(),
            failures: Arc::default(),
            jobs: Vec::new(),
        };
        let kept = http_client::plain().build().expect("a client");
        let fresh = http_client::plain()
            .pool_max_idle_per_host(0)
            .build()
            .expect("a client");
        let jobs = [kept.clone(), kept, fresh.clone(), fresh].map(|client| load.job(client, port));
        Self {
            jobs: jobs.into(),
            ..load
        }
    }

    fn job(&self, client: reqwest::Client, port: u16) -> JoinHandle<()> {
        let (stop, done, failures) = (self.stop.clone(), self.done.clone(), self.failures.clone());
        tokio::spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                let answer = client.get(format!("http://127.0.0.1:{port}/")).send().await;
                let failure = match answer {
                    Ok(answer) if answer.status().is_success() => {
                        answer.text().await.err().map(|error| format!("{error:?}"))
                    }
                    Ok(answer) => Some(answer.status().to_string()),
                    Err(error) => Some(format!("{error:?}")),
                };
                failures.lock().expect("lock").extend(failure);
                done.fetch_add(1, Ordering::Relaxed);
                sleep(Duration::from_millis(3)).await;
            }
        })
    }

    /// Stops, and returns how many requests there were; none may have failed.
    pub(crate) async fn end(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        for job in self.jobs {
            job.await.expect("a job does not panic");
        }
        let failures = self.failures.lock().expect("lock");
        let done = self.done.load(Ordering::Relaxed);
        assert!(
            failures.is_empty(),
            "{} of {done} requests failed: {:?}",
            failures.len(),
            failures.first()
        );
        done
    }
}
