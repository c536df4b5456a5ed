//! What follows from an input: records, actions, replies.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use mete_model::container::Network;
use mete_model::{
    AgentId, ExecutorId, FrameworkId, OfferId, Resources, Role, TaskId, TaskSpec, Timestamp,
    UpdateId,
};

use mete_placement::Shape;

use crate::deployment::plan::Step;
use crate::events::Event;
use crate::input::Done;
use crate::launch::Discovery;
use crate::probe::Probe;
use crate::spec::app::AppId;
use crate::state::deployments::DeploymentId;
use crate::state::instances::{Instance, InstanceId};
use crate::validate::Violation;

pub use crate::record::Record;

/// What the shell carries out, in order.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Use offers of one agent: first what is given back, then what is kept, then tasks.
    Accept {
        /// The offers, all of one agent.
        offers: Vec<OfferId>,
        /// What was kept for instances that are no more, each by its name: [`Input::Operated`](crate::Input::Operated) tells
        /// when it is given back.
        release: Vec<(InstanceId, Kept)>,
        /// What is kept for instances from now on.
        reserve: Vec<Kept>,
        /// Tasks, each for itself.
        launches: Vec<Launch>,
        /// Tasks that belong together.
        groups: Vec<LaunchGroup>,
        /// What is left of the offers is not wanted again for so long.
        refuse: Duration,
    },
    /// Offers are of no use.
    Decline {
        /// Which.
        offers: Vec<OfferId>,
        /// They are not wanted again for so long.
        refuse: Duration,
    },
    /// Agents that drain have been left: their questions are answered.
    AcceptInverse(Vec<OfferId>),
    /// Resources are taken in these roles from now on.
    Roles(Vec<Role>),
    /// What waits, those that wait the longest first; replaces what was said before. Empty: nothing waits.
    Demand(Vec<Shape>),
    /// Offers are wanted, those declined too.
    Revive,
    /// No offers are wanted.
    Suppress,
    /// End a task.
    Kill {
        /// Which.
        task: TaskId,
        /// Where it was last.
        agent: Option<AgentId>,
        /// From SIGTERM to SIGKILL; `None`: the agent's own.
        grace: Option<Duration>,
    },
    /// A report is stored.
    Acknowledge {
        /// About which task.
        task: TaskId,
        /// From which agent.
        agent: AgentId,
        /// Which report.
        uuid: UpdateId,
    },
    /// It is stored what an operation changed.
    AcknowledgeOperation(Done),
    /// Ask for the state of tasks; when empty: of all the master knows.
    Reconcile {
        /// At most [`crate::transitions::reconcile::MAX_RECONCILE_TASKS`].
        tasks: Vec<(TaskId, Option<AgentId>)>,
    },
    /// Ask the master what is reserved under this label with this value. What it answers comes back as `Input::Reserved`; when
    /// it does not, nothing does.
    AskReserved {
        /// The name of the label.
        label: &'static str,
        /// Our id.
        framework: FrameworkId,
    },
    /// Ask an instance. What it answers comes back as `Input::Probed`, once for each.
    Probe(Probe),
    /// Tell subscribers.
    Publish(Event),
}

/// What is kept for one instance on its agent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// All of it as it is reserved, without volumes.
    pub reserved: Resources,
    /// The volumes on the disk among it.
    pub volumes: Resources,
}

/// One task to launch.
#[derive(Clone, Debug, PartialEq)]
pub struct Launch {
    /// What the agent runs; `original` is empty, the shell writes the message.
    pub task: TaskSpec,
    /// How others find it.
    pub discovery: Discovery,
    /// What the shell adds.
    pub secrets: LaunchSecrets,
}

/// Where the secrets of a task are kept: the source of each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LaunchSecrets {
    /// By variable.
    pub variables: BTreeMap<String, String>,
    /// By the place of the file in its container: of the mount that shows a secret which is not told.
    pub files: BTreeMap<String, String>,
    /// Of the login for its image.
    pub login: Option<String>,
}

impl LaunchSecrets {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.variables.is_empty() && self.files.is_empty() && self.login.is_none()
    }
}

/// The tasks of one instance of a pod: all are launched, or none.
#[derive(Clone, Debug, PartialEq)]
pub struct LaunchGroup {
    /// In the order of its containers.
    pub tasks: Vec<Launch>,
    /// Names what is around them.
    pub executor: ExecutorId,
    /// For people.
    pub name: String,
    /// What is taken of the offer beside the tasks.
    pub overhead: Resources,
    /// The network that they share.
    pub network: Network,
}

/// The answer to one input.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// The change is stored and being carried out.
    Changed {
        /// The version of what changed.
        version: Timestamp,
        /// The deployment that carries it out; it may be over already.
        deployment: DeploymentId,
        /// Whether an app is new.
        created: bool,
    },
    /// What would be done, step by step.
    Planned(Vec<Step>),
    /// These are being killed.
    Killed(Vec<Arc<Instance>>),
    /// The deployment was stopped where it was.
    Cancelled,
    /// It is done.
    Done,
    /// There is no such thing.
    NotFound(Missing),
    /// An app of this id is there.
    AlreadyExists(AppId),
    /// A pod of this id is there.
    PodExists(AppId),
    /// A group of this id is there; `None`: the root.
    GroupExists(Option<AppId>),
    /// An app of the id of a new group is there.
    AppInPlaceOfGroup(AppId),
    /// Deployments that run change the same apps.
    Conflict {
        /// Which deployments.
        deployments: Vec<DeploymentId>,
    },
    /// The wish makes no sense here.
    Invalid(Vec<Violation>),
    /// An app changed while the shell merged: read it and merge again.
    Stale(AppId),
    /// No more deployments may run at once.
    TooManyDeployments {
        /// How many may.
        limit: usize,
    },
    /// No service port is left to give.
    NoServicePort {
        /// The range they are given from.
        first: u16,
        /// Its end, included.
        last: u16,
    },
    /// An acknowledgement that cannot be taken, in words.
    BadProxy(String),
}

/// What there is none of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Missing {
    /// No such app.
    App(AppId),
    /// No such pod.
    Pod(AppId),
    /// No such group.
    Group(AppId),
    /// A group was not there in that version, or nobody knows any more; `None`: the root.
    GroupVersion(Option<AppId>, Timestamp),
    /// No such deployment.
    Deployment(DeploymentId),
    /// The app does not wait.
    Queued(AppId),
}
