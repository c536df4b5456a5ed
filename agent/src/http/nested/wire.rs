//! The messages of `mesos.v1.agent` about commands inside tasks, in words of sessions.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use mete_agent_core::task_dir::session::Request;
use mete_model::WindowSize;
use mete_proto::mesos::v1 as wire;
use wire::agent::process_io::{Control, Data, control, data};
use wire::agent::{ProcessIo, call, process_io};

use crate::sessions::Said;

/// SIGKILL, which Mesos sends when no signal is named.
pub(super) const KILL: i32 = 9;

/// The largest part of a container's id that callers choose; Mesos makes a directory of it.
const MAX_ID_BYTES: usize = 255;

/// What a container is called, and the one that it is in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Named {
    /// `<task's container>.<session>`, as Mesos writes nested ones; `<task's container>.<session>.<another in it>`.
    pub(super) name: String,
    /// The container of the task, or of the session, by its name.
    pub(super) parent: Option<String>,
}

impl Named {
    /// Reads the id of a container.
    ///
    /// # Errors
    /// In words, for an id that cannot be that of a directory.
    pub(super) fn of(id: &wire::ContainerId) -> Result<Self, String> {
        let value = id.value.as_str();
        let is_odd = |byte: char| byte == '/' || byte == '.' || byte.is_control() || byte == ' ';
        if value.is_empty() || value.len() > MAX_ID_BYTES || value.contains(is_odd) {
            let shown: String = value.chars().take(MAX_ID_BYTES).collect();
            return Err(format!(
                "container_id.value {shown:?} is not possible: it has 1 to {MAX_ID_BYTES} bytes, and no slash, full stop, \
                 space or control character"
            ));
        }
        let parent = id.parent.as_deref().map(Self::of).transpose()?;
        let parent = parent.map(|parent| parent.name);
        let name = match &parent {
            Some(parent) => format!("{parent}.{value}"),
            None => value.to_owned(),
        };
        Ok(Self { name, parent })
    }
}

/// The same without the executor around a task of a group, if it is named: what is called begins with the task's container.
pub(super) fn below(id: &wire::ContainerId, executors: &BTreeSet<&str>) -> wire::ContainerId {
    let parent = id.parent.as_deref();
    let parent = parent.filter(|one| one.parent.is_some() || !executors.contains(&*one.value));
    wire::ContainerId {
        value: id.value.clone(),
        parent: parent.map(|parent| Box::new(below(parent, executors))),
    }
}

/// What is to be started, whichever call says it.
pub(super) struct Launch<'a> {
    pub(super) id: &'a wire::ContainerId,
    command: Option<&'a wire::CommandInfo>,
    container: Option<&'a wire::ContainerInfo>,
}

macro_rules! launches {
    ($($call:ident)*) => { $(
        impl<'a> From<&'a call::$call> for Launch<'a> {
            fn from(call: &'a call::$call) -> Self {
                Self {
                    id: &call.container_id,
                    command: call.command.as_ref(),
                    container: call.container.as_ref(),
                }
            }
        }
    )* };
}

launches! { LaunchNestedContainer LaunchNestedContainerSession LaunchContainer }

impl Launch<'_> {
    /// Whom it is to run as; `None`: the user of the task.
    pub(super) fn user(&self) -> Option<&str> {
        self.command?.user.as_deref()
    }

    /// What is to be run.
    ///
    /// # Errors
    /// In words, for what is missing or makes no sense.
    pub(super) fn request(&self) -> Result<Request, String> {
        let command = self.command.ok_or("the call lacks command")?;
        let value = command.value.clone();
        let value = value.ok_or("the call lacks command.value")?;
        let words = match command.shell.unwrap_or(true) {
            true => vec!["/bin/sh".to_owned(), "-c".to_owned(), value],
            // The first of the arguments is what the program is told it is called.
            false => std::iter::once(value)
                .chain(command.arguments.iter().skip(1).cloned())
                .collect(),
        };
        let variables = command.environment.iter().flat_map(|all| &all.variables);
        let environment: BTreeMap<String, String> = variables
            .map(|one| (one.name.clone(), one.value.clone().unwrap_or_default()))
            .collect();
        let terminal = self.container.and_then(|one| one.tty_info.as_ref());
        Ok(Request {
            command: words,
            environment,
            terminal: terminal
                .map(size)
                .transpose()?
                .map(|said| said.or_usual().into()),
            user: None,
        })
    }
}

