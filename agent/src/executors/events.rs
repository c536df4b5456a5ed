//! What executors hear: words of the core into `mesos.v1.executor.Event`.

use mete_agent_core::{CustomExecutor, ToExecutor};
use mete_model::FrameworkInfo;
use mete_proto::convert::{ids, task};
use mete_proto::mesos::v1 as wire;
use wire::executor::Event;
use wire::executor::event::{self, Type};

use crate::master_link::{Introduction, agent_info};

pub(super) fn to_wire(event: &ToExecutor, introduction: &Introduction) -> Event {
    match event {
        ToExecutor::Subscribed {
            executor,
            framework,
        } => Event {
            subscribed: Some(subscribed(executor, framework, introduction)),
            ..bare(Type::Subscribed)
        },
        ToExecutor::Launch(task) => Event {
            launch: Some(event::Launch {
                task: (&**task).into(),
            }),
            ..bare(Type::Launch)
        },
        ToExecutor::LaunchGroup(tasks) => Event {
            launch_group: Some(event::LaunchGroup {
                task_group: wire::TaskGroupInfo {
                    tasks: tasks.iter().map(|task| (&**task).into()).collect(),
                },
            }),
            ..bare(Type::LaunchGroup)
        },
        ToExecutor::Kill { task, grace } => Event {
            kill: Some(event::Kill {
                task_id: task.into(),
                kill_policy: grace.map(task::kill_policy),
            }),
            ..bare(Type::Kill)
        },
        ToExecutor::Acknowledged { task, update } => Event {
            acknowledged: Some(event::Acknowledged {
                task_id: task.into(),
                uuid: ids::uuid(*update),
            }),
            ..bare(Type::Acknowledged)
        },
        ToExecutor::Message(data) => Event {
            message: Some(event::Message { data: data.clone() }),
            ..bare(Type::Message)
        },
        ToExecutor::Shutdown => bare(Type::Shutdown),
    }
}

fn subscribed(
    executor: &CustomExecutor,
    framework: &FrameworkInfo,
    introduction: &Introduction,
) -> event::Subscribed {
    let mut executor_info = wire::ExecutorInfo::from(&*executor.spec);
    executor_info.framework_id = Some((&executor.key.framework).into());
    event::Subscribed {
        executor_info,
        framework_info: framework.into(),
        agent_info: agent_info(introduction, Some(&executor.agent)),
        container_id: Some((&executor.container).into()),
    }
}

/// A sign of life.
pub(crate) fn heartbeat() -> Event {
    bare(Type::Heartbeat)
}

/// An event without a part.
fn bare(kind: Type) -> Event {
    Event {
        r#type: Some(kind.into()),
        ..Event::default()
    }
}
