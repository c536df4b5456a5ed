//! Pods as `/v2/pods` reads and writes them.
//!
//! [`Pod`] is both what a user says and what is printed back, as [`App`](super::apps::App) is.

mod status; // how pods, their instances and containers stand

use std::collections::BTreeMap;

use super::apps::{EnvValue, Fetch, Network, SecretDef, UnreachableStrategy};
use super::optional_fields;
pub use status::{
    AgentInfo, ContainerStatus, ContainerTermination, EndpointStatus, Instance, InstanceState,
    NetworkStatus, PodInstanceStatus, PodStatus, StatusCondition, Termination, TerminationState,
};

optional_fields! {
    /// One pod. What is not carried yet is kept as it came, so that it can be refused by name.
    pub struct Pod {
        /// Where it stands in the tree of groups: `/shop/web`.
        id: String,
        /// For people, tools and proxies.
        labels: BTreeMap<String, String>,
        /// Names the version; only printed.
        version: String,
        /// The user that containers run as.
        user: String,
        /// Environment of all containers.
        environment: BTreeMap<String, EnvValue>,
        /// What starts together; at least one.
        containers: Vec<PodContainer>,
        /// Secrets by name.
        secrets: BTreeMap<String, SecretDef>,
        /// Directories that containers share.
        volumes: Vec<PodVolume>,
        /// How instances are connected.
        networks: Vec<Network>,
        /// How many are wanted.
        scaling: PodScaling,
        /// Where and when instances run.
        scheduling: PodScheduling,
        /// What is taken beside the containers.
        executor_resources: ExecutorResources,
        /// The role its resources are accounted to.
        role: String,
        /// Seccomp profile and shared memory: not carried yet.
        linux_info: serde_json::Value,
        /// One control group for all containers: not carried.
        legacy_shared_cgroups: bool,
    }
}

optional_fields! {
    /// One container of a pod.
    pub struct PodContainer {
        /// Unique in the pod.
        name: String,
        /// What it runs.
        exec: Exec,
        /// What it takes.
        resources: Resources,
        /// Limits above the request: `cpus` and `mem`, each a number or `"unlimited"`.
        resource_limits: serde_json::Value,
        /// Its ports.
        endpoints: Vec<Endpoint>,
        /// What it runs in.
        image: Image,
        /// Environment, beside that of the pod.
        environment: BTreeMap<String, EnvValue>,
        /// The user it runs as, in place of the pod's.
        user: String,
        /// When it counts as healthy.
        health_check: HealthCheck,
        /// A check for information only: the same without grace and failures.
        check: HealthCheck,
        /// Which volumes it sees.
        volume_mounts: Vec<VolumeMount>,
        /// What to bring into its sandbox first.
        artifacts: Vec<Fetch>,
        /// For people and tools.
        labels: BTreeMap<String, String>,
        /// How it ends.
        lifecycle: Lifecycle,
        /// Seccomp profile and shared memory: not carried yet.
        linux_info: serde_json::Value,
        /// A terminal for the command.
        tty: bool,
    }
}

optional_fields! {
    /// What a container runs.
    pub struct Exec {
        /// A line or an argument vector.
        command: Command,
        /// Whether the first argument is run in place of the image's own program.
        override_entrypoint: bool,
    }
}

optional_fields! {
    /// A command; one of both.
    pub struct Command {
        /// A line for `/bin/sh -c`.
        shell: String,
        /// An argument vector.
        argv: Vec<String>,
    }
}

optional_fields! {
    /// What a container takes.
    pub struct Resources {
        /// CPUs.
        #[serde(serialize_with = "super::number::optional")]
        cpus: f64,
        /// Memory, in MB of 2^20 bytes.
        #[serde(serialize_with = "super::number::optional")]
        mem: f64,
        /// Disk, in MB of 2^20 bytes.
        #[serde(serialize_with = "super::number::optional")]
        disk: f64,
        /// GPUs.
        gpus: i64,
    }
}

optional_fields! {
    /// What is taken beside the containers.
    pub struct ExecutorResources {
        /// CPUs.
        #[serde(serialize_with = "super::number::optional")]
        cpus: f64,
        /// Memory, in MB of 2^20 bytes.
        #[serde(serialize_with = "super::number::optional")]
        mem: f64,
        /// Disk, in MB of 2^20 bytes.
        #[serde(serialize_with = "super::number::optional")]
        disk: f64,
    }
}

optional_fields! {
    /// A port of a container.
    pub struct Endpoint {
        /// Unique in the pod.
        name: String,
        /// Inside; not on the network of the host.
        container_port: i64,
        /// On the host; 0: one from the offer.
        host_port: i64,
        /// `tcp`, `udp`, or both.
        protocol: Vec<String>,
        /// For discovery.
        labels: BTreeMap<String, String>,
        /// Of several networks, the one meant.
        network_names: Vec<String>,
    }
}

