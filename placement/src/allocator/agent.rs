//! One agent: what is free, and who holds the rest.
//!
//! What a client holds is either on offer to it or in use by its tasks:
//!
//! ```text
//! total = free + on offer + in use          (shared volumes stay free while they are held)
//! ```
//! unless tasks that came back use more than there is: then nothing is free of what is overdrawn, until
//! enough has ended.
//!
//! Mostly all that is free goes to one client and comes back as it was. Such an agent is *lent*: its stock
//! stays where it is, and it is only noted to whom.

use std::borrow::Cow;

use mete_model::{AgentId, Attributes, FaultDomain, Resources, Timestamp};
use smallvec::SmallVec;

use crate::constraints::Place;
use crate::slots::ClientSlot;

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

/// Which of the two ways of holding is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Offered,
    Used,
}

/// Something of an agent that a client holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Holding {
    pub(super) client: ClientSlot,
    pub(super) resources: Resources,
    /// Of an offer: when the first was made of what is on offer now.
    pub(super) since: Timestamp,
}

/// One agent. What each offer and each answer changes stands together, in the first two lines of memory.
#[derive(Clone, Debug)]
#[repr(C, align(64))]
pub(super) struct Agent {
    /// What is free or, while it is lent, on offer as a whole.
    pub(super) stock: Resources,
    /// To whom all that is not in use or on offer otherwise is on offer.
    pub(super) lent_to: Option<ClientSlot>,
    /// Machines of one kind, for packing.
    pub(super) group: u16,
    pub(super) admission: Admission,
    /// More is in use than there is.
    pub(super) overdrawn: bool,
    /// May be offered, and has enough left to be worth it.
    pub(super) is_giving: bool,
    /// The fleet has not heard of its latest change.
    pub(super) is_news: bool,
    /// What is free is of no use to an ordinary task, and counted as such.
    pub(super) is_stranding: bool,
    /// There are GPUs in its total.
    pub(super) has_gpus: bool,
    /// There is something in `offered`.
    pub(super) is_parted: bool,
    /// Since when it is lent.
    pub(super) lent_since: Timestamp,
    pub(super) id: AgentId,
    /// Kept apart, so that all that changes lies close together.
    pub(super) facts: Box<AgentFacts>,
    /// On offer otherwise.
    pub(super) offered: SmallVec<[Holding; 1]>,
    pub(super) used: SmallVec<[Holding; 0]>,
}

/// What is free on an agent that is lent.
static NOTHING: Resources = Resources::none();

impl Agent {
    /// As a place to compare.
    pub(super) fn place(&self) -> Place<'_> {
        Place {
            hostname: &self.facts.hostname,
            domain: self.facts.domain.as_ref(),
            attributes: &self.facts.attributes,
        }
    }

    /// What nobody holds.
    pub(super) const fn free(&self) -> &Resources {
        match self.lent_to {
            None => &self.stock,
            Some(_) => &NOTHING,
        }
    }

    /// What is on offer, to whom, and since when.
    pub(super) fn offers(&self) -> impl Iterator<Item = (ClientSlot, &Resources, Timestamp)> {
        let lent = self.lent_to.map(|to| (to, &self.stock, self.lent_since));
        let others = self.offered.iter();
        lent.into_iter()
            .chain(others.map(|held| (held.client, &held.resources, held.since)))
    }

    /// What is in use, and by whom.
    pub(super) fn uses(&self) -> impl Iterator<Item = (ClientSlot, &Resources)> {
        self.held(Way::Used)
    }

    /// What clients hold in one of the ways.
    pub(super) fn held(&self, way: Way) -> impl Iterator<Item = (ClientSlot, &Resources)> {
        let lent = self.lent_to.filter(|_| way == Way::Offered);
        let list: &[Holding] = match way {
            Way::Offered => &self.offered,
            Way::Used => &self.used,
        };
        let list = list.iter().map(|held| (held.client, &held.resources));
        lent.map(|to| (to, &self.stock)).into_iter().chain(list)
    }

    /// What was lent as a whole is an offer like others from now on, so that parts can be told apart.
    pub(super) fn end_loan(&mut self) {
        if let Some(client) = self.lent_to.take() {
            self.offered.push(Holding {
                client,
                resources: std::mem::take(&mut self.stock),
                since: self.lent_since,
            });
            self.is_parted = true;
        }
    }

    /// A client holds more; whether it held nothing in that way before.
    pub(super) fn hold(
        &mut self,
        client: ClientSlot,
        way: Way,
        part: Resources,
        now: Timestamp,
    ) -> bool {
        match way {
            Way::Used => add_to(&mut self.used, client, part, now),
            Way::Offered => {
                if self.lent_to == Some(client) {
                    self.end_loan();
                }
                self.is_parted = true;
                add_to(&mut self.offered, client, part, now)
            }
        }
    }

    /// A client does not hold as much of `part` as it does any more: that much, and whether it holds nothing in that way
    /// now. `None` when it held nothing of it.
    pub(super) fn let_go(
        &mut self,
        client: ClientSlot,
        way: Way,
        part: &Resources,
    ) -> Option<(Resources, bool)> {
        if way == Way::Used {
            return take_from(&mut self.used, client, part);
        }
        if self.lent_to == Some(client) {
            if is_plain(part) && self.stock != *part && self.stock.take(part) {
                // It is not all, so something stays.
                return (!part.is_empty()).then(|| (part.clone(), false));
            }
            self.end_loan();
        }
        let gone = take_from(&mut self.offered, client, part);
        self.is_parted = !self.offered.is_empty();
        gone
    }

    /// Whether it may be offered and has enough left to be worth it.
    pub(super) const fn is_giving(&self) -> bool {
        self.is_giving
    }

    pub(super) const fn has_gpus(&self) -> bool {
        self.has_gpus
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
    if is_plain(part) && held.take(part) {
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

/// Whether it is only of what every agent has: no GPUs, which may be of certain devices, and nothing special.
const fn is_plain(part: &Resources) -> bool {
    part.gpus_milli == 0 && !part.has_parts()
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
