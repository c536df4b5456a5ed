//! What exec needs, made before the fork: paths to try, arguments, environment.

use std::collections::BTreeMap;
use std::ffi::CString;

use mete_agent_core::task_dir::{Command, StartStep};
use rustix::io::Errno;

use crate::process::NotStarted;
use crate::system::{self, CStringArray};

/// Where a program without a slash is looked for when the task's environment has no `PATH`.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What exec needs, as it needs it.
#[derive(Debug)]
pub(crate) struct Image {
    /// Paths to try, in order: one, or one per directory of `PATH`.
    candidates: Vec<CString>,
    pub(crate) argv: Vec<CString>,
    pub(crate) environment: Vec<CString>,
}

impl Image {
    /// Of `command` with this environment.
    pub(crate) fn of(
        command: &Command,
        environment: &BTreeMap<String, String>,
    ) -> Result<Self, NotStarted> {
        let path = program_of(command);
        let argv = match command {
            Command::Shell(text) => vec![text_bytes("sh")?, text_bytes("-c")?, text_bytes(text)?],
            Command::Program { arguments, .. } if arguments.is_empty() => vec![text_bytes(path)?],
            Command::Program { arguments, .. } => arguments
                .iter()
                .map(|word| text_bytes(word))
                .collect::<Result<_, _>>()?,
        };
        let search = environment.get("PATH").map_or(DEFAULT_PATH, String::as_str);
        let candidates = if path.contains('/') {
            vec![text_bytes(path)?]
        } else {
            let place = |directory: &str| match directory {
                "" => text_bytes(&format!("./{path}")),
                directory => text_bytes(&format!("{directory}/{path}")),
            };
            search.split(':').map(place).collect::<Result<_, _>>()?
        };
        let variable =
            |(name, value): (&String, &String)| match name.contains('=') || name.is_empty() {
                true => Err(unusable(&format!("environment variable name {name:?}"))),
                false => text_bytes(&format!("{name}={value}")),
            };
        let environment = environment.iter().map(variable).collect::<Result<_, _>>()?;
        Ok(Self {
            candidates,
            argv,
            environment,
        })
    }

    /// Becomes the program; returns the errno of the most telling failure.
    pub(crate) fn execute(&self, argv: &CStringArray<'_>, environment: &CStringArray<'_>) -> Errno {
        let mut telling = Errno::NOENT;
        for candidate in &self.candidates {
            match system::exec(candidate, argv, environment) {
                Errno::NOENT | Errno::NOTDIR => {}
                Errno::ACCESS => telling = Errno::ACCESS,
                other => return other,
            }
        }
        telling
    }
}

/// The executable of a command.
pub(crate) fn program_of(command: &Command) -> &str {
    match command {
        Command::Shell(_) => "/bin/sh",
        Command::Program { path, .. } => path,
    }
}

fn unusable(what: &str) -> NotStarted {
    NotStarted {
        step: StartStep::Exec,
        errno: None,
        reason: format!("{what} cannot be passed to a program"),
    }
}

/// A text for exec; one that holds a zero byte cannot be passed.
fn text_bytes(text: &str) -> Result<CString, NotStarted> {
    CString::new(text).map_err(|_| {
        unusable(&format!(
            "{:?}, which holds a zero byte,",
            text.chars().take(80).collect::<String>()
        ))
    })
}
