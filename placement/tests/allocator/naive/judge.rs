//! What a client may have of an agent.

use mete_model::{Capability, Ranges, Resources, Tag};
use mete_placement::constraints::Place;
use mete_placement::packing::{Node, Packing as _, Score};
use mete_placement::ports::{self, PortAsk};
use mete_placement::quota::is_allocatable;
use mete_placement::{Amounts, Policy, Shape, Takes};

use super::demand::Wish;
use super::{Agent, Client, Naive, exclusive};

/// A whole device, in thousandths.
const WHOLE_GPU: u64 = 1_000;

impl Agent {
    pub(super) fn place(&self) -> Place<'_> {
        Place {
            hostname: &self.facts.hostname,
            domain: self.facts.domain.as_ref(),
            attributes: &self.facts.attributes,
        }
    }
}

impl Naive {
    /// All that a client which says nothing of its demand may have of an agent.
    pub(super) fn whole(&self, client: &Client, slot: usize, room: &Amounts) -> Option<Resources> {
        let (agent, free) = (self.agent(slot), self.free(slot));
        if !self.gives(slot, &free) || !self.takes_agent(client, agent) {
            return None;
        }
        let mut part = self.entitled(client, &free);
        if !self.can(client, Capability::GpuFractions) {
            part = without_gpu_pieces(&part);
        }
        let mut part = room.cut(&part);
        if !self.can(client, Capability::GpuFractions) {
            part = without_gpu_pieces(&part);
        }
        let is_filtered = self
            .filters_of(client, slot)
            .any(|refused| refused.contains(&part));
        (self.is_enough(client, &part) && !is_filtered).then_some(part)
    }

    /// What one task of a shape would take of an agent.
    pub(super) fn unit(
        &self,
        client: &Client,
        wish: &Wish,
        slot: usize,
        room: &Amounts,
    ) -> Option<Resources> {
        let (agent, free) = (self.agent(slot), self.free(slot));
        let (shape, asked) = (&wish.shape, &wish.shape.resources);
        let there = wish.offered_on.get(&slot).copied().unwrap_or(0);
        if !self.gives(slot, &free)
            || !self.takes_agent(client, agent)
            || shape.permits(agent.place()).is_err()
            || shape.max_per_agent.is_some_and(|most| there >= most)
        {
            return None;
        }
        let is_filtered = self.filters_of(client, slot).any(|refused| {
            if asked.has_parts() {
                refused.contains(asked)
            } else {
                refused.flat().contains(asked)
            }
        });
        let unit = self.draw(client, shape, agent)?;
        (room.holds(&unit) && !is_filtered).then_some(unit)
    }

    pub(super) fn score(&self, client: &Client, shape: &Shape, slot: usize) -> Score {
        let (agent, free) = (self.agent(slot), self.free(slot));
        let node = Node {
            total: &agent.facts.total,
            free: &free,
            group: agent.group,
        };
        self.policy(client).score(&shape.resources, node, &self.mix)
    }

    pub(super) fn policy(&self, client: &Client) -> Policy {
        let mut role = Some(client.1.clone());
        while let Some(at) = role {
            if let Some(policy) = self.policies.get(&at) {
                return *policy;
            }
            role = at.parent();
        }
        self.policy.unwrap_or(self.options.policy)
    }

    fn can(&self, client: &Client, capability: Capability) -> bool {
        let facts = &self.frameworks[&client.0].facts;
        facts.capabilities.contains(&capability)
    }

    /// Whether anything of an agent may go to a client.
    fn takes_agent(&self, client: &Client, agent: &Agent) -> bool {
        let is_elsewhere = match (&self.options.region, &agent.facts.domain) {
            (Some(home), Some(domain)) => *home != domain.region,
            _ => false,
        };
        let has_gpus = agent.facts.total.flat().gpus_milli > 0;
        if has_gpus && !self.can(client, Capability::GpuResources) {
            return false;
        }
        let constraints = &self.frameworks[&client.0].facts.offer_constraints;
        let is_permitted = constraints
            .get(&client.1)
            .is_none_or(|constraints| constraints.allow(agent.place()));
        is_permitted && (!is_elsewhere || self.can(client, Capability::RegionAware))
    }

    fn filters_of(&self, client: &Client, slot: usize) -> impl Iterator<Item = &Resources> {
        self.filters
            .iter()
            .filter(move |filter| filter.client == *client && filter.agent == slot)
            .map(|filter| &filter.refused)
    }

    fn is_enough(&self, client: &Client, part: &Resources) -> bool {
        let part = exclusive(part);
        let flat = part.flat();
        let minima = &self.frameworks[&client.0].facts.min_allocatable;
        match minima.get(&client.1) {
            None => is_allocatable(&flat),
            Some(minima) if minima.is_empty() => !flat.is_empty(),
            Some(minima) => !flat.is_empty() && minima.iter().any(|least| least.is_within(&flat)),
        }
    }

