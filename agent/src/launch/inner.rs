//! What runs of a task, and where: on the machine as it is, or in a container with an image or without.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use mete_agent_core::LaunchStage;
use mete_agent_core::image::{Inside, inside};
use mete_agent_core::task_dir::{Command, IdRange, SANDBOX_INSIDE, User};
use mete_daemon::chain;
use mete_model::ContainerSpec;
use mete_model::container::{MountSource, Pull, SecretValue};
use tokio::task::spawn_blocking;

use super::secrets::links_do;
use super::{Failure, Job, Launcher, environment};
use crate::containerizer::image::{Image, Tell};
use crate::containerizer::image_root::ImageRoot;
use crate::containerizer::oci::Around;
use crate::containerizer::permissions::{self as allowed, Permissions};
use crate::containerizer::{image_users, users};
use crate::devices::{self, Node};
use crate::docker::{Wanted, is_for_engine};

/// The number of whom containers run as when nobody is named.
const ROOT: &str = "0";

/// Signal number of SIGTERM.
const TERMINATE: i32 = 15;

/// All that is known before the sandbox is made.
pub(super) struct Inner {
    pub(super) command: Command,
    pub(super) environment: BTreeMap<String, String>,
    pub(super) user: Option<User>,
    /// The same user as the machine knows it: whose the sandbox is.
    pub(super) owner: Option<User>,
    pub(super) around: Option<Around>,
    /// What a Docker Engine makes instead.
    pub(super) docker: Option<Wanted>,
}

impl Launcher {
    /// Brings what the container of a task needs, and settles what runs in it.
    pub(super) async fn inner(
        &self,
        job: &Job,
        sandbox: &Path,
        tell: &Tell,
    ) -> Result<Inner, Failure> {
        let spec = job.container();
        let spec = spec.filter(|spec| self.oci.is_ok() || !(self.process && links_do(spec)));
        let Some(spec) = spec else {
            if !self.process {
                let reason = "this agent runs nothing without a container";
                return Err(Failure::new(LaunchStage::Start, reason));
            }
            return self.on_machine(job, sandbox, None).await;
        };
        let spec = &spec;
        // A group shares what only containers of this agent's own can share.
        if let (Some(engine), None) = (&self.docker, &job.parent)
            && is_for_engine(spec)
            && engine.is_there().await
        {
            return self.on_engine(job, spec, &engine.setup(), tell).await;
        }
        let permissions = self.oci.as_ref().map_err(|why| {
            let reason = format!("this agent cannot run containers: {why}");
            Failure::new(LaunchStage::Start, reason)
        })?;
        allowed::check(spec, permissions)
            .map_err(|error| Failure::new(LaunchStage::Start, error))?;
        check_ports(job, spec)?;
        let mut mounted = BTreeMap::new();
        for mount in &spec.mounts {
            if let MountSource::Image(reference) = &mount.source {
                let pull = Pull::IfMissing;
                let image = self.image(job, reference, pull, None, tell).await?;
                mounted.insert(reference.clone(), image);
            }
        }
        let mut inner = match &spec.image {
            Some(reference) => {
                let login = match super::secrets::login(spec)? {
                    None => self.fetched_login(job, spec).await?,
                    own => own,
                };
                let image = self.image(job, reference, spec.pull, login, tell).await?;
                self.in_image(job, spec, image).await?
            }
            None => self.on_machine(job, sandbox, Some(spec)).await?,
        };
        if let Some(around) = &mut inner.around {
            around.mounted = mounted;
            around.image_root = permissions.image_root;
            around.devices = match spec.isolation.privileged {
                true => devices_of_machine().await?,
                false => devices(job, permissions).await?,
            };
            around.users = permissions.users;
            inner.owner = owner(inner.user.as_ref(), permissions.users)?;
        }
        Ok(inner)
    }

    async fn image(
        &self,
        job: &Job,
        reference: &str,
        pull: Pull,
        login: Option<SecretValue>,
        tell: &Tell,
    ) -> Result<Image, Failure> {
        let tell = Arc::clone(tell);
        let image = (self.images)(reference, pull, login, &job.container, tell).await;
        image.map_err(|why| Failure::new(LaunchStage::Fetch, why))
    }

    async fn on_machine(
        &self,
        job: &Job,
        sandbox: &Path,
        spec: Option<&ContainerSpec>,
    ) -> Result<Inner, Failure> {
        let own = spec.and_then(|spec| spec.user.clone());
        let around = spec.map(|spec| Around {
            spec: spec.clone(),
            image: None,
            mounted: BTreeMap::new(),
            image_root: ImageRoot::default(),
            volumes: Vec::new(),
            parent_volumes: Vec::new(),
            secrets: None,
            parent: None,
            shared: None,
            users: None,
            devices: Vec::new(),
            working_dir: match &spec.working_dir {
                Some(path) => path.clone(),
                None => sandbox.display().to_string(),
            },
            stop_signal: TERMINATE,
        });
        let mut user = super::user_of(job, own).await?;
        if let Some(spec) = spec.filter(|spec| !spec.groups.is_empty()) {
            user = Some(in_groups_of_machine(user, spec.groups.clone()).await?);
        }
        Ok(Inner {
            command: (&job.spec.command.program).into(),
            environment: environment::of(
                job,
                sandbox,
                &self.endpoint,
                self.executor_tokens.as_ref(),
            ),
            owner: user.clone(),
            user,
            around,
            docker: None,
        })
    }

