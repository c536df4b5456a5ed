//! Who is to drain serves on until others do: a backend is never empty while one that comes does not listen yet, or while
//! the frame is on its way that has another backend in its place.

use std::collections::{BTreeMap, BTreeSet};

use crate::haproxy::backends::{Backend, Plan};
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

/// Those that do not drain yet, of backends in which all are to: they serve on until the new frame is there, which may have
/// another backend in the place of theirs.
pub(super) fn last_of_all(plan: &Plan, rows: &[Row]) -> Servers {
    let ends = |backend: &&Backend| backend.servers.values().all(|server| server.is_draining);
    let ending = plan.backends.values().filter(ends);
    let ending: BTreeSet<&str> = ending.map(|backend| backend.name.as_str()).collect();
    let serves = |row: &&Row| row.admin == Admin::Ready && ending.contains(row.backend.as_str());
    let serving = rows.iter().filter(serves);
    serving
        .map(|row| (row.backend.clone(), row.server.clone()))
        .collect()
}
