//! Where something fits best: scores with a total order, lower is better, used by both levels.
//!
//! A [`Policy`] looks at one [`Node`] at a time and knows of all others only what the [`Mix`] says: which tasks
//! are typical, how large machines are, and how sought after each kind of machine is. So a score changes only
//! when its node or the mix does, and may be kept until then. It says nothing of names: whoever compares
//! adds the node's number last, so that equal places are taken in the same order in every run.
//!
//! Under every policy but first fit a task without GPUs goes to a machine with GPUs only when it fits on no
//! other. Among machines without GPUs such a task's score rises (for spread: falls) with [`size`]
//! alone under first fit, best fit, spread and [`Policy::Worth`], so that an index can keep them in order.

mod amounts; // asked and free as numbers: devices, parts of the largest machine
mod classic; // first fit, best fit, spread, dot product, L2
mod digest; // what policies need of the mix, worked out now and then
mod fgd; // fragmentation gradient descent
mod mix; // what is typical
mod stock; // what the rest of a device is worth: cutting stock
mod worth; // our own

#[cfg(test)]
mod tests;

use std::fmt;
use std::str::FromStr;

use mete_model::Resources;

pub use amounts::size;
pub use mix::{Groups, MAX_SHAPES, Mix};

use amounts::{Ask, Room};

/// A machine as policies look at it.
#[derive(Clone, Copy, Debug)]
pub struct Node<'a> {
    /// All of it.
    pub total: &'a Resources,
    /// What is free of it.
    pub free: &'a Resources,
    /// Machines of one kind, such as a model of GPU, have one number; 0: nothing is known.
    pub group: u16,
}

/// How good a place is; the lower the better. Only comparable under one policy, for one task and one
/// version of the mix.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Score {
    /// The machine has GPUs and the task needs none.
    spares_gpus: bool,
    /// What is lost there for tasks to come; each policy has its unit.
    loss: i64,
    /// Among equal losses, how much is left over.
    waste: u64,
}

/// A way to choose among places.
pub trait Packing {
    /// How good it is to put `asked` on `node`, where it fits.
    fn score(&self, asked: &Resources, node: Node<'_>, mix: &Mix) -> Score;

    /// On which device of `node` a part of a GPU goes best. `None` when there is nothing to choose: whole
    /// GPUs, no GPUs, devices without names, or none with enough.
    fn device(&self, asked: &Resources, node: Node<'_>, mix: &Mix) -> Option<u16>;

    /// What is asked with its devices chosen out of what is free on `node`, as it is taken; as it was when there
    /// is nothing to choose. `None` when these GPUs are not there.
    fn pin(&self, asked: &Resources, node: Node<'_>, mix: &Mix) -> Option<Resources> {
        if asked.gpus_milli == 0 {
            return node.free.pin(asked);
        }
        // The devices of parts are not to choose from: they go by their tags.
        let device = if asked.has_parts() || node.free.has_parts() {
            let free = &node.free.plain();
            self.device(&asked.plain(), Node { free, ..node }, mix)
        } else {
            self.device(asked, node, mix)
        };
        match device {
            Some(device) => node.free.pin_on(asked, device),
            None => node.free.pin(asked),
        }
    }
}

/// Which way to choose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Policy {
    /// All places are equal: the first by number.
    FirstFit,
    /// Where least is free, summed over the kinds of resources.
    BestFit,
    /// Where most is free.
    Spread,
    /// Where what is asked and what is free have the smallest product: what is plentiful on a machine is
    /// kept for those who need much of it (Panigrahy et al. 2011, in the form for arrivals one by one).
    DotProduct,
    /// Where the squares of what is left are least (Panigrahy et al. 2011).
    L2,
    /// Where GPUs become useless for the fewest typical tasks: fragmentation gradient descent (Weng et
    /// al., USENIX ATC 2023).
    Fgd,
    /// Where what is left loses the least worth: ours. The rest of a GPU is worth what typical tasks could
    /// still use of it, a machine no more than its CPUs and memory can serve, and kinds of
    /// machines more when they are sought after. Without GPUs it is best fit.
    #[default]
    Worth,
}

impl Policy {
    /// All of them, simplest first.
    pub const ALL: [Self; 7] = [
        Self::FirstFit,
        Self::BestFit,
        Self::Spread,
        Self::DotProduct,
        Self::L2,
        Self::Fgd,
        Self::Worth,
    ];

    /// The name in options and answers.
    pub const fn name(self) -> &'static str {
        match self {
            Self::FirstFit => "first-fit",
            Self::BestFit => "best-fit",
            Self::Spread => "spread",
            Self::DotProduct => "dot-product",
            Self::L2 => "l2",
            Self::Fgd => "fgd",
            Self::Worth => "worth",
        }
    }

    /// The score, and the device it holds for when one is to be chosen.
    fn place(self, asked: &Resources, node: Node<'_>, mix: &Mix) -> (Score, Option<u16>) {
        if self == Self::FirstFit {
            return (Score::default(), Room::new(node).tightest(Ask::of(asked)));
        }
        let asked = asked.flat();
        let ask = Ask::of(&asked);
        let room = Room::new(node);
        let (mut score, device) = match self {
            Self::FirstFit => unreachable!("is answered above"),
            Self::BestFit => (classic::best_fit(&room, mix), room.tightest(ask)),
            Self::Spread => (classic::spread(&room, mix), room.tightest(ask)),
            Self::DotProduct => (classic::dot_product(&asked, &room, mix), room.tightest(ask)),
            Self::L2 => (classic::l2(&asked, &room, mix), room.tightest(ask)),
            Self::Fgd => fgd::place(ask, &room, mix),
            Self::Worth => worth::place(ask, &room, mix),
        };
        score.spares_gpus = asked.gpus_milli == 0 && room.has_gpus();
        (score, device)
    }
}

impl Packing for Policy {
    fn score(&self, asked: &Resources, node: Node<'_>, mix: &Mix) -> Score {
        self.place(asked, node, mix).0
    }

    fn device(&self, asked: &Resources, node: Node<'_>, mix: &Mix) -> Option<u16> {
        self.place(asked, node, mix).1
    }
}

/// No policy has this name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no packing policy is named {name:?}; there are {}", names())]
pub struct UnknownPolicy {
    name: String,
}

impl FromStr for Policy {
    type Err = UnknownPolicy;

    fn from_str(text: &str) -> Result<Self, UnknownPolicy> {
        let named = Self::ALL.into_iter().find(|policy| policy.name() == text);
        named.ok_or_else(|| UnknownPolicy {
            name: text.to_owned(),
        })
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

fn names() -> String {
    Policy::ALL.map(Policy::name).join(", ")
}
