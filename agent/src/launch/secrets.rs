//! The secrets of a task. Those that it reads in files are brought to where it wants them: mounted in a container, else by
//! links in its sandbox. Others are variables, or the login by which its image is pulled.

use std::io;
use std::path::Path;
use std::sync::Arc;

use mete_agent_core::LaunchStage;
use mete_model::ContainerSpec;
use mete_model::container::{Login, MountSource, SecretValue};
use tokio::task::spawn_blocking;

use super::inner::Inner;
use super::{Failure, Job, Launcher};
use crate::volumes;

/// Whether a container does no more than to show secrets below the sandbox, which links do as well.
pub(super) fn links_do(spec: &ContainerSpec) -> bool {
    let mut mounts = spec.mounts.iter();
    let plain = ContainerSpec {
        mounts: spec.mounts.clone(),
        ..ContainerSpec::default()
    };
    *spec == plain && mounts.all(|one| one.source.is_secret() && !one.target.starts_with('/'))
}

/// Has the variables that hold secrets among those of the command: from here on only the task sees them.
pub(super) fn tell_variables(mut job: Job) -> Result<Job, Failure> {
    if job.spec.command.secrets.is_empty() {
        return Ok(job);
    }
    let command = &mut Arc::make_mut(&mut job.spec).command;
    for (name, value) in std::mem::take(&mut command.secrets) {
        let value = value.ok_or_else(|| lost(&format!("of variable {name}")))?;
        let text = String::from_utf8_lossy(value.bytes()).into_owned();
        command.environment.insert(name, text);
    }
    Ok(job)
}

/// The login for the image of a container, when it is the task's own.
pub(super) fn login(spec: &ContainerSpec) -> Result<Option<SecretValue>, Failure> {
    match &spec.login {
        Login::Agents => Ok(None),
        Login::Own(Some(value)) => Ok(Some(value.clone())),
        Login::Own(None) => Err(lost("with which the image is pulled")),
    }
}

fn lost(which: &str) -> Failure {
    let text = format!("what the secret {which} holds was lost with a restart of the agent");
    Failure::new(LaunchStage::Volumes, text)
}

/// The places of a task's secrets among its mounts, where it wants each, and what each holds.
fn wanted(spec: &ContainerSpec) -> Result<Vec<(usize, String, SecretValue)>, Failure> {
    let mut all = Vec::new();
    for (at, mount) in spec.mounts.iter().enumerate() {
        match &mount.source {
            MountSource::Secret(Some(value)) => {
                all.push((at, mount.target.clone(), value.clone()));
            }
            MountSource::Secret(None) => {
                return Err(lost(&format!("at {}", mount.target)));
            }
            MountSource::Host(_)
            | MountSource::Sandbox(_)
            | MountSource::Parent(_)
            | MountSource::Tmpfs { .. }
            | MountSource::Named(_)
            | MountSource::Image(_) => {}
        }
    }
    Ok(all)
}

impl Launcher {
    /// Writes the secrets of a task, and leads it to them. The sandbox is there, and nothing of the task has run.
    pub(super) async fn bring_secrets(
        &self,
        job: &Job,
        sandbox: &Path,
        inner: &mut Inner,
    ) -> Result<(), Failure> {
        let wanted = job.spec.container.as_deref().map(wanted).transpose()?;
        let Some(wanted) = wanted.filter(|all| !all.is_empty()) else {
            return Ok(());
        };
        let (secrets, container) = (self.secrets.clone(), job.container.clone());
        let (sandbox, user) = (sandbox.to_owned(), inner.owner.clone());
        let in_container = inner.around.is_some() || inner.docker.is_some();
        let bring = move || {
            for (at, target, value) in wanted {
                let place = secrets.write(&container, at, &value, user.as_ref())?;
                if !in_container {
                    let what = format!("secret at {target}");
                    volumes::link_at(&what, &target, &place, &sandbox, user.as_ref())?;
                }
            }
            Ok(secrets.of(&container))
        };
        let brought = spawn_blocking(bring).await;
        let place = brought
            .map_err(|error| Failure::new(LaunchStage::Volumes, error))?
            .map_err(|error: io::Error| Failure::io(LaunchStage::Volumes, &error))?;
        if let Some(around) = &mut inner.around {
            around.secrets = Some(place);
        } else if let Some(wanted) = &mut inner.docker {
            wanted.secrets = Some(place);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use mete_model::container::Mount;

    use super::*;

    fn showing(target: &str) -> ContainerSpec {
        ContainerSpec {
            mounts: vec![Mount {
                target: target.to_owned(),
                source: MountSource::Secret(None),
                read_only: true,
            }],
            ..ContainerSpec::default()
        }
    }

    #[test]
    fn links_do_where_nothing_but_secrets_of_the_sandbox_is_wanted() {
        assert!(links_do(&showing("db/password")));
        assert!(!links_do(&showing("/etc/password")));
        let image = ContainerSpec {
            image: Some("busybox".to_owned()),
            ..showing("password")
        };
        assert!(!links_do(&image));
    }

    #[test]
    fn a_secret_that_is_not_told_is_no_empty_file() {
        let failure = wanted(&showing("password")).expect_err("not told");

        assert_eq!(
            failure.reason,
            "what the secret at password holds was lost with a restart of the agent"
        );
    }
}
