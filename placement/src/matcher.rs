//! Level two: lays waiting tasks onto offers, and says why not.
//!
//! Tasks are taken in the order they come, each as often as it is wanted; among the offers where it
//! fits, the policy chooses. Several tasks share one offer as far as it goes. What is left says what to
//! decline, and for each task that is still missing every reason is given against every offer.

pub mod reasons;

use std::collections::{BTreeMap, BTreeSet};

use mete_model::{Offer, Ranges, Resources, Role};

use crate::constraints::{Constraint, Place, Placed, Tally};
use crate::packing::{Packing, Policy, Score};
use crate::ports::{self, PortAsk};
pub use reasons::{Rejection, WhyNot};

/// The most launches one matching makes, as a guard against tasks that ask for nothing.
pub const MAX_LAUNCHES: usize = 10_000;
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
    /// All it takes of the offer, ports included.
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
    let mut table = Table::new(offers, policy, seed);
    let missing: Vec<u32> = waiting
        .iter()
        .enumerate()
        .map(|(index, shape)| table.place_all(index, shape))
        .collect();
    let unused = (0..offers.len())
        .filter(|offer| !table.left.contains_key(offer))
        .collect();
    let mut rejections = Vec::new();
    for (index, shape) in waiting.iter().enumerate() {
        if missing[index] > 0 {
            let tallies = table.tallies(index, shape);
            let room = MAX_REJECTIONS - rejections.len();
            rejections.extend(offers.iter().enumerate().take(room).map(|(at, offer)| {
                let reasons = reasons::why_not(shape, offer, table.left(at), &tallies);
                Rejection {
                    waiting: index,
                    offer: at,
                    reasons,
                }
            }));
        }
    }
    Matched {
        launches: table.launches,
        left: table.left,
        unused,
        missing,
        rejections,
    }
}

/// The offers while tasks are laid onto them.
struct Table<'a> {
    offers: &'a [Offer],
    policy: Policy,
    seed: u64,
    /// The largest offer in each kind of resource, by which scores are made comparable.
    largest: Resources,
    /// What is left of the offers that something was laid onto.
    left: BTreeMap<usize, Resources>,
    launches: Vec<Placement>,
}

/// A place a task fits on; in the order they are tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Candidate {
    score: Score,
    offer: usize,
}

impl<'a> Table<'a> {
    fn new(offers: &'a [Offer], policy: Policy, seed: u64) -> Self {
        let mut largest = Resources::none();
        for Offer { resources, .. } in offers {
            largest.cpus_milli = largest.cpus_milli.max(resources.cpus_milli);
            largest.mem_bytes = largest.mem_bytes.max(resources.mem_bytes);
            largest.disk_bytes = largest.disk_bytes.max(resources.disk_bytes);
            largest.gpus_milli = largest.gpus_milli.max(resources.gpus_milli);
        }
        Self {
            offers,
            policy,
            seed,
            largest,
            left: BTreeMap::new(),
            launches: Vec::new(),
        }
    }

    /// Lays as many as wanted; how many found no place.
    fn place_all(&mut self, index: usize, shape: &Waiting) -> u32 {
        let fixed = shape.fixed();
        let mut candidates: BTreeSet<Candidate> = (0..self.offers.len())
            .filter(|offer| shape.takes(&self.offers[*offer].role))
            .filter_map(|offer| self.candidate(offer, shape, &fixed))
            .collect();
        let mut tallies = self.tallies(index, shape);
        for placed in 0..shape.count {
            if self.launches.len() >= MAX_LAUNCHES {
                return shape.count - placed;
            }
            let Some(best) = self.best(&mut candidates, shape, &tallies) else {
                return shape.count - placed;
            };
            self.place(index, shape, &fixed, best.offer);
            candidates.remove(&best);
            candidates.extend(self.candidate(best.offer, shape, &fixed));
            let place = Place::from(&self.offers[best.offer]);
            for (constraint, tally) in shape.constraints.iter().zip(&mut tallies) {
                tally.add(constraint, place);
            }
        }
        0
    }

    /// The best candidate that the constraints allow: on the values of GROUP_BY with the fewest
    /// instances, then by score. Those that will never be allowed again are dropped on the way.
    fn best(
        &self,
        candidates: &mut BTreeSet<Candidate>,
        shape: &Waiting,
        tallies: &[Tally],
    ) -> Option<Candidate> {
        let mut closed = Vec::new();
        let mut best = None;
        for candidate in &*candidates {
            let place = Place::from(&self.offers[candidate.offer]);
            match standing(shape, place, tallies) {
                Standing::Closed => {}
                Standing::ClosedForGood => closed.push(*candidate),
                Standing::Open { crowd } => {
                    if best.is_none_or(|(least, _)| crowd < least) {
                        best = Some((crowd, *candidate));
                    }
                    if crowd == 0 {
                        break;
                    }
                }
            }
        }
        for candidate in closed {
            candidates.remove(&candidate);
        }
        best.map(|(_, candidate)| candidate)
    }

    /// The offer as a place for the shape, when it fits on what is left.
    fn candidate(&self, offer: usize, shape: &Waiting, fixed: &Resources) -> Option<Candidate> {
        let left = self.left(offer);
        if !left.contains(fixed) || !has_ports(&left.ports, shape, fixed) {
            return None;
        }
        let score = self.policy.score(fixed, left, &self.largest);
        Some(Candidate { score, offer })
    }

    fn place(&mut self, index: usize, shape: &Waiting, fixed: &Resources, offer: usize) {
        let left = self.left(offer);
        let mut there = left.ports.clone();
        there.remove(&shape.resources.ports);
        let seed = self
            .seed
            .wrapping_add(ports::scatter(self.launches.len() as u64));
        let ports = ports::choose(&there, &shape.ports, seed).expect("a candidate has the ports");
        let mut resources = fixed.clone();
        resources.ports.add(&ports.iter().copied().collect());
        let left = left.minus_at_most(&resources);
        self.left.insert(offer, left);
        self.launches.push(Placement {
            waiting: index,
            offer,
            ports,
            resources,
        });
    }

    fn left(&self, offer: usize) -> &Resources {
        self.left
            .get(&offer)
            .unwrap_or(&self.offers[offer].resources)
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

/// What the constraints say of a place.
enum Standing {
    /// `crowd` instances stand on its values of GROUP_BY. A value without any looks open to GROUP_BY
    /// as long as it has not been seen, so that order has to care for evenness at the start.
    Open {
        crowd: u32,
    },
    Closed,
    ClosedForGood,
}

fn standing(shape: &Waiting, place: Place<'_>, tallies: &[Tally]) -> Standing {
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
