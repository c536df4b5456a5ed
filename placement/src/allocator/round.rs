//! One round: what is free is given to whoever is next, until nothing is left or nobody may have it.
//!
//! The client with the smallest share takes the first agent in line that it may have, all of it as far
//! as its role's room goes; then its share is larger, and the next is asked. Who may have nothing of
//! what is left steps aside until the round is over: during a round what is free only shrinks, filters
//! stay, and rooms narrow, so nobody has to look at the same agent twice.
//!
//! Why only touched agents are looked at: after a round each client was refused each agent that still
//! has something. That can change by the agent having more or the filter ending (the agent is touched),
//! or by something that happened to the client (it is *eager*, and looks at all agents once).

use std::borrow::Cow;
use std::collections::BTreeSet;

use mete_model::{Resources, Timestamp};

use super::line::Line;
use super::{Allocator, Grant, MAX_AGENTS_PER_ROUND};
use crate::quota::{Room, is_allocatable};
use crate::slots::{AgentSlot, ClientSlot};

/// What a round keeps while it runs.
struct Walk {
    line: Line,
    eager: BTreeSet<ClientSlot>,
    /// How far each client has walked along the line.
    reached: Vec<u32>,
}

impl Allocator {
    /// Gives away what may be given and takes it from the agents: the fairest first, re-evaluated
    /// after each grant. Looks at [`MAX_AGENTS_PER_ROUND`] agents at most; when there are more,
    /// [`Self::wants_round`] stays true.
    pub fn round(&mut self, now: Timestamp) -> Vec<Grant> {
        for agent in self.filters.expire(now) {
            self.agents.touch(agent);
        }
        if !self.wants_round() {
            return Vec::new();
        }
        self.tree.refresh();
        let eager = std::mem::take(&mut self.eager);
        let agents = self.agents.line_up(!eager.is_empty(), MAX_AGENTS_PER_ROUND);
        let mut walk = Walk {
            line: Line::new(agents),
            eager,
            reached: vec![0; self.tree.clients_end()],
        };
        let mut grants = Vec::new();
        while !walk.line.is_empty()
            && let Some(client) = self.tree.next()
        {
            match self.serve(client, &mut walk) {
                Some((agent, resources)) => grants.push(self.grant(client, agent, resources)),
                None => self.tree.step_aside(client),
            }
        }
        self.tree.step_back();
        grants
    }

    /// What the client gets, and where; `None` when none of what is left may be its.
    fn serve(&mut self, client: ClientSlot, walk: &mut Walk) -> Option<(AgentSlot, Resources)> {
        let top = self.tree.top_of(client);
        let room = self
            .quota
            .room(top, &self.tree.node(top).held, self.agents.free());
        if let Room::UpTo(most) = &room
            && most.is_shut()
        {
            self.quota.hold_back(top);
            return None;
        }
        let touched_only = !walk.eager.contains(&client);
        let reached = &mut walk.reached[usize::from(client)];
        while let Some((place, slot)) = walk.line.at_or_after(*reached, touched_only) {
            *reached = place + 1;
            let free = &self.agents.get(slot).free;
            let part = match &room {
                Room::Unlimited => Cow::Borrowed(free),
                Room::UpTo(most) => Cow::Owned(most.cut(free)),
            };
            let is_all = *part == *free;
            if !is_all {
                self.quota.hold_back(top);
            }
            if !is_allocatable(&part) || self.filters.blocks(client, slot, &part) {
                continue;
            }
            if is_all || !is_allocatable(&free.minus_at_most(&part)) {
                walk.line.drop_out(place);
            }
            let part = part.into_owned();
            return Some((slot, part));
        }
        None
    }

    fn grant(&mut self, client: ClientSlot, agent: AgentSlot, resources: Resources) -> Grant {
        self.agents.take(agent, client, &resources);
        self.tree.grant(client, &resources);
        let top = self.tree.top_of(client);
        self.quota.note_held(top, &self.tree.node(top).held);
        let holder = self.tree.client(client);
        Grant {
            framework: self.frameworks.get(holder.framework).id.clone(),
            role: self.tree.node(holder.role).role.clone(),
            agent: self.agents.get(agent).id.clone(),
            resources,
        }
    }
}
