//! Why a framework, a role, an agent or a shape got what it got, or nothing.
//!
//! Everything about agents is asked of [`judge`](super::judge), with an ear that wants to hear all
//! obstacles; nothing here decides.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use mete_model::{AgentId, FrameworkId, Resources, Role, Tag};

use super::Allocator;
use super::agent::{Admission, Agent};
use super::judge::{self, Case, Obstacle};
use super::rules::Rules;
use super::wishes::Wish;
use crate::demand::{Shape, ShapeId};
use crate::explain::{
    AlikeAgents, Change, ExplainedAgent, ExplainedClient, ExplainedRole, ExplainedShape,
    MAX_EXAMPLES, MAX_LISTED, MAX_NAMES_EXPLAINED, MAX_NEAREST, MAX_SHAPES_EXPLAINED, Nearest,
    Reason,
};
use crate::matcher::reasons::shortages;
use crate::quota::{MIN_CPUS_MILLI, Room};
use crate::slots::{AgentSlot, ClientSlot, FrameworkSlot};
use crate::sums::Whole;

impl Allocator {
    /// How a framework stands in each of its roles; `None` when it is not known.
    pub fn explain_framework(&self, id: &FrameworkId) -> Option<Vec<ExplainedClient>> {
        let framework = self.frameworks.get(self.frameworks.find(id)?);
        let clients = framework.roles.values().map(|held| held.client);
        Some(
            clients
                .map(|client| self.explain_client(client, true))
                .collect(),
        )
    }

    /// How a role stands; `None` when nobody holds it, nothing is set for it and nothing is reserved for it.
    pub fn explain_role(&self, role: &Role) -> Option<ExplainedRole> {
        let Some(slot) = self.tree.find(role) else {
            return self
                .is_reserved_for(role)
                .then(|| ExplainedRole::unused(role.clone()));
        };
        let node = self.tree.node(slot);
        let top = self.tree.find(&role.top_level())?;
        let whole = Whole::from(self.tree.total());
        let mut frameworks: Vec<ExplainedClient> = Vec::new();
        for (client, held) in self.tree.clients() {
            if frameworks.len() < MAX_LISTED && self.tree.node(held.role).role.is_within(role) {
                frameworks.push(self.explain_client(client, false));
            }
        }
        let mut reasons = self.room_reasons(&self.room_of(Some(top)), Some(top), None);
        if self.is_any_in_line_of(role) {
            reasons.extend(self.tree.rivals_of_role(slot));
            if reasons.is_empty() {
                reasons.push(Reason::First);
            }
        } else {
            for reason in frameworks.iter().flat_map(|client| &client.reasons) {
                if reason.is_of_framework() && !reasons.contains(reason) {
                    reasons.push(reason.clone());
                }
            }
        }
        Some(ExplainedRole {
            role: role.clone(),
            weight_milli: node.weight_milli.get(),
            share: node.held.dominant_share(&whole),
            limit: self.quota.limit(top).cloned(),
            guarantee: self.quota.guarantee(top).cloned(),
            charged: self.charged(top).to_resources(),
            reasons,
            frameworks,
        })
    }

    /// Whether an agent keeps something for the role or for one below it.
    fn is_reserved_for(&self, role: &Role) -> bool {
        let is_its = |tag: &Tag| tag.role().is_some_and(|of| of.is_within(role));
        let mut agents = self.agents.iter();
        agents.any(|(_, agent)| agent.facts.total.parts().any(|(tag, _)| is_its(tag)))
    }

