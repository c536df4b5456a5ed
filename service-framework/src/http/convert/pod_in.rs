//! What a user says of a pod.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use mete_model::MEBIBYTE;
use mete_proto::rest::apps::EnvValue;
use mete_proto::rest::pods::{
    Command, Endpoint as SaidEndpoint, ExecutorResources as SaidExecutor, HealthCheck, Image, Pod,
    PodContainer as SaidContainer, PodScheduling, PodVolume as SaidVolume,
    VolumeMount as SaidMount,
};
use mete_service_framework_core::spec::app::{
    AppId, AppNetwork, AppSpec, Constraint, Endpoint, ExecutorResources, HealthCheckSpec,
    HealthProtocol, Mapping, PodContainer, PodImage, PodProgram, PodSpec, PodVolume,
    PortDefinition, Protocol, VolumeMount, VolumeSource,
};
use mete_service_framework_core::validate::quantity;
use serde_json::Value;

use super::app_in::{kill_selection, seconds, secrets, unreachable, variables};
use super::check::SCHEMES;
use super::container::path_inside;
use super::container::pull_secret;
use super::legacy::{MAX_URI_BYTES, asks_for_nothing, fetched};
use super::ports::is_name;
use super::{Faults, limits, networks};
use crate::http::failure::Failure;

/// The longest name of a container, an endpoint, a volume (Marathon's schema).
const MAX_NAME_BYTES: usize = 63;
/// The longest delay that makes sense: a hundred years, in seconds.
const MAX_DELAY: f64 = 3_153_600_000.0;

/// The pod that is said.
///
/// # Errors
/// 422 with everything whose form is wrong or that is not carried yet.
pub(in crate::http) fn pod(id: AppId, said: &Pod) -> Result<AppSpec, Failure> {
    let mut faults = Faults::default();
    let mut spec = AppSpec::new_pod(id, PodSpec::default());
    spec.network = said
        .networks
        .as_ref()
        .filter(|list| !list.is_empty())
        .and_then(|list| networks::list(list, &mut faults))
        .unwrap_or_default();
    spec.pod = Some(Box::new(parts(said, &spec.network, &mut faults)));
    refuse(said, &mut faults);
    spec.labels = said.labels.clone().unwrap_or_default();
    spec.user.clone_from(&said.user);
    if said.user.as_ref().is_some_and(String::is_empty) {
        faults.shape("/user", "must not be empty");
    }
    (spec.env, spec.env_secrets) = environment(said.environment.as_ref(), &mut faults);
    spec.secrets = said.secrets.as_ref().map(secrets).unwrap_or_default();
    if let Some(role) = &said.role {
        faults.text("/role", role, usize::MAX);
        spec.role = Some(role.clone());
    }
    if let Some(scaling) = &said.scaling {
        if scaling.kind.as_deref().is_some_and(|kind| kind != "fixed") {
            faults.shape("/scaling/kind", "Not a fixed scaling policy");
        }
        let instances = scaling.instances.unwrap_or(1);
        if let Some(count) = faults.whole("/scaling/instances", instances, i32::MAX) {
            spec.instances = count.unsigned_abs();
        }
    }
    if let Some(scheduling) = &said.scheduling {
        schedule(&mut spec, scheduling, &mut faults);
    }
    faults.unless_any(spec)
}

fn refuse(said: &Pod, faults: &mut Faults) {
    refused("/linuxInfo", LINUX_INFO, said.linux_info.as_ref(), faults);
    if said.legacy_shared_cgroups == Some(true) {
        let what = "one control group for all containers";
        faults.not_carried("/legacySharedCgroups", what);
    }
}

const LINUX_INFO: &str = "a seccomp profile or shared memory of its own";

fn refused(path: &str, what: &str, said: Option<&Value>, faults: &mut Faults) {
    if said.is_some_and(|value| !asks_for_nothing(value)) {
        faults.not_carried(path, what);
    }
}

