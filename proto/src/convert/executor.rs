//! Executors, and groups of tasks below one.

use std::borrow::Cow;

use mete_model::container::{Login, MountSource, Network};
use mete_model::{CommandSpec, ContainerSpec, ExecutorKind, ExecutorSpec, TaskGroup, TaskSpec};
use prost::Message as _;

use super::command::{names_its_program, without_secrets};
use super::{ConvertError, Within as _, duration_info, duration_of, refuse, resources, task};
use crate::mesos::v1 as wire;
use wire::executor_info::Type;

impl TryFrom<&wire::ExecutorInfo> for ExecutorSpec {
    type Error = ConvertError;
    fn try_from(info: &wire::ExecutorInfo) -> Result<Self, ConvertError> {
        let kind = match info.r#type() {
            Type::Default => ExecutorKind::Default,
            Type::Custom => ExecutorKind::Custom,
            Type::Unknown => return Err(ConvertError::missing("type")),
        };
        let command = match (kind, &info.command) {
            (ExecutorKind::Default, None) => None,
            (ExecutorKind::Default, Some(_)) => {
                let rule = "the agent's own executor has no command";
                return Err(ConvertError::bad_value("command", "a value", rule));
            }
            (ExecutorKind::Custom, None) => return Err(ConvertError::missing("command")),
            (ExecutorKind::Custom, Some(command)) => {
                let command = CommandSpec::try_from(command).within("command")?;
                without_secrets(&command, "secrets of executors are").within("command")?;
                Some(command)
            }
        };
        let terminal = info
            .container
            .as_ref()
            .and_then(|one| one.tty_info.as_ref());
        refuse(
            terminal.is_some(),
            "container.tty_info",
            "terminals of executors are",
        )?;
        let container = info.container.as_ref().map(ContainerSpec::try_from);
        let container = container.transpose().within("container")?;
        let mounts = container.iter().flat_map(|container| &container.mounts);
        let secret = mounts
            .map(|mount| &mount.source)
            .any(MountSource::is_secret);
        refuse(secret, "container.volumes", "secrets of executors are")?;
        let login = container.iter().any(|one| one.login != Login::Agents);
        refuse(login, "container.mesos.image", "logins of executors are")?;
        if kind == ExecutorKind::Default {
            let image = container.as_ref().is_some_and(|one| one.image.is_some());
            refuse(image, "container", "images of the agent's own executor are")?;
        }
        let grace = info
            .shutdown_grace_period
            .map(|span| duration_of("shutdown_grace_period", span));
        Ok(Self {
            id: (&info.executor_id).try_into().within("executor_id")?,
            kind,
            name: info.name().to_owned(),
            resources: resources::from_wire(&info.resources)?,
            command,
            container: container.map(Box::new),
            shutdown_grace_period: grace.transpose()?,
            original: info.encode_to_vec().into(),
        })
    }
}

/// The executor that a task brings along: a program of the framework's own, whether its type is given or not.
///
/// # Errors
/// Names the field that makes no sense.
pub fn of_task(info: &wire::ExecutorInfo) -> Result<ExecutorSpec, ConvertError> {
    let mut info = info.clone();
    match info.r#type() {
        Type::Default => {
            let rule = "the agent's own executor is for groups of tasks";
            return Err(ConvertError::bad_value("type", "DEFAULT", rule));
        }
        Type::Unknown => info.set_type(Type::Custom),
        Type::Custom => {}
    }
    let executor = ExecutorSpec::try_from(&info)?;
    if let Some(command) = &executor.command
        && executor
            .container
            .as_ref()
            .is_none_or(|one| one.image.is_none())
    {
        names_its_program(command).within("command")?;
    }
    Ok(executor)
}

/// The message it came as; made anew when there is none.
impl From<&ExecutorSpec> for wire::ExecutorInfo {
    fn from(executor: &ExecutorSpec) -> Self {
        let original = Self::decode(executor.original.clone()).ok();
        if let Some(info) = original
            && ExecutorSpec::try_from(&info).as_ref() == Ok(executor)
        {
            return info;
        }
        let mut info = Self {
            executor_id: (&executor.id).into(),
            name: (!executor.name.is_empty()).then(|| executor.name.clone()),
            resources: resources::to_wire(&executor.resources),
            command: executor.command.as_ref().map(Into::into),
            container: executor.container.as_deref().map(Into::into),
            shutdown_grace_period: executor.shutdown_grace_period.map(duration_info),
            ..Self::default()
        };
        info.set_type(match executor.kind {
            ExecutorKind::Default => Type::Default,
            ExecutorKind::Custom => Type::Custom,
        });
        info
    }
}

/// Tasks of a group have the network of their executor (Mesos' master refuses others, too).
fn network_of_group(task: TaskSpec) -> Result<TaskSpec, ConvertError> {
    match task.container.as_ref().map(|one| &one.network) {
        None | Some(Network::Host) => Ok(task),
        Some(Network::None | Network::Bridge { .. } | Network::Named { .. }) => {
            let rule = "tasks of a group have the network of their executor";
            Err(ConvertError::bad_value(
                "container.network_infos",
                "a value",
                rule,
            ))
        }
    }
}

/// A group as a framework sends it.
///
/// # Errors
/// Names the field that makes no sense.
pub fn group(
    executor: &wire::ExecutorInfo,
    tasks: &[wire::TaskInfo],
) -> Result<TaskGroup, ConvertError> {
    let spec = match executor.r#type() {
        Type::Custom => of_task(executor),
        Type::Default | Type::Unknown => ExecutorSpec::try_from(executor),
    };
    let spec = spec.within("executor")?;
    let tasks = tasks.iter().enumerate().map(|(at, info)| {
        let task = has_no_other(info, executor).and_then(|()| match spec.kind {
            ExecutorKind::Custom => task::of_group(info, executor),
            ExecutorKind::Default => of_default(info),
        });
        task.within(format_args!("task_group.tasks[{at}]"))
    });
    Ok(TaskGroup {
        tasks: tasks.collect::<Result<_, _>>()?,
        executor: spec,
    })
}

/// A task of a group need not name an executor; if it does, it is that of the group (the rule of Mesos).
fn has_no_other(info: &wire::TaskInfo, executor: &wire::ExecutorInfo) -> Result<(), ConvertError> {
    match &info.executor {
        Some(other) if **other != *executor => {
            let rule = "tasks of a group have the executor of their group";
            let other = &other.executor_id.value;
            Err(ConvertError::bad_value("executor", other, rule))
        }
        Some(_) | None => Ok(()),
    }
}

/// A task that the agent's own executor runs.
fn of_default(info: &wire::TaskInfo) -> Result<TaskSpec, ConvertError> {
    let docker = info.container.as_ref();
    let docker = docker.is_some_and(|one| one.r#type() == wire::container_info::Type::Docker);
    refuse(
        docker,
        "container.type",
        "containers of type DOCKER in groups are",
    )?;
    let mut info = Cow::Borrowed(info);
    if info.executor.is_some() {
        info.to_mut().executor = None; // With one it would be a task for a program of the framework's own.
    }
    network_of_group(TaskSpec::try_from(&*info)?)
}
