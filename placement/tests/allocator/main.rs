//! The allocator from outside: worked examples, rules one by one, and random events beside a naive
//! allocator that computes everything anew.

mod against_naive; // random events, equal results
mod demands; // what is offered to those who say what they wait for
mod drf_paper; // the paper's examples, task by task
mod events; // what may happen, drawn at random
mod fairness; // the examples of the DRF paper
mod hostile; // what nobody should send: never a panic, never a leak
mod hostile_demands; // demands that nobody should state
mod naive; // obviously right, and slow
mod properties; // what holds for all clusters
mod rules; // filters, suppression, quota, order of agents

use std::time::Duration;

use mete_model::{AgentId, Capability, FrameworkId, Resources, Role, Timestamp};
use mete_placement::{AgentFacts, Allocator, FrameworkFacts, Grant, Options, Policy};

const NOON: Timestamp = Timestamp::from_millis(43_200_000);

fn role(name: &str) -> Role {
    Role::new(name).expect("a good role")
}

fn agent(name: &str) -> AgentId {
    AgentId::new(name).expect("a good id")
}

fn framework(name: &str) -> FrameworkId {
    FrameworkId::new(name).expect("a good id")
}

/// Whole CPUs and GB.
fn machine(cpus: u64, gigabytes: u64) -> Resources {
    Resources::cpus_mem(cpus * 1_000, gigabytes * 1_024)
}

/// An allocator of nothing.
fn empty(policy: Policy) -> Allocator {
    Allocator::new(Options {
        policy,
        region: None,
    })
}

/// An allocator with agents `S0`, `S1` … of these CPUs (and as many GB).
fn cluster(policy: Policy, cpus: &[u64]) -> Allocator {
    let mut allocator = empty(policy);
    for (number, cpus) in cpus.iter().enumerate() {
        let id = agent(&format!("S{number}"));
        allocator.add_agent(id, AgentFacts::new(machine(*cpus, *cpus)));
    }
    allocator
}

/// Adds a framework in one role, which takes machines with GPUs.
fn join(allocator: &mut Allocator, name: &str, in_role: &str) {
    let mut facts = FrameworkFacts::in_roles([role(in_role)]);
    facts.capabilities = [Capability::GpuResources].into();
    allocator.add_framework(framework(name), facts);
}

/// Who got which agent, in order.
fn who(grants: &[Grant]) -> Vec<(&str, &str)> {
    grants
        .iter()
        .map(|grant| (grant.framework.as_str(), grant.agent.as_str()))
        .collect()
}

fn give_back(
    allocator: &mut Allocator,
    now: Timestamp,
    grant: &Grant,
    part: &Resources,
    refuse: Duration,
) {
    allocator.give_back(
        now,
        &grant.agent,
        &grant.framework,
        &grant.role,
        part,
        refuse,
    );
}
