//! Tasks: one command each, run by the agent itself, or whatever the framework's own executor makes of them. What an executor
//! does for its tasks is its own business.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use mete_model::{
    CommandSpec, ContainerSpec, ExecutorSpec, HealthCheck, Resources, Role, TaskCheck, TaskLimits,
    TaskSpec,
};
use prost::Message as _;

use super::command::names_its_program;
use super::{
    ConvertError, Within as _, duration_info, duration_of, executor, refuse, resources, secret,
    task_limits, terminal,
};
use crate::encoded;
use crate::json::number_of;
use crate::mesos::v1 as wire;

impl TryFrom<&wire::TaskInfo> for TaskSpec {
    type Error = ConvertError;
    fn try_from(info: &wire::TaskInfo) -> Result<Self, ConvertError> {
        let decided = decided(info)?;
        Ok(Self {
            original: original(info),
            ..decided
        })
    }
}

/// All but the message as it came.
fn decided(info: &wire::TaskInfo) -> Result<TaskSpec, ConvertError> {
    match info.executor.as_deref() {
        Some(executor) => delegated(info, executor),
        None => run_by_its_agent(info),
    }
}

fn run_by_its_agent(info: &wire::TaskInfo) -> Result<TaskSpec, ConvertError> {
    let container = container(info.container.as_deref())?;
    let command = info
        .command
        .as_ref()
        .ok_or_else(|| ConvertError::missing("command"))?;
    let mut command = CommandSpec::try_from(command).within("command")?;
    command.terminal = terminal::read(info.container.as_deref()).within("container")?;
    if container.as_ref().is_none_or(|one| one.image.is_none()) {
        names_its_program(&command).within("command")?;
    }
    let health_check = info.health_check.as_deref().map(HealthCheck::try_from);
    let health_check = health_check.transpose();
    let check = info.check.as_deref().map(TaskCheck::try_from).transpose();
    let policy = info.kill_policy.as_ref().map_or(Ok(None), grace_period);
    Ok(TaskSpec {
        id: (&info.task_id).try_into().within("task_id")?,
        name: info.name.clone(),
        agent: (&info.agent_id).try_into().within("agent_id")?,
        resources: resources::from_wire(&info.resources)?,
        account: None,
        limits: task_limits::read(&info.limits)?,
        command,
        executor: None,
        original: Bytes::new(),
        container: container.map(Box::new),
        health_check: health_check.within("health_check")?,
        check: check.within("check")?.map(Box::new),
        kill_grace_period: policy.within("kill_policy")?,
        max_completion_time: max_completion_time(info)?,
        labels: labels(info.labels.as_ref()),
    })
}

/// A task as a framework launches it by itself: its command is that of an agent, or it has an executor.
///
/// # Errors
/// Names the field that makes no sense.
pub fn alone(info: &wire::TaskInfo) -> Result<TaskSpec, ConvertError> {
    if info.executor.is_some() && info.command.is_some() {
        let rule = "a task has a command or an executor, not both";
        return Err(ConvertError::bad_value("command", "a value", rule));
    }
    TaskSpec::try_from(info)
}

/// A task of a group that an executor of the framework's own is told to run: that of the group is its own.
pub(super) fn of_group(
    info: &wire::TaskInfo,
    executor: &wire::ExecutorInfo,
) -> Result<TaskSpec, ConvertError> {
    let mut info = info.clone();
    info.executor = Some(Box::new(executor.clone()));
    TaskSpec::try_from(&info)
}

/// A task that an executor of the framework's own is told to run. Command, container and checks that an agent would look
/// after are left to it.
fn delegated(
    info: &wire::TaskInfo,
    executor: &wire::ExecutorInfo,
) -> Result<TaskSpec, ConvertError> {
    let volumes = info.container.iter().flat_map(|one| &one.volumes);
    let mut sources = volumes.filter_map(|volume| volume.source.as_ref());
    refuse(
        sources.any(|source| source.secret.is_some()),
        "container.volumes",
        "secrets of tasks of executors are",
    )?;
    refuse(
        secret::is_told(info),
        "command or container",
        "secrets of tasks of executors are",
    )?;
    let policy = info.kill_policy.as_ref().map_or(Ok(None), grace_period);
    Ok(TaskSpec {
        id: (&info.task_id).try_into().within("task_id")?,
        name: info.name.clone(),
        agent: (&info.agent_id).try_into().within("agent_id")?,
        resources: resources::from_wire(&info.resources)?,
        account: None,
        limits: TaskLimits::default(),
        command: CommandSpec::shell(""),
        executor: Some(Arc::new(executor::of_task(executor).within("executor")?)),
        container: None,
        health_check: None,
        check: None,
        kill_grace_period: policy.within("kill_policy")?,
        // Its executor sees to it, which hears of it in the message.
        max_completion_time: None,
        labels: labels(info.labels.as_ref()),
        original: Bytes::new(),
    })
}

