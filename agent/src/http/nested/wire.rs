//! The messages of `mesos.v1.agent`, as far as they are about commands inside tasks.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mete_agent_core::task_dir::session::{Request, Size};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::sessions::Said;

/// SIGKILL, which Mesos sends when no signal is named.
pub(super) const KILL: i32 = 9;

#[derive(Deserialize)]
pub(super) struct Call {
    #[serde(rename = "type")]
    pub(super) kind: Kind,
    pub(super) launch_nested_container_session: Option<Launch>,
    pub(super) launch_nested_container: Option<Launch>,
    pub(super) launch_container: Option<Launch>,
    pub(super) remove_nested_container: Option<Named>,
    pub(super) remove_container: Option<Named>,
    pub(super) attach_container_output: Option<Named>,
    pub(super) wait_nested_container: Option<Named>,
    pub(super) wait_container: Option<Named>,
    pub(super) kill_nested_container: Option<Named>,
    pub(super) kill_container: Option<Named>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) enum Kind {
    LaunchNestedContainerSession,
    LaunchNestedContainer,
    LaunchContainer,
    RemoveNestedContainer,
    RemoveContainer,
    AttachContainerInput,
    AttachContainerOutput,
    WaitNestedContainer,
    WaitContainer,
    KillNestedContainer,
    KillContainer,
}

#[derive(Deserialize)]
pub(super) struct Named {
    pub(super) container_id: ContainerId,
    pub(super) signal: Option<i32>,
}

#[derive(Clone, Deserialize)]
pub(super) struct ContainerId {
    pub(super) value: String,
    parent: Option<Box<ContainerId>>,
}

impl ContainerId {
    /// `<task's container>.<session>`, as Mesos writes nested ones.
    pub(super) fn name(&self) -> String {
        match &self.parent {
            Some(parent) => format!("{}.{}", parent.name(), self.value),
            None => self.value.clone(),
        }
    }

    /// The container of the task.
    pub(super) fn task(&self) -> Option<String> {
        self.parent.as_ref().map(|parent| parent.name())
    }
}

#[derive(Deserialize)]
pub(super) struct Launch {
    pub(super) container_id: ContainerId,
    command: Option<Command>,
    container: Option<Container>,
}

#[derive(Deserialize)]
struct Command {
    value: Option<String>,
    shell: Option<bool>,
    #[serde(default)]
    arguments: Vec<String>,
    environment: Option<Environment>,
}

#[derive(Deserialize)]
struct Environment {
    #[serde(default)]
    variables: Vec<Variable>,
}

#[derive(Deserialize)]
struct Variable {
    name: String,
    value: Option<String>,
}

#[derive(Deserialize)]
struct Container {
    tty_info: Option<TtyInfo>,
}

#[derive(Deserialize)]
struct TtyInfo {
    window_size: Option<WindowSize>,
}

#[derive(Clone, Copy, Deserialize)]
struct WindowSize {
    rows: u32,
    columns: u32,
}

impl TtyInfo {
    /// A terminal that does not say its size is a usual one.
    fn size(&self) -> Result<Size, String> {
        let asked = self.window_size.unwrap_or(WindowSize {
            rows: 24,
            columns: 80,
        });
        let side = |count: u32| u16::try_from(count).ok().filter(|count| *count > 0);
        let size = side(asked.rows).zip(side(asked.columns));
        size.map(|(rows, columns)| Size { rows, columns })
            .ok_or_else(|| {
                format!(
                    "window_size: {} rows of {} columns; both must be 1 to 65535",
                    asked.rows, asked.columns
                )
            })
    }
}

impl Launch {
    /// What is to be run.
    pub(super) fn request(&self) -> Result<Request, String> {
        let command = self.command.as_ref().ok_or("the call lacks command")?;
        let value = command
            .value
            .clone()
            .ok_or("the call lacks command.value")?;
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
        let terminal = self
            .container
            .as_ref()
            .and_then(|one| one.tty_info.as_ref());
        Ok(Request {
            command: words,
            environment,
            terminal: terminal.map(TtyInfo::size).transpose()?,
        })
    }
}

/// A record of input: a call of its own kind.
#[derive(Deserialize)]
pub(super) struct Input {
    attach_container_input: Option<AttachInput>,
}

#[derive(Deserialize)]
struct AttachInput {
    container_id: Option<ContainerId>,
    process_io: Option<ProcessIo>,
}

#[derive(Deserialize)]
struct ProcessIo {
    data: Option<Data>,
    control: Option<Control>,
}

#[derive(Deserialize)]
struct Data {
    #[serde(default)]
    data: String,
}

#[derive(Deserialize)]
struct Control {
    tty_info: Option<TtyInfo>,
}

impl Input {
    /// Whose input this is.
    pub(super) fn container(&self) -> Option<String> {
        let attach = self.attach_container_input.as_ref()?;
        attach.container_id.as_ref().map(ContainerId::name)
    }

    /// What is said: bytes, none of which is the end; another size; or nothing, as a sign of life.
    pub(super) fn said(&self) -> Result<Option<Said>, String> {
        let attach = self.attach_container_input.as_ref();
        let Some(io) = attach.and_then(|attach| attach.process_io.as_ref()) else {
            return Err("a record holds no process_io".to_owned());
        };
        if let Some(data) = &io.data {
            let bytes = STANDARD.decode(&data.data);
            let bytes = bytes.map_err(|error| format!("data is no base64: {error}"))?;
            return Ok(Some(match bytes.is_empty() {
                true => Said::StdinEnd,
                false => Said::Stdin(bytes.into()),
            }));
        }
        let terminal = io
            .control
            .as_ref()
            .and_then(|control| control.tty_info.as_ref());
        Ok(terminal.map(TtyInfo::size).transpose()?.map(Said::Resize))
    }
}

/// A record of output.
pub(super) fn data(stream: &str, bytes: &[u8]) -> Value {
    json!({ "type": "DATA", "data": { "type": stream, "data": STANDARD.encode(bytes) } })
}

/// A record that says nothing but that somebody is there.
pub(super) fn heartbeat(interval: Duration) -> Value {
    let nanoseconds = u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX);
    json!({
        "type": "CONTROL",
        "control": {
            "type": "HEARTBEAT",
            "heartbeat": { "interval": { "nanoseconds": nanoseconds } },
        },
    })
}
