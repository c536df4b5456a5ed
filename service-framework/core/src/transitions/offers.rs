//! Offers: those that fit are taken for instances that wait, the rest is declined.
//!
//! An offer is used up in the step it comes in: accepted once, with all that is launched on it, or declined. Every
//! instance is stored as launching before its ACCEPT goes out.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use mete_model::machine::Effects;
use mete_model::{AttributeValue, FaultDomain, Offer, Resources, Role, Timestamp};
use mete_placement::constraints::{Field, Place as Spot, Rule};
use mete_placement::demand::{MAX_COUNT, MAX_NAME_BYTES, Takes};
use mete_placement::{Constraint, Matched, Placed, Placement, PortAsk, Waiting, WhyNot};

use super::reserved::Shown;
use crate::accepted::{self, Accepts};
use crate::effects::{Action, Kept, Launch, LaunchGroup};
use crate::launch::{self, Grant};
use crate::orchestrator::Orchestrator;
use crate::spec::app::{self, AppId, AppSpec};
use crate::spec::history::AppVersion;
use crate::spec::size::{secrets_bytes, text_bytes};
use crate::state::apps::App;
use crate::state::containers::Container;
use crate::state::demand::Need;
use crate::state::holdings::Holding;
use crate::state::instances::{InstanceId, InstanceState, LAUNCH_CONFIRM, Place};
use crate::state::launch_queue::{MAX_LAST_OFFERS, OfferSummary, Reject};

/// What one ACCEPT may hold: masters take calls of a few MiB (Mete's own 8 MiB), and cut those who send more.
const MAX_ACCEPT_BYTES: usize = 3 * 1024 * 1024;
/// A task besides the text of its app.
const TASK_BYTES: usize = 2 * 1024;
/// How often the text of an app stands in a task: a health check and a check by command have the environment, too.
const TEXTS: usize = 3;

/// Instances of one app that wait, as the matcher sees them.
struct Shape {
    app: AppId,
    version: Arc<AppVersion>,
    instances: Vec<InstanceId>,
}

/// What is launched with one offer.
#[derive(Default)]
struct Accepted {
    reserve: Vec<Kept>,
    launches: Vec<Launch>,
    groups: Vec<LaunchGroup>,
}

impl Accepted {
    const fn is_empty(&self) -> bool {
        self.launches.is_empty() && self.groups.is_empty()
    }
}

impl Orchestrator {
    pub(crate) fn offers(&mut self, now: Timestamp, offers: Vec<Offer>, out: &mut Effects<Self>) {
        if offers.is_empty() {
            return;
        }
        self.stay_where_offered(now, &offers, out);
        let shapes = self.shapes(now);
        let waiting: Vec<Waiting> = shapes.iter().map(|shape| self.waiting(shape)).collect();
        let accepts = shapes.iter().map(|shape| self.accepts(&shape.version.spec));
        let accepts: Vec<Accepts> = accepts.collect();
        let seed = self.random.number();
        let there = without_away(now, &offers);
        let matched = accepted::lay(waiting, &accepts, &there, self.settings.policy, seed);
        self.note_matching(now, &shapes, &offers, &matched);
        let mut shown: BTreeMap<usize, Shown> = BTreeMap::new();
        for (at, offer) in offers.iter().enumerate() {
            let of_ours = self.shown(now, offer, out);
            if !of_ours.is_empty() {
                shown.insert(at, of_ours);
            }
        }
        self.note_not_shown(now, &offers, &shown, |app| {
            shapes.iter().any(|shape| shape.app == *app)
        });
        self.use_offers(now, &offers, &shapes, &matched, shown, out);
    }

