//! What was declined, by whom, until when.
//!
//! A filter belongs to a framework in one role and one agent. Until it expires, nothing contained in
//! the refused resources is offered there again; an offer with more of anything is (Mesos' rule).
//!
//! Half a million filters are ordinary (10,000 agents declined by 50 frameworks), so one costs some
//! forty bytes: filters stand with their agent, sixteen bytes each, sorted by client; what was refused
//! is kept once for all who refused the same there; ends are kept in one list for each moment.
//!
//! Invariants: each filter has its agent in `ends` under its moment and in the list of its client. Both
//! lists may also hold what is gone; they are swept when that is more than half.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use mete_model::{Devices, Resources, Timestamp};
use smallvec::SmallVec;

use crate::slots::{AgentSlot, ClientSlot, SlotSet};

/// The longest filter: 365 days, as in Mesos.
pub const MAX_REFUSAL: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Filters of one framework and role on one agent; beyond that the one that expires first goes. One
/// agent rarely has more than a few offers out, and a lost filter only costs an offer.
const MAX_FILTERS_PER_AGENT: usize = 8;

/// Entries of filters that are gone which a list may hold besides as many as are live, before it is swept.
const SWEEP_FROM: usize = 64;

/// One filter.
#[derive(Clone, Copy, Debug)]
struct Filter {
    client: ClientSlot,
    /// Where in the agent's `refused` it says what.
    refused: u32,
    until: Timestamp,
}

/// What was refused on an agent, and by how many filters.
#[derive(Clone, Debug)]
struct Refused {
    what: Resources,
    filters: u32,
}

/// The filters on one agent.
#[derive(Clone, Debug, Default)]
#[repr(align(64))]
struct OnAgent {
    /// By client; of one client in the order in which they were set.
    filters: SmallVec<[Filter; USUAL_FILTERS]>,
    refused: SmallVec<[Refused; 1]>,
}

/// So many filters stand with their agent, without a list of their own: who declines mostly does so for five seconds, and
/// somebody each second. With one more, what is kept of an agent would be four lines of memory and not three.
const USUAL_FILTERS: usize = 5;

/// All filters.
#[derive(Clone, Debug, Default)]
pub(crate) struct Filters {
    agents: Vec<OnAgent>,
    clients: Vec<OfClient>,
    ends: BTreeMap<Timestamp, Vec<AgentSlot>>,
    /// Entries in `ends`, of live filters and of others.
    noted: usize,
    live: usize,
    /// Agents on which something ends just now: each once, and in the order of memory.
    over: SlotSet<AgentSlot>,
}

/// Where a client has filters.
#[derive(Clone, Debug, Default)]
struct OfClient {
    agents: Vec<AgentSlot>,
    live: usize,
}

impl Filters {
    pub(crate) fn set(
        &mut self,
        client: ClientSlot,
        agent: AgentSlot,
        refused: &Resources,
        until: Timestamp,
    ) {
        let refused = &*as_amounts(refused);
        let at = usize::from(agent);
        if at >= self.agents.len() {
            self.agents.resize_with(at + 1, OnAgent::default);
        }
        let on_agent = &mut self.agents[at];
        let before = on_agent.filters.len();
        if !on_agent.set(client, refused, until) {
            return;
        }
        // One came; those it covers, or the one that gave way, went.
        let gone = before + 1 - on_agent.filters.len();
        self.live = self.live + 1 - gone;
        self.ends.entry(until).or_default().push(agent);
        self.noted += 1;
        let of = usize::from(client);
        if of >= self.clients.len() {
            self.clients.resize_with(of + 1, OfClient::default);
        }
        let theirs = &mut self.clients[of];
        theirs.live = theirs.live + 1 - gone;
        theirs.agents.push(agent);
        if theirs.agents.len() > 2 * theirs.live + SWEEP_FROM {
            self.sweep_client(client);
        }
        self.sweep_if_due();
    }

    /// Until when `offered` is not to be offered, the latest moment if several filters say so; `None` when it may be now.
    pub(crate) fn blocked_until(
        &self,
        client: ClientSlot,
        agent: AgentSlot,
        offered: &Resources,
    ) -> Option<Timestamp> {
        let on_agent = self.agents.get(usize::from(agent))?;
        on_agent
            .of(client)
            .iter()
            .filter(|filter| on_agent.what(filter).contains(offered))
            .map(|filter| filter.until)
            .max()
    }