/// The message as it came, but for what its secrets hold: whoever has the message may show it.
fn original(info: &wire::TaskInfo) -> Bytes {
    if !secret::is_told(info) {
        return info.encode_to_vec().into();
    }
    let mut info = info.clone();
    secret::redact(&mut info);
    info.encode_to_vec().into()
}

/// The message with what its secrets hold: for nobody but the agent that runs the task. Of a task that came as a message
/// nothing can have changed meanwhile but what it takes, and the executor that is told to run it.
pub fn to_run(task: &TaskSpec) -> wire::TaskInfo {
    let mut info = match wire::TaskInfo::decode(task.original.clone()) {
        Ok(came) if !task.original.is_empty() => {
            came_to_run(came, &task.resources, task.executor.as_deref())
        }
        Ok(_) | Err(_) => task.into(),
    };
    if task.tells_secrets() {
        secret::tell(task, &mut info);
    }
    info
}

/// Appends what [`to_run`] makes as a field, on whose account it runs written into each resource. A task that came as a
/// message, as nearly all do, is not read but for its resources.
pub fn put_to_run(out: &mut Vec<u8>, number: u32, task: &TaskSpec, role: &Role) {
    let begin = out.len();
    let comes_as_it_is = task.executor.is_none() && !task.tells_secrets();
    if !comes_as_it_is || !put_as_it_came(out, number, task, role) {
        out.truncate(begin);
        let mut info = to_run(task);
        resources::allocate(&mut info.resources, role);
        encoded::put_message(out, number, &info);
    }
}

/// False when it cannot be read, or has not come as a message.
fn put_as_it_came(out: &mut Vec<u8>, number: u32, task: &TaskSpec, role: &Role) -> bool {
    const RESOURCES: u32 = number_of::<wire::TaskInfo>("resources");
    let came = encoded::delimited(&task.original).filter(|(number, _)| *number == RESOURCES);
    let came: Result<Vec<_>, _> = came.map(|(_, one)| wire::Resource::decode(one)).collect();
    let Ok(mut takes) = came else {
        return false;
    };
    if resources::from_wire(&takes).ok().as_ref() != Some(&task.resources) {
        takes = resources::to_wire(&task.resources);
    }
    resources::allocate(&mut takes, role);
    let from = encoded::open(out, number);
    let is_bad = encoded::put_others(out, &task.original, |number| number == RESOURCES);
    for one in &takes {
        encoded::put_message(out, RESOURCES, one);
    }
    encoded::close(out, from);
    !is_bad && !task.original.is_empty()
}

fn came_to_run(
    mut info: wire::TaskInfo,
    takes: &Resources,
    executor: Option<&ExecutorSpec>,
) -> wire::TaskInfo {
    if resources::from_wire(&info.resources).ok().as_ref() != Some(takes) {
        info.resources = resources::to_wire(takes);
    }
    if let Some(executor) = executor {
        // What its executor makes of a command is its own business, if the task came with both.
        info.command = info.command.filter(|_| info.executor.is_some());
        info.executor = Some(Box::new(executor.into()));
    }
    info
}

