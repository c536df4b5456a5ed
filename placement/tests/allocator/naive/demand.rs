//! What frameworks wait for, and how much of it is on offer.

use std::collections::BTreeMap;

use mete_model::{AttributeValue, Attributes, FrameworkId, Role};
use mete_placement::constraints::Place;
use mete_placement::packing::Groups;
use mete_placement::{Constraint, Shape, ShapeId};

use super::Naive;

#[derive(Clone)]
pub(super) struct Wish {
    pub(super) id: ShapeId,
    pub(super) shape: Shape,
    /// How many wait, those on offer included.
    count: u32,
    offered: u32,
    /// How many are on offer on which agent.
    pub(super) offered_on: BTreeMap<usize, u32>,
}

impl Wish {
    pub(super) const fn open(&self) -> u32 {
        self.count.saturating_sub(self.offered)
    }

    pub(super) fn offer(&mut self, slot: usize) {
        self.offered += 1;
        *self.offered_on.entry(slot).or_default() += 1;
    }
}

/// Units are not on offer any more; `launched` of them, the first, do not wait any more.
pub(super) fn answer(
    wishes: &mut Vec<Wish>,
    demand: &mut [Shape],
    slot: Option<usize>,
    units: &[(ShapeId, u32)],
    mut launched: u32,
) {
    for &(id, units) in units {
        let runs = launched.min(units);
        launched -= runs;
        let Some(wish) = wishes.iter_mut().find(|wish| wish.id == id) else {
            continue;
        };
        let waiting = demand
            .iter_mut()
            .find(|shape| shape.count > 0 && shape.is_same_kind(&wish.shape));
        if let Some(waiting) = waiting {
            waiting.count = waiting.count.saturating_sub(runs);
        }
        wish.offered = wish.offered.saturating_sub(units);
        wish.count = wish.count.saturating_sub(runs);
        if let Some(there) = slot.and_then(|slot| wish.offered_on.get_mut(&slot)) {
            *there = there.saturating_sub(units);
        }
    }
    wishes.retain(|wish| wish.count > 0 || wish.offered > 0);
}

/// On agents with which models of GPUs a shape may go, when it says.
fn groups_for(shape: &Shape, groups: &BTreeMap<String, u16>) -> Groups {
    let mut shape = shape.clone();
    let is_of_model = |one: &Constraint| one.field.as_str() == "gpu_model";
    shape.constraints.retain(is_of_model);
    if shape.constraints.is_empty() {
        return Groups::ANY;
    }
    let may = groups.iter().filter(|(name, _)| {
        let mut attributes = Attributes::new();
        let name = AttributeValue::Text(name.as_str().into());
        attributes.set("gpu_model", name);
        let place = Place {
            hostname: "",
            domain: None,
            attributes: &attributes,
        };
        shape.permits(place).is_ok()
    });
    may.map(|(_, group)| *group).collect()
}

impl Naive {
    /// Gives each client of a framework the shapes that are for its role.
    pub(super) fn spread_demand(&mut self, id: &FrameworkId) {
        let clients = self.clients().into_iter();
        let roles: Vec<Role> = clients
            .filter(|client| client.0 == *id)
            .map(|client| client.1)
            .collect();
        let groups = self.groups.clone();
        let framework = self.frameworks.get_mut(id).expect("it is known");
        let Some(demand) = framework.demand.clone() else {
            framework.wishes.clear();
            return;
        };
        let first = framework.facts.roles.first().cloned();
        for role in roles {
            let before = framework.wishes.remove(&role).unwrap_or_default();
            let mut before: Vec<Option<Wish>> = before.into_iter().map(Some).collect();
            let mut after = Vec::new();
            let mut following = 0;
            for shape in &demand {
                if shape.role.as_ref().or(first.as_ref()) != Some(&role) || shape.count == 0 {
                    continue;
                }
                let is_it = |at: usize| {
                    let wish = before.get(at).and_then(Option::as_ref);
                    wish.is_some_and(|wish| wish.shape.is_same_kind(shape))
                };
                // Of equal ones, the one after that which was found last is meant, else the first.
                let known = std::iter::once(following)
                    .chain(0..before.len())
                    .find(|at| is_it(*at));
                let mut wish = match known {
                    Some(at) => {
                        following = at + 1;
                        before[at].take().expect("it was found")
                    }
                    None => {
                        self.shapes_named += 1;
                        Wish {
                            id: ShapeId(self.shapes_named),
                            shape: shape.clone(),
                            count: 0,
                            offered: 0,
                            offered_on: BTreeMap::new(),
                        }
                    }
                };
                if shape.count > wish.count {
                    let more = shape.count - wish.count;
                    self.mix
                        .note(&shape.resources, groups_for(shape, &groups), more);
                }
                wish.count = shape.count;
                after.push(wish);
            }
            for mut wish in before.into_iter().flatten() {
                if wish.offered > 0 {
                    wish.count = 0;
                    after.push(wish);
                }
            }
            framework.wishes.insert(role, after);
        }
    }

    /// How many tasks of a framework have been offered no place yet; `None`: it says nothing.
    pub(crate) fn open_demand(&self, id: &FrameworkId) -> Option<u64> {
        let framework = self.frameworks.get(id)?;
        framework.demand.as_ref()?;
        let wishes = framework.wishes.values().flatten();
        Some(wishes.map(|wish| u64::from(wish.open())).sum())
    }
}
