//! From and to the words of the core.

use std::sync::Arc;
use std::time::Duration;

use mete_agent_core::{
    Drain, Executor, ExecutorKey, Order, Outgoing, Registration, Report, Standing, Task,
};
use mete_model::{AgentId, FrameworkId, FrameworkInfo, TaskKey, TaskSpec};
use mete_proto::convert::agent::domain_info;
use mete_proto::convert::ids::update_id;
use mete_proto::convert::task::grace_period;
use mete_proto::convert::{
    ConvertError, Within as _, attributes, duration_of, executor, moment_of, resources,
};
use mete_proto::mesos::v1 as mesos;
use mete_proto::mete::v1 as wire;
use mete_proto::mete::v1::{agent_message, master_message};
use prost::Message as _;

use super::Introduction;

/// What the master said.
#[derive(Debug, PartialEq)]
pub(super) enum Heard {
    /// Answered here, without troubling the core.
    Ping(u64),
    /// The agent is in; and so long the master may be silent.
    Registered { order: Order, silence: Duration },
    /// For the core.
    Order(Order),
    /// A message of a later protocol.
    Nothing,
}

pub(super) fn from_wire(message: wire::MasterMessage) -> Result<Heard, ConvertError> {
    use master_message::Message;
    let order = match message.message {
        None => return Ok(Heard::Nothing),
        Some(Message::Ping(ping)) => return Ok(Heard::Ping(ping.sequence)),
        Some(Message::Registered(registered)) => return admitted(&registered),
        Some(Message::Refused(refused)) => Order::Refused {
            permanent: refused.permanent(),
            reason: refused.reason,
        },
        Some(Message::RunTask(run)) => run_task(&run)?,
        Some(Message::RunGroup(run)) => run_group(&run)?,
        Some(Message::KillTask(kill)) => Order::Kill {
            key: key(&kill.framework_id, &kill.task_id)?,
            grace: kill.kill_policy.as_ref().map_or(Ok(None), grace_period)?,
        },
        Some(Message::Acknowledge(acknowledge)) => Order::Acknowledge {
            key: key(&acknowledge.framework_id, &acknowledge.task_id)?,
            update: update_id("uuid", &acknowledge.uuid)?,
        },
        Some(Message::ShutdownFramework(shutdown)) => {
            Order::ShutdownFramework((&shutdown.framework_id).try_into()?)
        }
        Some(Message::UpdateFramework(update)) => {
            let info = FrameworkInfo::try_from(&update.framework_info);
            Order::UpdateFramework(Box::new(info.within("framework_info")?))
        }
        Some(Message::Standing(said)) => Order::Standing(Arc::new(standing(&said)?)),
        Some(Message::ResendUpdates(resend)) => {
            Order::ResendUpdates((&resend.framework_id).try_into()?)
        }
        Some(Message::ExecutorMessage(message)) => Order::MessageExecutor {
            executor: executor_key(&message.framework_id, &message.executor_id)?,
            data: message.data,
        },
        Some(Message::ShutdownExecutor(shutdown)) => {
            Order::ShutdownExecutor(executor_key(&shutdown.framework_id, &shutdown.executor_id)?)
        }
        Some(Message::EraseVolumes(erase)) => {
            let volumes = erase.volumes.iter().map(TryInto::try_into);
            Order::EraseVolumes(volumes.collect::<Result<_, _>>()?)
        }
        Some(Message::Shutdown(shutdown)) => Order::Shutdown {
            reason: shutdown.reason().to_owned(),
        },
    };
    Ok(Heard::Order(order))
}

fn admitted(registered: &wire::Registered) -> Result<Heard, ConvertError> {
    let order = Order::Registered {
        epoch: registered.hello.master_epoch(),
        agent: (&registered.agent_id).try_into()?,
    };
    let interval =
        mete_proto::convert::duration("ping_interval_seconds", registered.ping_interval_seconds)?;
    Ok(Heard::Registered {
        order,
        silence: interval.saturating_mul(registered.max_missed_pings),
    })
}

fn standing(said: &wire::Standing) -> Result<Standing, ConvertError> {
    let drain = |since| -> Result<Drain, ConvertError> {
        let config = said.drain_config.unwrap_or_default();
        let longest = config.max_grace_period;
        let longest = longest.map(|span| duration_of("drain_config.max_grace_period", span));
        Ok(Drain {
            since: moment_of("drain_began", since)?,
            max_grace: longest.transpose()?,
            mark_gone: config.mark_gone(),
        })
    };
    Ok(Standing {
        resources: resources::from_wire(&said.resources)?,
        drain: said.drain_began.map(drain).transpose()?,
    })
}

/// A task whose description makes no sense is still a task: it is answered, so that nobody waits for it.
fn run_task(run: &wire::RunTask) -> Result<Order, ConvertError> {
    let described = FrameworkInfo::try_from(&run.framework_info)
        .and_then(|framework| Ok((framework, TaskSpec::try_from(&run.task_info)?)));
    match described {
        Ok((framework, task)) => Ok(Order::Run {
            framework,
            task: Box::new(task),
        }),
        Err(bad) => {
            let framework = run.framework_info.id.as_ref();
            let framework = framework.ok_or_else(|| ConvertError::missing("framework_info.id"))?;
            let executor = run.task_info.executor.as_ref();
            let executor = executor.map(|info| executor_key(framework, &info.executor_id));
            Ok(Order::Unrunnable {
                key: key(framework, &run.task_info.task_id)?,
                executor: executor.transpose()?,
                reason: bad.to_string(),
            })
        }
    }
}

