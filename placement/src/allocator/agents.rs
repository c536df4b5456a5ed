//! Agents as the allocator sees them: what is there, who holds it, what is left.
//!
//! What a client holds is either on offer to it or in use by its tasks; per agent
//!
//! ```text
//! total = free + on offer + in use          (shared volumes stay free while they are held)
//! ```
//! unless tasks that came back use more than there is: then nothing is free of what is overdrawn, until
//! enough has ended.
//!
//! Invariants: an agent is *giving*, and in the fleet, exactly when it may be offered and has enough
//! left to be worth it; `touched` are those where something came free since a round looked at them.

use std::borrow::Cow;
use std::collections::BTreeSet;

use mete_model::{AgentId, Attributes, FaultDomain, Ranges, Resources, Timestamp};
use smallvec::SmallVec;

use crate::constraints::Place;
use crate::demand::Shape;
use crate::fleet::Fleet;
use crate::gpu_models::GpuModels;
use crate::packing::Groups;
use crate::quota::{MIN_CPUS_MILLI, MIN_MEM_BYTES, is_allocatable};
use crate::slots::{AgentSlot, ClientSlot, Names, Slots};
use crate::sums::Sums;

/// What an agent says of itself, as far as offers go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AgentFacts {
    /// All it has; GPUs with their devices, reserved resources and volumes as parts.
    pub total: Resources,
    /// What constraints may ask for.
    pub attributes: Attributes,
    /// Name of the machine.
    pub hostname: String,
    /// Its region and zone, when it is in one.
    pub domain: Option<FaultDomain>,
}

impl AgentFacts {
    /// An agent that only has resources.
    pub fn new(total: Resources) -> Self {
        Self {
            total,
            ..Self::default()
        }
    }
}

/// Whether an agent's resources may be offered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Admission {
    /// They may.
    #[default]
    Offerable,
    /// Its tasks are to leave it.
    Draining,
    /// An operator wants nothing more on it.
    Deactivated,
    /// It is not heard of.
    Away,
}

/// Something of an agent that a client holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Holding {
    pub(super) client: ClientSlot,
    pub(super) resources: Resources,
    /// Of an offer: when the first was made of what is on offer now.
    pub(super) since: Timestamp,
}

/// One agent. What each offer and each answer changes stands together, in the first lines of memory.
#[derive(Clone, Debug)]
#[repr(C, align(64))]
pub(super) struct Agent {
    pub(super) free: Resources,
    /// Mostly one client has all of it, and that stands with the agent.
    pub(super) offered: SmallVec<[Holding; 1]>,
    pub(super) admission: Admission,
    /// More is in use than there is.
    overdrawn: bool,
    /// May be offered, and has enough left to be worth it.
    is_giving: bool,
    /// The fleet has not heard of its latest change.
    is_news: bool,
    /// Machines of one kind, for packing.
    pub(super) group: u16,
    /// What is free and of no use to an ordinary task; `None`: nothing.
    strands: Option<Box<Resources>>,
    pub(super) id: AgentId,
    pub(super) used: SmallVec<[Holding; 0]>,
    /// Kept apart, so that all that changes lies close together.
    pub(super) facts: Box<AgentFacts>,
}

impl Agent {
    /// As a place to compare.
    pub(super) fn place(&self) -> Place<'_> {
        Place {
            hostname: &self.facts.hostname,
            domain: self.facts.domain.as_ref(),
            attributes: &self.facts.attributes,
        }
    }

    /// What clients hold in one of the ways.
    fn holdings(&self, way: Way) -> &[Holding] {
        match way {
            Way::Offered => &self.offered,
            Way::Used => &self.used,
        }
    }

    /// Whether it may be offered and has enough left to be worth it.
    pub(super) const fn is_giving(&self) -> bool {
        self.is_giving
    }

    pub(super) fn has_gpus(&self) -> bool {
        let total = &self.facts.total;
        total.gpus_milli > 0 || total.parts().any(|(_, part)| part.gpus_milli > 0)
    }
}

