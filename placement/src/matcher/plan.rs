//! The matcher's batch form: what was laid onto offers in the order it came, laid better in steps.
//!
//! A step takes all launches off a few offers, lays what then waits in another order by the same rules, and keeps what
//! comes of it unless it is worse (ruin and recreate). A plan is complete and valid at any time:
//!
//! - of no shape fewer are launched than before, so what came first never makes room for what came later;
//! - a shape's launches are in an order in which each was allowed when it was laid. Taking one away breaks that only for
//!   constraints that [may reopen](crate::constraints::Constraint::may_reopen): launches of shapes with such stay where they
//!   are, as evenly spread as they were.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use mete_model::{Offer, Resources};

use super::{Constraint, Matched, Placement, Table, Waiting};
use crate::batch::dice::Dice;
use crate::packing::{Policy, size};

/// The most offers that one step takes apart: swaps between two or three are what order gets wrong, and more take longer.
const MOST_RUINED: usize = 3;

/// Waiting tasks laid onto offers, to be improved in steps and then carried out.
#[derive(Clone, Debug)]
pub struct Plan<'a> {
    waiting: Cow<'a, [Waiting]>,
    table: Table<'a>,
    missing: Vec<u32>,
    /// How much is free of each offer.
    free: Vec<u64>,
    rank: Rank,
    /// How often it has been improved, so that each slice of a run has numbers of its own.
    turns: u64,
}

/// How good a plan is; the lower the better, the first field most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    missing: u64,
    /// Tasks that need no GPU and use up machines that have some.
    strays: usize,
    /// How many offers are used; zero for spread, which is not after few.
    offers: usize,
    /// The less, the more of what is free lies together; for spread the more evenly it lies.
    crumbs: i128,
}

impl Rank {
    /// What counts for those who carry the plan out.
    const fn outcome(self) -> (u64, usize, usize) {
        (self.missing, self.strays, self.offers)
    }
}

impl<'a> Plan<'a> {
    /// Lays tasks onto offers as [`match_tasks`](super::match_tasks) does.
    pub fn new(
        waiting: impl Into<Cow<'a, [Waiting]>>,
        offers: &'a [Offer],
        policy: Policy,
        seed: u64,
    ) -> Self {
        let waiting = waiting.into();
        let (table, missing) = Table::laid(&waiting, offers, policy, seed);
        let free = (0..offers.len()).map(|offer| table.free(offer)).collect();
        let strays = table.strays(&table.launches);
        let mut plan = Self {
            waiting,
            table,
            missing,
            free,
            rank: Rank {
                missing: 0,
                strays,
                offers: 0,
                crumbs: 0,
            },
            turns: 0,
        };
        plan.rank = plan.rank_with(strays, &BTreeMap::new());
        plan
    }

    /// How many of each waiting shape have no place.
    pub fn missing(&self) -> &[u32] {
        &self.missing
    }

    /// How many offers are used.
    pub fn offers_used(&self) -> usize {
        self.table.left.len()
    }

    /// The plan, to be carried out.
    pub fn into_matched(self) -> Matched {
        self.table.into_matched(&self.waiting, self.missing)
    }

    fn step(&mut self, dice: &mut Dice) {
        let used: Vec<usize> = self.table.left.keys().copied().collect();
        let picks = 1 + dice.below(MOST_RUINED);
        let ruined: Vec<usize> = (0..picks).map(|_| used[dice.below(used.len())]).collect();
        let gone = self.table.take_off(&self.movable(&ruined));
        let kept = self.table.launches.len();

        // Half of the time one offer stays closed, so that it may come free.
        self.table.barred = (dice.below(2) == 0).then_some(ruined[0]);
        let missing = self.lay_what_waits(&gone, dice);
        self.table.barred = None;

        let before = std::mem::replace(&mut self.missing, missing);
        let new = &self.table.launches[kept..];
        let changed = gone.iter().chain(new).map(|launch| launch.offer);
        let changed: BTreeMap<usize, u64> = changed
            .map(|offer| (offer, self.table.free(offer)))
            .collect();
        let strays = self.rank.strays + self.table.strays(new) - self.table.strays(&gone);
        let rank = self.rank_with(strays, &changed);
        let is_fair = self
            .missing
            .iter()
            .zip(&before)
            .all(|(new, old)| new <= old);
        if is_fair && rank <= self.rank {
            self.rank = rank;
            for (offer, free) in changed {
                self.free[offer] = free;
            }
        } else {
            self.missing = before;
            let new = (kept..self.table.launches.len()).collect();
            self.table.take_off(&new);
            self.table.put_back(gone);
        }
    }

    /// Lays what is gone and what had no place, shape by shape in any order; how many of each find none.
    fn lay_what_waits(&mut self, gone: &[Placement], dice: &mut Dice) -> Vec<u32> {
        let mut missing = self.missing.clone();
        for launch in gone {
            missing[launch.waiting] += 1;
        }
        let mut order: Vec<usize> = (0..missing.len()).filter(|at| missing[*at] > 0).collect();
        for end in (1..order.len()).rev() {
            order.swap(end, dice.below(end + 1));
        }
        for at in order {
            missing[at] = self.table.place_all(at, &self.waiting[at], missing[at]);
        }
        missing
    }

