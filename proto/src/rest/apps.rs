//! Apps as `/v2/apps` reads and writes them.
//!
//! [`App`] is both what a user says and what is printed back: every field may be left out, and only those that are set
//! are printed. Times are text, `2026-01-31T12:00:00.000Z`.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{MapAccess, Visitor, value::MapAccessDeserializer};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::optional_fields;
use super::readiness::{ReadinessCheck, TaskReadinessCheckResult};
use super::tasks::{Task, TaskFailure, TaskStatsByVersion};

optional_fields! {
    /// One app. What is not carried yet is kept as it came, so that it can be refused by name.
    pub struct App {
        /// Where it stands in the tree of groups: `/shop/web`.
        id: String,
        /// A line for `/bin/sh -c`.
        cmd: String,
        /// An argument vector, the executable first.
        args: Vec<String>,
        /// The user to run as.
        user: String,
        /// Environment.
        env: BTreeMap<String, EnvValue>,
        /// For people, tools and proxies.
        labels: BTreeMap<String, String>,
        /// How many are wanted.
        instances: i64,
        /// CPUs for each instance.
        #[serde(serialize_with = "super::number::optional")]
        cpus: f64,
        /// Memory for each instance, in MB of 2^20 bytes.
        #[serde(serialize_with = "super::number::optional")]
        mem: f64,
        /// Disk for each instance, in MB of 2^20 bytes.
        #[serde(serialize_with = "super::number::optional")]
        disk: f64,
        /// GPUs for each instance.
        gpus: i64,
        /// `""` and `//cmd`: the command executor.
        executor: String,
        /// Ports of the host.
        port_definitions: Vec<PortDefinition>,
        /// Whether the host ports must be the very numbers of the port definitions.
        require_ports: bool,
        /// How instances are connected.
        networks: Vec<Network>,
        /// Where instances may run: field, operator, value.
        constraints: Vec<Vec<String>>,
        /// The roles whose resources it takes.
        accepted_resource_roles: Vec<String>,
        /// The role its resources are accounted to.
        role: String,
        /// Apps or groups that are started before this one.
        dependencies: Vec<String>,
        /// When an instance counts as healthy.
        health_checks: Vec<HealthCheck>,
        /// How many may be missing or too many while it changes.
        upgrade_strategy: UpgradeStrategy,
        /// Seconds of delay after the first failure.
        backoff_seconds: i64,
        /// What each further failure multiplies the delay by.
        #[serde(serialize_with = "super::number::optional")]
        backoff_factor: f64,
        /// The longest delay, in seconds.
        max_launch_delay_seconds: i64,
        /// From SIGTERM to SIGKILL, in seconds.
        task_kill_grace_period_seconds: i64,
        /// Which of several equals is killed first.
        kill_selection: String,
        /// What happens to instances on agents that are not heard of.
        unreachable_strategy: UnreachableStrategy,
        /// What to bring into the sandbox first.
        fetch: Vec<Fetch>,
        /// Names the version; in a request the version to go back to.
        version: String,
        /// Since when; only printed.
        version_info: VersionInfo,
        /// Service ports in the old form; read, never printed.
        ports: Vec<i64>,
        /// Addresses to fetch in the old form; read, never printed.
        uris: Vec<String>,
        /// A terminal for the command.
        tty: bool,
        /// What the instance runs in.
        container: Container,
        /// A check for information only.
        check: Check,
        /// What the executor takes: not carried yet.
        executor_resources: serde_json::Value,
        /// A network by name, in the old form.
        ip_address: IpAddress,
        /// When an instance that a deployment has started is ready.
        readiness_checks: Vec<ReadinessCheck>,
        /// What is said of its persistent volumes.
        residency: Residency,
        /// Limits above the request: `cpus` and `mem`, each a number or `"unlimited"`.
        resource_limits: serde_json::Value,
        /// Secrets by name.
        secrets: BTreeMap<String, SecretDef>,
    }
}

/// Where a secret lies.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretDef {
    /// In the words of whoever keeps it.
    pub source: String,
}

optional_fields! {
    /// What an instance runs in.
    pub struct Container {
        /// `DOCKER`, also when nothing is said, or `MESOS`.
        r#type: String,
        /// The image.
        docker: DockerContainer,
        /// What is seen besides.
        volumes: Vec<ContainerVolume>,
        /// Ports of a container on a network of its own.
        port_mappings: Vec<PortMapping>,
        /// Seccomp profile and shared memory: not carried yet.
        linux_info: serde_json::Value,
    }
}

optional_fields! {
    /// An image, and how it is run.
    pub struct DockerContainer {
        /// Its reference.
        image: String,
        /// Ask the registry before every start.
        force_pull_image: bool,
        /// Options of Docker's command line: not carried yet.
        parameters: Vec<serde_json::Value>,
        /// As good as root of the machine.
        privileged: bool,
        /// The secret that is the login for the registry: `{"secret": name}`.
        pull_config: serde_json::Value,
        /// The same in the old form: not carried yet.
        credential: serde_json::Value,
        /// The network in the old form: `HOST`, `BRIDGE`, `USER`.
        network: String,
        /// Mapped ports in the old form.
        port_mappings: Vec<PortMapping>,
    }
}

