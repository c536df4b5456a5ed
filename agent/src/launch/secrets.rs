//! The secrets that a task reads in files, brought to where it wants them: mounted in a container, else by links in its
//! sandbox.

use std::io;
use std::path::Path;

use mete_agent_core::LaunchStage;
use mete_model::ContainerSpec;
use mete_model::container::{MountSource, SecretValue};
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

/// The places of a task's secrets among its mounts, where it wants each, and what each holds.
fn wanted(spec: &ContainerSpec) -> Result<Vec<(usize, String, SecretValue)>, Failure> {
    let mut all = Vec::new();
    for (at, mount) in spec.mounts.iter().enumerate() {
        match &mount.source {
            MountSource::Secret(Some(value)) => {
                all.push((at, mount.target.clone(), value.clone()));
            }
            MountSource::Secret(None) => {
                let text = format!(
                    "what the secret at {} holds was lost with a restart of the agent",
                    mount.target
                );
                return Err(Failure::new(LaunchStage::Volumes, text));
            }
            MountSource::Host(_)
            | MountSource::Sandbox(_)
            | MountSource::Parent(_)
            | MountSource::Tmpfs { .. }
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
