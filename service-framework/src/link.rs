//! The link to the master: its events become inputs, in order, one at a time.
//!
//! The SDK keeps the connection; an inbox that is full makes the master wait, nothing is dropped. Updates are
//! acknowledged by the core, once they are stored.

use mete_daemon::event_loop::Handle;
use mete_framework_sdk::{Event, Framework, OperationState, OperationStatus};
use mete_service_framework_core::{Done, Input, Orchestrator};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::offers::Table;

/// The master will not let us in, however often we ask.
#[derive(Debug, thiserror::Error)]
#[error("the master refuses this framework: {0}")]
pub struct Refused(String);

/// How Mesos, and our master, begin to say that our id will never be taken again.
const REMOVED: &str = "Framework has been removed";

/// Follows the master until `stop`; then calls made so far go out, and the connection ends. Tasks run on.
pub(crate) async fn follow(
    mut framework: Framework,
    handle: Handle<Orchestrator>,
    table: Table,
    stop: CancellationToken,
) -> Result<(), Refused> {
    let mut last_error = "it was torn down".to_owned();
    loop {
        let event = tokio::select! {
            biased;
            () = stop.cancelled() => {
                framework.close().await;
                return Ok(());
            }
            event = framework.next() => event,
        };
        let Some(event) = event else {
            if last_error.starts_with(REMOVED) {
                forget(&handle).await;
            }
            return Err(Refused(last_error));
        };
        if let Event::Error(message) = &event {
            last_error.clone_from(message);
        }
        let Some(input) = input(event, &table) else {
            continue;
        };
        if handle.tell(input).await.is_err() {
            return Ok(()); // The loop has ended and says why.
        }
    }
}

/// The next start subscribes under another id.
async fn forget(handle: &Handle<Orchestrator>) {
    match handle.ask(Input::Removed).await {
        Ok(_) => warn!(
            "removed by the master: the id is forgotten, all is launched anew after the next start"
        ),
        Err(error) => warn!(%error, "removed by the master, and the id cannot be forgotten"),
    }
}

/// What an event means to the core; `None` for kinds that come one day.
fn input(event: Event, table: &Table) -> Option<Input> {
    let input = match event {
        Event::Subscribed { framework, master } => {
            info!(%framework, master = %master.id, "subscribed");
            table.clear();
            Input::Subscribed {
                framework,
                region: master.region,
                master: format!("{}:{}", master.hostname, master.port),
            }
        }
        Event::Disconnected { reason } => {
            warn!(reason, "link to the master broke");
            table.clear();
            Input::Disconnected
        }
        Event::Offers(offers) => {
            table.put(&offers);
            Input::Offers(offers)
        }
        Event::Rescind(offer) => {
            table.take(std::slice::from_ref(&offer));
            Input::Rescind(offer)
        }
        Event::Update(status) => Input::Update(status),
        Event::Operation(status) => operated(status)?,
        Event::Failure {
            agent,
            executor,
            status,
        } => {
            warn!(
                agent = agent.as_ref().map(ToString::to_string),
                executor = executor.as_ref().map(ToString::to_string),
                status,
                "an agent is lost or an executor has ended"
            );
            match (agent, executor) {
                (Some(agent), None) => Input::AgentLost(agent),
                (Some(agent), Some(executor)) => {
                    Input::Failure(format!("executor {executor} on agent {agent} has ended"))
                }
                (None, _) => Input::Failure("an executor has ended".to_owned()),
            }
        }
        Event::Error(message) => {
            warn!(message, "the master refuses something");
            Input::Failure(message)
        }
        Event::InverseOffers(questions) => Input::InverseOffers(questions),
        Event::RescindInverse(question) => Input::RescindInverse(question),
        _ => return None, // open for more
    };
    Some(input)
}

/// What is done needs an acknowledgement. What was not done shows itself: it is offered again.
fn operated(status: OperationStatus) -> Option<Input> {
    match (status.state, status.agent, status.uuid) {
        (OperationState::Finished, Some(agent), Some(uuid)) => Some(Input::Operated(Done {
            operation: status.id,
            agent,
            uuid,
        })),
        _ => {
            let (operation, state, message) = (status.id, status.state, status.message);
            info!(%operation, ?state, message, "an operation is not done");
            None
        }
    }
}
