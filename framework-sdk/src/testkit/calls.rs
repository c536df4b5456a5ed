//! What a framework has said, in words of the model.

use std::collections::BTreeSet;
use std::time::Duration;

use mete_model::{
    AgentId, FrameworkId, FrameworkInfo, OfferId, Role, TaskGroup, TaskId, TaskSpec, UpdateId,
};
use mete_placement::FrameworkFacts;
use mete_placement::demand::Shape;
use mete_proto::convert::{
    ConvertError, demand, executor, framework, ids, offer, offer_constraints, task,
};
use mete_proto::mesos::v1 as wire;
use mete_proto::mesos::v1::scheduler::{Call as Message, call};

/// One call, and whose.
#[derive(Clone, Debug, PartialEq)]
pub struct Received {
    /// Who called; `None` at a first SUBSCRIBE.
    pub framework: Option<FrameworkId>,
    /// What it said.
    pub call: Call,
}

/// A call. More kinds may come: match with a `_` arm.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Call {
    /// Who speaks, and what it wants no offers for.
    Subscribe {
        /// What the framework says of itself.
        info: Box<FrameworkInfo>,
        /// Roles without offers.
        suppressed: BTreeSet<Role>,
        /// What it says of itself as far as offers go.
        facts: Box<FrameworkFacts>,
    },
    /// Offers used.
    Accept {
        /// Which.
        offers: Vec<OfferId>,
        /// What to launch on them, in order.
        tasks: Vec<Result<TaskSpec, BadTask>>,
        /// Groups to launch on them, after the tasks.
        groups: Vec<Result<TaskGroup, BadGroup>>,
        /// What they leave over stays away so long.
        refuse_for: Duration,
    },
    /// Offers handed back.
    Decline {
        /// Which.
        offers: Vec<OfferId>,
        /// They stay away so long.
        refuse_for: Duration,
    },
    /// Offers wanted again.
    Revive {
        /// In these roles; empty: in all.
        roles: BTreeSet<Role>,
    },
    /// No offers wanted.
    Suppress {
        /// In these roles; empty: in all.
        roles: BTreeSet<Role>,
    },
    /// A task to be ended.
    Kill {
        /// Which.
        task: TaskId,
        /// Where it is thought to run.
        agent: Option<AgentId>,
        /// From SIGTERM to SIGKILL.
        grace: Option<Duration>,
    },
    /// An update dealt with.
    Acknowledge {
        /// Where the task runs.
        agent: AgentId,
        /// Which task.
        task: TaskId,
        /// Which update.
        uuid: UpdateId,
    },
    /// States asked for; of all tasks when none is named.
    Reconcile {
        /// Which tasks, and where they are thought to run.
        tasks: Vec<(TaskId, Option<AgentId>)>,
    },
    /// What waits to be placed.
    Demand(Vec<Shape>),
    /// Other roles.
    Update {
        /// Who calls, with the roles of now.
        info: Box<FrameworkInfo>,
        /// Roles in which it wants no offers.
        suppressed: BTreeSet<Role>,
        /// What the allocator is to know of it.
        facts: Box<FrameworkFacts>,
    },
    /// The end of the framework.
    Teardown,
    /// Of a kind that the test kit does not carry. Answered with ERROR.
    Other(String),
}

/// A task whose description makes no sense. Answered with TASK_ERROR.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadTask {
    /// Which.
    pub task: TaskId,
    /// What is wrong with it.
    pub why: String,
}

/// A group whose description makes no sense. Each of its tasks is answered with TASK_ERROR.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadGroup {
    /// Its tasks.
    pub tasks: Vec<TaskId>,
    /// What is wrong with it.
    pub why: String,
}

/// Puts a call into words of the model.
pub(super) fn read(message: &Message) -> Result<Received, ConvertError> {
    let id = message.framework_id.as_ref();
    Ok(Received {
        framework: id
            .filter(|id| !id.value.is_empty())
            .map(FrameworkId::try_from)
            .transpose()?,
        call: read_call(message)?,
    })
}

fn read_call(message: &Message) -> Result<Call, ConvertError> {
    let kind = message.r#type();
    let missing = || ConvertError::missing(kind.as_str_name().to_lowercase());
    let call = match kind {
        call::Type::Subscribe => subscribe(message.subscribe.as_ref().ok_or_else(missing)?)?,
        call::Type::Accept => accept(message.accept.as_ref().ok_or_else(missing)?)?,
        call::Type::Decline => {
            let decline = message.decline.as_ref().ok_or_else(missing)?;
            Call::Decline {
                offers: offers(&decline.offer_ids)?,
                refuse_for: offer::refusal(decline.filters.as_ref()),
            }
        }
        call::Type::Revive => Call::Revive {
            roles: roles(message.revive.as_ref().map(|revive| &revive.roles)),
        },
        call::Type::Suppress => Call::Suppress {
            roles: roles(message.suppress.as_ref().map(|suppress| &suppress.roles)),
        },
        call::Type::Kill => kill(message.kill.as_ref().ok_or_else(missing)?)?,
        call::Type::Acknowledge => {
            let acknowledge = message.acknowledge.as_ref().ok_or_else(missing)?;
            Call::Acknowledge {
                agent: AgentId::try_from(&acknowledge.agent_id)?,
                task: TaskId::try_from(&acknowledge.task_id)?,
                uuid: ids::update_id("uuid", &acknowledge.uuid)?,
            }
        }
        call::Type::Reconcile => reconcile(message.reconcile.as_ref().ok_or_else(missing)?)?,
        call::Type::Demand => {
            let demand = message.demand.as_ref().ok_or_else(missing)?;
            Call::Demand(demand::from_wire(demand)?)
        }
        call::Type::UpdateFramework => {
            update(message.update_framework.as_ref().ok_or_else(missing)?)?
        }
        call::Type::Teardown => Call::Teardown,
        call::Type::Unknown
        | call::Type::Shutdown
        | call::Type::Message
        | call::Type::Request
        | call::Type::AcceptInverseOffers
        | call::Type::DeclineInverseOffers
        | call::Type::AcknowledgeOperationStatus
        | call::Type::ReconcileOperations => Call::Other(kind.as_str_name().to_owned()),
    };
    Ok(call)
}

