//! A master as a real process, and questions to it over HTTP.
//!
//! Invariant: when a [`World`] is dropped, nothing it started is left.

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use mete_benches::daemon::Daemon;
use mete_benches::process::{Memory, cpu_time};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

/// Longest wait for anything that happens by itself.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);
/// Between two looks at what is not there yet.
const LOOK: Duration = Duration::from_millis(2);
/// Away from the ports of a cluster somebody may be running, and from those of other measurements.
const PORT: u16 = 5_670;
/// Where protobuf is spoken.
pub(crate) const PROTOBUF: &str = "application/x-protobuf";

/// The process.
pub(crate) struct World {
    /// Ends before its directory goes.
    pub(crate) master: Daemon,
    http: reqwest::Client,
    _dir: TempDir,
}

impl World {
    /// Starts it and waits until it answers.
    pub(crate) async fn start(mete: &Path) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("mete-master-").tempdir()?;
        // Offers are nobody's to wait for: they do not time out.
        let arguments = vec![
            "master".to_owned(),
            "--offer-timeout=0s".to_owned(),
            format!("--port={PORT}"),
            format!("--state-dir={}", dir.path().join("state").display()),
        ];
        let mut world = Self {
            master: Daemon::new(mete, arguments, dir.path().join("master.log")),
            http: mete_daemon::http_client::plain()
                .timeout(PATIENCE)
                .build()?,
            _dir: dir,
        };
        world.begin().await?;
        Ok(world)
    }

    /// Starts the process and waits until it answers.
    pub(crate) async fn begin(&mut self) -> Result<()> {
        self.master.start()?;
        let begin = Instant::now();
        while begin.elapsed() < PATIENCE {
            if self.get("/health").await.is_ok() {
                return Ok(());
            }
            sleep(LOOK).await;
        }
        bail!("no master within {PATIENCE:?}\n{}", self.master.log())
    }

    pub(crate) fn cpu(&self) -> Result<Duration> {
        cpu_time(self.master.pid()?)
    }

    pub(crate) fn memory(&self) -> Result<Memory> {
        Memory::of(self.master.pid()?)
    }

    /// Where it listens.
    pub(crate) fn url(path: &str) -> String {
        format!("http://{}{path}", Self::address())
    }

    pub(crate) fn address() -> String {
        format!("127.0.0.1:{PORT}")
    }

    /// Reads an answer whole: how long that took, and how many bytes it has.
    pub(crate) async fn get(&self, path: &str) -> Result<(Duration, usize)> {
        read(self.http.get(Self::url(path))).await
    }

    /// Asks the operator API, in protobuf.
    pub(crate) async fn ask(&self, call: Vec<u8>) -> Result<(Duration, usize)> {
        let request = self.http.post(Self::url("/api/v1"));
        let request = request
            .header("content-type", PROTOBUF)
            .header("accept", PROTOBUF);
        read(request.body(call)).await
    }
}

/// From the request to the last byte of a good answer, and how many bytes it has.
pub(crate) async fn read(request: reqwest::RequestBuilder) -> Result<(Duration, usize)> {
    let begin = Instant::now();
    let mut answer = request.send().await?;
    let status = answer.status();
    let mut bytes = 0;
    while let Some(chunk) = answer.chunk().await? {
        bytes += chunk.len();
    }
    ensure!(status.is_success(), "{status}");
    Ok((begin.elapsed(), bytes))
}
