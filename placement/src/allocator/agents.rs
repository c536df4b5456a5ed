//! All agents as the allocator sees them: which may be offered, what is free on them, what became of it since a round
//! looked.
//!
//! Invariants: an agent is *giving*, and in the fleet, exactly when it may be offered and has enough
//! left to be worth it; `touched` are those where something came free since a round looked at them.

use std::collections::{BTreeMap, BTreeSet};

use mete_model::{AgentId, Ranges, Resources, Timestamp};
use smallvec::SmallVec;

use super::agent::{Admission, Agent, AgentFacts, Way, exclusive};
use crate::demand::Shape;
use crate::fleet::Fleet;
use crate::gpu_models::GpuModels;
use crate::packing::Groups;
use crate::quota::{MIN_CPUS_MILLI, MIN_MEM_MILLI};
use crate::slots::{AgentSlot, ClientSlot, Names, SlotSet, Slots};
use crate::sums::Sums;

/// All agents.
#[derive(Clone, Debug, Default)]
pub(super) struct Agents {
    slots: Slots<AgentSlot, Agent>,
    by_id: Names<AgentId, AgentSlot>,
    giving: SlotSet<AgentSlot>,
    touched: SlotSet<AgentSlot>,
    /// Those that give and have something special free: reserved, revocable, volumes.
    special: BTreeSet<AgentSlot>,
    fleet: Fleet,
    /// Somebody has asked for the best place, so the fleet is kept.
    is_fleet_used: bool,
    /// Agents whose changes the fleet has not heard of: it hears of them when it is asked, because most changes are undone
    /// or overtaken before.
    news_for_fleet: Vec<AgentSlot>,
    /// Plain resources free on agents that may be offered.
    free: Sums,
    /// By agent: what is free there and of no use to an ordinary task.
    strands: BTreeMap<AgentSlot, Resources>,
    /// What all agents strand.
    stranded: Sums,
    /// By client: on how many agents it holds something, offers and use counted apart.
    holdings: Vec<u32>,
    /// Those of the last agent that came: mostly all have the same, which are then kept once.
    usual_ports: Ranges,
    models: GpuModels,
    /// Frameworks have minima of their own: whatever is left may be worth an offer.
    any_is_enough: bool,
}

impl Agents {
    pub(super) fn find(&self, id: &AgentId) -> Option<AgentSlot> {
        self.by_id.get(id)
    }

