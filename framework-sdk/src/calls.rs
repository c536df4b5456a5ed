//! What a framework can ask for. A call goes out on the present connection or not at all.

use std::sync::{Arc, Mutex, PoisonError};
use std::task::Waker;
use std::time::Duration;

use mete_model::{
    AgentId, FrameworkId, Offer, OfferId, OperationId, Role, TaskId, TaskStatus, UpdateId,
};
use mete_placement::demand::Shape;
use mete_proto::convert::task::kill_policy;
use mete_proto::convert::{self, ids};
use mete_proto::mesos::v1 as wire;
use mete_proto::mesos::v1::scheduler::{Call, call};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio_util::sync::CancellationToken;

use crate::connection::{Connection, FrameworkSpec};
use crate::demand::Demand;
use crate::explain::{self, ExplainError};
use crate::feedback::OperationStatus;
use crate::group::Group;
use crate::launch::Task;
use crate::matching::WaitingTask;
use crate::operation::{Operation, Order};

/// Calls that wait for the network. A master that takes none for so long is better left than waited for: the link is
/// cut, and coming back tells both sides the whole truth.
pub(crate) const MAX_QUEUED_CALLS: usize = 4096;

/// Why a call was not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// There is no connection at the moment; [`Event::Subscribed`](crate::Event::Subscribed) will tell.
    #[error("not connected to a master")]
    NotConnected,
    /// Tasks to launch, and no offer to launch them with.
    #[error("tasks are to be launched, but no offer is named")]
    NoOffer,
}

/// How long what is not taken stays away from this framework.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Filters {
    /// Zero: it may be offered again at once. The default is 5 s, as in Mesos.
    pub refuse_for: Duration,
}

impl Default for Filters {
    fn default() -> Self {
        Self {
            refuse_for: Duration::from_secs(5),
        }
    }
}

impl Filters {
    /// Stays away for so long.
    pub const fn refuse_for(refuse_for: Duration) -> Self {
        Self { refuse_for }
    }
}

impl From<Filters> for wire::Filters {
    fn from(filters: Filters) -> Self {
        Self {
            refuse_seconds: Some(filters.refuse_for.as_secs_f64()),
        }
    }
}

/// The connection as calls see it. One at a time; replaced when the framework comes back.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    pub(crate) framework: FrameworkId,
    pub(crate) calls: mpsc::Sender<Call>,
    pub(crate) cut: CancellationToken,
}

/// What SUBSCRIBE said of what a framework may change by calls.
#[derive(Clone, Debug, Default)]
pub(crate) struct Said {
    pub(crate) suppressed: bool,
    pub(crate) roles: Vec<String>,
}

/// What calls and the connection share: the link, and wishes that outlive it.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    link: Option<Link>,
    /// Who the framework is, as the next SUBSCRIBE says it.
    pub(crate) info: wire::FrameworkInfo,
    /// Its id of a former life, or what a master gave it; stays when the link breaks.
    id: Option<FrameworkId>,
    pub(crate) suppressed: bool,
    /// What waits; `None`: the framework never said.
    demand: Option<Arc<Demand>>,
    /// What the master of this link was told that waits; `None`: something was launched since, which it counts off by
    /// itself, and then said anew what waits.
    told: Option<Arc<Demand>>,
    /// Something was launched since it was last said what waits.
    has_launched: bool,
    /// The framework's loop, to be woken when there is something to tell at its end of turn.
    turn: Option<Waker>,
    pub(crate) torn_down: bool,
}

impl Shared {
    /// The roles in which it wants no offers.
    pub(crate) fn suppressed_roles(&self) -> Vec<String> {
        match self.suppressed {
            true => self.info.roles.clone(),
            false => Vec::new(),
        }
    }

    fn send(&mut self, mut call: Call) -> Result<(), CallError> {
        let link = self.link.as_ref().ok_or(CallError::NotConnected)?;
        call.framework_id = Some((&link.framework).into());
        let Err(error) = link.calls.try_send(call) else {
            return Ok(());
        };
        match error {
            TrySendError::Full(_) => link.cut.cancel(),
            TrySendError::Closed(_) => {}
        }
        self.link = None;
        Err(CallError::NotConnected)
    }

    /// Tells the master who the framework is, with the roles of now.
    fn tell_roles(&mut self) -> Result<(), CallError> {
        let update = call::UpdateFramework {
            framework_info: self.info.clone(),
            suppressed_roles: self.suppressed_roles(),
            ..call::UpdateFramework::default()
        };
        self.send(Call {
            update_framework: Some(Box::new(update)),
            ..of_type(call::Type::UpdateFramework)
        })
    }

