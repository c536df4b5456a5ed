//! Who waits for whom: apps and groups wait for apps, or for all apps of a group.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use crate::spec::app::{AppId, AppSpec};
use crate::spec::group::Group;

/// The longest chain of apps that wait for each other. Each link is a step of a deployment, and each step tells and
/// stores the whole plan: ten thousand steps of ten thousand would hold up everybody for minutes.
pub const MAX_LEVELS: usize = 100;
/// The most pairs of apps of which one waits for the other: a group of a thousand that waits for one of a thousand.
pub const MAX_PAIRS: usize = 1_000_000;
/// So many of the apps in a circle are named.
const MAX_NAMED: usize = 20;

/// Why apps cannot be put in order.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Disorder {
    /// These wait for each other.
    #[error("Dependency graph has cyclic dependencies: apps wait for each other: {}", named(.0))]
    Cycle(Vec<AppId>),
    /// One waits for one that waits for one, and so on.
    #[error(
        "Dependency graph is too deep: a chain of dependencies has more than {MAX_LEVELS} apps"
    )]
    TooDeep,
    /// Groups of many apps wait for groups of many apps.
    #[error(
        "Dependency graph is too large: more than {MAX_PAIRS} pairs of apps wait for each other"
    )]
    TooLarge,
}

fn named(apps: &[AppId]) -> String {
    let shown: Vec<&str> = apps.iter().map(AppId::as_str).take(MAX_NAMED).collect();
    let more = match apps.len().saturating_sub(MAX_NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    shown.join(", ") + &more
}

/// The level of each app: 0 when it waits for none, else one more than the highest it waits for. What a group waits for,
/// each app below it does.
///
/// # Errors
/// [`Disorder`] when they cannot be put in order, or not in reasonable time.
pub fn levels(
    apps: &BTreeMap<AppId, &AppSpec>,
    groups: &BTreeMap<AppId, Arc<Group>>,
) -> Result<BTreeMap<AppId, usize>, Disorder> {
    let mut waits_for = who_waits(apps, groups)?;
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
        if level == MAX_LEVELS {
            return Err(Disorder::TooDeep);
        }
        for id in ready {
            waits_for.remove(id);
            levels.insert(id.clone(), level);
        }
    }
    if waits_for.is_empty() {
        Ok(levels)
    } else {
        Err(Disorder::Cycle(waits_for.into_keys().cloned().collect()))
    }
}

/// The apps that each app waits for.
fn who_waits<'a>(
    apps: &'a BTreeMap<AppId, &AppSpec>,
    groups: &BTreeMap<AppId, Arc<Group>>,
) -> Result<BTreeMap<&'a AppId, BTreeSet<&'a AppId>>, Disorder> {
    let mut waits_for: BTreeMap<&AppId, BTreeSet<&AppId>> = BTreeMap::new();
    let mut pairs = 0;
    let mut count = |more: usize| {
        pairs += more;
        (pairs <= MAX_PAIRS).then_some(()).ok_or(Disorder::TooLarge)
    };
    for (id, spec) in apps {
        let mut needed = BTreeSet::new();
        for dependency in &spec.dependencies {
            needed
                .extend(within(apps, dependency).filter(|other| *other != id || dependency == id));
        }
        count(needed.len())?;
        waits_for.insert(id, needed);
    }
    for (group, said) in groups {
        let needed = said.dependencies.iter();
        let needed: BTreeSet<&AppId> = needed.flat_map(|path| within(apps, path)).collect();
        for app in within(apps, group).filter(|_| !needed.is_empty()) {
            count(needed.len())?;
            let others = needed.iter().copied().filter(|other| *other != app);
            waits_for.entry(app).or_default().extend(others);
        }
    }
    Ok(waits_for)
}

/// What `path` means of `all`: itself, and all below it.
pub(crate) fn within<'a, V>(
    all: &'a BTreeMap<AppId, V>,
    path: &AppId,
) -> impl Iterator<Item = &'a AppId> + use<'a, V> {
    let itself = all.get_key_value(path).map(|(id, _)| id);
    // `-` and `.` sort before `/`, so what lies below a path does not follow it at once, but it does lie together.
    let below = format!("{path}/");
    let rest = all
        .range::<str, _>((Bound::Included(below.as_str()), Bound::Unbounded))
        .map(|(id, _)| id);
    let rest = rest.take_while(move |id| id.as_str().starts_with(&below));
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

    fn levels_of(specs: &[AppSpec]) -> Result<Vec<(String, usize)>, Disorder> {
        let apps = specs.iter().map(|spec| (spec.id.clone(), spec)).collect();
        Ok(levels(&apps, &BTreeMap::new())?
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
    fn what_a_group_waits_for_all_of_it_does() {
        let specs = [app("/db/one", &[]), app("/shop/web", &[]), app("/x", &[])];
        let apps = specs.iter().map(|spec| (spec.id.clone(), spec)).collect();
        let id = |text: &str| AppId::new(text).expect("good");
        let group = |on: &str| {
            Arc::new(Group {
                dependencies: BTreeSet::from([id(on)]),
                ..Group::default()
            })
        };
        let waits = BTreeMap::from([(id("/shop"), group("/db"))]);

        let told = levels(&apps, &waits).expect("no cycle");

        assert_eq!(told[&id("/shop/web")], 1);
        assert_eq!((told[&id("/db/one")], told[&id("/x")]), (0, 0));
        let both = BTreeMap::from([(id("/shop"), group("/db")), (id("/db"), group("/shop"))]);
        let cycle = levels(&apps, &both).expect_err("a cycle");
        assert_eq!(cycle, Disorder::Cycle(vec![id("/db/one"), id("/shop/web")]));
    }

    #[test]
    fn a_cycle_is_named() {
        let specs = [app("/a", &["/b"]), app("/b", &["/a"]), app("/c", &[])];

        let cycle = levels_of(&specs).expect_err("a cycle");

        assert_eq!(
            cycle.to_string(),
            "Dependency graph has cyclic dependencies: apps wait for each other: /a, /b"
        );
        assert!(levels_of(&[app("/a", &["/a"])]).is_err());
        assert!(levels_of(&[app("/g/a", &["/g"])]).is_ok());
    }

    #[test]
    fn chains_and_crowds_have_an_end() {
        let chain = |links: usize| -> Vec<AppSpec> {
            let link = |at| app(&format!("/a{at}"), &[&format!("/a{}", at + 1)]);
            (0..links).map(link).collect()
        };
        let crowd: Vec<AppSpec> = (0..=1_000)
            .flat_map(|at| {
                [
                    app(&format!("/g/a{at}"), &["/h"]),
                    app(&format!("/h/a{at}"), &[]),
                ]
            })
            .collect();
        let circle: Vec<AppSpec> = (0..30)
            .map(|at| app(&format!("/a{at}"), &[&format!("/a{}", (at + 1) % 30)]))
            .collect();

        assert!(levels_of(&chain(MAX_LEVELS)).is_ok());
        assert_eq!(levels_of(&chain(MAX_LEVELS + 1)), Err(Disorder::TooDeep));
        assert_eq!(levels_of(&crowd), Err(Disorder::TooLarge));
        let told = levels_of(&circle).expect_err("a circle").to_string();
        assert!(told.ends_with(" and 10 more"), "{told}");
    }
}
