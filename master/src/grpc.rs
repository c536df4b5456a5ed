//! Streams in, inputs out: one file per service, and beside them what turns messages into words and back.

pub(crate) mod agent; // where agents connect
pub(crate) mod calls; // what frameworks say
pub(crate) mod events; // what frameworks hear
pub(crate) mod framework; // where frameworks connect
pub(crate) mod messages; // what agents say and hear
pub(crate) mod operator; // where operators' tools connect

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use mete_daemon::event_loop::Handle;
use mete_daemon::recent::Recent;
use mete_master_core::Settings;

use crate::links::Links;
use crate::rounds::Timed;

/// The largest call: an ACCEPT with thousands of tasks.
pub(crate) const MAX_CALL_BYTES: usize = 8 << 20;
/// The largest message of an agent: it comes back with thousands of tasks.
pub(crate) const MAX_AGENT_MESSAGE_BYTES: usize = 64 << 20;

/// What every stream is told about this master.
#[derive(Clone, Debug)]
pub(crate) struct About {
    pub(crate) settings: Arc<Settings>,
    pub(crate) address: SocketAddr,
    pub(crate) hostname: String,
    pub(crate) cluster: String,
    /// What it was started with, by the names of Mesos.
    pub(crate) flags: Arc<BTreeMap<String, String>>,
}

/// Where that lies which has to last.
#[derive(Debug)]
pub(crate) struct StoreFile {
    pub(crate) path: PathBuf,
    /// How long it took to read it.
    pub(crate) read_within: Duration,
}

/// What a service needs.
#[derive(Clone, Debug)]
pub(crate) struct Desk {
    pub(crate) handle: Handle<Timed>,
    pub(crate) links: Links,
    /// How long rounds of allocation take.
    pub(crate) rounds: Recent,
    pub(crate) store: Arc<StoreFile>,
    /// A stream must begin with SUBSCRIBE, or the registration, within this.
    pub(crate) greeting_timeout: Duration,
}
