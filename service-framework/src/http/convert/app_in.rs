//! What a user says of an app, laid over what was there before: each key that is given replaces the whole field.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use mete_model::MEBIBYTE;
use mete_proto::rest::apps::{
    App, EnvValue, SecretDef, UnreachableStrategy as Said, UpgradeStrategy as SaidOfUpgrades,
};
use mete_service_framework_core::spec::app::{
    AppId, AppSpec, Constraint, KillSelection, UnreachableStrategy, UpgradeStrategy,
};
use mete_service_framework_core::validate::quantity;

use super::group::dependencies;
use super::{Faults, check, container, health, legacy, limits, ports, readiness};
use crate::http::failure::Failure;

/// The longest delay that makes sense: a hundred years.
const MAX_SECONDS: u32 = 3_153_600_000;

/// Whether what is said is a whole app or only what of one is to change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::http) enum Extent {
    /// Laid over the defaults.
    Whole,
    /// Laid over what is stored.
    Part,
}

/// `base` with what `said` says: the defaults for a whole app, what is stored for a part. Paths are relative to the root.
///
/// # Errors
/// 422 with everything whose form is wrong or that is not carried yet.
pub(in crate::http) fn apply(
    base: AppSpec,
    said: &App,
    extent: Extent,
) -> Result<AppSpec, Failure> {
    let (spec, faults) = lay(base, said, extent, None);
    faults.unless_any(spec)
}

/// The same, with paths relative to `group`, and what is wrong beside it.
pub(super) fn lay(
    base: AppSpec,
    said: &App,
    extent: Extent,
    group: Option<&AppId>,
) -> (AppSpec, Faults) {
    let was_resident = base.is_resident();
    let (mut spec, mut faults) = (base, Faults::default());
    legacy::refuse(said, &mut faults);
    program(&mut spec, said, &mut faults);
    resources(&mut spec, said, &mut faults);
    texts(&mut spec, said);
    placement(&mut spec, said, group, &mut faults);
    ports::apply(&mut spec, said, extent, &mut faults);
    if let Some(checks) = &said.health_checks {
        spec.health_checks = health::read(checks, !spec.port_definitions.is_empty(), &mut faults);
    }
    if let Some(said) = &said.check {
        spec.check = check::read(said, !spec.port_definitions.is_empty(), &mut faults);
    }
    if let Some(checks) = &said.readiness_checks {
        spec.readiness_check = readiness::read(checks, &mut faults);
    }
    strategies(&mut spec, said, &mut faults);
    residency(&mut spec, said, was_resident, &mut faults);
    legacy::fetch(&mut spec, said, &mut faults);
    (spec, faults)
}

fn program(spec: &mut AppSpec, said: &App, faults: &mut Faults) {
    // Whoever gives the one means it instead of the other; giving both is for the core to refuse.
    if let Some(cmd) = &said.cmd {
        faults.text("/cmd", cmd, usize::MAX);
        spec.cmd = Some(cmd.clone());
        if said.args.is_none() {
            spec.args.clear();
        }
    }
    if let Some(args) = &said.args {
        spec.args.clone_from(args);
        if said.cmd.is_none() && !args.is_empty() {
            spec.cmd = None;
        }
    }
    if let Some(said) = &said.container {
        spec.container = container::read(said, faults);
    }
    if let Some(executor) = &said.executor {
        spec.executor.clone_from(executor);
    }
    if let Some(user) = &said.user {
        spec.user = Some(user.clone()).filter(|user| !user.is_empty());
    }
}

fn resources(spec: &mut AppSpec, said: &App, faults: &mut Faults) {
    let mut amount = |path: &str, value: Option<f64>, minimum: f64, unit: u64, into: &mut u64| {
        let Some(value) = value else { return };
        match quantity(path, value, minimum, unit) {
            Ok(units) => *into = units,
            Err(violation) => faults.shape.push(violation),
        }
    };
    amount("/cpus", said.cpus, 0.001, 1_000, &mut spec.cpus_milli);
    amount("/mem", said.mem, 0.0, MEBIBYTE, &mut spec.mem_bytes);
    amount("/disk", said.disk, 0.0, MEBIBYTE, &mut spec.disk_bytes);
    let mut count = |path: &str, value: Option<i64>, into: &mut u32| {
        if let Some(count) = value.and_then(|value| faults.whole(path, value, i32::MAX)) {
            *into = count.unsigned_abs();
        }
    };
    count("/instances", said.instances, &mut spec.instances);
    count("/gpus", said.gpus, &mut spec.gpus);
    spec.limits = limits::read(said.resource_limits.as_ref(), faults);
}

fn texts(spec: &mut AppSpec, said: &App) {
    if let Some(env) = &said.env {
        (spec.env, spec.env_secrets) = variables(env);
    }
    if let Some(said) = &said.secrets {
        spec.secrets = secrets(said);
    }
    if let Some(labels) = &said.labels {
        spec.labels.clone_from(labels);
    }
}

/// Variables with a value, and those that hold a secret.
pub(super) fn variables(
    said: &BTreeMap<String, EnvValue>,
) -> (BTreeMap<String, String>, BTreeMap<String, String>) {
    let (mut plain, mut secret) = (BTreeMap::new(), BTreeMap::new());
    for (name, value) in said {
        let (of, value) = match value {
            EnvValue::Text(text) => (&mut plain, text),
            EnvValue::Secret(name) => (&mut secret, name),
        };
        of.insert(name.clone(), value.clone());
    }
    (plain, secret)
}

/// Where each secret lies, by name.
pub(super) fn secrets(said: &BTreeMap<String, SecretDef>) -> BTreeMap<String, String> {
    let one = |(name, secret): (&String, &SecretDef)| (name.clone(), secret.source.clone());
    said.iter().map(one).collect()
}

