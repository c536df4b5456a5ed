//! Whether what a user wants makes sense, in Marathon's words where it has some.
//!
//! Looks at one app or pod by itself; what it shares with others (service ports, dependencies) is looked at where the change
//! is made. Every fault is reported, not only the first.

mod pod; // the same of a pod
mod resident; // the same of an app whose instances have volumes of their own
mod secrets; // which secrets it may name

use std::collections::{BTreeMap, BTreeSet};

use mete_model::container::{MAX_NETWORKS, MAX_PORT_MAPPINGS};
use mete_model::{Checksum, TaskLimits};
use mete_placement::{BadConstraint, Constraint};

use crate::spec::app::{
    AppNetwork, AppSpec, ContainerKind, DAEMON_LABEL, Fetch, HealthCheckSpec, HealthProtocol,
    UnreachableStrategy,
};
use crate::spec::size::{MAX_TEXT_BYTES, text_bytes};

pub use resident::update;

/// Health checks of an app: each is asked of each instance for as long as it runs.
const MAX_HEALTH_CHECKS: usize = 32;

/// The label of apps that must never run twice at once.
const SINGLE_INSTANCE: &str = "MARATHON_SINGLE_INSTANCE_APP";

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Where: `/upgradeStrategy/minimumHealthCapacity`, list index as `/a(0)/b`; the whole object is `/`.
    pub path: String,
    /// What is wrong with it.
    pub message: String,
}

impl Violation {
    /// At `path`, what is wrong.
    pub fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            message: message.into(),
        }
    }

    /// The same of something that lies at `place` in what was said.
    #[must_use]
    pub fn below(self, place: &str) -> Self {
        let path = match &*self.path {
            "/" if !place.is_empty() => place.to_owned(),
            path => format!("{place}{path}"),
        };
        Self { path, ..self }
    }
}

/// Turns a number of the API into an integer in a smaller unit: 0.1 CPUs in thousandths is 100.
///
/// # Errors
/// A [`Violation`] at `path` when the number is not finite, less than `minimum`, or too large.
pub fn quantity(path: &str, value: f64, minimum: f64, unit: u64) -> Result<u64, Violation> {
    let units = value * unit as f64;
    if !value.is_finite() || units >= u64::MAX as f64 {
        return Err(Violation::new(
            path,
            "is not a number that can be counted with",
        ));
    }
    if value < minimum {
        return Err(Violation::new(path, "error.min"));
    }
    Ok(units.round() as u64)
}

/// The roles that an app may have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Roles {
    /// That of the framework, which an app has that says nothing.
    pub own: String,
    /// Those that it may say.
    pub allowed: BTreeSet<String>,
}

impl Roles {
    /// Only the framework's.
    pub fn only(own: &str) -> Self {
        Self {
            own: own.to_owned(),
            allowed: BTreeSet::from([own.to_owned()]),
        }
    }

    /// The role of an app.
    fn of<'a>(&'a self, spec: &'a AppSpec) -> &'a str {
        spec.role.as_deref().unwrap_or(&self.own)
    }
}

/// Everything that is wrong with an app or a pod by itself.
pub fn app(spec: &AppSpec, roles: &Roles) -> Vec<Violation> {
    if let Some(parts) = &spec.pod {
        return pod::pod(spec, parts, roles);
    }
    let mut found = Vec::new();
    size(spec, &mut found);
    program(spec, &mut found);
    resources(spec, &mut found);
    texts(spec, &mut found);
    entries(spec, &mut found);
    secrets::named("/env", &spec.env_secrets, &spec.secrets, &mut found);
    secrets::sources(spec, &mut found);
    secrets::in_files(spec, &mut found);
    ports(spec, &mut found);
    health_checks(spec, &mut found);
    readiness_check(spec, &mut found);
    strategies(spec, &mut found);
    placement(spec, roles, &mut found);
    resident::volumes(spec, roles.of(spec), &mut found);
    found
}

fn size(spec: &AppSpec, found: &mut Vec<Violation>) {
    let bytes = text_bytes(spec);
    if bytes > MAX_TEXT_BYTES {
        let text = format!("has {bytes} bytes of text, may have {MAX_TEXT_BYTES}");
        found.push(Violation::new("/", text));
    }
}

