//! Tasks and frameworks as they came.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use mete_model::{
    Capability, CommandSpec, ExecutorId, ExecutorSpec, FetchUri, FrameworkId, FrameworkInfo,
    HealthCheck, Probe, Program, Question, Role, TaskCheck, TaskId, TaskSpec, WindowSize,
};
use serde::{Deserialize, Serialize};

use super::container::Container;
use super::executor;
use super::limits::Limits;
use super::quantities::Quantities;
use super::words::{Base64, agent};

/// What a task runs.
#[derive(Serialize, Deserialize)]
pub(super) struct Spec {
    name: String,
    agent: String,
    resources: Quantities,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    limits: Option<Limits>,
    command: Command,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    executor: Option<(String, executor::Spec)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    container: Option<Container>,
    health_check: Option<Health>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    check: Option<Check>,
    kill_grace_us: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    max_completion_us: Option<u64>,
    labels: Vec<(String, Option<String>)>,
    original: Base64,
}

pub(super) fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}

impl From<&TaskSpec> for Spec {
    fn from(spec: &TaskSpec) -> Self {
        Self {
            name: spec.name.clone(),
            agent: spec.agent.to_string(),
            resources: Quantities::from(&spec.resources),
            limits: Limits::of(&spec.limits),
            command: Command::from(&spec.command),
            executor: spec
                .executor
                .as_deref()
                .map(|executor| (executor.id.to_string(), executor.into())),
            container: spec.container.as_deref().map(Container::from),
            health_check: spec.health_check.as_ref().map(Health::from),
            check: spec.check.as_deref().map(Check::from),
            kill_grace_us: spec.kill_grace_period.map(micros),
            max_completion_us: spec.max_completion_time.map(micros),
            labels: spec.labels.clone(),
            original: Base64(spec.original.clone()),
        }
    }
}

impl Spec {
    pub(super) fn read(self, id: TaskId) -> Result<TaskSpec, String> {
        Ok(TaskSpec {
            id,
            name: self.name,
            agent: agent(&self.agent)?,
            resources: self.resources.read()?,
            // Seen to by the master.
            account: None,
            limits: self.limits.map(Limits::read).unwrap_or_default(),
            command: self.command.read(),
            executor: self.executor.map(executor_of).transpose()?,
            container: self
                .container
                .map(Container::read)
                .transpose()?
                .map(Box::new),
            health_check: self.health_check.map(Health::read),
            check: self.check.map(Check::read).map(Box::new),
            kill_grace_period: self.kill_grace_us.map(Duration::from_micros),
            max_completion_time: self.max_completion_us.map(Duration::from_micros),
            labels: self.labels,
            original: self.original.0,
        })
    }
}

fn executor_of((id, spec): (String, executor::Spec)) -> Result<Arc<ExecutorSpec>, String> {
    let id = ExecutorId::new(&id).map_err(|bad| bad.to_string())?;
    Ok(Arc::new(spec.read(id)?))
}

/// A command.
#[derive(Serialize, Deserialize)]
pub(super) struct Command {
    program: ProgramForm,
    environment: BTreeMap<String, String>,
    /// Names of variables that hold secrets; what they hold is written nowhere.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    secrets: Vec<String>,
    user: Option<String>,
    uris: Vec<Uri>,
    /// Rows and columns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    terminal: Option<[u16; 2]>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum ProgramForm {
    Shell(String),
    Exec { path: String, argv: Vec<String> },
    Image { arguments: Vec<String> },
}

#[derive(Serialize, Deserialize)]
struct Uri {
    value: String,
    extract: bool,
    executable: bool,
    cache: bool,
    output_file: Option<String>,
}

impl From<&CommandSpec> for Command {
    fn from(command: &CommandSpec) -> Self {
        Self {
            program: match &command.program {
                Program::Shell(line) => ProgramForm::Shell(line.clone()),
                Program::Exec { path, argv } => ProgramForm::Exec {
                    path: path.clone(),
                    argv: argv.clone(),
                },
                Program::Image { arguments } => ProgramForm::Image {
                    arguments: arguments.clone(),
                },
            },
            environment: command.environment.clone(),
            secrets: command.secrets.keys().cloned().collect(),
            user: command.user.clone(),
            uris: command.uris.iter().map(Uri::from).collect(),
            terminal: command.terminal.map(|size| [size.rows, size.columns]),
        }
    }
}

impl Command {
    pub(super) fn read(self) -> CommandSpec {
        CommandSpec {
            program: match self.program {
                ProgramForm::Shell(line) => Program::Shell(line),
                ProgramForm::Exec { path, argv } => Program::Exec { path, argv },
                ProgramForm::Image { arguments } => Program::Image { arguments },
            },
            environment: self.environment,
            secrets: self.secrets.into_iter().map(|name| (name, None)).collect(),
            user: self.user,
            uris: self.uris.into_iter().map(Uri::read).collect(),
            terminal: self
                .terminal
                .map(|[rows, columns]| WindowSize { rows, columns }),
        }
    }
}

impl From<&FetchUri> for Uri {
    fn from(uri: &FetchUri) -> Self {
        Self {
            value: uri.value.clone(),
            extract: uri.extract,
            executable: uri.executable,
            cache: uri.cache,
            output_file: uri.output_file.clone(),
        }
    }
}

impl Uri {
    fn read(self) -> FetchUri {
        FetchUri {
            value: self.value,
            extract: self.extract,
            executable: self.executable,
            cache: self.cache,
            output_file: self.output_file,
        }
    }
}

