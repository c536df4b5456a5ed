//! What runs of a task on a Docker Engine. The engine knows the image, so less is settled here: what the image says of
//! program, environment and directory holds where the task says nothing.

use std::path::Path;
use std::sync::Arc;

use mete_agent_core::LaunchStage;
use mete_agent_core::task_dir::{SANDBOX_INSIDE, User};
use mete_model::ContainerSpec;
use tokio::task::spawn_blocking;

use super::inner::{Inner, devices};
use super::{Failure, Job, Launcher, environment};
use crate::containerizer::image::Tell;
use crate::containerizer::{permissions, users};
use crate::docker::{Setup, Wanted};

impl Launcher {
    /// Has the engine bring the image.
    pub(super) async fn on_engine(
        &self,
        job: &Job,
        spec: &ContainerSpec,
        setup: &Arc<Setup>,
        tell: &Tell,
    ) -> Result<Inner, Failure> {
        permissions::check(spec, &setup.permissions)
            .map_err(|error| Failure::new(LaunchStage::Start, error))?;
        if let Some(reference) = &spec.image {
            let login = self.fetched_login(job, spec).await?;
            let pulled = setup.pull(reference, spec.pull, login, tell).await;
            pulled.map_err(|why| Failure::new(LaunchStage::Fetch, why))?;
        }
        let command = &job.spec.command;
        let mut environment = environment::of_agent(
            job,
            Path::new(SANDBOX_INSIDE),
            &self.endpoint,
            self.executor_tokens.as_ref(),
        );
        environment.extend(command.environment.clone());
        let user = spec.user.clone().or_else(|| command.user.clone());
        let owner = owner(user.clone()).await?;
        Ok(Inner {
            command: (&command.program).into(),
            environment,
            user: owner.clone(),
            owner,
            around: None,
            docker: Some(Wanted {
                spec: spec.clone(),
                volumes: Vec::new(),
                secrets: None,
                devices: devices(job, &setup.permissions).await?,
                program: command.program.clone(),
                user,
            }),
        })
    }
}

/// Whose the sandbox is: of the numbers that are given, or of the machine's user of that name. What only the image knows
/// is not known here; then it is the agent's.
async fn owner(user: Option<String>) -> Result<Option<User>, Failure> {
    let Some(text) = user else {
        return Ok(None);
    };
    let (name, group) = text.split_once(':').unwrap_or((&text, ""));
    if let Ok(uid) = name.parse() {
        let gid = group.parse().unwrap_or(0);
        return Ok(Some(User {
            name: text.clone(),
            uid,
            gid,
            groups: vec![gid],
        }));
    }
    let name = name.to_owned();
    let found = spawn_blocking(move || users::look_up(&name)).await;
    let found = found.map_err(|error| Failure::new(LaunchStage::Start, error))?;
    Ok(found.ok().flatten())
}
