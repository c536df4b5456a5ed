//! Whether a client may have something of an agent: everything that can stand against it, in order.
//!
//! This is where a round decides and where explanations come from. A round stops at the first
//! obstacle; an explanation goes on and names them all.

use std::borrow::Cow;

use mete_model::resources::devices::WHOLE_DEVICE;
use mete_model::{Ranges, Resources, Tag, Timestamp};

use super::Allocator;
use super::agent::{Admission, Agent};
use super::rules::Rules;
use super::wishes::Wish;
use crate::constraints::Constraint;
use crate::demand::{Shape, Takes};
use crate::packing::{Node, Packing as _};
use crate::ports;
use crate::quota::Room;
use crate::slots::{AgentSlot, ClientSlot};

/// Something that stands between a client and what is free on an agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Obstacle {
    /// Nothing of the agent may be offered.
    NotOfferable(Admission),
    /// It is in another region than the master.
    OtherRegion,
    /// It has GPUs, and the framework does not take any.
    HasGpus,
    /// The framework said that it takes no offers of such agents.
    OfferConstraint,
    /// The shape asks for another kind of agent.
    Constraint(Constraint),
    /// As many of the shape are on offer there as are to be on one agent.
    MaxPerAgent(u32),
    /// Too little is free, or free for the role.
    TooSmall,
    /// The role's limit, or what is kept for others, does not leave so much.
    NoRoom,
    /// What the role may have of it is not worth an offer.
    BelowMinimum,
    /// It was declined.
    Filtered(Timestamp),
}

/// Who is served, and how much its role may still have.
#[derive(Clone, Copy)]
pub(super) struct Case<'a> {
    pub(super) client: ClientSlot,
    pub(super) rules: &'a Rules,
    pub(super) room: &'a Room,
    /// Places that its shape does not prefer are passed over for now; no obstacle, they come next.
    pub(super) only_preferred: bool,
}

/// What comes of judging a whole agent.
pub(super) struct Whole<'a> {
    /// What the client may have of it now.
    pub(super) part: Option<Cow<'a, Resources>>,
    /// The room was too small for all of it: with more room, the client may have more.
    pub(super) is_cut: bool,
}