fn parts(said: &Pod, network: &AppNetwork, faults: &mut Faults) -> PodSpec {
    let mut containers = Vec::new();
    if said.containers.is_none() {
        faults.shape("/containers", "error.path.missing");
    }
    for (at, one) in said.containers.iter().flatten().enumerate() {
        let mut found = Faults::default();
        containers.push(container(one, network, &mut found));
        faults.absorb(&format!("/containers({at})"), found);
    }
    let volumes = said.volumes.iter().flatten().enumerate();
    PodSpec {
        containers,
        volumes: volumes
            .filter_map(|(at, one)| volume(&format!("/volumes({at})"), one, faults))
            .collect(),
        executor: executor(said.executor_resources.as_ref(), faults),
    }
}

fn executor(said: Option<&SaidExecutor>, faults: &mut Faults) -> ExecutorResources {
    let mut executor = ExecutorResources::LEAST;
    let Some(said) = said else { return executor };
    let mut amount = |key: &str, value: Option<f64>, unit: u64, into: &mut u64| {
        let Some(value) = value else { return };
        let path = format!("/executorResources/{key}");
        match quantity(&path, value, *into as f64 / unit as f64, unit) {
            Ok(units) => *into = units,
            Err(violation) => faults.shape.push(violation),
        }
    };
    amount("cpus", said.cpus, 1_000, &mut executor.cpus_milli);
    amount("mem", said.mem, MEBIBYTE, &mut executor.mem_bytes);
    amount("disk", said.disk, MEBIBYTE, &mut executor.disk_bytes);
    executor
}

fn volume(path: &str, said: &SaidVolume, faults: &mut Faults) -> Option<PodVolume> {
    if said.persistent.is_some() {
        faults.not_carried(path, "a persistent volume");
        return None;
    }
    let name = name(&format!("{path}/name"), said.name.as_ref(), faults);
    let source = match (&said.secret, &said.host) {
        (None, None) => Some(VolumeSource::Ephemeral),
        (Some(secret), _) => {
            if secret.is_empty() {
                faults.shape(format!("{path}/secret"), "must not be empty");
            }
            Some(VolumeSource::Secret(secret.clone()))
        }
        (None, Some(host)) => {
            path_inside(&format!("{path}/host"), Some(host), faults).map(VolumeSource::Host)
        }
    };
    Some(PodVolume {
        name,
        source: source?,
    })
}

/// A name that is there and fit for one; what it is when it is not does not matter.
fn name(path: &str, said: Option<&String>, faults: &mut Faults) -> String {
    let Some(name) = said else {
        faults.shape(path, "error.path.missing");
        return String::new();
    };
    faults.text(path, name, MAX_NAME_BYTES);
    if !name.is_empty() && !is_name(name) {
        faults.shape(path, "error.pattern");
    }
    name.clone()
}

fn container(said: &SaidContainer, network: &AppNetwork, faults: &mut Faults) -> PodContainer {
    let mut spec = PodContainer::new(name("/name", said.name.as_ref(), faults));
    resources(&mut spec, said, faults);
    if let Some(exec) = &said.exec {
        let path = "/exec/command";
        spec.program = command(path, exec.command.as_ref(), faults);
        if let Some(PodProgram::Argv {
            overrides_entrypoint,
            ..
        }) = &mut spec.program
        {
            *overrides_entrypoint = exec.override_entrypoint;
        }
    }
    spec.image = said.image.as_ref().map(|said| image(said, faults));
    let endpoints = said.endpoints.iter().flatten().enumerate();
    let one = |(at, said): (usize, &SaidEndpoint)| {
        endpoint(&format!("/endpoints({at})"), said, network, faults)
    };
    spec.endpoints = endpoints.map(one).collect();
    (spec.env, spec.env_secrets) = environment(said.environment.as_ref(), faults);
    spec.user.clone_from(&said.user);
    if said.user.as_ref().is_some_and(String::is_empty) {
        faults.shape("/user", "must not be empty");
    }
    let check = said.health_check.as_ref();
    spec.health_check =
        check.and_then(|said| health_check("/healthCheck", said, &spec.endpoints, faults));
    let check = said
        .check
        .as_ref()
        .filter(|said| **said != HealthCheck::default());
    spec.check = check
        .and_then(|said| health_check("/check", said, &spec.endpoints, faults))
        .map(Box::new);
    let mounts = said.volume_mounts.iter().flatten().enumerate();
    spec.mounts = mounts
        .filter_map(|(at, said)| mount(&format!("/volumeMounts({at})"), said, faults))
        .collect();
    let artifacts = said.artifacts.iter().flatten().enumerate();
    spec.fetch = artifacts
        .map(|(at, said)| fetched(&format!("/artifacts({at})"), said, faults))
        .collect();
    spec.labels = said.labels.clone().unwrap_or_default();
    let lifecycle = said.lifecycle.as_ref();
    let grace = lifecycle.and_then(|lifecycle| lifecycle.kill_grace_period_seconds);
    let path = "/lifecycle/killGracePeriodSeconds";
    spec.kill_grace_period = grace.and_then(|value| delay(path, value, faults));
    refused("/linuxInfo", LINUX_INFO, said.linux_info.as_ref(), faults);
    spec.tty = said.tty.unwrap_or_default();
    spec
}

