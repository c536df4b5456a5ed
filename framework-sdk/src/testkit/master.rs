//! The master as the test sees it: started, told what to do, asked what it has heard.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use mete_model::{AgentId, FrameworkId, Offer, OfferId, TaskId, TaskKey, TaskState, TaskStatus};
use mete_proto::mete::v1::scheduler_server::SchedulerServer;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;

use super::calls::{Call, Received};
use super::messages;
use super::server::{Service, Shared};
use super::state::State;
use super::{Agent, Options, Refusal};
use crate::UpdateId;

/// How long [`Master::heard`] waits: far longer than anything on one machine takes.
const HEARD_TIMEOUT: Duration = Duration::from_secs(10);
/// For connections to end by themselves when the master stops.
const STOP_TIMEOUT: Duration = Duration::from_secs(2);
/// Of the network's, so much is taken before the framework reads: little, so that a test fills it quickly.
const WINDOW_BYTES: u32 = 65_535;

/// A master in memory. Dropping it breaks all connections.
#[derive(Debug)]
pub struct Master {
    shared: Arc<Shared>,
    address: SocketAddr,
    stopping: CancellationToken,
    server: JoinHandle<()>,
    clock: JoinHandle<()>,
}

impl Master {
    /// A master as it is by default, on a free port.
    ///
    /// # Errors
    /// When there is no port to listen on.
    pub async fn start() -> io::Result<Self> {
        Self::start_with(Options::default()).await
    }

