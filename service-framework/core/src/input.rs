//! All that can happen to the service framework.

use std::collections::BTreeMap;

use mete_model::{
    AgentId, FrameworkId, InverseOffer, Offer, OfferId, OperationId, Resources, TaskId, TaskStatus,
    Timestamp, UpdateId,
};

use crate::probe::{Answer, Check};
use crate::spec::app::{AppId, AppSpec};
use crate::spec::group::GroupSpec;
use crate::state::deployments::DeploymentId;
use crate::state::instances::InstanceId;

/// One thing that happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// A user wants something else. Answered by `Reply::{Changed, AlreadyExists, PodExists, NotFound, Conflict, Invalid,
    /// Stale, TooManyDeployments, GroupExists}`.
    Change(Change),
    /// A user asks what would be done. Answered by `Reply::Planned`, or as the change itself would be turned down.
    DryRun(Wanted),
    /// A user wants instances gone. Answered by `Reply::Killed`, or as a change when `scale`.
    KillInstances {
        /// Which; those unknown are skipped.
        instances: Vec<InstanceId>,
        /// Whether fewer are wanted from now on; otherwise they are replaced.
        scale: bool,
        /// Whether running deployments of the same apps are cancelled (only with `scale`).
        force: bool,
        /// Whether what they hold on their agents is given back (never with `scale`).
        wipe: bool,
    },
    /// A user wants a deployment to end. Answered by `Reply::{Cancelled, Changed, NotFound}`.
    CancelDeployment {
        /// Which.
        id: DeploymentId,
        /// `true`: it just stops; `false`: a new deployment undoes it.
        force: bool,
    },
    /// A user wants an app tried again at once. Answered by `Reply::{Done, NotFound}`.
    ResetDelay {
        /// Which.
        app: AppId,
    },
    /// A proxy says what it has in effect. Answered by `Reply::{Done, BadProxy}`.
    ProxyAck(ProxyAck),
    /// The master knows us.
    Subscribed {
        /// Under this id.
        framework: FrameworkId,
        /// Its address, for people.
        master: String,
        /// The region it is in, as far as it says.
        region: Option<String>,
    },
    /// The link to the master broke; it is being set up again.
    Disconnected,
    /// The master has removed us: our tasks are killed, and our id is never let in again. Answered by `Reply::Done`.
    Removed,
    /// Resources are on the table.
    Offers(Vec<Offer>),
    /// An offer is withdrawn.
    Rescind(OfferId),
    /// Agents will be away, and we are asked whether we leave them in time.
    InverseOffers(Vec<InverseOffer>),
    /// Such a question is withdrawn.
    RescindInverse(OfferId),
    /// A report about a task.
    Update(TaskStatus),
    /// An agent is lost: not heard of, or gone for good.
    AgentLost(AgentId),
    /// An operation is done.
    Operated(Done),
    /// All that the master knows to be reserved under our label, by agent.
    Reserved(Vec<(AgentId, Resources)>),
    /// The master says in words that something we sent was wrong, or that an executor failed.
    Failure(String),
    /// What came of `Action::Probe`.
    Probed {
        /// Who was asked.
        instance: InstanceId,
        /// For which of its checks.
        check: Check,
        /// What was heard.
        answer: Answer,
    },
    /// A deadline has come.
    Deadline,
}

/// An operation that is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Done {
    /// The name that we gave it.
    pub operation: OperationId,
    /// On whose resources.
    pub agent: AgentId,
    /// What an acknowledgement shows.
    pub uuid: UpdateId,
}

/// What a user wants of apps.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// What.
    pub what: Wanted,
    /// Whether running deployments of the same apps are cancelled for it.
    pub force: bool,
    /// Who asked, when subscribers are to hear of it by itself (POST of an app or pod, PUT and PATCH of a single one,
    /// DELETE of a pod).
    pub origin: Option<Origin>,
}

/// The parts of a change.
#[derive(Clone, Debug, PartialEq)]
pub enum Wanted {
    /// POST: a new app or pod.
    Create(Box<AppSpec>),
    /// PUT and PATCH: these apps or pods as they are written here.
    Put {
        /// Each whole; the shell has merged what was left out. Ids occur once.
        apps: Vec<AppSpec>,
        /// Whether those not there are created; otherwise they are not found.
        create: bool,
        /// Versions the shell merged with: if an app has another by now, nothing is done and the answer is
        /// `Reply::Stale`. Apps left out are not checked.
        merged_with: BTreeMap<AppId, Timestamp>,
    },
    /// DELETE of an app.
    Remove(AppId),
    /// DELETE of a pod.
    RemovePod(AppId),
    /// POST restart.
    Restart(AppId),
    /// POST of a group: it is new.
    CreateGroup(Box<GroupSpec>),
    /// PUT of a group: it is as it is written here, and made when it is not there.
    PutGroup(Box<GroupSpec>),
    /// A group as it was in a former version; `None`: the root.
    RevertGroup(Option<AppId>, Timestamp),
    /// So many times the instances of all apps below a group, rounded up; `None`: the root.
    ScaleGroup(Option<AppId>, f64),
    /// DELETE of a group and all below it; `None`: everything.
    RemoveGroup(Option<AppId>),
    /// Only another number of instances.
    Scale {
        /// Of which app.
        app: AppId,
        /// How many.
        instances: u32,
    },
}

/// Who asked for something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The address of the client.
    pub client_ip: String,
    /// The path it asked.
    pub uri: String,
}

/// What a proxy has in effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyAck {
    /// Who.
    pub proxy: String,
    /// Of which epoch it speaks.
    pub epoch: String,
    /// The version of the list it has in effect.
    pub version: u64,
    /// Sessions left on instances that drain.
    pub draining: BTreeMap<TaskId, u64>,
}
