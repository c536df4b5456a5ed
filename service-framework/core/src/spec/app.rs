//! What is wanted of one app: everything its user may say and everything `GET` prints back.
//!
//! Quantities are integers in the smallest unit; the shell turns the numbers of the API into them with
//! [`crate::validate::quantity`]. Whether the parts make sense together is checked by [`crate::validate`].

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use mete_model::MEBIBYTE;

/// The longest app id, in bytes: with `.instance-<uuid>._app.<n>` behind it a task id must fit 255 bytes.
pub const MAX_APP_ID_BYTES: usize = 190;

/// Last segments that mean something else in the paths of the API.
pub const RESERVED_SEGMENTS: [&str; 3] = ["restart", "tasks", "versions"];

/// A path that names an app or a group of apps: `/shop/web`. Always absolute, never the root.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AppId(Arc<str>);

/// A text that cannot be an app id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("bad app id {text:?}: {rule}")]
pub struct BadAppId {
    text: String,
    rule: &'static str,
}

impl BadAppId {
    /// The rule it breaks, in the words of the API.
    pub const fn rule(&self) -> &'static str {
        self.rule
    }
}

impl AppId {
    /// Takes a path with or without slashes at its ends and makes it absolute.
    ///
    /// # Errors
    /// [`BadAppId`] when it is the root, too long, ends in a word the API needs, or a segment is not made of `a-z`,
    /// `0-9`, `-` and `.`, with a letter or digit at both ends.
    pub fn new(text: &str) -> Result<Self, BadAppId> {
        let bad = |rule| {
            let text = text.chars().take(80).collect();
            Err(BadAppId { text, rule })
        };
        if text.len() > MAX_APP_ID_BYTES {
            return bad("must not be longer than 190 bytes");
        }
        let inner = text.trim_matches('/');
        if inner.is_empty() {
            return bad("must not be empty");
        }
        if !inner.split('/').all(is_segment) {
            return bad(
                "must fully match regular expression '^(([a-z0-9]|[a-z0-9][a-z0-9\\-]*[a-z0-9])\\.)*([a-z0-9]|[a-z0-9][a-z0-9\\-]*[a-z0-9])|(\\.|\\.\\.)$'",
            );
        }
        if inner
            .rsplit('/')
            .next()
            .is_some_and(|last| RESERVED_SEGMENTS.contains(&last))
        {
            return bad("must not end in one of [restart, tasks, versions]");
        }
        Ok(Self(Arc::from(format!("/{inner}"))))
    }

    /// The absolute path.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its segments, from the root.
    pub fn segments(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0[1..].split('/')
    }

    /// Whether this is `group` itself or lies below it.
    pub fn is_within(&self, group: &Self) -> bool {
        self.0
            .strip_prefix(&*group.0)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// The segments reversed and joined by dots, as tasks are called: `/shop/web` is `web.shop`.
    pub fn task_name(&self) -> String {
        self.segments().rev().collect::<Vec<_>>().join(".")
    }

    /// The segments joined by `_`, as ids of instances and names of backends begin: `/shop/web` is `shop_web`.
    pub fn flat(&self) -> String {
        self.0[1..].replace('/', "_")
    }

    /// Back from [`Self::flat`]; possible because no segment holds a `_`.
    pub fn from_flat(flat: &str) -> Option<Self> {
        if flat.contains('/') {
            return None;
        }
        Self::new(&flat.replace('_', "/")).ok()
    }
}

/// Labels joined by dots, each of `a-z`, `0-9` and inner dashes.
fn is_segment(segment: &str) -> bool {
    segment.split('.').all(|label| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
    })
}

impl fmt::Display for AppId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for AppId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "app {}", self.0)
    }
}

/// Looked up by text; order and equality are those of the text.
impl std::borrow::Borrow<str> for AppId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for AppId {
    type Error = BadAppId;
    fn try_from(text: String) -> Result<Self, BadAppId> {
        Self::new(&text)
    }
}

impl From<AppId> for String {
    fn from(id: AppId) -> Self {
        id.as_str().to_owned()
    }
}