/// The message it came as, with what has changed since, and without what its secrets hold. An original that cannot be read
/// counts as none.
impl From<&TaskSpec> for wire::TaskInfo {
    fn from(task: &TaskSpec) -> Self {
        let mut info = Self::decode(task.original.clone()).unwrap_or_default();
        let came = decided(&info).ok();
        let came = came.as_ref();
        info.task_id = (&task.id).into();
        info.name.clone_from(&task.name);
        info.agent_id = (&task.agent).into();
        if came.map(|came| &came.resources) != Some(&task.resources) {
            info.resources = resources::to_wire(&task.resources);
        }
        if came.map(|came| &came.limits) != Some(&task.limits) {
            info.limits = task_limits::to_wire(&task.limits);
        }
        if came.map(|came| &came.executor) != Some(&task.executor) {
            info.executor = task
                .executor
                .as_deref()
                .map(|executor| Box::new(executor.into()));
        }
        if task.executor.is_some() {
            // What its executor makes of a command is its own business, if the task came with both.
            info.command = info
                .command
                .filter(|_| came.is_some_and(|came| came.executor.is_some()));
        } else {
            let mut command = task.command.clone();
            command.forget_secrets();
            if came.map(|came| &came.command) != Some(&command) {
                info.command = Some((&command).into());
            }
        }
        let mut container = task.container.clone();
        container.iter_mut().for_each(|one| one.forget_secrets());
        if came.map(|came| &came.container) != Some(&container) {
            info.container = container.map(|container| Box::new((&*container).into()));
        }
        if task.executor.is_none() {
            terminal::write(&mut info, task.command.terminal);
        }
        if came.map(|came| &came.health_check) != Some(&task.health_check) {
            info.health_check = task
                .health_check
                .as_ref()
                .map(|check| Box::new(check.into()));
        }
        if came.map(|came| &came.check) != Some(&task.check) {
            info.check = task.check.as_deref().map(|check| Box::new(check.into()));
        }
        if came.map(|came| came.kill_grace_period) != Some(task.kill_grace_period) {
            info.kill_policy = task.kill_grace_period.map(kill_policy);
        }
        if task.executor.is_none()
            && came.map(|came| came.max_completion_time) != Some(task.max_completion_time)
        {
            info.max_completion_time = task.max_completion_time.map(duration_info);
        }
        if came.map(|came| &came.labels) != Some(&task.labels) {
            info.labels = labels_to_wire(&task.labels);
        }
        info
    }
}

/// A container that asks for nothing is none.
fn container(info: Option<&wire::ContainerInfo>) -> Result<Option<ContainerSpec>, ConvertError> {
    let Some(info) = info else { return Ok(None) };
    let spec = ContainerSpec::try_from(info).within("container")?;
    Ok((spec != ContainerSpec::default()).then_some(spec))
}

/// How long a task may run; no time at all means for ever, as in Mesos.
fn max_completion_time(info: &wire::TaskInfo) -> Result<Option<Duration>, ConvertError> {
    let said = info
        .max_completion_time
        .map(|span| duration_of("max_completion_time", span))
        .transpose()?;
    Ok(said.filter(|span| !span.is_zero()))
}

/// From SIGTERM to SIGKILL; `None` when the policy does not say.
///
/// # Errors
/// When it is negative.
pub fn grace_period(policy: &wire::KillPolicy) -> Result<Option<Duration>, ConvertError> {
    policy
        .grace_period
        .map(|span| duration_of("grace_period", span))
        .transpose()
}

/// A policy with this time from SIGTERM to SIGKILL.
pub fn kill_policy(grace_period: Duration) -> wire::KillPolicy {
    wire::KillPolicy {
        grace_period: Some(duration_info(grace_period)),
    }
}

/// Labels in the order given.
pub fn labels(labels: Option<&wire::Labels>) -> Vec<(String, Option<String>)> {
    let labels = labels.map_or(&[][..], |labels| &labels.labels);
    labels
        .iter()
        .map(|label| (label.key.clone(), label.value.clone()))
        .collect()
}