fn program(spec: &AppSpec, found: &mut Vec<Violation>) {
    let (cmd, args) = (spec.cmd.is_some(), !spec.args.is_empty());
    if cmd && args || !cmd && !args && spec.image().is_none() {
        let text =
            "AppDefinition must either contain one of 'cmd' or 'args', and/or a 'container'.";
        found.push(Violation::new("/", text));
    }
    if spec.cmd.as_ref().is_some_and(String::is_empty) {
        found.push(Violation::new("/cmd", "must not be empty"));
    }
    if spec.args.first().is_some_and(String::is_empty) {
        found.push(Violation::new("/args(0)", "must not be empty"));
    }
    if !matches!(spec.executor.as_str(), "" | "//cmd") {
        found.push(Violation::new(
            "/executor",
            "must be \"//cmd\": executors of one's own are not carried yet",
        ));
    }
    fetches("/fetch", &spec.fetch, found);
}

fn fetches(list: &str, all: &[Fetch], found: &mut Vec<Violation>) {
    for (at, fetch) in all.iter().enumerate() {
        let path = format!("{list}({at})/uri");
        if fetch.uri.is_empty() {
            found.push(Violation::new(&path, "must not be empty"));
        }
        // Agents would fail at it, again and again.
        if let Err(bad) = Checksum::split(&fetch.uri) {
            found.push(Violation::new(path, bad.to_string()));
        }
    }
}

fn resources(spec: &AppSpec, found: &mut Vec<Violation>) {
    if spec.cpus_milli == 0 {
        found.push(Violation::new("/cpus", "is less than 0.001"));
    }
    let is_docker = spec
        .container
        .as_ref()
        .is_some_and(|container| container.kind == ContainerKind::Docker);
    if spec.gpus > 0 && is_docker {
        let text = "GPU resources only work with the Mesos containerizer";
        found.push(Violation::new("/gpus", text));
    }
    let TaskLimits {
        cpus_milli,
        mem_bytes,
    } = spec.limits.of_task();
    for (name, limit, asked) in [
        ("cpus", cpus_milli, spec.cpus_milli),
        ("mem", mem_bytes, spec.mem_bytes),
    ] {
        if limit.is_some_and(|limit| limit.is_below(asked)) {
            let text = format!("is less than {name}, which each instance asks for");
            found.push(Violation::new(format!("/resourceLimits/{name}"), text));
        }
    }
    let is_single = spec
        .labels
        .get(SINGLE_INSTANCE)
        .is_some_and(|value| value == "true");
    if is_single && spec.instances > 1 {
        let text = "Single instance app may only have one instance";
        found.push(Violation::new("/", text));
    }
    if is_single && spec.is_daemon() {
        let text = format!("cannot be {SINGLE_INSTANCE} and {DAEMON_LABEL} at once");
        found.push(Violation::new("/labels", text));
    }
    let strategy = spec.upgrade_strategy;
    if is_single
        && (strategy.minimum_health_capacity != 0.0 || strategy.maximum_over_capacity != 0.0)
    {
        found.push(Violation::new(
            "/upgradeStrategy",
            "must be 0 and 0 for a single instance app",
        ));
    }
}

/// The longest value of a label, in bytes: it is sent with every task and listed in every answer.
const MAX_LABEL_BYTES: usize = 64 * 1024;
/// Labels, and variables of the environment, of one app or container: no program reads so many.
const MAX_ENTRIES: usize = 4_096;

/// Labels, and how many variables there are.
fn entries(spec: &AppSpec, found: &mut Vec<Violation>) {
    let label = |name: &str| spec.labels.get(name).map_or("", String::as_str);
    let (version, name, path) = (
        label("DCOS_MIGRATION_API_VERSION"),
        label("DCOS_PACKAGE_FRAMEWORK_NAME"),
        label("DCOS_MIGRATION_API_PATH"),
    );
    if !version.is_empty() && (version != "v1" || name.is_empty() || path.is_empty()) {
        let text = "DCOS_PACKAGE_FRAMEWORK_NAME and DCOS_MIGRATION_API_PATH must be defined when using DCOS_MIGRATION_API_VERSION";
        found.push(Violation::new("/", text));
    }
    bounded("/labels", &spec.labels, found);
    few("/env", spec.env.len() + spec.env_secrets.len(), found);
}

