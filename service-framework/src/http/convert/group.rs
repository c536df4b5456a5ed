//! What a user says of a group → apps and groups by their paths.

use std::collections::BTreeSet;

use mete_proto::rest::apps::App;
use mete_proto::rest::groups::GroupUpdate;
use mete_service_framework_core::Wanted;
use mete_service_framework_core::spec::app::{AppId, AppSpec};
use mete_service_framework_core::spec::group::GroupSpec;
use mete_service_framework_core::validate::Violation;

use super::app_in::{self, Extent};
use super::{Faults, timestamp};
use crate::http::failure::Failure;

/// Apps and groups in one wish, each: as many as fit a body of 8 MiB anyhow; each is held several times over.
const MAX_PARTS: usize = 10_000;

/// Which group a wish is about: what it says itself, relative to the path it is sent to; `None`: the root.
///
/// # Errors
/// 422 when that is no path.
pub(in crate::http) fn group_id(
    said: &GroupUpdate,
    base: Option<&AppId>,
) -> Result<Option<AppId>, Failure> {
    let Some(id) = &said.id else {
        return Ok(base.cloned());
    };
    if id.starts_with('/') && id.trim_matches('/').is_empty() {
        return Ok(None);
    }
    let bad = |rule: &str| Failure::invalid(vec![Violation::new("/id", rule)]);
    let id = AppId::resolve(id, base).map_err(|error| bad(error.rule()))?;
    Ok(Some(id))
}

/// What is wanted of the group `id`: another structure, a former version, or a multiple of its instances.
///
/// # Errors
/// 422 with everything whose form is wrong or that is not carried yet.
pub(in crate::http) fn group(id: Option<AppId>, said: &GroupUpdate) -> Result<Wanted, Failure> {
    let mut faults = Faults::default();
    let alone = |alone: GroupUpdate| {
        GroupUpdate {
            id: None,
            ..said.clone()
        } == alone
    };
    if let Some(version) = &said.version {
        let only = GroupUpdate {
            version: said.version.clone(),
            ..GroupUpdate::default()
        };
        if !alone(only) {
            faults.meaning(
                "/version",
                "not allowed in conjunction with other properties",
            );
        }
        let former = timestamp(version)?;
        return faults.unless_any(Wanted::RevertGroup(id, former));
    }
    if let Some(factor) = said.scale_by {
        let only = GroupUpdate {
            scale_by: said.scale_by,
            ..GroupUpdate::default()
        };
        if !alone(only) {
            faults.meaning(
                "/scaleBy",
                "not allowed in conjunction with other properties",
            );
        }
        if factor < 0.0 {
            let text = "error.min";
            faults.shape("/scaleBy", text);
        }
        return faults.unless_any(Wanted::ScaleGroup(id, factor));
    }
    let spec = whole(id, said, &mut faults);
    faults.unless_any(Wanted::PutGroup(Box::new(spec)))
}

/// A group `id` that is new: only a structure makes one.
///
/// # Errors
/// As [`group`].
pub(in crate::http) fn new_group(id: Option<AppId>, said: &GroupUpdate) -> Result<Wanted, Failure> {
    let mut faults = Faults::default();
    for (path, is_said) in [
        ("/version", said.version.is_some()),
        ("/scaleBy", said.scale_by.is_some()),
    ] {
        if is_said {
            faults.meaning(path, "is for a group that is there already");
        }
    }
    let spec = whole(id, said, &mut faults);
    faults.unless_any(Wanted::CreateGroup(Box::new(spec)))
}

fn whole(id: Option<AppId>, said: &GroupUpdate, faults: &mut Faults) -> GroupSpec {
    let mut room = MAX_PARTS;
    let spec = structure(id, said, "", &mut room, faults);
    if room == 0 {
        faults.shape("/", format!("has more than {MAX_PARTS} apps and groups"));
    }
    spec
}

fn structure(
    id: Option<AppId>,
    said: &GroupUpdate,
    place: &str,
    room: &mut usize,
    faults: &mut Faults,
) -> GroupSpec {
    let is_top = id.as_ref().is_some_and(|id| id.parent().is_none());
    if said.enforce_role == Some(true) && !is_top {
        let text = "is only for groups right below the root";
        faults.meaning(format!("{place}/enforceRole"), text);
    }
    if !place.is_empty() && (said.version.is_some() || said.scale_by.is_some()) {
        let text = "version and scaleBy are for a whole group, not for one inside of another";
        faults.meaning(place, text);
    }
    let dependencies = said.dependencies.as_ref().map(|paths| {
        let place = format!("{place}/dependencies");
        dependencies(paths, id.as_ref(), &place, faults)
    });
    if id.is_none() && dependencies.as_ref().is_some_and(|paths| !paths.is_empty()) {
        faults.meaning("/dependencies", "the root cannot wait for what lies in it");
    }
    let mut apps = None;
    for (at, app) in said.apps.iter().flatten().enumerate() {
        if *room == 0 {
            break;
        }
        *room -= 1;
        let place = format!("{place}/apps({at})");
        if let Some(spec) = app_of(app, id.as_ref(), &place, faults) {
            apps.get_or_insert_with(Vec::new).push((place, spec));
        }
    }
    let mut groups = None;
    for (at, group) in said.groups.iter().flatten().enumerate() {
        if *room == 0 {
            break;
        }
        *room -= 1;
        let place = format!("{place}/groups({at})");
        if let Some(inner) = child(group.id.as_ref(), id.as_ref(), &place, faults) {
            let spec = structure(Some(inner), group, &place, room, faults);
            groups.get_or_insert_with(Vec::new).push(spec);
        }
    }
    GroupSpec {
        apps: said.apps.as_ref().map(|_| apps.unwrap_or_default()),
        groups: said.groups.as_ref().map(|_| groups.unwrap_or_default()),
        dependencies,
        enforce_role: said.enforce_role,
        id,
    }
}

fn app_of(said: &App, group: Option<&AppId>, place: &str, faults: &mut Faults) -> Option<AppSpec> {
    let id = child(said.id.as_ref(), group, place, faults)?;
    if said.version.is_some() {
        // Clients send back what they were shown; it is the group that has a version to go back to.
        tracing::debug!(app = %id, "the version of an app in a group is passed over");
    }
    let (spec, found) = app_in::lay(AppSpec::new(id), said, Extent::Whole, group);
    faults.absorb(place, found);
    Some(spec)
}

/// The path of what is said to lie right in a group.
fn child(
    id: Option<&String>,
    group: Option<&AppId>,
    place: &str,
    faults: &mut Faults,
) -> Option<AppId> {
    let place = format!("{place}/id");
    let Some(id) = id else {
        faults.shape(place, "error.path.missing");
        return None;
    };
    match AppId::resolve(id, group) {
        Ok(id) if id.parent().as_ref() == group => Some(id),
        Ok(_) => {
            let group = group.map_or("/", AppId::as_str);
            let text = format!("Identifier is not child of {group}. Hint: use relative paths.");
            faults.meaning(place, text);
            None
        }
        Err(bad) => {
            faults.meaning(place, bad.rule());
            None
        }
    }
}

/// Paths that may be relative to `base`; `None`: the root.
pub(super) fn dependencies(
    paths: &[String],
    base: Option<&AppId>,
    place: &str,
    faults: &mut Faults,
) -> BTreeSet<AppId> {
    let mut all = BTreeSet::new();
    for (at, text) in paths.iter().enumerate() {
        match AppId::resolve(text, base) {
            Ok(id) => drop(all.insert(id)),
            Err(bad) => faults.meaning(format!("{place}({at})"), bad.rule()),
        }
    }
    all
}
