//! One round: what is free is given to whoever is next, until nothing is left or nobody may have it.
//!
//! The client with the smallest share is served, then its share is larger, and the next is asked:
//!
//! - who says nothing takes the first agent in line that it may have, all of it as far as its role's
//!   room goes;
//! - who has said what it waits for takes room for one task of its most urgent shape that fits
//!   anywhere, where the policy says that it fits best. Its tasks on one agent become one offer.
//!
//! Who may have nothing of what is left steps aside until the round is over: during a round what is
//! free only shrinks, filters stay, and rooms narrow, so nobody has to look at the same agent twice.
//!
//! Why only touched agents are looked at: after a round each client was refused each agent that still
//! has something. That can change by the agent having more or the filter ending (the agent is touched),
//! or by something that happened to the client (it is *eager*, and looks at all agents once).

use std::borrow::Cow;
use std::collections::BTreeMap;

use mete_model::{Resources, Timestamp};

use super::agent::exclusive;
use super::drafts::{Draft, Drawn};
use super::judge::Case;
use super::line::Line;
use super::wishes::Wishes;
use super::{Allocator, Grant};
use crate::demand::ShapeId;
use crate::packing::{Node, Packing as _, Policy, Score};
use crate::quota::Room;
use crate::slots::{AgentSlot, ClientSlot, RoleSlot};

/// Up to so many touched agents are compared one by one for a shape; for more the fleet is asked, which knows all agents.
const FEW: usize = 32;

/// The most tasks one round finds places for, so that a huge demand does not keep the master's loop from everything else:
/// some tens of milliseconds. What is beyond it is for the next round, which is wanted at once.
pub(super) const MAX_TASKS_PER_ROUND: usize = 16_384;

/// What a round keeps while it runs.
struct Walk {
    touched: Vec<AgentSlot>,
    /// How many of those have something left, when nobody looks at any others; else `None`.
    left: Option<usize>,
    /// Lines of touched agents and of all, by the order in which a policy gives whole agents away.
    lines: Vec<(Policy, Scope, Line)>,
    /// What was free at the beginning on agents that gave part of it: agents are given away whole in the order they had
    /// then.
    free_before: BTreeMap<AgentSlot, Resources>,
    /// How far each client has walked along its line.
    reached: Vec<u32>,
    drafts: Vec<Draft>,
    /// Where in `drafts` the tasks of a client on an agent are.
    aimed: BTreeMap<(ClientSlot, AgentSlot), usize>,
}

/// Which agents a client looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scope {
    Touched,
    All,
}

/// What one client was given, and where.
struct Given {
    agent: AgentSlot,
    /// `None`: all that is free there.
    resources: Option<Resources>,
    /// The shape it was given for, by its place among the client's wishes.
    wish: Option<usize>,
}

impl Allocator {
    /// Gives away what may be given and takes it from the agents: the fairest first, re-evaluated
    /// after each grant.
    pub fn round(&mut self, now: Timestamp) -> Vec<Grant> {
        let agents = &mut self.agents;
        self.filters.expire(now, |agent| agents.touch(agent));
        self.is_unfinished = false;
        if !self.wants_round() {
            return Vec::new();
        }
        self.rounds += 1;
        if self.is_somebody_let_in() {
            self.wake(None);
        }
        self.tree.refresh();
        let eager = std::mem::take(&mut self.eager);
        let mut touched = self.agents.take_touched();
        if eager.is_empty() {
            self.drop_what_nobody_wants(&mut touched);
            if touched.is_empty() {
                return Vec::new();
            }
        }
        let mut walk = Walk {
            left: eager.is_empty().then_some(touched.len()),
            lines: Vec::new(),
            free_before: BTreeMap::new(),
            reached: vec![0; self.tree.clients_end()],
            // Each agent mostly makes one offer.
            drafts: Vec::with_capacity(touched.len()),
            touched,
            aimed: BTreeMap::new(),
        };
        let last_unit = self.units_granted + MAX_TASKS_PER_ROUND as u64;
        while walk.left != Some(0)
            && self.units_granted < last_unit
            && self.agents.is_any_giving()
            && let Some(client) = self.tree.next()
        {
            match self.serve(client, &mut walk) {
                Some(given) => self.grant(now, client, given, &mut walk),
                None if !self.tree.is_in_line(client) => {}
                None if self.rules.get(client).wants_something() => self.tree.step_aside(client),
                None => {
                    self.tree.leave(client);
                }
            }
        }
        self.tree.step_back();
        for &client in &eager {
            self.rules.get_mut(client).is_eager = false;
        }
        self.is_unfinished = self.units_granted >= last_unit;
        if self.is_unfinished {
            self.go_on_next_round(&walk.touched, &eager);
        }
        self.quota.note_headroom(self.agents.free());
        self.write_out(walk.drafts)
    }