fn bounded(path: &str, labels: &BTreeMap<String, String>, found: &mut Vec<Violation>) {
    few(path, labels.len(), found);
    let long = labels.iter();
    for (name, value) in long.filter(|(name, value)| name.len().max(value.len()) > MAX_LABEL_BYTES)
    {
        let shown: String = name.chars().take(80).collect();
        let bytes = name.len().max(value.len());
        let text = format!("{shown:?} has {bytes} bytes, may have {MAX_LABEL_BYTES}");
        found.push(Violation::new(path, text));
    }
}

fn few(path: &str, count: usize, found: &mut Vec<Violation>) {
    if count > MAX_ENTRIES {
        let text = format!("has {count} entries, may have {MAX_ENTRIES}");
        found.push(Violation::new(path, text));
    }
}

const NO_NUL: &str = "must not hold the character NUL";

/// What becomes an argument or a variable of a process cannot hold what ends it there.
fn texts(spec: &AppSpec, found: &mut Vec<Violation>) {
    if spec.cmd.as_ref().is_some_and(|cmd| cmd.contains('\0')) {
        found.push(Violation::new("/cmd", NO_NUL));
    }
    for (at, _) in spec
        .args
        .iter()
        .enumerate()
        .filter(|(_, text)| text.contains('\0'))
    {
        found.push(Violation::new(format!("/args({at})"), NO_NUL));
    }
    variables("/env", &spec.env, &spec.env_secrets, found);
}

fn variables(
    path: &str,
    plain: &BTreeMap<String, String>,
    secret: &BTreeMap<String, String>,
    found: &mut Vec<Violation>,
) {
    for (name, value) in plain.iter().chain(secret) {
        if name.is_empty() || name.contains(['=', '\0']) {
            let text = format!("{name:?} is no name of an environment variable");
            found.push(Violation::new(path, text));
        } else if value.contains('\0') {
            found.push(Violation::new(format!("{path}({name})"), NO_NUL));
        }
    }
}

fn ports(spec: &AppSpec, found: &mut Vec<Violation>) {
    let list = match spec.network {
        AppNetwork::Host => "/portDefinitions",
        AppNetwork::Bridge | AppNetwork::Named(_) => "/container/portMappings",
    };
    mappings(spec, found);
    let numbers: Vec<u16> = spec
        .port_definitions
        .iter()
        .map(|definition| definition.port)
        .filter(|port| *port != 0)
        .collect();
    if !are_unique(&numbers) {
        found.push(Violation::new(list, "Ports must be unique."));
    }
    let names: Vec<&String> = spec
        .port_definitions
        .iter()
        .filter_map(|definition| definition.name.as_ref())
        .collect();
    if !are_unique(&names) {
        found.push(Violation::new(list, "Port names must be unique."));
    }
    for (at, definition) in spec.port_definitions.iter().enumerate() {
        let is_name = |name: &String| {
            let is_known = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
            name.bytes().all(is_known)
                && !name.is_empty()
                && !name.starts_with('-')
                && !name.ends_with('-')
        };
        if definition.name.as_ref().is_some_and(|name| !is_name(name)) {
            let text =
                "must fully match regular expression '^[a-zA-Z0-9]([a-zA-Z0-9-]*[a-zA-Z0-9]+)?$'";
            found.push(Violation::new(format!("{list}({at})/name"), text));
        }
    }
}

/// Of several networks, one is that into which a port of the host leads.
const ONE_OF_SEVERAL: &str = "networkNames must be a single item list when hostPort is specified and more than 1 container \
    network is defined";

/// Ports on a network of its own.
fn mappings(spec: &AppSpec, found: &mut Vec<Violation>) {
    if spec.port_definitions.len() > MAX_PORT_MAPPINGS {
        let text = format!("must have at most {MAX_PORT_MAPPINGS} elements");
        found.push(Violation::new("/container/portMappings", text));
    }
    let mut taken = BTreeSet::new();
    for (at, definition) in spec.port_definitions.iter().enumerate() {
        let Some(mapping) = &definition.mapping else {
            continue;
        };
        let path = |field: &str| format!("/container/portMappings({at})/{field}");
        if let Some(port) = mapping.host_port.filter(|port| *port != 0)
            && !taken.insert(port)
        {
            let text = format!("port {port} of the host is mapped twice");
            found.push(Violation::new(path("hostPort"), text));
        }
        let known = |name: &String| match &spec.network {
            AppNetwork::Named(networks) => networks.iter().any(|network| network.name == *name),
            AppNetwork::Host | AppNetwork::Bridge => false,
        };
        if let Some(name) = mapping.network_names.iter().find(|name| !known(name)) {
            let text = format!("{name:?} is no network of the app");
            found.push(Violation::new(path("networkNames"), text));
        } else if let AppNetwork::Named(networks) = &spec.network
            && networks.len() > 1
            && mapping.host_port.is_some()
            && mapping.network_names.len() != 1
        {
            let place = format!("/container/portMappings({at})");
            found.push(Violation::new(place, ONE_OF_SEVERAL));
        }
    }
    named_networks(spec, found);
}