    /// The launches, by their places in the list, that come off when these offers are taken apart.
    fn movable(&self, ruined: &[usize]) -> BTreeSet<usize> {
        let launches = self.table.launches.iter().enumerate();
        let movable = launches.filter(|(_, launch)| {
            let constraints = &self.waiting[launch.waiting].constraints;
            ruined.contains(&launch.offer) && !constraints.iter().any(Constraint::may_reopen)
        });
        movable.map(|(place, _)| place).collect()
    }

    /// How good the plan is now, when so much is free of the offers that have changed since it was last ranked.
    fn rank_with(&self, strays: usize, changed: &BTreeMap<usize, u64>) -> Rank {
        let squared = |free: u64| i128::from(free) * i128::from(free);
        let more = changed
            .iter()
            .map(|(offer, free)| squared(*free) - squared(self.free[*offer]));
        let more: i128 = more.sum();
        let spreads = self.table.policy == Policy::Spread;
        Rank {
            missing: self.missing.iter().map(|count| u64::from(*count)).sum(),
            strays,
            offers: if spreads { 0 } else { self.offers_used() },
            crumbs: self.rank.crumbs + if spreads { more } else { -more },
        }
    }
}

/// Makes up to `steps` steps to improve the plan; it never becomes worse. More tasks get a place; then fewer of those
/// without GPUs use machines with GPUs; then fewer offers are used, but not by [`Policy::Spread`]. True when one of these
/// became better.
///
/// Time is spent in slices: call it again with as many steps as the time left allows, with the same seed or another one.
/// A step takes about as long as laying the tasks of three offers. The same plan, steps and seed give the same plan.
///
/// Launches of shapes with GROUP_BY stay where they are, and the others are laid around them.
///
/// ```
/// use mete_model::{AgentId, Attributes, Endpoint, FrameworkId, Offer, OfferId, Resources, Role};
/// use mete_placement::matcher::{Plan, improve};
/// use mete_placement::{Policy, Waiting};
///
/// # fn offer(number: usize, resources: Resources) -> Result<Offer, mete_model::BadId> {
/// #     Ok(Offer {
/// #         id: OfferId::new(format!("O{number}"))?,
/// #         framework: FrameworkId::new("F")?,
/// #         agent: AgentId::new(format!("S{number}"))?,
/// #         endpoint: Endpoint { hostname: format!("host-{number}"), ip: "127.0.0.1".to_owned(), port: 5_051 },
/// #         role: Role::any(),
/// #         resources,
/// #         attributes: Attributes::new(),
/// #         domain: None,
/// #         unavailability: None,
/// #     })
/// # }
/// # fn main() -> Result<(), mete_model::BadId> {
/// let offers = [offer(0, Resources::cpus_mem(10_000, 64))?, offer(1, Resources::cpus_mem(10_000, 64))?];
/// // As they come, both small ones go onto one offer, and the second large one has no place.
/// let small = Waiting { count: 2, ..Waiting::new(Resources::cpus_mem(4_000, 1)) };
/// let large = Waiting { count: 2, ..Waiting::new(Resources::cpus_mem(6_000, 1)) };
/// let mut plan = Plan::new(vec![small, large], &offers, Policy::BestFit, 0);
/// assert_eq!(plan.missing(), [0, 1]);
///
/// improve(&mut plan, 100, 7);
///
/// assert_eq!(plan.into_matched().missing, [0, 0]);
/// # Ok(())
/// # }
/// ```
pub fn improve(plan: &mut Plan<'_>, steps: u64, seed: u64) -> bool {
    let before = plan.rank.outcome();
    let mut dice = Dice::new(seed, plan.turns);
    plan.turns += 1;
    for _ in 0..steps {
        if plan.offers_used() == 0 {
            break;
        }
        plan.step(&mut dice);
    }
    plan.rank.outcome() < before
}

impl Table<'_> {
    /// How much is free of an offer, as one number.
    fn free(&self, offer: usize) -> u64 {
        size(self.left(offer), &self.mix)
    }

    /// How many of these launches need no GPU and use up an offer that has some; first fit does not mind.
    fn strays(&self, launches: &[Placement]) -> usize {
        let has_gpus = |resources: &Resources| resources.flat().gpus_milli > 0;
        let strays = launches.iter().filter(|launch| {
            has_gpus(&self.offers[launch.offer].resources) && !has_gpus(&launch.resources)
        });
        if self.policy == Policy::FirstFit {
            0
        } else {
            strays.count()
        }
    }

    /// Takes launches off their offers, by their places in the list.
    fn take_off(&mut self, places: &BTreeSet<usize>) -> Vec<Placement> {
        let mut place = 0..;
        let is_one = |_: &mut Placement| place.next().is_some_and(|place| places.contains(&place));
        let gone: Vec<Placement> = self.launches.extract_if(.., is_one).collect();
        let offers: BTreeSet<usize> = gone.iter().map(|launch| launch.offer).collect();
        for offer in &offers {
            self.left.remove(offer);
        }
        for launch in &self.launches {
            if offers.contains(&launch.offer) {
                let left = self.left(launch.offer).minus_at_most(&launch.resources);
                self.left.insert(launch.offer, left);
            }
        }
        for offer in offers {
            self.open(offer as u32);
        }
        gone
    }

    /// Lays launches as they were.
    fn put_back(&mut self, launches: Vec<Placement>) {
        for launch in launches {
            let left = self.left(launch.offer).minus_at_most(&launch.resources);
            self.left.insert(launch.offer, left);
            self.open(launch.offer as u32);
            self.launches.push(launch);
        }
    }
}
