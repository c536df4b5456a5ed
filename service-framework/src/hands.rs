//! Carries actions out: calls to the master, questions to instances, events to subscribers. Starts the work and returns.
//!
//! A call that cannot be made because there is no connection needs no word to the core: the link tells it
//! `Disconnected`, and with the next `Subscribed` it asks anew for what matters (launches by reconciliation, kills by
//! repetition, updates come again until acknowledged, wanting offers or not is remembered by the SDK).

use mete_daemon::event_loop::Hands;
use mete_framework_sdk::{CallError, Client, Filters, OfferId, Task, TaskPort};
use mete_model::TaskSpec;
use mete_service_framework_core::spec::app::Protocol;
use mete_service_framework_core::{Action, Launch};
use std::time::Duration;
use tracing::{debug, warn};

use crate::http::Subscribers;
use crate::offers::Table;
use crate::probes::Probes;

/// The hands of the service framework.
pub(crate) struct ServiceHands {
    pub(crate) client: Client,
    pub(crate) table: Table,
    pub(crate) subscribers: Subscribers,
    pub(crate) probes: Probes,
}

impl Hands<Action> for ServiceHands {
    fn act(&mut self, action: Action) {
        let (name, done) = match action {
            Action::Accept {
                offers,
                launches,
                refuse,
            } => ("accept", self.accept(&offers, launches, refuse)),
            Action::Decline { offers, refuse } => {
                self.table.take(&offers);
                let filters = Filters::refuse_for(refuse);
                ("decline", self.client.decline(&offers, filters))
            }
            Action::AcceptInverse(questions) => (
                "accept_inverse_offers",
                self.client.accept_inverse(&questions),
            ),
            Action::Demand(shapes) => {
                self.client.demand(shapes);
                return;
            }
            Action::Revive => ("revive", self.client.revive()),
            Action::Suppress => ("suppress", self.client.suppress()),
            Action::Kill { task, agent, grace } => {
                ("kill", self.client.kill(&task, agent.as_ref(), grace))
            }
            Action::Acknowledge { task, agent, uuid } => (
                "acknowledge",
                self.client.acknowledge_update(&agent, &task, uuid),
            ),
            Action::Reconcile { tasks } => {
                let tasks = tasks.iter().map(|(task, agent)| (task, agent.as_ref()));
                ("reconcile", self.client.reconcile(tasks))
            }
            Action::Probe(probe) => {
                self.probes.ask(probe);
                return;
            }
            Action::Publish(event) => {
                self.subscribers.publish(&event);
                return;
            }
        };
        if let Err(reason @ CallError::NotConnected) = done {
            debug!(call = name, %reason, "call not made");
        }
    }
}

impl ServiceHands {
    fn accept(
        &self,
        ids: &[OfferId],
        launches: Vec<Launch>,
        refuse: Duration,
    ) -> Result<(), CallError> {
        let offers = self.table.take(ids);
        if offers.len() < ids.len() {
            // Withdrawn, or the link broke: the core has been told and will ask about the tasks.
            warn!(
                asked = ids.len(),
                left = offers.len(),
                "offers are gone before they could be used"
            );
            return self.client.decline(
                offers.iter().map(|offer| &offer.id),
                Filters::refuse_for(Duration::ZERO),
            );
        }
        let tasks = launches.into_iter().map(task);
        self.client
            .accept(&offers, tasks, Filters::refuse_for(refuse))
    }
}

/// A task as the SDK launches it.
fn task(launch: Launch) -> Task {
    let Launch { task: spec, ports } = launch;
    // Each field by name: none is forgotten. The offer says which agent, and there is no original.
    let TaskSpec {
        id,
        name,
        agent: _,
        resources,
        limits,
        command,
        container,
        health_check,
        kill_grace_period,
        labels,
        original: _,
    } = spec;
    let mut task = Task::new(id, command)
        .name(name)
        .resources(resources)
        .limits(limits);
    if let Some(container) = container {
        task = task.container(*container);
    }
    if let Some(check) = health_check {
        task = task.health_check(check);
    }
    if let Some(grace) = kill_grace_period {
        task = task.kill_grace_period(grace);
    }
    for (key, value) in labels {
        task = task.label(key, value.unwrap_or_default());
    }
    for port in ports {
        let protocols: &[&str] = match port.protocol {
            Protocol::Tcp => &["tcp"],
            Protocol::Udp => &["udp"],
            Protocol::UdpTcp => &["udp", "tcp"],
        };
        for protocol in protocols {
            task = task.port(TaskPort {
                number: port.number,
                name: port.name.clone(),
                protocol: Some((*protocol).to_owned()),
                labels: port.labels.clone(),
            });
        }
    }
    task
}