fn named_networks(spec: &AppSpec, found: &mut Vec<Violation>) {
    if let AppNetwork::Named(networks) = &spec.network {
        let names: Vec<&String> = networks.iter().map(|network| &network.name).collect();
        if !are_unique(&names) {
            found.push(Violation::new("/networks", "must have unique names"));
        }
        let kind = spec.container.as_ref().map(|container| container.kind);
        if names.len() > 1 && kind == Some(ContainerKind::Docker) {
            let text = "may only specify a single container network when using the Docker container engine";
            found.push(Violation::new("/", text));
        }
        if names.len() > MAX_NETWORKS {
            let text = format!("must have at most {MAX_NETWORKS} elements");
            found.push(Violation::new("/networks", text));
        }
    }
}

fn health_checks(spec: &AppSpec, found: &mut Vec<Violation>) {
    if spec.health_checks.len() > MAX_HEALTH_CHECKS {
        let text = format!("must have at most {MAX_HEALTH_CHECKS} elements");
        found.push(Violation::new("/healthChecks", text));
    }
    let of_agents = spec.health_checks.iter();
    let of_agents = of_agents.filter(|check| check.protocol.is_of_agents());
    if of_agents.count() > 1 {
        let text = "AppDefinition can contain at most one Mesos health check";
        found.push(Violation::new("/", text));
    }
    if let Some(one) = &spec.check {
        check("/check", one, spec.port_definitions.len(), found);
    }
    for (at, check) in spec.health_checks.iter().enumerate() {
        health_check(
            &format!("/healthChecks({at})"),
            check,
            spec.port_definitions.len(),
            found,
        );
    }
}

/// What a check for information asks. A scheme, and other kinds, its message has no words for.
fn check(path: &str, check: &HealthCheckSpec, ports: usize, found: &mut Vec<Violation>) {
    health_check(path, check, ports, found);
    match check.protocol {
        HealthProtocol::MesosHttp | HealthProtocol::MesosTcp | HealthProtocol::Command => {}
        HealthProtocol::MesosHttps => {
            let text = "is HTTPS, which a check for information cannot ask over";
            found.push(Violation::new(format!("{path}/http/scheme"), text));
        }
        HealthProtocol::Http
        | HealthProtocol::Https
        | HealthProtocol::Tcp
        | HealthProtocol::Grpc => {
            found.push(Violation::new(path, "is of no kind that agents ask"));
        }
    }
}

fn health_check(path: &str, check: &HealthCheckSpec, ports: usize, found: &mut Vec<Violation>) {
    match check.protocol {
        HealthProtocol::Command => {
            let line = check.command.as_ref().or_else(|| check.argv.first());
            if line.is_none_or(String::is_empty) {
                found.push(Violation::new(
                    format!("{path}/command"),
                    "must not be empty",
                ));
            }
        }
        HealthProtocol::Http
        | HealthProtocol::Https
        | HealthProtocol::Tcp
        | HealthProtocol::MesosHttp
        | HealthProtocol::MesosHttps
        | HealthProtocol::MesosTcp
        | HealthProtocol::Grpc => {
            let index = check.port_index.unwrap_or(0) as usize;
            if check.port.is_some() && check.port_index.is_some() {
                found.push(Violation::new(
                    path,
                    "HealthCheck must specify either a port or a portIndex",
                ));
            } else if check.port.is_none() && index >= ports {
                let text = "Health check port indices must address an element of the ports array or container port mappings.";
                found.push(Violation::new(path, text));
            }
            if check.port == Some(0) {
                found.push(Violation::new(format!("{path}/port"), "is less than 1"));
            }
        }
    }
    if check.interval.is_zero() {
        found.push(Violation::new(
            format!("{path}/intervalSeconds"),
            "is less than 1",
        ));
    }
    if check.timeout.is_zero() {
        found.push(Violation::new(
            format!("{path}/timeoutSeconds"),
            "is less than 1",
        ));
    }
}

