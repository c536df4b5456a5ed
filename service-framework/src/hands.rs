//! Carries actions out: calls to the master, questions to instances, events to subscribers. Starts the work and returns.
//!
//! A call that cannot be made because there is no connection needs no word to the core: the link tells it
//! `Disconnected`, and with the next `Subscribed` it asks anew for what matters (launches by reconciliation, kills by
//! repetition, updates come again until acknowledged, wanting offers or not is remembered by the SDK).

use mete_daemon::clock;
use mete_daemon::event_loop::{Handle, Hands};
use mete_framework_sdk::{CallError, Client, Filters, OfferId, Task, TaskPort};
use mete_model::{Source, TaskSpec, TaskState, TaskStatus};
use mete_service_framework_core::spec::app::Protocol;
use mete_service_framework_core::{Action, Input, Launch, Orchestrator};
use std::time::Duration;
use tracing::{debug, warn};

use crate::http::Subscribers;
use crate::offers::Table;
use crate::probes::Probes;
use crate::secrets::Secrets;

/// The hands of the service framework.
pub(crate) struct ServiceHands {
    pub(crate) client: Client,
    pub(crate) table: Table,
    pub(crate) subscribers: Subscribers,
    pub(crate) probes: Probes,
    pub(crate) secrets: Secrets,
    pub(crate) handle: Handle<Orchestrator>,
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
        if launches.iter().any(|launch| !launch.secrets.is_empty()) {
            // Where secrets lie may be slow: everything else goes on. A kill that overtakes the launch is repeated.
            let (secrets, handle) = (self.secrets.clone(), self.handle.clone());
            let client = self.client.clone();
            tokio::spawn(async move {
                let launches = with_secrets(secrets, handle, launches).await;
                let filters = Filters::refuse_for(refuse);
                let done = match launches.is_empty() {
                    true => client.decline(offers.iter().map(|offer| &offer.id), filters),
                    false => client.accept(&offers, launches.into_iter().map(task), filters),
                };
                if let Err(reason @ CallError::NotConnected) = done {
                    debug!(call = "accept", %reason, "call not made");
                }
            });
            return Ok(());
        }
        let tasks = launches.into_iter().map(task);
        self.client
            .accept(&offers, tasks, Filters::refuse_for(refuse))
    }
}

/// Launches with the secrets they ask for in their environment. Those that cannot have them have failed.
async fn with_secrets(
    secrets: Secrets,
    handle: Handle<Orchestrator>,
    launches: Vec<Launch>,
) -> Vec<Launch> {
    let mut ready = Vec::new();
    for mut launch in launches {
        let (secrets, wanted) = (secrets.clone(), std::mem::take(&mut launch.secrets));
        let fetched = tokio::task::spawn_blocking(move || secrets.fetch(&wanted)).await;
        match fetched.unwrap_or_else(|_| Err("secrets cannot be read".to_owned())) {
            Ok(fetched) => {
                launch.task.command.environment.extend(fetched);
                ready.push(launch);
            }
            Err(why) => {
                warn!(task = %launch.task.id, %why, "an instance cannot be launched");
                let (task, failed) = (launch.task.id, TaskState::Failed);
                let status = TaskStatus {
                    message: Some(why),
                    agent: Some(launch.task.agent),
                    ..TaskStatus::new(task, failed, Source::Master, clock::now())
                };
                if handle.tell(Input::Update(status)).await.is_err() {
                    return Vec::new(); // The loop has ended: nothing is launched any more.
                }
            }
        }
    }
    ready
}

/// A task as the SDK launches it.
fn task(launch: Launch) -> Task {
    let Launch {
        task: spec,
        ports,
        secrets: _,
    } = launch;
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
