//! The whole state of the first level, and `step`: one match over all that can happen.
//!
//! Invariants, whatever comes in: what is on offer and in use on an agent is never more than it has, but for tasks that
//! the agent itself brought; an offer is used at most once and only by the framework it was made to; a task is on one
//! agent; what is stored is in the effects of the step that decided it.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;

use mete_model::{AgentId, Effects, FrameworkId, Machine, Role, Timestamp};
use mete_placement::{Allocator, Amounts, Maintenance, Policy};

use crate::counters::Counters;
use crate::effects::{Action, Event, MessageToAgent, Reply, Snapshot};
use crate::input::{Call, Input, LinkId};
use crate::registry::Record;
use crate::settings::Settings;
use crate::state::agents::{Agents, Pace};
use crate::state::deadlines::{Deadlines, Due};
use crate::state::erasures::Erasures;
use crate::state::executors::Executors;
use crate::state::frameworks::Frameworks;
use crate::state::inverse_offers::InverseOffers;
use crate::state::offers::Offers;
use crate::state::operations::Operations;
use crate::state::reconciliations::Reconciliations;
use crate::state::schedule::Schedule;
use crate::state::tasks::Tasks;
use crate::view::View;

/// What follows from a step of the cluster.
pub(crate) type Out = Effects<Cluster>;

/// What a call on a stream hears that is not the framework's, or not any more.
const NOT_ITS_STREAM: &str = "the framework is not subscribed on this stream";

/// The first level: agents, frameworks, offers, tasks. Made by [`Cluster::recover`].
#[derive(Clone, Debug)]
pub struct Cluster {
    pub(crate) settings: Arc<Settings>,
    pub(crate) started: Timestamp,
    /// No agent was known when this master began: it is a new cluster's, or has lost its state.
    pub(crate) began_blank: bool,
    pub(crate) agents: Agents,
    pub(crate) frameworks: Frameworks,
    pub(crate) offers: Offers,
    pub(crate) tasks: Tasks,
    pub(crate) executors: Executors,
    pub(crate) erasures: Erasures,
    pub(crate) operations: Operations,
    pub(crate) reconciliations: Reconciliations,
    pub(crate) weights: Arc<BTreeMap<Role, NonZeroU32>>,
    pub(crate) limits: Arc<BTreeMap<Role, Amounts>>,
    pub(crate) guarantees: Arc<BTreeMap<Role, Amounts>>,
    pub(crate) policies: Arc<BTreeMap<Option<Role>, Policy>>,
    pub(crate) schedule: Arc<Schedule>,
    pub(crate) maintenance: Arc<Maintenance>,
    pub(crate) inverse_offers: InverseOffers,
    pub(crate) torn_down: BTreeMap<FrameworkId, Timestamp>,
    pub(crate) allocator: Allocator,
    pub(crate) deadlines: Deadlines,
    pub(crate) counters: Arc<Counters>,
}

impl Machine for Cluster {
    type Input = Input;
    type Record = Record;
    type Action = Action;
    type Reply = Reply;
    type View = View;

    fn step(&mut self, now: Timestamp, input: Input) -> Out {
        let mut out = self.decide(now, input);
        self.allocate(now, &mut out);
        out
    }

    fn deadline_input() -> Input {
        Input::Deadline
    }

    fn next_deadline(&self) -> Option<Timestamp> {
        let ours = self.deadlines.next();
        let filters = self.allocator.next_deadline();
        let inverse = self.maintenance.next_deadline();
        ours.into_iter().chain(filters).chain(inverse).min()
    }

    fn view(&self) -> View {
        View::of(self)
    }
}

impl Cluster {
    /// The first half of a step: all but the round of allocation.
    pub fn decide(&mut self, now: Timestamp, input: Input) -> Effects<Self> {
        let mut out = Out::none();
        if let Some(message) = input.message() {
            self.count().heard(message);
        }
        self.take(now, input, &mut out);
        self.pass_deadlines(now, &mut out);
        self.settle_drains(now, &mut out);
        self.tell_standings(&mut out);
        out
    }

    /// The second half of a step: a round of allocation, if something has changed; whether there was one. A half of its
    /// own so that the shell, which has a clock, can say how long rounds take.
    pub fn allocate(&mut self, now: Timestamp, out: &mut Effects<Self>) -> bool {
        let was = self.make_offers(now, out);
        self.make_inverse_offers(now, out);
        was
    }

    fn take(&mut self, now: Timestamp, input: Input, out: &mut Out) {
        match input {
            Input::Deadline => {}
            Input::RegisterAgent(registration) => self.register_agent(now, *registration, out),
            Input::Pong {
                agent,
                link,
                sequence,
            } => self.pong(&agent, link, sequence),
            Input::Update {
                agent,
                link,
                update,
            } => self.update(&agent, link, *update, out),
            Input::VolumeErased {
                agent,
                link,
                volume,
                failure,
            } => self.volume_erased(&agent, link, &volume, failure.as_deref(), out),
            Input::OfExecutor(news) => self.executor_news(*news, out),
            Input::AgentDisconnected { agent, link } => {
                self.agent_disconnected(now, &agent, link, out);
            }
            Input::Subscribe(subscription) => self.subscribe(now, *subscription, out),
            Input::FrameworkDisconnected { framework, link } => {
                self.framework_disconnected(now, &framework, link, out);
            }
            Input::StreamRead { framework, link } => self.stream_read(now, &framework, link, out),
            Input::Call {
                framework,
                link,
                call,
            } => self.call(now, &framework, link, call, out),
            Input::SetWeights(weights) => self.set_weights(weights, out),
            Input::SetQuotas { quotas, force } => self.set_quotas(now, quotas, force, out),
            Input::SetPolicy { role, policy } => self.set_policy(role, policy, out),
            Input::DrainAgent {
                agent,
                deadline,
                max_grace,
                mark_gone,
            } => {
                let pace = Pace::ordered(now, deadline, max_grace);
                self.drain_agent(now, &agent, pace, mark_gone, out);
            }
            Input::DeactivateAgent { agent } => self.deactivate_agent(now, &agent, out),
            Input::ReactivateAgent { agent } => self.reactivate_agent(now, &agent, out),
            Input::MarkAgentGone { agent } => self.mark_agent_gone(now, &agent, out),
            Input::SetSchedule(windows) => self.set_schedule(now, windows, out),
            Input::MachinesDown(machines) => self.machines_down(now, &machines, out),
            Input::MachinesUp(machines) => self.machines_up(now, &machines, out),
            Input::ReshapeAgent(operation) => self.reshape_agent(now, &operation, out),
            Input::TearDown { framework } => self.tear_down_by_operator(now, &framework, out),
            Input::Snapshot => out.reply = Some(Reply::Snapshot(Snapshot::of(&self.allocator))),
        }
    }

