//! Who waits for whom: apps depend on apps, or on all apps of a group.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use crate::spec::app::{AppId, AppSpec};

/// Apps that wait for each other.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("apps wait for each other: {}", .0.iter().map(AppId::as_str).collect::<Vec<_>>().join(", "))]
pub struct Cycle(pub Vec<AppId>);

/// The level of each app: 0 when it waits for none, else one more than the highest it waits for.
///
/// # Errors
/// [`Cycle`] names the apps that cannot be put in order.
pub fn levels(apps: &BTreeMap<AppId, &AppSpec>) -> Result<BTreeMap<AppId, usize>, Cycle> {
    let mut waits_for: BTreeMap<&AppId, BTreeSet<&AppId>> = BTreeMap::new();
    for (id, spec) in apps {
        let mut needed = BTreeSet::new();
        for dependency in &spec.dependencies {
            needed
                .extend(within(apps, dependency).filter(|other| *other != id || dependency == id));
        }
        waits_for.insert(id, needed);
    }
    let mut levels: BTreeMap<AppId, usize> = BTreeMap::new();
    // Each round settles a level, so there are as many rounds as levels: one, where nothing waits.
    for level in 0.. {
        let is_ready =
            |needed: &BTreeSet<&AppId>| needed.iter().all(|other| levels.contains_key(*other));
        let ready: Vec<&AppId> = waits_for
            .iter()
            .filter(|(_, needed)| is_ready(needed))
            .map(|(id, _)| *id)
            .collect();
        if ready.is_empty() {
            break;
        }
        for id in ready {
            waits_for.remove(id);
            levels.insert(id.clone(), level);
        }
    }
    if waits_for.is_empty() {
        Ok(levels)
    } else {
        Err(Cycle(waits_for.into_keys().cloned().collect()))
    }
}

/// The apps that `path` means: the app itself, and all below it.
fn within<'a>(
    apps: &'a BTreeMap<AppId, &AppSpec>,
    path: &AppId,
) -> impl Iterator<Item = &'a AppId> {
    let itself = apps.get_key_value(path).map(|(id, _)| id);
    // `-` and `.` sort before `/`, so what lies below a path does not follow it at once, but it does lie together.
    let below = format!("{path}/");
    let rest = apps
        .range::<str, _>((Bound::Included(below.as_str()), Bound::Unbounded))
        .map(|(id, _)| id);
    let rest: Vec<&AppId> = rest
        .take_while(|id| id.as_str().starts_with(&below))
        .collect();
    itself.into_iter().chain(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn app(id: &str, dependencies: &[&str]) -> AppSpec {
        let mut spec = AppSpec::new(AppId::new(id).expect("good"));
        spec.dependencies = dependencies
            .iter()
            .map(|id| AppId::new(id).expect("good"))
            .collect();
        spec
    }

    fn levels_of(specs: &[AppSpec]) -> Result<Vec<(String, usize)>, Cycle> {
        let apps = specs.iter().map(|spec| (spec.id.clone(), spec)).collect();
        Ok(levels(&apps)?
            .into_iter()
            .map(|(id, level)| (id.to_string(), level))
            .collect())
    }

    #[test]
    fn an_app_stands_above_all_it_waits_for() {
        let specs = [
            app("/web", &["/db", "/cache"]),
            app("/db/one", &[]),
            app("/db/two", &["/db/one"]),
            app("/db-x", &[]),
            app("/cache", &[]),
        ];

        let levels = levels_of(&specs).expect("no cycle");

        let expected = [
            ("/cache", 0),
            ("/db-x", 0),
            ("/db/one", 0),
            ("/db/two", 1),
            ("/web", 2),
        ];
        assert_eq!(levels, expected.map(|(id, level)| (id.to_owned(), level)));
    }

    #[test]
    fn a_cycle_is_named() {
        let specs = [app("/a", &["/b"]), app("/b", &["/a"]), app("/c", &[])];

        let cycle = levels_of(&specs).expect_err("a cycle");

        assert_eq!(cycle.to_string(), "apps wait for each other: /a, /b");
        assert!(levels_of(&[app("/a", &["/a"])]).is_err());
        assert!(levels_of(&[app("/g/a", &["/g"])]).is_ok());
    }
}