fn readiness_check(spec: &AppSpec, found: &mut Vec<Violation>) {
    let Some(check) = &spec.readiness_check else {
        return;
    };
    let path = |field: &str| format!("/readinessChecks(0)/{field}");
    let mut names = spec.port_definitions.iter();
    if !names.any(|definition| definition.name.as_deref() == Some(&check.port_name)) {
        let text = format!(
            "No port definition reference for portName {}",
            check.port_name
        );
        found.push(Violation::new(path("portName"), text));
    }
    if check.timeout.is_zero() {
        found.push(Violation::new(path("timeoutSeconds"), "is less than 1"));
    } else if check.timeout >= check.interval {
        let text = format!(
            "is {}, must be less than intervalSeconds, which is {}",
            check.timeout.as_secs(),
            check.interval.as_secs()
        );
        found.push(Violation::new(path("timeoutSeconds"), text));
    }
}

fn strategies(spec: &AppSpec, found: &mut Vec<Violation>) {
    let upgrade = spec.upgrade_strategy;
    for (name, value) in [
        ("minimumHealthCapacity", upgrade.minimum_health_capacity),
        ("maximumOverCapacity", upgrade.maximum_over_capacity),
    ] {
        let path = format!("/upgradeStrategy/{name}");
        if value > 1.0 {
            found.push(Violation::new(path, "is greater than 1"));
        } else if !(0.0..=1.0).contains(&value) {
            found.push(Violation::new(path, "is less than 0"));
        }
    }
    // Of a pod Marathon's schema takes any factor from 0 on; less than 1 is counted as 1.
    let least = if spec.is_pod() { 0.0 } else { 1.0 };
    if !spec.backoff.factor.is_finite() || spec.backoff.factor < least {
        let text = format!("is less than {least}");
        found.push(Violation::new("/backoffFactor", text));
    }
    if let UnreachableStrategy::Enabled {
        inactive_after,
        expunge_after,
    } = spec.unreachable_strategy
        && expunge_after < inactive_after
    {
        let text = "must be greater than or equal to inactiveAfterSeconds";
        found.push(Violation::new(
            "/unreachableStrategy/expungeAfterSeconds",
            text,
        ));
    }
}

fn placement(spec: &AppSpec, roles: &Roles, found: &mut Vec<Violation>) {
    let role = roles.of(spec);
    for (at, constraint) in spec.constraints.iter().enumerate() {
        let parsed = Constraint::parse(
            &constraint.field,
            &constraint.operator,
            constraint.value.as_deref(),
        );
        if let Err(bad) = parsed {
            let value = constraint.value.as_deref().unwrap_or_default();
            found.push(Violation::new(
                format!("/constraints({at})"),
                in_marathons_words(&bad, value),
            ));
        }
    }
    if let Some(accepted) = &spec.accepted_resource_roles {
        if accepted.is_empty() {
            found.push(Violation::new(
                "/acceptedResourceRoles",
                "must not be empty",
            ));
        } else if accepted
            .iter()
            .any(|accepted| accepted != "*" && accepted != role)
        {
            let text = format!("acceptedResourceRoles can only contain * and {role}");
            found.push(Violation::new("/acceptedResourceRoles", text));
        }
    }
    if !roles.allowed.contains(role) {
        let allowed: Vec<&str> = roles.allowed.iter().map(String::as_str).collect();
        let text = format!("got {role}, expected one of: [{}]", allowed.join(", "));
        found.push(Violation::new("/role", text));
    }
}

fn in_marathons_words(bad: &BadConstraint, value: &str) -> String {
    let words = match bad {
        BadConstraint::Operator(_) => {
            "Constraint operator must be one of the following UNIQUE, CLUSTER, GROUP_BY, LIKE, MAX_PER or UNLIKE"
        }
        BadConstraint::Needless { .. } => "Value specified but not used",
        BadConstraint::Missing("MAX_PER") => "Value was not specified or is not a number",
        BadConstraint::Number { operator, .. } if *operator == "MAX_PER" => {
            "Value was not specified or is not a number"
        }
        BadConstraint::Number { .. } => "Value was specified but is not a number",
        BadConstraint::Missing("LIKE" | "UNLIKE") => "A regular expression value must be provided",
        BadConstraint::Pattern { .. } => {
            let shown: String = value.chars().take(80).collect();
            return format!("'{shown}' is not a valid regular expression");
        }
        BadConstraint::Missing(_) | BadConstraint::Text(_) => return bad.to_string(),
    };
    words.to_owned()
}

