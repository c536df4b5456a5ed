//! Who is to drain serves on until others do: a backend is never empty while one that comes does not listen yet, or while
//! the frame is on its way that has another backend in its place.

use std::collections::{BTreeMap, BTreeSet};

use crate::haproxy::backends::Plan;
use crate::haproxy::rows::{Admin, Row};

/// Servers by backend and name.
pub(super) type Servers = BTreeSet<(String, String)>;

/// Those that are to drain and take requests, of backends in which others are to stay of which none is up yet.
pub(super) fn needed(plan: &Plan, rows: &[Row]) -> Servers {
    let mut up: BTreeMap<&str, Vec<&Row>> = BTreeMap::new();
    for row in rows
        .iter()
        .filter(|row| row.is_up && row.admin == Admin::Ready)
    {
        up.entry(&row.backend).or_default().push(row);
    }
    let mut needed = Servers::new();
    for backend in plan.backends.values() {
        let Some(up) = up.get(backend.name.as_str()) else {
            continue;
        };
        let is_draining = |row: &&Row| Some(backend.servers.get(&row.server)?.is_draining);
        let is_to_stay = |row: &&&Row| is_draining(row) == Some(false);
        if backend.servers.values().all(|server| server.is_draining)
            || up.iter().any(|row| is_to_stay(&row))
        {
            continue;
        }
        let going = up.iter().filter(|row| is_draining(row) == Some(true));
        needed.extend(going.map(|row| (row.backend.clone(), row.server.clone())));
    }
    needed
}

/// The plan in which these do not drain.
pub(super) fn with_serving(mut plan: Plan, serving: &Servers) -> Plan {
    for backend in plan.backends.values_mut() {
        for (name, server) in &mut backend.servers {
            if serving.contains(&(backend.name.clone(), name.clone())) {
                server.is_draining = false;
            }
        }
    }
    plan
}

/// Where all servers are to drain, those that do not yet serve on until the new frame is there: that may have another in
/// their place.
pub(super) fn until_another_serves(mut plan: Plan, rows: &[Row]) -> Plan {
    for backend in plan.backends.values_mut() {
        if backend.servers.values().any(|server| !server.is_draining) {
            continue;
        }
        let of_backend = rows.iter().filter(|row| row.backend == backend.name);
        for row in of_backend.filter(|row| row.admin == Admin::Ready) {
            if let Some(server) = backend.servers.get_mut(&row.server) {
                server.is_draining = false;
            }
        }
    }
    plan
}
