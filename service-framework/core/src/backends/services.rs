//! From an app and its instances to its services.

use std::collections::BTreeMap;
use std::sync::Arc;

use mete_model::Timestamp;

use super::{Backend, BackendState, Mode, Service, ServiceKey};
use crate::spec::app::{AppSpec, HealthCheckSpec, PROXY_LABELS};
use crate::spec::history::AppVersion;
use crate::state::apps::App;
use crate::state::instances::{Instance, InstanceState};

/// The services of one app: one for each service port of the version wanted, and for each port that an instance of
/// another version still serves. Each instance serves the ports that its own version gave it, under whatever index the
/// version that is wanted has them.
pub(crate) fn services_of(app: &App) -> BTreeMap<ServiceKey, Service> {
    let mut services = BTreeMap::new();
    if let Some(wanted) = &app.wanted {
        add_services(&mut services, app, wanted, false);
    }
    let mut listed: Vec<_> = app
        .instances
        .values()
        .filter_map(|instance| Some((backend_state(instance)?, instance)))
        .collect();
    listed.sort_by_key(|(_, instance)| std::cmp::Reverse(instance.version.version)); // the newest version words it
    for (state, instance) in &listed {
        let Some(place) = &instance.place else {
            continue;
        };
        add_services(&mut services, app, &instance.version, true);
        let ports = instance.version.spec.instance_ports(&place.ports);
        for (at, (key, port)) in keys(&instance.version).zip(ports).enumerate() {
            let Some(service) = key.and_then(|key| serving(&mut services, &key)) else {
                continue;
            };
            // Without a port of the host it is reached at an address of its own.
            let host = match port.host {
                Some(_) => Some(&place.host),
                None => place.ip_addresses.first(),
            };
            let Some(host) = host.cloned() else { continue };
            let task = instance.task_of_port(at);
            service.backends.push(Backend {
                task,
                host,
                port: port.told(),
                state: *state,
            });
        }
    }
    for service in services.values_mut() {
        service
            .backends
            .sort_by(|one, other| one.task.cmp(&other.task));
    }
    services
}

/// Whether an instance is on the list, and how.
pub(crate) fn backend_state(instance: &Instance) -> Option<BackendState> {
    match instance.state {
        InstanceState::Running { .. } => instance.is_ready().then_some(BackendState::Up),
        InstanceState::Draining { .. } => Some(BackendState::Draining),
        InstanceState::Waiting
        | InstanceState::Launching { .. }
        | InstanceState::Staging
        | InstanceState::Starting
        | InstanceState::Unreachable { .. }
        | InstanceState::Killing { .. }
        | InstanceState::Reserved { .. } => None,
    }
}

/// The service of each port of a version, in order; `None` for a port without service port.
fn keys(version: &AppVersion) -> impl Iterator<Item = Option<ServiceKey>> {
    version
        .spec
        .ports()
        .zip(0..)
        .map(|(definition, port_index)| {
            let app = version.spec.id.clone();
            (definition.port != 0).then_some(ServiceKey {
                app,
                port_index,
                service_port: definition.port,
            })
        })
}

/// The service of a service port, whatever its index. No version has one number twice.
fn serving<'a>(
    services: &'a mut BTreeMap<ServiceKey, Service>,
    key: &ServiceKey,
) -> Option<&'a mut Service> {
    if services.contains_key(key) {
        return services.get_mut(key);
    }
    let mut all = services.values_mut();
    all.find(|service| service.key.service_port == key.service_port)
}

/// Adds those that are not there yet.
fn add_services(
    services: &mut BTreeMap<ServiceKey, Service>,
    app: &App,
    version: &AppVersion,
    is_left: bool,
) {
    let spec = &version.spec;
    for (key, definition) in keys(version).zip(spec.ports()) {
        let Some(key) = key else { continue };
        if serving(services, &key).is_some() {
            continue;
        }
        services.entry(key).or_insert_with_key(|key| Service {
            key: key.clone(),
            since: port_since(app, key.service_port).unwrap_or(version.version),
            is_left,
            protocol: definition.protocol,
            mode: mode(spec, key.port_index),
            labels: spec
                .labels
                .iter()
                .filter(|(name, _)| name.starts_with(PROXY_LABELS))
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect(),
            backends: Vec::new(),
        });
    }
}

/// The oldest of the newest versions in a row that have a service port.
fn port_since(app: &App, port: u16) -> Option<Timestamp> {
    let has_it = |version: &&Arc<AppVersion>| {
        let mut ports = version.spec.ports();
        ports.any(|definition| definition.port == port)
    };
    let newest_first = app.versions.values().rev();
    let later = newest_first.skip_while(|version| !has_it(version));
    let oldest = later.take_while(has_it).last();
    oldest.map(|version| version.version)
}

/// As marathon-lb has it: what the label says, else HTTP where there is a virtual host or an HTTP check, else TCP.
fn mode(spec: &AppSpec, port_index: u32) -> Mode {
    let label = |what: &str| spec.labels.get(&format!("HAPROXY_{port_index}_{what}"));
    if let Some(mode) = label("MODE") {
        return if mode.eq_ignore_ascii_case("http") {
            Mode::Http
        } else {
            Mode::Tcp
        };
    }
    let asks = |check: &HealthCheckSpec, index: u32| {
        check.protocol.is_http()
            && !check.protocol.is_secure() // a proxy would have to speak TLS to it
            && check.port.is_none()
            && check.port_index.unwrap_or(0) == index
    };
    let is_checked = match spec.container_of_port(port_index as usize) {
        Some((container, at)) => {
            let mut checks = container.health_check.iter();
            checks.any(|check| u32::try_from(at).is_ok_and(|at| asks(check, at)))
        }
        None => spec
            .health_checks
            .iter()
            .any(|check| asks(check, port_index)),
    };
    if is_checked || label("VHOST").is_some() {
        Mode::Http
    } else {
        Mode::Tcp
    }
}