fn are_unique<T: Ord>(items: &[T]) -> bool {
    items.iter().collect::<BTreeSet<_>>().len() == items.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::app::{AppId, PortDefinition, ReadinessCheckSpec};
    use std::time::Duration;

    fn good() -> AppSpec {
        let mut spec = AppSpec::new(AppId::new("/web").expect("good"));
        spec.cmd = Some("sleep 1".to_owned());
        spec
    }

    /// The paths at which something is wrong after a change to a good app.
    fn wrong(change: impl FnOnce(&mut AppSpec)) -> Vec<String> {
        let mut spec = good();
        change(&mut spec);
        app(&spec, &Roles::only("*"))
            .into_iter()
            .map(|violation| violation.path)
            .collect()
    }

    #[test]
    fn an_app_with_a_command_is_good() {
        assert_eq!(app(&good(), &Roles::only("*")), []);
    }

    #[test]
    fn exactly_one_of_cmd_and_args_is_needed() {
        assert_eq!(wrong(|spec| spec.cmd = None), ["/"]);
        assert_eq!(wrong(|spec| spec.args = vec!["sleep".to_owned()]), ["/"]);
        assert_eq!(wrong(|spec| spec.cmd = Some(String::new())), ["/cmd"]);
    }

    /// What is said of a change to a good app, with its place.
    fn told(change: impl FnOnce(&mut AppSpec)) -> Vec<(String, String)> {
        let mut spec = good();
        change(&mut spec);
        let found = app(&spec, &Roles::only("*")).into_iter();
        found.map(|found| (found.path, found.message)).collect()
    }

    #[test]
    fn labels_and_variables_have_bounds_far_from_what_is_meant() {
        let many = |count: usize| -> BTreeMap<String, String> {
            (0..count)
                .map(|number| (format!("V{number}"), String::new()))
                .collect()
        };
        assert_eq!(wrong(|spec| spec.env = many(MAX_ENTRIES)), [""; 0]);
        assert_eq!(wrong(|spec| spec.env = many(MAX_ENTRIES + 1)), ["/env"]);
        assert_eq!(
            wrong(|spec| spec.labels = many(MAX_ENTRIES + 1)),
            ["/labels"]
        );
        let label = |bytes: usize| BTreeMap::from([("a".to_owned(), "x".repeat(bytes))]);
        assert_eq!(wrong(|spec| spec.labels = label(MAX_LABEL_BYTES)), [""; 0]);
        assert_eq!(
            told(|spec| spec.labels = label(MAX_LABEL_BYTES + 1)),
            [(
                "/labels".to_owned(),
                "\"a\" has 65537 bytes, may have 65536".to_owned()
            )]
        );
    }

    #[test]
    fn constraints_and_labels_are_refused_in_marathons_words() {
        for (operator, value, words) in [
            ("UNIQUE", Some("x"), "Value specified but not used"),
            (
                "FOO",
                None,
                "Constraint operator must be one of the following UNIQUE, CLUSTER, GROUP_BY, LIKE, MAX_PER or UNLIKE",
            ),
            (
                "GROUP_BY",
                Some("x"),
                "Value was specified but is not a number",
            ),
            (
                "MAX_PER",
                None,
                "Value was not specified or is not a number",
            ),
            (
                "MAX_PER",
                Some("x"),
                "Value was not specified or is not a number",
            ),
            ("LIKE", None, "A regular expression value must be provided"),
            ("LIKE", Some("("), "'(' is not a valid regular expression"),
        ] {
            let found = told(|spec| {
                spec.constraints.push(crate::spec::app::Constraint {
                    field: "hostname".to_owned(),
                    operator: operator.to_owned(),
                    value: value.map(str::to_owned),
                });
            });
            assert_eq!(
                found,
                [("/constraints(0)".to_owned(), words.to_owned())],
                "{operator}"
            );
        }
        let migrating = wrong(|spec| {
            let version = "DCOS_MIGRATION_API_VERSION".to_owned();
            spec.labels.insert(version, "v1".to_owned());
        });
        assert_eq!(migrating, ["/"]);
    }

    #[test]
    fn every_fault_is_reported() {
        let paths = wrong(|spec| {
            spec.cpus_milli = 0;
            let (variable, secret) = ("PASSWORD".to_owned(), "pw".to_owned());
            spec.env_secrets.insert(variable, secret);
            spec.port_definitions = vec![
                PortDefinition {
                    port: 80,
                    ..PortDefinition::default_port()
                };
                2
            ];
            spec.upgrade_strategy.maximum_over_capacity = 1.5;
            spec.upgrade_strategy.minimum_health_capacity = f64::NAN;
            spec.backoff.factor = 0.5;
            spec.role = Some("other".to_owned());
            spec.env.insert("A=B".to_owned(), String::new());
        });

        let expected = [
            "/cpus",
            "/env",
            "/env/PASSWORD/secret",
            "/portDefinitions",
            "/portDefinitions",
            "/upgradeStrategy/minimumHealthCapacity",
            "/upgradeStrategy/maximumOverCapacity",
            "/backoffFactor",
            "/role",
        ];
        assert_eq!(paths, expected);
    }

    #[test]
    fn a_health_check_needs_a_port_that_is_there() {
        let with = |change: fn(&mut HealthCheckSpec)| {
            wrong(|spec| {
                let mut check = HealthCheckSpec::new(HealthProtocol::MesosHttp);
                change(&mut check);
                spec.health_checks = vec![check];
            })
        };

        assert_eq!(with(|_| {}), [""; 0]);
        assert_eq!(
            with(|check| check.port_index = Some(1)),
            ["/healthChecks(0)"]
        );
        assert_eq!(
            with(|check| check.interval = Duration::ZERO),
            ["/healthChecks(0)/intervalSeconds"]
        );
        assert_eq!(
            with(|check| check.protocol = HealthProtocol::Command),
            ["/healthChecks(0)/command"]
        );
    }

    #[test]
    fn agents_run_one_check_at_most_and_the_framework_the_others() {
        let with = |protocols: &[HealthProtocol]| {
            wrong(|spec| {
                let check = |protocol: &HealthProtocol| HealthCheckSpec {
                    command: Some("true".to_owned()),
                    ..HealthCheckSpec::new(*protocol)
                };
                spec.health_checks = protocols.iter().map(check).collect();
            })
        };
        use HealthProtocol::{Command, Grpc, Http, Https, MesosHttp, MesosHttps, Tcp};

        assert_eq!(with(&[Http, Https, Tcp, Http]), [""; 0]);
        assert_eq!(with(&[Http, MesosHttps, Tcp]), [""; 0]);
        for two in [[MesosHttp, MesosHttps], [Command, Grpc]] {
            assert_eq!(with(&two), ["/"]);
        }
        assert_eq!(with(&[Tcp; MAX_HEALTH_CHECKS]), [""; 0]);
        assert_eq!(with(&[Tcp; MAX_HEALTH_CHECKS + 1]), ["/healthChecks"]);
    }

    #[test]
    fn a_readiness_check_names_a_port_that_is_there_and_ends_before_the_next_begins() {
        let with = |change: fn(&mut ReadinessCheckSpec)| {
            wrong(|spec| {
                let mut check = ReadinessCheckSpec {
                    port_name: "default".to_owned(),
                    ..ReadinessCheckSpec::default()
                };
                change(&mut check);
                spec.readiness_check = Some(check);
            })
        };

        assert_eq!(with(|_| {}), [""; 0]);
        let port = |check: &mut ReadinessCheckSpec| check.port_name = "http-api".to_owned();
        assert_eq!(with(port), ["/readinessChecks(0)/portName"]);
        let path = |check: &mut ReadinessCheckSpec| check.path = "ready".to_owned();
        assert_eq!(with(path), [""; 0]);
        let none = |check: &mut ReadinessCheckSpec| check.timeout = Duration::ZERO;
        assert_eq!(with(none), ["/readinessChecks(0)/timeoutSeconds"]);
        let long = |check: &mut ReadinessCheckSpec| check.timeout = check.interval;
        assert_eq!(with(long), ["/readinessChecks(0)/timeoutSeconds"]);
    }

    #[test]
    fn numbers_become_counts() {
        assert_eq!(quantity("/cpus", 0.1, 0.001, 1_000), Ok(100));
        for bad in [-1.0, f64::NAN, f64::INFINITY, 1e300, 0.0] {
            assert!(quantity("/cpus", bad, 0.001, 1_000).is_err(), "{bad}");
        }
    }
}
