//! A service framework, its master, and those who call it.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use mete_daemon::config;
use mete_framework_sdk::testkit::{Agent, Call, Master};
use mete_framework_sdk::{Ranges, Resources, TaskId, TaskState};
use mete_service_framework::{Options, RunError, run_on};
use reqwest::header::HeaderMap;
use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Far longer than anything here takes on one machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// Between two looks at what is waited for.
const LOOK: Duration = Duration::from_millis(10);

/// A service framework that runs.
pub(crate) struct Service {
    pub(crate) url: String,
    shutdown: CancellationToken,
    running: JoinHandle<Result<(), RunError>>,
    http: reqwest::Client,
}

/// A whole cluster: two agents, and the state directory.
pub(crate) struct Cluster {
    pub(crate) master: Master,
    pub(crate) service: Service,
    pub(crate) directory: TempDir,
}

/// Ports 31000 to 31099, 4 CPUs, 4096 MB of memory, 1 GiB of disk.
pub(crate) fn agent(host: &str) -> Agent {
    let ports = Ranges::interval(31_000, 31_099);
    let mut resources = Resources::cpus_mem(4_000, 4_096).with_ports(ports);
    resources.disk_milli = 1_024_000;
    Agent::from(resources).on_host(host)
}

/// Where secrets lie, below the directory of a cluster.
const SECRETS: &str = "secrets";

impl Cluster {
    pub(crate) async fn start() -> Self {
        Self::start_on(&["127.0.0.2", "127.0.0.3"]).await
    }

    /// With agents at these addresses.
    pub(crate) async fn start_on(hosts: &[&str]) -> Self {
        let master = Master::start().await.expect("a port");
        for host in hosts {
            master.add_agent(agent(host));
        }
        let directory = tempfile::tempdir().expect("a directory");
        let service = Service::start(&master, directory.path(), &[]).await;
        Self {
            master,
            service,
            directory,
        }
    }

    /// With one agent, and a directory of secrets: files by their path in it.
    pub(crate) async fn with_secrets(files: &[(&str, &[u8])]) -> Self {
        let master = Master::start().await.expect("a port");
        master.add_agent(agent("127.0.0.2"));
        let directory = tempfile::tempdir().expect("a directory");
        let secrets = directory.path().join(SECRETS);
        std::fs::create_dir_all(&secrets).expect("made");
        let option = format!("--secrets-dir={}", secrets.display());
        let service = Service::start(&master, &directory.path().join("state"), &[&option]).await;
        let cluster = Self {
            master,
            service,
            directory,
        };
        for (path, bytes) in files {
            cluster.write_secret(path, bytes);
        }
        cluster
    }

    /// Puts a secret into the directory of [`Self::with_secrets`].
    pub(crate) fn write_secret(&self, path: &str, bytes: &[u8]) {
        let file = self.directory.path().join(SECRETS).join(path);
        std::fs::create_dir_all(file.parent().expect("one")).expect("made");
        std::fs::write(file, bytes).expect("written");
    }

    /// Ends the service framework and starts another on the same state directory.
    pub(crate) async fn restart(mut self) -> Self {
        self.service.stop().await;
        self.service = Service::start(&self.master, self.directory.path(), &[]).await;
        self
    }

    /// Tasks that have not ended, with their states.
    pub(crate) fn tasks(&self) -> Vec<(TaskId, TaskState)> {
        let tasks = self.master.tasks().into_iter();
        tasks
            .map(|(key, state)| (key.task, state))
            .filter(|(_, state)| !state.is_terminal())
            .collect()
    }

    /// Kills asked for so far.
    pub(crate) fn kills(&self) -> usize {
        let calls = self.master.calls();
        calls
            .iter()
            .filter(|heard| matches!(heard.call, Call::Kill { .. }))
            .count()
    }

    /// Waits until so many tasks of an app run.
    pub(crate) async fn running(&self, app: &str, count: u64) -> Value {
        self.until(&format!("/v2/apps{app}"), |answer| {
            answer["app"]["tasksRunning"] == count
        })
        .await
    }

    /// Waits until an app has no deployments.
    pub(crate) async fn settled(&self, app: &str) -> Value {
        let is_settled = |answer: &Value| answer["app"]["deployments"] == json!([]);
        self.until(&format!("/v2/apps{app}"), is_settled).await
    }

    /// Waits until an answer is as wanted.
    pub(crate) async fn until(&self, path: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        let mut last = Value::Null;
        let waited = tokio::time::timeout(PATIENCE, async {
            loop {
                last = self.service.get(path).await.1;
                if is_so(&last) {
                    return last.clone();
                }
                tokio::time::sleep(LOOK).await;
            }
        });
        let answer = waited.await.ok();
        if let Some(answer) = answer {
            return answer;
        }
        let calls: Vec<Call> = self
            .master
            .calls()
            .into_iter()
            .map(|heard| heard.call)
            .collect();
        let queue = self.service.get("/v2/queue").await.1;
        panic!(
            "{path} stays {last:#}\nqueue: {queue:#}\noffers: {:#?}\ncalls: {calls:#?}",
            self.master.offers()
        )
    }

    /// Waits until something holds.
    pub(crate) async fn eventually(&self, what: &str, is_so: impl Fn(&Self) -> bool) {
        let waited = tokio::time::timeout(PATIENCE, async {
            while !is_so(self) {
                tokio::time::sleep(LOOK).await;
            }
        });
        assert!(waited.await.is_ok(), "{what} does not happen");
    }
}

