//! What happens by time alone.

use mete_model::{AgentId, FrameworkId, OfferId, OperationId, TaskKey};

/// What is over, or to be done again.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Due {
    /// The next ping of a connected agent; the last one should be answered by now.
    Ping(AgentId),
    /// A disconnected agent, or one known from before the restart, should be back by now.
    Return(AgentId),
    /// An agent has been unreachable so long that it is forgotten.
    Forget(AgentId),
    /// A framework that is away should be back by now.
    Failover(FrameworkId),
    /// An offer has been on the table long enough.
    Offer(OfferId),
    /// A task that was to be killed should have ended by now, or is to be killed because its agent drains.
    Kill(TaskKey),
    /// An operation that was told should have been acknowledged by now, or its framework should be back.
    Operation((FrameworkId, OperationId)),
}

/// Its moments.
pub(crate) type Deadlines = mete_model::Deadlines<Due>;
