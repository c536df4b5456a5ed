//! Explanations as JSON. Amounts are as in Mesos: CPUs, MB, GPUs; moments are seconds since 1970. Each reason and each
//! change has a `code` for programs and a `text` for people (docs/api/explain.md).

use mete_model::{Resources, Timestamp};
use mete_placement::Amounts;
use mete_placement::allocator::{Admission, WhatIfAnswer};
use mete_placement::explain::{
    AlikeAgents, Change, ExplainedAgent, ExplainedClient, ExplainedRole, ExplainedShape, Nearest,
    Reason, Rival,
};
use mete_placement::matcher::WhyNot;
use serde_json::{Map, Value, json};

pub(super) fn client(client: &ExplainedClient) -> Value {
    let on_offer = client.on_offer.iter().map(|(agent, amounts, since)| {
        json!({ "agent": agent.as_str(), "resources": resources(amounts), "since": seconds(*since) })
    });
    json!({
        "framework": client.framework.as_str(),
        "role": client.role.as_str(),
        "share": client.share,
        "policy": client.policy.to_string(),
        "on_offer": on_offer.collect::<Vec<_>>(),
        "in_use": resources(&client.in_use),
        "reasons": reasons(&client.reasons),
        "agents": alike(&client.agents),
        "shapes": client.shapes.iter().map(shape).collect::<Vec<_>>(),
    })
}

pub(super) fn role(role: &ExplainedRole) -> Value {
    json!({
        "role": role.role.as_str(),
        "weight": f64::from(role.weight_milli) / 1e3,
        "share": role.share,
        "limit": role.limit.as_ref().map(amounts),
        "guarantee": role.guarantee.as_ref().map(amounts),
        "charged": resources(&role.charged),
        "reasons": reasons(&role.reasons),
        "frameworks": role.frameworks.iter().map(client).collect::<Vec<_>>(),
    })
}

pub(super) fn agent(agent: &ExplainedAgent) -> Value {
    let in_use = agent.in_use.iter().map(|(framework, role, used)| {
        json!({ "framework": framework.as_str(), "role": role.as_str(), "resources": resources(used) })
    });
    let frameworks = agent.clients.iter().map(|(framework, role, why)| {
        json!({ "framework": framework.as_str(), "role": role.as_str(), "reasons": reasons(why) })
    });
    json!({
        "agent": agent.agent.as_str(),
        "hostname": agent.hostname,
        "total": resources(&agent.total),
        "free": resources(&agent.free),
        "reasons": reasons(&agent.reasons),
        "in_use": in_use.collect::<Vec<_>>(),
        "frameworks": frameworks.collect::<Vec<_>>(),
    })
}

pub(super) fn shape(shape: &ExplainedShape) -> Value {
    let nearest = |near: &Nearest| {
        json!({
            "agent": near.agent.as_str(),
            "reasons": reasons(&near.reasons),
            "changes": changes(&near.changes),
        })
    };
    json!({
        "name": shape.name,
        "role": shape.role.as_str(),
        "resources": resources(&shape.resources),
        "waiting": shape.waiting,
        "on_offer": shape.on_offer,
        "fits_on": shape.fits_on,
        "agents": alike(&shape.agents),
        "nearest": shape.nearest.iter().map(nearest).collect::<Vec<_>>(),
        "smallest_change": changes(&shape.smallest_change),
    })
}

pub(super) fn what_if(answer: &WhatIfAnswer) -> Value {
    let shapes = answer.shapes.iter().map(|one| {
        let placed = one.placed.iter();
        let placed =
            placed.map(|(agent, count)| json!({ "agent": agent.as_str(), "count": count }));
        json!({
            "name": one.shape.name,
            "role": one.shape.role.as_ref().map_or("*", |role| role.as_str()),
            "resources": resources(&one.shape.resources),
            "count": one.shape.count,
            "placed": placed.collect::<Vec<_>>(),
            "missing": one.missing,
            "why_not": one.why_not.as_ref().map(shape),
        })
    });
    json!({
        "shapes": shapes.collect::<Vec<_>>(),
        "free": { "before": resources(&answer.free_before), "after": resources(&answer.free_after) },
        "stranded": {
            "before": resources(&answer.stranded_before),
            "after": resources(&answer.stranded_after),
        },
    })
}