fn reconcile(message: &call::Reconcile) -> Result<Call, ConvertError> {
    let named = |task: &call::reconcile::Task| {
        let agent = task.agent_id.as_ref().map(AgentId::try_from).transpose()?;
        Ok((TaskId::try_from(&task.task_id)?, agent))
    };
    Ok(Call::Reconcile {
        tasks: message.tasks.iter().map(named).collect::<Result<_, _>>()?,
    })
}

fn subscribe(message: &call::Subscribe) -> Result<Call, ConvertError> {
    let (info, constraints) = (&message.framework_info, message.offer_constraints.as_ref());
    let (info, facts) = introduced(info, constraints)?;
    Ok(Call::Subscribe {
        info,
        suppressed: roles(Some(&message.suppressed_roles)),
        facts,
    })
}

fn update(message: &call::UpdateFramework) -> Result<Call, ConvertError> {
    let (info, constraints) = (&message.framework_info, message.offer_constraints.as_ref());
    let (info, facts) = introduced(info, constraints)?;
    Ok(Call::Update {
        info,
        suppressed: roles(Some(&message.suppressed_roles)),
        facts,
    })
}

/// Who a framework is, and what the allocator is to know of it.
fn introduced(
    message: &wire::FrameworkInfo,
    constraints: Option<&wire::scheduler::OfferConstraints>,
) -> Result<(Box<FrameworkInfo>, Box<FrameworkFacts>), ConvertError> {
    let info = FrameworkInfo::try_from(message)?;
    let facts = FrameworkFacts {
        roles: info.roles.clone(),
        capabilities: info.capabilities.clone(),
        min_allocatable: framework::min_allocatable(message)?,
        offer_constraints: offer_constraints::from_wire(constraints)?,
    };
    Ok((Box::new(info), Box::new(facts)))
}

fn accept(message: &call::Accept) -> Result<Call, ConvertError> {
    let (mut tasks, mut groups) = (Vec::new(), Vec::new());
    for operation in &message.operations {
        for info in operation
            .launch
            .iter()
            .flat_map(|launch| &launch.task_infos)
        {
            tasks.push(launch(info)?);
        }
        if let Some(group) = &operation.launch_group {
            groups.push(launch_group(group)?);
        }
    }
    Ok(Call::Accept {
        offers: offers(&message.offer_ids)?,
        tasks,
        groups,
        refuse_for: offer::refusal(message.filters.as_ref()),
    })
}

fn launch_group(
    launch: &wire::offer::operation::LaunchGroup,
) -> Result<Result<TaskGroup, BadGroup>, ConvertError> {
    let infos = &launch.task_group.tasks;
    let tasks = infos.iter().map(|info| TaskId::try_from(&info.task_id));
    let tasks = tasks.collect::<Result<Vec<_>, _>>()?;
    let group = executor::group(&launch.executor, infos);
    Ok(group.map_err(|error| BadGroup {
        tasks,
        why: error.to_string(),
    }))
}

/// A task without an id cannot even be answered.
fn launch(info: &wire::TaskInfo) -> Result<Result<TaskSpec, BadTask>, ConvertError> {
    let task = TaskId::try_from(&info.task_id)?;
    Ok(task::alone(info).map_err(|error| BadTask {
        task,
        why: error.to_string(),
    }))
}

fn kill(message: &call::Kill) -> Result<Call, ConvertError> {
    Ok(Call::Kill {
        task: TaskId::try_from(&message.task_id)?,
        agent: message
            .agent_id
            .as_ref()
            .map(AgentId::try_from)
            .transpose()?,
        grace: message
            .kill_policy
            .as_ref()
            .map_or(Ok(None), task::grace_period)?,
    })
}

fn offers(ids: &[wire::OfferId]) -> Result<Vec<OfferId>, ConvertError> {
    ids.iter().map(OfferId::try_from).collect()
}

/// What is no role cannot be one of the framework's, and does not count.
fn roles(names: Option<&Vec<String>>) -> BTreeSet<Role> {
    let names = names.into_iter().flatten();
    names.filter_map(|name| Role::new(name).ok()).collect()
}
