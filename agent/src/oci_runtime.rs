//! The OCI runtime that builds containers in place of the shim, where the operator wants one.
//!
//! It is looked at once, when the agent starts: what is not there, cannot be executed or does not say who it is would
//! fail each task.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use mete_agent_core::task_dir::{Command, Runtime, RuntimeKind};
use tokio::time::timeout;

/// How long it may take to say who it is: it takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(10);

/// Most of what it says that is repeated in an error.
const MAX_SAID: usize = 200;

/// A runtime that has said who it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OciRuntime {
    kind: RuntimeKind,
    program: String,
    version: String,
}

/// Why a program cannot be the runtime.
#[derive(Debug, thiserror::Error)]
pub enum OciRuntimeError {
    /// It is not there, or cannot be executed.
    #[error("OCI runtime {path} cannot be executed")]
    Execute {
        /// Its path.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// It takes too long.
    #[error("OCI runtime {path} does not answer --version within {} s", PATIENCE.as_secs())]
    Slow {
        /// Its path.
        path: PathBuf,
    },
    /// It fails.
    #[error("OCI runtime {path} does not answer --version: {status}, {said:?}")]
    Failed {
        /// Its path.
        path: PathBuf,
        /// How it ended.
        status: std::process::ExitStatus,
        /// The beginning of what it said.
        said: String,
    },
    /// It is some other program.
    #[error(
        "OCI runtime {path} answers --version with {said:?}, which is neither that of crun nor of runc"
    )]
    Unknown {
        /// Its path.
        path: PathBuf,
        /// The beginning of what it said.
        said: String,
    },
}

impl OciRuntime {
    /// Asks the program at an absolute path who it is.
    ///
    /// # Errors
    /// [`OciRuntimeError`] names the path.
    pub async fn find(path: &Path) -> Result<Self, OciRuntimeError> {
        let mut program = tokio::process::Command::new(path);
        program
            .arg("--version")
            .env_clear()
            .stdin(Stdio::null())
            .current_dir("/")
            .kill_on_drop(true);
        let answer = timeout(PATIENCE, program.output()).await;
        let answer = answer.map_err(|_| OciRuntimeError::Slow {
            path: path.to_owned(),
        })?;
        let answer = answer.map_err(|source| OciRuntimeError::Execute {
            path: path.to_owned(),
            source,
        })?;
        let (stdout, stderr) = (text(&answer.stdout), text(&answer.stderr));
        if !answer.status.success() {
            return Err(OciRuntimeError::Failed {
                path: path.to_owned(),
                status: answer.status,
                said: if stderr.is_empty() { stdout } else { stderr },
            });
        }
        let known = path.to_str().zip(version(&stdout));
        match known {
            Some((program, (kind, version))) => Ok(Self {
                kind,
                program: program.to_owned(),
                version: version.to_owned(),
            }),
            None => Err(OciRuntimeError::Unknown {
                path: path.to_owned(),
                said: stdout,
            }),
        }
    }

    /// Its part of a container's plan.
    pub(crate) fn plan(&self, room: String) -> Runtime {
        Runtime {
            kind: self.kind,
            program: self.program.clone(),
            room,
        }
    }

    /// The name by which it calls itself: `crun`.
    pub const fn name(&self) -> &'static str {
        self.kind.as_str()
    }

    /// What it says of its version: `1.8.1`.
    pub fn version(&self) -> &str {
        &self.version
    }
}

/// The first line of an answer: `crun version 1.8.1`.
fn version(answer: &str) -> Option<(RuntimeKind, &str)> {
    let mut words = answer.lines().next()?.split_whitespace();
    let name = words.next()?;
    let kind = RuntimeKind::ALL
        .into_iter()
        .find(|kind| kind.as_str() == name)?;
    words.next().filter(|word| *word == "version")?;
    words.next().map(|version| (kind, version))
}

fn text(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    text.trim().chars().take(MAX_SAID).collect()
}

/// A first argument that is another name than the program's, for which a bundle has no place: the program, and that
/// argument.
pub(crate) fn other_name(command: &Command) -> Option<(&str, &str)> {
    let Command::Program { path, arguments } = command else {
        return None;
    };
    let last = |text: &str| text.rsplit('/').next().map(str::to_owned);
    let name = arguments.first()?;
    (last(name) != last(path)).then_some((path, name))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn runtimes_are_known_by_what_they_say() {
        let crun = "crun version 1.8.1\ncommit: f8a096b\n";
        let runc = "runc version 1.1.5+ds1\ncommit: 1.1.5\n";

        assert_eq!(version(crun), Some((RuntimeKind::Crun, "1.8.1")));
        assert_eq!(version(runc), Some((RuntimeKind::Runc, "1.1.5+ds1")));
        for other in ["", "crun", "crun 1.8.1", "runsc version release-1"] {
            assert_eq!(version(other), None, "{other}");
        }
    }

    #[test]
    fn a_program_is_found_under_its_own_name_only() {
        let program = |path: &str, arguments: &[&str]| Command::Program {
            path: path.into(),
            arguments: arguments.iter().map(|&word| word.into()).collect(),
        };

        for fine in [
            Command::Shell("true".into()),
            program("/bin/ls", &[]),
            program("/bin/ls", &["ls", "-l"]),
            program("ls", &["/bin/ls"]),
        ] {
            assert_eq!(other_name(&fine), None);
        }
        let login = program("/bin/sh", &["-sh"]);
        assert_eq!(other_name(&login), Some(("/bin/sh", "-sh")));
    }

    #[tokio::test]
    async fn a_program_that_is_no_runtime_is_named() {
        let dir = tempfile::tempdir().expect("a directory");
        let place = |name: &str| dir.path().join(name);
        let script = |name: &str, text: &str, mode| {
            fs::write(place(name), text).expect("is mine");
            fs::set_permissions(place(name), fs::Permissions::from_mode(mode)).expect("is mine");
        };
        script("closed", "#!/bin/sh\necho crun version 1\n", 0o644);
        script("bad", "#!/bin/sh\necho oh >&2\nexit 3\n", 0o755);
        script("other", "#!/bin/sh\necho other version 1\n", 0o755);

        for (name, words) in [
            ("missing", "cannot be executed: No such file or directory"),
            ("closed", "cannot be executed: Permission denied"),
            ("bad", "does not answer --version: exit status: 3, \"oh\""),
            ("other", "answers --version with \"other version 1\""),
        ] {
            let refused = OciRuntime::find(&place(name)).await.expect_err(name);
            let text = mete_daemon::chain(&refused);
            assert!(text.contains(words), "{text}");
            assert!(text.contains(place(name).to_str().expect("text")), "{text}");
        }
    }
}