fn resources(spec: &mut PodContainer, said: &SaidContainer, faults: &mut Faults) {
    let Some(resources) = &said.resources else {
        faults.shape("/resources", "error.path.missing");
        return;
    };
    let mut amount = |key: &str, value: Option<f64>, minimum: f64, unit: u64, into: &mut u64| {
        let Some(value) = value else { return };
        match quantity(&format!("/resources/{key}"), value, minimum, unit) {
            Ok(units) => *into = units,
            Err(violation) => faults.shape.push(violation),
        }
    };
    amount("cpus", resources.cpus, 0.001, 1_000, &mut spec.cpus_milli);
    amount("mem", resources.mem, 0.001, MEBIBYTE, &mut spec.mem_bytes);
    amount("disk", resources.disk, 0.0, MEBIBYTE, &mut spec.disk_bytes);
    let gpus = resources.gpus;
    if let Some(gpus) = gpus.and_then(|gpus| faults.whole("/resources/gpus", gpus, i32::MAX)) {
        spec.gpus = gpus.unsigned_abs();
    }
    spec.limits = limits::read(said.resource_limits.as_ref(), faults);
}

/// A line, or an argument vector; `None` when neither or both are said.
fn command(path: &str, said: Option<&Command>, faults: &mut Faults) -> Option<PodProgram> {
    let Some(said) = said else {
        faults.shape(path, "error.path.missing");
        return None;
    };
    match (&said.shell, &said.argv) {
        (Some(line), None) => Some(PodProgram::Shell(line.clone())),
        (None, Some(words)) => Some(PodProgram::Argv {
            words: words.clone(),
            overrides_entrypoint: None,
        }),
        (Some(_), Some(_)) | (None, None) => {
            faults.shape(path, "must have either shell or argv");
            None
        }
    }
}

fn image(said: &Image, faults: &mut Faults) -> PodImage {
    match said.kind.as_deref() {
        Some(kind) => drop(faults.word("/image/kind", kind, &[("DOCKER", ())])),
        None => faults.shape("/image/kind", "error.path.missing"),
    }
    let id = said.id.clone().unwrap_or_default();
    faults.text("/image/id", &id, MAX_URI_BYTES);
    let config = said.pull_config.as_ref();
    let pull_secret = pull_secret("/image/pullConfig", config, faults);
    PodImage {
        id,
        force_pull: said.force_pull,
        pull_secret,
        labels: said.labels.clone().unwrap_or_default(),
    }
}

fn endpoint(
    path: &str,
    said: &SaidEndpoint,
    network: &AppNetwork,
    faults: &mut Faults,
) -> Endpoint {
    let name = name(&format!("{path}/name"), said.name.as_ref(), faults);
    let mut port = |key: &str, value: Option<i64>| {
        value.and_then(|port| faults.whole(&format!("{path}/{key}"), port, u16::MAX))
    };
    let container_port = port("containerPort", said.container_port);
    let host_port = port("hostPort", said.host_port);
    if container_port == Some(0) {
        faults.shape(format!("{path}/containerPort"), "error.min");
    }
    let is_named = matches!(network, AppNetwork::Named(_));
    let protocols = said.protocol.clone().unwrap_or_default();
    let protocol = protocol(&format!("{path}/protocol"), &protocols, faults);
    Endpoint {
        port: PortDefinition {
            port: 0,
            protocol,
            name: Some(name),
            labels: said.labels.clone().unwrap_or_default(),
            mapping: Some(Mapping {
                container_port: container_port.unwrap_or_default(),
                host_port: host_port.or_else(|| (!is_named).then_some(0)),
                network_names: said.network_names.clone().unwrap_or_default(),
            }),
        },
        protocols,
    }
}

