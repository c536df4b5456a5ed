//! What is wanted of a pod, as it is printed: defaults filled in, empty lists left out where Marathon does.

use std::collections::BTreeMap;
use std::time::Duration;

use mete_model::MEBIBYTE;
use mete_proto::rest::pods::{
    Command, CommandCheck, Endpoint as Told, Exec, ExecutorResources, HealthCheck, HttpCheck,
    Image, Lifecycle, Pod, PodBackoff, PodConstraint, PodContainer as Printed, PodPlacement,
    PodScaling, PodScheduling, PodUpgrade, PodVolume as Volume, Resources, TcpCheck,
    VolumeMount as Mount,
};
use mete_service_framework_core::spec::app::{
    AppSpec, Endpoint, HealthCheckSpec, HealthProtocol, PodContainer, PodProgram, PodVolume,
    VolumeMount, VolumeSource,
};
use mete_service_framework_core::spec::history::AppVersion;
use mete_service_framework_core::spec::time;

use super::app_out::{fetched, seconds, secrets, unless_empty, unreachable, variables};
use super::container::pull_config;
use super::{limits, networks};

/// One version of a pod. `role` is that of the framework.
pub(in crate::http) fn pod(version: &AppVersion, role: &str) -> Pod {
    let spec = &*version.spec;
    let Some(parts) = &spec.pod else {
        return Pod::default();
    };
    let volumes: Vec<Volume> = parts.volumes.iter().map(volume).collect();
    let containers = spec.containers().iter();
    Pod {
        id: Some(spec.id.to_string()),
        labels: labels(&spec.labels),
        version: Some(time::text(version.version)),
        user: spec.user.clone(),
        environment: variables(&spec.env, &spec.env_secrets),
        containers: Some(containers.map(container).collect()),
        secrets: secrets(&spec.secrets),
        volumes: unless_empty(&volumes),
        networks: Some(networks::write(&spec.network)),
        scaling: Some(PodScaling {
            kind: Some("fixed".to_owned()),
            instances: Some(spec.instances.into()),
        }),
        scheduling: Some(scheduling(spec)),
        executor_resources: Some(ExecutorResources {
            cpus: Some(cpus(parts.executor.cpus_milli)),
            mem: Some(megabytes(parts.executor.mem_bytes)),
            disk: Some(megabytes(parts.executor.disk_bytes)),
        }),
        role: Some(spec.role.as_deref().unwrap_or(role).to_owned()),
        ..Pod::default()
    }
}

fn cpus(milli: u64) -> f64 {
    milli as f64 / 1_000.0
}

fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / MEBIBYTE as f64
}

fn labels(all: &BTreeMap<String, String>) -> Option<BTreeMap<String, String>> {
    (!all.is_empty()).then(|| all.clone())
}

fn volume(volume: &PodVolume) -> Volume {
    Volume {
        name: Some(volume.name.clone()),
        host: match &volume.source {
            VolumeSource::Ephemeral | VolumeSource::Secret(_) => None,
            VolumeSource::Host(path) => Some(path.clone()),
        },
        secret: volume.secret().cloned(),
        ..Volume::default()
    }
}

fn scheduling(spec: &AppSpec) -> PodScheduling {
    let seconds = |time: Duration| Some(time.as_secs_f64());
    let constraints = spec.constraints.iter().map(|constraint| PodConstraint {
        field_name: Some(constraint.field.clone()),
        operator: Some(constraint.operator.clone()),
        value: constraint.value.clone(),
    });
    let constraints: Vec<PodConstraint> = constraints.collect();
    let roles = spec.accepted_resource_roles.as_ref();
    let placement = PodPlacement {
        constraints: unless_empty(&constraints),
        accepted_resource_roles: roles.map(|roles| roles.iter().cloned().collect()),
    };
    PodScheduling {
        backoff: Some(PodBackoff {
            backoff: seconds(spec.backoff.initial),
            backoff_factor: Some(spec.backoff.factor),
            max_launch_delay: seconds(spec.backoff.maximum),
        }),
        upgrade: Some(PodUpgrade {
            minimum_health_capacity: Some(spec.upgrade_strategy.minimum_health_capacity),
            maximum_over_capacity: Some(spec.upgrade_strategy.maximum_over_capacity),
        }),
        placement: (placement != PodPlacement::default()).then_some(placement),
        kill_selection: Some(spec.kill_selection.as_str().to_owned()),
        unreachable_strategy: Some(unreachable(spec.unreachable_strategy)),
    }
}

