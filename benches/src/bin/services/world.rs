//! A service framework as a real process, and a master in this one.
//!
//! Invariant: when a [`World`] is dropped, nothing it started is left.

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use mete_benches::daemon::Daemon;
use mete_framework_sdk::testkit::{Agent, Master};
use mete_framework_sdk::{Ranges, Resources};
use reqwest::{Method, Response, header};
use serde_json::Value;
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

/// Longest wait for anything that happens by itself: fifty thousand launches take the better part of a minute.
pub(crate) const PATIENCE: Duration = Duration::from_secs(300);
/// Between two looks; each costs the process that is measured.
pub(crate) const LOOK: Duration = Duration::from_millis(5);
/// Away from the ports of a cluster somebody may be running, and from those of other measurements.
const PORT: u16 = 5_660;

/// The process and its master.
pub(crate) struct World {
    pub(crate) master: Master,
    /// Ends before its directory goes.
    pub(crate) services: Daemon,
    http: reqwest::Client,
    _dir: TempDir,
}

impl World {
    /// Starts it with a master that has so many agents, each with room for 2,000 small tasks.
    pub(crate) async fn start(mete: &Path, agents: u16) -> Result<Self> {
        let master = Master::start().await?;
        for number in 0..agents {
            let all = Resources::cpus_mem(64_000, 262_144);
            let all = all.with_ports(Ranges::interval(20_001, 60_000));
            let host = format!("10.0.{}.{}", number / 250, number % 250 + 1);
            master.add_agent(Agent::from(all).on_host(host));
        }
        let dir = tempfile::Builder::new()
            .prefix("mete-services-")
            .tempdir()?;
        let arguments = vec![
            "services".to_owned(),
            format!("--port={PORT}"),
            format!("--master={}", master.address()),
            format!("--state-dir={}", dir.path().join("state").display()),
        ];
        let mut world = Self {
            master,
            services: Daemon::new(mete, arguments, dir.path().join("services.log")),
            http: mete_daemon::http_client::plain()
                .timeout(PATIENCE)
                .build()?,
            _dir: dir,
        };
        world.begin().await?;
        Ok(world)
    }

    /// Starts the process and waits until it answers with all its apps; how long that took.
    pub(crate) async fn begin(&mut self) -> Result<Duration> {
        let begin = Instant::now();
        self.services.start()?;
        while begin.elapsed() < PATIENCE {
            if self
                .rest(Method::GET, "/v2/apps/none/*", None)
                .await
                .is_ok()
            {
                let took = begin.elapsed();
                self.until("/v2/info", |info| info["frameworkId"].is_string())
                    .await?;
                return Ok(took);
            }
            sleep(LOOK).await;
        }
        bail!(
            "no service framework within {PATIENCE:?}\n{}",
            self.services.log()
        )
    }

    /// One call that must succeed.
    pub(crate) async fn rest(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value> {
        let mut request = self.http.request(method, Self::url(path));
        if let Some(body) = body {
            let json = header::HeaderValue::from_static("application/json");
            request = request
                .header(header::CONTENT_TYPE, json)
                .body(body.to_string());
        }
        let answer = request.send().await?;
        let (status, body) = (answer.status(), answer.bytes().await?);
        ensure!(
            status.is_success(),
            "{path}: {status} {}",
            String::from_utf8_lossy(&body[..body.len().min(500)])
        );
        Ok(serde_json::from_slice(&body)?)
    }

    /// A large answer: from the request to its first and last byte, and how many bytes it has.
    pub(crate) async fn read(&self, path: &str) -> Result<(Duration, Duration, usize)> {
        let begin = Instant::now();
        let mut answer = self.http.get(Self::url(path)).send().await?;
        answer.error_for_status_ref()?;
        let (mut first, mut bytes) = (None, 0);
        while let Some(chunk) = answer.chunk().await? {
            first.get_or_insert_with(|| begin.elapsed());
            bytes += chunk.len();
        }
        Ok((first.unwrap_or_default(), begin.elapsed(), bytes))
    }

    /// A stream that does not end by itself.
    pub(crate) async fn stream(&self, path: &str) -> Result<Response> {
        let request = self
            .http
            .get(Self::url(path))
            .header("accept", "text/event-stream");
        Ok(request.send().await?.error_for_status()?)
    }

    /// Waits until an answer is as wanted.
    pub(crate) async fn until(&self, path: &str, is_so: impl Fn(&Value) -> bool) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if is_so(&self.rest(Method::GET, path, None).await?) {
                return Ok(());
            }
            sleep(LOOK).await;
        }
        bail!(
            "{path} is not as wanted within {PATIENCE:?}\n{}",
            self.services.log()
        )
    }

    fn url(path: &str) -> String {
        format!("http://127.0.0.1:{PORT}{path}")
    }
}
