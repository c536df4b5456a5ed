//! Who in line comes before somebody, level by level from the top: for explanations.

use mete_model::FrameworkId;

use super::queue::Urgency;
use super::{DEFAULT_WEIGHT_MILLI, RoleTree};
use crate::explain::{MAX_RIVALS, Reason, Rival};
use crate::slots::{ClientSlot, FrameworkSlot, RoleSlot};
use crate::sums::Whole;

impl RoleTree {
    /// Who comes before a client, on the first level from the top where somebody does.
    pub(crate) fn rivals_of(
        &self,
        slot: ClientSlot,
        name: &dyn Fn(FrameworkSlot) -> FrameworkId,
    ) -> Vec<Reason> {
        let client = &self.clients[slot];
        let above = self.rivals_of_role(client.role);
        if !above.is_empty() {
            return above;
        }
        let whole = &Whole::from(&self.total);
        let node = &self.nodes[client.role];
        let own_group = node.own_urgency(whole);
        let children = node.children.iter().map(|child| {
            let child = &self.nodes[child];
            (Rival::Role(child.role.clone()), child.urgency(whole))
        });
        let behind_children = before(own_group, children);
        if !behind_children.is_empty() {
            return behind_children;
        }
        let of_client = |slot: ClientSlot| {
            let client = &self.clients[slot];
            Urgency::new(&client.held, whole, DEFAULT_WEIGHT_MILLI, client.turn)
        };
        let others = node
            .clients
            .iter()
            .filter(|other| *other != slot)
            .map(|other| {
                let framework = name(self.clients[other].framework);
                (Rival::Framework(framework), of_client(other))
            });
        before(of_client(slot), others)
    }

    /// Who comes before a role, on the first level from the top where somebody does.
    pub(crate) fn rivals_of_role(&self, role: RoleSlot) -> Vec<Reason> {
        let whole = &Whole::from(&self.total);
        let mut path: Vec<RoleSlot> =
            std::iter::successors(Some(role), |role| self.nodes[*role].parent).collect();
        path.reverse();
        for role in path {
            let node = &self.nodes[role];
            let parent = node.parent.map(|parent| &self.nodes[parent]);
            let siblings = parent.map_or(&self.top, |parent| &parent.children);
            let others = siblings.iter().filter(|other| *other != role).map(|other| {
                let other = &self.nodes[other];
                (Rival::Role(other.role.clone()), other.urgency(whole))
            });
            let of_parent = parent.filter(|parent| !parent.clients.is_empty());
            let of_parent = of_parent.map(|parent| {
                (
                    Rival::FrameworksOf(parent.role.clone()),
                    parent.own_urgency(whole),
                )
            });
            let rivals = before(node.urgency(whole), others.chain(of_parent));
            if !rivals.is_empty() {
                return rivals;
            }
        }
        Vec::new()
    }
}

/// Those that come before, the most urgent first.
fn before(own: Urgency, others: impl Iterator<Item = (Rival, Urgency)>) -> Vec<Reason> {
    let mut rivals: Vec<(Urgency, Rival)> = others
        .filter(|(_, urgency)| *urgency < own)
        .map(|(rival, urgency)| (urgency, rival))
        .collect();
    rivals.sort_by_key(|(urgency, _)| *urgency);
    rivals
        .into_iter()
        .take(MAX_RIVALS)
        .map(|(urgency, rival)| Reason::Behind {
            rival,
            share: urgency.share(),
            own_share: own.share(),
        })
        .collect()
}