/// One app as its user describes it, with every default filled in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AppSpec {
    /// Where it stands in the tree of groups.
    pub id: AppId,
    /// A line for `/bin/sh -c`; never together with `args`.
    pub cmd: Option<String>,
    /// An argument vector, the executable first; empty when `cmd` is given.
    pub args: Vec<String>,
    /// The user to run as; `None`: the agent's.
    pub user: Option<String>,
    /// Environment; wins over every variable the framework sets.
    pub env: BTreeMap<String, String>,
    /// For people, tools and the proxies.
    pub labels: BTreeMap<String, String>,
    /// How many are wanted.
    pub instances: u32,
    /// Thousandths of a CPU for each instance.
    pub cpus_milli: u64,
    /// Bytes of memory for each instance.
    pub mem_bytes: u64,
    /// Bytes of disk for each instance.
    pub disk_bytes: u64,
    /// Whole GPUs for each instance; 0 until containers carry them.
    pub gpus: u32,
    /// `""` or `"//cmd"`: the command executor.
    pub executor: String,
    /// Ports of the host, with the service port of each.
    pub port_definitions: Vec<PortDefinition>,
    /// Whether the host ports must be the very numbers of `port_definitions`.
    pub require_ports: bool,
    /// Where instances may run.
    pub constraints: Vec<Constraint>,
    /// The roles whose resources it takes; `None`: all the framework has.
    pub accepted_resource_roles: Option<BTreeSet<String>>,
    /// The role its resources are accounted to; `None`: the framework's.
    pub role: Option<String>,
    /// Apps or groups that are started before this one.
    pub dependencies: BTreeSet<AppId>,
    /// When an instance counts as healthy; at most one for now, run by the agent.
    pub health_checks: Vec<HealthCheckSpec>,
    /// How many may be missing or too many while it changes.
    pub upgrade_strategy: UpgradeStrategy,
    /// How fast failed instances are tried again.
    pub backoff: Backoff,
    /// From SIGTERM to SIGKILL; `None`: the agent's own.
    pub task_kill_grace_period: Option<Duration>,
    /// Which of several equals goes first.
    pub kill_selection: KillSelection,
    /// What happens to instances on agents that are not heard of.
    pub unreachable_strategy: UnreachableStrategy,
    /// What to bring into the sandbox first.
    pub fetch: Vec<Fetch>,
}

impl AppSpec {
    /// An app with Marathon's defaults: one instance, 1 CPU, 128 MB, one port, no check.
    pub fn new(id: AppId) -> Self {
        Self {
            id,
            cmd: None,
            args: Vec::new(),
            user: None,
            env: BTreeMap::new(),
            labels: BTreeMap::new(),
            instances: 1,
            cpus_milli: 1_000,
            mem_bytes: 128 * MEBIBYTE,
            disk_bytes: 0,
            gpus: 0,
            executor: String::new(),
            port_definitions: vec![PortDefinition::default_port()],
            require_ports: false,
            constraints: Vec::new(),
            accepted_resource_roles: None,
            role: None,
            dependencies: BTreeSet::new(),
            health_checks: Vec::new(),
            upgrade_strategy: UpgradeStrategy::default(),
            backoff: Backoff::default(),
            task_kill_grace_period: None,
            kill_selection: KillSelection::YoungestFirst,
            unreachable_strategy: UnreachableStrategy::default(),
            fetch: Vec::new(),
        }
    }

    /// Whether going from `before` to this needs new instances: any difference but the number of instances.
    pub fn is_config_change(&self, before: &Self) -> bool {
        let mut scaled = before.clone();
        scaled.instances = self.instances;
        *self != scaled
    }
}

/// One port of an app on host networking.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortDefinition {
    /// The service port; 0 in a request asks for one to be given. With `requirePorts` the host port too.
    pub port: u16,
    /// Over what.
    pub protocol: Protocol,
    /// For environment and discovery, unique within the app.
    pub name: Option<String>,
    /// For discovery.
    pub labels: BTreeMap<String, String>,
}

impl PortDefinition {
    /// What an app gets that says nothing of ports.
    pub fn default_port() -> Self {
        Self {
            port: 0,
            protocol: Protocol::Tcp,
            name: Some("default".to_owned()),
            labels: BTreeMap::new(),
        }
    }
}

/// What a port speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Protocol {
    /// `tcp`
    #[default]
    Tcp,
    /// `udp`
    Udp,
    /// `udp,tcp`
    UdpTcp,
}

impl Protocol {
    /// The name in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::UdpTcp => "udp,tcp",
        }
    }

    /// From the name in the API; `tcp,udp` is the same as `udp,tcp`.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "tcp" => Some(Self::Tcp),
            "udp" => Some(Self::Udp),
            "udp,tcp" | "tcp,udp" => Some(Self::UdpTcp),
            _ => None,
        }
    }
}

/// One constraint, as it is written: field, operator, value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Constraint {
    /// `hostname`, `@hostname`, `@region`, `@zone` or an attribute of agents.
    pub field: String,
    /// UNIQUE, CLUSTER, GROUP_BY, LIKE, UNLIKE, MAX_PER or IS, in capitals.
    pub operator: String,
    /// What the operator compares with.
    pub value: Option<String>,
}

/// When an instance counts as healthy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthCheckSpec {
    /// What is asked.
    pub protocol: HealthProtocol,
    /// Path of the HTTP kinds; `None`: `/`.
    pub path: Option<String>,
    /// A fixed port of the host.
    pub port: Option<u16>,
    /// Which of the app's ports, when `port` is not given.
    pub port_index: Option<u32>,
    /// The line of the COMMAND kind.
    pub command: Option<String>,
    /// Failures in this time do not count until the first success (300 s).
    pub grace_period: Duration,
    /// Between two probes (60 s).
    pub interval: Duration,
    /// A probe that takes longer has failed (20 s).
    pub timeout: Duration,
    /// So many failures in a row kill the instance (3); 0: never.
    pub max_consecutive_failures: u32,
    /// Wait before the first probe, of the MESOS kinds and COMMAND (15 s).
    pub delay: Duration,
    /// Whether 1xx answers are passed over, of the HTTP kind.
    pub ignore_http_1xx: bool,
}