    async fn in_image(
        &self,
        job: &Job,
        spec: &ContainerSpec,
        image: Image,
    ) -> Result<Inner, Failure> {
        let agents = environment::of_agent(
            job,
            Path::new(SANDBOX_INSIDE),
            &self.endpoint,
            self.executor_tokens.as_ref(),
        );
        let mut inside = inside(&image.config, agents, &job.spec.command, spec)
            .map_err(|error| Failure::new(LaunchStage::Start, error))?;
        let user = user_in_image(job, spec, &mut inside, image.layers.clone()).await?;
        Ok(Inner {
            command: inside.command.clone(),
            environment: inside.environment.clone(),
            owner: user.clone(),
            user,
            around: Some(Around::with_image(spec.clone(), image, &inside)),
            docker: None,
        })
    }
}

/// A user of a container as the machine knows it.
fn owner(user: Option<&User>, users: Option<IdRange>) -> Result<Option<User>, Failure> {
    let Some(range) = users else {
        return Ok(user.cloned());
    };
    let outside = |id: u32| {
        range.outside(id).ok_or_else(|| {
            let reason = format!(
                "{id} is no user or group of containers here, 0 to {}",
                range.count - 1
            );
            Failure::new(LaunchStage::Start, reason)
        })
    };
    let root = root();
    let user = user.unwrap_or(&root);
    let groups = user.groups.iter().copied().map(outside);
    Ok(Some(User {
        name: user.name.clone(),
        uid: outside(user.uid)?,
        gid: outside(user.gid)?,
        groups: groups.collect::<Result<_, _>>()?,
    }))
}

/// A user of the machine, root if it is nobody else, with groups of the machine.
async fn in_groups_of_machine(user: Option<User>, groups: Vec<String>) -> Result<User, Failure> {
    let mut user = user.unwrap_or_else(root);
    let found = spawn_blocking(move || users::groups_of_machine(&groups)).await;
    let found = found.map_err(|error| Failure::new(LaunchStage::Start, error))?;
    let found = found.map_err(|error| Failure::new(LaunchStage::Start, error))?;
    user.groups.extend(found);
    Ok(user)
}

fn root() -> User {
    User {
        name: "root".to_owned(),
        uid: 0,
        gid: 0,
        groups: Vec::new(),
    }
}

/// The device nodes of the GPUs it was given.
pub(super) async fn devices(job: &Job, permissions: &Permissions) -> Result<Vec<Node>, Failure> {
    let granted = job.spec.resources.flat().devices().clone();
    if granted.is_empty() {
        return Ok(Vec::new());
    }
    let gpus = permissions.gpus.clone();
    let nodes = spawn_blocking(move || gpus.nodes_of(&granted)).await;
    let nodes = nodes.map_err(|error| Failure::new(LaunchStage::Start, error))?;
    nodes.map_err(|error| Failure::new(LaunchStage::Start, chain(&error)))
}

/// Those of the GPUs are among them.
async fn devices_of_machine() -> Result<Vec<Node>, Failure> {
    let nodes = spawn_blocking(devices::of_machine).await;
    let nodes = nodes.map_err(|error| Failure::new(LaunchStage::Start, error))?;
    nodes.map_err(|error| {
        Failure::new(
            LaunchStage::Start,
            format!("the machine's devices: {error}"),
        )
    })
}

/// A task opens only ports of the host that it was given.
fn check_ports(job: &Job, spec: &ContainerSpec) -> Result<(), Failure> {
    let all = job.spec.resources.flat();
    let given = &all.ports;
    let mut ports = spec.network.ports().iter();
    let foreign = ports.find(|port| !given.contains(u64::from(port.host)));
    match foreign {
        Some(port) => {
            let (host, inside) = (port.host, port.container);
            let reason =
                format!("port {host} of the host, mapped to {inside}, is none of the task's");
            Err(Failure::new(LaunchStage::Start, reason))
        }
        None => Ok(()),
    }
}

/// Whom it runs as: a user of the image. A name that only the machine knows means the machine's user when it is that of
/// the task's command or of its framework, as without an image. Sets `HOME` if nobody has: as Docker does, to that of the
/// user, root if nobody is named, and to `/` for one that the image does not know.
async fn user_in_image(
    job: &Job,
    spec: &ContainerSpec,
    inside: &mut Inside,
    layers: Vec<PathBuf>,
) -> Result<Option<User>, Failure> {
    let failed = |error: &dyn std::error::Error| Failure::new(LaunchStage::Start, error);
    let of_framework = Some(&job.framework.user).filter(|name| !name.is_empty());
    let named = inside.user.as_ref().or(of_framework).cloned();
    let name = named.clone().unwrap_or_else(|| ROOT.to_owned());
    let is_machines = inside.user.is_none()
        || spec.user.is_none() && job.spec.command.user.as_ref() == Some(&name);
    let (asked, groups) = (name.clone(), spec.groups.clone());
    let found = spawn_blocking(move || image_users::find(&asked, &groups, &layers)).await;
    let found = found.map_err(|error| failed(&error))?;
    let home = found.as_ref().ok().and_then(|found| found.home.clone());
    let variable = inside.environment.entry("HOME".to_owned());
    variable.or_insert_with(|| home.unwrap_or_else(|| "/".to_owned()));
    match found {
        Ok(_) if named.is_none() && spec.groups.is_empty() => Ok(None),
        Ok(found) => Ok(Some(found.user)),
        Err(_) if is_machines && spec.groups.is_empty() => {
            let found = spawn_blocking(move || users::look_up(&name)).await;
            let found = found.map_err(|error| failed(&error))?;
            found.map_err(|error| failed(&error))
        }
        Err(error) => Err(failed(&error)),
    }
}
