//! Sums, each counted anew from what agents have and clients hold.

use std::collections::BTreeMap;
use std::sync::Arc;

use mete_model::{Ranges, Resources, Role};
use mete_placement::quota::is_allocatable;
use mete_placement::{Admission, Amounts};

use super::{Agent, Client, Naive, exclusive};

/// Scalars by name.
type Scalars = BTreeMap<String, u64>;

/// How it stands with limits and guarantees.
pub(crate) struct QuotaNow {
    /// By role with a limit and scalar: what is charged, and the limit.
    charged: BTreeMap<(Role, String), (u64, u64)>,
    /// By scalar: by how much less is free than guarantees need.
    deficits: Scalars,
}

impl QuotaNow {
    /// A round passed no limit, and gave away nothing that is kept for others.
    pub(crate) fn check_round(&self, after: &Self) {
        for (of, (charged, limit)) in &after.charged {
            let (before, _) = self.charged[of];
            assert!(charged <= limit || *charged == before, "limit of {of:?}");
        }
        for (name, deficit) in &after.deficits {
            let before = self.deficits.get(name).copied().unwrap_or(0);
            assert!(*deficit <= before, "{name} kept for guarantees");
        }
    }
}

impl Agent {
    /// What clients hold, on offer and in use.
    pub(crate) fn held(&self) -> impl Iterator<Item = (&Client, &Resources)> {
        self.offered.iter().chain(&self.used)
    }

    /// What nobody holds.
    pub(crate) fn free(&self) -> Resources {
        let mut free = self.facts.total.clone();
        for (_, held) in self.held() {
            free = free.minus_at_most(held);
        }
        free
    }

    /// Whether more is held than is there.
    pub(crate) fn is_overdrawn(&self) -> bool {
        let mut free = self.facts.total.clone();
        self.held().any(|(_, held)| {
            let is_there = free.contains(held);
            free = free.minus_at_most(held);
            !is_there
        })
    }
}

impl Naive {
    pub(crate) fn free(&self, slot: usize) -> Resources {
        self.agent(slot).free()
    }

    /// Whether an agent may be offered and has enough left to be worth it.
    pub(super) fn gives(&self, slot: usize, free: &Resources) -> bool {
        let is_worth_it = if self.any_is_enough {
            !exclusive(free).is_empty()
        } else {
            is_allocatable(&free.flat())
        };
        self.agent(slot).admission == Admission::Offerable && is_worth_it
    }

    /// Scalars of all agents.
    pub(crate) fn total(&self) -> Resources {
        sum(self.agents().map(|(_, agent)| &agent.facts.total))
    }

    /// Scalars held by some clients.
    pub(crate) fn held_by(&self, counts: impl Fn(&Client) -> bool) -> Resources {
        let held = self.agents().flat_map(|(_, agent)| agent.held());
        sum(held
            .filter(|(client, _)| counts(client))
            .map(|(_, held)| held))
    }

    /// What counts against the quota of a top-level role: what is held in it and is nobody's, and all that is reserved for it.
    fn charged(&self, top: &Role) -> Resources {
        let mut charged = Resources::none();
        for (_, agent) in self.agents() {
            for (client, held) in agent.held() {
                if client.1.top_level() == *top {
                    charged.add(&held.plain());
                }
            }
            for (tag, part) in agent.facts.total.parts() {
                if tag.role().is_some_and(|role| role.top_level() == *top) {
                    charged.add(part);
                }
            }
        }
        charged
    }

    /// How much of what is nobody's a role may be given now.
    pub(super) fn room(&self, role: &Role) -> Amounts {
        let top = role.top_level();
        let mut room = Scalars::new();
        if let Some(limit) = self.limits.get(&top) {
            let charged = self.charged(&top);
            for (name, most) in stated(limit) {
                let left = most.saturating_sub(get(&charged, &name));
                room.insert(name, left);
            }
        }
        let (required, own) = self.required(&top);
        if !required.is_empty() {
            let free = self.free_for_all();
            for (name, required) in required {
                let own = own.get(&name).copied().unwrap_or(0);
                let most = get(&free, &name).saturating_sub(required) + own;
                let room = room.entry(name).or_insert(most);
                *room = most.min(*room);
            }
        }
        to_amounts(room)
    }