impl HealthCheckSpec {
    /// A check with Marathon's defaults.
    pub const fn new(protocol: HealthProtocol) -> Self {
        Self {
            protocol,
            path: None,
            port: None,
            port_index: None,
            command: None,
            grace_period: Duration::from_secs(300),
            interval: Duration::from_secs(60),
            timeout: Duration::from_secs(20),
            max_consecutive_failures: 3,
            delay: Duration::from_secs(15),
            ignore_http_1xx: false,
        }
    }
}

/// What a health check asks. HTTP and TCP are run by the agent too, like their MESOS kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum HealthProtocol {
    /// `HTTP`
    Http,
    /// `TCP`
    Tcp,
    /// `COMMAND`
    Command,
    /// `MESOS_HTTP`
    MesosHttp,
    /// `MESOS_TCP`
    MesosTcp,
}

impl HealthProtocol {
    /// The name in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "HTTP",
            Self::Tcp => "TCP",
            Self::Command => "COMMAND",
            Self::MesosHttp => "MESOS_HTTP",
            Self::MesosTcp => "MESOS_TCP",
        }
    }

    /// From the name in the API; `None` for those not carried (HTTPS, MESOS_HTTPS) and unknown ones.
    pub fn from_name(name: &str) -> Option<Self> {
        [
            Self::Http,
            Self::Tcp,
            Self::Command,
            Self::MesosHttp,
            Self::MesosTcp,
        ]
        .into_iter()
        .find(|protocol| protocol.as_str() == name)
    }

    /// Whether it asks a port.
    pub const fn needs_port(self) -> bool {
        match self {
            Self::Http | Self::Tcp | Self::MesosHttp | Self::MesosTcp => true,
            Self::Command => false,
        }
    }

    /// Whether it speaks HTTP.
    pub const fn is_http(self) -> bool {
        match self {
            Self::Http | Self::MesosHttp => true,
            Self::Tcp | Self::Command | Self::MesosTcp => false,
        }
    }
}

/// How many instances may be missing or too many while an app is replaced, as parts of those wanted.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct UpgradeStrategy {
    /// So many stay healthy, 0 to 1.
    pub minimum_health_capacity: f64,
    /// So many more than wanted may run, 0 to 1.
    pub maximum_over_capacity: f64,
}

impl Default for UpgradeStrategy {
    fn default() -> Self {
        Self {
            minimum_health_capacity: 1.0,
            maximum_over_capacity: 1.0,
        }
    }
}

/// How fast failed instances are tried again.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Backoff {
    /// Delay after the first failure (1 s).
    pub initial: Duration,
    /// Each further failure multiplies the delay by this (1.15).
    pub factor: f64,
    /// The longest delay (300 s).
    pub maximum: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            initial: Duration::from_secs(1),
            factor: 1.15,
            maximum: Duration::from_secs(300),
        }
    }
}

/// Which of several equals is killed first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum KillSelection {
    /// `YOUNGEST_FIRST`
    #[default]
    YoungestFirst,
    /// `OLDEST_FIRST`
    OldestFirst,
}

impl KillSelection {
    /// The name in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::YoungestFirst => "YOUNGEST_FIRST",
            Self::OldestFirst => "OLDEST_FIRST",
        }
    }
}

/// What happens to instances on agents that are not heard of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum UnreachableStrategy {
    /// They are waited for as long as it takes.
    Disabled,
    /// They are replaced, then forgotten.
    Enabled {
        /// A replacement is started after this time (0 s).
        inactive_after: Duration,
        /// They are forgotten after this time, and killed if they come back (0 s).
        expunge_after: Duration,
    },
}

impl Default for UnreachableStrategy {
    fn default() -> Self {
        Self::Enabled {
            inactive_after: Duration::ZERO,
            expunge_after: Duration::ZERO,
        }
    }
}

/// Something to bring into the sandbox.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fetch {
    /// Where it is.
    pub uri: String,
    /// Unpack archives.
    pub extract: bool,
    /// Set the executable bit.
    pub executable: bool,
    /// Keep it for other tasks.
    pub cache: bool,
    /// Path in the sandbox; `None`: the last segment of `uri`.
    pub dest_path: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_made_absolute() {
        for text in ["web", "/web", "//web/", "web/"] {
            assert_eq!(AppId::new(text).expect("good").as_str(), "/web");
        }
        for bad in [
            "",
            "/",
            "/Web",
            "/a_b",
            "/-a",
            "/a-",
            "/a..b",
            "/a//b",
            "/a/restart",
            "/a b",
            &"x".repeat(200),
        ] {
            assert!(AppId::new(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn an_id_is_read_back_from_the_ids_of_its_instances() {
        let id = AppId::new("/shop/web-1.x").expect("good");

        assert_eq!(id.flat(), "shop_web-1.x");
        assert_eq!(AppId::from_flat(&id.flat()), Some(id.clone()));
        assert_eq!(id.task_name(), "web-1.x.shop");
        assert!(id.is_within(&AppId::new("/shop").expect("good")));
        assert!(!id.is_within(&AppId::new("/sho").expect("good")));
    }
}