fn alike(groups: &[AlikeAgents]) -> Vec<Value> {
    let groups = groups.iter().map(|group| {
        let examples = group.examples.iter().map(|agent| agent.as_str());
        json!({
            "reason": reason(&group.reason),
            "count": group.count,
            "examples": examples.collect::<Vec<_>>(),
        })
    });
    groups.collect()
}

pub(super) fn reasons(all: &[Reason]) -> Vec<Value> {
    all.iter().map(reason).collect()
}

/// `code`, `text`, and what else there is to say.
#[expect(clippy::too_many_lines, reason = "one arm for each reason")]
fn reason(reason: &Reason) -> Value {
    let more = match reason {
        Reason::Inactive
        | Reason::Suppressed
        | Reason::NothingWaits
        | Reason::First
        | Reason::NothingFree
        | Reason::Fits
        | Reason::HasGpus
        | Reason::OfferConstraint => json!({}),
        Reason::AllOnOffer { tasks } => json!({ "tasks": tasks }),
        Reason::Behind {
            rival,
            share,
            own_share,
        } => {
            let rival = match rival {
                Rival::Role(role) => json!({ "role": role.as_str() }),
                Rival::FrameworksOf(role) => json!({ "frameworks_of": role.as_str() }),
                Rival::Framework(framework) => json!({ "framework": framework.as_str() }),
            };
            json!({ "rival": rival, "share": share, "own_share": own_share })
        }
        Reason::LimitReached {
            role,
            limit,
            charged,
        } => {
            json!({ "role": role.as_str(), "limit": amounts(limit), "charged": resources(charged) })
        }
        Reason::HeadroomKept { free, kept } => {
            json!({ "free": resources(free), "kept": resources(kept) })
        }
        Reason::NotOfferable { admission } => json!({ "admission": match admission {
            Admission::Offerable => "OFFERABLE",
            Admission::Draining => "DRAINING",
            Admission::Deactivated => "DEACTIVATED",
            Admission::Away => "AWAY",
        } }),
        Reason::OtherRegion { region } => json!({ "region": region }),
        Reason::ConstraintNotMet { constraint, found } => {
            json!({ "constraint": constraint.to_string(), "found": found })
        }
        Reason::MaxPerAgent { most } => json!({ "most": most }),
        Reason::TooSmall { short } => {
            json!({ "short": short.iter().map(shortage).collect::<Vec<_>>() })
        }
        Reason::BelowMinimum { left } => json!({ "left": resources(left) }),
        Reason::Filtered { until } => json!({ "until": seconds(*until) }),
        Reason::OnOffer {
            framework,
            role,
            resources: amounts,
            since,
        } => json!({
            "framework": framework.as_str(),
            "role": role.as_str(),
            "resources": resources(amounts),
            "since": seconds(*since),
        }),
        Reason::ReservedFor {
            role,
            resources: amounts,
        } => json!({ "role": role.as_str(), "resources": resources(amounts) }),
    };
    with_code(reason.code(), &reason.to_string(), more)
}

