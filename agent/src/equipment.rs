//! What the agent runs tasks with: control groups, shims, and containers if they can be built here.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use mete_agent_core::task_dir::IdRange;
use mete_model::{AttributeValue, Attributes};
use tokio::task::spawn_blocking;
use tracing::{info, warn};

use crate::cgroups::{self, Cgroups, Hierarchies};
use crate::config::{ContainerizerChoice, IsolationChoice, Options};
use crate::containerizer::image_root::{ImageRoot, ImageRootChoice};
use crate::containerizer::permissions::Permissions;
use crate::containerizer::process::ProcessContainerizer;
use crate::devices::GpuDevices;
use crate::docker::Setup;
use crate::docker::presence::Presence;
use crate::networks::Networks;
use crate::oci_runtime::{OciRuntime, OciRuntimeError};
use crate::places::Places;
use crate::run::RunError;
use crate::sandbox;
use crate::shims::Executable;
use crate::volumes::NAMED;

/// Sets up control groups and task directories.
///
/// # Errors
/// When there is no place for tasks.
pub(crate) async fn set_up_containers(
    options: &Options,
    places: &Places,
    shim: Executable,
    permissions: Permissions,
) -> Result<Arc<ProcessContainerizer>, RunError> {
    let scope = scope(options, places).await?;
    let mut limits = cgroups::Options::new(scope);
    limits.cpu_quota = options.cpu_quota;
    limits.max_pids = options.max_pids;
    let (isolation, tasks) = (options.isolation, places.tasks());
    let (scope, ip) = (limits.scope.clone(), options.advertised_ip());
    let chosen = options.networks.clone();
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
        if isolation.disks.is_none() {
            info!(
                "disks are shared by tasks as the kernel pleases: it has no weights for them here"
            );
        }
        let networks = Networks::new(&scope, chosen, ip);
        let containerizer = ProcessContainerizer::new(tasks, cgroups, shim)?;
        containerizer.shim().prepare_shims();
        io::Result::Ok(containerizer.allowing(permissions).joining(networks))
    });
    let containerizer = containerizer.await?.map_err(RunError::Containerizer)?;
    Ok(Arc::new(containerizer))
}

/// What all is called that the agent makes on the machine.
async fn scope(options: &Options, places: &Places) -> Result<String, RunError> {
    let (name, places) = (options.name.clone(), places.clone());
    let scope = spawn_blocking(move || places.scope(&name)).await?;
    scope.map_err(RunError::WorkDir)
}

