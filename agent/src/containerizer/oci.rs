//! From what a task wants around it to what its shim builds: the containerizer `oci`.
//!
//! A container has the same life as a plain process: task directory, control groups and shim are those of
//! [`ProcessContainerizer`](super::process::ProcessContainerizer). What is added is a part of launch.json, made here, and
//! directories for it, which go with the task directory:
//!
//! ```text
//! <task directory>/etc/{hosts,hostname,resolv.conf}     seen in the container
//!                  root/{place,upper,work}              its root; upper holds what the task writes
//!                  root/<n>/{place,upper,work}          the same for the n-th mount, when it is an image
//!                  root/copy, root/<n>/copy             in place of upper and work, without overlayfs
//!                  root/room                            where a runtime's bundle is mounted, where one builds it
//! ```

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Component, Path, PathBuf};

use mete_agent_core::image::Inside;
use mete_agent_core::task_dir::{
    Container, IdRange, Mounted, Net, ProcessLimit, Root, Runtime, SANDBOX_INSIDE, TaskDir,
};
use mete_model::container::{Isolation, Network, Rlimit};
use mete_model::{ContainerId, ContainerSpec, LinuxCapability};

use super::image::Image;
use super::image_root::ImageRoot;
use super::mounts::{self, scratch};
use super::names::Names;
use super::permissions::{Permissions, check};
use super::volume_mount::VolumeMount;
use crate::devices::Node;
use crate::images::FlattenError;
use crate::networks::Joined;
use crate::sandbox;

/// Size of `/dev/shm` when nothing is said (Docker's).
const SHM_BYTES: u64 = 64 << 20;

/// Most volumes that an image may want: far more than any has, far fewer than mounts that a kernel bears.
const MAX_VOLUMES: usize = 100;

/// The largest file of the machine's `/etc` that is copied: they are lists of names.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// Characters of a container's id that are its host name (Docker's).
const HOSTNAME_CHARS: usize = 12;

/// Memory of its own where the machine's root, which cannot be written to, is wanted writable.
const SCRATCH: [&str; 3] = ["/tmp", "/var/tmp", "/run"];

/// What is around a task, as it is to be started.
#[derive(Clone, Debug)]
pub struct Around {
    /// What it wants.
    pub spec: ContainerSpec,
    /// Its image; `None`: the machine's own files.
    pub image: Option<Image>,
    /// The images among its mounts, by reference.
    pub mounted: BTreeMap<String, Image>,
    /// How they become directories.
    pub image_root: ImageRoot,
    /// Persistent volumes of the task.
    pub volumes: Vec<VolumeMount>,
    /// Those of the executor that it shares with others of its group; they are seen below its sandbox.
    pub parent_volumes: Vec<VolumeMount>,
    /// Where its secrets lie, each under the number of the mount that shows it; `None`: it has none.
    pub secrets: Option<PathBuf>,
    /// The sandbox of the executor that it shares with others of its group.
    pub parent: Option<PathBuf>,
    /// The network that it shares with them; `None`: its network is its own affair.
    pub shared: Option<SharedNetwork>,
    /// Whom its users are outside; `None`: the same.
    pub users: Option<IdRange>,
    /// The device nodes of the GPUs that the task was given.
    pub devices: Vec<Node>,
    /// Where it runs, and what ends it.
    pub working_dir: String,
    /// Number of the signal that asks it to end.
    pub stop_signal: i32,
}

/// A network that containers of a group share.
#[derive(Clone, Debug)]
pub struct SharedNetwork {
    /// Its kind.
    pub network: Network,
    /// The file of its namespace.
    pub namespace: PathBuf,
    /// What it was joined to; `None`: it has a loopback and nothing else.
    pub joined: Option<Joined>,
    /// The name under which the containers find themselves.
    pub hostname: String,
}

impl Around {
    /// With an image.
    pub fn with_image(spec: ContainerSpec, image: Image, inside: &Inside) -> Self {
        Self {
            spec,
            image: Some(image),
            mounted: BTreeMap::new(),
            image_root: ImageRoot::default(),
            volumes: Vec::new(),
            parent_volumes: Vec::new(),
            secrets: None,
            parent: None,
            shared: None,
            users: None,
            devices: Vec::new(),
            working_dir: inside.working_dir.clone(),
            stop_signal: inside.stop_signal,
        }
    }

    /// What it sees of networks.
    const fn network(&self) -> &Network {
        match &self.shared {
            Some(shared) => &shared.network,
            None => &self.spec.network,
        }
    }

    /// Where the sandbox is seen inside.
    const fn sandbox_inside<'a>(&self, sandbox: &'a str) -> &'a str {
        match self.image {
            Some(_) => SANDBOX_INSIDE,
            None => sandbox,
        }
    }
}