/// The same for a group, of which one part that makes no sense makes none.
fn run_group(run: &wire::RunGroup) -> Result<Order, ConvertError> {
    let tasks = &run.task_group.tasks;
    let described = FrameworkInfo::try_from(&run.framework_info)
        .and_then(|framework| Ok((framework, executor::group(&run.executor_info, tasks)?)));
    match described {
        Ok((framework, group)) => Ok(Order::RunGroup {
            framework,
            group: Box::new(group),
        }),
        Err(bad) => {
            let framework = run.framework_info.id.as_ref();
            let framework = framework.ok_or_else(|| ConvertError::missing("framework_info.id"))?;
            let keys = tasks.iter().map(|info| key(framework, &info.task_id));
            let executor = &run.executor_info;
            let is_its_own = executor.r#type() == mesos::executor_info::Type::Custom;
            let executor = is_its_own.then(|| executor_key(framework, &executor.executor_id));
            Ok(Order::UnrunnableGroup {
                keys: keys.collect::<Result<_, _>>()?,
                executor: executor.transpose()?,
                reason: bad.to_string(),
            })
        }
    }
}

fn key(framework: &mesos::FrameworkId, task: &mesos::TaskId) -> Result<TaskKey, ConvertError> {
    Ok(TaskKey {
        framework: framework.try_into()?,
        task: task.try_into()?,
    })
}

fn executor_key(
    framework: &mesos::FrameworkId,
    executor: &mesos::ExecutorId,
) -> Result<ExecutorKey, ConvertError> {
    Ok(ExecutorKey {
        framework: framework.try_into()?,
        executor: executor.try_into()?,
    })
}

pub(super) fn to_wire(message: &Outgoing, introduction: &Introduction) -> wire::AgentMessage {
    let message = match message {
        Outgoing::Register(registration) => {
            agent_message::Message::Register(Box::new(register(registration, introduction)))
        }
        Outgoing::Update(report) => agent_message::Message::Update(update(report)),
        Outgoing::ExecutorMessage { executor, data } => {
            agent_message::Message::ExecutorMessage(wire::ExecutorMessage {
                framework_id: framework_id(&executor.framework),
                executor_id: (&executor.executor).into(),
                data: data.clone(),
            })
        }
        Outgoing::ExecutorExited { executor, status } => {
            agent_message::Message::ExecutorExited(executor_exited(executor, *status))
        }
        Outgoing::VolumeErased { volume, failure } => {
            agent_message::Message::VolumeErased(wire::VolumeErased {
                volume: volume.into(),
                failure: failure.clone(),
            })
        }
    };
    wire::AgentMessage {
        message: Some(message),
    }
}

pub(super) const fn pong(sequence: u64) -> wire::AgentMessage {
    wire::AgentMessage {
        message: Some(agent_message::Message::Pong(wire::Pong { sequence })),
    }
}

/// The agent as masters and executors know it.
pub(crate) fn agent_info(introduction: &Introduction, id: Option<&AgentId>) -> mesos::AgentInfo {
    let Introduction {
        endpoint,
        resources: all,
        attributes: said,
        domain,
    } = introduction;
    mesos::AgentInfo {
        hostname: endpoint.hostname.clone(),
        ip: Some(endpoint.ip.clone()),
        port: Some(endpoint.port.into()),
        resources: resources::to_wire(all),
        attributes: attributes::to_wire(&said.borrow()),
        domain: domain.as_ref().map(domain_info),
        id: id.map(Into::into),
    }
}

fn register(registration: &Registration, introduction: &Introduction) -> wire::Register {
    let info = agent_info(introduction, registration.agent.as_ref());
    wire::Register {
        hello: wire::Hello {
            protocol_version: mete_proto::PROTOCOL_VERSION,
            capabilities: Vec::new(),
            master_epoch: Some(registration.epoch),
        },
        agent_info: info,
        boot_id: Some(registration.boot_id.clone()),
        version: Some(env!("CARGO_PKG_VERSION").to_owned()),
        tasks: registration
            .tasks
            .iter()
            .map(|task| agent_task(task, &registration.executors))
            .collect(),
        frameworks: registration
            .frameworks
            .iter()
            .map(|framework| (&**framework).into())
            .collect(),
        unacknowledged: registration.unacknowledged.iter().map(update).collect(),
        executors: registration
            .custom_executors
            .iter()
            .map(|executor| wire::AgentExecutor {
                framework_id: framework_id(&executor.key.framework),
                executor_info: (&*executor.spec).into(),
            })
            .collect(),
        exited: registration
            .exited
            .iter()
            .map(|(executor, status)| executor_exited(executor, *status))
            .collect(),
    }
}

fn executor_exited(executor: &ExecutorKey, status: i32) -> wire::ExecutorExited {
    wire::ExecutorExited {
        framework_id: framework_id(&executor.framework),
        executor_id: (&executor.executor).into(),
        status,
    }
}

fn agent_task(task: &Task, executors: &[Arc<Executor>]) -> wire::AgentTask {
    let is_its = |executor: &&Arc<Executor>| {
        executor.key.framework == task.key.framework
            && Some(&executor.key.executor) == task.executor.as_ref()
    };
    let executor = executors.iter().find(is_its);
    wire::AgentTask {
        framework_id: framework_id(&task.key.framework),
        task_info: mesos::TaskInfo::from(&*task.spec).encode_to_vec().into(),
        latest_status: (&task.latest).into(),
        executor_info: executor.map(|executor| Box::new((&*executor.spec).into())),
    }
}

fn update(report: &Report) -> wire::StatusUpdate {
    wire::StatusUpdate {
        framework_id: framework_id(&report.framework),
        status: mesos::TaskStatus::from(&report.status)
            .encode_to_vec()
            .into(),
        latest_state: report
            .latest
            .map(|state| mesos::TaskState::from(state).into()),
    }
}

fn framework_id(id: &FrameworkId) -> mesos::FrameworkId {
    id.into()
}
