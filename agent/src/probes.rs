//! Health probes: one question to one task, answered or not within its time.
//!
//! When to ask, and what the answers mean, is decided in the core; here a probe runs once. The
//! answer is nothing, or a sentence that says what is wrong.
//!
//! Invariants: a probe is over at its timeout, and its process, if it has one, is dead. The number
//! of probes at once is bounded; one that waits for its turn does not use up its time.

mod command;
mod connection;
mod grpc;
mod http;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use mete_agent_core::task_dir::TaskDir;
use mete_daemon::http_client;
use mete_model::{CheckAnswer, Probe};
use tokio::sync::Semaphore;
use tokio_rustls::TlsConnector;

use crate::docker;
use crate::shims::Executable;

/// Connections that are probed at once: each is a descriptor, of which a process has some thousands.
const MAX_CONNECTIONS: usize = 512;

/// Commands that are run at once: each is a process that competes with the tasks.
const MAX_COMMANDS: usize = 32;

/// Connections of checks, beside those: nothing follows from their answers.
const MAX_CHECK_CONNECTIONS: usize = 64;

/// Commands of checks, beside those.
const MAX_CHECK_COMMANDS: usize = 8;

/// The task that is asked.
#[derive(Clone, Debug)]
pub struct Target {
    /// The address at which its ports are open, unless it has a network of its own.
    pub address: IpAddr,
    /// Its directory.
    pub dir: TaskDir,
}

/// Runs probes.
pub struct Probes {
    shim: Arc<Executable>,
    tls: TlsConnector,
    health: Turns,
    checks: Turns,
}

/// How many may be asked at once.
struct Turns {
    connections: Semaphore,
    commands: Semaphore,
}

impl Turns {
    fn new(connections: usize, commands: usize) -> Self {
        Self {
            connections: Semaphore::new(connections),
            commands: Semaphore::new(commands),
        }
    }

    fn of(&self, probe: &Probe) -> &Semaphore {
        match probe {
            Probe::Http { .. } | Probe::Tcp { .. } | Probe::Grpc { .. } => &self.connections,
            Probe::Command(_) => &self.commands,
        }
    }
}

impl Probes {
    /// With the program that enters tasks.
    pub fn new(shim: Arc<Executable>) -> Self {
        Self {
            shim,
            tls: TlsConnector::from(Arc::new(http_client::any_certificate())),
            health: Turns::new(MAX_CONNECTIONS, MAX_COMMANDS),
            checks: Turns::new(MAX_CHECK_CONNECTIONS, MAX_CHECK_COMMANDS),
        }
    }

    /// Asks once.
    ///
    /// # Errors
    /// A sentence that says what is wrong with the task.
    pub async fn run(
        &self,
        probe: &Probe,
        target: &Target,
        timeout: Duration,
    ) -> Result<(), String> {
        let _turn = self.health.of(probe).acquire().await;
        self.ask(probe, target, timeout).await
    }

    async fn ask(&self, probe: &Probe, target: &Target, timeout: Duration) -> Result<(), String> {
        match probe {
            Probe::Http {
                port,
                path,
                statuses,
                secure,
            } => {
                let tls = secure.then_some(&self.tls);
                let answer = http::get(target, *port, path, statuses, tls);
                within(timeout, answer).await
            }
            // That it is accepted is the answer.
            Probe::Tcp { port } => {
                let connected = async { connection::open(target, *port).await?.stream().map(drop) };
                within(timeout, connected).await
            }
            Probe::Grpc { port, service } => {
                within(timeout, grpc::check(target, *port, service)).await
            }
            Probe::Command(spec) if target.dir.docker().exists() => {
                docker::check::run(&target.dir, spec, timeout).await
            }
            // It ends its process itself when the time is over.
            Probe::Command(spec) => {
                command::run(Arc::clone(&self.shim), spec, target, timeout).await
            }
        }
    }
}

impl Probes {
    /// Asks once, and tells the answer as it is.
    pub async fn check(&self, probe: &Probe, target: &Target, timeout: Duration) -> CheckAnswer {
        let _turn = self.checks.of(probe).acquire().await;
        match probe {
            Probe::Http {
                port, path, secure, ..
            } => {
                let tls = secure.then_some(&self.tls);
                let asked = http::status(target, *port, path, tls);
                let answer = within(timeout, asked).await;
                CheckAnswer::Http(answer.ok().map(|(_, status)| status))
            }
            Probe::Command(spec) => {
                let code = match target.dir.docker().exists() {
                    true => docker::check::exit_code(&target.dir, spec, timeout).await,
                    false => {
                        let shim = Arc::clone(&self.shim);
                        command::exit_code(shim, spec, target, timeout).await
                    }
                };
                CheckAnswer::Command(code)
            }
            Probe::Tcp { .. } | Probe::Grpc { .. } => {
                let passed = self.ask(probe, target, timeout).await;
                CheckAnswer::Tcp(Some(passed.is_ok()))
            }
        }
    }
}

/// The answer, or that there was none in time.
async fn within<T>(
    timeout: Duration,
    answer: impl Future<Output = Result<T, String>>,
) -> Result<T, String> {
    tokio::time::timeout(timeout, answer)
        .await
        .unwrap_or_else(|_| Err(no_answer(timeout)))
}

/// What is said of a task that was too slow.
fn no_answer(timeout: Duration) -> String {
    format!("no answer within {} s", timeout.as_secs_f64())
}