    /// Tells the master what waits, if it has changed since it was told. Without a link, the next one will tell.
    fn tell_demand(&mut self) {
        let Some(wanted) = &self.demand else { return };
        if self.link.is_none() || self.told.as_ref() == Some(wanted) {
            return;
        }
        self.told = Some(Arc::clone(wanted));
        let call = demand_call(wanted);
        // A link that broke is followed by another, which tells anew.
        let _ = self.send(call);
    }
}

fn of_type(kind: call::Type) -> Call {
    let mut call = Call::default();
    call.set_type(kind);
    call
}

/// Makes calls for one framework. Cheap to clone. Calls never wait; [`explain`](Self::explain), which is a question and no
/// call, does.
///
/// `Ok` means that a call is on its way. What the master makes of it comes as an event, or not at all: a connection that
/// breaks takes with it what was under way. Whoever needs to know asks with [`reconcile`](Self::reconcile) when
/// [`Event::Subscribed`](crate::Event::Subscribed) comes again.
#[derive(Clone, Debug)]
pub struct Client {
    shared: Arc<Mutex<Shared>>,
    /// For questions, which are connections of their own.
    connection: Arc<Connection>,
}

impl Client {
    pub(crate) fn new(connection: Connection, spec: &FrameworkSpec) -> Self {
        // What the spec holds was an id before: it is one again.
        let id = spec.info.id.as_ref();
        let shared = Shared {
            id: id.and_then(|id| FrameworkId::try_from(id).ok()),
            suppressed: spec.suppressed,
            info: spec.info.clone(),
            ..Shared::default()
        };
        Self {
            shared: Arc::new(Mutex::new(shared)),
            connection: Arc::new(connection),
        }
    }

    /// From here on calls go out on `link`, whose SUBSCRIBE said `said`. What has been wished since goes first.
    pub(crate) fn link(&self, link: Link, said: &Said) {
        self.with(|shared| {
            shared.info.id = Some((&link.framework).into());
            shared.id = Some(link.framework.clone());
            shared.link = Some(link);
            shared.told = Some(Arc::default());
            shared.has_launched = false;
            if shared.torn_down {
                // A new link takes it; one that broke at once will be followed by another.
                let _ = shared.send(of_type(call::Type::Teardown));
                return;
            }
            if shared.info.roles != said.roles {
                let _ = shared.tell_roles();
            }
            shared.tell_demand();
            if shared.suppressed != said.suppressed {
                let _ = shared.send(of_type(if shared.suppressed {
                    call::Type::Suppress
                } else {
                    call::Type::Revive
                }));
            }
        });
    }

    pub(crate) fn unlink(&self) {
        self.with(|shared| shared.link = None);
    }

    /// The framework has dealt with an event and waits for the next: its turn is over.
    pub(crate) fn end_turn(&self, waker: &Waker) {
        self.with(|shared| {
            shared.tell_demand();
            if !shared
                .turn
                .as_ref()
                .is_some_and(|known| known.will_wake(waker))
            {
                shared.turn = Some(waker.clone());
            }
        });
    }

    /// Runs `change` on what is shared. Nobody panics while holding it; were it so, the state is still whole.
    pub(crate) fn with<T>(&self, change: impl FnOnce(&mut Shared) -> T) -> T {
        change(&mut self.shared.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Uses offers of one agent to launch `tasks`; what they leave over goes back with `filters`. Without tasks this
    /// is a decline.
    ///
    /// A task that is refused is answered with an update: TASK_ERROR with the reason when its description is wrong,
    /// TASK_DROPPED when an offer is no longer there.
    ///
    /// # Errors
    /// [`CallError::NotConnected`]: nothing is launched, and the offers are void. [`CallError::NoOffer`] when there are
    /// tasks but no offers.
    pub fn accept<'a>(
        &self,
        offers: impl IntoIterator<Item = &'a Offer>,
        tasks: impl IntoIterator<Item = Task>,
        filters: Filters,
    ) -> Result<(), CallError> {
        let tasks: Vec<Task> = tasks.into_iter().collect();
        let launch = (!tasks.is_empty()).then_some(Operation::Launch(tasks));
        self.operate(offers, launch, filters)
    }

    /// Uses offers of one agent to launch the tasks of a group, all or none; what they leave over goes back with `filters`.
    ///
    /// When one of its tasks is refused, each is answered with TASK_ERROR, REASON_TASK_GROUP_INVALID.
    ///
    /// # Errors
    /// As [`accept`](Self::accept).
    pub fn launch_group<'a>(
        &self,
        offers: impl IntoIterator<Item = &'a Offer>,
        group: Group,
        filters: Filters,
    ) -> Result<(), CallError> {
        self.operate(offers, [Operation::LaunchGroup(Box::new(group))], filters)
    }

