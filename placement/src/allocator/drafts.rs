//! Offers of a round before they are written out: with numbers instead of names.
//!
//! A name is shared, and each offer counts its clones. In the middle of a round a count waits for its memory, and
//! everything else waits for the count; after it, what many offers take is brought near at once.

use mete_model::Resources;

use super::{AT_ONCE, Allocator, Grant};
use crate::demand::ShapeId;
use crate::slots::{AgentSlot, ClientSlot};

/// An offer to be.
#[derive(Debug)]
pub(super) struct Draft {
    client: ClientSlot,
    agent: AgentSlot,
    /// `None`: all of the agent, which is lent to the client.
    pub(super) part: Option<Box<Drawn>>,
}

/// What was drawn from an agent, when it is not all.
#[derive(Debug, Default)]
pub(super) struct Drawn {
    resources: Resources,
    /// For how many tasks of which shapes.
    units: Vec<(ShapeId, u32)>,
}

impl Draft {
    pub(super) const fn of_all(client: ClientSlot, agent: AgentSlot) -> Self {
        Self {
            client,
            agent,
            part: None,
        }
    }

    pub(super) fn of(client: ClientSlot, agent: AgentSlot, resources: Resources) -> Self {
        let units = Vec::new();
        Self {
            client,
            agent,
            part: Some(Box::new(Drawn { resources, units })),
        }
    }
}

impl Drawn {
    /// One more task, and what it takes.
    pub(super) fn add(&mut self, unit: ShapeId, resources: &Resources) {
        self.resources.add(resources);
        match self.units.iter_mut().find(|(id, _)| *id == unit) {
            Some((_, units)) => *units += 1,
            None => self.units.push((unit, 1)),
        }
    }
}

impl Allocator {
    /// The offers, in the order in which they were drafted.
    pub(super) fn write_out(&self, mut drafts: Vec<Draft>) -> Vec<Grant> {
        let mut grants = Vec::with_capacity(drafts.len());
        for some in drafts.chunks_mut(AT_ONCE) {
            if some.len() > 1 {
                self.bring_names_near(some);
            }
            grants.extend(some.iter_mut().map(|draft| self.grant_of(draft)));
        }
        grants
    }

    fn grant_of(&self, draft: &mut Draft) -> Grant {
        let agent = self.agents.get(draft.agent);
        let holder = self.tree.client(draft.client);
        let Drawn { resources, units } = match draft.part.take() {
            Some(drawn) => *drawn,
            None => {
                debug_assert_eq!(agent.lent_to, Some(draft.client), "it was given all");
                Drawn {
                    resources: agent.stock.clone(),
                    units: Vec::new(),
                }
            }
        };
        Grant {
            framework: self.frameworks.get(holder.framework).id.clone(),
            role: self.tree.node(holder.role).role.clone(),
            agent: agent.id.clone(),
            resources,
            units,
        }
    }

    /// Reads what the clones are counted in.
    fn bring_names_near(&self, drafts: &[Draft]) {
        let mut read = 0;
        for draft in drafts {
            let agent = self.agents.get(draft.agent);
            let holder = self.tree.client(draft.client);
            read ^= agent.stock.ports.sharers() ^ agent.id.sharers();
            read ^= self.frameworks.get(holder.framework).id.sharers();
            read ^= self.tree.node(holder.role).role.sharers();
        }
        std::hint::black_box(read);
    }
}