    /// Accepts each offer that something is done with, and declines the others.
    fn use_offers(
        &mut self,
        now: Timestamp,
        offers: &[Offer],
        shapes: &[Shape],
        matched: &Matched,
        mut shown: BTreeMap<usize, Shown>,
        out: &mut Effects<Self>,
    ) {
        let mut left: Vec<_> = shapes.iter().map(|shape| shape.instances.iter()).collect();
        let mut by_offer = matched.by_offer();
        let opened = opened(shapes, matched);
        // What was too full a moment ago may be taken now, also of offers that were declined.
        self.master.wants_revive |= !opened.is_empty();
        let mut unused = Vec::new();
        for (at, offer) in offers.iter().enumerate() {
            let of_ours = shown.remove(&at);
            let placements = by_offer.remove(&at).unwrap_or_default();
            if of_ours.is_none() && placements.is_empty() {
                unused.push(offer.id.clone());
                continue;
            }
            let Shown { launches, release } = of_ours.unwrap_or_default();
            let mut accept = Accepted {
                launches,
                ..Accepted::default()
            };
            let mut room = MAX_ACCEPT_BYTES;
            let is_wanted_again = placements
                .iter()
                .any(|placement| opened.contains(&placement.waiting));
            for placement in placements {
                let version = &shapes[placement.waiting].version;
                let tasks = version.spec.containers().len().max(1);
                let text = TEXTS * text_bytes(&version.spec);
                let bytes = TASK_BYTES * tasks + text + secrets_bytes(&version.spec);
                if bytes > room && !accept.is_empty() {
                    // The rest is launched from offers that are asked for anew.
                    self.master.wants_revive = true;
                    break;
                }
                room = room.saturating_sub(bytes);
                if let Some(id) = left[placement.waiting].next() {
                    self.launch(now, id, version, offer, placement, &mut accept, out);
                }
            }
            if !accept.launches.is_empty() || !accept.groups.is_empty() {
                self.demand.launched();
            }
            out.act.push(Action::Accept {
                offers: vec![offer.id.clone()],
                release,
                reserve: accept.reserve,
                launches: accept.launches,
                groups: accept.groups,
                refuse: if is_wanted_again {
                    Duration::ZERO
                } else {
                    self.settings.decline
                },
            });
        }
        if !unused.is_empty() {
            out.act.push(Action::Decline {
                offers: unused,
                refuse: self.settings.decline,
            });
        }
    }

    /// Apps with instances that may be launched now, in the order of those that wait the longest.
    fn shapes(&self, now: Timestamp) -> Vec<Shape> {
        let mut shapes: Vec<Shape> = Vec::new();
        let mut known: BTreeMap<AppId, usize> = BTreeMap::new();
        for (_, id) in self.apps.waiting() {
            let Some(instance) = self.apps.instance(id) else {
                continue;
            };
            let app = instance.app();
            if let Some(at) = known.get(app) {
                shapes[*at].instances.push(id.clone());
            } else if self.queue.may_launch(now, &instance.version) {
                known.insert(app.clone(), shapes.len());
                shapes.push(Shape {
                    app: app.clone(),
                    version: Arc::clone(&instance.version),
                    instances: vec![id.clone()],
                });
            }
        }
        shapes
    }

    /// Brings the demand of one app up to date.
    pub(crate) fn note_demand(&mut self, now: Timestamp, id: &AppId) {
        let mut needs = self.needs_of_holders(now, id);
        needs.extend(self.need(now, id));
        self.demand.note(id, needs);
    }

    /// What waits of an app and may be launched now.
    fn need(&self, now: Timestamp, id: &AppId) -> Option<Need> {
        if !self.queue.is_queued(id) {
            return None;
        }
        let instances = self.apps.get(id)?.instances.values();
        let mut waiting: Vec<_> = instances
            .filter(|instance| matches!(instance.state, InstanceState::Waiting))
            .collect();
        waiting.sort_by_key(|instance| (instance.since, &instance.id));
        let may_launch = |version: &AppVersion| self.queue.may_launch(now, version);
        let first = waiting
            .iter()
            .position(|instance| may_launch(&instance.version))?;
        let shape = Shape {
            app: id.clone(),
            version: Arc::clone(&waiting[first].version),
            instances: waiting[first..]
                .iter()
                .map(|instance| instance.id.clone())
                .collect(),
        };
        let name = Some(id.to_string()).filter(|name| name.len() <= MAX_NAME_BYTES);
        let told = mete_placement::Shape::of(&self.waiting(&shape));
        Some(Need {
            since: waiting[first].since,
            shape: mete_placement::Shape {
                name,
                count: told.count.min(MAX_COUNT),
                takes: self.takes(&shape.version.spec),
                ..told
            },
        })
    }