    fn call(
        &mut self,
        now: Timestamp,
        framework: &FrameworkId,
        link: LinkId,
        call: Call,
        out: &mut Out,
    ) {
        if self.frameworks.on_link(framework, link).is_none() {
            self.count().stale_messages += 1;
            return out.reply = Some(Reply::Refused(NOT_ITS_STREAM.to_owned()));
        }
        match call {
            Call::Accept(accept) => self.accept(now, framework, accept, out),
            Call::Decline { offers, refuse_for } => {
                self.decline(now, framework, &offers, refuse_for);
            }
            Call::AnswerInverse {
                offers,
                accepted,
                refuse_for,
            } => self.answer_inverse(now, framework, &offers, accepted, refuse_for),
            Call::Revive { roles } => self.revive(framework, &roles),
            Call::Suppress { roles } => self.suppress(framework, &roles),
            Call::Kill {
                task,
                agent,
                grace_period,
            } => self.kill(now, framework, task, agent, grace_period, out),
            Call::Acknowledge { agent, task, uuid } => {
                self.acknowledge(framework, &agent, &task, uuid, out);
            }
            Call::AcknowledgeOperation {
                agent,
                operation,
                uuid,
            } => self.acknowledge_operation(framework, &agent, operation, uuid, out),
            Call::Reconcile(tasks) => self.reconcile(now, framework, tasks, out),
            Call::ReconcileOperations(named) => {
                self.reconcile_operations(now, framework, named, out);
            }
            Call::Teardown => {
                self.tear_down(now, framework, out);
                out.reply = Some(Reply::Done);
            }
            Call::Demand(shapes) => self.set_demand(framework, shapes, out),
            Call::UpdateFramework {
                info,
                suppressed,
                rules,
            } => {
                self.update_framework(now, framework, (*info, suppressed, rules), out);
            }
            Call::MessageExecutor {
                agent,
                executor,
                data,
            } => self.message_to_executor(framework, &agent, executor, data, out),
            Call::ShutdownExecutor { agent, executor } => {
                self.shut_down_executor(framework, &agent, executor, out);
            }
            Call::Ignored { name } => {
                tracing::debug!(%framework, call = name, "call without effect");
                self.count().calls_ignored += 1;
            }
            Call::Refused { why } => self.refuse_call(why, out),
        }
    }

    fn pass_deadlines(&mut self, now: Timestamp, out: &mut Out) {
        while let Some(due) = self.deadlines.pop(now) {
            match due {
                Due::Ping(agent) => self.ping_due(now, &agent, out),
                Due::Return(agent) => self.return_due(now, &agent, out),
                Due::Forget(agent) => self.forget_agent(&agent, out),
                Due::Failover(framework) => self.failover_due(now, &framework, out),
                Due::Offer(offer) => self.offer_due(now, &offer, out),
                Due::Kill(task) => self.kill_due(now, &task, out),
                Due::Operation(key) => self.operation_due(now, &key, out),
            }
        }
    }

    /// Each agent of which this step has made something else hears of it, once.
    fn tell_standings(&mut self, out: &mut Out) {
        for id in std::mem::take(&mut self.agents.restated) {
            let Some(agent) = self.agents.get(&id) else {
                continue;
            };
            let standing = MessageToAgent::Standing {
                resources: agent.info.resources.clone(),
                drain: agent.drain(),
            };
            self.tell_agent(&id, standing, out);
        }
    }

    /// Answers a call that nobody can act on; the stream stays.
    pub(crate) fn refuse_call(&mut self, why: String, out: &mut Out) {
        self.count().calls_refused += 1;
        out.reply = Some(Reply::Refused(why));
    }

    /// The counters, to be moved.
    pub(crate) fn count(&mut self) -> &mut Counters {
        Arc::make_mut(&mut self.counters)
    }

    /// Says something to a framework; false when it is not there to hear it.
    pub(crate) fn tell_framework(&self, id: &FrameworkId, event: Event, out: &mut Out) -> bool {
        let Some(link) = self
            .frameworks
            .get(id)
            .and_then(|framework| framework.link())
        else {
            return false;
        };
        out.act.push(Action::ToFramework { link, event });
        true
    }

    /// Says something to an agent; false when it is not there to hear it.
    pub(crate) fn tell_agent(&self, id: &AgentId, message: MessageToAgent, out: &mut Out) -> bool {
        let Some(link) = self.agents.get(id).and_then(|agent| agent.link()) else {
            return false;
        };
        out.act.push(Action::ToAgent { link, message });
        true
    }
}
