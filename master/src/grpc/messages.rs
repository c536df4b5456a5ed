//! What agents say and hear: `mete.v1.AgentMessage` into words of the core, and those into `mete.v1.MasterMessage`.

use std::sync::Arc;

use bytes::Bytes;
use mete_master_core::{
    AgentTask, Drain, ExecutorNews, FromExecutor, Input, LinkId, MessageToAgent, Registration,
    TaskBrief, Update,
};
use mete_model::{
    AgentId, AgentInfo, ExecutorId, ExecutorSpec, FrameworkId, FrameworkInfo, Resources, Role,
    TaskId, TaskSpec, TaskState, UpdateId,
};
use mete_proto::convert::running::Running;
use mete_proto::convert::task::to_run;
use mete_proto::convert::{
    ConvertError, Within as _, executor, resources, status, task, time_info,
};
use mete_proto::json::number_of;
use mete_proto::mesos::v1 as mesos;
use mete_proto::mete::v1 as wire;
use mete_proto::{PROTOCOL_VERSION, encoded};
use prost::Message as _;
use wire::master_message::Message;

use crate::draining;
use crate::grpc::About;

/// Room for most acknowledgements.
const USUAL_ACKNOWLEDGEMENT_BYTES: usize = 128;
/// Room for what a task has besides its framework and its own message.
const USUAL_MORE_BYTES: usize = 128;

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
    let status = status::kept(&status::of_update(update)?);
    Ok(Update {
        framework: (&update.framework_id).try_into().within("framework_id")?,
        status: status.within("status")?,
        latest: latest.transpose()?,
        original: update.status.clone(),
    })
}

fn agent_task(task: &wire::AgentTask) -> Result<AgentTask, ConvertError> {
    let running = Running::of(&task.task_info).within("task_info")?;
    let group = task.executor_info.as_deref().map(ExecutorSpec::try_from);
    let executor = group.transpose().within("executor_info")?;
    Ok(AgentTask {
        framework: (&task.framework_id).try_into().within("framework_id")?,
        task: running.id,
        brief: TaskBrief {
            resources: running.resources,
            kill_grace_period: running.kill_grace_period,
            original: task.task_info.as_ref().into(),
        },
        executor: executor.or(running.executor).map(Arc::new),
        role: running.role,
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

/// Why an agent is not let in, encoded.
pub(crate) fn refused(reason: String) -> Bytes {
    let permanent = Some(false);
    whole(Message::Refused(wire::Refused { reason, permanent }))
}

fn acknowledge(framework: &FrameworkId, task: &TaskId, uuid: UpdateId) -> Bytes {
    const ACKNOWLEDGE: u32 = number_of::<wire::MasterMessage>("acknowledge");
    const fn of(field: &str) -> u32 {
        number_of::<wire::AcknowledgeUpdate>(field)
    }
    let mut out = Vec::with_capacity(USUAL_ACKNOWLEDGEMENT_BYTES);
    let from = encoded::open(&mut out, ACKNOWLEDGE);
    encoded::put_id(&mut out, const { of("framework_id") }, framework.as_str());
    encoded::put_id(&mut out, const { of("task_id") }, task.as_str());
    encoded::put_delimited(&mut out, const { of("uuid") }, &uuid.0);
    encoded::close(&mut out, from);
    out.into()
}

/// The task as its framework described it, with the role on whose account it runs in each resource.
fn run_task(framework: &[u8], role: &Role, task: &TaskSpec) -> Bytes {
    const RUN_TASK: u32 = number_of::<wire::MasterMessage>("run_task");
    const FRAMEWORK: u32 = number_of::<wire::RunTask>("framework_info");
    const TASK: u32 = number_of::<wire::RunTask>("task_info");
    let mut out = Vec::with_capacity(framework.len() + task.original.len() + USUAL_MORE_BYTES);
    let from = encoded::open(&mut out, RUN_TASK);
    encoded::put_delimited(&mut out, FRAMEWORK, framework);
    task::put_to_run(&mut out, TASK, task, role);
    encoded::close(&mut out, from);
    out.into()
}

#[expect(
    clippy::too_many_lines,
    reason = "one flat match over all that an agent is told"
)]
pub(crate) fn encode(message: MessageToAgent, about: &About, last: &mut LastFramework) -> Bytes {
    whole(match message {
        MessageToAgent::Registered { agent } => registered(&agent, about),
        MessageToAgent::Refused { reason, permanent } => Message::Refused(wire::Refused {
            reason,
            permanent: Some(permanent),
        }),
        MessageToAgent::RunTask {
            framework,
            role,
            task,
        } => return run_task(&last.told(framework).encoded, &role, &task),
        MessageToAgent::RunGroup {
            framework,
            role,
            executor,
            tasks,
        } => Message::RunGroup(Box::new(run_group(
            last.told(framework).info.clone(),
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
        } => return acknowledge(&framework, &task, uuid),
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
            let framework_info = last.told(framework).info.clone();
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
pub(crate) struct LastFramework(Option<Told>);

struct Told {
    of: Arc<FrameworkInfo>,
    info: mesos::FrameworkInfo,
    encoded: Vec<u8>,
}

impl LastFramework {
    fn told(&mut self, framework: Arc<FrameworkInfo>) -> &Told {
        let last = self.0.take();
        let last = last.filter(|last| Arc::ptr_eq(&last.of, &framework));
        self.0.insert(last.unwrap_or_else(|| {
            let info = mesos::FrameworkInfo::from(framework.as_ref());
            Told {
                encoded: info.encode_to_vec(),
                info,
                of: framework,
            }
        }))
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

fn whole(message: Message) -> Bytes {
    let message = wire::MasterMessage {
        message: Some(message),
    };
    message.encode_to_vec().into()
}
