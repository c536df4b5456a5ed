//! Asks the master what is reserved under our label, so that what nobody remembers is found.

use std::time::Duration;

use mete_daemon::event_loop::Handle;
use mete_framework_sdk::{Connection, FrameworkId, reserved};
use mete_service_framework_core::{Input, Orchestrator};
use tokio::task::JoinSet;
use tracing::debug;

/// A master has so long to tell all of it; the next reconciliation asks again.
const PATIENCE: Duration = Duration::from_secs(60);

/// Asks one question at a time. What is being asked ends with it.
pub(crate) struct Reserved {
    connection: Connection,
    handle: Handle<Orchestrator>,
    asked: JoinSet<()>,
}

impl Reserved {
    /// Tells answers to the loop behind `handle`.
    pub(crate) fn new(connection: Connection, handle: Handle<Orchestrator>) -> Self {
        Self {
            connection,
            handle,
            asked: JoinSet::new(),
        }
    }

    /// Begins to ask; the answer goes to the loop. A question that is still open is not waited for any more.
    pub(crate) fn ask(&mut self, label: &'static str, framework: FrameworkId) {
        self.asked.abort_all();
        while self.asked.try_join_next().is_some() {} // those that are over
        let (connection, handle) = (self.connection.clone(), self.handle.clone());
        self.asked.spawn(async move {
            let label = (label, framework.as_str());
            match reserved::under(&connection, label, PATIENCE).await {
                Ok(all) if all.is_empty() => {}
                Ok(all) => {
                    // Fails when the loop has ended, and then nobody waits for it.
                    let _ = handle.tell(Input::Reserved(all)).await;
                }
                Err(error) => debug!(%error, "the master does not say what is reserved for us"),
            }
        });
    }
}