optional_fields! {
    /// What a container runs in.
    pub struct Image {
        /// `DOCKER`.
        kind: String,
        /// Its reference.
        id: String,
        /// The secret that is the login for the registry: `{"secret": name}`.
        pull_config: serde_json::Value,
        /// Ask the registry before every start.
        force_pull: bool,
        /// For people and tools.
        labels: BTreeMap<String, String>,
    }
}

optional_fields! {
    /// When a container counts as healthy; one of `http`, `tcp` and `exec`.
    pub struct HealthCheck {
        /// GET.
        http: HttpCheck,
        /// A connection.
        tcp: TcpCheck,
        /// A command inside.
        exec: CommandCheck,
        /// Failures in this time do not count until the first success.
        grace_period_seconds: i64,
        /// Between two probes.
        interval_seconds: i64,
        /// So many failures in a row kill the instance; 0: never.
        max_consecutive_failures: i64,
        /// A probe that takes longer has failed.
        timeout_seconds: i64,
        /// Before the first probe.
        delay_seconds: i64,
    }
}

optional_fields! {
    /// GET at an endpoint.
    pub struct HttpCheck {
        /// Which, by name.
        endpoint: String,
        /// Path and query.
        path: String,
        /// `HTTP` or `HTTPS`.
        scheme: String,
    }
}

optional_fields! {
    /// A connection to an endpoint.
    pub struct TcpCheck {
        /// Which, by name.
        endpoint: String,
    }
}

optional_fields! {
    /// A command that tells by its exit code.
    pub struct CommandCheck {
        /// Which.
        command: Command,
    }
}

optional_fields! {
    /// Where a container sees a volume.
    pub struct VolumeMount {
        /// Which volume.
        name: String,
        /// The place inside.
        mount_path: String,
        /// Whether it can only be read.
        read_only: bool,
    }
}

optional_fields! {
    /// How a container ends.
    pub struct Lifecycle {
        /// From SIGTERM to SIGKILL, in seconds.
        #[serde(serialize_with = "super::number::optional")]
        kill_grace_period_seconds: f64,
    }
}

optional_fields! {
    /// A directory that containers share; ephemeral where nothing is said but the name.
    pub struct PodVolume {
        /// Unique in the pod.
        name: String,
        /// A path of the host.
        host: String,
        /// A volume that stays: not carried yet.
        persistent: serde_json::Value,
        /// The name of a secret, which is seen as a file.
        secret: String,
    }
}

optional_fields! {
    /// How many instances are wanted.
    pub struct PodScaling {
        /// `fixed`.
        kind: String,
        /// So many.
        instances: i64,
    }
}

optional_fields! {
    /// Where and when instances run.
    pub struct PodScheduling {
        /// How fast failed instances are tried again.
        backoff: PodBackoff,
        /// How many may be missing or too many while it changes.
        upgrade: PodUpgrade,
        /// Where.
        placement: PodPlacement,
        /// Which of several equals is killed first.
        kill_selection: String,
        /// What happens to instances on agents that are not heard of.
        unreachable_strategy: UnreachableStrategy,
    }
}

optional_fields! {
    /// How fast failed instances are tried again.
    pub struct PodBackoff {
        /// Seconds of delay after the first failure.
        #[serde(serialize_with = "super::number::optional")]
        backoff: f64,
        /// What each further failure multiplies the delay by.
        #[serde(serialize_with = "super::number::optional")]
        backoff_factor: f64,
        /// The longest delay, in seconds.
        #[serde(serialize_with = "super::number::optional")]
        max_launch_delay: f64,
    }
}

optional_fields! {
    /// How many instances may be missing or too many while a pod changes, as parts of those wanted.
    pub struct PodUpgrade {
        /// So many stay healthy.
        #[serde(serialize_with = "super::number::optional")]
        minimum_health_capacity: f64,
        /// So many more may run.
        #[serde(serialize_with = "super::number::optional")]
        maximum_over_capacity: f64,
    }
}

optional_fields! {
    /// Where instances run.
    pub struct PodPlacement {
        /// All of these hold.
        constraints: Vec<PodConstraint>,
        /// The roles whose resources it takes.
        accepted_resource_roles: Vec<String>,
    }
}

optional_fields! {
    /// Where instances may run.
    pub struct PodConstraint {
        /// `hostname`, `@region`, `@zone` or an attribute.
        field_name: String,
        /// `UNIQUE`, `CLUSTER`, …
        operator: String,
        /// What the operator compares with.
        value: String,
    }
}