#[derive(Serialize, Deserialize)]
struct Health {
    probe: ProbeForm,
    delay_us: u64,
    interval_us: u64,
    timeout_us: u64,
    grace_us: u64,
    consecutive_failures: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum ProbeForm {
    Http {
        port: u16,
        path: String,
        statuses: Vec<u16>,
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        secure: bool,
    },
    Tcp {
        port: u16,
    },
    Grpc {
        port: u16,
        service: String,
    },
    Command(Command),
}

impl From<&HealthCheck> for Health {
    fn from(check: &HealthCheck) -> Self {
        Self {
            probe: match &check.probe {
                Probe::Http {
                    port,
                    path,
                    statuses,
                    secure,
                } => ProbeForm::Http {
                    port: *port,
                    path: path.clone(),
                    statuses: statuses.clone(),
                    secure: *secure,
                },
                Probe::Tcp { port } => ProbeForm::Tcp { port: *port },
                Probe::Grpc { port, service } => ProbeForm::Grpc {
                    port: *port,
                    service: service.clone(),
                },
                Probe::Command(command) => ProbeForm::Command(Command::from(command)),
            },
            delay_us: micros(check.delay),
            interval_us: micros(check.interval),
            timeout_us: micros(check.timeout),
            grace_us: micros(check.grace_period),
            consecutive_failures: check.consecutive_failures,
        }
    }
}

impl Health {
    fn read(self) -> HealthCheck {
        HealthCheck {
            probe: match self.probe {
                ProbeForm::Http {
                    port,
                    path,
                    statuses,
                    secure,
                } => Probe::Http {
                    port,
                    path,
                    statuses,
                    secure,
                },
                ProbeForm::Tcp { port } => Probe::Tcp { port },
                ProbeForm::Grpc { port, service } => Probe::Grpc { port, service },
                ProbeForm::Command(command) => Probe::Command(command.read()),
            },
            delay: Duration::from_micros(self.delay_us),
            interval: Duration::from_micros(self.interval_us),
            timeout: Duration::from_micros(self.timeout_us),
            grace_period: Duration::from_micros(self.grace_us),
            consecutive_failures: self.consecutive_failures,
        }
    }
}

#[derive(Serialize, Deserialize)]
struct Check {
    question: QuestionForm,
    delay_us: u64,
    interval_us: u64,
    timeout_us: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum QuestionForm {
    Command(Command),
    Http { port: u16, path: String },
    Tcp { port: u16 },
}

impl From<&TaskCheck> for Check {
    fn from(check: &TaskCheck) -> Self {
        Self {
            question: match &check.question {
                Question::Command(command) => QuestionForm::Command(Command::from(command)),
                Question::Http { port, path } => QuestionForm::Http {
                    port: *port,
                    path: path.clone(),
                },
                Question::Tcp { port } => QuestionForm::Tcp { port: *port },
            },
            delay_us: micros(check.delay),
            interval_us: micros(check.interval),
            timeout_us: micros(check.timeout),
        }
    }
}

impl Check {
    fn read(self) -> TaskCheck {
        TaskCheck {
            question: match self.question {
                QuestionForm::Command(command) => Question::Command(command.read()),
                QuestionForm::Http { port, path } => Question::Http { port, path },
                QuestionForm::Tcp { port } => Question::Tcp { port },
            },
            delay: Duration::from_micros(self.delay_us),
            interval: Duration::from_micros(self.interval_us),
            timeout: Duration::from_micros(self.timeout_us),
        }
    }
}

/// A framework with tasks here.
#[derive(Serialize, Deserialize)]
pub(in crate::record) struct Framework {
    id: Option<String>,
    name: String,
    user: String,
    roles: Vec<String>,
    capabilities: Vec<String>,
    failover_timeout_us: u64,
    principal: Option<String>,
    hostname: String,
    webui_url: Option<String>,
    original: Base64,
    #[serde(default)]
    leaving: bool,
}

impl Framework {
    pub(in crate::record) fn new(info: &FrameworkInfo, leaving: bool) -> Self {
        let capabilities = info.capabilities.iter();
        Self {
            id: info.id.as_ref().map(ToString::to_string),
            name: info.name.clone(),
            user: info.user.clone(),
            roles: info.roles.iter().map(ToString::to_string).collect(),
            capabilities: capabilities.map(|one| one.as_str().to_owned()).collect(),
            failover_timeout_us: micros(info.failover_timeout),
            principal: info.principal.clone(),
            hostname: info.hostname.clone(),
            webui_url: info.webui_url.clone(),
            original: Base64(info.original.clone()),
            leaving,
        }
    }

    pub(in crate::record) fn read(self) -> Result<(FrameworkInfo, bool), String> {
        let id = self.id.as_deref().map(FrameworkId::new).transpose();
        let roles = self
            .roles
            .iter()
            .map(|role| Role::new(role).map_err(|bad| bad.to_string()));
        let capabilities = self.capabilities.iter();
        let info = FrameworkInfo {
            id: id.map_err(|bad| bad.to_string())?,
            name: self.name,
            user: self.user,
            roles: roles.collect::<Result<_, _>>()?,
            // What a later version understands is in the original.
            capabilities: capabilities
                .filter_map(|name| Capability::from_name(name))
                .collect(),
            failover_timeout: Duration::from_micros(self.failover_timeout_us),
            principal: self.principal,
            hostname: self.hostname,
            webui_url: self.webui_url,
            original: self.original.0,
        };
        Ok((info, self.leaving))
    }
}