/// Labels in the order given; `None` when there are none.
pub fn labels_to_wire(labels: &[(String, Option<String>)]) -> Option<wire::Labels> {
    let label = |(key, value): &(String, Option<String>)| wire::Label {
        key: key.clone(),
        value: value.clone(),
    };
    (!labels.is_empty()).then(|| wire::Labels {
        labels: labels.iter().map(label).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use mete_model::container::{MountSource, SecretValue};

    /// A task that sees a file of its sandbox, and a secret.
    fn seen(secret: MountSource) -> wire::TaskInfo {
        let mount = |target: &str, source| mete_model::container::Mount {
            target: target.to_owned(),
            source,
            read_only: true,
        };
        let container = ContainerSpec {
            mounts: vec![
                mount("kept", MountSource::Sandbox("kept".to_owned())),
                mount("password", secret),
            ],
            ..ContainerSpec::default()
        };
        wire::TaskInfo {
            name: "t".to_owned(),
            task_id: wire::TaskId {
                value: "t".to_owned(),
            },
            agent_id: wire::AgentId {
                value: "S0".to_owned(),
            },
            command: Some((&CommandSpec::shell("true")).into()),
            container: Some(Box::new((&container).into())),
            ..wire::TaskInfo::default()
        }
    }

    #[test]
    fn what_a_secret_holds_is_told_in_the_message_to_the_agent_alone() {
        let secret = SecretValue::new(*b"hunter2");
        let info = seen(MountSource::Secret(Some(secret)));
        let mut task = TaskSpec::try_from(&info).expect("good");

        assert!(task.tells_secrets());
        assert_eq!(to_run(&task), info);
        let told = wire::TaskInfo::from(&task);
        assert_eq!(told, seen(MountSource::Secret(None)));
        assert_eq!(task.original, told.encode_to_vec());
        assert!(!format!("{task:?}").contains("hunter2"));
        task.forget_secrets();
        assert_eq!(to_run(&task), told);
        assert_eq!(TaskSpec::try_from(&told), Ok(task));
    }

    /// A task with a variable that holds a secret, and a login for its image.
    fn with_variable_and_login(password: Option<SecretValue>) -> wire::TaskInfo {
        let container = ContainerSpec {
            image: Some("registry/app".to_owned()),
            login: mete_model::container::Login::Own(password.clone()),
            ..ContainerSpec::default()
        };
        let command = CommandSpec {
            environment: [("COLOUR".to_owned(), "red".to_owned())].into(),
            secrets: [("PASSWORD".to_owned(), password)].into(),
            ..CommandSpec::shell("true")
        };
        wire::TaskInfo {
            command: Some((&command).into()),
            container: Some(Box::new((&container).into())),
            ..seen(MountSource::Secret(None))
        }
    }

    #[test]
    fn secrets_in_variables_and_logins_are_told_to_the_agent_alone() {
        let info = with_variable_and_login(Some(SecretValue::new(*b"hunter2")));
        let mut task = TaskSpec::try_from(&info).expect("good");

        assert_eq!(task.command.environment.len(), 1);
        assert_eq!(to_run(&task), info);
        let told = wire::TaskInfo::from(&task);
        assert_eq!(told, with_variable_and_login(None));
        assert_eq!(task.original, told.encode_to_vec());
        assert!(!format!("{task:?}").contains("hunter2"));
        task.original = Bytes::new();
        assert_eq!(wire::TaskInfo::from(&task).command, told.command);
        task.forget_secrets();
        assert!(!task.tells_secrets());

        let mut twice = info.clone();
        let environment = twice
            .command
            .as_mut()
            .and_then(|one| one.environment.as_mut());
        let variables = environment.map(|all| &mut all.variables).expect("there");
        variables.push(wire::environment::Variable {
            name: "PASSWORD".to_owned(),
            value: Some("none".to_owned()),
            ..wire::environment::Variable::default()
        });
        let task = TaskSpec::try_from(&twice).expect("good");
        assert_eq!(task.command.environment["PASSWORD"], "none");
        assert!(!task.original.windows(7).any(|bytes| bytes == b"hunter2"));

        let mut binary = info;
        let environment = binary
            .command
            .as_mut()
            .and_then(|one| one.environment.as_mut());
        let variable = environment.and_then(|all| all.variables.last_mut());
        let secret = variable.and_then(|one| one.secret.as_mut()).expect("there");
        secret.value = Some(wire::secret::Value {
            data: vec![104, 255].into(),
        });
        let refused = TaskSpec::try_from(&binary)
            .expect_err("no text")
            .to_string();
        assert!(
            refused.contains("command.environment.variables[1].secret.value"),
            "{refused}"
        );
    }

    #[test]
    fn an_executor_of_a_frameworks_own_gets_no_secret() {
        let mut info = seen(MountSource::Secret(None));
        info.command = None;
        let mut executor = wire::ExecutorInfo {
            command: Some((&CommandSpec::shell("run")).into()),
            executor_id: wire::ExecutorId {
                value: "e".to_owned(),
            },
            ..wire::ExecutorInfo::default()
        };
        info.executor = Some(Box::new(executor.clone()));

        let of_task = TaskSpec::try_from(&info).map_err(|bad| bad.to_string());
        executor.container = info.container.take().map(|container| *container);
        info.executor = Some(Box::new(executor));
        let of_executor = TaskSpec::try_from(&info).map_err(|bad| bad.to_string());

        assert!(of_task.is_err_and(|why| why.contains("secrets of tasks of executors")));
        assert!(of_executor.is_err_and(|why| why.contains("secrets of executors")));
    }
}
