//! What agents say and hear: `mete.v1.AgentMessage` into words of the core, and those into `mete.v1.MasterMessage`.

use std::sync::Arc;

use bytes::Bytes;
use mete_master_core::{
    AgentTask, Drain, ExecutorNews, FromExecutor, Input, LinkId, MessageToAgent, Registration,
    Update,
};
use mete_model::{
    AgentId, AgentInfo, ExecutorId, ExecutorSpec, FrameworkId, FrameworkInfo, Resources, Role,
    TaskSpec, TaskState,
};
use mete_proto::PROTOCOL_VERSION;
use mete_proto::convert::task::to_run;
use mete_proto::convert::{
    ConvertError, Within as _, executor, ids, resources, status, task, time_info,
};
use mete_proto::mesos::v1 as mesos;
use mete_proto::mete::v1 as wire;
use prost::Message as _;
use wire::master_message::Message;

use crate::draining;
use crate::grpc::About;

/// How an agent comes.
///
/// # Errors
/// Names the field that makes no sense.
pub(crate) fn registration(
    register: &wire::Register,
    link: LinkId,
) -> Result<Registration, ConvertError> {
    if register.hello.protocol_version == 0 {
        let rule = "versions begin with 1";
        return Err(ConvertError::bad_value("hello.protocol_version", 0, rule));
    }
    let id = register.agent_info.id.as_ref();
    let id = id.filter(|id| !id.value.is_empty());
    let tasks: Result<_, ConvertError> = register.tasks.iter().map(agent_task).collect();
    let frameworks: Result<_, ConvertError> = register
        .frameworks
        .iter()
        .map(FrameworkInfo::try_from)
        .collect();
    let executors: Result<_, ConvertError> =
        register.executors.iter().map(agent_executor).collect();
    let exited: Result<_, ConvertError> = register.exited.iter().map(executor_exited).collect();
    let updates: Result<_, ConvertError> = register.unacknowledged.iter().map(update).collect();
    Ok(Registration {
        link,
        id: id
            .map(TryInto::try_into)
            .transpose()
            .within("agent_info.id")?,
        info: AgentInfo::try_from(&register.agent_info).within("agent_info")?,
        boot_id: register.boot_id.clone(),
        version: register.version().to_owned(),
        obeyed_epoch: register.hello.master_epoch(),
        tasks: tasks.within("tasks")?,
        executors: executors.within("executors")?,
        exited: exited.within("exited")?,
        frameworks: frameworks.within("frameworks")?,
        unacknowledged: updates.within("unacknowledged")?,
    })
}

/// News of a task.
///
/// # Errors
/// Names the field that makes no sense.
pub(crate) fn update(update: &wire::StatusUpdate) -> Result<Update, ConvertError> {
    let latest = update.latest_state.map(|number| {
        mesos::TaskState::try_from(number)
            .map(TaskState::from)
            .map_err(|_| {
                ConvertError::bad_value("latest_state", number, "no state has this number")
            })
    });
    Ok(Update {
        framework: (&update.framework_id).try_into().within("framework_id")?,
        status: status::kept(&update.status).within("status")?,
        latest: latest.transpose()?,
        original: update.status.encode_to_vec().into(),
    })
}

fn agent_task(task: &wire::AgentTask) -> Result<AgentTask, ConvertError> {
    Ok(AgentTask {
        framework: (&task.framework_id).try_into().within("framework_id")?,
        spec: TaskSpec::try_from(&task.task_info).within("task_info")?,
        executor: task
            .executor_info
            .as_deref()
            .map(|info| ExecutorSpec::try_from(info).map(Arc::new))
            .transpose()
            .within("executor_info")?,
        role: role_of(&task.task_info),
        status: status::kept(&task.latest_status).within("latest_status")?,
    })
}

fn executor_exited(
    exited: &wire::ExecutorExited,
) -> Result<(FrameworkId, ExecutorId, i32), ConvertError> {
    let (framework, executor) = (&exited.framework_id, &exited.executor_id);
    Ok((
        framework.try_into().within("framework_id")?,
        executor.try_into().within("executor_id")?,
        exited.status,
    ))
}

fn agent_executor(
    named: &wire::AgentExecutor,
) -> Result<(FrameworkId, Arc<ExecutorSpec>), ConvertError> {
    let spec = executor::of_task(&named.executor_info).within("executor_info")?;
    Ok((
        (&named.framework_id).try_into().within("framework_id")?,
        Arc::new(spec),
    ))
}

/// News of an executor of a framework's own.
///
/// # Errors
/// Names the id that is none.
pub(crate) fn executor_news(
    agent: AgentId,
    link: LinkId,
    (framework, executor): (&mesos::FrameworkId, &mesos::ExecutorId),
    news: FromExecutor,
) -> Result<Input, ConvertError> {
    Ok(Input::OfExecutor(Box::new(ExecutorNews {
        agent,
        link,
        framework: framework.try_into().within("framework_id")?,
        executor: executor.try_into().within("executor_id")?,
        news,
    })))
}

/// On whose account a task's resources were handed out.
fn role_of(task: &mesos::TaskInfo) -> Option<Role> {
    let mut allocations = task
        .resources
        .iter()
        .filter_map(|one| one.allocation_info.as_ref());
    let role = allocations.find_map(|allocation| allocation.role.as_deref())?;
    Role::new(role).ok()
}

/// Why an agent is not let in.
pub(crate) fn refused(reason: String) -> wire::MasterMessage {
    let permanent = Some(false);
    wrap(Message::Refused(wire::Refused { reason, permanent }))
}