optional_fields! {
    /// A place inside a container, and what is seen there.
    pub struct ContainerVolume {
        /// The place.
        container_path: String,
        /// A path of the host, or, when relative, of the sandbox.
        host_path: String,
        /// `RO` or `RW`.
        mode: String,
        /// A volume that stays from one task to the next.
        persistent: PersistentVolume,
        /// A volume from elsewhere: not carried yet.
        external: serde_json::Value,
        /// The name of a secret, which is seen as a file.
        secret: String,
    }
}

optional_fields! {
    /// A volume that stays.
    pub struct PersistentVolume {
        /// `root`, `path` or `mount`.
        r#type: String,
        /// In MB of 2^20 bytes.
        size: i64,
        /// The most of it, of a disk of its own: not carried yet.
        max_size: i64,
        /// Which kind of disk, by the name of its operator: not carried yet.
        profile_name: String,
        /// Which disk: not carried yet.
        constraints: serde_json::Value,
    }
}

optional_fields! {
    /// What is said of an app with volumes that stay.
    pub struct Residency {
        /// After which another place was to be looked for.
        relaunch_escalation_timeout_seconds: i64,
        /// `WAIT_FOREVER` or `RELAUNCH_AFTER_TIMEOUT`.
        task_lost_behavior: String,
    }
}

/// The value of an environment variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EnvValue {
    /// A text.
    Text(String),
    /// The name of a secret.
    Secret(String),
}

impl Serialize for EnvValue {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Text(text) => serializer.serialize_str(text),
            Self::Secret(secret) => BTreeMap::from([("secret", secret)]).serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for EnvValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Secret {
            secret: String,
        }
        struct TextOrSecret;
        impl<'de> Visitor<'de> for TextOrSecret {
            type Value = EnvValue;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }
            fn visit_str<E>(self, text: &str) -> Result<EnvValue, E> {
                Ok(EnvValue::Text(text.to_owned()))
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<EnvValue, A::Error> {
                let secret = Secret::deserialize(MapAccessDeserializer::new(map))?;
                Ok(EnvValue::Secret(secret.secret))
            }
        }
        deserializer.deserialize_any(TextOrSecret)
    }
}

optional_fields! {
    /// One port of an app on host networking.
    pub struct PortDefinition {
        /// The service port; 0 in a request asks for one.
        port: i64,
        /// `tcp`, `udp` or `udp,tcp`.
        protocol: String,
        /// For environment and discovery.
        name: String,
        /// For discovery.
        labels: BTreeMap<String, String>,
    }
}

optional_fields! {
    /// A port of a container, and how it is reached.
    pub struct PortMapping {
        /// Inside; 0: the same as on the host.
        container_port: i64,
        /// On the host; 0: one from the offer.
        host_port: i64,
        /// 0 asks for one to be given.
        service_port: i64,
        /// `tcp`, `udp` or `udp,tcp`.
        protocol: String,
        /// For environment and discovery.
        name: String,
        /// For discovery.
        labels: BTreeMap<String, String>,
        /// Of several networks, the one meant.
        network_names: Vec<String>,
    }
}

optional_fields! {
    /// How instances are connected.
    pub struct Network {
        /// `host`, `container/bridge` or `container`.
        mode: String,
        /// Of a container network.
        name: String,
        /// Of a container network.
        labels: BTreeMap<String, String>,
    }
}

optional_fields! {
    /// A network by name in the old form.
    pub struct IpAddress {
        /// Its name.
        network_name: String,
        /// Of the network.
        labels: BTreeMap<String, String>,
        /// The ports of containers on it.
        discovery: IpDiscovery,
    }
}

optional_fields! {
    /// What is announced of an address of its own.
    pub struct IpDiscovery {
        /// Ports inside; they have none of the host.
        ports: Vec<IpDiscoveryPort>,
    }
}

optional_fields! {
    /// One port that is announced.
    pub struct IpDiscoveryPort {
        /// Inside.
        number: i64,
        /// For environment and discovery.
        name: String,
        /// `tcp` or `udp`.
        protocol: String,
        /// For discovery.
        labels: BTreeMap<String, String>,
    }
}

optional_fields! {
    /// When an instance counts as healthy.
    pub struct HealthCheck {
        /// `HTTP`, `TCP`, `COMMAND`, `MESOS_HTTP`, …
        protocol: String,
        /// Path of the HTTP kinds.
        path: String,
        /// A fixed port of the host.
        port: i64,
        /// Which of the app's ports.
        port_index: i64,
        /// Of the COMMAND kind.
        command: CommandCheck,
        /// Failures in this time do not count until the first success.
        grace_period_seconds: i64,
        /// Between two probes.
        interval_seconds: i64,
        /// A probe that takes longer has failed.
        timeout_seconds: i64,
        /// So many failures in a row kill the instance; 0: never.
        max_consecutive_failures: i64,
        /// Before the first probe.
        delay_seconds: i64,
        /// Whether 1xx answers are passed over.
        #[serde(rename = "ignoreHttp1xx")]
        ignore_http_1xx: bool,
        /// `IPv4` or `IPv6`.
        ip_protocol: String,
    }
}

