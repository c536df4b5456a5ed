//! Level two: lays waiting tasks onto offers, and says why not.
//!
//! Tasks are taken in the order they come, each as often as it is wanted; among the offers where it
//! fits, the policy chooses, and of a machine's GPUs the device. Several tasks share one offer as far as
//! it goes. What is left says what to decline, and for each task that is still missing every reason is
//! given against every offer.
//!
//! [`match_tasks`] is all there is to it online; who has time makes a [`Plan`] and [`improve`]s it.

mod plan; // the batch form: improved in steps
pub mod reasons; // why not

use std::collections::{BTreeMap, BTreeSet};

use mete_model::{Offer, Ranges, Resources, Role};

use crate::constraints::{Constraint, Place, Placed, Tally};
use crate::fleet::Fleet;
use crate::gpu_models::GpuModels;
use crate::packing::{Mix, Node, Packing, Policy, Score};
use crate::ports::{self, PortAsk};
pub use plan::{Plan, improve};
pub use reasons::{Rejection, WhyNot};

/// The most launches one matching makes, as a guard against tasks that ask for nothing.
pub const MAX_LAUNCHES: usize = 10_000;
/// Up to so many tasks in all it is quicker to look at every offer than to make an index of them:
/// with 10,000 offers a look takes 1 ms and the index 4 ms, then some microseconds a task.
const FEW_TASKS: u64 = 4;
/// The most rejections one matching lists: a hundred tasks against a hundred offers.
pub const MAX_REJECTIONS: usize = 10_000;

/// Tasks of one shape that wait for offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// What each takes; ports in here are taken as they are, besides those of `ports`.
    pub resources: Resources,
    /// What ports each takes, in the order they are to be returned.
    pub ports: Vec<PortAsk>,
    /// All have to hold.
    pub constraints: Vec<Constraint>,
    /// Where the instances stand that constraints compare with; those launched are added.
    pub placed: Vec<Placed>,
    /// How many.
    pub count: u32,
    /// The roles whose offers are taken; empty: any.
    pub roles: BTreeSet<Role>,
}

impl Waiting {
    /// One task that only needs resources.
    pub const fn new(resources: Resources) -> Self {
        Self {
            resources,
            ports: Vec::new(),
            constraints: Vec::new(),
            placed: Vec::new(),
            count: 1,
            roles: BTreeSet::new(),
        }
    }

    /// What is taken by number: scalars and fixed ports.
    pub(crate) fn fixed(&self) -> Resources {
        let mut fixed = self.resources.clone();
        fixed.ports.add(&ports::fixed(&self.ports));
        fixed
    }

    fn takes(&self, role: &Role) -> bool {
        self.roles.is_empty() || self.roles.contains(role)
    }
}

/// One task laid onto one offer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    /// Which of the waiting shapes.
    pub waiting: usize,
    /// Which of the offers.
    pub offer: usize,
    /// Its ports, in the order they were asked for.
    pub ports: Vec<u64>,
    /// All it takes of the offer: its ports, and its GPUs by device where the offer names them.
    pub resources: Resources,
}

/// What comes of a matching.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Matched {
    /// In the order they were decided.
    pub launches: Vec<Placement>,
    /// What is left of each offer that something was launched on.
    pub left: BTreeMap<usize, Resources>,
    /// Offers that nothing was launched on: to be declined.
    pub unused: Vec<usize>,
    /// How many of each waiting shape found no place.
    pub missing: Vec<u32>,
    /// Why, for each shape of which some are missing and each offer as it was left; at most
    /// [`MAX_REJECTIONS`].
    pub rejections: Vec<Rejection>,
}

impl Matched {
    /// The launches by offer: what one ACCEPT each has to hold.
    pub fn by_offer(&self) -> BTreeMap<usize, Vec<&Placement>> {
        let mut by_offer: BTreeMap<usize, Vec<&Placement>> = BTreeMap::new();
        for launch in &self.launches {
            by_offer.entry(launch.offer).or_default().push(launch);
        }
        by_offer
    }
}

/// Lays waiting tasks onto offers. `seed` only decides at which port a choice of ports starts; the same
/// seed gives the same answer.
pub fn match_tasks(waiting: &[Waiting], offers: &[Offer], policy: Policy, seed: u64) -> Matched {
    let (table, missing) = Table::laid(waiting, offers, policy, seed);
    table.into_matched(waiting, missing)
}

/// The offers while tasks are laid onto them.
#[derive(Clone, Debug)]
struct Table<'a> {
    offers: &'a [Offer],
    policy: Policy,
    seed: u64,
    /// What kind of machine each offer is of, for packing.
    groups: Vec<u16>,
    /// What is waiting, and the largest offer in each kind of resource, by which scores are made comparable.
    mix: Mix,
    /// What is left of each offer, by its index; without those that are closed to the shape in hand.
    /// `None` for so few tasks that looking at each offer is sooner done.
    fleet: Option<Fleet>,
    /// What is left of the offers that something was laid onto.
    left: BTreeMap<usize, Resources>,
    launches: Vec<Placement>,
    /// Nothing is laid onto this one for now.
    barred: Option<usize>,
}