    pub(super) fn get(&self, slot: AgentSlot) -> &Agent {
        &self.slots[slot]
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (AgentSlot, &Agent)> {
        self.slots.iter()
    }

    pub(super) fn add(&mut self, id: AgentId, mut facts: AgentFacts) -> AgentSlot {
        self.share_ports(&mut facts.total);
        let total = facts.total.clone();
        let slot = self.slots.insert(Agent {
            id: id.clone(),
            facts: Box::new(facts),
            stock: Resources::none(),
            lent_to: None,
            lent_since: Timestamp::EPOCH,
            admission: Admission::Offerable,
            group: 0,
            offered: SmallVec::new(),
            used: SmallVec::new(),
            overdrawn: false,
            is_news: false,
            is_giving: false,
            is_stranding: false,
            has_gpus: false,
            is_parted: false,
        });
        self.note_kind(slot);
        self.by_id.insert(id, slot);
        self.put_free(slot, total);
        slot
    }

    /// Sets what an agent has in all; the total it had.
    pub(super) fn resize(&mut self, slot: AgentSlot, mut total: Resources) -> Resources {
        self.share_ports(&mut total);
        let agent = &mut self.slots[slot];
        let before = std::mem::replace(&mut agent.facts.total, total);
        self.note_kind(slot);
        self.recount(slot);
        // Without its GPUs, say, others may take it.
        self.touch(slot);
        before
    }

    /// Sets what an agent says of itself, but for its resources; whether that is new.
    pub(super) fn describe(&mut self, slot: AgentSlot, facts: AgentFacts) -> bool {
        let agent = &mut self.slots[slot];
        let facts = AgentFacts {
            total: std::mem::take(&mut agent.facts.total),
            ..facts
        };
        let before = AgentFacts {
            total: facts.total.clone(),
            ..std::mem::take(&mut *agent.facts)
        };
        let changed = before != facts;
        *agent.facts = facts;
        if changed {
            self.note_kind(slot);
            self.place(slot);
            self.touch(slot);
        }
        changed
    }

    /// Which kind of machine it is, as it says of itself.
    fn note_kind(&mut self, slot: AgentSlot) {
        let agent = &mut self.slots[slot];
        let AgentFacts {
            total, attributes, ..
        } = &*agent.facts;
        agent.group = self.models.group_of(total, attributes);
        agent.has_gpus = total.gpus_milli > 0 || total.parts().any(|(_, part)| part.gpus_milli > 0);
    }

    /// Whether that is new.
    pub(super) fn set_admission(&mut self, slot: AgentSlot, admission: Admission) {
        let agent = &mut self.slots[slot];
        let before = std::mem::replace(&mut agent.admission, admission);
        let (was, is) = (
            before == Admission::Offerable,
            admission == Admission::Offerable,
        );
        if was == is {
            return;
        }
        if is {
            self.free.add_plain(agent.free());
        } else {
            self.free.remove_plain(agent.free());
        }
        self.place(slot);
        if is {
            self.touch(slot);
        }
    }

    /// Forgets an agent on which nobody holds anything any more; what it had in all.
    pub(super) fn remove(&mut self, slot: AgentSlot) -> Resources {
        self.set_admission(slot, Admission::Away);
        let agent = self.slots.remove(slot).expect("it was found");
        debug_assert!(
            agent.offers().next().is_none() && agent.used.is_empty(),
            "all was given back"
        );
        self.by_id.remove(&agent.id);
        self.touched.remove(slot);
        self.news_for_fleet.retain(|news| *news != slot);
        self.fleet.remove(slot.number());
        agent.facts.total
    }

    /// Puts something free on offer to a client.
    pub(super) fn offer(
        &mut self,
        slot: AgentSlot,
        client: ClientSlot,
        part: &Resources,
        now: Timestamp,
    ) {
        let agent = &self.slots[slot];
        let is_all = agent.lent_to.is_none() && agent.stock == *part;
        if is_all && self.lend(slot, client, now) {
            return;
        }
        // Of shared volumes alone nothing is booked.
        if !part.is_empty() {
            let part = self.take_free(slot, part);
            self.hold(slot, client, Way::Offered, part, now);
        }
    }

    /// Lends all that is free to a client, unless something is on offer otherwise; whether it did.
    pub(super) fn lend(&mut self, slot: AgentSlot, client: ClientSlot, now: Timestamp) -> bool {
        let agent = &mut self.slots[slot];
        if agent.lent_to.is_some() || agent.is_parted || agent.stock.is_empty() {
            return false;
        }
        agent.lent_to = Some(client);
        agent.lent_since = now;
        if agent.admission == Admission::Offerable {
            self.free.remove_plain(&agent.stock);
        }
        self.holds_one_more(client);
        self.place(slot);
        true
    }

    /// All that is lent to a client is free again, if that is `part`; whether it was.
    pub(super) fn end_whole_loan(
        &mut self,
        slot: AgentSlot,
        client: ClientSlot,
        part: &Resources,
    ) -> bool {
        let agent = &mut self.slots[slot];
        if agent.lent_to != Some(client) || agent.overdrawn || agent.stock != *part {
            return false;
        }
        agent.lent_to = None;
        if agent.admission == Admission::Offerable {
            self.free.add_plain(part);
        }
        self.holdings[usize::from(client)] -= 1;
        self.place(slot);
        self.touch(slot);
        true
    }

    /// A client's tasks use something, of what is free or beyond it; how much more it holds now, which is less when
    /// amounts pass what can be counted, or a port is claimed twice.
    pub(super) fn claim(
        &mut self,
        slot: AgentSlot,
        client: ClientSlot,
        part: &Resources,
    ) -> Resources {
        let before = self.held_by(slot, client, Way::Used).cloned();
        let is_there = !self.slots[slot].overdrawn && self.slots[slot].free().contains(part);
        self.hold(slot, client, Way::Used, part.clone(), Timestamp::EPOCH);
        if is_there {
            self.take_free(slot, part);
        } else {
            self.recount(slot);
        }
        match before {
            None => part.clone(),
            Some(before) => {
                let now = self.held_by(slot, client, Way::Used);
                now.map_or_else(Resources::none, |now| now.minus_at_most(&before))
            }
        }
    }

    /// As much of `part` as is on offer to a client is in use from now on.
    pub(super) fn launch(&mut self, slot: AgentSlot, client: ClientSlot, part: &Resources) {
        if let Some(part) = self.let_go(slot, client, Way::Offered, part) {
            self.hold(slot, client, Way::Used, part, Timestamp::EPOCH);
        }
    }

    /// What a client holds changes its nature, and with it the agent's total: the same amounts are reserved, say, or a
    /// volume now. Whoever calls knows that `from` is held or shared, and `to` is as much.
    pub(super) fn reshape(
        &mut self,
        slot: AgentSlot,
        client: ClientSlot,
        from: &Resources,
        to: &Resources,
    ) {
        let agent = &mut self.slots[slot];
        agent.end_loan();
        let at = agent.offered.iter().position(|held| held.client == client);
        if let Some(at) = at {
            let held = &mut agent.offered[at].resources;
            *held = held.minus_at_most(&exclusive(from));
            held.add(&exclusive(to));
            if held.is_empty() {
                agent.offered.swap_remove(at);
                agent.is_parted = !agent.offered.is_empty();
                self.holdings[usize::from(client)] -= 1;
            }
        }
        self.reshape_free(slot, from, to);
    }

    /// What is free changes its nature, and with it the agent's total.
    pub(super) fn reshape_free(&mut self, slot: AgentSlot, from: &Resources, to: &Resources) {
        let total = &mut self.slots[slot].facts.total;
        let mut rest = total.minus_at_most(&exclusive(from));
        for (tag, _) in from.parts().filter(|(tag, _)| tag.shared) {
            rest.take_part(tag);
        }
        *total = rest.plus(to);
        self.recount(slot);
    }

    /// On how many agents a client holds something, offers and use counted apart.
    pub(super) fn holdings(&self, client: ClientSlot) -> u32 {
        self.holdings.get(usize::from(client)).copied().unwrap_or(0)
    }

    /// What a client holds on an agent in one of the ways.
    pub(super) fn held_by(
        &self,
        slot: AgentSlot,
        client: ClientSlot,
        way: Way,
    ) -> Option<&Resources> {
        let agent = self.slots.get(slot)?;
        let mut held = agent.held(way).filter(|(holder, _)| *holder == client);
        held.next().map(|(_, resources)| resources)
    }

    /// What each client holds on an agent in one of the ways.
    pub(super) fn held_on(&self, slot: AgentSlot, way: Way) -> Vec<(ClientSlot, Resources)> {
        let held = self.slots[slot].held(way);
        held.map(|(client, resources)| (client, resources.clone()))
            .collect()
    }

    pub(super) fn slots(&self) -> impl Iterator<Item = AgentSlot> {
        self.slots.iter().map(|(slot, _)| slot)
    }

    /// The next round looks at this agent for everybody.
    pub(super) fn touch(&mut self, slot: AgentSlot) {
        if self.giving.contains(slot) {
            self.touched.insert(slot);
        }
    }

    pub(super) const fn is_any_touched(&self) -> bool {
        !self.touched.is_empty()
    }

    pub(super) const fn is_any_giving(&self) -> bool {
        !self.giving.is_empty()
    }

    /// Reads of each agent what changes most, so that memory is waited for once and not once for each.
    pub(super) fn bring_near(&self, slots: impl Iterator<Item = AgentSlot>) {
        let mut read = 0;
        for slot in slots {
            let agent = &self.slots[slot];
            read ^= agent.stock.mem_milli ^ u64::from(agent.is_giving);
        }
        std::hint::black_box(read);
    }

    /// Reads what changes of an agent when a task ends there, at once instead of one after the other.
    pub(super) fn bring_all_near(&self, slot: AgentSlot) {
        let agent = &self.slots[slot];
        // Whose task ended is mostly among the last that came, at the end of the list.
        let ends = [agent.used.first(), agent.used.last(), agent.offered.first()];
        let read = ends.into_iter().flatten().fold(0, |read, held| {
            read ^ held.client.number() ^ held.resources.mem_milli as u32
        });
        // The offer that mostly follows counts one more clone of its name.
        let read = agent.id.sharers() as u64 ^ u64::from(read);
        std::hint::black_box(agent.stock.mem_milli ^ read);
    }

    /// All that give, by number.
    pub(super) fn giving(&self) -> Vec<AgentSlot> {
        self.giving.iter().collect()
    }

    /// Those that give and have something special free, by number.
    pub(super) const fn special(&self) -> &BTreeSet<AgentSlot> {
        &self.special
    }

    /// Plain resources free on agents that may be offered.
    pub(super) const fn free(&self) -> &Sums {
        &self.free
    }

    /// Takes the agents that were touched and still give, by number.
    pub(super) fn take_touched(&mut self) -> Vec<AgentSlot> {
        let mut touched = self.touched.take();
        touched.retain(|slot| self.giving.contains(*slot));
        touched
    }

    /// Takes the fleet out to ask it, up to date; it is to be put back with [`Self::put_fleet`].
    pub(super) fn take_fleet(&mut self) -> Fleet {
        if !std::mem::replace(&mut self.is_fleet_used, true) {
            self.news_for_fleet = self.giving();
        }
        for slot in std::mem::take(&mut self.news_for_fleet) {
            let agent = &mut self.slots[slot];
            agent.is_news = false;
            if agent.is_giving() {
                let (total, free) = (&agent.facts.total, agent.free());
                self.fleet.set(slot.number(), total, free, agent.group);
            } else {
                self.fleet.remove(slot.number());
            }
        }
        std::mem::take(&mut self.fleet)
    }

    pub(super) fn put_fleet(&mut self, fleet: Fleet) {
        self.fleet = fleet;
    }

    /// From now on whatever is left of an agent may be worth an offer.
    pub(super) fn let_any_be_enough(&mut self) {
        if std::mem::replace(&mut self.any_is_enough, true) {
            return;
        }
        let slots: Vec<AgentSlot> = self.slots().collect();
        for slot in slots {
            self.place(slot);
            self.touch(slot);
        }
    }

    /// Counts what is free and of no use to an ordinary task, because the agent has no CPUs or no memory left beside it.
    fn count_stranded(&mut self, slot: AgentSlot, strands: bool) {
        let agent = &mut self.slots[slot];
        agent.is_stranding = strands;
        let now = strands.then(|| agent.free().clone());
        if let Some(now) = &now {
            self.stranded.add(now);
        }
        let before = match now {
            Some(now) => self.strands.insert(slot, now),
            None => self.strands.remove(&slot),
        };
        if let Some(before) = before {
            self.stranded.remove(&before);
        }
    }

    /// What is free on agents that may be offered, and of no use to an ordinary task.
    pub(super) const fn stranded(&self) -> &Sums {
        &self.stranded
    }

    /// Keeps ports once that are the same as those of the agent before.
    fn share_ports(&mut self, total: &mut Resources) {
        if total.ports == self.usual_ports {
            total.ports.clone_from(&self.usual_ports);
        } else {
            self.usual_ports.clone_from(&total.ports);
        }
    }

    /// On which kinds of machine a shape may go.
    pub(super) fn groups_for(&self, shape: &Shape) -> Groups {
        self.models.groups_for(&shape.constraints)
    }

    fn hold(
        &mut self,
        slot: AgentSlot,
        client: ClientSlot,
        way: Way,
        part: Resources,
        now: Timestamp,
    ) {
        let is_first = self.slots[slot].hold(client, way, part, now);
        if is_first {
            self.holds_one_more(client);
        }
    }

    fn holds_one_more(&mut self, client: ClientSlot) {
        let at = usize::from(client);
        if self.holdings.len() <= at {
            self.holdings.resize(at + 1, 0);
        }
        self.holdings[at] += 1;
    }

    /// A client does not hold as much of `part` as it does any more; that much. It is for whoever calls to say who has it
    /// now.
    pub(super) fn let_go(
        &mut self,
        slot: AgentSlot,
        client: ClientSlot,
        way: Way,
        part: &Resources,
    ) -> Option<Resources> {
        let (gone, is_last) = self.slots[slot].let_go(client, way, part)?;
        if is_last {
            self.holdings[usize::from(client)] -= 1;
        }
        Some(gone)
    }

    /// Something that is free is not free any more.
    fn take_free(&mut self, slot: AgentSlot, part: &Resources) -> Resources {
        let agent = &mut self.slots[slot];
        if agent.admission == Admission::Offerable {
            self.free.remove_plain(part);
        }
        debug_assert!(agent.lent_to.is_none(), "nothing is free of what is lent");
        let taken = if agent.stock == *part {
            std::mem::take(&mut agent.stock)
        } else {
            agent.stock.take_at_most(part);
            part.clone()
        };
        self.place(slot);
        taken
    }

    /// What somebody let go is free again.
    pub(super) fn put_free(&mut self, slot: AgentSlot, mut part: Resources) {
        let agent = &mut self.slots[slot];
        if agent.overdrawn {
            self.recount(slot);
            return;
        }
        if agent.admission == Admission::Offerable {
            self.free.add_plain(&part);
        }
        if part.is_empty() {
            return;
        }
        agent.end_loan();
        if agent.stock.is_empty() {
            agent.stock = part;
        } else {
            if agent.stock.ports.is_empty() {
                // Adding them would look at them first, and count one more clone.
                std::mem::swap(&mut agent.stock.ports, &mut part.ports);
            }
            agent.stock.add(&part);
        }
        self.place(slot);
        self.touch(slot);
    }

    /// Counts anew what is free, when more may be in use than there is.
    fn recount(&mut self, slot: AgentSlot) {
        let agent = &mut self.slots[slot];
        agent.end_loan();
        let mut free = agent.facts.total.clone();
        agent.overdrawn = false;
        for held in agent.offered.iter().chain(&agent.used) {
            agent.overdrawn |= !free.contains(&held.resources);
            free = free.minus_at_most(&held.resources);
        }
        let before = std::mem::replace(&mut agent.stock, free);
        let grew = !before.contains(&agent.stock);
        if agent.admission == Admission::Offerable {
            self.free.remove_plain(&before);
            self.free.add_plain(&self.slots[slot].stock);
        }
        self.place(slot);
        if grew {
            self.touch(slot);
        }
    }

    /// Among those that give and in the fleet, or not, as what is free says.
    fn place(&mut self, slot: AgentSlot) {
        let any_is_enough = self.any_is_enough;
        let agent = &mut self.slots[slot];
        let free = agent.free();
        let (gives, strands) = if agent.admission == Admission::Offerable && !free.is_empty() {
            worth(free, any_is_enough)
        } else {
            (false, false)
        };
        let is_special = gives && free.has_parts();
        if agent.is_giving != gives {
            agent.is_giving = gives;
            self.giving.set(slot, gives);
        }
        if self.is_fleet_used && !std::mem::replace(&mut agent.is_news, true) {
            self.news_for_fleet.push(slot);
        }
        if strands || agent.is_stranding {
            self.count_stranded(slot, strands);
        }
        if is_special {
            self.special.insert(slot);
        } else if !self.special.is_empty() {
            self.special.remove(&slot);
        }
    }
}

/// Whether what is free is worth an offer, and whether it is of no use to an ordinary task because there are no CPUs or
/// no memory in it.
fn worth(free: &Resources, any_is_enough: bool) -> (bool, bool) {
    let flat = free.flat();
    let has_cpus = flat.cpus_milli >= MIN_CPUS_MILLI;
    let has_memory = flat.mem_milli >= MIN_MEM_MILLI;
    let gives = if any_is_enough {
        !exclusive(free).is_empty()
    } else {
        has_cpus || has_memory
    };
    (gives, !has_cpus || !has_memory)
}
