//! What the agent runs tasks with: control groups, shims, and containers if they can be built here.

use std::path::PathBuf;
use std::sync::Arc;

use mete_model::{AttributeValue, Attributes};
use tokio::task::spawn_blocking;
use tracing::{info, warn};

use crate::cgroups::{self, Cgroups, Hierarchies};
use crate::config::{IsolationChoice, Options};
use crate::containerizer::oci::Permissions;
use crate::containerizer::process::ProcessContainerizer;
use crate::places::Places;
use crate::run::RunError;
use crate::sandbox;
use crate::shims::Executable;

/// Sets up control groups and task directories.
///
/// # Errors
/// When there is no place for tasks.
pub(crate) async fn set_up_containers(
    options: &Options,
    places: &Places,
    shim: Executable,
) -> Result<Arc<ProcessContainerizer>, RunError> {
    let mut limits = cgroups::Options::new(cgroups::scope_of(&options.name, places.root()));
    limits.cpu_quota = options.cpu_quota;
    limits.max_pids = options.max_pids;
    let (isolation, tasks) = (options.isolation, places.tasks());
    let permissions = permissions(options, places);
    let containerizer = spawn_blocking(move || {
        let cgroups = match isolation {
            IsolationChoice::Auto => Cgroups::set_up(&Hierarchies::of_this_host(), limits),
            IsolationChoice::None => Cgroups::none(limits),
        };
        let isolation = cgroups.isolation();
        if isolation.missing.is_empty() {
            info!(%isolation, "tasks are isolated");
        } else {
            warn!(%isolation, "tasks are isolated only in part");
        }
        ProcessContainerizer::new(tasks, cgroups, shim).map(|tasks| tasks.allowing(permissions))
    });
    let containerizer = containerizer.await?.map_err(RunError::Containerizer)?;
    Ok(Arc::new(containerizer))
}

/// What containers may do here.
fn permissions(options: &Options, places: &Places) -> Permissions {
    Permissions {
        volume_roots: options.volume_root.clone(),
        capabilities: options.allow_capability.clone(),
        unconfined: options.allow_unconfined,
        hidden: hidden(options, places),
    }
}

/// What no container sees of this agent: its work directory, and the token of the cluster.
fn hidden(options: &Options, places: &Places) -> Vec<PathBuf> {
    let token = options.listen.token_file.as_ref();
    let token = token.and_then(|path| path.canonicalize().ok());
    [places.root().to_owned()]
        .into_iter()
        .chain(token)
        .collect()
}

/// Builds a container and throws it away; says why it cannot.
///
/// # Errors
/// When the thread that tries breaks.
pub(crate) async fn try_containers(
    options: &Options,
    places: &Places,
    shim: Arc<Executable>,
) -> Result<Result<Permissions, String>, RunError> {
    let place = places.trial();
    let tried = spawn_blocking(move || {
        let _ = sandbox::remove_tree(&place);
        std::fs::create_dir(&place).map_err(|error| error.to_string())?;
        let tried = shim.try_container(&place);
        if let Err(error) = sandbox::remove_tree(&place) {
            warn!(place = %place.display(), %error, "what is left of a trial cannot be removed");
        }
        tried
    });
    let tried = tried.await?;
    match &tried {
        Ok(()) => info!("containerizers: process, oci"),
        Err(why) => warn!(
            why,
            "containerizers: process; tasks in containers are refused"
        ),
    }
    Ok(tried.map(|()| permissions(options, places)))
}

/// So that constraints can ask for it. An operator who says it himself knows why.
pub(crate) fn name_containerizers(attributes: &mut Attributes, oci: bool) {
    const NAME: &str = "containerizers";
    if attributes.get(NAME).is_none() {
        let names = if oci { "process,oci" } else { "process" };
        attributes.set(NAME, AttributeValue::Text(names.into()));
    }
}
