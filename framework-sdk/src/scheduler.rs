//! Callbacks, for those who like them better than a stream of events.

use mete_model::{AgentId, ExecutorId, FrameworkId, InverseOffer, Offer, OfferId, TaskStatus};

use crate::calls::{Client, Filters};
use crate::client::Framework;
use crate::events::{Event, MasterAddress};
use crate::feedback::OperationStatus;

/// A framework as a set of callbacks. Each may make calls with `client`; none should wait for long.
#[allow(unused_variables, reason = "the names of parameters say what they are")]
pub trait Scheduler {
    /// The master has let us in, at first or again.
    fn subscribed(&mut self, client: &Client, framework: &FrameworkId, master: &MasterAddress) {}

    /// Resources to take or leave. The default leaves them.
    fn offers(&mut self, client: &Client, offers: Vec<Offer>) {
        // Without a connection the offers are void anyway.
        let _ = client.decline(offers.iter().map(|offer| &offer.id), Filters::default());
    }

    /// An offer is withdrawn.
    fn rescinded(&mut self, client: &Client, offer: &OfferId) {}

    /// The master asks to leave agents before they are away. Not answered by default.
    fn inverse_offers(&mut self, client: &Client, offers: Vec<InverseOffer>) {}

    /// An inverse offer is withdrawn.
    fn inverse_rescinded(&mut self, client: &Client, offer: &OfferId) {}

    /// News of a task. Acknowledged when this returns, unless acknowledgements are explicit.
    fn update(&mut self, client: &Client, status: &TaskStatus);

    /// News of an operation that has a name. Acknowledged as those of tasks are.
    fn operation(&mut self, client: &Client, status: &OperationStatus) {}

    /// An agent is lost, or a custom executor has ended.
    fn failure(
        &mut self,
        client: &Client,
        agent: Option<&AgentId>,
        executor: Option<&ExecutorId>,
        status: Option<i32>,
    ) {
    }

    /// The master refuses something, in words.
    fn error(&mut self, client: &Client, message: &str) {}

    /// The connection is lost; offers are void.
    fn disconnected(&mut self, reason: &str) {}
}

/// Feeds `scheduler` until the framework is torn down or refused for good.
pub async fn run(mut framework: Framework, scheduler: &mut impl Scheduler) {
    let client = framework.client();
    while let Some(event) = framework.next().await {
        match event {
            Event::Subscribed { framework, master } => {
                scheduler.subscribed(&client, &framework, &master)
            }
            Event::Offers(offers) => scheduler.offers(&client, offers),
            Event::Rescind(offer) => scheduler.rescinded(&client, &offer),
            Event::InverseOffers(offers) => scheduler.inverse_offers(&client, offers),
            Event::RescindInverse(offer) => scheduler.inverse_rescinded(&client, &offer),
            Event::Update(status) => scheduler.update(&client, &status),
            Event::Operation(status) => scheduler.operation(&client, &status),
            Event::Failure {
                agent,
                executor,
                status,
            } => {
                scheduler.failure(&client, agent.as_ref(), executor.as_ref(), status);
            }
            Event::Error(message) => scheduler.error(&client, &message),
            Event::Disconnected { reason } => scheduler.disconnected(&reason),
        }
    }
}