    /// How an agent stands; `None` when it is not known.
    pub fn explain_agent(&self, id: &AgentId) -> Option<ExplainedAgent> {
        let slot = self.agents.find(id)?;
        let agent = self.agents.get(slot);
        let mut reasons = Vec::new();
        if agent.admission != Admission::Offerable {
            reasons.push(Reason::NotOfferable {
                admission: agent.admission,
            });
        }
        reasons.extend(self.offers_on(agent).take(MAX_LISTED));
        if !agent.is_giving() && agent.admission == Admission::Offerable {
            reasons.push(Reason::BelowMinimum {
                left: agent.free().clone(),
            });
        }
        let mut in_line = Vec::new();
        self.tree
            .for_all_in_line(&mut |client| in_line.push(client));
        in_line.extend(self.tree.those_shut_out());
        in_line.sort_unstable();
        let clients = in_line.into_iter().take(MAX_LISTED).map(|client| {
            let (framework, role) = self.names(client);
            let room = self.room(client);
            (framework, role, self.reasons_on(client, &room, slot))
        });
        let in_use = agent.uses().map(|(holder, resources)| {
            let (framework, role) = self.names(holder);
            (framework, role, resources.clone())
        });
        Some(ExplainedAgent {
            agent: id.clone(),
            hostname: agent.facts.hostname.clone(),
            total: agent.facts.total.clone(),
            free: agent.free().clone(),
            reasons,
            in_use: in_use.collect(),
            clients: clients.collect(),
        })
    }

    /// How a shape would stand that a framework asks for, or (`None`) somebody new in the shape's role, `*` when it names
    /// none.
    pub fn explain_shape(&self, framework: Option<&FrameworkId>, shape: &Shape) -> ExplainedShape {
        let known = framework.and_then(|id| self.frameworks.find(id));
        let first = known.and_then(|slot| self.frameworks.get(slot).first_role().cloned());
        let role = shape.role.clone().or(first).unwrap_or_default();
        let client = framework.and_then(|id| self.frameworks.client(id, &role));
        let wish = Wish::new(ShapeId(0), Arc::new(shape.clone()));
        if let Some(client) = client {
            let room = self.room(client);
            return self.explain_wish(client, self.rules.get(client), &room, &wish);
        }
        let mut rules = Rules::default();
        rules.describe(
            &role,
            &known.map_or_else(Arc::default, |slot| {
                Arc::clone(&self.frameworks.get(slot).facts)
            }),
        );
        // Somebody new who asks for this will take machines that have GPUs.
        rules.gpus |= framework.is_none();
        rules.policy = self.policy_of(&role);
        let room = self.room_of(self.tree.find(&role.top_level()));
        self.explain_wish(ClientSlot::from(u32::MAX), &rules, &room, &wish)
    }

    /// Whether a framework in the role or below it wants offers.
    fn is_any_in_line_of(&self, role: &Role) -> bool {
        let mut is_any = false;
        let mut look = |client| {
            let holder = self.tree.client(client);
            is_any |= self.tree.node(holder.role).role.is_within(role);
        };
        self.tree.for_all_in_line(&mut look);
        self.tree.those_shut_out().for_each(look);
        is_any
    }

    fn explain_client(&self, client: ClientSlot, with_agents: bool) -> ExplainedClient {
        let held = self.tree.client(client);
        let rules = self.rules.get(client);
        let (framework, role) = self.names(client);
        let room = self.room(client);
        let mut on_offer = Vec::new();
        let mut in_use = Resources::none();
        for (_, agent) in self.agents.iter() {
            for (_, resources, since) in agent.offers().filter(|(to, ..)| *to == client) {
                on_offer.push((agent.id.clone(), resources.clone(), since));
            }
            for (_, resources) in agent.uses().filter(|(by, _)| *by == client) {
                in_use.add(resources);
            }
        }
        in_use.ports = mete_model::Ranges::new();
        on_offer.sort_by(|a, b| (a.2, &a.0).cmp(&(b.2, &b.0)));
        on_offer.truncate(MAX_LISTED);
        let wishes = rules.wishes.as_ref().filter(|_| with_agents);
        let shapes = wishes.into_iter().flat_map(|wishes| wishes.iter());
        let mut names = 0;
        ExplainedClient {
            share: held.held.dominant_share(&Whole::from(self.tree.total())),
            policy: rules.policy,
            on_offer,
            in_use,
            reasons: self.client_reasons(client, &room),
            agents: if with_agents && !rules.is_aimed() {
                self.alike(|slot| self.reasons_on(client, &room, slot))
            } else {
                Vec::new()
            },
            shapes: shapes
                .filter(|wish| wish.count > 0)
                .take(MAX_SHAPES_EXPLAINED)
                .take_while(|wish| {
                    let so_far = names;
                    names += wish.shape.names();
                    so_far == 0 || names <= MAX_NAMES_EXPLAINED
                })
                .map(|wish| self.explain_wish(client, rules, &room, wish))
                .collect(),
            framework,
            role,
        }
    }