    /// Until when a task that asks for so much is not to be offered a place; `None` when it may be now. What was
    /// refused counts whatever it was reserved for, unless the task says which it wants: which ports and
    /// devices a place would be made of, and of what is reserved, may change from round to round.
    pub(crate) fn declined_until(
        &self,
        client: ClientSlot,
        agent: AgentSlot,
        asked: &Resources,
    ) -> Option<Timestamp> {
        let on_agent = self.agents.get(usize::from(agent))?;
        let covers = |refused: &Resources| {
            if asked.has_parts() {
                refused.contains(asked)
            } else {
                refused.flat().contains(asked)
            }
        };
        on_agent
            .of(client)
            .iter()
            .filter(|filter| covers(on_agent.what(filter)))
            .map(|filter| filter.until)
            .max()
    }

    /// How many clients of those that `counts` have refused all of `offered` on an agent.
    pub(crate) fn count_blocked(
        &self,
        agent: AgentSlot,
        offered: &Resources,
        counts: impl Fn(ClientSlot) -> bool,
    ) -> usize {
        let Some(on_agent) = self.agents.get(usize::from(agent)) else {
            return 0;
        };
        let covers: Vec<bool> = on_agent
            .refused
            .iter()
            .map(|refused| refused.filters > 0 && refused.what.contains(offered))
            .collect();
        let mut blocked = 0;
        let mut last = None;
        for filter in &on_agent.filters {
            if last != Some(filter.client)
                && covers[filter.refused as usize]
                && counts(filter.client)
            {
                blocked += 1;
                last = Some(filter.client);
            }
        }
        blocked
    }

    /// Drops what has ended; calls `ended` with each agent where something did.
    pub(crate) fn expire(&mut self, now: Timestamp, mut ended: impl FnMut(AgentSlot)) {
        let over = &mut self.over;
        while let Some(entry) = self.ends.first_entry()
            && *entry.key() <= now
        {
            let agents = entry.remove();
            self.noted -= agents.len();
            agents.into_iter().for_each(|agent| over.insert(agent));
        }
        for agent in over.take() {
            let (live, clients) = (&mut self.live, &mut self.clients);
            let on_agent = self.agents.get_mut(usize::from(agent));
            let dropped = on_agent.is_some_and(|on_agent| {
                on_agent.drop_ended(now, |client| {
                    *live -= 1;
                    clients[usize::from(client)].live -= 1;
                })
            });
            if dropped {
                ended(agent);
            }
        }
    }

    /// Drops all filters of a framework in one role; whether there were any.
    pub(crate) fn clear_client(&mut self, client: ClientSlot) -> bool {
        let Some(theirs) = self.clients.get_mut(usize::from(client)) else {
            return false;
        };
        let had = theirs.live > 0;
        for agent in std::mem::take(&mut theirs.agents) {
            if let Some(on_agent) = self.agents.get_mut(usize::from(agent)) {
                let gone = on_agent.drop_where(client, |_| true);
                self.live -= gone;
                theirs.live -= gone;
            }
        }
        self.sweep_if_due();
        had
    }

    /// Drops all filters on one agent.
    pub(crate) fn clear_agent(&mut self, agent: AgentSlot) {
        let Some(on_agent) = self.agents.get_mut(usize::from(agent)) else {
            return;
        };
        for filter in std::mem::take(on_agent).filters {
            self.live -= 1;
            self.clients[usize::from(filter.client)].live -= 1;
        }
        self.sweep_if_due();
    }

    /// Reads something of each agent's filters, so that memory is waited for once and not once for each.
    pub(crate) fn bring_near(&self, slots: impl Iterator<Item = AgentSlot>) {
        if self.live == 0 {
            return;
        }
        let agents = slots.filter_map(|slot| self.agents.get(usize::from(slot)));
        let read = agents.fold(0, |read, on| {
            let ends = [on.filters.first(), on.filters.last()];
            let ends = ends.into_iter().flatten().map(|end| end.refused);
            let refused = on.refused.first();
            let refused = refused.map_or(0, |one| one.what.mem_milli ^ u64::from(one.filters));
            ends.fold(read ^ refused, |read, end| read ^ u64::from(end))
        });
        std::hint::black_box(read);
    }

    /// No later than the next filter ends; the first moment that anything was noted for.
    pub(crate) fn next_deadline(&self) -> Option<Timestamp> {
        self.ends.first_key_value().map(|(until, _)| *until)
    }

    pub(crate) const fn len(&self) -> usize {
        self.live
    }

