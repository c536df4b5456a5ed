//! All nodes, so kept that the best place for a shape is found without looking at each.
//!
//! Nodes are dense numbers in the order of their admission, which is also the order among equals. The
//! answer is always the one that scoring every node would give; how it is found depends on what the
//! policy's scores depend on:
//!
//! - neither the task nor the machine has GPUs, and the policy goes by how much is free (best fit,
//!   spread, our own), or it goes by number (first fit): the order of nodes is the same for all tasks
//!   and is kept, see `order`;
//! - all else: each shape's scores are kept until a node changes, see `scored`.
//!
//! What is kept holds for one [`Mix`]: whoever asks always hands in the same one, which knows by its
//! versions when it has changed.
//!
//! Changes are only noted; they reach the orders and logs at the next question, all together.

mod amounts; // resources in small units, to rule nodes out many at once
mod order; // nodes in order of a number
mod record; // what is known of one node
mod scored; // scores by shape, kept until a node changes

use mete_model::Resources;

use self::amounts::Needs;
use self::order::Order;
use self::record::{Record, Records};
use self::scored::Scored;
use crate::packing::{self, Mix, Policy};

/// An order is built anew when more than one in so many nodes have changed: from there on sorting
/// all is cheaper than moving each.
const REBUILD_PART: usize = 4;
/// Added to the key of machines with GPUs: those are behind all others in every order but that by number.
const WITH_GPUS: u64 = 1 << 63;
/// The largest key of a machine without GPUs.
const LARGEST: u64 = WITH_GPUS - 2;

/// All nodes; see the head of this file.
#[derive(Clone, Debug, Default)]
pub struct Fleet {
    records: Records,
    /// Nodes that have changed since the last question.
    changed: Vec<u32>,
    /// Whether a node is among those, by its number.
    is_changed: Vec<bool>,
    by_number: Option<Order>,
    tightest: Option<Order>,
    emptiest: Option<Order>,
    /// The scale that the keys were made by.
    scale_version: u64,
    with_gpus: Option<Scored>,
    without_gpus: Option<Scored>,
}

/// In which order a policy wants nodes, whatever is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Arrangement {
    ByNumber,
    Tightest,
    Emptiest,
}

impl Fleet {
    /// Inserts or changes a node: the whole machine, what is free of it, and what kind of machine it
    /// is (see [`Node::group`](packing::Node::group)). Cheap; the work is done at the next question.
    pub fn set(&mut self, node: u32, total: &Resources, free: &Resources, group: u16) {
        self.records.set(node, total, free, group);
        self.note(node);
    }

    /// Takes a node out; nothing when it is not there.
    pub fn remove(&mut self, node: u32) {
        self.records.remove(node);
        if (node as usize) < self.is_changed.len() {
            self.note(node);
        }
    }

    /// The node with the least score of those where `asked` is free and that `permit` allows; among
    /// equals that with the lowest number. `permit` is only asked about nodes where `asked` is free, and
    /// about few of those.
    pub fn best(
        &mut self,
        policy: Policy,
        asked: &Resources,
        mix: &Mix,
        permit: &mut dyn FnMut(u32) -> bool,
    ) -> Option<u32> {
        self.flush(mix);
        let needs_gpus = asked.flat().gpus_milli > 0;
        if let Some(arrangement) = arrangement(policy) {
            if arrangement == Arrangement::ByNumber || !needs_gpus {
                let found = self.first(arrangement, asked, mix, permit);
                if found.is_some() || arrangement == Arrangement::ByNumber {
                    return found;
                }
            }
        } else if !needs_gpus {
            let found = self.best_scored(false, policy, asked, mix, permit);
            if found.is_some() {
                return found;
            }
        }
        self.best_scored(true, policy, asked, mix, permit)
    }