    /// This round was ended early: the next one looks at the same again.
    fn go_on_next_round(&mut self, touched: &[AgentSlot], eager: &[ClientSlot]) {
        for agent in touched {
            self.agents.touch(*agent);
        }
        for client in eager {
            self.look_again(*client);
        }
    }

    /// Passes over touched agents that everybody in line has declined as they are now, or has no use for. Told in one
    /// look at an agent's filters, without asking anybody in turn.
    fn drop_what_nobody_wants(&self, touched: &mut Vec<AgentSlot>) {
        if touched.len() > FEW {
            return;
        }
        let (mut silent, mut aimed) = (0, Vec::new());
        self.tree
            .for_all_in_line(&mut |client| match &self.rules.get(client).wishes {
                Some(wishes) => aimed.push(wishes),
                None => silent += 1,
            });
        touched.retain(|slot| {
            let free = self.agents.get(*slot).free();
            // With special resources, what is free is not what each may have.
            if free.has_parts() {
                return true;
            }
            let may_fit = |wishes: &&Wishes| {
                wishes
                    .iter()
                    .any(|wish| wish.open() > 0 && free.contains(&wish.shape.resources))
            };
            let counts =
                |client| self.tree.is_in_line(client) && !self.rules.get(client).is_aimed();
            silent > self.filters.count_blocked(*slot, free, counts) || aimed.iter().any(may_fit)
        });
    }

    /// What the client gets, and where; `None` when none of what is left may be its, and then it may have left the line.
    fn serve(&mut self, client: ClientSlot, walk: &mut Walk) -> Option<Given> {
        let room = self.room(client);
        if self.rules.get(client).is_aimed() {
            self.serve_aimed(client, &room, walk)
        } else {
            self.serve_whole(client, &room, walk)
        }
    }

    pub(super) fn room(&self, client: ClientSlot) -> Room {
        if !self.quota.is_any_set() {
            return Room::Unlimited;
        }
        self.room_of(Some(self.tree.top_of(client)))
    }

    /// How much a top-level role may be given now; `None`: one that is not known.
    pub(super) fn room_of(&self, top: Option<RoleSlot>) -> Room {
        if !self.quota.is_any_set() {
            return Room::Unlimited;
        }
        let charged = top.map(|top| self.charged(top));
        self.quota.room(top, charged.as_deref(), self.agents.free())
    }

    fn serve_whole(&mut self, client: ClientSlot, room: &Room, walk: &mut Walk) -> Option<Given> {
        let rules = self.rules.get(client);
        if let Room::UpTo(most) = room
            && most.is_shut()
            && !rules.has_minimum()
            && self.agents.special().is_empty()
        {
            // However many agents are free, there is nothing for it.
            self.tree.shut_out(client);
            self.quota
                .hold_back(self.tree.top_of(client), self.agents.free());
            return None;
        }
        let scope = if rules.is_eager {
            Scope::All
        } else {
            Scope::Touched
        };
        let line = walk.line(scope, rules.policy, &self.agents);
        let (_, _, line) = &mut walk.lines[line];
        let reached = &mut walk.reached[usize::from(client)];
        let case = Case {
            client,
            rules,
            room,
            only_preferred: false,
        };
        let mut was_cut = false;
        let mut given = None;
        while let Some((place, slot)) = line.at_or_after(*reached) {
            *reached = place + 1;
            let coming = line.coming(place);
            self.agents.bring_near(coming.iter().copied());
            self.filters.bring_near(coming.iter().copied());
            if !self.agents.get(slot).is_giving() {
                line.drop_out(place);
                continue;
            }
            let whole = self.judge_whole(case, slot, |_| false);
            was_cut |= whole.is_cut;
            if let Some(part) = whole.part {
                if matches!(part, Cow::Borrowed(_)) {
                    // All of it: nobody needs to look at it again.
                    line.drop_out(place);
                }
                given = Some(Given {
                    agent: slot,
                    resources: match part {
                        Cow::Borrowed(_) => None,
                        Cow::Owned(part) => Some(part),
                    },
                    wish: None,
                });
                break;
            }
        }
        if was_cut {
            self.quota
                .hold_back(self.tree.top_of(client), self.agents.free());
        }
        given
    }

