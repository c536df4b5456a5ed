//! The agent's hands on real processes, real control groups and real sockets.
//!
//! The shim is `examples/agent_shim.rs`, which `cargo test -p mete-agent` builds along.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod containers; // tasks in containers
mod daemon; // the whole agent, with a master that is the test
mod dockerd; // a Docker Engine for one test
mod engine; // tasks on it
mod probes;
#[path = "../images/registry.rs"]
#[allow(dead_code, reason = "tests of images start others")]
mod registry; // a real one
mod roots; // what containers start from
mod runtimes; // containers that OCI runtimes build
#[path = "../images/sample.rs"]
#[allow(dead_code, reason = "tests of images make more of them")]
mod sample; // images made here
mod support;
mod tasks;