impl Service {
    pub(crate) async fn start(master: &Master, directory: &Path, arguments: &[&str]) -> Self {
        let mut all = vec![
            "--port=0".to_owned(),
            format!("--master={}", master.address()),
            format!("--state-dir={}", directory.display()),
        ];
        all.extend(arguments.iter().map(|argument| (*argument).to_owned()));
        let options: Options =
            config::load("services", all, std::iter::empty::<(String, String)>())
                .expect("good options");
        let shutdown = CancellationToken::new();
        let (tell, listening) = oneshot::channel::<SocketAddr>();
        let run = run_on(options, shutdown.clone(), move |address| {
            let _ = tell.send(address);
        });
        let running = tokio::spawn(run);
        let address = match listening.await {
            Ok(address) => address,
            Err(_) => panic!("{:?}", running.await),
        };
        Self {
            url: format!("http://{address}"),
            shutdown,
            running,
            http: mete_daemon::http_client::plain().build().expect("a client"),
        }
    }

    /// Ends it and waits for the end.
    pub(crate) async fn stop(mut self) {
        self.shutdown.cancel();
        let ended = tokio::time::timeout(PATIENCE, &mut self.running).await;
        ended
            .expect("it ends in time")
            .expect("no panic")
            .expect("a clean end");
    }

    /// How it ends by itself.
    pub(crate) async fn ended(mut self) -> RunError {
        let ended = tokio::time::timeout(PATIENCE, &mut self.running).await;
        ended
            .expect("it ends in time")
            .expect("no panic")
            .expect_err("an end with a reason")
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.http.request(method, format!("{}{path}", self.url))
    }

    pub(crate) async fn get(&self, path: &str) -> (StatusCode, Value) {
        read(
            self.request(Method::GET, path)
                .send()
                .await
                .expect("an answer"),
        )
        .await
    }

    /// Headers and body as they come.
    pub(crate) async fn raw(&self, path: &str) -> (HeaderMap, String) {
        let answer = self.request(Method::GET, path).send().await;
        let answer = answer.expect("an answer");
        let headers = answer.headers().clone();
        (headers, answer.text().await.expect("a body"))
    }

    pub(crate) async fn delete(&self, path: &str) -> (StatusCode, Value) {
        read(
            self.request(Method::DELETE, path)
                .send()
                .await
                .expect("an answer"),
        )
        .await
    }

    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        body: &Value,
    ) -> (StatusCode, Value) {
        read(
            self.request(method, path)
                .json(body)
                .send()
                .await
                .expect("an answer"),
        )
        .await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> (StatusCode, Value) {
        self.send(Method::POST, path, body).await
    }

    pub(crate) async fn put(&self, path: &str, body: &Value) -> (StatusCode, Value) {
        self.send(Method::PUT, path, body).await
    }

    /// Opens a stream of events.
    pub(crate) async fn stream(&self, path: &str, headers: &[(&str, &str)]) -> Events {
        let mut request = self
            .request(Method::GET, path)
            .header("Accept", "text/event-stream");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = request.send().await.expect("an answer");
        assert_eq!(response.status(), StatusCode::OK);
        Events {
            response,
            text: String::new(),
        }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

async fn read(response: Response) -> (StatusCode, Value) {
    let status = response.status();
    let text = response.text().await.expect("a body");
    let body = if text.is_empty() {
        Value::Null
    } else {
        serde_json::from_str(&text).unwrap_or(Value::String(text))
    };
    (status, body)
}

/// An app that runs one task at 0.1 CPU and 16 MB.
pub(crate) fn app(id: &str) -> Value {
    json!({ "id": id, "cmd": "sleep 1000", "cpus": 0.1, "mem": 16 })
}

/// One event of a stream.
#[derive(Debug)]
pub(crate) struct Event {
    pub(crate) id: Option<String>,
    pub(crate) name: String,
    pub(crate) data: Value,
}

/// Events as they come.
pub(crate) struct Events {
    response: Response,
    text: String,
}

impl Events {
    /// The next event that has data.
    pub(crate) async fn next(&mut self) -> Event {
        loop {
            let text = self.block().await.expect("the stream goes on");
            let field = |name: &str| {
                let prefix = format!("{name}: ");
                text.lines()
                    .find_map(|line| line.strip_prefix(&prefix))
                    .map(str::to_owned)
            };
            let Some(data) = field("data") else { continue };
            let name = field("event").expect("a name");
            let data = serde_json::from_str(&data).expect("JSON on one line");
            return Event {
                id: field("id"),
                name,
                data,
            };
        }
    }

    /// Reads until an event is as wanted.
    pub(crate) async fn until(&mut self, is_so: impl Fn(&Event) -> bool) -> Event {
        let mut heard = Vec::new();
        let waited = tokio::time::timeout(PATIENCE, async {
            loop {
                let event = self.next().await;
                if is_so(&event) {
                    return event;
                }
                heard.push(event);
            }
        });
        let event = waited.await.ok();
        event.unwrap_or_else(|| panic!("it does not come, but {heard:#?}"))
    }

    /// Whether the stream ends.
    pub(crate) async fn ends(mut self) -> bool {
        while self.block().await.is_some() {}
        true
    }

    /// The text up to the next empty line; `None` at the end.
    pub(crate) async fn block(&mut self) -> Option<String> {
        loop {
            self.text = self.text.replace("\r\n", "\n");
            if let Some((block, rest)) = self.text.split_once("\n\n") {
                let block = block.to_owned();
                self.text = rest.to_owned();
                return Some(block);
            }
            let chunk = tokio::time::timeout(PATIENCE, self.response.chunk()).await;
            let chunk = chunk
                .unwrap_or_else(|_| panic!("silence after {:?}", self.text))
                .ok()??;
            self.text
                .push_str(std::str::from_utf8(&chunk).expect("text"));
        }
    }
}
