//! The agents a round looks at, in the order they are given away; those used up drop out.
//!
//! Clients walk along it each at its own pace. Finding the next agent that is left takes next to no
//! time however many have dropped out: each place points at or before the next one left, and the
//! pointers are shortened on the way.

use crate::slots::AgentSlot;

/// The line.
#[derive(Debug)]
pub(super) struct Line {
    agents: Vec<AgentSlot>,
    /// For clients that look at every agent.
    next: Vec<u32>,
    /// For clients that look at touched agents only.
    next_touched: Vec<u32>,
    left: usize,
}

impl Line {
    pub(super) fn new(agents: Vec<(AgentSlot, bool)>) -> Self {
        let end = u32::try_from(agents.len()).expect("a round takes a bounded number of agents");
        let next_touched = (0..)
            .zip(&agents)
            .map(|(at, (_, touched))| if *touched { at } else { at + 1 })
            .chain([end])
            .collect();
        Self {
            left: agents.len(),
            next: (0..=end).collect(),
            next_touched,
            agents: agents.into_iter().map(|(agent, _)| agent).collect(),
        }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.left == 0
    }

    /// The first agent left at or after a place, and its place.
    pub(super) fn at_or_after(
        &mut self,
        place: u32,
        touched_only: bool,
    ) -> Option<(u32, AgentSlot)> {
        let next = if touched_only {
            &mut self.next_touched
        } else {
            &mut self.next
        };
        let mut place = place as usize;
        while next[place] as usize != place {
            let after = next[place] as usize;
            next[place] = next[after];
            place = after;
        }
        let agent = *self.agents.get(place)?;
        Some((u32::try_from(place).ok()?, agent))
    }

    /// The agent at a place has nothing left.
    pub(super) fn drop_out(&mut self, place: u32) {
        let at = place as usize;
        self.next[at] = place + 1;
        self.next_touched[at] = place + 1;
        self.left -= 1;
    }
}