    fn serve_aimed(&mut self, client: ClientSlot, room: &Room, walk: &Walk) -> Option<Given> {
        let round = self.rounds;
        let mut from = 0;
        loop {
            let rules = self.rules.get(client);
            let wishes = rules.wishes.as_ref()?;
            let at = wishes.next_open(from, round)?;
            if let Some((agent, resources)) = self.find_place(client, at, room, walk) {
                return Some(Given {
                    agent,
                    resources: Some(resources),
                    wish: Some(at),
                });
            }
            if *room != Room::Unlimited {
                self.quota
                    .hold_back(self.tree.top_of(client), self.agents.free());
            }
            if let Some(wishes) = &mut self.rules.get_mut(client).wishes {
                wishes.give_up(at, round);
            }
            from = at + 1;
        }
    }

    /// The best place for one task: among agents that its shape prefers, else among all.
    fn find_place(
        &mut self,
        client: ClientSlot,
        at: usize,
        room: &Room,
        walk: &Walk,
    ) -> Option<(AgentSlot, Resources)> {
        let round = self.rounds;
        let wishes = self.rules.get(client).wishes.as_ref()?;
        if wishes.has_preference(at, round) {
            let found = self.find_among(client, at, room, walk, true);
            if found.is_some() {
                return found;
            }
            let wishes = self.rules.get_mut(client).wishes.as_mut()?;
            wishes.take_any(at, round);
        }
        self.find_among(client, at, room, walk, false)
    }

    /// The best place among agents that have something for the client's role alone, else among all.
    fn find_among(
        &mut self,
        client: ClientSlot,
        at: usize,
        room: &Room,
        walk: &Walk,
        only_preferred: bool,
    ) -> Option<(AgentSlot, Resources)> {
        let rules = self.rules.get(client);
        let wish = rules.wishes.as_ref()?.get(at);
        if let Room::UpTo(most) = room
            && !most.holds(&wish.shape.resources)
            && self.agents.special().is_empty()
        {
            return None;
        }
        let case = Case {
            client,
            rules,
            room,
            only_preferred,
        };
        let special = self.agents.special();
        if !rules.is_eager && walk.touched.len() <= FEW {
            let touched = || walk.touched.iter().copied();
            let reserved = touched().filter(|slot| special.contains(slot));
            return self
                .best_of(case, at, reserved, true)
                .or_else(|| self.best_of(case, at, touched(), false));
        }
        let reserved = self.best_of(case, at, special.iter().copied(), true);
        if reserved.is_some() {
            return reserved;
        }
        // The fleet sorts itself when it is asked, so it is taken out meanwhile.
        let mut fleet = self.agents.take_fleet();
        let rules = self.rules.get(client);
        let case = Case {
            client,
            rules,
            room,
            only_preferred,
        };
        let wish = rules.wishes.as_ref()?.get(at);
        let best = fleet.best(
            rules.policy,
            &wish.shape.resources,
            &self.mix,
            &mut |number| {
                let slot = AgentSlot::from(number);
                self.judge_unit(case, wish, slot, |_| false).is_some()
            },
        );
        let place = best.and_then(|number| {
            let slot = AgentSlot::from(number);
            Some((slot, self.judge_unit(case, wish, slot, |_| false)?))
        });
        self.agents.put_fleet(fleet);
        place
    }