/// Why a container cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum OciError {
    /// A volume lies nowhere the operator allows.
    #[error("volume {path} is below no directory that this agent allows ({allowed})")]
    VolumeRoot {
        /// The path.
        path: String,
        /// Those that are allowed.
        allowed: String,
    },
    /// A power of root that the operator has not allowed.
    #[error("capability {0} is not allowed by this agent")]
    Capability(LinuxCapability),
    /// It wants no filter.
    #[error("this agent does not allow tasks without a filter of system calls")]
    Unconfined,
    /// It wants to be as good as root of the machine.
    #[error("this agent does not allow privileged containers; its --allow-privileged does")]
    Privileged,
    /// Root of the container is nobody on the machine.
    #[error(
        "containers have users of their own on this agent (--user-namespaces), so that none is privileged"
    )]
    PrivilegedUsers,
    /// It wants to be in groups that it names.
    #[error("this agent does not allow group {0:?} to be added; its --allow-privileged does")]
    Group(String),
    /// An image was not brought.
    #[error("image {0:?} is not there")]
    NoImage(String),
    /// An image that wants more than there may be.
    #[error("its image wants {count} volumes, at most {MAX_VOLUMES} are possible")]
    ManyVolumes {
        /// How many.
        count: usize,
    },
    /// A volume of a sandbox that is not there.
    #[error("a volume of a parent's sandbox is for tasks of a group")]
    NoParent,
    /// A volume of the machine that is not there and cannot be made.
    #[error("{0}")]
    HostPath(String),
    /// A secret that was not written.
    #[error("the secret at {0} is not there")]
    NoSecret(String),
    /// It is to find itself under another name than its own.
    #[error(
        "{program} is to find {name:?} in the place of its name, which {runtime} cannot do; without --oci-runtime it can be done"
    )]
    OtherName {
        /// The program.
        program: String,
        /// The name.
        name: String,
        /// What builds containers.
        runtime: &'static str,
    },
    /// The layers of an image cannot be copied.
    #[error("the copy of an image")]
    Copy(#[from] FlattenError),
    /// A path that is not UTF-8.
    #[error("{0} is not UTF-8")]
    NotText(PathBuf),
    /// A directory or file of it cannot be made.
    #[error("{path}")]
    Io {
        /// Which.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
}

impl OciError {
    /// Whether the disk has no room for it.
    pub fn is_disk_full(&self) -> bool {
        let source = match self {
            Self::Io { source, .. } => source,
            Self::Copy(error) => &error.source,
            Self::VolumeRoot { .. }
            | Self::Capability(_)
            | Self::Unconfined
            | Self::Privileged
            | Self::PrivilegedUsers
            | Self::Group(_)
            | Self::NoImage(_)
            | Self::ManyVolumes { .. }
            | Self::NoParent
            | Self::HostPath(_)
            | Self::NoSecret(_)
            | Self::OtherName { .. }
            | Self::NotText(_) => return false,
        };
        sandbox::is_full(source)
    }
}

/// Makes the directories of a container below its task directory, and says what its shim is to build. Blocks.
///
/// # Errors
/// [`OciError`].
pub fn prepare(
    dir: &TaskDir,
    container: &ContainerId,
    sandbox: &str,
    around: &Around,
    joined: Option<&Joined>,
    permissions: &Permissions,
) -> Result<Container, OciError> {
    check(&around.spec, permissions)?;
    let isolation = &around.spec.isolation;
    let top = dir.path().join("root");
    let place = directory(&top, "place", 0o700)?;
    let network = around.network();
    let hostname = hostname(around, network, container);
    let inside = around.sandbox_inside(sandbox);
    let names = Names {
        network,
        address: joined.and_then(|joined| joined.address),
        servers: joined.map(Joined::servers).unwrap_or_default(),
        hostname: hostname.as_deref(),
    };
    let (root, mut usual) = root(dir, around, &names, permissions)?;
    usual.extend(mounts::of_task(around, sandbox, inside, &top, permissions)?);
    let images = around.image.iter().chain(around.mounted.values());
    Ok(Container {
        images: images.map(|image| image.digest.clone()).collect(),
        root,
        place,
        mounts: usual,
        volumes: around.image.as_ref().map_or(Ok(vec![]), volumes)?,
        working_dir: around.working_dir.clone(),
        users: around.users,
        hostname,
        network: net(around, joined, network)?,
        capabilities: capabilities(isolation),
        privileged: isolation.privileged,
        seccomp: isolation.seccomp,
        no_new_privileges: isolation.no_new_privileges,
        read_only_root: isolation.read_only_root,
        shm_bytes: isolation.shm_bytes.unwrap_or(SHM_BYTES),
        rlimits: isolation.rlimits.iter().map(limit).collect(),
        devices: paths_of(&around.devices),
        stop_signal: around.stop_signal,
        runtime: runtime(&top, permissions)?,
    })
}

/// The powers of root that remain. Nobody gives away powers that he has not: one that is privileged has those of the agent.
fn capabilities(isolation: &Isolation) -> Vec<String> {
    let own = rustix::thread::capabilities(None).map(|own| own.permitted.bits());
    let is_own = |one: &LinuxCapability| {
        let own = own.as_ref().ok();
        own.is_none_or(|own| own & (1 << one.number()) != 0)
    };
    let mut all = isolation.remaining();
    all.retain(|one| !isolation.privileged || is_own(one));
    all.iter().map(ToString::to_string).collect()
}

fn paths_of(nodes: &[Node]) -> Vec<String> {
    nodes.iter().map(|node| node.path.clone()).collect()
}

fn runtime(top: &Path, permissions: &Permissions) -> Result<Option<Runtime>, OciError> {
    let Some(runtime) = &permissions.runtime else {
        return Ok(None);
    };
    Ok(Some(runtime.plan(directory(top, "room", 0o700)?)))
}

/// The name it finds itself under; `None`: the machine's.
fn hostname(around: &Around, network: &Network, container: &ContainerId) -> Option<String> {
    let of_group = around.shared.as_ref().map(|shared| &shared.hostname);
    let said = around.spec.hostname.as_ref().or(of_group).cloned();
    said.or_else(|| match network {
        Network::Host => None,
        Network::None | Network::Bridge { .. } | Network::Named { .. } => {
            Some(usual_hostname(container))
        }
    })
}

/// The name of a container on a network of its own that was given none.
pub(crate) fn usual_hostname(container: &ContainerId) -> String {
    container.as_str().chars().take(HOSTNAME_CHARS).collect()
}

fn net(around: &Around, joined: Option<&Joined>, network: &Network) -> Result<Net, OciError> {
    let shared = around.shared.as_ref().map(|shared| &shared.namespace);
    let namespace = shared.or_else(|| joined.map(|joined| &joined.namespace));
    Ok(match (namespace, network) {
        (Some(file), _) => Net::Joined {
            namespace: text(file)?,
        },
        (None, Network::Host) => Net::Host,
        // Where nothing was joined there is nothing to be seen.
        (None, Network::None | Network::Bridge { .. } | Network::Named { .. }) => Net::None,
    })
}

fn limit(limit: &Rlimit) -> ProcessLimit {
    ProcessLimit {
        kind: limit.kind.as_str().to_owned(),
        soft: limit.soft,
        hard: limit.hard,
    }
}

/// The root, and what is mounted into every container of its kind besides the sandbox, which may lie below it.
fn root(
    dir: &TaskDir,
    around: &Around,
    names: &Names<'_>,
    permissions: &Permissions,
) -> Result<(Root, Vec<Mounted>), OciError> {
    let Some(image) = &around.image else {
        let there = SCRATCH.into_iter().filter(|path| Path::new(path).is_dir());
        let mut mounts: Vec<_> = there.map(scratch).collect();
        if names.address.is_some() {
            mounts.extend(names.of_machine(dir)?);
        }
        let hidden = permissions.hidden.iter().map(|path| text(path));
        let hidden = hidden.collect::<Result<_, _>>()?;
        return Ok((Root::Machine { hidden }, mounts));
    };
    let mounts = names.mounts(dir)?;
    let root = around
        .image_root
        .of_container(image, &dir.path().join("root"))?;
    Ok((root, mounts))
}

/// Where the image wants volumes. Its root is none, and neither is what no path leads to.
fn volumes(image: &Image) -> Result<Vec<String>, OciError> {
    let said = &image.config.volumes;
    if said.len() > MAX_VOLUMES {
        return Err(OciError::ManyVolumes { count: said.len() });
    }
    let is_below_root = |path: &&String| {
        let mut parts = Path::new(path).components();
        parts.next() == Some(Component::RootDir)
            && parts.next().is_some()
            && !path.contains('\0')
            && Path::new(path)
                .components()
                .all(|part| part != Component::ParentDir)
    };
    Ok(said.iter().filter(is_below_root).cloned().collect())
}

/// A small file of the machine; empty when it is not there.
pub(super) fn read(path: &Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Ok(file) = fs::File::open(path) {
        let _ = file.take(MAX_FILE_BYTES).read_to_end(&mut bytes);
    }
    if bytes.last().is_some_and(|last| *last != b'\n') {
        bytes.push(b'\n');
    }
    bytes
}

pub(super) fn directory(top: &Path, name: &str, mode: u32) -> Result<String, OciError> {
    let path = top.join(name);
    let failed = |source| OciError::Io {
        path: path.clone(),
        source,
    };
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(top)
        .map_err(failed)?;
    match fs::DirBuilder::new().mode(mode).create(&path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        made => made.map_err(failed)?,
    }
    text(&path)
}

pub(super) fn text(path: &Path) -> Result<String, OciError> {
    let text = path.to_str().map(str::to_owned);
    text.ok_or_else(|| OciError::NotText(path.to_owned()))
}