impl<'a> Table<'a> {
    /// All tasks laid in the order they come, and how many of each shape found no place.
    fn laid(
        waiting: &[Waiting],
        offers: &'a [Offer],
        policy: Policy,
        seed: u64,
    ) -> (Self, Vec<u32>) {
        let mut table = Self::new(waiting, offers, policy, seed);
        let shapes = waiting.iter().enumerate();
        let missing = shapes
            .map(|(index, shape)| table.place_all(index, shape, shape.count))
            .collect();
        (table, missing)
    }

    fn new(waiting: &[Waiting], offers: &'a [Offer], policy: Policy, seed: u64) -> Self {
        let mut mix = Mix::default();
        let mut models = GpuModels::default();
        let mut groups = Vec::with_capacity(offers.len());
        for offer in offers {
            let group = models.group_of(&offer.resources, &offer.attributes);
            mix.add_machine(&offer.resources, group);
            groups.push(group);
        }
        let mut tasks: u64 = 0;
        for shape in waiting {
            let may_run_on = models.groups_for(&shape.constraints);
            mix.note(&shape.resources, may_run_on, shape.count);
            tasks += u64::from(shape.count);
        }
        let fleet = (tasks > FEW_TASKS).then(|| {
            let mut fleet = Fleet::default();
            for ((node, Offer { resources, .. }), group) in (0..).zip(offers).zip(&groups) {
                fleet.set(node, resources, resources, *group);
            }
            fleet
        });
        Self {
            offers,
            policy,
            seed,
            groups,
            mix,
            fleet,
            left: BTreeMap::new(),
            launches: Vec::new(),
            barred: None,
        }
    }

    /// Lays so many of a shape; how many found no place.
    fn place_all(&mut self, index: usize, shape: &Waiting, count: u32) -> u32 {
        let fixed = shape.fixed();
        let mut tallies = self.tallies(index, shape);
        let mut closed = Vec::new();
        let mut missing = count;
        while missing > 0 && self.launches.len() < MAX_LAUNCHES {
            let Some(best) = self.best(shape, &fixed, &tallies, &mut closed) else {
                break;
            };
            self.place(index, shape, &fixed, best);
            let place = Place::from(&self.offers[best]);
            for (constraint, tally) in shape.constraints.iter().zip(&mut tallies) {
                tally.add(constraint, place);
            }
            missing -= 1;
        }
        for node in closed {
            self.open(node);
        }
        missing
    }

    /// The best offer that the constraints allow: on the values of GROUP_BY with the fewest instances,
    /// then by score. Offers that will never be allowed again are taken out of the fleet on the way and
    /// added to `closed`.
    fn best(
        &mut self,
        shape: &Waiting,
        fixed: &Resources,
        tallies: &[Tally],
        closed: &mut Vec<u32>,
    ) -> Option<usize> {
        let nobody = self.best_within(0, shape, fixed, tallies, closed);
        let found = match nobody {
            // Having found nothing, it has looked at all: now the least crowd is known.
            Err(Some(least)) => self.best_within(least, shape, fixed, tallies, closed),
            Ok(_) | Err(None) => nobody,
        };
        found.ok().map(|node| node as usize)
    }

    /// The best offer on whose values of GROUP_BY at most `most` instances stand; without one, how many
    /// there are at least.
    fn best_within(
        &mut self,
        most: u32,
        shape: &Waiting,
        fixed: &Resources,
        tallies: &[Tally],
        closed: &mut Vec<u32>,
    ) -> Result<u32, Option<u32>> {
        let (offers, left, barred) = (self.offers, &self.left, self.barred);
        let known = closed.len();
        let mut least: Option<u32> = None;
        let permit = &mut |node: u32| {
            if barred == Some(node as usize) {
                return false;
            }
            let offer = &offers[node as usize];
            let left = left.get(&(node as usize)).unwrap_or(&offer.resources);
            match standing(shape, offer, left, fixed, tallies) {
                Standing::Open { crowd } if crowd <= most => return true,
                Standing::Open { crowd } => least = Some(least.map_or(crowd, |old| old.min(crowd))),
                Standing::Closed => {}
                Standing::ClosedForGood => closed.push(node),
            }
            false
        };
        let found = match &mut self.fleet {
            Some(fleet) => fleet.best(self.policy, fixed, &self.mix, permit),
            None => self.look_at_all(fixed, permit),
        };
        for node in &closed[known..] {
            if let Some(fleet) = &mut self.fleet {
                fleet.remove(*node);
            }
        }
        found.ok_or(least)
    }

    /// What [`Fleet::best`] says, without a fleet.
    fn look_at_all(&self, fixed: &Resources, permit: &mut dyn FnMut(u32) -> bool) -> Option<u32> {
        let mut best: Option<(Score, u32)> = None;
        for node in 0..self.offers.len() as u32 {
            let as_node = self.node(node as usize);
            if !as_node.free.contains(fixed) {
                continue;
            }
            let score = self.policy.score(fixed, as_node, &self.mix);
            if best.is_none_or(|(least, _)| score < least) && permit(node) {
                best = Some((score, node));
            }
        }
        best.map(|(_, node)| node)
    }