    /// Does several things with offers of one agent, in order: reserve, make a volume, start tasks on it. What they leave over
    /// goes back with `filters`. Without operations this is a decline.
    ///
    /// An operation that is refused changes nothing and is answered with [`Event::Error`](crate::Event::Error), or, when it
    /// has a [name](Operation::named), with [`Event::Operation`](crate::Event::Operation); tasks as by [`accept`](Self::accept).
    ///
    /// # Errors
    /// As [`accept`](Self::accept).
    pub fn operate<'a>(
        &self,
        offers: impl IntoIterator<Item = &'a Offer>,
        operations: impl IntoIterator<Item = impl Into<Order>>,
        filters: Filters,
    ) -> Result<(), CallError> {
        let offers: Vec<&Offer> = offers.into_iter().collect();
        let mut operations = operations.into_iter().peekable();
        if operations.peek().is_none() {
            return self.decline(offers.iter().map(|offer| &offer.id), filters);
        }
        let first = offers.first().ok_or(CallError::NoOffer)?;
        let operations = operations.map(|one| one.into().for_offer(&first.agent, &first.role));
        let offer_ids = offers.iter().map(|offer| wire::OfferId::from(&offer.id));
        let accept = call::Accept {
            offer_ids: offer_ids.collect(),
            operations: operations.collect(),
            filters: Some(filters.into()),
        };
        self.with(|shared| {
            let launches =
                |one: &wire::offer::Operation| one.launch.is_some() || one.launch_group.is_some();
            shared.has_launched |= accept.operations.iter().any(launches);
            shared.send(Call {
                accept: Some(accept),
                ..of_type(call::Type::Accept)
            })
        })
    }

    /// Agrees to leave agents before they are away.
    ///
    /// # Errors
    /// [`CallError::NotConnected`]; the inverse offers are void then, and will come again.
    pub fn accept_inverse<'a>(
        &self,
        offers: impl IntoIterator<Item = &'a OfferId>,
    ) -> Result<(), CallError> {
        self.send(Call {
            accept_inverse_offers: Some(Box::new(call::AcceptInverseOffers {
                inverse_offer_ids: offers.into_iter().map(wire::OfferId::from).collect(),
                filters: None,
            })),
            ..of_type(call::Type::AcceptInverseOffers)
        })
    }

    /// Says that agents will not be left in time. The master asks again after as long as `filters` says.
    ///
    /// # Errors
    /// [`CallError::NotConnected`]; the inverse offers are void then, and will come again.
    pub fn decline_inverse<'a>(
        &self,
        offers: impl IntoIterator<Item = &'a OfferId>,
        filters: Filters,
    ) -> Result<(), CallError> {
        self.send(Call {
            decline_inverse_offers: Some(Box::new(call::DeclineInverseOffers {
                inverse_offer_ids: offers.into_iter().map(wire::OfferId::from).collect(),
                filters: Some(filters.into()),
            })),
            ..of_type(call::Type::DeclineInverseOffers)
        })
    }

    /// Leaves offers to others; they stay away for as long as `filters` says.
    ///
    /// # Errors
    /// [`CallError::NotConnected`].
    pub fn decline<'a>(
        &self,
        offers: impl IntoIterator<Item = &'a OfferId>,
        filters: Filters,
    ) -> Result<(), CallError> {
        let offer_ids: Vec<wire::OfferId> = offers.into_iter().map(wire::OfferId::from).collect();
        if offer_ids.is_empty() {
            return Ok(());
        }
        self.send(Call {
            decline: Some(call::Decline {
                offer_ids,
                filters: Some(filters.into()),
            }),
            ..of_type(call::Type::Decline)
        })
    }

    /// Wants offers again, in all roles, and drops all filters. What is [demanded](Self::demand) is told first. Remembered:
    /// after a reconnection it still holds.
    ///
    /// # Errors
    /// [`CallError::NotConnected`]; it is remembered all the same.
    pub fn revive(&self) -> Result<(), CallError> {
        self.with(|shared| {
            shared.suppressed = false;
            shared.tell_demand();
            shared.send(of_type(call::Type::Revive))
        })
    }

    /// Takes resources in these roles from now on, and in no others; tasks that run go on as they are. Remembered: after a
    /// reconnection it still holds.
    ///
    /// # Errors
    /// [`CallError::NotConnected`]; it is remembered all the same.
    pub fn set_roles<'a>(
        &self,
        roles: impl IntoIterator<Item = &'a Role>,
    ) -> Result<(), CallError> {
        let roles: Vec<String> = roles.into_iter().map(|role| role.to_string()).collect();
        self.with(|shared| {
            if shared.info.roles == roles {
                return Ok(());
            }
            shared.info.roles = roles;
            shared.tell_roles()
        })
    }

    /// Wants no offers for now, in any role. Remembered: after a reconnection it still holds.
    ///
    /// # Errors
    /// [`CallError::NotConnected`]; it is remembered all the same.
    pub fn suppress(&self) -> Result<(), CallError> {
        self.with(|shared| {
            shared.suppressed = true;
            shared.send(of_type(call::Type::Suppress))
        })
    }

    /// Ends a task: SIGTERM, and SIGKILL when `grace` (else the task's own) is over. Repeated by the master until it
    /// is terminal. A task nobody knows is answered as by [`reconcile`](Self::reconcile).
    ///
    /// # Errors
    /// [`CallError::NotConnected`].
    pub fn kill(
        &self,
        task: &TaskId,
        agent: Option<&AgentId>,
        grace: Option<Duration>,
    ) -> Result<(), CallError> {
        self.send(Call {
            kill: Some(Box::new(call::Kill {
                task_id: task.into(),
                agent_id: agent.map(wire::AgentId::from),
                kill_policy: grace.map(kill_policy),
            })),
            ..of_type(call::Type::Kill)
        })
    }

    /// Says that an update has been dealt with; the next one of its task may come. Updates without uuid need none.
    ///
    /// # Errors
    /// [`CallError::NotConnected`]: the update will come again.
    pub fn acknowledge(&self, status: &TaskStatus) -> Result<(), CallError> {
        match (&status.agent, status.uuid) {
            (Some(agent), Some(uuid)) => self.acknowledge_update(agent, &status.task, uuid),
            (None, _) | (_, None) => Ok(()),
        }
    }

    /// The same for those who kept no more than the names.
    ///
    /// # Errors
    /// [`CallError::NotConnected`]: the update will come again.
    pub fn acknowledge_update(
        &self,
        agent: &AgentId,
        task: &TaskId,
        uuid: UpdateId,
    ) -> Result<(), CallError> {
        self.send(Call {
            acknowledge: Some(call::Acknowledge {
                agent_id: agent.into(),
                task_id: task.into(),
                uuid: ids::uuid(uuid),
            }),
            ..of_type(call::Type::Acknowledge)
        })
    }

    /// Says that the news of an operation have been dealt with. News without uuid need no such word.
    ///
    /// # Errors
    /// [`CallError::NotConnected`]: the news will come again.
    pub fn acknowledge_operation(&self, status: &OperationStatus) -> Result<(), CallError> {
        match (&status.agent, status.uuid) {
            (Some(agent), Some(uuid)) => self.acknowledge_operation_update(agent, &status.id, uuid),
            (None, _) | (_, None) => Ok(()),
        }
    }

    /// The same for those who kept no more than the names.
    ///
    /// # Errors
    /// [`CallError::NotConnected`]: the news will come again.
    pub fn acknowledge_operation_update(
        &self,
        agent: &AgentId,
        operation: &OperationId,
        uuid: UpdateId,
    ) -> Result<(), CallError> {
        self.send(Call {
            acknowledge_operation_status: Some(Box::new(call::AcknowledgeOperationStatus {
                agent_id: Some(agent.into()),
                uuid: ids::uuid(uuid),
                operation_id: operation.into(),
                ..call::AcknowledgeOperationStatus::default()
            })),
            ..of_type(call::Type::AcknowledgeOperationStatus)
        })
    }

    /// Asks how `operations` stand, or, with none named, all that are not acknowledged. A master forgets an operation once
    /// its end is acknowledged, and one that was refused at once.
    ///
    /// # Errors
    /// [`CallError::NotConnected`].
    pub fn reconcile_operations<'a>(
        &self,
        operations: impl IntoIterator<Item = (&'a OperationId, Option<&'a AgentId>)>,
    ) -> Result<(), CallError> {
        let named = |(operation, agent): (&OperationId, Option<&AgentId>)| {
            call::reconcile_operations::Operation {
                operation_id: operation.into(),
                agent_id: agent.map(wire::AgentId::from),
                ..call::reconcile_operations::Operation::default()
            }
        };
        self.send(Call {
            reconcile_operations: Some(call::ReconcileOperations {
                operations: operations.into_iter().map(named).collect(),
            }),
            ..of_type(call::Type::ReconcileOperations)
        })
    }

    /// Asks for the latest state of `tasks`, or, with none named, of all that the master knows. The answers are
    /// updates without uuid.
    ///
    /// # Errors
    /// [`CallError::NotConnected`].
    pub fn reconcile<'a>(
        &self,
        tasks: impl IntoIterator<Item = (&'a TaskId, Option<&'a AgentId>)>,
    ) -> Result<(), CallError> {
        let tasks = tasks
            .into_iter()
            .map(|(task, agent)| call::reconcile::Task {
                task_id: task.into(),
                agent_id: agent.map(wire::AgentId::from),
            })
            .collect();
        self.send(Call {
            reconcile: Some(call::Reconcile { tasks }),
            ..of_type(call::Type::Reconcile)
        })
    }

    /// States what waits to be placed, most urgent first, at most [`MAX_SHAPES`](crate::demand::MAX_SHAPES) shapes, so that
    /// offers fit it. Replaces what was stated before. A framework that has stated nothing is offered whole agents, one that
    /// has stated that nothing waits is offered nothing.
    ///
    /// The master is told when the framework asks for its next event: of several statements in one turn it hears the last,
    /// of the same as before none. What is launched it counts off by itself until the next statement, which it hears in any
    /// case. Remembered: after a reconnection it is told again.
    pub fn demand(&self, shapes: impl IntoIterator<Item = Shape>) {
        self.set_demand(shapes.into_iter().collect());
    }

    /// The same for tasks that wait to be [planned](crate::matching). Say it again when tasks have been added or taken
    /// away; [`Plan::carry_out`](crate::matching::Plan::carry_out) says it from then on when tasks have been launched.
    pub fn demand_for<'a>(&self, waiting: impl IntoIterator<Item = &'a WaitingTask>) {
        self.set_demand(Demand::of(waiting));
    }

    /// These are left of what was demanded, if anything was.
    pub(crate) fn still_wait(&self, waiting: &[WaitingTask]) {
        if self.with(|shared| shared.demand.is_some()) {
            self.demand_for(waiting);
        }
    }

    fn set_demand(&self, demand: Demand) {
        let waker = self.with(|shared| {
            shared.demand = Some(Arc::new(demand));
            if std::mem::take(&mut shared.has_launched) {
                shared.told = None;
            }
            shared.turn.take()
        });
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Ends the framework and all its tasks, for good: its id will not be let in again. The stream of events ends when
    /// the master has done so. Remembered: without a connection it is the first thing said on the next.
    ///
    /// # Errors
    /// [`CallError::NotConnected`]; it is remembered all the same.
    pub fn teardown(&self) -> Result<(), CallError> {
        self.with(|shared| {
            shared.torn_down = true;
            shared.send(of_type(call::Type::Teardown))
        })
    }

    /// Asks the master why the framework gets no offers, or not those it wants: its share, what stands against it in each
    /// role, and for each shape that it [demands](Self::demand) which agents are in the way of it and the smallest change
    /// that would help. The answer is the JSON of `GET /explain` (docs/api/explain.md).
    ///
    /// It is for people and logs: a master answers two such questions at a time. Several masters are asked in turn, each
    /// for as long as [`explain::PATIENCE`]; whoever has less calls [`explain::framework`]. The loop of events has to run
    /// on meanwhile, or nothing is told that was demanded in this turn: ask in a task of its own.
    ///
    /// ```no_run
    /// # use mete_framework_sdk::Client;
    /// # fn waits_for_a_minute(client: &Client) {
    /// let client = client.clone();
    /// tokio::spawn(async move {
    ///     match client.explain().await {
    ///         Ok(json) => println!("no offers: {json}"),
    ///         Err(error) => println!("no offers, and nobody says why: {error}"),
    ///     }
    /// });
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`ExplainError::NoId`], at once, before a master has let the framework in for the first time, unless it came with an
    /// [id](FrameworkSpec::id); else as [`explain::framework`].
    pub async fn explain(&self) -> Result<String, ExplainError> {
        let id = self.with(|shared| shared.id.clone());
        let id = id.ok_or(ExplainError::NoId)?;
        explain::framework(&self.connection, &id, explain::PATIENCE).await
    }

    fn send(&self, call: Call) -> Result<(), CallError> {
        self.with(|shared| shared.send(call))
    }
}

fn demand_call(demand: &Demand) -> Call {
    Call {
        demand: Some(convert::demand::to_wire(demand.shapes())),
        ..of_type(call::Type::Demand)
    }
}