    /// The nodes on which something is free, in the order in which they are given away whole: the
    /// most used first, for spread the emptiest, for first fit by number; machines with GPUs last but
    /// for first fit.
    pub fn in_order(&mut self, policy: Policy, mix: &Mix) -> impl Iterator<Item = u32> + '_ {
        self.flush(mix);
        let arrangement = arrangement(policy).unwrap_or(Arrangement::Tightest);
        self.build(arrangement, mix);
        let order = self.order(arrangement).as_ref();
        let nodes = order.into_iter().flat_map(Order::iter);
        nodes.filter(|node| self.records.get(*node).is_free())
    }

    /// The first in an order that does not depend on the task.
    fn first(
        &mut self,
        arrangement: Arrangement,
        asked: &Resources,
        mix: &Mix,
        permit: &mut dyn FnMut(u32) -> bool,
    ) -> Option<u32> {
        self.build(arrangement, mix);
        let keys = match arrangement {
            Arrangement::ByNumber => (0, u64::MAX),
            // What is asked never has more than where it fits.
            Arrangement::Tightest => (size(asked, mix), WITH_GPUS),
            Arrangement::Emptiest => (0, LARGEST - size(asked, mix) + 1),
        };
        let order = self.order(arrangement).as_ref()?;
        order.first(&Needs::of(asked), keys, |node| {
            self.records.get(node).contains(asked) && permit(node)
        })
    }

    fn best_scored(
        &mut self,
        has_gpus: bool,
        policy: Policy,
        asked: &Resources,
        mix: &Mix,
        permit: &mut dyn FnMut(u32) -> bool,
    ) -> Option<u32> {
        let records = &self.records;
        let scored = match has_gpus {
            true => &mut self.with_gpus,
            false => &mut self.without_gpus,
        };
        scored
            .get_or_insert_with(|| Scored::new(records, has_gpus))
            .best(policy, asked, mix, records, permit)
    }

    fn note(&mut self, node: u32) {
        let at = node as usize;
        if self.is_changed.len() <= at {
            self.is_changed.resize(at + 1, false);
        }
        if !std::mem::replace(&mut self.is_changed[at], true) {
            self.changed.push(node);
        }
    }

    /// Brings what was noted to the orders and the logs of those that score.
    fn flush(&mut self, mix: &Mix) {
        if self.scale_version != mix.scale_version() {
            self.scale_version = mix.scale_version();
            self.tightest = None;
            self.emptiest = None;
        }
        if self.changed.is_empty() {
            return;
        }
        let changed = std::mem::take(&mut self.changed);
        let is_rebuilt = changed.len() > self.records.len() / REBUILD_PART;
        let orders = [
            Arrangement::ByNumber,
            Arrangement::Tightest,
            Arrangement::Emptiest,
        ];
        for arrangement in orders {
            let Some(mut order) = self.order_mut(arrangement).take() else {
                continue;
            };
            if !is_rebuilt {
                self.update(&mut order, arrangement, mix, &changed);
                *self.order_mut(arrangement) = Some(order);
            }
        }
        for scored in [&mut self.with_gpus, &mut self.without_gpus]
            .into_iter()
            .flatten()
        {
            for node in &changed {
                scored.changed(*node, self.records.get(*node));
            }
        }
        for node in &changed {
            self.is_changed[*node as usize] = false;
        }
        self.changed = changed;
        self.changed.clear();
    }

    fn update(&self, order: &mut Order, arrangement: Arrangement, mix: &Mix, changed: &[u32]) {
        for node in changed {
            match self.records.get(*node) {
                Record::Absent => order.remove(*node),
                record @ (Record::Plain { .. } | Record::Special(_)) => order.set(
                    *node,
                    key(arrangement, *node, record, mix),
                    record.amounts(),
                ),
            }
        }
    }

    /// Builds an order that is not there.
    fn build(&mut self, arrangement: Arrangement, mix: &Mix) {
        if self.order(arrangement).is_some() {
            return;
        }
        let nodes = self.records.iter();
        let nodes = nodes.map(|(node, record)| (key(arrangement, node, record, mix), node));
        let amounts = |node| self.records.get(node).amounts();
        let order = Order::build(nodes.collect(), amounts);
        *self.order_mut(arrangement) = Some(order);
    }

    const fn order(&self, arrangement: Arrangement) -> &Option<Order> {
        match arrangement {
            Arrangement::ByNumber => &self.by_number,
            Arrangement::Tightest => &self.tightest,
            Arrangement::Emptiest => &self.emptiest,
        }
    }

    const fn order_mut(&mut self, arrangement: Arrangement) -> &mut Option<Order> {
        match arrangement {
            Arrangement::ByNumber => &mut self.by_number,
            Arrangement::Tightest => &mut self.tightest,
            Arrangement::Emptiest => &mut self.emptiest,
        }
    }
}

/// The order in which a policy goes; `None` when that depends on what is asked.
const fn arrangement(policy: Policy) -> Option<Arrangement> {
    match policy {
        Policy::FirstFit => Some(Arrangement::ByNumber),
        Policy::BestFit | Policy::Worth => Some(Arrangement::Tightest),
        Policy::Spread => Some(Arrangement::Emptiest),
        Policy::DotProduct | Policy::L2 | Policy::Fgd => None,
    }
}

/// Where a node stands in an order.
fn key(arrangement: Arrangement, node: u32, record: &Record, mix: &Mix) -> u64 {
    let behind = if record.has_gpus() { WITH_GPUS } else { 0 };
    let size = record.look(|node| size(node.free, mix)).unwrap_or(0);
    match arrangement {
        Arrangement::ByNumber => u64::from(node),
        Arrangement::Tightest => behind + size,
        Arrangement::Emptiest => behind + (LARGEST - size),
    }
}

fn size(free: &Resources, mix: &Mix) -> u64 {
    packing::size(free, mix).min(LARGEST)
}

#[cfg(test)]
mod tests;