    fn sweep_if_due(&mut self) {
        if self.live == 0 {
            self.ends.clear();
            self.noted = 0;
        }
        if self.noted > 2 * self.live + SWEEP_FROM {
            self.sweep_ends();
        }
    }

    /// Forgets ends of filters that are gone.
    fn sweep_ends(&mut self) {
        let agents = &self.agents;
        let mut noted = 0;
        self.ends.retain(|until, over| {
            over.sort_unstable();
            over.dedup();
            over.retain(|agent| {
                let on_agent = agents.get(usize::from(*agent));
                on_agent.is_some_and(|on| on.filters.iter().any(|filter| filter.until == *until))
            });
            over.shrink_to_fit();
            noted += over.len();
            !over.is_empty()
        });
        self.noted = noted;
    }

    /// Forgets agents on which a client has no filter any more.
    fn sweep_client(&mut self, client: ClientSlot) {
        let agents = &self.agents;
        let theirs = &mut self.clients[usize::from(client)].agents;
        theirs.sort_unstable();
        theirs.dedup();
        theirs.retain(|agent| {
            let on_agent = agents.get(usize::from(*agent));
            on_agent.is_some_and(|on| !on.of(client).is_empty())
        });
    }
}

/// GPUs without the names of devices: whoever declines one does not want another instead.
fn as_amounts(refused: &Resources) -> Cow<'_, Resources> {
    let nameless = |one: &Resources| {
        let mut amounts = one.plain().with_named_devices(Devices::none());
        amounts.gpus_milli = one.gpus_milli;
        amounts
    };
    if refused.devices().is_empty() && !refused.has_parts() {
        return Cow::Borrowed(refused);
    }
    let mut amounts = nameless(refused);
    for (tag, part) in refused.parts() {
        amounts.add_part(tag.clone(), nameless(part));
    }
    Cow::Owned(amounts)
}

impl OnAgent {
    /// Adds a filter; false when one that is there says as much for as long. What the new one covers goes.
    fn set(&mut self, client: ClientSlot, refused: &Resources, until: Timestamp) -> bool {
        let (mut at, end) = self.range(client);
        if at < end {
            if !self.make_way(client, refused, until) {
                return false;
            }
            (_, at) = self.range(client);
        }
        let refused = self.keep(refused);
        let filter = Filter {
            client,
            refused,
            until,
        };
        if self.filters.len() == self.filters.capacity() {
            // By a quarter, not by doubling: there are many agents, and each list stays for long.
            self.filters.reserve_exact(self.filters.len() / 4 + 4);
        }
        self.filters.insert(at, filter);
        true
    }

    /// Drops what a new filter of a client covers, and the one that ends first when there are too many; false when one
    /// that is there says as much for as long.
    fn make_way(&mut self, client: ClientSlot, refused: &Resources, until: Timestamp) -> bool {
        let mut covered = false;
        for filter in self.of(client) {
            let earlier = self.what(filter);
            if filter.until >= until && earlier.contains(refused) {
                return false;
            }
            covered |= filter.until <= until && refused.contains(earlier);
        }
        if covered {
            let what: Vec<bool> = self
                .refused
                .iter()
                .map(|earlier| refused.contains(&earlier.what))
                .collect();
            self.drop_where(client, |filter| {
                filter.until <= until && what[filter.refused as usize]
            });
        }
        if self.of(client).len() >= MAX_FILTERS_PER_AGENT {
            self.drop_first_to_end(client);
        }
        true
    }

    /// Drops the filters that have ended; calls `gone` with the client of each. Whether there were any.
    fn drop_ended(&mut self, now: Timestamp, mut gone: impl FnMut(ClientSlot)) -> bool {
        let refused = &mut self.refused;
        let before = self.filters.len();
        self.filters.retain(|filter| {
            let stays = filter.until > now;
            if !stays {
                refused[filter.refused as usize].let_go();
                gone(filter.client);
            }
            stays
        });
        self.filters.len() < before
    }

    fn of(&self, client: ClientSlot) -> &[Filter] {
        let (from, to) = self.range(client);
        &self.filters[from..to]
    }

    fn range(&self, client: ClientSlot) -> (usize, usize) {
        let from = self
            .filters
            .partition_point(|filter| filter.client < client);
        let theirs = self.filters[from..]
            .iter()
            .take_while(|filter| filter.client == client)
            .count();
        (from, from + theirs)
    }

