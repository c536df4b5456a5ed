//! Allocation as numbers: what each role may have and has, who sits on offers, which agents may be used.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use mete_master_core::{Admission, Amounts, View};
use mete_model::{FrameworkId, Timestamp};
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;

use super::{Scalars, family, number};
use crate::amounts;

/// An offer that lies on the table for longer is hoarded: a framework that wants it takes it at once, and one that does
/// not declines it. A tenth of the default time-out.
const HOARDED_AFTER: Duration = Duration::from_secs(30);

/// All of it, at one moment.
pub(super) fn encode(
    encoder: &mut DescriptorEncoder<'_>,
    view: &View,
    now: Timestamp,
) -> fmt::Result {
    let help = "Filters of declined offers that have not run out";
    number(encoder, "mete_master_filters", help, view.filters as f64)?;
    stranded(encoder, view)?;
    hoarded(encoder, view, now)?;
    admissions(encoder, view)?;
    roles(encoder, view)
}

/// What is free and of no use, by resource; memory and disk in MB.
fn stranded(encoder: &mut DescriptorEncoder<'_>, view: &View) -> fmt::Result {
    let help = "Free on agents that have no CPUs or no memory left beside it, by resource; mem and disk in MB";
    let mut scalars = Scalars::default();
    scalars.add(&view.stranded);
    family(encoder, "mete_master_stranded", help, "resource", scalars.0)
}

/// By framework that has any: how many offers it holds for long, and how long the oldest.
fn hoarded(encoder: &mut DescriptorEncoder<'_>, view: &View, now: Timestamp) -> fmt::Result {
    let mut held: BTreeMap<&FrameworkId, (i64, Duration)> = BTreeMap::new();
    for open in view.offers.values() {
        let age = now.since(open.since);
        let (long, oldest) = held.entry(&open.framework).or_default();
        *long += i64::from(age > HOARDED_AFTER);
        *oldest = (*oldest).max(age);
    }
    let help = "Offers on the table for more than 30 s, by framework";
    let long = held.iter().map(|(id, (long, _))| (id.as_str(), *long));
    let name = "mete_master_offers_held";
    family(encoder, name, help, "framework", long.collect())?;
    let help = "Age of the oldest offer on the table, by framework";
    let oldest = held
        .iter()
        .map(|(id, (_, oldest))| (id.as_str(), oldest.as_secs_f64()));
    let name = "mete_master_oldest_offer_seconds";
    family(encoder, name, help, "framework", oldest.collect())
}

fn admissions(encoder: &mut DescriptorEncoder<'_>, view: &View) -> fmt::Result {
    let words = ["active", "draining", "drained", "deactivated", "gone"];
    let mut agents = BTreeMap::from_iter(words.map(|word| (word, 0_i64)));
    for agent in view.agents.values() {
        let admission: Admission = agent.admission;
        *agents.entry(admission.as_str()).or_insert(0) += 1;
    }
    let help = "Agents by whether they may be used, wherever they are";
    let name = "mete_master_agents_admitted";
    family(encoder, name, help, "admission", agents)
}

fn roles(encoder: &mut DescriptorEncoder<'_>, view: &View) -> fmt::Result {
    let roles = view.roles();
    let weights = roles.iter().map(|role| {
        let weight = f64::from(role.weight_milli.get()) / 1e3;
        (role.role.as_str(), weight)
    });
    let help = "Weight of a role in fair shares";
    let name = "mete_master_role_weight";
    family(encoder, name, help, "role", weights.collect())?;
    let shares = roles.iter().map(|role| (role.role.as_str(), role.share));
    let help = "Dominant share of a role and those below it, in use and on offer, not divided by its weight";
    let name = "mete_master_role_share";
    family(encoder, name, help, "role", shares.collect())?;
    let allocated = roles.iter().map(|role| {
        let mut scalars = Scalars::default();
        scalars.add(&role.used.plus(&role.offered));
        (role.role.as_str(), scalars.0)
    });
    let help = "In use by and on offer to a role and those below it; mem and disk in MB";
    by_resource(encoder, "mete_master_role_allocated", help, allocated)?;
    let stated = |amounts: &Option<Amounts>| amounts.as_ref().map(amounts::to_json);
    let limits = roles
        .iter()
        .filter_map(|role| Some((role.role.as_str(), stated(&role.limit)?)));
    let help = "The most a role may have, where it is limited; mem and disk in MB";
    by_resource(encoder, "mete_master_role_limit", help, limits)?;
    let kept = roles
        .iter()
        .filter_map(|role| Some((role.role.as_str(), stated(&role.guarantee)?)));
    let help = "What is kept for a role, where something is; mem and disk in MB";
    by_resource(encoder, "mete_master_role_guarantee", help, kept)
}

fn by_resource<'a>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    roles: impl Iterator<Item = (&'a str, BTreeMap<String, f64>)>,
) -> fmt::Result {
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for (role, amounts) in roles {
        for (resource, amount) in amounts {
            let labels = [("role", role), ("resource", resource.as_str())];
            ConstGauge::new(amount).encode(family.encode_family(&labels)?)?;
        }
    }
    Ok(())
}
