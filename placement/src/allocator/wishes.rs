//! What clients ask for: their shapes, how many of each are wanted, and how many are on offer.
//!
//! ```text
//! wanted ──round──▶ on offer ──launched──▶ (counts no longer)
//!    ▲                  └── declined, withdrawn, timed out, not used ──┐
//!    └──────────────────────────────────────────────────────────────────┘
//! ```
//! A new demand replaces the one before. It counts what waits at the framework, so it includes what is
//! on offer to it and not yet answered: shapes that were there before keep their units on offer.

use std::sync::Arc;

use crate::demand::{Shape, ShapeId};
use crate::slots::AgentSlot;

/// One shape a client asks for.
#[derive(Clone, Debug)]
pub(super) struct Wish {
    pub(super) id: ShapeId,
    pub(super) shape: Arc<Shape>,
    /// How many wait, those on offer included.
    pub(super) count: u32,
    pub(super) offered: u32,
    /// Where units are on offer; kept only for shapes with a bound per agent.
    pub(super) offered_on: Vec<(AgentSlot, u32)>,
    /// The round in which it found no place.
    pub(super) hopeless_in: u64,
    /// The round in which no agent was left that it prefers.
    unpreferred_in: u64,
}

impl Wish {
    /// All of it waits, nothing is on offer.
    pub(super) fn new(id: ShapeId, shape: Arc<Shape>) -> Self {
        Self {
            id,
            count: shape.count,
            shape,
            offered: 0,
            offered_on: Vec::new(),
            hopeless_in: 0,
            unpreferred_in: 0,
        }
    }

    /// How many are to be offered yet.
    pub(super) const fn open(&self) -> u32 {
        self.count.saturating_sub(self.offered)
    }

    /// How many are on offer on an agent, of a shape with a bound per agent.
    pub(super) fn offered_there(&self, agent: AgentSlot) -> u32 {
        self.offered_on
            .iter()
            .find(|(on, _)| *on == agent)
            .map_or(0, |(_, units)| *units)
    }
}

/// All that one client asks for, most urgent first.
#[derive(Clone, Debug, Default)]
pub(super) struct Wishes {
    list: Vec<Wish>,
    open: u64,
}

impl Wishes {
    /// Whether something is to be offered yet.
    pub(super) const fn is_any_open(&self) -> bool {
        self.open > 0
    }

    /// How many tasks are to be offered a place yet.
    pub(super) const fn open(&self) -> u64 {
        self.open
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Wish> {
        self.list.iter()
    }

    pub(super) fn get(&self, at: usize) -> &Wish {
        &self.list[at]
    }

    /// What an id stands for.
    pub(super) fn shape(&self, id: ShapeId) -> Option<Arc<Shape>> {
        let wish = self.list.iter().find(|wish| wish.id == id);
        wish.map(|wish| Arc::clone(&wish.shape))
    }

    /// The first from `from` on that is open and has not been found hopeless in this round.
    pub(super) fn next_open(&self, from: usize, round: u64) -> Option<usize> {
        (from..self.list.len()).find(|at| {
            let wish = &self.list[*at];
            wish.open() > 0 && wish.hopeless_in != round
        })
    }

    pub(super) fn give_up(&mut self, at: usize, round: u64) {
        self.list[at].hopeless_in = round;
    }

    /// Whether agents that it prefers are to be looked for first.
    pub(super) fn has_preference(&self, at: usize, round: u64) -> bool {
        let wish = &self.list[at];
        !wish.shape.preferred.is_empty() && wish.unpreferred_in != round
    }

    /// What it prefers has run out: during a round no more of it comes.
    pub(super) fn take_any(&mut self, at: usize, round: u64) {
        self.list[at].unpreferred_in = round;
    }

    /// Replaces the demand; `new_id` names shapes that were not there before. Calls `more` with each shape of which more
    /// wait than before, and how many more.
    pub(super) fn replace(
        &mut self,
        shapes: &[&Shape],
        mut new_id: impl FnMut() -> ShapeId,
        mut more: impl FnMut(&Shape, u32),
    ) {
        let before = std::mem::take(&mut self.list);
        let mut before: Vec<Option<Wish>> = before.into_iter().map(Some).collect();
        // Mostly the same shapes come in the same order, so that the next is where the last was found.
        let mut likely = 0;
        for shape in shapes.iter().filter(|shape| shape.count > 0) {
            let is_it = |wish: &Option<Wish>| {
                wish.as_ref()
                    .is_some_and(|wish| wish.shape.is_same_kind(shape))
            };
            let known = match before.get(likely) {
                Some(wish) if is_it(wish) => Some(likely),
                Some(_) | None => before.iter().position(is_it),
            };
            let known = known.and_then(|at| {
                likely = at + 1;
                before[at].take()
            });
            let mut wish = match known {
                Some(wish) => wish,
                None => {
                    let mut wish = Wish::new(new_id(), Arc::new((**shape).clone()));
                    wish.count = 0;
                    wish
                }
            };
            if shape.count > wish.count {
                more(shape, shape.count - wish.count);
            }
            // Whoever asks for nothing would never have enough.
            let asks = !shape.resources.is_empty() || shape.any_ports > 0;
            wish.count = if asks { shape.count } else { 0 };
            self.list.push(wish);
        }
        // What is still on offer is remembered until it is answered.
        for mut wish in before.into_iter().flatten().filter(|wish| wish.offered > 0) {
            wish.count = 0;
            self.list.push(wish);
        }
        self.count_open();
    }

    /// One more unit is on offer.
    pub(super) fn offer(&mut self, at: usize, agent: AgentSlot) {
        let wish = &mut self.list[at];
        wish.offered += 1;
        self.open -= 1;
        if wish.shape.max_per_agent.is_some() {
            match wish.offered_on.iter_mut().find(|(on, _)| *on == agent) {
                Some((_, units)) => *units += 1,
                None => wish.offered_on.push((agent, 1)),
            }
        }
    }

    /// Units are not on offer any more, and `launched` of them do not wait any more.
    pub(super) fn answer(
        &mut self,
        id: ShapeId,
        agent: Option<AgentSlot>,
        units: u32,
        launched: u32,
    ) {
        let Some(wish) = self.list.iter_mut().find(|wish| wish.id == id) else {
            return;
        };
        wish.offered = wish.offered.saturating_sub(units);
        wish.count = wish.count.saturating_sub(launched.min(units));
        if let Some(agent) = agent
            && let Some(at) = wish.offered_on.iter().position(|(on, _)| *on == agent)
        {
            let there = &mut wish.offered_on[at].1;
            *there = there.saturating_sub(units);
            if *there == 0 {
                wish.offered_on.swap_remove(at);
            }
        }
        self.list.retain(|wish| wish.count > 0 || wish.offered > 0);
        self.count_open();
    }

    /// What is on offer on an agent that is gone does not count there any more: another agent may get its number.
    pub(super) fn forget_agent(&mut self, agent: AgentSlot) {
        for wish in &mut self.list {
            wish.offered_on.retain(|(on, _)| *on != agent);
        }
    }

    fn count_open(&mut self) {
        self.open = self.list.iter().map(|wish| u64::from(wish.open())).sum();
    }
}