    fn what(&self, filter: &Filter) -> &Resources {
        &self.refused[filter.refused as usize].what
    }

    /// Keeps what was refused, once.
    fn keep(&mut self, what: &Resources) -> u32 {
        let mut vacant = None;
        for (at, refused) in (0_u32..).zip(&mut self.refused) {
            if refused.filters == 0 {
                vacant = Some(at);
            } else if refused.what == *what {
                refused.filters += 1;
                return at;
            }
        }
        let refused = Refused {
            what: what.clone(),
            filters: 1,
        };
        if let Some(at) = vacant {
            self.refused[at as usize] = refused;
            return at;
        }
        let at = u32::try_from(self.refused.len()).expect("no more than there are filters");
        self.refused.reserve_exact(1);
        self.refused.push(refused);
        at
    }

    fn drop_where(&mut self, client: ClientSlot, which: impl Fn(&Filter) -> bool) -> usize {
        let (from, mut to) = self.range(client);
        let before = self.filters.len();
        let mut at = from;
        while at < to {
            if which(&self.filters[at]) {
                let filter = self.filters.remove(at);
                self.refused[filter.refused as usize].let_go();
                to -= 1;
            } else {
                at += 1;
            }
        }
        before - self.filters.len()
    }

    fn drop_first_to_end(&mut self, client: ClientSlot) {
        let (from, to) = self.range(client);
        let first = (from..to).min_by_key(|at| self.filters[*at].until);
        if let Some(at) = first {
            let filter = self.filters.remove(at);
            self.refused[filter.refused as usize].let_go();
        }
    }
}

impl Refused {
    /// One filter less says it.
    fn let_go(&mut self) {
        self.filters -= 1;
        if self.filters == 0 {
            self.what = Resources::none();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(seconds: u64) -> Timestamp {
        Timestamp::from_millis(seconds * 1_000)
    }

    fn cpus(milli: u64) -> Resources {
        Resources::cpus_mem(milli, 100)
    }

    #[test]
    fn a_filter_ends_at_its_moment_and_not_before() {
        let (client, agent) = (ClientSlot::from(1), AgentSlot::from(2));
        let mut filters = Filters::default();
        filters.set(client, agent, &cpus(100), at(5));

        let mut ended = Vec::new();
        filters.expire(Timestamp::from_micros(4_999_999), |agent| ended.push(agent));
        assert!(ended.is_empty());
        assert!(filters.blocked_until(client, agent, &cpus(100)).is_some());
        filters.expire(at(5), |agent| ended.push(agent));
        assert_eq!(ended, [agent]);
        assert!(filters.blocked_until(client, agent, &cpus(100)).is_none());
        assert_eq!(filters.next_deadline(), None);
    }

    #[test]
    fn more_of_anything_passes() {
        let (client, agent) = (ClientSlot::from(1), AgentSlot::from(2));
        let mut filters = Filters::default();
        filters.set(client, agent, &cpus(100), at(5));

        assert!(filters.blocked_until(client, agent, &cpus(99)).is_some());
        assert!(filters.blocked_until(client, agent, &cpus(101)).is_none());
        assert!(
            filters
                .blocked_until(client, AgentSlot::from(3), &cpus(99))
                .is_none()
        );
        assert!(
            filters
                .blocked_until(ClientSlot::from(2), agent, &cpus(99))
                .is_none()
        );
    }

    #[test]
    fn filters_of_one_agent_stay_few() {
        let (client, agent) = (ClientSlot::from(1), AgentSlot::from(2));
        let mut filters = Filters::default();
        for n in 0..100 {
            // More CPUs, but an earlier end: none covers another.
            filters.set(client, agent, &cpus(n), at(1_000 - n));
        }

        assert_eq!(filters.len(), MAX_FILTERS_PER_AGENT);
    }

    #[test]
    fn what_is_noted_of_filters_that_are_gone_stays_within_its_bound() {
        let client = ClientSlot::from(1);
        let mut filters = Filters::default();
        for n in 0..10_000_u32 {
            let agent = AgentSlot::from(n % 7);
            filters.set(
                client,
                agent,
                &cpus(u64::from(n % 3)),
                at(1_000 + u64::from(n)),
            );
            if n % 5 == 0 {
                filters.clear_client(client);
            }
        }

        assert!(filters.noted <= 2 * filters.len() + SWEEP_FROM);
        assert!(filters.clients[1].agents.len() <= 2 * filters.len() + SWEEP_FROM);
    }
}