impl Allocator {
    /// As much of an agent as a client that says nothing may have. `against` hears of each obstacle, and says whether to
    /// go on looking for more.
    pub(super) fn judge_whole<'a>(
        &'a self,
        case: Case<'_>,
        slot: AgentSlot,
        mut against: impl FnMut(Obstacle) -> bool,
    ) -> Whole<'a> {
        let agent = self.agents.get(slot);
        let nothing = |is_cut| Whole { part: None, is_cut };
        let Some(mut is_open) = self.judge_agent(case, agent, &mut against) else {
            return nothing(false);
        };
        let mut stands_against = |obstacle| {
            is_open = false;
            against(obstacle)
        };
        let entitled = self.entitled(case, agent.free(), true);
        let (resources, is_cut) = match case.room {
            Room::UpTo(most) if !most.holds(&entitled) => {
                let mut part = most.cut(&entitled);
                if !case.rules.gpu_parts {
                    part = part.without_gpu_pieces();
                }
                (Cow::Owned(part), true)
            }
            Room::UpTo(_) | Room::Unlimited => (entitled, false),
        };
        if !case.rules.is_enough(&resources) {
            let obstacle = if is_cut {
                Obstacle::NoRoom
            } else {
                Obstacle::BelowMinimum
            };
            if !stands_against(obstacle) {
                return nothing(is_cut);
            }
        }
        if let Some(until) = self.filters.blocked_until(case.client, slot, &resources)
            && !stands_against(Obstacle::Filtered(until))
        {
            return nothing(is_cut);
        }
        Whole {
            part: is_open.then_some(resources),
            is_cut,
        }
    }

    /// What one task of a shape would take of an agent. `against` as in [`Self::judge_whole`].
    pub(super) fn judge_unit(
        &self,
        case: Case<'_>,
        wish: &Wish,
        slot: AgentSlot,
        mut against: impl FnMut(Obstacle) -> bool,
    ) -> Option<Resources> {
        let agent = self.agents.get(slot);
        let shape = &wish.shape;
        if case.only_preferred && !shape.prefers(agent.place()) {
            return None;
        }
        let mut is_open = self.judge_agent(case, agent, &mut against)?;
        let mut stands_against = |obstacle| {
            is_open = false;
            against(obstacle)
        };
        if let Err(constraint) = shape.permits(agent.place())
            && !stands_against(Obstacle::Constraint(constraint.clone()))
        {
            return None;
        }
        if let Some(most) = shape.max_per_agent
            && wish.offered_there(slot) >= most
            && !stands_against(Obstacle::MaxPerAgent(most))
        {
            return None;
        }
        // Of an agent that may not be offered at all it is still told whether it would be large enough.
        let may_give = agent.is_giving() || agent.admission != Admission::Offerable;
        let unit = if may_give {
            self.draw(case, shape, agent)
        } else {
            None
        };
        let unit = match unit {
            Some(unit) => unit,
            None if stands_against(Obstacle::TooSmall) => shape.resources.clone(),
            None => return None,
        };
        if let Room::UpTo(most) = case.room
            && !most.holds(&unit)
            && !stands_against(Obstacle::NoRoom)
        {
            return None;
        }
        let asked = &shape.resources;
        if let Some(until) = self.filters.declined_until(case.client, slot, asked)
            && !stands_against(Obstacle::Filtered(until))
        {
            return None;
        }
        is_open.then_some(unit)
    }

    /// What stands against anything of an agent going to a client; `None` when `against` has heard enough.
    fn judge_agent(
        &self,
        case: Case<'_>,
        agent: &Agent,
        against: &mut impl FnMut(Obstacle) -> bool,
    ) -> Option<bool> {
        let mut is_open = true;
        let mut stands_against = |obstacle| {
            is_open = false;
            against(obstacle)
        };
        if agent.admission != Admission::Offerable
            && !stands_against(Obstacle::NotOfferable(agent.admission))
        {
            return None;
        }
        if let (Some(home), Some(domain)) = (&self.region, &agent.facts.domain)
            && *home != domain.region
            && !case.rules.other_regions
            && !stands_against(Obstacle::OtherRegion)
        {
            return None;
        }
        if let Some(constraints) = &case.rules.constraints
            && !constraints.allow(agent.place())
            && !stands_against(Obstacle::OfferConstraint)
        {
            return None;
        }
        if agent.has_gpus() && !case.rules.gpus && !stands_against(Obstacle::HasGpus) {
            return None;
        }
        Some(is_open)
    }

    /// What of `free` a client may have at all: what is reserved for its role or nobody, and of special things those it
    /// understands. Parts of GPUs only whole `wholes_only`, unless it takes parts.
    pub(super) fn entitled<'a>(
        &self,
        case: Case<'_>,
        free: &'a Resources,
        wholes_only: bool,
    ) -> Cow<'a, Resources> {
        let has_gpu_parts = wholes_only && !case.rules.gpu_parts && free.has_gpu_pieces();
        if !free.has_parts() && !has_gpu_parts {
            return Cow::Borrowed(free);
        }
        let mut entitled = free.plain();
        if has_gpu_parts {
            entitled = entitled.without_gpu_pieces();
        }
        let takes_pieces = !wholes_only || case.rules.gpu_parts;
        for (tag, part) in free.parts() {
            let may = tag.is_for(&case.rules.role)
                && (!tag.revocable || case.rules.revocable)
                && (!tag.shared || case.rules.shared)
                && (!tag.is_refined() || case.rules.refined);
            if may && takes_pieces {
                entitled.add_part(tag.clone(), part.clone());
            } else if may {
                entitled.add_part(tag.clone(), part.clone().without_gpu_pieces());
            }
        }
        Cow::Owned(entitled)
    }

    /// Takes what a task of a shape needs out of what is free: reserved for the role first, then what is nobody's. What bears
    /// labels is kept for something: a shape that wants it names it.
    fn draw(&self, case: Case<'_>, shape: &Shape, agent: &Agent) -> Option<Resources> {
        let free = self.entitled(case, agent.free(), false);
        let mut unit = if shape.resources.has_parts() {
            free.contains(&shape.resources)
                .then(|| free.pin(&shape.resources))??
        } else {
            match shape.takes {
                Takes::Any if !free.has_parts() => {
                    self.pin(case, &shape.resources, &free, agent)?
                }
                Takes::Any | Takes::Reserved => {
                    self.draw_reserved_first(case, shape, &free, agent)?
                }
                Takes::Unreserved => self.pin(case, &shape.resources, &free.plain(), agent)?,
            }
        };
        if shape.any_ports > 0 {
            self.draw_any_ports(shape, &free, &mut unit)?;
        }
        Some(unit)
    }

    /// Adds ports without a number: of what is reserved for the role first, where the shape takes of that, then of what is
    /// nobody's.
    fn draw_any_ports(&self, shape: &Shape, free: &Resources, unit: &mut Resources) -> Option<()> {
        let mut missing = u64::from(shape.any_ports);
        let mut choose = |mut there: Ranges, taken: &Ranges| {
            there.remove(taken);
            let count = usize::try_from(missing.min(there.count())).unwrap_or(usize::MAX);
            missing -= count as u64;
            let asks = vec![ports::PortAsk::Any; count];
            let ports = ports::choose(&there, &asks, self.units_granted)?;
            Some(ports.into_iter().collect::<Ranges>())
        };
        let names_it = shape.resources.has_parts();
        let takes_reserved = shape.takes != Takes::Unreserved && !names_it;
        for (tag, part) in free.parts().filter(|_| takes_reserved) {
            if is_for_any(tag) && !part.ports.is_empty() {
                let taken = unit.part(tag).map(|part| part.ports.clone());
                let mut more = Resources::none();
                more.ports = choose(part.ports.clone(), &taken.unwrap_or_default())?;
                unit.add_part(tag.clone(), more);
            }
        }
        if shape.takes != Takes::Reserved || names_it {
            let ports = choose(free.ports.clone(), &unit.ports)?;
            unit.ports.add(&ports);
        }
        (missing == 0).then_some(())
    }

    /// The ask with its devices chosen.
    fn pin(
        &self,
        case: Case<'_>,
        asked: &Resources,
        free: &Resources,
        agent: &Agent,
    ) -> Option<Resources> {
        if !free.contains(asked) {
            return None;
        }
        let node = Node {
            total: &agent.facts.total,
            free,
            group: agent.group,
        };
        case.rules.policy.pin(asked, node, &self.mix)
    }

    fn draw_reserved_first(
        &self,
        case: Case<'_>,
        shape: &Shape,
        free: &Resources,
        agent: &Agent,
    ) -> Option<Resources> {
        let mut missing = shape.resources.clone();
        let mut unit = Resources::none();
        for (tag, part) in free.parts() {
            if !is_for_any(tag) || missing.is_empty() {
                continue;
            }
            let mut drawn = missing.minus_at_most(&missing.minus_at_most(part));
            drawn.gpus_milli = gpus_of(part, missing.gpus_milli);
            if !drawn.is_empty() {
                missing = missing.minus_at_most(&drawn);
                unit.add_part(tag.clone(), part.pin(&drawn)?);
            }
        }
        if shape.takes == Takes::Reserved {
            return missing.is_empty().then_some(unit);
        }
        let plain = free.plain();
        unit.add(&self.pin(case, &missing, &plain, agent)?);
        Some(unit)
    }
}