    /// What does not depend on agents.
    fn client_reasons(&self, client: ClientSlot, room: &Room) -> Vec<Reason> {
        let rules = self.rules.get(client);
        let mut reasons = self.standing(client);
        if let Some(wishes) = &rules.wishes
            && !wishes.is_any_open()
        {
            // Offers of what waits no more are still out.
            let waiting = |wish: &Wish| u64::from(wish.offered.min(wish.count));
            let tasks = wishes.iter().map(waiting).sum();
            reasons.push(if tasks > 0 {
                Reason::AllOnOffer { tasks }
            } else {
                Reason::NothingWaits
            });
        }
        let top = self.tree.top_of(client);
        if let Room::UpTo(most) = room
            && most.is_used_up()
        {
            reasons.extend(self.room_reasons(room, Some(top), None));
        }
        if !self.agents.is_any_giving() {
            reasons.push(Reason::NothingFree);
        }
        reasons.extend(self.tree.rivals_of(client, &|slot| self.framework_id(slot)));
        if reasons.is_empty() {
            reasons.push(Reason::First);
        }
        reasons
    }

    /// Whether the framework is there and listens.
    fn standing(&self, client: ClientSlot) -> Vec<Reason> {
        let framework = self.frameworks.get(self.tree.client(client).framework);
        let held = framework.roles.values().find(|held| held.client == client);
        let mut reasons = Vec::new();
        if !framework.active || held.is_none_or(|held| !held.subscribed) {
            reasons.push(Reason::Inactive);
        }
        if held.is_some_and(|held| held.suppressed) {
            reasons.push(Reason::Suppressed);
        }
        reasons
    }

    /// How an agent stands to a client, as a whole or for each of its shapes.
    fn reasons_on(&self, client: ClientSlot, room: &Room, slot: AgentSlot) -> Vec<Reason> {
        let rules = self.rules.get(client);
        let case = Case {
            client,
            rules,
            room,
            only_preferred: false,
        };
        let mut obstacles = Vec::new();
        let mut asked = None;
        match &rules.wishes {
            None => {
                self.judge_whole(case, slot, |obstacle| hear(&mut obstacles, obstacle));
            }
            Some(wishes) => {
                let Some(wish) = wishes.iter().find(|wish| wish.open() > 0) else {
                    return vec![Reason::NothingWaits];
                };
                asked = Some(&*wish.shape);
                self.judge_unit(case, wish, slot, |obstacle| hear(&mut obstacles, obstacle));
            }
        }
        self.words(case, asked, slot, obstacles)
    }

    fn explain_wish(
        &self,
        client: ClientSlot,
        rules: &Rules,
        room: &Room,
        wish: &Wish,
    ) -> ExplainedShape {
        let case = Case {
            client,
            rules,
            room,
            only_preferred: false,
        };
        let shape = &*wish.shape;
        let mut obstacles: BTreeMap<AgentSlot, Vec<Obstacle>> = self
            .agents
            .slots()
            .map(|slot| (slot, self.obstacles(case, wish, slot)))
            .collect();
        let nearest = self.nearest(case, shape, &obstacles);
        let mut smallest_change = self.changes_of_framework(client, rules);
        match nearest.first() {
            Some(first) => smallest_change.extend(first.changes.iter().cloned()),
            None => smallest_change.push(Change::AddCapacity {
                resources: shape.resources.clone(),
            }),
        }
        let fits_on = obstacles.values().filter(|all| all.is_empty()).count();
        ExplainedShape {
            name: shape.name.clone(),
            role: rules.role.clone(),
            resources: shape.resources.clone(),
            waiting: wish.count,
            on_offer: wish.offered,
            fits_on,
            agents: self.alike(|slot| {
                let obstacles = obstacles.remove(&slot).unwrap_or_default();
                self.words(case, Some(shape), slot, obstacles)
            }),
            nearest,
            smallest_change,
        }
    }