optional_fields! {
    /// What is asked for information only; one of `http`, `tcp` and `exec`.
    pub struct Check {
        /// GET.
        http: PortCheck,
        /// A connection.
        tcp: PortCheck,
        /// A command inside.
        exec: super::pods::CommandCheck,
        /// Between two questions.
        interval_seconds: i64,
        /// Who takes longer has not answered.
        timeout_seconds: i64,
        /// Before the first question.
        delay_seconds: i64,
    }
}

optional_fields! {
    /// Which port is asked.
    pub struct PortCheck {
        /// Which of the app's.
        port_index: i64,
        /// A fixed one.
        port: i64,
        /// Of a GET.
        path: String,
        /// `HTTP` or `HTTPS`, of a GET.
        scheme: String,
    }
}

optional_fields! {
    /// The command of a health check.
    pub struct CommandCheck {
        /// A line for `/bin/sh -c`.
        value: String,
    }
}

optional_fields! {
    /// How many instances may be missing or too many while an app changes, as parts of those wanted.
    pub struct UpgradeStrategy {
        /// So many more may run.
        #[serde(serialize_with = "super::number::optional")]
        maximum_over_capacity: f64,
        /// So many stay healthy.
        #[serde(serialize_with = "super::number::optional")]
        minimum_health_capacity: f64,
    }
}

/// What happens to instances on agents that are not heard of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UnreachableStrategy {
    /// A word; only `disabled` has a meaning: they are waited for.
    Word(String),
    /// They are replaced, then forgotten.
    Enabled(UnreachableEnabled),
}

optional_fields! {
    /// After how long they are replaced and forgotten.
    #[derive(Eq)]
    pub struct UnreachableEnabled {
        /// A replacement is started after so many seconds.
        inactive_after_seconds: i64,
        /// They are forgotten after so many seconds.
        expunge_after_seconds: i64,
    }
}

impl Serialize for UnreachableStrategy {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Word(word) => serializer.serialize_str(word),
            Self::Enabled(enabled) => enabled.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for UnreachableStrategy {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct WordOrObject;
        impl<'de> Visitor<'de> for WordOrObject {
            type Value = UnreachableStrategy;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map")
            }
            fn visit_str<E>(self, word: &str) -> Result<UnreachableStrategy, E> {
                Ok(UnreachableStrategy::Word(word.to_owned()))
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<UnreachableStrategy, A::Error> {
                UnreachableEnabled::deserialize(MapAccessDeserializer::new(map))
                    .map(UnreachableStrategy::Enabled)
            }
        }
        deserializer.deserialize_any(WordOrObject)
    }
}

optional_fields! {
    /// Something to bring into the sandbox.
    pub struct Fetch {
        /// Where it is.
        uri: String,
        /// Unpack archives.
        extract: bool,
        /// Set the executable bit.
        executable: bool,
        /// Keep it for other tasks.
        cache: bool,
        /// Path in the sandbox.
        dest_path: String,
    }
}

/// Since when an app is as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VersionInfo {
    /// The version in which the number of instances last changed.
    #[serde(default)]
    pub last_scaling_at: String,
    /// The version in which anything else last changed.
    #[serde(default)]
    pub last_config_change_at: String,
}

/// An app and how it stands.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct AppInfo {
    /// What is wanted.
    #[serde(flatten)]
    pub app: App,
    /// What is.
    #[serde(flatten)]
    pub standing: Standing,
}

optional_fields! {
    /// How an app stands; the parts that were asked for.
    pub struct Standing {
        /// Launched, not running.
        tasks_staged: u32,
        /// Running.
        tasks_running: u32,
        /// Running, and the check passes.
        tasks_healthy: u32,
        /// Running, and the check fails.
        tasks_unhealthy: u32,
        /// Deployments that change it.
        deployments: Vec<Identifiable>,
        /// What instances of a running deployment say of their readiness.
        readiness_check_results: Vec<TaskReadinessCheckResult>,
        /// Its tasks.
        tasks: Vec<Task>,
        /// How an instance failed last.
        last_task_failure: TaskFailure,
        /// Counts and life times.
        tasks_stats: TaskStatsByVersion,
        /// The same by the name under which clients look for it.
        task_stats: TaskStatsByVersion,
    }
}

/// Something with an id.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identifiable {
    /// The id.
    pub id: String,
}

/// `GET /v2/apps`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct AppList {
    /// By id.
    pub apps: Vec<AppInfo>,
}

/// `GET /v2/apps/{id}`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct AppSingle {
    /// The app.
    pub app: AppInfo,
}

/// `GET /v2/apps/{group}/*`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct AppsBelow {
    /// All apps below a group.
    #[serde(rename = "*")]
    pub apps: Vec<AppInfo>,
}

/// `GET /v2/apps/{id}/versions`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionList {
    /// Newest first.
    pub versions: Vec<String>,
}
