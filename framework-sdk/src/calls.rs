//! What a framework can ask for. A call goes out on the present connection or not at all.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mete_model::{
    AgentId, FrameworkId, Offer, OfferId, Resources, Role, TaskId, TaskStatus, UpdateId,
};
use mete_proto::convert::{ids, resources};
use mete_proto::mesos::v1 as wire;
use mete_proto::mesos::v1::scheduler::{Call, call};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio_util::sync::CancellationToken;

use crate::launch::Task;

/// Calls that wait for the network. A master that takes none for so long is better left than waited for: the link is
/// cut, and coming back tells both sides the whole truth.
pub(crate) const MAX_QUEUED_CALLS: usize = 4096;

/// Why a call was not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// There is no connection at the moment; [`Event::Subscribed`](crate::Event::Subscribed) will tell.
    #[error("not connected to a master")]
    NotConnected,
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

/// What calls and the connection share.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    pub(crate) link: Option<Link>,
    pub(crate) suppressed: BTreeSet<Role>,
    pub(crate) roles: BTreeSet<Role>,
}

/// Makes calls for one framework. Cheap to clone; never waits.
#[derive(Clone, Debug)]
pub struct Client(Arc<Mutex<Shared>>);

impl Client {
    pub(crate) fn new(roles: BTreeSet<Role>, suppressed: BTreeSet<Role>) -> Self {
        Self(Arc::new(Mutex::new(Shared {
            link: None,
            suppressed,
            roles,
        })))
    }

    /// Runs `change` on what is shared. Nobody panics while holding it; were it so, the state is still whole.
    pub(crate) fn with<T>(&self, change: impl FnOnce(&mut Shared) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Uses offers of one agent to launch `tasks`; what they leave over goes back with `filters`. Without tasks this
    /// is a decline.
    ///
    /// A task that is refused is answered with an update: TASK_ERROR with the reason when its description is wrong,
    /// TASK_DROPPED when an offer is no longer there.
    ///
    /// # Errors
    /// [`CallError::NotConnected`].
    pub fn accept<'a>(
        &self,
        offers: impl IntoIterator<Item = &'a Offer>,
        tasks: impl IntoIterator<Item = Task>,
        filters: Filters,
    ) -> Result<(), CallError> {
        let offers: Vec<&Offer> = offers.into_iter().collect();
        let Some(agent) = offers.first().map(|offer| offer.agent.clone()) else {
            return Ok(());
        };
        let role = offers
            .first()
            .map(|offer| offer.role.clone())
            .unwrap_or_default();
        let tasks: Vec<wire::TaskInfo> = tasks
            .into_iter()
            .map(|task| task.for_offer(&agent, &role))
            .collect();
        if tasks.is_empty() {
            return self.decline(offers.iter().map(|offer| &offer.id), filters);
        }
        let mut launch = wire::offer::Operation {
            launch: Some(wire::offer::operation::Launch { task_infos: tasks }),
            ..wire::offer::Operation::default()
        };
        launch.set_type(wire::offer::operation::Type::Launch);
        self.send(call::Type::Accept, |call| {
            call.accept = Some(call::Accept {
                offer_ids: offers
                    .iter()
                    .map(|offer| wire::OfferId::from(&offer.id))
                    .collect(),
                operations: vec![launch],
                filters: Some(filters.into()),
            });
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
        self.send(call::Type::Decline, |call| {
            call.decline = Some(call::Decline {
                offer_ids,
                filters: Some(filters.into()),
            });
        })
    }

    /// Wants offers again, in all roles, and drops all filters. Remembered: after a reconnection it still holds.
    ///
    /// # Errors
    /// [`CallError::NotConnected`]; it is remembered all the same.
    pub fn revive(&self) -> Result<(), CallError> {
        self.with(|shared| shared.suppressed.clear());
        self.send(call::Type::Revive, |call| {
            call.revive = Some(call::Revive::default())
        })
    }

    /// Wants no offers for now, in any role. Remembered: after a reconnection it still holds.
    ///
    /// # Errors
    /// [`CallError::NotConnected`]; it is remembered all the same.
    pub fn suppress(&self) -> Result<(), CallError> {
        self.with(|shared| shared.suppressed = shared.roles.clone());
        self.send(call::Type::Suppress, |call| {
            call.suppress = Some(call::Suppress::default())
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
        self.send(call::Type::Kill, |call| {
            call.kill = Some(call::Kill {
                task_id: task.into(),
                agent_id: agent.map(wire::AgentId::from),
                kill_policy: grace.map(crate::launch::kill_policy),
            });
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
        self.send(call::Type::Acknowledge, |call| {
            call.acknowledge = Some(call::Acknowledge {
                agent_id: agent.into(),
                task_id: task.into(),
                uuid: ids::uuid(uuid),
            });
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
        self.send(call::Type::Reconcile, |call| {
            call.reconcile = Some(call::Reconcile { tasks })
        })
    }

    /// States what waits to be placed: each shape so many times. Replaces what was stated before.
    ///
    /// # Errors
    /// [`CallError::NotConnected`].
    pub fn demand(
        &self,
        shapes: impl IntoIterator<Item = (Resources, u32)>,
    ) -> Result<(), CallError> {
        let shapes = shapes
            .into_iter()
            .map(|(shape, count)| call::Shape {
                resources: resources::to_wire(&shape),
                count: Some(count),
                ..call::Shape::default()
            })
            .collect();
        self.send(call::Type::Demand, |call| {
            call.demand = Some(call::Demand { shapes })
        })
    }

    /// Ends the framework and all its tasks, for good: its id will not be let in again.
    ///
    /// # Errors
    /// [`CallError::NotConnected`].
    pub fn teardown(&self) -> Result<(), CallError> {
        self.send(call::Type::Teardown, |_| {})
    }

    fn send(&self, kind: call::Type, fill: impl FnOnce(&mut Call)) -> Result<(), CallError> {
        let link = self
            .with(|shared| shared.link.clone())
            .ok_or(CallError::NotConnected)?;
        let mut call = Call {
            framework_id: Some((&link.framework).into()),
            ..Call::default()
        };
        call.set_type(kind);
        fill(&mut call);
        match link.calls.try_send(call) {
            Ok(()) => Ok(()),
            Err(TrySendError::Full(_)) => {
                link.cut.cancel();
                Err(CallError::NotConnected)
            }
            Err(TrySendError::Closed(_)) => Err(CallError::NotConnected),
        }
    }
}