/// What containers may do here, and what builds them.
///
/// # Errors
/// When that cannot be used.
pub(crate) async fn permissions(
    options: &Options,
    places: &Places,
) -> Result<Permissions, OciRuntimeError> {
    let runtime = match &options.oci_runtime {
        None => None,
        Some(path) => Some(OciRuntime::find(path).await?),
    };
    match &runtime {
        None => info!("containers are built by their shims"),
        Some(found) => info!(
            name = found.name(),
            version = found.version(),
            "containers are built by an OCI runtime"
        ),
    }
    Ok(Permissions {
        volume_roots: options.volume_root.clone(),
        named_volumes: places.volumes().join(NAMED),
        capabilities: options.allow_capability.clone(),
        unconfined: options.allow_unconfined,
        privileged: options.allow_privileged,
        hidden: hidden(options, places),
        image_root: ImageRoot::default(),
        users: options.user_namespaces,
        gpus: GpuDevices::new(&options.gpu_device),
        runtime,
    })
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

/// What tasks run in on this agent.
pub(crate) struct Equipment {
    /// Whether they may run with nothing around them.
    pub(crate) process: bool,
    /// What containers of the agent may do, or why there are none.
    pub(crate) oci: Result<Permissions, String>,
    /// The Docker Engine, when one was asked for; it may begin later.
    pub(crate) docker: Option<Arc<Presence>>,
}

impl Equipment {
    /// Tries what was chosen. `carries_overlay`: whether layers of images are in overlayfs' form.
    ///
    /// # Errors
    /// When the thread that tries breaks.
    pub(crate) async fn find(
        options: &Options,
        places: &Places,
        permissions: Permissions,
        shim: Arc<Executable>,
        carries_overlay: bool,
    ) -> Result<Self, RunError> {
        let chosen = |one| options.containerizers.0.contains(&one);
        let oci = match chosen(ContainerizerChoice::Oci) {
            true => {
                let built = permissions.clone();
                try_containers(options, places, built, shim, carries_overlay).await?
            }
            false => Err("oci is none of its --containerizers".to_owned()),
        };
        let docker = match chosen(ContainerizerChoice::Docker) {
            true => {
                let engine = engine(options, scope(options, places).await?, permissions);
                engine.is_there().await;
                Some(Arc::new(engine))
            }
            false => None,
        };
        let found = Self {
            process: chosen(ContainerizerChoice::Process),
            oci,
            docker,
        };
        info!(
            "containerizers: {}",
            found.names(options, found.engine_answers())
        );
        Ok(found)
    }

    /// Whether there is an engine that has answered.
    pub(crate) fn engine_answers(&self) -> bool {
        let engine = self.docker.as_ref();
        engine.is_some_and(|engine| engine.has_answered())
    }

    /// Those that there are, in the order in which they were chosen: `process,oci`.
    fn names(&self, options: &Options, engine_answers: bool) -> String {
        let there = |one: &&ContainerizerChoice| match one {
            ContainerizerChoice::Process => self.process,
            ContainerizerChoice::Oci => self.oci.is_ok(),
            ContainerizerChoice::Docker => engine_answers,
        };
        let names = options.containerizers.0.iter().filter(there);
        let names: Vec<_> = names.map(|one| one.as_str()).collect();
        names.join(",")
    }

    /// So that constraints can ask for them. An operator who says it himself knows why.
    pub(crate) fn name_in(
        &self,
        attributes: &mut Attributes,
        options: &Options,
        engine_answers: bool,
    ) {
        let runtime = self.oci.as_ref().ok().and_then(|oci| oci.runtime.as_ref());
        let runtime = runtime.map(|runtime| ("oci_runtime", runtime.name().to_owned()));
        let names = [("containerizers", self.names(options, engine_answers))];
        for (name, text) in names.into_iter().chain(runtime) {
            if attributes.get(name).is_none() {
                attributes.set(name, AttributeValue::Text(text.into()));
            }
        }
    }
}

/// The engine that was chosen.
fn engine(options: &Options, scope: String, permissions: Permissions) -> Presence {
    Presence::new(Setup {
        socket: options.docker_socket.clone(),
        scope,
        permissions,
        cpu_quota: options.cpu_quota,
        max_pids: options.max_pids,
        logins: options.images.credentials.clone(),
    })
}

/// Builds a container of each kind that was chosen until one works, and throws it away; says why none does.
async fn try_containers(
    options: &Options,
    places: &Places,
    permissions: Permissions,
    shim: Arc<Executable>,
    carries_overlay: bool,
) -> Result<Result<Permissions, String>, RunError> {
    let (place, chosen) = (places.trial(), options.images.root);
    let users = options.user_namespaces;
    let try_root = move |shim: &Executable, place: &Path, root| try_root(shim, place, root, users);
    let tried = spawn_blocking(move || {
        let overlay = || match carries_overlay {
            true => try_root(&shim, &place, ImageRoot::Overlay),
            false if !rustix::process::geteuid().is_root() => {
                Err("only an agent that is root can put layers of images together".to_owned())
            }
            false => Err("layers of images lie on a disk that overlayfs cannot use".to_owned()),
        };
        match chosen {
            ImageRootChoice::Overlay => overlay(),
            ImageRootChoice::Copy => try_root(&shim, &place, ImageRoot::Copy),
            ImageRootChoice::Auto => overlay().or_else(|why| {
                // What is wrong with both is told in the words of the first.
                let copied = try_root(&shim, &place, ImageRoot::Copy).map_err(|_| why.clone())?;
                warn!(why, "no overlayfs: each container has a copy of its image");
                Ok(copied)
            }),
        }
    });
    let tried = tried.await?;
    if let Err(why) = &tried {
        warn!(why, "tasks in containers of the agent are refused");
    }
    Ok(tried.map(|image_root| Permissions {
        image_root,
        ..permissions
    }))
}

fn try_root(
    shim: &Executable,
    place: &Path,
    root: ImageRoot,
    users: Option<IdRange>,
) -> Result<ImageRoot, String> {
    let _ = sandbox::remove_tree(place);
    std::fs::create_dir(place).map_err(|error| error.to_string())?;
    let tried = shim.try_container(place, root, users);
    if let Err(error) = sandbox::remove_tree(place) {
        warn!(place = %place.display(), %error, "what is left of a trial cannot be removed");
    }
    tried.map(|()| root)
}

/// So that constraints can ask for networks, too.
pub(crate) fn name_networks(attributes: &mut Attributes, oci: bool, networks: &Networks) {
    const NAME: &str = "networks";
    let bridge = networks.bridge();
    if let Err(why) = bridge {
        info!(why, "no bridge: tasks that ask for one are refused");
    }
    if oci && attributes.get(NAME).is_none() {
        let mut names = vec!["host".to_owned(), "none".to_owned()];
        names.extend(bridge.ok().map(|()| "bridge".to_owned()));
        names.extend(networks.by_name());
        attributes.set(NAME, AttributeValue::Text(names.join(",").into()));
    }
}
