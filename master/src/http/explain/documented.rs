//! docs/api/explain.md names every code, and what stands beside it.

use std::collections::{BTreeMap, BTreeSet};

use mete_model::{AgentId, FrameworkId, Resources, Role, Timestamp};
use mete_placement::Amounts;
use mete_placement::Constraint;
use mete_placement::allocator::Admission;
use mete_placement::explain::{Change, Reason, Rival};
use serde_json::Value;

use super::json;

const DOC: &str = include_str!("../../../../docs/api/explain.md");

/// From each code of the tables under a heading to the names in its column "holds".
fn documented(heading: &str, holds_at: usize) -> BTreeMap<String, BTreeSet<String>> {
    let (_, section) = DOC.split_once(heading).expect("the heading");
    let section = section.split("\n## ").next().unwrap_or("");
    let section = section.split("\n### ").next().unwrap_or("");
    let mut found = BTreeMap::new();
    for row in section.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        // What is in parentheses stands one level deeper, what comes after a colon too.
        let holds = cells[holds_at].split(':').next().unwrap_or("");
        let mut deep = 0;
        let shallow: String = holds
            .chars()
            .filter(|letter| {
                match letter {
                    '(' => deep += 1,
                    ')' => deep -= 1,
                    _ => {}
                }
                deep == 0
            })
            .collect();
        for code in names(cells[1]) {
            found.insert(code, names(&shallow));
        }
    }
    found
}

/// What stands between backquotes.
fn names(cell: &str) -> BTreeSet<String> {
    let quoted = cell.split('`').skip(1).step_by(2);
    quoted.map(str::to_owned).collect()
}

/// From the code of each to the names beside it.
fn told(all: &[Value]) -> BTreeMap<String, BTreeSet<String>> {
    let of_one = |one: &Value| {
        let mut names: BTreeSet<String> = one
            .as_object()
            .expect("an object")
            .keys()
            .cloned()
            .collect();
        assert!(names.remove("code") && names.remove("text"));
        (one["code"].as_str().expect("a code").to_owned(), names)
    };
    all.iter().map(of_one).collect()
}

fn constraint() -> Constraint {
    Constraint::parse("rack", "LIKE", Some("a.*")).expect("good")
}

#[test]
fn every_reason_is_documented_with_what_it_holds() {
    let role = Role::new("prod").expect("good");
    let framework = FrameworkId::new("f").expect("good");
    let (resources, at) = (Resources::cpus_mem(1_000, 64), Timestamp::from_millis(1));
    let amounts = Amounts::from(&resources);
    let all = [
        Reason::Inactive,
        Reason::Suppressed,
        Reason::NothingWaits,
        Reason::AllOnOffer { tasks: 1 },
        Reason::Behind {
            rival: Rival::Framework(framework.clone()),
            share: 0.1,
            own_share: 0.2,
        },
        Reason::First,
        Reason::LimitReached {
            role: role.clone(),
            limit: amounts,
            charged: resources.clone(),
        },
        Reason::HeadroomKept {
            free: resources.clone(),
            kept: resources.clone(),
        },
        Reason::NothingFree,
        Reason::Fits,
        Reason::NotOfferable {
            admission: Admission::Draining,
        },
        Reason::NotOfferable {
            admission: Admission::Deactivated,
        },
        Reason::NotOfferable {
            admission: Admission::Away,
        },
        Reason::OtherRegion {
            region: "eu".to_owned(),
        },
        Reason::HasGpus,
        Reason::OfferConstraint,
        Reason::ConstraintNotMet {
            constraint: constraint(),
            found: None,
        },
        Reason::MaxPerAgent { most: 1 },
        Reason::TooSmall { short: Vec::new() },
        Reason::BelowMinimum {
            left: resources.clone(),
        },
        Reason::Filtered { until: at },
        Reason::OnOffer {
            framework,
            role: role.clone(),
            resources: resources.clone(),
            since: at,
        },
        Reason::ReservedFor { role, resources },
    ];

    assert_eq!(told(&json::reasons(&all)), documented("### Reasons", 3));
}

#[test]
fn every_change_is_documented_with_what_it_holds() {
    let role = Role::new("prod").expect("good");
    let agent = AgentId::new("a").expect("good");
    let resources = Resources::cpus_mem(1_000, 64);
    let all = [
        Change::Connect,
        Change::Revive { role: role.clone() },
        Change::Wait {
            until: Timestamp::from_millis(1),
        },
        Change::Free {
            agent: agent.clone(),
            resources: resources.clone(),
        },
        Change::Grow {
            agent: agent.clone(),
            resources: resources.clone(),
        },
        Change::Reactivate {
            agent: agent.clone(),
            drains: false,
        },
        Change::BringBack { agent },
        Change::RaiseLimit {
            role,
            to: Amounts::from(&resources),
        },
        Change::AddCapacity { resources },
        Change::DropConstraint {
            constraint: constraint(),
        },
        Change::RaiseMaxPerAgent { to: 2 },
        Change::DropOfferConstraints,
        Change::Declare {
            capability: "REGION_AWARE",
        },
    ];

    assert_eq!(told(&json::changes(&all)), documented("### Changes", 2));
}