    /// Shows an offer to the shapes that come, as it is now.
    fn open(&mut self, node: u32) {
        let Some(fleet) = &mut self.fleet else {
            return;
        };
        let total = &self.offers[node as usize].resources;
        let free = self.left.get(&(node as usize)).unwrap_or(total);
        fleet.set(node, total, free, self.groups[node as usize]);
    }

    fn place(&mut self, index: usize, shape: &Waiting, fixed: &Resources, offer: usize) {
        let left = self.left(offer);
        let mut there = left.ports.clone();
        there.remove(&shape.resources.ports);
        let seed = self
            .seed
            .wrapping_add(ports::scatter(self.launches.len() as u64));
        let ports = ports::choose(&there, &shape.ports, seed).expect("a candidate has the ports");
        let node = self.node(offer);
        let pinned = self.policy.pin(fixed, node, &self.mix);
        let mut resources = pinned.expect("a candidate has the devices");
        resources.ports.add(&ports.iter().copied().collect());
        let left = left.minus_at_most(&resources);
        self.left.insert(offer, left);
        self.open(offer as u32); // It came out of the fleet, by this number.
        self.launches.push(Placement {
            waiting: index,
            offer,
            ports,
            resources,
        });
    }

    /// An offer as packing looks at it.
    fn node(&self, offer: usize) -> Node<'_> {
        Node {
            total: &self.offers[offer].resources,
            free: self.left(offer),
            group: self.groups[offer],
        }
    }

    fn left(&self, offer: usize) -> &Resources {
        self.left
            .get(&offer)
            .unwrap_or(&self.offers[offer].resources)
    }

    /// What came of it, and why so many of each shape are missing.
    fn into_matched(self, waiting: &[Waiting], missing: Vec<u32>) -> Matched {
        let unused = (0..self.offers.len())
            .filter(|offer| !self.left.contains_key(offer))
            .collect();
        let mut rejections = Vec::new();
        for (index, shape) in waiting.iter().enumerate() {
            if missing[index] > 0 {
                let tallies = self.tallies(index, shape);
                let room = MAX_REJECTIONS - rejections.len();
                let offers = self.offers.iter().enumerate().take(room);
                rejections.extend(offers.map(|(at, offer)| Rejection {
                    waiting: index,
                    offer: at,
                    reasons: reasons::why_not(shape, offer, self.left(at), &tallies),
                }));
            }
        }
        Matched {
            launches: self.launches,
            left: self.left,
            unused,
            missing,
            rejections,
        }
    }

    /// One tally for each constraint of a shape, with what was launched so far.
    fn tallies(&self, index: usize, shape: &Waiting) -> Vec<Tally> {
        let launched = || {
            self.launches
                .iter()
                .filter(move |launch| launch.waiting == index)
                .map(|launch| Place::from(&self.offers[launch.offer]))
        };
        let placed = || shape.placed.iter().map(Placed::place);
        shape
            .constraints
            .iter()
            .map(|constraint| Tally::new(constraint, placed().chain(launched())))
            .collect()
    }
}

/// Whether a shape may go where it fits.
enum Standing {
    /// `crowd` instances stand on its values of GROUP_BY. A value without any looks open to GROUP_BY
    /// as long as it has not been seen, so that order has to care for evenness at the start.
    Open {
        crowd: u32,
    },
    Closed,
    /// However many more of the shape are placed.
    ClosedForGood,
}

fn standing(
    shape: &Waiting,
    offer: &Offer,
    left: &Resources,
    fixed: &Resources,
    tallies: &[Tally],
) -> Standing {
    if !shape.takes(&offer.role) || !has_ports(&left.ports, shape, fixed) {
        return Standing::ClosedForGood;
    }
    let place = Place::from(offer);
    let mut standing = Standing::Open { crowd: 0 };
    for (constraint, tally) in shape.constraints.iter().zip(tallies) {
        let may_reopen = constraint.may_reopen();
        if !constraint.allows(place, tally) {
            if !may_reopen {
                return Standing::ClosedForGood;
            }
            standing = Standing::Closed;
        } else if let Standing::Open { crowd } = &mut standing
            && may_reopen
            && let Some(value) = constraint.field.value(place)
        {
            *crowd = crowd.saturating_add(tally.count(&value));
        }
    }
    standing
}

/// Whether all ports are there, given that the fixed ones are.
pub(crate) fn has_ports(there: &Ranges, shape: &Waiting, fixed: &Resources) -> bool {
    let numbered = shape.ports.len() as u64 - ports::any_count(&shape.ports);
    let is_distinct = fixed.ports.count() == numbered + shape.resources.ports.count();
    is_distinct && there.count() - fixed.ports.count() >= ports::any_count(&shape.ports)
}

#[cfg(test)]
mod tests;