/// All agents.
#[derive(Clone, Debug, Default)]
pub(super) struct Agents {
    slots: Slots<AgentSlot, Agent>,
    by_id: Names<AgentId, AgentSlot>,
    giving: Vec<AgentSlot>,
    /// By agent: where it stands in `giving`, or [`NOWHERE`].
    giving_at: Vec<u32>,
    touched: Vec<AgentSlot>,
    /// By agent: whether it is among `touched`.
    is_touched: Vec<bool>,
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

/// The place of an agent that is not giving.
const NOWHERE: u32 = u32::MAX;

/// Which of the two ways of holding is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Offered,
    Used,
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
        let group = self.models.group_of(&facts.total, &facts.attributes);
        let slot = self.slots.insert(Agent {
            id: id.clone(),
            facts: Box::new(facts),
            free: Resources::none(),
            admission: Admission::Offerable,
            group,
            offered: SmallVec::new(),
            used: SmallVec::new(),
            overdrawn: false,
            is_news: false,
            is_giving: false,
            strands: None,
        });
        self.by_id.insert(id, slot);
        self.put_free(slot, total);
        slot
    }

    /// Sets what an agent has in all; the total it had.
    pub(super) fn resize(&mut self, slot: AgentSlot, mut total: Resources) -> Resources {
        self.share_ports(&mut total);
        let agent = &mut self.slots[slot];
        let before = std::mem::replace(&mut agent.facts.total, total);
        let facts = &agent.facts;
        agent.group = self.models.group_of(&facts.total, &facts.attributes);
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
            let facts = &agent.facts;
            agent.group = self.models.group_of(&facts.total, &facts.attributes);
            self.place(slot);
            self.touch(slot);
        }
        changed
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
            self.free.add_plain(&agent.free);
        } else {
            self.free.remove_plain(&agent.free);
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
            agent.offered.is_empty() && agent.used.is_empty(),
            "all was given back"
        );
        self.by_id.remove(&agent.id);
        self.touched.retain(|touched| *touched != slot);
        if let Some(is_touched) = self.is_touched.get_mut(usize::from(slot)) {
            *is_touched = false;
        }
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
        // Of shared volumes alone nothing is booked.
        if !part.is_empty() {
            let part = self.take_free(slot, part);
            self.hold(slot, client, Way::Offered, part, now);
        }
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
        let is_there = !self.slots[slot].overdrawn && self.slots[slot].free.contains(part);
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
        let at = agent.offered.iter().position(|held| held.client == client);
        if let Some(at) = at {
            let held = &mut agent.offered[at].resources;
            *held = held.minus_at_most(&exclusive(from));
            held.add(&exclusive(to));
            if held.is_empty() {
                agent.offered.swap_remove(at);
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
        let list = agent.holdings(way);
        list.iter()
            .find(|held| held.client == client)
            .map(|held| &held.resources)
    }

    /// What each client holds on an agent in one of the ways.
    pub(super) fn held_on(&self, slot: AgentSlot, way: Way) -> Vec<(ClientSlot, Resources)> {
        let agent = &self.slots[slot];
        let list = agent.holdings(way);
        list.iter()
            .map(|held| (held.client, held.resources.clone()))
            .collect()
    }

    pub(super) fn slots(&self) -> impl Iterator<Item = AgentSlot> {
        self.slots.iter().map(|(slot, _)| slot)
    }

    /// The next round looks at this agent for everybody.
    pub(super) fn touch(&mut self, slot: AgentSlot) {
        let at = usize::from(slot);
        // Nothing of the agent itself is looked at: many are touched at a time.
        let gives = self.giving_at.get(at).is_some_and(|at| *at != NOWHERE);
        if gives && !std::mem::replace(&mut self.is_touched[at], true) {
            self.touched.push(slot);
        }
    }

    pub(super) const fn is_any_touched(&self) -> bool {
        !self.touched.is_empty()
    }

    pub(super) const fn is_any_giving(&self) -> bool {
        !self.giving.is_empty()
    }

    /// All that give, in no order that says anything.
    pub(super) fn giving(&self) -> &[AgentSlot] {
        &self.giving
    }

    /// Those that give and have something special free, by number.
    pub(super) const fn special(&self) -> &BTreeSet<AgentSlot> {
        &self.special
    }

    /// Plain resources free on agents that may be offered.
    pub(super) const fn free(&self) -> &Sums {
        &self.free
    }

    /// Takes the agents that were touched and still give.
    pub(super) fn take_touched(&mut self) -> Vec<AgentSlot> {
        let mut touched = std::mem::take(&mut self.touched);
        touched.retain(|slot| {
            self.is_touched[usize::from(*slot)] = false;
            self.giving_at[usize::from(*slot)] != NOWHERE
        });
        // Memory is walked through in its order.
        touched.sort_unstable();
        touched
    }

    /// Takes the fleet out to ask it, up to date; it is to be put back with [`Self::put_fleet`].
    pub(super) fn take_fleet(&mut self) -> Fleet {
        if !std::mem::replace(&mut self.is_fleet_used, true) {
            self.news_for_fleet = self.giving.clone();
        }
        for slot in std::mem::take(&mut self.news_for_fleet) {
            let agent = &mut self.slots[slot];
            agent.is_news = false;
            if agent.is_giving() {
                let (total, free) = (&agent.facts.total, &agent.free);
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
    fn count_stranded(&mut self, slot: AgentSlot) {
        let agent = &mut self.slots[slot];
        let may_strand = agent.admission == Admission::Offerable && !agent.free.is_empty();
        let strands = may_strand && {
            let free = agent.free.flat();
            free.cpus_milli < MIN_CPUS_MILLI || free.mem_bytes < MIN_MEM_BYTES
        };
        if let Some(before) = agent.strands.take() {
            self.stranded.remove(&before);
        }
        if strands {
            self.stranded.add(&agent.free);
            agent.strands = Some(Box::new(agent.free.clone()));
        }
    }

    /// What is free on agents that may be offered, and of no use to an ordinary task.
    pub(super) const fn stranded(&self) -> &Sums {
        &self.stranded
    }

    fn enlist(&mut self, slot: AgentSlot, gives: bool) {
        let at = usize::from(slot);
        if self.giving_at.len() <= at {
            self.giving_at.resize(at + 1, NOWHERE);
            self.is_touched.resize(at + 1, false);
        }
        if gives {
            self.giving_at[at] = u32::try_from(self.giving.len()).expect("slots are u32");
            self.giving.push(slot);
            return;
        }
        let place = std::mem::replace(&mut self.giving_at[at], NOWHERE);
        self.giving.swap_remove(place as usize);
        if let Some(&moved) = self.giving.get(place as usize) {
            self.giving_at[usize::from(moved)] = place;
        }
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
        let agent = &mut self.slots[slot];
        let is_first = match way {
            Way::Offered => add_to(&mut agent.offered, client, part, now),
            Way::Used => add_to(&mut agent.used, client, part, now),
        };
        if is_first {
            let at = usize::from(client);
            if self.holdings.len() <= at {
                self.holdings.resize(at + 1, 0);
            }
            self.holdings[at] += 1;
        }
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
        let agent = &mut self.slots[slot];
        let (gone, is_last) = match way {
            Way::Offered => take_from(&mut agent.offered, client, part),
            Way::Used => take_from(&mut agent.used, client, part),
        }?;
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
        let taken = if agent.free == *part {
            std::mem::take(&mut agent.free)
        } else {
            agent.free.take_at_most(part);
            part.clone()
        };
        self.place(slot);
        taken
    }

    /// What somebody let go is free again.
    pub(super) fn put_free(&mut self, slot: AgentSlot, part: Resources) {
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
        if agent.free.is_empty() {
            agent.free = part;
        } else {
            agent.free.add(&part);
        }
        self.place(slot);
        self.touch(slot);
    }

    /// Counts anew what is free, when more may be in use than there is.
    fn recount(&mut self, slot: AgentSlot) {
        let agent = &mut self.slots[slot];
        let mut free = agent.facts.total.clone();
        agent.overdrawn = false;
        for held in agent.offered.iter().chain(&agent.used) {
            agent.overdrawn |= !free.contains(&held.resources);
            free = free.minus_at_most(&held.resources);
        }
        let before = std::mem::replace(&mut agent.free, free);
        let grew = !before.contains(&agent.free);
        if agent.admission == Admission::Offerable {
            self.free.remove_plain(&before);
            self.free.add_plain(&self.slots[slot].free);
        }
        self.place(slot);
        if grew {
            self.touch(slot);
        }
    }

    /// Among those that give and in the fleet, or not, as what is free says.
    fn place(&mut self, slot: AgentSlot) {
        self.count_stranded(slot);
        let agent = &mut self.slots[slot];
        let gives = agent.admission == Admission::Offerable
            && if self.any_is_enough {
                !exclusive(&agent.free).is_empty()
            } else {
                is_allocatable(&agent.free.flat())
            };
        if agent.is_giving != gives {
            agent.is_giving = gives;
            self.enlist(slot, gives);
        }
        let agent = &mut self.slots[slot];
        if self.is_fleet_used && !std::mem::replace(&mut agent.is_news, true) {
            self.news_for_fleet.push(slot);
        }
        if gives && agent.free.has_parts() {
            self.special.insert(slot);
        } else if !self.special.is_empty() {
            self.special.remove(&slot);
        }
    }
}

/// A client holds more; whether it held nothing before.
fn add_to<A: smallvec::Array<Item = Holding>>(
    list: &mut SmallVec<A>,
    client: ClientSlot,
    part: Resources,
    now: Timestamp,
) -> bool {
    if let Some(held) = list.iter_mut().find(|held| held.client == client) {
        held.resources.add(&part);
        return false;
    }
    list.push(Holding {
        client,
        resources: part,
        since: now,
    });
    true
}

/// A client does not hold as much of `part` as it does any more: that much, and whether it holds nothing now. `None` when
/// it held nothing of it.
fn take_from<A: smallvec::Array<Item = Holding>>(
    list: &mut SmallVec<A>,
    client: ClientSlot,
    part: &Resources,
) -> Option<(Resources, bool)> {
    let at = list.iter().position(|held| held.client == client)?;
    let held = &mut list[at].resources;
    if *held == *part {
        return Some((list.swap_remove(at).resources, true));
    }
    if part.is_empty() {
        return None;
    }
    if part.gpus_milli == 0 && !part.has_parts() && held.take(part) {
        // It is not all, so something stays.
        return Some((part.clone(), false));
    }
    let left = held.minus_at_most(part);
    let gone = held.minus_at_most(&left);
    if gone.is_empty() {
        return None;
    }
    *held = left;
    let is_last = held.is_empty();
    if is_last {
        list.swap_remove(at);
    }
    Some((gone, is_last))
}

/// What others cannot hold at the same time: all but shared volumes. Only this is ever booked to anybody; what is shared
/// stays free, and comes along with offers.
pub(super) fn exclusive(part: &Resources) -> Cow<'_, Resources> {
    if part.parts().all(|(tag, _)| !tag.shared) {
        Cow::Borrowed(part)
    } else {
        Cow::Owned(part.clone().only_parts(|tag| !tag.shared))
    }
}
