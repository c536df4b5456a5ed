//! How long offers take to decide: what each answer is worth beside Mesos is in `benches/README.md`.
//!
//! The time is CPU time of the thread, as in the figures of Mesos: on a machine that does other things
//! too it is what the work takes, and on an idle one it is the same as time on the wall.

mod changes; // one agent freed; one round over a half-used cluster
mod declines; // filters: all set, running out, in steady state
mod full; // everything free, all given, all handed back
mod joining; // frameworks come to a cluster that is there
mod matching; // one pending task against all agents
mod partial; // one launch and one finish per agent and round
mod quota; // thousands of roles with guarantee and limit
mod stopwatch; // only parts of an iteration count
mod what_if; // a question on a copy of the state

use criterion::{Criterion, criterion_group, criterion_main};
use mete_benches::cpu::ThreadCpu;

criterion_group! {
    name = allocation;
    config = Criterion::default().with_measurement(ThreadCpu);
    targets =
        full::full_own_role,
        full::full_one_role,
        declines::decline_saturated,
        declines::filters_expire,
        declines::decline_5s,
        partial::partial,
        quota::quota_large_small,
        joining::add_frameworks,
        changes::one_change,
        changes::allocation_round,
        matching::one_task,
        what_if::what_if,
}
criterion_main!(allocation);