    /// What is nobody's or reserved for the client's role, and of a kind that it understands.
    fn entitled(&self, client: &Client, free: &Resources) -> Resources {
        free.clone().only_parts(|tag| {
            tag.is_for(&client.1)
                && (!tag.revocable || self.can(client, Capability::RevocableResources))
                && (!tag.shared || self.can(client, Capability::SharedResources))
                && (!tag.is_refined() || self.can(client, Capability::ReservationRefinement))
        })
    }

    /// What a task takes: reserved for its role first, then what is nobody's.
    fn draw(&self, client: &Client, shape: &Shape, agent: &Agent) -> Option<Resources> {
        let free = self.entitled(client, &agent.free());
        let mut unit;
        if shape.resources.has_parts() {
            if !free.contains(&shape.resources) {
                return None;
            }
            unit = free.pin(&shape.resources)?;
        } else {
            let mut missing = shape.resources.clone();
            let mut reserved = Resources::none();
            for (tag, part) in free.parts() {
                let is_for_any = tag.volume.is_none() && !tag.revocable && !tag.is_labelled();
                if is_for_any && shape.takes != Takes::Unreserved {
                    let drawn = draw_from(part, &missing);
                    missing = missing.minus_at_most(&drawn);
                    reserved.add_part(tag.clone(), part.pin(&drawn)?);
                }
            }
            let free = match shape.takes {
                Takes::Any | Takes::Unreserved => free.plain(),
                Takes::Reserved => Resources::none(),
            };
            if !free.contains(&missing) {
                return None;
            }
            let node = Node {
                total: &agent.facts.total,
                free: &free,
                group: agent.group,
            };
            let device = match missing.gpus_milli {
                0 => None,
                _ => self.policy(client).device(&missing, node, &self.mix),
            };
            unit = match device {
                Some(device) => free.pin_on(&missing, device)?,
                None => free.pin(&missing)?,
            };
            unit.add(&reserved);
        }
        self.draw_any_ports(shape, &self.entitled(client, &agent.free()), &mut unit)?;
        Some(unit)
    }

    /// Ports without a number: reserved for its role first, then nobody's.
    fn draw_any_ports(&self, shape: &Shape, free: &Resources, unit: &mut Resources) -> Option<()> {
        let mut left = shape.any_ports as usize;
        let is_open = |tag: &Tag| tag.volume.is_none() && !tag.revocable && !tag.is_labelled();
        let names_it = shape.resources.has_parts();
        if !names_it && shape.takes != Takes::Unreserved {
            for (tag, part) in free.parts().filter(|(tag, _)| is_open(tag)) {
                let mut there = part.ports.clone();
                if let Some(taken) = unit.part(tag) {
                    there.remove(&taken.ports.clone());
                }
                let some = left.min(there.count() as usize);
                left -= some;
                let asks = vec![PortAsk::Any; some];
                let mut drawn = Resources::none();
                drawn.ports = ports::choose(&there, &asks, self.units_granted)?
                    .into_iter()
                    .collect();
                unit.add_part(tag.clone(), drawn);
            }
        }
        let mut there = free.ports.clone();
        if !names_it && shape.takes == Takes::Reserved {
            there = Ranges::new();
        }
        there.remove(&unit.ports);
        let asks = vec![PortAsk::Any; left];
        let ports = ports::choose(&there, &asks, self.units_granted)?;
        unit.ports.add(&ports.into_iter().collect());
        Some(())
    }
}

/// As much of what is missing as a reserved part has. A part of a device comes from one device; of whole ones those
/// that are whole.
fn draw_from(part: &Resources, missing: &Resources) -> Resources {
    let left = missing.minus_at_most(part);
    let mut drawn = missing.minus_at_most(&left);
    let whole = part.devices().list().iter().filter(|one| one.is_whole());
    let most = if missing.gpus_milli >= WHOLE_GPU {
        whole.count() as u64 * WHOLE_GPU
    } else {
        let mut devices = part.devices().list().iter();
        let has_one = devices.any(|one| u64::from(one.milli) >= missing.gpus_milli);
        if has_one { WHOLE_GPU } else { 0 }
    };
    drawn.gpus_milli = missing.gpus_milli.min(most);
    drawn
}

/// Without parts of devices, reserved ones too.
fn without_gpu_pieces(resources: &Resources) -> Resources {
    let mut whole = resources.plain().without_gpu_pieces();
    for (tag, part) in resources.parts() {
        whole.add_part(tag.clone(), part.clone().without_gpu_pieces());
    }
    whole
}