    /// What guarantees lack yet, of all roles and of one; what of the former is nothing is left out.
    fn required(&self, top: &Role) -> (Scalars, Scalars) {
        let (mut required, mut own) = (Scalars::new(), Scalars::new());
        for (role, guarantee) in &self.guarantees {
            let charged = self.charged(role);
            for (name, amount) in stated(guarantee) {
                let unmet = amount.saturating_sub(get(&charged, &name));
                *required.entry(name.clone()).or_default() += unmet;
                if role == top {
                    own.insert(name, unmet);
                }
            }
        }
        required.retain(|_, required| *required > 0);
        (required, own)
    }

    /// What is nobody's and free where it may be offered.
    fn free_for_all(&self) -> Resources {
        let offerable = self
            .agents()
            .filter(|(_, agent)| agent.admission == Admission::Offerable);
        let free: Vec<Resources> = offerable.map(|(_, agent)| agent.free().plain()).collect();
        sum(&free)
    }

    pub(crate) fn quota_now(&self) -> QuotaNow {
        let mut charged = BTreeMap::new();
        for (role, limit) in &self.limits {
            let of_role = self.charged(role);
            for (name, most) in stated(limit) {
                let now = get(&of_role, &name);
                charged.insert((role.clone(), name), (now, most));
            }
        }
        let mut deficits = Scalars::new();
        let (required, _) = self.required(&Role::any());
        if !required.is_empty() {
            let free = self.free_for_all();
            for (name, required) in required {
                let deficit = required.saturating_sub(get(&free, &name));
                deficits.insert(name, deficit);
            }
        }
        QuotaNow { charged, deficits }
    }
}

/// Scalars of the plain and all parts.
fn sum<'a>(all: impl IntoIterator<Item = &'a Resources>) -> Resources {
    let mut sum = Resources::none();
    for one in all {
        sum.add(&one.flat());
    }
    amounts(&sum)
}

/// Scalars of the plain and all parts, without the names of devices.
pub(crate) fn amounts(resources: &Resources) -> Resources {
    let mut scalars = resources.flat().into_owned().with_ports(Ranges::new());
    let gpus_milli = scalars.gpus_milli;
    scalars = scalars.with_named_devices(mete_model::Devices::none());
    scalars.gpus_milli = gpus_milli;
    scalars
}

fn stated(amounts: &Amounts) -> Vec<(String, u64)> {
    let main = [
        ("cpus", amounts.cpus_milli),
        ("mem", amounts.mem_milli),
        ("disk", amounts.disk_milli),
        ("gpus", amounts.gpus_milli),
    ];
    main.into_iter()
        .filter_map(|(name, amount)| Some((name.to_owned(), amount?)))
        .chain(amounts.other.iter().map(|(name, n)| (name.to_string(), *n)))
        .collect()
}

fn to_amounts(scalars: Scalars) -> Amounts {
    let mut amounts = Amounts::default();
    for (name, most) in scalars {
        match name.as_str() {
            "cpus" => amounts.cpus_milli = Some(most),
            "mem" => amounts.mem_milli = Some(most),
            "disk" => amounts.disk_milli = Some(most),
            "gpus" => amounts.gpus_milli = Some(most),
            other => {
                amounts.other.insert(Arc::from(other), most);
            }
        }
    }
    amounts
}

fn get(resources: &Resources, name: &str) -> u64 {
    match name {
        "cpus" => resources.cpus_milli,
        "mem" => resources.mem_milli,
        "disk" => resources.disk_milli,
        "gpus" => resources.gpus_milli,
        other => resources.other(other),
    }
}
