//! Networks of containers: a namespace for each, a bridge of the agent, and ports of the host that lead into it.
//!
//! ```text
//! outside ── host ── bridge mete-<tag> ── v<tag>-<n> ═ eth0 ── namespace mete-<tag>-<container>
//!              └ table mete_<tag>: ports of the host → address and port of a container; own addresses on the way out
//! ```
//! All names carry the tag of the agent, so that several agents on one machine keep apart and what is left of one is
//! known by its name. Bridge and table are there while a container needs them, and gone when the last one is.
//!
//! Invariants: what a container has stands in `network.json` of its task directory before it is made, so whoever finds
//! the directory knows what to remove. The table is always written from what is held, never from what it was.

mod addresses; // ranges of addresses, and who has which
mod bridge; // the bridge and what hangs on it
mod cni; // networks by name, by plugins
mod conntrack; // flows of datagrams that the kernel keeps track of
pub(crate) mod inside; // sockets that are opened inside a task's network
mod join; // a container joins its network
mod leave; // it leaves it; what is left of containers is found
mod names; // the names of all that is made
mod options; // what an operator may say
mod programs; // ip and nft
mod record; // network.json
mod resolver; // which name servers a container can reach
mod rules; // the table

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use mete_model::ContainerId;

pub use addresses::Range;
pub use options::NetworkOptions;
pub use record::Joined;
pub use resolver::resolver;

use bridge::Bridge;
use cni::Cni;
use names::Names;
use programs::Programs;
use rules::Forward;

/// Where iproute2 keeps namespaces by name.
const NAMESPACES: &str = "/run/netns";

/// Why a container cannot be joined to its network, or leave it.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// The agent has not what it takes.
    #[error("this agent has no network of the kind {kind}: {why}")]
    Unable {
        /// `bridge`, or the name of a network.
        kind: String,
        /// What is missing.
        why: String,
    },
    /// Every address of the bridge is taken.
    #[error("all addresses of {0} are taken")]
    UsedUp(Range),
    /// No range of addresses is free on this machine.
    #[error(
        "every range from 172.31.0.0/24 to 172.31.255.0/24 is in use on this machine; give one with --bridge-subnet"
    )]
    NoRange,
    /// The range that the operator has given is another's.
    #[error(
        "{range} of --bridge-subnet holds {address} of {device}, which is not this agent's bridge"
    )]
    Taken {
        /// What was given.
        range: Range,
        /// An address in it.
        address: Ipv4Addr,
        /// The device that has it.
        device: String,
    },
    /// A program did not do its work.
    #[error("{program}: {said}")]
    Program {
        /// Which, with its first arguments.
        program: String,
        /// Its words, or those of the system.
        said: String,
    },
    /// A file cannot be read or written.
    #[error("{path}")]
    Io {
        /// Which.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// `network.json` of a container makes no sense.
    #[error("{path}: {reason}")]
    Record {
        /// Which.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
}

impl NetworkError {
    fn io(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, source }
    }
}

/// The networks of one agent's containers.
#[derive(Debug)]
pub struct Networks {
    names: Names,
    options: NetworkOptions,
    /// Networks by name.
    cni: Cni,
    /// Whether mapped ports are open on the loopback only: where the agent itself is.
    loopback_only: bool,
    /// What plumbing is done with; or why there is none.
    programs: Result<Programs, String>,
    held: Mutex<Held>,
}

/// What containers hold.
#[derive(Debug, Default)]
struct Held {
    /// The range of the bridge, while it is there.
    bridge: Option<Range>,
    /// Whether the table is there.
    table: bool,
    joined: BTreeMap<ContainerId, Joined>,
    /// How many have joined.
    turns: u64,
    /// The address that was given out last: the next one is another, so that nobody gets what was meant for one that
    /// has just ended. Of an earlier agent's the highest.
    last: Option<Ipv4Addr>,
}

impl Held {
    fn turn(&mut self) -> u64 {
        self.turns += 1;
        self.turns
    }