    /// The best of some agents by score, then by number; `reserved`: only those where the task takes something special.
    fn best_of(
        &self,
        case: Case<'_>,
        at: usize,
        agents: impl Iterator<Item = AgentSlot>,
        reserved: bool,
    ) -> Option<(AgentSlot, Resources)> {
        let wish = case.rules.wishes.as_ref()?.get(at);
        let asked = &wish.shape.resources;
        let mut best: Option<((Score, AgentSlot), Resources)> = None;
        for slot in agents {
            let agent = self.agents.get(slot);
            if !agent.is_giving() || !(reserved || agent.free().contains(asked)) {
                continue;
            }
            let Some(unit) = self.judge_unit(case, wish, slot, |_| false) else {
                continue;
            };
            if reserved && !unit.has_parts() {
                continue;
            }
            let node = Node {
                total: &agent.facts.total,
                free: agent.free(),
                group: agent.group,
            };
            let key = (case.rules.policy.score(asked, node, &self.mix), slot);
            if best.as_ref().is_none_or(|(least, _)| key < *least) {
                best = Some((key, unit));
            }
        }
        best.map(|((_, slot), unit)| (slot, unit))
    }

    fn grant(&mut self, now: Timestamp, client: ClientSlot, given: Given, walk: &mut Walk) {
        let Given {
            agent,
            resources,
            wish,
        } = given;
        if resources.is_none() && self.agents.lend(agent, client, now) {
            self.tree.grant(client, &self.agents.get(agent).stock);
            self.note_quota(client);
            walk.has_run_out();
            walk.drafts.push(Draft::of_all(client, agent));
            return;
        }
        let resources = resources.unwrap_or_else(|| self.agents.get(agent).free().clone());
        let booked = exclusive(&resources);
        self.agents.offer(agent, client, &booked, now);
        let left = self.agents.get(agent);
        if left.is_giving() {
            let before = || left.free().plus(&booked);
            walk.free_before.entry(agent).or_insert_with(before);
        } else {
            walk.has_run_out();
        }
        self.tree.grant(client, &booked);
        self.note_quota(client);
        match wish {
            None => walk.drafts.push(Draft::of(client, agent, resources)),
            Some(at) => {
                let unit = self.offer_unit(client, at, agent);
                walk.draft_of_tasks(client, agent).add(unit, &resources);
            }
        }
    }

    fn offer_unit(&mut self, client: ClientSlot, at: usize, agent: AgentSlot) -> ShapeId {
        self.units_granted += 1;
        let rules = self.rules.get_mut(client);
        let wishes = rules
            .wishes
            .as_mut()
            .expect("units are granted to those who asked for them");
        let id = wishes.get(at).id;
        wishes.offer(at, agent);
        id
    }
}

impl Walk {
    /// An agent has nothing left.
    const fn has_run_out(&mut self) {
        if let Some(left) = &mut self.left {
            *left -= 1;
        }
    }

    /// What the offer of a client's tasks on an agent is made of so far.
    fn draft_of_tasks(&mut self, client: ClientSlot, agent: AgentSlot) -> &mut Drawn {
        let drafts = &mut self.drafts;
        let at = *self.aimed.entry((client, agent)).or_insert_with(|| {
            drafts.push(Draft::of(client, agent, Resources::none()));
            drafts.len() - 1
        });
        drafts[at].part.get_or_insert_default()
    }

    /// Where in `lines` a client's line is; made when nobody has walked along it yet.
    fn line(&mut self, scope: Scope, policy: Policy, agents: &super::agents::Agents) -> usize {
        let order = match policy {
            Policy::FirstFit | Policy::Spread => policy,
            // All others give the most used away first.
            Policy::BestFit | Policy::DotProduct | Policy::L2 | Policy::Fgd | Policy::Worth => {
                Policy::BestFit
            }
        };
        let known = self
            .lines
            .iter()
            .position(|(of, which, _)| *of == order && *which == scope);
        known.unwrap_or_else(|| {
            let line = match scope {
                Scope::Touched => Line::new(&self.touched, agents, &self.free_before, order),
                Scope::All => Line::new(&agents.giving(), agents, &self.free_before, order),
            };
            self.lines.push((order, scope, line));
            self.lines.len() - 1
        })
    }
}
