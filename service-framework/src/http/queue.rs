//! `/v2/queue`: what waits for offers, and why none was good; an end to the delay after failures.
//!
//! The master offers what fits and nothing else, so what stands against an app on the other agents is asked of it. Agents
//! are counted then as Marathon counts offers.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{delete, get};
use axum::{Json, Router};
use mete_daemon::clock;
use mete_model::attributes::AttributeValue;
use mete_model::{Offer, Ranges, Resources, Role, Timestamp};
use mete_proto::rest::queue::{
    Delay, Entry, Offer as Shown, Quantity, Queue, Range, Rejected, Summary, UnusedOffer,
};
use mete_service_framework_core::spec::app::AppId;
use mete_service_framework_core::spec::time;
use mete_service_framework_core::state::launch_queue::{OfferSummary, Queued, Reject};
use mete_service_framework_core::{Input, Reply};

use serde_json::Value;

use super::access::May;
use super::convert;
use super::failure::Failure;
use super::params::{InPath, Params};
use super::{Api, at};
use crate::why::{Counts, Told};

pub(super) fn routes() -> Router<Api> {
    Router::new()
        .merge(at("/v2/queue", get(list)))
        .route("/v2/queue/{*path}", delete(reset_delay).get(why))
}

async fn list(State(api): State<Api>, may: May, params: Params) -> Json<Queue> {
    let with_offers = params.all("embed").any(|word| word == "lastUnusedOffers");
    let (now, view) = (clock::now(), api.handle.view());
    let role = &api.options.role;
    let told = if view.queue.is_empty() {
        Arc::default()
    } else {
        api.why.of(&view).await
    };
    let entry = |queued: &Queued| {
        let told = told.get(queued.version.spec.id.to_string().as_str());
        entry(now, queued, told, role, with_offers)
    };
    // A daemon always waits for agents that may come.
    let waits = view.queue.values();
    let waits = waits.filter(|queued| !queued.version.spec.is_daemon());
    let waits = waits.filter(|queued| may.sees(&queued.version.spec.id));
    Json(Queue {
        queue: waits.map(entry).collect(),
    })
}

/// `GET /v2/queue/{app}/why`: what the master says of an app that waits.
async fn why(State(api): State<Api>, InPath(path): InPath) -> Result<Json<Value>, Failure> {
    let path = path.trim_matches('/');
    let id = path.strip_suffix("/why").ok_or_else(Failure::no_such_uri)?;
    let not_queued = |_| Failure::not_found(format!("Application /{id} not found in tasks queue."));
    let app = AppId::new(id).map_err(not_queued)?;
    let view = api.handle.view();
    if !view.queue.contains_key(&app) {
        return Err(Failure::not_queued(&app));
    }
    let told = api.why.of(&view).await;
    let told = told.get(app.to_string().as_str()).ok_or_else(|| {
        Failure::new(
            StatusCode::SERVICE_UNAVAILABLE,
            format!("The master says nothing of {app} now."),
        )
    })?;
    Ok(Json(told.whole.clone()))
}

async fn reset_delay(State(api): State<Api>, InPath(path): InPath) -> Result<StatusCode, Failure> {
    let path = path.trim_matches('/');
    let id = path
        .strip_suffix("/delay")
        .ok_or_else(Failure::no_such_uri)?;
    let not_queued = |_| Failure::not_found(format!("Application /{id} not found in tasks queue."));
    let app = AppId::new(id).map_err(not_queued)?;
    let reply = api
        .handle
        .ask(Input::ResetDelay { app: app.clone() })
        .await?;
    if reply == Reply::Done {
        return Ok(StatusCode::NO_CONTENT);
    }
    if matches!(reply, Reply::NotFound(_)) {
        return Err(Failure::not_queued(&app));
    }
    Err(reply.into())
}