/// What of free resources a task of a shape may have: what it names, or without names what is nobody's, and what is reserved
/// for its role unless it takes nothing reserved.
pub(super) fn there_for<'a>(shape: &Shape, free: &'a Resources) -> Cow<'a, Resources> {
    if shape.resources.has_parts() {
        return Cow::Borrowed(free);
    }
    let mut there = match shape.takes {
        Takes::Any if !free.has_parts() => return Cow::Borrowed(free),
        Takes::Any | Takes::Unreserved => free.plain(),
        Takes::Reserved => Resources::none(),
    };
    if shape.takes != Takes::Unreserved {
        let of_role = free.parts().filter(|(tag, _)| is_for_any(tag));
        of_role.for_each(|(_, part)| there.add(part));
    }
    Cow::Owned(there)
}

/// Whether any task of its role may have it.
fn is_for_any(tag: &Tag) -> bool {
    tag.volume.is_none() && !tag.revocable && !tag.is_labelled()
}

/// How many thousandths of GPUs that are missing a reserved part can give: a part of a device comes from one device, and
/// whole ones are whole.
fn gpus_of(part: &Resources, missing_milli: u64) -> u64 {
    let whole = u64::from(WHOLE_DEVICE);
    let most = if missing_milli >= whole {
        let devices = part.devices().list().iter();
        devices.filter(|device| device.is_whole()).count() as u64 * whole
    } else if part.devices().can_give(missing_milli) {
        missing_milli
    } else {
        0
    };
    missing_milli.min(most)
}