fn size(terminal: &wire::TtyInfo) -> Result<WindowSize, String> {
    let size = mete_proto::convert::terminal::size(terminal);
    size.map_err(|error| error.to_string())
}

/// What a record of input says: bytes, none of which is the end; another size; or nothing, as a sign of life.
///
/// # Errors
/// In words, for what makes no sense.
pub(super) fn said(input: &call::AttachContainerInput) -> Result<Option<Said>, String> {
    let Some(io) = &input.process_io else {
        return Err("a record holds no process_io".to_owned());
    };
    if let Some(data) = &io.data {
        let bytes = data.data.clone().unwrap_or_default();
        return Ok(Some(match bytes.is_empty() {
            true => Said::StdinEnd,
            false => Said::Stdin(bytes),
        }));
    }
    let terminal = io.control.as_ref();
    let terminal = terminal.and_then(|control| control.tty_info.as_ref());
    let size = terminal.map(size).transpose()?;
    Ok(size.map(|size| Said::Resize(size.into())))
}

/// A record of output.
pub(super) fn data(stream: data::Type, bytes: bytes::Bytes) -> ProcessIo {
    ProcessIo {
        r#type: Some(process_io::Type::Data.into()),
        data: Some(Data {
            r#type: Some(stream.into()),
            data: Some(bytes),
        }),
        control: None,
    }
}

/// A record that says nothing but that somebody is there.
pub(super) fn heartbeat(interval: Duration) -> ProcessIo {
    let nanoseconds = i64::try_from(interval.as_nanos()).unwrap_or(i64::MAX);
    let interval = Some(wire::DurationInfo { nanoseconds });
    ProcessIo {
        r#type: Some(process_io::Type::Control.into()),
        data: None,
        control: Some(Control {
            r#type: Some(control::Type::Heartbeat.into()),
            heartbeat: Some(control::Heartbeat { interval }),
            tty_info: None,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The id that has this name.
    fn id_of(name: &str) -> wire::ContainerId {
        let (parent, value) = match name.rsplit_once('.') {
            Some((parent, value)) => (Some(Box::new(id_of(parent))), value),
            None => (None, name),
        };
        wire::ContainerId {
            value: value.to_owned(),
            parent,
        }
    }

    #[test]
    fn a_task_of_a_group_is_named_with_its_executor_or_without() {
        let executors = ["executor"].into();
        for (said, meant) in [
            ("task", "task"),
            ("executor.task", "task"),
            ("executor.task.n1", "task.n1"),
            ("task.executor", "task.executor"),
            ("executor", "executor"),
        ] {
            let below = below(&id_of(said), &executors);
            assert_eq!(Named::of(&below).unwrap().name, meant);
        }
    }

    #[test]
    fn ids_of_containers_are_those_of_directories() {
        let nested = id_of("task.one");
        let read = Named::of(&nested).expect("good");
        assert_eq!(read.name, "task.one");
        assert_eq!(read.parent.as_deref(), Some("task"));

        let long = "x".repeat(300);
        for bad in ["", ".", "..", "a/b", "../../tmp", "a b", "x\0y", &long] {
            let id = wire::ContainerId {
                value: bad.to_owned(),
                parent: Some(Box::new(id_of("task"))),
            };
            assert!(Named::of(&id).is_err(), "{bad:?}");
            let id = wire::ContainerId {
                value: "x".to_owned(),
                parent: Some(Box::new(id)),
            };
            assert!(Named::of(&id).is_err(), "{bad:?} as parent");
        }
    }
}
