//! What is wanted of an app, as it is printed: defaults filled in, empty lists left out where Marathon does.

use std::collections::BTreeMap;
use std::time::Duration;

use mete_model::MEBIBYTE;
use mete_proto::rest::apps::{
    App, EnvValue, Fetch, SecretDef, UnreachableEnabled, UnreachableStrategy as Said,
    UpgradeStrategy, VersionInfo,
};
use mete_service_framework_core::spec::app::{AppSpec, Fetch as Wanted, UnreachableStrategy};
use mete_service_framework_core::spec::history::AppVersion;
use mete_service_framework_core::spec::time;

use super::{check, container, health, limits, networks, ports, readiness};

/// One version of an app, without its `versionInfo`. `role` is that of the framework.
pub(in crate::http) fn app(version: &AppVersion, role: &str) -> App {
    let spec = &*version.spec;
    let mut app = App {
        id: Some(spec.id.to_string()),
        cmd: spec.cmd.clone(),
        args: unless_empty(&spec.args),
        user: spec.user.clone(),
        container: spec.container.as_ref().map(container::write),
        labels: Some(spec.labels.clone()),
        instances: Some(spec.instances.into()),
        executor: Some(spec.executor.clone()),
        require_ports: Some(spec.require_ports),
        networks: Some(networks::write(&spec.network)),
        kill_selection: Some(spec.kill_selection.as_str().to_owned()),
        unreachable_strategy: Some(unreachable(spec.unreachable_strategy)),
        role: Some(spec.role.as_deref().unwrap_or(role).to_owned()),
        version: Some(time::text(version.version)),
        ..App::default()
    };
    if spec.network.is_host() {
        app.port_definitions = Some(spec.port_definitions.iter().map(ports::write).collect());
    } else {
        let container = app.container.get_or_insert_default();
        container.port_mappings = Some(networks::write_ports(spec));
    }
    lists(&mut app, spec);
    numbers(&mut app, spec);
    app
}

/// Since when an app is as it is.
pub(in crate::http) fn version_info(version: &AppVersion) -> VersionInfo {
    VersionInfo {
        last_scaling_at: time::text(version.last_scaling_at),
        last_config_change_at: time::text(version.last_config_change_at),
    }
}

fn lists(app: &mut App, spec: &AppSpec) {
    app.env = variables(&spec.env, &spec.env_secrets);
    app.secrets = secrets(&spec.secrets);
    let constraints = spec.constraints.iter().map(|constraint| {
        let parts = [&constraint.field, &constraint.operator].into_iter();
        parts.chain(&constraint.value).cloned().collect()
    });
    app.constraints = unless_empty(&constraints.collect::<Vec<Vec<String>>>());
    let roles = spec.accepted_resource_roles.as_ref();
    app.accepted_resource_roles = roles.map(|roles| roles.iter().cloned().collect());
    let dependencies = spec.dependencies.iter().map(ToString::to_string);
    app.dependencies = unless_empty(&dependencies.collect::<Vec<String>>());
    let checks = spec.health_checks.iter().map(health::write);
    app.health_checks = unless_empty(&checks.collect::<Vec<_>>());
    app.check = spec.check.as_deref().map(check::write);
    let readiness_check = spec.readiness_check.as_ref();
    app.readiness_checks = readiness_check.map(|check| vec![readiness::write(check)]);
    app.fetch = fetched(&spec.fetch);
    app.residency = spec.residency.as_ref().map(container::write_residency);
}

/// Variables with a value, and those that hold a secret; `None` when there are none.
pub(super) fn variables(
    plain: &BTreeMap<String, String>,
    secret: &BTreeMap<String, String>,
) -> Option<BTreeMap<String, EnvValue>> {
    let plain = plain.iter();
    let plain = plain.map(|(name, value)| (name.clone(), EnvValue::Text(value.clone())));
    let secret = secret.iter();
    let secret = secret.map(|(name, secret)| (name.clone(), EnvValue::Secret(secret.clone())));
    let all: BTreeMap<String, EnvValue> = plain.chain(secret).collect();
    (!all.is_empty()).then_some(all)
}

/// Where each secret lies; `None` when there are none.
pub(super) fn secrets(secrets: &BTreeMap<String, String>) -> Option<BTreeMap<String, SecretDef>> {
    let one = |(name, source): (&String, &String)| {
        let source = source.clone();
        (name.clone(), SecretDef { source })
    };
    (!secrets.is_empty()).then(|| secrets.iter().map(one).collect())
}

/// What is brought into a sandbox; `None` when there is nothing.
pub(super) fn fetched(all: &[Wanted]) -> Option<Vec<Fetch>> {
    let one = |fetch: &Wanted| Fetch {
        uri: Some(fetch.uri.clone()),
        extract: Some(fetch.extract),
        executable: Some(fetch.executable),
        cache: Some(fetch.cache),
        dest_path: fetch.dest_path.clone(),
    };
    (!all.is_empty()).then(|| all.iter().map(one).collect())
}

fn numbers(app: &mut App, spec: &AppSpec) {
    let megabytes = |bytes: u64| Some(bytes as f64 / MEBIBYTE as f64);
    app.cpus = Some(spec.cpus_milli as f64 / 1_000.0);
    app.mem = megabytes(spec.mem_bytes);
    app.disk = megabytes(spec.disk_bytes);
    app.gpus = Some(spec.gpus.into());
    app.resource_limits = limits::write(&spec.limits);
    app.backoff_seconds = Some(seconds(spec.backoff.initial));
    app.backoff_factor = Some(spec.backoff.factor);
    app.max_launch_delay_seconds = Some(seconds(spec.backoff.maximum));
    app.tty = spec.tty.then_some(true);
    app.task_kill_grace_period_seconds = spec.task_kill_grace_period.map(seconds);
    app.upgrade_strategy = Some(UpgradeStrategy {
        maximum_over_capacity: Some(spec.upgrade_strategy.maximum_over_capacity),
        minimum_health_capacity: Some(spec.upgrade_strategy.minimum_health_capacity),
    });
}

pub(super) fn unreachable(strategy: UnreachableStrategy) -> Said {
    match strategy {
        UnreachableStrategy::Disabled => Said::Word("disabled".to_owned()),
        UnreachableStrategy::Enabled {
            inactive_after,
            expunge_after,
        } => Said::Enabled(UnreachableEnabled {
            inactive_after_seconds: Some(seconds(inactive_after)),
            expunge_after_seconds: Some(seconds(expunge_after)),
        }),
    }
}

pub(super) fn seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}

pub(super) fn unless_empty<T: Clone>(list: &[T]) -> Option<Vec<T>> {
    (!list.is_empty()).then(|| list.to_vec())
}