    /// A master that is as said.
    ///
    /// # Errors
    /// When the port is taken.
    pub async fn start_with(options: Options) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, options.port)).await?;
        let address = listener.local_addr()?;
        let incarnation = UpdateId(rand::random()).to_string(); // Printed as a UUID is.
        let state = State::new(options, incarnation, address.port());
        let shared = Arc::new(Shared::new(state));
        let stopping = CancellationToken::new();
        let served = Server::builder()
            .initial_stream_window_size(WINDOW_BYTES)
            .add_service(SchedulerServer::new(Service(Arc::clone(&shared))))
            .serve_with_incoming_shutdown(
                TcpListenerStream::new(listener),
                stopping.clone().cancelled_owned(),
            );
        let server = tokio::spawn(async move {
            if let Err(error) = served.await {
                tracing::warn!(%error, "the server of a master in memory ended");
            }
        });
        let clock = tokio::spawn(Arc::clone(&shared).pass_time());
        Ok(Self {
            shared,
            address,
            stopping,
            server,
            clock,
        })
    }

    /// Where frameworks connect: `http://127.0.0.1:…`.
    pub fn address(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Its port, for another master to come back on.
    pub const fn port(&self) -> u16 {
        self.address.port()
    }

    /// Breaks all connections and gives the port back. All that it knew is lost, as with any master.
    pub async fn stop(mut self) {
        self.stopping.cancel();
        self.cut();
        if timeout(STOP_TIMEOUT, &mut self.server).await.is_err() {
            self.server.abort();
        }
    }

    // --- agents and tasks

    /// Adds an agent, whose resources are offered at once.
    pub fn add_agent(&self, agent: impl Into<Agent>) -> AgentId {
        let agent = agent.into();
        self.shared.change(|state, _| state.add_agent(agent))
    }

    /// An agent is not heard of any more: its offers are withdrawn, its tasks become TASK_UNREACHABLE, and FAILURE tells.
    pub fn lose_agent(&self, agent: &AgentId) {
        self.shared
            .change(|state, now| state.lose_agent(now, agent));
    }

    /// An agent that was lost comes back with its tasks.
    pub fn return_agent(&self, agent: &AgentId) {
        self.shared
            .change(|state, now| state.return_agent(now, agent));
    }

    /// A task ends in `state`. False when there is no such task, or it is over.
    pub fn finish(&self, task: &TaskId, state: TaskState) -> bool {
        self.report(task, state, |_| {})
    }

    /// A task moves to `state`; `change` may add reason, message or health to the report. False when there is no such
    /// task, or it is over.
    pub fn report(
        &self,
        task: &TaskId,
        state: TaskState,
        change: impl FnOnce(&mut TaskStatus),
    ) -> bool {
        self.shared.change(|known, now| {
            let key = known.tasks.keys().find(|key| key.task == *task).cloned();
            key.is_some_and(|key| known.report(now, &key, state, change))
        })
    }

    /// The tasks that run, or whose end nobody has acknowledged, and where they stand.
    pub fn tasks(&self) -> Vec<(TaskKey, TaskState)> {
        self.shared.look(|state| {
            let tasks = state.tasks.iter();
            tasks.map(|(key, task)| (key.clone(), task.told)).collect()
        })
    }

    // --- offers

    /// The offers that lie on the table.
    pub fn offers(&self) -> Vec<Offer> {
        self.shared
            .look(|state| state.offers.on_the_table().cloned().collect())
    }

    /// Withdraws an offer; what was in it is not offered to the framework again for `away_for`. False when it is not on
    /// the table.
    pub fn rescind(&self, offer: &OfferId, away_for: Duration) -> bool {
        self.shared
            .change(|state, now| state.rescind(now, offer, away_for))
    }

    // --- events as the test says

    /// Sends an update as it is: nobody repeats it, nothing follows from it.
    pub fn send_update(&self, framework: &FrameworkId, status: &TaskStatus) {
        self.shared.change(|state, _| state.tell(framework, status));
    }

    /// Sends an ERROR about a call; the stream stays.
    pub fn send_error(&self, framework: &FrameworkId, text: &str) {
        self.shared
            .change(|state, _| state.say(framework, messages::error(text)));
    }

    /// Says that an agent is lost; nothing follows from it.
    pub fn send_failure(&self, framework: &FrameworkId, agent: &AgentId) {
        self.shared
            .change(|state, _| state.say(framework, messages::failure(agent)));
    }

    // --- faults

    /// Ends the stream of a framework with an ERROR: it is not wanted any more.
    pub fn dismiss(&self, framework: &FrameworkId, text: &str) {
        self.shared
            .change(|state, now| state.dismiss(now, framework, text));
    }

    /// Breaks all streams, as when the network fails.
    pub fn cut(&self) {
        self.shared.change(|state, now| {
            for framework in state.connected() {
                state.cut(now, &framework);
            }
        });
    }

    /// Turns subscriptions down from now on; `None`: lets frameworks in again.
    pub fn refuse(&self, refusal: Option<Refusal>) {
        self.shared.change(|state, _| state.refusal = refusal);
    }

    /// Whether heartbeats are sent. Without them, and without anything else to say, a master looks dead.
    pub fn heartbeats(&self, on: bool) {
        self.shared.change(|state, _| state.heartbeats = on);
    }

    /// Whether calls are taken from the network. If not, they pile up at the framework.
    pub fn take_calls(&self, on: bool) {
        self.shared.takes_calls.send_replace(on);
    }

    // --- what was heard

    /// The frameworks that are connected.
    pub fn frameworks(&self) -> Vec<FrameworkId> {
        self.shared.look(State::connected)
    }

    /// All calls so far, SUBSCRIBE included, the last 100,000.
    pub fn calls(&self) -> Vec<Received> {
        self.shared
            .look(|state| state.calls.iter().cloned().collect())
    }

    /// The first call like that, waited for if it has not come yet; `None` when it does not come within 10 s.
    pub async fn heard(&self, wanted: impl Fn(&Call) -> bool) -> Option<Received> {
        let mut changes = self.shared.changes();
        let found = || {
            self.shared.look(|state| {
                let mut calls = state.calls.iter();
                calls.find(|received| wanted(&received.call)).cloned()
            })
        };
        timeout(HEARD_TIMEOUT, async {
            loop {
                changes.mark_unchanged();
                if let Some(received) = found() {
                    return received;
                }
                // The one who tells of changes lives as long as `self`.
                let _ = changes.changed().await;
            }
        })
        .await
        .ok()
    }
}

impl Drop for Master {
    fn drop(&mut self) {
        self.stopping.cancel();
        self.cut();
        self.clock.abort();
    }
}