pub(super) fn changes(all: &[Change]) -> Vec<Value> {
    let of_one = |change: &Change| {
        let more = match change {
            Change::Connect | Change::DropOfferConstraints => json!({}),
            Change::Revive { role } => json!({ "role": role.as_str() }),
            Change::Wait { until } => json!({ "until": seconds(*until) }),
            Change::Free {
                agent,
                resources: amounts,
            }
            | Change::Grow {
                agent,
                resources: amounts,
            } => json!({ "agent": agent.as_str(), "resources": resources(amounts) }),
            Change::Reactivate { agent, .. } | Change::BringBack { agent } => {
                json!({ "agent": agent.as_str() })
            }
            Change::RaiseLimit { role, to } => {
                json!({ "role": role.as_str(), "to": amounts(to) })
            }
            Change::AddCapacity { resources: amounts } => {
                json!({ "resources": resources(amounts) })
            }
            Change::DropConstraint { constraint } => {
                json!({ "constraint": constraint.to_string() })
            }
            Change::RaiseMaxPerAgent { to } => json!({ "to": to }),
            Change::Declare { capability } => json!({ "capability": capability }),
        };
        with_code(change.code(), &change.to_string(), more)
    };
    all.iter().map(of_one).collect()
}

fn with_code(code: &str, text: &str, more: Value) -> Value {
    let mut all = Map::new();
    all.insert("code".to_owned(), code.into());
    all.insert("text".to_owned(), text.into());
    if let Value::Object(more) = more {
        all.extend(more);
    }
    Value::Object(all)
}

/// One resource of which there is too little, in units of people.
fn shortage(short: &WhyNot) -> Value {
    let of = |name: &str, asked: u64, there: u64, unit: f64| json!({ "resource": name, "asked": asked as f64 / unit, "there": there as f64 / unit });
    match short {
        WhyNot::InsufficientCpus {
            asked_milli,
            there_milli,
        } => of("cpus", *asked_milli, *there_milli, 1e3),
        WhyNot::InsufficientMemory {
            asked_milli,
            there_milli,
        } => of("mem", *asked_milli, *there_milli, 1e3),
        WhyNot::InsufficientDisk {
            asked_milli,
            there_milli,
        } => of("disk", *asked_milli, *there_milli, 1e3),
        WhyNot::InsufficientGpus {
            asked_milli,
            there_milli,
        } => of("gpus", *asked_milli, *there_milli, 1e3),
        WhyNot::InsufficientOther {
            name,
            asked_milli,
            there_milli,
        } => of(name, *asked_milli, *there_milli, 1e3),
        WhyNot::InsufficientPorts { asked, there, .. } => of("ports", *asked, *there, 1.0),
        WhyNot::UnfulfilledRole { .. } | WhyNot::UnfulfilledConstraint { .. } => {
            json!({ "text": short.to_string() })
        }
    }
}

/// All of it, what is reserved too; `cpus`, `mem`, `disk`, `gpus`, others by name, `ports` as a text.
fn resources(resources: &Resources) -> Value {
    let flat = resources.flat();
    let mut all = Map::new();
    let main = flat.in_units().into_iter();
    for (name, amount) in main.chain(flat.others_in_units()) {
        if amount > 0.0 {
            all.insert(name.to_owned(), amount.into());
        }
    }
    if !flat.ports.is_empty() {
        all.insert("ports".to_owned(), flat.ports.to_string().into());
    }
    Value::Object(all)
}

/// Those that are stated.
fn amounts(amounts: &Amounts) -> Value {
    let milli = |amount: Option<u64>| amount.map(|amount| amount as f64 / 1e3);
    let main = [
        ("cpus", milli(amounts.cpus_milli)),
        ("mem", milli(amounts.mem_milli)),
        ("disk", milli(amounts.disk_milli)),
        ("gpus", milli(amounts.gpus_milli)),
    ];
    let main = main
        .into_iter()
        .filter_map(|(name, amount)| Some((name, amount?)));
    let others = amounts
        .other
        .iter()
        .map(|(name, amount)| (&**name, *amount as f64 / 1e3));
    let all: Map<String, Value> = main
        .chain(others)
        .map(|(name, amount)| (name.to_owned(), amount.into()))
        .collect();
    Value::Object(all)
}

fn seconds(at: Timestamp) -> f64 {
    at.as_micros() as f64 / 1e6
}