fn placement(spec: &mut AppSpec, said: &App, group: Option<&AppId>, faults: &mut Faults) {
    if let Some(constraints) = &said.constraints {
        spec.constraints = constraints
            .iter()
            .enumerate()
            .filter_map(|(at, parts)| constraint(at, parts, faults))
            .collect();
    }
    if let Some(roles) = &said.accepted_resource_roles {
        let roles: BTreeSet<String> = roles.iter().cloned().collect();
        if roles.is_empty() {
            faults.meaning("/acceptedResourceRoles", "must not be empty");
        }
        spec.accepted_resource_roles = Some(roles);
    }
    if let Some(role) = &said.role {
        faults.text("/role", role, usize::MAX);
        spec.role = Some(role.clone());
    }
    if let Some(paths) = &said.dependencies {
        spec.dependencies = dependencies(paths, group, "/dependencies", faults);
    }
}

fn constraint(at: usize, parts: &[String], faults: &mut Faults) -> Option<Constraint> {
    let (field, operator, value) = match parts {
        [field, operator] => (field, operator, None),
        [field, operator, value] => (field, operator, Some(value.clone())),
        _ => {
            let message = "Each constraint must have either 2 or 3 fields";
            faults.shape(format!("/constraints({at})"), message);
            return None;
        }
    };
    Some(Constraint {
        field: field.clone(),
        operator: operator.to_ascii_uppercase(),
        value,
    })
}

fn strategies(spec: &mut AppSpec, said: &App, faults: &mut Faults) {
    let mut take = |path: &str, value: Option<i64>, into: &mut Duration| {
        if let Some(time) = seconds(path, value, faults) {
            *into = time;
        }
    };
    let backoff = &mut spec.backoff;
    take(
        "/backoffSeconds",
        said.backoff_seconds,
        &mut backoff.initial,
    );
    take(
        "/maxLaunchDelaySeconds",
        said.max_launch_delay_seconds,
        &mut backoff.maximum,
    );
    if let Some(factor) = said.backoff_factor {
        if factor < 1.0 {
            faults.shape("/backoffFactor", "error.min");
        }
        backoff.factor = factor;
    }
    if let Some(tty) = said.tty {
        spec.tty = tty;
    }
    let grace = said.task_kill_grace_period_seconds;
    if let Some(grace) = seconds("/taskKillGracePeriodSeconds", grace, faults) {
        spec.task_kill_grace_period = Some(grace);
    }
    if let Some(upgrade) = &said.upgrade_strategy {
        spec.upgrade_strategy = strategy(upgrade, UpgradeStrategy::default());
    }
    if let Some(said) = &said.unreachable_strategy {
        spec.unreachable_strategy = unreachable("/unreachableStrategy", said, faults);
    }
    if let Some(word) = &said.kill_selection {
        let selection = kill_selection("/killSelection", word, faults);
        spec.kill_selection = selection.unwrap_or(spec.kill_selection);
    }
}

/// One of its two may be left out, as in Marathon until 1.4: clients written for that say what they change.
fn strategy(said: &SaidOfUpgrades, default: UpgradeStrategy) -> UpgradeStrategy {
    let health = said.minimum_health_capacity;
    let over = said.maximum_over_capacity;
    UpgradeStrategy {
        minimum_health_capacity: health.unwrap_or(default.minimum_health_capacity),
        maximum_over_capacity: over.unwrap_or(default.maximum_over_capacity),
    }
}

/// Apps with persistent volumes have other defaults: no instance too many, none given up.
fn residency(spec: &mut AppSpec, said: &App, was_resident: bool, faults: &mut Faults) {
    if let Some(said) = &said.residency {
        spec.residency = Some(container::residency(said, faults));
    }
    if !spec.is_resident() {
        return;
    }
    spec.residency.get_or_insert_default();
    if said.upgrade_strategy.is_some() || !was_resident {
        let said = said.upgrade_strategy.clone().unwrap_or_default();
        let default = UpgradeStrategy {
            minimum_health_capacity: 0.5,
            maximum_over_capacity: 0.0,
        };
        spec.upgrade_strategy = strategy(&said, default);
    }
    if said.unreachable_strategy.is_none() && !was_resident {
        spec.unreachable_strategy = UnreachableStrategy::Disabled;
    }
}

pub(super) fn kill_selection(path: &str, word: &str, faults: &mut Faults) -> Option<KillSelection> {
    let known = [KillSelection::YoungestFirst, KillSelection::OldestFirst];
    faults.word(path, word, &known.map(|known| (known.as_str(), known)))
}

pub(super) fn unreachable(path: &str, said: &Said, faults: &mut Faults) -> UnreachableStrategy {
    let enabled = match said {
        Said::Word(word) => {
            faults.word(path, word, &[("disabled", ())]);
            return UnreachableStrategy::Disabled;
        }
        Said::Enabled(enabled) => enabled,
    };
    let mut after =
        |key: &str, value: Option<i64>| seconds(&format!("{path}/{key}"), value, faults);
    let inactive_after = after("inactiveAfterSeconds", enabled.inactive_after_seconds);
    let expunge_after = after("expungeAfterSeconds", enabled.expunge_after_seconds);
    UnreachableStrategy::Enabled {
        inactive_after: inactive_after.unwrap_or_default(),
        expunge_after: expunge_after.unwrap_or_default(),
    }
}

pub(super) fn seconds(path: &str, value: Option<i64>, faults: &mut Faults) -> Option<Duration> {
    let seconds = faults.whole(path, value?, MAX_SECONDS)?;
    Some(Duration::from_secs(seconds.into()))
}