    /// The agents where it takes least to make room, then where least is missing.
    fn nearest(
        &self,
        case: Case<'_>,
        shape: &Shape,
        obstacles: &BTreeMap<AgentSlot, Vec<Obstacle>>,
    ) -> Vec<Nearest> {
        let mut ranked: Vec<(u32, f64, AgentSlot)> = obstacles
            .iter()
            .map(|(slot, obstacles)| {
                let changes = self.changes(case, shape, *slot, obstacles);
                let effort = changes.iter().map(Change::effort).sum();
                (effort, self.lack(shape, *slot), *slot)
            })
            .collect();
        ranked.sort_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)).then(a.2.cmp(&b.2)));
        ranked.truncate(MAX_NEAREST);
        let slots = ranked.into_iter().map(|(_, _, slot)| slot);
        let nearest = slots.map(|slot| Nearest {
            agent: self.agents.get(slot).id.clone(),
            changes: self.changes(case, shape, slot, &obstacles[&slot]),
            reasons: self.words(case, Some(shape), slot, obstacles[&slot].clone()),
        });
        nearest.collect()
    }

    /// What the framework itself would have to do to be offered anything; nothing for one that is only supposed.
    fn changes_of_framework(&self, client: ClientSlot, rules: &Rules) -> Vec<Change> {
        if client == ClientSlot::from(u32::MAX) {
            return Vec::new();
        }
        let mut changes = Vec::new();
        let standing = self.standing(client);
        if standing.contains(&Reason::Inactive) {
            changes.push(Change::Connect);
        }
        if standing.contains(&Reason::Suppressed) {
            changes.push(Change::Revive {
                role: rules.role.clone(),
            });
        }
        changes
    }

    fn obstacles(&self, case: Case<'_>, wish: &Wish, slot: AgentSlot) -> Vec<Obstacle> {
        let mut obstacles = Vec::new();
        self.judge_unit(case, wish, slot, |obstacle| hear(&mut obstacles, obstacle));
        obstacles
    }

    /// Agents grouped by the first of their reasons, and what in particular stands against them.
    fn alike(&self, mut reasons_of: impl FnMut(AgentSlot) -> Vec<Reason>) -> Vec<AlikeAgents> {
        let mut groups: BTreeMap<(&'static str, Vec<String>), AlikeAgents> = BTreeMap::new();
        for (slot, agent) in self.agents.iter() {
            let Some(reason) = reasons_of(slot).into_iter().next() else {
                continue;
            };
            let group = match groups.entry(kind(&reason)) {
                Entry::Occupied(known) => {
                    let group = known.into_mut();
                    group.reason.lift_to(&reason);
                    group
                }
                Entry::Vacant(new) => new.insert(AlikeAgents {
                    reason,
                    count: 0,
                    examples: Vec::new(),
                }),
            };
            group.count += 1;
            if group.examples.len() < MAX_EXAMPLES {
                group.examples.push(agent.id.clone());
            }
        }
        let mut groups: Vec<AlikeAgents> = groups.into_values().collect();
        groups.sort_by_key(|group| std::cmp::Reverse(group.count));
        groups
    }

    /// Obstacles in words and amounts; that there are none is a reason, too.
    fn words(
        &self,
        case: Case<'_>,
        shape: Option<&Shape>,
        slot: AgentSlot,
        obstacles: Vec<Obstacle>,
    ) -> Vec<Reason> {
        let agent = self.agents.get(slot);
        if obstacles.is_empty() {
            return vec![Reason::Fits];
        }
        let mut reasons = Vec::new();
        for obstacle in obstacles {
            match obstacle {
                Obstacle::NotOfferable(admission) => {
                    reasons.push(Reason::NotOfferable { admission });
                }
                Obstacle::OtherRegion => reasons.push(Reason::OtherRegion {
                    region: agent
                        .facts
                        .domain
                        .as_ref()
                        .map_or_else(String::new, |domain| domain.region.clone()),
                }),
                Obstacle::HasGpus => reasons.push(Reason::HasGpus),
                Obstacle::OfferConstraint => reasons.push(Reason::OfferConstraint),
                Obstacle::Constraint(constraint) => {
                    let found = constraint.field.value(agent.place());
                    let found = found.map(Cow::into_owned);
                    reasons.push(Reason::ConstraintNotMet { constraint, found });
                }
                Obstacle::MaxPerAgent(most) => reasons.push(Reason::MaxPerAgent { most }),
                Obstacle::TooSmall => {
                    let there = self.entitled(case, agent.free(), false);
                    let short = shape.map_or_else(Vec::new, |shape| {
                        let there = judge::there_for(shape, &there);
                        shortages(&shape.resources, shape.any_ports, &there)
                    });
                    reasons.push(Reason::TooSmall { short });
                    reasons.extend(self.held_from(case, agent));
                }
                Obstacle::NoRoom => {
                    let top = self.tree.find(&case.rules.role.top_level());
                    let asked = shape.map(|shape| &shape.resources);
                    reasons.extend(self.room_reasons(case.room, top, asked));
                }
                Obstacle::BelowMinimum => {
                    reasons.push(Reason::BelowMinimum {
                        left: self.entitled(case, agent.free(), true).into_owned(),
                    });
                    reasons.extend(self.held_from(case, agent));
                }
                Obstacle::Filtered(until) => reasons.push(Reason::Filtered { until }),
            }
        }
        reasons
    }

    /// What of an agent others have on offer, and what is reserved for others.
    fn held_from<'a>(
        &'a self,
        case: Case<'a>,
        agent: &'a Agent,
    ) -> impl Iterator<Item = Reason> + 'a {
        let reserved = agent.free().parts().filter_map(move |(tag, part)| {
            let role = tag.role().filter(|_| !tag.is_for(&case.rules.role))?;
            Some(Reason::ReservedFor {
                role: role.clone(),
                resources: part.clone(),
            })
        });
        self.offers_on(agent).take(MAX_EXAMPLES).chain(reserved)
    }

    fn offers_on<'a>(&'a self, agent: &'a Agent) -> impl Iterator<Item = Reason> + 'a {
        agent.offers().map(|(to, resources, since)| {
            let (framework, role) = self.names(to);
            Reason::OnOffer {
                framework,
                role,
                resources: resources.clone(),
                since,
            }
        })
    }

    /// Why a role has no room for what is asked, or (`None`) for anything worth an offer.
    fn room_reasons(
        &self,
        room: &Room,
        top: Option<crate::slots::RoleSlot>,
        asked: Option<&Resources>,
    ) -> Vec<Reason> {
        let Room::UpTo(_) = room else {
            return Vec::new();
        };
        let mut reasons = Vec::new();
        let limit_room = top.and_then(|top| self.quota.limit_room(top, &self.charged(top)));
        if let (Some(top), Some(left)) = (top, limit_room)
            && asked.map_or_else(|| left.is_used_up(), |asked| !left.holds(asked))
        {
            reasons.push(Reason::LimitReached {
                role: self.tree.node(top).role.clone(),
                limit: self.quota.limit(top).cloned().unwrap_or_default(),
                charged: self.charged(top).to_resources(),
            });
        }
        let headroom = self.quota.headroom_room(top, self.agents.free());
        if let Some(left) = headroom
            && asked.map_or_else(|| left.is_used_up(), |asked| !left.holds(asked))
        {
            reasons.push(Reason::HeadroomKept {
                free: self.agents.free().to_resources(),
                kept: self.quota.required().to_resources(),
            });
        }
        reasons
    }

    /// What would have to change so that a shape gets a place on an agent.
    fn changes(
        &self,
        case: Case<'_>,
        shape: &Shape,
        slot: AgentSlot,
        obstacles: &[Obstacle],
    ) -> Vec<Change> {
        let agent = self.agents.get(slot);
        let mut changes = Vec::new();
        for obstacle in obstacles {
            match obstacle {
                Obstacle::NotOfferable(admission) => {
                    changes.push(let_in(agent.id.clone(), *admission));
                }
                Obstacle::OtherRegion => changes.push(Change::Declare {
                    capability: "REGION_AWARE",
                }),
                Obstacle::HasGpus => changes.push(Change::Declare {
                    capability: "GPU_RESOURCES",
                }),
                Obstacle::OfferConstraint => changes.push(Change::DropOfferConstraints),
                Obstacle::Constraint(constraint) => changes.push(Change::DropConstraint {
                    constraint: constraint.clone(),
                }),
                Obstacle::MaxPerAgent(most) => {
                    changes.push(Change::RaiseMaxPerAgent { to: most + 1 });
                }
                Obstacle::TooSmall | Obstacle::BelowMinimum => {
                    changes.push(self.make_room(case, shape, agent));
                }
                Obstacle::NoRoom => changes.extend(self.raise_limit(case, shape)),
                Obstacle::Filtered(until) => changes.push(Change::Wait { until: *until }),
            }
        }
        let frees = changes
            .iter()
            .any(|change| matches!(change, Change::Free { .. }));
        if obstacles.contains(&Obstacle::NoRoom) || frees {
            changes.extend(self.add_capacity(case, shape, agent, frees));
        }
        changes
    }

    /// What is missing on an agent: to be freed, when it has it at all, else to be added.
    fn make_room(&self, case: Case<'_>, shape: &Shape, agent: &Agent) -> Change {
        let whole = self.entitled(case, &agent.facts.total, false);
        let free = self.entitled(case, agent.free(), false);
        let names_parts = shape.resources.has_parts();
        let missing_in = |there: &Resources| {
            let there = match names_parts {
                true => Cow::Borrowed(there),
                false => there.flat(),
            };
            let mut missing = shape.resources.minus_at_most(&there);
            missing.gpus_milli = missing_gpus(&shape.resources, &there);
            let ports = there
                .ports
                .count()
                .saturating_sub(shape.resources.ports.count());
            let any = u64::from(shape.any_ports).saturating_sub(ports);
            missing.ports.add(&unused_ports(&whole.ports, any));
            missing
        };
        let never_there = missing_in(&whole);
        let mut missing = missing_in(&free);
        if missing.is_empty() {
            // All is there, but so little of it that the agent gives nothing at all.
            missing.cpus_milli = MIN_CPUS_MILLI;
        }
        let has_all = match names_parts {
            true => whole.contains(&shape.resources),
            false => whole.flat().contains(&shape.resources),
        };
        if never_there.is_empty() && has_all {
            Change::Free {
                agent: agent.id.clone(),
                resources: missing,
            }
        } else {
            Change::Grow {
                agent: agent.id.clone(),
                resources: missing,
            }
        }
    }

    /// The limit of the role, when it is in the way.
    fn raise_limit(&self, case: Case<'_>, shape: &Shape) -> Option<Change> {
        let role = case.rules.role.top_level();
        let top = self.tree.find(&role)?;
        let left = self.quota.limit_room(top, &self.charged(top))?;
        let asked = shape.resources.plain();
        let limit = self.quota.limit(top)?;
        (!left.holds(&asked)).then(|| Change::RaiseLimit {
            role,
            to: limit.raised_by(&left.lacks(&asked)),
        })
    }

    /// What has to be free besides, so that guarantees of others are kept. What those free themselves is kept for them again.
    fn add_capacity(
        &self,
        case: Case<'_>,
        shape: &Shape,
        agent: &Agent,
        frees: bool,
    ) -> Option<Change> {
        let top = self.tree.find(&case.rules.role.top_level());
        let is_guaranteed = |client| {
            let holder = self.tree.top_of(client);
            Some(holder) != top && self.quota.guarantee(holder).is_some()
        };
        let takers = agent.offers().map(|(to, ..)| to);
        let mut holders = takers.chain(agent.uses().map(|(by, _)| by));
        let from_others = frees && holders.any(is_guaranteed);
        let asked = shape.resources.plain();
        let free = self.agents.free();
        let resources = self.quota.capacity_lacking(top, &asked, free, from_others);
        (!resources.is_empty()).then_some(Change::AddCapacity { resources })
    }

    /// How much of a shape is missing on an agent, as parts of what is asked, summed over the kinds of resources.
    fn lack(&self, shape: &Shape, slot: AgentSlot) -> f64 {
        let free = self.agents.get(slot).free().flat();
        let part = |asked: u64, there: u64| match asked.saturating_sub(there) {
            0 => 0.0,
            missing => missing as f64 / asked as f64,
        };
        let asked = &shape.resources;
        part(asked.cpus_milli, free.cpus_milli)
            + part(asked.mem_milli, free.mem_milli)
            + part(asked.disk_milli, free.disk_milli)
            + part(asked.gpus_milli, free.gpus_milli)
            + asked
                .others()
                .map(|(name, milli)| part(milli, free.other(name)))
                .sum::<f64>()
    }

    fn names(&self, client: ClientSlot) -> (FrameworkId, Role) {
        let holder = self.tree.client(client);
        (
            self.framework_id(holder.framework),
            self.tree.node(holder.role).role.clone(),
        )
    }

    fn framework_id(&self, slot: FrameworkSlot) -> FrameworkId {
        self.frameworks.get(slot).id.clone()
    }
}