fn entry(
    now: Timestamp,
    queued: &Queued,
    told: Option<&Told>,
    role: &str,
    with_offers: bool,
) -> Entry {
    let offers = &*queued.offers;
    let left = queued
        .delayed_until
        .map_or(0, |until| until.since(now).as_millis().div_ceil(1_000));
    let unused = || {
        offers
            .last_unused
            .iter()
            .map(|(offer, reasons, at)| unused(offer, reasons, *at))
    };
    let is_pod = queued.version.spec.is_pod();
    Entry {
        count: queued.count,
        // Marathon's Python client dies of it.
        role: queued.version.spec.role.clone().filter(|own| own != role),
        delay: Delay {
            time_left_seconds: u64::try_from(left).unwrap_or(u64::MAX),
            overdue: left == 0,
        },
        since: time::text(queued.since),
        processed_offers_summary: summary(offers, told),
        last_unused_offers: with_offers.then(|| unused().collect()),
        app: (!is_pod).then(|| convert::app(&queued.version, role)),
        pod: is_pod.then(|| convert::pod(&queued.version, role)),
    }
}

/// What offers taught, and in place of the last of them what the master says, when it names anything of the app itself. Where
/// no offer was seen at all, it stands for the whole wait, too.
fn summary(offers: &OfferSummary, told: Option<&Told>) -> Summary {
    let told = told.filter(|told| offers.processed == 0 || told.declined.iter().any(|n| *n > 0));
    let last = told.map_or(
        (&offers.last_offers, offers.last_offers_processed),
        |told| (&told.declined, told.agents),
    );
    let attempt = match told {
        Some(_) if offers.processed == 0 => last,
        _ => (&offers.launch_attempt, offers.processed),
    };
    let rows = |declined: &Counts, processed: u64| {
        let rows = OfferSummary::rows(declined, processed).into_iter();
        rows.map(|(reason, declined, processed)| Rejected {
            reason: reason.as_str().to_owned(),
            declined,
            processed,
        })
        .collect()
    };
    Summary {
        processed_offers_count: offers.processed,
        unused_offers_count: offers.unused,
        last_unused_offer_at: offers.last_unused_at.map(time::text),
        last_used_offer_at: offers.last_used_at.map(time::text),
        reject_summary_last_offers: rows(last.0, last.1),
        reject_summary_launch_attempt: rows(attempt.0, attempt.1),
    }
}

fn unused(offer: &Offer, reasons: &[Reject], at: Timestamp) -> UnusedOffer {
    UnusedOffer {
        offer: told(offer),
        reason: reasons
            .iter()
            .map(|reason| reason.as_str().to_owned())
            .collect(),
        timestamp: time::text(at),
    }
}

fn told(offer: &Offer) -> Shown {
    let plain = quantities("*", &offer.resources.plain());
    let reserved = offer.resources.parts().flat_map(|(tag, part)| {
        let role = tag.role().map_or("*", Role::as_str);
        quantities(role, part)
    });
    Shown {
        id: offer.id.to_string(),
        hostname: offer.endpoint.hostname.clone(),
        agent_id: offer.agent.to_string(),
        resources: plain.into_iter().chain(reserved).collect(),
        attributes: offer.attributes.iter().map(attribute).collect(),
    }
}

/// What is reserved for one role, or for `*`: nobody.
fn quantities(role: &str, held: &Resources) -> Vec<Quantity> {
    let resource = |name: &str| Quantity {
        name: name.to_owned(),
        role: Some(role.to_owned()),
        ..Quantity::default()
    };
    let scalars = held.in_units().into_iter().chain(held.others_in_units());
    let mut resources: Vec<Quantity> = scalars
        .filter(|(_, amount)| *amount > 0.0)
        .map(|(name, amount)| Quantity {
            scalar: Some(amount),
            ..resource(name)
        })
        .collect();
    if !held.ports.is_empty() {
        resources.push(Quantity {
            ranges: Some(ranges(&held.ports)),
            ..resource("ports")
        });
    }
    resources
}

fn attribute((name, value): (&str, &AttributeValue)) -> Quantity {
    let plain = Quantity {
        name: name.to_owned(),
        ..Quantity::default()
    };
    match value {
        AttributeValue::Scalar(milli) => Quantity {
            scalar: Some(*milli as f64 / 1e3),
            ..plain
        },
        AttributeValue::Ranges(held) => Quantity {
            ranges: Some(ranges(held)),
            ..plain
        },
        AttributeValue::Text(text) => Quantity {
            text: Some(text.to_string()),
            ..plain
        },
    }
}

fn ranges(held: &Ranges) -> Vec<Range> {
    let range = |&(begin, end): &(u64, u64)| Range { begin, end };
    held.intervals().iter().map(range).collect()
}
