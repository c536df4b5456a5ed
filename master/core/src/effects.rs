//! What follows from an input: messages to be sent, streams to be closed, answers. Records are in `registry.rs`.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use mete_model::{
    AgentId, Capability, FrameworkId, FrameworkInfo, Offer, OfferId, Role, TaskId, TaskSpec,
    TaskStatus, UpdateId,
};

use crate::input::LinkId;

/// Something to be carried out.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Say something to a framework.
    ToFramework {
        /// On this stream.
        link: LinkId,
        /// What.
        event: Event,
    },
    /// Say something to an agent.
    ToAgent {
        /// On this stream.
        link: LinkId,
        /// What.
        message: MessageToAgent,
    },
    /// End a stream, after what was said on it before.
    Close {
        /// Which.
        link: LinkId,
    },
}

/// What a framework hears. Heartbeats are the shell's.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// It is in.
    Subscribed {
        /// Its id from now on.
        framework: FrameworkId,
    },
    /// Resources to take or to decline.
    Offers {
        /// As many as the round gave.
        offers: Vec<Arc<Offer>>,
        /// What the framework understands decides on their form.
        capabilities: BTreeSet<Capability>,
    },
    /// An offer does not stand any more.
    Rescind(OfferId),
    /// News of a task.
    Update {
        /// As the framework understands it.
        status: TaskStatus,
        /// The message as the agent sent it; `None` when the master made it.
        original: Option<Bytes>,
    },
    /// An agent is lost.
    Failure {
        /// Which.
        agent: AgentId,
    },
    /// Something is wrong; when `Close` follows, the last event of the stream.
    Error(String),
}

/// What an agent hears.
#[derive(Clone, Debug, PartialEq)]
pub enum MessageToAgent {
    /// It is in.
    Registered {
        /// Its id from now on.
        agent: AgentId,
    },
    /// It is not let in; the stream ends.
    Refused {
        /// Why, in words.
        reason: String,
        /// Coming back will not help.
        permanent: bool,
    },
    /// Start a task.
    RunTask {
        /// Whose.
        framework: Box<FrameworkInfo>,
        /// On whose account.
        role: Role,
        /// What.
        task: Arc<TaskSpec>,
    },
    /// End a task.
    KillTask {
        /// Whose.
        framework: FrameworkId,
        /// Which.
        task: TaskId,
        /// Overrides the task's own.
        grace_period: Option<Duration>,
    },
    /// An update has been dealt with.
    Acknowledge {
        /// Whose task.
        framework: FrameworkId,
        /// Which task.
        task: TaskId,
        /// Which update.
        uuid: UpdateId,
    },
    /// End all tasks of a framework and forget it.
    ShutdownFramework {
        /// Which.
        framework: FrameworkId,
    },
    /// End all tasks, then yourself.
    Shutdown {
        /// Why, in words.
        reason: String,
    },
    /// Are you there?
    Ping {
        /// Comes back in the answer.
        sequence: u64,
    },
}

/// The answer for the caller.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// The framework is in.
    Subscribed(FrameworkId),
    /// The agent is in.
    Registered(AgentId),
    /// Whoever came was not let in; the reason went down the stream.
    Refused(String),
    /// Done.
    Done,
    /// Not done.
    Failed(OperatorError),
}

/// Why an operator's wish was not granted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OperatorError {
    /// No such agent.
    #[error("agent {0} is not known")]
    UnknownAgent(AgentId),
    /// No such framework.
    #[error("framework {0} is not known")]
    UnknownFramework(FrameworkId),
    /// Limits go by top-level roles.
    #[error("role {0} is not a top-level role; limits are set on those")]
    NotTopLevel(Role),
    /// Limits hold for named roles.
    #[error("role * cannot have a limit")]
    AnyRole,
}