    /// Of what its role may be offered it takes.
    fn takes(&self, spec: &AppSpec) -> Takes {
        let Accepts {
            reserved,
            unreserved,
        } = self.accepts(spec);
        match (reserved, unreserved) {
            (true, false) => Takes::Reserved,
            (false, _) if self.role_of(spec) != Role::any() => Takes::Unreserved,
            (true, true) | (false, _) => Takes::Any,
        }
    }

    /// Volumes of its own lie on what was nobody's.
    fn accepts(&self, spec: &AppSpec) -> Accepts {
        let role = self.role_of(spec);
        let says = |role: &str| {
            let accepted = spec.accepted_resource_roles.as_ref();
            accepted.is_none_or(|roles| roles.contains(role))
        };
        Accepts {
            reserved: !spec.is_resident() && says(role.as_str()) && role != Role::any(),
            unreserved: says("*"),
        }
    }

    fn waiting(&self, shape: &Shape) -> Waiting {
        let spec = &*shape.version.spec;
        let ask = |port| match port {
            0 => PortAsk::Any,
            port => PortAsk::Exactly(u64::from(port)),
        };
        let app = self.apps.get(&shape.app);
        let home = self.master.region.as_deref();
        let constraints = constraints(spec, home);
        let placed = if constraints.is_empty() {
            Vec::new()
        } else {
            placed(app, &shape.version)
        };
        Waiting {
            ports: spec.host_ports().map(ask).collect(),
            constraints,
            placed,
            count: u32::try_from(shape.instances.len()).unwrap_or(u32::MAX),
            roles: BTreeSet::from([self.role_of(spec)]),
            ..Waiting::new(launch::resources(spec))
        }
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "what is launched, with what, and all that follows"
    )]
    fn launch(
        &mut self,
        now: Timestamp,
        id: &InstanceId,
        version: &Arc<AppVersion>,
        offer: &Offer,
        placement: &Placement,
        accept: &mut Accepted,
        out: &mut Effects<Self>,
    ) {
        let spec = &version.spec;
        let ports: Vec<u16> = placement
            .ports
            .iter()
            .filter_map(|port| u16::try_from(*port).ok())
            .collect();
        let host = offer.endpoint.hostname.clone();
        let holding = self.holding(spec, offer, placement);
        let of_task = holding.as_ref().map(|holding| holding.of_task(id));
        let grant = Grant {
            agent: &offer.agent,
            host: &host,
            ports: &ports,
            resources: of_task.unwrap_or_else(|| placement.resources.clone()),
            enforces_role: self.is_role_enforced(&spec.id),
        };
        accept
            .reserve
            .extend(holding.as_ref().map(|holding| holding.kept(id)));
        match &spec.pod {
            Some(pod) => accept.groups.push(launch::group(id, version, pod, &grant)),
            None => accept.launches.push(Launch {
                task: launch::task(id.task(), version, &grant),
                discovery: launch::discovery(spec, &ports),
                secrets: launch::secrets(spec),
            }),
        }
        let names = spec.containers().iter().map(|one| one.name.clone());
        let containers = names.map(|name| Container::launched(name, now)).collect();
        let place = Place {
            agent: offer.agent.clone(),
            host,
            ip_addresses: vec![offer.endpoint.ip.clone()],
            domain: offer.domain.clone(),
            attributes: seen_by_constraints(spec, offer),
            ports,
        };
        self.edit_instance(now, id, out, |instance| {
            instance.state = InstanceState::Launching {
                offer: offer.id.clone(),
                ask: now + LAUNCH_CONFIRM,
            };
            instance.place = Some(place);
            instance.staged_at = Some(now);
            instance.containers = containers;
            instance.holding = holding.map(Arc::new);
        });
    }

    /// What an instance is to hold from its first launch on.
    fn holding(&mut self, spec: &AppSpec, offer: &Offer, placement: &Placement) -> Option<Holding> {
        let framework = self.master.framework.clone()?;
        let (role, given) = (offer.role.clone(), &placement.resources);
        spec.is_resident()
            .then(|| Holding::of(spec, framework, role, given, || self.random.uuid()))
    }

    /// Notes for `/v2/queue` what came of the offers.
    fn note_matching(
        &mut self,
        now: Timestamp,
        shapes: &[Shape],
        offers: &[Offer],
        matched: &Matched,
    ) {
        let mut reasons: BTreeMap<usize, BTreeMap<usize, Vec<Reject>>> = BTreeMap::new();
        for rejection in &matched.rejections {
            let mut all: Vec<Reject> = rejection.reasons.iter().map(reject).collect();
            if is_away(now, &offers[rejection.offer]) {
                all = vec![Reject::AgentMaintenance];
            }
            all.sort_unstable();
            all.dedup();
            reasons
                .entry(rejection.waiting)
                .or_default()
                .insert(rejection.offer, all);
        }
        for (at, shape) in shapes.iter().enumerate() {
            let used: BTreeSet<usize> = matched
                .launches
                .iter()
                .filter(|launch| launch.waiting == at)
                .map(|launch| launch.offer)
                .collect();
            let rejected = reasons.remove(&at).unwrap_or_default();
            self.queue.note_offers(&shape.app, |summary| {
                note(now, summary, offers, &used, rejected)
            });
        }
    }
}