/// How what is spoken is carried: whatever is not `udp` is over TCP.
fn protocol(path: &str, said: &[String], faults: &mut Faults) -> Protocol {
    let distinct: BTreeSet<&str> = said.iter().map(String::as_str).collect();
    if distinct.len() < said.len() {
        let message = "Duplicate protocols within the same endpoint are not allowed";
        faults.meaning(path, message);
    }
    for (at, word) in said.iter().enumerate() {
        if !is_name(word) || word.len() > MAX_NAME_BYTES {
            faults.shape(format!("{path}({at})"), "error.pattern");
        }
    }
    match (distinct.contains("udp"), distinct.len()) {
        (false, _) => Protocol::Tcp,
        (true, 1) => Protocol::Udp,
        (true, _) => Protocol::UdpTcp,
    }
}

fn health_check(
    at: &str,
    said: &HealthCheck,
    endpoints: &[Endpoint],
    faults: &mut Faults,
) -> Option<HealthCheckSpec> {
    let mut spec = asked(at, said, endpoints, faults)?;
    let mut take = |key: &str, value: Option<i64>, into: &mut Duration| {
        if let Some(time) = seconds(&format!("{at}/{key}"), value, faults) {
            *into = time;
        }
    };
    take(
        "gracePeriodSeconds",
        said.grace_period_seconds,
        &mut spec.grace_period,
    );
    take("intervalSeconds", said.interval_seconds, &mut spec.interval);
    take("timeoutSeconds", said.timeout_seconds, &mut spec.timeout);
    take("delaySeconds", said.delay_seconds, &mut spec.delay);
    if let Some(failures) = said.max_consecutive_failures {
        let path = format!("{at}/maxConsecutiveFailures");
        let failures = faults.whole(&path, failures, i32::MAX)?;
        spec.max_consecutive_failures = failures.unsigned_abs();
    }
    Some(spec)
}

/// What a check asks, with the usual times.
fn asked(
    at: &str,
    said: &HealthCheck,
    endpoints: &[Endpoint],
    faults: &mut Faults,
) -> Option<HealthCheckSpec> {
    match (&said.http, &said.tcp, &said.exec) {
        (Some(http), None, None) => {
            let scheme = http.scheme.as_deref().unwrap_or("HTTP");
            let protocol = faults.word(format!("{at}/http/scheme"), scheme, &SCHEMES)?;
            if let Some(path) = &http.path {
                faults.text(&format!("{at}/http/path"), path, MAX_URI_BYTES);
            }
            let place = format!("{at}/http/endpoint");
            Some(HealthCheckSpec {
                path: http.path.clone(),
                port_index: index(&place, http.endpoint.as_ref(), endpoints, faults),
                ..HealthCheckSpec::new(protocol)
            })
        }
        (None, Some(tcp), None) => {
            let place = format!("{at}/tcp/endpoint");
            Some(HealthCheckSpec {
                port_index: index(&place, tcp.endpoint.as_ref(), endpoints, faults),
                ..HealthCheckSpec::new(HealthProtocol::MesosTcp)
            })
        }
        (None, None, Some(exec)) => {
            let mut spec = HealthCheckSpec::new(HealthProtocol::Command);
            let path = format!("{at}/exec/command");
            match command(&path, exec.command.as_ref(), faults)? {
                PodProgram::Shell(line) => spec.command = Some(line),
                PodProgram::Argv { words, .. } => spec.argv = words,
            }
            Some(spec)
        }
        (_, _, _) => {
            let message = "Only one of http, tcp, or command may be specified";
            faults.meaning(at, message);
            None
        }
    }
}

/// Which endpoint of the container has a name.
fn index(
    path: &str,
    said: Option<&String>,
    endpoints: &[Endpoint],
    faults: &mut Faults,
) -> Option<u32> {
    let Some(name) = said else {
        faults.shape(path, "error.path.missing");
        return None;
    };
    let mut names = endpoints.iter().map(|endpoint| &endpoint.port.name);
    let at = names.position(|of| of.as_ref() == Some(name));
    if at.is_none() {
        faults.meaning(path, "contained in the container endpoints");
    }
    u32::try_from(at?).ok()
}