#[expect(
    clippy::too_many_lines,
    reason = "one flat match over all that an agent is told"
)]
pub(crate) fn to_wire(
    message: MessageToAgent,
    about: &About,
    last: &mut LastFramework,
) -> wire::MasterMessage {
    wrap(match message {
        MessageToAgent::Registered { agent } => registered(&agent, about),
        MessageToAgent::Refused { reason, permanent } => Message::Refused(wire::Refused {
            reason,
            permanent: Some(permanent),
        }),
        MessageToAgent::RunTask {
            framework,
            role,
            task,
        } => Message::RunTask(Box::new(run_task(last.told(framework), &role, &task))),
        MessageToAgent::RunGroup {
            framework,
            role,
            executor,
            tasks,
        } => Message::RunGroup(Box::new(run_group(
            last.told(framework),
            &role,
            &executor,
            &tasks,
        ))),
        MessageToAgent::KillTask {
            framework,
            task,
            grace_period,
        } => Message::KillTask(wire::KillTask {
            framework_id: (&framework).into(),
            task_id: (&task).into(),
            kill_policy: grace_period.map(task::kill_policy),
        }),
        MessageToAgent::Acknowledge {
            framework,
            task,
            uuid,
        } => Message::Acknowledge(wire::AcknowledgeUpdate {
            framework_id: (&framework).into(),
            task_id: (&task).into(),
            uuid: ids::uuid(uuid),
        }),
        MessageToAgent::ExecutorMessage {
            framework,
            executor,
            data,
        } => executor_message(&framework, &executor, data),
        MessageToAgent::ShutdownExecutor {
            framework,
            executor,
        } => shutdown_executor(&framework, &executor),
        MessageToAgent::ShutdownFramework { framework } => {
            let framework_id = (&framework).into();
            Message::ShutdownFramework(wire::ShutdownFramework { framework_id })
        }
        MessageToAgent::UpdateFramework { framework } => {
            let framework_info = last.told(framework);
            Message::UpdateFramework(wire::UpdateFramework { framework_info })
        }
        MessageToAgent::ResendUpdates { framework } => {
            let framework_id = (&framework).into();
            Message::ResendUpdates(wire::ResendUpdates { framework_id })
        }
        MessageToAgent::Shutdown { reason } => Message::Shutdown(wire::Shutdown {
            reason: Some(reason),
        }),
        MessageToAgent::EraseVolumes(volumes) => Message::EraseVolumes(wire::EraseVolumes {
            volumes: volumes.iter().map(Into::into).collect(),
        }),
        MessageToAgent::Standing { resources, drain } => standing(&resources, drain),
        MessageToAgent::Ping { sequence } => Message::Ping(wire::Ping { sequence }),
    })
}

fn registered(agent: &AgentId, about: &About) -> Message {
    Message::Registered(wire::Registered {
        hello: wire::Hello {
            protocol_version: PROTOCOL_VERSION,
            capabilities: Vec::new(),
            master_epoch: Some(about.settings.epoch),
        },
        agent_id: agent.into(),
        ping_interval_seconds: about.settings.ping_interval.as_secs_f64(),
        max_missed_pings: about.settings.max_missed_pings,
    })
}

fn standing(resources: &Resources, drain: Option<Drain>) -> Message {
    Message::Standing(wire::Standing {
        resources: resources::to_wire(resources),
        drain_config: drain.as_ref().map(draining::config),
        drain_began: drain.map(|drain| time_info(drain.since)),
    })
}

fn executor_message(framework: &FrameworkId, executor: &ExecutorId, data: Bytes) -> Message {
    Message::ExecutorMessage(wire::ExecutorMessage {
        framework_id: framework.into(),
        executor_id: executor.into(),
        data,
    })
}

fn shutdown_executor(framework: &FrameworkId, executor: &ExecutorId) -> Message {
    Message::ShutdownExecutor(wire::ShutdownExecutor {
        framework_id: framework.into(),
        executor_id: executor.into(),
    })
}

/// What a framework says of itself, made as a message once for all agents and tasks that it is told with, one after the other.
#[derive(Default)]
pub(crate) struct LastFramework(Option<(Arc<FrameworkInfo>, mesos::FrameworkInfo)>);

impl LastFramework {
    fn told(&mut self, framework: Arc<FrameworkInfo>) -> mesos::FrameworkInfo {
        match &self.0 {
            Some((last, told)) if Arc::ptr_eq(last, &framework) => told.clone(),
            Some(_) | None => {
                let told = mesos::FrameworkInfo::from(framework.as_ref());
                self.0 = Some((framework, told.clone()));
                told
            }
        }
    }
}

/// The task as its framework described it, with the role on whose account it runs in each resource.
fn run_task(framework_info: mesos::FrameworkInfo, role: &Role, task: &TaskSpec) -> wire::RunTask {
    let mut task_info = to_run(task);
    resources::allocate(&mut task_info.resources, role);
    wire::RunTask {
        framework_info,
        task_info,
    }
}

fn run_group(
    framework_info: mesos::FrameworkInfo,
    role: &Role,
    executor: &ExecutorSpec,
    tasks: &[Arc<TaskSpec>],
) -> wire::RunGroup {
    let tasks = tasks.iter().map(|task| {
        let mut info = to_run(task);
        resources::allocate(&mut info.resources, role);
        info
    });
    wire::RunGroup {
        framework_info,
        executor_info: executor.into(),
        task_group: mesos::TaskGroupInfo {
            tasks: tasks.collect(),
        },
    }
}

const fn wrap(message: Message) -> wire::MasterMessage {
    wire::MasterMessage {
        message: Some(message),
    }
}