/// Whether the machine of an offer may go at any moment: its window has begun.
fn is_away(now: Timestamp, offer: &Offer) -> bool {
    let window = offer.unavailability.as_ref();
    window.is_some_and(|window| {
        let is_over = |lasts| now >= window.start + lasts;
        now >= window.start && !window.duration.is_some_and(is_over)
    })
}

/// The offers, of which those have nothing to take whose machines may go at any moment: nothing begins there (as in
/// Marathon). What waits there for what it holds goes on where it is.
fn without_away(now: Timestamp, offers: &[Offer]) -> Cow<'_, [Offer]> {
    if !offers.iter().any(|offer| is_away(now, offer)) {
        return Cow::Borrowed(offers);
    }
    let mut there = offers.to_vec();
    for offer in there.iter_mut().filter(|offer| is_away(now, offer)) {
        offer.resources = Resources::none();
    }
    Cow::Owned(there)
}

/// Shapes of which some wait on, and whose launches have opened places that were closed to them.
fn opened(shapes: &[Shape], matched: &Matched) -> BTreeSet<usize> {
    let launched = matched.launches.iter().map(|launch| launch.waiting);
    let launched: BTreeSet<usize> = launched.collect();
    let opens = |at: &usize| {
        let constraints = constraints(&shapes[*at].version.spec, None);
        matched.missing[*at] > 0 && constraints.iter().any(Constraint::may_reopen)
    };
    launched.into_iter().filter(opens).collect()
}

pub(super) fn note(
    now: Timestamp,
    summary: &mut OfferSummary,
    offers: &[Offer],
    used: &BTreeSet<usize>,
    rejected: BTreeMap<usize, Vec<Reject>>,
) {
    let count = offers.len() as u64;
    summary.processed = summary.processed.saturating_add(count);
    summary.last_offers_processed = count;
    summary.last_offers = [0; Reject::ALL.len()];
    if !used.is_empty() {
        summary.last_used_at = Some(now);
    }
    // Some of the app still wait: what is left of an offer that was used was no good to them either.
    for (offer, reasons) in rejected {
        if !used.contains(&offer) {
            summary.unused = summary.unused.saturating_add(1);
            summary.last_unused_at = Some(now);
        }
        if let Some(first) = reasons.first() {
            let at = Reject::ALL
                .iter()
                .position(|reason| reason == first)
                .unwrap_or_default();
            summary.last_offers[at] += 1;
            summary.launch_attempt[at] += 1;
        }
        summary
            .last_unused
            .insert(0, (Arc::new(offers[offer].clone()), reasons, now));
        summary.last_unused.truncate(MAX_LAST_OFFERS);
    }
}