fn mount(path: &str, said: &SaidMount, faults: &mut Faults) -> Option<VolumeMount> {
    let name = name(&format!("{path}/name"), said.name.as_ref(), faults);
    let place = format!("{path}/mountPath");
    if let Some(text) = &said.mount_path {
        faults.text(&place, text, MAX_URI_BYTES);
    }
    Some(VolumeMount {
        name,
        path: path_inside(&place, said.mount_path.as_ref(), faults)?,
        read_only: said.read_only,
    })
}

type Variables = BTreeMap<String, String>;

/// Variables with a value, and those that hold a secret.
fn environment(
    said: Option<&BTreeMap<String, EnvValue>>,
    faults: &mut Faults,
) -> (Variables, Variables) {
    let Some(said) = said else {
        return Default::default();
    };
    let is_fit = |name: &str| {
        let is_known = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        name.bytes().all(is_known) && !name.starts_with(|first: char| first.is_ascii_digit())
    };
    for name in said.keys().filter(|name| !is_fit(name)) {
        let shown: String = name.chars().take(80).collect();
        let message =
            "must contain only alphanumeric chars or underscore, and must not begin with a number";
        faults.meaning("/environment", format!("{shown:?} {message}"));
    }
    variables(said)
}

fn schedule(spec: &mut AppSpec, said: &PodScheduling, faults: &mut Faults) {
    if let Some(backoff) = &said.backoff {
        let mut take = |key: &str, value: Option<f64>, into: &mut Duration| {
            let path = format!("/scheduling/backoff/{key}");
            if let Some(time) = value.and_then(|value| delay(&path, value, faults)) {
                *into = time;
            }
        };
        take("backoff", backoff.backoff, &mut spec.backoff.initial);
        take(
            "maxLaunchDelay",
            backoff.max_launch_delay,
            &mut spec.backoff.maximum,
        );
        spec.backoff.factor = backoff.backoff_factor.unwrap_or(spec.backoff.factor);
    }
    if let Some(upgrade) = &said.upgrade {
        let strategy = &mut spec.upgrade_strategy;
        let (minimum, over) = (
            upgrade.minimum_health_capacity,
            upgrade.maximum_over_capacity,
        );
        strategy.minimum_health_capacity = minimum.unwrap_or(strategy.minimum_health_capacity);
        strategy.maximum_over_capacity = over.unwrap_or(strategy.maximum_over_capacity);
    }
    if let Some(placement) = &said.placement {
        let constraints = placement.constraints.iter().flatten().enumerate();
        for (at, said) in constraints {
            let path = format!("/scheduling/placement/constraints({at})");
            let mut part = |key: &str, text: &Option<String>| {
                if text.is_none() {
                    faults.shape(format!("{path}/{key}"), "error.path.missing");
                }
                text.clone().unwrap_or_default()
            };
            spec.constraints.push(Constraint {
                field: part("fieldName", &said.field_name),
                operator: part("operator", &said.operator).to_ascii_uppercase(),
                value: said.value.clone(),
            });
        }
        let roles = placement.accepted_resource_roles.iter().flatten();
        let roles: BTreeSet<String> = roles.cloned().collect();
        spec.accepted_resource_roles = (!roles.is_empty()).then_some(roles);
    }
    if let Some(word) = &said.kill_selection {
        let selection = kill_selection("/scheduling/killSelection", word, faults);
        spec.kill_selection = selection.unwrap_or_default();
    }
    if let Some(said) = &said.unreachable_strategy {
        spec.unreachable_strategy = unreachable("/scheduling/unreachableStrategy", said, faults);
    }
}

/// Seconds with a fraction.
fn delay(path: &str, value: f64, faults: &mut Faults) -> Option<Duration> {
    if !(0.0..=MAX_DELAY).contains(&value) {
        let message = format!("is {value}, must be from 0 to {MAX_DELAY}");
        faults.shape(path, message);
        return None;
    }
    Duration::try_from_secs_f64(value).ok()
}