    /// Where open ports lead: each to whoever has opened it last. A group keeps its network longer than one of its tasks,
    /// whose ports may be given to somebody else.
    fn forwards(&self) -> Vec<Forward> {
        let mut open: Vec<_> = self.joined.values().filter(|one| one.open).collect();
        open.sort_by_key(|one| one.turn);
        let each = open.into_iter().flat_map(Joined::forwards);
        let each = each.map(|one| ((one.transport, one.port), one));
        each.collect::<BTreeMap<_, _>>().into_values().collect()
    }
}

impl Networks {
    /// Of the agent with this scope, which is reached at `ip`. Says in the log what is missing.
    pub fn new(scope: &str, options: NetworkOptions, ip: IpAddr) -> Self {
        let programs = match rustix::process::geteuid().is_root() {
            true => Programs::find(),
            false => Err("only root can make networks".to_owned()),
        };
        let cni = Cni {
            config: options.network_cni_config.clone(),
            plugins: options.network_cni_plugins.clone(),
        };
        Self {
            names: Names::of(scope),
            options,
            cni,
            loopback_only: ip.is_loopback(),
            programs,
            held: Mutex::default(),
        }
    }

    /// Where there are none but the host's.
    pub fn none() -> Self {
        Self {
            names: Names::of(""),
            options: NetworkOptions::default(),
            cni: Cni::default(),
            loopback_only: true,
            programs: Err("networks are not set up".to_owned()),
            held: Mutex::default(),
        }
    }

    /// Why there can be no bridge here.
    ///
    /// # Errors
    /// The reason, for people.
    pub fn bridge(&self) -> Result<(), &str> {
        self.programs.as_ref().map(drop).map_err(String::as_str)
    }

    /// Names of networks that tasks may join here.
    pub fn by_name(&self) -> Vec<String> {
        match self.bridge() {
            Ok(()) => self.cni.networks().into_keys().collect(),
            Err(_) => Vec::new(),
        }
    }

    const fn bridge_on<'a>(&'a self, programs: &'a Programs) -> Bridge<'a> {
        Bridge {
            programs,
            name: self.names.bridge(),
        }
    }

    fn namespace(&self, container: &ContainerId) -> PathBuf {
        Path::new(NAMESPACES).join(self.names.namespace(container.as_str()))
    }

    fn rules<'a>(&'a self, held: &'a Held) -> rules::Rules<'a> {
        rules::Rules {
            table: self.names.table(),
            bridge: self.names.bridge(),
            range: held.bridge,
            loopback_only: self.loopback_only,
            ports: held.forwards(),
        }
    }

    /// What a container was joined to, if it has a network of its own.
    pub fn joined(&self, container: &ContainerId) -> Option<Joined> {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.joined.get(container).cloned()
    }

    /// The addresses of a container, if it has some of its own.
    pub fn addresses(&self, container: &ContainerId) -> Vec<String> {
        let joined = self.joined(container);
        joined.map(|joined| joined.addresses()).unwrap_or_default()
    }

    /// Namespaces by name that are this agent's.
    fn namespaces(&self) -> Vec<String> {
        let entries = std::fs::read_dir(NAMESPACES)
            .into_iter()
            .flatten()
            .flatten();
        let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
        names.filter(|name| self.names.is_namespace(name)).collect()
    }

    /// Names of all there is of this agent: bridge, links, namespaces, table. Empty while no container needs any.
    pub fn traces(&self) -> Vec<String> {
        let devices = std::fs::read_dir("/sys/class/net")
            .into_iter()
            .flatten()
            .flatten();
        let devices = devices.filter_map(|entry| entry.file_name().into_string().ok());
        let mut found: Vec<_> = devices
            .filter(|name| name == self.names.bridge() || self.names.is_link(name))
            .collect();
        found.extend(self.namespaces());
        if let Ok(programs) = &self.programs {
            found.extend(programs.table(self.names.table()));
        }
        found
    }
}