fn reject(why: &WhyNot) -> Reject {
    match why {
        WhyNot::UnfulfilledRole { .. } => Reject::UnfulfilledRole,
        WhyNot::UnfulfilledConstraint { .. } => Reject::UnfulfilledConstraint,
        WhyNot::InsufficientCpus { .. } => Reject::InsufficientCpus,
        WhyNot::InsufficientMemory { .. } => Reject::InsufficientMemory,
        WhyNot::InsufficientDisk { .. } => Reject::InsufficientDisk,
        WhyNot::InsufficientGpus { .. } => Reject::InsufficientGpus,
        // No app asks for such yet; the nearest of Marathon's names.
        WhyNot::InsufficientOther { .. } => Reject::DeclinedScarceResources,
        WhyNot::InsufficientPorts { .. } => Reject::InsufficientPorts,
    }
}

/// What an app says, and what it need not say: a daemon stands on each machine once, and who names neither region nor zone
/// stays in the master's region, as in Marathon.
fn constraints(spec: &AppSpec, home: Option<&str>) -> Vec<Constraint> {
    let parse = |constraint: &app::Constraint| {
        Constraint::parse(
            &constraint.field,
            &constraint.operator,
            constraint.value.as_deref(),
        )
        .ok()
    };
    let once = Constraint::parse("hostname", "UNIQUE", None).ok();
    let once = once.filter(|_| spec.is_daemon());
    let mut said: Vec<Constraint> = spec.constraints.iter().filter_map(parse).collect();
    let is_of_domain = |one: &Constraint| matches!(one.field, Field::Region | Field::Zone);
    let home = home.filter(|_| !said.iter().any(is_of_domain));
    let home = home.map(|home| Constraint {
        field: Field::Region,
        rule: Rule::Home(home.to_owned()),
        stated: None,
    });
    said.extend(once.into_iter().chain(home));
    said
}

/// Where instances of the same config stand: those of others do not block a place, nor do those that leave theirs.
fn placed(app: Option<&Arc<App>>, version: &AppVersion) -> Vec<Placed> {
    let instances = app.map(|app| app.instances.values()).into_iter().flatten();
    let same = instances.filter(|instance| instance.version.same_config(version));
    let stay = same.filter(|instance| !instance.is_condemned() && !instance.is_leaving);
    stay.filter_map(|instance| instance.place.as_ref())
        .map(spot)
        .collect()
}

fn spot(place: &Place) -> Placed {
    let mut placed = Placed {
        hostname: place.host.clone(),
        ..Placed::default()
    };
    let (mut region, mut zone) = (None, None);
    for (field, value) in &place.attributes {
        match Field::from_name(field) {
            Field::Hostname => {}
            Field::Region => region = Some(value.clone()),
            Field::Zone => zone = Some(value.clone()),
            Field::Attribute(name) => placed
                .attributes
                .set(&name, AttributeValue::Text(Arc::from(value.as_str()))),
        }
    }
    if region.is_some() || zone.is_some() {
        placed.domain = Some(FaultDomain {
            region: region.unwrap_or_default(),
            zone: zone.unwrap_or_default(),
        });
    }
    placed
}

/// The values of the fields that the app's constraints look at.
fn seen_by_constraints(spec: &AppSpec, offer: &Offer) -> Vec<(String, String)> {
    let value = |constraint: &app::Constraint| {
        let value = Field::from_name(&constraint.field)
            .value(Spot::from(offer))?
            .into_owned();
        Some((constraint.field.clone(), value))
    };
    let seen: BTreeMap<String, String> = spec.constraints.iter().filter_map(value).collect();
    seen.into_iter().collect()
}