fn container(container: &PodContainer) -> Printed {
    let endpoints: Vec<Told> = container.endpoints.iter().map(endpoint).collect();
    let mounts: Vec<Mount> = container.mounts.iter().map(mount).collect();
    let check = container.health_check.as_ref();
    Printed {
        name: Some(container.name.clone()),
        exec: container.program.as_ref().map(exec),
        resources: Some(resources(container)),
        resource_limits: limits::write(&container.limits),
        endpoints: unless_empty(&endpoints),
        image: container.image.as_ref().map(|image| Image {
            kind: Some("DOCKER".to_owned()),
            id: Some(image.id.clone()),
            force_pull: image.force_pull,
            pull_config: image.pull_secret.as_deref().map(pull_config),
            labels: labels(&image.labels),
        }),
        environment: variables(&container.env, &container.env_secrets),
        user: container.user.clone(),
        health_check: check.map(|check| health_check(check, container)),
        check: container
            .check
            .as_deref()
            .map(|check| for_information(check, container)),
        volume_mounts: unless_empty(&mounts),
        artifacts: fetched(&container.fetch),
        labels: labels(&container.labels),
        tty: container.tty.then_some(true),
        lifecycle: container.kill_grace_period.map(|grace| Lifecycle {
            kill_grace_period_seconds: Some(grace.as_secs_f64()),
        }),
        ..Printed::default()
    }
}

/// What a container takes.
pub(super) fn resources(container: &PodContainer) -> Resources {
    Resources {
        cpus: Some(cpus(container.cpus_milli)),
        mem: Some(megabytes(container.mem_bytes)),
        disk: Some(megabytes(container.disk_bytes)),
        gpus: Some(container.gpus.into()),
    }
}

fn exec(program: &PodProgram) -> Exec {
    match program {
        PodProgram::Shell(line) => Exec {
            command: Some(Command {
                shell: Some(line.clone()),
                argv: None,
            }),
            override_entrypoint: None,
        },
        PodProgram::Argv {
            words,
            overrides_entrypoint,
        } => Exec {
            command: Some(argv(words)),
            override_entrypoint: *overrides_entrypoint,
        },
    }
}

fn argv(words: &[String]) -> Command {
    Command {
        shell: None,
        argv: Some(words.to_vec()),
    }
}

fn endpoint(endpoint: &Endpoint) -> Told {
    let mapping = endpoint.port.mapping.as_ref();
    let inner = mapping.map(|mapping| mapping.container_port);
    Told {
        name: endpoint.port.name.clone(),
        container_port: inner.filter(|port| *port != 0).map(i64::from),
        host_port: mapping.and_then(|mapping| mapping.host_port).map(i64::from),
        protocol: unless_empty(&endpoint.protocols),
        labels: labels(&endpoint.port.labels),
        network_names: mapping.and_then(|mapping| unless_empty(&mapping.network_names)),
    }
}

/// Without grace and failures, of which there are none.
fn for_information(check: &HealthCheckSpec, container: &PodContainer) -> HealthCheck {
    HealthCheck {
        grace_period_seconds: None,
        max_consecutive_failures: None,
        ..health_check(check, container)
    }
}

fn health_check(check: &HealthCheckSpec, container: &PodContainer) -> HealthCheck {
    let endpoint = check
        .port_index
        .and_then(|at| container.endpoints.get(at as usize));
    let endpoint = endpoint.and_then(|endpoint| endpoint.port.name.clone());
    let http = |scheme: &str| HttpCheck {
        endpoint: endpoint.clone(),
        path: check.path.clone(),
        scheme: Some(scheme.to_owned()),
    };
    let mut told = HealthCheck {
        grace_period_seconds: Some(seconds(check.grace_period)),
        interval_seconds: Some(seconds(check.interval)),
        max_consecutive_failures: Some(check.max_consecutive_failures.into()),
        timeout_seconds: Some(seconds(check.timeout)),
        delay_seconds: Some(seconds(check.delay)),
        ..HealthCheck::default()
    };
    match check.protocol {
        HealthProtocol::Http | HealthProtocol::MesosHttp => told.http = Some(http("HTTP")),
        HealthProtocol::Https | HealthProtocol::MesosHttps => told.http = Some(http("HTTPS")),
        HealthProtocol::Tcp | HealthProtocol::MesosTcp | HealthProtocol::Grpc => {
            told.tcp = Some(TcpCheck { endpoint });
        }
        HealthProtocol::Command => {
            told.exec = Some(CommandCheck {
                command: Some(match &check.command {
                    Some(line) => Command {
                        shell: Some(line.clone()),
                        argv: None,
                    },
                    None => argv(&check.argv),
                }),
            });
        }
    }
    told
}

fn mount(mount: &VolumeMount) -> Mount {
    Mount {
        name: Some(mount.name.clone()),
        mount_path: Some(mount.path.clone()),
        read_only: mount.read_only,
    }
}