/// What makes two reasons alike: their code, the resources there is too little of, the constraint that does not hold.
fn kind(reason: &Reason) -> (&'static str, Vec<String>) {
    let mut particulars = Vec::new();
    if let Reason::TooSmall { short } = reason {
        particulars.extend(short.iter().map(|short| short.resource().to_owned()));
    }
    if let Reason::ConstraintNotMet { constraint, .. } = reason {
        particulars.push(constraint.to_string());
    }
    (reason.code(), particulars)
}

/// How an agent that is not offered comes to be so.
const fn let_in(agent: AgentId, admission: Admission) -> Change {
    match admission {
        Admission::Offerable | Admission::Deactivated => Change::Reactivate {
            agent,
            drains: false,
        },
        Admission::Draining => Change::Reactivate {
            agent,
            drains: true,
        },
        Admission::Away => Change::BringBack { agent },
    }
}

/// Hears of an obstacle, and wants to hear more.
fn hear(obstacles: &mut Vec<Obstacle>, obstacle: Obstacle) -> bool {
    obstacles.push(obstacle);
    true
}

/// GPUs that are not there: whole devices, or the rest of the largest piece.
fn missing_gpus(asked: &Resources, there: &Resources) -> u64 {
    let devices = there.devices();
    if devices.is_empty() {
        asked.gpus_milli.saturating_sub(there.gpus_milli)
    } else if devices.can_give(asked.gpus_milli) {
        0
    } else if asked.gpus_milli < 1_000 {
        asked.gpus_milli - u64::from(devices.largest_milli())
    } else {
        asked.gpus_milli - 1_000 * devices.whole_count()
    }
}

/// So many ports, the first after those an agent has.
fn unused_ports(there: &mete_model::Ranges, count: u64) -> mete_model::Ranges {
    let last = there.intervals().last().map_or(31_000, |(_, last)| *last);
    if count == 0 {
        mete_model::Ranges::new()
    } else {
        mete_model::Ranges::interval(last + 1, last + count)
    }
}
